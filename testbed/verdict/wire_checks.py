"""The wire did what the scenario asks of it, by direction and by fault; and what the scenario expects of it.

The first are always checked, and never fail: a wire that does not do what was asked says nothing about TCP, so all that
they can be is passed or unknown. What a scenario expects (`lost`, `delay`, `duplicated`, `corrupted`) can fail;
a packet that only came later than was asked of the wire makes a delay unknown, since a busy machine held it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from testbed.agent.impairments import KEYS, NONE, Impairment
from testbed.scenario.faults import Fault
from testbed.scenario.units import Range, format_duration, format_percent, format_rate
from testbed.verdict.asked import unsure_delays
from testbed.verdict.connection_checks import MOST
from testbed.verdict.kind import Answer, Kind, Question
from testbed.verdict.merge import BEHIND, dropped
from testbed.verdict.pace import asked_at_most_ns
from testbed.verdict.value import NEVER_CAPTURED, Change, Outcome, Trip
from testbed.verdict.view import View
from testbed.verdict.wire import Share, Traffic, show_ms


def _directions(view: View) -> Iterator[Question]:
    for traffic in view.traffic:
        if traffic.is_impaired:
            yield Question(f"wire.{traffic.name}", f"wire.{traffic.name}", traffic)


FORMATS: dict[str, Callable[[int], str] | Callable[[float], str]] = {
    "duration": format_duration,
    "percent": format_percent,
    "rate": format_rate,
}


def show_asked(impairment: Impairment) -> str:
    """An impairment as a scenario writes it, what was not asked for left out."""
    parts = []
    for key in KEYS:
        value = getattr(impairment, key.field)
        if value == getattr(NONE, key.field):
            continue
        if key.unit == "chances":
            shown = ", ".join(f"{word}: {format_percent(one)}" for word, one in zip(key.words, value, strict=True))
            parts.append(f"{key.name}: {{{shown}}}")
        elif key.unit == "flag":
            parts.append(f"{key.name}: true")
        else:
            parts.append(f"{key.name}: {FORMATS.get(key.unit, str)(value)}")
    return f"{{{', '.join(parts)}}}"


def _show_shares(traffic: Traffic) -> str:
    asked = list(dict.fromkeys(show_asked(share.asked) for share in traffic.shares if share.asked != NONE))
    return "; ".join(asked)


def show_had(one: Share) -> str:
    """What a direction did, in words."""
    said = f"{one.delivered} of {one.packets} packets delivered"
    if one.duplicates:
        said += f", {one.duplicates} of them twice"
    if one.corrupted:
        said += f", {one.corrupted} of them with a bit flipped"
    if one.delays_ns:
        said += f", after {show_ms(one.delays_ns[0])} to {show_ms(one.delays_ns[-1])}"
        said += f" (to within {show_ms(one.unsure_ns)})" if one.unsure_ns else ""
    return said


def _direction(view: View, question: Question) -> Answer:
    traffic: Traffic = question.wanted
    expected, seen = _show_shares(traffic), show_had(traffic.whole)
    if why := _unseen(view, traffic.whole.source, traffic.whole.destination):
        return Answer(Outcome.UNKNOWN, expected, seen, why)
    return Answer(Outcome.PASSED, expected, seen)


def _unseen(view: View, source: str, destination: str) -> str:
    """Why the fates of a direction's packets are not known, if they are not."""
    missed = dropped(view.evidence)
    for vantage in (source, destination, destination + BEHIND):
        if missed.get(vantage):
            return f"the capture at {vantage} missed {missed[vantage]} packets, so the fates of packets are not known"
    return ""


def _faults(view: View) -> Iterator[Question]:
    for index, fault in enumerate(view.evidence.scenario.faults):
        yield Question(f"faults.{index}", f"faults.{index}", fault)


def show_fault(fault: Fault) -> str:
    """A fault as a scenario writes it, defaults left out."""
    nth = fault.nth if isinstance(fault.nth, str) else fault.nth.show()
    counted = f"every: {fault.every}" if fault.every is not None else f"nth: {nth}"
    return f"{{{fault.action}: {fault.kind.value}, from: {fault.from_}, {counted}}}"


def _fault(view: View, question: Question) -> Answer:
    fault: Fault = question.wanted
    index = int(question.key)
    expected = show_fault(fault)
    fired = [hit for hit in view.faults if hit.rule == index]
    packets = tuple(hit.packet for hit in fired if hit.packet is not None)[:MOST]
    counted = view.expect.faults.get(str(index))
    if counted is not None and question.path not in view.shortcomings:
        verdict = Outcome.PASSED if len(fired) in counted else Outcome.FAILED
        why = "" if verdict is Outcome.PASSED else f"{expected} fired {len(fired)} times"
        return Answer(verdict, counted.show(), str(len(fired)), why, packets, f"expect.faults.{index}")
    if fired:
        return Answer(Outcome.PASSED, expected, f"fired {len(fired)} times", "", packets)
    why = f"it never fired: no such packet came from {fault.from_}, so the scenario did not take place"
    return Answer(Outcome.UNKNOWN, expected, "never fired", why)


# ---------------------------------------------------------------- what the scenario expects


def _trips(view: View, direction: str) -> list[Trip]:
    """The packets of a direction, a role standing for all its replicas."""
    source, _, destination = direction.partition("->")
    roles = {host.name: host.role for host in view.plan.hosts}
    return [
        trip
        for trip in view.trips
        if source in (trip.source, roles.get(trip.source))
        and destination in (trip.destination, roles.get(trip.destination))
    ]


COUNTED: dict[str, Callable[[Trip], bool]] = {
    "lost": lambda trip: trip.fate == "lost",
    "duplicated": lambda trip: trip.change is Change.DUPLICATED,
    "corrupted": lambda trip: trip.change is Change.CORRUPTED,
}


def _counts(view: View) -> Iterator[Question]:
    for name in COUNTED:
        for direction, wanted in getattr(view.expect, name).items():
            yield Question(f"{name}.{direction}", f"expect.{name}.{direction}", (name, direction, wanted))


def _count(view: View, question: Question) -> Answer:
    name, direction, wanted = question.wanted
    trips = _trips(view, direction)
    found = [trip for trip in trips if COUNTED[name](trip)]
    expected, seen = wanted.show(), str(len(found))
    # Of those that were never captured any number may be lost: they do not matter where the answer is the same for all.
    surely = sum(trip.cause != NEVER_CAPTURED for trip in found)
    open_question = name != "lost" or len({number in wanted for number in range(surely, len(found) + 1)}) == 2
    if why := _never_captured(view, direction, trips if open_question else ()):
        return Answer(Outcome.UNKNOWN, expected, seen, why)
    packets = tuple(trip.number for trip in found)[:MOST]
    if len(found) in wanted:
        return Answer(Outcome.PASSED, expected, seen, "", packets)
    causes = ", ".join(dict.fromkeys(trip.cause or trip.by for trip in found))
    return Answer(Outcome.FAILED, expected, seen, f"{name}: {causes}" if causes else f"none was {name}", packets)


def _delays(view: View) -> Iterator[Question]:
    for direction, wanted in view.expect.delay.items():
        yield Question(f"delay.{direction}", f"expect.delay.{direction}", (direction, wanted))


def _delay(view: View, question: Question) -> Answer:
    direction: str = question.wanted[0]
    wanted: Range = question.wanted[1]
    trips = _trips(view, direction)
    expected = wanted.show(format_duration)
    if why := _never_captured(view, direction, []):
        return Answer(Outcome.UNKNOWN, expected, "", why)
    timed = {
        trip: trip.ended_ns - trip.sent_ns
        for trip in trips
        if trip.fate == "delivered" and trip.ended_ns is not None and trip.sent_ns is not None
    }
    if not timed:
        return Answer(Outcome.UNKNOWN, expected, "no packet was delivered", "no packet's time could be measured")
    seen = f"{show_ms(min(timed.values()))}..{show_ms(max(timed.values()))}"
    wrong = [trip for trip, took in timed.items() if took not in wanted]
    unsure = unsure_delays(view.evidence)
    if any(
        (may := unsure.get((trip.source, trip.destination), 0)) and _may_lie(took, may, wanted)
        for trip, took in timed.items()
    ):
        worst = max(unsure.values())
        return Answer(
            Outcome.UNKNOWN, expected, seen, f"the hosts' clocks are the same to within {show_ms(worst)} only"
        )
    if not wrong:
        return Answer(Outcome.PASSED, expected, seen)
    held_back = {trip: asked_ns for trip in wrong if (asked_ns := _held_back(view, trip, wanted)) is not None}
    wrong = [trip for trip in wrong if trip not in held_back] or wrong
    packets = tuple(trip.number for trip in wrong)[:MOST]
    why = f"{len(wrong)} of {len(timed)} packets took another time; {view.say(packets[0])}, {show_ms(timed[wrong[0]])}"
    if wrong[0] not in held_back:
        return Answer(Outcome.FAILED, expected, seen, why, packets)
    why += f" where at most {show_ms(held_back[wrong[0]])} were asked for: this machine was too busy"
    return Answer(Outcome.UNKNOWN, expected, seen, why, packets)


def _held_back(view: View, trip: Trip, wanted: Range) -> int | None:
    """The most that was asked of a packet (ns), where that is what is expected and only the packet came later."""
    if trip.ended_ns is None or trip.sent_ns is None or (most_ns := asked_at_most_ns(view, trip)) is None:
        return None
    return most_ns if most_ns in wanted and trip.ended_ns - trip.sent_ns > most_ns else None


def _may_lie(took_ns: int, unsure_ns: int, wanted: Range) -> bool:
    """Whether a time that may be off by so much could lie on the other side of an end of the range."""
    return any((took_ns + by in wanted) != (took_ns in wanted) for by in (-unsure_ns, unsure_ns))


def _never_captured(view: View, direction: str, trips: Iterable[Trip]) -> str:
    hosts = {host.name: host.role for host in view.plan.hosts}
    source, _, destination = direction.partition("->")
    for a in (name for name, role in hosts.items() if source in (name, role)):
        for b in (name for name, role in hosts.items() if destination in (name, role)):
            if why := _unseen(view, a, b):
                return why
    unseen = sum(trip.cause == NEVER_CAPTURED for trip in trips)
    return f"{unseen} packets were never captured, and nothing says what became of them" if unseen else ""


CHECKS = (
    Kind(_directions, _direction),
    Kind(_faults, _fault),
    Kind(_counts, _count, rests_on_packets=True),
    Kind(_delays, _delay, rests_on_packets=True),
)
