"""tshark reads back of trace.pcapng what was written: interfaces, every comment, what a peer sent made harmless."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from verdict_story import Story, deaf, hola

from testbed.outputs import drawings
from testbed.pcap.reader import read_capture
from testbed.report.escape import clean
from testbed.verdict.annotate import annotate
from testbed.verdict.judge import judge
from testbed.verdict.value import Check, Judgement
from testbed.verdict.view import look

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is missing (apt-get install tshark)"),
]

COLOURS = Path(__file__).parents[2] / "docs" / "wireshark" / "colorfilters"
FIELDS = ("frame.interface_name", "frame.interface_description", "frame.comment")
ALL_BYTES = bytes(range(256))
HOSTILE = {
    "markup": b"<script>alert(1)</script>",
    "escapes": b"\x1b[2J\x1b]0;owned\x07\x9b31m",
    "every byte": ALL_BYTES,
    "1 MiB": (ALL_BYTES * 4)[:1024] * 1024,
}


def lossy() -> Judgement:
    """The first SYN is dropped by a fault and sent again; a check fails."""
    story = Story(
        {
            "wire": {"delay": "10ms"},
            "faults": [{"drop": "SYN", "from": "client", "nth": 1}],
            "expect": {"handshake": {"outcome": "refused"}},
        }
    )
    story.tcp(0, "client", "S", fault=0)
    story.open(1000)
    story.talk(1050)
    story.play()
    return story.judge()


def written(judgement: Judgement, folder: Path) -> Path:
    path = folder / "trace.pcapng"
    path.write_bytes(drawings(judgement)["trace.pcapng"])
    return path


def tshark(path: Path, *words: str) -> str:
    command = ["tshark", "-r", str(path), *words]
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout.decode()


def packets(path: Path) -> list[dict[str, list[str]]]:
    """Of each packet every value of the fields, as JSON so that nothing in them can pass for a separator."""
    told = json.loads(tshark(path, "-T", "json", *(word for name in FIELDS for word in ("-e", name))))
    return [packet["_source"].get("layers", {}) for packet in told]


def test_interfaces_and_comments(tmp_path: Path) -> None:
    """Name and description of each packet's interface, and every comment in its order, are as we wrote them."""
    judgement = lossy()
    seen = packets(written(judgement, tmp_path))
    assert len(seen) == len(judgement.trace.frames)
    for layers, frame in zip(seen, judgement.trace.frames, strict=True):
        interface = judgement.trace.interfaces[frame.interface]
        assert layers["frame.interface_name"] == [interface.name]
        assert layers["frame.interface_description"] == [interface.description]
        assert tuple(layers.get("frame.comment", ())) == frame.comments
    every = [comment for frame in judgement.trace.frames for comment in frame.comments]
    for told in (
        "lost on the way to server: fault 0: drop SYN",
        "SYN again",
        "delivered 10.025ms after it was sent",
        "check handshake.outcome failed: expected refused, seen complete",
    ):
        assert told in every


def test_a_repeat_is_told_at_every_vantage_point(tmp_path: Path) -> None:
    """A SYN that was sent again is noted where it left, on the wire and where it arrived, not only on the wire."""
    seen = packets(written(lossy(), tmp_path))
    noted = [layers["frame.interface_name"][0] for layers in seen if "SYN again" in layers.get("frame.comment", ())]
    assert noted == ["client", "wire", "server"]


@pytest.mark.skipif(not shutil.which("capinfos"), reason="capinfos is missing (apt-get install tshark)")
def test_section_and_statistics(tmp_path: Path) -> None:
    """The section tells scenario and verdict; each interface has its counts, also of what the kernel dropped."""
    evidence = deaf(hola({"handshake": {"outcome": "complete"}}).evidence())
    path = written(judge(evidence), tmp_path)
    told = subprocess.run(["capinfos", str(path)], capture_output=True, check=True, timeout=60).stdout.decode()
    assert "Capture comment:     scenario story: unknown" in told
    assert told.count("Number of stat entries = ") == told.count("Interface #") == 3
    capture = read_capture(path.read_bytes())
    wire = [one.name for one in capture.interfaces].index("wire")
    assert sum(counts.dropped or 0 for counts in capture.statistics if counts.interface == wire) == 3


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_that_a_peer_sent_commands_a_terminal(tmp_path: Path, payload: bytes) -> None:
    """A comment quotes what was sent; as tshark prints it there is no character that a terminal obeys."""
    story = hola({"payload": {"client->server": "Hola"}})
    judgement = story.judge()
    quoted = payload.decode("latin-1")
    checks = tuple(replace(check, seen=quoted, why=quoted) for check in judgement.checks)
    path = written(_annotated(story, checks), tmp_path)
    capture = read_capture(path.read_bytes())
    comments = [comment for frame in capture.frames for comment in frame.comments]
    assert any("payload.client->server failed" in comment for comment in comments)
    assert all(comment == clean(comment) for comment in comments)
    printed = tshark(path, "-T", "fields", "-e", "frame.comment")
    assert "payload.client->server failed" in printed
    assert all(line == clean(line) for line in printed.splitlines())
    assert read_capture(path.read_bytes()).warnings == ()


def _annotated(story: Story, checks: tuple[Check, ...]) -> Judgement:
    """The judgement with these checks, its trace annotated with them."""
    judgement = story.judge()
    return replace(judgement, checks=checks, trace=annotate(look(story.evidence()), checks, judgement.verdict))


def rules() -> dict[str, str]:
    """The colouring rules: the filter of each by its name, as Wireshark's file has them between at signs."""
    lines = COLOURS.read_text().splitlines()
    return {line.split("@")[1]: line.split("@")[2] for line in lines if line.startswith("@")}


def test_the_colouring_rules_are_filters_that_find_what_they_name(tmp_path: Path) -> None:
    """tshark takes each rule for a filter; what is lost, repeated and cited is found, and nothing else."""
    path = written(lossy(), tmp_path)
    found = {name: len(tshark(path, "-Y", rule).splitlines()) for name, rule in rules().items()}
    assert found["Testbed: lost"] == 3
    assert found["Testbed: sent again"] == 3
    assert found["Testbed: a check failed"] >= 1
    assert found["Testbed: forged"] == found["Testbed: changed on the wire"] == found["TCP: reset"] == 0
    assert found["Testbed: the wire"] == len([p for p in packets(path) if p["frame.interface_name"] == ["wire"]])


def test_the_colouring_rules_load_as_a_profile(tmp_path: Path) -> None:
    """In a profile's folder tshark names for each packet the rule that coloured it."""
    profile = tmp_path / "wireshark" / "profiles" / "testbed"
    profile.mkdir(parents=True)
    shutil.copy(COLOURS, profile / "colorfilters")
    path = written(lossy(), tmp_path)
    words = ["tshark", "-C", "testbed", "--color", "-r", str(path), "-T", "fields", "-e", "frame.coloring_rule.name"]
    environment = {"PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    ended = subprocess.run(words, capture_output=True, check=True, timeout=60, env=environment)
    named = ended.stdout.decode().splitlines()
    assert named.count("Testbed: lost") == 2  # the third copy, on the wire, is cited by the check that failed
    assert "Testbed: sent again" in named
    assert set(filter(None, named)) <= set(rules())
