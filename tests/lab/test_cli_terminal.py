"""What the command prints where: escapes only on a terminal that wants them, JSON alone where it is asked for."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from command_driver import COMMAND, ROOT, Seeds, testbed

pytestmark = pytest.mark.lab


def on_terminal(*words: str, **environment: str) -> str:
    """What the command writes to a terminal that is its standard output."""
    ours, its = pty.openpty()
    clear = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    with subprocess.Popen(
        [*COMMAND, *words], cwd=ROOT, env={**clear, **environment}, stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        printed = b""
        while got := _read(ours):
            printed += got
    os.close(ours)
    assert process.returncode == 0, printed
    return printed.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: the other end is closed
        return b""


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
    printed = on_terminal("check", str(seeds.folder("hola")), **environment)
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
        piped = subprocess.run(command, cwd=ROOT, stdin=file, capture_output=True, text=True, check=False)
    assert (piped.returncode, piped.stdout) == (0, named.stdout)
