"""A decoded packet: what the rest of the testbed knows of a frame.

`testbed.decode` makes these from frames; `testbed.tcp` follows connections through them. A packet keeps its
number in the capture it was read from, starting at 1 as Wireshark counts, so that every finding can be looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag


class Flags(IntFlag):
    """TCP control bits (RFC 9293 section 3.1; AE is RFC 9768's former NS)."""

    NONE = 0
    FIN = 0x001
    SYN = 0x002
    RST = 0x004
    PSH = 0x008
    ACK = 0x010
    URG = 0x020
    ECE = 0x040
    CWR = 0x080
    AE = 0x100


class Protocol(IntEnum):
    """IP protocol numbers that we look into (IANA)."""

    ICMP = 1
    TCP = 6
    UDP = 17
    ICMPV6 = 58


@dataclass(frozen=True, slots=True)
class Options:
    """TCP options of one segment; None or False where the segment does not carry the option."""

    mss: int | None = None  # RFC 9293 section 3.7.1, bytes
    window_scale: int | None = None  # RFC 7323 section 2.2, shift count as sent (not capped at 14)
    sack_permitted: bool = False  # RFC 2018 section 2
    sack: tuple[tuple[int, int], ...] = ()  # RFC 2018 section 3, raw (left, right) edges
    timestamps: tuple[int, int] | None = None  # RFC 7323 section 3.2, (TSval, TSecr)
    fast_open: bytes | None = None  # RFC 7413 section 4.1.1, the cookie; b"" asks for one
    mptcp: bool = False  # RFC 8684
    md5: bool = False  # RFC 2385
    unknown: tuple[int, ...] = ()  # kinds we do not know
    malformed: bool = False  # the option list could not be read to its end


NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet with TCP, UDP or ICMP in it.

    Addresses are text as `ipaddress` prints them. `sequence`, `acknowledgement` and `window` are raw (as on the wire);
    `payload` may be shorter than `payload_length` when the capture was cut. `checksum_ok` is None where it could not be
    checked (cut packets, fragments, an offloaded or absent checksum).
    """

    number: int
    time_ns: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int = Protocol.TCP
    interface: int = 0
    length: int = 0  # of the IP packet, bytes
    sequence: int = 0
    acknowledgement: int = 0
    flags: Flags = Flags.NONE
    window: int = 0
    urgent: int = 0
    options: Options = field(default=NO_OPTIONS)
    payload: bytes = b""
    payload_length: int = 0
    checksum_ok: bool | None = None
    ip_id: int | None = None
    ttl: int = 0
    ecn: int = 0  # RFC 3168: 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE
    icmp: tuple[int, int] | None = None  # (type, code) of an ICMP packet
    ip_checksum_ok: bool = True  # of the IPv4 header; a wrong one makes checksum_ok False too
