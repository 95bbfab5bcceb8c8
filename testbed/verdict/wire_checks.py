"""Always checked: the wire did what the scenario asks of it, direction by direction and fault by fault.

These checks never fail: a wire that does not do what was asked says nothing about TCP, so all that they can be is
passed or unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.scenario.model import Fault, Impairment
from testbed.scenario.units import format_duration, format_percent
from testbed.verdict.connection_checks import MOST
from testbed.verdict.kind import Answer, Kind, Question
from testbed.verdict.merge import BEHIND, dropped
from testbed.verdict.trips import NO_IMPAIRMENT
from testbed.verdict.value import Outcome
from testbed.verdict.view import View
from testbed.verdict.wire import Traffic, show_ms


def _directions(view: View) -> Iterator[Question]:
    for traffic in view.traffic:
        if traffic.asked != NO_IMPAIRMENT:
            yield Question(f"wire.{traffic.name}", f"wire.{traffic.name}", traffic)


def show_asked(impairment: Impairment) -> str:
    """An impairment as a scenario writes it, what was not asked for left out."""
    parts = [
        f"{name}: {format_duration(value)}"
        for name, value in (("delay", impairment.delay), ("jitter", impairment.jitter))
        if value
    ]
    parts += [
        f"{name}: {format_percent(value)}"
        for name, value in (("loss", impairment.loss), ("duplicate", impairment.duplicate))
        if value
    ]
    parts += ["blackhole: true"] if impairment.blackhole else []
    return f"{{{', '.join(parts)}}}"


def show_had(traffic: Traffic) -> str:
    """What a direction did, in words."""
    said = f"{traffic.delivered} of {traffic.packets} packets delivered"
    if traffic.duplicates:
        said += f", {traffic.duplicates} of them twice"
    if traffic.delays_ns:
        said += f", after {show_ms(traffic.delays_ns[0])} to {show_ms(traffic.delays_ns[-1])}"
    return said


def _direction(view: View, question: Question) -> Answer:
    traffic: Traffic = question.wanted
    expected, seen = show_asked(traffic.asked), show_had(traffic)
    if (says := view.shortcomings.get(question.path)) is not None:
        return Answer(
            Outcome.UNKNOWN, expected, seen, f"the wire did not do what was asked: {says}", path=question.path
        )
    missed = dropped(view.evidence)
    for vantage in (traffic.source, traffic.destination, traffic.destination + BEHIND):
        if missed.get(vantage):
            why = f"the capture at {vantage} missed {missed[vantage]} packets, so the fates of packets are not known"
            return Answer(Outcome.UNKNOWN, expected, seen, why)
    return Answer(Outcome.PASSED, expected, seen)


def _faults(view: View) -> Iterator[Question]:
    for index, fault in enumerate(view.evidence.scenario.faults):
        yield Question(f"faults.{index}", f"faults.{index}", fault)


def _fault(view: View, question: Question) -> Answer:
    fault: Fault = question.wanted
    index = int(question.key)
    nth = fault.nth if isinstance(fault.nth, str) else fault.nth.show()
    expected = f"{{drop: {fault.drop.value}, from: {fault.from_}, nth: {nth}}}"
    fired = [hit for hit in view.faults if hit.rule == index]
    packets = tuple(hit.packet for hit in fired if hit.packet is not None)[:MOST]
    if fired:
        return Answer(Outcome.PASSED, expected, f"fired {len(fired)} times", "", packets)
    says = view.shortcomings.get(question.path)
    why = says or f"it never fired: no such packet came from {fault.from_}, so the scenario did not take place"
    return Answer(Outcome.UNKNOWN, expected, "never fired", why)


CHECKS = (Kind(_directions, _direction), Kind(_faults, _fault))
