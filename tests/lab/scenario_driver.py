"""One scenario played in namespaces of its own, from its text to its judgement."""

from __future__ import annotations

import subprocess
import textwrap
from functools import cache
from pathlib import Path

import pytest

from testbed.session import Done, Job, Options, new_run_id, run_scenario
from testbed.stop import Stop
from testbed.verdict.value import Judgement, Outcome

TRIES = 3


@cache
def _refusal() -> str:
    """Why there can be no namespaces here; empty where there can."""
    tried = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"no network namespaces here: {tried.stderr.decode().strip()}"


def play(text: str, folder: Path, *, family: str = "ipv4", name: str = "told") -> Done:
    """Play a scenario told in YAML on the netns backend, its run folder somewhere in `folder`."""
    path = folder / f"{name}.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return play_file(path, folder, family=family)


def play_file(path: Path, folder: Path, *, family: str | None = None, tries: int = TRIES) -> Done:
    """Play a scenario's file on the netns backend; again where a busy machine kept something from being seen."""
    if says := _refusal():
        pytest.skip(says)
    options = Options(backend="netns", out=folder / "results", family=family)
    for _ in range(tries):
        done = run_scenario(Job(path, path.stem), options, new_run_id(), Stop(), lambda words: None)
        if done.judgement.verdict is not Outcome.UNKNOWN:
            break
    return done


def tell(judgement: Judgement) -> str:
    """The verdict and what is not passed, for a failing assertion to show."""
    wrong = [f"{check.name} {check.verdict}: {check.why}" for check in judgement.checks if check.verdict != "passed"]
    return "\n".join([judgement.verdict, *wrong])
