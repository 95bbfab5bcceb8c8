"""A folder with what a person needs of the runs that did not pass, and no more than a CI system likes to store.

Runs come worst first, files in the order in which people look at them; a file that does not fit is left out and
`index.txt` says so. Runs that passed are not in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from testbed.files import disk_errors, write_whole
from testbed.report.cases import Case, Suite, count_words, told
from testbed.report.escape import clean
from testbed.verdict.value import Outcome

# The most telling first; what is not named here comes last.
FILES = ("result.json", "report.html", "ladder.svg", "timeline.jsonl", "scenario.yaml", "lab.yaml", "trace.pcapng")
INDEX = "index.txt"


def save_artifacts(folder: Path, suite: Suite, limit_bytes: int) -> None:
    """Copy the run folders of what did not pass at once. Raises LabError where the disk refuses."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lines, room = [f"{count_words(suite.counts())}"], limit_bytes
        for case in suite.worst():
            for one in _tries(case):
                lines += ["", f"{one.verdict}  {clean(one.name)}", *(f"  {line}" for line in told(one))]
                room = _copy(Path(one.folder), folder, room, lines) if one.folder else room
        write_whole(folder / INDEX, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))


def _tries(case: Case) -> Iterator[Case]:
    """Every try of a case that did not pass."""
    yield from (each for each in (case, *case.earlier) if each.verdict is not Outcome.PASSED)


def _copy(source: Path, target: Path, room: int, lines: list[str]) -> int:
    """Copy as many files as there is room for; gives the room that is left."""
    for path in sorted(_files(source), key=lambda path: _place(path.relative_to(source))):
        size = path.stat().st_size
        inside = path.relative_to(source)
        if size > room:
            lines.append(f"  left out for want of room: {source.name}/{inside} ({size} bytes)")
            continue
        place = target / source.name / inside
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        room -= size
    return room


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _place(path: Path) -> tuple[int, str]:
    name = path.as_posix()
    return (FILES.index(name) if name in FILES else len(FILES), name)
