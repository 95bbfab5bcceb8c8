"""What the testbed says when it cannot do its job.

The network misbehaving is data (a check that failed), never an exception. An exception means that
the testbed itself could not go on, and its class says whose fault that is:

* `UsageError`: your command line or your file; exit code 2.
* `LabError`: the engine, the image, tc, a disk; exit code 3.
* `BlindError`: we could not see well enough to judge; exit code 3.
* `NotApplicable`: nobody's, the hosts' kernel lacks what the scenario requires; exit code 3 when nothing else ran.
* `Interrupted`: you, or the system, asked us to stop; exit code 130.

Every one names the place in its message and says what to do about it in `remedy`.
"""

from __future__ import annotations

from collections.abc import Sequence


class TestbedError(Exception):
    """The testbed could not do its job: one sentence what, one sentence what to do."""

    exit_code = 3
    __test__ = False  # the name starts with Test; pytest shall not collect it

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class UsageError(TestbedError):
    """The command line or a file of yours asks for something that cannot be."""

    exit_code = 2


class LabError(TestbedError):
    """The engine, an image, a tool or the disk refused."""


class BlindError(LabError):
    """The lab runs, but we cannot see what happens in it."""


class NotApplicable(TestbedError):
    """The hosts' kernel lacks what the scenario requires: it was not played, and is neither passed nor failed."""

    def __init__(self, scenario: str, why: str) -> None:
        super().__init__(f"{scenario} is not applicable: {why}")
        self.why = why


class Interrupted(TestbedError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130


class CommandFailed(LabError):
    """A command ended with a code other than 0; carries all that it said."""

    def __init__(self, command: Sequence[str], exit_code: int, stdout: str, stderr: str, *, remedy: str = "") -> None:
        self.command = tuple(command)
        self.command_exit_code = exit_code
        self.stdout = stdout
        self.stderr = stderr
        said = (stderr.strip() or stdout.strip() or "nothing").splitlines()[-12:]
        shown = "\n    ".join(said)
        super().__init__(
            f"`{' '.join(command)}` ended with exit code {exit_code} and said:\n    {shown}", remedy=remedy
        )
