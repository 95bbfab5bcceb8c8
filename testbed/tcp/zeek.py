"""Zeek's words for a connection: `conn_state` and `history` by its rules (TCPSessionAdapter.cc, TCP_Reassembler.cc).

Zeek has six states per end and looks at flags far more than at numbers; we follow its rules, not ours, and feed it
every packet of a connection. Its timeouts, which cut one tuple into several connections, are in `zeek_cuts`.

For speed the tracker leaves plain segments in order out and calls `catch_up` afterwards: they change nothing here but
the letters D and A (which it writes itself) and where the two ends are.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.sequence import MASK
from testbed.tcp.zeek_end import (
    CLOSED,
    ESTABLISHED,
    INACTIVE,
    PARTIAL,
    RESET,
    SYN_ACK_SENT,
    SYN_SENT,
    ZeekEnd,
    delta,
)
from testbed.tcp.zeek_words import SERVER_PORTS

FIN_BIT, SYN_BIT, RST_BIT, ACK_BIT = 1, 2, 4, 16
SYN_SEEN, FIN_SEEN, RST_SEEN, DATA_SEEN, ACK_SEEN, FIN_RST_SEEN, MULTI_SEEN = (1 << bit for bit in range(7))
_ONCE = {FIN_SEEN: "F", RST_SEEN: "R", DATA_SEEN: "D", ACK_SEEN: "A", FIN_RST_SEEN: "I", MULTI_SEEN: "Q"}

TOO_LARGE_DELTA = 1048576

_NO_SCAN = frozenset("HAFGIQ")


class Zeek:
    """Follows one connection with Zeek's eyes; feed it packets, then read `conn_state()` and `history()`."""

    __slots__ = ("ends", "letters", "origin")

    def __init__(self, first: Packet) -> None:
        self.ends = (ZeekEnd(), ZeekEnd())  # sender of the first packet, receiver
        self.letters: list[str] = []
        self.origin = 0
        flags = first.flags
        if flags == SYN_BIT:
            return
        if (not flags & SYN_BIT or flags & ACK_BIT) and first.source_port in SERVER_PORTS:
            both = first.destination_port in SERVER_PORTS
            if not both or (not flags & SYN_BIT and first.source_port < first.destination_port):
                self._flip()

    def feed(self, side: int, packet: Packet, flags: int, length: int) -> None:
        """Take one packet; `side` is 0 for the sender of the first packet, 1 for its receiver."""
        if packet.checksum_ok is False:
            if packet.ip_checksum_ok:  # else Zeek passes it over altogether
                self._scaled(side, "C")
            return
        me, peer = self.ends[side], self.ends[1 - side]
        if me.state == INACTIVE and not flags & (SYN_BIT | RST_BIT) and self.letters == ["H"] and side != self.origin:
            self.letters.clear()
            self._flip()
            self.letters.append("h")
            peer.enter(ESTABLISHED)
        sequence = packet.sequence
        special = flags & (SYN_BIT | FIN_BIT | RST_BIT)
        if special == SYN_BIT and me.state == INACTIVE and not length and packet.window:
            self._open(side, me, peer, packet, flags)
            return
        end = sequence + length
        if special:
            end = sequence + (special & 1) + (special >> 1 & 1) + (0 if special & RST_BIT else length)
        end &= MASK
        if me.state == INACTIVE or special & SYN_BIT:
            self._place(me, flags, sequence, end)
        if special:
            self._special_letter(side, me, sequence, special, flags, length)
        else:
            seen = DATA_SEEN if length else ACK_SEEN if flags & ACK_BIT else 0
            if seen & ~me.seen:
                self._once(side, me, seen)
        if not packet.window and not special & RST_BIT and peer.state != CLOSED and me.state != RESET:
            self._scaled(side, "W")
        if special & FIN_BIT:
            me.fin_end = end
        acknowledgement = packet.acknowledgement if flags & ACK_BIT else -1
        reveals = acknowledgement >= 0 and self._acknowledge(peer, acknowledgement, special)
        self._advance(side, me, end, special, length)
        self._change(side, me, peer, flags, length)
        if reveals:
            for _ in range(peer.give_up(acknowledgement)):
                if me.is_clean() and peer.is_clean():
                    self._scaled(1 - side, "G")
        if length and not special & RST_BIT and len(packet.payload) == length:
            me.deliver((sequence + (special >> 1 & 1)) & MASK, length)

    def _open(self, side: int, me: ZeekEnd, peer: ZeekEnd, packet: Packet, flags: int) -> None:
        """The first packet of an end, a plain SYN or SYN-ACK: what `feed` would do, and nothing more."""
        sequence = packet.sequence
        me.begin(sequence, sequence + 1)
        me.last_syn = 0
        self._once(side, me, SYN_SEEN, "H" if flags & ACK_BIT else "S")
        reveals = flags & ACK_BIT and self._acknowledge(peer, packet.acknowledgement, SYN_BIT)
        self._wake(side, me, peer, flags, 0)
        if reveals:
            for _ in range(peer.give_up(packet.acknowledgement)):
                if me.is_clean() and peer.is_clean():
                    self._scaled(1 - side, "G")

    def catch_up(self, me: int, next_one: int, acked: int) -> None:
        """The end `me` went on in order: its next byte and how far it is acknowledged, as on the wire."""
        end = self.ends[me]
        end.last = end.done = next_one & MASK
        end.acked = acked & MASK

    def in_order(self, me: int, next_one: int, acked: int) -> bool:
        """Whether plain segments from now on change nothing that `catch_up` could not make good."""
        end = self.ends[me]
        return (
            end.state in (ESTABLISHED, PARTIAL)
            and end.last == end.done == next_one & MASK
            and end.acked == acked & MASK
            and not end.held
        )

    def history(self) -> str:
        """The letters: upper case for the originator."""
        return "".join(self.letters)

    def conn_state(self) -> str:
        """The conn.log's conn_state."""
        originator, responder = self.ends[self.origin], self.ends[1 - self.origin]
        o, r = originator.state, responder.state
        if r == RESET:
            silent = o == RESET and not originator.size() and not responder.size()
            if o in (SYN_SENT, SYN_ACK_SENT) or silent:
                return "REJ"
            return "RSTRH" if o in (INACTIVE, PARTIAL) else "RSTR"
        if o == RESET:
            if r in (INACTIVE, PARTIAL):
                return "RSTOS0" if self._is_scan() else "OTH"
            return "RSTO"
        if o == CLOSED:
            return "SF" if r == CLOSED else "SH" if r in (INACTIVE, PARTIAL) else "S2"
        if r == CLOSED:
            return "SHR" if o in (INACTIVE, PARTIAL) else "S3"
        if o == SYN_SENT and r == INACTIVE:
            return "S0"
        return "S1" if o == r == ESTABLISHED else "OTH"

    def _is_scan(self) -> bool:
        """A SYN and then a RST by the originator with nothing of its own between: `^?S[^HAFGIQ]*R`."""
        syn, _, rest = self.history().removeprefix("^").partition("S")
        before, reset, _ = rest.partition("R")
        return not syn and bool(reset) and not _NO_SCAN.intersection(before)

    # Letters

    def _flip(self) -> None:
        self.origin = 1 - self.origin
        self.letters.append("^")

    def _add(self, side: int, code: str) -> None:
        self.letters.append(code if side == self.origin else code.lower())

    def _scaled(self, side: int, code: str) -> None:
        """Letters c, g, t, w: at counts 1, 10, 100, ..."""
        end = self.ends[side]
        if end.counts is None:
            end.counts = {}
        count, threshold = end.counts.get(code, (0, 1))
        count += 1
        if count == threshold:
            self._add(side, code)
            threshold *= 10
        end.counts[code] = (count, threshold)

    def _once(self, side: int, me: ZeekEnd, bit: int, code: str = "") -> bool:
        """Write a letter the first time; True when it was the first time."""
        if me.seen & bit:
            return False
        me.seen |= bit
        self._add(side, code or _ONCE[bit])
        return True

    def _special_letter(self, side: int, me: ZeekEnd, sequence: int, special: int, flags: int, length: int) -> None:
        """update_history, packets with SYN, FIN or RST: places are relative to where the end's numbers start."""
        place = (sequence - me.start) & MASK
        if special == SYN_BIT:
            code = "H" if flags & ACK_BIT else "S"
            if not self._once(side, me, SYN_SEEN, code) and place != me.last_syn:
                self._add(side, code)
            me.last_syn = place
        elif special == FIN_BIT:
            place += length
            if not self._once(side, me, FIN_SEEN) and place != me.last_fin:
                self._add(side, "F")
            me.last_fin = place
        elif special == RST_BIT:
            if not self._once(side, me, RST_SEEN) and place != me.last_rst:
                self._add(side, "R")
            me.last_rst = place
        else:
            both = FIN_BIT | RST_BIT
            self._once(side, me, FIN_RST_SEEN if special & both == both else MULTI_SEEN)

    # Numbers

    @staticmethod
    def _place(me: ZeekEnd, flags: int, sequence: int, end: int) -> None:
        """init_endpoint: where this end's numbers start."""
        if me.state == INACTIVE:
            if flags & SYN_BIT:
                me.begin(sequence, end)
            else:
                me.begin(sequence - 1, sequence)
        elif (
            (me.state in (SYN_SENT, SYN_ACK_SENT) and sequence != me.start)
            or me.state in (ESTABLISHED, PARTIAL)
            or (me.state == RESET and me.previous == INACTIVE)
        ):
            me.begin(sequence, end)

    @staticmethod
    def _acknowledge(peer: ZeekEnd, acknowledgement: int, special: int) -> bool:
        """update_ack_seq; True when it may acknowledge bytes never seen."""
        if peer.state == INACTIVE:
            peer.begin(acknowledgement - 1, acknowledgement - 1)
            return False
        ahead = delta(acknowledgement, peer.acked)
        if not special & RST_BIT and ahead > 0 and not (acknowledgement == 0 and ahead > TOO_LARGE_DELTA):
            peer.acked = acknowledgement
        return acknowledgement != peer.done

    def _advance(self, side: int, me: ZeekEnd, end: int, special: int, length: int) -> None:
        """update_last_seq, which also finds retransmissions (letter t)."""
        ahead = delta(end, me.last)
        if special & (SYN_BIT | RST_BIT) and abs(ahead) > TOO_LARGE_DELTA:
            return
        if special & FIN_BIT and me.last == (me.start + 1) & MASK:
            me.last = end
        elif me.state == RESET:
            return
        elif ahead > 0:
            me.last = end
        elif length:
            self._scaled(side, "T")

    # UpdateStateMachine

    def _change(self, side: int, me: ZeekEnd, peer: ZeekEnd, flags: int, length: int) -> None:
        state = me.state
        if state == INACTIVE:
            self._wake(side, me, peer, flags, length)
        elif state in (ESTABLISHED, PARTIAL):
            self._disturb(me, peer, flags)
        elif state in (SYN_SENT, SYN_ACK_SENT):
            if flags & FIN_BIT:
                me.enter(CLOSED)
            if flags & RST_BIT:
                me.enter(RESET)
        elif state == CLOSED and flags & RST_BIT and peer.state != CLOSED:
            me.enter(RESET)

    def _wake(self, side: int, me: ZeekEnd, peer: ZeekEnd, flags: int, length: int) -> None:
        originator = side == self.origin
        if flags & SYN_BIT:
            if originator:
                me.enter(SYN_ACK_SENT if flags & ACK_BIT else SYN_SENT)
            else:
                if not flags & ACK_BIT and peer.state == SYN_ACK_SENT:
                    self._flip()
                    peer.enter(ESTABLISHED)
                elif peer.state == SYN_SENT:
                    peer.enter(ESTABLISHED)
                me.enter(ESTABLISHED)
        if flags & FIN_BIT:
            me.enter(CLOSED)
        if flags & RST_BIT:
            me.enter(RESET)
        if me.state == INACTIVE:
            if not originator and not length and peer.state == SYN_SENT:
                return  # an early ACK of the SYN does not make a partial connection
            me.enter(ESTABLISHED if flags & ACK_BIT and peer.state == ESTABLISHED else PARTIAL)

    @staticmethod
    def _disturb(me: ZeekEnd, peer: ZeekEnd, flags: int) -> None:
        if flags & SYN_BIT and not flags & ACK_BIT and me.state == PARTIAL and peer.state == INACTIVE:
            me.enter(SYN_SENT)
        if flags & FIN_BIT and not flags & RST_BIT:
            me.enter(CLOSED)
            if peer.state == RESET and peer.previous == CLOSED:
                peer.enter(CLOSED)
        if flags & RST_BIT:
            me.enter(RESET)
