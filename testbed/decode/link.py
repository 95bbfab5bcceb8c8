"""From a frame to the IP packet in it: what each link type puts before it (tcpdump.org's list of LINKTYPE_ values).

Every function takes the frame's bytes and gives (IP version, offset of the IP header), or in words why there is none.
"""

from __future__ import annotations

from collections.abc import Callable

from testbed.pcap.frame import LinkType

Found = tuple[int, int]

_IP_VERSIONS = {0x0800: 4, 0x86DD: 6}
_VLAN_TAGS = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})  # 802.1Q, 802.1ad, and what came before it
_FIRST_ETHERTYPE = 0x0600  # smaller is a length (IEEE 802.3)
_SNAP = b"\xaa\xaa\x03\0\0\0"  # RFC 1042
_NAMES = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE",
    0x8847: "MPLS",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
}
# AF_INET is 2 everywhere; AF_INET6 is Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS
_ADDRESS_FAMILIES = {2: 4, 10: 6, 23: 6, 24: 6, 28: 6, 30: 6}
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
        if ethertype not in _VLAN_TAGS:
            break
        offset += 2
    if ethertype < _FIRST_ETHERTYPE:
        return _logical_link(data, offset)
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
    version = _ADDRESS_FAMILIES.get(family)
    return (version, 4) if version else f"address family {family}"


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
}
