"""Scenarios that the hosts' kernel cannot play: counted, told with the reason, and no verdict."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner, Result

from testbed.cli import app
from testbed.errors import LabError, NotApplicable
from testbed.session import Job

SCENARIO = "summary: A listener.\nhosts: {server: {steps: [{listen: 7456}]}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenarios; `old` needs what the kernel lacks, and no lab ever comes up for the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    (tmp_path / "scenarios").mkdir()
    for name in ("old", "broken"):
        (tmp_path / "scenarios" / f"{name}.yaml").write_text(SCENARIO)

    def run(job: Job, *_: object) -> object:
        raise NotApplicable(job.name, "no md5 here") if job.name.startswith("old") else LabError("no lab")

    monkeypatch.setattr("testbed.suite.run_scenario", run)
    return tmp_path


def call(*words: str) -> Result:
    """`testbed run` on netns with these words."""
    return CliRunner().invoke(app, ["run", "--backend", "netns", *words])


def test_alone_it_is_told_with_exit_code_3(here: Path) -> None:
    """Whoever asks for one run, and gets none, is told why; no run folder is left."""
    result = call("old")
    assert result.exit_code == 3
    assert "old is not applicable: no md5 here" in result.output
    assert not list(here.glob("results/*/old"))


def test_of_many_it_is_skipped(here: Path) -> None:
    """It is listed with its reason, skipped in JUnit, and what the others came to is the suite's exit code."""
    result = call("old", "broken", "--junit", "junit.xml")
    assert "not run  old: not applicable: no md5 here" in result.output
    assert "1 unknown, 1 not run" in result.output
    root = ElementTree.parse(here / "junit.xml").getroot()
    assert [one.attrib["message"] for one in root.iter("skipped")] == ["not applicable: no md5 here"]
    assert [one.attrib["errors"] for one in root.iter("testsuite")] == ["1"]
    assert result.exit_code == 3


def test_a_suite_in_which_nothing_ran(here: Path) -> None:
    """Where no scenario is applicable the exit code is 3."""
    (here / "scenarios" / "older.yaml").write_text(SCENARIO)
    assert call("old", "older").exit_code == 3
