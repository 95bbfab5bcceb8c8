"""Interrupts netns runs at random moments and looks for what they left: SIGINT, SIGTERM, SIGKILL; no cleaning.

Usage: python tests/lab/interrupt_netns.py [--count 20] [--seed 1]

Of each signal so many runs of `hola` are hit, each at a moment between its first word and the time that a whole run
takes. Nothing may be left, and after SIGINT and SIGTERM the exit code is 130, or the signal's own where the lab was
down already. A run that has ended by itself before its moment counts as missed.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from command_driver import PATIENCE_S, processes_of, running, whole_run_s

INTERRUPTED = 130
LAST_WORDS = "taking the lab down"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
ENGINES = ("tb", "veth", "br-")  # interfaces that come and go with other people's containers
OTHERS = "tb"  # named namespaces are of other tests, which may run beside this one: a lab's have no names
VANISHING_S = 5.0  # far more than the kernel needs for killing a pid namespace; a busy machine shall not fail the test


@dataclass(frozen=True, slots=True)
class Strike:
    """One interrupted run: the signal, seconds after its first word, how it ended, how it vanished, what was left."""

    signal: signal.Signals
    after_s: float
    during: str
    exit_code: int
    ended_after_s: float
    vanished_after_s: float
    left: tuple[str, ...]
    said: str

    @property
    def missed(self) -> bool:
        """Whether the run had ended by itself before."""
        return self.exit_code == 0

    @property
    def clean(self) -> bool:
        """Whether it ended as promised and nothing was left."""
        # While the command prints its result the lab is down, and a signal ends it as it ends any command.
        wanted = {0, -self.signal} if self.during == LAST_WORDS or self.signal is signal.SIGKILL else set()
        return not self.left and self.exit_code in wanted | {INTERRUPTED} and "Traceback" not in self.said


def strike(number: signal.Signals, after_s: float, out: Path) -> Strike:
    """Send a signal to a run so many seconds after its first word, and look for what it left.

    SIGINT goes to the whole process group, as Ctrl-C at a terminal does.
    """
    before = traces()
    with running("run", "hola", "--backend", "netns", "--out", out) as process:
        assert process.stderr
        said = process.stderr.readline()
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
        hit = time.monotonic()
        said += process.communicate(timeout=PATIENCE_S)[1]
        ended = time.monotonic()
    stubborn = await_ends(processes_of(process.pid))
    vanished = time.monotonic()
    during = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("hola: ") and "SIG" not in line]
    left = (*(f"process {pid}" for pid in stubborn), *sorted(traces() - before))
    return Strike(number, after_s, (during or [""])[-1], process.returncode, ended - hit, vanished - ended, left, said)


def await_ends(pids: Iterable[int]) -> list[int]:
    """Wait until processes have ended; those that have not in time."""
    deadline = time.monotonic() + VANISHING_S
    return [pid for pid in pids if not _ends(pid, deadline)]


def _ends(pid: int, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0])
    finally:
        os.close(handle)


def traces() -> set[str]:
    """What a lab could leave besides processes: interfaces and named namespaces of the machine, files in /tmp.

    A file of an agent that lives is of somebody else's: processes of ours have ended when this is asked.
    """
    names = (path.name for path in Path("/sys/class/net").iterdir())
    links = {f"interface {name}" for name in names if not name.startswith(ENGINES)}
    spaces = (path.name for path in Path("/run/netns").glob("*"))
    named = {f"namespace {name}" for name in spaces if not name.startswith(OTHERS) and not _decoy(name)}
    folders = {path: path.name.split("-")[2] for path in Path("/tmp").glob("testbed-agent-*") if not _decoy(path.name)}
    return links | named | {f"file {path}" for path, pid in folders.items() if not Path(f"/proc/{pid}").exists()}


def _decoy(name: str) -> bool:
    """Whether it is one of tests/torture/decoys.py, which may stand in another worker."""
    return "decoy" in name or name.endswith("-hola")


def summary(strikes: Sequence[Strike]) -> str:
    """A line for each signal, and every strike that was not clean."""
    lines = []
    for number in SIGNALS:
        mine = [each for each in strikes if each.signal is number]
        if mine:
            lines.append(
                f"{number.name:8} {len(mine):3} runs, {sum(each.clean for each in mine):3} clean, "
                f"{sum(each.missed for each in mine)} missed; the command ended within "
                f"{max(each.ended_after_s for each in mine):.3f} s, all else had vanished "
                f"{max(each.vanished_after_s for each in mine):.3f} s later"
            )
    return "\n".join([*lines, *(f"  NOT CLEAN: {each}" for each in strikes if not each.clean)])


def main() -> None:
    """Interrupt many runs, print what came of it; exit code 1 when one was not clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random, strikes = Random(options.seed), []
    with tempfile.TemporaryDirectory() as folder:
        longest_s = whole_run_s("netns", Path(folder))
        for number in SIGNALS:
            for _ in range(options.count):
                strikes.append(strike(number, random.uniform(0, longest_s), Path(folder)))
    print(f"a whole run takes {longest_s:.2f} s\n{summary(strikes)}")
    sys.exit(any(not each.clean for each in strikes))


if __name__ == "__main__":
    main()
