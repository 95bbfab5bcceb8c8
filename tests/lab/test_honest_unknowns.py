"""Whatever keeps the testbed from seeing, or doing its work, makes a run unknown, with the reason:
never passed, never failed.

The ways stand in tests/torture/unknowns.py. Each is provoked in a real lab of namespaces.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command_driver import PATIENCE_S, read_until, running
from meddling import MeddledLab
from unknowns import PROVOKED, Way, undisturbed, write_scenario

from testbed import run, session
from testbed.errors import LabError
from testbed.lab.agents import Agents
from testbed.lab.contract import Lab
from testbed.lab.netns.lab import try_out
from testbed.session import Job, Options, new_run_id, run_scenario
from testbed.stop import Stop
from testbed.verdict.value import Outcome

pytestmark = pytest.mark.lab


@pytest.fixture(autouse=True)
def _netns() -> None:
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))


def play(way: Way, folder: Path, monkeypatch: pytest.MonkeyPatch) -> session.Done:
    """A run of the scenario in which somebody meddles in this way."""
    bring_up = session._bring_up
    assert way.meddler is not None
    meddler = way.meddler()

    def meddled(*words: Any) -> Lab:
        return MeddledLab(bring_up(*words), meddler, way.refuses_to_close)

    monkeypatch.setattr(session, "_bring_up", meddled)
    monkeypatch.setattr(run, "HUB_TIMEOUT_S", 0.3)
    for waiting in (Agents.gather, Agents.wait):
        monkeypatch.setattr(waiting, "__defaults__", (4.0,))  # far more than an agent needs, and less than patience
    job = Job(write_scenario(folder), "paused")
    options = Options(backend="netns", engine="portable", out=folder / "out")
    return run_scenario(job, options, new_run_id(), Stop(), lambda words: None)


@pytest.mark.parametrize("way", PROVOKED, ids=lambda way: way.name)
def test_unknown_with_its_reason(way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Provoked, the verdict is unknown and the reason is told; or there is none, and the error tells it."""
    if way.raises:
        with pytest.raises(LabError) as caught:
            play(way, tmp_path, monkeypatch)
        assert way.says in str(caught.value)
        assert caught.value.exit_code == 3
        assert not list(tmp_path.rglob("result.json"))
        return
    done = play(way, tmp_path, monkeypatch)
    result = json.loads((done.folder / "result.json").read_text())
    assert result["verdict"] == "unknown", result["checks"]
    reasons = [problem["says"] for problem in result["problems"]] + [check["why"] for check in result["checks"]]
    assert any(way.says in why for why in reasons), reasons
    assert not [check for check in result["checks"] if check["verdict"] == "failed"]
    assert any(reasons)


def test_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run, and nobody meddles: it passes."""
    done = play(undisturbed(), tmp_path, monkeypatch)
    assert done.judgement.verdict is Outcome.PASSED, [check for check in done.judgement.checks if check.why]


def test_results_gone(tmp_path: Path) -> None:
    """A results folder that is removed under a run: exit code 3, said in a sentence, and nothing half written."""
    out = tmp_path / "out"
    with running("run", write_scenario(tmp_path), "--backend", "netns", "--out", out) as process:
        read_until(process, "playing")
        shutil.rmtree(out)
        printed, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, printed + said
    assert "cannot be written" in said
    assert "Traceback" not in said
    assert not list(out.rglob("*"))
