"""Segments of many connections, waiting to be followed: one row each, with the number of the pair it belongs to.

A pair is two endpoints, whichever of them is the client. It has a number while it is of interest; then the number may
be given to others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from testbed.columns.headers import Mask, Segments
from testbed.columns.options import OptionTable
from testbed.columns.records import Column, Records, sort_out
from testbed.decode.ip import format_ipv6

Keys = NDArray[np.uint64]
Rows = NDArray[np.void]
End = tuple[str, int]

ROW = np.dtype(
    [
        ("pair", "i4"), ("side", "u1"), ("checksum_ok", "i1"), ("ttl", "u1"), ("ecn", "u1"), ("number", "i8"),
        ("time_ns", "i8"), ("sequence", "u4"), ("acknowledgement", "u4"), ("flags", "u2"), ("window", "u2"),
        ("length", "i4"), ("captured", "i4"), ("options", "i4"), ("tsval", "u4"), ("tsecr", "u4"), ("ip_id", "i4"),
        ("ip_length", "i4"), ("urgent", "u2"), ("interface", "u2"),
    ]
)  # fmt: skip
_BYTES = np.dtype(f"V{ROW.itemsize}")
_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)
_FIRST_IPV6 = 1 << 32  # numbers of IPv6 addresses; an IPv4 address is its own


def take(rows: Rows, which: Column | Mask) -> Rows:
    """Some of the rows; as plain bytes they are copied several times faster."""
    return rows.view(_BYTES)[which].view(ROW)


def join(parts: list[Rows]) -> Rows:
    """All rows of the parts."""
    return np.concatenate([np.empty(0, _BYTES), *(part.view(_BYTES) for part in parts)]).view(ROW)


class Addresses:
    """IPv6 addresses by number."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._texts: list[str] = []

    def number(self, addresses: NDArray[np.void]) -> Keys:
        """The numbers of addresses of 4 or 16 bytes."""
        if addresses.dtype.itemsize == 4:
            return addresses.view(">u4").astype(np.uint64)
        raw = addresses.tobytes()
        return np.array([self._number(raw[at : at + 16]) for at in range(0, len(raw), 16)], np.uint64)

    def text(self, number: int) -> str:
        """An address as text."""
        if number < _FIRST_IPV6:
            return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        return self._texts[number - _FIRST_IPV6]

    def _number(self, address: bytes) -> int:
        number = self._numbers.get(address)
        if number is None:
            number = self._numbers[address] = _FIRST_IPV6 + len(self._texts)
            self._texts.append(format_ipv6(address))
        return number


class Pairs:
    """The pairs by number: the lower and the higher of both endpoints, each as address << 16 | port."""

    def __init__(self) -> None:
        self.addresses = Addresses()
        self._numbers: dict[int, int] = {}  # by hash
        self._hashes = np.zeros(1024, np.uint64)
        self._ends = np.zeros((1024, 2), np.uint64)
        self._next = 0
        self._free: list[int] = []  # numbers that were dropped

    def number(self, lower: Keys, higher: Keys) -> Column:
        """The number of each pair; -1 where two pairs have one hash, and it belongs to the other."""
        hashes = lower * _MULTIPLIERS[0] ^ (higher * _MULTIPLIERS[1] >> np.uint64(7))
        first, inverse = sort_out(hashes)
        unique = hashes[first]
        get = self._numbers.get
        numbers = np.array([get(value, -1) for value in unique.tolist()], np.int64)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            numbers[new] = self._add(unique[new], np.stack([lower[first[new]], higher[first[new]]], axis=1))
        found: Column = numbers[inverse]
        ends = self._ends[found]
        found[(ends[:, 0] != lower) | (ends[:, 1] != higher)] = -1
        return found

    def find(self, lower: int, higher: int) -> int:
        """The number of one pair; -1 as above."""
        return int(self.number(np.array([lower], np.uint64), np.array([higher], np.uint64))[0])

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget pairs; their numbers may be given to others."""
        for number in numbers:
            hashed = int(self._hashes[number])
            if self._numbers.get(hashed) == number:
                del self._numbers[hashed]
                self._free.append(number)

    def ends(self, numbers: Column, from_higher: NDArray[np.generic]) -> Keys:
        """The ends of pairs, each time the sender first: it may be the higher one."""
        ends = self._ends[numbers]
        swapped = from_higher.astype(bool)
        ends[swapped] = ends[swapped, ::-1]
        return ends

    def name(self, ends: Keys) -> list[tuple[End, End]]:
        """Address and port of such ends."""
        unique, inverse = np.unique(ends >> np.uint64(16), return_inverse=True)
        texts = list(map(self.addresses.text, unique.tolist()))
        named = map(texts.__getitem__, inverse.ravel().tolist())
        both = iter(zip(named, (ends & np.uint64(0xFFFF)).ravel().tolist(), strict=True))
        return list(zip(both, both, strict=True))

    def are_one(self, numbers: Column) -> Mask:
        """Whether both ends are the same."""
        ends = self._ends[numbers]
        return np.equal(ends[:, 0], ends[:, 1])

    def _add(self, hashes: Keys, ends: Keys) -> Column:
        """Give numbers to new pairs."""
        again = min(len(self._free), len(hashes))
        fresh = range(self._next, self._next + len(hashes) - again)
        numbers = np.array([*self._free[len(self._free) - again :], *fresh], np.int64)
        del self._free[len(self._free) - again :]
        self._next = fresh.stop
        while self._next > len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._ends[numbers] = ends
        self._hashes[numbers] = hashes
        self._numbers.update(zip(hashes.tolist(), numbers.tolist(), strict=True))
        return numbers


def make_rows(
    records: Records, first_number: int, segments: Segments, pairs: Pairs, options: OptionTable
) -> tuple[Rows, Column]:
    """The segments as rows, and the rows of the records that are odd after all."""
    ip = segments.ip
    listed, tsval, tsecr, odd = options.read(records.data, segments)
    shift = np.uint64(16)
    source = pairs.addresses.number(ip.source) << shift | segments.source_port.astype(np.uint64)
    destination = pairs.addresses.number(ip.destination) << shift | segments.destination_port.astype(np.uint64)
    side = source > destination
    pair = pairs.number(np.where(side, destination, source), np.where(side, source, destination))
    odd |= pair < 0
    rows = np.empty(len(ip.row), ROW)
    rows["pair"] = pair
    rows["side"] = side
    rows["number"] = ip.row + first_number
    rows["time_ns"] = records.time_ns[ip.row]
    rows["interface"] = records.interface[ip.row]
    rows["sequence"] = segments.sequence
    rows["acknowledgement"] = segments.acknowledgement
    rows["flags"] = segments.flags
    rows["window"] = segments.window
    rows["urgent"] = segments.urgent
    rows["length"] = ip.end - segments.body
    rows["captured"] = segments.captured
    rows["options"] = listed
    rows["tsval"] = tsval
    rows["tsecr"] = tsecr
    rows["checksum_ok"] = segments.checksum_ok
    rows["ip_id"] = ip.ip_id
    rows["ip_length"] = ip.length
    rows["ttl"] = ip.ttl
    rows["ecn"] = ip.ecn
    return (rows, ip.row[:0]) if not odd.any() else (take(rows, ~odd), ip.row[odd])
