"""Damaged files by the thousand: nothing but results and typed errors. TESTBED_FUZZ says how many."""

from __future__ import annotations

import os

import pytest

pytest.importorskip("numpy")

from mutations import fuzz, make_seeds, try_file

COUNT = int(os.environ.get("TESTBED_FUZZ", "1500"))


def test_seeds_are_captures() -> None:
    """The files that the fuzzer starts from are read, each in both ways."""
    assert all(try_file(seed, 0) for seed in make_seeds())


def test_damaged_files() -> None:
    """Any damage gives a result or a `UsageError`; most files are still captures."""
    captures, refused = fuzz(COUNT, seed=5)
    assert captures > refused
