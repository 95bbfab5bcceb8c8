"""Every kind of fault as a scenario, on both backends: its ledger, fates of packets, comments that tshark reads."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_driver import PATIENCE_S, seen

from testbed.files import load_evidence
from testbed.scenario.faults import ACTIONS
from testbed.verdict.judge import judge
from testbed.verdict.value import Change, Judgement, Trip

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Fault:
    """What must be seen of a scenario's fault: how it changed packets, what it made, and words of the comments."""

    action: str
    fates: tuple[tuple[str, Change], ...]  # fate and change of the packets that it met or made
    made: int
    comments: tuple[str, ...]


FAULTS = {
    "hs-synack-lost-1": Fault(
        "drop", (("lost", Change.NONE),), 0, ("lost on the way to client: fault 0: drop SYN-ACK",)
    ),
    "data-held-back": Fault(
        "delay", (("delivered", Change.DELAYED),), 0, ("delayed on the way to server: fault 0: delay DATA",)
    ),
    "data-dup": Fault(
        "duplicate",
        (("delivered", Change.NONE), ("duplicate", Change.DUPLICATED), ("duplicate", Change.DUPLICATED)),
        2,
        ("a duplicate (fault 0: duplicate DATA), delivered",),
    ),
    "data-corrupt": Fault("corrupt", (("delivered", Change.CORRUPTED),), 1, ("corrupted: fault 0: corrupt DATA",)),
    "hs-options-stripped": Fault(
        "rewrite",
        (("delivered", Change.REWRITTEN),),
        1,
        ("rewritten on the way to server: fault 0: rewrite SYN", "rewritten: fault 0: rewrite SYN"),
    ),
    "hs-reject-rst": Fault(
        "reset",
        (("lost", Change.NONE), ("delivered", Change.FORGED)),
        1,
        ("forged by fault 0: reset SYN: no program sent it",),
    ),
    "rb-rst-injected": Fault(
        "reset",
        (("delivered", Change.NONE), ("delivered", Change.FORGED), ("delivered", Change.FORGED)),
        2,
        ("forged by fault 0: reset DATA: no program sent it",),
    ),
    "hs-reject-icmp-host": Fault(
        "icmp",
        (("lost", Change.NONE), ("delivered", Change.FORGED)),
        1,
        ("forged by fault 0: icmp SYN: no program sent it", "lost on the way to server: fault 0: icmp SYN"),
    ),
}
LABS = (("netns", "ipv4"), ("netns", "ipv6"), ("compose", "ipv4"))


@pytest.fixture(scope="module", params=LABS, ids="-".join)
def out(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of all these scenarios in one kind of lab are."""
    backend, family = request.param
    if backend == "compose":
        request.getfixturevalue("image")
    folder = tmp_path_factory.mktemp("faults")
    ended = seen(PATIENCE_S, "run", *FAULTS, "--backend", backend, "--family", family, "--jobs", "2", "--out", folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder / "latest"


def test_every_kind_of_fault_has_a_scenario() -> None:
    """The table above leaves no action out."""
    assert {fault.action for fault in FAULTS.values()} == set(ACTIONS)


def touched(judgement: Judgement) -> list[Trip]:
    """The packets that the fault met or made, in order of the trace."""
    numbers = {number for hit in judgement.faults for number in (hit.packet, *hit.made)}
    return [trip for trip in judgement.trips if numbers & {trip.sent, trip.wire, trip.arrived, trip.delivered} - {None}]


@pytest.mark.parametrize("name", FAULTS)
def test_ledger_and_fates(out: Path, name: str) -> None:
    """The ledger names rule and packets; each of these has the fate that the fault gave it."""
    wanted = FAULTS[name]
    result: dict[str, Any] = json.loads((out / name / "result.json").read_text())
    entry = result["faults"][0]
    assert entry["rule"].startswith(f"fault 0: {wanted.action} ")
    assert len(entry["made"]) == wanted.made
    judgement = judge(load_evidence(out / name))
    assert judgement.faults[0].packet == entry["packet"]
    first = touched(judgement)[: len(wanted.fates)]
    assert sorted((trip.fate, str(trip.change)) for trip in first) == sorted(
        (fate, str(change)) for fate, change in wanted.fates
    )


@pytest.mark.parametrize("name", FAULTS)
def test_comments_as_tshark_reads_them(out: Path, name: str) -> None:
    """What happened to a packet stands at the packet."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    command = ["tshark", "-r", str(out / name / "trace.pcapng"), "-T", "fields", "-e", "frame.comment"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for comment in FAULTS[name].comments:
        assert comment in said


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.made and fault.action != "corrupt"])
def test_checksums_of_what_was_made(out: Path, name: str) -> None:
    """tshark finds the checksums of every rewritten, doubled and forged packet good."""
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed")
    made = [
        number for entry in json.loads((out / name / "result.json").read_text())["faults"] for number in entry["made"]
    ]
    assert made
    fields = ("tcp.checksum.status", "ip.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status")
    chosen = " or ".join(f"frame.number == {number}" for number in made)
    command = ["tshark", "-r", str(out / name / "trace.pcapng"), "-Y", chosen, "-T", "fields", "-E", "occurrence=f"]
    command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    for field in fields:
        command += ["-e", field]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [line.split("\t") for line in said.splitlines()]
    assert len(rows) == len(made)
    for row in rows:
        assert {value for value in row if value} <= {"1", "Good"}, row
        assert any(row), "tshark judged no checksum at all"
