"""Decompression of gzip'ed captures (RFC 1952), bounded, so that a small file cannot fill the memory."""

from __future__ import annotations

import zlib

GZIP_MAGIC = b"\x1f\x8b"
MAX_INFLATED = 1 << 30
_GZIP_WINDOW = 31  # zlib: 15 bits of window, +16 for a gzip header
_CHUNK = 256  # small: zlib gives nothing of a chunk with an error in it


def inflate(data: bytes, limit: int = MAX_INFLATED) -> tuple[bytes, str]:
    """Give the decompressed bytes of all members, and what went wrong in words (empty when nothing did)."""
    out = bytearray()
    member = zlib.decompressobj(_GZIP_WINDOW)
    begun = False
    for start in range(0, len(data), _CHUNK):
        rest = data[start : start + _CHUNK]
        while rest := rest if begun else rest.lstrip(b"\0"):  # members may be padded with zeros
            try:
                out += member.decompress(rest, limit - len(out) + 1)
            except zlib.error as error:
                return bytes(out), f"gzip data near compressed byte {start} is damaged ({error})"
            if len(out) > limit:
                return bytes(out[:limit]), f"gzip data unpacks to more than {limit} bytes; the rest was left out"
            begun = not member.eof
            rest = member.unconsumed_tail if begun else member.unused_data
            if not begun:
                member = zlib.decompressobj(_GZIP_WINDOW)
    return bytes(out), "gzip data is cut short" if begun else ""
