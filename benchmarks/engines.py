"""How long the catalogue takes on one and on two engines of the same machine, and what each run costs.

Usage: PYTHONPATH=tests/lab python -m benchmarks.engines [--jobs N] [--tag T]    (root, a quiet machine, 6 minutes)

Both engines share this machine's cores, its memory and its disk with each other and with the orchestrator: two of them
can be faster than one only where runs wait for something else than a core (TCP's timers, mostly), and the same number
of runs at a time may gain as much on one engine, which is measured too where time allows. What carries over to machines
of their own is the cost per run here: processor time of the orchestrator, of the engine's daemons, and of the
containers. The model for 50 engines is made of these. What is printed is what docs/multi-machine.md says.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm_pair import CGROUPS, Engine, swarm, why_not

ROOM_S = 420.0  # what one more measurement must fit into, with those before it
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """One suite: seconds in all, how many runs, the longest, and the processor seconds of each part."""

    engines: int
    jobs: int  # at a time on each
    seconds: float
    runs: int
    passed: int
    longest_s: float
    orchestrator_s: float
    daemons_s: float
    containers_s: float

    def row(self) -> str:
        """A row of the table."""
        costs = (self.orchestrator_s, self.daemons_s, self.containers_s)
        cells = [f"{self.engines}, {self.jobs} at a time", f"{self.passed} of {self.runs}", f"{self.seconds:.1f} s"]
        return f"| {' | '.join([*cells, *(f'{cost / max(1, self.runs):.2f} s' for cost in costs)])} |"


HEAD = """\
| engines | passed | time | orchestrator, per run | engine's daemons, per run | containers, per run |
|---|---|---|---|---|---|"""
RUNS = 1000  # of the model
ENGINES = (1, 2, 3, 10, 50)


def model(one: Measured, engines: int, orchestrators: int) -> float:
    """Seconds that `RUNS` runs would take on machines of their own, each as this one was with one engine."""
    in_lab_s = one.seconds * one.jobs / one.runs  # of a run, with so many others beside it
    orchestrator_s = one.orchestrator_s / one.runs
    return max(RUNS * in_lab_s / (engines * one.jobs), RUNS * orchestrator_s / orchestrators, one.longest_s)


def say_model(one: Measured) -> list[str]:
    """What the model comes to."""
    in_lab_s, cost_s = one.seconds * one.jobs / one.runs, one.orchestrator_s / one.runs
    most = in_lab_s / (cost_s * one.jobs)
    told = [
        f"s = {in_lab_s:.2f} s, c = {cost_s:.2f} s, j = {one.jobs}, the longest run {one.longest_s:.1f} s: "
        f"one orchestrator keeps up with s / (c * j) = {most:.1f} such engines"
    ]
    for engines in ENGINES:
        needed = math.ceil(engines / most)
        told.append(
            f"{RUNS} runs on {engines} engines: {model(one, engines, 1):.0f} s with one orchestrator, "
            f"{model(one, engines, needed):.0f} s with {needed}"
        )
    return told


def measure(engines: Sequence[Engine], chosen: Sequence[str], jobs: int) -> Measured:
    """Play a suite on these engines, so many runs at a time on each."""
    with tempfile.TemporaryDirectory(prefix="testbed-engines-") as name:
        summary = Path(name) / "summary.json"
        command = [sys.executable, "-m", "testbed", "run", *chosen, "--jobs", str(jobs), "--out", name]
        command += ["--engines", ",".join(engine.url for engine in engines), "--summary", str(summary)]
        before = {engine.name: daemon_s(engine) for engine in engines}
        contained = sum(container_s(engine) for engine in engines)
        own, start = os.times(), time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        seconds, now = time.perf_counter() - start, os.times()
        if done.returncode not in (0, 1, 3):
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
        told: dict[str, Any] = json.loads(summary.read_text())
    cases = [case for case in told["cases"] if case["seconds"]]
    return Measured(
        len(engines),
        jobs,
        seconds,
        len(cases),
        sum(case["verdict"] == "passed" for case in cases),
        max(case["seconds"] for case in cases),
        now.children_user + now.children_system - own.children_user - own.children_system,
        sum(daemon_s(engine) - before[engine.name] for engine in engines),
        sum(container_s(engine) for engine in engines) - contained,
    )


def daemon_s(engine: Engine) -> float:
    """Processor seconds of an engine's daemons (dockerd, containerd, the shims that still run)."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if str(engine.folder).encode() in words:
            ticks += sum(map(int, fields[11:15]))  # with those of children that have ended
    return ticks / TICKS


def container_s(engine: Engine) -> float:
    """Processor seconds of an engine's containers, by the control group that holds them all."""
    version_1, version_2 = CGROUPS / "cpuacct" / engine.cgroup, CGROUPS / engine.cgroup / "cpu.stat"
    if (version_1 / "cpuacct.usage").is_file():
        return int((version_1 / "cpuacct.usage").read_text()) / 1e9
    return int(version_2.read_text().split()[1]) / 1e6 if version_2.is_file() else 0.0


def main() -> None:
    """Bring two engines up, measure one of them, then both, and say what it means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3, help="runs at a time on each engine")
    parser.add_argument("--tag", default="", help="the scenarios with this tag, instead of all")
    wish = parser.parse_args()
    if says := why_not():
        raise SystemExit(says)
    chosen = ["--tag", wish.tag] if wish.tag else ["--all"]
    print(f"{os.cpu_count()} cores, which all engines share; load {os.getloadavg()[0]:.1f} before it")
    with swarm() as made:
        measure(made.engines, ["bind-only"], 1)  # images are copied, and everything is loaded once
        begun = time.perf_counter()
        found = [measure(made.engines[:1], chosen, wish.jobs), measure(made.engines, chosen, wish.jobs)]
        if (time.perf_counter() - begun) * 1.5 < ROOM_S:
            found.append(measure(made.engines[:1], chosen, 2 * wish.jobs))
    print("\n".join([HEAD, *(one.row() for one in found), "", *say_model(found[0])]))


if __name__ == "__main__":
    main()
