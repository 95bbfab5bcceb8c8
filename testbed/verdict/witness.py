"""Two witnesses of one end's state: what it said on the wire, and what sock_diag(7) showed of its socket.

The wire shows no state: it shows what an end cannot have said before it was in one (AFTER: who has sent a FIN is no
longer ESTABLISHED), and what must have come to it before it could get into one (BEFORE: no CLOSE_WAIT without a FIN).
Where the kernel's samples say otherwise the two contradict each other, and a check `kernel.HOST` fails with packets
and times; where all agrees nothing is said. What a packet met behind the wire does not matter: only what was said
counts.

A state may be seen as late as twice the longest time between two samples (`Sampling`), so it counts only when it was
seen that much later than the packet. Left out are connections whose address pair had more than one life, packets that
no kernel sent (where steps inject some), and ends whose packets were rewritten on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from testbed.evidence import Sampling, StateSample
from testbed.packet import Flags, Packet
from testbed.program import walk
from testbed.scenario.steps import Inject
from testbed.tcp.connection import Connection, Endpoint
from testbed.tcp.sequence import HALF, MASK
from testbed.verdict.kind import Answer, Kind, Question
from testbed.verdict.ledger import endpoint
from testbed.verdict.value import Change, Outcome
from testbed.verdict.view import View

EARLY_NS = 5_000_000  # the sniffer may get its copy this much after the host has dealt with its own

# What an end has said on the wire: the states in which its kernel can be from then on.
AFTER: Mapping[str, frozenset[str]] = {
    "acknowledged a segment": frozenset(
        {"SYN_RECV", "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT", "CLOSE"}
    ),
    "sent a FIN": frozenset({"FIN_WAIT1", "FIN_WAIT2", "CLOSING", "LAST_ACK", "TIME_WAIT", "CLOSE"}),
    "acknowledged a FIN": frozenset({"CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT", "CLOSE"}),
}
# The states of a kernel: what must have been on the wire before.
BEFORE: Mapping[str, tuple[str, ...]] = {
    "SYN_RECV": ("was sent a SYN",),
    "ESTABLISHED": ("was sent an ACK",),
    "FIN_WAIT2": ("sent a FIN", "had its FIN acknowledged"),
    "CLOSE_WAIT": ("was sent a FIN",),
    "CLOSING": ("was sent a FIN",),
    "LAST_ACK": ("was sent a FIN",),
    "TIME_WAIT": ("sent a FIN", "had its FIN acknowledged", "was sent a FIN"),
}


@dataclass(frozen=True, slots=True)
class Contradiction:
    """A kernel's state that the packets of its connection speak against."""

    host: str
    packets: str  # what they say
    kernel: str  # what it says
    numbers: tuple[int, ...]


@dataclass(slots=True)
class Said:
    """The first packet of each thing that was said, by what it shows of one end."""

    first: dict[str, Packet] = field(default_factory=dict)
    fin: int | None = None  # the number behind its FIN
    peer_fin: int | None = None

    def hear(self, packet: Packet, own: bool) -> None:
        """One more packet of the connection, by this end or by its peer."""
        acknowledges = bool(packet.flags & Flags.ACK) and not packet.flags & Flags.RST
        if own:
            self._hear_own(packet, acknowledges)
        else:
            self._hear_peer(packet, acknowledges)

    def _hear_own(self, packet: Packet, acknowledges: bool) -> None:
        if acknowledges:
            self._note("acknowledged a segment", packet)
        if packet.flags & Flags.FIN:
            self._note("sent a FIN", packet)
            self.fin = _behind(packet) if self.fin is None else self.fin
        if acknowledges and _covers(packet, self.peer_fin):
            self._note("acknowledged a FIN", packet)

    def _hear_peer(self, packet: Packet, acknowledges: bool) -> None:
        if packet.flags & Flags.SYN:
            self._note("was sent a SYN", packet)
        if acknowledges:
            self._note("was sent an ACK", packet)
        if packet.flags & Flags.FIN:
            self._note("was sent a FIN", packet)
            self.peer_fin = _behind(packet) if self.peer_fin is None else self.peer_fin
        if acknowledges and _covers(packet, self.fin):
            self._note("had its FIN acknowledged", packet)

    def _note(self, what: str, packet: Packet) -> None:
        self.first.setdefault(what, packet)


def _behind(packet: Packet) -> int:
    return (packet.sequence + packet.payload_length + 1) & MASK


def _covers(packet: Packet, fin: int | None) -> bool:
    return fin is not None and (packet.acknowledgement - fin) & MASK < HALF


def contradictions(view: View) -> Iterator[Contradiction]:
    """Every state of a kernel that the wire speaks against."""
    sampled = {one.host: one for one in view.evidence.all(Sampling)}
    if not sampled:
        return
    lives = _lives(view)
    times = Counter(pair for connection in view.connections for pair in _pairs(connection))
    forged = any(
        isinstance(step, Inject) for host in view.evidence.scenario.hosts.values() for step in walk(host.steps)
    )
    for connection in view.connections:
        for end, peer in ((connection.client, connection.server), (connection.server, connection.client)):
            host, pair = view.host(end.address), (end, peer)
            samples = lives.get((host, f"{_label(end)} {_label(peer)}"), ())
            if host in sampled and samples and times[pair] == 1 and not _is_altered(view, connection):
                said = _listen(view, connection, end)
                if not forged:
                    yield from _afterwards(view, sampled[host], samples, said)
                yield from _beforehand(view, samples, said)


def _label(end: Endpoint) -> str:
    return endpoint(end.address, end.port)


def _pairs(connection: Connection) -> tuple[tuple[Endpoint, Endpoint], ...]:
    return (connection.client, connection.server), (connection.server, connection.client)


def _lives(view: View) -> dict[tuple[str, str], tuple[StateSample, ...]]:
    """The samples of each socket that had one life, by host and addresses."""
    found: dict[tuple[str, str], list[StateSample]] = {}
    for sample in view.evidence.all(StateSample):
        found.setdefault((sample.host, sample.socket), []).append(sample)
    return {key: tuple(life) for key, life in found.items() if [one.before for one in life].count("CLOSE") == 1}


def _is_altered(view: View, connection: Connection) -> bool:
    trips = (view.trip_of.get(number) for number in connection.packets)
    return any(trip is not None and trip.change in (Change.REWRITTEN, Change.CORRUPTED) for trip in trips)


def _listen(view: View, connection: Connection, end: Endpoint) -> Said:
    said = Said()
    for number in connection.packets:
        packet = view.by_number[number]
        if packet.checksum_ok is not False:
            said.hear(packet, (packet.source, packet.source_port) == (end.address, end.port))
    return said


def _afterwards(view: View, sampling: Sampling, samples: Sequence[StateSample], said: Said) -> Iterator[Contradiction]:
    for what, states in AFTER.items():
        packet = said.first.get(what)
        if packet is None:
            continue
        # Twice: a dump takes its time too, and may have passed this socket just before the packet.
        sure_ns = packet.time_ns + 2 * sampling.longest_gap_ns + EARLY_NS
        if sampling.last_ns < sure_ns:
            continue
        held = bisect_right(samples, sure_ns, key=lambda sample: sample.time_ns)
        wrong = next((one for one in samples[max(0, held - 1) :] if one.after not in states), None)
        if wrong is not None:
            at_ns = max(wrong.time_ns, sure_ns)
            yield Contradiction(
                sampling.host,
                f"{sampling.host} {what}: {view.say(packet.number)}",
                f"at {view.seconds(at_ns)} {wrong.socket} was in {wrong.after}",
                (packet.number,),
            )


def _beforehand(view: View, samples: Iterable[StateSample], said: Said) -> Iterator[Contradiction]:
    for sample in samples:
        for what in BEFORE.get(sample.after, ()):
            packet = said.first.get(what)
            if packet is not None and packet.time_ns <= sample.time_ns + EARLY_NS:
                continue
            when = "never" if packet is None else f"only then: {view.say(packet.number)}"
            yield Contradiction(
                sample.host,
                f"{sample.host} {what}, {when}",
                f"at {view.seconds(sample.time_ns)} {sample.socket} was in {sample.after}",
                () if packet is None else (packet.number,),
            )


def _ask(view: View) -> Iterator[Question]:
    found: dict[str, list[Contradiction]] = {}
    for one in contradictions(view):
        found.setdefault(one.host, []).append(one)
    for host, its in found.items():
        role = next((plan.role for plan in view.plan.hosts if plan.name == host), host)
        yield Question(f"kernel.{host}", f"hosts.{role}", its)


def _answer(view: View, question: Question) -> Answer:
    first, more = question.wanted[0], len(question.wanted) - 1
    why = f"the kernel and the wire contradict each other: {first.kernel}, and {first.packets}"
    if more:
        why += f"; and {more} more of it"
    return Answer(Outcome.FAILED, first.packets, first.kernel, why, first.numbers)


CHECKS = (Kind(_ask, _answer, rests_on_packets=True),)
