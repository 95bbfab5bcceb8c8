"""pcapng files as other tools write them: built here block by block, apart from our writer."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import repeat

import pytest

from testbed.pcap.blocks import LONGEST_BLOCK
from testbed.pcap.frame import Direction, Frame, Interface, InterfaceStatistics
from testbed.pcap.notes import Notes
from testbed.pcap.reader import open_capture, read_capture

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _NAMES, _STATISTICS, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 4, 5, 6


class _Builder:
    """Writes blocks in one byte order."""

    def __init__(self, order: str = "<") -> None:
        self.order = order

    def pack(self, form: str, *values: int) -> bytes:
        return struct.pack(self.order + form, *values)

    def block(self, kind: int, body: bytes) -> bytes:
        length = len(body) + 12
        return self.pack("II", kind, length) + body + self.pack("I", length)

    def options(self, *options: tuple[int, bytes]) -> bytes:
        return b"".join(self.pack("HH", code, len(value)) + value + bytes(-len(value) % 4) for code, value in options)

    def section(self, *options: tuple[int, bytes]) -> bytes:
        return self.block(_SECTION, self.pack("IHHq", 0x1A2B3C4D, 1, 0, -1) + self.options(*options))

    def interface(self, *options: tuple[int, bytes], link_type: int = 1, snap: int = 0) -> bytes:
        return self.block(_INTERFACE, self.pack("HHI", link_type, 0, snap) + self.options(*options))

    def enhanced(self, units: int, data: bytes, *options: tuple[int, bytes], interface: int = 0) -> bytes:
        fixed = self.pack("IIIII", interface, units >> 32, units & 0xFFFFFFFF, len(data), len(data))
        return self.block(_ENHANCED, fixed + data + bytes(-len(data) % 4) + self.options(*options))

    def statistics(self, *options: tuple[int, bytes], interface: int = 0) -> bytes:
        return self.block(_STATISTICS, self.pack("III", interface, 0, 0) + self.options(*options))


_LITTLE, _BIG = _Builder("<"), _Builder(">")
both_orders = pytest.mark.parametrize("make", [_LITTLE, _BIG], ids=["little", "big"])


@both_orders
def test_everything_that_an_interface_and_a_packet_say(make: _Builder) -> None:
    """Names, filter, direction, comments and statistics arrive in both byte orders."""
    data = (
        make.section((1, b"first"), (4, b"dumpcap"), (1, b"second"))
        + make.interface((2, b"eth0"), (3, b"the wire"), (11, b"\0tcp"), (9, b"\x09"), (0, b""), link_type=276, snap=96)
        + make.enhanced(1 << 40, b"abc", (1, b"hola"), (2, make.pack("I", 0b110)), (1, "ü".encode()))
        + make.statistics((4, make.pack("Q", 7)), (5, make.pack("Q", 2)), (7, make.pack("Q", 3)))
    )
    capture = read_capture(data)
    assert capture.interfaces == (Interface("eth0", 276, 96, "the wire", "tcp"),)
    assert capture.frames == (Frame(1 << 40, b"abc", 3, 0, Direction.OUT, ("hola", "ü")),)
    assert capture.statistics == (InterfaceStatistics(0, 7, 5),)
    assert capture.comments == ("first", "second")
    assert capture.warnings == ()


@both_orders
@pytest.mark.parametrize(
    ("resolution", "units", "time_ns"),
    [
        (None, 1_500_000, 1_500_000_000),
        (b"\x00", 3, 3_000_000_000),
        (b"\x03", 1_500, 1_500_000_000),
        (b"\x09", 1_500_000_001, 1_500_000_001),
        (b"\x0c", 1_500_000_001_999, 1_500_000_001),
        (b"\x80", 3, 3_000_000_000),
        (b"\x8a", 1536, 1_500_000_000),
        (b"\xa0", 3 << 31, 1_500_000_000),
        (b"\xff", (1 << 64) - 1, 0),
    ],
)
def test_time_resolution(make: _Builder, resolution: bytes | None, units: int, time_ns: int) -> None:
    """if_tsresol is a negative power of 10, or of 2 with the upper bit set; microseconds unless told."""
    options = [] if resolution is None else [(9, resolution)]
    data = make.section() + make.interface(*options) + make.enhanced(units, b"")
    assert read_capture(data).frames[0].time_ns == time_ns


@both_orders
@pytest.mark.parametrize("seconds", [1_700_000_000, -5])
def test_time_offset(make: _Builder, seconds: int) -> None:
    """if_tsoffset is in signed seconds."""
    data = make.section() + make.interface((14, make.pack("q", seconds))) + make.enhanced(1, b"")
    assert read_capture(data).frames[0].time_ns == seconds * 1_000_000_000 + 1000


def test_sections_number_their_interfaces_anew() -> None:
    """A second section, here of another byte order, begins at interface 0; ours are numbered through."""
    data = b"".join(
        make.section((1, name + b" section"))
        + make.interface((2, name))
        + make.interface((2, name + b"1"), (9, b"\x09"))
        + make.enhanced(5, name, interface=1)
        + make.statistics((4, make.pack("Q", 1)), interface=1)
        for make, name in ((_LITTLE, b"a"), (_BIG, b"b"))
    )
    capture = read_capture(data)
    assert [one.name for one in capture.interfaces] == ["a", "a1", "b", "b1"]
    assert capture.frames == (Frame(5, b"a", 1, 1), Frame(5, b"b", 1, 3))
    assert [one.interface for one in capture.statistics] == [1, 3]
    assert capture.comments == ("a section", "b section")


@both_orders
def test_obsolete_and_simple_packets(make: _Builder) -> None:
    """Old packets count drops; simple ones are on interface 0, cut by its snap length, without time."""
    old = make.pack("HHIIII", 1, 4, 0, 9, 3, 60) + b"old\0" + make.options((2, make.pack("I", 1)))
    lone = make.pack("HHIIII", 1, 0xFFFF, 0, 9, 0, 60)
    simple = make.pack("I", 60) + b"simp"
    data = make.section() + make.interface(snap=4) + make.interface()
    data += make.block(_PACKET, old) + make.block(_PACKET, lone) + make.block(_SIMPLE, simple)
    capture = read_capture(data)
    assert capture.frames == (
        Frame(9000, b"old", 60, 1, Direction.IN),
        Frame(9000, b"", 60, 1),
        Frame(0, b"simp", 60, 0),
    )
    assert capture.statistics == (InterfaceStatistics(1, None, 4),)
    assert len(capture.warnings) == 1
    assert "no time" in capture.warnings[0]


def test_drop_counts_of_packets_become_statistics() -> None:
    """epb_dropcount is evidence of loss where no statistics block tells of it."""
    drops = (4, _LITTLE.pack("Q", 3))
    data = _LITTLE.section() + _LITTLE.interface() + _LITTLE.enhanced(1, b"", drops) + _LITTLE.enhanced(2, b"", drops)
    assert read_capture(data).statistics == (InterfaceStatistics(0, None, 6),)
    told = data + _LITTLE.statistics((5, _LITTLE.pack("Q", 6)))
    assert read_capture(told).statistics == (InterfaceStatistics(0, None, 6),)


@both_orders
def test_unknown_blocks_and_options_are_skipped(make: _Builder) -> None:
    """Names, secrets, custom and future blocks, and options we do not know, change nothing."""
    data = make.section((2, b"x86"), (2988, b"abcdefg")) + make.interface((200, b"?"))
    for kind in (_NAMES, 0x0A, 0x0BAD, 0x80000001):
        data += make.block(kind, b"whatever")
    data += make.enhanced(1, b"abc", (5, bytes(8)), (2989, b"text"))
    capture = read_capture(data)
    assert [frame.data for frame in capture.frames] == [b"abc"]
    assert capture.warnings == ()


def test_texts_that_end_with_zeros() -> None:
    """Some writers end texts with a zero, and some write bytes that are no UTF-8."""
    data = _LITTLE.section((1, b"\xff!")) + _LITTLE.interface((2, b"eth0\0"))
    capture = read_capture(data)
    assert capture.interfaces[0].name == "eth0"
    assert capture.comments == ("\ufffd!",)


def test_bytecode_is_no_filter_text() -> None:
    """if_filter of kind 1 is BPF bytecode, which we do not show."""
    assert read_capture(_LITTLE.section() + _LITTLE.interface((11, b"\x01\x06"))).interfaces[0].filter == ""


@pytest.mark.parametrize("size", [1, 2, 3])
def test_padding_missing_from_a_length(size: int) -> None:
    """A block whose length does not count its padding is read, as Wireshark reads it."""
    fixed = _LITTLE.pack("IIIII", 0, 0, 1, size, size) + b"abc"[:size].ljust(4, b"\0")
    odd = _LITTLE.pack("II", _ENHANCED, 32 + size) + fixed + _LITTLE.pack("I", 32 + size)
    capture = read_capture(_LITTLE.section() + _LITTLE.interface() + odd + _LITTLE.enhanced(2, b"next"))
    assert [frame.data for frame in capture.frames] == [b"abc"[:size], b"next"]
    assert capture.warnings == ()


def test_options_begin_behind_the_padding() -> None:
    """A packet's bytes and padding are never taken for options."""
    capture = read_capture(_HEAD + _LITTLE.enhanced(1, b"\0", (1, b"why")))
    assert capture.frames[0].comments == ("why",)


def test_options_of_a_wrong_length_are_ignored() -> None:
    """Flags and drop counts have one length each; what has another is something else."""
    data = _HEAD + _LITTLE.enhanced(1, b"", (2, b"\1\0"), (4, b"\1\0\0\0"), (5, b"\1\0\0\0"), (6, bytes(8)))
    capture = read_capture(data + _LITTLE.statistics((4, b"\1")))
    assert capture.frames[0].direction is Direction.UNKNOWN
    assert capture.statistics == (InterfaceStatistics(0, None, None),)


def test_drops_of_an_interface_that_is_not_there() -> None:
    """Drops can only be told of interfaces that are described."""
    capture = read_capture(_HEAD + _LITTLE.block(_PACKET, _LITTLE.pack("HHIIII", 1, 4, 0, 9, 0, 0)))
    assert capture.statistics == ()
    assert "interface 1, which is not described" in capture.warnings[0]


_HEAD = _LITTLE.section() + _LITTLE.interface()
_GOOD = _LITTLE.enhanced(1, b"good")


@pytest.mark.parametrize("missing", range(1, 36))
def test_cut_at_the_end_gives_what_was_whole(missing: int) -> None:
    """A cut file gives its whole packets and one warning that names the byte where the cut one begins."""
    capture = read_capture((_HEAD + _GOOD + _GOOD)[:-missing])
    assert [frame.data for frame in capture.frames] == [b"good"]
    assert len(capture.warnings) == 1
    assert capture.warnings[0].startswith(f"byte {len(_HEAD + _GOOD)}: the file is cut short in a block")


@pytest.mark.parametrize("size", range(4, 28))
def test_cut_in_the_section_header(size: int) -> None:
    """A file that ends in its first block is an empty capture with a warning."""
    capture = read_capture(_HEAD[:size])
    assert capture.frames == ()
    assert len(capture.warnings) == 1


@pytest.mark.parametrize(
    ("wrong", "words", "goes_on"),
    [
        (_LITTLE.enhanced(1, b"bad", interface=1), "interface 1, which is not described", True),
        (_LITTLE.statistics(interface=1), "statistics of interface 1", True),
        (_LITTLE.block(_ENHANCED, b"shor"), "too short", True),
        (_LITTLE.block(_PACKET, b"shor"), "too short", True),
        (_LITTLE.block(_SIMPLE, b""), "too short", True),
        (_LITTLE.block(_STATISTICS, b"shor"), "too short", True),
        (_LITTLE.block(_INTERFACE, b"shor"), "too short", True),
        (_LITTLE.interface((9, b"\x09\x09")), "if_tsresol", True),
        (_GOOD[:-4] + b"????", "two lengths differ", True),
        (_LITTLE.pack("III", _ENHANCED, 4, 4), "4 bytes cannot be", False),
        (bytes(40), "0 bytes cannot be", False),
        (_LITTLE.pack("III", _SECTION, 28, 28), "without a byte order", False),
        (b"\1" * 400, "cut short in a block", False),
    ],
)
def test_damage_in_the_middle(wrong: bytes, words: str, goes_on: bool) -> None:
    """Damage is told with its byte, and skipped where the next block can be found."""
    capture = read_capture(_HEAD + _GOOD + wrong + _GOOD)
    assert words in capture.warnings[0]
    assert capture.warnings[0].startswith("byte ")
    data = [frame.data for frame in capture.frames]
    assert data[0] == b"good"
    assert (data[-1] == b"good" and len(data) >= 2) == goes_on


def test_two_lengths_that_differ_and_nothing_behind() -> None:
    """Where no good block follows a block with two lengths, the reading ends before it."""
    capture = read_capture(_HEAD + _GOOD + _GOOD[:-4] + b"????" + b"junk" * 5)
    assert len(capture.frames) == 1
    assert "damaged from here on" in capture.warnings[0]


def test_packet_longer_than_its_block() -> None:
    """A packet that claims more bytes than its block has gives those that are there."""
    fixed = _LITTLE.pack("IIIII", 0, 0, 1, 1000, 1000) + b"abcd"
    capture = read_capture(_HEAD + _LITTLE.block(_ENHANCED, fixed) + _GOOD)
    assert [frame.data for frame in capture.frames] == [b"abcd", b"good"]
    assert capture.frames[0].length == 1000
    assert "room for 4" in capture.warnings[0]


def test_option_longer_than_its_block() -> None:
    """A damaged option list costs the options behind it, never the packet."""
    fixed = _LITTLE.pack("IIIII", 0, 0, 1, 4, 4) + b"abcd" + _LITTLE.options((1, b"fine")) + _LITTLE.pack("HH", 1, 999)
    capture = read_capture(_HEAD + _LITTLE.block(_ENHANCED, fixed))
    assert capture.frames[0].comments == ("fine",)
    assert "option 1 of 999 bytes" in capture.warnings[0]


def test_simple_packet_without_interface() -> None:
    """A simple packet needs interface 0 to be described."""
    capture = read_capture(_LITTLE.section() + _LITTLE.block(_SIMPLE, _LITTLE.pack("I", 4) + b"abcd"))
    assert capture.frames == ()
    assert "interface 0" in capture.warnings[0]


def test_another_version_is_told() -> None:
    """An unknown major version is read as 1.0, with a warning."""
    header = _LITTLE.block(_SECTION, _LITTLE.pack("IHHq", 0x1A2B3C4D, 2, 0, -1))
    capture = read_capture(header + _LITTLE.interface() + _GOOD)
    assert len(capture.frames) == 1
    assert "version 2.0" in capture.warnings[0]


@pytest.mark.parametrize("size", [1, 5, 33, 500])
@both_orders
def test_chunks_of_any_size(make: _Builder, size: int) -> None:
    """A file that comes in pieces reads as it does whole, also where blocks are damaged."""
    head = make.section() + make.interface((9, b"\x09"))
    good, odd = make.enhanced(9, b"good", (1, b"why")), make.block(77, bytes(40))
    for data in (
        head + good * 9 + odd + good + head + good,
        head + good + good[:-4] + b"????" + good,
        head + good[:-3],
    ):
        notes = Notes()
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        frames = tuple(open_capture(chunks, notes).frames())
        expected = read_capture(data)
        assert (frames, notes.all_warnings()) == (expected.frames, expected.warnings)


def test_a_block_of_gigabytes_is_not_believed() -> None:
    """The reading ends without holding all that a length promises."""
    data = _HEAD + _GOOD + _LITTLE.pack("II", _ENHANCED, 0xFFFFFFF0)
    taken: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        yield data
        for chunk in repeat(bytes(1 << 20), 1000):
            taken.append(chunk)
            yield chunk

    notes = Notes()
    assert len(list(open_capture(chunks(), notes).frames())) == 1
    assert "4294967280 bytes" in notes.warnings[0]
    assert len(taken) <= LONGEST_BLOCK >> 20
