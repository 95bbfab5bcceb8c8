"""How far this host's clock of the day is ahead of its steady one: what changes only when the day's clock is set.

clock_gettime(2): CLOCK_REALTIME jumps when it is set, CLOCK_MONOTONIC does not; both are slewed alike. So if two looks
at their difference do not agree, times between the two looks do not compare.
"""

from __future__ import annotations

import time

TRIES = 9  # each bounds the difference from both sides; who is interrupted between bounds it loosely, and does no harm


def look() -> dict[str, int]:
    """The difference in nanoseconds is at least `low_ns` and at most `high_ns`."""
    lows, highs = [], []
    for _ in range(TRIES):
        before_ns, day_ns, after_ns = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        lows.append(day_ns - after_ns)
        highs.append(day_ns - before_ns)
    return {"low_ns": max(lows), "high_ns": min(highs)}
