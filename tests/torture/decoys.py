"""Things that look like the testbed's and are somebody else's: whatever is cleaned up, they stay.

A namespace with such a name, a process in it that carries a run's variable and no owner, a folder as agents have them;
and where an engine answers, containers and networks with names and labels like ours, one of them of a living owner.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, RUN_VARIABLE, Owner

if TYPE_CHECKING:
    import docker as docker_module

DECOY_LABEL = "testbed.decoy"


@dataclass(slots=True)
class Decoys:
    """What was put up, each with how one sees that it is still there."""

    namespace: str = ""
    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None
    containers: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    client: docker_module.DockerClient | None = None

    def missing(self) -> list[str]:
        """In words, those that are gone."""
        gone = []
        if self.namespace and not Path("/run/netns", self.namespace).exists():
            gone.append(f"namespace {self.namespace}")
        if self.process is not None and self.process.poll() is not None:
            gone.append(f"process {self.process.pid}")
        if self.folder is not None and not (self.folder / "kept").exists():
            gone.append(f"folder {self.folder}")
        return gone + list(self._missing_of_engine())

    def _missing_of_engine(self) -> Iterator[str]:
        if self.client is None:
            return
        filters = {"label": DECOY_LABEL}
        running = {one["Id"] for one in self.client.api.containers(filters=filters)}
        networks = {one["Id"] for one in self.client.api.networks(filters=filters)}
        yield from (f"container {one[:12]}" for one in self.containers if one not in running)
        yield from (f"network {one[:12]}" for one in self.networks if one not in networks)


@contextmanager
def put_up(client: docker_module.DockerClient | None = None, image: str = "") -> Iterator[Decoys]:
    """Decoys on this machine, and on its engine where one is given; gone when this ends."""
    decoys = Decoys()
    with ExitStack() as stack:
        if os.geteuid() == 0 and shutil.which("ip"):
            decoys.namespace = f"testbed-{os.getpid()}-hola"
            subprocess.run(["ip", "netns", "add", decoys.namespace], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "delete", decoys.namespace], check=False)
        decoys.process = subprocess.Popen(
            ["sleep", "86400"], env={**os.environ, RUN_VARIABLE: "20200101-000000-decoy0"}, stdin=subprocess.DEVNULL
        )
        stack.callback(decoys.process.wait)
        stack.callback(decoys.process.kill)
        decoys.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="testbed-agent-decoy-")))
        (decoys.folder / "kept").touch()
        if client is not None:
            stack.callback(_remove, client, decoys)
            _put_up_on(client, image, decoys)
        yield decoys


def _put_up_on(client: docker_module.DockerClient, image: str, decoys: Decoys) -> None:
    decoys.client = client
    name = f"testbed-{os.getpid()}-decoy"
    alive = {RUN_LABEL: "20200101-000000-decoy0", OWNER_LABEL: str(Owner.current())}
    for kind, labels in {
        "plain": {},
        "living": alive,
        "unowned": {RUN_LABEL: "x"},
        "garbled": {**alive, OWNER_LABEL: "machine/boot/namespace/pid/start"},
    }.items():
        mine = {**labels, DECOY_LABEL: kind}
        made = client.containers.run(
            image, ["sleep", "86400"], detach=True, name=f"{name}-{kind}-client-1", labels=mine, network_mode="none"
        )
        decoys.containers.append(str(made.id))
        made_network = client.networks.create(f"{name}-{kind}_wire", labels=mine, internal=True)
        decoys.networks.append(str(made_network.id))


def _remove(client: docker_module.DockerClient, decoys: Decoys) -> None:
    for identity in decoys.containers:
        client.api.remove_container(identity, force=True)
    for identity in decoys.networks:
        client.api.remove_network(identity)
