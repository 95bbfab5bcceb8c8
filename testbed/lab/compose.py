"""The compose backend: hosts are containers on a Docker bridge network, from compose.yaml and an override per run.

`docker compose` (v2 or later) brings the lab up where it is installed, else the old `docker-compose` 1.29. What was
made carries the run's id and its owner as labels, and is taken down by those labels over the engine's API: the same few
lines serve the end of a run, an interrupted one, and what a killed one left behind.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import select
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import CommandFailed, LabError
from testbed.files import lab_text, write_lab_file
from testbed.lab.command import run_command
from testbed.lab.contract import LabShape, Say, renamed
from testbed.lab.engine import connect, engine_errors
from testbed.lab.images import data_folder, ensure_image
from testbed.lab.owner import (
    OWNER_LABEL,
    OWNER_VARIABLE,
    RUN_LABEL,
    RUN_VARIABLE,
    Owner,
    dead_runs,
    labels_of,
    orphans,
)
from testbed.lab.stdio import AttachedChannel
from testbed.lab.subnet import address, choose_subnet, companion
from testbed.lab.sysctls import ByHost, Held, later
from testbed.lab.tuning import set_in_container
from testbed.profile import kernel_version, profile_sysctls

if TYPE_CHECKING:
    import docker as docker_module

NETWORK = "wire"
UP_TIMEOUT_S = 120.0
SUBNET_TRIES = 8
ENDING_TIMEOUT_S = 3
SIGNAL_NAMES = {137: "SIGKILL", 143: "SIGTERM", 139: "SIGSEGV", 134: "SIGABRT"}
# Where the docker command looks for plugins beside the user's own folder (docker/cli cli-plugins/manager).
PLUGIN_FOLDERS = tuple(
    Path(root) / "docker" / "cli-plugins"
    for root in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")
)
NO_COMPOSE = (
    "install Docker Compose: the plugin (`docker compose version` must answer), or docker-compose 1.29 or later"
)


def compose_command() -> list[str]:
    """`docker compose` where the plugin is installed, else `docker-compose`."""
    if shutil.which("docker") and (_plugin_is_installed() or _plugin_answers()):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise LabError(
        "Docker Compose is not installed: neither `docker compose` nor `docker-compose` answers", remedy=NO_COMPOSE
    )


def _plugin_is_installed() -> bool:
    # Asking the plugin costs a tenth of a second of every run; it is nearly always in one of the usual places.
    folders = (Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "cli-plugins", *PLUGIN_FOLDERS)
    return any(os.access(folder / "docker-compose", os.X_OK) for folder in folders)


def _plugin_answers() -> bool:
    try:
        run_command(["docker", "compose", "version", "--short"], timeout_s=10)
    except LabError:
        return False
    return True


def bridge_name(run_id: str) -> str:
    """The name of a run's bridge; an interface's name has at most 15 characters."""
    return f"tb{hashlib.sha256(run_id.encode()).hexdigest()[:10]}"


def override(shape: LabShape, subnet: ipaddress.IPv4Network, owner: str, kernel: tuple[int, int]) -> dict[str, Any]:
    """The compose override of a run: its hosts with addresses and sysctls, its subnet, its labels."""
    labels = {RUN_LABEL: shape.run_id, OWNER_LABEL: owner, "testbed.scenario": shape.scenario}
    base = {"client", "server", "sniffer"}
    key = "ipv6_address" if shape.family == "ipv6" else "ipv4_address"
    services: dict[str, Any] = {"hub": {"labels": labels}}
    for index, host in enumerate(shape.hosts):
        sysctls = {**profile_sysctls(shape.family, kernel), **host.sysctls}
        services[host.name] = {
            **({} if host.name in base else {"extends": {"file": str(compose_file()), "service": "client"}}),
            "hostname": host.name,
            "labels": labels,
            "sysctls": sysctls,
            "networks": {NETWORK: {key: address(subnet, shape.family, index)}},
        }
    ipam = [{"subnet": str(subnet)}]
    # docker-compose 1.29 does not merge networks: what the override says of one replaces all that compose.yaml says.
    network: dict[str, Any] = {
        "driver": "bridge",
        "internal": True,
        "driver_opts": {"com.docker.network.bridge.name": bridge_name(shape.run_id)},
        "labels": labels,
        "ipam": {"config": ipam},
    }
    if shape.family == "ipv6":
        network["enable_ipv6"] = True
        ipam.append({"subnet": str(companion(subnet))})
    return {"services": services, "networks": {NETWORK: network}}


def compose_file() -> Path:
    """The compose.yaml that every lab starts from."""
    return data_folder() / "compose.yaml"


def up_command(compose: Iterable[str], run_id: str, lab_file: Path, hosts: Iterable[str]) -> list[str]:
    """The command that brings a run's lab up."""
    files = ["-f", str(compose_file()), "-f", str(lab_file), "--project-directory", str(compose_file().parent)]
    return [*compose, "-p", run_id, *files, "up", "-d", *hosts, "hub"]


class ComposeLab:
    """A lab on Docker Compose. Made by `bring_up`."""

    backend = "compose"

    def __init__(
        self,
        client: docker_module.DockerClient,
        run_id: str,
        versions: Mapping[str, str],
        environment: Mapping[str, str] | None = None,
        held: Held | None = None,
    ) -> None:
        self.held = held or Held({})
        self._client = client
        self._environment = dict(environment or {})  # of the compose command, beside what every run's has
        self._run_id = run_id
        self.versions = versions
        self._image = ""
        self._made_as: tuple[LabShape, ipaddress.IPv4Network, str, tuple[int, int]]  # subnet, owner, kernel
        self._containers: dict[str, str] = {}
        self._channels: dict[str, AttachedChannel] = {}

    @classmethod
    def bring_up(
        cls, shape: LabShape, lab_file: Path, say: Say, stopped: Callable[[], None], engine: str = ""
    ) -> ComposeLab:
        """Bring a lab up and give it; what was begun is taken down when that fails.

        `stopped` is asked between the parts and raises when the user wants us to end. The override is written to
        `lab_file`. `engine`: a context or an address, where it is not the one that `docker` would use.
        """
        client, environment = (connect(), {}) if not engine else _elsewhere(engine)
        tag = _copy_image(engine, client, say) if engine else ensure_image(client, say)
        stopped()
        lab = cls(client, shape.run_id, {}, environment, Held({host.name: later(host.sysctls) for host in shape.hosts}))
        try:
            lab._up(shape, lab_file, tag, say, stopped)
        except BaseException:
            lab.close()
            raise
        return lab

    def _up(self, shape: LabShape, lab_file: Path, tag: str, say: Say, stopped: Callable[[], None]) -> None:
        with engine_errors("asking the engine what it is"):
            about = self._client.version()
        with ThreadPoolExecutor(max_workers=1) as pool:
            cleaned = pool.submit(remove_dead_labs, self._client, say)
            self._bring_up(shape, lab_file, tag, compose_command(), about, stopped)
            cleaned.result()
        stopped()
        with engine_errors("looking for the lab's containers"):
            found = self._client.api.containers(all=True, filters={"label": f"{RUN_LABEL}={shape.run_id}"})
        self._image = tag
        self._containers = {each["Labels"]["com.docker.compose.service"]: each["Id"] for each in found}
        self.versions = {
            "docker": str(about.get("Version", "")),
            "compose": next((each["Labels"].get("com.docker.compose.version", "") for each in found), ""),
            "kernel": str(about.get("KernelVersion", "")),
        }

    def _bring_up(
        self,
        shape: LabShape,
        lab_file: Path,
        tag: str,
        compose: list[str],
        about: Mapping[str, Any],
        stopped: Callable[[], None],
    ) -> None:
        owner = str(Owner.current())
        environment = {
            **self._environment,
            "TESTBED_IMAGE": tag,
            "TESTBED_BRIDGE": bridge_name(shape.run_id),
            RUN_VARIABLE: shape.run_id,
            OWNER_VARIABLE: owner,
            "COMPOSE_IGNORE_ORPHANS": "1",
        }
        refused: list[ipaddress.IPv4Network] = []
        for _ in range(SUBNET_TRIES):
            stopped()
            subnet = self._free_subnet(len(shape.hosts), refused)
            self._made_as = shape, subnet, owner, kernel_version(str(about.get("KernelVersion", "")))
            write_lab_file(lab_file, self.lab_file(shape))
            command = up_command(compose, shape.run_id, lab_file, (host.name for host in shape.hosts))
            try:
                run_command(command, timeout_s=UP_TIMEOUT_S, environment=environment)
            except CommandFailed as error:
                # Another run took that subnet between our look and compose's request.
                if "overlaps" not in error.stderr + error.stdout:
                    raise
                refused.append(subnet)
            else:
                return
        raise LabError(f"no free subnet was found in {SUBNET_TRIES} tries", remedy="`testbed clean` removes dead labs")

    def _free_subnet(self, hosts: int, refused: list[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
        with engine_errors("looking for a free subnet"):
            networks = self._client.api.networks()
        taken = [*refused, *_subnets(networks)]
        start = random.SystemRandom().randrange(1 << 13)
        if (subnet := choose_subnet(taken, hosts, start)) is None:
            raise LabError("all of 198.18.0.0/15 is taken", remedy="`testbed clean` removes dead labs")
        return subnet

    def open(self, host: str) -> AttachedChannel:
        """Attach to the agent of a host, which started with its container."""
        with engine_errors(f"attaching to the agent on {host}"):
            channel = AttachedChannel(self._client, self._containers[host])
        self._channels[host] = channel
        return channel

    def lab_file(self, shape: LabShape) -> bytes:
        """The lab.yaml of a run that this lab serves: what is up, called as the run does and with its sysctls."""
        made, subnet, owner, kernel = self._made_as
        content = override(replace(made, hosts=shape.hosts), subnet, owner, kernel)
        return lab_text("compose override", content)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call hosts by other names from now on; those of their containers stay."""
        self._containers = renamed(self._containers, names)
        self._channels = renamed(self._channels, names)
        self.held.rename(names)

    def set_sysctls(self, sysctls: ByHost) -> None:
        """Set sysctls of some hosts, all at once. Raises LabError."""
        labels = {RUN_LABEL: self._run_id, OWNER_LABEL: str(Owner.current())}

        def set_of(host: str) -> None:
            set_in_container(self._client, self._containers[host], self._image, labels, sysctls[host])

        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(set_of, sysctls))

    def ending(self, host: str) -> str:
        """How a container, or the agent in it, came to its end."""
        try:
            with engine_errors(f"asking what became of {host}"):
                return how_it_ended(self._client, host, self._containers[host], self._channels[host].stderr)
        except LabError as error:
            return error.message

    def close(self) -> None:
        """Take the lab down."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        remove_lab(self._client, self._run_id)


def _elsewhere(engine: str) -> tuple[docker_module.DockerClient, Mapping[str, str]]:
    from testbed.lab.swarm.nodes import docker_environment, open_engine

    client = open_engine(engine)
    return client, docker_environment(engine)


def _copy_image(engine: str, client: docker_module.DockerClient, say: Say) -> str:
    from testbed.lab.swarm.pictures import ensure_images

    return ensure_images({engine: client}, say)


def how_it_ended(client: docker_module.DockerClient, host: str, container: str, stderr: bytes) -> str:
    """How a host's container, or the agent in it, came to its end; `stderr` is what the agent has said."""
    import docker
    import requests

    try:
        client.api.wait(container, timeout=ENDING_TIMEOUT_S)
        state = client.api.inspect_container(container)["State"]
    except docker.errors.NotFound:
        return f"the container of {host} was removed"
    except requests.exceptions.RequestException:
        client.api.inspect_container(container)  # raises where it is the engine that is gone
        return f"the connection to the agent on {host} was lost; its container still runs"
    status = int(state["ExitCode"])
    reason = "out of memory" if state.get("OOMKilled") else SIGNAL_NAMES.get(status, "")
    said = stderr.decode(errors="replace").strip()
    words = f"the container of {host} ended with exit status {status}" + (f" ({reason})" if reason else "")
    return f"{words}; its agent said:\n{said}" if said else words


def _subnets(networks: Iterable[Mapping[str, Any]]) -> Iterable[ipaddress.IPv4Network]:
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or ():
            if "." in (subnet := config.get("Subnet", "")):
                yield ipaddress.IPv4Network(subnet, strict=False)


def remove_lab(client: docker_module.DockerClient, run_id: str, owner: str = "") -> int:
    """Remove a run's containers and networks, by its labels; gives how many there were."""
    label = {"label": labels_of(run_id, owner)}
    with engine_errors(f"taking down the lab {run_id}"):
        containers = [each["Id"] for each in client.api.containers(all=True, filters=label)]
        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(lambda one: _gone(lambda: client.api.remove_container(one, force=True, v=True)), containers))
        networks = [each["Id"] for each in client.api.networks(filters={**label, "scope": "local"})]
        for network in networks:
            _gone(lambda network=network: client.api.remove_network(network))  # type: ignore[misc]
    return len(containers) + len(networks)


def _gone(remove: Callable[[], object]) -> None:
    """Remove something; that it is already gone, or just being removed by somebody else, is as good."""
    import docker

    try:
        remove()
    except docker.errors.NotFound:
        return
    except docker.errors.APIError as error:
        if error.status_code != 409 or "already in progress" not in str(error.explanation):
            raise


def remove_dead_labs(client: docker_module.DockerClient, say: Say) -> int:
    """Remove what runs left whose owner has died, and nothing else; gives how many containers and networks."""
    _await_end(orphans())
    with engine_errors("looking for what dead runs left"):
        filters = {"label": [RUN_LABEL, OWNER_LABEL]}
        found = [each["Labels"] for each in client.api.containers(all=True, filters=filters)]
        found += [each["Labels"] for each in client.api.networks(filters={**filters, "scope": "local"})]
    removed = 0
    for run_id, owner in dead_runs(found):
        removed += remove_lab(client, run_id, owner)
        say(f"removed what the dead run {run_id} had left")
    return removed


def _await_end(pids: Iterable[int]) -> None:
    """Let a dead run's `compose up` finish: what it is making can only be removed once it is made."""
    deadline = time.monotonic() + UP_TIMEOUT_S
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(handle)
