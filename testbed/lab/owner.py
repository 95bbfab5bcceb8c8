"""Whose a lab is: the process that made it, named so that its death can be told for certain.

A pid alone is reused; with its start time (proc_pid_stat(5), field 22) it is not. The machine, its boot and the pid
namespace say whether we are in a place from which that process could be seen at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

RUN_LABEL = "testbed.run"
OWNER_LABEL = "testbed.owner"
RUN_VARIABLE = "TESTBED_RUN"
OWNER_VARIABLE = "TESTBED_OWNER"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: machine, boot, pid namespace, pid, start time in clock ticks since boot."""

    machine: str
    boot: str
    namespace: str
    pid: int
    start: int

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(
            _line("/etc/machine-id"), _line("/proc/sys/kernel/random/boot_id"), _namespace(), pid, _start(pid) or 0
        )

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """An owner from its label, or None where the label is none of ours."""
        parts = text.split("/")
        if len(parts) != 5 or not (parts[3].isdigit() and parts[4].isdigit()):
            return None
        return cls(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4]))

    def __str__(self) -> str:
        return f"{self.machine}/{self.boot}/{self.namespace}/{self.pid}/{self.start}"

    def is_dead(self) -> bool:
        """Whether that process has certainly ended; False where it lives or cannot be seen from here."""
        if self.machine != _line("/etc/machine-id"):
            return False
        if self.boot != _line("/proc/sys/kernel/random/boot_id"):
            return True
        return self.namespace == _namespace() and _start(self.pid) != self.start


def labels_of(run_id: str, owner: str = "") -> list[str]:
    """The labels by which what a run made is found on an engine: all of it, or what that very owner made."""
    return [f"{RUN_LABEL}={run_id}", *([f"{OWNER_LABEL}={owner}"] if owner else [])]


def dead_runs(labels: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Run id and owner, as the labels have them, of each run whose owner has certainly ended; sorted."""
    pairs = {(each.get(RUN_LABEL, ""), each.get(OWNER_LABEL, "")) for each in labels}
    return sorted(pair for pair in pairs if pair[0] and (owner := Owner.parse(pair[1])) and owner.is_dead())


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip().replace("-", "")[:32]
    except OSError:
        return "unknown"


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "unknown"


def _start(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; its entry stays until its parent looks.
    return None if fields[0] in "ZX" else int(fields[19])


def orphans() -> tuple[int, ...]:
    """Pids of the commands that dead runs left running: told by the owner in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            pairs = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        variables = dict(pair.decode(errors="replace").partition("=")[::2] for pair in pairs)
        owner = Owner.parse(variables.get(OWNER_VARIABLE, ""))
        if owner is not None and owner.is_dead() and RUN_VARIABLE in variables:
            found.append(int(entry.name))
    return tuple(found)
