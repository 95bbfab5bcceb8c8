"""Walking a plan, against a lab whose agents are small fakes in this process that speak the protocol."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import pytest

from testbed import canaries
from testbed.errors import BlindError, Interrupted, LabError
from testbed.evidence import (
    CaptureCount,
    Evidence,
    FaultFired,
    HostFacts,
    LinkCount,
    LogLine,
    MarkMade,
    Problem,
    ProgramEnd,
    RunFacts,
    StateSample,
    StepOutcome,
    TableSnapshot,
    WireChanged,
)
from testbed.lab.agents import Agents
from testbed.lab.contract import Channel, Lab
from testbed.lab.sameness import own_agent
from testbed.pcap.frame import Direction
from testbed.plan import make_plan
from testbed.run import Clock, run_plan
from testbed.scenario.model import Scenario
from testbed.stop import Stop

Message = dict[str, Any]
HOSTS = ("server", "client", "sniffer")
TOLD: dict[str, Any] = {
    "summary": "A story.",
    "hosts": {
        "server": {"steps": [{"listen": 7456}, "accept", "close"]},
        "client": {"steps": [{"connect": "server:7456"}, "close"]},
    },
}
PLAYED: Message = {"event": "played", "exit": 0, "signal": None, "time_ns": 9}
RECORD = struct.pack("<QIIB", 1000, 60, 14, 2) + bytes(14)


@dataclass
class FakeLab:
    """A lab of fake agents: what they were asked, in order, and what they are told to do."""

    hears: bool = True
    hosts: tuple[str, ...] = HOSTS
    programs: dict[str, list[Message | str]] = field(default_factory=dict)  # events; "die" there, or "wait" for a mark
    refuses: dict[str, str] = field(default_factory=dict)  # request: what the agent says to it
    left: list[str] = field(default_factory=list)  # on every host, after `reset`
    netem: bool = False
    on_play: Callable[[], None] = lambda: None
    asked: list[tuple[str, str, Message]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    is_down: bool = False
    backend: str = "fake"
    versions: Mapping[str, str] = field(default_factory=lambda: {"kernel": "6.1"})

    def open(self, host: str) -> Channel:
        """An agent."""
        return FakeAgent(self, host)

    def ending(self, host: str) -> str:
        """What became of a host."""
        return f"the container of {host} ended with exit status 137 (SIGKILL)"

    def close(self) -> None:
        """Only remember it."""
        self.is_down = True

    def requests(self, host: str) -> list[str]:
        """What a host was asked, in order."""
        return [do for name, do, _ in self.asked if name == host]

    def first(self, do: str, host: str | None = None) -> Message:
        """The first request of a kind."""
        return next(message for name, each, message in self.asked if each == do and host in (None, name))


class FakeAgent:
    """Answers at once, as docs/agent-protocol.md has it."""

    def __init__(self, lab: FakeLab, host: str) -> None:
        self._lab, self._host = lab, host
        self._out: SimpleQueue[bytes] = SimpleQueue()
        self._dead = False
        self._rest: Iterator[Message | str] = iter(())

    def send(self, line: bytes) -> None:
        """Take a request, and answer it."""
        if self._dead:
            raise BrokenPipeError
        message = json.loads(line)
        do = message["do"]
        self._lab.asked.append((self._host, do, message))
        if do in self._lab.refuses:
            self._say({"id": message["id"], "error": {"kind": "EPERM", "says": self._lab.refuses[do]}})
            return
        for event in self._before(do, message):
            self._say(event)
        self._say({"id": message["id"], "ok": self._answer(do)})
        if do == "play":
            self._rest = iter(self._lab.programs.get(self._host, [PLAYED]))
        if do in ("play", "mark"):
            self._play()

    def _before(self, do: str, message: Message) -> list[Message]:
        if do not in ("fetch", "capture.follow"):
            return []
        halves = (RECORD[:9], RECORD[9:])
        return [{"event": "chunk", "id": message["id"], "data": base64.b64encode(half).decode()} for half in halves]

    def _answer(self, do: str) -> Message:
        number = self._lab.hosts.index(self._host) + 2
        eth0 = {"mac": f"02:00:00:00:00:0{number}", "ipv4": [f"198.18.0.{number}"], "ipv6": []}
        answers: dict[str, Message] = {
            "hello": {
                "agent": own_agent(),
                "kernel": "6.1",
                "interfaces": {"eth0": eth0},
                "sysctls": {"net.ipv4.tcp_sack": "1"},
            },
            "canary.wait": {"heard": self._lab.hears},
            "capture.stop": {"packets": 1, "dropped": 0, "bytes": len(RECORD), "path": "/tmp/capture"},
            "fetch": {"bytes": len(RECORD)},
            "capture.follow": {"bytes": len(RECORD)},
            "reset": {"clean": not self._lab.left, "left": self._lab.left},
            "wire.probe": {"portable": {"ok": True, "says": ""}, "netem": {"ok": self._lab.netem, "says": "none here"}},
            "wire.read": {"up": True, "in": 5, "out": 4, "dropped": 1, "duplicated": 0, "ledger": []},
        }
        return answers.get(do, {})

    def _play(self) -> None:
        for event in self._rest:
            if event == "die":
                self._dead = True
                self._out.put(b"")
            if isinstance(event, str):
                return
            self._say(event)
        self._lab.on_play()

    def _say(self, message: Message) -> None:
        self._out.put(json.dumps(message).encode() + b"\n")

    def receive(self) -> bytes:
        """The next line."""
        return self._out.get()

    def close(self) -> None:
        """End."""
        self._lab.closed.append(self._host)
        self._out.put(b"")


def facts() -> RunFacts:
    """The facts of a run."""
    return RunFacts("id", "story", "story.yaml", "fake", "", "none", "", "ipv4", 0, 0, {"testbed": "0"}, {}, {})


def walk(lab: FakeLab, stop: Stop | None = None, timeout_s: float = 20.0, **told: Any) -> Evidence:
    """Run the story in a lab."""
    agents = Agents(lab, stop := stop or Stop())
    try:
        return walk_with(agents, stop, timeout_s, **told)
    finally:
        agents.close()


def walk_with(agents: Agents, stop: Stop, timeout_s: float = 20.0, **told: Any) -> Evidence:
    """Run the story with agents of a lab, which go on."""
    plan = make_plan("story", Scenario.model_validate({**TOLD, **told}))
    return run_plan(plan, agents, facts(), {"blob.bin": b"blob"}, stop, Clock(), timeout_s)


def problems(evidence: Evidence) -> list[tuple[str, str]]:
    """Where something went wrong, and what."""
    return [(problem.where, problem.says) for problem in evidence.all(Problem)]


# --- the order ---


def test_what_is_asked_of_a_host_in_order() -> None:
    """Captures run and the canary has been heard before the first step; another ends them before they are read."""
    lab = FakeLab()
    walk(lab)
    asked = [do for do in lab.requests("client") if do != "canary.send"]
    assert asked[:5] == ["hello", "prepare", "capture.start", "states.start", "counters.start"]
    assert asked[5:8] == ["play", "settled", "capture.stop"]
    assert sorted(asked[8:]) == ["counters.stop", "fetch", "states.stop"]
    everything = [do for _, do, _ in lab.asked]
    first_play, last_play = everything.index("play"), len(everything) - everything[::-1].index("play")
    assert "canary.wait" in everything[:first_play]
    assert "capture.stop" not in everything[: everything.index("canary.wait", last_play)]
    assert everything.count("capture.start") == everything[:first_play].count("capture.start") == 3


def test_the_sniffer_hears_and_plays_nothing() -> None:
    """The sniffer captures in promiscuous mode, waits for canaries, and has no program."""
    lab = FakeLab()
    walk(lab)
    assert "play" not in lab.requests("sniffer")
    assert lab.first("capture.start", "sniffer")["promiscuous"] is True
    assert lab.first("capture.start", "client")["promiscuous"] is False
    assert {name for name, do, _ in lab.asked if do == "canary.wait"} == {"sniffer"}


def test_hosts_are_told_addresses_and_neighbours() -> None:
    """Nothing is looked up on the wire: every host gets the others' addresses, and their MACs as neighbours."""
    lab = FakeLab()
    walk(lab)
    assert lab.first("play", "client")["addresses"] == {
        "server": "198.18.0.2",
        "client": "198.18.0.3",
        "sniffer": "198.18.0.4",
    }
    assert lab.first("prepare", "client")["neighbours"] == [
        {"address": "198.18.0.2", "mac": "02:00:00:00:00:02"},
        {"address": "198.18.0.4", "mac": "02:00:00:00:00:04"},
    ]
    assert base64.b64decode(lab.first("play", "server")["files"]["blob.bin"]) == b"blob"


def test_evidence_of_a_run() -> None:
    """What comes back is one value: who was there, what was captured at each vantage point, and what it counted."""
    evidence = walk(FakeLab())
    assert problems(evidence) == []
    assert [host.host for host in evidence.all(HostFacts)] == ["server", "client", "sniffer"]
    assert list(evidence.captures) == ["client", "server", "wire"]
    (frame,) = evidence.captures["wire"].frames
    assert (frame.time_ns, frame.length, len(frame.data), frame.direction) == (1000, 60, 14, Direction.OUT)
    assert {(count.vantage, count.packets, count.dropped) for count in evidence.all(CaptureCount)} == {
        ("client", 1, 0),
        ("server", 1, 0),
        ("wire", 1, 0),
    }
    assert evidence.run.versions == {"testbed": "0", "kernel": "6.1"}
    assert evidence.run.sysctls == {"net.ipv4.tcp_sack": "1"}


def test_impaired_link() -> None:
    """An impaired direction is applied before the first step, captured on both its sides, and counted at the end."""
    lab = FakeLab()
    evidence = walk(lab, wire={"client->server": {"delay": "10ms"}})
    assert lab.requests("server").index("wire.apply") < lab.requests("server").index("play")
    assert "wire.apply" not in lab.requests("client")
    link = lab.first("wire.apply")["link"]
    assert link["phases"][0]["sources"]["198.18.0.3"]["delay_ns"] == 10_000_000
    assert (link["engine"], evidence.run.engine) == ("portable", "portable")
    assert evidence.run.engine_why == "no netem on server: none here"
    assert list(evidence.captures) == ["client", "server", "server:link0", "wire"]
    (count,) = evidence.all(LinkCount)
    assert (count.host, count.taken, count.delivered, count.dropped) == ("server", 5, 4, 1)


def test_engine_by_what_the_hosts_have() -> None:
    """auto takes netem where every impaired host has it; a scenario with faults is not even asked about."""
    lab = FakeLab(netem=True)
    evidence = walk(lab, wire={"client->server": {"delay": "10ms"}})
    assert (evidence.run.engine, lab.first("wire.apply")["link"]["engine"]) == ("netem", "netem")
    faulty = FakeLab(netem=True)
    evidence = walk(faulty, faults=[{"drop": "SYN", "from": "client"}])
    assert evidence.run.engine == "portable"
    assert "wire.probe" not in faulty.requests("server")


def test_timeline_of_a_run() -> None:
    """A host with phases is told when the play began; its changes are records."""
    change: Message = {"event": "wire", "time_ns": 5, "phase": 1}
    lab = FakeLab(programs={"server": [change, PLAYED]})
    evidence = walk(lab, wire={"timeline": [{"at": "1s", "client->server": {"delay": "10ms"}}]})
    assert lab.first("wire.begin")["start_ns"] > 0
    assert evidence.all(WireChanged) == (WireChanged("server", 5, 1, 5),)


# --- events ---

STEP: Message = {"event": "step", "path": "0", "step": "connect", "outcome": "ok", "start_ns": 1, "end_ns": 2}


def test_every_event_is_a_record() -> None:
    """Each kind of event has its record; what nobody knows is a problem, not silence."""
    row = {"state": "LISTEN", "local": "0.0.0.0:7456", "peer": "0.0.0.0:0"}
    events: list[Message | str] = [
        STEP,
        {"event": "state", "time_ns": 1, "socket": "198.18.0.3:1 198.18.0.2:2", "from": "CLOSE", "to": "SYN_SENT"},
        {"event": "snapshot", "name": "now", "time_ns": 1, "rows": [row]},
        {"event": "log", "time_ns": 1, "line": "Got connection"},
        {"event": "mark", "name": "ready", "time_ns": 1, "value": None},
        {"event": "fault", "time_ns": 1, "rule": 0, "action": "drop", "says": "SYN"},
        {"event": "wire", "time_ns": 1, "phase": 1},
        {"event": "problem", "says": "I am lost"},
        {"event": "riddle"},
        PLAYED,
    ]
    evidence = walk(FakeLab(programs={"client": events}))
    kinds = (StepOutcome, StateSample, TableSnapshot, LogLine, MarkMade, FaultFired, WireChanged)
    found = [record for record in evidence.records if isinstance(record, kinds)]
    assert [(type(record), record.host) for record in found] == [(kind, "client") for kind in kinds]
    assert [end.host for end in evidence.all(ProgramEnd)].count("client") == 1
    assert problems(evidence) == [
        ("client", "I am lost"),
        ("client", "the agent sent an event that nobody knows: 'riddle'"),
    ]


def test_the_engines_resolver_is_not_a_program_of_ours() -> None:
    """The engine's own DNS listens in every container; its sockets are no evidence."""
    row = {"state": "LISTEN", "local": "127.0.0.11:40000", "peer": "0.0.0.0:0"}
    events: list[Message | str] = [
        {"event": "state", "time_ns": 1, "socket": "127.0.0.11:40000 0.0.0.0:0", "from": "CLOSE", "to": "LISTEN"},
        {"event": "snapshot", "name": "now", "time_ns": 1, "rows": [row]},
        PLAYED,
    ]
    evidence = walk(FakeLab(programs={"client": events}))
    assert evidence.all(StateSample) == ()
    assert [table.rows for table in evidence.all(TableSnapshot)] == [()]


def test_marks_go_to_the_others() -> None:
    """A mark that one host makes reaches every other that still plays, with its value, and not the maker."""
    mark: Message = {"event": "mark", "name": "listening:server:free", "time_ns": 1, "value": 40000}
    lab = FakeLab(programs={"server": [mark, PLAYED]})
    lab.programs |= {"client": ["wait", PLAYED], "client-2": ["wait", PLAYED]}
    lab.hosts = ("server", "client", "client-2", "sniffer")
    walk(lab, hosts={**TOLD["hosts"], "client": {"replicas": 2, **TOLD["hosts"]["client"]}})
    told = [(name, message["name"], message["value"]) for name, do, message in lab.asked if do == "mark"]
    assert told == [(name, "listening:server:free", 40000) for name in ("client", "client-2")]


def test_a_held_program_is_released_at_the_end() -> None:
    """A program at its `hold` keeps its sockets until the captures have ended, then it is let go."""
    lab = FakeLab(programs={"server": [{**PLAYED, "held": True}]})
    evidence = walk(lab)
    assert [end.held for end in evidence.all(ProgramEnd) if end.host == "server"] == [True]
    assert lab.requests("server")[-1] == "release"
    assert "release" not in lab.requests("client")


# --- bad luck ---


def test_lost_agent() -> None:
    """A host that dies while it plays: a problem that says how; what the others captured is kept."""
    evidence = walk(FakeLab(programs={"client": [STEP, "die"]}))
    assert problems(evidence) == [("client", "the container of client ended with exit status 137 (SIGKILL)")]
    assert list(evidence.captures) == ["server", "wire"]
    assert [step.host for step in evidence.all(StepOutcome)] == ["client"]


def test_time_limit() -> None:
    """A play that does not end: a problem that names who stands where; the captures are kept."""
    evidence = walk(FakeLab(programs={"client": [], "server": []}), timeout_s=0.0)
    ((where, says),) = problems(evidence)
    assert where == "play"
    assert says.startswith("the play did not end within 0 s: ")
    assert "server has ended no step" in says
    assert list(evidence.captures) == ["client", "server", "wire"]


def test_hub_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sniffer that hears nothing of the others: no step is played, and the error says where to look."""
    monkeypatch.setattr(canaries, "HUB_TIMEOUT_S", -1.0)
    lab = FakeLab(hears=False)
    with pytest.raises(BlindError, match="the sniffer does not hear") as caught:
        walk(lab)
    assert "hub" in caught.value.remedy
    assert "play" not in {do for _, do, _ in lab.asked}
    assert sorted(lab.closed) == sorted(HOSTS)


def test_interrupted() -> None:
    """When the user wants us to end, the run ends at once with Interrupted, and every channel is closed."""
    stop = Stop()
    lab = FakeLab(programs={"client": [], "server": []}, on_play=lambda: stop.request("SIGINT"))
    with pytest.raises(Interrupted, match="SIGINT"):
        walk(lab, stop)
    assert sorted(lab.closed) == sorted(HOSTS)


def test_refused_before_the_play_raises() -> None:
    """An agent that cannot be made ready is an error of the lab, in the agent's own words."""
    with pytest.raises(LabError, match="the agent on server says: no such interface"):
        walk(FakeLab(refuses={"prepare": "no such interface"}))


def test_refused_at_the_end_is_a_problem() -> None:
    """What cannot be collected is a problem; the rest is collected all the same."""
    evidence = walk(FakeLab(refuses={"states.stop": "not started"}))
    assert problems(evidence) == [(host, f"the agent on {host} says: not started") for host in ("server", "client")]
    assert list(evidence.captures) == ["client", "server", "wire"]


class Silent:
    """An agent that says nothing, or what it is given."""

    def __init__(self, *says: bytes) -> None:
        self._says: SimpleQueue[bytes] = SimpleQueue()
        for each in says:
            self._says.put(each)

    def send(self, line: bytes) -> None:
        """Hear it."""

    def receive(self) -> bytes:
        """The next of what it was given."""
        return self._says.get()

    def close(self) -> None:
        """End."""
        self._says.put(b"")


def test_silence_is_blindness() -> None:
    """An agent that does not answer in time: we cannot see, and it is said for how long we waited."""

    class SilentLab(FakeLab):
        def open(self, host: str) -> Channel:
            return Silent()

    agents = Agents(SilentLab(), Stop(), lambda host, message: None)
    agents.open(["client"])
    with pytest.raises(BlindError, match="the agent on client did not answer within 0 s"):
        agents.wait([agents.ask("client", "hello")], timeout_s=0.0)
    agents.close()


def test_lines_come_in_any_pieces() -> None:
    """The stream may be cut anywhere; a line that is no message is a problem with the line in it."""
    heard: list[Message] = []

    class PieceLab(FakeLab):
        def open(self, host: str) -> Channel:
            said = b'{"event":"log","time_ns":1,"line":"a"}\n{"event":"log","time_ns":1,"line":"b"}\nrubbish\n'
            return Silent(said[:12], said[12:48], said[48:], b"")

    lab: Lab = PieceLab()
    agents = Agents(lab, Stop(), lambda host, message: heard.append(dict(message)))
    agents.open(["client"])
    agents.run_until(lambda: "client" in agents.lost, timeout_s=20.0)
    assert [message.get("line") for message in heard[:2]] == ["a", "b"]
    assert heard[2]["event"] == "problem"
    assert "rubbish" in heard[2]["says"]
