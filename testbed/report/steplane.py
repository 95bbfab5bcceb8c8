"""The steps of both hosts in the drawn ladder: outermost on each side, on the same time axis as the packets.

A step is a line from where it began to where it ended, with its name beside it. Names keep their distance from each
other, so that one may stand a little below its line. Where there are too many steps the first are drawn.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from testbed.evidence import StepOutcome
from testbed.report.escape import clean, clip
from testbed.report.ink import element, write
from testbed.report.ladder import origin_ns
from testbed.report.lanes import place_hosts
from testbed.report.plot import Plot
from testbed.verdict.value import Judgement

STEP_COLUMN = 116.0
MOST_STEPS = 16  # on one side
NAME_HEIGHT = 12.0
_NAME_CHARACTERS = 16
_SHORTEST = 2.0


@dataclass(frozen=True, slots=True)
class DrawnStep:
    """A step on the paper: its line from y to y, its name and where that stands, and all that can be said of it."""

    left: bool
    name: str
    says: str
    ok: bool
    top: float
    bottom: float
    name_y: float


@dataclass(frozen=True, slots=True)
class StepLane:
    """The steps of one side, and how many more there are."""

    steps: tuple[DrawnStep, ...]
    hidden: int

    @property
    def bottom(self) -> float:
        """The y below everything."""
        return max((max(step.bottom, step.name_y) for step in self.steps), default=0.0)


def step_lanes(judgement: Judgement, plot: Plot) -> dict[bool, StepLane]:
    """The steps of the left and of the right side, on the axis of `plot`."""
    lanes, origin = place_hosts(judgement), origin_ns(judgement)
    sides: dict[bool, list[StepOutcome]] = {True: [], False: []}
    for step in sorted(judgement.evidence.all(StepOutcome), key=lambda step: step.start_ns):
        sides[lanes.is_left(step.host)].append(step)
    return {left: _lane(left, steps, plot, origin) for left, steps in sides.items()}


def _lane(left: bool, steps: Sequence[StepOutcome], plot: Plot, origin: int) -> StepLane:
    drawn: list[DrawnStep] = []
    several = len({step.host for step in steps}) > 1
    name_y = float("-inf")
    for step in steps[:MOST_STEPS]:
        start, end = step.start_ns - origin, step.end_ns - origin
        top = plot.height(start)
        name_y = max(top + 4, name_y + NAME_HEIGHT)
        name = f"{step.host} {step.step}" if several else step.step
        says = f"{step.host} {_shown(step)}, {start / 1e6:.3f} ms to {end / 1e6:.3f} ms: {_outcome(step)}"
        bottom = max(plot.height(end), top + _SHORTEST)
        ended = "" if step.outcome == "ok" else f" {step.errno or step.outcome}"
        drawn.append(DrawnStep(left, name + ended, says, step.outcome == "ok" or bool(step.errno), top, bottom, name_y))
    return StepLane(tuple(drawn), len(steps) - len(drawn))


def _shown(step: StepOutcome) -> str:
    rounds = "".join(f"/{number}" for number in step.round)
    return f"step {step.path}{rounds} {step.step}"


def _outcome(step: StepOutcome) -> str:
    parts = [step.outcome, step.errno or "", "" if step.bytes is None else f"{step.bytes} bytes", step.says]
    return ", ".join(part for part in parts if part)


def draw_step(step: DrawnStep, edge: float) -> str:
    """One step; `edge` is the x of its line, its name stands outside of that."""
    away, anchor = (-1, "end") if step.left else (1, "start")
    style = "step" if step.ok else "step late"
    return element(
        "g",
        element("title", html.escape(clean(step.says)))
        + element("line", x1=edge, x2=edge, y1=step.top, y2=step.bottom, class_=style)
        + element("line", x1=edge, x2=edge + 4 * away, y1=step.top, y2=step.name_y - 4, class_="lead")
        + write(edge + 7 * away, step.name_y, clip(clean(step.name), _NAME_CHARACTERS), "ink state", anchor),
    )
