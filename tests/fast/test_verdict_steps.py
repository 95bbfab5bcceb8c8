"""The check that is always made: programs do what their steps declare, and reach their end."""

from __future__ import annotations

from typing import Any

import pytest
from verdict_story import START_NS, STEPS, Story, deaf, find, hola, troubled, without

from testbed.evidence import ProgramEnd, StepOutcome
from testbed.verdict.judge import judge
from testbed.verdict.value import Outcome


def client(*steps: Any) -> Story:
    """A story in which the client has these steps, and the server's program went well."""
    story = Story({"hosts": {**STEPS, "client": {"steps": list(steps)}}})
    story.do_steps("server")
    story.end("server")
    return story


def test_as_declared() -> None:
    """Programs that went as declared are passed; an error that was declared is told."""
    story = client({"connect": "server:9", "error": "ECONNREFUSED"}, {"log": "so be it"})
    story.do_steps("client")
    story.end("client")
    check = find(story.judge(), "steps.client")
    assert check.verdict is Outcome.PASSED
    assert check.seen == "all 2 steps as declared (connect: ECONNREFUSED)"
    assert check.line == story.lines["hosts.client.steps"]


def test_error_that_was_not_declared() -> None:
    """The first step that ended otherwise is named, with its line, time, connection and what the system said."""
    story = client({"connect": "server:7456"}, {"send": "x"}, "close")
    story.open()
    story.tcp(5, "server", "R.", 1, 1)
    peer = {"local": "198.18.0.2:40000", "peer": "198.18.0.3:7456"}
    story.do_steps("client", only=2, outcome="error", errno="ECONNRESET", says="Connection reset by peer", **peer)
    story.end("client", 1)
    check = find(story.judge(), "steps.client")
    assert (check.verdict, check.expected, check.seen) == (Outcome.FAILED, "send: ok", "send: ECONNRESET")
    assert check.line == story.lines["hosts.client.steps.1"]
    assert "step 2 of client (send) ended with ECONNRESET at 0.002 s, and ok is declared" in check.why
    assert "Connection reset by peer; of its connection the last is: packet 11 at 0.005 s on wire is RST" in check.why
    assert check.packets == (2, 11)


@pytest.mark.parametrize(
    ("ended", "seen"),
    [
        ({}, "connect: ok"),
        ({"outcome": "error", "errno": "ETIMEDOUT"}, "connect: ETIMEDOUT"),
        ({"outcome": "timeout", "errno": None}, "connect: timeout"),
    ],
)
def test_declared_error_did_not_come(ended: dict[str, Any], seen: str) -> None:
    """A step that declares an error is failed by success, by another error, and by running out of time."""
    story = client({"connect": "server:7456", "error": "ECONNREFUSED"})
    story.do_steps("client", **(ended or {"outcome": "ok", "errno": None}))
    story.end("client", 1)
    check = find(story.judge(), "steps.client")
    assert (check.verdict, check.expected, check.seen) == (Outcome.FAILED, "connect: ECONNREFUSED", seen)


def test_step_inside_rounds() -> None:
    """A step inside `repeat` is named by its place and round, and must have run in every round."""
    loop = {"repeat": 3, "steps": [{"connect": "server:7456"}, "close"]}
    story = client(loop)
    story.do_steps("client")
    story.end("client")
    assert find(story.judge(), "steps.client").verdict is Outcome.PASSED
    fewer = client(loop)
    fewer.do_steps("client", only=5)
    fewer.end("client")
    check = find(fewer.judge(), "steps.client")
    assert (check.verdict, check.line) == (Outcome.FAILED, fewer.lines["hosts.client.steps.0.steps.1"])
    assert "step 1.2 of client (close) ran 2 of 3 times" in check.why
    wrong = client(loop)
    wrong.do_steps("client", only=3, outcome="error", errno="ECONNREFUSED")
    wrong.end("client", 1)
    assert "step 1.1 of client (connect, round 2) ended with" in find(wrong.judge(), "steps.client").why


def test_program_that_stopped_half_way() -> None:
    """A program that ended well and left steps out is failed at the first of these."""
    story = client({"connect": "server:7456"}, {"send": "x"}, "close")
    story.do_steps("client", only=1)
    story.end("client")
    check = find(story.judge(), "steps.client")
    assert (check.verdict, check.seen, check.line) == (
        Outcome.FAILED,
        "send: not reached",
        story.lines["hosts.client.steps.1"],
    )


def test_program_that_was_killed() -> None:
    """A program that did not end by itself, though none of its steps went wrong, did not play the scenario."""
    story = client({"connect": "server:7456"})
    story.do_steps("client")
    story.end("client", 137)
    check = find(story.judge(), "steps.client")
    assert (check.verdict, check.seen) == (Outcome.UNKNOWN, "exit 137")
    assert "the program on client ended with exit code 137" in check.why


def test_held_program() -> None:
    """A program that holds has reached its end; what stands behind `hold` is not played."""
    story = client({"connect": "server:7456"}, "hold", "close")
    story.do_steps("client", only=2)
    story.end("client", None, held=True)
    assert find(story.judge(), "steps.client").verdict is Outcome.PASSED


def test_end_never_heard() -> None:
    """Steps that went well are unknown when nothing was heard of the program's end."""
    check = find(judge(without(hola().evidence(), ProgramEnd)), "steps.client")
    assert (check.verdict, check.seen) == (Outcome.UNKNOWN, "no end")


def test_broken_lab() -> None:
    """A problem of the lab makes the check unknown; a deaf wire does not touch it."""
    assert find(judge(troubled(hola().evidence())), "steps.client").verdict is Outcome.UNKNOWN
    assert find(judge(deaf(hola().evidence())), "steps.client").verdict is Outcome.PASSED


def test_first_in_time_is_named() -> None:
    """Of several steps that went wrong the one that ended first is named."""
    story = client({"parallel": 2, "steps": [{"connect": "server:7456"}]})
    for number, at in ((0, 9), (1, 3)):
        ns = START_NS + at * 1_000_000
        story.records.append(StepOutcome("client", "0.0", "connect", "error", ns, ns, (number,), "ETIMEDOUT"))
    story.end("client", 1)
    assert "round 2) ended with ETIMEDOUT at 0.003 s" in find(story.judge(), "steps.client").why
