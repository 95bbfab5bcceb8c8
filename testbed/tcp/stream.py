"""One direction's bytes, put together from segments in whatever order they came (RFC 9293 section 3.4).

Segments are placed by offset. Bytes in order go straight to `chunks`; what arrives ahead of a hole waits in `held`,
sorted and disjoint, until the hole is filled. The first copy of a byte counts, as it does for the receiver. Where no
payload is wanted, places and counts are kept and the bytes are not.
"""

from __future__ import annotations

from bisect import bisect_left

NEW = 0  # bytes after everything seen so far
FILLED = 1  # bytes never seen, before some that were: late, or sent again after a loss that we did not see
REPEATED = 2  # at least one byte that was seen before


class Stream:
    """What one end sent, by offset; `expected` is the end of what is complete, `unique` counts bytes once.

    `sink` takes the next bytes in order: it is `chunks`, or None once the bytes are not wanted or the capture cut some.
    """

    __slots__ = ("chunks", "expected", "held", "highest", "sink", "unique")

    def __init__(self, keep: bool = True) -> None:
        self.expected = 1
        self.highest = 1
        self.unique = 0
        self.chunks: list[bytes] | None = [] if keep else None
        self.sink = self.chunks
        self.held: list[tuple[int, int, bytes]] | None = None

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

    def missing(self) -> list[tuple[int, int]]:
        """The stretches before the highest byte that were never seen."""
        found = []
        position = self.expected
        for start, end, _ in self.held or ():
            if start > position:
                found.append((position, start))
            position = end
        return found

    def joined(self) -> bytes:
        """The bytes from the beginning to the first hole, or to where the capture was cut."""
        return b"".join(self.chunks or ())

    def _append(self, start: int, end: int, payload: bytes) -> None:
        self.expected = end
        if self.sink is not None:
            self.sink.append(payload)
            if len(payload) < end - start:
                self.sink = None

    def _place(self, start: int, end: int, payload: bytes) -> int:
        ahead = start >= self.highest
        if self.held is None:
            self.held = []
        repeated = self._hold(self.held, start, end, payload)
        self.highest = max(self.highest, end)
        self._drain(self.held)
        return REPEATED if repeated else NEW if ahead else FILLED

    def _hold(self, held: list[tuple[int, int, bytes]], start: int, end: int, payload: bytes) -> bool:
        """Keep the parts of [start, end) that are not there yet; True when some part already was."""
        position = max(start, self.expected)
        repeated = position > start
        index = bisect_left(held, (position,))
        if index and held[index - 1][1] > position:
            repeated = True
            position = held[index - 1][1]
        wanted = self.sink is not None
        while position < end:
            until = min(end, held[index][0]) if index < len(held) else end
            if position < until:
                self.unique += until - position
                if wanted:
                    held.insert(index, (position, until, payload[position - start : until - start]))
                    index += 1
                elif index and held[index - 1][1] == position:
                    held[index - 1] = (held[index - 1][0], until, b"")  # no bytes to keep apart
                else:
                    held.insert(index, (position, until, b""))
                    index += 1
            if until < end:
                repeated = True
                until = held[index][1]
                index += 1
            position = until
        return repeated

    def _drain(self, held: list[tuple[int, int, bytes]]) -> None:
        taken = 0
        for start, end, payload in held:
            if start != self.expected:
                break
            self._append(start, end, payload)
            taken += 1
        del held[:taken]
