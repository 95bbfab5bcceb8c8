"""Suites made by hand, of every sort of case, for the tests of what is told of them."""

from __future__ import annotations

from dataclasses import replace

from report_builder import HOSTILE, hola, hostile, lost_synack

from testbed.report.cases import Case, Reason, Suite, case_of
from testbed.verdict.value import Judgement, Outcome

EXIT_CODES = {Outcome.PASSED: 0, Outcome.FAILED: 1, Outcome.UNKNOWN: 3}


def case(name: str, judgement: Judgement, **changes: object) -> Case:
    """A judgement as a case."""
    made = case_of(
        name,
        judgement,
        folder=f"results/run-1/{name}",
        again=f"testbed run {name} --seed 0",
        seconds=1.25,
        exit_code=EXIT_CODES[judgement.verdict],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def unknown(name: str = "blind") -> Case:
    """Nobody knows."""
    return case(name, replace(lost_synack(), verdict=Outcome.UNKNOWN))


def flaky(name: str = "shaky") -> Case:
    """Passed at the second try."""
    return case(name, hola(), earlier=(case(name, lost_synack()),))


def still_failing(name: str = "stubborn") -> Case:
    """Failed at both tries."""
    return case(name, lost_synack(), earlier=(unknown(name),))


def wrong_file(name: str = "broken") -> Case:
    """A scenario file with two mistakes."""
    reasons = (Reason("hosts.a", "unknown step", "scenarios/broken.yaml", 5), Reason("", "no client", "", None))
    return Case(name, name, "scenarios/broken.yaml", Outcome.UNKNOWN, reasons, exit_code=2)


def not_run(name: str = "later") -> Case:
    """Never begun."""
    return Case(name, name, "scenarios/later.yaml", Outcome.UNKNOWN, not_run="not run: --fail-fast, after lost")


def every_sort() -> Suite:
    """One case of each sort, names that try to get out among them."""
    cases = (
        case("hola", hola()),
        case("lost", lost_synack()),
        unknown(),
        flaky(),
        still_failing(),
        wrong_file(),
        not_run(),
        case(f"name {HOSTILE} ]]> # {{a}} | `b`", hostile(), file=f"scenarios/{HOSTILE}.yaml", again=HOSTILE),
    )
    return Suite(cases, "run-1", "2026-01-02T03:04:05", 12.5, 4, "1/2")
