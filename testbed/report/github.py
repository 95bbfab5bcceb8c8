"""A suite for GitHub's actions: annotations on the lines of scenario files, and the summary of a step. Pure.

GitHub shows ten annotations of a kind per step and drops the rest without a word, so there are at most ten, worst
first, and the tenth says how many more there are. A step's summary has 1 MiB and is dropped whole when it is longer, so
ours is put together of parts, the most telling first, as far as there is room.

Formats: "Workflow commands for GitHub Actions" (`::error file=,line=,title=::`, escapes %25 %0D %0A, in properties also
%3A %2C), and "Adding a job summary".
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

from testbed.report.cases import Case, Suite, clean_lines, count_words, told
from testbed.report.escape import clean
from testbed.report.repeats import Repeats, say_repeats
from testbed.verdict.value import Outcome

MOST_ANNOTATIONS = 10
LONGEST_MESSAGE = 4000  # characters; GitHub cuts longer ones
SUMMARY_LIMIT = 1024 * 1024  # bytes
ROOM_TO_SPARE = 1024  # for the sentence that says what was left out
MARKS = {Outcome.PASSED: "✅", Outcome.FAILED: "❌", Outcome.UNKNOWN: "❔"}
MOST_ROWS = 500
LONGEST_LADDER = 60_000


def annotate(suite: Suite, *, from_root: Callable[[str], str] = str) -> list[str]:
    """The lines that make GitHub annotate scenario files; at most ten, worst first.

    GitHub wants the names of files from the root of the repository: `from_root` gives them.
    """
    worst = suite.worst()
    shown = worst if len(worst) <= MOST_ANNOTATIONS else worst[: MOST_ANNOTATIONS - 1]
    lines = [_annotation(case, from_root) for case in shown]
    if len(worst) > len(shown):
        left = len(worst) - len(shown)
        lines.append(f"::error title=testbed::{_data(f'and {left} more scenarios: {count_words(suite.counts())}')}")
    return lines


def _annotation(case: Case, from_root: Callable[[str], str]) -> str:
    reason = case.reasons[0] if case.reasons else None
    file = (reason.file if reason else "") or case.file
    properties = {
        "file": from_root(file),
        "line": str(reason.line) if reason and reason.line is not None else "",
        "title": f"{case.name} {'flaky' if case.flaky else case.verdict.value}",
    }
    named = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    level = "warning" if case.flaky else "error"
    return f"::{level} {named}::{_data(chr(10).join(told(case))[:LONGEST_MESSAGE])}"


def _data(text: str) -> str:
    return clean_lines(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(clean(text)).replace(":", "%3A").replace(",", "%2C")


def step_summary(suite: Suite, repeats: Sequence[Repeats] = (), *, limit: int = SUMMARY_LIMIT) -> str:
    """The suite as Markdown, in at most so many bytes of UTF-8."""
    parts = [_headline(suite), _reasons(suite), _repeats(repeats), *_ladders(suite), _table(suite)]
    kept, used, left = [], 0, 0
    for part in filter(None, parts):
        size = len(part.encode()) + 1
        if used + size > limit - ROOM_TO_SPARE:
            left += 1
            continue
        kept.append(part)
        used += size
    if left:
        kept.append(f"_{left} more parts did not fit into a step's summary; the artefacts have them._\n")
    text = "\n".join(kept)
    return text if len(text.encode()) <= limit else ""


def _headline(suite: Suite) -> str:
    mark = MARKS[suite.worst()[0].verdict if suite.worst() else Outcome.PASSED]
    shard = f", shard {clean(suite.shard)}" if suite.shard else ""
    stopped = " Interrupted." if suite.interrupted else ""
    words = count_words(suite.counts())
    return f"## {mark} testbed: {words}\n\n{suite.seconds:.1f} s, {suite.jobs} at a time{shard}.{stopped}\n"


def _reasons(suite: Suite) -> str:
    worst = suite.worst()
    if not worst:
        return ""
    rows = [
        f"| {MARKS[case.verdict]} {'flaky' if case.flaky else case.verdict} | {_cell(case.name)} "
        f"| {'<br>'.join(map(_cell, told(case)))} |"
        for case in worst[:MOST_ROWS]
    ]
    more = [f"\nand {len(worst) - MOST_ROWS} more"] if len(worst) > MOST_ROWS else []
    return "\n".join(["| verdict | scenario | why |", "|---|---|---|", *rows, *more]) + "\n"


def _repeats(repeats: Iterable[Repeats]) -> str:
    rows = [
        f"| {_cell(each.scenario)} | {_cell(say_repeats(each))} | {_code(each.again) if each.again else ''} |"
        for each in repeats
    ]
    return "\n".join(["| scenario | runs | the first that failed |", "|---|---|---|", *rows]) + "\n" if rows else ""


def _ladders(suite: Suite) -> list[str]:
    return [_ladder(case) for case in suite.worst() if case.ladder and len(case.ladder) <= LONGEST_LADDER]


def _ladder(case: Case) -> str:
    text = clean_lines(case.ladder)
    fence = "```"
    while fence in text:
        fence += "`"
    return f"<details><summary>{_html(case.name)}</summary>\n\n{fence}text\n{text}{fence}\n\n</details>\n"


def _table(suite: Suite) -> str:
    rows = [
        f"| {'⏭ not run' if case.not_run else f'{MARKS[case.verdict]} {case.verdict}'} | {_cell(case.name)} "
        f"| {case.seconds:.1f} s | {_cell(case.backend)} |"
        for case in suite.cases[:MOST_ROWS]
    ]
    head = ["| verdict | scenario | took | backend |", "|---|---|---|---|"]
    more = [f"\nand {len(suite.cases) - MOST_ROWS} more"] if len(suite.cases) > MOST_ROWS else []
    return "<details><summary>all scenarios</summary>\n\n" + "\n".join([*head, *rows, *more]) + "\n\n</details>\n"


def _cell(text: str) -> str:
    """A text inside a table: nothing in it is Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#!|~" else letter for letter in _html(text))


def _code(text: str) -> str:
    """A text as HTML code, which cannot be left by backticks."""
    return f"<code>{_html(text).replace('|', '&#124;')}</code>"


def _html(text: str) -> str:
    return html.escape(clean(text), quote=False)
