"""Whether several engines can carry a lab together: each piece looked at for itself, with what to run where it is not.

Whether the ports between them are open is tried from the engines themselves: a container on the network of the machine
looks from one to the other, and sees what a firewall lets through. UDP tells nothing back: port 4789 is proved by a
frame over an overlay network, 7946 by the members that each engine hears of.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.apart import Apart
from testbed.canaries import Host as Met
from testbed.clocks import Reading, bound
from testbed.errors import LabError, TestbedError
from testbed.lab.agents import Agents
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.doctor import Finding
from testbed.lab.engine import engine_errors
from testbed.lab.images import image_tag
from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, Owner
from testbed.lab.swarm.lab import SwarmLab
from testbed.lab.swarm.nodes import Node, find_nodes, join_words, manager_of, open_engine
from testbed.lab.swarm.pictures import has_image
from testbed.lab.swarm.placement import Placement
from testbed.run import SNAP_LENGTH
from testbed.session import new_run_id
from testbed.stop import Stop
from testbed.wiring import INTERFACE

if TYPE_CHECKING:
    import docker as docker_module

MANAGER_PORT, MEMBER_PORT = 2377, 7946
CLOSE_NS = 1_000_000_000  # nothing needs clocks nearer than this; farther is no good sign for logs and certificates
PROBE = """
import socket, sys
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
    except OSError as error:
        print(f"{place} {error}")
"""


def examine_engines(words: tuple[str, ...]) -> list[Finding]:
    """Look at everything, the most basic first; what rests on what is missing is left out."""
    found: list[Finding] = []
    clients: dict[str, docker_module.DockerClient] = {}
    for word in words:
        try:
            clients[word] = open_engine(word)
        except TestbedError as error:
            found.append(Finding(f"engine {word}", False, error.message, error.remedy, needed=True))
        else:
            found.append(_try(f"engine {word}", lambda word=word: _about(clients[word])))  # type: ignore[misc]
    found += [_image(word, client) for word, client in clients.items()]
    found += [_clock(word, client) for word, client in clients.items()]
    if len(clients) > 1:
        found += _versions(clients)
    if len(clients) < len(words):
        return found
    nodes: dict[str, Node] = {}
    found.append(_try("swarm", lambda: _members(words, nodes)))
    if nodes:
        found += [*_ports(nodes), _try("overlay", lambda: _overlay(words))]
    return found


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look(), needed=True)
    except TestbedError as error:
        return Finding(name, False, error.message, error.remedy, needed=True)


def _about(client: docker_module.DockerClient) -> str:
    with engine_errors("asking the engine what it is"):
        about = client.version()
    return f"Docker {about.get('Version')}, kernel {about.get('KernelVersion')}"


def _versions(clients: Mapping[str, docker_module.DockerClient]) -> Iterator[Finding]:
    """Hosts of one lab on two kernels are legal, and worth knowing of."""
    for key, name in (("Version", "Docker"), ("KernelVersion", "kernel")):
        found = {word: str(client.version().get(key, "")) for word, client in clients.items()}
        differ = len(set(found.values())) > 1
        shown = ", ".join(f"{word} has {value}" for word, value in found.items()) if differ else ""
        says = f"{name} differs: {shown}" if differ else f"{name} is the same everywhere"
        remedy = "a verdict then speaks of both; `apt-get upgrade`, or the like, on the older" if differ else ""
        yield Finding(name.lower(), not differ, says, remedy)


def _image(word: str, client: docker_module.DockerClient) -> Finding:
    def look() -> str:
        tag = image_tag()
        with engine_errors("looking for images"):
            there = has_image(client, tag)
        if not there:
            raise LabError(
                f"{tag} is not there yet",
                remedy=f"the first run copies it; or `docker save {tag} | docker -H {word} load`",
            )
        return tag

    found = _try(f"image {word}", look)
    return Finding(found.name, found.ok, found.says, found.remedy)


def _clock(word: str, client: docker_module.DockerClient) -> Finding:
    """By the time that the engine tells of itself, in a question after its state: rough, and enough to be warned."""

    def look() -> str:
        asked_ns = time.time_ns()
        with engine_errors("asking the engine for its time"):
            told = str(client.info().get("SystemTime", ""))
        bounds = bound([Reading(asked_ns, _parse_ns(told), time.time_ns())])
        if bounds is None:
            raise LabError(f"{word} does not tell its time")
        off = max(0, bounds.low_ns, -bounds.high_ns)
        says = f"{bounds.middle_ns / 1e6:+.1f} ms from ours, to within {bounds.error_ns / 1e6:.1f} ms"
        if off > CLOSE_NS:
            raise LabError(says, remedy=f"on {word}: `timedatectl set-ntp true`, or `chronyc makestep`")
        return says

    found = _try(f"clock {word}", look)
    return Finding(found.name, found.ok, found.says, found.remedy)


def _parse_ns(text: str) -> int:
    from datetime import datetime

    seconds, _, rest = text.partition(".")
    digits = "".join(letter for letter in rest if letter.isdigit())[:9] if rest else ""
    zone = rest[len(digits) :] or "Z" if rest else text[19:] or "Z"
    whole = datetime.fromisoformat(seconds[:19] + zone.replace("Z", "+00:00"))
    return int(whole.timestamp()) * 1_000_000_000 + int(digits.ljust(9, "0") or 0)


def _members(words: tuple[str, ...], nodes: dict[str, Node]) -> str:
    found = find_nodes(words)
    manager = manager_of(found)
    nodes.update(found)
    return f"{len(found)} engines are one swarm; {manager.name} manages it ({join_words(manager)} lets others in)"


def _ports(nodes: Mapping[str, Node]) -> Iterator[Finding]:
    for node in nodes.values():
        others = [other for other in nodes.values() if other is not node]
        places = [f"{other.address}:{MEMBER_PORT}" for other in others]
        places += [f"{other.address}:{MANAGER_PORT}" for other in others if other.is_manager]

        def look(node: Node = node, places: Iterable[str] = tuple(places)) -> str:
            closed = _probe(node, places)
            if closed:
                raise LabError(
                    f"from {node.name} do not answer: {'; '.join(closed)}",
                    remedy="let them through there: TCP 2377 (managers), TCP and UDP 7946, UDP 4789; such as "
                    "`ufw allow proto tcp from PEER to any port 2377,7946` and `ufw allow proto udp from PEER to any "
                    "port 7946,4789`",
                )
            return f"{', '.join(places)} answer from {node.name}"

        yield _try(f"ports {node.name}", look)


def _overlay(words: tuple[str, ...]) -> str:
    """Bring a lab up with a host on each engine, and send a frame around: what a run begins with."""
    hosts = [f"host-{number}" for number in range(1, len(words) + 1)]
    shape = LabShape(f"doctor-{new_run_id()}", "doctor", "ipv4", tuple(LabHost(name, {}) for name in hosts))
    with tempfile.TemporaryDirectory(prefix="testbed-doctor-") as folder:
        placement = Placement(dict(zip(hosts, words, strict=True)))
        lab = SwarmLab.bring_up(shape, placement, Path(folder) / "lab.yaml", lambda words: None, lambda: None)
        agents = Agents(lab, Stop())
        try:
            agents.open(hosts)
            about = {name: agents.request(name, "hello")["interfaces"][INTERFACE] for name in hosts}
            for name in hosts:
                agents.request(
                    name, "capture.start", name=name, interface=INTERFACE, promiscuous=False, snap_length=SNAP_LENGTH
                )
            met = {name: Met(name, name, "", str(its["mac"]), "") for name, its in about.items()}
            Apart(agents, lab.places, SNAP_LENGTH, INTERFACE).prove(met)
        finally:
            agents.close()
            lab.close()
    return f"carries frames around {', '.join(words)} (UDP 4789), MTU {min(int(its['mtu']) for its in about.values())}"


def _probe(node: Node, places: Iterable[str]) -> list[str]:
    """What does not answer, seen from an engine's own network; the container is gone afterwards."""
    tag = image_tag()
    labels = {RUN_LABEL: "doctor", OWNER_LABEL: str(Owner.current())}
    with engine_errors(f"trying ports from {node.name}"):
        if not has_image(node.client, tag):
            raise LabError(f"nothing can be tried from {node.name}: it has no {tag}", remedy="`testbed run` copies it")
        said: Any = node.client.containers.run(
            tag,
            ["python3", "-c", PROBE, *places],
            network_mode="host",
            remove=True,
            cap_drop=["ALL"],
            read_only=True,
            labels=labels,
        )
    return [line for line in bytes(said).decode(errors="replace").splitlines() if line]
