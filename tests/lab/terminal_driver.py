"""Runs the `testbed` command on a terminal of its own (pty(7)), for the tests of this folder."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping

from command_driver import COMMAND, ROOT

TERMINAL = {"TERM": "xterm-256color"}


def on_terminal(
    *words: str,
    columns: int = 0,
    exit_code: int = 0,
    environment: Mapping[str, str] = TERMINAL,
    interrupt_at: str = "",
) -> str:
    """What the command writes to a terminal that is its standard input, output and error.

    Once it has written `interrupt_at`, it is sent SIGINT.
    """
    ours, its = pty.openpty()
    if columns:
        fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    clear = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM", "COLUMNS")}
    with subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, env={**clear, **TERMINAL, **environment}, stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        printed = b""
        while got := _read(ours):
            printed += got
            if interrupt_at and interrupt_at.encode() in printed:
                process.send_signal(signal.SIGINT)
                interrupt_at = ""
    os.close(ours)
    assert process.returncode == exit_code, printed
    return printed.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: the other end is closed
        return b""
