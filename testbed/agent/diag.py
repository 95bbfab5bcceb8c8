"""The kernel's table of TCP sockets through sock_diag(7): what `ss -tan` shows, and what the sampler compares.

One old-style request (TCPDIAG_GETSOCK, `struct inet_diag_req`) brings IPv4 and IPv6 in a single walk over the kernel's
hash of connections; two of the newer ones (SOCK_DIAG_BY_FAMILY) walk it twice, and a walk is what costs: 0.18 ms with
the 262144 buckets of a machine with 24 GB, whatever the number of sockets. A kernel that refuses the former gets the
latter. Requests in SYN_RECV and sockets in TIME_WAIT are in the dump; a socket keeps its cookie through all of its
life, as a request, as a connection and in TIME_WAIT, so that two lives of one address pair are told apart.
"""

from __future__ import annotations

import socket
import struct
from collections import namedtuple

from testbed.agent.netlink import Netlink

STATES = {  # include/net/tcp_states.h
    1: "ESTABLISHED",
    2: "SYN_SENT",
    3: "SYN_RECV",
    4: "FIN_WAIT1",
    5: "FIN_WAIT2",
    6: "TIME_WAIT",
    7: "CLOSE",
    8: "CLOSE_WAIT",
    9: "LAST_ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN_RECV",
}
ALL = 0xFFF & ~1  # every state up to CLOSING
UNSETTLED = frozenset({"SYN_SENT", "SYN_RECV", "FIN_WAIT1", "CLOSING", "LAST_ACK"})

NETLINK_SOCK_DIAG = 4
TCPDIAG_GETSOCK, SOCK_DIAG_BY_FAMILY = 18, 20
BOTH = struct.Struct("=BBBB48sII")  # inet_diag_req: family, lengths, extensions, id, states, dbs
ONE = struct.Struct("=BBBBI48s")  # inet_diag_req_v2: family, protocol, extensions, pad, states, id
MESSAGE = struct.Struct("=BBBB2s2s16s16sIQIIIII")  # inet_diag_msg

Row = namedtuple("Row", "state local peer recv_queue send_queue cookie")
"""One socket: state's name, `address:port` of both ends, bytes in its queues, and the kernel's cookie."""


class SocketTable:
    """Dumps of this namespace's TCP sockets over one netlink socket."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_SOCK_DIAG)
        self._requests = [(TCPDIAG_GETSOCK, BOTH.pack(0, 0, 0, 0, b"", ALL, 0))]

    def __enter__(self) -> SocketTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.__exit__()

    def raw(self) -> list[bytes]:
        """The kernel's messages, not taken apart (for the sampler, which compares most of them away)."""
        try:
            return [body for kind, request in self._requests for body in self._netlink.dump(kind, request)]
        except OSError:
            if len(self._requests) == 2:
                raise
            families = (socket.AF_INET, socket.AF_INET6)
            self._requests = [
                (SOCK_DIAG_BY_FAMILY, ONE.pack(family, socket.IPPROTO_TCP, 0, 0, ALL, b"")) for family in families
            ]
            return self.raw()

    def rows(self) -> list[Row]:
        """Every TCP socket, listeners first, then by address."""
        rows = [decode(body) for body in self.raw()]
        return sorted(rows, key=lambda row: (row.state != "LISTEN", row.local, row.peer))


def decode(body: bytes) -> Row:
    """One `struct inet_diag_msg`: of a listener the queues are the waiting connections and the backlog."""
    fields = MESSAGE.unpack_from(body)
    family, state, local_port, peer_port, local, peer = fields[0], fields[1], *fields[4:8]
    cookie, recv_queue, send_queue = fields[9], fields[11], fields[12]
    return Row(
        STATES.get(state, f"STATE_{state}"),
        _place(family, local, local_port),
        _place(family, peer, peer_port),
        recv_queue,
        send_queue,
        cookie,
    )


def count(rows: list[Row]) -> dict[str, int]:
    """How many sockets are in each state."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    return counts


def _place(family: int, address: bytes, port: bytes) -> str:
    number = int.from_bytes(port, "big")
    if family == socket.AF_INET6:
        return f"[{socket.inet_ntop(socket.AF_INET6, address)}]:{number}"
    return f"{socket.inet_ntop(socket.AF_INET, address[:4])}:{number}"
