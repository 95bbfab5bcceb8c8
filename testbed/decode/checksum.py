"""The Internet checksum (RFC 1071), by one division.

2^16 is 1 modulo 65535, so the ones' complement sum of 16-bit words is the whole datagram, read as one big number,
modulo 65535: what is right leaves 0. An even number of leading zero bytes changes nothing, so that parts can be added.
"""

from __future__ import annotations

_MODULUS = 0xFFFF


def add_words(data: bytes) -> int:
    """Give a number that is the sum of the 16-bit words modulo 65535; an odd last byte is padded with zero."""
    number = int.from_bytes(data, "big")
    return number << 8 if len(data) & 1 else number


def is_right(total: int) -> bool:
    """Tell whether a sum over all words, the checksum among them, is what it must be."""
    return total % _MODULUS == 0


def is_partial(stored: int, pseudo_header: int) -> bool:
    """Tell whether the stored checksum is only the pseudo header's sum.

    That is what a kernel leaves to a network card that computes the rest (CHECKSUM_PARTIAL), and what a capture on the
    sending host shows: the checksum on the wire is not known.
    """
    return stored == (pseudo_header % _MODULUS or _MODULUS)
