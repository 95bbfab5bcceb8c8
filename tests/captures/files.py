"""Capture files, byte by byte: pcap (the tcpdump.org savefile format) and pcapng (the IETF's opsawg draft).

Written here and not by `testbed.pcap` or scapy: what is read by our readers should not be written by our writer,
and the odd variants (byte orders, nanoseconds, modified, simple and obsolete blocks) are what some cases are about.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

SNAP = 262144
# magic number: microseconds, nanoseconds, Alexey Kuznetsov's modified format
MICRO, NANO, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34


@dataclass(frozen=True)
class Record:
    """A frame: when, what was kept of it, how long it was on the wire, and where it was heard."""

    time_ns: int
    data: bytes
    length: int
    interface: int = 0


def write_pcap(
    records: Iterable[Record], link_type: int, *, order: str = "<", magic: int = MICRO, snap: int = SNAP
) -> bytes:
    """A pcap file; `order` is struct's word for the byte order."""
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link_type)]
    unit_ns = 1 if magic == NANO else 1000
    for record in records:
        seconds, rest = divmod(record.time_ns, 10**9)
        parts.append(struct.pack(order + "IIII", seconds, rest // unit_ns, len(record.data), record.length))
        if magic == MODIFIED:
            parts.append(struct.pack(order + "IHBx", 1, 0x0800, 0))  # interface index, protocol, packet type
        parts.append(record.data)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """A pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order: str = "<", options: bytes = b"") -> bytes:
    """A section header of unknown length."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1) + options, order)


def interface(link_type: int, name: str, *, digits: int | None = None, order: str = "<") -> bytes:
    """An interface; `digits` after the second in its times (6 where it does not say)."""
    options = option(2, name.encode(), order)
    if digits is not None:
        options += option(9, bytes([digits]), order)
    return block(1, struct.pack(order + "HHI", link_type, 0, SNAP) + options + option(0, b"", order), order)


def packet(record: Record, *, digits: int = 6, order: str = "<") -> bytes:
    """An enhanced packet block."""
    high, low = divmod(record.time_ns // 10 ** (9 - digits), 2**32)
    head = struct.pack(order + "IIIII", record.interface, high, low, len(record.data), record.length)
    return block(6, head + record.data, order)


def simple_packet(record: Record, order: str = "<") -> bytes:
    """A simple packet block: no time, no interface."""
    return block(3, struct.pack(order + "I", record.length) + record.data, order)


def obsolete_packet(record: Record, order: str = "<") -> bytes:
    """A packet block, as files before 2009 have it."""
    high, low = divmod(record.time_ns // 1000, 2**32)
    head = struct.pack(order + "HHIIII", record.interface, 0xFFFF, high, low, len(record.data), record.length)
    return block(2, head + record.data, order)
