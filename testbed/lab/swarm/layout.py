"""What a swarm lab is made of, as the engine's API takes it: one overlay network, and a container per host. Pure.

What a container may do and have stands in compose.yaml and nowhere else. Docker's overlay carries Ethernet frames of
any kind, but gives out IPv4 addresses only: on an IPv6 lab a container puts its own on eth0 before its agent begins.

Hosts have addresses from the top of the subnet: swarm takes one from the bottom for each engine that joins the network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testbed.lab.contract import LabHost, LabShape
from testbed.lab.subnet import companion
from testbed.profile import Version, profile_sysctls

IPv4 = ipaddress.IPv4Network
INTERFACE = "eth0"
MTU = 1450  # what VXLAN leaves of 1500


@dataclass(frozen=True, slots=True)
class Container:
    """A host of the lab: where it runs, and the two halves of its creation, as docker-py names them."""

    host: str
    engine: str
    name: str
    address: str  # IPv4, which swarm gives it
    told: Mapping[str, Any]
    host_config: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """As data, for lab.yaml."""
        about = {"engine": self.engine, "container": self.name, "address": self.address}
        return {**about, **self.told, "host_config": dict(self.host_config)}


def network_options(subnet: IPv4, labels: Mapping[str, str]) -> dict[str, Any]:
    """The network of a run: no way out, and open to containers that are no service's.

    Service VIPs are left alone: IPVS, which they go through, forgets half-closed connections.
    """
    return {
        "driver": "overlay",
        "scope": "swarm",
        "attachable": True,
        "internal": True,
        "labels": dict(labels),
        "ipam": {"Driver": "default", "Config": [{"Subnet": str(subnet)}]},
    }


def prefix_hosts(shape: LabShape, engines: int) -> int:
    """How many addresses a lab needs beside the gateway's: each engine takes one for itself."""
    return len(shape.hosts) + engines


def host_address(subnet: IPv4, index: int) -> str:
    """The IPv4 address of host number `index`, from the top."""
    return str(subnet[-2 - index])


def lay_out(
    shape: LabShape,
    hosts: Sequence[LabHost],
    places: Mapping[str, str],
    subnet: IPv4,
    service: Mapping[str, Any],
    tag: str,
    labels: Mapping[str, str],
    kernel: Version,
) -> tuple[Container, ...]:
    """The containers of a lab; `service` is that of a host in compose.yaml."""
    return tuple(
        Container(
            host.name,
            places[host.name],
            f"{shape.run_id}-{host.name}",
            host_address(subnet, index),
            _told(shape, host, index, subnet, service, tag, labels),
            _host_config(service, {**profile_sysctls(shape.family, kernel), **host.sysctls}),
        )
        for index, host in enumerate(hosts)
    )


def _told(
    shape: LabShape,
    host: LabHost,
    index: int,
    subnet: IPv4,
    service: Mapping[str, Any],
    tag: str,
    labels: Mapping[str, str],
) -> dict[str, Any]:
    command = list(service["command"])
    if shape.family == "ipv6":
        network = companion(subnet)
        own = f"ip address add {network[index + 2]}/{network.prefixlen} dev {INTERFACE} nodad"
        command = ["sh", "-c", f'{own} && exec "$@"', "agent", *command]
    return {
        "image": tag,
        "command": command,
        "hostname": host.name,
        "labels": {**labels, "testbed.host": host.name},
        "stdin_open": bool(service.get("stdin_open")),
        "detach": True,  # else the agent would end with the connection to it, and a lab that is kept with its command
    }


def _host_config(service: Mapping[str, Any], sysctls: Mapping[str, str]) -> dict[str, Any]:
    """What compose.yaml grants a host, in the words of docker-py's create_host_config."""
    return {
        "init": bool(service.get("init")),
        "log_config": {"Type": service["logging"]["driver"]},
        "cap_drop": list(service["cap_drop"]),
        "cap_add": list(service["cap_add"]),
        "security_opt": list(service["security_opt"]),
        "read_only": bool(service["read_only"]),
        "tmpfs": list(service["tmpfs"]),
        "devices": list(service["devices"]),
        "mem_limit": service["mem_limit"],
        "pids_limit": service["pids_limit"],
        "sysctls": dict(sysctls),
    }
