"""The wire, asked against had, as a small plot: each packet's delay over time, the losses, and what was asked.

The band is the delay that was asked for with its jitter. Of many packets the drawing keeps, for each column of pixels,
the shortest and the longest delay, so that its size has a bound and no outlier is lost.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from testbed.report.escape import clean
from testbed.report.ink import element, write
from testbed.verdict.wire import Crossing, Share, show_ms

WIDTH, HEIGHT = 300.0, 64.0
_LEFT, _TOP, _BOTTOM = 4.0, 8.0, 12.0
_ROOM = HEIGHT - _TOP - _BOTTOM
_SPREAD = 1.15  # the scale goes so much beyond the largest delay
_LEAST_NS = 1000


def plot_share(share: Share) -> str:
    """The plot of one direction, or a share of it; nothing where it had no packets."""
    if not share.crossings:
        return ""
    first = share.crossings[0].arrived_ns
    span = max(share.crossings[-1].arrived_ns - first, 1)
    top = max([_LEAST_NS, share.asked.delay_ns + share.asked.jitter_ns, *_delays(share.crossings)]) * _SPREAD

    def x(crossing: Crossing) -> float:
        return _LEFT + 2 + (WIDTH - 2 * _LEFT - 4) * (crossing.arrived_ns - first) / span

    def y(delay_ns: float) -> float:
        return HEIGHT - _BOTTOM - _ROOM * delay_ns / top

    drawn = [element("title", html.escape(clean(_says(share))))]
    drawn += _band(
        share, y(share.asked.delay_ns - share.asked.jitter_ns), y(share.asked.delay_ns + share.asked.jitter_ns)
    )
    drawn.append(element("line", x1=_LEFT, x2=WIDTH - _LEFT, y1=y(0), y2=y(0), class_="lane"))
    delivered = [(x(one), y(took)) for one in share.crossings if (took := _took(one)) is not None]
    drawn += [element("circle", cx=at, cy=height, r=2.0, class_="client") for at, height in _thinned(delivered)]
    lost = sorted({round(x(one)) for one in share.crossings if _took(one) is None})
    drawn += [_lost(float(at), y(0)) for at in lost]
    drawn.append(write(WIDTH - _LEFT, HEIGHT - 1, f"{show_ms(span)}", "dim", "end"))
    drawn.append(write(_LEFT, HEIGHT - 1, f"up to {show_ms(round(top / _SPREAD))}", "dim"))
    return element(
        "svg", "".join(drawn), viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", width=WIDTH, height=HEIGHT,
        class_="ladder spark", role="img",
    )  # fmt: skip


def _delays(crossings: Sequence[Crossing]) -> list[int]:
    return [took for one in crossings if (took := _took(one)) is not None]


def _took(crossing: Crossing) -> int | None:
    """How long the packet was under way, from its sender on; None of one that was lost."""
    trip = crossing.trip
    if crossing.took_ns is None or trip.ended_ns is None:
        return None
    return crossing.took_ns if trip.sent_ns is None else trip.ended_ns - trip.sent_ns


def _says(share: Share) -> str:
    return f"{share.name}: delay of {share.delivered} packets over time, {share.lost} lost"


def _band(share: Share, below: float, above: float) -> list[str]:
    if not share.asked.delay_ns:
        return []
    height = max(below - above, 3.0)
    middle = (below + above) / 2
    return [element("rect", x=_LEFT, y=middle - height / 2, width=WIDTH - 2 * _LEFT, height=height, class_="band")]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The highest and the lowest point of each column of pixels."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        columns.setdefault(round(point[0]), []).append(point)
    return sorted({end for column in columns.values() for end in (min(column, key=_height), max(column, key=_height))})


def _height(point: tuple[float, float]) -> float:
    return point[1]


def _lost(x: float, y: float) -> str:
    return element("path", d=f"M{x - 3:.1f} {y - 6:.1f}l6 6m0-6l-6 6", class_="lost")
