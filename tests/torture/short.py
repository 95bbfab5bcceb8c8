"""What can run short on a machine, made so: a disk that is soon full, memory that a control group limits."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GROUPS = Path("/sys/fs/cgroup")
# cgroups(7): of the first version and of the second, where groups are, and the file with the limit on memory.
MEMORY = ((GROUPS / "memory", "memory.limit_in_bytes"), (GROUPS, "memory.max"))


@contextmanager
def tiny_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system that is soon full."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here: that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def little_memory(limit: int) -> Iterator[Callable[[int], None]]:
    """What puts a process where it, and what it starts from then on, may take so many bytes of memory more."""
    name = f"testbed-little-memory-{os.getpid()}"
    try:
        group = next(_limited(name, limit))
    except (OSError, StopIteration):
        pytest.skip("memory cannot be limited here: that takes root and a control group for memory")
    try:
        yield lambda pid: _write(group / "cgroup.procs", pid)
    finally:
        group.rmdir()


def _limited(name: str, limit: int) -> Iterator[Path]:
    for groups, file in MEMORY:
        if not (groups / "cgroup.procs").exists():
            continue
        (groups / name).mkdir()
        if (groups / name / file).exists():
            _write(groups / name / file, limit)
            yield groups / name
        (groups / name).rmdir()


def _write(path: Path, number: int) -> None:
    path.write_text(str(number))
