"""Reading of pcapng (draft-ietf-opsawg-pcapng).

A file is a row of sections, a section a row of blocks: type, length, body, the length again. A section header sets the
byte order and begins a new numbering of interfaces, which we make global by adding the number of those before. Times
count in units of the interface (if_tsresol, microseconds unless told) from if_tsoffset.

What is damaged is skipped with a warning where the next block can still be found, else the reading ends there. A last
block that is cut short is not read, as tshark does, so that packets have the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from testbed.pcap.blocks import (
    NANOSECONDS,
    Block,
    InterfaceOption,
    Option,
    PacketOption,
    StatisticsOption,
)
from testbed.pcap.frame import Direction, Frame, Interface, InterfaceStatistics
from testbed.pcap.layout import LAYOUTS, LITTLE
from testbed.pcap.notes import Notes

MAGIC = b"\x0a\x0d\x0d\x0a"
_SMALLEST_BLOCK = 12
_UNKNOWN_DROPS = 0xFFFF  # of the obsolete packet block
_MAX_COUNT = (1 << 64) - 1


class _Clock(NamedTuple):
    """An interface's time: units * multiplier // divisor + offset_ns."""

    multiplier: int = 1000
    divisor: int = 1
    offset_ns: int = 0


_DROPS = (StatisticsOption.DROPPED_BY_INTERFACE, StatisticsOption.DROPPED_BY_SYSTEM)
_DIRECTIONS = (Direction.UNKNOWN, Direction.IN, Direction.OUT, Direction.UNKNOWN)


def begins_section(data: bytes, offset: int = 0) -> bool:
    """Tell whether a section header block, or the beginning of a cut one, stands at `offset`."""
    order = data[offset + 8 : offset + 12]
    return data[offset : offset + 4] == MAGIC and (order in LAYOUTS or len(order) < 4)


class Reader:
    """Walks the blocks of one pcapng file; frames come out of `frames`, all else goes to the notes."""

    def __init__(self, data: bytes, notes: Notes) -> None:
        self._data = data
        self._notes = notes
        self._layout = LITTLE
        self._first_interface = 0  # global index of the section's interface 0
        self._clocks: list[_Clock] = []  # of the section's interfaces
        self._drops: dict[int, int] = {}  # by global index, from packets
        self._said_timeless = False
        self._handlers: dict[int, Callable[[int, int], Frame | None]] = {
            Block.INTERFACE: self._read_interface,
            Block.PACKET: self._read_packet,
            Block.SIMPLE: self._read_simple,
            Block.STATISTICS: self._read_statistics,
            Block.ENHANCED: self._read_enhanced,
            Block.SECTION: self._read_section,
        }

    def frames(self) -> Iterator[Frame]:
        """Yield the frames of all sections in file order."""
        data, end, handlers = self._data, len(self._data), self._handlers
        offset = 0
        while offset + _SMALLEST_BLOCK <= end:
            kind, stop = self._enter_block(offset)
            if stop is None:
                break
            handler = handlers.get(kind)
            frame = handler(offset + 8, stop - 4) if handler is not None else None
            if frame is not None:
                yield frame
            offset = stop
        if end - offset in range(1, _SMALLEST_BLOCK):
            self._notes.warn(
                offset, f"the file is cut short in a block's header: {end - offset} bytes {data[offset:]!r}"
            )
        self._report_drops()

    def _enter_block(self, offset: int) -> tuple[int, int | None]:
        """Give a block's type and where it ends; None for its end when nothing can be read from here on."""
        data = self._data
        if data[offset : offset + 4] == MAGIC and not self._set_byte_order(offset):
            return Block.SECTION, None
        kind, length = self._layout.block.unpack_from(data, offset)
        stop = offset + (length + 3 & ~3)  # some writers forget the padding in the length
        if length < _SMALLEST_BLOCK:
            self._notes.warn(offset, f"a block of {length} bytes cannot be; the file is damaged from here on")
            return kind, None
        if stop > len(data):
            self._notes.warn(offset, f"the file is cut short in a block: {len(data) - offset} of {length} bytes")
            return kind, None
        if not self._closes(stop, length) and not self._repair(offset, stop):
            return kind, None
        return kind, stop

    def _set_byte_order(self, offset: int) -> bool:
        layout = LAYOUTS.get(self._data[offset + 8 : offset + 12])
        if layout is None:
            self._notes.warn(offset, "a section header without a byte order; the file is damaged from here on")
            return False
        self._layout = layout
        return True

    def _closes(self, stop: int, length: int) -> bool:
        return self._data[stop - 4 : stop] == length.to_bytes(4, self._layout.order)

    def _repair(self, offset: int, stop: int) -> bool:
        """Go on after a block whose two lengths differ if another good block, or the end, follows; say which."""
        goes_on = stop == len(self._data) or begins_section(self._data, stop) or self._is_whole(stop)
        tail = "read by the first" if goes_on else "the file is damaged from here on"
        self._notes.warn(offset, f"a block's two lengths differ; {tail}")
        return goes_on

    def _is_whole(self, offset: int) -> bool:
        if offset + _SMALLEST_BLOCK > len(self._data):
            return False
        _, length = self._layout.block.unpack_from(self._data, offset)
        stop = offset + (length + 3 & ~3)
        return length >= _SMALLEST_BLOCK and stop <= len(self._data) and self._closes(stop, length)

    def _lacks(self, offset: int, end: int, needed: Struct, what: str) -> bool:
        if end - offset >= needed.size:
            return False
        self._notes.warn(offset - 8, f"{what} is too short: {end - offset} of {needed.size} bytes")
        return True

    def _read_section(self, offset: int, end: int) -> None:
        self._first_interface = len(self._notes.interfaces)
        self._clocks = []
        if self._lacks(offset, end, self._layout.section, "a section header"):
            return
        major, minor = self._layout.section.unpack_from(self._data, offset)
        if major != 1:
            self._notes.warn(offset - 8, f"pcapng version {major}.{minor} is not known; read as 1.0")
        options = self._options(offset + self._layout.section.size, end)
        self._notes.comments.extend(_text(value) for code, value in options if code == Option.COMMENT)

    def _read_interface(self, offset: int, end: int) -> None:
        if self._lacks(offset, end, self._layout.interface, "an interface description"):
            return
        link_type, _, snap_length = self._layout.interface.unpack_from(self._data, offset)
        options = dict(self._options(offset + 8, end))
        self._clocks.append(self._read_clock(offset - 8, options))
        rule = options.get(InterfaceOption.FILTER, b"")
        self._notes.interfaces.append(
            Interface(
                name=_text(options.get(InterfaceOption.NAME, b"")),
                link_type=link_type,
                snap_length=snap_length,
                description=_text(options.get(InterfaceOption.DESCRIPTION, b"")),
                filter=_text(rule[1:]) if rule[:1] == b"\0" else "",  # 1 would be BPF bytecode
            )
        )

    def _read_clock(self, offset: int, options: dict[int, bytes]) -> _Clock:
        resolution = options.get(InterfaceOption.TIME_RESOLUTION, b"\x06")
        shift = options.get(InterfaceOption.TIME_OFFSET, bytes(8))
        if len(resolution) != 1 or len(shift) != 8:
            self._notes.warn(offset, "if_tsresol or if_tsoffset has a wrong length; microseconds assumed")
            return _Clock()
        offset_ns = int.from_bytes(shift, self._layout.order, signed=True) * NANOSECONDS
        exponent = resolution[0] & 0x7F
        if resolution[0] & 0x80:
            return _Clock(NANOSECONDS, 1 << exponent, offset_ns)
        if exponent <= 9:
            return _Clock(10 ** (9 - exponent), 1, offset_ns)
        return _Clock(1, 10 ** (exponent - 9), offset_ns)

    def _read_enhanced(self, offset: int, end: int) -> Frame | None:
        if end - offset < 20:
            self._lacks(offset, end, self._layout.enhanced, "a packet block")
            return None
        interface, high, low, captured, length = self._layout.enhanced.unpack_from(self._data, offset)
        return self._read_frame(interface, high << 32 | low, offset + 20, captured, length, end)

    def _read_packet(self, offset: int, end: int) -> Frame | None:
        if self._lacks(offset, end, self._layout.packet, "a packet block"):
            return None
        interface, drops, high, low, captured, length = self._layout.packet.unpack_from(self._data, offset)
        if drops not in (0, _UNKNOWN_DROPS):
            self._count_drops(interface, drops)
        return self._read_frame(interface, high << 32 | low, offset + 20, captured, length, end)

    def _read_simple(self, offset: int, end: int) -> Frame | None:
        if self._lacks(offset, end, self._layout.simple, "a simple packet block"):
            return None
        if not self._clocks:
            self._notes.warn(offset - 8, "a packet on interface 0, which is not described; skipped")
            return None
        if not self._said_timeless:
            self._said_timeless = True
            self._notes.warn(offset - 8, "simple packet blocks carry no time; these packets have time 0")
        (length,) = self._layout.simple.unpack_from(self._data, offset)
        limit = self._notes.interfaces[self._first_interface].snap_length or length
        body = self._take(offset - 8, offset + 4, min(length, limit), end)
        return Frame(0, body, length if length > len(body) else len(body), self._first_interface)

    def _read_frame(self, interface: int, units: int, start: int, captured: int, length: int, end: int) -> Frame | None:
        if interface >= len(self._clocks):
            self._notes.warn(start - 28, f"a packet on interface {interface}, which is not described; skipped")
            return None
        body = self._take(start - 28, start, captured, end)
        multiplier, divisor, offset_ns = self._clocks[interface]
        time_ns = units * multiplier // divisor + offset_ns
        index = self._first_interface + interface
        length = length if length > len(body) else len(body)
        options = start + (captured + 3 & ~3)
        if options + 4 > end:
            return Frame(time_ns, body, length, index)
        direction, comments = self._read_packet_options(interface, options, end)
        return Frame(time_ns, body, length, index, direction, comments)

    def _take(self, block: int, start: int, size: int, end: int) -> bytes:
        if start + size > end:
            self._notes.warn(block, f"a packet of {size} bytes in a block that has room for {end - start}")
            size = end - start
        return self._data[start : start + size]

    def _read_packet_options(self, interface: int, offset: int, end: int) -> tuple[Direction, tuple[str, ...]]:
        direction = Direction.UNKNOWN
        comments: list[str] = []
        for code, value in self._options(offset, end):
            if code == Option.COMMENT:
                comments.append(_text(value))
            elif code == PacketOption.FLAGS and len(value) == 4:
                direction = _DIRECTIONS[self._layout.number(value) & 3]
            elif code == PacketOption.DROP_COUNT and len(value) == 8:
                self._count_drops(interface, self._layout.number(value))
        return direction, tuple(comments)

    def _read_statistics(self, offset: int, end: int) -> None:
        if self._lacks(offset, end, self._layout.statistics, "an interface statistics block"):
            return
        interface, _, _ = self._layout.statistics.unpack_from(self._data, offset)
        if interface >= len(self._clocks):
            self._notes.warn(offset - 8, f"statistics of interface {interface}, which is not described; skipped")
            return
        options = self._options(offset + 12, end)
        counts = {code: self._layout.number(value) for code, value in options if len(value) == 8}
        dropped = [counts[code] for code in _DROPS if code in counts]
        self._notes.statistics.append(
            InterfaceStatistics(
                interface=self._first_interface + interface,
                received=counts.get(StatisticsOption.RECEIVED),
                dropped=min(sum(dropped), _MAX_COUNT) if dropped else None,
            )
        )

    def _options(self, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        unpack = self._layout.option.unpack_from
        while offset + 4 <= end:
            code, length = unpack(self._data, offset)
            offset += 4
            if code == Option.END:
                return
            if offset + length > end:
                self._notes.warn(offset - 4, f"option {code} of {length} bytes is longer than its block")
                return
            yield code, self._data[offset : offset + length]
            offset += length + 3 & ~3

    def _count_drops(self, interface: int, count: int) -> None:
        index = self._first_interface + interface
        self._drops[index] = self._drops.get(index, 0) + count

    def _report_drops(self) -> None:
        """Drops that only packets tell of become statistics; statistics blocks, where there are, already count them."""
        told = {one.interface for one in self._notes.statistics}
        for interface, count in sorted(self._drops.items()):
            if interface not in told and interface < len(self._notes.interfaces):
                self._notes.statistics.append(InterfaceStatistics(interface, None, min(count, _MAX_COUNT)))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")  # some writers end texts with zeros
