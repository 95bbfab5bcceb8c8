"""One connection, packet by packet: who sent what, what the other end must have received, what it means.

What an end has *received* is taken from what it acknowledges, not from what was sent to it: between two vantage
points a packet may be lost. Only what draws no answer (the last ACK, a RST) counts as received when seen.
Everything that changes is in `End`, `Opening` and here; `result` makes the frozen value. O(1) per packet.
"""

from __future__ import annotations

from testbed.packet import NO_OPTIONS, Packet
from testbed.tcp.audit import Audit
from testbed.tcp.connection import Connection, Endpoint, HandshakeOutcome, Role, StateChange
from testbed.tcp.end import LARGEST_SHIFT, End
from testbed.tcp.handshake import Opening, judge_handshake
from testbed.tcp.sequence import MASK, unwrap
from testbed.tcp.states import Event, State, step
from testbed.tcp.stream import FILLED, NEW, REPEATED
from testbed.tcp.teardown import Reset, judge_teardown
from testbed.tcp.wireshark import DATA
from testbed.tcp.wireshark import EMPTY as _EMPTY
from testbed.tcp.wireshark import FILLED as _FILLED
from testbed.tcp.zeek import SERVER_PORTS, Zeek

FIN, SYN, RST, ACK = 1, 2, 4, 16
FAST_RETRANSMIT = 3  # duplicate ACKs, RFC 5681 section 3.2


class Tracker:
    """Follows one connection; `a` is the sender of the first packet (for a self-connect, `b` is the same end)."""

    __slots__ = (
        "a",
        "audit",
        "b",
        "client",
        "completeness",
        "fins",
        "first",
        "first_syn_ns",
        "last_ns",
        "late_data",
        "opening",
        "packets",
        "reset",
        "states",
        "zeek",
    )

    def __init__(self, first: Packet) -> None:
        self.first = first
        self.last_ns = self.first_syn_ns = first.time_ns
        own = first.source == first.destination and first.source_port == first.destination_port
        self.a = End()
        self.b = self.a if own else End()
        self.client: End | None = None
        self.opening = Opening()
        self.audit = Audit()
        self.zeek = Zeek(first)
        self.completeness = 0
        self.packets: list[int] = []
        self.fins: list[End] = []
        self.late_data = False
        self.reset: Reset | None = None
        self.states: list[tuple[int, End, State, State, int]] = []

    def feed(self, packet: Packet, from_a: bool) -> None:
        """Take the next packet of this connection."""
        me, peer = (self.a, self.b) if from_a else (self.b, self.a)
        flags = int(packet.flags)
        length = packet.payload_length
        self.packets.append(packet.number)
        self.last_ns = packet.time_ns
        self.completeness |= (_FILLED if length else _EMPTY)[flags & 0x17]
        self.zeek.feed(0 if from_a else 1, packet, flags, length)
        if packet.checksum_ok is False:
            self.audit.note("bad-checksum", packet.number)
        elif flags & SYN:
            self._synchronize(packet, me, peer, flags, length)
        elif flags & RST:
            self._meet_reset(packet, me, peer, flags)
        elif not flags & ACK:
            self.audit.note("no-ack-flag", packet.number)
        else:
            if self.reset is not None:
                self._doubt(packet, me, peer, length)
            if self.opening.completed_by is not None or self._may_speak(packet, me, peer):
                self._segment(packet, me, peer, flags, length)

    def takes_syn(self, packet: Packet, from_a: bool) -> bool:
        """Whether this SYN (without ACK) belongs here: a copy, or the other half of a simultaneous open."""
        me, peer = (self.a, self.b) if from_a else (self.b, self.a)
        if me.isn is not None:
            return me.isn == packet.sequence
        if me.origin is not None:
            return self.opening.answered and me.origin == packet.sequence
        return peer.isn is not None or not (self.opening.mid_stream or peer.syn_acks)

    def answers(self, packet: Packet, from_a: bool) -> bool:
        """Whether this packet answers the SYN of this unanswered attempt: SYN-ACK, RST+ACK or a crossing SYN."""
        peer = self.b if from_a else self.a
        flags = int(packet.flags)
        if peer.isn is None:
            return False
        reach = 1 + peer.syn_length + peer.syn_fin
        return bool(flags & ACK and flags & (SYN | RST)) and 1 <= (packet.acknowledgement - peer.isn) & MASK <= reach

    # Opening

    def _synchronize(self, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
        if length and not flags & ACK and me.isn is None and peer.isn is None:
            self.completeness |= DATA
        if flags & RST:
            self.audit.note("bad-flags", packet.number)
        elif flags & ACK:
            self._syn_ack(packet, me, peer, flags, length)
        else:
            self._syn(packet, me, peer, flags, length)

    def _syn(self, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
        if me.isn is None:
            if self.client is None:
                self.client, self.first_syn_ns = me, packet.time_ns
            self.opening.crossed = peer.isn is not None and not peer.syn_acks
            me.begin(packet.sequence)
            self._enter(me, Event.SEND_SYN, packet)
        elif me.is_copy(packet):
            me.duplicates += 1
            return
        else:
            me.syn_retransmits += 1
            if self.reset is not None and not self.opening.open:
                self._void_reset()
        if not me.syns:
            me.is_copy(packet)
        me.syns.append(packet.number)
        if not self.opening.answered:
            me.offer(packet, flags)
        me.edge = max(me.edge, 1 + packet.window)
        me.syn_fin = me.syn_fin or bool(flags & FIN)
        if length and not me.syn_length:
            me.syn_payload, me.syn_length = packet.payload, length
            me.next = max(me.next, 1 + length)

    def _syn_ack(self, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
        opening = self.opening
        if peer.origin is None:
            peer.adopt(packet.acknowledgement)
            opening.mid_stream = True
            self.client = self.client or peer
        ack = unwrap(packet.acknowledgement, peer.origin or 0, 1)
        if not 1 <= ack <= 1 + peer.syn_length + peer.syn_fin:
            self.audit.note("ack-of-unsent", packet.number, proven=peer.isn is not None)
            return
        if not self._number_syn_ack(packet, me, flags):
            return
        self._agree_scale(me, peer)
        opening.answered = True
        me.edge = max(me.edge, ack + packet.window)
        me.ack = max(me.ack, ack)
        if not peer.syn_acked:
            peer.syn_acked = True
            self._take_syn_data(peer, ack)
            if not opening.open and not peer.stream.unique:
                peer.next = ack
        if opening.crossed or me is peer:
            self._complete_crossing(packet, me, peer)
        if length:
            self._data(packet, me, peer, 1, length, copy=False)
        if flags & FIN:
            self._fin(packet, me, peer, 1 + length, suspect=False, copy=False)

    def _number_syn_ack(self, packet: Packet, me: End, flags: int) -> bool:
        """File a SYN-ACK as the first, a copy or a fresh one; False when it is none of our business."""
        if me.isn is None:
            me.begin(packet.sequence)
            self._enter(me, Event.PASSIVE_OPEN, packet)
            self._enter(me, Event.RECEIVE_SYN, packet)
        elif me.isn != packet.sequence:
            if self.opening.open:
                self.audit.note("syn-ack-changed", packet.number)
                return False
            me.other_isns.append(me.isn)  # a stateless server (SYN cookies) may answer each SYN afresh
            me.begin(packet.sequence)
        elif not me.syn_acks:
            self.opening.crossed = True
            self._enter(me, Event.RECEIVE_SYN, packet)
        elif me.is_copy(packet):
            me.duplicates += 1
            return False
        else:
            me.synack_retransmits += 1
        if not me.syn_acks:
            me.is_copy(packet)
        me.syn_acks.append(packet.number)
        self._check_answer(packet, me, flags)
        return True

    def _check_answer(self, packet: Packet, me: End, flags: int) -> None:
        """Options may be answered only if they were offered."""
        peer = self.b if me is self.a else self.a
        before = set(me.offered)
        me.offer(packet, flags)
        if peer.isn is not None and not self.opening.crossed:
            for name in sorted(me.offered - before - peer.offered):
                self.audit.note(f"option-not-offered:{name}", packet.number)

    @staticmethod
    def _agree_scale(me: End, peer: End) -> None:
        if peer.isn is None:
            return
        both = me.wants_scale is not None and peer.wants_scale is not None
        me.shift = min(LARGEST_SHIFT, me.wants_scale or 0) if both else 0
        peer.shift = min(LARGEST_SHIFT, peer.wants_scale or 0) if both else 0

    def _take_syn_data(self, peer: End, ack: int) -> None:
        """The part of a SYN's data that was acknowledged was delivered (RFC 7413)."""
        if peer.syn_payload and ack > 1 and not peer.stream.unique:
            length = min(ack - 1, peer.syn_length)
            peer.stream.add(1, 1 + length, peer.syn_payload[:length])
            peer.data.append(peer.syns[0])
            self.opening.syn_data_taken = True
        peer.syn_payload = b"" if ack > 1 else peer.syn_payload

    def _may_speak(self, packet: Packet, me: End, peer: End) -> bool:
        """Before the handshake is complete: whether this segment (an ACK without SYN) is acceptable."""
        opening = self.opening
        if not opening.answered:
            return self._speak_early(packet, me, peer)
        if me.syn_acks and not opening.crossed and me is not peer:
            return True  # fast open: the server may send before the third ACK
        if not self._acknowledges_syn(packet, me, peer):
            return False
        if packet.options is not NO_OPTIONS and packet.options.md5 != me.md5:
            self.audit.note("md5-mismatch", packet.number)
            return False
        peer.syn_acked = True
        if self.reset is not None and self.reset.exact:
            opening.late = opening.late or (packet.number, packet.time_ns)
        elif opening.crossed or me is peer:
            self._complete_crossing(packet, me, peer)
        else:
            self._void_reset()
            self._complete(packet, me, peer)
        return True

    def _speak_early(self, packet: Packet, me: End, peer: End) -> bool:
        """A segment with ACK and no SYN-ACK so far: a late capture, a SYN-ACK that was not captured, or a stray."""
        opening = self.opening
        if me.isn is None and peer.isn is None:
            if not opening.mid_stream:
                self._join_mid_stream()
            return True
        if opening.crossed:
            if peer.isn is not None and (packet.acknowledgement - peer.isn) & MASK == 1:
                peer.syn_acked = True
                self._complete_crossing(packet, me, peer)
            return opening.open
        if me.isn is None or self.reset is not None:
            return False  # an ACK that is no SYN-ACK does not open anything (RFC 9293 section 3.10.7.3)
        self.audit.note("syn-ack-not-captured", packet.number)
        peer.adopt(packet.acknowledgement)
        self._take_syn_data(me, unwrap(packet.sequence, me.origin or 0, me.next))
        peer.state = State.SYN_RECV
        self._complete(packet, me, peer)
        return True

    def _join_mid_stream(self) -> None:
        self.opening.mid_stream = True
        self.a.state = self.b.state = State.ESTABLISHED

    def _acknowledges_syn(self, packet: Packet, me: End, peer: End) -> bool:
        for isn in peer.other_isns:
            if packet.acknowledgement == (isn + 1) & MASK:
                peer.begin(isn)
        ack = unwrap(packet.acknowledgement, peer.origin or 0, peer.next)
        if not 1 <= ack <= peer.next:
            self.audit.note("ack-of-unsent", packet.number, proven=True)
            return False
        return me.origin is None or 1 <= unwrap(packet.sequence, me.origin, me.next) <= max(peer.edge, me.next)

    def _complete(self, packet: Packet, me: End, peer: End) -> None:
        self.opening.complete(packet.number, packet.time_ns)
        self._enter(me, Event.RECEIVE_SYN_ACK, packet)
        self._enter(peer, Event.RECEIVE_ACK_OF_SYN, packet)

    def _complete_crossing(self, packet: Packet, me: End, peer: End) -> None:
        """Each end is established when its SYN is acknowledged; the connection when both are (figure 7)."""
        if self.opening.completed_by is not None or not (me.syn_acked and peer.syn_acked):
            return
        self.opening.crossed = True
        self.opening.complete(packet.number, packet.time_ns)
        for end in {id(me): me, id(peer): peer}.values():
            answered = Event.RECEIVE_ACK_OF_SYN if end.state is State.SYN_RECV else Event.RECEIVE_SYN_ACK
            self._enter(end, answered, packet)

    # Open

    def _segment(self, packet: Packet, me: End, peer: End, flags: int, length: int) -> None:
        """A segment with ACK and without SYN or RST."""
        if me.origin is None:
            me.adopt(packet.sequence)
        if peer.origin is None:
            peer.adopt(packet.acknowledgement)
        start = unwrap(packet.sequence, me.origin or 0, me.next)
        if me.silent:
            me.silent = False
            me.stream.begin(start)
            me.next = max(me.next, start)
        suspect = self._acknowledge(packet, me, peer, length, flags)
        copy = bool(length or flags & FIN) and me.is_copy(packet)
        if length:
            self._data(packet, me, peer, start, length, copy)
        elif start > me.next:
            me.next = start  # what lies between was sent, and not captured
        if flags & FIN:
            self._fin(packet, me, peer, start + length, suspect, copy)
        if packet.options.sack:
            self._check_sack(packet, peer)

    def _acknowledge(self, packet: Packet, me: End, peer: End, length: int, flags: int) -> bool:
        """Take acknowledgement and window; True when it acknowledges what was never sent."""
        ack = unwrap(packet.acknowledgement, peer.origin or 0, peer.next)
        if ack > peer.next:
            if peer.suspect_fin == ack - 1:
                self._settle_fin(packet, peer, ack - 1, answers=False)
            elif peer.silent:
                peer.next = ack
            else:
                peer.bogus_acks.append((packet.number, ack))
                self.audit.note("ack-of-unsent", packet.number)
                return True
        if ack > me.ack:
            me.ack = ack
            me.asks = 0
            self._deliver(packet, me, peer, ack)
        elif ack == me.ack and not length and not flags & FIN and packet.window == me.window and peer.next > ack:
            me.duplicate_acks += 1
            me.asks += 1
        edge = ack + (packet.window << me.shift)
        if edge > me.edge:
            me.edge = edge
        if packet.window == 0 and me.window != 0:
            me.zero_windows += 1
        me.window = packet.window
        return False

    def _deliver(self, packet: Packet, me: End, peer: End, ack: int) -> None:
        """`me` acknowledges up to `ack`: SYN data, a window probe's byte, a FIN."""
        if peer.syn_payload and ack > 1:
            self._take_syn_data(peer, ack)
        if peer.probe is not None and ack > peer.probe[0]:
            peer.stream.add(peer.probe[0], peer.probe[0] + 1, peer.probe[1])
            peer.probe = None
        if peer.fin is not None and ack > peer.fin and peer.fin_ack is None:
            peer.fin_ack = packet.number
            self._enter(me, Event.RECEIVE_FIN, packet)
            self._enter(peer, Event.RECEIVE_ACK_OF_FIN, packet)

    def _data(self, packet: Packet, me: End, peer: End, start: int, length: int, copy: bool) -> None:
        end = start + length
        if length == 1 and end == me.next and end <= peer.ack:
            return  # keep-alive with a byte of garbage (RFC 9293 section 3.8.4)
        if length == 1 and not peer.window and start == peer.ack:
            me.probe = (start, packet.payload)  # window probe (RFC 9293 section 3.8.6.1): counts once accepted
            me.next = max(me.next, end)
            return
        if me.fin is not None and end > me.fin:
            self.audit.note("data-beyond-fin", packet.number)
            return
        if end > peer.edge and peer.edge and self._beyond_window(packet, peer, start):
            return
        if me.bogus_acks and end > me.next:
            self._settle_bogus_acks(me, start)
        kind = me.stream.add(start, end, packet.payload)
        me.data.append(packet.number)
        if end > me.next:
            me.next = end
        if kind != NEW:
            self._misplaced(packet, me, peer, kind, copy)
        if kind != REPEATED and peer.fin is not None and me.ack > peer.fin:
            self.late_data = True

    def _misplaced(self, packet: Packet, me: End, peer: End, kind: int, copy: bool) -> None:
        if copy:
            me.duplicates += 1
        elif kind == REPEATED or (kind == FILLED and peer.asks >= FAST_RETRANSMIT):
            me.repeated.append(packet.number)  # asked for again: the first copy was lost before our vantage point
        else:
            me.out_of_order += 1

    def _beyond_window(self, packet: Packet, peer: End, start: int) -> bool:
        """Data past the granted edge: an overrun, and (True: drop it) perhaps no part of this stream at all."""
        self.audit.note("window-overrun", packet.number)
        return start > peer.edge + max(0xFFFF, peer.edge - peer.ack)

    def _settle_bogus_acks(self, me: End, start: int) -> None:
        """New data shows whether those acknowledgements were wrong (it had not been sent) or the capture has a hole."""
        for number, _ in me.bogus_acks:
            if start <= me.next:
                self.audit.note("ack-of-unsent", number, proven=True)
        me.bogus_acks.clear()

    def _check_sack(self, packet: Packet, peer: End) -> None:
        highest = max(unwrap(right, peer.origin or 0, peer.next) for _, right in packet.options.sack)
        if highest > peer.next and not peer.silent:
            self.audit.note("sack-of-unsent", packet.number)

    # Closing

    def _fin(self, packet: Packet, me: End, peer: End, place: int, suspect: bool, copy: bool) -> None:
        if me.fin == place:
            if not copy:
                me.fin_retransmits += 1
            elif not packet.payload_length:
                me.duplicates += 1  # with payload it was counted there
            me.fin_packets.append(packet.number)
        elif me.fin is not None or place < me.stream.highest:
            self.audit.note("data-beyond-fin", packet.number)
        elif peer.edge and place > peer.edge:
            self.audit.note("fin-outside-window", packet.number)
        elif suspect:
            me.suspect_fin = place
        else:
            ack = unwrap(packet.acknowledgement, peer.origin or 0, peer.next)
            self._settle_fin(packet, me, place, answers=peer.fin is not None and ack > peer.fin)

    def _settle_fin(self, packet: Packet, me: End, place: int, *, answers: bool) -> None:
        me.fin, me.next, me.suspect_fin = place, max(me.next, place + 1), None
        me.fin_packets.append(packet.number)
        me.fin_answers = answers
        self.fins.append(me)
        self._enter(me, Event.SEND_FIN, packet)

    def _meet_reset(self, packet: Packet, me: End, peer: End, flags: int) -> None:
        """Decide whether a RST can end the connection (RFC 9293 section 3.10.7, RFC 5961 section 3)."""
        opening = self.opening
        if opening.open or opening.answered:
            self._reset_open(packet, me, peer, flags)
        elif me.isn is None and peer.isn is None:
            self._join_mid_stream()
            self._reset_open(packet, me, peer, flags)
        elif me.isn is not None:
            place = (packet.sequence - me.isn) & MASK
            self._reset_opening(packet, me, peer, 1 <= place <= 1 + me.syn_length, refusal=False)
        else:
            place = (packet.acknowledgement - (peer.isn or 0)) & MASK
            fits = bool(flags & ACK) and 1 <= place <= 1 + peer.syn_length + peer.syn_fin
            self._reset_opening(packet, me, peer, fits, refusal=True)

    def _reset_opening(self, packet: Packet, me: End, peer: End, fits: bool, refusal: bool) -> None:
        if fits:
            self._end(packet, me, peer, exact=True, refusal=refusal)
        else:
            self.audit.note("rst-ignored", packet.number)

    def _reset_open(self, packet: Packet, me: End, peer: End, flags: int) -> None:
        if me.origin is None:
            me.adopt(packet.sequence)
        if peer.origin is None and flags & ACK:
            peer.adopt(packet.acknowledgement)
        place = unwrap(packet.sequence, me.origin or 0, me.next)
        exact = me.silent or place in (me.next, peer.ack, me.stream.expected)
        if exact or peer.ack <= place < max(peer.edge, peer.ack + 1):
            if not exact:
                self.audit.note("rst-in-window", packet.number)
            self._end(packet, me, peer, exact=exact, refusal=False)
        else:
            self.audit.note("rst-outside-window", packet.number)

    def _end(self, packet: Packet, me: End, peer: End, *, exact: bool, refusal: bool) -> None:
        if self.reset is not None and not (self.reset.doubted and self.reset.sender is me):
            self.reset.doubted = False
            return
        undo = (len(self.states), me.state, peer.state)
        self.reset = Reset(
            packet.number,
            me,
            me.state,
            limit=max(me.next, 1),
            exact=exact,
            after_both_fins=len(self.fins) == 2,
            after_own_fin=me.fin_ack is not None,
            refusal=refusal,
            undo=undo,
        )
        self._enter(me, Event.SEND_RST, packet)
        self._enter(peer, Event.RECEIVE_RST, packet)

    def _doubt(self, packet: Packet, me: End, peer: End, length: int) -> None:
        """A segment after a RST: does it show that the RST had no effect?"""
        reset = self.reset
        if reset is None:
            return
        if me is reset.sender:
            if reset.peer_next is None:
                reset.peer_next = peer.next
            elif unwrap(packet.acknowledgement, peer.origin or 0, peer.next) > reset.peer_next:
                reset.doubted = True
            return
        ack = unwrap(packet.acknowledgement, peer.origin or 0, peer.next)
        went_on = ack > reset.limit and ack <= peer.next
        if went_on or (not reset.exact and not length and not reset.after_both_fins):
            self._void_reset()
            if self.opening.late is not None and not self.opening.open:
                self.opening.complete(*self.opening.late)
                self._enter(peer, Event.RECEIVE_SYN_ACK, packet)
                self._enter(me, Event.RECEIVE_ACK_OF_SYN, packet)

    def _void_reset(self) -> None:
        if self.reset is None:
            return
        if self.reset.undo is not None:
            count, mine, other = self.reset.undo
            sender = self.reset.sender
            peer = self.b if sender is self.a else self.a
            del self.states[count:]
            sender.state, peer.state = mine, other
        self.reset = None

    # What came of it

    def _enter(self, end: End, event: Event, packet: Packet) -> None:
        """The only place where a state is followed."""
        after = step(end.state, event)
        if after is not None:
            self.states.append((packet.time_ns, end, end.state, after, packet.number))
            end.state = after

    def result(self) -> Connection:
        """The connection as a value."""
        client = self.client or self._likely_client()
        server = self.b if client is self.a else self.a
        reset = None if self.reset is not None and self.reset.doubted else self.reset
        handshake = judge_handshake(self.opening, client, server, reset, self.first_syn_ns)
        opened = handshake.outcome not in (HandshakeOutcome.REFUSED, HandshakeOutcome.RESET)
        flows = client.flow(), server.flow()
        whole = not self.opening.mid_stream and not flows[0].gaps and not flows[1].gaps
        return Connection(
            client=self._endpoint(client),
            server=self._endpoint(server, own=client is server),
            handshake=handshake,
            teardown=judge_teardown(self.fins, self.late_data, reset, client, opened=opened, own=client is server),
            client_flow=flows[0],
            server_flow=flows[1],
            conn_state=self.zeek.conn_state(),
            history=self.zeek.history(),
            completeness=self.completeness,
            packets=tuple(self.packets),
            first_ns=self.first.time_ns,
            last_ns=self.last_ns,
            client_isn=client.isn,
            server_isn=server.isn,
            states=tuple(
                StateChange(time_ns, Role.CLIENT if end is client else Role.SERVER, before.value, after.value, number)
                for time_ns, end, before, after, number in self.states
            ),
            audit=self.audit.findings(complete=whole),
        )

    def _likely_client(self) -> End:
        """No SYN seen: the well-known port, or else the lower one, is the server's."""
        first = self.first
        if int(first.flags) & SYN:
            return self.a
        rank_a = (first.source_port not in SERVER_PORTS, first.source_port)
        rank_b = (first.destination_port not in SERVER_PORTS, first.destination_port)
        return self.b if rank_a < rank_b else self.a

    def _endpoint(self, end: End, own: bool = False) -> Endpoint:
        first = self.first
        if end is self.a and not own:
            return Endpoint(first.source, first.source_port)
        return Endpoint(first.destination, first.destination_port)
