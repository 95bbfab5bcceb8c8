"""Mutation testing: changes the code a little, one change at a time, and sees whether a test notices.

Usage: make mutants [ARGS="testbed/tcp/stream.py testbed/verdict/ --jobs 2"]

Without paths the core is mutated: tcp/, the verdict, and the tables of the wire. What is changed is in
`mutant_operators`, how it is tried in `mutant_trials`; what counts as a test are tests/fast and those of tests/thorough
that need no lab and are quick (TESTS; `--tests FILE...` takes others, a few files first is much quicker, and the rest
for the survivors). Nothing is copied and no file changes; but do not edit the modules while it runs.

* The tests are collected once, and run once under a tracer: which lines does each run, and for how long.
* A change inside a function: a fork of that process gives the function its new code, and runs the tests that ran the
  changed line, the quickest first, until one fails.
* A change of a table, a default, or of what runs on import: a fork of a process that has imported nothing of ours
  imports the changed module, and runs the tests that ran anything of its package, and what else is in their files.
* A mutant is killed when a test fails, timed out when its processor time is more than LIMIT of what its tests had;
  otherwise it survived. The score is (killed + timed out) / all: a line that no test runs has survivors only.

Each outcome is a line of results/mutants/outcomes.jsonl as soon as it is known, so a run can be stopped and goes on
where it was: a mutant that was killed while its module was the same is not tried again, a survivor is (tests are
written to kill those); `--fresh` tries all. `--shard 1/2` takes every other mutant, `--list` tries nothing. At the end
come the scores, also as scores.json, and the survivors, also as survivors.txt.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType

from mutant_operators import Site, sites
from mutant_trials import ROOT, Mutant, Pool, try_all

LEFT = ROOT / "results" / "mutants"
OUTCOMES = LEFT / "outcomes.jsonl"
CORE = (
    "testbed/tcp/",
    "testbed/verdict/",
    "testbed/agent/impair.py",
    "testbed/agent/impairments.py",
    "testbed/agent/faults.py",
    "testbed/agent/rewrite.py",
)
PROPERTIES = "tests/thorough/test_tcp_properties.py::test_"
TESTS = (
    "tests/fast",
    "tests/thorough/test_corpus.py::test_told_as_expected",
    "tests/thorough/test_faults.py",
    "tests/thorough/test_impair.py",
    f"{PROPERTIES}doubled_frames_change_nothing",
    f"{PROPERTIES}prefixes_never_crash_and_never_invent_a_close",
    f"{PROPERTIES}streams_come_out_as_they_went_in",
    f"{PROPERTIES}swapped_sides_give_the_mirror_image",
    f"{PROPERTIES}the_short_way_says_the_same",
    f"{PROPERTIES}wrap_around_changes_nothing",
    "tests/thorough/test_verdict_trips.py",
    "tests/thorough/test_verdict_wire.py",
    "tests/thorough/test_vocabulary_page.py",
)


def find(path: str) -> Iterator[Mutant]:
    """All mutants of a module."""
    source = (ROOT / path).read_text(encoding="utf-8")
    tree, lines = ast.parse(source), source.splitlines()
    for site in list(sites(tree)):
        node = site.node
        assert isinstance(node, ast.expr | ast.stmt)
        before, after = (" ".join(ast.unparse(one).split()) for one in (node, site.instead))
        name = f"{path}:{node.lineno}:{node.col_offset}: {before} -> {after}"
        if lines[node.lineno - 1].strip() != before:
            name += f"   in: {lines[node.lineno - 1].strip()}"
        yield Mutant(path, site.lines, name, site.deferred, _maker(tree, site, path))


def _maker(tree: ast.Module, site: Site, path: str) -> Callable[[], CodeType]:
    def make() -> CodeType:
        site.put(site.instead)
        try:
            code: CodeType = compile(tree, str(ROOT / path), "exec", dont_inherit=True)
        finally:
            site.put(site.node)
        return code

    return make


def known(shas: dict[str, str]) -> dict[str, str]:
    """Outcomes of earlier runs, for modules that are still the same."""
    rows = [json.loads(line) for line in OUTCOMES.read_text().splitlines()] if OUTCOMES.exists() else []
    return {row["mutant"]: row["outcome"] for row in rows if shas.get(row["mutant"].partition(":")[0]) == row["sha"]}


def report(mutants: Sequence[Mutant], outcomes: dict[str, str]) -> None:
    """Print and keep the score of each module, and the survivors."""
    scores: dict[str, dict[str, int]] = {}
    for mutant in mutants:
        row = scores.setdefault(
            mutant.path, {"killed": 0, "timed out": 0, "survived": 0, "untested": 0, "untried": 0, "error": 0}
        )
        row[outcomes.get(mutant.name, "untried")] += 1
    left = [f"{outcomes[m.name]}: {short(m.name)}" for m in mutants if outcomes.get(m.name) in ("survived", "untested")]
    (LEFT / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    (LEFT / "survivors.txt").write_text("".join(f"{line}\n" for line in left))
    print(*left, sep="\n")
    total = {key: sum(row[key] for row in scores.values()) for key in next(iter(scores.values()))}
    for path, row in [*scores.items(), ("all", total)]:
        noticed, tried = row["killed"] + row["timed out"], sum(row.values()) - row["untried"] - row["error"]
        print(f"{path:36} {100 * noticed / max(tried, 1):6.1f} %  ", *(f"{key} {n}" for key, n in row.items()))


def short(name: str, around: int = 30) -> str:
    """A long change without what is the same before and after."""
    place, _, rest = name.partition(": ")
    change, _, line = rest.partition("   in: ")
    before, _, after = change.partition(" -> ")
    if len(before) < 4 * around or after in ("None", "pass"):
        return name
    start = _alike(before, after)
    tail = _alike(before[start:][::-1], after[start:][::-1])
    before, after = (text[max(0, start - around) : len(text) - tail] for text in (before, after))
    return f"{place}: ...{before}... -> ...{after}...   in: {line}"


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def main() -> None:
    """Mutate, and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", default=list(CORE), help="modules, or folders with a / at the end")
    parser.add_argument("--tests", nargs="*", default=list(TESTS))
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--shard", default="1/1", help="which part of how many")
    parser.add_argument("--fresh", action="store_true", help="also those that were killed before")
    parser.add_argument("--list", action="store_true", help="only tell what is known")
    options = parser.parse_args()
    os.chdir(ROOT)
    LEFT.mkdir(parents=True, exist_ok=True)
    given = [Path(path) for path in options.paths]
    paths = sorted(str(file) for path in given for file in (path.glob("*.py") if path.is_dir() else [path]))
    shas = {path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()[:16] for path in paths}
    part, parts = map(int, options.shard.split("/"))
    mutants = [mutant for path in paths for mutant in find(path)]
    before = {} if options.fresh else known(shas)
    tried = [m for m in mutants[part - 1 :: parts] if before.get(m.name) not in ("killed", "timed out")]
    random.Random(1).shuffle(tried)  # what a run that is stopped has tried is a fair sample
    tried.sort(key=lambda mutant: mutant.name not in before)  # survivors first
    if tried and not options.list:
        try_all(tried, paths, options.tests, Pool(options.jobs, OUTCOMES, shas))
    report(mutants, known(shas))


if __name__ == "__main__":
    main()
