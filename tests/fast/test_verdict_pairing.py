"""Equal packets seen early and late: which is which, by time alone."""

from __future__ import annotations

import pytest

from testbed.verdict.pairing import pair


@pytest.mark.parametrize(
    ("starts", "ends", "least", "pairs"),
    [
        ([], [], (0,), ()),
        ([0], [], (0,), ()),
        ([], [5], (0,), (None,)),
        ([5], [5], (0,), (0,)),
        ([6], [5], (0,), (None,)),
        # Each keeps its place among its copies.
        ([0, 10], [12, 22], (12,), (0, 1)),
        ([0, 10, 20], [21, 22, 23], (0,), (0, 1, 2)),
        # Where copies were lost, the most recent one is it that can be.
        ([0, 10], [12], (0,), (1,)),
        ([0, 10], [12], (3,), (0,)),
        ([0, 10, 20], [12, 25], (0,), (1, 2)),
        ([0, 10], [12], (2,), (1,)),
        ([0, 10], [12], (12,), (0,)),
        ([0, 10], [12], (13,), (None,)),
        # The earlier of two that come from one is the original.
        ([0], [10, 12], (0,), (0, None)),
        ([10], [10, 12], (0,), (0, None)),
        ([0], [10, 12], (10,), (0, None)),
        ([0, 100], [10, 12, 110], (0,), (0, None, 1)),
        ([0, 100], [110, 112], (0,), (0, 1)),
        ([0, 100], [110, 112, 114], (0,), (0, 1, None)),
        ([50], [10, 60], (0,), (None, 0)),
        ([50], [10, 60, 61], (0,), (None, 0, None)),
        # The clocks differ: what is negative may come before.
        ([10], [5], (-5,), (0,)),
        ([10], [4], (-5,), (None,)),
        ([10], [4, 20], (-5,), (None, 0)),
        # Further values are tried only while starts and ends are both left over.
        ([10], [4], (-5, -6), (0,)),
        ([10], [4], (-5, -5), (None,)),
        ([0, 10], [12], (0, -100), (1,)),
        ([0, 10, 60], [5, 12, 55], (0, -10), (0, 1, 2)),
        ([10], [4, 12], (0, -10), (None, 0)),
        ([10, 20], [4, 12, 13], (0, -10), (0, 1, None)),
        ([10], [4], (-5, -6, -100), (0,)),
    ],
)
def test_pairs(starts: list[int], ends: list[int], least: tuple[int, ...], pairs: tuple[int | None, ...]) -> None:
    """For each end, the start that it comes from."""
    assert pair(starts, ends, *least) == pairs
