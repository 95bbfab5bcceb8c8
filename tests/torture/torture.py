"""Nothing lost, nobody in: kills, honest unknowns and a short soak, one after the other, with their counts at the end.

Usage: make torture, or, with tests/lab on PYTHONPATH: python tests/torture/torture.py [--kills 20] [--soak 100]

Takes about eight minutes on two cores. Where an engine answers, a quarter of the kills and a fifth of the runs are done
on compose too. The counts are added to tally.json; `python tests/torture/page.py` writes them into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kills
import soak
import tally

from testbed.errors import LabError

ROOT = Path(__file__).parents[2]


def kill_parts(backend: str, count: int, seed: int) -> tuple[str, bool]:
    """Kills of every kind."""
    blows = kills.run(backend, kills.KINDS[backend], count, seed)
    for kind in kills.KINDS[backend]:
        mine = [blow for blow in blows if blow.kind == kind]
        hit, wrong = sum(not blow.missed for blow in mine), sum(bool(blow.wrong) for blow in mine)
        tally.add(f"SIGKILL on {backend}: {kind}", runs=len(mine), hit=hit, wrong=wrong)
    return kills.summary(blows), not any(blow.wrong for blow in blows)


def provoke_unknowns() -> tuple[str, bool]:
    """Every way of not knowing that is provoked in a lab of namespaces."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "tests/lab/test_honest_unknowns.py"]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return ended.stdout.strip().splitlines()[-1] if not ended.returncode else ended.stdout, ended.returncode == 0


def soak_for(backend: str, runs: int, fresh: bool) -> tuple[str, bool]:
    """Runs in this process."""
    with tempfile.TemporaryDirectory() as name:
        soaked = soak.soak(backend, runs, fresh, Path(name) / "out")
    flakes = len(soaked.verdicts) - soaked.verdicts.count("passed")
    what = f"soak on {backend}, {'a lab for each run' if fresh else 'warm labs'}"
    tally.add(what, runs=len(soaked.verdicts), wrong=flakes)
    return soak.summary(soaked, backend), not soaked.complaints()


def answers() -> bool:
    """Whether an engine does."""
    from testbed.lab.engine import connect

    try:
        connect().close()
    except LabError as error:
        print(f"nothing is tried on compose: {error.message}")
        return False
    return True


def main() -> None:
    """All of it; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--soak", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    parts: dict[str, Callable[[], tuple[str, bool]]] = {
        "kills on netns": lambda: kill_parts("netns", options.kills, options.seed),
        "honest unknowns": provoke_unknowns,
        "soak on netns": lambda: soak_for("netns", options.soak, fresh=True),
        "soak on warm labs": lambda: soak_for("netns", options.soak, fresh=False),
    }
    if answers():
        parts["kills on compose"] = lambda: kill_parts("compose", -(-options.kills // 4), options.seed)
        parts["soak on compose"] = lambda: soak_for("compose", -(-options.soak // 5), fresh=False)
    said, well = [], True
    for name, part in parts.items():
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        summary, good = part()
        well &= good
        said.append(f"== {name}, {time.monotonic() - started:.0f} s{'' if good else ': WRONG'}\n{summary}")
    print("\n".join([f"seed {options.seed}", *said]))
    sys.exit(not well)


if __name__ == "__main__":
    main()
