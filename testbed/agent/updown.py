"""Takes an interface down and brings it up again, as a cable that is pulled and put back.

While it is down the kernel forgets what hangs on it: routes, neighbours, IPv6 addresses. What was there is kept, and
put back when it is up, as far as the kernel has not done so itself; then it is read back. IPv6 addresses come back
without duplicate address detection, so that they are usable at once; the link-local one, which the kernel makes itself,
takes its usual second. All of it through rtnetlink(7).
"""

from __future__ import annotations

import socket
import sys
from typing import NamedTuple

from testbed.agent.host import (
    ADDRESS,
    IFA_ADDRESS,
    IFA_F_DADFAILED,
    IFA_F_TENTATIVE,
    IFA_LOCAL,
    LINK,
    NDA_DST,
    NDA_LLADDR,
    NEIGHBOUR,
    NETLINK_ROUTE,
    NUD_PERMANENT,
    ROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_NEWNEIGH,
    RTN_UNICAST,
    NotAsAsked,
)
from testbed.agent.netlink import NLM_F_CREATE, NLM_F_REPLACE, Netlink, attribute, attributes

RTM_NEWLINK, RTM_NEWADDR, RTM_NEWROUTE = 16, 20, 24
IFF_UP = 0x1
IFA_LABEL, IFA_BROADCAST, IFA_FLAGS, IFA_RT_PRIORITY = 3, 4, 8, 9
IFA_F_NODAD = 0x02
RTA_OIF, RTA_CACHEINFO = 4, 12
RTPROT_KERNEL = 2
RTM_F_CLONED = 0x200  # of the cache: a learned path MTU
FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Kept(NamedTuple):
    """What hung on an interface, as the kernel's messages that would make it again."""

    addresses: dict[bytes, bytes]  # by what tells them apart
    routes: dict[bytes, bytes]
    neighbours: dict[bytes, bytes]  # the permanent ones


def take_down(interface: str) -> Kept:
    """Take it down; what hung on it. Raises OSError."""
    index = socket.if_nametoindex(interface)
    with Netlink(NETLINK_ROUTE) as route:
        kept = _look(route, index)
        _set(route, index, False)
    return kept


def bring_up(interface: str, kept: Kept | None) -> None:
    """Bring it up, and put back what is missing of what hung on it. Raises OSError and NotAsAsked."""
    index = socket.if_nametoindex(interface)
    with Netlink(NETLINK_ROUTE) as route:
        _set(route, index, True)
        if kept is None:
            return
        for kind, place in ((RTM_NEWADDR, 0), (RTM_NEWROUTE, 1), (RTM_NEWNEIGH, 2)):
            there = _look(route, index)[place]
            for name, body in kept[place].items():
                if name not in there:
                    route.change(kind, NLM_F_CREATE | NLM_F_REPLACE, body)
        now = _look(route, index)
    for what, before, after in zip(Kept._fields, kept, now):
        missing = len(before.keys() - after.keys())
        if missing:
            raise NotAsAsked(f"{interface} is up again, but {missing} of its {what} are not there")


def _set(route: Netlink, index: int, up: bool) -> None:
    route.change(RTM_NEWLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, IFF_UP))
    for body in route.dump(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        _, _, at, flags, _ = LINK.unpack_from(body)
        if at == index and bool(flags & IFF_UP) != up:
            raise NotAsAsked(f"the interface was set {'up' if up else 'down'}, and reads back otherwise")


def _look(route: Netlink, index: int) -> Kept:
    kept = Kept({}, {}, {})
    for body in route.dump(RTM_GETADDR, ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        if ADDRESS.unpack_from(body)[4] == index:
            _keep_address(kept, body)
    for family in FAMILIES:
        for body in route.dump(RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
            _keep_route(kept, index, body)
        for body in route.dump(RTM_GETNEIGH, NEIGHBOUR.pack(family, 0, 0, 0, 0)):
            _keep_neighbour(kept, index, body)
    return kept


def _keep_address(kept: Kept, body: bytes) -> None:
    family, length, flags, scope, index = ADDRESS.unpack_from(body)
    parts = attributes(body[ADDRESS.size :])
    all_flags = int.from_bytes(parts.get(IFA_FLAGS, bytes([flags])), sys.byteorder)
    told = (all_flags & ~(IFA_F_TENTATIVE | IFA_F_DADFAILED)) | (IFA_F_NODAD if family == socket.AF_INET6 else 0)
    header = ADDRESS.pack(family, length, told & 0xFF, scope, index)
    same = (IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_RT_PRIORITY)
    name = bytes([family, length]) + (parts.get(IFA_LOCAL) or parts[IFA_ADDRESS])
    kept.addresses[name] = header + b"".join(attribute(kind, parts[kind]) for kind in same if kind in parts)


def _keep_route(kept: Kept, index: int, body: bytes) -> None:
    family, to, source, tos, table, protocol, scope, kind, flags = ROUTE.unpack_from(body)
    parts = attributes(body[ROUTE.size :])
    if kind != RTN_UNICAST or int.from_bytes(parts.get(RTA_OIF, b""), sys.byteorder) != index:
        return  # local and multicast ones go and come with their address
    if protocol == RTPROT_KERNEL or flags & RTM_F_CLONED:
        return  # the kernel makes it again, or had only learned it
    header = ROUTE.pack(family, to, source, tos, table, protocol, scope, kind, 0)
    rest = b"".join(attribute(kind, value) for kind, value in parts.items() if kind != RTA_CACHEINFO)
    kept.routes[header + rest] = header + rest


def _keep_neighbour(kept: Kept, index: int, body: bytes) -> None:
    family, at, state, flags, kind = NEIGHBOUR.unpack_from(body)
    parts = attributes(body[NEIGHBOUR.size :])
    if at == index and state & NUD_PERMANENT and NDA_LLADDR in parts:
        header = NEIGHBOUR.pack(family, index, NUD_PERMANENT, flags, kind)
        entry = header + attribute(NDA_DST, parts[NDA_DST]) + attribute(NDA_LLADDR, parts[NDA_LLADDR])
        kept.neighbours[entry] = entry
