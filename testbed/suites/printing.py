"""What a person at a terminal is told of a suite: a line as each run ends, then what did not pass, and the counts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from testbed.report.cases import Case, Suite, count_words, told
from testbed.report.repeats import Repeats, say_repeats
from testbed.report.style import Line
from testbed.suite import NOT_APPLICABLE, Crash, Result
from testbed.terminal import Progress, print_error, print_lines, unicode_output, width
from testbed.verdict.value import Judgement


def watcher(progress: Progress, as_json: bool, total: int) -> Callable[[Result], None]:
    """What to do with each result as it comes."""
    done = 0

    def finished(result: Result) -> None:
        nonlocal done
        done += 1
        progress.ended(result.case.name, passed=not result.case.exit_code)
        progress.clear()
        if total == 1:
            _print_alone(result, as_json)
        else:
            _print_one_of_many(result, as_json, done, total)

    return finished


def _print_alone(result: Result, as_json: bool) -> None:
    if result.error is not None:
        print_error(result.error)
    elif result.done is not None and as_json:
        sys.stdout.write((result.done.folder / "result.json").read_text())
    elif result.done is not None:
        print_judgement(result.done.judgement, result.done.folder)


def print_judgement(judgement: Judgement, folder: Path) -> None:
    """The ladder, the checks, the verdict."""
    from testbed.report.text import render_text

    whole = not sys.stdout.isatty()  # a log wraps nothing, and is searched
    print_lines(render_text(judgement, width=width(), unicode=unicode_output(), folder=str(folder), whole=whole))


def _print_one_of_many(result: Result, as_json: bool, done: int, total: int) -> None:
    case = result.case
    if isinstance(result.error, Crash):
        sys.stderr.write(result.error.trace)
    if case.not_run:
        if not as_json:
            print_lines([((f"[{done}/{total}] ", "dim"), (f"not run  {case.name}: {case.not_run}", ""))])
    elif result.error is not None:
        sys.stderr.write(f"{case.name}: {result.error}\n")
    elif not as_json:
        print_lines([_one_line(case, done, total)])


def _one_line(case: Case, done: int, total: int) -> Line:
    why = f": {case.reasons[0]}" if case.reasons else f" (flaky: try {len(case.earlier) + 1})" if case.flaky else ""
    return (
        (f"[{done}/{total}] ", "dim"),
        (f"{case.verdict.value:8}", case.verdict.value),
        (f" {case.name}{why}", ""),
    )


def print_summary(suite: Suite, repeats: Sequence[Repeats]) -> None:
    """What did not pass with its reasons, the statistics of repetitions, then the counts, which stay in sight."""
    lines: list[Line] = [line for case in suite.worst() for line in _trouble(case)]
    skipped = [case for case in suite.cases if case.not_run.startswith(NOT_APPLICABLE)]
    lines += [((f"not run  {case.name}: {case.not_run}", ""),) for case in skipped]
    for each in repeats:
        lines.append(((each.scenario, "bold"), (f"  {say_repeats(each)}", "")))
        lines += [(("  again: ", "dim"), (each.again, ""))] if each.again else []
    print_lines([*lines, ((count_words(suite.counts()), "bold"),)])


def _trouble(case: Case) -> Iterable[Line]:
    verdict = "flaky" if case.flaky else case.verdict.value
    yield ((f"{verdict:8}", case.verdict.value), (f" {case.name}", "bold"))
    yield from ((("         ", ""), (line, "")) for line in told(case))
    yield ()


def print_json(suite: Suite, repeats: Sequence[Repeats]) -> None:
    """The suite for programs, with every result whole."""
    from testbed.report.suite_json import suite_plain

    results = [_result(case) for case in suite.ran]
    sys.stdout.write(json.dumps({**suite_plain(suite, repeats), "results": results}, indent=1) + "\n")


def _result(case: Case) -> object:
    path = Path(case.folder) / "result.json"
    if case.folder and path.is_file():
        return json.loads(path.read_text())
    return {"scenario": case.scenario, "error": "; ".join(map(str, case.reasons))}
