"""Makes a host as it was before a run, and reads back whether it is.

What the agent itself began has ended when `make_clean` is called (control.py). What the kernel still keeps of it is
removed here: TCP sockets that no process has any more (TIME_WAIT, FIN_WAIT1 and such), by SOCK_DESTROY of sock_diag(7),
and the metrics cache (ip-tcp_metrics(8)). With no socket left no port is taken, and nothing can be sent any more.

What is not the agent's is never touched, only told: a socket that a process has (its inode is not 0) while no child of
the agent lives belongs to somebody else. A kernel that refuses SOCK_DESTROY (CONFIG_INET_DIAG_DESTROY) makes the host
unclean wherever there was something to destroy; so nothing has to be known about the kernel beforehand.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys

from testbed.agent import spares
from testbed.agent.diag import MESSAGE, NETLINK_SOCK_DIAG, ONE, SocketTable, decode
from testbed.agent.host import IFLA_IFNAME, LINK, NETLINK_ROUTE, ROUTE, RTM_GETLINK, RTM_GETROUTE
from testbed.agent.netlink import Netlink, attributes
from testbed.agent.wire import DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

RESOLVER = "127.0.0.11:"  # the engine's own, which it keeps in every container
SOCK_DESTROY = 21
INODE, IDENTITY = 14, slice(4, 52)  # of struct inet_diag_msg: the field's place, and the octets that name a socket

RTM_DELLINK, RTM_GETQDISC = 17, 38
RTM_F_CLONED = 0x200  # a route of the cache: an exception, such as a learned path MTU
IFLA_LINKINFO, IFLA_INFO_KIND = 18, 1
QDISC = struct.Struct("=BxxxiIII")  # tcmsg: family, index, handle, parent, info
TCA_KIND = 1

NETLINK_GENERIC = 16
GENERIC = struct.Struct("=BBxx")  # genlmsghdr: command, version
GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 0x10, 3, 1, 2
TCP_METRICS, TCP_METRICS_CMD_GET, TCP_METRICS_CMD_DEL = b"tcp_metrics\0", 1, 2

TABLES = {  # under /proc/net, proc_pid_net(5): what a row is
    "udp": "a UDP socket",
    "udp6": "a UDP socket",
    "raw": "a raw socket",
    "raw6": "a raw socket",
    "packet": "a packet socket",
}
# An address in /proc/net/udp is a number as this machine reads the octets.
RESOLVER_ROW = re.compile(rf"\s*\d+: {int.from_bytes(bytes((127, 0, 0, 11)), sys.byteorder):08X}:")


def make_clean() -> list[str]:
    """Removes what the kernel keeps of a run; what is left all the same, in words. Raises OSError."""
    spare = spares.settle()
    destroy_orphans()
    flush_metrics()
    remove_ifb()
    return [*_children(spare), *_sockets(), *_datagrams(), *_devices(), *_qdiscs(), *_metrics(), *_exceptions()]


def destroy_orphans() -> None:
    """Destroys the TCP sockets that no process has; what the kernel refuses is found when it is read back."""
    with SocketTable() as table, Netlink(NETLINK_SOCK_DIAG) as netlink:
        for body in table.raw():
            fields = MESSAGE.unpack_from(body)
            if fields[INODE] == 0 and not decode(body).local.startswith(RESOLVER):
                with contextlib.suppress(OSError):  # it may have gone by itself, or with another
                    destroy_socket(netlink, body)


def destroy_all() -> str:
    """Destroys every TCP socket of this namespace but the resolver's; what the kernel kept, in words."""
    with SocketTable() as table, Netlink(NETLINK_SOCK_DIAG) as netlink:
        for body in table.raw():
            if not decode(body).local.startswith(RESOLVER):
                with contextlib.suppress(OSError):  # it may have gone by itself, or with another
                    destroy_socket(netlink, body)
        left = [row for row in table.rows() if not row.local.startswith(RESOLVER)]
    return f"the kernel did not destroy {len(left)} sockets, the first in {left[0].state}" if left else ""


def destroy_socket(netlink: Netlink, body: bytes) -> None:
    """Destroys the socket of a message of the table. Raises OSError, also when it has gone meanwhile."""
    family, state = body[0], body[1]
    netlink.change(SOCK_DESTROY, 0, ONE.pack(family, socket.IPPROTO_TCP, 0, 0, 1 << state, body[IDENTITY]))


def flush_metrics() -> None:
    """Empties the TCP metrics cache, where there is something in it: that takes a privilege, looking does not."""
    with Netlink(NETLINK_GENERIC) as netlink:
        family = _metrics_family(netlink)
        if family and netlink.dump(family, GENERIC.pack(TCP_METRICS_CMD_GET, 1)):
            with contextlib.suppress(PermissionError):  # in a user namespace; it is told when it is read back
                netlink.change(family, 0, GENERIC.pack(TCP_METRICS_CMD_DEL, 1))


def _metrics_family(netlink: Netlink) -> int:
    """The number of the kernel's tcp_metrics family; 0 where it has none."""
    for body in netlink.dump(GENL_ID_CTRL, GENERIC.pack(CTRL_CMD_GETFAMILY, 1)):
        parts = attributes(body[GENERIC.size :])
        if parts.get(CTRL_ATTR_FAMILY_NAME) == TCP_METRICS:
            return int.from_bytes(parts[CTRL_ATTR_FAMILY_ID][:2], sys.byteorder)
    return 0


def remove_ifb() -> None:
    """Removes a link0 that no process holds, as an agent that was killed leaves it; a TAP goes with its process."""
    with Netlink(NETLINK_ROUTE) as route:
        for body in route.dump(RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            parts = attributes(body[LINK.size :])
            kind = attributes(parts.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"").rstrip(b"\0")
            if kind == b"ifb" and parts.get(IFLA_IFNAME, b"").rstrip(b"\0").decode() == DEVICE:
                with contextlib.suppress(OSError):  # what stays is found when it is read back
                    route.change(RTM_DELLINK, 0, LINK.pack(socket.AF_UNSPEC, 0, LINK.unpack_from(body)[2], 0, 0))


def _children(spare: int) -> Iterator[str]:
    """Whether there are more than so many."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    try:
        # They are counted, since this /proc may be of another pid namespace than ours and give them other numbers.
        with open("/proc/thread-self/children", encoding="ascii") as children:  # noqa: PTH123 (pathlib is slow to load)
            alive = len(children.read().split())
    except FileNotFoundError:  # proc_pid_task_children(5): a kernel may lack it, and then nobody can tell them apart
        spares.end()
        spare, alive = 0, _any_child()
    if alive > spare:
        yield "a process that the agent began"


def _any_child() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


def _sockets() -> Iterator[str]:
    with SocketTable() as table:
        for row in table.rows():
            if not row.local.startswith(RESOLVER):
                yield f"a TCP socket in {row.state} ({row.local} {row.peer})"


def _datagrams() -> Iterator[str]:
    for name, what in TABLES.items():
        for row in _rows(name):
            yield f"{what} (/proc/net/{name}: {' '.join(row.split()[:3])})"


def _rows(name: str) -> list[str]:
    try:
        with open(f"/proc/net/{name}", encoding="ascii") as table:  # noqa: PTH123 (pathlib is slow to load)
            rows = table.read().splitlines()[1:]
    except FileNotFoundError:  # a kernel without IPv6
        return []
    return [row for row in rows if not RESOLVER_ROW.match(row)]


def _devices() -> Iterator[str]:
    if any(name == DEVICE for _, name in socket.if_nameindex()):
        yield f"the interface {DEVICE}"


def _qdiscs() -> Iterator[str]:
    """Those that somebody has added: the kernel's own have no handle."""
    names = dict(socket.if_nameindex())
    with Netlink(NETLINK_ROUTE) as route:
        for body in route.dump(RTM_GETQDISC, QDISC.pack(0, 0, 0, 0, 0)):
            _, index, handle, _, _ = QDISC.unpack_from(body)
            if handle:
                kind = attributes(body[QDISC.size :]).get(TCA_KIND, b"?").rstrip(b"\0").decode()
                yield f"a qdisc {kind} on {names.get(index, index)}"


def _metrics() -> Iterator[str]:
    with Netlink(NETLINK_GENERIC) as netlink:
        family = _metrics_family(netlink)
        if family and netlink.dump(family, GENERIC.pack(TCP_METRICS_CMD_GET, 1)):
            yield "an entry in the TCP metrics cache"


def _exceptions() -> Iterator[str]:
    """Path MTUs and redirects that the kernel has learned: no request of ours makes it forget them."""
    with Netlink(NETLINK_ROUTE) as route:
        for family in (socket.AF_INET, socket.AF_INET6):
            for body in route.dump(RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, RTM_F_CLONED)):
                if ROUTE.unpack_from(body)[-1] & RTM_F_CLONED:
                    yield "a route that the kernel has learned (see `ip route show cache`)"
