"""An agent that means harm, or has lost its mind: what it says has the right shape, is a problem, or is not heard."""

from __future__ import annotations

import json
from ipaddress import IPv4Network
from queue import SimpleQueue
from typing import Any

import pytest
import yaml
from test_run_fake_lab import PLAYED, STEP, FakeLab, problems, walk

from testbed.errors import BlindError, LabError
from testbed.lab import hearing
from testbed.lab.agents import LONGEST_LINE, Agents, Message
from testbed.lab.compose import compose_file, override
from testbed.lab.contract import Channel, LabHost, LabShape
from testbed.steady import SLACK_NS, moved
from testbed.stop import Stop

LONE_SURROGATE = json.dumps({"event": "log", "time_ns": 1, "line": "\ud800"}).encode()


class Script:
    """An agent that says what it is given, in these pieces, and then ends; or goes on with `forever`."""

    def __init__(self, *pieces: bytes, forever: bytes = b"") -> None:
        self._pieces, self._forever = list(pieces), forever
        self.closed = False
        self.taken = 0

    def send(self, line: bytes) -> None:
        """Hear nothing."""

    def receive(self) -> bytes:
        """The next piece."""
        self.taken += 1
        if self._pieces:
            return self._pieces.pop(0)
        return b"" if self.closed else self._forever

    def close(self) -> None:
        """End."""
        self.closed = True


class ScriptLab(FakeLab):
    """A lab of one such agent."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def open(self, host: str) -> Channel:
        """The agent."""
        return self.script


def hear(script: Script) -> tuple[Agents, list[Message]]:
    """All that is heard of an agent until it is lost."""
    heard: list[Message] = []
    agents = Agents(ScriptLab(script), Stop(), lambda host, message: heard.append(message))
    agents.open(["client"])
    agents.run_until(lambda: "client" in agents.lost, timeout_s=20.0)
    agents.close()
    return agents, heard


@pytest.mark.parametrize(
    "line",
    [
        b"rubbish",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"event":' * 50_000,
        b"null",
        b"[1]",
        b'"event"',
        b"1" * 5000,
        LONE_SURROGATE,
        b'{"event":"log","time_ns":1,"line":"\xed\xa0\x80"}',
    ],
    ids=["text", "bytes", "brackets", "braces", "null", "list", "text value", "digits", "surrogate", "raw surrogate"],
)
def test_a_line_that_is_no_message(line: bytes) -> None:
    """It is a problem with its beginning in it; what comes behind it is heard."""
    good = b'{"event":"log","time_ns":1,"line":"a"}'
    _, heard = hear(Script(line + b"\n" + good + b"\n"))
    assert heard[0]["event"] == "problem"
    assert "a line that is no message" in heard[0]["says"]
    assert len(heard[0]["says"]) < 1000
    assert heard[0]["says"].isascii()
    assert heard[0]["says"].isprintable()
    assert heard[1]["line"] == "a"


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event": "step", "path": "0"}, "step has no step"),
        ({**STEP, "start_ns": "now"}, "step.start_ns is 'now'; it must be of type int"),
        ({**STEP, "start_ns": True}, "step.start_ns is True; it must be of type int"),
        ({**STEP, "start_ns": 10**4000}, "step.start_ns is of type int; it must be of type int"),
        ({**STEP, "path": "../../etc"}, "step.path is '../../etc'; it is no place among the steps"),
        ({**STEP, "outcome": "passed"}, "step.outcome is 'passed'; it is not one of ok, error, timeout"),
        ({**STEP, "data": "%%%"}, "step.data is '%%%'; it is not base64"),
        ({**STEP, "round": [1, "x"]}, "step.round[1] is 'x'; it must be of type int"),
        ({"event": "state", "time_ns": 1, "socket": "one", "from": "A", "to": "B"}, "state.socket is 'one'"),
        ({"event": "snapshot", "name": "x", "time_ns": 1, "rows": [{}]}, "snapshot.rows[0] has no state"),
        ({"event": "snapshot", "name": "x", "time_ns": 1, "rows": {"a": 1}}, "snapshot.rows is of type dict"),
        ({"event": "chunk", "id": [], "data": ""}, "chunk.id is of type list"),
        ({"event": "log", "time_ns": 1, "line": {"a": 1}}, "log.line is of type dict"),
        ({"event": "fault", "time_ns": 1, "rule": 0, "action": "drop", "made": [1]}, "fault.made[0] is of type int"),
        ({"event": "problem"}, "problem has no says"),
    ],
)
def test_an_event_that_makes_no_sense(event: Message, says: str) -> None:
    """It is a problem that names what is wrong, and is believed in nothing."""
    evidence = walk(FakeLab(programs={"client": [dict(event), PLAYED]}))
    ((where, said),) = problems(evidence)
    assert where == "client"
    assert said.startswith(f"the agent sent an event that makes no sense: {says}")
    assert len(said) < 300


class LyingLab(FakeLab):
    """A lab whose agents answer one request with something else."""

    def __init__(self, do: str, answer: Any) -> None:
        super().__init__()
        self.do, self.answer = do, answer

    def open(self, host: str) -> Channel:
        """An agent that lies."""
        return _Liar(super().open(host), self)


class _Liar:
    def __init__(self, channel: Channel, lab: LyingLab) -> None:
        self._channel, self._lab = channel, lab
        self._lies: SimpleQueue[bytes] = SimpleQueue()

    def send(self, line: bytes) -> None:
        """As asked."""
        request = json.loads(line)
        if request["do"] == self._lab.do:
            self._lies.put(json.dumps({"id": request["id"], **self._lab.answer}).encode() + b"\n")
        self._channel.send(line)

    def receive(self) -> bytes:
        """What the agent says, behind the lie that is due."""
        said = self._channel.receive()
        return (b"" if self._lies.empty() else self._lies.get()) + said

    def close(self) -> None:
        """End."""
        self._channel.close()


@pytest.mark.parametrize(
    ("do", "answer"),
    [
        ("hello", {"ok": {}}),
        ("hello", {"ok": {"kernel": "6", "interfaces": {"eth0": {"mac": 5}}}}),
        ("hello", {"ok": {"kernel": "6", "interfaces": {"eth0": {"mac": "02:00", "ipv4": ["elsewhere"]}}}}),
        ("hello", {"ok": None}),
        ("hello", {}),
        ("hello", {"ok": [1]}),
        ("hello", {"error": "x"}),
        ("canary.wait", {"ok": {"heard": "perhaps"}}),
    ],
)
def test_an_answer_before_the_play_that_makes_no_sense(do: str, answer: Any) -> None:
    """There is no run: the error names the host and the request."""
    with pytest.raises(BlindError, match=rf"the answer of the agent on \w+ to {do} makes no sense"):
        walk(LyingLab(do, answer))


@pytest.mark.parametrize(
    ("do", "ok"),
    [
        ("capture.stop", {"packets": None, "dropped": 0, "path": "x"}),
        ("capture.stop", {"packets": 1, "dropped": 0, "path": ["x"]}),
        ("fetch", {"bytes": "many"}),
        ("states.stop", {"last_ns": "now"}),
        ("counters.stop", {"changed": {"TcpActiveOpens": "two"}}),
    ],
)
def test_an_answer_after_the_play_that_makes_no_sense(do: str, ok: Any) -> None:
    """It is a problem, and all else is collected."""
    evidence = walk(LyingLab(do, {"ok": ok}))
    assert problems(evidence)
    assert all(f"to {do} makes no sense" in says for _, says in problems(evidence))


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"from": "198.18.0.2", "delay": 1}, "setting has 'delay', which is no impairment"),
        ({"from": "198.18.0.2", "port": [80]}, "it is of no source or of no port"),
        ("none", "it is no object"),
    ],
)
def test_a_link_that_holds_what_no_link_can(setting: Any, says: str) -> None:
    """It is a problem, and nothing of it is compared with what was asked."""
    counts = {"up": True, "in": 5, "out": 4, "dropped": 1, "duplicated": 0}
    lab = LyingLab("wire.read", {"ok": {**counts, "settings": [setting]}})
    evidence = walk(lab, wire={"client->server": {"delay": "10ms"}})
    ((_, said),) = problems(evidence)
    assert "to wire.read makes no sense" in said
    assert says in said


def test_answers_that_nobody_asked_for() -> None:
    """They are dropped, whatever they are named by."""
    answers = b'{"id":7,"ok":{}}\n{"id":[1],"ok":{}}\n{"id":{},"ok":{}}\n{"id":1e400,"ok":{}}\n{"ok":{}}\n'
    agents, heard = hear(Script(answers))
    assert heard == []
    assert agents._answers == {}


def test_pieces_of_files_that_nobody_asked_for() -> None:
    """They are dropped."""
    agents, _ = hear(Script(b'{"event":"chunk","id":3,"data":"QUFB"}\n' * 50))
    assert agents._chunks == {}


def test_a_flood_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that tells more than a run can have is lost, with the reason; its channel is closed."""
    monkeypatch.setattr(hearing, "MOST_EVENTS", 100)
    script = Script(forever=b'{"event":"log","time_ns":1,"line":"a"}\n')
    agents, heard = hear(script)
    assert len(heard) == 100
    assert "client sent more than 100 events" in agents.lost["client"]
    assert "is not heard any more" in agents.lost["client"]
    assert script.closed


def test_a_flood_of_few_large_events_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are counted too."""
    monkeypatch.setattr(hearing, "MOST_TOLD", 5000)
    agents, heard = hear(Script(forever=b'{"event":"log","time_ns":1,"line":"' + b"a" * 1000 + b'"}\n'))
    assert len(heard) == 4
    assert "bytes of them, and is not heard any more" in agents.lost["client"]


def test_a_file_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is longer than any capture is not kept."""
    monkeypatch.setattr(hearing, "MOST_FETCHED", 1000)
    script = Script(forever=b'{"event":"chunk","id":1,"data":"' + b"QUFB" * 50 + b'"}\n')
    agents = Agents(ScriptLab(script), Stop())
    agents.open(["client"])
    (content,) = agents.fetch([("client", "/tmp/capture")])
    agents.close()
    assert isinstance(content, LabError)
    assert "a file of more than 1000 bytes" in content.message
    assert agents._chunks == {}


def test_a_line_without_end() -> None:
    """After a few megabytes without a newline the agent is lost."""
    script = Script(forever=b"x" * (1 << 20))
    agents, heard = hear(script)
    assert heard == []
    assert script.taken <= LONGEST_LINE // (1 << 20) + 2
    assert "client" in agents.lost


def test_who_is_not_heard_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be heard is bounded: the agent has to wait then, and goes on when it was heard."""
    monkeypatch.setattr(hearing, "MOST_WAITING", 1000)
    line = b'{"event":"log","time_ns":1,"line":"' + b"a" * 600 + b'"}\n'
    script, paused = Script(*[line] * 10), SimpleQueue[int]()

    class Pause:
        """In place of the event that ends the waiting: tells how much was read by then."""

        def wait(self, _: float) -> bool:
            paused.put(script.taken)
            return False

        def set(self) -> None:
            """Not needed."""

    heard: list[Message] = []
    agents = Agents(ScriptLab(script), Stop(), lambda host, message: heard.append(message))
    agents._closing = Pause()  # type: ignore[assignment]
    agents.open(["client"])
    assert {paused.get() for _ in range(50)} == {2}
    agents.run_until(lambda: "client" in agents.lost, timeout_s=20.0)
    assert len(heard) == 10


@pytest.mark.parametrize(
    ("before", "after", "by_ns"),
    [
        ((100, 200), (150, 260), 0),
        ((100, 200), (200 + SLACK_NS, 300 + SLACK_NS), 0),
        ((100, 200), (5_000_200, 5_000_300), 5_000_000),
        ((5_000_200, 5_000_300), (100, 200), -5_000_000),
    ],
)
def test_a_clock_that_was_set(before: tuple[int, int], after: tuple[int, int], by_ns: int) -> None:
    """Two bounds of one difference that do not meet: it changed by at least what is between them."""
    assert moved(before, after) == by_ns


def test_what_a_container_prints_fills_no_disk() -> None:
    """The engine keeps no log of any that goes on running; hosts of the override are made like the client."""
    services = yaml.safe_load(compose_file().read_text())["services"]
    del services["hub"]
    assert set(services) == {"client", "server", "sniffer"}
    assert all(service["logging"] == {"driver": "none"} for service in services.values())
    shape = LabShape("run", "story", "ipv4", (LabHost("client", {}), LabHost("client-2", {})))
    more = override(shape, IPv4Network("198.18.0.0/28"), "owner", (6, 1))["services"]
    assert all("logging" not in service for service in more.values())
    assert more["client-2"]["extends"]["service"] == "client"
