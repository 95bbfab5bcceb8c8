"""Reading of pcap, the classic format (draft-ietf-opsawg-pcap, pcap-savefile(5)).

A file header of 24 bytes, then records: 16 bytes of header (seconds, fraction, bytes captured, bytes on the wire) and
the bytes. The magic number tells byte order and unit of the fraction. Alexey Kuznetsov's variant of old Red Hat systems
has 8 more bytes in each record's header.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from testbed.pcap.blocks import NANOSECONDS, USUAL_SNAP_LENGTH
from testbed.pcap.frame import Frame, Interface
from testbed.pcap.notes import Notes

# magic: (byte order, nanoseconds in a unit of the fraction, bytes that follow the usual record header)
FORMATS: dict[bytes, tuple[str, int, int]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000, 0),
    b"\xa1\xb2\xc3\xd4": (">", 1000, 0),
    b"\x4d\x3c\xb2\xa1": ("<", 1, 0),
    b"\xa1\xb2\x3c\x4d": (">", 1, 0),
    b"\x34\xcd\xb2\xa1": ("<", 1000, 8),
    b"\xa1\xb2\xcd\x34": (">", 1000, 8),
}
_FILE_HEADER_SIZE = 24
_LINK_TYPE_MASK = 0xFFFF  # the bits above tell of a frame check sequence


def read_frames(data: bytes, notes: Notes) -> Iterator[Frame]:
    """Yield the frames of a pcap file; its one interface and all warnings go to `notes`."""
    order, unit, extra = FORMATS[data[:4]]
    if len(data) < _FILE_HEADER_SIZE:
        notes.warn(0, f"the file header is cut short: {len(data)} of {_FILE_HEADER_SIZE} bytes")
        return
    major, minor, snap_length, link_type = Struct(order + "HH8xII").unpack_from(data, 4)
    notes.interfaces.append(Interface("", link_type & _LINK_TYPE_MASK, snap_length))
    if major != 2:
        notes.warn(4, f"pcap version {major}.{minor} is not known; read as 2.4")
    record = Struct(f"{order}IIII{extra}x")
    yield from _read_records(data, record, unit, max(snap_length, USUAL_SNAP_LENGTH), notes)


def _read_records(data: bytes, record: Struct, unit: int, longest: int, notes: Notes) -> Iterator[Frame]:
    unpack, header_size, end = record.unpack_from, record.size, len(data)
    offset, last = _FILE_HEADER_SIZE, end - header_size
    while offset <= last:
        seconds, fraction, captured, length = unpack(data, offset)
        start = offset + header_size
        stop = start + captured
        if captured > longest or stop > end:
            notes.warn(offset, _explain_length(captured, longest, end - start))
            return
        time_ns = seconds * NANOSECONDS + fraction * unit
        yield Frame(time_ns, data[start:stop], length if length > captured else captured)
        offset = stop
    if offset < end:
        notes.warn(offset, f"the file is cut short in a packet's header: {end - offset} of {header_size} bytes")


def _explain_length(captured: int, longest: int, left: int) -> str:
    if captured > longest:
        return f"a packet of {captured} bytes cannot be (at most {longest}); the file is damaged from here on"
    return f"the file is cut short in a packet: {left} of {captured} bytes"
