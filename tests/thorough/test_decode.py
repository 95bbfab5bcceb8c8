"""From frames to packets: link types, IPv4 and IPv6, TCP, UDP and ICMP, on headers written out here by hand."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import ip_address

import pytest

from testbed.decode import decode, decode_frame, format_flags
from testbed.decode.fragments import MOST_BYTES, Fragment, Reassembly
from testbed.decode.ip import Piece, read_ip
from testbed.packet import Flags, Options, Packet, Protocol
from testbed.pcap.frame import Capture, Frame, Interface, LinkType

_A4, _B4 = ip_address("192.0.2.1").packed, ip_address("198.51.100.7").packed
_A6, _B6 = ip_address("2001:db8::1").packed, ip_address("2001:db8::7").packed


def _sum(data: bytes) -> int:
    """RFC 1071, word by word."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _put(data: bytes, at: int, checksum: int) -> bytes:
    return data[:at] + struct.pack(">H", checksum) + data[at + 2 :]


def _pseudo(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    return source + destination + struct.pack(">II", length, protocol)


def _tcp(payload: bytes = b"", options: bytes = b"", flags: int = 0x18, ips: tuple[bytes, bytes] = (_A4, _B4)) -> bytes:
    word = (20 + len(options)) // 4 << 12 | flags
    segment = struct.pack(">HHIIHHHH", 40000, 7456, 0xFFFFFFF0, 0x12345678, word, 502, 0, 9) + options + payload
    return _put(segment, 16, _sum(_pseudo(*ips, 6, len(segment)) + segment))


def _udp(payload: bytes, ips: tuple[bytes, bytes] = (_A4, _B4)) -> bytes:
    datagram = struct.pack(">HHHH", 53, 1234, 8 + len(payload), 0) + payload
    return _put(datagram, 6, _sum(_pseudo(*ips, 17, len(datagram)) + datagram))


def _ipv4(payload: bytes, protocol: int = 6, options: bytes = b"", piece: int = 0, total: int | None = None) -> bytes:
    size = 20 + len(options)
    length = size + len(payload) if total is None else total
    header = struct.pack(">BBHHHBBH", 0x40 | size // 4, 3, length, 77, piece, 63, protocol, 0) + _A4 + _B4 + options
    return _put(header, 10, _sum(header)) + payload


def _ipv6(payload: bytes, following: int = 6, length: int | None = None, destination: bytes = _B6) -> bytes:
    size = len(payload) if length is None else length
    return struct.pack(">IHBB", 6 << 28 | 2 << 20, size, following, 61) + _A6 + destination + payload


def _ethernet(payload: bytes, ethertype: int = 0x0800) -> bytes:
    return b"\2" * 6 + b"\4" * 6 + struct.pack(">H", ethertype) + payload


def _decode(data: bytes, link_type: int = LinkType.ETHERNET, length: int | None = None) -> Packet | str:
    return decode_frame(Frame(5, data, len(data) if length is None else length, 0), 3, link_type)


def _packet(data: bytes, link_type: int = LinkType.ETHERNET, length: int | None = None) -> Packet:
    packet = _decode(data, link_type, length)
    assert isinstance(packet, Packet), packet
    return packet


_SEGMENT4 = _ipv4(_tcp(b"hola"))
_SEGMENT6 = _ipv6(_tcp(b"hola", ips=(_A6, _B6)))


def test_every_field_of_tcp_over_ipv4() -> None:
    """Each field of the headers has its place in the packet."""
    options = bytes.fromhex("020405b4 0402 080a0000000100000002 01 030307")
    data = _ethernet(_ipv4(_tcp(b"hola", options, 0x1C2), options=b"\1\1\1\0"))
    assert _packet(data) == Packet(
        number=3,
        time_ns=5,
        source="192.0.2.1",
        source_port=40000,
        destination="198.51.100.7",
        destination_port=7456,
        protocol=Protocol.TCP,
        interface=0,
        length=24 + 40 + 4,
        sequence=0xFFFFFFF0,
        acknowledgement=0x12345678,
        flags=Flags.SYN | Flags.ECE | Flags.CWR | Flags.AE,
        window=502,
        urgent=9,
        options=Options(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 2)),
        payload=b"hola",
        payload_length=4,
        checksum_ok=True,
        ip_id=77,
        ttl=63,
        ecn=3,
    )


def test_tcp_over_ipv6() -> None:
    """IPv6 has no identification; its length counts the header in."""
    packet = _packet(_ethernet(_SEGMENT6, 0x86DD))
    assert (packet.source, packet.destination) == ("2001:db8::1", "2001:db8::7")
    assert (packet.length, packet.ip_id, packet.ttl, packet.ecn) == (64, None, 61, 2)
    assert (packet.payload, packet.checksum_ok) == (b"hola", True)


@pytest.mark.parametrize(
    ("link_type", "header", "ip"),
    [
        (LinkType.ETHERNET, _ethernet(b""), _SEGMENT4),
        (LinkType.ETHERNET, _ethernet(b"\0\7\x08\0", 0x8100), _SEGMENT4),
        (LinkType.ETHERNET, _ethernet(b"\0\7\x81\0\0\x08\x86\xdd", 0x88A8), _SEGMENT6),
        (LinkType.ETHERNET, _ethernet(b"\0\7\x81\0\0\x08\x08\0", 0x9100), _SEGMENT4),
        (LinkType.ETHERNET, _ethernet(b"\xaa\xaa\3\0\0\0\x08\0", 52), _SEGMENT4),
        (LinkType.LINUX_SLL, struct.pack(">HHH8sH", 0, 1, 6, b"", 0x0800), _SEGMENT4),
        (LinkType.LINUX_SLL, struct.pack(">HHH8sHHH", 4, 1, 6, b"", 0x8100, 7, 0x86DD), _SEGMENT6),
        (LinkType.LINUX_SLL2, struct.pack(">HHIHBB8s", 0x0800, 0, 2, 1, 0, 6, b""), _SEGMENT4),
        (LinkType.LINUX_SLL2, struct.pack(">HHIHBB8sHH", 0x8100, 0, 2, 1, 0, 6, b"", 7, 0x86DD), _SEGMENT6),
        (LinkType.RAW, b"", _SEGMENT4),
        (LinkType.RAW, b"", _SEGMENT6),
        (12, b"", _SEGMENT4),
        (14, b"", _SEGMENT6),
        (LinkType.IPV4, b"", _SEGMENT4),
        (LinkType.IPV6, b"", _SEGMENT6),
        (LinkType.NULL, struct.pack("<I", 2), _SEGMENT4),
        (LinkType.NULL, struct.pack(">I", 2), _SEGMENT4),
        *((LinkType.NULL, struct.pack("<I", family), _SEGMENT6) for family in (10, 23, 24, 28, 30)),
        (LinkType.LOOP, struct.pack(">I", 2), _SEGMENT4),
        (LinkType.LOOP, struct.pack(">I", 24), _SEGMENT6),
        (LinkType.PPP, b"\xff\3\0\x21", _SEGMENT4),
        (LinkType.PPP, b"\0\x57", _SEGMENT6),
        (LinkType.PPP, b"\x21", _SEGMENT4),
        (LinkType.PPP_HDLC, b"\xff\3\0\x21", _SEGMENT4),
        (LinkType.PPP_HDLC, b"\x0f\0\x08\0", _SEGMENT4),
        (LinkType.C_HDLC, b"\x8f\0\x86\xdd", _SEGMENT6),
        (LinkType.PPP_ETHER, b"\x11\0\0\7\0\x30\0\x21", _SEGMENT4),
        (LinkType.PPP_PPPD, b"\1\3\0\x21", _SEGMENT4),
        (LinkType.PPP_PPPD, b"\0\x21", _SEGMENT4),
        (LinkType.PPP_WITH_DIR, b"\0\xff\3\0\x57", _SEGMENT6),
        (LinkType.ETHERNET, _ethernet(b"\x11\0\0\7\0\x30\0\x21", 0x8864), _SEGMENT4),
    ],
)
def test_every_link_type(link_type: int, header: bytes, ip: bytes) -> None:
    """Whatever stands before the IP header, the packet is the same."""
    bare = _packet(ip, LinkType.RAW)
    assert _decode(header + ip, link_type) == bare
    assert bare.checksum_ok is True
    for size in range(len(header)):
        assert isinstance(_decode(header[:size], link_type), str)


@pytest.mark.parametrize(
    ("data", "link_type", "reason"),
    [
        (_ethernet(bytes(28), 0x0806), 1, "ARP"),
        (_ethernet(bytes(28), 0x88B5), 1, "EtherType 0x88b5"),
        (_ethernet(bytes(28), 0x88CC), 1, "LLDP"),
        (_ethernet(bytes(28), 38), 1, "IEEE 802.3 without SNAP"),
        (_ethernet(b"\x11\x09" + bytes(28), 0x8863), 1, "PPPoE discovery"),
        (_ethernet(b"\x11\0\0\7\0\x0a\xc0\x21" + bytes(8), 0x8864), 1, "PPP LCP"),
        (b"\xff\3\0\x2d" + bytes(30), LinkType.PPP, "PPP with compressed TCP headers"),
        (b"\xff\3\x12\x34", LinkType.PPP, "PPP protocol 0x1234"),
        (_ethernet(b"")[:13], 1, "cut in the link header"),
        (b"", LinkType.RAW, "cut in the link header"),
        (b"\x50", LinkType.RAW, "IP version 5"),
        (struct.pack("<I", 7) + _SEGMENT4, LinkType.NULL, "address family 7"),
        (b"", 105, "link type 105"),
        (_ethernet(_SEGMENT4[:19]), 1, "cut in the IPv4 header"),
        (_ethernet(_SEGMENT6[:39], 0x86DD), 1, "cut in the IPv6 header"),
        (_ethernet(b"\x44" + _SEGMENT4[1:]), 1, "malformed IPv4 header"),
        (_ethernet(_SEGMENT6), 1, "malformed IPv4 header"),
        (_ethernet(_SEGMENT4, 0x86DD), 1, "malformed IPv6 header"),
        (_ethernet(_ipv4(_tcp(), total=19)), 1, "malformed IPv4 header"),
        (_ethernet(_ipv4(_tcp(), total=39)), 1, "malformed TCP header"),
        (_ethernet(_SEGMENT4[:39]), 1, "cut in the TCP header"),
        (_ethernet(_SEGMENT4[:20]), 1, "cut in the TCP header"),
        (_ethernet(_ipv4(_tcp()[:12] + b"\x40\0" + _tcp()[14:])), 1, "malformed TCP header"),
        (_ethernet(_ipv4(_tcp()[:12] + b"\xf0\0" + _tcp()[14:])), 1, "malformed TCP header"),
        (_ethernet(_ipv4(bytes(7), 17)), 1, "malformed UDP header"),
        (_ethernet(_ipv4(bytes(3), 1)), 1, "malformed ICMP header"),
        (_ethernet(_ipv4(bytes(30), 47)), 1, "IP protocol 47 (GRE)"),
        (_ethernet(_ipv4(bytes(30), 200)), 1, "IP protocol 200"),
        (_ethernet(_ipv6(b"", 59), 0x86DD), 1, "IP protocol 59 (no next header)"),
        (_ethernet(_ipv6(b"\6\1", 60), 0x86DD), 1, "cut in an IPv6 extension header"),
        (_ethernet(_ipv6(b"\6\0" + bytes(6), 60), 0x86DD), 1, "malformed TCP header"),
        (_ethernet(_ipv4(_tcp(b"x" * 20), piece=1)), 1, "fragment"),
        (_ethernet(_ipv4(_tcp()[:16], piece=0x2000)), 1, "fragment"),
    ],
)
def test_reasons_to_skip(data: bytes, link_type: int, reason: str) -> None:
    """What is no packet of ours is skipped with a reason in words."""
    assert _decode(data, link_type) == reason


def test_padding_is_no_payload() -> None:
    """Ethernet pads to 60 bytes; the IP header says where the packet ends."""
    packet = _packet(_ethernet(_ipv4(_tcp())).ljust(60, b"\xee"))
    assert (packet.payload, packet.payload_length, packet.length, packet.checksum_ok) == (b"", 0, 40, True)


@pytest.mark.parametrize("captured", [54, 56, 57])
def test_cut_capture_keeps_the_length(captured: int) -> None:
    """The payload's length comes from the IP header; a checksum over bytes not captured is not known."""
    data = _ethernet(_SEGMENT4)
    packet = _packet(data[:captured], length=len(data))
    assert (packet.payload, packet.payload_length) == (b"hola"[: captured - 54], 4)
    assert packet.checksum_ok is None


@pytest.mark.parametrize("position", range(34, 58))
def test_every_flipped_byte_is_seen(position: int) -> None:
    """A change in any byte of the segment makes the checksum wrong (or the header unreadable)."""
    data = bytearray(_ethernet(_SEGMENT4))
    data[position] ^= 0x40
    packet = _decode(bytes(data))
    if position == 34 + 12:  # the data offset
        assert packet == "malformed TCP header"
    else:
        assert isinstance(packet, Packet)
        assert packet.checksum_ok is False


def test_wrong_ipv4_header_checksum() -> None:
    """A host drops what has a wrong IPv4 header checksum; 0 was left to the card."""
    data = bytearray(_ethernet(_SEGMENT4))
    data[14 + 8] ^= 1  # TTL
    assert _packet(bytes(data)).checksum_ok is False
    data[14 + 10 : 14 + 12] = b"\0\0"
    assert _packet(bytes(data)).checksum_ok is True


@pytest.mark.parametrize("length", [24, 0])
def test_checksum_left_to_the_card(length: int) -> None:
    """A sender's own capture shows the pseudo header's sum only: the wire's checksum is not known."""
    partial = ~_sum(_pseudo(_A4, _B4, 6, length)) & 0xFFFF
    packet = _packet(_ethernet(_ipv4(_put(_tcp(b"hola"), 16, partial))))
    assert packet.checksum_ok is None


def test_odd_payload() -> None:
    """An odd number of bytes is padded with zero for the sum, also when padding of Ethernet follows."""
    assert _packet(_ethernet(_ipv4(_tcp(b"odd"))) + b"\xff\xff").checksum_ok is True


@pytest.mark.parametrize(("total", "trailing"), [(0, b""), (44, b"\0\0")])
def test_total_length_zero_is_the_frame(total: int, trailing: bytes) -> None:
    """Total length 0 is a packet that the card cuts later (TSO); it reaches to the end of the frame."""
    packet = _packet(_ethernet(_ipv4(_tcp(b"hola"), total=total)) + trailing)
    assert (packet.length, packet.payload, packet.checksum_ok) == (44, b"hola", True)


def test_source_route() -> None:
    """Of a source route with hops to go, the last hop is the destination, as in the pseudo header."""
    last = ip_address("203.0.113.9").packed
    segment = _tcp(b"hola", ips=(_A4, last))
    packet = _packet(_ethernet(_ipv4(segment, options=b"\1\x83\7\4" + last)))
    assert (packet.destination, packet.checksum_ok) == ("203.0.113.9", True)
    done = _packet(_ethernet(_ipv4(_tcp(b"hola"), options=b"\1\x83\7\x08" + last)))
    assert (done.destination, done.checksum_ok) == ("198.51.100.7", True)


def _routing(kind: int, left: int, *addresses: bytes) -> bytes:
    return struct.pack(">BBBB4x", 6, 2 * len(addresses), kind, left) + b"".join(addresses)


@pytest.mark.parametrize(
    ("headers", "first", "destination"),
    [
        (b"\x06\x00\x01\x04\0\0\0\0", 0, _B6),
        (b"\x3c\x00\x01\x04\0\0\0\0" + b"\x06\x01\x01\x0c" + bytes(12), 0, _B6),
        (b"\x06\x04" + bytes(22), 51, _B6),
        (_routing(0, 1, _A6, _B6), 43, _A6),
        (_routing(2, 1, _B6), 43, _A6),
        (_routing(4, 1, _B6, _A6), 43, _A6),
        (_routing(0, 0, _A6, _A6), 43, _B6),
        (_routing(3, 1, _A6, _A6), 43, _B6),
        (b"\x06\x00\0\0\0\0\0\7", 44, _B6),  # atomic fragment
    ],
    ids=["hop-by-hop", "two", "authentication", "route 0", "mobility", "segments", "route done", "route 3", "atomic"],
)
def test_ipv6_extension_headers(headers: bytes, first: int, destination: bytes) -> None:
    """Extension headers are walked; the last segment of a route is the destination."""
    segment = _tcp(b"hola", ips=(_A6, _B6))
    packet = _packet(_ipv6(headers + segment, first, destination=destination), LinkType.RAW)
    assert packet.destination == "2001:db8::7"
    assert (packet.payload, packet.payload_length, packet.checksum_ok) == (b"hola", 4, True)


def test_jumbograms() -> None:
    """IPv6 length 0 is told by the jumbo option (RFC 2675, Linux' BIG TCP), else it is the frame's."""
    segment = _tcp(b"hola", ips=(_A6, _B6))
    jumbo = struct.pack(">BBBBI", 6, 0, 0xC2, 4, 8 + len(segment))
    for data in (_ipv6(jumbo + segment, 0, length=0) + b"padding", _ipv6(segment, length=0)):
        packet = _packet(data, LinkType.RAW)
        assert (packet.payload, packet.payload_length, packet.checksum_ok) == (b"hola", 4, True)


def test_udp() -> None:
    """UDP has ports and a length of its own; 0 is no checksum."""
    packet = _packet(_ethernet(_ipv4(_udp(b"hello") + b"trailer", 17)))
    assert (packet.protocol, packet.source_port, packet.destination_port) == (Protocol.UDP, 53, 1234)
    assert (packet.payload, packet.payload_length, packet.checksum_ok) == (b"hello", 5, True)
    empty = _packet(_ethernet(_ipv4(_udp(b""), 17)))
    assert (empty.payload_length, empty.checksum_ok) == (0, True)
    wrong = _packet(_ethernet(_ipv4(_udp(b"hello").replace(b"h", b"j"), 17)))
    assert wrong.checksum_ok is False
    absent = _packet(_ethernet(_ipv4(_put(_udp(b"hello"), 6, 0), 17)))
    assert absent.checksum_ok is None
    too_long = _packet(_ethernet(_ipv4(_put(_udp(b"hello"), 4, 99), 17)))
    assert (too_long.payload_length, too_long.checksum_ok) == (5, None)


def test_icmp() -> None:
    """An ICMP error has type and code, no ports, and the packet that it complains of as payload."""
    error = b"\3\4\0\0\0\0\5\x78" + _SEGMENT4[:28]
    packet = _packet(_ethernet(_ipv4(_put(error, 2, _sum(error)), 1)))
    assert (packet.protocol, packet.icmp, packet.source_port, packet.destination_port) == (Protocol.ICMP, (3, 4), 0, 0)
    assert (packet.payload, packet.payload_length, packet.checksum_ok) == (_SEGMENT4[:28], 28, True)
    assert _packet(_ethernet(_ipv4(_put(error, 2, 1), 1))).checksum_ok is False


def test_icmpv6() -> None:
    """ICMPv6 counts the pseudo header into its checksum."""
    error = b"\1\4\0\0\0\0\0\0" + _SEGMENT6[:48]
    message = _put(error, 2, _sum(_pseudo(_A6, _B6, 58, len(error)) + error))
    packet = _packet(_ipv6(message, 58), LinkType.RAW)
    assert (packet.protocol, packet.icmp, packet.checksum_ok) == (Protocol.ICMPV6, (1, 4), True)
    assert _packet(_ipv6(_put(error, 2, 1), 58), LinkType.RAW).checksum_ok is False


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", Options()),
        ("020405b4", Options(mss=1460)),
        ("03030e", Options(window_scale=14)),
        ("0303ff00", Options(window_scale=255)),
        ("0402", Options(sack_permitted=True)),
        ("0101080a0000000affffffff", Options(timestamps=(10, 0xFFFFFFFF))),
        ("0101050a0000000a0000000b", Options(sack=((10, 11),))),
        ("01010512 0000000a0000000b 0000000c0000000d", Options(sack=((10, 11), (12, 13)))),
        ("2202", Options(fast_open=b"")),
        ("2206deadbeef", Options(fast_open=b"\xde\xad\xbe\xef")),
        ("fe04f989", Options(fast_open=b"")),
        ("fd08f989deadbeef", Options(fast_open=b"\xde\xad\xbe\xef")),
        ("fe041234", Options(unknown=(254,))),
        ("1e0c0001000102030405060708", Options(mptcp=True, malformed=True)),  # and a kind 8 without length
        ("1e0c00010001020304050607", Options(mptcp=True)),
        ("1312" + "00" * 16, Options(md5=True)),
        ("1d040102 45030101", Options(unknown=(29, 69))),
        ("020405b4 00 020405b5", Options(mss=1460)),
        ("020405b4 0200", Options(mss=1460, malformed=True)),
        ("020405b4 0201", Options(mss=1460, malformed=True)),
        ("020405b4 080a0000", Options(mss=1460, malformed=True)),
        ("02", Options(malformed=True)),
        ("0203ff 0402", Options(sack_permitted=True, malformed=True)),
        ("0502", Options(malformed=True)),
        ("050b0000000a0000000b00", Options(malformed=True)),
    ],
)
def test_tcp_options(text: str, options: Options) -> None:
    """Every option that we know, unknown ones by their kind, and no list, however wrong, that crashes."""
    data = bytes.fromhex(text)
    whole = b"\1" * (-len(data) % 4) + data
    assert _packet(_ethernet(_ipv4(_tcp(options=whole)))).options == options


def test_options_that_were_not_captured() -> None:
    """Options cut by the capture give those that are there, and say so."""
    data = _ethernet(_ipv4(_tcp(b"hola", bytes.fromhex("020405b4 0101080a0000000100000002"))))
    packet = _packet(data[:62], length=len(data))
    assert packet.options == Options(mss=1460, malformed=True)
    assert (packet.payload, packet.payload_length) == (b"", 4)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (Flags.SYN, "S"),
        (Flags.SYN | Flags.ACK, "S."),
        (Flags.ACK, "."),
        (Flags.PSH | Flags.ACK, "P."),
        (Flags.FIN | Flags.ACK, "F."),
        (Flags.FIN | Flags.PSH | Flags.ACK, "FP."),
        (Flags.RST, "R"),
        (Flags.RST | Flags.ACK, "R."),
        (Flags.SYN | Flags.ECE | Flags.CWR, "SEW"),
        (Flags.SYN | Flags.ACK | Flags.ECE, "S.E"),
        (Flags.ACK | Flags.URG, ".U"),
        (Flags.SYN | Flags.ECE | Flags.CWR | Flags.AE, "SEWA"),
        (Flags.NONE, "-"),
    ],
)
def test_flags_in_words(flags: Flags, text: str) -> None:
    """Flags are written as packetdrill and tcpdump write them."""
    assert format_flags(flags) == text


def _capture(*packets: bytes, interfaces: int = 1, link_type: int = LinkType.RAW) -> Capture:
    frames = tuple(
        Frame(number, data, len(data), number % interfaces) for number, data in enumerate(packets, interfaces)
    )
    return Capture(tuple(Interface(str(index), link_type) for index in range(interfaces)), frames)


def test_numbers_and_reasons() -> None:
    """Packets keep their number in the capture; every other frame is counted under its reason."""
    decoded = decode(_capture(b"\x50", _SEGMENT4, b"\x50", b"", _SEGMENT6))
    assert [packet.number for packet in decoded.packets] == [2, 5]
    assert decoded.skipped == (("IP version 5", 2), ("cut in the link header", 1))


def _fragments(segment: bytes, size: int) -> list[bytes]:
    cuts = range(0, len(segment), size)
    return [_ipv4(segment[at : at + size], piece=at // 8 | (0x2000 if at + size < len(segment) else 0)) for at in cuts]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 0, 2, 1)])
def test_fragments_are_put_together(order: tuple[int, ...]) -> None:
    """In whatever order, and with duplicates: the fragment that completes a packet becomes it."""
    segment = _tcp(b"hola server, are you bored?")
    parts = _fragments(segment, 16)
    decoded = decode(_capture(*(parts[index] for index in order)))
    whole = _packet(_ipv4(segment), LinkType.RAW)
    assert decoded.packets == (replace(whole, number=len(order), time_ns=len(order)),)
    assert decoded.skipped == (("fragment", len(order) - 1),)


def test_ipv6_fragments_are_put_together() -> None:
    """The fragment header is no part of the whole."""
    segment = _tcp(b"hola server, are you bored?", ips=(_A6, _B6))
    first = _ipv6(struct.pack(">BxHI", 6, 0 | 1, 9) + segment[:24], 44)
    second = _ipv6(struct.pack(">BxHI", 6, 24, 9) + segment[24:], 44)
    (packet,) = decode(_capture(first, second)).packets
    assert (packet.payload, packet.checksum_ok) == (b"hola server, are you bored?", True)


def test_fragments_that_overlap() -> None:
    """Where fragments overlap, the bytes that come first in the packet count once."""
    segment = _tcp(b"hola server, are you bored?")
    parts = [_ipv4(segment[:32], piece=0x2000), _ipv4(segment[16:40], piece=0x2002), _ipv4(segment[32:], piece=4)]
    (packet,) = decode(_capture(*parts)).packets
    assert (packet.payload, packet.checksum_ok) == (b"hola server, are you bored?", True)


def test_a_packet_that_lacks_a_fragment() -> None:
    """The first fragment alone is decoded as far as it goes, with its own length and no word on the checksum."""
    parts = _fragments(_tcp(b"hola" * 20), 24)
    decoded = decode(_capture(parts[1], parts[0], _SEGMENT4))
    first, other = decoded.packets
    assert (first.number, first.payload, first.payload_length, first.checksum_ok) == (2, b"hola", 4, None)
    assert other.number == 3
    assert decoded.skipped == (("fragment", 1),)


def test_vantage_points_do_not_share_fragments() -> None:
    """In a merged capture each interface's fragments make a packet of their own."""
    parts = _fragments(_tcp(b"hola server, are you bored?"), 24)
    decoded = decode(_capture(*(part for part in parts for _ in range(2)), interfaces=2))
    assert len(decoded.packets) == 2
    assert {packet.interface for packet in decoded.packets} == {0, 1}
    assert all(packet.checksum_ok for packet in decoded.packets)


def test_an_identification_used_again() -> None:
    """After a minute an identification means another packet."""
    first, last = _fragments(_tcp(b"hola server"), 24)
    capture = _capture(first, last)
    late = replace(capture.frames[1], time_ns=61_000_000_000)
    decoded = decode(replace(capture, frames=(capture.frames[0], late)))
    assert [packet.checksum_ok for packet in decoded.packets] == [None]


def test_fragments_that_wait_are_bounded() -> None:
    """However many packets never become whole, no more than so much of them is held."""
    reassembly = Reassembly()
    frame = Frame(0, _ethernet(_ipv4(bytes(1400), piece=0x2000)), 1434)
    for number in range(40_000):
        ip = read_ip(frame.data, 4, 14, frame.length)
        assert not isinstance(ip, str)
        piece = Piece(number & 0xFFFF, 0, True)
        assert reassembly.add(Fragment(number, frame, ip._replace(piece=piece))) is None
    waiting = 40_000 - len(reassembly.given_up)
    assert waiting * len(frame.data) <= MOST_BYTES
    reassembly.give_up()
    assert [fragment.number for fragment in reassembly.given_up] == list(range(40_000))
