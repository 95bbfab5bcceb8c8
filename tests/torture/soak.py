"""Many runs in one process, one after the other: what a run takes it gives back, and every run comes out the same.

Usage, with tests/lab on PYTHONPATH: python tests/torture/soak.py [--backend netns] [--runs 1000] [--fresh]

After each run this process's open files, threads and resident memory are counted, and on the whole machine the
namespaces, networks and containers that carry this process as their owner. They may not grow: open files and what a lab
leaves must be at the end what they were after the first runs, memory may be more by `MOST_GROWTH` at most (the first
tenth of the runs is left out: modules are still being loaded, and caches fill). Before memory is read the allocator
gives back what nobody uses: else its holes would count, and threads make many. A run that is anything but passed is
a flake, and is told.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import shutil
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from command_driver import processes_of

from testbed.errors import TestbedError
from testbed.files import find_scenario
from testbed.lab.warm import WarmLabs
from testbed.session import Job, Options, new_run_id, run_scenario
from testbed.stop import Stop

PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_GROWTH = 1.05  # of the resident memory, after the first tenth
LEAST_GROWTH_BYTES = 4 << 20  # so much is no growth, in however few runs
EVERY = 50  # runs between two lines of progress


@dataclass(frozen=True, slots=True)
class Census:
    """What this process holds, and what the machine holds of it."""

    files: int
    threads: int
    memory: int  # resident bytes
    processes: int
    namespaces: int  # network namespaces that processes of ours are in, besides our own
    engine: int  # containers and networks


@dataclass(frozen=True, slots=True)
class Soaked:
    """All runs: how each came out, and a census after each."""

    verdicts: tuple[str, ...]
    censuses: tuple[Census, ...]

    def complaints(self) -> list[str]:
        """What has grown, and runs that did not pass; in words."""
        flakes = Counter(self.verdicts)
        found = [f"{number} runs were {what}" for what, number in flakes.items() if what != "passed"]
        settled = self.censuses[len(self.censuses) // 10 :]
        first, last = settled[0], settled[-1]
        for name in ("files", "threads", "processes", "namespaces", "engine"):
            before, after = getattr(first, name), getattr(last, name)
            if after > before:
                found.append(f"{name} grew from {before} to {after}")
        if last.memory > max(first.memory * MOST_GROWTH, first.memory + LEAST_GROWTH_BYTES):
            found.append(f"memory grew from {first.memory >> 10} to {last.memory >> 10} KiB")
        return found


def count(backend: str) -> Census:
    """How things stand."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc
        trim(0)
    mine = processes_of(os.getpid())
    return Census(
        files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        threads=threading.active_count(),
        memory=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
        processes=len(mine),
        namespaces=len(set(_namespaces(mine)) - set(_namespaces([os.getpid()]))),
        engine=_on_engine() if backend == "compose" else 0,
    )


def _namespaces(pids: Iterable[int]) -> Iterable[str]:
    for pid in pids:
        try:
            yield str(Path(f"/proc/{pid}/ns/net").readlink())
        except OSError:
            continue


def _on_engine() -> int:
    from command_driver import leftovers

    from testbed.lab.engine import connect

    client = connect()
    try:
        return len(leftovers(client, os.getpid()))
    finally:
        client.close()


def soak(backend: str, runs: int, fresh: bool, out: Path) -> Soaked:
    """So many runs of `hola`, in labs of their own where `fresh`, else in warm ones."""
    stop = Stop()
    warm = None if fresh else WarmLabs(stop)
    job, options = Job(find_scenario("hola"), "hola"), Options(backend=backend, out=out)
    verdicts: list[str] = []
    censuses: list[Census] = []
    try:
        for number in range(1, runs + 1):
            verdicts.append(_play(job, options, stop, warm))
            shutil.rmtree(out)
            censuses.append(count(backend))
            if number % EVERY == 0:
                print(f"{number} runs: {censuses[-1]}", flush=True)
    finally:
        if warm is not None:
            warm.close(lambda words: None)
    return Soaked(tuple(verdicts), tuple(censuses))


def _play(job: Job, options: Options, stop: Stop, warm: WarmLabs | None) -> str:
    try:
        done = run_scenario(job, options, new_run_id(), stop, lambda words: None, warm)
    except TestbedError as error:
        return f"broken: {error.message}"
    if done.judgement.verdict.value == "passed":
        return "passed"
    reasons = {check.why for check in done.judgement.checks if check.why}
    return f"{done.judgement.verdict.value}: {'; '.join(sorted(reasons))}"


def summary(soaked: Soaked, backend: str) -> str:
    """The counts in a line, then what is wrong."""
    censuses = soaked.censuses
    first, last = censuses[len(censuses) // 10], censuses[-1]
    line = (
        f"{backend}: {len(soaked.verdicts)} runs, {soaked.verdicts.count('passed')} passed; files {first.files} to "
        f"{last.files}, threads {first.threads} to {last.threads}, memory {first.memory >> 10} to {last.memory >> 10} "
        f"KiB, processes {first.processes} to {last.processes}, namespaces {first.namespaces} to {last.namespaces}"
    )
    if backend == "compose":
        line += f", containers and networks {first.engine} to {last.engine}"
    return "\n".join([line, *(f"  WRONG: {says}" for says in soaked.complaints())])


def main(words: Sequence[str] | None = None) -> None:
    """Soak, and print what came of it; exit code 1 where something grew or a run did not pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("netns", "compose"), default="netns")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as name:
        soaked = soak(options.backend, options.runs, options.fresh, Path(name) / "out")
    print(summary(soaked, options.backend))
    sys.exit(bool(soaked.complaints()))


if __name__ == "__main__":
    main()
