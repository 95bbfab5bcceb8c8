"""A lab as what must be done for it: sysctls and one `ip -batch` per namespace. Pure.

    host: eth0 ---- port0 |              | port1 ---- eth0 :host
                          | switch (hub) |
                          |              | port2 ---- eth0 :sniffer

The bridge is a hub: with an ageing time of 0 it forgets an address at once and floods every frame, so the sniffer hears
the others. It snoops no multicast and sends nothing of its own.

Addresses are those of compose.yaml's labs, from one fixed subnet: what another lab has is in another namespace.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict, dataclass
from typing import Any

from testbed.errors import LabError
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.netns.namespaces import SWITCH_DESCRIPTOR
from testbed.lab.subnet import RANGE, address, companion, prefix_length
from testbed.profile import Version, profile_sysctls

INTERFACE = "eth0"
BRIDGE = "hub"
MTU = 1500
# A device whose peer has another index than itself carries frames at once; with an equal one, the kernel takes it for a
# lone device, whose changes of carrier may wait for a second (net/core/link_watch.c, linkwatch_urgent_event).
INDEX, FIRST_PORT_INDEX = 2, 100
_QUIET = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}

# A look at all sockets walks the whole table. The machine's own has a bucket for each 100 KiB of memory.
SOCKET_TABLE = "net.ipv4.tcp_child_ehash_entries"
SOCKET_TABLE_BUCKETS = 8192
OWN_SOCKET_TABLES = (6, 1)  # the first kernel where a network namespace can have one


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace: sysctls to set before there is any interface, then the lines for `ip -batch`."""

    sysctls: dict[str, str]
    batch: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The namespaces of a lab."""

    switch: Namespace
    hosts: dict[str, Namespace]

    def plain(self) -> dict[str, Any]:
        """As data."""
        return asdict(self)


def lay_out(shape: LabShape, kernel: Version) -> Layout:
    """What must be done for a lab, hosts first, then the switch. Raises LabError for a sysctl that is no host's own."""
    subnet = ipaddress.IPv4Network((int(RANGE.network_address), prefix_length(len(shape.hosts))))
    hosts = {host.name: _host(shape, host, index, subnet, kernel) for index, host in enumerate(shape.hosts)}
    return Layout(_switch(len(shape.hosts), kernel), hosts)


def _host(shape: LabShape, host: LabHost, index: int, subnet: ipaddress.IPv4Network, kernel: Version) -> Namespace:
    for name in host.sysctls:
        if not name.startswith("net."):
            raise LabError(
                f"{host.name}: the sysctl {name} is the whole machine's, not a network namespace's",
                remedy="the netns backend sets those that begin with net.",
            )
    # As on the containers of an IPv4 network: no IPv6 at all, so that nothing but IPv4 is on the wire.
    base = _QUIET if shape.family == "ipv4" else {}
    sysctls = {**base, **profile_sysctls(shape.family, kernel), **host.sysctls}
    return Namespace(sysctls, tuple(_host_batch(shape.family, index, subnet)))


def _host_batch(family: str, index: int, subnet: ipaddress.IPv4Network) -> list[str]:
    ipv4 = address(subnet, "ipv4", index)
    lines = [
        "link set dev lo up",
        f"link add name {INTERFACE} index {INDEX} address {mac(ipv4)} mtu {MTU} type veth"
        f" peer name port{index} index {FIRST_PORT_INDEX + index} mtu {MTU} netns /proc/self/fd/{SWITCH_DESCRIPTOR}",
        f"address add {ipv4}/{subnet.prefixlen} broadcast + dev {INTERFACE}",
    ]
    if family == "ipv6":
        ipv6 = address(subnet, family, index)
        lines.append(f"address add {ipv6}/{companion(subnet).prefixlen} dev {INTERFACE} nodad")
    return [*lines, f"link set dev {INTERFACE} up"]


def _switch(hosts: int, kernel: Version) -> Namespace:
    """The bridge. Hosts' namespaces are made from this one, and so have socket tables of the size that it tells."""
    made = f"link add name {BRIDGE} mtu {MTU} type bridge ageing_time 0 stp_state 0 mcast_snooping 0"
    ports = [f"link set dev port{index} master {BRIDGE} up" for index in range(hosts)]
    tables = {SOCKET_TABLE: str(SOCKET_TABLE_BUCKETS)} if kernel >= OWN_SOCKET_TABLES else {}
    return Namespace({**_QUIET, **tables}, (made, *ports, f"link set dev {BRIDGE} up"))


def mac(ipv4: str) -> str:
    """The MAC address that goes with an IPv4 address, as Docker makes it: equal labs have equal frames."""
    return (b"\x02\x42" + ipaddress.IPv4Address(ipv4).packed).hex(":")
