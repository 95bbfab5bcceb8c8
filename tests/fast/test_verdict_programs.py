"""Programs against their steps: what is the first thing that went otherwise, and whether we know that it did."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import MS, START_NS, STEPS, Story, find

from testbed.evidence import ProgramEnd, StepOutcome
from testbed.scenario.model import Host
from testbed.verdict.program_checks import declared, ended, find_step, steps_path
from testbed.verdict.value import Check, Outcome

LOOP: list[Any] = [
    {"connect": "server:7456"},
    {"repeat": 2, "steps": [{"send": "a"}, {"parallel": 3, "steps": [{"send": "b", "error": "EPIPE"}, "close"]}]},
    {"log": "done"},
]


@pytest.mark.parametrize(
    ("path", "step", "wish"),
    [
        ("0", "connect", "ok"),
        ("1", "repeat", "ok"),
        ("1.0", "send", "ok"),
        ("1.1", "parallel", "ok"),
        ("1.1.0", "send", "EPIPE"),
        ("1.1.1", "close", "ok"),
        ("2", "log", "ok"),
        ("3", None, "ok"),
        ("0.0", None, "ok"),
        ("1.2", None, "ok"),
        ("x", None, "ok"),
        ("1.x", None, "ok"),
        ("", None, "ok"),
    ],
)
def test_steps_by_place(path: str, step: str | None, wish: str) -> None:
    """A step is found by its places from the outside in, and is to end with `ok` or the error that it names."""
    found = find_step(Host.model_validate({"steps": LOOP}), path)
    assert (found.step if found else None) == step
    assert declared(found) == wish


def test_places_in_the_file() -> None:
    """Where a step stands in the scenario."""
    assert steps_path("client", "2") == "hosts.client.steps.2"
    assert steps_path("client", "1.1.0") == "hosts.client.steps.1.steps.1.steps.0"


@pytest.mark.parametrize(
    ("outcome", "errno", "word"),
    [
        ("ok", None, "ok"),
        ("timeout", None, "timeout"),
        ("error", "EPIPE", "EPIPE"),
        ("error", None, "error"),
        ("timeout", "EPIPE", "timeout"),
    ],
)
def test_ends_of_steps(outcome: str, errno: str | None, word: str) -> None:
    """An error is told by its name, where it has one."""
    assert ended(StepOutcome("client", "0", "send", outcome, 0, 0, (), errno)) == word


def client(*steps: Any, done: int | None = None, **last: Any) -> Story:
    """The client has these steps, of which so many were done; the server's program went well."""
    story = Story({"hosts": {**STEPS, "client": {"steps": list(steps)}}})
    story.do_steps("server")
    story.end("server")
    story.do_steps("client", done, **last)
    return story


def checked(story: Story, *ends: ProgramEnd) -> Check:
    """The check of the client's steps."""
    story.records += ends
    return find(story.judge(), "steps.client")


def end(code: int | None = 0, signal: str | None = None, held: bool = False, host: str = "client") -> ProgramEnd:
    """A program ends."""
    return ProgramEnd(host, START_NS + 500 * MS, code, signal, held)


THREE: tuple[Any, ...] = ({"connect": "server:7456"}, "hold", "close")
SHOT: tuple[Any, ...] = ({"connect": "server:7456"}, "kill", "close")


@pytest.mark.parametrize(
    ("steps", "done", "ends", "verdict", "seen"),
    [
        # What stands behind `hold` is never played, what stands before it must be.
        (THREE, 2, [end(None, held=True)], Outcome.PASSED, None),
        (THREE, 1, [end(None, held=True)], Outcome.PASSED, None),
        (THREE, 0, [end(None, held=True)], Outcome.FAILED, "connect: not reached"),
        (THREE, 1, [end(0)], Outcome.FAILED, "hold: not reached"),
        (THREE, 2, [end(0)], Outcome.FAILED, "close: not reached"),
        (THREE, 2, [end(None, held=True), end(1)], Outcome.PASSED, None),
        (THREE, 3, [end(0)], Outcome.PASSED, None),
        # A program that ended by a signal of its own.
        (SHOT, 2, [end(None, "SIGKILL")], Outcome.PASSED, None),
        (SHOT, 1, [end(0)], Outcome.FAILED, "kill: not reached"),
        # What ended otherwise, though no step went wrong, is somebody else's doing.
        (THREE, 3, [end(3)], Outcome.UNKNOWN, "exit 3"),
        (THREE, 3, [end(3), end(0)], Outcome.PASSED, None),
        (THREE, 3, [end(0), end(3)], Outcome.PASSED, None),
        (THREE, 3, [end(2), end(3)], Outcome.UNKNOWN, "exit 3"),
        (THREE, 3, [], Outcome.UNKNOWN, "no end"),
        (THREE, 3, [end(0, host="server")], Outcome.UNKNOWN, "no end"),
    ],
)
def test_ends_of_programs(
    steps: tuple[Any, ...], done: int, ends: list[ProgramEnd], verdict: Outcome, seen: str | None
) -> None:
    """A program must come to its end, to its `hold`, or to its own `kill`; else the first step left out is told."""
    check = checked(client(*steps, done=done), *ends)
    assert check.verdict is verdict
    assert check.seen == (seen or "all 3 steps as declared")


def test_killed_by_another_signal() -> None:
    """A signal that the program's `kill` does not name is somebody else's: the scenario did not take place."""
    check = checked(client({"kill": "SIGTERM"}), end(None, "SIGKILL"))
    assert check.verdict is Outcome.UNKNOWN
    assert check.seen == "signal SIGKILL"
    assert "client: its program was killed by SIGKILL, which no step of it asks for" in check.why
    assert checked(client({"kill": "SIGTERM"}), end(None, "SIGTERM")).verdict is Outcome.PASSED
    never = checked(client({"log": "x"}, {"kill": "SIGTERM"}, done=1), end(None, "SIGTERM"))
    assert never.verdict is Outcome.UNKNOWN
    assert never.why == "the program on client was killed by signal SIGTERM"


def test_why_it_died() -> None:
    """The reason tells how a program ended."""
    story = client({"log": "x"})
    assert checked(story, end(3)).why == "the program on client ended with exit code 3"
    assert find(story.judge(), "steps.client").expected == "exit 0"
    assert checked(client({"log": "x"})).why == "nothing was heard of the end of the program on client"


@pytest.mark.parametrize(
    ("done", "seen", "why", "path"),
    [
        (17, None, "", "hosts.client.steps"),
        (0, "connect: not reached", "step 1 of client (connect) ran 0 of 1 times before the program ended", "0"),
        (1, "send: not reached", "step 2.1 of client (send) ran 0 of 2 times before the program ended", "1.steps.0"),
        (
            2,
            "send: 1 times",
            "step 2.1 of client (send) ran 1 of 2 times before the program ended",
            "1.steps.0",
        ),
    ],
)
def test_rounds(done: int, seen: str | None, why: str, path: str) -> None:
    """A step inside loops must run as often as its loops turn, each time the other."""
    loop: list[Any] = [
        {"connect": "server:7456"},
        {"repeat": 2, "steps": [{"send": "a"}, {"parallel": 3, "steps": [{"send": "b"}, "close"]}]},
    ]
    story = client(*loop, done=done)
    check = checked(story, end())
    assert check.verdict is (Outcome.FAILED if why else Outcome.PASSED)
    assert check.why == why
    assert seen is None or check.seen == seen
    place = path if not path[0].isdigit() else f"hosts.client.steps.{path}"
    assert check.line == story.lines[place]


def test_steps_that_ran_more_often_than_they_were_to() -> None:
    """More than enough is no trouble: only what is missing is."""
    story = client({"log": "x"})
    story.do_steps("client")
    assert checked(story, end()).verdict is Outcome.PASSED


def test_errors_as_declared_are_told_once() -> None:
    """What was wished for and came is told, each once, in order of time."""
    refused, gone = ({"connect": "server:9", "error": error} for error in ("ECONNREFUSED", "ETIMEDOUT"))
    check = checked(client(gone, refused, {"log": "x"}, gone), end())
    assert check.seen == check.expected + " (connect: ETIMEDOUT, connect: ECONNREFUSED)"
    assert check.expected == "all 4 steps as declared"


def outcome(at_ms: int, errno: str | None = "EPIPE", **more: Any) -> StepOutcome:
    """The client's second step ended so."""
    what = "error" if errno else "ok"
    one = StepOutcome("client", "1", "send", what, START_NS, START_NS + at_ms * MS, (), errno)
    return replace(one, **more)


@pytest.mark.parametrize(
    ("ends", "why"),
    [
        ([outcome(7), outcome(5, "ECONNRESET")], "step 2 of client (send) ended with ECONNRESET at 0.005 s, and ok is "
         "declared"),
        ([outcome(5, None), outcome(7)], "step 2 of client (send) ended with EPIPE at 0.007 s, and ok is declared"),
        ([outcome(7, round=(0, 2))], "step 2 of client (send, round 1.3) ended with EPIPE at 0.007 s, and ok is "
         "declared"),
        ([outcome(7, says="Broken pipe")], "step 2 of client (send) ended with EPIPE at 0.007 s, and ok is declared: "
         "Broken pipe"),
        ([outcome(7, path="9")], "step 10 of client (send) ended with EPIPE at 0.007 s, and ok is declared"),
    ],
)  # fmt: skip
def test_what_is_told_of_a_wrong_end(ends: list[StepOutcome], why: str) -> None:
    """The first step in time that ended otherwise: its place, its round, when, with what, and what the system said."""
    story = client({"connect": "server:7456"}, {"send": "x"}, "close", done=1)
    story.records += ends
    check = checked(story, end(1))
    assert (check.verdict, check.why) == (Outcome.FAILED, why)
    assert check.expected == "send: ok"


@pytest.mark.parametrize(
    ("local", "peer", "packets"),
    [
        ("198.18.0.2:40000", "198.18.0.3:7456", (2, 8)),
        ("198.18.0.2:40000", None, (2, 8)),
        ("198.18.0.3:7456", "198.18.0.2:40000", (2, 8)),
        ("198.18.0.2:40000", "198.18.0.3:80", ()),
        ("198.18.0.2:40001", "198.18.0.3:7456", (11, 17)),
        ("198.18.0.2:40002", "198.18.0.3:7456", ()),
        (None, None, ()),
    ],
)
def test_connection_of_a_step(local: str | None, peer: str | None, packets: tuple[int, ...]) -> None:
    """The evidence is the first and the last packet of the connection that the step was about, by both its ends."""
    story = client({"connect": "server:7456"}, {"send": "x"}, done=1)
    story.open()
    story.open(20, port=40001)
    story.records.append(outcome(7, local=local, peer=peer))
    check = checked(story, end(1))
    assert check.packets == packets
    assert ("; of its connection the last is: packet" in check.why) is bool(packets)
    if packets:
        assert f"the last is: packet {packets[1]} at" in check.why


def test_connection_of_one_packet() -> None:
    """A SYN that nobody answered is all there is of its connection: the first packet, and the last."""
    story = client({"connect": "server:7456"}, done=0)
    story.tcp(0, "client", "S")
    story.records.append(outcome(7, "ETIMEDOUT", path="0", step="connect", local="198.18.0.2:40000"))
    check = checked(story, end(1))
    assert check.packets == (2,)
    assert check.why.endswith("; of its connection the last is: packet 2 at 0.000 s on wire is SYN from client")


def test_line_of_a_program_that_did_not_end_well() -> None:
    """What no step explains is told at the line of the program."""
    for ends in ((), (end(3),), (end(0, host="server"),)):
        story = client({"log": "x"})
        check = checked(story, *ends)
        assert (check.verdict, check.line) == (Outcome.UNKNOWN, story.lines["hosts.client.steps"])


def test_hosts_without_steps_are_not_asked() -> None:
    """A host that plays nothing has no check; each host of a role has its own."""
    idle = Story({"hosts": {"client": {}, "server": STEPS["server"]}})
    assert [check.name for check in idle.judge().checks] == ["steps.server"]
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    names = {check.name for check in Story({"hosts": hosts}).judge().checks}
    assert names == {"steps.client", "steps.client-2", "steps.server"}
