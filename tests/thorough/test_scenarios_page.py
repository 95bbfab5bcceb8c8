"""docs/scenarios.md says of every scenario what its file says now, and shows a run of each."""

from __future__ import annotations

from pathlib import Path

from testbed.docs import make_page
from testbed.files import scenario_files
from testbed.report.catalogue import NO_RUN, recorded

PAGE = Path(__file__).parents[2] / "docs" / "scenarios.md"


def test_page_is_of_these_files() -> None:
    """What comes from the files is as they are; `make docs` mends it."""
    page = PAGE.read_text(encoding="utf-8")
    assert make_page(page, None) == page, "the page is of other files than these: run `make docs`"


def test_every_scenario_shows_a_run() -> None:
    """None is left without the ladder of a real run."""
    runs = recorded(PAGE.read_text(encoding="utf-8"))
    assert set(runs) == {path.stem for path in scenario_files()}
    assert [name for name, run in runs.items() if run == NO_RUN] == []
