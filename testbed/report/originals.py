"""Which packet a retransmission repeats: the last one before it, on the same way, that carried some of the same places.

A segment takes the places in sequence space from its sequence number on: one for SYN, one for each byte, one for FIN
(RFC 9293 section 3.4). Numbers are those of the ladder's rows, relative to the connection, so they seldom wrap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from testbed.report.ladder import Mark, PacketRow
from testbed.report.relative import MODULUS

_Way = tuple[int | None, str, str]


def originals(rows: Iterable[PacketRow]) -> Mapping[int, PacketRow]:
    """The row that each retransmission repeats, by the retransmission's number; `rows` in order of time."""
    sent: dict[_Way, list[PacketRow]] = {}
    found: dict[int, PacketRow] = {}
    for row in rows:
        before = sent.setdefault((row.connection, row.trip.source, row.trip.destination), [])
        if not _places(row) or Mark.DUPLICATE in row.marks:
            continue
        if Mark.RETRANSMISSION in row.marks:
            first = next((other for other in reversed(before) if _overlap(other, row)), None)
            if first is not None:
                found[row.number] = first
        before.append(row)
    return found


def _places(row: PacketRow) -> int:
    """How many places in sequence space the segment takes."""
    segment = row.segment
    return segment.length + ("S" in segment.flags) + ("F" in segment.flags) if segment.sequence is not None else 0


def _overlap(one: PacketRow, other: PacketRow) -> bool:
    first, second = one.segment.sequence or 0, other.segment.sequence or 0
    return (second - first) % MODULUS < _places(one) or (first - second) % MODULUS < _places(other)
