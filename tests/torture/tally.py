"""What has been tried so far, in all runs of the harnesses: tally.json, which docs/reliability.md quotes (page.py)."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

FILE = Path(__file__).parent / "tally.json"
Row = dict[str, int]


def load() -> dict[str, Row]:
    """Counts by what was tried: `kill netns agent` has `runs`, `hit` and `wrong`."""
    found: dict[str, Row] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def add(what: str, **counts: int) -> None:
    """Add to the counts of something; others may do so at the same time."""
    with Path(__file__).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tally = load()
        row = tally.setdefault(what, {})
        for name, number in counts.items():
            row[name] = row.get(name, 0) + number
        FILE.write_text(json.dumps(dict(sorted(tally.items())), indent=1) + "\n")
