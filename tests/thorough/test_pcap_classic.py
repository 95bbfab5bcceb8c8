"""Classic pcap files, and what is no capture at all."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Iterator
from itertools import repeat

import pytest

from testbed.errors import UsageError
from testbed.pcap.frame import Frame, Interface, LinkType
from testbed.pcap.notes import MAX_WARNINGS, Notes
from testbed.pcap.reader import iterate_frames, open_capture, read_capture

_MICRO, _NANO, _KUZNETZOV = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34
_NAVTEL, _IXIA = 0xA12B3C4D, 0x1C0001AC


def _file(*records: bytes, order: str = "<", magic: int = _MICRO, link_type: int = 1, snap: int = 65535) -> bytes:
    return struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link_type) + b"".join(records)


def _record(seconds: int, fraction: int, data: bytes, length: int | None = None, order: str = "<") -> bytes:
    wire = len(data) if length is None else length
    return struct.pack(order + "IIII", seconds, fraction, len(data), wire) + data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(_MICRO, 1000), (_NANO, 1)])
def test_both_orders_and_both_units(order: str, magic: int, unit: int) -> None:
    """The magic number decides byte order and unit of the fraction."""
    data = _file(_record(1_700_000_000, 123_456, b"abc", 60, order), order=order, magic=magic)
    capture = read_capture(data)
    assert capture.interfaces == (Interface("", LinkType.ETHERNET, 65535),)
    assert capture.frames == (Frame(1_700_000_000_000_000_000 + 123_456 * unit, b"abc", 60),)
    assert capture.warnings == ()


def test_longer_record_headers_of_old_linux() -> None:
    """Kuznetzov's variant has 8 more bytes in each record header."""
    record = struct.pack("<IIII8x", 1, 2, 3, 3) + b"abc"
    capture = read_capture(_file(record, record, magic=_KUZNETZOV))
    assert capture.frames == (Frame(1_000_002_000, b"abc", 3),) * 2


def test_check_sequence_bits_are_no_link_type() -> None:
    """The upper bits of the link type field tell of a frame check sequence."""
    assert read_capture(_file(link_type=0x14000001)).interfaces[0].link_type == LinkType.ETHERNET


def test_seconds_are_unsigned() -> None:
    """Times run to 2106."""
    assert read_capture(_file(_record(0xFFFFFFFF, 0, b""))).frames[0].time_ns == 0xFFFFFFFF * 1_000_000_000


def test_a_length_less_than_captured_is_corrected() -> None:
    """No frame is shorter on the wire than what was captured of it."""
    assert read_capture(_file(_record(0, 0, b"abcd", 2))).frames[0].length == 4


@pytest.mark.parametrize("missing", range(1, 20))
def test_cut_at_the_end_gives_what_was_whole(missing: int) -> None:
    """A cut file gives its whole frames and a warning that names the byte."""
    data = _file(_record(1, 0, b"abcd"), _record(2, 0, b"efgh"))
    capture = read_capture(data[:-missing])
    assert [frame.data for frame in capture.frames] == [b"abcd"]
    assert len(capture.warnings) == 1
    assert capture.warnings[0].startswith("byte 44: the file is cut short in a packet")


@pytest.mark.parametrize("size", [4, 10, 23])
def test_cut_in_the_file_header(size: int) -> None:
    """A file that ends in its header is an empty capture with a warning."""
    capture = read_capture(_file()[:size])
    assert capture.frames == ()
    assert "header is cut short" in capture.warnings[0]


def test_absurd_length_ends_the_reading() -> None:
    """A record that claims more than can be captured is damage, even when the file is long enough for it."""
    damaged = struct.pack("<IIII", 1, 0, 300_000, 300_000) + bytes(300_000)
    capture = read_capture(_file(_record(1, 0, b"ab"), damaged))
    assert len(capture.frames) == 1
    assert "byte 42" in capture.warnings[0]
    assert "damaged" in capture.warnings[0]


def test_another_version_is_told() -> None:
    """An unknown major version is read as well as can be, with a warning."""
    data = bytearray(_file(_record(1, 0, b"ab")))
    data[4] = 3
    capture = read_capture(bytes(data))
    assert len(capture.frames) == 1
    assert "version 3.4" in capture.warnings[0]


def test_gzip_is_unpacked() -> None:
    """A gzip'ed capture reads like the capture, also in several members and with zeros after it."""
    data = _file(_record(1, 0, b"abcd" * 500), _record(2, 0, b"x"))
    packed = gzip.compress(data[:700], mtime=0) + gzip.compress(data[700:], mtime=0) + bytes(600)
    assert read_capture(packed) == read_capture(data)


def test_cut_gzip_gives_what_was_whole() -> None:
    """A cut gzip file gives a warning of its own beside that of the cut capture in it."""
    noise = random.Random(7)
    packed = gzip.compress(_file(*(_record(index, 0, noise.randbytes(900)) for index in range(40))), mtime=0)
    capture = read_capture(packed[: len(packed) * 2 // 3])
    assert 0 < len(capture.frames) < 40
    assert any("gzip data is cut short" in warning for warning in capture.warnings)


def test_damaged_gzip_gives_what_came_before() -> None:
    """Damage in the compressed data ends the reading there, in words."""
    noise = random.Random(7)
    member = gzip.compress(_file(*(_record(index, 0, noise.randbytes(900)) for index in range(40))), mtime=0)
    capture = read_capture(member + b"\x1f\x8b\x08\xff junk" + bytes(1000))
    assert len(capture.frames) == 40
    assert "damaged" in capture.warnings[0]


def test_a_gzip_bomb_is_bounded() -> None:
    """No more than the limit is unpacked, and the rest is told of."""
    packed = gzip.compress(_file(*[_record(1, 0, bytes(1000))] * 100), mtime=0)
    capture = read_capture(packed, limit=10_000)
    assert len(capture.frames) == 9
    assert "more than 10000 bytes" in capture.warnings[0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\xd4\xc3\xb2", "begins with d4 c3 b2"),
        (b"<html>", "begins with"),
        (b"\x0a\x0d\x0d\x0a\x1c\0\0\0wrong..", "begins with 0a 0d 0d 0a"),
        (b"\x28\xb5\x2f\xfd1234", "zstd"),
        (b"snoop\0\0\0", "snoop"),
        (gzip.compress(b"hola", mtime=0), "begins with"),
        (b"\x1f\x8bnonsense", "gzip"),
    ],
)
def test_no_capture_is_a_usage_error(data: bytes, words: str) -> None:
    """What is no capture at all is told as such, with what to do."""
    with pytest.raises(UsageError, match=words) as caught:
        read_capture(data)
    assert caught.value.remedy


def test_frames_come_one_by_one() -> None:
    """The iterator gives the first frame before the damage behind it is met."""
    notes = Notes()
    frames = iterate_frames(_file(_record(1, 0, b"ab"), b"junk"), notes)
    assert next(frames).data == b"ab"
    assert notes.interfaces
    assert notes.warnings == []
    assert list(frames) == []
    assert len(notes.warnings) == 1


def test_warnings_are_bounded() -> None:
    """A file that is wrong everywhere gives a bounded list, and the number of the others."""
    notes = Notes()
    for offset in range(MAX_WARNINGS + 7):
        notes.warn(offset, "wrong")
    assert len(notes.all_warnings()) == MAX_WARNINGS + 1
    assert notes.all_warnings()[-1] == "and 7 more warnings"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "more", "extra", "unit"),
    [
        (_MICRO, 0, 4, 1000),  # Nokia
        (_MICRO, 0, 8, 1000),  # patched libpcaps under the usual magic number
        (_KUZNETZOV, 0, 8, 1000),
        (_KUZNETZOV, 0, 12, 1000),  # SuSE 6.3
        (_NAVTEL, 0, 0, 1),
        (_IXIA, 4, 0, 1),
        (_IXIA - 1, 4, 0, 1),
    ],
)
def test_variants(order: str, magic: int, more: int, extra: int, unit: int) -> None:
    """Variants with more bytes in their headers are told by their first records, as Wireshark tells them."""
    record = struct.pack(order + "IIII", 7, 5, 60, 90) + bytes(extra) + b"\xee" * 60
    data = _file(order=order, magic=magic) + bytes(more) + record * 3
    capture = read_capture(data)
    assert capture.frames == (Frame(7_000_000_000 + 5 * unit, b"\xee" * 60, 90),) * 3
    assert capture.warnings == ()


@pytest.mark.parametrize(("minor", "first", "second"), [(2, 90, 60), (3, 90, 60), (3, 60, 90)])
def test_lengths_of_old_versions_are_swapped(minor: int, first: int, second: int) -> None:
    """Before version 2.3 the length on the wire stood first; in 2.3 it may."""
    record = struct.pack("<IIII", 1, 0, first, second) + b"\xee" * 60
    data = bytearray(_file(record, record))
    data[6] = minor
    capture = read_capture(bytes(data))
    assert capture.frames == (Frame(1_000_000_000, b"\xee" * 60, 90),) * 2


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_chunks_of_any_size(size: int) -> None:
    """A file that comes in pieces reads as it does whole, packed or not, cut or not."""
    noise = random.Random(3)
    whole = _file(*(_record(n, 0, noise.randbytes(noise.randrange(300))) for n in range(30)))
    for data in (whole, whole[:-5], gzip.compress(whole, mtime=0), gzip.compress(whole, mtime=0)[:-30]):
        notes = Notes()
        chunks = (data[at : at + size] for at in range(0, len(data), size))
        frames = tuple(open_capture(chunks, notes).frames())
        expected = read_capture(data)
        assert (frames, notes.all_warnings()) == (expected.frames, expected.warnings)


def test_a_length_of_gigabytes_is_not_believed() -> None:
    """Whatever the snap length says: the reading ends without asking for so many bytes."""
    asked: list[bytes] = []

    def chunks() -> Iterator[bytes]:
        yield _file(_record(1, 0, b"ab"), struct.pack("<IIII", 1, 0, 0xFFFFFFF0, 0xFFFFFFF0), snap=0xFFFFFFFF)
        for chunk in repeat(bytes(1 << 20), 100):
            asked.append(chunk)
            yield chunk

    notes = Notes()
    assert len(list(open_capture(chunks(), notes).frames())) == 1
    assert "4294967280 bytes cannot be" in notes.warnings[0]
    assert len(asked) <= 1
