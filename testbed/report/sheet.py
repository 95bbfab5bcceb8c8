"""The paper of the drawn ladder: where the lanes are, and what is drawn on and beside them.

From left to right: the clock, the left hosts' steps, the states of their sockets, their lane, the wire, the right lane,
states and steps. Lines come first and texts on top of them, so that no line strikes a text out.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testbed.packet import Packet
from testbed.report.arrows import labels, notes, show_delay
from testbed.report.escape import clean, clip
from testbed.report.ink import STATE_COLOURS, element, write
from testbed.report.ladder import FoldRow, Ladder, PacketRow, Row, StateRow
from testbed.report.originals import originals
from testbed.report.plot import FLIGHT_HEIGHT, Break, Plot, Segment
from testbed.report.steplane import STEP_COLUMN, StepLane, draw_step
from testbed.report.strokes import CHARACTER, SPAN, Way, arrow, hit, side, texts, told, way_of
from testbed.report.text import say_fold

LANE_NAME = 24  # characters at most
COLUMN = 96.0  # of a socket's bar
TIE = 18.0  # between lane and bars, where retransmissions are tied to what they repeat
MARGIN = 20.0
HEAD = 100.0  # above the first event
CLOCK_HEIGHT = 11.0


@dataclass(frozen=True, slots=True)
class Look:
    """What the drawing is for: where its first event stands, whether packets are links, which ones checks point at."""

    top: float
    linked: bool = False
    cited: frozenset[int] = frozenset()


class Sheet:
    """One drawing of a ladder."""

    def __init__(
        self,
        ladder: Ladder,
        rows: tuple[Row, ...],
        plot: Plot,
        steps: Mapping[bool, StepLane],
        packets: Mapping[int, Packet],
        look: Look,
    ) -> None:
        self.ladder, self.shown, self.plot, self.steps, self.look = ladder, rows, plot, steps, look
        self.packets = packets
        self.clock = _Clock(ladder, rows)
        self.repeated = originals(row for row in ladder.rows if isinstance(row, PacketRow))
        self.tie = TIE if any(row.number in self.repeated for row in rows if isinstance(row, PacketRow)) else 0.0
        beside = {left: self._beside(left) for left in (True, False)}
        self.left = MARGIN + self.clock.width + beside[True]
        self.right = self.left + SPAN
        self.wire = (self.left + self.right) / 2
        self.width = self.right + beside[False] + MARGIN
        self.bottom = max(plot.bottom, *(lane.bottom for lane in steps.values()))
        self.height = self.bottom + MARGIN

    def _beside(self, left: bool) -> float:
        """How wide everything is that stands beside a lane."""
        return self._bars_beside(left) + (STEP_COLUMN if self.steps[left].steps else 0.0)

    def _bars_beside(self, left: bool) -> float:
        """How wide the bars of a lane's sockets are, or half of the lane's name, which stands over it."""
        name = min(len(self.ladder.left if left else self.ladder.right), LANE_NAME) * 4.2 + 8
        return max(self.tie + COLUMN * self.plot.columns[left], name)

    def drawn(self) -> list[str]:
        """All of it, from the bottom of the paper up."""
        return [*self._lanes(), *self._bars(), *self._steps(), *self._rows()]

    def _lanes(self) -> list[str]:
        """The three lanes with their names, and the number of sockets that have no bar."""
        top, bottom = self.look.top - 20, self.plot.bottom
        names = ((self.left, self.ladder.left, "client"), (self.right, self.ladder.right, "server"))
        drawn = [element("line", x1=x, x2=x, y1=top, y2=bottom, class_="lane") for x, _, _ in names]
        drawn.append(
            element("line", x1=self.wire, x2=self.wire, y1=top, y2=bottom, class_="lane", stroke_dasharray="2 5")
        )
        drawn += [
            write(x, top - 8, clip(clean(name), LANE_NAME), f"{style} name", "middle") for x, name, style in names
        ]
        drawn.append(write(self.wire, top - 8, "wire", "dim", "middle"))
        drawn.append(write(MARGIN, top - 8, self.clock.header(), "dim", xml__space="preserve"))
        for left, count in self.plot.hidden_sockets.items():
            x, anchor = (self.left - 60, "end") if left else (self.right + 60, "start")
            drawn += [write(x, top - 8, f"and {count} more", "dim", anchor)] if count else []
        return drawn

    # --- beside the lanes ---

    def _bars(self) -> list[str]:
        """The states of every socket."""
        return [self._bar(segment) for segment in self.plot.segments]

    def _bar(self, bar: Segment) -> str:
        wide = COLUMN - 8
        away = self.tie + COLUMN * bar.column
        x = self.left - away - COLUMN + 2 if bar.left else self.right + away + 6
        colour = bar.state if bar.state in STATE_COLOURS else "other"
        edge, height = (x + wide - 4 if bar.left else x), bar.bottom - bar.top - 1
        drawn = [
            element("title", html.escape(clean(_say_state(bar)))),
            element("rect", x=x, y=bar.top, width=wide, height=height, class_=f"{colour} bar"),
            element("rect", x=edge, y=bar.top, width=4.0, height=height, class_=colour),
        ]
        if bar.bottom - bar.top >= 14:
            drawn.append(write(x + wide / 2, bar.top + 13, clip(clean(bar.state), 13), "ink state", "middle"))
        return element("g", "".join(drawn))

    def _steps(self) -> list[str]:
        drawn = []
        for left, lane in self.steps.items():
            away = self._bars_beside(left) + 4
            edge = self.left - away if left else self.right + away
            drawn += [draw_step(step, edge) for step in lane.steps]
            if lane.steps:
                hidden = f"steps, {lane.hidden} more not shown" if lane.hidden else "steps"
                anchor = "end" if left else "start"
                drawn.append(write(edge - 7 if left else edge + 7, self.look.top - 28, hidden, "dim", anchor))
        return drawn

    # --- the packets ---

    def _rows(self) -> list[str]:
        """Arrows and knots first, texts on top of them."""
        lines = [line for at, row in enumerate(self.shown) for line in self._lines(at, row)]
        quiet = self._quiet()
        texts = [text for at, row in enumerate(self.shown) for text in self._texts(at, row, at in quiet)]
        places = {row.own: at for at, row in enumerate(self.shown) if isinstance(row, PacketRow)}
        ties = [tie for at, row in enumerate(self.shown) for tie in self._tied(at, row, places)]
        return [*ties, *lines, *(part for wait in self.plot.breaks for part in self._break(wait)), *texts]

    def _lines(self, at: int, row: Row) -> list[str]:
        if isinstance(row, PacketRow):
            return arrow(row, self._way(at, row))
        return [self._knot(at, row)] if isinstance(row, StateRow) else []

    def _texts(self, at: int, row: Row, quiet: bool) -> list[str]:
        if isinstance(row, PacketRow):
            return [self._packet(at, row, quiet)]
        if isinstance(row, FoldRow):
            return [write(self.wire, self.plot.starts[at], say_fold(row), "dim halo", "middle")]
        return []

    def _packet(self, at: int, row: PacketRow, quiet: bool) -> str:
        """What is said of a packet, and what can be pointed at; in a page a link to more."""
        way = self._way(at, row)
        says = ", ".join(
            part for part in (labels(row.segment)[0], row.lost.says if row.lost else "", _noted(row)) if part
        )
        colour = "failed" if self.look.cited.intersection(row.numbers) else "dim"
        hushed = " quiet" if quiet and colour == "dim" else ""
        clock = write(MARGIN, way.y + 4, self.clock.show(row), f"{colour} clock{hushed}", xml__space="preserve")
        along = texts(row, way, self.packets.get(row.number), payload=not self._crossed(at, row))
        content = "".join((told(row, says), hit(way), clock, *along))
        crowded = "row crowded" if at in self.plot.crowded else "row"
        if not self.look.linked:
            return element("g", content, class_=crowded)
        return element("a", content, class_=crowded, href=f"#p{row.own}", aria_label=f"packet {row.number}: {says}")

    def _way(self, at: int, row: PacketRow) -> Way:
        start = self.plot.starts[at]
        return way_of(row, self.left, self.right, start, self.plot.ends.get(at, start + FLIGHT_HEIGHT))

    def _quiet(self) -> frozenset[int]:
        """The rows whose clock would cover the one above it."""
        last, quiet = float("-inf"), set()
        for at, row in enumerate(self.shown):
            if isinstance(row, PacketRow):
                y = self.plot.starts[at]
                if y - last < CLOCK_HEIGHT:
                    quiet.add(at)
                else:
                    last = y
        return frozenset(quiet)

    def _crossed(self, at: int, row: PacketRow) -> bool:
        """Whether a packet leaves the other side while this one is on its way."""
        end = self.plot.ends.get(at, self.plot.starts[at])
        return any(
            isinstance(other, PacketRow)
            and other.from_left is not row.from_left
            and self.plot.starts[at] < self.plot.starts[behind] < end + 16
            for behind, other in enumerate(self.shown)
        )

    def _tied(self, at: int, row: Row, places: Mapping[int, int]) -> list[str]:
        """A bow from a packet that was sent again to its copy, outside of its sender's lane."""
        first = self.repeated.get(row.number) if isinstance(row, PacketRow) else None
        if not isinstance(row, PacketRow) or first is None or first.number not in places:
            return []
        x, away = (self.left, -1) if row.from_left else (self.right, 1)
        top, bottom = self.plot.starts[places[first.number]], self.plot.starts[at]
        out = x + away * (TIE - 4) * 1.33  # a cubic bow reaches three quarters of the way to its control points
        says = element("title", f"packet {row.number} sends packet {first.number} again")
        bow = f"M{x:.1f} {top:.1f}C{out:.1f} {top:.1f} {out:.1f} {bottom:.1f} {x:.1f} {bottom:.1f}"
        return [element("path", says, d=bow, class_=f"{side(row)} tie")]

    def _break(self, wait: Break) -> list[str]:
        said = f"{wait.wait_ns / 1e9:.3f} s later" if wait.wait_ns >= 1e8 else f"{wait.wait_ns / 1e6:.3f} ms later"
        line = element("line", x1=self.left, x2=self.right, y1=wait.y, y2=wait.y, class_="lane", stroke_dasharray="1 6")
        return [line, write(self.wire, wait.y + 4, said, "dim halo", "middle")]

    def _knot(self, at: int, row: StateRow) -> str:
        x, style = (self.left, "client") if row.left else (self.right, "server")
        return element("circle", cx=x, cy=self.plot.starts[at], r=3.0, class_=style)


def _say_state(bar: Segment) -> str:
    until = "to the end" if bar.until_ns is None else f"for {(bar.until_ns - bar.since_ns) / 1e6:.3f} ms"
    return f"{bar.state} from {bar.since_ns / 1e6:.3f} ms, {until}: {bar.socket}"


def _noted(row: PacketRow) -> str:
    return notes(row, between=", ")


class _Clock:
    """The columns left of everything: seconds, packet number, connection if there are several, how long it took."""

    def __init__(self, ladder: Ladder, rows: Sequence[Row]) -> None:
        shown = [row for row in rows if isinstance(row, PacketRow)]
        self.digits = 6 if all(abs(row.at_ns) < 1_000_000_000 for row in shown) else 3
        self.tagged = ladder.connections > 1
        self.number = max([3, *(len(self._number(row)) for row in shown)])
        self.took = max((len(show_delay(row)) for row in shown), default=0)
        self.width = (9 + 2 + self.number + 2 + self.took) * CHARACTER + 10

    def header(self) -> str:
        """The columns' titles."""
        return f"{'seconds':>9}  {'no.':<{self.number}}  {'took' if self.took else '':>{self.took}}"

    def show(self, row: PacketRow) -> str:
        """The columns of one packet."""
        seconds = f"{row.at_ns / 1e9:.{self.digits}f}"
        return f"{seconds:>9}  {self._number(row):<{self.number}}  {show_delay(row):>{self.took}}".rstrip()

    def _number(self, row: PacketRow) -> str:
        return f"{row.number} #{row.connection}" if self.tagged and row.connection else str(row.number)
