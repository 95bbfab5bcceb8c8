"""The ladder as a drawing: a standalone SVG with lanes, slanted arrows, and bars for the states of both kernels.

Readable on light and dark (`prefers-color-scheme`), and without CSS, script or fonts from elsewhere. Every text goes
through `clean` and is escaped as XML; class names come from the tables here, never from a run.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.report import facts
from testbed.report.arrows import labels, show_delay
from testbed.report.escape import clean, clip, quote
from testbed.report.ink import STATE_COLOURS, STYLE, element, write
from testbed.report.ladder import FoldRow, Ladder, Mark, PacketRow, Row, StateRow, Where, cited, climb, fold
from testbed.report.plot import FLIGHT_HEIGHT, Break, Plot, Segment, place
from testbed.report.text import say_fold
from testbed.verdict.value import Judgement

LANE_NAME = 24  # characters at most
SPAN = 560.0  # between the lanes
COLUMN = 96.0  # of a socket's bar
MARGIN = 20.0
HEAD = 100.0  # above the first event
CHARACTER = 6.7  # width of one, at 11 px
HALF = int((SPAN / 2 - 20) / CHARACTER)  # characters on one half of an arrow

# How far a lost packet gets, as part of its way.
REACH = {Where.BEFORE_WIRE: 0.44, Where.BEHIND_WIRE: 0.62, Where.ON_ARRIVAL: 0.95}


def render_svg(judgement: Judgement) -> str:
    """The ladder of a run as one SVG document."""
    ladder = climb(judgement)
    rows = fold(ladder.rows, keep=cited(judgement))
    sheet = _Sheet(ladder, rows, place(rows, ladder.rows, top=HEAD))
    drawn = [*sheet.lanes(), *sheet.bars(), *sheet.rows(), *_head(judgement, sheet)]
    name, verdict = judgement.evidence.run.scenario, judgement.verdict
    described = element("title", html.escape(clean(f"{name}: {verdict}")))
    style = element("style", STYLE)
    return element(
        "svg",
        "\n".join((described, style, element("rect", class_="paper", width="100%", height="100%"), *drawn)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {sheet.width:.0f} {sheet.height:.0f}",
        width=sheet.width,
        height=sheet.height,
        class_="ladder",
        role="img",
    )


def _head(judgement: Judgement, sheet: _Sheet) -> list[str]:
    run, room = judgement.evidence.run, int((sheet.width - 2 * MARGIN) / CHARACTER)
    title = clip(clean(run.scenario), 40)
    summary = clip(clean(judgement.evidence.scenario.summary), room)
    verdict = f"{judgement.verdict}: {facts.verdict_sentence(judgement)}"
    return [
        write(MARGIN, 28, title, "ink title"),
        write(sheet.width - MARGIN, 28, verdict, f"{judgement.verdict} name", "end"),
        write(MARGIN, 47, summary, "dim"),
    ]


def _half(name: str) -> float:
    """Half the width of a lane's name, which stands over its lane."""
    return min(len(name), LANE_NAME) * 4.2 + 8


class _Sheet:
    """The paper: where the lanes are, and what is drawn on and beside them."""

    def __init__(self, ladder: Ladder, rows: tuple[Row, ...], plot: Plot) -> None:
        self.ladder, self.shown, self.plot = ladder, rows, plot
        self.clock = _Clock(ladder, rows)
        self.left = MARGIN + self.clock.width + max(COLUMN * plot.columns[True], _half(ladder.left))
        self.right = self.left + SPAN
        self.wire = (self.left + self.right) / 2
        self.width = self.right + max(COLUMN * plot.columns[False], _half(ladder.right)) + MARGIN
        self.height = plot.bottom + MARGIN

    def lanes(self) -> list[str]:
        """The three lanes with their names, and the number of sockets that have no bar."""
        top, names = HEAD - 20, ((self.left, self.ladder.left, "client"), (self.right, self.ladder.right, "server"))
        drawn = [element("line", x1=x, x2=x, y1=top, y2=self.plot.bottom, class_="lane") for x, _, _ in names]
        drawn.append(
            element(
                "line", x1=self.wire, x2=self.wire, y1=top, y2=self.plot.bottom, class_="lane", stroke_dasharray="2 5"
            )
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

    def bars(self) -> list[str]:
        """The states of every socket."""
        return [part for segment in self.plot.segments for part in self._bar(segment)]

    def _bar(self, bar: Segment) -> list[str]:
        wide = COLUMN - 8
        x = self.left - COLUMN * (bar.column + 1) + 2 if bar.left else self.right + 6 + COLUMN * bar.column
        colour = bar.state if bar.state in STATE_COLOURS else "other"
        edge, height = (x + wide - 4 if bar.left else x), bar.bottom - bar.top - 1
        drawn = [
            element("rect", x=x, y=bar.top, width=wide, height=height, class_=f"{colour} bar"),
            element("rect", x=edge, y=bar.top, width=4.0, height=height, class_=colour),
        ]
        if bar.bottom - bar.top >= 14:
            drawn.append(write(x + wide / 2, bar.top + 13, clip(clean(bar.state), 13), "ink state", "middle"))
        return drawn

    def rows(self) -> list[str]:
        """Arrows and knots first, texts on top of them."""
        lines = [line for at, row in enumerate(self.shown) for line in self._lines(at, row)]
        texts = [text for at, row in enumerate(self.shown) for text in self._texts(at, row)]
        return [*lines, *(part for wait in self.plot.breaks for part in self._break(wait)), *texts]

    def _lines(self, at: int, row: Row) -> list[str]:
        if isinstance(row, PacketRow):
            return self._arrow(row, _way(at, row, self))
        return [self._knot(at, row)] if isinstance(row, StateRow) else []

    def _texts(self, at: int, row: Row) -> list[str]:
        if isinstance(row, PacketRow):
            clock = write(MARGIN, self.plot.starts[at] + 4, self.clock.show(row), "dim", xml__space="preserve")
            return [clock, *_along(row, _way(at, row, self), payload=not self._crossed(at, row))]
        if isinstance(row, FoldRow):
            return [write(self.wire, self.plot.starts[at], say_fold(row), "dim halo", "middle")]
        return []

    def _crossed(self, at: int, row: PacketRow) -> bool:
        """Whether a packet leaves the other side while this one is on its way."""
        end = self.plot.ends.get(at, self.plot.starts[at])
        return any(
            isinstance(other, PacketRow)
            and other.from_left is not row.from_left
            and self.plot.starts[at] < self.plot.starts[behind] < end + 16
            for behind, other in enumerate(self.shown)
        )

    def _break(self, wait: Break) -> list[str]:
        said = f"{wait.wait_ns / 1e9:.3f} s later"
        line = element("line", x1=self.left, x2=self.right, y1=wait.y, y2=wait.y, class_="lane", stroke_dasharray="1 6")
        return [line, write(self.wire, wait.y + 4, said, "dim halo", "middle")]

    def _knot(self, at: int, row: StateRow) -> str:
        x, style = (self.left, "client") if row.left else (self.right, "server")
        return element("circle", cx=x, cy=self.plot.starts[at], r=3.0, class_=style)

    def _arrow(self, row: PacketRow, way: _Way) -> list[str]:
        style = "client" if row.from_left else "server"
        dash = " forged" if Mark.FORGED in row.marks else " again" if Mark.RETRANSMISSION in row.marks else ""
        line = element("line", x1=way.x, y1=way.y, x2=way.stop_x, y2=way.stop_y, class_=style + dash)
        return [line, _cross(way.stop_x, way.stop_y) if row.lost else _arrowhead(way, style)]


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


@dataclass(frozen=True, slots=True)
class _Way:
    """From where to where an arrow is drawn, and its slope in radians as a text along it has it."""

    x: float
    y: float
    stop_x: float
    stop_y: float
    slope: float


def _way(at: int, row: PacketRow, sheet: _Sheet) -> _Way:
    start, end = (sheet.left, sheet.right) if row.from_left else (sheet.right, sheet.left)
    y = sheet.plot.starts[at]
    drop = sheet.plot.ends.get(at, y + FLIGHT_HEIGHT) - y
    reach = REACH[row.lost.where] if row.lost else 1.0
    slope = math.atan2(drop, SPAN) * (1 if row.from_left else -1)
    return _Way(start, y, start + (end - start) * reach, y + drop * reach, slope)


def _along(row: PacketRow, way: _Way, *, payload: bool) -> list[str]:
    """The texts along an arrow: the label with its marks at the start; payload or the cause of a loss at the end."""
    ahead, near, far = (1, "start", "end") if row.from_left else (-1, "end", "start")
    style, said = "client" if row.from_left else "server", _note(row, payload=payload)
    texts = [_turned(way.x + 12 * ahead, way.y - 6, _label(row, alone=not said), f"{style} halo", near, way.slope)]
    if said and row.lost and row.lost.where is not Where.ON_ARRIVAL:
        # Behind the cross there is no line to stand above.
        texts.append(_turned(way.stop_x + 10 * ahead, way.stop_y + 4, said, "lost halo", near, way.slope))
    elif said:
        colour = "lost halo" if row.lost else "dim halo"
        texts.append(_turned(way.stop_x - 14 * ahead, way.stop_y - 6, said, colour, far, way.slope))
    return texts


def _label(row: PacketRow, *, alone: bool) -> str:
    room = 2 * HALF if alone else HALF
    marks = "".join(f", {mark}" for mark in row.marks)
    shapes = [label for label in labels(row.segment) if len(label) + len(marks) <= room]
    return clip((shapes[0] if shapes else labels(row.segment)[-1]) + marks, room)


def _turned(x: float, y: float, said: str, class_: str, anchor: str, slope: float) -> str:
    turn = f"rotate({math.degrees(slope):.2f} {x:.1f} {y:.1f})"
    return write(x, y, said, class_, anchor, transform=turn)


def _note(row: PacketRow, *, payload: bool) -> str:
    if row.lost:
        beyond = row.lost.where is Where.BEHIND_WIRE
        return clip(clean(row.lost.says), int(HALF * 0.7) if beyond else HALF)
    return quote(row.segment.payload, limit=HALF - 8) if payload and row.segment.payload and not row.marks else ""


def _cross(x: float, y: float) -> str:
    return element("path", d=f"M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10", class_="lost", stroke_width="2.5")


def _arrowhead(way: _Way, style: str) -> str:
    angle = math.atan2(way.stop_y - way.y, way.stop_x - way.x)
    wings = [
        (way.stop_x - 10 * math.cos(angle + turn), way.stop_y - 10 * math.sin(angle + turn)) for turn in (0.38, -0.38)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(way.stop_x, way.stop_y), *wings])
    return element("polygon", points=points, class_=style)
