"""Sequence numbers: arithmetic modulo 2**32 (RFC 9293 section 3.4).

On the wire a number says where it is only up to a multiple of 2**32. We count *offsets* instead: plain integers
from the initial sequence number (offset 0 is the SYN, offset 1 the first byte), which grow beyond 2**32 in a long
connection and compare with `<` like any number. `unwrap` turns one into the other.
"""

from __future__ import annotations

MODULUS = 1 << 32
MASK = MODULUS - 1
HALF = 1 << 31


def unwrap(raw: int, origin: int, near: int) -> int:
    """The offset from `origin` that `raw` stands for, taken as the one closest to the offset `near`."""
    distance = (raw - origin - near) & MASK
    return near + distance - MODULUS if distance >= HALF else near + distance
