"""What goes into the machine and what comes out: bare tars on block devices, so that neither side mounts the other's.

In goes the checkout as git sees it (tracked and new files, nothing ignored) with the job; out comes the guest's /out.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.errors import LabError
from testbed.lab.command import run_command

from .rows import PART, Ended, Row

JOB = ".vm-job.json"
ROOM_BYTES = 1 << 30  # for results; the file is sparse
BLOCK_BYTES = 1 << 20
ENVIRONMENT = {"TESTBED_REQUIRE_NETEM": "1", "PYTHONUNBUFFERED": "1", "TESTBED_VM_SHARD": PART}


def job(rows: Sequence[Row]) -> bytes:
    """What inside.py is to do, as JSON."""
    words = [
        {"name": row.name, "command": list(row.command), "limit_s": row.limit_s, "docker": row.docker} for row in rows
    ]
    return json.dumps({"rows": words, "environment": ENVIRONMENT}).encode()


def pack(checkout: Path, rows: Sequence[Row], target: Path) -> None:
    """Write the checkout and the job as a tar that can serve as a disk."""
    listed = run_command(
        ["git", "-C", str(checkout), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        remedy="the machine gets what git sees of a checkout; run this in a clone",
    )
    with tarfile.open(target, "w") as tar:
        for name in listed.split("\0"):
            path = checkout / name
            if name and (path.is_file() or path.is_symlink()):  # git also lists what was deleted but not committed
                tar.add(path, name)
        content = job(rows)
        entry = tarfile.TarInfo(JOB)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    whole_blocks(target)


def whole_blocks(path: Path) -> None:
    """Lengthen a file to whole blocks, as a disk needs."""
    with path.open("r+b") as file:
        size = file.seek(0, io.SEEK_END)
        file.truncate(-(-size // BLOCK_BYTES) * BLOCK_BYTES)


def room(path: Path) -> None:
    """An empty disk for what comes out."""
    with path.open("wb") as file:
        file.truncate(ROOM_BYTES)


def unpack(disk: Path, folder: Path) -> dict[str, Ended]:
    """Put what came out into a folder; how each row ended. Where the guest died, nothing came out: no rows then."""
    try:
        run_command(["tar", "-x", "--no-same-owner", "-f", str(disk), "-C", str(folder)])
        rows = json.loads((folder / "ended.json").read_text())["rows"]
    except (LabError, OSError, ValueError):
        return {}
    return {name: _ended(folder / f"{name}.txt", how) for name, how in rows.items()}


def _ended(output: Path, how: Mapping[str, object]) -> Ended:
    code, seconds = how["exit_code"], how["seconds"]
    assert code is None or isinstance(code, int)
    assert isinstance(seconds, int | float)
    return Ended(code, seconds, output.read_text(errors="replace"))
