"""The merged capture for another program, as pcapng, while the run goes on.

Each packet is written at once. Who no longer reads ends the writing, and nothing else. A reader that is slow is waited
for, but not when the run was broken off: no more is written at a time than a pipe with room takes without waiting
(PIPE_BUF of pipe(7)).
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from testbed.evidence import Evidence, Record
from testbed.pcap.frame import Frame
from testbed.pcap.writer import write_capture, write_packet
from testbed.verdict.merge import merge

LOOK_MS = 100


class Pipe:
    """Writes to a descriptor; `why_gone` says in words why its reader no longer reads."""

    def __init__(self, descriptor: int, why_gone: Callable[[OSError], str]) -> None:
        self._descriptor = descriptor
        self._why_gone = why_gone
        self._gone = self._abandoned = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def begin(self, so_far: Evidence) -> None:
        """The section's header, with an interface for each vantage point."""
        self._write(write_capture(merge(so_far)))

    def frame(self, frame: Frame) -> None:
        """A packet."""
        self._write(write_packet(frame))

    def record(self, record: Record) -> None:
        """Not of this."""

    def refresh(self) -> None:
        """All is written already."""

    def end(self) -> None:
        """Another run may follow, as a section of its own."""

    def abandon(self) -> None:
        """Wait for the reader no more."""
        self._abandoned = True

    def _write(self, block: bytes) -> None:
        left = memoryview(block)
        while left and not self._gone and not self._abandoned:
            if not self._poll.poll(LOOK_MS):
                continue
            try:
                left = left[os.write(self._descriptor, left[: select.PIPE_BUF]) :]
            except OSError as error:
                self._gone = True
                sys.stderr.write(f"{self._why_gone(error)}; the run goes on without it\n")
