"""The wire's contract: the same suite for every backend and engine, asked against had from captures (wire_cases)."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from command_driver import RETRIES, last_try, testbed, testbed_within
from wire_cases import CASES, look, scenario

from testbed.suites.shard import parse_shard

pytestmark = pytest.mark.lab

PART = os.environ.get("TESTBED_VM_SHARD", "")  # such as 2/5, as CI has it in its virtual machine: a part of the cases
PLAYED = [name for name in CASES if not PART or parse_shard(PART).has(name)]
LABS = (("netns", "portable"), ("compose", "portable"), ("netns", "netem"))


TRIES = 5  # on a busy machine a timing may be off; what the seed decides is the same each time


@dataclass(frozen=True)
class Ran:
    """All cases, run in one kind of lab."""

    ended: subprocess.CompletedProcess[str]
    folder: Path
    options: tuple[str, ...]
    engine: str

    def played(self, name: str, attempt: int) -> Path:
        """The run folder of a case: of the run of all, then of runs of it alone."""
        out = self.folder / ("results" if attempt == 1 else f"{name}-{attempt}")
        if attempt > 1:
            testbed_within(300.0, "run", self.folder / f"wire-{name}.yaml", *self.options, "--out", out)
        assert (out / "latest" / f"wire-{name}" / "result.json").exists(), self.ended.stdout + self.ended.stderr
        return last_try(out / "latest", f"wire-{name}")


@cache
def _netem() -> str:
    """Why there is no netem here; empty where there is."""
    found = json.loads(testbed("doctor", "--json").stdout)
    row = next(one for one in found if one["name"] == "netem")
    return "" if row["ok"] else str(row["says"])


@pytest.fixture(scope="module", params=LABS, ids="-".join)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Runs the cases; a lab that this machine cannot have is skipped, or failed where it was promised."""
    backend, engine = request.param
    if engine == "netem" and (why := _netem()):
        if os.environ.get("TESTBED_REQUIRE_NETEM") == "1":
            pytest.fail(f"TESTBED_REQUIRE_NETEM is set, and {why}")
        pytest.skip(f"{why}; `make test-vm` runs these in a virtual machine")
    if backend == "compose":
        request.getfixturevalue("image")
    folder = tmp_path_factory.mktemp("wire")
    files = []
    for name in PLAYED:
        files.append(folder / f"wire-{name}.yaml")
        files[-1].write_text(yaml.safe_dump(scenario(name, engine), sort_keys=False))
    options = ("--backend", backend, "--engine", engine, *RETRIES)
    words = ("run", *files, *options, "--out", folder / "results", "--jobs", "2")
    return Ran(testbed_within(900.0, *words), folder, options, engine)


@pytest.mark.parametrize("name", PLAYED)
def test_asked_is_had(ran: Ran, name: str) -> None:
    """What a case asks of the wire is what the captures show."""
    for attempt in range(1, TRIES + 1):
        try:
            judge(ran, name, ran.played(name, attempt))
            return
        except AssertionError:
            if attempt == TRIES:
                raise


def judge(ran: Ran, name: str, folder: Path) -> None:
    """Hold what was asked against what the captures show, and the verdict to it."""
    result = json.loads((folder / "result.json").read_text())
    told = "; ".join(check["why"] for check in result["checks"] if check["why"])
    assert result["engine"] == ran.engine
    CASES[name].judge_on(ran.engine)(look(folder, name, ran.engine))
    assert result["verdict"] == "passed", told


def test_same_seed_same_drops(tmp_path: Path) -> None:
    """On the portable engine the seed decides which packets are lost, packet for packet; another seed, others."""
    file = tmp_path / "wire-loss.yaml"
    file.write_text(yaml.safe_dump(scenario("loss", "portable"), sort_keys=False))

    def lost(seed: int, run: str) -> list[int]:
        out = tmp_path / run
        words = ("run", file, "--backend", "netns", "--engine", "portable", "--seed", str(seed), "--out", out)
        ended = testbed_within(300.0, *words)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return look(out / "latest" / "wire-loss", "loss", "portable").lost

    first = lost(7, "first")
    assert len(first) > 60
    assert lost(7, "again") == first
    assert lost(8, "other") != first
