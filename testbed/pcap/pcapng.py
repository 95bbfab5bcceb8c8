"""Reading of pcapng (draft-ietf-opsawg-pcapng).

A file is a row of sections, a section a row of blocks: type, length, body, the length again. A section header sets the
byte order and begins a new numbering of interfaces, which we make global by adding the number of those before. Times
count in units of the interface (if_tsresol, microseconds unless told) from if_tsoffset.

What is damaged is skipped with a warning where the next block can still be found, else the reading ends there. A last
block that is cut short is not read, as tshark does, so that packets have the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import NamedTuple

from testbed.pcap.blocks import (
    LONGEST_BLOCK,
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
from testbed.pcap.window import Window

MAGIC = b"\x0a\x0d\x0d\x0a"
_SMALLEST_BLOCK = 12
_SMALLEST_PACKET = 32
_UNKNOWN_DROPS = 0xFFFF  # of the obsolete packet block
_MAX_COUNT = (1 << 64) - 1


class Clock(NamedTuple):
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
    """Walks the blocks of one pcapng file; frames come out of `frames`, all else goes to the notes.

    Offsets are those in the bytes at hand, and good until more of the file is asked for.
    """

    def __init__(self, window: Window, notes: Notes) -> None:
        self._window = window
        self._data = window.data
        self._notes = notes
        self.layout = LITTLE
        self.first_interface = 0  # global index of the section's interface 0
        self.clocks: list[Clock] = []  # of the section's interfaces
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
        for run in self.runs():
            if isinstance(run, Frame):
                yield run
            else:
                yield from self.read_run(*run)

    def read_run(self, data: bytes, offsets: Iterable[int]) -> Iterator[Frame]:
        """Read one by one the packets of a run that `runs` gave last."""
        length_at = self.layout.block
        for offset in offsets:
            frame = self._read_enhanced(offset + 8, offset + (length_at.unpack_from(data, offset)[1] + 3 & ~3) - 4)
            if frame is not None:
                yield frame

    def count_drops(self, offsets: Iterable[int]) -> None:
        """Read only the options of packets of the run that `runs` gave last."""
        for offset in offsets:
            interface, _, _, captured, _ = self.layout.enhanced.unpack_from(self._data, offset + 8)
            end = offset + (self.layout.block.unpack_from(self._data, offset)[1] + 3 & ~3) - 4
            self._read_packet_options(interface, offset + 28 + (captured + 3 & ~3), end)

    def runs(self) -> Iterator[tuple[bytes, list[int]] | Frame]:
        """Give stretches of the file and where in them enhanced packets begin, and the frames of other packets."""
        window = self._window
        while window.more(_SMALLEST_BLOCK):
            self._data = window.data
            offsets = self._walk_packets()
            if offsets:
                yield window.data, offsets
                continue
            size = self._enter_block()
            if size is None:
                break
            self._data, at = window.data, window.at
            handler = self._handlers.get(self.layout.block.unpack_from(self._data, at)[0])
            frame = handler(at + 8, at + size - 4) if handler is not None else None
            window.at = at + size
            if frame is not None:
                yield frame
        else:
            if window.left:
                beginning = window.data[window.at :]
                self._warn(window.at, f"the file is cut short in a block's header: {window.left} bytes {beginning!r}")
        self._report_drops()

    def _walk_packets(self) -> list[int]:
        """Find the whole enhanced packets that follow one another at hand, and move behind them."""
        window, unpack = self._window, self.layout.block.unpack_from
        data, at = window.data, window.at
        end, last = len(data), len(data) - _SMALLEST_PACKET
        offsets: list[int] = []
        found = offsets.append
        while at <= last:
            kind, length = unpack(data, at)
            stop = at + (length + 3 & ~3)
            if kind != Block.ENHANCED or stop > end or length < _SMALLEST_PACKET:
                break
            if data[stop - 4 : stop] != data[at + 4 : at + 8]:
                break
            found(at)
            at = stop
        window.at = at
        return offsets

    def _enter_block(self) -> int | None:
        """Have the next block at hand; give its size, or None when nothing can be read from here on."""
        window = self._window
        if window.data[window.at : window.at + 4] == MAGIC and not self._set_byte_order():
            return None
        _, length = self.layout.block.unpack_from(window.data, window.at)
        size = length + 3 & ~3  # some writers forget the padding in the length
        if length < _SMALLEST_BLOCK:
            self._warn(window.at, f"a block of {length} bytes cannot be; the file is damaged from here on")
            return None
        if not window.more(min(size, LONGEST_BLOCK)):
            self._warn(window.at, f"the file is cut short in a block: {window.left} of {length} bytes")
            return None
        if size > LONGEST_BLOCK:
            self._warn(window.at, f"a block of {length} bytes is too long; the file is damaged from here on")
            return None
        return size if self._closes(0, length) or self._repair(size) else None

    def _set_byte_order(self) -> bool:
        window = self._window
        layout = LAYOUTS.get(window.data[window.at + 8 : window.at + 12])
        if layout is None:
            self._warn(window.at, "a section header without a byte order; the file is damaged from here on")
            return False
        self.layout = layout
        return True

    def _closes(self, ahead: int, length: int) -> bool:
        """Whether a block, so many bytes ahead, ends with its length."""
        stop = self._window.at + ahead + (length + 3 & ~3)
        return self._window.data[stop - 4 : stop] == length.to_bytes(4, self.layout.order)

    def _repair(self, size: int) -> bool:
        """Go on after a block whose two lengths differ if another good block, or the end, follows; say which."""
        window = self._window
        window.more(size + _SMALLEST_BLOCK)
        at_end = window.left == size
        goes_on = at_end or begins_section(window.data, window.at + size) or self._is_whole(size)
        tail = "read by the first" if goes_on else "the file is damaged from here on"
        self._warn(window.at, f"a block's two lengths differ; {tail}")
        return goes_on

    def _is_whole(self, ahead: int) -> bool:
        window = self._window
        if window.left < ahead + _SMALLEST_BLOCK:
            return False
        _, length = self.layout.block.unpack_from(window.data, window.at + ahead)
        if not _SMALLEST_BLOCK <= length <= LONGEST_BLOCK or not window.more(ahead + (length + 3 & ~3)):
            return False
        return self._closes(ahead, length)

    def _warn(self, offset: int, words: str) -> None:
        self._notes.warn(self._window.base + offset, words)

    def _lacks(self, offset: int, end: int, needed: Struct, what: str) -> bool:
        if end - offset >= needed.size:
            return False
        self._warn(offset - 8, f"{what} is too short: {end - offset} of {needed.size} bytes")
        return True

    def _read_section(self, offset: int, end: int) -> None:
        self.first_interface = len(self._notes.interfaces)
        self.clocks = []
        if self._lacks(offset, end, self.layout.section, "a section header"):
            return
        major, minor = self.layout.section.unpack_from(self._data, offset)
        if major != 1:
            self._warn(offset - 8, f"pcapng version {major}.{minor} is not known; read as 1.0")
        options = self._options(offset + self.layout.section.size, end)
        self._notes.comments.extend(_text(value) for code, value in options if code == Option.COMMENT)

    def _read_interface(self, offset: int, end: int) -> None:
        if self._lacks(offset, end, self.layout.interface, "an interface description"):
            return
        link_type, _, snap_length = self.layout.interface.unpack_from(self._data, offset)
        options = dict(self._options(offset + 8, end))
        self.clocks.append(self._read_clock(offset - 8, options))
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

    def _read_clock(self, offset: int, options: dict[int, bytes]) -> Clock:
        resolution = options.get(InterfaceOption.TIME_RESOLUTION, b"\x06")
        shift = options.get(InterfaceOption.TIME_OFFSET, bytes(8))
        if len(resolution) != 1 or len(shift) != 8:
            self._warn(offset, "if_tsresol or if_tsoffset has a wrong length; microseconds assumed")
            return Clock()
        offset_ns = int.from_bytes(shift, self.layout.order, signed=True) * NANOSECONDS
        exponent = resolution[0] & 0x7F
        if resolution[0] & 0x80:
            return Clock(NANOSECONDS, 1 << exponent, offset_ns)
        if exponent <= 9:
            return Clock(10 ** (9 - exponent), 1, offset_ns)
        return Clock(1, 10 ** (exponent - 9), offset_ns)

    def _read_enhanced(self, offset: int, end: int) -> Frame | None:
        if end - offset < 20:
            self._lacks(offset, end, self.layout.enhanced, "a packet block")
            return None
        interface, high, low, captured, length = self.layout.enhanced.unpack_from(self._data, offset)
        return self._read_frame(interface, high << 32 | low, offset + 20, captured, length, end)

    def _read_packet(self, offset: int, end: int) -> Frame | None:
        if self._lacks(offset, end, self.layout.packet, "a packet block"):
            return None
        interface, drops, high, low, captured, length = self.layout.packet.unpack_from(self._data, offset)
        if drops not in (0, _UNKNOWN_DROPS):
            self._count_drops(interface, drops)
        return self._read_frame(interface, high << 32 | low, offset + 20, captured, length, end)

    def _read_simple(self, offset: int, end: int) -> Frame | None:
        if self._lacks(offset, end, self.layout.simple, "a simple packet block"):
            return None
        if not self.clocks:
            self._warn(offset - 8, "a packet on interface 0, which is not described; skipped")
            return None
        if not self._said_timeless:
            self._said_timeless = True
            self._warn(offset - 8, "simple packet blocks carry no time; these packets have time 0")
        (length,) = self.layout.simple.unpack_from(self._data, offset)
        limit = self._notes.interfaces[self.first_interface].snap_length or length
        body = self._take(offset - 8, offset + 4, min(length, limit), end)
        return Frame(0, body, length if length > len(body) else len(body), self.first_interface)

    def _read_frame(self, interface: int, units: int, start: int, captured: int, length: int, end: int) -> Frame | None:
        if interface >= len(self.clocks):
            self._warn(start - 28, f"a packet on interface {interface}, which is not described; skipped")
            return None
        body = self._take(start - 28, start, captured, end)
        multiplier, divisor, offset_ns = self.clocks[interface]
        time_ns = units * multiplier // divisor + offset_ns
        index = self.first_interface + interface
        length = length if length > len(body) else len(body)
        options = start + (captured + 3 & ~3)
        if options + 4 > end:
            return Frame(time_ns, body, length, index)
        direction, comments = self._read_packet_options(interface, options, end)
        return Frame(time_ns, body, length, index, direction, comments)

    def _take(self, block: int, start: int, size: int, end: int) -> bytes:
        if start + size > end:
            self._warn(block, f"a packet of {size} bytes in a block that has room for {end - start}")
            size = end - start
        return self._data[start : start + size]

    def _read_packet_options(self, interface: int, offset: int, end: int) -> tuple[Direction, tuple[str, ...]]:
        direction = Direction.UNKNOWN
        comments: list[str] = []
        for code, value in self._options(offset, end):
            if code == Option.COMMENT:
                comments.append(_text(value))
            elif code == PacketOption.FLAGS and len(value) == 4:
                direction = _DIRECTIONS[self.layout.number(value) & 3]
            elif code == PacketOption.DROP_COUNT and len(value) == 8:
                self._count_drops(interface, self.layout.number(value))
        return direction, tuple(comments)

    def _read_statistics(self, offset: int, end: int) -> None:
        if self._lacks(offset, end, self.layout.statistics, "an interface statistics block"):
            return
        interface, _, _ = self.layout.statistics.unpack_from(self._data, offset)
        if interface >= len(self.clocks):
            self._warn(offset - 8, f"statistics of interface {interface}, which is not described; skipped")
            return
        options = self._options(offset + 12, end)
        counts = {code: self.layout.number(value) for code, value in options if len(value) == 8}
        dropped = [counts[code] for code in _DROPS if code in counts]
        self._notes.statistics.append(
            InterfaceStatistics(
                interface=self.first_interface + interface,
                received=counts.get(StatisticsOption.RECEIVED),
                dropped=min(sum(dropped), _MAX_COUNT) if dropped else None,
            )
        )

    def _options(self, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
        unpack = self.layout.option.unpack_from
        while offset + 4 <= end:
            code, length = unpack(self._data, offset)
            offset += 4
            if code == Option.END:
                return
            if offset + length > end:
                self._warn(offset - 4, f"option {code} of {length} bytes is longer than its block")
                return
            yield code, self._data[offset : offset + length]
            offset += length + 3 & ~3

    def _count_drops(self, interface: int, count: int) -> None:
        index = self.first_interface + interface
        self._drops[index] = self._drops.get(index, 0) + count

    def _report_drops(self) -> None:
        """Drops that only packets tell of become statistics; statistics blocks, where there are, already count them."""
        told = {one.interface for one in self._notes.statistics}
        for interface, count in sorted(self._drops.items()):
            if interface not in told and interface < len(self._notes.interfaces):
                self._notes.statistics.append(InterfaceStatistics(interface, None, min(count, _MAX_COUNT)))


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")  # some writers end texts with zeros
