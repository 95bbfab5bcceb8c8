"""Writing of captures as pcapng (draft-ietf-opsawg-pcapng): one section, little-endian, times in nanoseconds.

First the section header with its comments, then one interface description per interface, enhanced packets, and the
statistics, so that a reader knows each interface before its packets. An interface without packets is written too: that
a vantage point saw nothing is evidence. `Capture.warnings` tell of the file that was read and are not written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct

from testbed.errors import UsageError
from testbed.pcap.blocks import (
    BYTE_ORDER_MAGIC,
    Block,
    InterfaceOption,
    Option,
    PacketOption,
    SectionOption,
    StatisticsOption,
)
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics

_MAX_OPTION = 0xFFFF
_MAX_TIME_NS = (1 << 64) - 1
_END_OF_OPTIONS = bytes(4)
_BLOCK = Struct("<II")
_LENGTH = Struct("<I")
_SECTION = Struct("<IHHq")
_INTERFACE = Struct("<HHI")
_ENHANCED = Struct("<IIIII")
_STATISTICS = Struct("<III")
_OPTION = Struct("<HH")
_FLAGS = Struct("<I")
_COUNT = Struct("<Q")
_UNKNOWN_SECTION_LENGTH = -1
_NANOSECONDS = b"\x09"  # if_tsresol: 10 to the power of -9
_LIBPCAP_FILTER = b"\0"


def write_capture(capture: Capture, *, application: str = "testbed") -> bytes:
    """Give the capture as the bytes of a pcapng file; `read_capture` of them gives it back.

    Texts end where an option ends, at 65535 bytes, and zero bytes in them become U+FFFD. Raises `UsageError` for a
    frame that pcapng cannot hold: on an interface that is not there, or at a time outside 1970 to 2554.
    """
    blocks = [_section(capture.comments, application)]
    blocks.extend(_interface(one) for one in capture.interfaces)
    blocks.extend(_packets(capture))
    blocks.extend(_statistics(capture))
    return b"".join(blocks)


def _section(comments: Sequence[str], application: str) -> bytes:
    options = _comments(comments) + _text(SectionOption.APPLICATION, application)
    return _block(Block.SECTION, _SECTION.pack(BYTE_ORDER_MAGIC, 1, 0, _UNKNOWN_SECTION_LENGTH), options)


def _interface(interface: Interface) -> bytes:
    options = (
        _text(InterfaceOption.NAME, interface.name)
        + _text(InterfaceOption.DESCRIPTION, interface.description)
        + _option(InterfaceOption.TIME_RESOLUTION, _NANOSECONDS)
    )
    if interface.filter:
        options += _option(InterfaceOption.FILTER, _LIBPCAP_FILTER + _encode(interface.filter, _MAX_OPTION - 1))
    return _block(Block.INTERFACE, _INTERFACE.pack(interface.link_type, 0, interface.snap_length), options)


def _packets(capture: Capture) -> Iterator[bytes]:
    known = range(len(capture.interfaces))
    for number, frame in enumerate(capture.frames, 1):
        if frame.interface not in known:
            raise UsageError(
                f"Frame {number} is on interface {frame.interface}, but the capture has {len(known)}.",
                remedy="Describe each interface in Capture.interfaces.",
            )
        if not 0 <= frame.time_ns <= _MAX_TIME_NS:
            raise UsageError(
                f"Frame {number} has the time {frame.time_ns} ns, which pcapng cannot hold.",
                remedy="Give times as nanoseconds since 1970.",
            )
        yield write_packet(frame)


def write_packet(frame: Frame) -> bytes:
    """One frame as an enhanced packet block, for a file that is written while the capture goes on."""
    data = frame.data
    fixed = _ENHANCED.pack(
        frame.interface, frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF, len(data), max(frame.length, len(data))
    )
    options = _comments(frame.comments)
    if frame.direction is not Direction.UNKNOWN:
        options += _option(PacketOption.FLAGS, _FLAGS.pack(frame.direction))
    return _block(Block.ENHANCED, fixed + _pad(data), options)


def _statistics(capture: Capture) -> Iterator[bytes]:
    """The counts are those at the end of the capture, so they have the time of its last frame."""
    end_ns = max((frame.time_ns for frame in capture.frames), default=0)
    for one in capture.statistics:
        yield _interface_statistics(one, end_ns)


def _counted(number: int) -> int:
    """A count as it fits into its 64 bits: a run folder can tell of more."""
    return max(0, min(number, (1 << 64) - 1))


def _interface_statistics(statistics: InterfaceStatistics, time_ns: int) -> bytes:
    options = b""
    if statistics.received is not None:
        options += _option(StatisticsOption.RECEIVED, _COUNT.pack(_counted(statistics.received)))
    if statistics.dropped is not None:
        options += _option(StatisticsOption.DROPPED_BY_INTERFACE, _COUNT.pack(_counted(statistics.dropped)))
    fixed = _STATISTICS.pack(statistics.interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
    return _block(Block.STATISTICS, fixed, options)


def _block(kind: Block, body: bytes, options: bytes) -> bytes:
    if options:
        body += options + _END_OF_OPTIONS
    length = len(body) + 12
    return _BLOCK.pack(kind, length) + body + _LENGTH.pack(length)


def _comments(comments: Sequence[str]) -> bytes:
    return b"".join(_option(Option.COMMENT, _encode(comment, _MAX_OPTION)) for comment in comments)


def _text(code: int, text: str) -> bytes:
    return _option(code, _encode(text, _MAX_OPTION)) if text else b""


def _encode(text: str, limit: int) -> bytes:
    encoded = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return encoded if len(encoded) <= limit else encoded[:limit].decode("utf-8", "ignore").encode()


def _option(code: int, value: bytes) -> bytes:
    return _OPTION.pack(code, len(value)) + _pad(value)


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
