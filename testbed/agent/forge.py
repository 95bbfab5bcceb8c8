"""Frames made by the wire itself: found in, put together again with right checksums, forged, or damaged on purpose.

Only a TCP or UDP packet that stands whole right behind its IP header is looked into (`find`): no fragment, no IPv6
extension header, no VLAN tag, nothing cut. Whatever is made is Ethernet, IP header, and one transport header.

* RST (RFC 9293 section 3.10.7.1): to the packet's sender as a closed port would answer; to its receiver as the sender's
  own abort, in sequence, since a stack takes only an RST with the number it expects next (RFC 5961 section 3.2).
* ICMP (RFC 792, 1191; RFC 4443): quotes the packet from its IP header on, as much as fits 576 bytes (RFC 1812 section
  4.3.2.3) or 1,280 (RFC 4443 section 2.4), and comes from the address that the packet was sent to.

An Internet checksum (RFC 1071) is computed by one division: 2^16 is 1 modulo 65535.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from testbed.agent import frames

ICMP, ICMPV6 = 1, 58
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
TTL = 64
SMALLEST = {frames.TCP: 20, frames.UDP: 8}

# name: ICMP's type and code, ICMPv6's type and code
UNREACHABLE = {
    "port": ((3, 3), (1, 4)),
    "host": ((3, 1), (1, 3)),  # address unreachable
    "net": ((3, 0), (1, 0)),  # no route to destination
    "admin": ((3, 13), (1, 1)),
    "frag-needed": ((3, 4), (2, 0)),  # packet too big
}
QUOTED_IPV4, QUOTED_IPV6 = 576 - 20 - 8, 1280 - 40 - 8

_TCP = struct.Struct("!HHIIBBHHH")


class Where(NamedTuple):
    """Where in a frame the transport's header, its payload and the packet's end are."""

    start: int
    body: int
    end: int


def find(frame: bytes, protocol: int) -> Where | None:
    """Where TCP or UDP stands in this frame; None where it does not stand whole right behind the IP header."""
    try:
        if frame[12:14] == IPV4:
            if frame[20] & 0x3F or frame[21]:  # more fragments, or an offset
                return None
            start, end = 14 + (frame[14] & 15) * 4, 14 + (frame[16] << 8 | frame[17])
        else:
            if frame[12:14] != IPV6 or frame[20] != protocol:
                return None
            start, end = 54, 54 + (frame[18] << 8 | frame[19])
        body = start + ((frame[start + 12] >> 4) * 4 if protocol == frames.TCP else 8)
    except IndexError:
        return None
    whole = start >= 34 and body - start >= SMALLEST[protocol] and body <= end <= len(frame)
    return Where(start, body, end) if whole else None


def packet_in(frame: bytes) -> bytes:
    """The IP packet in a frame, without what Ethernet pads; all behind the Ethernet header where there is no such."""
    if frame[12:14] == IPV4:
        return frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
    if frame[12:14] == IPV6:
        return frame[14 : 54 + int.from_bytes(frame[18:20], "big")]
    return frame[14:]


def digest(frame: bytes) -> str:
    """Names the IP packet in a frame by its bytes: 16 hex digits, the same wherever it is captured unchanged."""
    from hashlib import blake2b  # OpenSSL takes milliseconds to load; `Faults` has done it when packets come

    return blake2b(packet_in(frame), digest_size=8).hexdigest()


def checksum(data: bytes) -> int:
    """The Internet checksum of data whose own checksum field is 0; what is whole and right gives 0."""
    number = int.from_bytes(data, "big")
    return -(number << 8 if len(data) & 1 else number) % 0xFFFF


def transport_checksum(frame: bytes, transport: bytes) -> int:
    """The checksum with the pseudo header of the frame's addresses (RFC 9293, 8200)."""
    if frame[12:14] == IPV4:
        addresses, protocol = frame[26:34], frame[23]
    else:
        addresses, protocol = frame[22:54], frame[20]
    return checksum(addresses + struct.pack("!II", len(transport), protocol) + transport)


def seal(head: bytes, transport: bytes, field: int, pseudo: bool = True) -> bytes:
    """A frame of Ethernet and IP header and what follows, with right lengths and checksums; `field`: where that is."""
    sealed = bytearray(head)
    if head[12:14] == IPV4:
        struct.pack_into("!H", sealed, 16, len(head) - 14 + len(transport))
        struct.pack_into("!H", sealed, 24, 0)
        struct.pack_into("!H", sealed, 24, checksum(bytes(sealed[14:])))
    else:
        struct.pack_into("!H", sealed, 18, len(transport))
    body = bytearray(transport)
    struct.pack_into("!H", body, field, 0)
    right = transport_checksum(head, bytes(body)) if pseudo else checksum(bytes(body))
    struct.pack_into("!H", body, field, right)
    return bytes(sealed + body)


def reset_onward(frame: bytes, segment: frames.Segment, sequence: int) -> bytes:
    """The RST to a packet's receiver with this sequence number: what the sender sends when it aborts.

    With the packet's acknowledgement where it has one: only so does SYN-SENT take it (RFC 9293 section 3.10.7.3).
    """
    flags = frames.RST | segment.flags & frames.ACK
    acknowledgement = segment.acknowledgement if flags & frames.ACK else 0
    ports = segment.source_port, segment.destination_port
    return _reset(_head(frame, frames.TCP, back=False), ports, sequence, acknowledgement, flags)


def reset_back(frame: bytes, segment: frames.Segment) -> bytes:
    """The RST to a packet's sender: what a closed port answers (RFC 9293 section 3.10.7.1)."""
    head, ports = _head(frame, frames.TCP, back=True), (segment.destination_port, segment.source_port)
    if segment.flags & frames.ACK:
        return _reset(head, ports, segment.acknowledgement, 0, frames.RST)
    past = segment.sequence + segment.payload_length + bool(segment.flags & frames.SYN)
    return _reset(head, ports, 0, past + bool(segment.flags & frames.FIN), frames.RST | frames.ACK)


def unreachable(frame: bytes, name: str, mtu: int = 0) -> bytes:
    """The ICMP or ICMPv6 error to a packet's sender, one of UNREACHABLE."""
    ipv4 = frame[12:14] == IPV4
    kind, code = UNREACHABLE[name][0 if ipv4 else 1]
    quoted = packet_in(frame)[: QUOTED_IPV4 if ipv4 else QUOTED_IPV6]
    # an ICMP error's precedence is 6, RFC 1812 section 4.3.2.5; the MTU stands at the end of the field in both families
    head = _head(frame, ICMP if ipv4 else ICMPV6, back=True, service=0xC0 if ipv4 else 0)
    return seal(head, struct.pack("!BBHI", kind, code, 0, mtu) + quoted, 2, pseudo=not ipv4)


def flip(frame: bytes, where: Where, bits: int) -> bytes:
    """The packet with so many bits flipped (at most all), spread over its payload, and the checksum left, now wrong.

    Without payload they are in the TCP header, behind the ports and not in the checksum. Which bits they are follows
    from the lengths alone. Where their flips cancel out in the checksum, the last gives way to its neighbour: two
    columns of a sum never weigh the same.
    """
    header = [at for at in range(where.start + 4, where.body) if at - where.start not in (16, 17)]
    octets: Sequence[int] = range(where.body, where.end) or header
    room = len(octets) * 8
    count = min(bits, room)
    *places, last = range(0, room // count * count, room // count)
    flipped = _flip(frame, octets, [*places, last])
    if _sum(flipped, where) != _sum(frame, where):
        return flipped
    return _flip(frame, octets, places if count == room else [*places, last + 1])


def _flip(frame: bytes, octets: Sequence[int], places: Sequence[int]) -> bytes:
    flipped = bytearray(frame)
    for place in places:
        flipped[octets[place >> 3]] ^= 0x80 >> (place & 7)
    return bytes(flipped)


def _sum(frame: bytes, where: Where) -> int:
    return checksum(frame[where.start : where.end])


def _reset(head: bytes, ports: tuple[int, int], sequence: int, acknowledgement: int, flags: int) -> bytes:
    numbers = sequence & 0xFFFFFFFF, acknowledgement & 0xFFFFFFFF
    return seal(head, _TCP.pack(*ports, *numbers, 5 << 4, flags, 0, 0, 0), 16)


def _head(frame: bytes, protocol: int, back: bool, service: int = 0) -> bytes:
    """Fresh Ethernet and IP headers from the frame's sender to its receiver, or back; `seal` sets the lengths."""
    macs = frame[6:12] + frame[:6] if back else frame[:12]
    if frame[12:14] == IPV4:
        source, destination = frame[26:30], frame[30:34]
        header = struct.pack("!BBHHHBBH", 0x45, service, 0, 0, 0x4000, TTL, protocol, 0)  # not to be fragmented: id 0
    else:
        source, destination = frame[22:38], frame[38:54]
        header = struct.pack("!IHBB", 6 << 28 | service << 20, 0, protocol, TTL)
    return macs + frame[12:14] + header + (destination + source if back else source + destination)
