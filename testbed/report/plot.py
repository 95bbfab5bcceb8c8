"""Where things stand in the drawn ladder: the y of every event, the breaks of long waits, the bars of states.

Events stand in order of time, evenly enough to be read: each keeps its distance from what it could cover, and a wait
of a tenth of a second or more becomes a marked break. Ends of packets are events too, so that packets which crossed
on the wire cross in the drawing. (`testbed.report.scaled` is the other way: heights that are to scale.)
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from testbed.report.ladder import FoldRow, PacketRow, Row, StateRow

BREAK_NS = 100_000_000
BREAK_HEIGHT = 30.0
SEND_HEIGHT = 30.0
STATE_HEIGHT = 20.0
FLIGHT_HEIGHT = 12.0
EVENT_HEIGHT = 4.0
FOLD_HEIGHT = 44.0
LABEL_HEIGHT = 18.0  # of what stands above an arrow's start, below an arrow that ended there
COLUMNS = 3  # sockets beside one lane


@dataclass(frozen=True, slots=True)
class Break:
    """A long wait, drawn short."""

    y: float
    wait_ns: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A socket in one state: from y to y, in its column beside a lane; until None: to the end."""

    left: bool
    column: int
    state: str
    top: float
    bottom: float
    socket: str = ""
    since_ns: int = 0
    until_ns: int | None = None


@dataclass(slots=True)
class Plot:
    """What `place` worked out."""

    starts: dict[int, float] = field(default_factory=dict)  # index of the row -> y
    ends: dict[int, float] = field(default_factory=dict)
    breaks: list[Break] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    columns: dict[bool, int] = field(default_factory=dict)  # of the left lane, of the right
    hidden_sockets: dict[bool, int] = field(default_factory=dict)
    bottom: float = 0.0
    moments: list[tuple[int, float]] = field(default_factory=list)  # (ns, y) in order of time
    px_per_ns: float | None = None  # where heights are to scale
    crowded: frozenset[int] = frozenset()  # rows whose label would cover another's

    def height(self, at_ns: int) -> float:
        """The y of a moment: between those of the events around it."""
        after = bisect_right(self.moments, at_ns, key=lambda moment: moment[0])
        if not 0 < after < len(self.moments):
            return self.moments[min(after, len(self.moments) - 1)][1] if self.moments else self.bottom
        (before_ns, top), (after_ns, below) = self.moments[after - 1 : after + 1]
        return top + (below - top) * (at_ns - before_ns) / (after_ns - before_ns)

    def close(self, rows: Sequence[Row], every: Sequence[PacketRow | StateRow], last: float) -> None:
        """Once every event has its y: what ends the paper, and the bars of states."""
        self.bottom = last + STATE_HEIGHT + 6
        _bars(self, rows, every)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that needs a place: a packet is sent or ends, a state changes, rows are left out."""

    at_ns: int
    order: int
    row: int
    kind: str  # "send", "end", "state" or "fold"
    track: tuple[object, ...]  # what it must not cover
    below: tuple[object, ...] = ()  # whose label it must not cover


_HEIGHTS = {"send": SEND_HEIGHT, "state": STATE_HEIGHT, "end": FLIGHT_HEIGHT, "fold": FOLD_HEIGHT}


def place(rows: Sequence[Row], every: Sequence[PacketRow | StateRow], *, top: float) -> Plot:
    """Place the shown `rows`; the states of those that are folded away (in `every`) end at their fold."""
    plot = Plot()
    last: dict[tuple[object, ...], float] = {}
    y, previous = top, None
    for event in events_of(rows):
        wait = 0 if previous is None else event.at_ns - previous
        y += 0.0 if wait == 0 else EVENT_HEIGHT
        y = max(y, last.get(event.track, top - SEND_HEIGHT) + _HEIGHTS[event.kind])
        if event.kind == "end":
            y = max(y, plot.starts[event.row] + FLIGHT_HEIGHT)
        if event.kind == "send":
            y = max(y, last.get(event.below, top - LABEL_HEIGHT) + LABEL_HEIGHT)
        if wait >= BREAK_NS and event.kind != "fold":
            y = max(y, max(last.values(), default=top) + BREAK_HEIGHT + _HEIGHTS[event.kind] / 2)
            plot.breaks.append(Break(y - (BREAK_HEIGHT + _HEIGHTS[event.kind] / 2) / 2, wait))
        (plot.ends if event.kind == "end" else plot.starts)[event.row] = last[event.track] = y
        if event.kind != "fold":
            plot.moments.append((event.at_ns, y))
        previous = event.at_ns
    plot.close(rows, every, max(last.values(), default=top))
    return plot


def events_of(rows: Sequence[Row]) -> list[Event]:
    """All that needs a place, in order of time."""
    events: list[Event] = []
    for at, row in enumerate(rows):
        if isinstance(row, PacketRow):
            events.append(Event(row.at_ns, at, at, "send", ("packets",), ("end", not row.from_left)))
            events.append(Event(row.at_ns + max(row.delay_ns or 0, 0), at, at, "end", ("end", row.from_left)))
        elif isinstance(row, StateRow):
            events.append(Event(row.at_ns, at, at, "state", ("state", row.left, row.socket)))
        else:
            # A fold stands behind the row before it, whatever is still in flight then.
            before = rows[at - 1]
            since = 0 if isinstance(before, FoldRow) else before.at_ns
            events.append(Event(since, at, at, "fold", ("packets",)))
    return sorted(events, key=lambda event: (event.at_ns, event.order))


def _bars(plot: Plot, rows: Sequence[Row], every: Sequence[PacketRow | StateRow]) -> None:
    heights = _heights(plot, rows, every)
    sockets: dict[tuple[bool, str, str], list[tuple[float, StateRow]]] = {}
    for row, y in zip(every, heights, strict=True):
        if isinstance(row, StateRow):
            sockets.setdefault((row.left, row.host, row.socket), []).append((y, row))
    for left in (True, False):
        mine = [changes for key, changes in sockets.items() if key[0] is left]
        plot.columns[left] = min(len(mine), COLUMNS)
        plot.hidden_sockets[left] = max(len(mine) - COLUMNS, 0)
        for column, changes in enumerate(mine[:COLUMNS]):
            plot.segments += _segments(left, column, changes, plot.bottom)


def _heights(plot: Plot, rows: Sequence[Row], every: Sequence[PacketRow | StateRow]) -> list[float]:
    """The y of every row, folded ones at their fold: `rows` are `every` in order, with folds in the gaps."""
    heights: list[float] = []
    for at, row in enumerate(rows):
        hidden = row.packets + row.states if isinstance(row, FoldRow) else 1
        heights += [plot.starts[at]] * hidden
    return heights


def _segments(left: bool, column: int, changes: Sequence[tuple[float, StateRow]], bottom: float) -> list[Segment]:
    nexts: list[tuple[float, int | None]] = [(y, row.at_ns) for y, row in changes[1:]]
    segments = []
    for (y, row), (end, until) in zip(changes, [*nexts, (bottom, None)], strict=True):
        closed = row.after == "CLOSE" and end == bottom
        end = min(y + STATE_HEIGHT, bottom) if closed else end
        if end - y >= 1:
            segments.append(Segment(left, column, row.after, y, end, row.socket, row.at_ns, until))
    return segments
