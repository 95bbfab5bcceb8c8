"""A machine that did not keep pace: what has failed is unknown, what has passed has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import MS, START_NS, STEPS, Story, find, hola, with_records

from testbed.evidence import ClockFacts, StepOutcome
from testbed.verdict.judge import judge
from testbed.verdict.pace import find_late
from testbed.verdict.value import Change, FaultHit, Outcome, Trip
from testbed.verdict.view import look

STORY: dict[str, Any] = {
    "hosts": {
        "server": {"steps": [{"listen": 7456}, "accept", {"mark": "there"}, {"recv": "eof"}]},
        "client": {"steps": [{"connect": "server:7456"}, {"wait": "there"}, {"sleep": "50ms"}, "close"]},
    }
}
SERVER, CLIENT = ("listen", "accept", "mark", "recv"), ("connect", "wait", "sleep", "close")


def played(*client_ms: tuple[float, float], mark_ms: float = 12, told: dict[str, Any] | None = None) -> str:
    """What was late of a run whose client's steps began and ended so; the server's mark was made at `mark_ms`."""
    story = Story({**STORY, **(told or {})})
    server_ms = ((0, 1), (1, 10), (10, mark_ms), (mark_ms, 200))
    for host, names, times in (("server", SERVER, server_ms), ("client", CLIENT, client_ms)):
        for number, (name, (start, end)) in enumerate(zip(names, times, strict=False)):
            at, until = (START_NS + round(ms * MS) for ms in (start, end))
            story.records.append(StepOutcome(host, str(number), name, "ok", at, until))
    return find_late(look(story.evidence()))


def test_a_machine_that_kept_pace() -> None:
    """Nothing is late by a tenth of a second."""
    assert played((0, 10), (109.9, 209.8), (309.7, 459.6), (559.5, 560)) == ""


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (((0, 10), (110, 111)), "step 2 of client (wait) came 100ms after the one before it had ended"),
        (((0, 10), (10, 113)), "step 2 of client (wait) ended 101ms after server had marked there"),
        (((0, 10), (120, 219)), "step 2 of client (wait) came 110ms after the one before it had ended"),
        (((0, 10), (10, 12), (12, 163)), "step 3 of client (sleep) took 101ms longer than asked"),
        (((0, 10), (10, 12), (12, 164), (267, 268)), "step 4 of client (close) came 103ms after the one before it had "
         "ended"),
    ],
)  # fmt: skip
def test_what_was_latest(times: tuple[tuple[float, float], ...], says: str) -> None:
    """Steps that begin long after those before, waits that go on long after their mark, sleeps that do not end."""
    assert played(*times) == says


def test_a_wait_that_began_after_the_mark() -> None:
    """It was due at once, and counts from its own beginning; one that ends by its time limit waits for nothing."""
    assert played((0, 110), (110, 209)) == ""
    assert played((0, 110), (110, 211)).startswith("step 2 of client (wait) ended 101ms after")


def test_the_first_mark_counts() -> None:
    """Of several with a name."""
    hosts = {**STORY["hosts"], "server": {"steps": [{"repeat": 2, "steps": [{"mark": "there"}]}]}}
    story = Story({"hosts": hosts})
    for number, at in ((1, 90), (0, 5)):
        story.records.append(StepOutcome("server", "0.0", "mark", "ok", 0, START_NS + at * MS, (number,)))
    wait = StepOutcome("client", "1", "wait", "ok", START_NS, START_NS + 110 * MS)
    evidence = story.evidence()
    says = "step 2 of client (wait) ended 105ms after server had marked there"
    for one, expected in ((wait, says), (replace(wait, outcome="timeout"), "")):
        assert find_late(look(with_records(evidence, one))) == expected


@pytest.mark.parametrize(("kind", "late"), [("repeat", True), ("parallel", False)])
def test_steps_in_rounds(kind: str, late: bool) -> None:
    """Each round is a program of its own; what one program does at the same time is late by nobody's fault."""
    loop = {kind: 2, "steps": [{"send": "x"}, {"log": "y"}]}
    story = Story({"hosts": {**STEPS, "client": {"steps": [{"connect": "server:7456"}, loop]}}})
    for number, begin in enumerate((0, 500)):
        for place, (start, end) in enumerate(((0, 10), (150, 160))):
            at, until = (START_NS + (begin + ms) * MS for ms in (start, end))
            story.records.append(StepOutcome("client", f"1.{place}", "send", "ok", at, until, (number,)))
    says = find_late(look(story.evidence()))
    assert says == ("step 2.2 of client (send, round 1) came 140ms after the one before it had ended" if late else "")


def test_steps_behind_a_parallel_and_out_of_order() -> None:
    """Whatever is told first, each step is held against the one before it in the program."""
    parallel = {"parallel": 2, "steps": [{"log": "y"}]}
    story = Story({"hosts": {**STEPS, "client": {"steps": [parallel, {"log": "a"}, {"log": "b"}]}}})
    inner = StepOutcome("client", "0.0", "log", "ok", START_NS, START_NS + MS, (0,))
    second, third = (
        StepOutcome("client", path, "log", "ok", START_NS + at * MS, START_NS + (at + 10) * MS)
        for path, at in (("1", 10), ("2", 125))
    )
    for told in ((inner, second, third), (third, inner, second)):
        says = find_late(look(with_records(story.evidence(), *told)))
        assert says == "step 3 of client (log) came 105ms after the one before it had ended"
    due = replace(third, due_ns=START_NS + 119 * MS)
    assert find_late(look(with_records(story.evidence(), second, due))) == ""


def test_steps_of_nobody() -> None:
    """What is told of a host or a step that the scenario has not says nothing."""
    story = Story(STORY)
    for host, path in (("nobody", "0"), ("nobody", "1"), ("client", "7"), ("client", "8")):
        story.records.append(StepOutcome(host, path, "send", "ok", START_NS + int(path) * 1000 * MS, START_NS))
    assert find_late(look(story.evidence())) == ""


@pytest.mark.parametrize(
    ("took_ms", "wire", "change", "late"),
    [
        (100.1, {}, Change.NONE, True),
        (99.9, {}, Change.NONE, False),
        (140.1, {"delay": "40ms"}, Change.NONE, True),
        (139.9, {"delay": "40ms"}, Change.NONE, False),
        (160, {"delay": "40ms"}, Change.DELAYED, False),
        (161, {"delay": "40ms"}, Change.DELAYED, True),
        (9000, {"delay": "40ms", "rate": "1mbit"}, Change.NONE, False),
    ],
)
def test_packets_under_way(took_ms: float, wire: dict[str, str], change: Change, late: bool) -> None:
    """A packet that took much longer than its direction and its fault asked for; behind a rate no time is too long."""
    faults = [{"delay": "DATA", "from": "client", "by": "21ms"}]
    view = look(hola(wire={"client->server": wire}, faults=faults).evidence())
    number = view.wire[3].number
    trip = Trip("client", "server", 1, number, 3, None, START_NS, START_NS + round(took_ms * MS), "delivered")
    hits = (FaultHit(START_NS, "server", 0, "fault 0", number),)
    for one, expected in (
        (replace(trip, change=change), late),
        (replace(trip, fate="duplicate"), False),
        (replace(trip, sent_ns=None), False),
        (replace(trip, ended_ns=None), False),
    ):
        says = find_late(replace(view, trips=(one,), faults=hits))
        assert says.startswith(f"packet {number} was under way for ") is expected


def test_packets_beside_a_late_one() -> None:
    """Duplicates, those that were in time, and those behind a queue hide no other."""
    ports = {"delay": "1ms", "ports": {"7456": {"rate": "1mbit"}}}
    story = Story({"wire": {"client->server": ports}})
    story.open()
    story.udp(5, "client", b"x", (40000, 9))
    story.play()
    view = look(story.evidence())
    queued, free = (next(p.number for p in view.wire if p.destination_port == port) for port in (7456, 9))
    late = Trip("client", "server", 1, free, 3, None, START_NS, START_NS + 150 * MS, "delivered")
    others = (replace(late, fate="lost"), replace(late, ended_ns=START_NS + MS), replace(late, wire=queued))
    assert find_late(replace(view, trips=others)) == ""
    says = f"packet {free} was under way for 150ms, and 1ms were asked for"
    assert find_late(replace(view, trips=(*others, late))) == says


def test_packet_that_a_fault_nobody_told_of_held_back() -> None:
    """Only what the ledger has adds to what was asked."""
    view = look(hola().evidence())
    number = view.wire[0].number
    trip = Trip("client", "server", 1, number, 3, None, START_NS, START_NS + 100 * MS, "delivered", "", Change.DELAYED)
    assert find_late(replace(view, trips=(trip,))).endswith("under way for 100ms, and 0ms were asked for")


def test_hosts_with_clocks_of_their_own() -> None:
    """What two clocks may be apart is nobody's lateness."""
    view = look(hola().evidence())
    trip = Trip("client", "server", 1, 2, 3, None, START_NS, START_NS + 150 * MS, "delivered")
    for sure_ms, late in ((49, True), (51, False)):
        clocks = (
            ClockFacts("client", "a", 0, 0, 0, 0, 0, 0, {"server": sure_ms * MS}),
            ClockFacts("server", "b", 0, 0, 0, 0, 0, 0, {"client": 0}),
        )
        evidence = with_records(view.evidence, *clocks)
        assert bool(find_late(replace(view, trips=(trip,), evidence=evidence))) is late
        mark = StepOutcome("client", "0", "mark", "ok", START_NS, START_NS)
        wait = StepOutcome("server", "0", "wait", "ok", START_NS, START_NS + 150 * MS)
        hosts = {"server": {"steps": [{"wait": "there"}]}, "client": {"steps": [{"mark": "there"}]}}
        told = with_records(Story({"hosts": hosts}).evidence(), mark, wait, *clocks)
        assert bool(find_late(look(told))) is late


def judged(late: bool, **expect: Any) -> Any:
    """A run's judgement; in one that is late the client's second step began long after its first had ended."""
    story = hola(expect)
    if late:
        steps = [one for one in story.records if isinstance(one, StepOutcome) and one.host == "client"]
        story.records[story.records.index(steps[1])] = replace(steps[1], start_ns=steps[0].end_ns + 150 * MS)
    return judge(story.evidence())


def test_what_failed_is_unknown() -> None:
    """With both reasons, and its packets; what has passed has passed."""
    expect = {"retransmits": {"client": 2}, "handshake": {"outcome": "complete"}}
    known, unknown = (judged(late, **expect) for late in (False, True))
    assert (known.verdict, unknown.verdict) == (Outcome.FAILED, Outcome.UNKNOWN)
    before, after = (find(one, "retransmits.client") for one in (known, unknown))
    assert (before.verdict, after.verdict) == (Outcome.FAILED, Outcome.UNKNOWN)
    assert after == replace(before, verdict=Outcome.UNKNOWN, why=after.why)
    assert after.why == (
        f"{before.why}; it may come of a busy machine, since step 2 of client (send) came 150ms after the one "
        "before it had ended"
    )
    assert find(unknown, "handshake.outcome").verdict is Outcome.PASSED


def test_what_passed_on_a_busy_machine() -> None:
    """Nobody asks how busy it was."""
    assert judged(True, retransmits={"client": 0}).verdict is Outcome.PASSED


def crossing(*sent_and_ended_ms: tuple[float, float], wire: dict[str, Any] | None = None, **how: Any) -> str:
    """What is said of packets of one flow that were sent and came so; `how` changes the last of them."""
    story = Story({"wire": {"client->server": wire or {"delay": "5ms"}}})
    for number in range(len(sent_and_ended_ms)):
        story.tcp(number, "client", ".", 1, 1)
    story.play()
    view = look(story.evidence())
    trips = [
        replace(trip, sent_ns=START_NS + round(sent * MS), ended_ns=START_NS + round(ended * MS))
        for trip, (sent, ended) in zip(view.trips, sent_and_ended_ms, strict=True)
    ]
    trips[-1] = replace(trips[-1], **how)
    return find_late(replace(view, trips=tuple(trips)))


def test_packets_that_changed_places() -> None:
    """Of two with the same constant delay the later one came first: the machine did that, not the wire."""
    assert crossing((0, 5), (1, 6), (2, 6)) == ""
    assert crossing((0, 5), (1, 7), (2, 6.9)) == "packet 10 overtook packet 6"
    assert crossing((0, 9), (1, 6), (2, 10)) == "packet 6 overtook packet 2"
    assert crossing((2, 7), (0, 8)) == "packet 2 overtook packet 6"  # whatever stands first in the trace


@pytest.mark.parametrize(
    "allows", [{"delay": "5ms", "jitter": "1ms"}, {"delay": "5ms", "reorder": "10%"}], ids=["jitter", "reorder"]
)
def test_packets_that_may_change_places(allows: dict[str, str]) -> None:
    """Where it was asked for."""
    assert crossing((0, 7), (1, 6), wire=allows) == ""


@pytest.mark.parametrize(
    "how",
    [
        {"change": Change.DELAYED},
        {"fate": "duplicate"},
        {"fate": "lost"},
        {"sent": None},
        {"sent_ns": None},
        {"ended_ns": None},
    ],
)
def test_packets_that_something_else_held_back(how: dict[str, Any]) -> None:
    """A fault, or nobody knows what, says nothing of the order."""
    assert crossing((0, 7), (1, 6), **how) == ""


TIMELINE = {"client->server": {"delay": "5ms"}, "timeline": [{"at": "1s", "delay": "1ms"}]}


@pytest.mark.parametrize(
    ("port", "changes", "says"),
    [
        (40000, {}, "packet 6 overtook packet 2"),
        (40001, {}, ""),
        (40000, {"server": ((START_NS + MS // 2, START_NS + MS // 2),)}, ""),
    ],
    ids=["same", "another connection", "another phase"],
)
def test_only_of_one_flow_and_one_wish(port: int, changes: dict[str, Any], says: str) -> None:
    """Two connections may overtake each other, and so may packets of which different things were asked."""
    story = Story({"wire": TIMELINE})
    story.tcp(0, "client", ".", 1, 1)
    story.tcp(1, "client", ".", 1, 1, port=port)
    story.play()
    view = look(story.evidence())
    trips = tuple(
        replace(one, sent_ns=START_NS + sent * MS, ended_ns=START_NS + ended * MS)
        for one, (sent, ended) in zip(view.trips, ((0, 7), (1, 6)), strict=True)
    )
    assert find_late(replace(view, trips=trips, asking=replace(view.asking, changes=changes))) == says
