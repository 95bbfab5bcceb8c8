"""Capture files of every kind we read, and what chance makes of them: a fuzzer with a seed.

Run by itself for as many files as one likes: `python tests/thorough/mutations.py 200000`, with another seed as a second
argument. It ends at the first file that gives anything but a result or a `UsageError`, and keeps that file.
"""

from __future__ import annotations

import gzip
import struct
import sys
import tempfile
from pathlib import Path
from random import Random

from conversations import make_frames

from testbed.analyze import analysis_json, analyze_capture
from testbed.columns.shapes import is_same
from testbed.errors import UsageError
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics
from testbed.pcap.writer import write_capture
from testbed.report.analysis import render_connections
from testbed.report.style import plain

NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x0A0D0D0A, 6, 12, 262144, 1 << 24, 1 << 26)
IN_COLUMNS = 5  # every so many files in columns too
IN_FULL = 10  # every so many told in full

Frames = list[tuple[int, bytes, int]]


def _records(frames: Frames, order: str, magic: int, unit: int, extra: int = 0, link_type: int = 1) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    return head + b"".join(
        struct.pack(order + "IIII", time // 10**9, time % 10**9 // unit, len(data), length) + bytes(extra) + data
        for time, data, length in frames
    )


def _pcapng(frames: Frames) -> bytes:
    made = tuple(
        Frame(time, data, length, number % 2, Direction.IN, ("why",) if number % 3 else ())
        for number, (time, data, length) in enumerate(frames)
    )
    interfaces = (Interface("a", description="left"), Interface("b", filter="tcp"))
    section = write_capture(Capture(interfaces, made, (InterfaceStatistics(0, 7, 1),), ("all",)))
    return section + write_capture(Capture(interfaces[:1], made[:1])) + _old_blocks(frames)


def _old_blocks(frames: Frames) -> bytes:
    """Simple and obsolete packet blocks, in the other byte order, with an if_tsoffset."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        size = struct.pack(">I", len(body) + 12)
        return struct.pack(">I", kind) + size + body + size

    data = frames[0][1]
    simple, old = struct.pack(">I", len(data)), struct.pack(">HHIIII", 0, 3, 1, 2, len(data), len(data))
    offset = struct.pack(">HHqHHB3xI", 14, 8, -5, 9, 1, 0x83, 0)
    interface = struct.pack(">HHI", 1, 0, 0) + offset
    section = struct.pack(">IHHq", 0x1A2B3C4D, 1, 0, -1)
    return block(0x0A0D0D0A, section) + block(1, interface) + block(3, simple + data) + block(2, old + data)


def make_seeds(packets: int = 24) -> list[bytes]:
    """Good files to start from; most packets of each conversation."""
    frames = [make_frames(seed, talks=3, bad_luck=0.1)[:packets] for seed in range(8)]
    raw = [
        (time, data[14:], length - 14) for time, data, length in frames[5] if data[12:14] in (b"\x08\0", b"\x86\xdd")
    ]
    ppp = [(time, b"\xff\3\0\x21" + data, length + 4) for time, data, length in raw]
    extended = [
        (time, data[:6] + b"\0" + data[7:40] + b"\x06\0" + bytes(6) + data[40:], length + 8)
        for time, data, length in raw
        if data[0] >> 4 == 6
    ]
    pieces = [(time, data[:20] + b"\x20\0" + data[22:], length) for time, data, length in frames[6]]
    pieces += [(time, data[:20] + b"\0\3" + data[22:34] + data[58:], length - 24) for time, data, length in frames[6]]
    cooked = [(time, bytes(14) + b"\x08\0" + data, length + 16) for time, data, length in raw]
    seeds = [
        _records(frames[0], "<", 0xA1B2C3D4, 1000),
        _records(frames[1], ">", 0xA1B23C4D, 1),
        _records(frames[2], "<", 0xA1B2CD34, 1000, 8),
        _records(frames[3], "<", 0xA1B2C3D4, 1000, 4),
        _records(raw + extended, "<", 0xA1B2C3D4, 1000, 0, 101),
        _records(ppp, ">", 0xA1B2C3D4, 1000, 0, 9),
        _records(cooked, "<", 0xA1B2C3D4, 1000, 0, 113),
        _records(pieces, "<", 0xA1B2C3D4, 1000),
        _pcapng(frames[4]),
        _pcapng(frames[7]),
    ]
    return [*seeds, *(gzip.compress(seed, mtime=0) for seed in seeds[-2:])]


def mutate(chance: Random, seeds: list[bytes]) -> bytes:
    """A seed after some accidents."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(8)
        size = chance.choice((1, 2, 4, 16, 100))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + size] = chance.randbytes(size)
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size] * chance.randrange(1, 4)
        elif kind == 4:
            data[at:at] = chance.randbytes(size)
        elif kind == 5:
            number = chance.choice(NUMBERS)
            data[at : at + 4] = number.to_bytes(4, chance.choice(("little", "big")))
        elif kind == 6:
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other)) :]
        elif chance.random() < 0.3:
            del data[at:]
    return bytes(data)


def try_file(data: bytes, number: int) -> bool:
    """Analyse a file in every way; whether it is a capture."""
    try:
        analysis = analyze_capture(data, "x", columns=False)
    except UsageError:
        return False
    assert all(connection.packets for connection in analysis.connections)
    if number % IN_COLUMNS == 0:
        fast = analyze_capture(data, "x", columns=True)
        assert (fast.packets, fast.warnings) == (analysis.packets, analysis.warnings)
        assert dict(fast.skipped) == dict(analysis.skipped)
        assert len(fast.connections) == len(analysis.connections)
        assert all(map(is_same, fast.connections, analysis.connections))
    if number % IN_FULL == 0:
        assert analysis_json(analysis).endswith("}\n")
        assert plain(render_connections(analysis.connections, width=80))
    return True


def fuzz(count: int, seed: int) -> tuple[int, int]:
    """Try so many files; gives how many were captures, and how many were refused."""
    chance, seeds, captures = Random(seed), make_seeds(), 0
    for number in range(count):
        data = mutate(chance, seeds)
        try:
            captures += try_file(data, number)
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"fuzz-{seed}-{number}.bin"
            kept.write_bytes(data)
            print(f"file {number} of seed {seed} is kept as {kept}", file=sys.stderr)
            raise
    return captures, count - captures


if __name__ == "__main__":
    captures, refused = fuzz(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(f"captures {captures}, refused {refused}")
