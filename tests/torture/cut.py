"""The testbed's command with its power cut at one of the points where it writes, and all those points one by one.

Usage: python tests/torture/cut.py POINT FOLDER WORDS...      as `testbed WORDS...`; POINT 0 cuts nowhere, and counts

A point is just before a change below FOLDER, as Python's audit events tell of it (PEP 578: a file opened for writing, a
folder or link made, a rename, a removal, new permissions), and in the middle of each file's content. There the process
ends by SIGKILL: nothing of it is done any more, no buffer is flushed. What the disk itself does with the last writes
when a machine loses its power is not tried by this.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import IO, Any

from command_driver import PATIENCE_S, ROOT, WIDE, processes_of, testbed
from interrupt_netns import await_ends
from kills import look
from unknowns import write_scenario

COUNTED = "points: "
WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = ("os.mkdir", "os.rename", "os.symlink", "os.chmod", "os.remove", "os.rmdir")


# ---------------------------------------------------------------- inside the process that is cut


class Power:
    """Counts the points, and cuts at one."""

    def __init__(self, at: int, folder: str) -> None:
        self.at = at
        self.folder = folder
        self.seen = 0

    def point(self) -> None:
        """Here something is about to be written."""
        self.seen += 1
        if self.seen == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event of Python's."""
        changes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING)
        if changes and any(str(one).startswith(self.folder) for one in arguments[:2]):
            self.point()

    def open(self, handle: int, mode: str) -> Halved:
        """In place of os.fdopen, for whole files."""
        return Halved(os.fdopen(handle, mode), self)


class Halved:
    """A file whose content is written in two parts, with a point between."""

    def __init__(self, file: IO[bytes], power: Power) -> None:
        self._file, self._power = file, power

    def __enter__(self) -> Halved:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        """Both parts."""
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        self._power.point()
        self._file.write(content[len(content) // 2 :])


def run_cut(at: int, folder: str, words: Sequence[str]) -> None:
    """Be the command."""
    from testbed import files
    from testbed.__main__ import main

    power = Power(at, folder)
    setattr(files, "os", SimpleNamespace(**{**vars(os), "fdopen": power.open}))  # noqa: B010 (mypy: it is not exported)
    sys.addaudithook(power.hear)
    sys.argv = ["testbed", *words]
    try:
        main()
    finally:
        print(f"{COUNTED}{power.seen}", file=sys.stderr)


# ---------------------------------------------------------------- around it


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut: at which point, how the command ended, what it left as a verdict, what is wrong."""

    point: int
    exit_code: int
    verdict: str
    said: str
    wrong: tuple[str, ...]

    @property
    def hit(self) -> bool:
        """Whether it came to that point."""
        return self.exit_code == -signal.SIGKILL


def cut(point: int, scenario: Path, out: Path) -> Cut:
    """A run on netns that is cut at a point; its results go to a folder that others share."""
    mine = Path(tempfile.mkdtemp(dir=out))
    command = [sys.executable, __file__, str(point), str(mine)]
    command += ["run", str(scenario), "--backend", "netns", "--engine", "portable", "--out", str(mine)]
    environment = {**os.environ, **WIDE, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    printed, said = process.communicate(timeout=PATIENCE_S)
    verdict, wrong = look(mine)
    wrong += [f"process {pid} is left" for pid in await_ends(processes_of(process.pid))]
    wrong += ["a traceback"] * ("Traceback" in said)
    wrong += [f"exit code {process.returncode}: {said[-300:]}"] * (process.returncode not in (0, 3, -signal.SIGKILL))
    again = testbed("run", scenario, "--backend", "netns", "--engine", "portable", "--out", mine)
    wrong += [f"the next run there ended with {again.returncode}"] * (again.returncode not in (0, 3))
    wrong += [f"and then {says}" for says in look(mine)[1]]
    wrong += ["latest leads nowhere"] * (not (mine / "latest" / scenario.stem / "result.json").exists())
    return Cut(point, process.returncode, verdict, said + printed, tuple(wrong))


def count_points(scenario: Path, out: Path) -> int:
    """How many points a whole run has."""
    said = cut(0, scenario, out).said
    return int(said.partition(COUNTED)[2].split()[0])


def cut_everywhere(every: int, jobs: int) -> tuple[int, list[Cut]]:
    """How many points there are, and a run that is cut at each `every`th of them."""
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(max_workers=jobs) as pool:
        scenario, out = write_scenario(Path(name)), Path(name)
        points = count_points(scenario, out)
        return points, list(pool.map(lambda point: cut(point, scenario, out), range(1, points + 1, every)))


def summary(points: int, cuts: Sequence[Cut]) -> str:
    """The counts in a line, then what is wrong."""
    whole = sum(bool(one.verdict) for one in cuts)
    line = (
        f"{points} points where a run writes, {len(cuts)} runs, {sum(one.hit for one in cuts)} cut "
        f"({whole} with their result.json, all others with none), {sum(bool(one.wrong) for one in cuts)} wrong"
    )
    return "\n".join([line, *(f"  WRONG: {one}" for one in cuts if one.wrong)])


if __name__ == "__main__":
    run_cut(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
