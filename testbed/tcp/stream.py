"""One direction's bytes, put together from segments in whatever order they came (RFC 9293 section 3.4).

Segments are placed by offset. Bytes in order go straight to `chunks`; what arrives ahead of a hole waits in `held`,
sorted and disjoint, until the hole is filled. The first copy of a byte counts, as it does for the receiver.
"""

from __future__ import annotations

from bisect import bisect_left

NEW = 0  # bytes after everything seen so far
FILLED = 1  # bytes never seen, before some that were: late, or sent again after a loss that we did not see
REPEATED = 2  # at least one byte that was seen before


class Stream:
    """What one end sent, by offset; `expected` is the end of what is complete, `unique` counts bytes once."""

    __slots__ = ("chunks", "cut", "expected", "held", "highest", "unique")

    def __init__(self) -> None:
        self.expected = 1
        self.highest = 1
        self.unique = 0
        self.cut = False  # the capture kept less than the packet carried: the bytes end there
        self.chunks: list[bytes] = []
        self.held: list[tuple[int, int, bytes]] = []

    def begin(self, offset: int) -> None:
        """Start at `offset`: what came before was sent before the capture began."""
        self.expected = self.highest = offset

    def add(self, start: int, end: int, payload: bytes) -> int:
        """Place the bytes [start, end); says whether they are NEW, FILLED or REPEATED."""
        if start == self.expected and not self.held:
            self._append(start, end, payload)
            self.highest = end
            self.unique += end - start
            return NEW
        return self._place(start, end, payload)

    def holes(self) -> int:
        """How many stretches before the highest byte were never seen."""
        count, position = 0, self.expected
        for start, end, _ in self.held:
            count += start > position
            position = end
        return count

    def joined(self) -> bytes:
        """The bytes from the beginning to the first hole, or to where the capture was cut."""
        return b"".join(self.chunks)

    def _append(self, start: int, end: int, payload: bytes) -> None:
        self.expected = end
        if not self.cut:
            self.chunks.append(payload)
            self.cut = len(payload) < end - start

    def _place(self, start: int, end: int, payload: bytes) -> int:
        ahead = start >= self.highest
        repeated = self._hold(start, end, payload)
        self.highest = max(self.highest, end)
        self._drain()
        return REPEATED if repeated else NEW if ahead else FILLED

    def _hold(self, start: int, end: int, payload: bytes) -> bool:
        """Keep the parts of [start, end) that are not there yet; True when some part already was."""
        position = max(start, self.expected)
        repeated = position > start
        index = bisect_left(self.held, (position,))
        if index and self.held[index - 1][1] > position:
            repeated = True
            position = self.held[index - 1][1]
        while position < end:
            until = min(end, self.held[index][0]) if index < len(self.held) else end
            if position < until:
                self.held.insert(index, (position, until, payload[position - start : until - start]))
                self.unique += until - position
                index += 1
            if until < end:
                repeated = True
                until = self.held[index][1]
                index += 1
            position = until
        return repeated

    def _drain(self) -> None:
        taken = 0
        for start, end, payload in self.held:
            if start != self.expected:
                break
            self._append(start, end, payload)
            taken += 1
        del self.held[:taken]
