"""docs/reliability.md and the table of unknowns say the same; every test that the table names is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from page import PAGE, put, ways_table
from unknowns import PROVOKED, WAYS, Way

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_table() -> None:
    """Written by tests/torture/page.py."""
    text = PAGE.read_text(encoding="utf-8")
    assert put(text, "ways", ways_table()) == text


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_is_provoked(way: Way) -> None:
    """By a meddler, or by a test elsewhere that exists; and what must be said is told."""
    assert way.says
    if way.meddler is None:
        file, _, name = way.elsewhere.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_most_are_provoked_for_real() -> None:
    """In a lab, and not with evidence made by hand."""
    assert len(PROVOKED) >= 20
    assert len({way.name for way in WAYS}) == len(WAYS)
