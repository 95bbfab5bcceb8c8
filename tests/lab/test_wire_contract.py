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

pytestmark = pytest.mark.lab

LABS = (("netns", "portable"), ("compose", "portable"), ("netns", "netem"))


@dataclass(frozen=True)
class Ran:
    """All cases, run once in one kind of lab."""

    ended: subprocess.CompletedProcess[str]
    out: Path
    engine: str


@cache
def _netem() -> str:
    """Why there is no netem here; empty where there is."""
    found = json.loads(testbed("doctor", "--json").stdout)
    row = next(one for one in found if one["name"] == "netem")
    return "" if row["ok"] else str(row["says"])


@pytest.fixture(scope="module", params=LABS, ids="-".join)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Runs every case; a lab that this machine cannot have is skipped, or failed where it was promised."""
    backend, engine = request.param
    if engine == "netem" and (why := _netem()):
        if os.environ.get("TESTBED_REQUIRE_NETEM") == "1":
            pytest.fail(f"TESTBED_REQUIRE_NETEM is set, and {why}")
        pytest.skip(f"{why}; `make test-vm` runs these in a virtual machine")
    if backend == "compose":
        request.getfixturevalue("image")
    folder = tmp_path_factory.mktemp("wire")
    files = []
    for name in CASES:
        files.append(folder / f"wire-{name}.yaml")
        files[-1].write_text(yaml.safe_dump(scenario(name, engine), sort_keys=False))
    words = ["run", *files, "--backend", backend, "--engine", engine, "--out", folder / "results", "--jobs", "2"]
    return Ran(testbed_within(900.0, *words, *RETRIES), folder / "results" / "latest", engine)


@pytest.mark.parametrize("name", CASES)
def test_asked_is_had(ran: Ran, name: str) -> None:
    """What a case asks of the wire is what the captures show."""
    assert (ran.out / f"wire-{name}" / "result.json").exists(), ran.ended.stdout + ran.ended.stderr
    folder = last_try(ran.out, f"wire-{name}")
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
    assert len(first) > 100
    assert lost(7, "again") == first
    assert lost(8, "other") != first
