"""What the trace says of its packets: fates, changes, repeats, findings and failed checks, each where it was seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import HOLA, MS, START_NS, Story

from testbed.packet import Flags
from testbed.tcp.connection import Finding
from testbed.verdict.annotate import annotate
from testbed.verdict.value import Change, Check, Outcome, Trip
from testbed.verdict.view import View, look

SENT, WIRE, ARRIVED, INTO, OUT = 1, 2, 3, 4, 5  # the one packet of the story, at each place
BY = "fault 0: rewrite SYN"


def seen() -> View:
    """A SYN that crossed an impaired link; nothing is said of it yet."""
    story = Story({"wire": {"delay": "10ms"}})
    story.tcp(0, "client", "S")
    story.play()
    return replace(look(story.evidence()), trips=(), trip_of={}, connections=(), again=frozenset())


def comments(view: View, *checks: Check) -> dict[int, tuple[str, ...]]:
    """The comments by packet number."""
    trace = annotate(view, checks, Outcome.PASSED)
    return {number: frame.comments for number, frame in enumerate(trace.frames, 1) if frame.comments}


def trip(fate: str = "delivered", took_ms: float | None = 10, **how: Any) -> Trip:
    """The SYN's way."""
    ended = None if took_ms is None else START_NS + round(took_ms * MS)
    one = Trip("client", "server", SENT, WIRE, ARRIVED, None if fate == "lost" else OUT, START_NS, ended, fate)
    return replace(one, **how)


def everywhere(says: str, *places: int) -> dict[int, tuple[str, ...]]:
    """The same at several places."""
    return dict.fromkeys(places or (SENT, WIRE, ARRIVED), (says,))


FORGED: dict[str, Any] = {"change": Change.FORGED, "by": BY}
REWRITTEN: dict[str, Any] = {"change": Change.REWRITTEN, "by": BY}
NOBODY = f"forged by {BY}: no program sent it"


@pytest.mark.parametrize(
    ("told", "noted"),
    [
        (trip(), {OUT: ("delivered 10ms after it was sent",)}),
        (trip("lost", None, cause="chance"), everywhere("lost on the way to server: chance")),
        (trip("lost", None, cause="chance", arrived=None), everywhere("lost on the way to server: chance", SENT, WIRE)),
        (
            trip(**REWRITTEN),
            {
                **everywhere(f"rewritten on the way to server: {BY}"),
                OUT: (f"rewritten: {BY}", "delivered 10ms after it was sent"),
            },
        ),
        (
            trip(change=Change.DUPLICATED, fate="duplicate", by="chance"),
            {OUT: ("a duplicate (chance), delivered 10ms after it was sent",)},
        ),
        # Who sent it nobody saw: no time, and what a link forged was not sent at all.
        (trip(sent_ns=None), {}),
        (trip(took_ms=None), {}),
        (trip(sent=None, wire=None, arrived=None, sent_ns=None, **FORGED), everywhere(NOBODY, OUT)),
        (trip(sent_ns=None, **FORGED), everywhere(NOBODY, SENT, WIRE, ARRIVED, OUT)),
        (trip(sent_ns=None, delivered=None, **FORGED), everywhere(NOBODY)),
        (
            trip("lost", None, cause="chance", **FORGED),
            dict.fromkeys((SENT, WIRE, ARRIVED), (NOBODY, "lost on the way to server: chance")),
        ),
        # Without a link what arrived is delivered: there is no other place to say it.
        (trip(delivered=None), {}),
    ],
)
def test_fates(told: Trip, noted: dict[int, tuple[str, ...]]) -> None:
    """A packet's end is told where it came out; what was lost, changed or forged is told wherever it was seen."""
    assert comments(replace(seen(), trips=(told,))) == noted


def test_repeats() -> None:
    """A copy is noted wherever it was seen before the link; on the wire alone where its way is not known."""
    view = replace(seen(), again=frozenset({WIRE}))
    assert comments(view) == {WIRE: ("SYN again",)}
    way = trip(delivered=None)
    assert comments(replace(view, trip_of={WIRE: way})) == everywhere("SYN again")


def test_findings() -> None:
    """What the audit found is noted on each of the packets that it found it in, once."""
    story = Story({"wire": {"delay": "10ms"}})
    story.open()
    story.play()
    view = replace(look(story.evidence()), trips=(), again=frozenset())
    finding = Finding("some-rule", "it says", (SENT, INTO))
    told = tuple(replace(connection, audit=(finding, finding)) for connection in view.connections)
    assert comments(replace(view, connections=told)) == everywhere("some-rule: it says", SENT, INTO)


@pytest.mark.parametrize(
    ("outcome", "noted"), [(Outcome.FAILED, True), (Outcome.UNKNOWN, False), (Outcome.PASSED, False)]
)
def test_checks(outcome: Outcome, noted: bool) -> None:
    """A check that failed is noted on its packets, and no other is."""
    check = Check("connections", outcome, "2", "1", "because", (WIRE, OUT))
    says = "check connections failed: expected 2, seen 1"
    assert comments(seen(), check) == (everywhere(says, WIRE, OUT) if noted else {})


def test_comments_that_were_there() -> None:
    """What a capture said of its packets, and of itself, stays in front."""
    view = seen()
    frames = tuple(replace(frame, comments=("mine",)) for frame in view.trace.frames)
    trace = annotate(replace(view, trace=replace(view.trace, frames=frames, comments=("ours",))), (), Outcome.UNKNOWN)
    assert trace.comments == ("ours", "scenario story: unknown")
    assert {frame.comments for frame in trace.frames} == {("mine",)}


def test_what_a_peer_sent_is_cleaned() -> None:
    """A check's text may quote what a peer sent: a terminal must not obey it."""
    check = Check("payload.client->server", Outcome.FAILED, "x", "\x1b[2J", "", (WIRE,))
    assert "\x1b" not in comments(seen(), check)[WIRE][0]


def test_which_packets_repeat() -> None:
    """Copies of SYN, SYN-ACK, FIN and data repeat; the same numbers of another class, port or side do not."""
    story = Story({})
    story.open()
    story.open(20)
    story.tcp(40, "client", "P.", 1, 1, HOLA)
    story.tcp(41, "client", "P.", 1, 1, HOLA)
    story.tcp(50, "client", "F.", 28, 1)
    story.tcp(51, "server", "F.", 1, 29)
    story.tcp(52, "client", "F.", 28, 1)
    story.play()
    view = look(story.evidence())
    again = [view.by_number[number] for number in sorted(view.again)]
    assert [(packet.time_ns - START_NS) // MS for packet in again] == [20, 21, 41, 52]
    assert again[-1].flags & Flags.FIN
