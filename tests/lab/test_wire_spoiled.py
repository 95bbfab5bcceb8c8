"""A wire that somebody changes behind the testbed's back: unknown, each with its reason, never passed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from command_driver import PATIENCE_S, processes_of, read_until, running

from testbed.errors import LabError
from testbed.lab.netns.lab import try_out
from testbed.lab.owner import OWNER_LABEL

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

SCENARIO = {
    "summary": "A conversation with a pause, in which somebody meddles with the wire.",
    "hosts": {
        "server": {"steps": [{"listen": 7456}, "accept", {"recv": "eof"}, "close"]},
        "client": {
            "steps": [
                {"connect": "server:7456"},
                {"send": "before"},
                {"sleep": "4s"},
                {"send": "after"},
                {"sleep": "200ms"},
                "close",
            ]
        },
    },
    "wire": {"client->server": {"delay": "20ms"}},
    "timeout": "15s",
    "expect": {"connections": 1},
}


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """The scenario's file."""
    path = tmp_path / "meddled.yaml"
    path.write_text(yaml.safe_dump(SCENARIO, sort_keys=False))
    return path


def emulators(owner: int) -> Iterator[int]:
    """The processes of a run that hold a TAP device."""
    for pid in processes_of(owner):
        try:
            held = [str(entry.readlink()) for entry in (Path("/proc") / str(pid) / "fd").iterdir()]
        except OSError:  # it has ended, or closed one, meanwhile
            continue
        if "/dev/net/tun" in held:
            yield pid


def await_emulator(owner: int) -> int:
    """The emulator's process, once the link is up."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := list(emulators(owner)):
            return found[0]
        time.sleep(0.01)
    raise AssertionError("no process has a TAP open")


def within(pid: int, *words: str) -> None:
    """Run a command in the network namespace of a process."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", *words]
    subprocess.run(command, check=True, capture_output=True, text=True)


REPLACE = ("tc", "qdisc", "replace")


def remove_qdisc(pid: int) -> None:
    """Nothing is redirected any more."""
    within(pid, "tc", "qdisc", "del", "dev", "eth0", "clsact")


def kill(pid: int) -> None:
    """The emulator dies."""
    os.kill(pid, signal.SIGKILL)


def slow_down(pid: int) -> None:
    """A qdisc in front of the emulator adds its own delay."""
    within(pid, *REPLACE, "dev", "link0", "root", "tbf", "rate", "8kbit", "burst", "2k", "latency", "9s")


def slow_down_sending(pid: int) -> None:
    """A qdisc of somebody else's on the host's own interface."""
    within(pid, *REPLACE, "dev", "eth0", "root", "tbf", "rate", "9mbit", "burst", "9k", "latency", "9s")


def take_down(pid: int) -> None:
    """The device is set down."""
    within(pid, "ip", "link", "set", "dev", "link0", "down")


MEDDLING: dict[str, tuple[Callable[[int], None], str]] = {
    "qdisc removed": (remove_qdisc, "the qdisc clsact of eth0 is gone"),
    "emulator killed": (kill, "process"),
    "delay changed": (slow_down, "link0"),
    "another qdisc": (slow_down_sending, "eth0 has the qdisc tbf"),
    "link down": (take_down, "the interface link0 is down"),
}


def run_meddled(scenario: Path, backend: str, out: Path, meddle: Callable[[int], None]) -> tuple[int, dict[str, Any]]:
    """Run the scenario and meddle with its wire in the pause; the exit code and the result."""
    with running("run", scenario, "--backend", backend, "--engine", "portable", "--out", out) as process:
        read_until(process, "playing")
        meddle(process.pid)
        process.communicate(timeout=PATIENCE_S)
    result: dict[str, Any] = json.loads((out / "latest" / scenario.stem / "result.json").read_text())
    return process.returncode, result


@pytest.mark.parametrize("what", MEDDLING)
def test_meddled_on_netns(scenario: Path, tmp_path: Path, what: str) -> None:
    """Whatever is done to the link makes the run unknown, and the reason names it."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))
    act, says = MEDDLING[what]

    def meddle(owner: int) -> None:
        await_emulator(owner)
        time.sleep(0.8)  # in the middle of the client's pause
        act(await_emulator(owner))  # at first it is the agent that has opened the TAP, and has not forked yet

    code, result = run_meddled(scenario, "netns", tmp_path / "results", meddle)
    assert (code, result["verdict"]) == (3, "unknown")
    reasons = " ".join(problem["says"] for problem in result["problems"])
    assert says in reasons
    assert "the impaired link of server" in reasons
    assert {check["verdict"] for check in result["checks"]} == {"unknown"}


def test_meddled_on_compose(scenario: Path, tmp_path: Path, image: str, engine: docker_module.DockerClient) -> None:
    """The same in a container: the qdisc is removed by a command inside it."""

    def meddle(owner: int) -> None:
        mine = [
            one
            for one in engine.containers.list(filters={"label": [OWNER_LABEL, "com.docker.compose.service=server"]})
            if one.labels[OWNER_LABEL].split("/")[3] == str(owner)
        ]
        time.sleep(0.8)
        deadline = time.monotonic() + PATIENCE_S  # on a busy machine the link is not up yet
        while (ended := mine[0].exec_run(["tc", "qdisc", "del", "dev", "eth0", "clsact"])).exit_code:
            assert time.monotonic() < deadline, ended.output
            time.sleep(0.1)

    code, result = run_meddled(scenario, "compose", tmp_path / "results", meddle)
    assert (code, result["verdict"]) == (3, "unknown")
    assert "the qdisc clsact of eth0 is gone" in " ".join(problem["says"] for problem in result["problems"])


def test_left_alone(scenario: Path, tmp_path: Path) -> None:
    """The same scenario passes when nobody meddles: what the others find is not there by itself."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))
    code, result = run_meddled(scenario, "netns", tmp_path / "results", lambda _: None)
    assert (code, result["verdict"]) == (0, "passed")
