"""How long the whole catalogue takes in one command, against its longest scenario: waiting shall be all that counts.

Usage: python -m benchmarks.suite [--backend netns] [--runs 3] [--jobs N]

The first run notes how long scenarios take; the others begin with the longest. Aim: at most 1.5 times the longest
scenario plus 10 s on netns, 4 times that on compose.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

AIM = {"netns": 1.0, "compose": 4.0}


@dataclass(frozen=True, slots=True)
class Measured:
    """One suite: seconds in all, what it says of itself, and the most memory that its labs and itself took (MiB)."""

    seconds: float
    summary: dict[str, Any]
    memory_mib: float

    @property
    def longest_s(self) -> float:
        """The longest scenario."""
        return max(float(case["seconds"]) for case in self.summary["cases"])

    @property
    def allowed_s(self) -> float:
        """What a suite may take by its longest scenario."""
        return 1.5 * self.longest_s + 10


def suite(backend: str, out: Path, arguments: Sequence[str]) -> Measured:
    """Play the catalogue once."""
    summary = out / "summary.json"
    command = [sys.executable, "-m", "testbed", "run", "--all", "--backend", backend, "--out", str(out)]
    free, least, start = free_mib(), free_mib(), time.perf_counter()
    with subprocess.Popen([*command, "--summary", str(summary), *arguments], stdout=subprocess.DEVNULL) as process:
        while True:
            try:
                process.wait(0.2)
                break
            except subprocess.TimeoutExpired:
                least = min(least, free_mib())
    return Measured(time.perf_counter() - start, json.loads(summary.read_text()), free - least)


def free_mib() -> float:
    """What the machine has free."""
    words = Path("/proc/meminfo").read_text().split()
    return int(words[words.index("MemAvailable:") + 1]) / 1024


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=sorted(AIM), default="netns")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int)
    options = parser.parse_args()
    arguments = ["--jobs", str(options.jobs)] if options.jobs else []
    with tempfile.TemporaryDirectory() as folder:
        measured = [suite(options.backend, Path(folder), arguments) for _ in range(options.runs)]
    report(options.backend, measured)


def report(backend: str, measured: Sequence[Measured]) -> None:
    """Print each suite, and the medians against the aim."""
    for number, one in enumerate(measured, start=1):
        told = one.summary
        print(
            f"{backend} {number}: {one.seconds:6.1f} s, {told['jobs']} at a time, {told['passed']} of {told['total']} "
            f"passed; longest scenario {one.longest_s:.1f} s, all together "
            f"{sum(case['seconds'] for case in told['cases']):.1f} s; memory {one.memory_mib:.0f} MiB"
        )
        for case in told["cases"]:
            if case["verdict"] != "passed":
                why = "; ".join(reason["says"] for reason in case["reasons"])
                print(f"    {case['name']} {case['verdict']} after {case['seconds']:.1f} s: {why}")
    took = median(one.seconds for one in measured)
    allowed = median(one.allowed_s for one in measured) * AIM[backend]
    times = f"{AIM[backend]:g} times " if AIM[backend] != 1 else ""
    print(f"median {took:.1f} s; aim: at most {times}(1.5 x longest + 10 s) = {allowed:.1f} s")


if __name__ == "__main__":
    main()
