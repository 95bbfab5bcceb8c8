"""A file that is read from its beginning to its end, a stretch at a time, so that it need not be held whole.

What comes in are chunks of bytes of any size. At hand are the bytes from `at` to the end of `data`; a reader moves `at`
past what it has done with, and asks for as many as it needs: what lies before `at` is then forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Window:
    """The bytes at hand; `base` is where `data` begins in the (decompressed) file."""

    __slots__ = ("_chunks", "at", "base", "data")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.data = b""
        self.at = 0
        self.base = 0

    @property
    def left(self) -> int:
        """So many bytes are at hand."""
        return len(self.data) - self.at

    def more(self, size: int) -> bool:
        """Have at least `size` bytes at hand; False when the file ends before. Then all that is left is at hand."""
        have = self.left
        if have >= size:
            return True
        parts = [self.data[self.at :]] if have else []
        while have < size and (chunk := next(self._chunks, None)) is not None:
            if chunk:
                parts.append(chunk)
                have += len(chunk)
        self.base += self.at
        self.at = 0
        self.data = parts[0] if len(parts) == 1 else b"".join(parts)
        return have >= size

    def rest(self) -> Iterator[bytes]:
        """All that is left of the file, a chunk at a time; this window is at its end then."""
        if self.left:
            at_hand = self.data[self.at :]
            self.at = len(self.data)
            yield at_hand
        yield from self._chunks
