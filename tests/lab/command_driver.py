"""Runs the `testbed` command as a person does, and looks for what a run may have left, for the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.lab.owner import OWNER_LABEL, OWNER_VARIABLE, RUN_LABEL

if TYPE_CHECKING:
    import docker as docker_module

ROOT = Path(__file__).parents[2]
PATIENCE_S = 120.0
TRIES = 3
UNKNOWN = 3  # the exit code
RETRIES = ("--retries", "2")  # a busy machine's wire is late now and then: unknown, and played again
COMMAND = (sys.executable, "-m", "testbed")
WIDE = {"COLUMNS": "300"}  # so that no path, however deep the test's folder, is cut in two at the end of a line
SEEDS = (
    "bind-only",
    "connection-table",
    "got-connection",
    "hello",
    "hola",
    "lifecycle",
    "server-unavailable",
    "udp-hello",
    "who-shook-hands",
)


@dataclass(frozen=True, slots=True)
class Seeds:
    """How `testbed run --tag seed` went, and where the run folders are."""

    ended: subprocess.CompletedProcess[str]
    out: Path

    def folder(self, name: str) -> Path:
        """A scenario's run folder."""
        return self.out / "latest" / name


def testbed(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in the checkout and give its exit code, standard output and standard error."""
    return testbed_within(PATIENCE_S, *words, **environment)


def testbed_within(patience_s: float, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same with another limit, in seconds."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **WIDE, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )


def seen(patience_s: float, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same, all of it once more where a busy machine kept something from being seen; what has failed has failed."""
    for _ in range(TRIES - 1):
        if (ended := testbed_within(patience_s, *words, **environment)).returncode != UNKNOWN:
            return ended
    return testbed_within(patience_s, *words, **environment)


testbed.__test__ = False  # type: ignore[attr-defined]  # the name starts with test; it is none
testbed_within.__test__ = False  # type: ignore[attr-defined]


def last_try(out: Path, name: str) -> Path:
    """The run folder of a scenario's last try; whatever was tried before it was unknown, and not failed."""
    tries = [out / name, *sorted(out.glob(f"{name}-retry-[0-9]"))]
    verdicts = [json.loads((folder / "result.json").read_text())["verdict"] for folder in tries]
    assert set(verdicts[:-1]) <= {"unknown"}, verdicts
    return tries[-1]


@contextmanager
def running(*words: str | Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command while it runs, in a process group of its own; it has ended when this ends."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **WIDE, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE_S)


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """The lines of standard error up to the one that has these words."""
    assert process.stderr
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            return lines
    raise AssertionError(f"the command ended without saying {words!r}; it said: {''.join(lines)}")


def leftovers(client: docker_module.DockerClient, pid: int) -> list[str]:
    """The containers, networks and processes that a `testbed` of this pid has made and that are still there."""
    filters = {"label": [RUN_LABEL, OWNER_LABEL]}
    made = [*client.api.containers(all=True, filters=filters), *client.api.networks(filters=filters)]
    mine = [each for each in made if each["Labels"][OWNER_LABEL].split("/")[3] == str(pid)]
    named = [str(each.get("Name") or each.get("Names")) for each in mine]
    return [*named, *(f"process {number}" for number in processes_of(pid))]


def processes_of(owner: int) -> list[int]:
    """The processes that a testbed of this pid has started and that still live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        owners = [text.split(b"/") for text in variables if text.startswith(f"{OWNER_VARIABLE}=".encode())]
        if any(parts[3:4] == [str(owner).encode()] for parts in owners):
            found.append(int(entry.name))
    return found


def whole_run_s(backend: str, out: Path) -> float:
    """Seconds from a run's first word to its end."""
    with running("run", "hola", "--backend", backend, "--out", out) as process:
        assert process.stderr
        process.stderr.readline()
        start = time.monotonic()
        process.communicate(timeout=PATIENCE_S)
    return time.monotonic() - start
