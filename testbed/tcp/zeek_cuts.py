"""Where Zeek cuts the packets of two endpoints into several connections (TCPSessionAdapter.cc, default settings).

* 5 s after a SYN that drew no answer at all (tcp_attempt_delay);
* 5 s after the close was complete (tcp_close_delay): a RST, both FINs, or a FIN while the other side never spoke. A FIN
  is complete once the data before it, and what the other side sent, is acknowledged;
* after 1 minute of silence while only SYNs were seen, else 5 minutes, 1 hour on the ports 21, 22, 23 and 513;
* at a SYN that is no copy: another number than the originator's (also the other side's: a simultaneous open is cut in
  two), or any SYN after the close.

A packet at the very moment of a timer comes too late for it.
"""

from __future__ import annotations

from testbed.packet import Packet
from testbed.tcp.sequence import MASK
from testbed.tcp.zeek import ACK_BIT, FIN_BIT, RST_BIT, SYN_BIT, Zeek
from testbed.tcp.zeek_end import INACTIVE, PARTIAL, RESET, SYN_ACK_SENT, SYN_SENT, ZeekEnd, delta

SECOND_NS = 1_000_000_000
CUTS: dict[str, tuple[int, str]] = {
    "attempt": (5 * SECOND_NS, "a SYN without any answer (tcp_attempt_delay)"),
    "close": (5 * SECOND_NS, "after a complete close (tcp_close_delay)"),
    "silence before the handshake": (60 * SECOND_NS, "the inactivity timeout that every connection begins with"),
    "silence": (300 * SECOND_NS, "tcp_inactivity_timeout"),
    "silence on long-lived ports": (3600 * SECOND_NS, "port_inactivity_timeouts: 21, 22, 23, 513"),
}
LONG_LIVED = frozenset({21, 22, 23, 513})
_ATTEMPT_NS, _CLOSE_NS, _BEFORE_NS, _SILENCE_NS, _LONG_NS = (ns for ns, _ in CUTS.values())


class Timers:
    """Zeek's view of one of its connections, with the timers that end it."""

    __slots__ = (
        "_closed",
        "_delete_ns",
        "_first_ns",
        "_first_source",
        "_last_ns",
        "_silence_ns",
        "_wants_close",
        "_zeek",
    )

    def __init__(self, first: Packet) -> None:
        self._zeek = Zeek(first)
        self._first_source = (first.source, first.source_port)
        self._first_ns = self._last_ns = first.time_ns
        self._silence_ns = _BEFORE_NS
        self._closed = [False, False]
        self._wants_close = [False, False]
        self._delete_ns = -1
        self.take(first, int(first.flags))

    def cut(self, packet: Packet, flags: int) -> bool:
        """Whether this packet begins another connection."""
        now = packet.time_ns
        if self._delete_ns >= 0:
            if now >= self._delete_ns:
                return True
        elif now >= self._last_ns + self._silence_ns:
            return True
        originator, responder = self._ends()
        attempt = originator.state in (SYN_SENT, SYN_ACK_SENT) and responder.state == INACTIVE
        if attempt and now >= self._first_ns + _ATTEMPT_NS:
            return True
        return bool(flags & SYN_BIT) and self._is_reuse(packet.sequence, flags, originator, responder)

    def take(self, packet: Packet, flags: int) -> None:
        """A packet of this connection."""
        side = 0 if (packet.source, packet.source_port) == self._first_source else 1
        self._last_ns = packet.time_ns
        zeek = self._zeek
        ends = zeek.ends
        before, other = ends[side].state, ends[1 - side].state
        handshake = before <= SYN_ACK_SENT and other <= SYN_ACK_SENT
        established = flags & SYN_BIT and before == INACTIVE and other != PARTIAL and side != zeek.origin
        zeek.feed(side, packet, flags, packet.payload_length)
        if packet.checksum_ok is False:
            return
        if handshake and max(ends[0].state, ends[1].state) > SYN_ACK_SENT:
            self._silence_ns = _SILENCE_NS
        if established and (packet.destination_port if side == zeek.origin else packet.source_port) in LONG_LIVED:
            self._silence_ns = _LONG_NS
        if flags & (FIN_BIT | RST_BIT):
            self._wants_close[side] = True
        self._close(packet.time_ns)

    def _ends(self) -> tuple[ZeekEnd, ZeekEnd]:
        ends, origin = self._zeek.ends, self._zeek.origin
        return ends[origin], ends[1 - origin]

    def _is_reuse(self, sequence: int, flags: int, originator: ZeekEnd, responder: ZeekEnd) -> bool:
        """IsReuse."""
        start = originator.start
        if flags & ACK_BIT:
            if originator.state != INACTIVE:
                return False
            start = responder.start
        if all(self._closed):
            return True
        reversal = not flags & ACK_BIT and originator.state == SYN_ACK_SENT and responder.state == INACTIVE
        return sequence != start and not (reversal and sequence == responder.start)

    def _close(self, now: int) -> None:
        """ConnectionClosed, for each side that wants it and has nothing pending."""
        ends = self._zeek.ends
        for side, end in enumerate(ends):
            peer = ends[1 - side]
            if not self._wants_close[side] or self._closed[side] or _is_pending(end, peer):
                continue
            self._closed[side] = True
            complete = end.state == RESET or self._closed[1 - side] or peer.state == INACTIVE
            if complete and self._delete_ns < 0:
                self._delete_ns = now + _CLOSE_NS


def _is_pending(end: ZeekEnd, peer: ZeekEnd) -> bool:
    """DataPending: bytes of it not delivered yet, or of the other side not acknowledged yet."""
    if end.skip or delta(end.done, end.last) > 0:
        return False
    if end.last not in (end.done, (end.done + 1) & MASK):
        return True
    unacknowledged = bool(peer.held) or (delta(peer.done, peer.acked) > 0 and delta(peer.done, peer.start + 1) > 0)
    return end.state != RESET and unacknowledged
