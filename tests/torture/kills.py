"""Kills a part of a run at a random moment, again and again, and looks at what it did to everything else.

Usage, with tests/lab on PYTHONPATH: python tests/torture/kills.py [--backend netns] [--count 20] [--seed 1] [--kind K]
[--jobs 4]

A kind is what is killed with SIGKILL: the orchestrator, an agent, the sniffer's agent, its capture, the emulator, the
process that holds a lab of namespaces, or the server's container. The moment is random, in the time that the victim is
there. After each: no process of the run is left, each file is whole or not there, result.json not without the others,
the verdict is not failed, and passed only where the run had seen all it needed. After all of a kind and `testbed
clean`: nothing is left, and every decoy (decoys.py) is there. A run that was over before its moment counts as missed.

`--jobs` runs go on side by side, since a run mostly waits; so each must leave the others alone, too.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from typing import TYPE_CHECKING

from command_driver import PATIENCE_S, leftovers, processes_of, running, testbed
from decoys import Decoys, put_up
from interrupt_netns import await_ends
from meddling import agents_of, children, family
from unknowns import write_scenario

from testbed.errors import UsageError
from testbed.lab.owner import OWNER_LABEL
from testbed.pcap.reader import read_capture

if TYPE_CHECKING:
    import docker as docker_module

LOOKING_S = 0.01
PART = 0.5  # of a run, about, is a part of its lab there
LAST_WORDS = "taking the lab down"
BESIDE = ("scenario.yaml", "timeline.jsonl", "trace.pcapng", "report.html", "ladder.svg")


def _orchestrator(owner: int) -> int | None:
    return owner


def _agent(host: str) -> Callable[[int], int | None]:
    return lambda owner: agents_of(owner).get(host)


def _capture(owner: int) -> int | None:
    agent = agents_of(owner).get("sniffer")
    return next((pid for pid, name in family(agent) if name == "capture"), None) if agent else None


def _holder(owner: int) -> int | None:
    return next(iter(children(owner)), None)


def _emulator(owner: int) -> int | None:
    return next((pid for pid in processes_of(owner) if _holds_tun(pid)), None)


def _holds_tun(pid: int) -> bool:
    try:
        return any(str(entry.readlink()) == "/dev/net/tun" for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def container_of(client: docker_module.DockerClient, owner: int, service: str) -> int | None:
    """Process 1 of a run's container, as this machine numbers it: only where the engine is on this machine."""
    for one in client.api.containers(filters={"label": [OWNER_LABEL, f"com.docker.compose.service={service}"]}):
        if one["Labels"][OWNER_LABEL].split("/")[3] == str(owner):
            return int(client.api.inspect_container(one["Id"])["State"]["Pid"]) or None
    return None


def _container(owner: int) -> int | None:
    from docker.errors import NotFound

    from testbed.lab.engine import connect

    try:
        return container_of(connect(), owner, "server")
    except NotFound:
        return None  # it has gone between the two questions


KINDS: Mapping[str, Mapping[str, Callable[[int], int | None]]] = {
    "netns": {
        "orchestrator": _orchestrator,
        "agent": _agent("client"),
        "sniffer": _agent("sniffer"),
        "capture": _capture,
        "emulator": _emulator,
        "holder": _holder,
    },
    "compose": {"orchestrator": _orchestrator, "container": _container},
}


@dataclass(frozen=True, slots=True)
class Blow:
    """One kill: of what, so many seconds after the run's first word, what it was doing, and what came of it."""

    kind: str
    after_s: float
    during: str
    missed: bool
    exit_code: int
    verdict: str
    wrong: tuple[str, ...]
    owner: int


def strike(kind: str, find: Callable[[int], int | None], after_s: float, scenario: Path, backend: str) -> Blow:
    """Run the scenario, kill that part of it after so long, and look."""
    out = Path(tempfile.mkdtemp(dir=scenario.parent))
    with running("run", scenario, "--backend", backend, "--engine", "portable", "--out", out) as process:
        assert process.stderr
        said = process.stderr.readline()
        missed = not _kill_after(process, find, after_s)
        printed, rest = process.communicate(timeout=PATIENCE_S)
    missed |= kind == "orchestrator" and process.returncode == 0  # it was ending when the signal came
    said += rest
    stubborn = await_ends(processes_of(process.pid)) if backend == "netns" else []
    during = [line.partition(": ")[2] for line in said.splitlines() if line.startswith(f"{scenario.stem}: ")]
    verdict, wrong = look(out)
    wrong += [f"process {pid} is left" for pid in stubborn]
    wrong += ["a traceback"] * ("Traceback" in said + printed)
    wanted = {-signal.SIGKILL} if kind == "orchestrator" and not missed else {0, 3}
    if process.returncode not in wanted:
        wrong.append(f"exit code {process.returncode}: {(said + printed)[-300:]}")
    doing = (during or [""])[-1]
    if verdict == "passed" and not missed and doing != LAST_WORDS:
        wrong.append("passed, though it was killed before the end")
    return Blow(kind, after_s, doing, missed, process.returncode, verdict, tuple(wrong), process.pid)


def _kill_after(process: subprocess.Popen[str], find: Callable[[int], int | None], after_s: float) -> bool:
    """Kill a part of a run so long after it is there; False where the run, or that part, was over before."""
    while (pid := find(process.pid)) is None:
        if process.poll() is not None:
            return False
        time.sleep(LOOKING_S)
    try:
        handle = os.pidfd_open(pid)  # so that nobody else is hit who gets its number
    except ProcessLookupError:
        return False
    try:
        if select.select([handle], [], [], after_s)[0]:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    finally:
        os.close(handle)
    return True


def look(out: Path) -> tuple[str, list[str]]:
    """The verdict that a run left, if any, and what is wrong with its files: half ones, or a false one."""
    verdict, wrong = "", list[str]()
    for path in sorted(out.rglob("*")):
        if path.name.startswith(".") or not path.is_file() or path.is_symlink():
            continue
        if not is_whole(path):
            wrong.append(f"{path.name} is not whole")
        elif path.name == "result.json":
            verdict = str(json.loads(path.read_text())["verdict"])
            beside = ("scenario.yaml", "timeline.jsonl", "trace.pcapng", "report.html", "ladder.svg")
            wrong += [
                f"result.json is there, and {name} is not" for name in beside if not (path.parent / name).exists()
            ]
    if verdict == "failed":
        wrong.append("failed, and nothing was wrong with the network")
    return verdict, wrong


def is_whole(path: Path) -> bool:
    """Whether a file of a run folder has all of itself: by what its kind of file ends with, and reads back as."""
    content = path.read_bytes()
    try:
        return WHOLE[path.suffix](content)
    except (ValueError, UsageError):
        return False


def _capture_is_whole(content: bytes) -> bool:
    capture = read_capture(content)
    # What was dropped is counted at the end, for each interface; a trace has none where all captures were lost.
    return len(capture.statistics) == len(capture.interfaces) and not capture.warnings


WHOLE: Mapping[str, Callable[[bytes], bool]] = {
    ".json": lambda content: isinstance(json.loads(content), dict) and content.endswith(b"}\n"),
    ".jsonl": lambda content: content.endswith(b"\n") and bool([json.loads(line) for line in content.splitlines()]),
    ".yaml": lambda content: content.endswith(b"\n"),
    ".pcapng": _capture_is_whole,
    ".svg": lambda content: content.rstrip().endswith(b"</svg>"),
    ".html": lambda content: content.rstrip().endswith(b"</html>"),
}


def whole_s(scenario: Path, backend: str) -> float:
    """Seconds from a run's first word to its end."""
    out = Path(tempfile.mkdtemp(dir=scenario.parent))
    with running("run", scenario, "--backend", backend, "--out", out) as process:
        assert process.stderr
        process.stderr.readline()
        start = time.monotonic()
        process.communicate(timeout=PATIENCE_S)
    return time.monotonic() - start


def batter(
    backend: str, kinds: Iterable[str], count: int, seed: int, jobs: int, decoys: Decoys, folder: Path
) -> list[Blow]:
    """So many kills of each kind; what `testbed clean` leaves, and decoys that are gone, are held against the last."""
    chance, blows = Random(seed), list[Blow]()
    scenario = write_scenario(folder)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        # Measured as busy as it will be: else, on a slow machine, all would be hit before the first step.
        life_s = median(pool.map(lambda _: whole_s(scenario, backend), range(jobs)))
        for kind in kinds:
            find, part = KINDS[backend][kind], 1.0 if kind == "orchestrator" else PART
            moments = [chance.uniform(0, part * life_s) for _ in range(count)]
            mine = list(pool.map(partial(strike, kind, find, scenario=scenario, backend=backend), moments))
            cleaned = testbed("clean")
            wrong = [f"`testbed clean` ended with {cleaned.returncode}"] * (cleaned.returncode != 0)
            wrong += [f"decoy gone: {one}" for one in decoys.missing()]
            wrong += [f"left: {one}" for blow in mine for one in _left(decoys.client, blow.owner)]
            blows += [*mine[:-1], replace(mine[-1], wrong=(*mine[-1].wrong, *wrong))]
    return blows


def _left(client: docker_module.DockerClient | None, owner: int) -> list[str]:
    return leftovers(client, owner) if client is not None else [f"process {pid}" for pid in processes_of(owner)]


def summary(blows: Sequence[Blow]) -> str:
    """A line for each kind, and each kill that something was wrong with."""
    lines = []
    for kind in dict.fromkeys(blow.kind for blow in blows):
        mine = [blow for blow in blows if blow.kind == kind]
        ends = Counter(blow.verdict or "no verdict" for blow in mine if not blow.missed)
        lines.append(
            f"{kind:13} {len(mine):4} runs, {sum(not blow.missed for blow in mine):4} killed "
            f"({', '.join(f'{number} {end}' for end, number in sorted(ends.items()))}), "
            f"{sum(bool(blow.wrong) for blow in mine)} wrong"
        )
    return "\n".join([*lines, *(f"  WRONG: {blow}" for blow in blows if blow.wrong)])


def run(backend: str, kinds: Iterable[str], count: int, seed: int, jobs: int = 1) -> list[Blow]:
    """Put the decoys up and batter; the engine's too where the runs are on it."""
    client, image = None, ""
    if backend == "compose":
        from testbed.lab.engine import connect
        from testbed.lab.images import ensure_image

        client = connect()
        image = ensure_image(client, print)
    with tempfile.TemporaryDirectory() as name, put_up(client, image) as decoys:
        blows = batter(backend, kinds, count, seed, jobs, decoys, Path(name))
    if client is not None:
        client.close()
    return blows


def main() -> None:
    """Kill, and print what came of it; exit code 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=tuple(KINDS), default="netns")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=4)
    options = parser.parse_args()
    blows = run(options.backend, options.kind or KINDS[options.backend], options.count, options.seed, options.jobs)
    print(summary(blows))
    sys.exit(any(blow.wrong for blow in blows))


if __name__ == "__main__":
    main()
