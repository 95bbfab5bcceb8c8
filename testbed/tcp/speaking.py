"""Who may speak before the handshake is complete, and what completes it (RFC 9293 sections 3.5, 3.10.7.3, 3.10.7.4).

* The first acceptable ACK of a SYN-ACK completes, whatever rides on it: data, a FIN. It must acknowledge the SYN-ACK
  and lie in the window; with a signature that was not agreed on it is dropped (RFC 2385).
* A server may speak before that ACK: fast open, with or without data on the SYN (RFC 7413 section 3).
* Crossing SYNs (figure 7) complete when both are acknowledged, by SYN-ACKs or by bare ACKs.
* An ACK without SYN opens nothing, but from the SYN's sender it shows a SYN-ACK that the capture missed.
* A connection of which no SYN was seen is in the middle: both ends are taken as established.
"""

from __future__ import annotations

from testbed.packet import NO_OPTIONS, Packet
from testbed.tcp.end import End
from testbed.tcp.reset import void_reset
from testbed.tcp.segments import take_syn_data
from testbed.tcp.sequence import MASK
from testbed.tcp.states import ESTABLISHED, RECEIVE_ACK_OF_SYN, RECEIVE_SYN_ACK, SYN_RECV
from testbed.tcp.talk import Talk


def may_speak(talk: Talk, packet: Packet, me: End, peer: End) -> bool:
    """Before the handshake is complete: whether this segment (an ACK without SYN) is acceptable."""
    opening = talk.opening
    if not opening.answered:
        return _speak_early(talk, packet, me, peer)
    if me.syn_acks and not opening.crossed and me is not peer:
        if talk.reset is None:
            _notice_third_ack(talk, packet, me, peer)
        return True  # fast open: the server may send before the third ACK
    if not _acknowledges_syn(talk, packet, me, peer):
        return False
    options = packet.options
    if options is not NO_OPTIONS and options.md5 != me.md5:
        talk.note("md5-mismatch", packet.number)
        return False
    peer.syn_acked = True
    if talk.reset is not None and talk.reset.exact:
        opening.late = opening.late or (packet.number, packet.time_ns)
    elif opening.crossed:
        complete_crossing(talk, packet, me, peer)
    else:
        void_reset(talk)
        _complete(talk, packet, me, peer)
    return True


def join_mid_stream(talk: Talk) -> None:
    """The capture begins after the handshake."""
    talk.opening.mid_stream = True
    talk.a.state = talk.b.state = ESTABLISHED


def complete_crossing(talk: Talk, packet: Packet, me: End, peer: End) -> None:
    """Each end is established when its SYN is acknowledged; the connection when both are (figure 7)."""
    opening = talk.opening
    if opening.completed_by is not None or not (me.syn_acked and peer.syn_acked):
        return
    opening.complete(packet.number, packet.time_ns)
    for end in (me,) if me is peer else (me, peer):
        answered = RECEIVE_ACK_OF_SYN if end.state == SYN_RECV else RECEIVE_SYN_ACK
        talk.enter(end, answered, packet.time_ns, packet.number)


def _speak_early(talk: Talk, packet: Packet, me: End, peer: End) -> bool:
    """A segment with ACK and no SYN-ACK so far: a late capture, a SYN-ACK that was not captured, or a stray."""
    opening = talk.opening
    if me.isn is None and peer.isn is None:
        if not opening.mid_stream:
            join_mid_stream(talk)
        return True
    if opening.crossed:
        if peer.isn is not None and (packet.acknowledgement - peer.isn) & MASK == 1:
            peer.syn_acked = True
            complete_crossing(talk, packet, me, peer)
        return opening.open
    if me.isn is None or talk.reset is not None:
        return False  # an ACK that is no SYN-ACK does not open anything
    talk.note("syn-ack-not-captured", packet.number)
    take_syn_data(talk, me, me.offset(packet.sequence))
    peer.state = SYN_RECV
    _complete(talk, packet, me, peer)
    return True


def _notice_third_ack(talk: Talk, packet: Packet, me: End, peer: End) -> None:
    """The server acknowledges more than the SYN: the client completed the handshake, and the capture missed it."""
    ack = peer.offset(packet.acknowledgement)
    if peer.next < ack <= me.edge and ack > 1 + peer.syn_length:
        talk.opening.completed_by = packet.number  # when, we do not know
        talk.enter(peer, RECEIVE_SYN_ACK, packet.time_ns, packet.number)
        talk.enter(me, RECEIVE_ACK_OF_SYN, packet.time_ns, packet.number)
        if peer.isn is not None:  # else nothing of it was ever seen
            talk.note("packets-missing", packet.number)
            peer.next = ack


def _acknowledges_syn(talk: Talk, packet: Packet, me: End, peer: End) -> bool:
    for isn in peer.other_isns or ():
        if packet.acknowledgement == (isn + 1) & MASK:
            peer.begin(isn)
    ack = peer.offset(packet.acknowledgement)
    if not 1 <= ack <= peer.next:
        talk.note("ack-of-unsent", packet.number, proven=True)
        return False
    return 1 <= me.offset(packet.sequence) <= max(peer.edge, me.next)


def _complete(talk: Talk, packet: Packet, me: End, peer: End) -> None:
    time_ns, number = packet.time_ns, packet.number
    talk.opening.complete(number, time_ns)
    talk.enter(me, RECEIVE_SYN_ACK, time_ns, number)
    talk.enter(peer, RECEIVE_ACK_OF_SYN, time_ns, number)
