"""One direction between two endpoints, and what a plain segment on it still needs to be asked.

Of the two lanes of a connection each knows the other; a lane outlives its connection when the endpoints are used again.
"""

from __future__ import annotations

from testbed.packet import Options, Packet
from testbed.tcp.end import End
from testbed.tcp.segments import is_for_syn
from testbed.tcp.sequence import HALF, MASK
from testbed.tcp.tracker import Tracker
from testbed.tcp.zeek_cuts import Timers

Key = tuple[str, int, str, int]  # source, its port, destination, its port


class Lane:
    """One direction between two endpoints; `me` sends."""

    __slots__ = ("back", "first", "key", "me", "peer", "talk", "timers")

    def __init__(self, key: Key, talk: Tracker, first: bool) -> None:
        self.key = key
        self.first = first  # of the two
        self.back = self
        self.timers: Timers | None = None
        self.set(talk, first)

    def set(self, talk: Tracker, forward: bool) -> None:
        """Carry this connection; `forward` when its first packet went this way."""
        self.talk = talk
        self.me, self.peer = (talk.a, talk.b) if forward else (talk.b, talk.a)


def is_fresh(me: End, peer: End, options: Options, start: int) -> bool:
    """Whether a segment in order has a timestamp that counts (RFC 7323 section 5.3), and no other options to see."""
    if not me.stamped or options.timestamps is None or options.sack or options.malformed or is_for_syn(options):
        return False
    stamp = options.timestamps[0]
    if me.stamp >= 0 and (stamp - me.stamp) & MASK >= HALF:
        return False
    if start <= peer.ack:
        me.stamp = stamp
    return True


def is_whole(me: End, packet: Packet, length: int) -> bool:
    """A larger segment than any before: whether the capture has all of it."""
    if len(packet.payload) < length:
        return False
    me.largest, me.largest_packet = length, packet.number
    return True
