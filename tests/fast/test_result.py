"""`result.json`: the keys that others rely on, in one notation, from the evidence."""

from __future__ import annotations

import json
from typing import Any

from verdict_story import START_NS, Story, deaf, hola, uncaptured, with_records

from testbed.evidence import Problem, TableSnapshot
from testbed.result import result_json
from testbed.verdict.judge import judge

CONTRACT: dict[str, Any] = {
    "schema": 1, "scenario": "", "verdict": "", "backend": "", "engine": "", "seed": 0, "family": "",
    "environment": {"kernel": "", "testbed": "", "docker": "", "compose": "", "sysctls": {}},
    "checks": [{"name": "", "verdict": "", "expected": "", "seen": "", "why": "", "packets": [], "line": 0}],
    "connections": [{
        "client": {"host": "", "address": "", "port": 0}, "server": {"host": "", "address": "", "port": 0},
        "handshake": {"outcome": "", "duration_ms": 0.0, "syns": 0, "syn_acks": 0, "syn_retransmits": 0,
                      "synack_retransmits": 0, "options": {}},
        "teardown": {"kind": "", "closed_first": "", "fin_retransmits": 0, "reset_by": None},
        "bytes": {"client_to_server": 0, "server_to_client": 0}, "retransmits": {"client": 0, "server": 0},
        "conn_state": "", "history": "", "completeness": 0, "audit": []}],
    "hosts": {"client": {"steps": [{"step": "", "outcome": "", "errno": None, "start_ms": 0.0, "end_ms": 0.0}],
                         "states": [{"at_ms": 0.0, "socket": "", "from": "", "to": ""}]}},
    "wire": {"client->server": {"asked": {}, "had": {}, "packets": 0, "delivered": 0, "lost": 0}},
    "faults": [{"at_ms": 0.0, "rule": "", "packet": 0}],
    "captures": [{"vantage": "", "packets": 0, "dropped": 0}],
    "timing_ms": dict.fromkeys(("lab_up", "play", "collect", "judge", "lab_down", "total"), 0.0),
}  # fmt: skip


def told() -> Story:
    """A run with something under every key."""
    story = Story(
        {
            "wire": {"client->server": {"delay": "10ms"}},
            "faults": [{"drop": "SYN", "from": "client", "nth": 1}],
            "expect": {"handshake": {"outcome": "complete"}},
        }
    )
    story.tcp(0, "client", "S", fault=0)
    story.tcp(1000, "client", "S")
    story.tcp(1010.1234567, "server", "S.", 0, 1)
    story.tcp(1011, "client", ".", 1, 1)
    story.talk(1030)
    story.play()
    story.state("client", 1.5, "CLOSE", "SYN_SENT")
    return story


def hold(wanted: Any, given: Any, path: str = "") -> None:
    """Every key of the contract is there, and its value of the contract's type."""
    assert type(given) is type(wanted), path
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert key in given, f"{path}.{key}"
            hold(value, given[key], f"{path}.{key}")
    elif isinstance(wanted, list) and wanted:
        assert given, path
        hold(wanted[0], given[0], f"{path}[0]")


def test_contract() -> None:
    """All keys of schema 1 are there with values of their types; the text ends with a newline."""
    text = result_json(told().judge())
    assert text.endswith("}\n")
    hold(CONTRACT, json.loads(text))


def test_times_are_since_the_start() -> None:
    """Times are milliseconds since the run started, to the microsecond."""
    result = json.loads(result_json(told().judge()))
    assert result["hosts"]["client"]["steps"][1]["start_ms"] == 1.0
    assert result["hosts"]["client"]["states"] == [
        {"at_ms": 1.5, "socket": "198.18.0.2:40000 198.18.0.3:7456", "from": "CLOSE", "to": "SYN_SENT"}
    ]
    assert result["connections"][0]["handshake"]["duration_ms"] == 1011.0
    fault = {"at_ms": 0.03, "rule": "fault 0: drop SYN", "index": 0, "host": "server", "packet": 2, "made": []}
    assert result["faults"] == [fault]
    assert result["timing_ms"]["play"] == 12.5


def test_wire_each_way() -> None:
    """A direction tells what was asked and what was had; packets that a fault took are no losses by chance."""
    wire = json.loads(result_json(told().judge()))["wire"]
    there = wire["client->server"]
    assert there["asked"] == {"delay_ms": 10.0}
    assert (there["packets"], there["delivered"], there["lost"], there["lost_by_fault"]) == (6, 5, 1, 1)
    assert there["had"]["loss_percent"] == 0.0
    assert there["had"]["delay_ms"] == dict.fromkeys(("min", "median", "p95", "max"), 10.025)
    back = wire["server->client"]
    assert (back["asked"], back["packets"], back["lost"]) == ({}, 3, 0)


def test_hosts_by_address() -> None:
    """Ends of a connection carry their host's name."""
    connection = json.loads(result_json(hola().judge()))["connections"][0]
    assert connection["client"] == {"host": "client", "address": "198.18.0.2", "port": 40000}
    assert connection["server"]["host"] == "server"
    assert connection["bytes"] == {"client_to_server": 27, "server_to_client": 0}


def test_what_was_not_seen() -> None:
    """Drops of a capture, a capture that is missing and problems are told."""
    result = json.loads(result_json(judge(deaf(hola().evidence()))))
    assert next(one for one in result["captures"] if one["vantage"] == "wire")["dropped"] == 3
    missing = json.loads(result_json(judge(uncaptured(hola().evidence(), "server"))))
    assert [one["vantage"] for one in missing["captures"] if not one["stored"]] == ["server"]
    broken = json.loads(result_json(judge(with_records(hola().evidence(), Problem("lab", "no disk")))))
    assert (broken["problems"], broken["verdict"]) == ([{"where": "lab", "says": "no disk"}], "unknown")


def test_hosts_tell_everything() -> None:
    """Snapshots, log lines and the ends of programs are in the result."""
    story = hola()
    story.log("server", "Got connection")
    evidence = with_records(story.evidence(), TableSnapshot("server", "table", START_NS, ()))
    host = json.loads(result_json(judge(evidence)))["hosts"]["server"]
    assert host["logs"] == [{"at_ms": 5.0, "line": "Got connection"}]
    assert host["snapshots"] == [{"name": "table", "at_ms": 0.0, "rows": []}]
    assert host["ends"] == [{"at_ms": 500.0, "exit": 0, "signal": None, "held": False}]
