"""The fate of every packet: delivered after so long, or lost, where and why.

Impairments live on arrival at a host, so a packet's way has four places: the sender's interface, the wire, the
receiver's interface, and what is behind the receiver's impaired link. What was seen at one and not at the next was
lost between the two; the ledger of the wire, a blackhole, or a loss asked for says why. Where none of them does, the
packet was simply never captured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address

from testbed.evidence import Evidence, FaultFired, HostFacts
from testbed.packet import Packet
from testbed.pcap.frame import Capture
from testbed.plan import Plan
from testbed.scenario.model import Impairment
from testbed.verdict import ledger
from testbed.verdict.merge import BEHIND
from testbed.verdict.value import FaultHit, Trip
from testbed.verdict.ways import Stage, Way, deliver, gather

NO_IMPAIRMENT = Impairment()
NEVER = "never captured"


@dataclass(frozen=True, slots=True)
class Fates:
    """Every packet's trip in order of the trace, and the ledger with the packets that it speaks of."""

    trips: tuple[Trip, ...]
    faults: tuple[FaultHit, ...]


def addresses(evidence: Evidence) -> dict[str, str]:
    """Host names by address, as `ipaddress` prints it."""
    return {str(ip_address(facts.address)): facts.host for facts in evidence.all(HostFacts)}


def asked(plan: Plan, source: str, destination: str) -> Impairment:
    """What was asked of one direction of the wire."""
    link = plan.link(destination)
    return link.sources.get(source, NO_IMPAIRMENT) if link else NO_IMPAIRMENT


def find_fates(evidence: Evidence, plan: Plan, trace: Capture, packets: Iterable[Packet]) -> Fates:
    """Match packets across vantage points."""
    copies = gather(packets, trace, addresses(evidence), evidence.run.engine)
    fired = evidence.all(FaultFired)
    names = frozenset(interface.name for interface in trace.interfaces)
    ledger.lay(fired, copies, plan, frozenset(name.removesuffix(BEHIND) for name in names if name.endswith(BEHIND)))
    ways: list[Way] = []
    for group in copies.values():
        wanted = [asked(plan, way.source, way.destination) for way in group.ways[:1]]
        ways += deliver(group, max((one.delay - one.jitter for one in wanted), default=0))
    ways.sort(key=lambda way: way.last.number if way.duplicate else way.first.number)
    end_ns = max((frame.time_ns for frame in trace.frames), default=0)
    return Fates(tuple(_trip(way, plan, names, end_ns) for way in ways), tuple(_hits(fired, ways, plan)))


def _hits(fired: Iterable[FaultFired], ways: Iterable[Way], plan: Plan) -> Iterable[FaultHit]:
    taken = {id(way.fault): way for way in ways if way.fault is not None}
    for entry in fired:
        way = taken.get(id(entry))
        seen = None if way is None else way.seen.get(Stage.WIRE, way.last).number
        yield FaultHit(entry.time_ns, entry.host, entry.rule, ledger.title(entry, plan), seen)


def _trip(way: Way, plan: Plan, names: frozenset[str], end_ns: int) -> Trip:
    fate, cause, ended_ns = _fate(way, plan, names, end_ns)
    numbers = {stage: packet.number for stage, packet in way.seen.items()}
    return Trip(
        way.source,
        way.destination,
        numbers.get(Stage.SENT),
        numbers.get(Stage.WIRE),
        numbers.get(Stage.ARRIVED),
        numbers.get(Stage.DELIVERED),
        way.first.time_ns,
        ended_ns,
        fate,
        cause,
    )


def _fate(way: Way, plan: Plan, names: frozenset[str], end_ns: int) -> tuple[str, str, int | None]:
    """Fate, cause of a loss, and the time of delivery."""
    if (delivered := way.seen.get(Stage.DELIVERED)) is not None:
        return "duplicate" if way.duplicate else "delivered", "", delivered.time_ns
    if way.fault is not None:
        return "lost", ledger.title(way.fault, plan), None
    arrived = way.seen.get(Stage.ARRIVED)
    if way.destination + BEHIND in names:
        return "lost", _cause(way, plan, end_ns), None
    if arrived is not None:
        return "delivered", "", arrived.time_ns
    if way.destination not in names:
        return "delivered", "", None  # nobody looked at the receiver: nothing speaks against it
    return "lost", NEVER, None


def _cause(way: Way, plan: Plan, end_ns: int) -> str:
    impairment = asked(plan, way.source, way.destination)
    if impairment.blackhole:
        return "blackhole"
    still_under_way = way.last.time_ns + impairment.delay + impairment.jitter > end_ns
    return "chance" if impairment.loss and not still_under_way else NEVER
