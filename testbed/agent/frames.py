"""What the emulator must know of a frame: its addresses, and what it means in a TCP connection.

Ethernet II, IPv4 (RFC 791, with options), IPv6 (RFC 8200, with extension headers), TCP (RFC 9293), and the ports of
UDP. Anything cut, foreign or malformed is None, never an exception: an emulator carries what it does not understand.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

TCP, UDP = 6, 17
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10

KINDS = ("SYN", "SYN-ACK", "HANDSHAKE-ACK", "DATA", "ACK", "FIN", "RST", "ANY")

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBB")
_PORTS = struct.Struct("!HH")
_FRAGMENT = 44
_EXTENSIONS = frozenset({0, 43, 60, 135})  # hop-by-hop, routing, destination options, mobility: all `next, length`


class Segment(NamedTuple):
    """An IP packet as the emulator sees it. Ports and what follows are 0 where the packet has none."""

    protocol: int
    source: bytes
    destination: bytes
    source_port: int = 0
    destination_port: int = 0
    sequence: int = 0
    acknowledgement: int = 0
    flags: int = 0
    payload_length: int = 0

    @property
    def flow(self) -> tuple[int, bytes, int, bytes, int]:
        """Names the packet's connection, in this direction."""
        return (self.protocol, self.source, self.source_port, self.destination, self.destination_port)


def parse(frame: bytes) -> Segment | None:
    """The IP packet in an Ethernet frame; None where there is none, or not enough of it."""
    kind = frame[12:14]
    try:
        if kind == b"\x08\x00":
            return _ipv4(frame)
        if kind == b"\x86\xdd":
            return _ipv6(frame)
    except (struct.error, IndexError):
        pass  # cut short
    return None


def kinds(segment: Segment) -> frozenset[str]:
    """The classes that a packet belongs to by itself. HANDSHAKE-ACK needs the connection's history: see `impair`."""
    if segment.protocol != TCP or not segment.flags & (SYN | RST | ACK | FIN):
        return _ANY
    return _BY_FLAGS[(segment.flags & (SYN | RST | ACK | FIN), segment.payload_length > 0)]


def describe(segment: Segment, kind: str) -> str:
    """One line for a person, such as `SYN-ACK 198.18.0.3:7456 > 198.18.0.2:40000 seq 7 ack 8 len 0`."""
    source = endpoint(segment.source, segment.source_port)
    destination = endpoint(segment.destination, segment.destination_port)
    if segment.protocol != TCP:
        return f"{kind} {source} > {destination} protocol {segment.protocol}"
    return (
        f"{kind} {source} > {destination} seq {segment.sequence} ack {segment.acknowledgement} "
        f"len {segment.payload_length}"
    )


def pack(address: str) -> bytes:
    """An address as it stands in packets. Raises OSError for what is no address."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def unpack(address: bytes) -> str:
    """An address as people write it."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def endpoint(address: bytes, port: int) -> str:
    """`198.18.0.2:80` or `[fd00::2]:80`."""
    return f"{unpack(address)}:{port}" if len(address) == 4 else f"[{unpack(address)}]:{port}"


def _ipv4(frame: bytes) -> Segment:
    first, _, length, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(frame, 14)
    if fragment & 0x1FFF:
        return Segment(protocol, source, destination)
    start = 14 + (first & 15) * 4
    return _transport(frame, start, 14 + length, protocol, source, destination)


def _ipv6(frame: bytes) -> Segment:
    _, length, following, _, source, destination = _IPV6.unpack_from(frame, 14)
    start, end = 54, 54 + length
    while following in _EXTENSIONS or following == _FRAGMENT:
        if following == _FRAGMENT:
            if _PORTS.unpack_from(frame, start)[1] >> 3:
                return Segment(frame[start], source, destination)
            size = 8
        else:
            size = (frame[start + 1] + 1) * 8
        following, start = frame[start], start + size
    return _transport(frame, start, end, following, source, destination)


def _transport(frame: bytes, start: int, end: int, protocol: int, source: bytes, destination: bytes) -> Segment:
    if protocol == TCP:
        here, there, sequence, acknowledgement, offset, flags = _TCP.unpack_from(frame, start)
        payload = max(0, end - start - (offset >> 4) * 4)
        return Segment(TCP, source, destination, here, there, sequence, acknowledgement, flags, payload)
    if protocol == UDP:
        return Segment(UDP, source, destination, *_PORTS.unpack_from(frame, start))
    return Segment(protocol, source, destination)


def _classify(flags: int, payload: bool) -> frozenset[str]:
    rules = {
        "SYN": flags & (SYN | ACK | RST) == SYN,
        "SYN-ACK": flags & (SYN | ACK | RST) == SYN | ACK,
        "DATA": payload and not flags & (SYN | RST),
        "ACK": flags == ACK and not payload,
        "FIN": bool(flags & FIN) and not flags & (SYN | RST),
        "RST": bool(flags & RST),
        "ANY": True,
    }
    return frozenset(name for name, holds in rules.items() if holds)


_ANY = frozenset({"ANY"})
_BY_FLAGS = {
    (flags, payload): _classify(flags, payload) for flags in range(32) if not flags & 8 for payload in (False, True)
}
