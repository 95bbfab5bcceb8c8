"""Where the reports on a suite go: files that were asked for, and GitHub where we run in one of its actions."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed.files import disk_errors, write_whole
from testbed.report.cases import Suite
from testbed.report.repeats import Repeats
from testbed.suites.artifacts import save_artifacts

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Outlets:
    """What was asked for on the command line; `github` is None where the environment shall decide."""

    junit: Path | None = None
    tap: Path | None = None
    summary: Path | None = None
    artifacts: Path | None = None
    artifacts_mib: int = 100
    github: bool | None = None

    def write(self, suite: Suite, repeats: Sequence[Repeats]) -> None:
        """Write all of it. Raises LabError where a file cannot be written."""
        texts: tuple[tuple[Path | None, Callable[[], str]], ...] = (
            (self.junit, lambda: _junit(suite)),
            (self.tap, lambda: _tap(suite)),
            (self.summary, lambda: _summary(suite, repeats)),
        )
        for path, render in texts:
            if path is not None:
                write_report(path, render())
        if self.artifacts is not None:
            save_artifacts(self.artifacts, suite, self.artifacts_mib * MIB)
        if self.github if self.github is not None else in_github_action(os.environ):
            tell_github(suite, repeats, os.environ, sys.stderr)


def _junit(suite: Suite) -> str:
    from testbed.report.junit import junit_xml

    return junit_xml(suite)


def _tap(suite: Suite) -> str:
    from testbed.report.tap import tap_text

    return tap_text(suite)


def _summary(suite: Suite, repeats: Sequence[Repeats]) -> str:
    from testbed.report.suite_json import suite_json

    return suite_json(suite, repeats)


def save_index(suite: Suite) -> None:
    """Write the page that leads to the report of every run, beside their folders."""
    folders = {Path(case.folder).parent for case in suite.ran if case.folder}
    if folders:
        from testbed.report.index import INDEX, render_index

        write_report(min(folders) / INDEX, render_index(suite))


def write_report(path: Path, text: str) -> None:
    """Write a report whole, in a folder that is made where it is missing."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())


def in_github_action(environment: Mapping[str, str]) -> bool:
    """Whether we run in one of GitHub's actions, which sets this."""
    return environment.get("GITHUB_ACTIONS") == "true"


def tell_github(suite: Suite, repeats: Sequence[Repeats], environment: Mapping[str, str], stream: TextIO) -> None:
    """Annotate the lines of scenario files, and add to the step's summary.

    The runner hears its commands on standard error too; standard output stays free for results.
    """
    from testbed.report.github import SUMMARY_LIMIT, annotate, step_summary

    workspace = environment.get("GITHUB_WORKSPACE", "")
    for line in annotate(suite, from_root=lambda file: _from_root(file, workspace)):
        stream.write(f"{line}\n")
    stream.flush()
    path = Path(environment.get("GITHUB_STEP_SUMMARY") or os.devnull)
    with disk_errors(path):
        taken = path.stat().st_size if path.is_file() else 0
        with path.open("a", encoding="utf-8") as file:
            file.write(step_summary(suite, repeats, limit=SUMMARY_LIMIT - taken))


def _from_root(file: str, workspace: str) -> str:
    """A file's name from the root of the repository, if it is in it."""
    try:
        return Path(file).resolve().relative_to(Path(workspace).resolve()).as_posix() if workspace else file
    except (OSError, ValueError):
        return file
