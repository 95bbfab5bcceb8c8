"""SYN and SYN-ACK: how packets open a connection (RFC 9293 sections 3.5, 3.10.7.2, 3.10.7.3).

* A SYN is known by its sequence number; length, options and ECN bits may change between copies. Copies less than a
  second apart (RFC 6298 section 2.1), or sooner than the copy before them (section 5.5), are noted.
* A SYN-ACK must acknowledge the SYN, or the SYN and (part of) its data: RFC 7413. It may carry data and even a FIN.
* A stateless server (SYN cookies) may answer each SYN with another number; the client's ACK tells which one counts.
* Options may be answered only if they were offered.

The ACK that completes is in `speaking`.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.closing import take_fin
from testbed.tcp.connection import OfferedOptions
from testbed.tcp.end import LARGEST_SHIFT, End
from testbed.tcp.options import NOTHING_OFFERED, offer, reflects_ecn, unoffered
from testbed.tcp.reset import void_reset
from testbed.tcp.segments import take_data, take_syn_data
from testbed.tcp.sequence import MASK
from testbed.tcp.speaking import complete_crossing
from testbed.tcp.states import PASSIVE_OPEN, RECEIVE_SYN, SEND_SYN
from testbed.tcp.talk import ACK, FIN, RST, Talk
from testbed.tcp.wireshark import DATA

FIRST_RTO_NS = 1_000_000_000
SLACK = 0.9  # timers and captures are not exact


def synchronize(talk: Talk, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
    """A packet with SYN."""
    if length and not flags & ACK and me.isn is None and peer.isn is None:
        talk.completeness |= DATA
    if flags & RST:
        talk.note("bad-flags", packet.number)
    elif flags & ACK:
        _syn_ack(talk, packet, me, peer, flags, length)
    else:
        _syn(talk, packet, me, peer, flags, length)


def _syn(talk: Talk, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
    number = packet.number
    opening = talk.opening
    if me.isn is None:
        reversed_order = opening.answered and me.origin == packet.sequence  # two queues of a card
        if reversed_order:
            opening.mid_stream = False
        if talk.client is None or reversed_order:
            talk.client, talk.first_syn_ns = me, packet.time_ns
        opening.crossed = peer.isn is not None and not peer.syn_acks
        me.begin(packet.sequence)
        talk.enter(me, SEND_SYN, packet.time_ns, number)
        me.opened_ns = packet.time_ns
        if reversed_order:
            _hear_offer(talk, packet, me, flags)
            _agree(me, peer)
    elif me.is_copy(packet):
        me.duplicates += 1
        return
    else:
        me.syn_retransmits += 1
        _time_copy(talk, me, packet)
        if talk.reset is not None and not talk.opening.open:
            void_reset(talk)
    if not me.syns:
        me.is_copy(packet)
        me.ttl = packet.ttl
    me.syns.append(number)
    if not opening.answered:
        _hear_offer(talk, packet, me, flags)
    me.edge = max(me.edge, 1 + packet.window)
    if flags & FIN:
        me.syn_fin = True
        talk.note("syn-and-fin", number)
    if length and not me.syn_length:
        me.syn_payload, me.syn_length = packet.payload, length
        me.next = max(me.next, 1 + length)


def _syn_ack(talk: Talk, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
    opening = talk.opening
    if peer.origin is None:
        peer.adopt(packet.acknowledgement)
        opening.mid_stream = True
        talk.client = talk.client or peer
    ack = (packet.acknowledgement - peer.base) & MASK
    if not 1 <= ack <= 1 + peer.syn_length + peer.syn_fin:
        talk.note("ack-of-unsent", packet.number, proven=peer.isn is not None)
        return
    if not _number_syn_ack(talk, packet, me, peer, flags):
        return
    _agree(me, peer)
    opening.answered = True
    edge = ack + packet.window
    if edge > me.edge:
        me.edge = edge
    if ack > me.ack:
        me.ack = ack
    if not peer.syn_acked:
        peer.syn_acked = True
        if peer.syn_payload:
            take_syn_data(talk, peer, ack)
        if not opening.open and not opening.crossed and not peer.stream.unique:
            peer.next = ack  # what it did not take will be sent again
    if opening.crossed:
        complete_crossing(talk, packet, me, peer)
    if length:
        take_data(talk, packet, me, peer, 1, length, copy=False)
    if flags & FIN:
        take_fin(talk, packet, me, peer, 1 + length, suspect=False, copy=False)


def _number_syn_ack(talk: Talk, packet: Packet, me: End, peer: End, flags: int) -> bool:
    """File a SYN-ACK as the first, a copy or a fresh one; False when it is none of our business."""
    number, time_ns = packet.number, packet.time_ns
    if me.isn is None:
        me.begin(packet.sequence)
        talk.enter(me, PASSIVE_OPEN, time_ns, number)
        talk.enter(me, RECEIVE_SYN, time_ns, number)
        me.opened_ns = time_ns
    elif me.isn != packet.sequence:
        if talk.opening.open:
            talk.note("syn-ack-changed", number)
            return False
        me.other_isns = [*(me.other_isns or ()), me.isn]
        me.begin(packet.sequence)
    elif not me.syn_acks:
        talk.opening.crossed = True
        talk.enter(me, RECEIVE_SYN, time_ns, number)
    elif me.is_copy(packet):
        me.duplicates += 1
        return False
    else:
        me.synack_retransmits += 1
        if peer.opened_ns < me.opened_ns:
            _time_copy(talk, me, packet)  # nobody asked again: its own timer
        me.opened_ns = time_ns
    if not me.syn_acks:
        me.is_copy(packet)
        me.ttl = packet.ttl
    me.syn_acks.append(number)
    offered = offer(packet.options, flags, peer.asked or NOTHING_OFFERED)
    if len(me.syn_acks) == 1 or offered != me.options:
        _check_answer(talk, packet, peer, offered, flags)
        _read_offer(me, packet, offered)
    return True


def _hear_offer(talk: Talk, packet: Packet, me: End, flags: int) -> None:
    """The options of a SYN."""
    offered = offer(packet.options, flags, None)
    _read_offer(me, packet, offered)
    _check_syn(talk, packet, me, offered)


def _read_offer(me: End, packet: Packet, offered: OfferedOptions) -> None:
    """Keep what a SYN or SYN-ACK offers."""
    me.offers(offered)
    me.wants_scale = offered.window_scale
    me.md5 = packet.options.md5


def _check_syn(talk: Talk, packet: Packet, me: End, offered: OfferedOptions) -> None:
    if packet.options.malformed:
        talk.note("option-malformed", packet.number)
    if (offered.window_scale or 0) > LARGEST_SHIFT:
        talk.note("window-scale-too-large", packet.number)


def _check_answer(talk: Talk, packet: Packet, peer: End, offered: OfferedOptions, flags: int) -> None:
    """Options may be answered only if they were offered, by the first SYN or the last."""
    _check_syn(talk, packet, peer, offered)
    asked = peer.asked
    if peer.isn is None or asked is None or talk.opening.crossed:
        return
    if offered is not NOTHING_OFFERED:
        still = unoffered(offered, peer.options) if peer.options is not asked else None
        for name in unoffered(offered, asked):
            if still is None or name in still:
                talk.note(f"option-not-offered:{name}", packet.number)
    if reflects_ecn(flags, asked):
        talk.note("ecn-reflected", packet.number)


def _agree(me: End, peer: End) -> None:
    """Window scaling and timestamps count when both sides have them (RFC 7323 sections 1.3, 3.2)."""
    if peer.isn is None:
        return
    mine, other = me.wants_scale, peer.wants_scale
    if mine is None or other is None:
        me.shift = peer.shift = 0
    else:
        me.shift, peer.shift = min(mine, LARGEST_SHIFT), min(other, LARGEST_SHIFT)
    me.stamped = peer.stamped = me.options.timestamps and peer.options.timestamps


def _time_copy(talk: Talk, me: End, packet: Packet) -> None:
    """How long a SYN or SYN-ACK waited to be sent again (RFC 6298)."""
    waited = packet.time_ns - me.opened_ns
    if talk.reset is None:
        if not me.rto_ns and waited < SLACK * FIRST_RTO_NS:
            talk.note("syn-again-too-soon", packet.number)
        elif waited < SLACK * me.rto_ns:
            talk.note("rto-shrinks", packet.number)
        me.rto_ns = waited
    me.opened_ns = packet.time_ns
