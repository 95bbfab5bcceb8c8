"""Running commands: the one place that does. A command is a list; its failure shows all that it said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.errors import CommandFailed, LabError


def run_command(
    command: Sequence[str],
    *,
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    remedy: str = "",
) -> str:
    """Run a command and give its standard output.

    The command gets a session of its own, so that a Ctrl-C at the terminal reaches only us: what is being made must
    finish before it can be taken down. Raises CommandFailed when it ends with another code than 0, LabError when it
    cannot be started or takes longer than the limit.
    """
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed", remedy=remedy) from error
    except PermissionError as error:
        raise LabError(f"{command[0]} may not be run: {error.strerror}", remedy=remedy) from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"`{' '.join(command)}` did not end within {timeout_s:g} s", remedy=remedy) from error
    if done.returncode != 0:
        raise CommandFailed(command, done.returncode, done.stdout, done.stderr, remedy=remedy)
    return done.stdout
