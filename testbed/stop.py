"""Stopping on Ctrl-C and SIGTERM without losing anything.

Runs go on in threads of their own, where no signal can strike; the main thread hears signals and says so here. A run
looks (`check`) wherever it may end, and whoever waits on a queue is woken. Taking down is never interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testbed.errors import Interrupted


class Stop:
    """Whether the user, or the system, wants us to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], None]] = []
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        """Ask every run to end."""
        with self._lock:
            self.reason = self.reason or reason
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def check(self) -> None:
        """Raise Interrupted when we were asked to end."""
        if self.reason is not None:
            raise Interrupted(f"stopped by {self.reason}")

    @contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """While this lasts, `wake` is called when we are asked to end."""
        with self._lock:
            self._wakers.append(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)
