"""Nothing lost, nobody in: kills, cuts, restarts, honest unknowns and a short soak, with their counts at the end.

Usage: make torture, or, with tests/lab on PYTHONPATH: python tests/torture/torture.py [--kills 20] [--soak 100]
[--part PART ...] [--jobs 3]

Takes less than a quarter of an hour on two cores. Where an engine answers, a quarter of the kills and a fifth of the
runs are done on compose too. The long forms are `--kills 200 --soak 1000`, and `--every 1` to cut at each point.

With `--tally` the counts are added to tally.json, from which `python tests/torture/page.py` writes docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import cut
import engine_ends
import kills
import soak
import tally

from testbed.errors import LabError

ROOT = Path(__file__).parents[2]
OTHER_TESTS = (  # of what is provoked, besides the ways that meddling provokes
    "tests/lab/test_honest_unknowns.py",
    "tests/lab/test_stale_image.py",
    "tests/lab/test_compose_bad_luck.py",
)
Said = tuple[str, bool]
Count = Callable[..., None]


def kill_parts(backend: str, kinds: Iterable[str], options: argparse.Namespace, count: Count) -> Said:
    """Kills of these kinds."""
    number = options.kills if backend == "netns" or options.kills >= 100 else -(-options.kills // 4)
    blows: list[kills.Blow] = []
    for kind in kinds:
        mine = kills.run(backend, [kind], number, options.seed, options.jobs)
        hit, wrong = sum(not blow.missed for blow in mine), sum(bool(blow.wrong) for blow in mine)
        count(f"SIGKILL on {backend}: {kind}", runs=len(mine), hit=hit, wrong=wrong)
        blows += mine
    return kills.summary(blows), not any(blow.wrong for blow in blows)


def restart_parts(options: argparse.Namespace, count: Count) -> Said:
    """An engine stopped and started again in the middle of runs."""
    if says := engine_ends.why_none():
        return f"not tried: {says}", True
    restarts = engine_ends.run(max(1, options.kills // 6), options.seed)
    for how in engine_ends.SIGNALS:
        mine = [one for one in restarts if one.how == how]
        hit, wrong = sum(not one.missed for one in mine), sum(bool(one.wrong) for one in mine)
        count(f"the engine {how} and started again", runs=len(mine), hit=hit, wrong=wrong)
    return engine_ends.summary(restarts), not any(one.wrong for one in restarts)


def cut_parts(options: argparse.Namespace, count: Count) -> Said:
    """Ends in the middle of writing."""
    points, cuts = cut.cut_everywhere(options.every, options.jobs)
    hit, wrong = sum(one.hit for one in cuts), sum(bool(one.wrong) for one in cuts)
    count("SIGKILL on netns: at a point where it writes", runs=len(cuts), hit=hit, wrong=wrong)
    return cut.summary(points, cuts), not wrong


def provoke_unknowns(options: argparse.Namespace, count: Count) -> Said:
    """Every way of not knowing that is provoked in a lab."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", *OTHER_TESTS]
    ended = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    return ended.stdout.strip().splitlines()[-1] if not ended.returncode else ended.stdout, ended.returncode == 0


def soak_for(backend: str, fresh: bool, options: argparse.Namespace, count: Count) -> Said:
    """Runs in this process."""
    runs = options.soak if backend == "netns" else -(-options.soak // 5)
    with tempfile.TemporaryDirectory() as name:
        soaked = soak.soak(backend, runs, fresh, Path(name) / "out")
    what = f"soak on {backend}, {'a lab for each run' if fresh else 'warm labs'}"
    count(what, runs=len(soaked.verdicts), wrong=len(soaked.complaints()))
    return soak.summary(soaked, backend), not soaked.complaints()


def answers() -> bool:
    """Whether an engine does."""
    from testbed.lab.engine import connect

    try:
        connect()
    except LabError as error:
        print(f"nothing is tried on compose: {error.message}")
        return False
    return True


def parts(options: argparse.Namespace, count: Count) -> Mapping[str, Callable[[], Said]]:
    """All parts by name; those on compose only where an engine answers. Soaks come first: nothing is left of others."""
    found: dict[str, Callable[[], Said]] = {
        "soak on netns": lambda: soak_for("netns", True, options, count),
        "soak on warm labs": lambda: soak_for("netns", False, options, count),
        "kills on netns": lambda: kill_parts("netns", kills.KINDS["netns"], options, count),
        "cuts": lambda: cut_parts(options, count),
        "honest unknowns": lambda: provoke_unknowns(options, count),
    }
    if answers():
        found["soak on compose"] = lambda: soak_for("compose", False, options, count)
        found["kills on compose"] = lambda: kill_parts("compose", kills.KINDS["compose"], options, count)
        found["engine restarts"] = lambda: restart_parts(options, count)
    return found


def main() -> None:
    """All of it; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--soak", type=int, default=100)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--part", action="append", default=[])
    parser.add_argument("--tally", action="store_true")
    options = parser.parse_args()
    chosen = parts(options, tally.add if options.tally else lambda what, **counts: None)
    said, well = [], True
    for name, part in chosen.items():
        if options.part and name not in options.part:
            continue
        print(f"{name} ...", flush=True)
        started = time.monotonic()
        summary, good = part()
        well &= good
        said.append(f"== {name}, {time.monotonic() - started:.0f} s{'' if good else ': WRONG'}\n{summary}")
        print(said[-1], flush=True)
    print("\n".join([f"seed {options.seed}", *said]))
    sys.exit(not well)


if __name__ == "__main__":
    main()
