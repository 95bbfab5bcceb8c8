"""Captures to measure with: many short connections at once, one long one, and either as large as one likes.

All is made from a seed, every checksum is right, every connection opens and closes. Payload is random bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random

PACKETS_EACH = 10  # of a short connection
AT_ONCE = 500  # short connections that are open at the same time
_FILE_HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)
_ETHERNET = bytes.fromhex("020000000002020000000001 0800")
_SYN, _ACK, _PUSH, _FIN = 2, 16, 24, 17
_START = 1_700_000_000
_STEP = 8  # between copies, of the second byte of the clients' address

Packet = tuple[int, bytes]  # microseconds since the start, frame


class _Side:
    """One end: how to write its packets."""

    def __init__(self, own: bytes, peer: bytes, ports: tuple[int, int], sequence: int, clock: int) -> None:
        self._addresses = own + peer
        self._ports = ports
        self.sequence = sequence
        self.clock = clock
        self.heard = 0
        self._id = sequence & 0xFFFF

    def write(self, peer: _Side, flags: int, payload: bytes = b"", total: int | None = None) -> bytes:
        """A frame; `total` is the sum of the payload's words, where it is known."""
        self.clock = self.clock + 1 & 0xFFFFFFFF
        self._id = self._id + 1 & 0xFFFF or 1
        peer.heard = self.clock
        stamps = struct.pack(">BBII", 8, 10, self.clock, self.heard)
        opening = flags & _SYN
        options = b"\2\4\5\xb4\4\2" + stamps + b"\1\3\3\7" if opening else b"\1\1" + stamps
        window = 64240 if opening else 501
        bits = (20 + len(options)) // 4 << 12 | flags
        acknowledged = peer.sequence if flags & _ACK else 0
        tcp = struct.pack(">HHIIHHI", *self._ports, self.sequence, acknowledged, bits, window, 0) + options
        size = len(tcp) + len(payload)
        checksum = _checksum(self._addresses + tcp, 6 + size + (_words(payload) if total is None else total))
        ip = struct.pack(">HHHHHH", 0x4500, 20 + size, self._id, 0x4000, 0x4006, 0) + self._addresses
        ip = ip[:10] + struct.pack(">H", _checksum(ip, 0)) + ip[12:]
        self.sequence = self.sequence + len(payload) + (flags & 1) + (flags >> 1 & 1) & 0xFFFFFFFF
        return _ETHERNET + ip + tcp[:16] + struct.pack(">H", checksum) + tcp[18:] + payload


def _words(data: bytes) -> int:
    return int.from_bytes(data, "big") << 8 * (len(data) & 1)


def _checksum(data: bytes, more: int) -> int:
    return 0xFFFF - ((_words(data) + more) % 0xFFFF) or 0xFFFF


def _short(chance: Random, number: int) -> Iterator[bytes]:
    """A request and its answer: ten packets."""
    own = bytes((10, chance.randrange(_STEP), chance.randrange(1, 256), chance.randrange(256)))
    peer = bytes((192, 0, 2, chance.randrange(1, 255)))
    ports = 1024 + number % 60000, chance.choice((80, 443, 8080))
    client = _Side(own, peer, ports, chance.getrandbits(32), chance.getrandbits(31))
    server = _Side(peer, own, (ports[1], ports[0]), chance.getrandbits(32), chance.getrandbits(31))
    request, answer = chance.randbytes(chance.randrange(40, 200)), chance.randbytes(chance.randrange(100, 1400))
    yield client.write(server, _SYN)
    yield server.write(client, _SYN | _ACK)
    yield client.write(server, _ACK)
    yield client.write(server, _PUSH, request)
    yield server.write(client, _ACK)
    yield server.write(client, _PUSH, answer)
    yield client.write(server, _ACK)
    yield client.write(server, _FIN)
    yield server.write(client, _FIN)
    yield client.write(server, _ACK)


def interleaved(connections: int) -> Iterator[Packet]:
    """Short connections, many at once."""
    chance = Random(1)
    live: list[Iterator[bytes]] = []
    begun = time_us = 0
    while live or begun < connections:
        while len(live) < AT_ONCE and begun < connections:
            live.append(_short(chance, begun))
            begun += 1
        at = chance.randrange(len(live))
        frame = next(live[at], None)
        if frame is None:
            live[at] = live[-1]
            live.pop()
            continue
        time_us += chance.randrange(1, 100)
        yield time_us, frame


def bulk(packets: int) -> Iterator[Packet]:
    """One connection that carries a lot, an acknowledgement for every two segments."""
    chance = Random(2)
    payload = chance.randbytes(1448)
    total = _words(payload) % 0xFFFF
    own, peer = bytes((10, 0, 0, 1)), bytes((192, 0, 2, 1))
    client = _Side(own, peer, (40000, 443), 4_294_900_000, 5)
    server = _Side(peer, own, (443, 40000), 77, 9)
    beginning = [client.write(server, _SYN), server.write(client, _SYN | _ACK), client.write(server, _ACK)]
    yield from enumerate(beginning)
    time_us = len(beginning)
    for number in range(packets - 6):
        time_us += 7
        if number % 3 < 2:
            yield time_us, client.write(server, _ACK, payload, total)
        else:
            yield time_us, server.write(client, _ACK)
    for frame in (client.write(server, _FIN), server.write(client, _FIN), client.write(server, _ACK)):
        time_us += 7
        yield time_us, frame


def write(path: Path, packets: Iterator[Packet]) -> None:
    """Write a pcap file."""
    with path.open("wb") as file:
        file.write(_FILE_HEADER)
        for time_us, frame in packets:
            size = len(frame)
            file.write(struct.pack("<IIII", _START + time_us // 10**6, time_us % 10**6, size, size) + frame)


def write_copies(path: Path, original: Path, size: int) -> None:
    """A capture of at least `size` bytes: copies of short connections, one after the other, each by other clients.

    What is added to one half of a client's address is taken from the other, so all checksums stay right.
    """
    import numpy as np

    data = original.read_bytes()[len(_FILE_HEADER) :]
    offsets = []
    at = 0
    while at < len(data):
        offsets.append(at)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    where = np.array(offsets)
    copy = np.frombuffer(data, np.uint8).copy()
    client = where + np.where(copy[where + 16 + 26] == 10, 16 + 26, 16 + 30)
    seconds = np.ndarray((len(data) - 3,), "<u4", copy, strides=(1,))
    halves = np.ndarray((len(data) - 1,), ">u2", copy, strides=(1,))
    length = int(seconds[where[-1]] - seconds[where[0]]) + 1
    with path.open("wb") as file:
        file.write(_FILE_HEADER)
        while file.tell() < size:
            file.write(copy.tobytes())
            seconds[where] += np.uint32(length)
            halves[client] += np.uint16(_STEP)
            halves[client + 2] -= np.uint16(_STEP)
