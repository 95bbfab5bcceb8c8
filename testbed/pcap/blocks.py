"""The numbers of pcapng: block types and option codes (draft-ietf-opsawg-pcapng sections 3.5 and 4).

Reader and writer share this table; a code that is not in it is skipped on reading and never written.
"""

from __future__ import annotations

from enum import IntEnum

BYTE_ORDER_MAGIC = 0x1A2B3C4D
NANOSECONDS = 1_000_000_000
USUAL_SNAP_LENGTH = 262144
LONGEST_FRAME = 1 << 24  # a longer one is damage, whatever a snap length says
LONGEST_BLOCK = 1 << 26  # of pcapng; the same for any block


class Block(IntEnum):
    """Block types."""

    INTERFACE = 1
    PACKET = 2  # obsolete, still written by old tools
    SIMPLE = 3
    STATISTICS = 5
    ENHANCED = 6
    SECTION = 0x0A0D0D0A  # a palindrome: it reads the same in both byte orders


class Option(IntEnum):
    """Options that every block may carry."""

    END = 0
    COMMENT = 1


class SectionOption(IntEnum):
    """Options of a section header block."""

    APPLICATION = 4


class InterfaceOption(IntEnum):
    """Options of an interface description block."""

    NAME = 2
    DESCRIPTION = 3
    TIME_RESOLUTION = 9
    FILTER = 11
    TIME_OFFSET = 14


class PacketOption(IntEnum):
    """Options of an enhanced packet block; the obsolete packet block has the same FLAGS."""

    FLAGS = 2
    DROP_COUNT = 4


class StatisticsOption(IntEnum):
    """Options of an interface statistics block."""

    RECEIVED = 4
    DROPPED_BY_INTERFACE = 5
    DROPPED_BY_SYSTEM = 7
