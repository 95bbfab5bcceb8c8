"""How many labs this machine may have at a time.

Scenarios mostly wait for TCP's timers, so there are several labs per core. There are never more labs, busy or waiting
for another run, than fit into the memory that is free. By default a lab of compose counts with all that compose.yaml
grants its containers; where a number of jobs is asked for, and on netns, with what hosts were measured to need.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

MIB = 1024 * 1024
JOBS_PER_CORE = {"netns": 6, "compose": 1.5}  # of compose at 3, one run of eighty had a late wire
MOST_JOBS = 32  # by default; the testbed itself is one Python process, and must follow
MOST_IDLE = 16  # labs that wait for another run: bringing one up is most of what a short scenario costs
# An agent with its captures takes about 20 MiB (measured); buffers, what it stores in /tmp, a container come on top.
NEED_OF_HOST = {"netns": 64 * MIB, "compose": 96 * MIB}
SHARE_OF_FREE = 0.8  # the rest stays for everybody else
FALLBACK_LIMIT = 512 * MIB
SIZES = {"b": 1, "k": 1024, "m": MIB, "g": 1024 * MIB}


@dataclass(frozen=True, slots=True)
class Capacity:
    """So many runs at a time, so many labs beside them that wait, and why not more (where that is worth a line)."""

    jobs: int
    idle: int
    why: str = ""


def plan_capacity(*, asked: int | None, runs: int, cores: int, labs: int, per_core: float) -> Capacity:
    """How many of `runs` go on at a time on a machine where so many labs fit. Pure."""
    wanted = asked if asked is not None else min(MOST_JOBS, max(1, int(cores * per_core)))
    wanted = max(1, min(wanted, runs))
    jobs = min(wanted, max(1, labs))
    idle = min(MOST_IDLE, max(0, labs - jobs))
    why = f"{jobs} at a time and not {wanted}: memory allows {max(1, labs)} labs" if jobs < wanted else ""
    return Capacity(jobs, idle, why)


def lab_bytes(backend: str, hosts: int, *, granted: bool) -> int:
    """The memory of a lab of so many hosts (the sniffer is one): what it may take at most, or what it needs."""
    if backend != "compose" or not granted:
        return hosts * NEED_OF_HOST.get(backend, FALLBACK_LIMIT)
    from testbed.lab.compose import compose_file

    limits = memory_limits(compose_file().read_text())
    return hosts * limits.get("client", FALLBACK_LIMIT) + limits.get("hub", 0)


def memory_limits(text: str) -> Mapping[str, int]:
    """What a Compose file grants each service, in bytes. Pure."""
    import yaml

    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return {name: parse_size(str(service["mem_limit"])) for name, service in services.items() if "mem_limit" in service}


def parse_size(text: str) -> int:
    """`512m` in bytes, as Compose writes sizes. Pure."""
    number = text.lower().removesuffix("b") or "0"
    unit = number[-1] if number[-1] in SIZES else "b"
    return round(float(number.removesuffix(unit)) * SIZES[unit])


def labs_that_fit(free_bytes: int | None, each_bytes: int, most: int = 1000) -> int:
    """How many labs of a size fit into free memory; `most` where nobody knows how much is free. Pure."""
    if free_bytes is None:
        return most
    return min(most, int(free_bytes * SHARE_OF_FREE) // max(1, each_bytes))


# --- what the machine says ---


def cores(root: Path = Path("/")) -> int:
    """How many processors we may use: affinity, and the quota of a container."""
    allowed = len(os.sched_getaffinity(0))
    quota = _words(root / "sys/fs/cgroup/cpu.max")
    if len(quota) == 2 and all(word.isdigit() for word in quota) and int(quota[1]):
        allowed = min(allowed, max(1, round(int(quota[0]) / int(quota[1]))))
    return allowed


def free_bytes(backend: str, root: Path = Path("/")) -> int | None:
    """Memory that labs could take: the machine's, on netns also what is left of our own container's."""
    found = [value for value in (_available(root), *(_cgroup(root) if backend != "compose" else ())) if value >= 0]
    return min(found, default=None)


def _available(root: Path) -> int:
    words = _words(root / "proc/meminfo")
    pairs = dict(pairwise(words))
    return int(pairs.get("MemAvailable:", "-1")) * 1024


def _cgroup(root: Path) -> Iterator[int]:
    """What our control group and those above it leave; version 2, then version 1."""
    base = root / "sys/fs/cgroup"
    for limit, used in ((base / "memory.max", base / "memory.current"), *_version_1(base)):
        most, taken = _words(limit)[:1], _words(used)[:1]
        if most and taken and most[0].isdigit() and taken[0].isdigit():
            yield max(0, int(most[0]) - int(taken[0]))


def _version_1(base: Path) -> tuple[tuple[Path, Path], ...]:
    memory = base / "memory"
    return ((memory / "memory.limit_in_bytes", memory / "memory.usage_in_bytes"),)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, ValueError):
        return []
