"""The ladder as a drawing: an SVG with lanes, slanted arrows, bars for the states of both kernels, and their steps.

Readable on light and dark (`prefers-color-scheme`), and without CSS, script or fonts from elsewhere. Every text goes
through `clean` and is escaped as XML; class names come from the tables here, never from a run. `render_svg` gives a
file that stands alone; `draw_ladder` the same for a page, where each packet leads to what the page says of it.
"""

from __future__ import annotations

import html

from testbed.report import facts
from testbed.report.escape import clean, clip
from testbed.report.ink import STYLE, element, write
from testbed.report.ladder import Ladder, cited, climb, fold
from testbed.report.plot import place
from testbed.report.scaled import place_to_scale
from testbed.report.sheet import HEAD, MARGIN, Look, Sheet
from testbed.report.steplane import step_lanes
from testbed.report.strokes import CHARACTER
from testbed.verdict.value import Judgement

PAGE_HEAD = 46.0  # above the first event where the page has the title


def render_svg(judgement: Judgement) -> str:
    """The ladder of a run as one SVG document, evenly spaced."""
    sheet = _sheet(judgement, climb(judgement), to_scale=False, look=Look(HEAD, cited=cited(judgement)))
    described = element("title", html.escape(clean(f"{judgement.evidence.run.scenario}: {judgement.verdict}")))
    style = element("style", STYLE)
    paper = element("rect", class_="paper", width="100%", height="100%")
    drawn = (described, style, paper, *sheet.drawn(), *_head(judgement, sheet))
    return _document(sheet, "\n".join(drawn), class_="ladder", role="img")


def draw_ladder(judgement: Judgement, ladder: Ladder, *, to_scale: bool) -> str:
    """The ladder as a part of a page: each packet is a link to `#p` with its number, numbers in both notations."""
    sheet = _sheet(judgement, ladder, to_scale=to_scale, look=Look(PAGE_HEAD, linked=True, cited=cited(judgement)))
    name = "Packets on their way, time to scale" if to_scale else "Packets on their way, evenly spaced"
    return _document(sheet, "\n".join(sheet.drawn()), class_="ladder", role="group", aria_label=name)


def _sheet(judgement: Judgement, ladder: Ladder, *, to_scale: bool, look: Look) -> Sheet:
    rows = fold(ladder.rows, keep=cited(judgement))
    plot = (place_to_scale if to_scale else place)(rows, ladder.rows, top=look.top)
    packets = {packet.number: packet for packet in judgement.packets} if look.linked else {}
    return Sheet(ladder, rows, plot, step_lanes(judgement, plot), packets, look)


def _document(sheet: Sheet, content: str, **attributes: str) -> str:
    return element(
        "svg",
        content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {sheet.width:.0f} {sheet.height:.0f}",
        width=sheet.width,
        height=sheet.height,
        **attributes,
    )


def _head(judgement: Judgement, sheet: Sheet) -> list[str]:
    run, room = judgement.evidence.run, int((sheet.width - 2 * MARGIN) / CHARACTER)
    title = clip(clean(run.scenario), 40)
    summary = clip(clean(judgement.evidence.scenario.summary), room)
    verdict = f"{judgement.verdict}: {facts.verdict_sentence(judgement)}"
    return [
        write(MARGIN, 28, title, "ink title"),
        write(sheet.width - MARGIN, 28, verdict, f"{judgement.verdict} name", "end"),
        write(MARGIN, 47, summary, "dim"),
    ]
