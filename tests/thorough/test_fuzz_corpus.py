"""What the fuzzer has kept: its corpus, and every input that once broke something. Nothing does any more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from saying import listen_to

sys.path.append(str(Path(__file__).parents[1] / "torture" / "fuzz"))

from targets import WHERE, find_target, kept

CASES = [(target, name, data) for target in WHERE for name, data in kept(target)]


@pytest.mark.parametrize(("target", "data"), [(target, data) for target, _, data in CASES], ids=[c[1] for c in CASES])
def test_kept(target: str, data: bytes) -> None:
    """A result, or a typed error."""
    find_target(target).run(data)
    if target == "agent":
        listen_to(data + b"\n", in_full=True)


@pytest.mark.parametrize("target", WHERE)
def test_seeds(target: str) -> None:
    """The first of what the fuzzer starts from is taken too."""
    for data, _ in zip(find_target(target).seeds(), range(3), strict=False):
        find_target(target).run(data)


def test_something_is_kept() -> None:
    """The folders are found."""
    assert len(CASES) > 30
