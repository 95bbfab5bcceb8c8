"""Zeek's words for a connection: `conn_state` and `history` (scripts/base/protocols/conn, TCPSessionAdapter.cc).

Zeek has six states per end and looks at flags far more than at numbers; we follow its rules, not ours, and feed it
every packet of a connection. Not followed: its timeouts, which cut one tuple into several connections, the
letter `g` (content gaps), and the sizes it makes from wild sequence numbers.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.sequence import HALF, MASK, MODULUS

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)

FIN_BIT, SYN_BIT, RST_BIT, ACK_BIT = 1, 2, 4, 16
SYN_SEEN, FIN_SEEN, RST_SEEN, DATA_SEEN, ACK_SEEN, FIN_RST_SEEN, MULTI_SEEN = (1 << bit for bit in range(7))

TOO_LARGE_DELTA = 1048576

# Zeek's `likely_server_ports` as its default scripts fill it (TCP only).
# fmt: off
SERVER_PORTS = frozenset({
    21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 465, 502, 514, 563, 585, 587, 614, 631, 636, 989, 990,
    992, 993, 995, 1080, 1434, 1883, 2811, 3128, 3268, 3306, 3389, 5222, 5223, 5269, 5432, 6379, 6666, 6667, 6668, 6669,
    8000, 8080, 8888, 20000,
})
# fmt: on

_NO_SCAN = frozenset("HAFGIQ")


def _delta(a: int, b: int) -> int:
    distance = (a - b) & MASK
    return distance - MODULUS if distance >= HALF else distance


class _End:
    """One end as Zeek sees it."""

    __slots__ = (
        "acked",
        "counts",
        "fins",
        "last",
        "last_fin",
        "last_rst",
        "last_syn",
        "previous",
        "seen",
        "start",
        "state",
    )

    def __init__(self) -> None:
        self.state = self.previous = INACTIVE
        self.seen = 0
        self.start = self.last = self.acked = 0
        self.last_syn = self.last_fin = self.last_rst = -1
        self.fins = 0
        self.counts: dict[str, tuple[int, int]] = {}

    def enter(self, state: int) -> None:
        if state != self.state:
            self.previous, self.state = self.state, state

    def begin(self, start: int, last: int) -> None:
        self.start = self.acked = start & MASK
        self.last = last & MASK

    def size(self) -> int:
        """Bytes by sequence numbers, without SYN and FIN."""
        if self.state == INACTIVE:
            return 0
        size = max(_delta(self.last, self.start), _delta(self.acked, self.start)) - 1
        return max(0, size - 1 if self.fins and size > 0 else size)


class Zeek:
    """Follows one connection with Zeek's eyes; feed it packets, then read `conn_state()` and `history()`."""

    __slots__ = ("_ends", "_letters", "_origin")

    def __init__(self, first: Packet) -> None:
        self._ends = (_End(), _End())  # sender of the first packet, receiver
        self._letters: list[str] = []
        self._origin = 0
        flags = int(first.flags)
        if (not flags & SYN_BIT or flags & ACK_BIT) and first.source_port in SERVER_PORTS:
            both = first.destination_port in SERVER_PORTS
            if not both or (not flags & SYN_BIT and first.source_port < first.destination_port):
                self._flip()

    def feed(self, side: int, packet: Packet, flags: int, length: int) -> None:
        """Take one packet; `side` is 0 for the sender of the first packet, 1 for its receiver."""
        me, peer = self._ends[side], self._ends[1 - side]
        if packet.checksum_ok is False:
            self._scaled(side, "C")
            return
        if me.state == INACTIVE and not flags & (SYN_BIT | RST_BIT) and self._letters == ["H"] and side != self._origin:
            self._letters.clear()
            self._flip()
            self._letters.append("h")
            peer.enter(ESTABLISHED)
        syn_fin = (1 if flags & SYN_BIT else 0) + (1 if flags & FIN_BIT else 0)
        end = (packet.sequence + syn_fin + (0 if flags & RST_BIT else length)) & MASK
        self._place(me, flags, packet.sequence, end)
        self._letter(side, me, packet.sequence, flags, length)
        if not packet.window and not flags & RST_BIT and peer.state != CLOSED and me.state != RESET:
            self._scaled(side, "W")
        me.fins += 1 if flags & FIN_BIT else 0
        if flags & ACK_BIT:
            self._acknowledge(peer, packet.acknowledgement, flags)
        self._advance(side, me, end, flags, length)
        self._change(side, me, peer, packet, flags, length)

    def history(self) -> str:
        """The letters: upper case for the originator."""
        return "".join(self._letters)

    def conn_state(self) -> str:
        """The conn.log's conn_state."""
        originator, responder = self._ends[self._origin], self._ends[1 - self._origin]
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

    def _flip(self) -> None:
        self._origin = 1 - self._origin
        self._letters.append("^")

    def _add(self, side: int, code: str) -> None:
        self._letters.append(code if side == self._origin else code.lower())

    def _scaled(self, side: int, code: str) -> None:
        """Letters c, t, w: at counts 1, 10, 100, ..."""
        count, threshold = self._ends[side].counts.get(code, (0, 1))
        count += 1
        if count == threshold:
            self._add(side, code)
            threshold *= 10
        self._ends[side].counts[code] = (count, threshold)

    @staticmethod
    def _place(me: _End, flags: int, sequence: int, end: int) -> None:
        """init_endpoint: where this end's numbers start."""
        if me.state == INACTIVE:
            if flags & SYN_BIT:
                me.begin(sequence, end)
            else:
                me.begin(sequence - 1, sequence)
        elif flags & SYN_BIT and (
            (me.state in (SYN_SENT, SYN_ACK_SENT) and sequence != me.start)
            or me.state in (ESTABLISHED, PARTIAL)
            or (me.state == RESET and me.previous == INACTIVE)
        ):
            me.begin(sequence, end)

    def _letter(self, side: int, me: _End, sequence: int, flags: int, length: int) -> None:
        """update_history: at most one letter of s h f r d a i q per packet."""
        special = flags & (SYN_BIT | FIN_BIT | RST_BIT)
        if not special:
            if length:
                self._once(side, me, DATA_SEEN, "D")
            elif flags & ACK_BIT:
                self._once(side, me, ACK_SEEN, "A")
        elif special == SYN_BIT:
            if not self._once(side, me, SYN_SEEN, code := "H" if flags & ACK_BIT else "S") and sequence != me.last_syn:
                self._add(side, code)
            me.last_syn = sequence
        elif special == FIN_BIT:
            place = (sequence + length) & MASK
            if not self._once(side, me, FIN_SEEN, "F") and place != me.last_fin:
                self._add(side, "F")
            me.last_fin = place
        elif special == RST_BIT:
            if not self._once(side, me, RST_SEEN, "R") and sequence != me.last_rst:
                self._add(side, "R")
            me.last_rst = sequence
        elif special & (FIN_BIT | RST_BIT) == FIN_BIT | RST_BIT:
            self._once(side, me, FIN_RST_SEEN, "I")
        else:
            self._once(side, me, MULTI_SEEN, "Q")

    def _once(self, side: int, me: _End, bit: int, code: str) -> bool:
        """Write a letter the first time; True when it was the first time."""
        if me.seen & bit:
            return False
        me.seen |= bit
        self._add(side, code)
        return True

    @staticmethod
    def _acknowledge(peer: _End, acknowledgement: int, flags: int) -> None:
        if peer.state == INACTIVE:
            peer.begin(acknowledgement - 1, acknowledgement - 1)
            return
        delta = _delta(acknowledgement, peer.acked)
        if not flags & RST_BIT and delta > 0 and not (acknowledgement == 0 and delta > TOO_LARGE_DELTA):
            peer.acked = acknowledgement

    def _advance(self, side: int, me: _End, end: int, flags: int, length: int) -> None:
        """update_last_seq, which also finds retransmissions (letter t)."""
        delta = _delta(end, me.last)
        if flags & (SYN_BIT | RST_BIT) and abs(delta) > TOO_LARGE_DELTA:
            return
        if flags & FIN_BIT and me.last == (me.start + 1) & MASK:
            me.last = end
        elif me.state == RESET:
            return
        elif delta > 0:
            me.last = end
        elif length:
            self._scaled(side, "T")

    def _change(self, side: int, me: _End, peer: _End, packet: Packet, flags: int, length: int) -> None:
        """UpdateStateMachine."""
        if me.state == INACTIVE:
            self._wake(side, me, peer, packet.sequence, flags, length)
        elif me.state in (SYN_SENT, SYN_ACK_SENT):
            if flags & FIN_BIT:
                me.enter(CLOSED)
            if flags & RST_BIT:
                me.enter(RESET)
        elif me.state in (ESTABLISHED, PARTIAL):
            self._disturb(me, peer, flags)
        elif me.state == CLOSED and flags & RST_BIT and peer.state != CLOSED:
            me.enter(RESET)

    def _wake(self, side: int, me: _End, peer: _End, sequence: int, flags: int, length: int) -> None:
        originator = side == self._origin
        if flags & SYN_BIT:
            if originator:
                me.enter(SYN_ACK_SENT if flags & ACK_BIT else SYN_SENT)
            else:
                if not flags & ACK_BIT and peer.state == SYN_ACK_SENT and sequence == me.start:
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
    def _disturb(me: _End, peer: _End, flags: int) -> None:
        if flags & SYN_BIT and not flags & ACK_BIT and me.state == PARTIAL and peer.state == INACTIVE:
            me.enter(SYN_SENT)
        if flags & FIN_BIT and not flags & RST_BIT:
            me.enter(CLOSED)
            if peer.state == RESET and peer.previous == CLOSED:
                peer.enter(CLOSED)
        if flags & RST_BIT:
            me.enter(RESET)
