"""Packets in, connections out: sorts the packets of one vantage point into connections.

One tracker per pair of endpoints. A SYN with another initial sequence number on a pair in use is held apart as a
*candidate*: it becomes a new connection when it is answered (SYN-ACK, RST+ACK), or when the capture ends and the old
connection was not seen to go on; otherwise it was a stray inside the old one (RFC 5961 section 4 answers it with a
challenge ACK; RFC 6191 is about its reuse in TIME-WAIT). We never cut by time: an unanswered SYN sent again an
hour later with the same number is the same attempt.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.packet import Packet, Protocol
from testbed.tcp.connection import Connection
from testbed.tcp.tracker import ACK, RST, SYN, Tracker

Key = tuple[str, int, str, int]


class _Pair:
    """Two endpoints, the connection between them now, and perhaps the next one."""

    __slots__ = ("candidate", "candidate_from_first", "challenged", "current", "done", "held", "went_on")

    def __init__(self, first: Packet) -> None:
        self.current = Tracker(first)
        self.done: list[Tracker] = []
        self.candidate: Tracker | None = None
        self.candidate_from_first = True
        self.held: list[Packet] = []  # the candidate's SYNs
        self.challenged = False  # the old connection answered the SYN
        self.went_on = False  # the SYN's sender went on with the old connection

    def take(self, packet: Packet, forward: bool) -> None:
        """Hand a packet to the connection it belongs to; `forward` when it goes the way of the pair's first packet."""
        flags = int(packet.flags)
        if flags & (SYN | ACK) == SYN and not flags & RST and packet.checksum_ok is not False:
            self._take_syn(packet, forward)
        elif self.candidate is None:
            self._feed(self.current, packet)
        elif self.candidate.answers(packet, self._from_a(self.candidate, packet)):
            self._promote()
            self._feed(self.current, packet)
        else:
            self._watch(packet, forward, flags)
            self._feed(self.current, packet)

    def trackers(self) -> list[Tracker]:
        """All connections of this pair, once there are no more packets."""
        if self.candidate is not None:
            repeated = len(self.held) > 1
            if self.went_on or (self.challenged and not repeated):
                self._fold()
            else:
                self._promote()
        return [*self.done, self.current]

    def _take_syn(self, packet: Packet, forward: bool) -> None:
        candidate = self.candidate
        if candidate is not None and candidate.takes_syn(packet, self._from_a(candidate, packet)):
            if forward != self.candidate_from_first:
                self._feed(candidate, packet)
                self._promote()
                return
            self.held.append(packet)
            self._feed(candidate, packet)
        elif self.current.takes_syn(packet, self._from_a(self.current, packet)):
            self._feed(self.current, packet)
        else:
            if candidate is not None:
                self._settle()
            self.candidate, self.candidate_from_first, self.held = Tracker(packet), forward, [packet]
            self._feed(self.candidate, packet)

    def _watch(self, packet: Packet, forward: bool, flags: int) -> None:
        """What the old connection does while a candidate waits."""
        if flags & RST:
            self.challenged = False
        elif forward == self.candidate_from_first:
            self.went_on = True
        else:
            self.challenged = True

    def _settle(self) -> None:
        if self.went_on or self.challenged:
            self._fold()
        else:
            self._promote()

    def _promote(self) -> None:
        if self.candidate is not None:
            self.done.append(self.current)
            self.current = self.candidate
        self._forget()

    def _fold(self) -> None:
        """The candidate was a stray SYN of the old connection."""
        for packet in self.held:
            self.current.packets.append(packet.number)
            self.current.audit.note("syn-in-connection", packet.number)
        self.current.packets.sort()
        self._forget()

    def _forget(self) -> None:
        self.candidate = None
        self.held = []
        self.challenged = self.went_on = False

    @staticmethod
    def _from_a(tracker: Tracker, packet: Packet) -> bool:
        first = tracker.first
        return packet.source_port == first.source_port and packet.source == first.source

    def _feed(self, tracker: Tracker, packet: Packet) -> None:
        tracker.feed(packet, self._from_a(tracker, packet))


def trace_connections(packets: Iterable[Packet]) -> tuple[Connection, ...]:
    """The TCP connections in `packets` (one vantage point, in order of time), in order of their first packets."""
    pairs: dict[Key, _Pair] = {}
    forward: dict[Key, bool] = {}
    order: list[_Pair] = []
    for packet in packets:
        if packet.protocol != Protocol.TCP:
            continue
        key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
        pair = pairs.get(key)
        if pair is None:
            pair = pairs[key] = _Pair(packet)
            forward[key] = True
            back = (key[2], key[3], key[0], key[1])
            if back != key:
                pairs[back] = pair
                forward[back] = False
            order.append(pair)
        pair.take(packet, forward[key])
    trackers = [tracker for pair in order for tracker in pair.trackers()]
    trackers.sort(key=lambda tracker: tracker.first.number)
    return tuple(tracker.result() for tracker in trackers)
