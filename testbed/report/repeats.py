"""What many runs of one scenario tell: how often it passed, how sure that rate is, and which seed to look at. Pure.

The rate is that of first tries, among those that came to a verdict: a run of which nothing is known speaks for neither
side, and a pass after a retry is no pass here. The interval is Wilson's at 95 %.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from testbed.report.cases import Case
from testbed.verdict.odds import interval
from testbed.verdict.value import Outcome


@dataclass(frozen=True, slots=True)
class Repeats:
    """The runs of one scenario together."""

    scenario: str
    file: str
    passed: int
    failed: int
    unknown: int
    first_failing_seed: int | None = None
    again: str = ""  # the command for that seed

    @property
    def judged(self) -> int:
        """How many came to a verdict."""
        return self.passed + self.failed

    @property
    def rate(self) -> float | None:
        """How many of those passed."""
        return self.passed / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which rates the true one lies."""
        return interval(self.passed, self.judged)


def repeats_of(cases: Iterable[Case]) -> tuple[Repeats, ...]:
    """The statistics of each scenario that was run more than once, in order of names."""
    together: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        if not case.not_run:
            together.setdefault((case.scenario, case.file), []).append(case.earlier[0] if case.earlier else case)
    many = {key: first_tries for key, first_tries in together.items() if len(first_tries) > 1}
    return tuple(_sum_up(*key, first_tries) for key, first_tries in sorted(many.items()))


def _sum_up(scenario: str, file: str, tries: list[Case]) -> Repeats:
    counts = {verdict: sum(each.verdict is verdict for each in tries) for verdict in Outcome}
    failing = [each for each in tries if each.verdict is Outcome.FAILED and each.seed is not None]
    first = min(failing, key=lambda each: each.seed or 0, default=None)
    return Repeats(
        scenario,
        file,
        counts[Outcome.PASSED],
        counts[Outcome.FAILED],
        counts[Outcome.UNKNOWN],
        first.seed if first else None,
        first.again if first else "",
    )


def say_repeats(repeats: Repeats) -> str:
    """`passed 97 of 100: 97.0 %, at 95 % between 91.5 and 99.0 %; first failing seed 12`."""
    words = f"passed {repeats.passed} of {repeats.judged}"
    if repeats.rate is not None and (bounds := repeats.interval) is not None:
        low, high = (f"{100 * bound:.1f}" for bound in bounds)
        words += f": {100 * repeats.rate:.1f} %, at 95 % between {low} and {high} %"
    if repeats.unknown:
        words += f"; {repeats.unknown} unknown"
    if repeats.first_failing_seed is not None:
        words += f"; first failing seed {repeats.first_failing_seed}"
    return words
