"""TCP options of many segments at once: each list of options that occurs is read once (by `testbed.decode.options`).

Most segments have none, or timestamps alone. Of the others only those with options that open a connection are plain;
their timestamps are taken out first, so that few lists differ. Anything else is odd.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from testbed.columns.headers import Mask, Segments
from testbed.columns.records import Column, gather, sort_out
from testbed.decode.options import read_options
from testbed.packet import NO_OPTIONS, Options

NONE, STAMPED = 0, 1  # the first entries of every table
_ALONE = int.from_bytes(b"\x01\x01\x08\x0a", "big")
_MOST_BYTES = 40
_END, _NO_OPERATION, _TIMESTAMPS = 0, 1, 8
_PLAIN_KINDS = (2, 3, 4, _TIMESTAMPS)  # of a SYN: MSS, window scale, SACK permitted
_TELLING = [0, 1, 4, 5]  # of the words of a list, those without timestamps in the lists of Linux and Windows
_MULTIPLIERS = np.array([2 * step**9 + 1 for step in (11, 27, 43, 59)], np.uint64)  # any odd ones
_ROUNDS = 8
_MOST_LISTS = 50_000  # more are no traffic that was ever seen


class Stamped(NamedTuple):
    """Options as `testbed.packet.Options` has them, cheaper to make."""

    mss: int | None
    window_scale: int | None
    sack_permitted: bool
    sack: tuple[tuple[int, int], ...]
    timestamps: tuple[int, int] | None
    fast_open: bytes | None
    mptcp: bool
    md5: bool
    unknown: tuple[int, ...]
    malformed: bool


class OptionTable:
    """Lists of options by number; their timestamps are 0 here, and kept beside the number in the segments' columns."""

    def __init__(self) -> None:
        self.entries: list[Options] = [NO_OPTIONS, Options(timestamps=(0, 0))]
        self._numbers: dict[bytes, int] = {}

    def options(self, number: int, tsval: int, tsecr: int) -> Options:
        """A segment's options."""
        if number == NONE:
            return NO_OPTIONS
        o = self.entries[number]
        if o.timestamps is None:
            return o
        return cast(
            Options,
            Stamped(
                o.mss, o.window_scale, o.sack_permitted, o.sack, (tsval, tsecr), o.fast_open, o.mptcp, o.md5, o.unknown,
                o.malformed,
            ),
        )  # fmt: skip

    def facts(self) -> tuple[NDArray[np.int16], Mask]:
        """For each list its window scale (-1: none), and whether it has timestamps."""
        scales = [-1 if entry.window_scale is None else entry.window_scale for entry in self.entries]
        return np.array(scales, np.int16), np.array([entry.timestamps is not None for entry in self.entries], bool)

    def read(self, data: bytes, segments: Segments) -> tuple[Column, Column, Column, Mask]:
        """For each segment the number of its list, its timestamps, and whether it is odd."""
        size = segments.body - segments.options
        number = np.zeros(len(size), np.int64)
        odd = np.zeros(len(size), bool)
        stamps = np.zeros((len(size), 2), np.int64)
        twelve = np.flatnonzero(size == 12)
        if len(twelve):
            words = gather(data, segments.options[twelve], 12).view(">u4").reshape(-1, 3)
            alone = words[:, 0] == _ALONE
            number[twelve[alone]] = STAMPED
            stamps[twelve[alone]] = words[alone, 1:]
        rest = np.flatnonzero((size > 0) & (number == NONE))
        if len(rest):
            opening = segments.flags[rest] & 2 > 0  # SYN
            odd[rest[~opening]] = True
            rest = rest[opening]
        if len(rest):
            number[rest], stamps[rest], odd[rest] = self._read_lists(data, segments.options[rest], size[rest])
        return number, stamps[:, 0], stamps[:, 1], odd

    def _read_lists(self, data: bytes, at: Column, size: Column) -> tuple[Column, NDArray[np.int64], Mask]:
        """Lists that seem alike are compared with one of them, which alone is walked; a few rounds find all."""
        lists = gather(data, at, _MOST_BYTES).view("u1").reshape(-1, _MOST_BYTES)
        lists[np.arange(_MOST_BYTES)[None, :] >= size[:, None]] = 0
        number = np.full(len(at), -1, np.int64)
        stamps = np.zeros((len(at), 2), np.int64)
        left = np.arange(len(at))
        for _ in range(_ROUNDS):
            words = lists.view("<u4")[left]
            hashes = (words[:, _TELLING].astype(np.uint64) * _MULTIPLIERS).sum(axis=1) + size[left].astype(np.uint64)
            first, alike = sort_out(hashes)
            found = [self._find(lists[row, : size[row]].tobytes()) for row in left[first].tolist()]
            known = np.array([one for one, _ in found], np.int64)[alike]
            place = np.array([where for _, where in found], np.int64)[alike]
            there = left[place > 0]
            bytes_of = place[place > 0, None] + np.arange(8)
            seen = lists[there[:, None], bytes_of]
            lists[there[:, None], bytes_of] = 0
            like, whole = left[first[alike]], lists.view("u8")
            same = (whole[left] == whole[like]).all(axis=1) & (size[left] == size[like])
            stamps[there] = seen.view(">u4")
            number[left[same]] = known[same]
            other = ~same[place > 0]
            lists[there[other, None], bytes_of[other]] = seen[other]
            stamps[there[other]] = 0
            left = left[~same]
            if not len(left):
                break
        return np.maximum(number, 0), stamps, number < 0

    def _find(self, option_list: bytes) -> tuple[int, int]:
        """The number of a list (-1: it is odd), and where its timestamps are (0: nowhere)."""
        place = _find_timestamps(option_list)
        if place is None:
            return -1, 0
        return self._number(option_list[:place] + bytes(8) + option_list[place + 8 :] if place else option_list), place

    def _number(self, option_list: bytes) -> int:
        number = self._numbers.get(option_list)
        if number is None:
            if len(self.entries) >= _MOST_LISTS:
                return -1
            number = self._numbers[option_list] = len(self.entries)
            self.entries.append(read_options(option_list))
        return number


def _find_timestamps(option_list: bytes) -> int | None:
    """Where the timestamps of a list are, 0 if nowhere; None if the list is not plain."""
    at, place = 0, 0
    while at < len(option_list) and option_list[at] != _END:
        kind = option_list[at]
        if kind == _NO_OPERATION:
            at += 1
            continue
        length = option_list[at + 1] if at + 1 < len(option_list) else 0
        if kind not in _PLAIN_KINDS or length < 2 or at + length > len(option_list):
            return None
        if kind == _TIMESTAMPS:
            if length != 10 or place:
                return None
            place = at + 2
        at += length
    return place
