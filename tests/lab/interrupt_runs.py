"""Interrupts runs at random moments and looks for what they left: SIGINT, SIGTERM, SIGKILL with `testbed clean`.

Usage: .venv/bin/python tests/lab/interrupt_runs.py [--count 20] [--seed 1]

Of each signal so many runs of `hola` are hit, each at a moment between its first word and the time that a whole run
takes. After SIGINT and SIGTERM nothing may be left and the exit code is 130; after SIGKILL nothing once `testbed clean`
has run. A run that has come to its verdict before its moment counts as missed, and another takes its place.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from command_driver import PATIENCE_S, leftovers, running, testbed, whole_run_s

if TYPE_CHECKING:
    import docker as docker_module

INTERRUPTED = 130
VERDICT = "checks passed"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Strike:
    """One interrupted run: the signal, seconds after its first word, what it was doing, how it ended, what was left."""

    signal: signal.Signals
    after_s: float
    during: str
    exit_code: int
    took_s: float
    left: tuple[str, ...]
    said: str
    missed: bool  # the run had come to its verdict before

    @property
    def clean(self) -> bool:
        """Whether it ended as promised and nothing was left."""
        wanted = -signal.SIGKILL if self.signal is signal.SIGKILL else INTERRUPTED
        return not self.left and (self.missed or self.exit_code == wanted) and "Traceback" not in self.said


def strike(client: docker_module.DockerClient, number: signal.Signals, after_s: float, out: Path) -> Strike:
    """Send a signal to a run so many seconds after its first word, and look for what it left.

    SIGINT goes to the whole process group, as Ctrl-C at a terminal does.
    """
    with running("run", "hola", "--backend", "compose", "--out", out) as process:
        assert process.stderr
        said = process.stderr.readline()
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            _send(process.pid, number)
        hit = time.monotonic()
        printed, rest = process.communicate(timeout=PATIENCE_S)
        said += rest
        took_s = time.monotonic() - hit
    cleaned = testbed("clean") if number is signal.SIGKILL else None
    if cleaned is not None:
        said += cleaned.stdout + cleaned.stderr
    during = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("hola: ") and "SIG" not in line]
    left = tuple(leftovers(client, process.pid))
    return Strike(number, after_s, during[-1], process.returncode, took_s, left, said, VERDICT in printed)


def _send(pid: int, number: signal.Signals) -> None:
    if number is signal.SIGINT:
        os.killpg(pid, number)
    else:
        os.kill(pid, number)


def summary(strikes: Sequence[Strike]) -> str:
    """A line for each signal, and every strike that was not clean."""
    lines = []
    for number in SIGNALS:
        mine = [each for each in strikes if each.signal is number]
        if not mine:
            continue
        codes = ", ".join(f"{code}: {times}" for code, times in sorted(Counter(s.exit_code for s in mine).items()))
        slowest = max(each.took_s for each in mine)
        lines.append(
            f"{number.name:8} {len(mine):3} runs, {sum(each.missed for each in mine)} of them missed, "
            f"{sum(each.clean for each in mine):3} clean; exit codes {codes}; slowest end {slowest:.1f} s"
        )
    lines += [f"  NOT CLEAN: {each}" for each in strikes if not each.clean]
    return "\n".join(lines)


def main() -> None:
    """Interrupt many runs, print what came of it; exit code 1 when one was not clean."""
    from testbed.lab.engine import connect

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random, client = Random(options.seed), connect()
    strikes: list[Strike] = []
    with tempfile.TemporaryDirectory() as folder:
        whole_s = min(whole_run_s("compose", Path(folder)) for _ in range(3))
        for number in SIGNALS:
            while sum(each.signal is number and not each.missed for each in strikes) < options.count:
                strikes.append(strike(client, number, random.uniform(0, whole_s), Path(folder)))
                last = strikes[-1]
                print(
                    f"{last.signal.name:8} after {last.after_s:5.2f} s  exit {last.exit_code:4}  {last.during}",
                    flush=True,
                )
    client.close()
    print(f"a whole run takes {whole_s:.1f} s\n{summary(strikes)}")
    sys.exit(any(not each.clean for each in strikes))


if __name__ == "__main__":
    main()
