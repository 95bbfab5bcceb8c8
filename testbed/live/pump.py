"""Between a run and those who show it: a thread that puts what comes into the order of time and hands it on.

The run never waits for a terminal or a pipe. Whoever shows is called from this one thread alone.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from testbed.capture_file import Growing
from testbed.clocks import ahead_ns, align_records
from testbed.evidence import (
    ClockFacts,
    Evidence,
    FaultFired,
    LogLine,
    ProgramEnd,
    Record,
    StateSample,
    StepOutcome,
    WireChanged,
)
from testbed.live.merging import Merger, Rank
from testbed.pcap.frame import Frame
from testbed.stop import Stop

TICK_S = 0.05
LAST: Rank = (9, 0)  # behind the packets of the same moment

Piece = tuple[str, bytes]


class Outlet(Protocol):
    """Who shows a run. Frames and records come in order of time."""

    def begin(self, so_far: Evidence) -> None:
        """A run: its hosts, and vantage points with a capture of nothing."""

    def frame(self, frame: Frame) -> None:
        """A frame; its interface is one of those that `merge(so_far)` has."""

    def record(self, record: Record) -> None:
        """What a host told."""

    def refresh(self) -> None:
        """Nothing more is there at the moment."""

    def end(self) -> None:
        """The run has ended."""

    def abandon(self) -> None:
        """Wait for nobody any more. The only call that comes from another thread."""


class Pump:
    """An onlooker that tells outlets."""

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = tuple(outlets)
        self._queue: queue.SimpleQueue[Record | Piece | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, so_far: Evidence) -> None:
        """A run begins."""
        self._queue = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(so_far, self._queue), name="live", daemon=True)
        self._thread.start()

    def heard(self, record: Record) -> None:
        """A host has told something."""
        self._queue.put(record)

    def captured(self, vantage: str, piece: bytes) -> None:
        """A capture's file has grown."""
        self._queue.put((vantage, piece))

    def end(self, stop: Stop) -> None:
        """Wait until all is shown. Raises Interrupted when asked to stop."""
        self._queue.put(None)
        while self._thread and self._thread.is_alive():
            self._thread.join(TICK_S)
            stop.check()

    def abandon(self) -> None:
        """End at once, whoever reads."""
        for outlet in self._outlets:
            outlet.abandon()
        self._queue.put(None)
        if self._thread:
            self._thread.join()

    def _work(self, so_far: Evidence, coming: queue.SimpleQueue[Record | Piece | None]) -> None:
        sorter = _Sorter(so_far)
        for outlet in self._outlets:
            outlet.begin(so_far)
        try:
            while True:
                try:
                    item = coming.get(timeout=TICK_S)
                except queue.Empty:
                    pass
                else:
                    if item is None:
                        break
                    sorter.put(item, time.monotonic_ns())
                self._show(sorter.merger.take(time.monotonic_ns()))
                for outlet in self._outlets:
                    outlet.refresh()
            self._show(sorter.merger.take_all())
        finally:
            for outlet in self._outlets:
                outlet.end()

    def _show(self, things: Iterable[Frame | Record]) -> None:
        for thing in things:
            for outlet in self._outlets:
                if isinstance(thing, Frame):
                    outlet.frame(thing)
                else:
                    outlet.record(thing)


class _Sorter:
    """Makes frames of the pieces of captures, puts all on our clock, and holds it back until it is in order."""

    def __init__(self, so_far: Evidence) -> None:
        from testbed.verdict import merge

        self.merger: Merger[Frame | Record] = Merger()
        self._order = merge
        self._files = {name: Growing() for name in merge.vantages(so_far)}
        self._numbers = {name: number for number, name in enumerate(self._files)}
        self._last_ns = 0
        self._clocks = {clock.host: clock for clock in so_far.all(ClockFacts)}

    def put(self, item: Record | Piece, now_ns: int) -> None:
        """One more thing that came now."""
        if isinstance(item, tuple):
            self._put_frames(*item, now_ns)
        else:
            (item,) = align_records((item,), self._clocks.values())
            self.merger.put(item, _time_ns(item) or self._last_ns, LAST, now_ns)

    def _put_frames(self, vantage: str, piece: bytes, now_ns: int) -> None:
        number, clock = self._numbers[vantage], self._clocks.get(vantage.partition(":")[0])
        for frame in self._files[vantage].take(piece):
            time_ns = frame.time_ns - (ahead_ns(clock, frame.time_ns) if clock else 0)
            self._last_ns = max(self._last_ns, time_ns)
            if not self._order.is_canary(frame, ()):
                rank = self._order.rank(vantage, frame), number
                numbered = Frame(time_ns, frame.data, frame.length, number, frame.direction)
                self.merger.put(numbered, time_ns, rank, now_ns)


def _time_ns(record: Record) -> int | None:
    """When it happened; None where that is not told."""
    match record:
        case StepOutcome():
            return record.end_ns
        case StateSample() | FaultFired() | WireChanged() | LogLine() | ProgramEnd():
            return record.time_ns
        case _:
            return None
