"""What runs inside the machine: one row each, with its time limit and what its output must show.

A row has passed when its command ended with exit code 0 within its limit, its output shows what it must and nothing
that it must not. A row whose test file is not there has failed: a lane that ran nothing never passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .catalogue import wire_only

PYTHON = "/opt/testbed/bin/python"
OUT = "/out"
PART = os.environ.get("TESTBED_VM_SHARD", "")  # of the catalogue and of the wire's contract: 2/5
SHARD = ("--shard", PART) if PART else ()
PYTEST = (PYTHON, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider")
TESTBED = (PYTHON, "-m", "testbed")
NOTHING_SELECTED = 5  # pytest's exit code when its arguments leave no test


@dataclass(frozen=True, slots=True)
class Row:
    """A command, how long it may take (on slow emulation), and patterns that its output must and must not show."""

    name: str
    command: tuple[str, ...]
    limit_s: float
    shows: str = ""
    never: str = ""
    docker: bool = False

    @property
    def is_pytest(self) -> bool:
        """Whether pytest's own arguments can be added to it."""
        return self.command[: len(PYTEST)] == PYTEST

    @property
    def needs(self) -> tuple[str, ...]:
        """Files of the checkout that it names."""
        return tuple(word for word in self.command if word.startswith("tests/") and word.endswith(".py"))


def suite(name: str, *words: str, limit_s: float) -> Row:
    """A row of pytest: something passed, nothing was skipped."""
    command = (*PYTEST, *words, f"--junit-xml={OUT}/{name}.xml")
    return Row(name, command, limit_s, shows=r"\d+ passed", never=r"\d+ skipped")


def run(*words: str) -> tuple[str, ...]:
    """The command `testbed run`, its results brought out."""
    return (*TESTBED, "run", *words, "--out", f"{OUT}/runs")


ROWS = (
    Row("redirect", (PYTHON, "tests/vm/redirect.py"), 60, shows="a ping over the redirect took"),
    suite("netem", "tests/lab/test_netem.py", limit_s=600),
    suite("stands", "tests/lab/test_wire_stands.py", "-k", "netem", limit_s=300),
    Row("netns", run("hola", "--backend", "netns"), 120, shows="all .* checks passed"),
    Row("clock", (PYTHON, "tests/vm/clock.py"), 300, shows="a clock that is set makes the verdict unknown"),
    suite("contract", "tests/lab/test_wire_contract.py", "-k", "netem", limit_s=900),
    Row(
        "catalogue",
        run(*wire_only(), *SHARD, "--backend", "netns", "--engine", "netem", "--retries", "2"),
        900,
        shows=r"\d+ passed",  # the exit code says that each passed, one that is tried again in its last try
    ),
    Row(
        "compose",
        run("hola", "--set", "wire.delay=20ms", "--backend", "compose", "--engine", "netem"),
        300,
        shows="compose · engine netem",
        docker=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a row's command ended: its exit code, None where its limit ended it; and all it said."""

    exit_code: int | None
    seconds: float
    output: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A row's verdict (passed, failed, or nothing where its arguments selected nothing), its closing line, and why."""

    row: Row
    verdict: str
    closing: str
    why: str = ""


def choose(rows: Iterable[Row], names: Sequence[str], arguments: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names (all where none is named); with arguments for pytest, its rows alone, given them."""
    kept = [row for row in rows if not names or row.name in names]
    if not arguments:
        return tuple(kept)
    return tuple(replace(row, command=_given(row.command, arguments)) for row in kept if row.is_pytest)


def _given(command: tuple[str, ...], arguments: Sequence[str]) -> tuple[str, ...]:
    """A row's command with a person's arguments. Of two -k pytest would take the last: both hold here."""
    if "-k" not in command or "-k" not in arguments[:-1]:
        return (*command, *arguments)
    ours, theirs = command.index("-k") + 1, list(arguments).index("-k") + 1
    both = f"({command[ours]}) and ({arguments[theirs]})"
    return (*command[:ours], both, *command[ours + 1 :], *arguments[: theirs - 1], *arguments[theirs + 1 :])


def judge(row: Row, ended: Ended | None, missing: Sequence[str] = ()) -> Outcome:
    """What came of a row; `ended` is None where the machine brought nothing out of it."""
    if missing:
        return Outcome(row, "failed", "", f"{', '.join(missing)}: no such file in this checkout")
    if ended is None:
        return Outcome(row, "failed", "", "the machine ended before this row did")
    closing = closing_line(ended.output, "" if row.is_pytest else row.shows)
    if row.is_pytest and ended.exit_code == NOTHING_SELECTED:
        return Outcome(row, "nothing", closing, "no test was selected")
    why = _why_failed(row, ended)
    return Outcome(row, "failed" if why else "passed", closing, why)


def _why_failed(row: Row, ended: Ended) -> str:
    if ended.exit_code is None:
        return f"it was ended at its limit of {row.limit_s:g} s"
    if ended.exit_code != 0:
        return f"exit code {ended.exit_code}"
    if row.shows and not re.search(row.shows, ended.output):
        return f"its output does not show {row.shows!r}"
    if row.never and (seen := re.search(row.never, ended.output)):
        return f"its output shows {seen[0]!r}"
    return ""


def closing_line(output: str, pattern: str = "") -> str:
    """The last line that shows the pattern, else the last that says something; pytest's without its rulers."""
    lines = [line.strip("= ") for line in output.splitlines() if line.strip("= ")]
    showing = [line for line in lines if pattern and re.search(pattern, line)]
    return (showing or lines or [""])[-1]


def all_passed(outcomes: Sequence[Outcome]) -> bool:
    """Whether something ran and nothing failed."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return "passed" in verdicts and verdicts <= {"passed", "nothing"}


def summary_line(outcome: Outcome, ended: Ended | None) -> str:
    """What came of a row, on one line."""
    seconds = f"{ended.seconds:6.1f} s" if ended else "       -"
    words = "  ".join(word for word in (outcome.why, outcome.closing) if word)
    return f"{outcome.verdict:8}{outcome.row.name:10}{seconds}  {words}"
