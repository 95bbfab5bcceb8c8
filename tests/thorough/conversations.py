"""Made-up traffic as capture files: conversations that go well, and what can go wrong with their packets.

Everything comes from a `Random` with a seed, so a seed names a capture. Packets are built by hand, apart from the
testbed's own code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from random import Random

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
MASK = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment to be."""

    source: str
    destination: str
    ports: tuple[int, int]
    sequence: int
    acknowledgement: int
    flags: int
    window: int = 500
    payload: bytes = b""
    options: bytes = b""
    ip_id: int = 1
    good: bool = True  # the checksum
    tags: int = 0  # VLAN tags
    cut: int = 0  # bytes not captured
    piece: int = 0  # bits of IPv4's fragment field
    ip_options: bytes = b""


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) & 1)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def tcp_bytes(segment: Segment) -> bytes:
    """The segment with its checksum."""
    source, destination = ip_address(segment.source).packed, ip_address(segment.destination).packed
    bits = (20 + len(segment.options)) // 4 << 12 | segment.flags
    numbers = (segment.sequence & MASK, segment.acknowledgement & MASK)
    data = struct.pack(">HHIIHHHH", *segment.ports, *numbers, bits, segment.window, 0, 0)
    data += segment.options + segment.payload
    right = checksum(source + destination + struct.pack(">II", len(data), 6) + data)
    stored = right if segment.good else right ^ 0x0F0F
    return data[:16] + struct.pack(">H", stored) + data[18:]


def ip_bytes(segment: Segment) -> bytes:
    """The segment in an IP packet."""
    body = tcp_bytes(segment)
    source, destination = ip_address(segment.source), ip_address(segment.destination)
    if source.version == 6:
        return struct.pack(">IHBB", 6 << 28, len(body), 6, 60) + source.packed + destination.packed + body
    size = 20 + len(segment.ip_options)
    header = struct.pack(
        ">BBHHHBBH", 0x40 | size // 4, 0, size + len(body), segment.ip_id & 0xFFFF, segment.piece, 64, 6, 0
    )
    header += source.packed + destination.packed + segment.ip_options
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + body


def frame_bytes(segment: Segment) -> bytes:
    """The segment in an Ethernet frame, padded as a sender pads it."""
    kind = 0x86DD if ":" in segment.source else 0x0800
    tags = struct.pack(">HH", 0x8100, 7) * segment.tags
    frame = b"\2" * 6 + b"\4" * 6 + tags + struct.pack(">H", kind) + ip_bytes(segment)
    return frame.ljust(60, b"\0")


def pcap_bytes(frames: list[tuple[int, bytes, int]], link_type: int = 1) -> bytes:
    """A pcap file in microseconds, from (time in ns, bytes captured, length on the wire)."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)
    return head + b"".join(
        struct.pack("<IIII", time // 10**9, time % 10**9 // 1000, len(data), length) + data
        for time, data, length in frames
    )


class Talk:
    """Two ends that talk; each method gives one segment."""

    def __init__(self, chance: Random, number: int) -> None:
        self._chance = chance
        six = chance.random() < 0.25
        self.ends = (f"2001:db8::{number + 1:x}", "2001:db8:1::80") if six else (f"10.0.{number}.2", "192.0.2.80")
        self.ports = (chance.randrange(1024, 65536), chance.choice((80, 443, 7456, 40000)))
        self._stamps = chance.random() < 0.7
        self._scale = chance.choice((None, 0, 7))
        self.next = [chance.getrandbits(32), chance.getrandbits(32)]
        self._clock = [chance.getrandbits(32), chance.getrandbits(32)]
        self._heard = [0, 0]
        self._id = chance.randrange(65536)
        self._window = 60000 if self._scale is None else 65000 >> min(self._scale, 2)

    def say(self, side: int, flags: int, payload: bytes = b"", *, space: bool = True) -> Segment:
        """What this end sends next."""
        self._id += 1
        options = self._options(side, flags)
        segment = Segment(
            self.ends[side],
            self.ends[1 - side],
            self.ports if side == 0 else (self.ports[1], self.ports[0]),
            self.next[side],
            self.next[1 - side] if flags & ACK else 0,
            flags,
            self._window + self._chance.randrange(3),
            payload,
            options,
            self._id,
        )
        if space:
            self.next[side] = (self.next[side] + len(payload) + bool(flags & SYN) + bool(flags & FIN)) & MASK
        return segment

    def _options(self, side: int, flags: int) -> bytes:
        opening = bool(flags & SYN)
        text = struct.pack(">BBH", 2, 4, 1460) + b"\4\2" if opening else b""
        if self._stamps and not flags & RST:
            self._clock[side] = (self._clock[side] + self._chance.randrange(2)) & MASK
            lead = b"" if opening else b"\1\1"
            text += lead + struct.pack(">BBII", 8, 10, self._clock[side], self._heard[side] if flags & ACK else 0)
            self._heard[1 - side] = self._clock[side]
        if opening and self._scale is not None:
            text += b"\1" + struct.pack(">BBB", 3, 3, self._scale)
        return text + b"\1" * (-len(text) % 4)

    def segments(self) -> Iterator[Segment]:
        """A whole conversation, of one kind or another."""
        chance = self._chance
        kind = chance.choice(("whole", "whole", "whole", "scan", "refused", "half-open", "late", "reset", "open"))
        if kind != "late":
            yield self.say(0, SYN)
            if kind == "scan":
                return
            if kind == "refused":
                refusal = self.say(1, RST | ACK)
                yield replace(refusal, sequence=0)
                return
            yield self.say(1, SYN | ACK)
            if kind == "half-open":
                return
            yield self.say(0, ACK)
        for _ in range(chance.randrange(6)):
            yield from self._exchange()
        if kind == "reset":
            yield self.say(chance.randrange(2), chance.choice((RST, RST | ACK)))
        elif kind != "open":
            yield from self._close()

    def _exchange(self) -> Iterator[Segment]:
        side = self._chance.randrange(2)
        for _ in range(self._chance.randrange(1, 4)):
            yield self.say(
                side, ACK | self._chance.choice((0, PSH)), self._chance.randbytes(self._chance.randrange(1, 200))
            )
        if self._chance.random() < 0.8:
            yield self.say(1 - side, ACK)

    def _close(self) -> Iterator[Segment]:
        first = self._chance.randrange(2)
        how = self._chance.choice(("three", "four", "half", "crossing", "one"))
        last_words = self._chance.choice((b"", b"bye"))
        fin = self.say(first, FIN | ACK, last_words)
        yield fin
        if how == "one":
            return
        if how == "crossing":
            crossing = self.say(1 - first, FIN | ACK)
            yield replace(crossing, acknowledgement=fin.sequence)
            yield self.say(first, ACK)
            yield self.say(1 - first, ACK)
            return
        if how in ("four", "half"):
            yield self.say(1 - first, ACK)
        if how == "half":
            yield self.say(1 - first, ACK, b"more")
            yield self.say(first, ACK)
        yield self.say(1 - first, FIN | ACK)
        yield self.say(first, ACK)


def spoil(chance: Random, segment: Segment) -> list[Segment]:
    """What becomes of a segment with bad luck: none, one or two segments."""
    kind = chance.randrange(15)
    number = chance.choice((0, 1, MASK, chance.getrandbits(32)))
    shift = chance.choice((-1, 1, -1000, 1000))
    one: list[Segment] = {
        0: [],
        1: [segment, segment],
        2: [segment, replace(segment, ip_id=segment.ip_id + 100)],
        3: [replace(segment, sequence=segment.sequence + shift)],
        4: [replace(segment, acknowledgement=segment.acknowledgement + shift)],
        5: [replace(segment, flags=segment.flags ^ 1 << chance.randrange(9))],
        6: [replace(segment, window=chance.choice((0, 1, 65535)))],
        7: [replace(segment, good=False)],
        8: [replace(segment, cut=chance.randrange(1, 60))],
        9: [replace(segment, tags=chance.randrange(1, 4))],
        10: [replace(segment, options=b"\1\1\5\x0a" + struct.pack(">II", number, number))],
        11: [replace(segment, sequence=number)],
        12: [replace(segment, piece=chance.choice((0x2000, 0x4000, 1)))],
        13: [replace(segment, ip_options=b"\x94\4\0\0")] if ":" not in segment.source else [segment],
        14: [segment, replace(segment, flags=RST | ACK, payload=b"")],
    }[kind]
    return one


def make_frames(seed: int, *, talks: int = 8, bad_luck: float = 0.02) -> list[tuple[int, bytes, int]]:
    """The frames of a capture with several conversations at once."""
    chance = Random(seed)
    live = [Talk(chance, number).segments() for number in range(talks)]
    time_ns, frames = 1_700_000_000_000_000_000, []
    while live:
        at = chance.randrange(len(live))
        segment = next(live[at], None)
        if segment is None:
            live.pop(at)
            continue
        for one in spoil(chance, segment) if chance.random() < bad_luck else [segment]:
            time_ns += chance.choice(
                (1_000, 50_000, 3_000_000, -2_000, 1_000_000_000, 250_000_000_000 * (seed % 9 == 0))
            )
            data = frame_bytes(one)
            frames.append((time_ns, data[: len(data) - one.cut], len(data)))
        if chance.random() < bad_luck:
            junk = chance.choice((b"", b"\0" * 13, b"\2" * 12 + b"\x08\x06" + bytes(28), chance.randbytes(70)))
            frames.append((time_ns, junk, len(junk)))
    return frames
