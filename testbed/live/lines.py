"""A run line by line, for a log or a pipe: each event as it happens."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from testbed.evidence import Evidence, HostFacts, Record
from testbed.live.telling import Teller, Told, line_of, told_once
from testbed.pcap.frame import Frame
from testbed.report.style import plain


class Lines:
    """Writes to a stream; nothing more once its reader is gone."""

    def __init__(self, stream: TextIO, *, unicode: bool) -> None:
        self._stream = stream
        self._unicode = unicode
        self._teller = Teller({})
        self._origin_ns: int | None = None
        self._is_told: Callable[[Frame], bool] = lambda frame: False

    def begin(self, so_far: Evidence) -> None:
        """A run: times count from its first event."""
        hosts = {facts.address: facts.host for facts in so_far.all(HostFacts)}
        self._teller, self._origin_ns = Teller(hosts, unicode=self._unicode), None
        self._is_told = told_once(so_far)

    def frame(self, frame: Frame) -> None:
        """A packet, once."""
        if self._is_told(frame):
            self._tell(self._teller.frame(frame))

    def record(self, record: Record) -> None:
        """What a host told."""
        self._tell(self._teller.record(record))

    def _tell(self, told: Told | None) -> None:
        if told is None:
            return
        if self._origin_ns is None:
            self._origin_ns = told.time_ns
        with suppress(BrokenPipeError):  # said where the results are printed
            self._stream.write(plain([line_of(told, self._origin_ns or 0)]))
            self._stream.flush()

    def refresh(self) -> None:
        """All is written already."""

    def end(self) -> None:
        """Nothing is held back."""

    def abandon(self) -> None:
        """Nobody is waited for."""
