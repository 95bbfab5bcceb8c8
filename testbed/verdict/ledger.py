"""The wire's ledger laid to packets: which of the packets seen did a fault take?

An entry names the host on whose arrival side it happened, the time, the rule, and the packet in words. The packet is
the most recent one that had come in by then, is of the rule's class, and did not come out of the link.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping

from testbed.evidence import FaultFired
from testbed.packet import Packet
from testbed.plan import Plan
from testbed.scenario.model import Fault
from testbed.verdict.classes import is_a
from testbed.verdict.ways import CLOCKS_NS, Copies, Key, Way


def lay(fired: Iterable[FaultFired], copies: Mapping[Key, Copies], plan: Plan, seen_behind: frozenset[str]) -> None:
    """Set `fault` of each way that an entry of the ledger took. `seen_behind`: hosts behind whose link was captured."""
    arrivals: dict[str, list[Way]] = {}
    for group in copies.values():
        for way in group.ways:
            arrivals.setdefault(way.destination, []).append(way)
    for ways in arrivals.values():
        ways.sort(key=lambda way: way.last.time_ns)
    for entry in sorted(fired, key=lambda entry: entry.time_ns):
        ways = arrivals.get(entry.host, [])
        if (taken := _find(entry, ways, copies, plan, entry.host in seen_behind)) is not None:
            taken.fault = entry


def _find(entry: FaultFired, ways: list[Way], copies: Mapping[Key, Copies], plan: Plan, behind: bool) -> Way | None:
    until = bisect_right(ways, entry.time_ns + CLOCKS_NS, key=lambda way: way.last.time_ns)

    def free() -> Iterator[Way]:
        back = (ways[index] for index in range(until - 1, -1, -1))
        return (way for way in back if way.fault is None and (not behind or copies[way.key].missing > 0))

    if (named := next((way for way in free() if words(way.last) in entry.says), None)) is not None:
        return named
    rule = plan.scenario.faults[entry.rule] if 0 <= entry.rule < len(plan.scenario.faults) else None
    return next((way for way in free() if rule and sent_by(rule, way.source, plan) and is_a(way.last, rule.drop)), None)


def words(packet: Packet) -> str:
    """A packet as the ledger of the portable link describes it."""
    return (
        f"{endpoint(packet.source, packet.source_port)} > {endpoint(packet.destination, packet.destination_port)} "
        f"seq {packet.sequence} ack {packet.acknowledgement} len {packet.payload_length}"
    )


def endpoint(address: str, port: int) -> str:
    """`198.18.0.2:80` or `[fd00::2]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def sent_by(rule: Fault, host: str, plan: Plan) -> bool:
    """Whether a fault is about packets that this host sends."""
    return any(rule.from_ in (peer.name, peer.role) for peer in plan.hosts if peer.name == host)


def title(entry: FaultFired, plan: Plan) -> str:
    """What a fault did, for people: `fault 0: drop SYN-ACK`."""
    rules = plan.scenario.faults
    what = rules[entry.rule].drop.value if 0 <= entry.rule < len(rules) else entry.says
    return f"fault {entry.rule}: {entry.action} {what}"
