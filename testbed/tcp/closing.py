"""FIN: what closes one direction (RFC 9293 section 3.6).

A FIN is known by its place, sequence plus payload: copies at the same place are retransmissions, whatever data they
carry. One beyond its receiver's window is not seen by it, one before bytes already sent belongs to no order of events;
one that comes with an acknowledgement of data never sent is dropped, unless it is acknowledged itself later on.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.end import End
from testbed.tcp.states import SEND_FIN
from testbed.tcp.talk import Talk


def take_fin(talk: Talk, packet: Packet, me: End, peer: End, place: int, *, suspect: bool, copy: bool) -> None:
    """A FIN of `me` at offset `place`; `suspect`: its acknowledgement is impossible, `copy`: the path doubled it."""
    if me.fin is None and place >= me.stream.highest and not suspect and not (peer.edge and place > peer.edge):
        ack = peer.offset(packet.acknowledgement)
        settle_fin(talk, packet, me, place, answers=peer.fin is not None and ack > peer.fin)
    elif me.fin == place:
        if not copy:
            me.fin_retransmits += 1
        elif not packet.payload_length:
            me.duplicates += 1  # with payload it was counted there
        if me.fin_packets is not None:
            me.fin_packets.append(packet.number)
    elif me.fin is not None or place < me.stream.highest:
        talk.note("data-beyond-fin", packet.number)
    elif peer.edge and place > peer.edge:
        talk.note("fin-outside-window", packet.number)
    else:
        me.suspect_fin = place


def settle_fin(talk: Talk, packet: Packet, me: End, place: int, *, answers: bool) -> None:
    """This FIN counts; `answers` when it acknowledges the other one."""
    me.fin, me.suspect_fin = place, None
    if place >= me.next:
        me.next = place + 1
    me.fin_packets = [packet.number]
    me.fin_answers = answers
    talk.fins.append(me)
    talk.enter(me, SEND_FIN, packet.time_ns, packet.number)
