"""The kernel's own account of socket states: the tracepoint sock:inet_sock_set_state, in a tracing instance of our own.

It tells every change of a `struct sock`, at once and in order, of all namespaces. It does not tell of request sockets
(SYN_RECV before the handshake is complete) nor of TIME_WAIT, which have structures of their own: a child begins in
SYN_RECV when its handshake completes, and a socket that goes into TIME_WAIT goes to CLOSE here.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVENT = "events/sock/inet_sock_set_state"
MOUNTED = Path("/sys/kernel/tracing")
LINE = re.compile(
    r"\s(?P<seconds>\d+)\.(?P<micros>\d{6}): inet_sock_set_state: .*sport=(?P<sport>\d+) dport=(?P<dport>\d+) "
    r"saddr=(?P<saddr>\S+) daddr=(?P<daddr>\S+) .*oldstate=TCP_(?P<old>\S+) newstate=TCP_(?P<new>\S+)"
)


@dataclass(frozen=True)
class Traced:
    """One change, with its time since the epoch and the socket as sock_diag's events name it."""

    time_ns: int
    socket: str
    before: str
    after: str


@contextmanager
def tracefs(folder: Path) -> Iterator[Path | None]:
    """Where the kernel's tracing can be read; mounted in the folder where it is mounted nowhere; None without any."""
    if (MOUNTED / EVENT).exists():
        yield MOUNTED
        return
    folder.mkdir()
    command = ["mount", "-t", "tracefs", "tracefs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder if (folder / EVENT).exists() else None
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Tracer:
    """A tracing instance that hears the event from now on."""

    def __init__(self, tracing: Path) -> None:
        self._instance = tracing / "instances" / f"testbed-{os.getpid()}"
        self._instance.mkdir()
        (self._instance / "trace_clock").write_text("mono")
        (self._instance / EVENT / "enable").write_text("1")

    def take(self) -> list[Traced]:
        """What has been heard since the last time."""
        since_boot_ns = time.time_ns() - time.monotonic_ns()
        text = (self._instance / "trace").read_text()
        (self._instance / "trace").write_text("")
        return [_traced(match, since_boot_ns) for line in text.splitlines() if (match := LINE.search(line))]

    def close(self) -> None:
        """Hear no more."""
        (self._instance / EVENT / "enable").write_text("0")
        self._instance.rmdir()


def _traced(match: re.Match[str], since_boot_ns: int) -> Traced:
    at_ns = int(match["seconds"]) * 1_000_000_000 + int(match["micros"]) * 1000 + since_boot_ns
    socket = f"{match['saddr']}:{match['sport']} {match['daddr']}:{match['dport']}"
    return Traced(at_ns, socket, match["old"], match["new"])
