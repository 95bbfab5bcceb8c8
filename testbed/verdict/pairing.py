"""Which of several equal packets seen early is which of those seen later: matching on time alone.

Copies of a packet may be equal in every field (a SYN-ACK without timestamps, sent again). On every stage of its way a
packet keeps its place among its copies, so a matching never crosses; and where copies were lost on the stage, what
comes out follows from the most recent copy that can have caused it. A copy behind a link of so much delay cannot have
come in later than that delay ago.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def pair(starts: Sequence[int], ends: Sequence[int], *least_ns: int) -> tuple[int | None, ...]:
    """For each end (a time, in order), the index of the start that it comes from, or None.

    `least_ns` is how long the way takes at least (negative: what clocks may differ by). Further values are tried in
    turn while both a start and an end are left over.
    """
    chosen: list[int | None] = []
    for least in least_ns:
        chosen = _latest(starts, ends, least)
        _put_originals_first(chosen, starts, ends, least)
        if None not in chosen or len(chosen) - chosen.count(None) == len(starts):
            break
    return tuple(chosen)


def _latest(starts: Sequence[int], ends: Sequence[int], least_ns: int) -> list[int | None]:
    chosen: list[int | None] = [None] * len(ends)
    free = len(starts)
    for end in range(len(ends) - 1, -1, -1):
        found = bisect_right(starts, ends[end] - least_ns, 0, free) - 1
        if found >= 0:
            chosen[end] = free = found
    return chosen


def _put_originals_first(chosen: list[int | None], starts: Sequence[int], ends: Sequence[int], least_ns: int) -> None:
    """Of an end and its duplicate, the earlier is the original."""
    for end, start in enumerate(chosen):
        later = next((k for k in range(end + 1, len(chosen)) if chosen[k] is not None), None)
        if start is not None or later is None:
            continue
        moved = chosen[later]
        if moved is not None and starts[moved] <= ends[end] - least_ns:
            chosen[end], chosen[later] = moved, None
