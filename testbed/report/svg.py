"""The ladder as a drawing: a standalone SVG with lanes, slanted arrows, and bars for the states of both kernels.

Readable on light and dark (`prefers-color-scheme`), and without CSS, script or fonts from elsewhere. Every text goes
through `clean` and is escaped as XML; class names come from the tables here, never from a run.
"""

from __future__ import annotations

import html
import math

from testbed.report import facts
from testbed.report.arrows import labels, notes
from testbed.report.escape import clean, clip, quote
from testbed.report.ladder import FoldRow, Ladder, Mark, PacketRow, Row, StateRow, Where, cited, climb, fold
from testbed.report.plot import Break, Plot, Segment, place
from testbed.report.text import say_fold
from testbed.verdict.value import Judgement

SPAN = 560.0  # between the lanes
COLUMN = 96.0  # of a socket's bar
GUTTER = 112.0  # for time and number
MARGIN = 20.0
HEAD = 100.0  # above the first event
CHARACTER = 6.7  # width of one, at 11 px
HALF = int((SPAN / 2 - 20) / CHARACTER)  # characters on one half of an arrow

# How far a lost packet gets, as part of its way.
REACH = {Where.BEFORE_WIRE: 0.44, Where.BEHIND_WIRE: 0.62, Where.ON_ARRIVAL: 0.95}

STATE_COLOURS = {
    "LISTEN": "#2f6fb2",
    "SYN_SENT": "#a3620a",
    "SYN_RECV": "#a3620a",
    "ESTABLISHED": "#1f7a46",
    "FIN_WAIT1": "#8a4b9c",
    "FIN_WAIT2": "#75459c",
    "CLOSING": "#8a4b9c",
    "CLOSE_WAIT": "#a84a5f",
    "LAST_ACK": "#a84a5f",
    "TIME_WAIT": "#56657a",
    "CLOSE": "#7b7f86",
}

# (light, dark)
COLOURS = {
    "paper": ("#ffffff", "#14171c"),
    "ink": ("#1d2430", "#e4e8ee"),
    "dim": ("#626b79", "#97a1b0"),
    "lane": ("#aab2bf", "#59636f"),
    "client": ("#0b5cad", "#6cb2ff"),
    "server": ("#7a3ab0", "#cf9bff"),
    "lost": ("#c0262d", "#ff7b7f"),
    "passed": ("#1a7f37", "#4cc46f"),
    "failed": ("#c0262d", "#ff7b7f"),
    "unknown": ("#946200", "#e3b341"),
}


def _rules(theme: int) -> str:
    tone = {name: pair[theme] for name, pair in COLOURS.items()}
    texts = "".join(f".ladder .{name}{{fill:{tone[name]}}}" for name in COLOURS if name not in {"paper", "lane"})
    lines = "".join(f".ladder line.{name},.ladder path.{name}{{stroke:{tone[name]}}}" for name in COLOURS)
    halo = f".ladder .halo{{stroke:{tone['paper']}}}"
    return f".ladder .paper{{fill:{tone['paper']}}}{texts}{lines}{halo}"


STYLE = (
    ".ladder text{font:11px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}"
    ".ladder .title{font-size:15px;font-weight:bold}.ladder .name{font-size:13px;font-weight:bold}"
    ".ladder .halo{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}"
    ".ladder line,.ladder path{fill:none;stroke-width:1.5}.ladder .forged{stroke-dasharray:2 4}"
    ".ladder .again{stroke-dasharray:8 3}.ladder .state{fill:#fff;font-size:10px}.ladder .other{fill:#7b7f86}"
    + "".join(f".ladder .{state}{{fill:{colour}}}" for state, colour in STATE_COLOURS.items())
    + _rules(0)
    + f"@media (prefers-color-scheme:dark){{{_rules(1)}}}"
)


def element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """An XML element; `class_`, `text_anchor` and `xml__space` become `class`, `text-anchor` and `xml:space`.

    Values of attributes are escaped here; the content is XML already.
    """
    shown = "".join(f' {_attribute(key)}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{shown}>{content}</{name}>" if content else f"<{name}{shown}/>"


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("__", ":").replace("_", "-")


def _value(value: str | float) -> str:
    return html.escape(clean(value)) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, said: str, class_: str, anchor: str = "start", **more: str | float) -> str:
    return element("text", html.escape(clean(said)) or " ", x=x, y=y, class_=class_, text_anchor=anchor, **more)


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
        _text(MARGIN, 28, title, "ink title"),
        _text(sheet.width - MARGIN, 28, verdict, f"{judgement.verdict} name", "end"),
        _text(MARGIN, 47, summary, "dim"),
    ]


class _Sheet:
    """The paper: where the lanes are, and what is drawn on and beside them."""

    def __init__(self, ladder: Ladder, rows: tuple[Row, ...], plot: Plot) -> None:
        self.ladder, self.shown, self.plot = ladder, rows, plot
        self.left = MARGIN + GUTTER + COLUMN * max(plot.columns[True], 0.2)
        self.right = self.left + SPAN
        self.wire = (self.left + self.right) / 2
        self.width = self.right + COLUMN * max(plot.columns[False], 0.2) + MARGIN
        self.height = plot.bottom + MARGIN
        times = [row.at_ns for row in rows if not isinstance(row, FoldRow)]
        self.digits = 6 if all(abs(time) < 1_000_000_000 for time in times) else 3

    def lanes(self) -> list[str]:
        """The three lanes with their names, and the number of sockets that have no bar."""
        top, names = HEAD - 20, ((self.left, self.ladder.left, "client"), (self.right, self.ladder.right, "server"))
        drawn = [element("line", x1=x, x2=x, y1=top, y2=self.plot.bottom, class_="lane") for x, _, _ in names]
        drawn.append(
            element(
                "line", x1=self.wire, x2=self.wire, y1=top, y2=self.plot.bottom, class_="lane", stroke_dasharray="2 5"
            )
        )
        drawn += [_text(x, top - 8, clip(clean(name), 24), f"{style} name", "middle") for x, name, style in names]
        drawn.append(_text(self.wire, top - 8, "wire", "dim", "middle"))
        drawn.append(_text(MARGIN, top - 8, f"{'seconds':>9}  no.", "dim", xml__space="preserve"))
        for left, count in self.plot.hidden_sockets.items():
            x, anchor = (self.left - 60, "end") if left else (self.right + 60, "start")
            drawn += [_text(x, top - 8, f"and {count} sockets", "dim", anchor)] if count else []
        return drawn

    def bars(self) -> list[str]:
        """The states of every socket."""
        return [part for segment in self.plot.segments for part in self._bar(segment)]

    def _bar(self, bar: Segment) -> list[str]:
        wide = COLUMN - 8
        x = self.left - COLUMN * (bar.column + 1) + 2 if bar.left else self.right + 6 + COLUMN * bar.column
        colour = bar.state if bar.state in STATE_COLOURS else "other"
        drawn = [element("rect", x=x, y=bar.top, width=wide, height=bar.bottom - bar.top - 1, rx="3", class_=colour)]
        if bar.bottom - bar.top >= 14:
            drawn.append(_text(x + wide / 2, bar.top + 13, clip(clean(bar.state), 13), "state", "middle"))
        return drawn

    def rows(self) -> list[str]:
        """Arrows, folds and breaks."""
        drawn = [part for wait in self.plot.breaks for part in self._break(wait)]
        for at, row in enumerate(self.shown):
            if isinstance(row, PacketRow):
                drawn += self._arrow(at, row)
            elif isinstance(row, FoldRow):
                drawn.append(_text(self.wire, self.plot.starts[at], say_fold(row), "dim halo", "middle"))
            elif isinstance(row, StateRow):
                drawn.append(self._knot(at, row))
        return drawn

    def _break(self, wait: Break) -> list[str]:
        said = f"{wait.wait_ns / 1e9:.3f} s later"
        line = element("line", x1=self.left, x2=self.right, y1=wait.y, y2=wait.y, class_="lane", stroke_dasharray="1 6")
        return [line, _text(self.wire, wait.y + 4, said, "dim halo", "middle")]

    def _knot(self, at: int, row: StateRow) -> str:
        x, style = (self.left, "client") if row.left else (self.right, "server")
        return element("circle", cx=x, cy=self.plot.starts[at], r=3.0, class_=style)

    def _arrow(self, at: int, row: PacketRow) -> list[str]:
        style = "client" if row.from_left else "server"
        start, end = (self.left, self.right) if row.from_left else (self.right, self.left)
        y = self.plot.starts[at]
        drop = self.plot.ends.get(at, y + 14) - y
        reach = REACH[row.lost.where] if row.lost else 1.0
        stop = (start + (end - start) * reach, y + drop * reach)
        dash = " forged" if Mark.FORGED in row.marks else " again" if Mark.RETRANSMISSION in row.marks else ""
        line = element("line", x1=start, y1=y, x2=stop[0], y2=stop[1], class_=style + dash)
        angle = math.degrees(math.atan2(drop, end - start)) if row.from_left else math.degrees(math.atan2(-drop, SPAN))
        end_mark = _cross(*stop) if row.lost else _head_of_arrow(*stop, math.atan2(drop, end - start), style)
        return [line, end_mark, self._clock(row, y), *_along(row, style, (start, y), stop, angle)]

    def _clock(self, row: PacketRow, y: float) -> str:
        tag = f" #{row.connection}" if self.ladder.connections > 1 and row.connection else ""
        said = f"{row.at_ns / 1e9:>9.{self.digits}f}  {row.number}{tag}"
        return _text(MARGIN, y + 4, said, "dim", xml__space="preserve")


def _along(
    row: PacketRow, style: str, start: tuple[float, float], stop: tuple[float, float], angle: float
) -> list[str]:
    """The texts along an arrow: the label at its start; notes, payload or the cause of a loss towards its end."""
    said = _said(row)
    room = HALF if said else 2 * HALF
    shapes = [label for label in labels(row.segment) if len(label) <= room]
    label = shapes[0] if shapes else clip(labels(row.segment)[0], room)
    ahead = 1 if row.from_left else -1
    anchors: tuple[str, str] = ("start", "end") if row.from_left else ("end", "start")
    texts = [(start[0] + 12 * ahead, start[1], label, f"{style} halo", anchors[0])]
    if said and row.lost and row.lost.where is not Where.ON_ARRIVAL:
        texts.append((stop[0] + 10 * ahead, stop[1] + 8, said, "lost halo", anchors[0]))
    elif said:
        texts.append((stop[0] - 14 * ahead, stop[1], said, "lost halo" if row.lost else "dim halo", anchors[1]))
    return [
        element("g", _text(x, y - 4, said, class_, anchor), transform=f"rotate({angle:.2f} {x:.1f} {y:.1f})")
        for x, y, said, class_, anchor in texts
    ]


def _said(row: PacketRow) -> str:
    said = notes(row, between=", ")
    if row.lost:
        said = ", ".join(part for part in (row.lost.cause or "lost", said) if part)
    room = int(HALF * 0.7) if row.lost and row.lost.where is Where.BEHIND_WIRE else HALF
    if not said and row.segment.payload:
        return quote(row.segment.payload, limit=room - 5)
    return clip(clean(said), room)


def _cross(x: float, y: float) -> str:
    return element("path", d=f"M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10", class_="lost", stroke_width="2.5")


def _head_of_arrow(x: float, y: float, angle: float, style: str) -> str:
    wings = [(x - 10 * math.cos(angle + turn), y - 10 * math.sin(angle + turn)) for turn in (0.38, -0.38)]
    points = " ".join(f"{px:.1f},{py:.1f}" for px, py in [(x, y), *wings])
    return element("polygon", points=points, class_=style)
