"""Segments with ACK and without SYN or RST: acknowledgements, windows and data (RFC 9293 sections 3.4, 3.8, 3.10.7.4).

* Data is placed by offset; what was there before is a retransmission, unless the path doubled the frame. What fills a
  hole is late, unless its receiver asked for it three times (RFC 5681 section 3.2): then it was sent again, and the
  first copy was lost before it came by here.
* One byte (or none) just before the next, already acknowledged: a keep-alive (section 3.8.4). One byte into a closed
  window: a probe (section 3.8.6.1), which counts once it is acknowledged.
* Far beyond the window, or with a timestamp older than one that counted (PAWS, RFC 7323 section 5): the receiver drops
  it. It is put aside, and counts if it is acknowledged all the same.
* An acknowledgement beyond what was sent is dropped by its receiver, or the capture has a hole. Later packets tell:
  data that goes on below it proves it wrong, one more acknowledgement as high proves the hole.
"""

from __future__ import annotations

from testbed.packet import NO_OPTIONS, Options, Packet
from testbed.tcp.closing import settle_fin, take_fin
from testbed.tcp.end import COPY_NS, End
from testbed.tcp.sequence import HALF, MASK
from testbed.tcp.states import RECEIVE_ACK_OF_FIN, RECEIVE_FIN
from testbed.tcp.stream import FILLED, NEW, REPEATED
from testbed.tcp.talk import FIN, Talk

FAST_RETRANSMIT = 3  # duplicate ACKs
SHOWN = 16  # packets of one kind that are worth naming
_ECE_CWR = 0x0C0


def take_segment(talk: Talk, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
    """A segment that its receiver looks at."""
    sequence = packet.sequence
    if me.origin is None:
        me.adopt(sequence)
    if peer.origin is None:
        peer.adopt(packet.acknowledgement)
    start = me.offset(sequence)
    me.base = sequence - start
    if me.silent:
        me.silent = False
        me.stream.begin(start)
        me.next = max(me.next, start)
    if not me.spoke:
        me.spoke = packet.number
        me.ttl = me.ttl or packet.ttl
    old = False
    options = packet.options
    if options is not NO_OPTIONS or me.stamped:
        old = _check_options(talk, packet, me, peer, start, start + length + (flags & FIN))
    if flags & _ECE_CWR:
        _check_ecn(talk, packet, me, peer)
    suspect = _acknowledge(talk, packet, me, peer, length, flags)
    copy = bool(length or flags & FIN) and me.is_copy(packet)
    if length:
        if old:
            _put_aside(me, start, length, packet)
            return
        take_data(talk, packet, me, peer, start, length, copy)
    elif start > me.next:
        if me.bogus_acks:
            _settle_bogus_acks(talk, me, start)
        _jump(me, start, packet.number)
        me.next = start  # what lies between was sent, and not captured
    elif start == me.next - 1 and start < peer.ack and not flags & FIN and me.fin is None:
        me.keep_alives += 1
    if flags & FIN and not old:
        take_fin(talk, packet, me, peer, start + length, suspect=suspect, copy=copy)
    if options.sack:
        _check_sack(talk, packet, peer)


def take_data(talk: Talk, packet: Packet, me: End, peer: End, start: int, length: int, copy: bool) -> None:
    """The bytes of `me` at [start, start + length)."""
    end = start + length
    if length == 1 and end == me.next and end <= peer.ack:
        me.keep_alives += 1  # with a byte of garbage
        return
    if length == 1 and not peer.window and start == peer.ack:
        me.window_probes += 1
        me.aside = [(start, end, packet.payload, 0)]
        me.next = max(me.next, end)
        return
    if me.fin is not None and end > me.fin:
        talk.note("data-beyond-fin", packet.number)
        return
    if end > peer.edge and peer.edge:
        talk.note("window-overrun", packet.number)
        if start > peer.edge + max(0xFFFF, peer.edge - peer.ack):
            _put_aside(me, start, length, packet)
            return
    if me.bogus_acks and end > me.next:
        _settle_bogus_acks(talk, me, start)
    if start > me.next:
        _jump(me, start, packet.number)
    payload = packet.payload
    if len(payload) < length:
        note_snapped(talk, packet.number)
    if length > me.largest:
        me.largest, me.largest_packet = length, packet.number
    kind = me.stream.add(start, end, payload)
    me.data.append(packet.number)
    if end > me.next:
        me.next = end
    if kind != NEW:
        if copy:
            me.duplicates += 1
        elif kind == REPEATED or (kind == FILLED and peer.asks >= FAST_RETRANSMIT):
            me.add_repeated(packet.number)
        else:
            me.out_of_order += 1
    elif me.aside and any(number and first <= start < last for first, last, _, number in me.aside):
        me.add_repeated(packet.number)
    if kind != REPEATED and peer.fin is not None and me.ack > peer.fin:
        talk.late_data = True


def take_syn_data(talk: Talk, peer: End, ack: int) -> None:
    """The part of a SYN's data that was acknowledged was delivered (RFC 7413)."""
    if peer.syn_payload and ack > 1 and not peer.stream.unique:
        length = min(ack - 1, peer.syn_length)
        peer.stream.add(1, 1 + length, peer.syn_payload[:length])
        peer.data.append(peer.syns[0])
        talk.opening.syn_data_taken = True
    if ack > 1:
        peer.syn_payload = b""


def _acknowledge(talk: Talk, packet: Packet, me: End, peer: End, length: int, flags: int) -> bool:
    """Take acknowledgement and window; True when it acknowledges what was never sent."""
    ack = peer.offset(packet.acknowledgement)
    window = packet.window
    if ack > peer.next:
        if peer.suspect_fin == ack - 1:
            settle_fin(talk, packet, peer, ack - 1, answers=False)
        elif peer.silent:
            peer.next = ack
        elif peer.aside and ack <= peer.aside[-1][1]:
            peer.next = ack  # it was taken after all
        elif _is_bogus(talk, packet, me, peer, ack, flags):
            return True
    elif peer.bogus_acks and ack > me.ack:
        _settle_bogus_acks(talk, peer, peer.next)
    if ack > me.ack:
        me.ack = ack
        me.asks = 0
        if peer.aside is not None or peer.syn_payload or peer.fin is not None:
            _deliver(talk, packet, me, peer, ack)
    elif ack == me.ack and not length and not flags & FIN and window == me.window and peer.next > ack:
        me.duplicate_acks += 1
        me.asks += 1
    edge = ack + (window << me.shift)
    if edge > me.edge:
        me.edge = edge
    if window == 0 and me.window != 0:
        me.zero_windows += 1
    me.window = window
    return False


def _is_bogus(talk: Talk, packet: Packet, me: End, peer: End, ack: int, flags: int) -> bool:
    """Beyond what was sent: wrong, until a later one is as high or higher, which shows a hole in the capture.

    Beyond its own window it is wrong in any case, as is one on a FIN (RFC 9293 section 3.10.7.4 drops the segment).
    """
    before = peer.bogus_acks
    if before and not flags & FIN and (ack <= me.edge or not me.edge):
        later = packet.time_ns - before[-1][2] > COPY_NS
        if ack > before[-1][1] or (later and ack == before[-1][1]):
            talk.note("packets-missing", *(number for number, _, _ in before))
            peer.bogus_acks = None
            peer.next = ack
            return False
    peer.bogus_acks = [*(before or ())[-15:], (packet.number, ack, packet.time_ns)]
    return True


def _settle_bogus_acks(talk: Talk, me: End, start: int) -> None:
    """What follows shows whether those acknowledgements were wrong (it had not been sent) or the capture has a hole."""
    for number, ack, _ in me.bogus_acks or ():
        if me.next < ack <= start:
            talk.note("packets-missing", number)
        else:
            talk.note("ack-of-unsent", number, proven=start <= me.next)
    me.bogus_acks = None


def note_snapped(talk: Talk, number: int) -> None:
    """The capture cut this packet."""
    if talk.snapped is None:
        talk.snapped = []
    if len(talk.snapped) < SHOWN:
        talk.snapped.append(number)


def _deliver(talk: Talk, packet: Packet, me: End, peer: End, ack: int) -> None:
    """`me` acknowledges up to `ack`: SYN data, what was put aside, a FIN."""
    if peer.syn_payload and ack > 1:
        take_syn_data(talk, peer, ack)
    if peer.aside is not None and ack > peer.aside[0][0]:
        for start, end, payload, number in peer.aside:
            if start < ack and end <= peer.next and peer.stream.add(start, end, payload) != REPEATED and number:
                peer.data.append(number)
                if end - start > peer.largest:
                    peer.largest, peer.largest_packet = end - start, number
        peer.aside = None
    if peer.fin is not None and ack > peer.fin and peer.fin_ack is None:
        peer.fin_ack = packet.number
        talk.enter(me, RECEIVE_FIN, packet.time_ns, packet.number)
        talk.enter(peer, RECEIVE_ACK_OF_FIN, packet.time_ns, packet.number)


def _put_aside(me: End, start: int, length: int, packet: Packet) -> None:
    me.aside = [*(me.aside or ())[-15:], (start, start + length, packet.payload, packet.number)]


def _jump(me: End, start: int, number: int) -> None:
    if me.jumps is None:
        me.jumps = []
    me.jumps.append((start, number))


def is_for_syn(options: Options) -> bool:
    """Whether there is an option that only a SYN may have."""
    return options.mss is not None or options.window_scale is not None or options.sack_permitted


def _check_options(talk: Talk, packet: Packet, me: End, peer: End, start: int, end: int) -> bool:
    """Options of a segment without SYN; True when its timestamp is too old for it to count (RFC 7323 section 5.3)."""
    options = packet.options
    if is_for_syn(options):
        talk.note("option-outside-syn", packet.number)
    if options.malformed:
        talk.note("option-malformed", packet.number)
    if not me.stamped:
        return False
    if options.timestamps is None:
        if end > start and not options.malformed:
            talk.note("timestamp-missing", packet.number)
        return False
    stamp = options.timestamps[0]
    if me.stamp >= 0 and (stamp - me.stamp) & MASK >= HALF:
        if end > start and end > peer.ack:
            talk.note("timestamp-old", packet.number)
            return True
    elif start <= peer.ack:
        me.stamp = stamp
    return False


def _check_ecn(talk: Talk, packet: Packet, me: End, peer: End) -> None:
    both_seen = me.isn is not None and peer.isn is not None and not talk.opening.crossed
    if both_seen and not (me.options.ecn and peer.options.ecn):
        talk.note("ecn-not-agreed", packet.number)


def _check_sack(talk: Talk, packet: Packet, peer: End) -> None:
    highest = max(peer.offset(right) for _, right in packet.options.sack)
    if highest > peer.next and not peer.silent:
        talk.note("sack-of-unsent", packet.number)
