"""Mutation testing: changes the code a little, in a copy of the checkout, and sees whether a test notices.

Usage: make mutants [ARGS="testbed/tcp/sequence.py ..."]          (needs the extra `mutants`: mutmut)

Without arguments the core is mutated: all of tcp/, the verdict, and the tables of the wire. A mutant that survives
is a change that no test of tests/fast notices; `mutmut show NAME` in the copy (results/mutants) shows it. The checkout
itself is never touched.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / "results" / "mutants"
CORE = (
    "testbed/tcp/",
    "testbed/verdict/",
    "testbed/agent/impair.py",
    "testbed/agent/impairments.py",
    "testbed/agent/faults.py",
    "testbed/agent/rewrite.py",
)
TESTS = ("tests/fast",)
PARTS = ("testbed", "tests", "scenarios", "schema", "docs", "examples", "images", "benchmarks")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "compose.yaml", "Makefile", "action.yml")


def copy(paths: list[str], tests: list[str]) -> None:
    """The checkout without its history and results, and what mutmut is to do in it."""
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in PARTS:
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, COPY / name)
    kept = [name for name in (*PARTS, *FILES) if name != "pyproject.toml"]
    settings = {
        "source_paths": ["testbed"],
        "only_mutate": paths,
        "pytest_add_cli_args_test_selection": tests,
        "also_copy": kept,
    }
    lines = [f"{key} =\n" + "".join(f"    {value}\n" for value in values) for key, values in settings.items()]
    (COPY / "setup.cfg").write_text("[mutmut]\n" + "".join(lines))


def main() -> None:
    """Mutate, and print what survived."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", default=list(CORE))
    parser.add_argument("--tests", nargs="*", default=list(TESTS))
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 1) - 1))
    options = parser.parse_args()
    paths = [f"{path}*" if path.endswith("/") else path for path in options.paths]
    copy(paths, options.tests)
    for words in (["run", "--max-children", str(options.jobs)], ["results"]):
        command = [sys.executable, "-m", "mutmut", *words]
        ended = subprocess.run(command, cwd=COPY, check=False, stdout=subprocess.PIPE, text=True)
        # What turns and counts on one line is left out: only how it ended is of use in a log.
        print("\n".join(line.rpartition("\r")[2] for line in ended.stdout.splitlines()))
        if ended.returncode:
            sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
