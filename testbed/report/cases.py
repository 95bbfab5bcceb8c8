"""A suite as CI systems see it: one case per scenario, with its verdict, and reasons in plain words.

Every report on a suite (JUnit, TAP, annotations, summaries) is made of these values alone, so that all of them say the
same. A case that passed only after another try is flaky: it passed, and every report says what came before.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testbed.errors import TestbedError
from testbed.evidence import RunFacts
from testbed.report import facts
from testbed.report.escape import clean
from testbed.report.style import plain
from testbed.scenario.mistakes import Mistake, ScenarioErrors
from testbed.verdict.value import Check, Judgement, Outcome

WIDTH = 100  # columns of the ladder in a report
MOST_REASONS = 20
# Worst first; what is unknown may still be fine, and what was flaky passed.
WORST_FIRST = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a case did not pass: the name of the check, where there was one, and a sentence."""

    name: str
    says: str
    file: str = ""
    line: int | None = None
    packets: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.says}" if self.name else self.says


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario of a suite and how it ended. `name` is unique in the suite."""

    name: str
    scenario: str
    file: str
    verdict: Outcome
    reasons: tuple[Reason, ...] = ()
    seconds: float = 0.0
    seed: int | None = None
    backend: str = ""
    engine: str = ""
    folder: str = ""  # the run folder; empty where nothing was run
    again: str = ""  # the command that does the same once more
    ladder: str = ""  # what a terminal shows of the run; of what did not pass
    exit_code: int = 0
    not_run: str = ""  # why it was not run at all
    earlier: tuple[Case, ...] = ()  # the tries before this one

    @property
    def flaky(self) -> bool:
        """Whether it passed, and not at once."""
        return self.verdict is Outcome.PASSED and bool(self.earlier)


@dataclass(frozen=True, slots=True)
class Suite:
    """All cases of a command, and what is said of them together."""

    cases: tuple[Case, ...]
    run_id: str = ""
    started: str = ""  # ISO 8601, UTC
    seconds: float = 0.0
    jobs: int = 1
    shard: str = ""
    interrupted: bool = False
    name: str = "testbed"

    @property
    def ran(self) -> tuple[Case, ...]:
        """The cases that were run."""
        return tuple(case for case in self.cases if not case.not_run)

    def count(self, verdict: Outcome) -> int:
        """How many of those that were run came to a verdict."""
        return sum(case.verdict is verdict for case in self.ran)

    def counts(self) -> dict[str, int]:
        """How many passed, failed, are unknown; flaky ones passed; some may not have been run."""
        told = {verdict.value: self.count(verdict) for verdict in Outcome}
        flaky = sum(case.flaky for case in self.cases)
        return {**told, "flaky": flaky, "not_run": len(self.cases) - len(self.ran), "total": len(self.cases)}

    def worst(self) -> tuple[Case, ...]:
        """What a person must look at, worst first: failed, unknown, flaky."""
        troubles = [case for case in self.ran if case.verdict is not Outcome.PASSED or case.flaky]
        return tuple(sorted(troubles, key=lambda case: (WORST_FIRST.index(case.verdict), case.name)))


def count_words(counts: dict[str, int]) -> str:
    """`27 passed (1 flaky), 1 failed, 3 not run`."""
    flaky = f" ({counts['flaky']} flaky)" if counts["flaky"] else ""
    told = [f"{counts[name]} {name}" + (flaky if name == "passed" else "") for name in Outcome if counts[name]]
    missing = [f"{counts['not_run']} not run"] if counts["not_run"] else []
    return ", ".join([*told, *missing]) or "nothing was run"


def case_of(name: str, judgement: Judgement, *, folder: str, again: str, seconds: float, exit_code: int) -> Case:
    """A run that came to a verdict, as a case."""
    run = judgement.evidence.run
    passed = judgement.verdict is Outcome.PASSED
    return Case(
        name=name,
        scenario=run.scenario,
        file=run.scenario_file,
        verdict=judgement.verdict,
        reasons=reasons_of(judgement),
        seconds=seconds,
        seed=run.seed,
        backend=run.backend,
        engine=run.engine,
        folder=folder,
        again=again,
        ladder="" if passed else ladder_of(judgement, folder),
        exit_code=exit_code,
    )


def ladder_of(judgement: Judgement, folder: str, *, width: int = WIDTH) -> str:
    """What a terminal shows of a run: the ladder, the checks with their reasons, the files."""
    from testbed.report.text import render_text  # slow, and a suite begins with this module

    return plain(render_text(judgement, width=width, unicode=True, folder=folder, whole=True))


def reasons_of(judgement: Judgement) -> tuple[Reason, ...]:
    """Why a run did not pass: its failed and unknown checks, then what the testbed could not do or see.

    Checks that are unknown for one and the same cause are told as one reason.
    """
    if judgement.verdict is Outcome.PASSED:
        return ()
    run = judgement.evidence.run
    sorted_checks = facts.checks_by_verdict(judgement)
    bad = [*sorted_checks[Outcome.FAILED], *sorted_checks[Outcome.UNKNOWN]]
    told = [_reason(alike[0], alike[1:], run) for alike in _by_cause(bad)]
    told += [Reason(clean(each.where), clean(each.says), run.scenario_file) for each in facts.problems(judgement)]
    hidden = len(told) - MOST_REASONS
    more = [Reason("", f"and {hidden} more reasons", run.scenario_file)] if hidden > 0 else []
    return (*told[:MOST_REASONS], *more)


def _by_cause(checks: Iterable[Check]) -> list[list[Check]]:
    causes: dict[object, list[Check]] = {}
    for check in checks:
        alone = check.verdict is Outcome.FAILED or not check.why
        causes.setdefault(id(check) if alone else check.why, []).append(check)
    return list(causes.values())


def _reason(check: Check, others: Sequence[Check], run: RunFacts) -> Reason:
    compared = f"expected {check.expected}, seen {check.seen}" if check.seen else f"expected {check.expected}"
    why = f": {check.why}" if check.why else ""
    shown = f" (packets {facts.list_packets(check.packets)} of trace.pcapng)" if check.packets else ""
    state = "" if check.verdict is Outcome.FAILED else "unknown: "
    also = f"; and so {', '.join(other.name for other in others)}" if others else ""
    return Reason(
        clean(check.name), clean(f"{state}{compared}{why}{shown}{also}"), run.scenario_file, check.line, check.packets
    )


def error_reasons(error: TestbedError, file: str) -> tuple[Reason, ...]:
    """Why no run came to a verdict; of a wrong scenario file every mistake with its line."""
    if isinstance(error, ScenarioErrors):
        return tuple(_mistake(mistake) for mistake in error.mistakes)
    says = "; ".join(filter(None, (error.message, error.remedy)))
    return (Reason("", _lines(says), file),)


def _mistake(mistake: Mistake) -> Reason:
    guess = f" (did you mean {mistake.suggestion}?)" if mistake.suggestion else ""
    return Reason(clean(mistake.path), clean(mistake.says + guess), mistake.file, mistake.line)


def _lines(text: str) -> str:
    """A text of several lines on one."""
    return " ".join(clean(line.strip()) for line in text.splitlines() if line.strip())


def clean_lines(text: str) -> str:
    """A text made safe to show whose line breaks stay."""
    return "\n".join(clean(line) for line in text.split("\n"))


def command(words: Iterable[str]) -> str:
    """A command as one can paste it into a shell."""
    return " ".join(shlex.quote(clean(word)) for word in words)


def place(reason: Reason) -> str:
    """`scenarios/seeds/hola.yaml:21`."""
    return reason.file if reason.line is None else f"{reason.file}:{reason.line}"


def told(case: Case) -> Sequence[str]:
    """A case that did not pass in lines of plain text: reasons with their places, earlier tries, where to look."""
    lines = [f"{reason}" + (f"  [{place(reason)}]" if reason.line is not None else "") for reason in case.reasons]
    for number, earlier in enumerate(case.earlier, start=1):
        why = f": {earlier.reasons[0]}" if earlier.reasons else ""
        lines.append(f"try {number} {earlier.verdict}{why}" + (f" ({earlier.folder})" if earlier.folder else ""))
    lines += [f"look at {case.folder}/report.html"] if case.folder else []
    lines += [f"again: {case.again}"] if case.again else []
    return [clean(line) for line in lines]
