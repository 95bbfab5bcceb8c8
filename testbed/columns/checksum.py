"""The Internet checksum over many stretches of bytes at once (RFC 1071; see `testbed.decode.checksum`).

Words are added as most machines read them, the low byte first. The sum is then the right one with its bytes swapped,
modulo 65535, which multiplying by 256 makes good.
"""

from __future__ import annotations

import numpy as np

from testbed.columns.records import Column

MODULUS = 0xFFFF
_SWAP = 256


def add_words(data: bytes, start: Column, end: Column) -> Column:
    """For each stretch a number that is the sum of its 16-bit words modulo 65535; an odd last byte is padded.

    Stretches follow one another in `data`, at least 2 bytes apart; none is shorter than 2 bytes or longer than 65536.
    All are added from even places on, and the bytes that do not belong to them are taken away again; where a stretch
    begins at an odd place, its words are the right way round.
    """
    whole = len(data) // 2
    words, single = np.frombuffer(data, "<u2", whole), np.frombuffer(data, np.uint8)
    bounds = np.empty(2 * len(start), np.int64)
    bounds[::2] = start >> 1
    bounds[1::2] = end + 1 >> 1
    cut = bounds[-1] > whole  # the last byte of all has no word of its own
    if bounds[-1] >= whole:
        bounds = bounds[:-1]
    sums = np.add.reduceat(words, bounds, dtype=np.uint32)[::2].astype(np.int64)
    odd = start & 1 > 0
    sums[odd] -= single[start[odd] - 1]
    behind = (end & 1 > 0) & (end < len(data))
    sums[behind] -= single[end[behind]].astype(np.int64) << 8
    if cut:
        sums[-1] += single[-1]
    return np.where(odd, sums, sums * _SWAP)
