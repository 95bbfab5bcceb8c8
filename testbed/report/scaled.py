"""Heights that are to scale: one pixel is the same time everywhere, but for silences, which are broken and say so.

A run is bursts of microseconds with silences of seconds between them, and no single scale shows both. So every wait
that would be higher than `LONGEST` becomes a marked break, and the scale is the one, among many tried, that crowds the
fewest labels on a paper of bearable height. A label that would still cover the one before it is `crowded`: the drawing
shows it when it is pointed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from testbed.report.arrows import SHOW_DELAY_NS
from testbed.report.ladder import FoldRow, PacketRow, Row, StateRow
from testbed.report.plot import BREAK_HEIGHT, FOLD_HEIGHT, Break, Event, Plot, events_of

LONGEST = 180.0
LABEL_ROOM = 13.0
LINE_ROOM = 14.0  # between two packets, so that they are told apart
SLOPE = 30.0  # of a packet that took a millisecond or more
TALLEST = 240.0  # and for each row
PER_ROW = 46.0
SCALES_TRIED = 48
_STEP = 1.35  # from one scale tried to the next


@dataclass(frozen=True, slots=True)
class _Laid:
    """The events at one scale: y of each, the breaks, and the rows whose labels have no room."""

    px_per_ns: float
    heights: tuple[float, ...]
    breaks: tuple[Break, ...]
    crowded: frozenset[int]
    close: int  # packets that can hardly be told from the one before
    cut: int  # breaks while a packet is under way, whose slope then says little
    flat: int  # packets that took their time, and whose slope can hardly be seen

    @property
    def badness(self) -> tuple[float, float]:
        """What the choice is by: packets that cover each other or are cut, labels without room, breaks, the height."""
        covered = self.close + len(self.crowded) + self.cut
        return 2 * covered + 0.8 * len(self.breaks) + 0.5 * self.flat, self.heights[-1]


def place_to_scale(rows: Sequence[Row], every: Sequence[PacketRow | StateRow], *, top: float) -> Plot:
    """Place the shown `rows` as `testbed.report.plot.place` does, to scale."""
    plot, events = Plot(), _folds_last(rows, events_of(rows))
    if not events:
        plot.close(rows, every, top)
        return plot
    laid = _best(rows, events, top)
    for event, y in zip(events, laid.heights, strict=True):
        (plot.ends if event.kind == "end" else plot.starts)[event.row] = y
        if event.kind != "fold":
            plot.moments.append((event.at_ns, y))
    plot.breaks, plot.crowded, plot.px_per_ns = list(laid.breaks), laid.crowded, laid.px_per_ns
    plot.close(rows, every, laid.heights[-1])
    return plot


def _folds_last(rows: Sequence[Row], events: Iterable[Event]) -> list[Event]:
    """A fold stands behind the arrival of the packet before it, unless the rows after it have begun by then."""
    moved = []
    for event in events:
        before = rows[event.row - 1] if event.kind == "fold" else None
        after = rows[event.row + 1] if event.kind == "fold" and event.row + 1 < len(rows) else None
        if isinstance(before, PacketRow):
            end = before.at_ns + max(before.delay_ns or 0, 0)
            event = replace(event, at_ns=end if isinstance(after, FoldRow | None) else min(end, after.at_ns))
        moved.append(event)
    return sorted(moved, key=lambda event: (event.at_ns, event.order))


def _best(rows: Sequence[Row], events: Sequence[Event], top: float) -> _Laid:
    waits = [after.at_ns - before.at_ns for before, after in pairwise(events)]
    finest = LABEL_ROOM / max(min((wait for wait in waits if wait > 0), default=1_000), 1_000)
    tried = [_lay(rows, events, top, finest / _STEP**number) for number in range(SCALES_TRIED)]
    bearable = [laid for laid in tried if laid.heights[-1] - top <= TALLEST + PER_ROW * len(rows)]
    return min(bearable or tried[-1:], key=lambda laid: laid.badness)


def _lay(rows: Sequence[Row], events: Sequence[Event], top: float, px_per_ns: float) -> _Laid:
    heights: list[float] = []
    breaks: list[Break] = []
    flights = [(row.at_ns, row.at_ns + (row.delay_ns or 0)) for row in rows if isinstance(row, PacketRow)]
    y, previous, cut = top, events[0].at_ns, 0
    for event in events:
        wait = event.at_ns - previous
        if wait * px_per_ns > LONGEST:
            breaks.append(Break(y + BREAK_HEIGHT / 2, wait))
            cut += any(start <= previous and event.at_ns <= end for start, end in flights)
            y += BREAK_HEIGHT
        else:
            y += wait * px_per_ns
        if event.kind == "fold":
            heights.append(y + FOLD_HEIGHT / 2)
            y += FOLD_HEIGHT
        else:
            heights.append(y)
        previous = event.at_ns
    return _Laid(
        px_per_ns,
        tuple(heights),
        tuple(breaks),
        frozenset(_crowded(rows, events, heights)),
        _close(events, heights),
        cut,
        _flat(rows, events, heights),
    )


def _close(events: Sequence[Event], heights: Sequence[float]) -> int:
    sent = [y for event, y in zip(events, heights, strict=True) if event.kind == "send"]
    return sum(below - above < LINE_ROOM for above, below in pairwise(sent))


def _flat(rows: Sequence[Row], events: Sequence[Event], heights: Sequence[float]) -> int:
    starts = {event.row: y for event, y in zip(events, heights, strict=True) if event.kind == "send"}
    ends = {event.row: y for event, y in zip(events, heights, strict=True) if event.kind == "end"}
    return sum(
        ends[at] - starts[at] < SLOPE
        for at, row in enumerate(rows)
        if isinstance(row, PacketRow) and (row.delay_ns or 0) >= SHOW_DELAY_NS
    )


def _crowded(rows: Sequence[Row], events: Sequence[Event], heights: Sequence[float]) -> Iterable[int]:
    """The packets whose labels have no room below the last one that has, on their side."""
    last: dict[bool, float] = {}
    for event, y in zip(events, heights, strict=True):
        row = rows[event.row]
        if event.kind == "send" and isinstance(row, PacketRow):
            if y - last.get(row.from_left, y - LABEL_ROOM) < LABEL_ROOM:
                yield event.row
            else:
                last[row.from_left] = y
