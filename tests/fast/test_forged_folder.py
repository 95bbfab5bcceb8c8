"""A run folder that somebody else wrote: `testbed check` refuses in words what no run leaves, with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from verdict_story import Story

from testbed.errors import UsageError
from testbed.evidence import Evidence, LogLine, RunFacts, StepOutcome, dump_records, load_records
from testbed.fields import LARGEST
from testbed.files import load_evidence, read_captures, read_timeline, save_evidence
from testbed.pcap.frame import Capture, Interface
from testbed.pcap.writer import write_capture


def told(scenario: dict[str, Any] | None = None) -> Evidence:
    """Of a run that went well."""
    story = Story(scenario or {})
    story.open()
    story.talk()
    story.play()
    return story.evidence()


def lines(evidence: Evidence) -> list[dict[str, Any]]:
    """The records as JSON."""
    return [json.loads(line) for line in dump_records(evidence.records).splitlines()]


def refusal(records: list[dict[str, Any]]) -> str:
    """What is said of a timeline."""
    with pytest.raises(UsageError) as caught:
        read_timeline("".join(json.dumps(record) + "\n" for record in records).encode(), "timeline.jsonl")
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    return caught.value.message


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("run", {"family": "ipx"}, "family is not one of ipv4, ipv6: 'ipx'"),
        ("run", {"lines": {"expect": "one"}}, "lines.expect is 'one', not a whole number"),
        ("run", {"place": "here"}, "place is 'here', not a list"),
        ("run", {"seed": True}, "seed is True, not a whole number"),
        ("run", {"seed": LARGEST + 1}, "seed is a int, not a whole number of at most 64 bits"),
        ("run", {"run_id": "\ud800"}, "surrogates not allowed"),
        ("run", {"more": 1}, "has 'more', which is no field of it"),
        ("host", {"address": "198.18.0.x"}, "address is no IP address: '198.18.0.x'"),
        ("step", {"path": "\u00b2"}, "path is no place among the steps: '\\xb2'"),
        ("step", {"outcome": "passed"}, "outcome is not one of ok, error, timeout"),
        ("step", {"data": "%"}, "data is not base64"),
        ("step", {"round": [1, None]}, "round.1 is None, not a whole number"),
        ("step", {"end_ns": float("inf")}, "end_ns is a float"),
        ("timing", {"phases": {"play": float("nan")}}, "phases.play is a float, not a number"),
        ("step", {"type": "steps"}, "its type is none of run, host, step"),
        ("step", {"type": ["step"]}, "its type is none of run, host, step"),
    ],
)
def test_a_record_that_no_run_leaves(kind: str, change: dict[str, Any], says: str) -> None:
    """The line and the field are named."""
    records = lines(told())
    number = next(place for place, record in enumerate(records) if record["type"] == kind)
    records[number].update(change)
    said = refusal(records)
    assert said.startswith(f"timeline.jsonl: line {number + 1} is not a record of a timeline: ")
    assert says in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"delay=ns": 1}, "setting has 'delay=ns', which is no impairment; there are delay_ns, "),
        ({"\x1b]": 1}, "setting has '\\x1b]', which is no impairment"),
        ({"delay_ns": -1}, "setting.delay_ns is -1; it is a number, 0 or more"),
        ({"delay_ns": 10**400}, "setting.delay_ns is 1000"),
        ({"loss_percent": float("nan")}, "setting.loss_percent is nan; it is a number, 0 or more"),
        ({"port": [80]}, "is of no source or of no port"),
        ({"port": 0}, "is of no source or of no port"),
        ({"from": None}, "is of no source or of no port"),
        (None, "settings.0 is None, not an object"),
    ],
)
def test_what_no_link_holds(change: dict[str, Any] | None, says: str) -> None:
    """A setting that is none is refused where it is read, not where it is compared."""
    records = lines(told({"wire": {"delay": "5ms"}}))
    number, link = next((place, record) for place, record in enumerate(records) if record["type"] == "link")
    link["settings"][0] = None if change is None else {**link["settings"][0], **change}
    said = refusal(records)
    assert f"line {number + 1} is not a record of a timeline: settings" in said
    assert says in said
    assert len(said) < 500


def test_a_record_that_lacks_something() -> None:
    """Named too."""
    records = lines(told())
    del records[0]["seed"]
    assert "line 1 is not a record of a timeline: has no seed" in refusal(records)


@pytest.mark.parametrize("times", [0, 2])
def test_what_was_run_is_told_once(times: int) -> None:
    """Neither never nor twice."""
    records = lines(told())
    assert f"says {times} times what was run" in refusal(records[:1] * times + records[1:])


def test_bytes_that_are_no_text() -> None:
    """Nor is a timeline that is no UTF-8."""
    with pytest.raises(UsageError, match="can't decode byte 0xff"):
        read_timeline(b"\xff", "timeline.jsonl")


@pytest.mark.parametrize("text", ["\u2028", "\x85", "\x1c", "\x0b\r", "\0", "\U0001f600"])
def test_a_log_line_of_any_text_reads_back(text: str) -> None:
    """Also where it holds what some readers take for the end of a line."""
    records = (LogLine("client", 1, f"a{text}b"),)
    assert load_records(dump_records(records)) == records


def test_all_records_read_back() -> None:
    """As they were."""
    records = told().records
    assert load_records(dump_records(records)) == records
    assert any(isinstance(record, RunFacts) for record in records)
    assert any(isinstance(record, StepOutcome) for record in records)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.pcapng": b""}, "a.pcapng: This is no capture file: it is empty"),
        ({"a.pcapng": b"rubbish"}, "a.pcapng: This is no capture file: it begins with"),
        ({"a.pcapng": write_capture(Capture((), ()))}, "a.pcapng does not say at which vantage point"),
        ({"a.pcapng": write_capture(Capture((Interface(""),), ()))}, "a.pcapng does not say at which vantage point"),
        (dict.fromkeys(("a", "b"), write_capture(Capture((Interface("wire"),), ()))), "b is of wire, as another file"),
    ],
)
def test_a_capture_of_nowhere(files: dict[str, bytes], says: str) -> None:
    """The file is named."""
    with pytest.raises(UsageError) as caught:
        read_captures(files)
    assert says in caught.value.message


def test_a_capture_cut_before_its_interface(tmp_path: Path) -> None:
    """As a disk that was full leaves it."""
    save_evidence(tmp_path, told())
    wire = tmp_path / "captures" / "wire.pcapng"
    wire.write_bytes(wire.read_bytes()[:60])
    with pytest.raises(UsageError, match=r"wire\.pcapng does not say at which vantage point it was captured"):
        load_evidence(tmp_path)
