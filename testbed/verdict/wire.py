"""What the wire did, held against what was asked of it.

Measured from the trips, one direction at a time. A wire that did less than asked (a shorter delay, too few losses for
chance to explain, packets through a blackhole, a fault that let its packet pass) proves nothing about TCP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import exp, lgamma, log, log1p

from testbed.evidence import Evidence, FaultFired, LinkCount
from testbed.packet import Packet
from testbed.plan import Plan
from testbed.scenario.model import Fault, Impairment, PacketClass
from testbed.verdict.classes import is_a
from testbed.verdict.ledger import sent_by
from testbed.verdict.merge import BEHIND
from testbed.verdict.trips import NO_IMPAIRMENT, addresses, asked
from testbed.verdict.value import Trip

SLACK_NS = 500_000  # a delay may be short by so much: capture times are not taken at the link itself
CHANCE = 1e-6  # what is less likely than this is not taken for chance


@dataclass(frozen=True, slots=True)
class Traffic:
    """One direction of the wire: what was asked, and what became of the packets. Times in nanoseconds, in order."""

    source: str
    destination: str
    asked: Impairment
    packets: int
    delivered: int
    lost: int
    by_fault: int  # of those lost
    unexplained: int  # of those lost: "never captured"
    duplicates: int
    delays_ns: tuple[int, ...]
    fastest: Trip | None = None

    @property
    def name(self) -> str:
        """The direction as scenarios write it."""
        return f"{self.source}->{self.destination}"

    @property
    def loss_percent(self) -> float | None:
        """Of the packets that no fault took, how many were lost."""
        chances = self.packets - self.by_fault
        return 100 * (self.lost - self.by_fault) / chances if chances else None

    def quantile_ns(self, part: float) -> int | None:
        """The delay that so large a part of the delivered packets stayed within (nearest rank)."""
        last = len(self.delays_ns) - 1
        return self.delays_ns[round(part * last)] if self.delays_ns else None


def measure(plan: Plan, trips: Iterable[Trip]) -> tuple[Traffic, ...]:
    """The traffic of each direction that had packets, or of which something was asked."""
    by_direction: dict[tuple[str, str], list[Trip]] = {}
    for trip in trips:
        by_direction.setdefault((trip.source, trip.destination), []).append(trip)
    names = [host.name for host in plan.hosts]
    directions = ((a, b) for a in names for b in names if a != b)
    return tuple(
        _measure(plan, direction, by_direction.get(direction, []))
        for direction in directions
        if direction in by_direction or asked(plan, *direction) != NO_IMPAIRMENT
    )


def _measure(plan: Plan, direction: tuple[str, str], trips: list[Trip]) -> Traffic:
    timed = [(trip.ended_ns - trip.sent_ns, trip) for trip in trips if trip.ended_ns and trip.sent_ns]
    fates = Counter(trip.fate for trip in trips)
    lost = [trip for trip in trips if trip.fate == "lost"]
    return Traffic(
        *direction,
        asked(plan, *direction),
        fates["delivered"] + fates["lost"],
        fates["delivered"],
        fates["lost"],
        sum(trip.cause.startswith("fault ") for trip in lost),
        sum(trip.cause == "never captured" for trip in lost),
        fates["duplicate"],
        tuple(sorted(taken for taken, _ in timed)),
        min(timed, key=lambda pair: pair[0])[1] if timed else None,
    )


def find_shortcomings(
    evidence: Evidence, plan: Plan, traffic: Iterable[Traffic], wire: Iterable[Packet]
) -> Mapping[str, str]:
    """Where the wire did less than was asked: reasons by the scenario's path that asked (`wire.client->server`)."""
    found: dict[str, str] = {}
    for one in traffic:
        if one.asked != NO_IMPAIRMENT and (says := _shortcoming(evidence, one)):
            found[f"wire.{one.name}"] = says
    packets = tuple(wire)
    for index, fault in enumerate(plan.scenario.faults):
        if says := _let_pass(evidence, plan, index, fault, packets):
            found[f"faults.{index}"] = says
    return found


def _shortcoming(evidence: Evidence, one: Traffic) -> str | None:
    counts = [count for count in evidence.all(LinkCount) if count.host == one.destination]
    if not counts:
        return f"nothing is known of the impaired link of {one.destination}"
    if one.destination + BEHIND not in evidence.captures:
        return f"nothing was captured behind the impaired link of {one.destination}"
    return next((says for judge in _MEASURES if (says := judge(one))), None)


def _through_blackhole(one: Traffic) -> str | None:
    if not one.asked.blackhole or not one.delivered:
        return None
    return f"a blackhole was asked for from {one.source} to {one.destination}, and {one.delivered} packets got through"


def _too_fast(one: Traffic) -> str | None:
    least = one.asked.delay - one.asked.jitter
    if not one.delays_ns or one.fastest is None or one.delays_ns[0] >= least - SLACK_NS:
        return None
    return (
        f"at least {show_ms(least)} were asked for from {one.source} to {one.destination}, "
        f"and packet {one.fastest.wire or one.fastest.delivered} took {show_ms(one.delays_ns[0])}"
    )


def _too_few_lost(one: Traffic) -> str | None:
    tries, hits = one.packets - one.by_fault, one.lost - one.by_fault
    return _too_few(tries, hits, one.asked.loss, "lost", one)


def _too_few_duplicated(one: Traffic) -> str | None:
    return _too_few(one.delivered, one.duplicates, one.asked.duplicate, "duplicated", one)


def _too_few(tries: int, hits: int, percent: float, what: str, one: Traffic) -> str | None:
    if not percent or at_most(hits, tries, percent / 100) >= CHANCE:
        return None
    return (
        f"{percent:g}% {what} was asked for from {one.source} to {one.destination}, "
        f"and {hits} of {tries} packets were: more than chance explains"
    )


_MEASURES = (_through_blackhole, _too_fast, _too_few_lost, _too_few_duplicated)


def at_most(hits: int, tries: int, chance: float) -> float:
    """The probability of so many hits or fewer (the binomial distribution's lower tail)."""
    if hits >= tries or chance <= 0:
        return 1.0
    if chance >= 1:
        return 0.0
    terms = (
        lgamma(tries + 1) - lgamma(k + 1) - lgamma(tries - k + 1) + k * log(chance) + (tries - k) * log1p(-chance)
        for k in range(hits + 1)
    )
    return min(1.0, sum(exp(term) for term in terms))


def _let_pass(evidence: Evidence, plan: Plan, index: int, fault: Fault, wire: tuple[Packet, ...]) -> str | None:
    """A fault that never fired although the wire saw its packet."""
    if any(entry.rule == index for entry in evidence.all(FaultFired)):
        return None
    passed = next(_meant(fault, plan, addresses(evidence), wire), None)
    if passed is None:
        return None
    return f"fault {index} never fired, and packet {passed.number} on wire is a {fault.drop.value} from {fault.from_}"


def _meant(fault: Fault, plan: Plan, hosts: Mapping[str, str], wire: Iterable[Packet]) -> Iterator[Packet]:
    """The packets on the wire that a fault names by class, sender and count, where no blackhole takes them first."""
    first = 1 if fault.nth == "all" else fault.nth.low or 1
    seen: Counter[tuple[object, ...]] = Counter()
    opened: set[tuple[object, ...]] = set()
    for packet in wire:
        source, destination = hosts.get(packet.source, ""), hosts.get(packet.destination, "")
        if not destination or not sent_by(fault, source, plan) or asked(plan, source, destination).blackhole:
            continue
        flow = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if is_a(packet, PacketClass.SYN):
            opened.add(flow)
        if is_a(packet, fault.drop) and (fault.drop is not PacketClass.HANDSHAKE_ACK or flow in opened):
            seen[flow] += 1
            if seen[flow] >= first:
                yield packet


def show_ms(time_ns: int) -> str:
    """A time as scenarios write it: `50ms`, `1.004s`."""
    if abs(time_ns) >= 1_000_000_000:
        return f"{time_ns / 1e9:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{time_ns / 1e6:.3f}".rstrip("0").rstrip(".") + "ms"
