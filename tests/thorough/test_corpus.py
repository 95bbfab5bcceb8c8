"""Every situation of the corpus (tests/captures) is told as its expectation says, which was written from the rules."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from testbed.analyze import Analyzer

sys.path.insert(0, str(Path(__file__).parents[1]))  # the corpus is the package tests/captures
from captures.corpus import CASES, Case, differences

MANY = 80  # situations that there must be at least
FILES = {"make.py", "expected.json", "why.txt"}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@cache
def told(case: Case) -> dict[str, Any]:
    """What we say of a case; asked for more than once."""
    return case.told()


@each_case
def test_told_as_expected(case: Case) -> None:
    """The analysis agrees with every key of the expectation."""
    found = differences(case.expected, told(case))
    assert not found, "\n".join([case.name, *found])


@each_case
def test_the_fast_way_says_the_same(case: Case) -> None:
    """The way of large captures, in columns, says the same as the careful one, every key and word."""
    pytest.importorskip("numpy", reason="the fast way needs numpy")
    assert case.told(columns=True) == told(case)


@each_case
@pytest.mark.parametrize("size", [1, 61])
def test_any_chunks_say_the_same(case: Case, size: int) -> None:
    """However a capture comes in, byte by byte or in odd pieces, the same is said of its connections."""
    data = case.capture.read_bytes()
    pieces = (data[start : start + size] for start in range(0, len(data), size))
    connections = Analyzer(pieces, columns=False).connections()
    whole = Analyzer((data,), columns=False).connections()
    assert list(connections) == list(whole)


@each_case
def test_the_capture_is_what_make_makes(case: Case) -> None:
    """`make.py` gives the committed capture, byte for byte."""
    assert case.make() == case.capture.read_bytes(), "cd tests && python -m captures " + case.name


def test_every_folder_is_whole() -> None:
    """Each folder holds a capture, how it is made, what is expected and one line why; and there are many."""
    folders = [path for path in (Path(__file__).parents[1] / "captures").iterdir() if path.is_dir()]
    assert {path.name for path in folders} - {"__pycache__"} == {case.name for case in CASES}
    for case in CASES:
        there = {path.name for path in case.folder.iterdir()} - {"__pycache__"}
        assert there == FILES | {case.capture.name}, case.name
        assert (case.folder / "why.txt").read_text().count("\n") == 1, case.name
    assert len(CASES) >= MANY


def test_whys_differ() -> None:
    """No situation stands there twice under two names."""
    whys = [(case.folder / "why.txt").read_text() for case in CASES]
    assert len(set(whys)) == len(whys)


@each_case
def test_a_wrong_expectation_is_noticed(case: Case) -> None:
    """Whichever value of the expectation is changed, one difference more is told, and it names the key."""
    before = set(differences(case.expected, told(case)))
    for path, wrong in _mutations(case.expected):
        after = set(differences(wrong, told(case)))
        assert any(line.startswith(f"{path}: expected") for line in after - before), f"{path} was not looked at"


def _mutations(expected: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of an expectation, each with one value changed."""
    for path in list(_leaves(expected, ())):
        wrong = copy.deepcopy(expected)
        place: Any = wrong
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = _other(place[path[-1]])
        yield ".".join(str(key) for key in path), wrong
    yield "connections", {**expected, "connections": [*expected["connections"], {}]}


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    """Where the values are that are compared as a whole."""
    if isinstance(value, dict) and path != ("skipped",):
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list) and path == ("connections",):
        for index, below in enumerate(value):
            yield from _leaves(below, (*path, index))
    else:
        yield path


def _other(value: Any) -> Any:
    """A value that differs from this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1000  # not by chance what we say
    if isinstance(value, list):
        return [*value, "another"]
    return {**value, "another": 1} if isinstance(value, dict) else f"not {value}"
