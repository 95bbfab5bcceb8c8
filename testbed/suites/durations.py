"""How long scenarios took, so that the longest begin first: a small file beside the run folders.

It is a hint and nothing more. Where it is missing or damaged, or cannot be written, scenarios without a duration begin
before the others (they may be long), and the next suite writes it anew. Each duration is half the last one and half
what was noted before, so that one slow day fades.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from testbed.files import write_whole

FILE = "durations.json"
SCHEMA = 1
ABOUT = "How long scenarios took, in seconds; the longest begin first. May be removed at any time."
LONGEST_S = 86_400.0

Durations = dict[str, float]


def load_durations(folder: Path, backend: str) -> Durations:
    """Seconds by scenario on a backend; nothing where there is no file that makes sense."""
    return _load(folder).get(backend, {})


def _load(folder: Path) -> dict[str, Durations]:
    try:
        told = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    backends = told.get("seconds") if isinstance(told, dict) and told.get("schema") == SCHEMA else None
    if not isinstance(backends, dict):
        return {}
    return {backend: _sound(durations) for backend, durations in backends.items() if isinstance(durations, dict)}


def _sound(durations: Mapping[str, Any]) -> Durations:
    numbers = {name: value for name, value in durations.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in numbers.items() if 0 <= value <= LONGEST_S}


def save_durations(folder: Path, backend: str, measured: Mapping[str, float]) -> None:
    """Note how long scenarios took; others' durations stay. What cannot be written is not missed."""
    if not measured or not folder.is_dir():
        return
    noted = _load(folder)
    before = noted.get(backend, {})
    noted[backend] = before | {
        name: round((seconds + before.get(name, seconds)) / 2, 3) for name, seconds in measured.items()
    }
    text = json.dumps({"schema": SCHEMA, "about": ABOUT, "seconds": noted}, indent=1, sort_keys=True) + "\n"
    with contextlib.suppress(OSError):
        write_whole(folder / FILE, text.encode())
