"""Writes the tables of docs/reliability.md: the ways of not knowing, and what has been tried so far.

Usage, with tests/lab on PYTHONPATH: python tests/torture/page.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from tally import load
from unknowns import WAYS, Way

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
EXECUTIONS = Path(__file__).parent / "fuzz" / "executions.json"
HERE = "tests/lab/test_honest_unknowns.py"


def ways_table() -> str:
    """A row for each way."""
    rows = ["| way | how it is provoked | what the testbed says | test |", "|---|---|---|---|"]
    rows += [f"| {way.name} | {way.how} | {_says(way)} | [{_test(way)}](../{_file(way)}) |" for way in WAYS]
    return "\n".join(rows)


def _says(way: Way) -> str:
    return ("exit code 3, no verdict: " if way.raises else "unknown: ") + f"“{way.says}”"


def _file(way: Way) -> str:
    return way.elsewhere.partition("::")[0] or HERE


def _test(way: Way) -> str:
    return way.elsewhere.partition("::")[2] or "provoked in a lab"


def figures_table() -> str:
    """What was tried, how often, and what came of it."""
    rows = ["| what | times | of them hit | wrong |", "|---|---|---|---|"]
    rows += [
        f"| {what} | {row.get('runs', 0)} | {row.get('hit', '')} | {row.get('wrong', 0)} |"
        for what, row in load().items()
    ]
    return "\n".join([*rows, *_fuzzed()])


def _fuzzed() -> Iterator[str]:
    counts: dict[str, int] = json.loads(EXECUTIONS.read_text()) if EXECUTIONS.exists() else {}
    yield from (f"| fuzz {name} | {number} | | |" for name, number in counts.items())
    yield f"| fuzz, all targets | {sum(counts.values())} | | |"


TABLES = {"ways": ways_table, "figures": figures_table}


def put(text: str, name: str, table: str) -> str:
    """The page with a table between its marks."""
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    assert pattern.search(text), f"{PAGE.name} has no place for {name}"
    return pattern.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text)


def main() -> None:
    """Write them."""
    text = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        text = put(text, name, make())
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
