"""The swarm backend: each host a container on the engine that it was placed on, all on one overlay network.

The agents are spoken to as on compose, attached over the API of the engine that each runs on. What was made carries the
run's id and its owner, and is taken down by those labels.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from testbed.errors import LabError
from testbed.files import lab_text, read_file, write_lab_file
from testbed.lab.compose import compose_file, how_it_ended
from testbed.lab.contract import LabShape, Say
from testbed.lab.engine import engine_errors
from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, Owner
from testbed.lab.stdio import AttachedChannel
from testbed.lab.subnet import choose_subnet
from testbed.lab.swarm.layout import Container, lay_out, network_options, prefix_hosts
from testbed.lab.swarm.nodes import Node, find_nodes, manager_of
from testbed.lab.swarm.pictures import ensure_images
from testbed.lab.swarm.placement import Placement
from testbed.lab.swarm.removal import remove_dead_swarm_labs, remove_swarm_lab
from testbed.plan import SNIFFER
from testbed.profile import kernel_version

SUBNET_TRIES = 8
ATTACH_TRIES = 3  # the engine waits for 20 s each time
NOT_ATTACHED = "attaching to network failed"
IPv4 = ipaddress.IPv4Network


class SwarmLab:
    """A lab on several engines. Made by `bring_up`."""

    backend = "swarm"

    def __init__(self, nodes: Mapping[str, Node], places: Mapping[str, str], run_id: str) -> None:
        self._nodes = nodes
        self._run_id = run_id
        self._containers: dict[str, str] = {}
        self._channels: dict[str, AttachedChannel] = {}
        self._closed = False
        self.places = dict(places)
        self.versions: Mapping[str, str] = _versions(nodes)

    @classmethod
    def bring_up(
        cls, shape: LabShape, placement: Placement, lab_file: Path, say: Say, stopped: Callable[[], None]
    ) -> SwarmLab:
        """Bring a lab up and give it; what was begun is taken down when that fails.

        The sniffer of the shape is left out: on an overlay it would hear nothing. `stopped` raises when the user wants
        us to end. Raises LabError, UsageError.
        """
        places = placement.of(host.name for host in shape.hosts if host.name != SNIFFER)
        nodes = find_nodes(dict.fromkeys(places.values()))
        stopped()
        tag = ensure_images({name: node.client for name, node in nodes.items()}, say)
        stopped()
        lab = cls(nodes, places, shape.run_id)
        try:
            lab._up(shape, lab_file, tag, say, stopped)
        except BaseException:
            try:
                lab.close()
            except LabError as error:
                say(str(error))  # what went wrong first is raised
            raise
        return lab

    def _up(self, shape: LabShape, lab_file: Path, tag: str, say: Say, stopped: Callable[[], None]) -> None:
        remove_dead_swarm_labs(self._nodes, say)
        labels = {
            RUN_LABEL: shape.run_id,
            OWNER_LABEL: str(Owner.current()),
            "testbed.scenario": shape.scenario,
        }
        subnet = self._make_network(shape, labels)
        stopped()
        kernel = min(kernel_version(node.kernel) for node in self._nodes.values())
        hosts = [host for host in shape.hosts if host.name in self.places]
        containers = lay_out(shape, hosts, self.places, subnet, _host_service(), tag, labels, kernel)
        told = {"network": network_options(subnet, labels), "containers": [each.plain() for each in containers]}
        write_lab_file(lab_file, lab_text("containers on the swarm", told))
        # Swarm takes seconds to attach a container, whatever it is: all at once.
        with ThreadPoolExecutor(max_workers=min(len(containers), 16)) as pool:
            for each, made in zip(containers, pool.map(self._start, containers), strict=True):
                self._containers[each.host] = made
        stopped()

    def _make_network(self, shape: LabShape, labels: Mapping[str, str]) -> IPv4:
        """A network on a subnet that nobody has. Two runs may choose the same one: whose id is larger gives way."""
        client = manager_of(self._nodes).client
        refused: list[IPv4] = []
        with engine_errors("making the overlay network"):
            for _ in range(SUBNET_TRIES):
                networks = [each for node in self._nodes.values() for each in node.client.api.networks()]
                subnet = _free_subnet([*refused, *_subnets(networks)], prefix_hosts(shape, len(self._nodes)))
                made = client.api.create_network(shape.run_id, check_duplicate=True, **network_options(subnet, labels))
                rivals = [
                    each for each in client.api.networks() if any(one.overlaps(subnet) for one in _subnets([each]))
                ]
                if all(made["Id"] <= each["Id"] for each in rivals):
                    return subnet
                client.api.remove_network(made["Id"])
                refused.append(subnet)
        raise LabError(f"no free subnet was found in {SUBNET_TRIES} tries", remedy="`testbed clean --engines ...`")

    def _start(self, container: Container) -> str:
        """Make a container and start it. Now and then swarm gives up on attaching one: then a new one is tried."""
        for _ in range(ATTACH_TRIES - 1):
            try:
                return self._try_start(container)
            except LabError as error:
                if NOT_ATTACHED not in error.message:
                    raise
                self._remove(container)
        return self._try_start(container)

    def _remove(self, container: Container) -> None:
        with engine_errors(f"removing {container.host}, which swarm did not attach"):
            self._nodes[container.engine].client.api.remove_container(container.name, force=True, v=True)

    def _try_start(self, container: Container) -> str:
        api = self._nodes[container.engine].client.api
        with engine_errors(f"starting {container.host} on {container.engine}"):
            endpoints: Any = {self._run_id: api.create_endpoint_config(ipv4_address=container.address)}
            made = api.create_container(
                **container.told,
                name=container.name,
                host_config=api.create_host_config(network_mode=self._run_id, **container.host_config),
                networking_config=api.create_networking_config(endpoints),
            )
            api.start(made["Id"])
        return str(made["Id"])

    def open(self, host: str) -> AttachedChannel:
        """Attach to the agent of a host, which started with its container."""
        with engine_errors(f"attaching to the agent on {host}"):
            channel = AttachedChannel(self._nodes[self.places[host]].client, self._containers[host])
        self._channels[host] = channel
        return channel

    def ending(self, host: str) -> str:
        """How a container, the agent in it, or the engine under it came to its end."""
        engine = self.places[host]
        channel = self._channels.get(host)
        try:
            with engine_errors(f"asking the engine {engine} what became of {host}"):
                client = self._nodes[engine].client
                return how_it_ended(client, host, self._containers[host], channel.stderr if channel else b"")
        except LabError as error:
            return error.message

    def close(self) -> None:
        """Take the lab down. Raises LabError with what could not be, once all else is down."""
        if self._closed:
            return
        self._closed = True
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        clients = {name: node.client for name, node in self._nodes.items()}
        managers = [name for name, node in self._nodes.items() if node.is_manager]
        removed = remove_swarm_lab(clients, managers, self._run_id)
        if removed.troubles:
            raise LabError(
                f"not all of the lab {self._run_id} could be taken down: {'; '.join(removed.troubles)}",
                remedy=f"`testbed clean --engines {','.join(self._nodes)}` once all of them answer again",
            )


def _versions(nodes: Mapping[str, Node]) -> dict[str, str]:
    """What the engines are, each word once; differing ones side by side."""
    nodes_ = tuple(nodes.values())
    return {
        "docker": ", ".join(dict.fromkeys(node.version for node in nodes_)),
        "kernel": ", ".join(dict.fromkeys(node.kernel for node in nodes_)),
        "engines": ", ".join(node.name for node in nodes_),
    }


@cache
def _host_service() -> Mapping[str, Any]:
    """What compose.yaml says of a host."""
    import yaml

    services: Mapping[str, Any] = yaml.safe_load(read_file(compose_file(), "compose file"))["services"]
    service: Mapping[str, Any] = services["client"]
    return service


def _free_subnet(taken: Iterable[IPv4], hosts: int) -> IPv4:
    subnet = choose_subnet(taken, hosts, random.SystemRandom().randrange(1 << 13))
    if subnet is None:
        raise LabError("all of 198.18.0.0/15 is taken", remedy="`testbed clean --engines ...` removes dead labs")
    return subnet


def _subnets(networks: Iterable[Mapping[str, Any]]) -> list[IPv4]:
    found = []
    for network in networks:
        for config in (network.get("IPAM") or {}).get("Config") or ():
            if "." in (subnet := config.get("Subnet", "")):
                found.append(IPv4(subnet, strict=False))
    return found
