"""What can go wrong around a run on Docker Compose: each says in its own words what it was, with its exit code."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import PATIENCE_S, ROOT, leftovers, read_until, running, seen, testbed
from kills import container_of
from meddling import children
from short import tiny_disk

from testbed.errors import LabError
from testbed.lab import images

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

HANGS = """
summary: The server waits for a client that never comes.
hosts:
  server:
    steps: [{listen: 7456}, {accept: , timeout: 300ms}, close]
  client: {}
"""
SLEEPS = """
summary: The client sleeps for longer than the whole play may take.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {sleep: 60s}, close]
"""


HUNGRY = """
summary: The client needs more memory for what it sends than its container may have.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {sleep: 1s}, {send: {numbered: 2GiB}}, close]
expect:
  handshake: {outcome: complete}
"""
ESTABLISHED = " 01 "  # in /proc/net/tcp


def test_no_engine() -> None:
    """Where no engine answers the command says so and what to do, within the time of a start."""
    ended = testbed("run", "hola", "--backend", "compose", DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert ended.returncode == 3
    assert "no Docker engine answers at unix:///nonexistent/docker.sock" in ended.stderr
    assert "DOCKER_HOST" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


CONNECT_AS_NOBODY = """
import os, sys, docker
from testbed.errors import LabError
from testbed.lab.engine import connect
if os.geteuid() == 0:
    os.seteuid(65534)  # for root, permissions would not bite
try:
    connect()
except LabError as error:
    sys.exit(f"{error.exit_code} {error}")
"""


def test_engine_without_permission(tmp_path: Path) -> None:
    """An engine that we may not speak to is another thing than none, and has another remedy."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0)
        ended = subprocess.run(
            [sys.executable, "-c", CONNECT_AS_NOBODY],
            cwd=ROOT,
            env={**os.environ, "DOCKER_HOST": f"unix://{path}", "DOCKER_CONFIG": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.stderr.startswith(f"3 the Docker engine at unix://{path} refuses us: permission denied\n")
    assert "docker group" in ended.stderr


def test_no_compose(image: str, tmp_path: Path) -> None:
    """An engine but no Docker Compose: said so, with what to install."""
    ended = testbed(
        "run", "hola", "--backend", "compose", "--out", tmp_path, PATH=str(tmp_path), DOCKER_CONFIG=str(tmp_path)
    )
    assert ended.returncode == 3
    assert "Docker Compose is not installed" in ended.stderr
    assert "docker-compose 1.29" in ended.stderr
    assert list(tmp_path.glob("2*")) == []


def test_no_image(engine: docker_module.DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """No image and no way to make one: each way that was tried is named, with why it did not go."""

    def refuse(client: object, name: str, say: object) -> None:
        raise LabError(f"no registry gives {name}")

    def sources() -> tuple[str, str]:
        raise LabError("this machine has no apt sources")

    monkeypatch.setattr(images, "_present", lambda client, tag: False)
    monkeypatch.setattr(images, "_pull", refuse)
    monkeypatch.setattr(images, "_machine_sources", sources)
    with pytest.raises(LabError, match="there is no image to run hosts in") as caught:
        images.ensure_image(engine, lambda words: None)
    assert "no registry gives" in caught.value.message
    assert "no apt sources" in caught.value.message
    assert "docker load" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_unchanged_tree_builds_nothing(image: str, tmp_path: Path) -> None:
    """With the image there, `testbed images` and a run say nothing of building; both name the same tag."""
    ended = testbed("images")
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, image, "")


def test_step_that_hangs_fails(image: str, tmp_path: Path) -> None:
    """A step that does not end within its limit is a failed check, at its line of the file."""
    scenario = tmp_path / "hangs.yaml"
    scenario.write_text(HANGS)
    ended = seen(PATIENCE_S, "run", scenario, "--backend", "compose", "--out", tmp_path / "out")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "hangs.yaml:5" in ended.stdout
    assert "accept: timeout" in ended.stdout


def test_whole_run_limit_is_unknown(image: str, tmp_path: Path) -> None:
    """A play that does not end within its limit: unknown, which step stands, and all that was captured is kept."""
    scenario = tmp_path / "sleeps.yaml"
    scenario.write_text(SLEEPS)
    ended = testbed("run", scenario, "--backend", "compose", "--timeout", "1", "--out", tmp_path / "out")
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "the play did not end within 1 s" in ended.stdout
    folder = tmp_path / "out" / "latest" / "sleeps"
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "unknown"
    assert "client has not ended the step behind steps[0]" in result["problems"][0]["says"]
    assert {path.name for path in (folder / "captures").iterdir()} == {"client.pcapng", "server.pcapng", "wire.pcapng"}
    assert [connection["handshake"]["outcome"] for connection in result["connections"]] == ["complete"]


@pytest.mark.parametrize("free", [0, 16384])
def test_disk_full(image: str, tmp_path: Path, free: int) -> None:
    """A disk that is full, before the lab or when results are written: said so, exit code 3, and no broken files."""
    with tiny_disk(tmp_path / "disk", 64) as disk:
        (disk / "other").write_bytes(bytes(65536 - free))
        ended = testbed("run", "hola", "--backend", "compose", "--out", disk)
        assert not list(disk.glob("*/hola/result.json"))
        assert not list(disk.rglob(".*.*.*"))
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "the disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_program_out_of_memory(image: str, tmp_path: Path) -> None:
    """A program that takes more memory than its container has is ended by the kernel: unknown, and that is said."""
    scenario = tmp_path / "hungry.yaml"
    scenario.write_text(HUNGRY)
    ended = testbed("run", scenario, "--backend", "compose", "--out", tmp_path / "out")
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "its program was killed by SIGKILL; meanwhile the kernel's out-of-memory killer ended" in ended.stdout


def test_container_out_of_memory(engine: docker_module.DockerClient, image: str, tmp_path: Path) -> None:
    """Where the kernel chooses the agent to make room, the container ends: unknown, and the engine says why."""
    scenario = tmp_path / "hungry.yaml"
    scenario.write_text(HUNGRY)
    with running("run", scenario, "--backend", "compose", "--out", tmp_path / "out") as process:
        read_until(process, "playing")
        (agent,) = children(container_of(engine, process.pid, "client") or 0)
        await_connection(agent)
        Path(f"/proc/{agent}/oom_score_adj").write_text("1000")  # its program has begun, and keeps what it had
        printed, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, printed + said
    assert "the container of client ended with exit status 137 (out of memory)" in printed
    assert leftovers(engine, process.pid) == []


def await_connection(pid: int) -> None:
    """Wait until a connection is open in the network namespace of a process."""
    deadline = time.monotonic() + PATIENCE_S
    while ESTABLISHED not in Path(f"/proc/{pid}/net/tcp").read_text():
        assert time.monotonic() < deadline, "the client never connected"
        time.sleep(0.01)


def test_results_cannot_be_written(engine: docker_module.DockerClient, tmp_path: Path) -> None:
    """A results folder that cannot be made is said before anything is brought up."""
    (tmp_path / "file").write_text("")
    ended = testbed("run", "hola", "--backend", "compose", "--out", tmp_path / "file" / "out")
    assert ended.returncode == 3
    assert f"{tmp_path / 'file' / 'out'}" in ended.stderr
    assert "cannot be written" in ended.stderr
    assert "--out" in ended.stderr
    assert "bringing the lab up" not in ended.stderr


def test_json_is_all_there_is_on_standard_output(image: str, tmp_path: Path) -> None:
    """`--json` prints result.json, byte for byte, and nothing else; so it does when the verdict is failed."""
    ended = testbed("run", "hola", "--backend", "compose", "--json", "--out", tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (tmp_path / "latest" / "hola" / "result.json").read_text()


def test_doctor_finds_what_is_here(image: str) -> None:
    """`testbed doctor` passes where a run can, and names the engine and the image."""
    ended = testbed("doctor", "--json")
    findings = {each["name"]: each for each in json.loads(ended.stdout)}
    assert ended.returncode == 0, findings
    assert findings["engine"]["ok"]
    assert findings["image"]["says"] == image
