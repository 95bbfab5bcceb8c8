"""Where the wire did not do what was asked of it: the proof behind `wire.*` and `faults.*`.

Three witnesses are heard: the host, which read its qdiscs, filters and emulator back; the settings that its engine held
at the end; and the packets. A wire that did less, or more, than asked proves nothing about TCP, so each shortfall makes
the verdict unknown. Chance is given its due: only what is less likely than one in a million is held against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

from testbed.agent.impairments import NONE, Impairment, from_message, to_message
from testbed.evidence import Evidence, FaultFired, LinkCount, WireChanged
from testbed.packet import Packet
from testbed.plan import LinkPlan, Plan
from testbed.scenario.faults import Fault
from testbed.scenario.model import PacketClass
from testbed.verdict.asked import Asking, addresses
from testbed.verdict.classes import is_a
from testbed.verdict.ledger import sent_by
from testbed.verdict.merge import BEHIND
from testbed.verdict.odds import Odds, delay_bounds, draw_odds, loss_odds, reorder_odds, too_few, too_many
from testbed.verdict.wire import Share, Traffic, show_ms

SLACK_NS = 500_000  # a delay may be short by so much: capture times are not taken at the link itself
LATE_NS = 50_000_000  # and the median late by so much, or by LATE_PART of the delay: a busy machine
LATE_PART = 0.5
FAST_PART = 0.1  # and by so much of its own time at the rate
CLOSE = 1e-3  # settings may differ by this part: tc rounds what it shows


def find_shortcomings(
    evidence: Evidence, plan: Plan, asking: Asking, traffic: Iterable[Traffic], wire: Iterable[Packet]
) -> Mapping[str, str]:
    """Where the wire did not do what was asked: reasons by the scenario's path that asked (`wire.client->server`)."""
    found: dict[str, str] = {}
    for one in traffic:
        if one.is_impaired and (says := _shortfall(evidence, plan, asking, one)):
            found[f"wire.{one.name}"] = says
    packets = tuple(wire)
    for index, fault in enumerate(plan.scenario.faults):
        if says := _let_pass(evidence, plan, asking, index, fault, packets):
            found[f"faults.{index}"] = says
    return found


def _shortfall(evidence: Evidence, plan: Plan, asking: Asking, one: Traffic) -> str | None:
    host = one.whole.destination
    count = next((count for count in evidence.all(LinkCount) if count.host == host), None)
    link = plan.link(host)
    if count is None or link is None:
        return f"nothing is known of the impaired link of {host}"
    if host + BEHIND not in evidence.captures:
        return f"nothing was captured behind the impaired link of {host}"
    return (
        next(_standing(evidence, link, count), None)
        or next(_lost_by_itself(count), None)
        or next((says for share in one.shares for judge in MEASURES if (says := judge(share))), None)
    )


# ---------------------------------------------------------------- what the host told


def _standing(evidence: Evidence, link: LinkPlan, count: LinkCount) -> Iterator[str]:
    """What the host read back at the end, against what was asked of it."""
    if count.why:
        yield count.why
    held = {record.phase for record in evidence.all(WireChanged) if record.host == link.host}
    missing = [phase for phase in range(1, min(count.phase, len(link.phases)) + 1) if phase not in held]
    if missing:
        yield f"phase {missing[0]} of the timeline was never read back on {link.host}"
    if not 0 <= count.phase < len(link.phases):
        yield f"{link.host} is in phase {count.phase} of a timeline of {len(link.phases)}"
        return
    yield from _settings(evidence, link, count)


def _settings(evidence: Evidence, link: LinkPlan, count: LinkCount) -> Iterator[str]:
    names = addresses(evidence)
    sources = link.phases[count.phase].sources
    asked = {
        (source, port): wanted
        for source, course in sources.items()
        for port, wanted in ((None, course.impairment), *course.ports.items())
    }
    told = set()
    for setting in count.settings:
        held = dict(setting)
        way = names.get(str(held.pop("from", "")), ""), held.pop("port", None)
        told.add(way)
        if different := differences(asked.get(way, NONE), from_message(link.host, held)):
            yield f"at the end the link held {', '.join(different)} for {_way(way, link)}"
    for way, wanted in asked.items():
        if wanted != NONE and way not in told:
            yield f"nothing is known of what the link held at the end for {_way(way, link)}"


def _way(way: tuple[str, int | None], link: LinkPlan) -> str:
    source, port = way
    return f"{source or 'others'}->{link.host}" + (f" port {port}" if port is not None else "")


def differences(wanted: Impairment, had: Impairment) -> list[str]:
    """Where two impairments differ by more than tc rounds: `delay_ns 200000000 instead of 20000000`."""
    asked, found = to_message(wanted), to_message(had)
    return [
        f"{name} {found.get(name, 'nothing')} instead of {asked.get(name, 'nothing')}"
        for name in sorted({*asked, *found})
        if not _alike(getattr(wanted, name), getattr(had, name))
    ]


def _alike(wanted: object, had: object) -> bool:
    if isinstance(wanted, tuple) and isinstance(had, tuple):
        return len(wanted) == len(had) and all(map(_alike, wanted, had))
    if isinstance(wanted, int | float) and isinstance(had, int | float):
        return abs(wanted - had) <= CLOSE * max(abs(wanted), abs(had))
    return wanted == had


def _lost_by_itself(count: LinkCount) -> Iterator[str]:
    for reason in ("overrun", "refused"):
        if lost := count.dropped_by.get(reason, 0):
            yield f"the link of {count.host} lost {lost} packets by itself ({reason}): it was too slow for this traffic"


# ---------------------------------------------------------------- what the packets tell


def _through_blackhole(one: Share) -> str | None:
    if not one.asked.blackhole or not one.delivered:
        return None
    return f"a blackhole was asked for from {one.source} to {one.destination}, and {one.delivered} packets got through"


def _too_fast(one: Share) -> str | None:
    """Each packet for itself: the least delay, and its own time at the rate."""
    if one.asked.reorder_percent:
        return None  # those that overtake take no time; they are counted below
    delay_ns = delay_bounds(one.asked)[0]
    for crossing in one.crossings:
        least_ns = delay_ns + _own_time_ns(crossing.size, one.asked)
        if crossing.took_ns is not None and crossing.took_ns < least_ns - SLACK_NS:
            return (
                f"at least {show_ms(least_ns)} were asked for from {one.source} to {one.destination}, "
                f"and packet {crossing.trip.wire or crossing.trip.delivered} took {show_ms(crossing.took_ns)}"
            )
    return None


def _own_time_ns(size: int, asked: Impairment) -> int:
    return size * 8_000_000_000 // asked.rate_bit if asked.rate_bit else 0


def _too_slow(one: Share) -> str | None:
    """The median, since a busy machine may hold back a few; a queue behind a rate has no upper bound."""
    most = delay_bounds(one.asked)[1]
    middle = one.quantile_ns(0.5)
    if one.asked.rate_bit or middle is None or middle - one.unsure_ns <= most + max(LATE_NS, LATE_PART * most):
        return None
    return (
        f"at most {show_ms(most)} were asked for from {one.source} to {one.destination}, "
        f"and half of {len(one.delays_ns)} packets took {show_ms(middle)} or more"
    )


def _over_rate(one: Share) -> str | None:
    """No packet may come out before the rate has let those before it pass, one after the other.

    What a busy machine holds back comes late, and so never counts against this. Jitter and reordering let packets
    overtake: then each is judged for itself alone (`_too_fast`).
    """
    asked = one.asked
    if not asked.rate_bit or asked.jitter_ns or asked.reorder_percent:
        return None
    free_ns = 0
    for crossing in one.crossings:
        if crossing.took_ns is None or crossing.trip.by:
            continue
        own_ns = _own_time_ns(crossing.size, asked)
        free_ns = max(crossing.arrived_ns + asked.delay_ns, free_ns) + own_ns
        early_ns = free_ns - crossing.arrived_ns - crossing.took_ns
        if early_ns > SLACK_NS + FAST_PART * own_ns:
            return (
                f"{asked.rate_bit} bit/s were asked for from {one.source} to {one.destination}, and packet "
                f"{crossing.trip.wire or crossing.trip.delivered} came out {show_ms(early_ns)} before its turn"
            )
    return None


def _loss(one: Share) -> str | None:
    if one.asked.blackhole or one.by_queue:
        return None  # what found no room may have been lost by chance too: which, nobody can tell
    return _count(one, one.chances, one.lost_by_chance, "lost", loss_odds)


def _duplicates(one: Share) -> str | None:
    return _count(
        one,
        one.delivered,
        one.duplicates,
        "duplicated",
        lambda asked: draw_odds(asked.duplicate_percent, asked.duplicate_correlation_percent),
    )


def _corruption(one: Share) -> str | None:
    return _count(
        one,
        one.delivered,
        one.corrupted,
        "corrupted",
        lambda asked: draw_odds(asked.corrupt_percent, asked.corrupt_correlation_percent),
    )


def _reordering(one: Share) -> str | None:
    """Packets that overtook: they took less than half of the least delay."""
    least = delay_bounds(one.asked)[0]
    if not one.asked.reorder_percent or least < 4 * SLACK_NS:
        return None
    timed = [crossing.took_ns for crossing in one.crossings if crossing.took_ns is not None]
    return _count(one, len(timed), sum(took < least / 2 for took in timed), "reordered", reorder_odds)


def _count(one: Share, tries: int, hits: int, what: str, odds_of: Callable[[Impairment], Odds]) -> str | None:
    odds = odds_of(one.asked)
    few, many = too_few(hits, tries, odds), too_many(hits, tries, odds)
    if not few and not many:
        return None
    return (
        f"{100 * odds.rate:.4g}% {what} was asked for from {one.source} to {one.destination}, and {hits} of {tries} "
        f"packets were: {'less' if few else 'more'} than chance explains"
    )


MEASURES = (_through_blackhole, _too_fast, _too_slow, _over_rate, _loss, _duplicates, _corruption, _reordering)


# ---------------------------------------------------------------- faults


def _let_pass(
    evidence: Evidence, plan: Plan, asking: Asking, index: int, fault: Fault, wire: tuple[Packet, ...]
) -> str | None:
    """A fault that never fired although the wire saw its packet."""
    if any(entry.rule == index for entry in evidence.all(FaultFired)):
        return None
    passed = next(_meant(fault, plan, asking, addresses(evidence), wire), None)
    if passed is None:
        return None
    return f"fault {index} never fired, and packet {passed.number} on wire is a {fault.kind.value} from {fault.from_}"


def _meant(
    fault: Fault, plan: Plan, asking: Asking, hosts: Mapping[str, str], wire: Iterable[Packet]
) -> Iterator[Packet]:
    """The packets on the wire that a fault names by class, sender and count, where no blackhole takes them first.

    Which of them carries certain bytes, or is a retransmission, only the link itself has counted.
    """
    if fault.every is not None or fault.contains is not None or fault.retransmissions != "too":
        return
    first = 1 if fault.nth == "all" else fault.nth.low or 1
    seen: Counter[tuple[object, ...]] = Counter()
    opened: set[tuple[object, ...]] = set()
    for packet in wire:
        source, destination = hosts.get(packet.source, ""), hosts.get(packet.destination, "")
        if not destination or not sent_by(fault, source, plan):
            continue
        ports = (packet.source_port, packet.destination_port)
        if asking.of_packet(source, destination, packet.time_ns, ports).blackhole:
            continue
        flow = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        if is_a(packet, PacketClass.SYN):
            opened.add(flow)
        if is_a(packet, fault.kind) and (fault.kind is not PacketClass.HANDSHAKE_ACK or flow in opened):
            seen[flow] += 1
            if seen[flow] >= first:
                yield packet
