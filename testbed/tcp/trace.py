"""Packets in, connections out: all the connections of one vantage point, sorted by their first packets.

Whoever wants them one by one, as they end, takes `follower.follow`.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.packet import Packet
from testbed.tcp.connection import Connection
from testbed.tcp.follower import Follower


def trace_connections(
    packets: Iterable[Packet], *, keep_stream: bool = True, zeek_cuts: bool = False
) -> tuple[Connection, ...]:
    """The TCP connections in `packets` (one vantage point, in order of time), in order of their first packets.

    With `keep_stream=False` no payload is kept (`Flow.stream` is empty) and packet numbers are arrays. With `zeek_cuts`
    the packets of two endpoints are cut into connections where Zeek's timers would cut them.
    """
    follower = Follower(keep_stream=keep_stream, keep_closed=None, zeek_cuts=zeek_cuts)
    connections = [*follower.follow(packets), *follower.finish()]
    connections.sort(key=lambda connection: connection.packets[0])
    return tuple(connections)
