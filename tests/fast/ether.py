"""Frames for the tests of the agent's emulator, made octet by octet."""

from __future__ import annotations

import ipaddress
import struct

FLAGS = {"F": 0x01, "S": 0x02, "R": 0x04, "P": 0x08, "A": 0x10}
MACS = bytes.fromhex("020000000002 020000000003".replace(" ", ""))
CLIENT, SERVER = "198.18.0.2", "198.18.0.3"


def tcp(
    flags: str,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
    *,
    source: str = CLIENT,
    to: str = SERVER,
    ports: tuple[int, int] = (40000, 7456),
    options: bytes = b"",
) -> bytes:
    """A TCP segment such as `tcp("SA", 7, 8)` in a frame; the family is that of the addresses."""
    bits = sum(FLAGS[flag] for flag in flags)
    header = struct.pack("!HHIIBBHHH", *ports, seq, ack, (5 + len(options) // 4) << 4, bits, 65535, 0, 0)
    return ip(6, header + options + payload, source=source, to=to)


def ip(protocol: int, body: bytes, *, source: str = CLIENT, to: str = SERVER, fragment: int = 0) -> bytes:
    """An IP packet in a frame. `fragment` is the field of IPv4's header."""
    here, there = ipaddress.ip_address(source).packed, ipaddress.ip_address(to).packed
    if len(here) == 16:
        return MACS + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + here + there + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0)
    return MACS + b"\x08\x00" + header + here + there + body
