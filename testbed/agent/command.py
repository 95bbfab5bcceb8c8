"""Commands of iproute2, ip(8) and tc(8), in this network namespace: run, refused in words, and read as data."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Sequence
from typing import Any

TIMEOUT_S = 20


class CommandRefused(OSError):
    """A command ended with a code other than 0: `command`, `exit_code`, `output`."""

    def __init__(self, command: Sequence[str], exit_code: int, output: str, given: str = "") -> None:
        self.command = tuple(command)
        self.exit_code = exit_code
        self.output = output.strip()
        failed = re.search(r"Command failed -:(\d+)", output)
        self.line = int(failed[1]) if failed else 0  # of a batch, from 1; 0: no batch, or it does not say
        number = errno.EPERM if "Operation not permitted" in output else errno.EIO
        asked = f" given `{given.strip()}`" if given else ""
        super().__init__(
            number,
            f"`{' '.join(command)}`{asked} ended with exit code {exit_code} and said: {self.output or 'nothing'}",
        )


def run(command: Sequence[str], given: str = "") -> str:
    """Run a command and return what it printed. Raises CommandRefused, and OSError where it is not installed."""
    import subprocess  # slow to load, and needed by few hosts

    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"`{' '.join(command)}` did not end within {TIMEOUT_S} s") from None
    if done.returncode:
        raise CommandRefused(command, done.returncode, f"{done.stderr}{done.stdout}", given)
    return done.stdout


def batch(program: str, lines: Sequence[str]) -> None:
    """Do many commands of `ip` or `tc` in one process; it ends at the first that is refused. Raises OSError."""
    run([program, "-batch", "-"], "\n".join(lines) + "\n")


def show(*command: str) -> list[dict[str, Any]]:
    """What a command prints as JSON; nothing is an empty list. Raises OSError."""
    shown: list[dict[str, Any]] = json.loads(run(command) or "[]")
    return shown


def show_all(*command: str, lines: Sequence[str]) -> list[str]:
    """What each line of a batch prints, as the text of one JSON value for each. Raises OSError."""
    rest = run([*command, "-j", "-batch", "-"], "\n".join(lines) + "\n").strip()
    texts = []
    while rest:
        _, end = json.JSONDecoder().raw_decode(rest)
        texts.append(rest[:end])
        rest = rest[end:].lstrip()
    if len(texts) != len(lines):
        raise OSError(errno.EIO, f"`{' '.join(command)} -batch` gave {len(texts)} answers to {len(lines)} questions")
    return texts
