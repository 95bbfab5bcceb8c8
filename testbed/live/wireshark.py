"""A running Wireshark that is given the packets of a run as they come (wireshark(1): -k starts at once, -i - reads)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from testbed.errors import LabError
from testbed.live.pipe import Pipe

COMMAND = ("wireshark", "-k", "-i", "-")
KEPT = 300  # characters of what it said


@contextmanager
def wireshark() -> Iterator[Pipe]:
    """Start one, which stays open when this ends. Raises LabError where it is not installed."""
    program = shutil.which(COMMAND[0])
    if program is None:
        raise LabError(
            "wireshark is not installed, or not in PATH",
            remedy="apt-get install wireshark; or see the packets on another machine: "
            "ssh HOST testbed run SCENARIO --pcap - | wireshark -k -i -",
        )
    with tempfile.TemporaryFile() as said:
        # A session of its own: Ctrl-C ends the run, and leaves the window with its packets.
        process = subprocess.Popen(
            (program, *COMMAND[1:]), stdin=subprocess.PIPE, stdout=said, stderr=said, start_new_session=True
        )
        assert process.stdin

        def why_gone(error: OSError) -> str:
            with suppress(subprocess.TimeoutExpired):
                process.wait(1)
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())[-KEPT:]
            return f"wireshark has ended ({words or f'exit code {process.returncode}'})"

        try:
            yield Pipe(process.stdin.fileno(), why_gone)
        finally:
            with suppress(OSError):
                process.stdin.close()
