"""What stands before the IP packet: the link types of the corpus (tcpdump.org's registry of LINKTYPE_ values)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from scapy.layers.inet import IP
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet as Layer

_MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"


@dataclass(frozen=True)
class Link:
    """A link type: its number, and how it wraps an IP packet that the client (or else the server) sends."""

    number: int
    wrap: Callable[[Layer, bool], bytes]


def _macs(from_client: bool) -> Ether:
    source, destination = _MACS if from_client else _MACS[::-1]
    return Ether(src=source, dst=destination)


def _ethertype(ip: Layer) -> int:
    return 0x0800 if IP in ip else 0x86DD


def _ethernet(ip: Layer, from_client: bool) -> bytes:
    return bytes(_macs(from_client) / ip)


def _vlan(ip: Layer, from_client: bool) -> bytes:
    return bytes(_macs(from_client) / Dot1Q(vlan=5) / ip)


def _qinq(ip: Layer, from_client: bool) -> bytes:
    return bytes(_macs(from_client) / Dot1AD(vlan=5) / Dot1Q(vlan=6) / ip)


def _cooked(ip: Layer, from_client: bool) -> bytes:
    address = bytes.fromhex("020000000001") if from_client else bytes.fromhex("020000000002")
    return bytes(CookedLinux(pkttype=4 if from_client else 0, lladdrlen=6, src=address, proto=_ethertype(ip)) / ip)


def _cooked_2(ip: Layer, from_client: bool) -> bytes:
    address = bytes.fromhex("020000000001") if from_client else bytes.fromhex("020000000002")
    head = CookedLinuxV2(
        proto=_ethertype(ip), ifindex=2, pkttype=4 if from_client else 0, lladdrlen=6, src=address, lladdrtype=1
    )
    return bytes(head / ip)


def _raw(ip: Layer, from_client: bool) -> bytes:
    return bytes(ip)


def _null(ip: Layer, from_client: bool) -> bytes:
    return struct.pack("<I", 2 if IP in ip else 30) + bytes(ip)  # the family in the byte order of the host


def _null_big(ip: Layer, from_client: bool) -> bytes:
    return struct.pack(">I", 2 if IP in ip else 24) + bytes(ip)


def _ppp(ip: Layer, from_client: bool) -> bytes:
    return struct.pack(">H", 0x0021 if IP in ip else 0x0057) + bytes(ip)  # RFC 1661


def _ppp_framed(ip: Layer, from_client: bool) -> bytes:
    return b"\xff\x03" + _ppp(ip, from_client)  # RFC 1662


ETHERNET = Link(1, _ethernet)
VLAN = Link(1, _vlan)
QINQ = Link(1, _qinq)
PPP = Link(9, _ppp)
PPP_FRAMED = Link(9, _ppp_framed)
PPP_HDLC = Link(50, _ppp_framed)
RAW = Link(101, _raw)
NULL = Link(0, _null)
LOOP = Link(108, _null_big)
COOKED = Link(113, _cooked)
COOKED_2 = Link(276, _cooked_2)
IPV4 = Link(228, _raw)
IPV6 = Link(229, _raw)
