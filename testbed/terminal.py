"""What a person at a terminal sees: progress while a lab comes up, then lines in colour, or plain where they must be.

Progress goes to standard error, results to standard output. NO_COLOR (no-color.org) and a dumb terminal are respected.
"""

from __future__ import annotations

import locale
import os
import shutil
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from testbed.errors import TestbedError
from testbed.report.escape import clean
from testbed.report.style import STYLES, Line

DEFAULT_WIDTH = 100
CLEAR_LINE = "\r\x1b[2K"


def colours(stream: TextIO) -> bool:
    """Whether a stream takes colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def unicode_output() -> bool:
    """Whether what prints, and the locale of who reads it, can draw lines."""
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    return encoding.lower().replace("-", "") in ("utf8", "utf8sig") and _locale_has_unicode()


def _locale_has_unicode() -> bool:
    """Whether the locale is of UTF-8 (locale(7): LC_ALL before LC_CTYPE before LANG); yes where none is set.

    Python writes UTF-8 in the locales C and POSIX too (PEP 540), which their terminals need not understand; and it
    sets LC_CTYPE to C.UTF-8 by itself (PEP 538), which says nothing of them.
    """
    first, kind, language = (os.environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    coerced = kind == "C.UTF-8" and language in ("C", "POSIX")
    said = first or ("" if coerced else kind) or language
    return not said or "utf8" in said.lower().replace("-", "")


def width() -> int:
    """Columns of the terminal, at least 60."""
    return max(60, shutil.get_terminal_size((DEFAULT_WIDTH, 40)).columns)


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines of styled spans."""
    if colours(sys.stdout):
        _print_coloured(lines)
    else:
        sys.stdout.write("".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines))
    sys.stdout.flush()


def _print_coloured(lines: Iterable[Line]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    for line in lines:
        console.print(Text.assemble(*((text, STYLES[style]) for text, style in line)))


def print_error(error: TestbedError) -> None:
    """Say on standard error what went wrong and what to do."""
    mark = "\x1b[31mtestbed:\x1b[0m" if colours(sys.stderr) else "testbed:"
    sys.stderr.write(f"{mark} {clean_lines(str(error))}\n")


def clean_lines(text: str) -> str:
    """Text that a host or a file may have had a hand in, its lines kept."""
    return "\n".join(map(clean, text.split("\n")))


class Progress:
    """One line that changes where standard error is a terminal, else a line for each change.

    With several runs (`total`), the line says how many are done and what each that goes on is doing; what is not shown
    on a terminal is said once for all of them, since the results tell of each.
    """

    def __init__(self, quiet: bool = False, total: int = 1) -> None:
        self._live = sys.stderr.isatty()
        self._quiet = quiet
        self._total = total
        self._done = 0
        self._troubles = 0
        self._doing: dict[str, str] = {}
        self._said: set[str] = set()
        self._lock = threading.Lock()

    def __call__(self, name: str, words: str) -> None:
        """Say what a run is doing."""
        if self._quiet:
            return
        words = clean_lines(words)
        with self._lock:
            self._doing[name] = words
            if self._live:
                sys.stderr.write(f"{CLEAR_LINE}{self._line(name, words)[: width() - 1]}")
            elif self._total == 1:
                sys.stderr.write(f"{name}: {words}\n")
            elif words not in self._said:
                self._said.add(words)
                sys.stderr.write(f"{words}\n")
            sys.stderr.flush()

    def _line(self, name: str, words: str) -> str:
        if self._total == 1:
            return f"{name}: {words}"
        troubles = f", {self._troubles} not passed" if self._troubles else ""
        others = [other for other in self._doing if other != name]
        beside = f"; beside it {', '.join(others)}" if others else ""
        return f"[{self._done}/{self._total} done{troubles}] {name}: {words}{beside}"

    def ended(self, name: str, *, passed: bool) -> None:
        """A run has come to its end."""
        with self._lock:
            self._doing.pop(name, None)
            self._done += 1
            self._troubles += not passed

    def clear(self) -> None:
        """Make room for results."""
        if self._live and not self._quiet:
            with self._lock:
                sys.stderr.write(CLEAR_LINE)
                sys.stderr.flush()
