"""From a frame to the IP packet in it: what each link type puts before it (tcpdump.org's list of LINKTYPE_ values).

Every function takes the frame's bytes and gives (IP version, offset of the IP header), or in words why there is none.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.pcap.frame import LinkType

Found = tuple[int, int]

_IP_VERSIONS = {0x0800: 4, 0x86DD: 6}
VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})  # 802.1Q, 802.1ad, and what came before it
_PPPOE_SESSION = 0x8864
_FIRST_ETHERTYPE = 0x0600  # smaller is a length (IEEE 802.3)
_SNAP = b"\xaa\xaa\x03\0\0\0"  # RFC 1042
_NAMES = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x8863: "PPPoE discovery",
    0x8847: "MPLS",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
}
# AF_INET is 2 everywhere; AF_INET6 is Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS
ADDRESS_FAMILIES = {2: 4, 10: 6, 23: 6, 24: 6, 28: 6, 30: 6}
# PPP protocol numbers (IANA; RFC 1332, 5072)
_PPP_VERSIONS = {0x0021: 4, 0x0057: 6}
_PPP_NAMES = {
    0x002D: "PPP with compressed TCP headers",
    0x002F: "PPP with compressed TCP headers",
    0x8021: "PPP IPCP",
    0x8057: "PPP IPV6CP",
    0xC021: "PPP LCP",
    0xC023: "PPP PAP",
    0xC025: "PPP LQR",
    0xC223: "PPP CHAP",
}
_PPP_HEADER = b"\xff\x03"  # all stations, unnumbered (RFC 1662); may be left out
_CUT = "cut in the link header"


def find_ip(data: bytes, link_type: int) -> Found | str:
    """Give the IP version and where its header begins, or why there is no IP packet to decode."""
    finder = _FINDERS.get(link_type)
    return finder(data) if finder is not None else f"link type {link_type}"


def _ethernet(data: bytes) -> Found | str:
    # the usual frame first: no tag, IPv4
    if data[12:14] == b"\x08\0":
        return 4, 14
    return _tagged(data, 12)


def _tagged(data: bytes, offset: int) -> Found | str:
    """Follow VLAN tags from an EtherType on."""
    while True:
        field = data[offset : offset + 2]
        if len(field) < 2:
            return _CUT
        ethertype = int.from_bytes(field, "big")
        offset += 2
        if ethertype not in VLAN_TAGS:
            break
        offset += 2
    if ethertype < _FIRST_ETHERTYPE:
        return _logical_link(data, offset)
    if ethertype == _PPPOE_SESSION:
        return _pppoe(data, offset)
    version = _IP_VERSIONS.get(ethertype)
    return (version, offset) if version else _NAMES.get(ethertype, f"EtherType 0x{ethertype:04x}")


def _logical_link(data: bytes, offset: int) -> Found | str:
    if data[offset : offset + len(_SNAP)] != _SNAP:
        return "IEEE 802.3 without SNAP"
    return _tagged(data, offset + len(_SNAP))


def _cooked(data: bytes) -> Found | str:
    """LINUX_SLL: packet type, device type, address length, address (8), protocol."""
    return _tagged(data, 14)


def _cooked_2(data: bytes) -> Found | str:
    """LINUX_SLL2: protocol, reserved, interface index, device type, packet type, address length, address (8)."""
    found = _tagged(data[:2] + data[20:], 0)
    return found if isinstance(found, str) else (found[0], found[1] + 18)


def _loopback(data: bytes) -> Found | str:
    """NULL and LOOP: the address family, in either byte order."""
    if len(data) < 4:
        return _CUT
    family = int.from_bytes(data[:4], "big")
    if family > 0xFFFF:
        family = int.from_bytes(data[:4], "little")
    version = ADDRESS_FAMILIES.get(family)
    return (version, 4) if version else f"address family {family}"


def _ppp(data: bytes, offset: int = 0) -> Found | str:
    """Address and control where they are, then a protocol of two bytes, or of one (odd) where that is agreed."""
    if data[offset : offset + 2] == _PPP_HEADER:
        offset += 2
    if offset >= len(data):
        return _CUT
    size = 1 if data[offset] & 1 else 2
    if offset + size > len(data):
        return _CUT
    protocol = int.from_bytes(data[offset : offset + size], "big")
    version = _PPP_VERSIONS.get(protocol)
    return (version, offset + size) if version else _PPP_NAMES.get(protocol, f"PPP protocol 0x{protocol:04x}")


def _hdlc(data: bytes) -> Found | str:
    """PPP in HDLC framing, or Cisco's: address, control, EtherType (RFC 1547 section 4.3.1)."""
    return _tagged(data, 2) if data[:1] in (b"\x0f", b"\x8f") else _ppp(data)


def _pppoe(data: bytes, offset: int = 0) -> Found | str:
    """Version and type, code (0 in a session), session, length (RFC 2516 section 4)."""
    if offset + 6 > len(data):
        return _CUT
    return _ppp(data, offset + 6) if data[offset + 1] == 0 else _NAMES[0x8863]


def _with_direction(data: bytes) -> Found | str:
    """A byte tells which way the frame went; then PPP."""
    return _ppp(data, 1)


def _pppd(data: bytes) -> Found | str:
    """Linux's pppd puts the direction where the address would be: 0 in, 1 out; then control or the protocol."""
    return _ppp(_PPP_HEADER + data[2:]) if data[1:2] == _PPP_HEADER[1:] else _ppp(data, 1)


def _raw(data: bytes) -> Found | str:
    if not data:
        return _CUT
    version = data[0] >> 4
    return (version, 0) if version in (4, 6) else f"IP version {version}"


_FINDERS: dict[int, Callable[[bytes], Found | str]] = {
    LinkType.NULL: _loopback,
    LinkType.LOOP: _loopback,
    LinkType.ETHERNET: _ethernet,
    LinkType.RAW: _raw,
    12: _raw,  # DLT_RAW as some systems wrote it into files
    14: _raw,
    LinkType.IPV4: _raw,
    LinkType.IPV6: _raw,
    LinkType.LINUX_SLL: _cooked,
    LinkType.LINUX_SLL2: _cooked_2,
    LinkType.PPP: _ppp,
    LinkType.PPP_HDLC: _hdlc,
    LinkType.PPP_ETHER: _pppoe,
    LinkType.PPP_PPPD: _pppd,
    LinkType.PPP_WITH_DIR: _with_direction,
    LinkType.C_HDLC: _hdlc,
}
