"""A captured frame and the capture it stands in, as values.

Follows the pcapng draft (draft-ietf-opsawg-pcapng): an interface description, enhanced packets on it, and
statistics that say how many packets the capture lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class LinkType(IntEnum):
    """The link types we decode (the tcpdump.org registry of LINKTYPE_ values)."""

    NULL = 0
    ETHERNET = 1
    PPP = 9
    PPP_HDLC = 50
    PPP_ETHER = 51
    RAW = 101
    C_HDLC = 104
    LOOP = 108
    LINUX_SLL = 113
    PPP_PPPD = 166
    PPP_WITH_DIR = 204
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class Direction(IntEnum):
    """Which way a frame passed its interface (pcapng epb_flags bits 0-1)."""

    UNKNOWN = 0
    IN = 1
    OUT = 2


@dataclass(frozen=True, slots=True)
class Interface:
    """Where frames were captured: a vantage point's name, and what is known of the place."""

    name: str
    link_type: int = LinkType.ETHERNET
    snap_length: int = 262144
    description: str = ""
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """One captured frame: when (ns since the epoch), where (index of the interface), and its bytes."""

    time_ns: int
    data: bytes
    length: int  # on the wire; more than len(data) when the capture was cut
    interface: int = 0
    direction: Direction = Direction.UNKNOWN
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InterfaceStatistics:
    """What the capture said of itself: packets that the interface received and that the kernel dropped."""

    interface: int
    received: int | None = None
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """A whole capture: its interfaces, frames in file order, statistics, and what could not be read, in words."""

    interfaces: tuple[Interface, ...]
    frames: tuple[Frame, ...]
    statistics: tuple[InterfaceStatistics, ...] = ()
    comments: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
