"""A small subnet of a lab's own, out of 198.18.0.0/15: RFC 2544 sets that range aside for benchmarks of networks.

Pure: what is taken and where to start looking are arguments.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

RANGE = ipaddress.IPv4Network("198.18.0.0/15")
IPV6_RANGE = ipaddress.IPv6Network("fd00:198:18::/48")
IPv4 = ipaddress.IPv4Network


def prefix_length(hosts: int) -> int:
    """The longest prefix that holds so many hosts, the gateway, network and broadcast addresses; at most /28."""
    length = 28
    while 2 ** (32 - length) < hosts + 3:
        length -= 1
    return length


def choose_subnet(taken: Iterable[IPv4], hosts: int, start: int) -> IPv4 | None:
    """The first free subnet at or behind number `start`, around the whole range; None when the range is full."""
    size = 2 ** (32 - prefix_length(hosts))
    count = RANGE.num_addresses // size
    overlapping = [network for network in taken if network.overlaps(RANGE)]
    for number in range(start, start + count):
        base = int(RANGE.network_address) + number % count * size
        subnet = IPv4((base, prefix_length(hosts)))
        if not any(subnet.overlaps(network) for network in overlapping):
            return subnet
    return None


def companion(subnet: IPv4) -> ipaddress.IPv6Network:
    """The IPv6 subnet that goes with an IPv4 one: as unique as that is."""
    offset = (int(subnet.network_address) - int(RANGE.network_address)) >> 4
    return ipaddress.IPv6Network((int(IPV6_RANGE.network_address) + (offset << 64), 64))


def address(subnet: IPv4, family: str, index: int) -> str:
    """The address of host number `index` (from 0); the first one is the gateway's."""
    network = companion(subnet) if family == "ipv6" else subnet
    return str(network[index + 2])
