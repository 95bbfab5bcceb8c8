"""One end of a connection as Zeek sees it: its state, where it is, and which of its bytes were delivered.

The reassembly is there for one letter only: `g`, a gap, is written when bytes are acknowledged that were never seen
(TCP_Reassembler.cc). Bytes in order go on, bytes beyond a hole wait; an acknowledgement beyond the hole gives it up.
Sequence numbers are as on the wire.
"""

from __future__ import annotations

from testbed.tcp.sequence import MASK, unwrap

INACTIVE, SYN_SENT, SYN_ACK_SENT, PARTIAL, ESTABLISHED, CLOSED, RESET = range(7)

HOLE_WITHOUT_ACKS = 16384  # tcp_max_above_hole_without_any_acks


def delta(a: int, b: int) -> int:
    """How far `a` is ahead of `b`; negative when it is behind."""
    return unwrap(a, b, 0)


class ZeekEnd:
    """One end as Zeek sees it; sequence numbers as on the wire."""

    __slots__ = (
        "acked",
        "counts",
        "done",
        "fin_end",
        "held",
        "last",
        "last_fin",
        "last_rst",
        "last_syn",
        "previous",
        "seen",
        "skip",
        "start",
        "state",
    )

    def __init__(self) -> None:
        self.state = self.previous = INACTIVE
        self.seen = 0
        self.start = self.last = self.acked = 0
        self.done = 0  # up to here its bytes are delivered, or given up as a gap
        self.last_syn = self.last_fin = self.last_rst = 0
        self.fin_end: int | None = None
        self.held: list[tuple[int, int]] | None = None  # beyond a hole
        self.skip = False
        self.counts: dict[str, tuple[int, int]] | None = None

    def enter(self, state: int) -> None:
        """Change state; the one before is remembered."""
        if state != self.state:
            self.previous, self.state = self.state, state

    def begin(self, start: int, last: int) -> None:
        """Its numbers start here."""
        self.start = self.acked = start & MASK
        self.done = (start + 1) & MASK
        self.last = last & MASK

    def is_clean(self) -> bool:
        """Whether gaps in what it sent count."""
        return self.state == ESTABLISHED or (self.state == CLOSED and self.previous == ESTABLISHED)

    def size(self) -> int:
        """Bytes by sequence numbers, without SYN and FIN."""
        if self.state == INACTIVE:
            return 0
        size = max(delta(self.last, self.start), delta(self.acked, self.start)) - 1
        return max(0, size if self.fin_end is None else size - 1)

    def deliver(self, start: int, length: int) -> None:
        """DataSent: bytes that it sent."""
        end = (start + length) & MASK
        if start == self.done:
            self.done = end
        elif delta(start, self.done) > 0:
            self._hold(start, end)
            return
        elif delta(end, self.done) > 0:
            self.done = end
        if self.held:
            self._drain()

    def give_up(self, upto: int) -> int:
        """AckReceived and Undelivered: so many holes lie before `upto`, which was acknowledged."""
        if self.fin_end is not None and delta(upto, self.fin_end) >= 0:
            upto = (self.fin_end - 1) & MASK
        if delta(upto, self.done) <= 0 or delta(upto, self.start) < 0:
            return 0
        holes = 0
        waiting, self.held = self._waiting(), []
        for start, end in waiting:
            if delta(start, self.done) > 0:
                if delta(start, upto) >= 0:
                    self.held.append((start, end))
                    continue
                holes += 1
            if delta(end, self.done) > 0:
                self.done = end
        if delta(upto, self.done) > 0:
            holes += 1
            self.done = upto
        self._drain()
        return 0 if self.skip else holes

    def _hold(self, start: int, end: int) -> None:
        if self.held is None:
            self.held = []
        if self.held and self.held[-1][1] == start:
            self.held[-1] = (self.held[-1][0], end)
        else:
            self.held.append((start, end))
        if delta(self.acked, self.start) <= 1 and delta(end, self.done) > HOLE_WITHOUT_ACKS:
            self.skip, self.held = True, None

    def _waiting(self) -> list[tuple[int, int]]:
        return sorted(self.held or (), key=lambda part: delta(part[0], self.start))

    def _drain(self) -> None:
        """Deliver what waited, once the hole before it is filled or given up."""
        waiting, self.held = self._waiting(), []
        for start, end in waiting:
            if delta(start, self.done) > 0:
                self.held.append((start, end))
            elif delta(end, self.done) > 0:
                self.done = end
