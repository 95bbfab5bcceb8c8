"""Comments on the packets of the trace, for whoever opens it in Wireshark: fates, faults, repeats, findings, checks.

What a peer sent may be quoted in them, and tshark prints them to a terminal: they are cleaned like all that is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from testbed.pcap.frame import Capture
from testbed.report.escape import clean
from testbed.verdict.classes import name
from testbed.verdict.value import Change, Check, Outcome, Trip
from testbed.verdict.view import View
from testbed.verdict.wire import show_ms


def annotate(view: View, checks: Iterable[Check], verdict: Outcome) -> Capture:
    """The trace with its comments."""
    comments: dict[int, list[str]] = {}
    for number, says in _comments(view, checks):
        comments.setdefault(number, []).append(clean(says))
    frames = tuple(
        replace(frame, comments=(*frame.comments, *dict.fromkeys(comments[number]))) if number in comments else frame
        for number, frame in enumerate(view.trace.frames, 1)
    )
    section = (*view.trace.comments, clean(f"scenario {view.evidence.run.scenario}: {verdict.value}"))
    return replace(view.trace, frames=frames, comments=section)


def _comments(view: View, checks: Iterable[Check]) -> Iterator[tuple[int, str]]:
    yield from _fates(view)
    for number in sorted(view.again):
        yield from ((seen, f"{name(view.by_number[number])} again") for seen in _before_link(view, number))
    for connection in view.connections:
        for finding in connection.audit:
            yield from ((number, f"{finding.rule}: {finding.says}") for number in finding.packets)
    for check in checks:
        if check.verdict is Outcome.FAILED:
            said = f"check {check.name} failed: expected {check.expected}, seen {check.seen}"
            yield from ((number, said) for number in check.packets)


def _before_link(view: View, number: int) -> Iterable[int]:
    """A packet of the wire as all vantage points saw it that it came by before it went into the receiver's link."""
    trip = view.trip_of.get(number)
    return (number,) if trip is None else _seen(trip)


def _seen(trip: Trip) -> list[int]:
    return [number for number in (trip.sent, trip.wire, trip.arrived) if number is not None]


def _fates(view: View) -> Iterator[tuple[int, str]]:
    for trip in view.trips:
        seen = _seen(trip)
        if trip.change is Change.FORGED:
            everywhere = seen if trip.delivered is None else [*seen, trip.delivered]
            yield from ((number, f"forged by {trip.by}: no program sent it") for number in everywhere)
        if trip.fate == "lost":
            yield from ((number, f"lost on the way to {trip.destination}: {trip.cause}") for number in seen)
        elif trip.delivered is not None:
            yield from _delivery(trip, trip.delivered, seen)


def _delivery(trip: Trip, delivered: int, seen: list[int]) -> Iterator[tuple[int, str]]:
    if trip.change not in (Change.NONE, Change.FORGED) and trip.fate != "duplicate":
        yield from ((number, f"{trip.change} on the way to {trip.destination}: {trip.by}") for number in seen)
        yield delivered, f"{trip.change}: {trip.by}"
    if trip.sent_ns is not None and trip.ended_ns is not None:
        took = show_ms(trip.ended_ns - trip.sent_ns)
        what = f"a duplicate ({trip.by}), delivered" if trip.fate == "duplicate" else "delivered"
        yield delivered, f"{what} {took} after it was sent"
