"""What the checks look at: the evidence, the packets numbered as in the trace, and how well we could see.

`broken` says why nothing of the run counts (the lab, or the wire that it put between the hosts, did not do its job);
`blind` why what rests on packets cannot be told; `cut` why what rests on their payload cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from testbed.decode import decode
from testbed.evidence import WIRE, CaptureCount, Evidence, HostFacts, Problem, ProgramEnd
from testbed.packet import Packet, Protocol
from testbed.pcap.frame import Capture
from testbed.plan import Plan, make_plan
from testbed.profile import kernel_version
from testbed.program import walk
from testbed.scenario.model import Expect, PacketClass, expect_on
from testbed.scenario.steps import Kill
from testbed.tcp.connection import Connection, Role
from testbed.tcp.trace import trace_connections
from testbed.verdict.asked import Asking, addresses, unsure_delays
from testbed.verdict.classes import is_a, name
from testbed.verdict.merge import dropped, merge
from testbed.verdict.shortfalls import find_shortcomings
from testbed.verdict.trips import find_fates
from testbed.verdict.value import FaultHit, Trip
from testbed.verdict.wire import Traffic, measure

TOLD = 5  # so many packets does a sentence tell of


@dataclass(frozen=True, slots=True)
class View:
    """All that checks ask of a run."""

    evidence: Evidence
    plan: Plan
    expect: Expect  # of the hosts' kernel
    places: Mapping[str, str]  # where in the file it stands, by path, what only a range of kernels is asked
    trace: Capture
    packets: tuple[Packet, ...]
    wire: tuple[Packet, ...]  # those of the wire's vantage point
    connections: tuple[Connection, ...]
    trips: tuple[Trip, ...]
    faults: tuple[FaultHit, ...]
    traffic: tuple[Traffic, ...]
    asking: Asking
    hosts: Mapping[str, str]  # names by address
    again: frozenset[int]  # packets of the wire that repeat an earlier one
    shortcomings: Mapping[str, str]
    broken: tuple[str, ...]
    blind: tuple[str, ...]
    cut: tuple[str, ...]
    by_number: Mapping[int, Packet]
    trip_of: Mapping[int, Trip]  # by each packet of the trip

    def line(self, path: str) -> int | None:
        """The scenario's line of a path, or of the nearest thing around it."""
        lines = self.evidence.run.lines
        path = self.places.get(path, path)
        while path and path not in lines:
            path = path.rpartition(".")[0]
        return lines.get(path)

    def seconds(self, time_ns: int) -> str:
        """A moment, counted from the start of the run."""
        return f"{(time_ns - self.evidence.run.started_ns) / 1e9:.3f} s"

    def host(self, address: str) -> str:
        """The name of a host; its address where it is none of ours."""
        return self.hosts.get(address, address)

    def say(self, number: int) -> str:
        """A packet in words: `packet 7 at 1.004 s on wire is SYN-ACK again (lost: chance)`."""
        packet = self.by_number[number]
        vantage = self.trace.interfaces[packet.interface].name
        again = " again" if number in self.again else ""
        trip = self.trip_of.get(number)
        lost = f" (lost: {trip.cause})" if trip is not None and trip.fate == "lost" else ""
        who = f" from {self.host(packet.source)}"
        return f"packet {number} at {self.seconds(packet.time_ns)} on {vantage} is {name(packet)}{again}{who}{lost}"

    def say_all(self, numbers: Iterable[int]) -> str:
        """Several packets in words, the middle of many left out."""
        shown = tuple(numbers)
        if len(shown) <= TOLD:
            return "; ".join(map(self.say, shown))
        return "; ".join((*map(self.say, shown[:2]), f"{len(shown) - 4} more", *map(self.say, shown[-2:])))


def look(evidence: Evidence) -> View:
    """Merge, decode, follow connections and trips."""
    plan = make_plan(evidence.run.scenario, evidence.scenario)
    trace = merge(evidence)
    packets = decode(trace).packets
    wire = tuple(packet for packet in packets if trace.interfaces[packet.interface].name == WIRE)
    connections = tuple(trace_connections([packet for packet in wire if packet.protocol == Protocol.TCP]))
    fates = find_fates(evidence, plan, trace, packets)
    by_number = {packet.number: packet for packet in packets}
    traffic = measure(plan, fates.asking, fates.trips, by_number, unsure_delays(evidence))
    shortcomings = find_shortcomings(evidence, plan, fates.asking, traffic, wire)
    expect, places = expect_on(evidence.scenario.expect, kernel_of(evidence))
    return View(
        evidence,
        plan,
        expect,
        places,
        trace,
        packets,
        wire,
        connections,
        fates.trips,
        fates.faults,
        traffic,
        fates.asking,
        addresses(evidence),
        frozenset(number for connection in connections for number in _repeats(connection, by_number)),
        shortcomings,
        (*_problems(evidence), *(f"the wire did not do what was asked: {says}" for says in shortcomings.values())),
        tuple(_blind(evidence)),
        tuple(_cut(wire)),
        by_number,
        {number: trip for trip in fates.trips for number in trip.numbers},
    )


def kernel_of(evidence: Evidence) -> tuple[int, int]:
    """The Linux version of the hosts; where they differ, the lowest."""
    return min((kernel_version(facts.kernel) for facts in evidence.all(HostFacts)), default=(0, 0))


def _repeats(connection: Connection, by_number: Mapping[int, Packet]) -> Iterator[int]:
    """Packets that take sequence space a second time: copies of SYN, SYN-ACK and FIN, and of data."""
    seen: set[tuple[str, int, PacketClass, int]] = set()
    for number in connection.packets:
        packet = by_number[number]
        for kind in (PacketClass.SYN, PacketClass.SYN_ACK, PacketClass.FIN):
            if is_a(packet, kind):
                end = packet.sequence + (packet.payload_length if kind is PacketClass.FIN else 0)
                place = (packet.source, packet.source_port, kind, end % 2**32)
                if place in seen:
                    yield number
                seen.add(place)
    for role in Role:
        yield from connection.flow(role).retransmitted_packets


def _problems(evidence: Evidence) -> Iterator[str]:
    yield from (f"{problem.where}: {problem.says}" for problem in evidence.all(Problem))
    yield from _killed(evidence)
    if not evidence.all(HostFacts):
        yield "no host came up"


def _killed(evidence: Evidence) -> Iterator[str]:
    """Programs that somebody else ended (the kernel short of memory, a person): the scenario did not take place."""
    roles = {facts.host: facts.role for facts in evidence.all(HostFacts)}
    for end in evidence.all(ProgramEnd):
        steps = walk(evidence.scenario.hosts[roles[end.host]].steps) if end.signal and end.host in roles else ()
        if end.signal and end.signal not in {step.kill for step in steps if isinstance(step, Kill)}:
            yield f"{end.host}: its program was killed by {end.signal}, which no step of it asks for"


def _blind(evidence: Evidence) -> Iterator[str]:
    capture = evidence.captures.get(WIRE)
    if capture is None:
        yield "nothing was captured on the wire"
        return
    if lost := dropped(evidence).get(WIRE):
        yield f"the capture on the wire missed {lost} packets, which the kernel dropped"
    for says in capture.warnings:
        yield f"the capture of the wire is not whole: {says}"
    counted = sum(count.packets for count in evidence.all(CaptureCount) if count.vantage == WIRE)
    if counted > len(capture.frames):
        yield f"the capture of the wire holds {len(capture.frames)} of the {counted} packets that it counted"


def _cut(wire: Iterable[Packet]) -> Iterator[str]:
    short = [packet for packet in wire if len(packet.payload) < packet.payload_length]
    if short:
        yield f"{len(short)} packets on the wire were cut, the first is packet {short[0].number}"
