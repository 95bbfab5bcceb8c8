"""The index of a suite: one HTML page that leads to the report of every run, with a table to filter and to sort.

It stands in the folder of the run's id, beside the folders of its scenarios, and links to them by relative paths, so
that the whole may be moved. The table is sorted worst first; without script it is only that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from testbed.report.cases import WORST_FIRST, Case, Suite, count_words
from testbed.verdict.value import Outcome

INDEX = "index.html"
_REASONS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table, its texts ready; `order` is its place when sorted by verdict."""

    name: str
    folder: str  # beside the index; empty where nothing was run
    verdict: str
    shown: str
    order: int
    scenario: str
    seconds: float
    backend: str
    seed: int | None
    reasons: tuple[str, ...]
    again: str


def render_index(suite: Suite) -> str:
    """The index of a suite as one self-contained HTML document."""
    from testbed.report.html import render_page  # slow, and a suite begins with the modules beside this one

    entries = sorted((_entry(case) for case in suite.cases), key=lambda entry: (entry.order, entry.name))
    counts = suite.counts()
    return render_page(
        "index",
        {
            "suite": suite,
            "entries": entries,
            "worst": _worst(suite),
            "sentence": count_words(counts),
            "choices": list(dict.fromkeys(entry.shown for entry in entries)),
        },
    )


def _worst(suite: Suite) -> str:
    return next((verdict.value for verdict in WORST_FIRST if suite.count(verdict)), Outcome.UNKNOWN.value)


def _entry(case: Case) -> Entry:
    shown = "not run" if case.not_run else "flaky" if case.flaky else case.verdict.value
    order = len(WORST_FIRST) if case.not_run else WORST_FIRST.index(case.verdict)
    told = [case.not_run] if case.not_run else [str(reason) for reason in case.reasons]
    told += [f"try {number}: {one.verdict.value}" for number, one in enumerate(case.earlier, 1)]
    more = [f"and {len(told) - _REASONS} more"] if len(told) > _REASONS else []
    return Entry(
        case.name,
        PurePosixPath(case.folder).name,
        "dim" if case.not_run else case.verdict.value,
        shown,
        2 * order - (shown == "flaky"),
        case.file,
        case.seconds,
        " ".join(filter(None, (case.backend, "" if case.engine == "none" else case.engine))),
        case.seed,
        (*told[:_REASONS], *more),
        case.again,
    )
