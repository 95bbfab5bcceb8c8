"""A sweep: one scenario at every point of a grid of settings, and what came of it against theory. Pure.

The axes are the scenario's `matrix:` and every `--set path=a,b,c` of the command line; an axis of the latter takes the
place of one of the former with the same path. The points are their product, and each may be run with several seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from testbed.errors import UsageError
from testbed.theory import Opening

MOST_POINTS = 10_000
OPENERS, CLOSERS = "[{(", "]})"

Setting = tuple[str, str]  # path and value, as --set has them


@dataclass(frozen=True, slots=True)
class Axis:
    """A path of the scenario and the values that it takes, as YAML text."""

    path: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a point gave."""

    verdict: str
    outcomes: tuple[str, ...]  # of its handshakes
    durations_ms: tuple[float, ...]  # of those that completed


@dataclass(frozen=True, slots=True)
class Row:
    """One point: its settings, its runs, and when theory lets the handshake complete, by its share."""

    settings: tuple[Setting, ...]
    runs: tuple[Run, ...]
    theory: Opening | None = None

    @property
    def verdicts(self) -> Counter[str]:
        """How many runs came to each verdict."""
        return Counter(run.verdict for run in self.runs)

    @property
    def outcomes(self) -> Counter[str]:
        """How many handshakes ended in each way."""
        return Counter(outcome for run in self.runs for outcome in run.outcomes)

    @property
    def durations_ms(self) -> tuple[float, ...]:
        """How long the handshakes took that completed, in order."""
        return tuple(sorted(duration for run in self.runs for duration in run.durations_ms))

    def quantile_ms(self, part: float) -> float | None:
        """The duration that this part of the handshakes did not exceed."""
        durations = self.durations_ms
        return durations[max(0, math.ceil(part * len(durations)) - 1)] if durations else None

    def shares(self) -> tuple[tuple[float, float, int], ...]:
        """Each step of theory: when, which share it should have, how many handshakes it had.

        A handshake belongs to the last step that is not after it, give or take what a busy machine adds.
        """
        if self.theory is None:
            return ()
        steps = self.theory.steps
        counts: Counter[int] = Counter()
        for duration in self.durations_ms:
            counts[max((i for i, (at_ms, _) in enumerate(steps) if at_ms <= duration + 1.0), default=0)] += 1
        return tuple((at_ms, share, counts[index]) for index, (at_ms, share) in enumerate(steps))


@dataclass(frozen=True, slots=True)
class Sweep:
    """All points of a sweep."""

    scenario: str
    axes: tuple[Axis, ...]
    rows: tuple[Row, ...]


def split_values(text: str) -> tuple[str, ...]:
    """The values of `a,b,c`; commas inside brackets or quotes separate nothing."""
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        depth += (letter in OPENERS) - (letter in CLOSERS) if not quote else 0
        if letter == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += letter
    return tuple(part.strip() for part in parts)


def find_axes(
    matrix: Mapping[str, Sequence[str]], settings: Iterable[Setting]
) -> tuple[tuple[Axis, ...], list[Setting]]:
    """The axes, and the settings that are of all points. Raises UsageError for an empty value between commas."""
    axes = {path: Axis(path, tuple(values)) for path, values in matrix.items()}
    fixed = []
    for path, text in settings:
        values = split_values(text)
        axes.pop(path, None)
        if len(values) == 1:
            fixed.append((path, text))
            continue
        if not all(values):
            raise UsageError(
                f"--set {path}={text}: a value between two commas is empty", remedy="quote text with commas"
            )
        axes[path] = Axis(path, values)
    return tuple(axes.values()), fixed


def points(axes: Sequence[Axis]) -> tuple[tuple[Setting, ...], ...]:
    """The product of the axes, the last one fastest. Raises UsageError where there are too many."""
    if (number := math.prod(len(axis.values) for axis in axes)) > MOST_POINTS:
        raise UsageError(f"the sweep has {number} points, and at most {MOST_POINTS} can be run")
    return tuple(
        tuple((axis.path, value) for axis, value in zip(axes, values, strict=True))
        for values in product(*(axis.values for axis in axes))
    )


def say_point(settings: Iterable[Setting]) -> str:
    """`delay 20ms, loss 1%`: paths by their last part."""
    return ", ".join(f"{path.rpartition('.')[2]} {value}" for path, value in settings)
