"""TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792) and ICMPv6 (RFC 4443): from an IP payload to a packet.

`checksum_ok` is False for a wrong checksum of transport or IPv4 header (a host drops either), and None where the
transport's cannot be checked: bytes were not captured, a fragment, no checksum in UDP, or one left to the card.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from testbed.decode.checksum import add_words, is_partial, is_right
from testbed.decode.ip import Datagram
from testbed.decode.options import read_options
from testbed.packet import Flags, Packet, Protocol
from testbed.pcap.frame import Frame

_TCP = Struct(">HHIIHHHH")
_UDP = Struct(">HHHH")
_FLAGS = tuple(Flags(bits) for bits in range(0x200))  # making an IntFlag takes long
_FRAGMENT = "fragment"
_NAMES = {
    2: "IGMP",
    4: "IPIP",
    41: "6in4",
    47: "GRE",
    50: "ESP",
    51: "AH",
    59: "no next header",
    89: "OSPF",
    103: "PIM",
    112: "VRRP",
    132: "SCTP",
}

# UDP ports of protocols that carry packets in packets (IANA); we do not look into them
UDP_TUNNELS = {
    1701: "L2TP",
    2152: "GTP-U",
    3544: "Teredo",
    4754: "GRE in UDP",
    4789: "VXLAN",
    6081: "Geneve",
    6635: "MPLS in UDP",
    8472: "VXLAN",
}


def decode_datagram(frame: Frame, number: int, data: bytes, ip: Datagram) -> Packet | str:
    """Decode what is in an IP packet whose payload stands in `data`, or say why it is skipped.

    A first fragment is decoded as far as it goes; any other is not.
    """
    if ip.piece is not None and ip.piece.offset:
        return _FRAGMENT
    decoder = _PROTOCOLS.get(ip.protocol)
    if decoder is None:
        name = _NAMES.get(ip.protocol)
        return f"IP protocol {ip.protocol} ({name})" if name else f"IP protocol {ip.protocol}"
    return decoder(frame, number, data, ip)


def _lacks_header(name: str, size: int, data: bytes, ip: Datagram) -> str | None:
    """Say why there is no whole header, if there is none."""
    if ip.end - ip.start < size:
        return _FRAGMENT if ip.piece else f"malformed {name} header"
    return f"cut in the {name} header" if len(data) - ip.start < size else None


def _judge(data: bytes, ip: Datagram, end: int, pseudo_header: int, stored: int) -> bool | None:
    if not ip.sound:
        return False
    if ip.piece is not None or end > len(data):
        return None
    if is_right(add_words(data[ip.start : end]) + pseudo_header):
        return True
    # a card that segments (LSO) may be left a pseudo header without the length
    without_length = pseudo_header - (end - ip.start)
    offloaded = pseudo_header and (is_partial(stored, pseudo_header) or is_partial(stored, without_length))
    return None if offloaded else False


def _decode_tcp(frame: Frame, number: int, data: bytes, ip: Datagram) -> Packet | str:
    start, end = ip.start, ip.end
    if lack := _lacks_header("TCP", 20, data, ip):
        return lack
    source, destination, sequence, acknowledgement, bits, window, checksum, urgent = _TCP.unpack_from(data, start)
    body = start + (bits >> 12) * 4
    if body < start + 20 or body > end:
        return _FRAGMENT if ip.piece and body > end else "malformed TCP header"
    pseudo_header = ip.addresses + Protocol.TCP + end - start
    return Packet(
        number=number,
        time_ns=frame.time_ns,
        source=ip.source,
        source_port=source,
        destination=ip.destination,
        destination_port=destination,
        protocol=Protocol.TCP,
        interface=frame.interface,
        length=ip.length,
        sequence=sequence,
        acknowledgement=acknowledgement,
        flags=_FLAGS[bits & 0x1FF],
        window=window,
        urgent=urgent,
        options=read_options(data[start + 20 : body]),
        payload=data[body:end],
        payload_length=end - body,
        checksum_ok=_judge(data, ip, end, pseudo_header, checksum),
        ip_id=ip.ip_id,
        ttl=ip.ttl,
        ecn=ip.ecn,
        ip_checksum_ok=ip.sound,
    )


def _decode_udp(frame: Frame, number: int, data: bytes, ip: Datagram) -> Packet | str:
    if lack := _lacks_header("UDP", 8, data, ip):
        return lack
    source, destination, length, checksum = _UDP.unpack_from(data, ip.start)
    fits = 8 <= length <= ip.end - ip.start
    end = ip.start + length if fits else ip.end
    pseudo_header = ip.addresses + Protocol.UDP + end - ip.start
    return Packet(
        number=number,
        time_ns=frame.time_ns,
        source=ip.source,
        source_port=source,
        destination=ip.destination,
        destination_port=destination,
        protocol=Protocol.UDP,
        interface=frame.interface,
        length=ip.length,
        payload=data[ip.start + 8 : end],
        payload_length=end - ip.start - 8,
        checksum_ok=_judge(data, ip, end, pseudo_header, checksum) if checksum and fits else None,
        ip_id=ip.ip_id,
        ttl=ip.ttl,
        ecn=ip.ecn,
        ip_checksum_ok=ip.sound,
    )


def _decode_icmp(frame: Frame, number: int, data: bytes, ip: Datagram) -> Packet | str:
    """The payload is what follows the 8 bytes of header: of an error, the packet that it complains of."""
    start, end = ip.start, ip.end
    name = "ICMP" if ip.protocol == Protocol.ICMP else "ICMPv6"
    if lack := _lacks_header(name, 4, data, ip):
        return lack
    pseudo_header = 0 if ip.protocol == Protocol.ICMP else ip.addresses + Protocol.ICMPV6 + end - start
    return Packet(
        number=number,
        time_ns=frame.time_ns,
        source=ip.source,
        source_port=0,
        destination=ip.destination,
        destination_port=0,
        protocol=ip.protocol,
        interface=frame.interface,
        length=ip.length,
        payload=data[start + 8 : end],
        payload_length=max(end - start - 8, 0),
        checksum_ok=_judge(data, ip, end, pseudo_header, int.from_bytes(data[start + 2 : start + 4], "big")),
        ip_id=ip.ip_id,
        ttl=ip.ttl,
        ecn=ip.ecn,
        ip_checksum_ok=ip.sound,
        icmp=(data[start], data[start + 1]),
    )


_PROTOCOLS: dict[int, Callable[[Frame, int, bytes, Datagram], Packet | str]] = {
    Protocol.TCP: _decode_tcp,
    Protocol.UDP: _decode_udp,
    Protocol.ICMP: _decode_icmp,
    Protocol.ICMPV6: _decode_icmp,
}
