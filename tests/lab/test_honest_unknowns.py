"""Whatever keeps the testbed from seeing, or doing its work, makes a run unknown, with the reason:
never passed, never failed.

The ways stand in tests/torture/unknowns.py. Each is provoked in a real lab of namespaces.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from command_driver import PATIENCE_S, TRIES, read_until, running, testbed
from kills import look
from meddling import MeddledLab, Message, agents_of, children, once
from short import little_memory, tiny_disk
from unknowns import PAUSE_MS, PROVOKED, SCENARIO, Way, undisturbed, write_scenario

from testbed import canaries, session
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


def play(
    way: Way, folder: Path, monkeypatch: pytest.MonkeyPatch, scenario: Mapping[str, Any] = SCENARIO
) -> session.Done:
    """A run of the scenario in which somebody meddles in this way."""
    bring_up = session._bring_up
    assert way.meddler is not None
    meddler = way.meddler()

    def meddled(*words: Any) -> Lab:
        return MeddledLab(bring_up(*words), meddler, way.refuses_to_close)

    job = Job(write_scenario(folder, scenario), "paused")
    options = Options(backend="netns", engine="portable", out=folder / "out")
    with monkeypatch.context() as patched:
        patched.setattr(session, "_bring_up", meddled)
        patched.setattr(canaries, "HUB_TIMEOUT_S", 0.3)
        for waiting in (Agents.gather, Agents.wait):
            patched.setattr(waiting, "__defaults__", (4.0,))  # far more than an agent needs, and less than patience
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
    """The same run, and nobody meddles: it passes; again where a busy machine kept something from being seen."""
    for _ in range(TRIES):
        done = play(undisturbed(), tmp_path, monkeypatch)
        if done.judgement.verdict is not Outcome.UNKNOWN:
            break
    assert done.judgement.verdict is Outcome.PASSED, [check for check in done.judgement.checks if check.why]


HUNGRY = {
    **SCENARIO,
    "hosts": {
        "server": SCENARIO["hosts"]["server"],
        "client": {
            "steps": [{"connect": "server:7456"}, {"sleep": "200ms"}, {"send": {"numbered": "256MiB"}}, "close"]
        },
    },
    "expect": {"handshake": {"outcome": "complete"}},
}
MEMORY = 32 << 20  # bytes that the client may take
HELD_UP_S = PAUSE_MS / 1000 + 0.5  # so that its sleep is too long by half a second at least


def test_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's program takes more memory than there is, and the kernel ends it: unknown, and that is said."""
    with little_memory(MEMORY) as limit:
        act = once("step", "client", lambda: limit(children(agents_of(os.getpid())["client"])[-1]))
        done = play(Way("memory", "", "", lambda: act), tmp_path, monkeypatch, HUNGRY)
    result = json.loads((done.folder / "result.json").read_text())
    assert result["verdict"] == "unknown", result["checks"]
    (problem,) = result["problems"]
    assert "its program was killed by SIGKILL; meanwhile the kernel's out-of-memory killer ended" in problem["says"]


def test_a_program_that_is_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed is unknown where a program went on long after it was due; what has passed has."""
    stopped: list[int] = []

    def meddle(who: str, _: str, __: Message, said: Message) -> list[Message | bytes]:
        if (who, said.get("step")) == ("client", "send") and not stopped:  # now it sleeps
            stopped.append(children(agents_of(os.getpid())["client"])[-1])
            os.kill(stopped[0], signal.SIGSTOP)
            threading.Timer(HELD_UP_S, os.kill, (stopped[0], signal.SIGCONT)).start()
        return [said]

    expect = {**SCENARIO["expect"], "bytes": {"client->server": 6}}
    done = play(
        Way("busy", "", "", lambda: meddle), tmp_path, monkeypatch, {**SCENARIO, "expect": expect, "timeout": "30s"}
    )
    assert done.judgement.verdict is Outcome.UNKNOWN
    checks = {check.name: check for check in done.judgement.checks}
    assert checks["payload.client->server"].verdict is Outcome.PASSED
    why = checks["bytes.client->server"].why
    assert "has bytes.client->server 5 instead of 6" in why
    assert "it may come of a busy machine, since step 3 of client (sleep)" in why


@pytest.mark.parametrize("free", [0, 8 << 10, 32 << 10, 64 << 10])
def test_disk_full(free: int, tmp_path: Path) -> None:
    """The disk is full when the lab is to be described, or at one of the files that a run leaves: no half one."""
    size = 1 << 20
    with tiny_disk(tmp_path / "disk", size >> 10) as disk:
        (disk / "other").write_bytes(bytes(size - free))
        ended = testbed("run", write_scenario(tmp_path), "--backend", "netns", "--out", disk / "out")
        assert not list(disk.rglob("result.json"))
        assert look(disk / "out") == ("", [])
        assert not list(disk.rglob(".*.*.*"))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "the disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


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
