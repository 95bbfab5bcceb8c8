"""Whether the machine kept pace: how much later than due a program went on, or a packet came; and which overtook.

What TCP does hangs on time: Linux sends again what was not acknowledged for 200 ms (TCP_RTO_MIN, include/net/tcp.h),
and scenarios set one step against another. A busy machine that holds a program or a packet back for long brings
about what nobody asked for. So what has failed counts only where nothing was late by half of that; what has passed has.

Between two processors packets of one connection may change places in the kernel, before they come to the wire: an ACK
that the timer sends, and the FIN of a program. Where nobody asked for that, it does not count either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

from testbed.agent.impairments import Impairment
from testbed.evidence import StepOutcome
from testbed.scenario.steps import Mark, Parallel, Sleep, Step, Wait
from testbed.verdict.asked import unsure_delays
from testbed.verdict.odds import delay_bounds
from testbed.verdict.program_checks import find_step, name_step, program
from testbed.verdict.value import Change, Trip
from testbed.verdict.view import View
from testbed.verdict.wire import show_ms

LATE_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Late:
    """Something that came later than it was due, by how much, and what it was in words."""

    by_ns: int
    says: str


def find_late(view: View) -> str:
    """What was latest, or else which packets changed places, in words; empty where the machine kept pace."""
    worst = max(chain(_programs(view), _waits(view), _packets(view)), key=lambda late: late.by_ns, default=None)
    return worst.says if worst is not None and worst.by_ns >= LATE_NS else next(_overtaking(view), "")


def asked_at_most_ns(view: View, trip: Trip) -> int | None:
    """The longest that a packet was to be under way, with what a fault added; None behind a queue, which has no bound.

    Hosts and bridge take some microseconds more.
    """
    asked, _ = _asked(view, trip)
    if asked.rate_bit:
        return None
    return delay_bounds(asked)[1] + (_fault_ns(view, trip) if trip.change is Change.DELAYED else 0)


def _asked(view: View, trip: Trip) -> tuple[Impairment, tuple[int, int]]:
    """What was asked for a packet, and its ports."""
    packet = view.by_number[trip.number]
    ports = (packet.source_port, packet.destination_port)
    return view.asking.of_packet(trip.source, trip.destination, packet.time_ns, ports), ports


def _fault_ns(view: View, trip: Trip) -> int:
    """For how long faults have held a packet back."""
    rules = (view.evidence.scenario.faults[hit.rule] for hit in view.faults if hit.packet == trip.number)
    return max((rule.by or 0 for rule in rules), default=0)


def _packets(view: View) -> Iterator[Late]:
    unsure = unsure_delays(view.evidence)
    for trip in view.trips:
        if trip.fate != "delivered" or trip.ended_ns is None or trip.sent_ns is None:
            continue
        took_ns = trip.ended_ns - trip.sent_ns - unsure.get((trip.source, trip.destination), 0)
        if took_ns < LATE_NS or (most_ns := asked_at_most_ns(view, trip)) is None:
            continue
        says = f"packet {trip.number} was under way for {show_ms(took_ns)}, and {show_ms(most_ns)} were asked for"
        yield Late(took_ns - most_ns, says)


def _overtaking(view: View) -> Iterator[str]:
    """Packets that came before one of their flow that was sent earlier, where what was asked of both keeps order."""
    flows: dict[tuple[str, str, int, int], tuple[int, int, Impairment]] = {}  # the last to come: when, which, and how
    for trip in sorted((trip for trip in view.trips if _goes_straight(trip)), key=lambda trip: trip.sent_ns or 0):
        asked, ports = _asked(view, trip)
        flow = (trip.source, trip.destination, *ports)
        came_ns, earlier, its = flows.get(flow, (0, 0, asked))
        ended_ns = trip.ended_ns or 0
        if ended_ns >= came_ns:
            flows[flow] = (ended_ns, trip.number, asked)
        elif asked == its and not asked.jitter_ns and not asked.reorder_percent:
            yield f"packet {trip.number} overtook packet {earlier}"


def _goes_straight(trip: Trip) -> bool:
    """Whether a packet's sender was seen to send it, and only the wire itself decided when it came."""
    timed = trip.sent is not None and trip.sent_ns is not None and trip.ended_ns is not None
    return timed and trip.fate == "delivered" and trip.change is Change.NONE


def _programs(view: View) -> Iterator[Late]:
    """Steps that came long after the one before, and sleeps that were too long."""
    by_block: dict[tuple[str, str, tuple[int, ...]], list[StepOutcome]] = {}
    for outcome, step in _steps(view):
        block = outcome.path.rpartition(".")[0]
        if isinstance(find_step(program(view, outcome.host)[1], block), Parallel):
            continue  # what a program does at the same time waits for each other
        by_block.setdefault((outcome.host, block, outcome.round), []).append(outcome)
        if isinstance(step, Sleep):
            over_ns = outcome.end_ns - outcome.start_ns - step.sleep
            yield Late(over_ns, f"{name_step(outcome)} took {show_ms(over_ns)} longer than asked")
    for outcomes in by_block.values():
        outcomes.sort(key=_place)
        for before, after in pairwise(outcomes):
            if _place(after) == _place(before) + 1:
                pause_ns = (after.due_ns or after.start_ns) - before.end_ns
                yield Late(pause_ns, f"{name_step(after)} came {show_ms(pause_ns)} after the one before it had ended")


def _waits(view: View) -> Iterator[Late]:
    """Waits that went on long after what they wait for."""
    marked: dict[str, StepOutcome] = {}
    waits: list[tuple[str, StepOutcome]] = []
    for outcome, step in _steps(view):
        if isinstance(step, Mark):
            if (first := marked.get(step.mark)) is None or outcome.end_ns < first.end_ns:
                marked[step.mark] = outcome
        elif isinstance(step, Wait) and outcome.outcome == "ok":
            waits.append((step.wait, outcome))
    unsure = unsure_delays(view.evidence)
    for name, wait in waits:
        if (mark := marked.get(name)) is not None:
            late_ns = wait.end_ns - max(wait.start_ns, mark.end_ns) - unsure.get((mark.host, wait.host), 0)
            yield Late(late_ns, f"{name_step(wait)} ended {show_ms(late_ns)} after {mark.host} had marked {name}")


def _steps(view: View) -> Iterator[tuple[StepOutcome, Step]]:
    """What was told of the scenario's steps."""
    hosts = {host.name for host in view.plan.hosts}
    for outcome in view.evidence.all(StepOutcome):
        if outcome.host in hosts and (step := find_step(program(view, outcome.host)[1], outcome.path)) is not None:
            yield outcome, step


def _place(outcome: StepOutcome) -> int:
    return int(outcome.path.rpartition(".")[2])
