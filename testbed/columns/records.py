"""The records of a stretch of a capture as columns: where each frame is, how much of it, when.

From what the readers of `testbed.pcap` give: a stretch of the file and where records begin in it. The few that are out
of the ordinary (a packet block whose lengths are wrong, times that 64 bits do not hold) make the whole stretch go the
careful way, frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from testbed.pcap import classic, pcapng
from testbed.pcap.blocks import NANOSECONDS
from testbed.pcap.frame import Frame

Column = NDArray[np.int64]
_MOST_NS = 1 << 62
_ENHANCED = ("block", "size", "interface", "high", "low", "captured", "length")


@dataclass(frozen=True, slots=True)
class Records:
    """Columns, one row for each frame; `start` and `captured` say where it stands in `data`."""

    data: bytes
    start: Column
    captured: Column
    length: Column
    time_ns: Column
    interface: Column

    def frame(self, row: int) -> Frame:
        """One of the frames."""
        start, captured = int(self.start[row]), int(self.captured[row])
        data = self.data[start : start + captured]
        return Frame(int(self.time_ns[row]), data, int(self.length[row]), int(self.interface[row]))


def gather(data: bytes, offsets: Column, size: int) -> NDArray[np.void]:
    """The `size` bytes at each offset, one item for each; zeros behind the end of the data."""
    dtype = f"V{size}"
    if len(data) < size or (len(offsets) and int(offsets.max()) > len(data) - size):
        whole = offsets <= len(data) - size
        found = np.zeros(len(offsets), dtype)
        if whole.any():
            found[whole] = gather(data, offsets[whole], size)
        for row in np.flatnonzero(~whole).tolist():
            at = int(offsets[row])
            found[row] = np.void(data[at : at + size].ljust(size, b"\0"))
        return found
    return np.ndarray((len(data) - size + 1,), dtype, data, strides=(1,))[offsets]


def sort_out(hashes: NDArray[np.uint64]) -> tuple[Column, Column]:
    """Rows with one hash together: the first row of each hash, and which hash each row has, by number.

    Like `numpy.unique`, and several times faster: hash and row are sorted as one number. The lower bits of the hash go
    lost over that, so that the caller must look whether rows with one number are really alike.
    """
    bits = max(len(hashes) - 1, 1).bit_length()
    lower = np.uint64((1 << bits) - 1)
    keys = np.sort(hashes & ~lower | np.arange(len(hashes), dtype=np.uint64))
    rows = (keys & lower).astype(np.int64)
    keys >>= np.uint64(bits)
    begins = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    number = np.empty(len(keys), np.int64)
    number[rows] = np.cumsum(begins) - 1
    return rows[begins], number


def sort_stably(keys: NDArray[np.integer]) -> Column:
    """The order that sorts numbers from 0 to 2**31, equal ones as they stand; as above."""
    bits = max(len(keys) - 1, 1).bit_length()
    packed = np.sort(keys.astype(np.int64) << bits | np.arange(len(keys)))
    return packed & ((1 << bits) - 1)


def classic_records(reader: classic.Reader, data: bytes, offsets: list[int]) -> Records | None:
    """The records of a pcap file; None where the careful way must be gone."""
    if reader.may_be_swapped:
        return None
    at = np.array(offsets, np.int64)
    order = "<" if reader.form.order == "little" else ">"
    header = gather(data, at, classic.RECORD_HEADER).view(f"{order}u4").reshape(-1, 4).astype(np.int64)
    captured = header[:, 2]
    return Records(
        data=data,
        start=at + (classic.RECORD_HEADER + reader.extra),
        captured=captured,
        length=np.maximum(header[:, 3], captured),
        time_ns=header[:, 0] * NANOSECONDS + header[:, 1] * reader.form.unit,
        interface=np.zeros(len(at), np.int64),
    )


def enhanced_records(reader: pcapng.Reader, data: bytes, offsets: list[int]) -> Records | None:
    """The enhanced packets of a pcapng file; None where the careful way must be gone.

    Options of packets are left to the reader (they count drops).
    """
    at = np.array(offsets, np.int64)
    order = "<" if reader.layout.order == "little" else ">"
    fixed = gather(data, at, 4 * len(_ENHANCED)).view(f"{order}u4").reshape(-1, len(_ENHANCED)).astype(np.int64)
    _, size, interface, high, low, captured, length = fixed.T
    end = at + (size + 3 & ~3) - 4
    start = at + 28
    if not reader.clocks or (interface >= len(reader.clocks)).any() or (start + captured > end).any():
        return None
    time_ns = _times(reader, interface, high, low)
    if time_ns is None:
        return None
    with_options = np.flatnonzero(start + (captured + 3 & ~3) + 4 <= end)
    if len(with_options):
        reader.count_drops(offsets[row] for row in with_options.tolist())
    return Records(data, start, captured, np.maximum(length, captured), time_ns, interface + reader.first_interface)


def _times(reader: pcapng.Reader, interface: Column, high: Column, low: Column) -> Column | None:
    time_ns = np.zeros(len(interface), np.int64)
    for index in np.unique(interface).tolist():
        multiplier, divisor, offset_ns = reader.clocks[index]
        rows = interface == index
        if int(high[rows].max()) >= 1 << 31:
            return None
        units = high[rows] << 32 | low[rows]
        if int(units.max()) * multiplier >= _MOST_NS or divisor >= _MOST_NS or abs(offset_ns) >= _MOST_NS:
            return None
        time_ns[rows] = units * multiplier // divisor + offset_ns
    return time_ns
