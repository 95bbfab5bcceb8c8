"""Reading of pcap, the classic format (draft-ietf-opsawg-pcap, pcap-savefile(5)).

A file header of 24 bytes, then records: 16 bytes of header (seconds, fraction, bytes captured, bytes on the wire) and
the bytes. The magic number tells byte order and unit of the fraction. Variants met in the wild (libpcap's
sf-pcap.c and Wireshark's libpcap.c know them) have more bytes in the file's or in each record's header, some of them
under the usual magic number: which it is, the first records tell. Versions before 2.3 have the two lengths swapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Literal, NamedTuple

from testbed.pcap.blocks import LONGEST_FRAME, NANOSECONDS, USUAL_SNAP_LENGTH
from testbed.pcap.frame import Frame, Interface
from testbed.pcap.notes import Notes
from testbed.pcap.window import Window


class Format(NamedTuple):
    """What a magic number says of the file."""

    order: Literal["little", "big"]
    unit: int = 1000  # nanoseconds in a unit of the fraction
    extras: tuple[int, ...] = (0, 4, 8)  # bytes that may follow the usual record header, the likeliest first
    more_header: int = 0  # bytes that follow the usual file header


_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
# the magic number, and what it says apart from the byte order
_MAGICS = {
    0xA1B2C3D4: Format("little"),  # 4 bytes more in each record: Nokia; 8: old patched libpcaps
    0xA1B23C4D: Format("little", 1, (0,)),
    0xA12B3C4D: Format("little", 1, (0,)),  # Navtel
    0xA1B2CD34: Format("little", 1000, (8, 12)),  # Alexey Kuznetsov's of old Red Hat; 12: SuSE 6.3
    0x1C0001AC: Format("little", 1, (0,), 4),  # IXIA, from hardware and from software
    0x1C0001AB: Format("little", 1, (0,), 4),
}
FORMATS: dict[bytes, Format] = {
    magic.to_bytes(4, order): form._replace(order=order) for magic, form in _MAGICS.items() for order in _ORDERS
}
RECORD_HEADER = 16
_FILE_HEADER = 24
_LINK_TYPE_MASK = 0xFFFF  # the bits above tell of a frame check sequence
_TRIED = 8  # records that must be plausible to choose a variant


class Reader:
    """Walks the records of one pcap file; its one interface and all warnings go to the notes."""

    def __init__(self, window: Window, notes: Notes) -> None:
        self._window = window
        self._notes = notes
        self._longest = USUAL_SNAP_LENGTH
        self._swapped: int | None = None  # minor version where the two lengths are swapped, or may be
        window.more(4)
        self.form = FORMATS[window.data[window.at : window.at + 4]]
        self.extra = self.form.extras[0]

    @property
    def header(self) -> Struct:
        """A record's header: seconds, fraction, captured, length."""
        return Struct(f"{'<' if self.form.order == 'little' else '>'}IIII{self.extra}x")

    def runs(self) -> Iterator[tuple[bytes, list[int]]]:
        """Give stretches of the file and where in them whole records begin, until nothing can be read any more."""
        window = self._window
        if not self._read_file_header():
            return
        size, length_at = RECORD_HEADER + self.extra, self._length_at()
        while True:
            offsets = self._walk(size, length_at)
            if offsets:
                yield window.data, offsets
            if not window.more(size):
                break
            captured = self._captured(window.data, window.at)
            if captured > self._longest:
                self._warn(f"a packet of {captured} bytes cannot be (at most {self._longest}); {_DAMAGED}")
                return
            if not window.more(size + captured):
                self._warn(f"the file is cut short in a packet: {window.left - size} of {captured} bytes")
                return
        if window.left:
            self._warn(f"the file is cut short in a packet's header: {window.left} of {size} bytes")

    def frames(self) -> Iterator[Frame]:
        """Yield the frames one by one."""
        for data, offsets in self.runs():
            yield from self.read_run(data, offsets)

    def read_run(self, data: bytes, offsets: Iterable[int]) -> Iterator[Frame]:
        """Read one by one the records of a stretch that `runs` gave."""
        header = self.header
        unpack, size, unit = header.unpack_from, header.size, self.form.unit
        for offset in offsets:
            seconds, fraction, captured, length = unpack(data, offset)
            if self._swapped is not None and self.is_swapped(captured, length):
                captured, length = length, captured
            start = offset + size
            time_ns = seconds * NANOSECONDS + fraction * unit
            yield Frame(time_ns, data[start : start + captured], length if length > captured else captured)

    def is_swapped(self, captured: int, length: int) -> bool:
        """Whether the two lengths of a record of this file stand the other way round (before version 2.3, and in
        some of 2.3)."""
        return self._swapped is not None and (self._swapped < 3 or captured > length)

    @property
    def may_be_swapped(self) -> bool:
        """Whether `is_swapped` can be true in this file."""
        return self._swapped is not None

    def _read_file_header(self) -> bool:
        window, size = self._window, _FILE_HEADER + self.form.more_header
        if not window.more(size):
            self._warn(f"the file header is cut short: {window.left} of {size} bytes")
            return False
        order = "<" if self.form.order == "little" else ">"
        major, minor, snap_length, link_type = Struct(order + "HH8xII").unpack_from(window.data, window.at + 4)
        self._notes.interfaces.append(Interface("", link_type & _LINK_TYPE_MASK, snap_length))
        if major != 2:
            self._notes.warn(4, f"pcap version {major}.{minor} is not known; read as 2.4")
        elif minor <= 3:
            self._swapped = minor
        self._longest = min(max(snap_length, USUAL_SNAP_LENGTH), LONGEST_FRAME)
        window.at += size
        self._choose_variant()
        return True

    def _choose_variant(self) -> None:
        """Take the first variant in which the first records follow one another."""
        window = self._window
        window.more(_TRIED * (RECORD_HEADER + 1500))
        usual, *others = self.form.extras
        if others and not self._is_plausible(usual, 0):
            self.extra = next((extra for extra in others if self._is_plausible(extra, 2)), usual)

    def _is_plausible(self, extra: int, least: int) -> bool:
        """Whether the first records, at least so many or all there are, can have so many bytes more."""
        window = self._window
        header = Struct(("<" if self.form.order == "little" else ">") + "IIII")
        at, second = window.at, NANOSECONDS // self.form.unit
        for tried in range(_TRIED):
            if at + RECORD_HEADER + extra > len(window.data):
                return tried >= least or (tried > 0 and at == len(window.data))
            _, fraction, captured, length = header.unpack_from(window.data, at)
            if self.is_swapped(captured, length):
                captured, length = length, captured
            if not least <= captured <= self._longest or not captured <= length <= LONGEST_FRAME or fraction >= second:
                return False  # in a variant, a row of zeros is no record
            at += RECORD_HEADER + extra + captured
        return True

    def _length_at(self) -> Struct:
        return Struct("<I" if self.form.order == "little" else ">I")

    def _walk(self, size: int, length_at: Struct) -> list[int]:
        """Find the records that are at hand as a whole, and move behind them. Only lengths are looked at."""
        if self._swapped is not None:
            return self._walk_swapped(size)
        window, longest, unpack = self._window, self._longest, length_at.unpack_from
        data, at = window.data, window.at
        end, last = len(data), len(data) - size
        offsets: list[int] = []
        found = offsets.append
        while at <= last:
            (captured,) = unpack(data, at + 8)
            stop = at + size + captured
            if stop > end or captured > longest:
                break
            found(at)
            at = stop
        window.at = at
        return offsets

    def _walk_swapped(self, size: int) -> list[int]:
        window = self._window
        offsets: list[int] = []
        while window.left >= size:
            captured = self._captured(window.data, window.at)
            if captured > self._longest or size + captured > window.left:
                break
            offsets.append(window.at)
            window.at += size + captured
        return offsets

    def _captured(self, data: bytes, offset: int) -> int:
        _, _, captured, length = self.header.unpack_from(data, offset)
        return int(length if self.is_swapped(captured, length) else captured)

    def _warn(self, words: str) -> None:
        self._notes.warn(self._window.base + self._window.at, words)


_DAMAGED = "the file is damaged from here on"
