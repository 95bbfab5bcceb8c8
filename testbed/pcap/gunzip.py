"""Decompression of gzip'ed captures (RFC 1952), a stretch at a time and bounded: a small file cannot fill the memory.

zlib gives nothing of a piece of input in which it finds an error, so the pieces are small; where a large one fails,
it is given again in small ones from the state before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

GZIP_MAGIC = b"\x1f\x8b"
MAX_INFLATED = 1 << 30
_GZIP_WINDOW = 31  # zlib: 15 bits of window, +16 for a gzip header
_LARGE, _SMALL = 1 << 14, 256  # bytes of a piece
_MOST_AT_ONCE = 1 << 22  # bytes unpacked before they are given out


class _Damaged(Exception):
    """The compressed data cannot be read on."""


class _Unpacker:
    """The members of a gzip file, one behind the other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self.begun = False  # a member is not at its end

    def unpack(self, piece: bytes) -> Iterator[bytes]:
        """Give what is in the next piece of the file. Raises `_Damaged`, after what came before the damage."""
        if len(piece) <= _SMALL:
            try:
                yield from self._unpack(piece)
            except zlib.error as error:
                raise _Damaged(str(error)) from error
            return
        saved, begun = self._member.copy(), self.begun
        try:
            unpacked = list(self._unpack(piece))
        except zlib.error:
            self._member, self.begun = saved, begun
            for start in range(0, len(piece), _SMALL):
                yield from self.unpack(piece[start : start + _SMALL])
        else:
            yield from unpacked

    def _unpack(self, piece: bytes) -> Iterator[bytes]:
        rest = piece
        while rest := rest if self.begun else rest.lstrip(b"\0"):  # members may be padded with zeros
            yield self._member.decompress(rest, _MOST_AT_ONCE)
            self.begun = not self._member.eof
            rest = self._member.unconsumed_tail if self.begun else self._member.unused_data
            if not self.begun:
                self._member = zlib.decompressobj(_GZIP_WINDOW)


def inflate(chunks: Iterable[bytes], limit: int | None, complain: Callable[[int, str], None]) -> Iterator[bytes]:
    """Give the decompressed bytes of all members, at most `limit` of them; what goes wrong is told, and where."""
    unpacker = _Unpacker()
    done = 0
    for chunk in chunks:
        for start in range(0, len(chunk), _LARGE):
            try:
                for out in unpacker.unpack(chunk[start : start + _LARGE]):
                    done += len(out)
                    if limit is not None and done > limit:
                        yield out[: len(out) - (done - limit)]
                        complain(limit, f"gzip data unpacks to more than {limit} bytes; the rest was left out")
                        return
                    yield out
            except _Damaged as damage:
                complain(done, f"gzip data is damaged ({damage})")
                return
    if unpacker.begun:
        complain(done, "gzip data is cut short")
