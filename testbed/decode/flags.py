"""TCP flags as a person writes them, in the notation that packetdrill and tcpdump share."""

from __future__ import annotations

from testbed.packet import Flags

# in the order in which tcpdump prints them; packetdrill's A for AE
_LETTERS: tuple[tuple[Flags, str], ...] = (
    (Flags.FIN, "F"),
    (Flags.SYN, "S"),
    (Flags.RST, "R"),
    (Flags.PSH, "P"),
    (Flags.ACK, "."),
    (Flags.URG, "U"),
    (Flags.ECE, "E"),
    (Flags.CWR, "W"),
    (Flags.AE, "A"),
)
_NO_FLAGS = "-"


def format_flags(flags: Flags) -> str:
    """Write flags: `S`, `S.`, `.`, `P.`, `F.`, `R`, `SEW`; `-` when there are none."""
    return "".join(letter for flag, letter in _LETTERS if flags & flag) or _NO_FLAGS
