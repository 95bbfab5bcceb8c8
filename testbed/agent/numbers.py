"""Sequence numbers by name: the variables of a live connection, and sums of them such as `rcv_nxt+rcv_wnd+100`.

The names are the variables of RFC 9293 section 3.3.1 and of RFC 7323; whose they are, and how the wire shows them, is
in `live`. All count modulo 2^32. Pure: the scenario's reader imports it too.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = ("rcv_nxt", "rcv_wnd", "snd_nxt", "snd_una", "snd_wnd", "iss", "irs", "ts_recent", "ts_val")
MASK, HALF = 0xFFFFFFFF, 0x80000000
_TERM = re.compile(r"([+-]?)([a-z_]+|[0-9]+)")


class Unknown(Exception):
    """The wire has not shown a number; says its name."""


def evaluate(text: str, numbers: Mapping[str, int | None]) -> int:
    """The sum that the text is. Raises Unknown with the name of a number that is not known."""
    total = 0
    for sign, term in _TERM.findall(text):
        value = int(term) if term.isdigit() else numbers[term]
        if value is None:
            raise Unknown(term)
        total += -value if sign == "-" else value
    return total & MASK


def later(one: int | None, other: int) -> int:
    """The later of two numbers."""
    return other & MASK if one is None or (other - one) & MASK < HALF else one
