"""One connection, packet by packet: which rule a packet concerns (RFC 9293 section 3.10.7, as seen from the wire).

The order is the receiver's: checksum, SYN, RST, the ACK flag, and then the segment itself. `Tracker.feed` takes every
packet; `follower` spares it the plain ones of a connection that is `calm`. O(1) per packet.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.end import End
from testbed.tcp.opening import synchronize
from testbed.tcp.reset import doubt_reset, meet_reset
from testbed.tcp.segments import take_segment
from testbed.tcp.sequence import MASK
from testbed.tcp.speaking import may_speak
from testbed.tcp.talk import ACK, RST, SYN, Talk
from testbed.tcp.wireshark import DATA, EMPTY, FILLED
from testbed.tcp.zeek import ACK_SEEN, DATA_SEEN


class Tracker(Talk):
    """Follows one connection."""

    __slots__ = ()

    def feed(self, packet: Packet, me: End, peer: End, flags: int) -> None:
        """Take the next packet of this connection, sent by `me`."""
        if self.calm:
            self.grow_alert()
        length = packet.payload_length
        self.packets.append(packet.number)
        self.last_ns = packet.time_ns
        self.completeness |= (FILLED if length else EMPTY)[flags & 0x17]
        self.zeek.feed(0 if me is self.a else 1, packet, flags, length)
        if packet.checksum_ok is False:
            self.note("bad-checksum", packet.number)
        elif flags & SYN:
            synchronize(self, packet, me, peer, flags, length)
        elif flags & RST:
            meet_reset(self, packet, me, peer, flags)
        elif not flags & ACK:
            self.note("no-ack-flag", packet.number)
        else:
            if self.reset is not None:
                doubt_reset(self, packet, me, peer, length)
            if self.opening.completed_by is not None or may_speak(self, packet, me, peer):
                take_segment(self, packet, me, peer, flags, length)
                if self.reset is None and not self.fins and self.rival is None and not self.snapped:
                    self.calm_down()

    def takes_syn(self, packet: Packet, me: End, peer: End) -> bool:
        """Whether this SYN (without ACK) belongs here: a copy, or the other half of a simultaneous open."""
        if me.isn is not None:
            return me.isn == packet.sequence and len(self.fins) < 2
        if me.origin is not None:
            return self.opening.answered and me.origin == packet.sequence
        return peer.isn is not None or not (self.opening.mid_stream or peer.syn_acks)

    @staticmethod
    def answers(packet: Packet, peer: End, flags: int) -> bool:
        """Whether this packet answers the SYN of `peer`, an unanswered attempt: SYN-ACK or RST+ACK."""
        if peer.isn is None or not flags & ACK or not flags & (SYN | RST):
            return False
        return 1 <= (packet.acknowledgement - peer.isn) & MASK <= 1 + peer.syn_length + peer.syn_fin

    def calm_down(self) -> None:
        """See whether plain segments in order need no closer look from now on."""
        a, b, zeek = self.a, self.b, self.zeek
        if a is b or not (_is_calm(a) and _is_calm(b)) or not self.opening.open:
            return
        seen = (zeek.ends[0].seen | zeek.ends[1].seen) & DATA_SEEN
        if seen and not self.completeness & DATA:
            return  # data without ACK flag has a letter in Zeek's history and no bit in Wireshark's
        if zeek.in_order(0, a.base + a.next, a.base + b.ack) and zeek.in_order(1, b.base + b.next, b.base + a.ack):
            self.calm = True
            self._set_letters(0, a)
            self._set_letters(1, b)

    def grow_alert(self) -> None:
        """The next packet is not plain, or there is no next: make good what was spared."""
        self.calm = False
        a, b, zeek = self.a, self.b, self.zeek
        zeek.catch_up(0, a.base + a.next, a.base + b.ack)
        zeek.catch_up(1, b.base + b.next, b.base + a.ack)
        for side, end in enumerate((a, b)):
            seen = (0 if end.data_letter else DATA_SEEN) | (0 if end.ack_letter else ACK_SEEN)
            zeek.ends[side].seen |= seen
            stream = end.stream
            if stream.expected != end.next:
                stream.unique += end.next - stream.expected
                stream.expected = stream.highest = end.next

    def _set_letters(self, side: int, end: End) -> None:
        seen = self.zeek.ends[side].seen
        upper = side == self.zeek.origin
        end.data_letter = "" if seen & DATA_SEEN else "D" if upper else "d"
        end.ack_letter = "" if seen & ACK_SEEN else "A" if upper else "a"


def _is_calm(end: End) -> bool:
    stream = end.stream
    return (
        end.next == stream.expected
        and stream.expected == stream.highest
        and not end.silent
        and not stream.held
        and end.aside is None
        and end.bogus_acks is None
        and end.suspect_fin is None
        and not end.syn_payload
        and end.origin is not None
    )
