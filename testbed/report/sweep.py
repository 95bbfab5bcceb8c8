"""A sweep for people and programs: a table, JSON, and a drawing of the handshakes' times against theory.

In the drawing each point of the sweep is a column; a dot is a handshake, at the height of its time; a line is a step of
theory, the longer the more handshakes should end there. The scale is logarithmic, since timeouts double.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

from testbed.report.escape import clean, clip
from testbed.report.ink import STYLE, element, write
from testbed.sweep import Row, Sweep, say_point

SCHEMA = 1
MARGIN, HEAD, PLOT, FOOT = 70.0, 70.0, 320.0, 60.0
COLUMN = 110.0
DOT = 2.5
FLOOR_MS = 0.05
MOST_DOTS = 400  # of one column
COMPLETED = ("complete", "simultaneous", "fast-open")

Json = dict[str, Any]


def sweep_json(sweep: Sweep) -> str:
    """The sweep as JSON, schema 1."""
    told = {
        "schema": SCHEMA,
        "scenario": sweep.scenario,
        "axes": [{"path": axis.path, "values": list(axis.values)} for axis in sweep.axes],
        "points": [_point(row) for row in sweep.rows],
    }
    return json.dumps(told, indent=1) + "\n"


def _point(row: Row) -> Json:
    told: Json = {
        "settings": dict(row.settings),
        "runs": len(row.runs),
        "verdicts": dict(row.verdicts),
        "handshakes": dict(row.outcomes),
        "duration_ms": {
            name: row.quantile_ms(part) for name, part in (("min", 0.0), ("median", 0.5), ("p95", 0.95), ("max", 1.0))
        },
        "durations_ms": list(row.durations_ms),
        "theory": None,
    }
    if row.theory is not None:
        steps = [{"at_ms": at_ms, "share": round(share, 6), "seen": seen} for at_ms, share, seen in row.shares()]
        told["theory"] = {"completes": round(row.theory.completes, 6), "mean_ms": round(row.theory.mean_ms, 3)}
        told["theory"]["steps"] = steps
    return told


def sweep_lines(sweep: Sweep) -> list[str]:
    """The table: a line for each point, and under it the steps of theory that anything should, or did, end at."""
    heads = ("point", "runs", "verdicts", "handshakes", "median", "max", "theory")
    rows = [heads, *(_cells(row) for row in sweep.rows)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cells(row: Row) -> tuple[str, ...]:
    median, most = (_ms(row.quantile_ms(part)) for part in (0.5, 1.0))
    return (
        clean(say_point(row.settings)),
        str(len(row.runs)),
        _counts(row.verdicts.items()),
        _counts(row.outcomes.items()),
        median,
        most,
        _say_theory(row),
    )


def _counts(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts)


def _say_theory(row: Row) -> str:
    """`20 ms 80% (seen 79%), 1020 ms 16% (seen 17%)`."""
    total = max(1, len(row.durations_ms))
    shares = [one for one in row.shares() if one[1] >= 0.005 or one[2]]
    return ", ".join(f"{at_ms:g} ms {share:.0%} (seen {seen / total:.0%})" for at_ms, share, seen in shares[:5])


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def render_sweep(sweep: Sweep) -> str:
    """The drawing as one SVG document."""
    width = MARGIN * 2 + COLUMN * max(1, len(sweep.rows))
    height = HEAD + PLOT + FOOT
    scale = _Scale(sweep)
    title = f"{clean(sweep.scenario)}: when handshakes complete"
    drawn = [
        write(MARGIN, 28, clip(title, int(width / 9)), "ink title"),
        write(MARGIN, 46, "dots: handshakes; lines: theory", "dim"),
    ]
    drawn += scale.lines(width)
    for number, row in enumerate(sweep.rows):
        drawn += _column(row, MARGIN + COLUMN * number, scale)
    return element(
        "svg",
        "\n".join(
            (
                element("title", html.escape(title)),
                element("style", STYLE),
                element("rect", class_="paper", width="100%", height="100%"),
                *drawn,
            )
        ),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        class_="ladder",
        role="img",
    )


class _Scale:
    """From milliseconds to a height, by their logarithm."""

    def __init__(self, sweep: Sweep) -> None:
        seen = [duration for row in sweep.rows for duration in row.durations_ms]
        due = [at_ms for row in sweep.rows if row.theory for at_ms, share in row.theory.steps if share >= 0.001]
        every = [max(FLOOR_MS, value) for value in (*seen, *due)] or [1.0]
        self.low = math.floor(math.log10(min(every)))
        self.high = max(self.low + 1, math.ceil(math.log10(max(every) * 1.05)))

    def y(self, value_ms: float) -> float:
        """The height of a time."""
        part = (math.log10(max(FLOOR_MS, value_ms)) - self.low) / (self.high - self.low)
        return HEAD + PLOT * (1 - min(1.0, max(0.0, part)))

    def lines(self, width: float) -> Iterator[str]:
        """A line and its time for each power of ten."""
        for power in range(self.low, self.high + 1):
            y = self.y(10.0**power)
            yield element("line", class_="lane", x1=MARGIN, y1=y, x2=width - MARGIN, y2=y)
            yield write(MARGIN - 6, y + 4, _tick(power), "dim", "end")


def _tick(power: int) -> str:
    return f"{10 ** (power - 3)} s" if power >= 3 else f"{10.0**power:g} ms"


def _column(row: Row, left: float, scale: _Scale) -> Iterator[str]:
    middle = left + COLUMN / 2
    for at_ms, share in row.theory.steps if row.theory else ():
        half = COLUMN * 0.45 * math.sqrt(share)
        if half >= 1:
            y = scale.y(at_ms)
            yield element("line", class_="server", x1=middle - half, y1=y, x2=middle + half, y2=y)
    durations = row.durations_ms[:: max(1, len(row.durations_ms) // MOST_DOTS)]
    for number, duration in enumerate(durations):
        x = middle + (((number * 7) % 19) - 9) * 2.0  # beside each other, always alike
        yield element("circle", class_="client", cx=x, cy=scale.y(duration), r=DOT)
    for line, (path, value) in enumerate(row.settings):
        told = clip(clean(f"{path.rpartition('.')[2]} {value}"), 16)
        yield write(middle, HEAD + PLOT + 18 + 14 * line, told, "ink", "middle")
    missing = sum(number for outcome, number in row.outcomes.items() if outcome not in COMPLETED)
    if missing:
        yield write(middle, HEAD - 6, f"{missing} never", "failed", "middle")
