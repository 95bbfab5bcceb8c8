"""The fate of every packet: delivered after so long, changed on the way, or lost, where and why.

Impairments live on arrival at a host, so a packet's way has four places: the sender's interface, the wire, the
receiver's interface, and what is behind the receiver's impaired link. What was seen at one and not at the next was
lost between the two; the ledger of the wire, a blackhole, a full queue, or a loss asked for says why. Where none of
them does, the packet was simply never captured. What came out without having gone in was changed by a bit, or forged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from testbed.agent.impairments import LIMIT, LOSS_MODELS, Impairment
from testbed.evidence import Evidence, FaultFired, LinkCount, WireChanged
from testbed.packet import Packet
from testbed.pcap.frame import Capture
from testbed.plan import Plan
from testbed.verdict import ledger
from testbed.verdict.asked import Asking, addresses
from testbed.verdict.flipped import find_flipped
from testbed.verdict.merge import BEHIND
from testbed.verdict.odds import delay_bounds
from testbed.verdict.value import EITHER, FULL, NEVER_CAPTURED, Change, FaultHit, Trip
from testbed.verdict.ways import Copies, Key, Stage, Way, deliver, gather

CHANGES = {"delay": Change.DELAYED, "rewrite": Change.REWRITTEN, "corrupt": Change.CORRUPTED}


@dataclass(frozen=True, slots=True)
class Fates:
    """Every packet's trip in order of the trace, and the ledger with the packets that it speaks of."""

    trips: tuple[Trip, ...]
    faults: tuple[FaultHit, ...]
    asking: Asking


@dataclass(frozen=True, slots=True)
class _Run:
    """What the cause of a loss is found from."""

    asking: Asking
    names: frozenset[str]  # of the vantage points
    end_ns: int
    full: frozenset[str]  # hosts whose link dropped packets because its queue was full


def find_fates(evidence: Evidence, plan: Plan, trace: Capture, packets: Iterable[Packet]) -> Fates:
    """Match packets across vantage points."""
    asking = Asking.of(plan, evidence.all(WireChanged))
    copies = gather(packets, trace, addresses(evidence), evidence.run.engine)
    fired = evidence.all(FaultFired)
    ways = [*ledger.lay(fired, copies, trace.frames), *_delivered(copies, asking)]
    ways = find_flipped(ways, trace, evidence.run.engine)
    ways.sort(key=_order)
    run = _Run(
        asking,
        frozenset(interface.name for interface in trace.interfaces),
        max((frame.time_ns for frame in trace.frames), default=0),
        frozenset(count.host for count in evidence.all(LinkCount) if count.dropped_by.get("queue")),
    )
    trips = tuple(_trip(way, run) for way in ways)
    return Fates(trips, tuple(_hits(fired, ways, plan)), asking)


def _order(way: Way) -> int:
    return way.last.number if way.duplicate else way.first.number


def _delivered(copies: Mapping[Key, Copies], asking: Asking) -> Iterator[Way]:
    for group in copies.values():
        yield from deliver(group, _least_ns(asking, group.source, group.destination))


def _least_ns(asking: Asking, source: str, destination: str) -> int:
    """The least time that a link took, whatever a packet's ports and the phase; some packets may skip a delay."""
    wanted = asking.ever(source, destination)
    if asking.changes.get(destination) or any(one.reorder_percent for one in wanted):
        return 0
    return min((delay_bounds(one)[0] for one in wanted), default=0)


def _hits(fired: Iterable[FaultFired], ways: Iterable[Way], plan: Plan) -> Iterator[FaultHit]:
    met: dict[int, Way] = {}
    made: dict[int, list[int]] = {}
    for way in ways:
        if way.fault is None:
            continue
        if way.forged or way.duplicate or way.altered:
            shown = way.seen.get(Stage.WIRE, way.last) if way.forged else way.last
            made.setdefault(id(way.fault), []).append(shown.number)
        if not way.forged and not way.duplicate:
            met[id(way.fault)] = way
    for entry in fired:
        found = met.get(id(entry))
        seen = None if found is None else found.seen.get(Stage.WIRE, found.first).number
        says = ledger.title(entry, plan)
        yield FaultHit(entry.time_ns, entry.host, entry.rule, says, seen, tuple(made.get(id(entry), ())))


def _trip(way: Way, run: _Run) -> Trip:
    fate, cause, ended_ns = _fate(way, run)
    change, by = _change(way, run.asking.plan)
    numbers = {stage: packet.number for stage, packet in way.seen.items()}
    return Trip(
        way.source,
        way.destination,
        numbers.get(Stage.SENT),
        numbers.get(Stage.WIRE),
        numbers.get(Stage.ARRIVED),
        numbers.get(Stage.DELIVERED),
        None if min(way.seen) is Stage.DELIVERED else way.first.time_ns,
        ended_ns,
        fate,
        cause,
        change,
        by,
    )


def _change(way: Way, plan: Plan) -> tuple[Change, str]:
    by = ledger.title(way.fault, plan) if way.fault else "chance"
    if way.forged:
        return Change.FORGED, by
    if way.flipped:
        return Change.CORRUPTED, "chance"
    if way.duplicate:
        return Change.DUPLICATED, by
    if way.fault and (way.altered or way.fault.action == "delay"):
        return CHANGES[way.fault.action], by
    return Change.NONE, ""


def _fate(way: Way, run: _Run) -> tuple[str, str, int | None]:
    """Fate, cause of a loss, and the time of delivery."""
    if (delivered := way.seen.get(Stage.DELIVERED)) is not None:
        return "duplicate" if way.duplicate else "delivered", "", delivered.time_ns
    if way.fault is not None and way.taken and not _replaced(way.fault):
        return "lost", ledger.title(way.fault, run.asking.plan), None
    arrived = way.seen.get(Stage.ARRIVED)
    if way.destination + BEHIND in run.names:
        return "lost", _cause(way, run), None
    if arrived is not None:
        return "delivered", "", arrived.time_ns
    if way.destination not in run.names:
        return "delivered", "", None  # nobody looked at the receiver: nothing speaks against it
    return "lost", NEVER_CAPTURED, None


def _replaced(entry: FaultFired) -> bool:
    """Whether a packet that did not pass went on in another shape: what lost that, the fault did not."""
    return entry.action in ledger.ALTERING and any(made.to == "receiver" for made in entry.made)


def _cause(way: Way, run: _Run) -> str:
    if Stage.ARRIVED not in way.seen and way.destination in run.names:
        return NEVER_CAPTURED  # it never came as far as the link
    packet = way.last
    asked = run.asking.of_packet(
        way.source, way.destination, packet.time_ns, (packet.source_port, packet.destination_port)
    )
    if asked.blackhole:
        return "blackhole"
    if way.last.time_ns + delay_bounds(asked)[1] > run.end_ns:
        return NEVER_CAPTURED  # still under way when the captures ended
    full = way.destination in run.full and (asked.rate_bit or asked.limit_packets != LIMIT)
    if may_lose(asked):
        return EITHER if full else "chance"
    return FULL if full else NEVER_CAPTURED


def may_lose(asked: Impairment) -> bool:
    """Whether an impairment loses packets by chance."""
    return any(getattr(asked, name) for name in LOSS_MODELS)
