"""What a host is, and making it ready: its interfaces and addresses, offloads off, neighbours fixed.

All of it through rtnetlink(7) and the ethtool ioctls (include/uapi/linux/ethtool.h), in this namespace whatever /sys
shows, and without `ip` or `ethtool` being run: each costs as much as everything here. All that is set is read back.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import sys
import time

from testbed import __version__
from testbed.agent.netlink import NLM_F_CREATE, NLM_F_REPLACE, Netlink, attribute, attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NETLINK_ROUTE = 0
RTM_GETLINK, RTM_GETADDR, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWNEIGH, RTM_GETNEIGH = 18, 22, 25, 26, 28, 30
RT_TABLE_MAIN, RTN_UNICAST = 254, 1
ROUTE = struct.Struct("=8BI")  # rtmsg: family, destination and source lengths, tos, table, protocol, scope, type, flags
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU = 1, 3, 4
IFA_ADDRESS, IFA_LOCAL = 1, 2
NDA_DST, NDA_LLADDR = 1, 2
IFF_LOOPBACK = 0x8
IFA_F_TENTATIVE, IFA_F_DADFAILED = 0x40, 0x08
NUD_PERMANENT = 0x80
TENTATIVE_AT_MOST_NS = 3_000_000_000

SIOCETHTOOL = 0x8946
OFFLOADS = {  # name: the commands that get and set it (ethtool.h); segmentation first, it depends on checksums
    "tso": (0x1E, 0x1F),
    "gso": (0x23, 0x24),
    "gro": (0x2B, 0x2C),
    "sg": (0x18, 0x19),
    "tx": (0x16, 0x17),
    "rx": (0x14, 0x15),
}


class NotAsAsked(OSError):
    """The kernel took a setting, and reads back something else."""

    def __init__(self, says: str) -> None:
        super().__init__(errno.EIO, says)


def hello(sysctls: list[str]) -> dict[str, Any]:
    """Who answers, and where: waits until no IPv6 address is tentative, at most 3 s."""
    from testbed.agent.own_files import OWN

    found = _settled_interfaces()
    system = os.uname()
    return {
        "version": __version__,
        "agent": OWN,
        "python": ".".join(map(str, sys.version_info[:3])),
        "kernel": system.release,
        "machine": system.machine,
        "pid": os.getpid(),
        "time_ns": time.time_ns(),
        "interfaces": found,
        "sysctls": {name: read_sysctl(name) for name in sysctls},
    }


def prepare(interface: str, neighbours: list[dict[str, str]]) -> dict[str, Any]:
    """Switches the offloads of the interface off, closes the ways out and fixes the neighbours; what reads back."""
    offloads = switch_off(interface)
    index = socket.if_nametoindex(interface)
    with Netlink(NETLINK_ROUTE) as route:
        close_ways_out(route)
        for one in neighbours:
            _fix(route, index, one["address"], one["mac"])
        fixed = [_read_back(route, index, one["address"], one["mac"]) for one in neighbours]
    return {"offloads": offloads, "neighbours": fixed}


def interfaces() -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The interfaces but loopback ones with MAC, MTU and addresses, and which IPv6 addresses are still tentative."""
    with Netlink(NETLINK_ROUTE) as route:
        links = route.dump(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        addresses = route.dump(RTM_GETADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    found = {}
    for body in links:
        _, _, index, flags, _ = LINK.unpack_from(body)
        if not flags & IFF_LOOPBACK:
            parts = attributes(body[LINK.size :])
            mac, (mtu,) = parts.get(IFLA_ADDRESS, b"").hex(":"), struct.unpack("=I", parts[IFLA_MTU])
            name = parts[IFLA_IFNAME].rstrip(b"\0").decode()
            found[index] = (name, {"mac": mac, "mtu": mtu, "ipv4": [], "ipv6": []})
    tentative = [place for body in addresses for place in _place_address(body, found)]
    return dict(found.values()), tentative


def switch_off(interface: str) -> dict[str, bool]:
    """Switches every offload off and reads back what is on: `{tso: False, ..}`. One that the driver lacks is off."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for _, setter in OFFLOADS.values():
            _ethtool(control, interface, setter, 0)
        return {name: bool(_ethtool(control, interface, getter)) for name, (getter, _) in OFFLOADS.items()}


def read_sysctl(name: str) -> str | None:
    """The value of a sysctl, blanks made single; None where the kernel has none of that name, or does not show it."""
    path = "/proc/sys/" + name.replace(".", "/")
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123 (pathlib is slow to load)
            return " ".join(file.read().split())
    except OSError:
        return None


def close_ways_out(route: Netlink) -> None:
    """Deletes every default route, which the engine gives even an internal network: packets go to the lab's hosts."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for body in _default_routes(route, family):
            route.change(RTM_DELROUTE, 0, body)
        if left := _default_routes(route, family):
            raise NotAsAsked(f"{len(left)} default routes are left after they were deleted")


def _default_routes(route: Netlink, family: int) -> list[bytes]:
    found = []
    for body in route.dump(RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
        _, length, _, _, table, _, _, kind, _ = ROUTE.unpack_from(body)
        if length == 0 and table == RT_TABLE_MAIN and kind == RTN_UNICAST:
            found.append(body)
    return found


def _settled_interfaces() -> dict[str, dict[str, Any]]:
    deadline_ns = time.monotonic_ns() + TENTATIVE_AT_MOST_NS
    while True:
        found, tentative = interfaces()
        if not tentative or time.monotonic_ns() > deadline_ns:
            return found
        time.sleep(0.01)


def _place_address(body: bytes, found: dict[int, tuple[str, dict[str, Any]]]) -> list[str]:
    family, _, flags, _, index = ADDRESS.unpack_from(body)
    if index not in found or family not in (socket.AF_INET, socket.AF_INET6):
        return []
    parts = attributes(body[ADDRESS.size :])
    text = socket.inet_ntop(family, parts.get(IFA_LOCAL) or parts[IFA_ADDRESS])
    found[index][1]["ipv4" if family == socket.AF_INET else "ipv6"].append(text)
    return [text] if flags & IFA_F_TENTATIVE and not flags & IFA_F_DADFAILED else []


def _ethtool(control: socket.socket, interface: str, command: int, value: int = 0) -> int:
    both = array.array("I", [command, value])  # struct ethtool_value
    address, _ = both.buffer_info()
    try:
        fcntl.ioctl(control, SIOCETHTOOL, struct.pack("@16sP16x", interface.encode(), address))
    except OSError as trouble:
        if trouble.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return 0
    return both[1]


def _fix(route: Netlink, index: int, address: str, mac: str) -> None:
    family, packed = _pack(address)
    body = NEIGHBOUR.pack(family, index, NUD_PERMANENT, 0, 0)
    body += attribute(NDA_DST, packed) + attribute(NDA_LLADDR, bytes.fromhex(mac.replace(":", "")))
    route.change(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body)


def _read_back(route: Netlink, index: int, address: str, mac: str) -> dict[str, str]:
    family, packed = _pack(address)
    for body in route.dump(RTM_GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)):
        _, at, state, _, _ = NEIGHBOUR.unpack_from(body)
        parts = attributes(body[NEIGHBOUR.size :])
        if at == index and parts.get(NDA_DST) == packed:
            seen = parts.get(NDA_LLADDR, b"").hex(":")
            if seen != mac.lower() or not state & NUD_PERMANENT:
                raise NotAsAsked(f"neighbour {address} reads back as {seen or 'nothing'} (state {state:#x}), not {mac}")
            return {"address": address, "mac": seen}
    raise NotAsAsked(f"neighbour {address} is not in the table after it was added")


def _pack(address: str) -> tuple[int, bytes]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.inet_pton(family, address)
