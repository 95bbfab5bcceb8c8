"""The containers that a run brings up: what they may do, what they may not, and what is said when one dies."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_driver import PATIENCE_S, leftovers, read_until, running

from testbed.lab.owner import RUN_LABEL

if TYPE_CHECKING:
    import docker as docker_module
    from docker.models.containers import Container

pytestmark = pytest.mark.lab

ESTABLISHED = b" 01 "  # proc_net(5): the state column of /proc/net/tcp
LISTENING = b" 0A "
SERVE = "import socket; one = socket.create_server(('', 7456)); [one.accept() for _ in range(9)]"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 7456), timeout=2); print('connected')"
SLEEPY = """
summary: The client sleeps in the middle of its connection.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {send: "Hola"}, {sleep: 60s}, close]
"""


@contextmanager
def sleeping(engine: docker_module.DockerClient, folder: Path) -> Iterator[tuple[Any, dict[str, Container]]]:
    """A run whose client sleeps with its connection open, and its containers by their hosts' names."""
    scenario = folder / "sleepy.yaml"
    scenario.write_text(SLEEPY)
    with running("run", scenario, "--backend", "compose", "--out", folder / "out") as process:
        read_until(process, "sleepy: playing")
        (run,) = (folder / "out").glob("2*/sleepy")
        filters: dict[str, str | list[str] | bool] | None = {"label": f"{RUN_LABEL}={run.parent.name}-sleepy"}
        found = engine.containers.list(all=True, filters=filters)
        hosts = {each.labels["com.docker.compose.service"]: each for each in found}
        deadline = time.monotonic() + PATIENCE_S
        while ESTABLISHED not in hosts["client"].exec_run(["cat", "/proc/net/tcp"]).output:
            assert time.monotonic() < deadline, "the client never connected"
        yield process, hosts


def test_hosts_are_hardened(engine: docker_module.DockerClient, image: str, tmp_path: Path) -> None:
    """Hosts have two capabilities, nothing writable but /tmp, limits, and no new privileges."""
    with sleeping(engine, tmp_path) as (process, hosts):
        for name in ("client", "server", "sniffer"):
            asked = hosts[name].attrs["HostConfig"]
            assert asked["Privileged"] is False
            assert asked["CapDrop"] == ["ALL"]
            assert sorted(cap.removeprefix("CAP_") for cap in asked["CapAdd"]) == ["NET_ADMIN", "NET_RAW"]
            assert asked["SecurityOpt"] == ["no-new-privileges:true"]
            assert asked["ReadonlyRootfs"] is True
            assert asked["Memory"] == 512 << 20
            assert asked["PidsLimit"] == 1200
            assert asked["PidMode"] == asked["UTSMode"] == asked["UsernsMode"] == ""
            assert asked["IpcMode"] == "private"
            assert asked["LogConfig"]["Type"] == "none"  # nothing that a host says fills the engine's disk
            assert asked["RestartPolicy"]["Name"] in ("", "no")
            assert list(asked["Tmpfs"]) == ["/tmp"]
            assert not asked["VolumesFrom"]
            assert not asked["GroupAdd"]
            assert not asked["ExtraHosts"]
            assert "/proc/kcore" in asked["MaskedPaths"]
            assert "/proc/sysrq-trigger" in asked["ReadonlyPaths"]
            assert [device["PathOnHost"] for device in asked["Devices"]] == ["/dev/net/tun"]
            assert not asked["Binds"]
            assert hosts[name].attrs["Mounts"] == []
            assert hosts[name].attrs["NetworkSettings"]["Ports"] == {}
            assert list(hosts[name].attrs["NetworkSettings"]["Networks"]) == [asked["NetworkMode"]]
            _is_held_by_the_kernel(hosts[name])
        (network,) = engine.networks.list(names=[hosts["client"].attrs["HostConfig"]["NetworkMode"]])
        assert network.attrs["Internal"] is True
        _check_hub(hosts["hub"])
    assert leftovers(engine, process.pid) == []


def _is_held_by_the_kernel(host: Container) -> None:
    """Nothing is writable, no capability beyond the two, no new privileges: as the kernel has it of the agent."""
    assert b"Read-only" in host.exec_run(["sh", "-c", "echo > /opt/file"]).output
    status = host.exec_run(["cat", "/proc/1/status"]).output
    assert isinstance(status, bytes)
    values = dict(line.split(":", 1) for line in status.decode().splitlines())
    assert int(values["CapBnd"], 16) == 1 << 12 | 1 << 13  # CAP_NET_ADMIN, CAP_NET_RAW
    assert values["NoNewPrivs"].strip() == "1"
    assert values["Seccomp"].strip() == "2"  # the engine's filter of system calls
    mounts = host.exec_run(["cat", "/proc/1/mountinfo"]).output
    assert isinstance(mounts, bytes)
    assert b"docker.sock" not in mounts
    routes = host.exec_run(["ip", "-4", "route", "show", "default"]).output
    assert routes == b""


@contextmanager
def outside(engine: docker_module.DockerClient, image: str) -> Iterator[str]:
    """The address of a container that listens on the engine's usual network, where its neighbours can reach it."""
    container = engine.containers.run(image, ["python3", "-c", SERVE], detach=True, labels={"testbed.test": "outside"})
    try:
        deadline = time.monotonic() + PATIENCE_S
        while LISTENING not in container.exec_run(["cat", "/proc/net/tcp"]).output:
            assert time.monotonic() < deadline, "nobody listens outside"
        container.reload()
        yield container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    finally:
        container.remove(force=True)


def test_no_way_out(engine: docker_module.DockerClient, image: str, tmp_path: Path) -> None:
    """From a host nothing outside its own network can be reached, though others on this engine can reach it."""
    with outside(engine, image) as address:
        assert engine.containers.run(image, ["python3", "-c", CONNECT, address], remove=True) == b"connected\n"
        with sleeping(engine, tmp_path) as (_, hosts):
            assert b"connected" not in hosts["client"].exec_run(["python3", "-c", CONNECT, address]).output


def _check_hub(hub: Container) -> None:
    """The one service on the host's network has one capability and has ended."""
    asked = hub.attrs["HostConfig"]
    assert (asked["Privileged"], asked["ReadonlyRootfs"], asked["CapDrop"]) == (False, True, ["ALL"])
    assert [cap.removeprefix("CAP_") for cap in asked["CapAdd"]] == ["NET_ADMIN"]
    assert asked["SecurityOpt"] == ["no-new-privileges:true"]
    assert (asked["Memory"], asked["PidsLimit"]) == (64 << 20, 16)
    assert (asked["Binds"] or [], hub.attrs["Mounts"], asked["PidMode"]) == ([], [], "")
    assert hub.attrs["State"]["ExitCode"] == 0
    assert hub.attrs["State"]["Status"] == "exited"


def test_killed_container(engine: docker_module.DockerClient, image: str, tmp_path: Path) -> None:
    """A host that is killed mid-run: the verdict is unknown and says which, and how; what was seen is kept."""
    with sleeping(engine, tmp_path) as (process, hosts):
        hosts["client"].kill()
        printed, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, printed + said
    assert "the container of client ended with exit status 137 (SIGKILL)" in printed, printed
    folder = tmp_path / "out" / "latest" / "sleepy"
    result = json.loads((folder / "result.json").read_text())
    assert result["verdict"] == "unknown"
    assert [problem["where"] for problem in result["problems"]] == ["client"]
    assert {path.name for path in (folder / "captures").iterdir()} == {"server.pcapng", "wire.pcapng"}
    assert [connection["handshake"]["outcome"] for connection in result["connections"]] == ["complete"]
    assert leftovers(engine, process.pid) == []
