"""IPv4 (RFC 791) and IPv6 with its extension headers (RFC 8200): from the header to what transport needs to know.

Lengths come from the IP header, never from the bytes captured: Ethernet pads short frames. A length of 0 means that the
sender's card cuts the packet later (TSO); then it reaches to the end of the frame. With a route in the packet (IPv4
source route, IPv6 routing header) the destination is the last one, as it is in the transport's pseudo header.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv6Address
from struct import Struct
from typing import NamedTuple

from testbed.decode.checksum import add_words, is_right

AUTHENTICATION = 51
HOP_BY_HOP, ROUTING, FRAGMENT, NO_NEXT_HEADER, DESTINATION_OPTIONS = 0, 43, 44, 59, 60
_EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS, 135, 139, 140})
_SOURCE_ROUTES = frozenset({131, 137})  # loose, strict
_SEGMENT_ROUTING = 4  # RFC 8754: its list is the last one first
_LISTED_ROUTINGS = frozenset({0, 2})  # RFC 5095, 6275
_JUMBO_PAYLOAD = 0xC2  # RFC 2675
_IPV4 = Struct(">BBHHHBBH4s4s")
_IPV6 = Struct(">IHBB16s16s")
_CUT_4, _CUT_6 = "cut in the IPv4 header", "cut in the IPv6 header"
_CUT_EXTENSION = "cut in an IPv6 extension header"


class Piece(NamedTuple):
    """What makes an IP packet a fragment."""

    identification: int
    offset: int  # in the payload, bytes
    more: bool


class Datagram(NamedTuple):
    """An IP header, read: addresses, and where in the frame's bytes its payload is."""

    source: str
    destination: str
    protocol: int
    ttl: int
    ecn: int
    ip_id: int | None
    length: int
    start: int
    end: int  # by the header; more than the bytes there are when the capture was cut
    addresses: int  # the sum of both, for the pseudo header
    sound: bool  # the header's own checksum is right
    piece: Piece | None


@lru_cache(maxsize=65536)
def format_ipv4(address: bytes) -> str:
    """Write an IPv4 address."""
    return "{}.{}.{}.{}".format(*address)


@lru_cache(maxsize=65536)
def format_ipv6(address: bytes) -> str:
    """Write an IPv6 address as `ipaddress` does."""
    return str(IPv6Address(address))


def read_ip(data: bytes, version: int, offset: int, wire_end: int) -> Datagram | str:
    """Read the IP header at `offset`; `wire_end` is the frame's length on the wire. Or say why it cannot be read."""
    return _VERSIONS[version](data, offset, wire_end)


def _read_ipv4(data: bytes, offset: int, wire_end: int) -> Datagram | str:
    if len(data) - offset < 20:
        return _CUT_4
    first, service, total, ip_id, piece, ttl, protocol, checksum, source, destination = _IPV4.unpack_from(data, offset)
    start = offset + (first & 15) * 4
    end = offset + total if total else wire_end
    if first >> 4 != 4 or start - offset < 20 or end < start:
        return "malformed IPv4 header"
    if start > len(data):
        return _CUT_4
    if start - offset > 20:
        destination = _last_hop(data[offset + 20 : start]) or destination
    return Datagram(
        source=format_ipv4(source),
        destination=format_ipv4(destination),
        protocol=protocol,
        ttl=ttl,
        ecn=service & 3,
        ip_id=ip_id,
        length=end - offset,
        start=start,
        end=end,
        addresses=add_words(source + destination),
        # 0 is left to the card by some systems; computed it would be 0 for no sensible header
        sound=not checksum or is_right(add_words(data[offset:start])),
        piece=Piece(ip_id, (piece & 0x1FFF) * 8, bool(piece & 0x2000)) if piece & 0x3FFF else None,
    )


def _last_hop(options: bytes) -> bytes | None:
    """Give the final destination of a source route that still has hops to go (RFC 791 section 3.1)."""
    at = 0
    while at + 3 <= len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1]
        if length < 2 or at + length > len(options):
            return None
        if options[at] in _SOURCE_ROUTES and length >= 7 and options[at + 2] <= length - 3:
            return options[at + length - 4 : at + length]
        at += length
    return None


class _Chain(NamedTuple):
    """Where a row of extension headers led."""

    protocol: int
    start: int
    piece: Piece | None
    last_hop: bytes | None
    jumbo: int | None


def _read_ipv6(data: bytes, offset: int, wire_end: int) -> Datagram | str:
    if len(data) - offset < 40:
        return _CUT_6
    first, size, protocol, ttl, source, destination = _IPV6.unpack_from(data, offset)
    if first >> 28 != 6:
        return "malformed IPv6 header"
    chain = _Chain(protocol, offset + 40, None, None, None)
    if protocol in _EXTENSIONS:
        followed = _follow(data, protocol, offset + 40)
        if isinstance(followed, str):
            return followed
        chain = followed
    end = offset + 40 + (chain.jumbo or size)
    if not size and not chain.jumbo and chain.protocol != NO_NEXT_HEADER:
        end = wire_end
    if end < chain.start:
        return "malformed IPv6 header"
    destination = chain.last_hop or destination
    return Datagram(
        source=format_ipv6(source),
        destination=format_ipv6(destination),
        protocol=chain.protocol,
        ttl=ttl,
        ecn=first >> 20 & 3,
        ip_id=None,
        length=end - offset,
        start=chain.start,
        end=end,
        addresses=add_words(source + destination),
        sound=True,
        piece=chain.piece,
    )


def _follow(data: bytes, protocol: int, at: int) -> _Chain | str:
    """Walk the extension headers up to the transport's, or to a fragment's payload."""
    piece, last_hop, jumbo = None, None, None
    while protocol in _EXTENSIONS:
        if at + 8 > len(data):
            return _CUT_EXTENSION
        kind, following, units = protocol, data[at], data[at + 1]
        size = 8 if kind == FRAGMENT else (units + 2) * 4 if kind == AUTHENTICATION else (units + 1) * 8
        if at + size > len(data):
            return _CUT_EXTENSION
        header = data[at : at + size]
        if kind == ROUTING:
            last_hop = _last_segment(header) or last_hop
        elif kind == HOP_BY_HOP:
            jumbo = _jumbo_length(header) or jumbo
        protocol, at = following, at + size
        if kind == FRAGMENT:
            word = int.from_bytes(header[2:4], "big")
            if word & 0xFFF9:  # else it is an atomic fragment, a whole packet (RFC 6946)
                piece = Piece(int.from_bytes(header[4:8], "big"), word & 0xFFF8, bool(word & 1))
                break
    return _Chain(protocol, at, piece, last_hop, jumbo)


def _last_segment(header: bytes) -> bytes | None:
    """Give the final destination of a routing header that still has segments to go."""
    kind, left = header[2], header[3]
    if not left or len(header) < 24:
        return None
    if kind == _SEGMENT_ROUTING:
        return header[8:24]
    return header[-16:] if kind in _LISTED_ROUTINGS and len(header) % 16 == 8 else None


def _jumbo_length(header: bytes) -> int | None:
    at = 2
    while at + 2 <= len(header):
        if header[at] == 0:  # Pad1
            at += 1
            continue
        if header[at] == _JUMBO_PAYLOAD and header[at + 1] == 4 and at + 6 <= len(header):
            return int.from_bytes(header[at + 2 : at + 6], "big")
        at += 2 + header[at + 1]
    return None


_VERSIONS: dict[int, Callable[[bytes, int, int], Datagram | str]] = {4: _read_ipv4, 6: _read_ipv6}
