"""Putting what several hosts tell into the order of time while it still comes. Pure: the time is an argument.

Each vantage point tells in its own order and with its own delay. What has come is held back for `WINDOW_NS`, and what
came later but happened before goes ahead of it. What is later than that is let through at once, out of order: it is
never lost. Theirs and our clock are not compared: a thing's time orders it, when it came says how long it was held.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")
Rank = tuple[int, int]

WINDOW_NS = 200_000_000


class Merger(Generic[T]):
    """Things by their time; where times are equal by their rank, then as they came."""

    def __init__(self, window_ns: int = WINDOW_NS) -> None:
        self._window_ns = window_ns
        self._numbers = count()
        self._held: list[tuple[int, Rank, int, T]] = []
        self._came: deque[tuple[int, int]] = deque()  # when something came, and its time
        self._due_ns = -1  # what happened until then goes

    def __len__(self) -> int:
        return len(self._held)

    def put(self, thing: T, time_ns: int, rank: Rank, now_ns: int) -> None:
        """One more, which came now."""
        heapq.heappush(self._held, (time_ns, rank, next(self._numbers), thing))
        self._came.append((now_ns, time_ns))

    def take(self, now_ns: int) -> Iterator[T]:
        """What has been held long enough, and all that happened before it."""
        while self._came and self._came[0][0] + self._window_ns <= now_ns:
            self._due_ns = max(self._due_ns, self._came.popleft()[1])
        while self._held and self._held[0][0] <= self._due_ns:
            yield heapq.heappop(self._held)[3]

    def take_all(self) -> Iterator[T]:
        """Everything that is left."""
        while self._held:
            yield heapq.heappop(self._held)[3]
        self._came.clear()
