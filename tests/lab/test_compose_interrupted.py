"""Runs that are stopped: nothing is left behind, whenever it happens and however rudely.

The short form of interrupt_runs.py, which takes a count.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import PATIENCE_S, leftovers, read_until, running
from interrupt_runs import INTERRUPTED, strike

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

MOMENTS_S = (0.3, 1.1, 1.9)  # while the lab comes up, and while it plays or goes down


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("after_s", MOMENTS_S)
def test_nothing_is_left(
    engine: docker_module.DockerClient, image: str, tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    """SIGINT and SIGTERM leave no container, network or process, and exit code 130; SIGKILL nothing after `clean`."""
    struck = strike(engine, number, after_s, tmp_path)
    assert struck.left == ()
    assert struck.clean, struck
    if number is not signal.SIGKILL and not struck.missed:
        assert f"{number.name}: taking the lab down" in struck.said


def test_second_signal_changes_nothing(engine: docker_module.DockerClient, image: str, tmp_path: Path) -> None:
    """A second Ctrl-C does not break the taking down that the first one began."""
    with running("run", "hola", "--backend", "compose", "--out", tmp_path) as process:
        read_until(process, "hola: bringing the lab up")
        process.send_signal(signal.SIGINT)
        read_until(process, "SIGINT: taking the lab down")
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == INTERRUPTED
    assert "SIGINT: still taking the lab down" in said
    assert "Traceback" not in said
    assert leftovers(engine, process.pid) == []
