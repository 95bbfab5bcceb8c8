"""RST: whether one can end the connection, and whether it did (RFC 9293 section 3.10.7, RFC 5961 section 3).

* Before a SYN-ACK only a RST+ACK that acknowledges the SYN (and its data) refuses; a bare RST, or another
  acknowledgement, is ignored (RFC 9293 section 3.10.7.3).
* On an open connection a RST ends it if it lies exactly where its receiver expects the next byte. Elsewhere in the
  window it draws a challenge ACK and ends nothing; outside it is ignored (RFC 5961 section 3.2). We cannot know the
  receiver's place better than its last ACK and what was on its way, so each of those counts as exact.
* Whatever a RST says, the packets after it have the last word: if its receiver acknowledges more, answers with a bare
  ACK, or both sides go on, it ended nothing. Zeek and Wireshark count it all the same; the audit names it.
* A RST after both FINs, or from a side whose own FIN was acknowledged, does not undo an orderly close.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.end import End
from testbed.tcp.sequence import MASK
from testbed.tcp.states import ESTABLISHED, RECEIVE_ACK_OF_SYN, RECEIVE_RST, RECEIVE_SYN_ACK, SEND_RST
from testbed.tcp.talk import ACK, Talk
from testbed.tcp.teardown import Reset


def meet_reset(talk: Talk, packet: Packet, me: End, peer: End, flags: int) -> None:
    """A RST of `me`: decide whether it can end the connection."""
    opening = talk.opening
    if me.ttl and packet.ttl and packet.ttl != me.ttl:
        talk.note("rst-other-ttl", packet.number)
    if opening.open or opening.answered:
        _reset_open(talk, packet, me, peer)
    elif me.isn is not None:
        place = (packet.sequence - me.isn) & MASK
        _reset_opening(talk, packet, me, peer, 1 <= place <= 1 + me.syn_length, refusal=False)
    elif peer.isn is not None:
        place = (packet.acknowledgement - peer.isn) & MASK
        fits = bool(flags & ACK) and 1 <= place <= 1 + peer.syn_length + peer.syn_fin
        _reset_opening(talk, packet, me, peer, fits, refusal=True)
    else:
        opening.mid_stream = True
        talk.a.state = talk.b.state = ESTABLISHED
        _reset_open(talk, packet, me, peer)


def doubt_reset(talk: Talk, packet: Packet, me: End, peer: End, length: int) -> None:
    """A segment after a RST: does it show that the RST had no effect?"""
    reset = talk.reset
    if reset is None:
        return
    ack = peer.offset(packet.acknowledgement)
    if me is reset.sender:
        end = me.offset(packet.sequence) + length
        if length and end > reset.limit:
            reset.went_on = True
        if reset.peer_next is None:
            reset.peer_next = peer.next
        elif ack > reset.peer_next:
            reset.doubted = True
        return
    went_on = reset.limit < ack <= peer.next
    if went_on or (not reset.exact and not length and not reset.after_both_fins):
        if not reset.exact:
            talk.note("rst-in-window", packet.number)  # the challenge
        void_reset(talk)
        opening = talk.opening
        if opening.late is not None and not opening.open:
            opening.complete(*opening.late)
            talk.enter(peer, RECEIVE_SYN_ACK, packet.time_ns, packet.number)
            talk.enter(me, RECEIVE_ACK_OF_SYN, packet.time_ns, packet.number)


def void_reset(talk: Talk) -> None:
    """The RST ended nothing: as if it had not been."""
    reset = talk.reset
    if reset is None:
        return
    if reset.exact:
        talk.note("rst-without-effect", reset.packet)
    count, mine, other = reset.undo
    sender = reset.sender
    peer = talk.peer_of(sender)
    del talk.states[count:]
    sender.state, peer.state = mine, other
    talk.reset = None


def _reset_opening(talk: Talk, packet: Packet, me: End, peer: End, fits: bool, refusal: bool) -> None:
    if fits:
        _end(talk, packet, me, peer, exact=True, refusal=refusal)
    else:
        talk.note("rst-ignored", packet.number)


def _reset_open(talk: Talk, packet: Packet, me: End, peer: End) -> None:
    if me.origin is None:
        me.adopt(packet.sequence)
    place = me.offset(packet.sequence)
    exact = me.silent or place in (me.next, peer.ack, me.stream.expected)
    if exact or peer.ack <= place < peer.edge:
        if not exact:
            talk.note("rst-in-window", packet.number)
        _end(talk, packet, me, peer, exact=exact, refusal=False)
    else:
        talk.note("rst-outside-window", packet.number)


def _end(talk: Talk, packet: Packet, me: End, peer: End, *, exact: bool, refusal: bool) -> None:
    if talk.reset is not None and not (talk.reset.doubted and talk.reset.sender is me):
        talk.reset.doubted = False
        return
    undo = (len(talk.states), me.state, peer.state)
    talk.reset = Reset(
        packet.number,
        me,
        me.state,
        limit=me.next,
        exact=exact,
        after_both_fins=len(talk.fins) == 2,
        after_own_fin=me.fin_ack is not None,
        refusal=refusal,
        undo=undo,
    )
    talk.enter(me, SEND_RST, packet.time_ns, packet.number)
    talk.enter(peer, RECEIVE_RST, packet.time_ns, packet.number)
