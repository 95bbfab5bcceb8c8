"""A process that ends while it writes its results: each file is there whole or not at all, `result.json` with all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from verdict_story import hola

from testbed.files import load_evidence, point_latest, save_evidence, save_outputs
from testbed.outputs import drawings, result_file
from testbed.verdict.judge import judge

ENDED = 9
STORY = hola()
EVIDENCE = STORY.evidence()
JUDGEMENT = judge(EVIDENCE)
OUTPUTS = {**drawings(JUDGEMENT), **result_file(JUDGEMENT)}


def write_all(folder: Path) -> None:
    """As a run does at its end."""
    save_evidence(folder, EVIDENCE)
    save_outputs(folder, OUTPUTS)
    point_latest(folder.parent)


def end_at(point: int) -> Callable[[Any], Any]:
    """Makes functions that end the process, as a SIGKILL does, when any of them is called for the nth time."""
    calls = 0

    def wrap(function: Any) -> Any:
        def counted(*words: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == point:
                os._exit(ENDED)
            return function(*words, **named)

        return counted

    return wrap


def write_until(folder: Path, point: int) -> bool:
    """Write in a process that ends at this point; whether it did."""
    pid = os.fork()
    if pid == 0:
        try:
            wrap = end_at(point)
            tempfile.mkstemp = wrap(tempfile.mkstemp)  # before a file is there
            os.fdopen = wrap(os.fdopen)  # when it is there, and empty
            Path.chmod = wrap(Path.chmod)  # type: ignore[method-assign]  # when it is written
            Path.replace = wrap(Path.replace)  # type: ignore[method-assign]  # before it has its name
            write_all(folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ENDED


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is there when nothing ends too early."""
    folder = tmp_path_factory.mktemp("out") / "run" / "story"
    folder.mkdir(parents=True)
    write_all(folder)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run folder under their names; those that were being written have a dot in front."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_point(whole: dict[str, bytes], tmp_path: Path) -> None:
    """Whatever is there is what would have been; once result.json is, all is, and it reads back."""
    point = 0
    ended = True
    while ended:
        point += 1
        folder = tmp_path / str(point) / "run" / "story"
        folder.mkdir(parents=True)
        ended = write_until(folder, point)
        found = contents(folder)
        assert all(whole[name] == content for name, content in found.items())
        if "result.json" in found:
            assert found.keys() == whole.keys()
            assert load_evidence(folder).records == EVIDENCE.records
    assert point > 4 * len(whole)
