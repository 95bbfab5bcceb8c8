"""Commands, and work done inside a named network namespace, for the tests of this folder."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
from collections.abc import Iterator

from testbed.agent import spares


def run(*command: str) -> str:
    """Run a command; what it printed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Do what follows in a network namespace: sockets and processes made there stay there."""
    spares.end()  # they are of another
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as away:  # noqa: PTH123
        assert libc.setns(away.fileno(), 0) == 0
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0
