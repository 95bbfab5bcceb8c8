"""The coverage-guided fuzzer (atheris, libFuzzer) over a target, and the count of all executions so far.

Usage: python tests/torture/fuzz/fuzz.py TARGET [--runs 100000] [--seconds 600] [--seed 1] (needs the extra `fuzz`)
       python tests/torture/fuzz/fuzz.py TARGET --merge              what earlier fuzzing here found, into the corpus

TARGET is a row of targets.WHERE, or `all`: one after another, each as often or as long as is said. Fuzzing starts from
the target's seeds, its kept corpus and what earlier fuzzing on this machine found (results/fuzz/TARGET). What breaks it
(an error of ours, more than LONGEST_S of processor time, more than MOST_MIB of memory) is kept in crashers/TARGET, and
tests/thorough/test_fuzz_corpus.py tries it ever after. Executions are added to executions.json, which
docs/reliability.md quotes: counted in a file by the process that fuzzes, so that neither a crash nor an end by SIGTERM
loses any. Exit code 1 where it broke.
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import importlib.util
import json
import mmap
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha1
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

from targets import WHERE, find_target, kept

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COUNTS = HERE / "executions.json"
ALL = "all"  # the targets, one after another
COUNTER_BYTES = 8
ENDED = (0, -signal.SIGINT, -signal.SIGTERM)  # as it should, or as it was asked to
LONGEST_S = 10.0  # of the processor, for one execution
PATIENCE_S = 600  # of the clock, where others have the processor
MOST_MIB = 1024  # of the process: numpy, pydantic and the fuzzer's own tables are 300
CORPUS_BYTES = 20_000  # of one target
LEAST_NEW = 2  # ways that an input must add to be kept


def load_counts() -> dict[str, int]:
    """Executions so far, by target."""
    counts: dict[str, int] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    return {name: counts.get(name, 0) for name in WHERE}


def add_count(target: str, number: int) -> dict[str, int]:
    """Add executions of a target, and give all; one process at a time."""
    with (ROOT / "results" / "fuzz" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        counts = load_counts()
        counts[target] += number
        COUNTS.write_text(json.dumps(counts, indent=1) + "\n")
        return counts


def fuzz(target: str, options: list[str]) -> tuple[int, int]:
    """Fuzz in a process of its own; its exit code, and how many executions there were."""
    with tempfile.TemporaryDirectory() as name:
        counter = Path(name) / "counter"
        counter.write_bytes(bytes(COUNTER_BYTES))
        words = [sys.executable, __file__, target, *options, "--count-in", str(counter)]
        child = subprocess.Popen(words, cwd=ROOT)

        def end(number: int, _: FrameType | None) -> None:
            child.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        code = child.wait()
        return code, int.from_bytes(counter.read_bytes(), "little")


def work(target: str, wanted: argparse.Namespace, counter: Path) -> None:
    """Be the process that fuzzes. Does not return."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=WHERE[target].watched):
        chosen = find_target(target)
    found, crashers = ROOT / "results" / "fuzz" / target, HERE / "crashers" / target
    for folder in (found, crashers):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = counter.parent / "seeds"
    seeds.mkdir()
    for number, data in enumerate([*chosen.seeds(), *(data for _, data in kept(target))]):
        (seeds / str(number)).write_bytes(data[: chosen.longest])
    with counter.open("r+b") as file:
        count = mmap.mmap(file.fileno(), COUNTER_BYTES)
    done = 0

    def once(data: bytes) -> None:
        nonlocal done
        done += 1
        count[:] = done.to_bytes(COUNTER_BYTES, "little")
        signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
        chosen.run(data)

    def end(number: int, _: FrameType | None) -> None:
        raise TimeoutError(f"an execution of more than {LONGEST_S:g} s")

    signal.signal(signal.SIGVTALRM, end)
    options = [
        sys.argv[0],
        f"-runs={wanted.runs}",
        f"-seed={wanted.seed}",
        f"-max_len={chosen.longest}",
        f"-max_total_time={wanted.seconds}",
        f"-timeout={PATIENCE_S}",
        f"-rss_limit_mb={MOST_MIB}",
        "-print_final_stats=1",
        f"-artifact_prefix={crashers}/",
    ]
    if words := chosen.words():
        listed = counter.parent / "words"
        listed.write_text("".join(f'"{_escaped(word)}"\n' for word in words))
        options.append(f"-dict={listed}")
    mutators: dict[str, Callable[..., bytes]] = {}
    if chosen.mutate is not None:
        mutate = chosen.mutate()
        mutators["custom_mutator"] = lambda data, most, seed: mutate(bytes(data), most, Random(seed), atheris.Mutate)
    atheris.Setup([*options, str(found), str(seeds)], once, **mutators)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return "".join(chr(byte) if chr(byte).isalnum() else f"\\x{byte:02x}" for byte in word.encode())


def merge(target: str) -> None:
    """Make the corpus anew: the smallest inputs first, each that takes a way through our code that none before took."""
    found = [path.read_bytes() for path in (ROOT / "results" / "fuzz" / target).glob("*")]
    inputs = sorted({*found, *(data for _, data in kept(target))}, key=lambda data: (len(data), data))
    chosen, corpus = find_target(target), HERE / "corpus" / target
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    ways: set[tuple[CodeType, int, int]] = set()
    room = CORPUS_BYTES
    for data in inputs:
        fresh = ways_of(lambda data=data: chosen.run(data)) - ways  # type: ignore[misc]
        if len(fresh) >= LEAST_NEW and len(data) <= room:
            ways |= fresh
            room -= len(data)
            (corpus / sha1(data).hexdigest()[:16]).write_bytes(data)
    print(f"{target}: {len(list(corpus.iterdir()))} of {len(inputs)} inputs are kept, {CORPUS_BYTES - room} bytes")


def ways_of(run: Callable[[], None]) -> set[tuple[CodeType, int, int]]:
    """From which line to which line of our code the processor goes."""
    ways: set[tuple[CodeType, int, int]] = set()

    def enter(frame: FrameType, event: str, _: object) -> Any:
        if "/testbed/" not in frame.f_code.co_filename:
            return None
        before = 0

        def step(frame: FrameType, event: str, _: object) -> Any:
            nonlocal before
            if event == "line":
                ways.add((frame.f_code, before, frame.f_lineno))
                before = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        run()
    finally:
        sys.settrace(None)
    return ways


def main() -> None:
    """Fuzz, add to the counts, print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=(*WHERE, ALL))
    parser.add_argument("--runs", type=int, default=-1, help="So many executions.")
    parser.add_argument("--seconds", type=int, default=0, help="So long; 0: until SIGINT.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--merge", action="store_true", help="Make the corpus of what was found.")
    parser.add_argument("--count-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.merge:
        for target in WHERE if options.target == ALL else (options.target,):
            merge(target)
        return
    if options.count_in:
        work(options.target, options, options.count_in)
    if importlib.util.find_spec("atheris") is None:
        sys.exit("the fuzzer is not installed: pip install -e '.[fuzz]'")
    (ROOT / "results" / "fuzz").mkdir(parents=True, exist_ok=True)
    broke = False
    for target in WHERE if options.target == ALL else (options.target,):
        code, done = fuzz(target, sys.argv[2:])
        broke |= code not in ENDED
        counts = add_count(target, done)
        print(f"{target}: {done} executions, {'nothing broke' if code in ENDED else 'it broke: see crashers/'}")
        print(f"so far {', '.join(f'{name} {count}' for name, count in counts.items())}, {sum(counts.values())} in all")
    sys.exit(broke)


if __name__ == "__main__":
    main()
