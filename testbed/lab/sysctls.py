"""Which of a scenario's sysctls a lab must be made with, and which can be set when a run begins. Pure.

What TCP does with its sockets follows a sysctl at any time; what an interface was given when it came into being does
not. Where hosts are network namespaces, the agent may set the former: then one lab serves scenarios that differ in
them only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from testbed.lab.contract import LabShape

AT_ANY_TIME = ("net.ipv4.tcp_", "net.ipv4.udp_", "net.ipv4.icmp_", "net.ipv4.ip_", "net.core.")


def without_later(shape: LabShape) -> LabShape:
    """The shape without the sysctls that are set when a run begins."""
    return replace(shape, hosts=tuple(replace(host, sysctls=_those(host.sysctls, later=False)) for host in shape.hosts))


def later(sysctls: Mapping[str, str]) -> dict[str, str]:
    """Those of a host's sysctls that are set when a run begins."""
    return _those(sysctls, later=True)


def _those(sysctls: Mapping[str, str], *, later: bool) -> dict[str, str]:
    return {name: value for name, value in sysctls.items() if name.startswith(AT_ANY_TIME) is later}
