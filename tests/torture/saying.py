"""An agent that says what one likes, and a run that has to make something of it: so the agent protocol is fuzzed.

A lab of fakes plays a small scenario with an impaired wire and a fault; while the client plays, the given bytes come in
its name. The evidence is judged, told in full and written down. Nothing but a TestbedError may be raised.
"""

from __future__ import annotations

from typing import Any

from test_run_fake_lab import PLAYED, FakeLab, facts

from testbed.errors import TestbedError
from testbed.evidence import Evidence, dump_records, load_records
from testbed.lab.agents import Agents
from testbed.lab.contract import Channel
from testbed.outputs import drawings, result_file
from testbed.plan import make_plan
from testbed.run import Clock, run_plan
from testbed.scenario.model import Scenario
from testbed.stop import Stop
from testbed.verdict.judge import judge

Message = dict[str, Any]

SCENARIO = Scenario.model_validate(
    {
        "summary": "A story.",
        "hosts": {
            "server": {"steps": [{"listen": 7456}, "accept", {"snapshot": "now"}, "close"]},
            "client": {"steps": [{"connect": "server:7456"}, {"send": "Hola"}, {"log": "hello"}, "close"]},
        },
        "wire": {"timeline": [{"at": "1s", "client->server": {"delay": "5ms"}}]},
        "faults": [{"drop": "SYN", "from": "client", "nth": 1}],
        "expect": {
            "handshake": {"outcome": "complete"},
            "states": {"client": ["SYN_SENT", "ESTABLISHED"]},
            "logs": {"client": ["hello"]},
            "payload": {"client->server": "Hola"},
        },
    }
)
SOCKET = "198.18.0.3:40000 198.18.0.2:7456"
DIGEST = "00112233aabbccdd"
MESSAGES: tuple[Message, ...] = (
    {
        "event": "step",
        "path": "0",
        "round": [],
        "step": "connect",
        "outcome": "ok",
        "errno": None,
        "says": "",
        "due_ns": 1,
        "start_ns": 1,
        "end_ns": 2,
        "local": "198.18.0.3:40000",
        "peer": "198.18.0.2:7456",
        "bytes": 4,
        "sha256": "00",
        "data": "SG9sYQ==",
    },
    {"event": "state", "time_ns": 1, "socket": SOCKET, "from": "CLOSE", "to": "SYN_SENT"},
    {"event": "snapshot", "name": "now", "time_ns": 1, "rows": [{"state": "LISTEN", "local": "a:1", "peer": "b:2"}]},
    {"event": "log", "time_ns": 1, "line": "hello"},
    {"event": "mark", "name": "ready", "time_ns": 1, "value": 7},
    {
        "event": "fault",
        "time_ns": 1,
        "rule": 0,
        "action": "drop",
        "says": "SYN",
        "packet": DIGEST,
        "passed": False,
        "made": [{"to": "receiver", "packet": DIGEST, "says": "x"}],
    },
    {"event": "wire", "time_ns": 1, "phase": 1, "began_ns": 1},
    {"event": "problem", "says": "I am lost"},
    {"event": "played", "exit": 0, "signal": None, "held": False, "time_ns": 9},
    {"event": "chunk", "id": 1, "data": "QUFB"},
    {"id": 1, "ok": {}},
    {"id": 1, "error": {"kind": "EIO", "says": "no"}},
)


class SayingLab(FakeLab):
    """A lab whose client says something more when it is to play."""

    def __init__(self, said: bytes) -> None:
        super().__init__(programs={"client": [], "server": [PLAYED]})
        self.said = said

    def open(self, host: str) -> Channel:
        """An agent; the client's is the one that talks."""
        channel = super().open(host)
        return _Talker(channel, self.said) if host == "client" else channel


class _Talker:
    """Behind its answer to `play` come the given bytes, and then the end of the program, that the run shall end."""

    def __init__(self, channel: Channel, said: bytes) -> None:
        self._channel, self._said = channel, said

    def send(self, line: bytes) -> None:
        """As asked."""
        self._channel.send(line)
        if b'"do":"play"' in line:
            self._channel._out.put(self._said)  # type: ignore[attr-defined]
            self._channel._say(PLAYED)  # type: ignore[attr-defined]

    def receive(self) -> bytes:
        """The next bytes."""
        return self._channel.receive()

    def close(self) -> None:
        """End."""
        self._channel.close()


def listen_to(said: bytes, in_full: bool = False) -> Evidence | None:
    """Play with a client that says this, judge, write it down (`in_full`: drawn too); None where there was no run."""
    agents = Agents(SayingLab(said), stop := Stop())
    try:
        evidence = run_plan(make_plan("story", SCENARIO), agents, facts(), {}, stop, Clock(), 2.0)
    except TestbedError:
        return None
    finally:
        agents.close()
    judgement = judge(evidence)
    if in_full:
        drawings(judgement)
    result_file(judgement)
    text = dump_records(evidence.records)
    text.encode()
    assert dump_records(load_records(text)) == text
    return evidence
