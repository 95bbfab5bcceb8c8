"""How long a whole run takes, against a bare `compose up -d` and `down -t 0` of the same services, in one go.

Usage: python -m benchmarks.turnaround [--runs 7]

The two are run in turn, ours then theirs, so that both meet the same machine; the medians and the ratio of each pair
are printed, then where our time goes. Images must be there (`make images`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from testbed.lab.compose import bridge_name, compose_command, compose_file
from testbed.lab.images import image_tag

AIM = 1.25


def timed(command: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds that a command takes; it must succeed."""
    start = time.perf_counter()
    subprocess.run(list(command), check=True, capture_output=True, env={**os.environ, **environment})
    return time.perf_counter() - start


def bare(compose: Sequence[str], project: str) -> float:
    """Seconds of `up -d` and `down -t 0` of the services that a run brings up."""
    environment = {"TESTBED_IMAGE": image_tag(), "TESTBED_BRIDGE": bridge_name(project)}
    base = [*compose, "-p", project, "-f", str(compose_file())]
    up = timed([*base, "up", "-d", "client", "server", "sniffer", "hub"], environment)
    return up + timed([*base, "down", "-t", "0"], environment)


def ours(out: Path) -> tuple[float, dict[str, float]]:
    """Seconds of a whole `testbed run hola`, and its own account of them in milliseconds."""
    seconds = timed([sys.executable, "-m", "testbed", "run", "hola", "--backend", "compose", "--out", str(out)], {})
    result = json.loads((out / "latest" / "hola" / "result.json").read_text())
    assert result["verdict"] == "passed", result["verdict"]
    return seconds, result["timing_ms"]


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    compose = compose_command()
    with tempfile.TemporaryDirectory() as folder:
        pairs, accounts = [], []
        for number in range(runs + 1):
            mine, account = ours(Path(folder))
            theirs = bare(compose, f"turnaround{os.getpid()}")
            if number:  # the first pair warms caches
                pairs.append((mine, theirs))
                accounts.append(account)
    report(compose, pairs, accounts)


def report(compose: Sequence[str], pairs: list[tuple[float, float]], accounts: list[dict[str, float]]) -> None:
    """Print the medians."""
    mine, theirs = zip(*pairs, strict=True)
    ratios = sorted(a / b for a, b in pairs)
    print(f"{' '.join(compose)}, {len(pairs)} pairs after one to warm up")
    print(f"testbed run hola    median {median(mine):6.3f} s   ({min(mine):.3f} to {max(mine):.3f})")
    print(f"bare up -d + down   median {median(theirs):6.3f} s   ({min(theirs):.3f} to {max(theirs):.3f})")
    print(f"ratio of each pair  median {median(ratios):6.2f}     ({ratios[0]:.2f} to {ratios[-1]:.2f}; aim: {AIM})")
    print("where our time goes, medians in ms (judging goes on while the lab is taken down):")
    for phase in accounts[0]:
        print(f"  {phase:10} {median(account[phase] for account in accounts):8.1f}")
    inside = median(account["total"] for account in accounts)
    print(f"  {'outside':10} {median(mine) * 1000 - inside:8.1f}   (start of Python, imports, printing)")


if __name__ == "__main__":
    main()
