"""The nine seed scenarios on Docker Compose: they pass, Wireshark's own dissector sees what they promise, and a wrong
expectation is told from a right one, by every kind of check."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from copy import deepcopy
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_driver import ROOT, SEEDS, UNKNOWN, Seeds, testbed
from expectations import leaves

from testbed.evidence import CaptureCount, Evidence
from testbed.files import load_evidence
from testbed.report.style import plain
from testbed.report.text import render_text
from testbed.scenario.model import Scenario, dump_scenario
from testbed.verdict.judge import judge
from testbed.verdict.pace import find_late
from testbed.verdict.value import Outcome
from testbed.verdict.view import look

pytestmark = pytest.mark.lab

NOWHERE = {"DOCKER_HOST": "tcp://127.0.0.1:9"}  # the discard port: nothing answers there
FIELDS = ("tcp.flags.str", "tcp.len", "tcp.payload", "ip.src", "tcp.checksum.status", "ip.checksum.status")


# --- they pass ---


def test_all_seeds_pass(seeds: Seeds) -> None:
    """`testbed run --tag seed` passes all nine, and says so in one line each on standard output."""
    assert seeds.ended.returncode == 0, seeds.ended.stdout + seeds.ended.stderr
    assert seeds.ended.stdout.splitlines()[-1] == "9 passed"
    assert sorted(line.split()[-1] for line in seeds.ended.stdout.splitlines()[:-1]) == sorted(SEEDS)


def test_progress_is_on_standard_error(seeds: Seeds) -> None:
    """What a run does goes to standard error, what it found to standard output; neither has escapes in a pipe."""
    for phase in ("backend compose: asked for", "bringing the lab up", "playing", "taking the lab down"):
        assert seeds.ended.stderr.splitlines().count(phase) == 1, "said once for all runs"
        assert phase not in seeds.ended.stdout
    assert "playing" not in seeds.ended.stdout
    assert "\x1b" not in seeds.ended.stdout + seeds.ended.stderr


@pytest.mark.parametrize("name", SEEDS)
def test_run_folder_is_whole(seeds: Seeds, name: str) -> None:
    """A run leaves what it promises: evidence, and what was made of it; every vantage point without a drop."""
    folder = seeds.folder(name)
    files = {path.name for path in folder.iterdir()}
    wanted = "scenario.yaml result.json trace.pcapng captures timeline.jsonl report.html ladder.svg lab.yaml"
    assert files == set(wanted.split())
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "passed"
    assert result["backend"] == "compose"
    assert {capture["dropped"] for capture in result["captures"]} == {0}
    assert {"client", "server", "wire"} <= {capture["vantage"] for capture in result["captures"]}


@pytest.mark.parametrize("name", SEEDS)
def test_check_needs_no_engine(seeds: Seeds, name: str) -> None:
    """`testbed check RUN_FOLDER --json` makes result.json again, byte for byte, where no engine answers."""
    again = testbed("check", seeds.folder(name), "--json", **NOWHERE)
    assert again.returncode == 0, again.stderr
    assert again.stdout == (seeds.folder(name) / "result.json").read_text()
    assert again.stderr == ""


# --- an independent judge ---


def tshark(path: Path, *words: str) -> str:
    """What tshark prints of a capture; it must not complain of it."""
    command = ["tshark", "-n", "-r", str(path), "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if not line.startswith("Running as user")]
    assert (done.returncode, said) == (0, [])
    return done.stdout


needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


@needs_tshark
def test_tshark_sees_hola_on_the_wire(seeds: Seeds) -> None:
    """On the wire: SYN, SYN-ACK, ACK, 27 bytes of text, FIN by the client first, all with good checksums."""
    trace = seeds.folder("hola") / "trace.pcapng"
    wire = ("-Y", 'frame.interface_name == "wire" && tcp', "-T", "fields", *(f"-e{name}" for name in FIELDS))
    packets = [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in tshark(trace, *wire).splitlines()]
    client = packets[0]["ip.src"]
    told = [(each["ip.src"] == client, each["tcp.flags.str"].replace("·", "")) for each in packets]
    assert told[:3] == [(True, "S"), (False, "AS"), (True, "A")]
    (data,) = [each for each in packets if each["tcp.len"] != "0"]
    assert data["tcp.len"] == "27"
    assert bytes.fromhex(data["tcp.payload"]) == b"Hola server, are you bored?"
    assert [from_client for from_client, flags in told if "F" in flags] == [True, False]
    assert {(each["tcp.checksum.status"], each["ip.checksum.status"]) for each in packets} == {("1", "1")}


@needs_tshark
@pytest.mark.parametrize("name", SEEDS)
def test_tshark_opens_every_trace(seeds: Seeds, name: str) -> None:
    """tshark opens what we write without a word; the trace has every vantage point's packets, but no canary frames."""
    folder = seeds.folder(name)
    shown = ("-Y", "eth.type != 0x88b5", "-T", "fields", "-e", "frame.interface_name")
    apart = [tshark(path, *shown).split() for path in (folder / "captures").iterdir()]
    together = tshark(folder / "trace.pcapng", "-T", "fields", "-e", "frame.interface_name").split()
    assert sorted(together) == sorted(name for names in apart for name in names)
    assert "wire" in together


@needs_tshark
@pytest.mark.parametrize("name", SEEDS)
def test_tshark_agrees_on_completeness(seeds: Seeds, name: str) -> None:
    """Of what the wire's vantage point captured, tshark finds as many connections as we, each as complete."""
    folder = seeds.folder(name)
    ours = [each["completeness"] for each in json.loads((folder / "result.json").read_text())["connections"]]
    shown = ("-2", "-Y", "tcp", "-T", "fields", "-e", "tcp.stream", "-e", "tcp.completeness")
    told = tshark(folder / "captures" / "wire.pcapng", *shown)
    theirs = dict(line.split("\t") for line in told.splitlines())
    assert [int(theirs[stream]) for stream in sorted(theirs, key=int)] == ours


# --- wrong expectations ---


@cache
def evidence_of(folder: Path) -> Evidence:
    """The evidence of a seed's run, read once."""
    return load_evidence(folder)


def told(name: str) -> dict[str, Any]:
    """What a seed's file expects."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "scenarios" / "seeds" / f"{name}.yaml").read_text())
    expect: dict[str, Any] = content["expect"]
    return expect


EVERY_LEAF = [(name, path) for name in SEEDS for path in leaves(told(name))]
OTHER_WORDS = {
    "complete": "refused",
    "refused": "complete",
    "unanswered": "complete",
    "fin": "rst",
    "none": "fin",
    "client": "server",
    "server": "client",
    "40ms..500ms": "59s..60s",
    "0.0.0.0:54321": "0.0.0.0:54322",
    "SF": "REJ",
    "S0": "SF",
    "REJ": "S0",
    "ShADa": "ShADadFf",
}


def wrong(value: Any, path: tuple[str | int, ...]) -> Any:
    """A legal value for that place that is not what happened."""
    if isinstance(value, int):
        return value + 1
    if path[0] == "states":
        return "CLOSING"
    return OTHER_WORDS.get(value, f"{value}!")


def with_wrong(expect: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """The expectations with one value made wrong."""
    changed = deepcopy(expect)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = wrong(place[path[-1]], path)
    return changed


def named(path: tuple[str | int, ...]) -> str:
    """The check that a leaf of `expect` is about: sections that are one check have their leaves in it."""
    depth = 1 if len(path) == 1 else 2
    return ".".join(map(str, path[:depth]))


def line_of(name: str, check: str) -> int:
    """The line of the seed's file that a check is about, as another YAML reader sees it."""
    node = yaml.compose((ROOT / "scenarios" / "seeds" / f"{name}.yaml").read_text(), yaml.SafeLoader)
    line = 0
    for part in ("expect", *check.split(".")):
        assert isinstance(node, yaml.MappingNode)
        ((line, node),) = [(key.start_mark.line, value) for key, value in node.value if key.value == part]
    return line + 1


@pytest.mark.parametrize(
    ("name", "path"), EVERY_LEAF, ids=lambda value: value if isinstance(value, str) else named(value)
)
def test_every_wrong_expectation_fails(
    seeds: Seeds, name: str, path: tuple[str | int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any one value of `expect` made wrong: that check fails and no other, and names scenario line and packets."""
    monkeypatch.setattr("testbed.verdict.checks.find_late", lambda view: "")  # of a busy machine it would be unknown
    evidence = evidence_of(seeds.folder(name))
    scenario = {**dump_scenario(evidence.scenario), "expect": with_wrong(told(name), path)}
    judgement = judge(replace(evidence, scenario=Scenario.model_validate(scenario)))
    assert judgement.verdict is Outcome.FAILED
    (check,) = [check for check in judgement.checks if check.verdict is not Outcome.PASSED]
    assert check.name == named(path)
    assert check.verdict is Outcome.FAILED
    assert check.line == line_of(name, check.name)
    assert check.why
    text = plain(render_text(judgement, width=100, unicode=True))
    assert f"{name}.yaml:{check.line}" in text
    if path[0] not in ("snapshots", "logs", "states") and judgement.packets and name != "udp-hello":
        assert check.packets
        assert any(str(number) in check.why for number in check.packets)


@pytest.mark.parametrize(
    ("name", "right", "false"),
    [("hola", "syns: 1", "syns: 2"), ("server-unavailable", "unanswered", "complete")],
)
def test_wrong_expectation_exits_1(seeds: Seeds, tmp_path: Path, name: str, right: str, false: str) -> None:
    """`testbed check` ends with exit code 1 where an expectation is wrong, and names the place in the scenario.

    With 3 where the machine did not keep pace meanwhile.
    """
    folder = tmp_path / name
    shutil.copytree(seeds.folder(name), folder)
    scenario = folder / "scenario.yaml"
    text = scenario.read_text()
    assert right in text
    scenario.write_text(text.replace(right, false))
    ended = testbed("check", folder, **NOWHERE)
    late = find_late(look(evidence_of(folder)))
    assert ended.returncode == (UNKNOWN if late else 1), ended.stdout + ended.stderr
    assert f"{name}.yaml:{line_of(name, 'handshake')}" in ended.stdout
    assert re.search(r"why.*packet \d+ at \d\.\d+ s on\s+wire is\s+SYN\b", ended.stdout, re.DOTALL)


def test_capture_drops_make_it_unknown(seeds: Seeds) -> None:
    """A capture whose kernel dropped packets proves nothing: the verdict is unknown, and says which capture."""
    evidence = evidence_of(seeds.folder("hola"))
    dropped = [
        replace(r, dropped=3) if isinstance(r, CaptureCount) and r.vantage == "wire" else r for r in evidence.records
    ]
    judgement = judge(replace(evidence, records=tuple(dropped)))
    assert judgement.verdict is Outcome.UNKNOWN
    reasons = {check.why for check in judgement.checks if check.verdict is Outcome.UNKNOWN}
    assert reasons == {"the capture on the wire missed 3 packets, which the kernel dropped"}
