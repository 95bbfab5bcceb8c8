"""What the command prints where: escapes only on a terminal that wants them, JSON alone where it is asked for."""

from __future__ import annotations

import os
import subprocess

import pytest
from command_driver import COMMAND, ROOT, WIDE, Seeds, testbed
from terminal_driver import on_terminal

from testbed.report.escape import cells

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_escapes(seeds: Seeds, environment: dict[str, str], coloured: bool) -> None:
    """A terminal gets colours unless NO_COLOR or a dumb one says otherwise; the text is the same."""
    printed = on_terminal("check", str(seeds.folder("hola")), environment=environment)
    assert ("\x1b[" in printed) is coloured
    assert "all 16 checks passed" in printed


def test_no_escapes_in_a_pipe(seeds: Seeds) -> None:
    """What goes into a pipe or a file has none."""
    piped = testbed("check", seeds.folder("hola"), TERM="xterm-256color")
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "all 16 checks passed" in piped.stdout


def test_ascii_where_the_terminal_is(seeds: Seeds) -> None:
    """A locale without Unicode gets a ladder of ASCII."""
    plain = testbed("check", seeds.folder("hola"), PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.isascii()


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "", "LANG": "C"}, True),
        ({"LC_ALL": "", "LC_CTYPE": "", "LANG": ""}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, False),
    ],
)
def test_ascii_where_the_locale_has_no_unicode(seeds: Seeds, environment: dict[str, str], ascii_only: bool) -> None:
    """Python writes UTF-8 in the locale C too; a terminal of that locale need not understand it."""
    printed = testbed("report", "--text", seeds.folder("hola"), **environment)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.isascii() is ascii_only


@pytest.mark.parametrize("columns", [80, 132])
def test_as_wide_as_the_terminal(seeds: Seeds, columns: int) -> None:
    """The ladder takes the terminal's width, and no line more."""
    printed = on_terminal("report", "--text", str(seeds.folder("hola")), columns=columns, environment={"NO_COLOR": "1"})
    lines = printed.replace("\r\n", "\n").splitlines()
    assert max(map(cells, lines)) == columns


def test_report_as_text_is_that_of_the_run(seeds: Seeds) -> None:
    """`testbed report --text` prints what the run printed, and writes nothing."""
    folder = seeds.folder("hola")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert testbed("report", "--text", folder).stdout == testbed("check", folder).stdout
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_report_is_made_again(seeds: Seeds) -> None:
    """`testbed report` gives the report, the trace and the drawing again, byte for byte, and leaves the rest alone."""
    folder = seeds.folder("hello")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    ended = testbed("report", folder)
    assert (ended.returncode, ended.stdout) == (0, f"{folder / 'report.html'}\n")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_analyze_reads_what_runs_wrote(seeds: Seeds) -> None:
    """`testbed analyze` reads a capture of a run, from a file and from standard input alike."""
    path = seeds.folder("hola") / "captures" / "wire.pcapng"
    named = testbed("analyze", path)
    assert named.returncode == 0, named.stderr
    assert "complete" in named.stdout
    with path.open("rb") as file:
        command = [*COMMAND, "analyze", "-"]
        piped = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **WIDE}, stdin=file, capture_output=True, text=True, check=False
        )
    assert (piped.returncode, piped.stdout) == (0, named.stdout)
