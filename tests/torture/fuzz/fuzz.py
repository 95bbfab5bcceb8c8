"""The coverage-guided fuzzer (atheris, libFuzzer) over a target, and the count of all executions so far.

Usage: python tests/torture/fuzz/fuzz.py TARGET [--runs 100000] [--seed 1]        (needs the extra `fuzz`)

Starts from the target's seeds, its kept corpus and what earlier fuzzing on this machine found (results/fuzz/TARGET).
What breaks it is kept in crashers/TARGET, and tests/thorough/test_fuzz_corpus.py tries it ever after. Executions are
added to executions.json, which docs/reliability.md quotes. The fuzzing is done in a process of its own, which counts in
a file, so that a crash loses no count. Exit code 1 where it broke.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import mmap
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COUNTS = HERE / "executions.json"
NAMES = ("yaml", "capture", "decode", "agent")  # the rows of targets.TARGETS, which is imported when it is to be fuzzed
COUNTER_BYTES = 8
LONGEST_S = 10  # of one execution


def load_counts() -> dict[str, int]:
    """Executions so far, by target."""
    counts: dict[str, int] = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    return {name: counts.get(name, 0) for name in NAMES}


def add_count(target: str, number: int) -> dict[str, int]:
    """Add executions of a target, and give all."""
    counts = load_counts()
    counts[target] += number
    COUNTS.write_text(json.dumps(counts, indent=1) + "\n")
    return counts


def fuzz(target: str, runs: int, seed: int) -> tuple[int, int]:
    """Fuzz in a process of its own; its exit code, and how many executions there were."""
    with tempfile.TemporaryDirectory() as name:
        counter = Path(name) / "counter"
        counter.write_bytes(bytes(COUNTER_BYTES))
        words = [sys.executable, __file__, target, "--runs", str(runs), "--seed", str(seed), "--count-in", str(counter)]
        code = subprocess.run(words, cwd=ROOT, check=False).returncode
        return code, int.from_bytes(counter.read_bytes(), "little")


def work(target: str, runs: int, seed: int, counter: Path) -> None:
    """Be the process that fuzzes. Does not return."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["testbed"]):
        from targets import TARGETS, kept
    chosen = TARGETS[target]
    found, crashers = ROOT / "results" / "fuzz" / target, HERE / "crashers" / target
    for folder in (found, crashers):
        folder.mkdir(parents=True, exist_ok=True)
    seeds = counter.parent / "seeds"
    seeds.mkdir()
    for number, data in enumerate([*chosen.seeds(), *(data for _, data in kept(target))]):
        (seeds / str(number)).write_bytes(data)
    with counter.open("r+b") as file:
        count = mmap.mmap(file.fileno(), COUNTER_BYTES)
    done = 0

    def once(data: bytes) -> None:
        nonlocal done
        done += 1
        count[:] = done.to_bytes(COUNTER_BYTES, "little")
        chosen.run(data)

    options = [
        f"-runs={runs}",
        f"-seed={seed}",
        f"-max_len={chosen.longest}",
        f"-timeout={LONGEST_S}",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={crashers}/", str(found), str(seeds)], once)
    atheris.Fuzz()


def main() -> None:
    """Fuzz, add to the counts, print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count-in", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count_in:
        work(options.target, options.runs, options.seed, options.count_in)
    if importlib.util.find_spec("atheris") is None:
        sys.exit("the fuzzer is not installed: pip install -e '.[fuzz]'")
    code, done = fuzz(options.target, options.runs, options.seed)
    counts = add_count(options.target, done)
    print(f"{options.target}: {done} executions, {'it broke: see crashers/' if code else 'nothing broke'}")
    print(f"so far {', '.join(f'{name} {number}' for name, number in counts.items())}, {sum(counts.values())} in all")
    sys.exit(bool(code))


if __name__ == "__main__":
    main()
