"""Port reuse: a SYN with another number on endpoints in use (RFC 9293 sections 3.5.1 and 3.10.7.4, RFC 6191).

Such a SYN is held apart as a *rival* of the connection there is: it becomes a new connection when it is answered
(SYN-ACK, RST+ACK, a crossing SYN), or when nothing more comes and the old connection was not seen to go on. Otherwise
it was a stray inside the old one, which answers it with a challenge ACK (RFC 5961 section 4); so does TIME-WAIT, unless
the SYN's number is beyond the old ones. A SYN with the old number after both FINs is a new connection only when it is
answered; otherwise it is a late copy.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.talk import RST
from testbed.tcp.tracker import Tracker


class Rival:
    """A SYN and its copies that wait for an answer; `from_a`: it goes the way of the old connection's first packet."""

    __slots__ = ("challenge", "from_a", "held", "talk", "went_on")

    def __init__(self, talk: Tracker, from_a: bool) -> None:
        self.talk = talk
        self.from_a = from_a
        self.held: list[int] = []
        self.challenge = 0  # the packet with which the old connection answered
        self.went_on = False  # the SYN's sender went on with the old connection

    def watch(self, packet: Packet, from_a: bool, flags: int) -> None:
        """What the old connection does meanwhile."""
        if flags & RST:
            self.challenge = 0
        elif from_a == self.from_a:
            self.went_on = True
        else:
            self.challenge = packet.number

    def is_stray(self, old: Tracker, *, last: bool) -> bool:
        """Whether it was part of the old connection; `last` when no more packets will tell."""
        mine = old.a if self.from_a else old.b
        if mine.isn == self.talk.a.isn:
            return True
        if last and len(self.held) > 1:
            return self.went_on
        return self.went_on or bool(self.challenge)

    def fold(self, old: Tracker) -> None:
        """It was a stray SYN of the old connection."""
        mine = old.a if self.from_a else old.b
        packets = sorted([*old.packets, *self.held])
        del old.packets[:]
        old.packets.extend(packets)
        if mine.isn != self.talk.a.isn:
            challenge = (self.challenge,) if self.challenge else ()
            old.note("syn-in-connection", *self.held, *challenge)
