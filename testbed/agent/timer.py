"""A timer that the agent's loop can watch beside its other descriptors: timerfd_create(2), in Python since 3.13."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

CLOCK_REALTIME, TFD_TIMER_ABSTIME = 0, 1
SECOND_NS = 1_000_000_000


class Timer:
    """Stands still until it is set; of CLOCK_REALTIME, so that a step of the clock moves it too."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = _checked(self._libc.timerfd_create(CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK))

    def fileno(self) -> int:
        """Readable from the moment that was set."""
        return self._descriptor

    def set(self, at_ns: int) -> None:
        """The moment; one that is past is now, and 0 is never."""
        value = struct.pack("@4l", 0, 0, *divmod(at_ns, SECOND_NS))  # struct itimerspec: no interval
        _checked(self._libc.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME, value, None))

    def hush(self) -> None:
        """Take note that the moment has come: not readable any more."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)

    def close(self) -> None:
        """May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
