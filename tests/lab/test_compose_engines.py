"""compose.yaml under both generations of Docker Compose, alone and under a run; and many runs at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import PATIENCE_S, ROOT, seen, testbed

from testbed.lab.compose import bridge_name

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

FRAMES = 10
LISTEN = f"""
import socket
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("eth0", 0))
wire.settimeout(5)
print("ready", flush=True)
heard = 0
try:
    while heard < {FRAMES}:
        heard += b"are you bored?" in wire.recv(2000)
except TimeoutError:
    pass
print(heard, flush=True)
"""
SEND = f"""
import socket, sys
for _ in range({FRAMES}):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"are you bored?", (sys.argv[1], 9))
"""


def answers(*command: str, **environment: str) -> bool:
    """Whether a compose command is there."""
    if not shutil.which(command[0]):
        return False
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, check=False).returncode == 0


@pytest.fixture(params=["docker compose", "docker-compose"])
def compose(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A compose command, and the environment in which a run finds that one and not the other.

    TESTBED_COMPOSE_PLUGIN may name the binary of a plugin that is not installed.
    """
    without_plugin = {"DOCKER_CONFIG": str(tmp_path)}
    if request.param == "docker compose":
        if answers("docker", "compose", "version"):
            return ["docker", "compose"], {}
        if not (plugin := os.environ.get("TESTBED_COMPOSE_PLUGIN")):
            pytest.skip("`docker compose` is not installed, and TESTBED_COMPOSE_PLUGIN names none")
        (tmp_path / "cli-plugins").mkdir()
        (tmp_path / "cli-plugins" / "docker-compose").symlink_to(plugin)
        assert answers("docker", "compose", "version", **without_plugin)
        return ["docker", "compose"], without_plugin
    if not answers("docker-compose", "version"):
        pytest.skip("docker-compose is not installed")
    if answers("docker", "compose", "version", **without_plugin):
        pytest.skip("the compose plugin is installed for all users, so docker-compose is never chosen")
    return ["docker-compose"], without_plugin


def test_a_run_with_either_compose(image: str, compose: tuple[list[str], dict[str, str]], tmp_path: Path) -> None:
    """A scenario passes with `docker compose` and with docker-compose 1.29, and result.json says which it was."""
    command, environment = compose
    words = ("run", "hola", "--backend", "compose", "--json", "--out", tmp_path / "out")
    ended = seen(PATIENCE_S, *words, **environment)
    assert ended.returncode == 0, ended.stderr
    version = json.loads(ended.stdout)["environment"]["compose"]
    assert version.startswith("1.") == (command == ["docker-compose"])


Compose = Callable[..., subprocess.Popen[str]]


@contextmanager
def up(command: list[str], project: str, **settings: str) -> Iterator[Compose]:
    """compose.yaml alone, up and down again; gives what starts a command of that project."""
    environment = {**os.environ, **settings, "TESTBED_BRIDGE": bridge_name(project)}

    def start(*words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, "-p", project, *words], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def do(*words: str) -> None:
        with start(*words) as process:
            said = process.communicate()[1]
        assert process.returncode == 0, said

    try:
        do("up", "-d")
        yield start
    finally:
        do("down", "-t", "0")


def test_compose_file_alone_is_a_hub(
    engine: docker_module.DockerClient, image: str, compose: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    """After a plain `up -d` the sniffer hears every frame between client and server; `down` leaves nothing."""
    command, environment = compose
    project = f"alone{os.getpid()}{len(command)}"
    mine: dict[str, str | list[str] | bool] | None = {"label": f"com.docker.compose.project={project}"}
    with up(command, project, **environment) as start:
        containers = engine.containers.list(all=True, filters=mine)
        hosts = {each.labels["com.docker.compose.service"]: each for each in containers}
        assert set(hosts) == {"client", "server", "sniffer", "hub"}
        assert hosts["hub"].wait(timeout=10)["StatusCode"] == 0
        (network,) = hosts["server"].attrs["NetworkSettings"]["Networks"].values()
        with start("exec", "-T", "sniffer", "python3", "-c", LISTEN) as listening:
            assert listening.stdout
            assert listening.stdout.readline() == "ready\n"
            sent = hosts["client"].exec_run(["python3", "-c", SEND, network["IPAddress"]])
            assert sent.exit_code == 0, sent.output
            assert listening.communicate()[0] == f"{FRAMES}\n"
    assert engine.containers.list(all=True, filters=mine) == []
    assert engine.networks.list(filters=mine) == []


def test_ten_runs_at_once_pass(image: str, tmp_path: Path) -> None:
    """Ten labs side by side pass, each with a subnet and a folder of its own."""
    ended = testbed(
        "run", "hola", "--backend", "compose", "--repeat", "10", "--jobs", "10", "--json", "--out", tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert (told["passed"], told["total"]) == (10, 10)
    assert len({result["run_id"] for result in told["results"]}) == 10
    assert len({result["hosts"]["client"]["address"] for result in told["results"]}) == 10
    assert len(list((tmp_path / "latest").glob("*/result.json"))) == 10
