"""What is wrong with a scenario file, as values that know their place, and the one way to print them.

A `Complaint` names a place by its path in the scenario; a `Source` turns it into a `Mistake`, which names file, line
and column, quotes the line and prints a caret under it. `ScenarioErrors` carries all mistakes of a file at once.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from testbed.errors import UsageError
from testbed.report.escape import is_safe

Path = tuple[str | int, ...]

MOST = 100  # mistakes that are printed; who made more has made one, a hundred times
_WIDTH = 110  # columns of the quoted line
_MOST_WORDS = 500  # that a misspelt word is compared with
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_>-]+")


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong at a path; `at_key` points at the key there and not at its value."""

    path: Path
    says: str
    suggestion: str = ""
    at_key: bool = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong at a line and column (both from 1) of a file; `source` is that line."""

    file: str
    line: int
    column: int
    path: str
    says: str
    suggestion: str
    source: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: " + (f"{self.path}: " if self.path else "")
        guess = f" (did you mean {self.suggestion}?)" if self.suggestion else ""
        return f"{where}{self.says}{guess}\n{_quote(self.source, self.column)}"


def _quote(source: str, column: int) -> str:
    """The line and a caret under the column, cut to what fits and made safe for a terminal."""
    start = max(0, column - 1 - _WIDTH // 2) if len(source) > _WIDTH else 0
    part = source[start : start + _WIDTH]
    before = "..." if start else ""
    after = "..." if start + _WIDTH < len(source) else ""
    indent = len(before) + sum(_cells(character) for character in part[: column - 1 - start])
    text = _printable(part.replace("\t", " "))
    return f"    {before}{text}{after}".rstrip() + f"\n    {' ' * indent}^"


def _printable(text: str) -> str:
    """Without what a terminal would obey, what nobody sees, and what is no character at all (yet)."""
    return "".join(char if is_safe(char) else "\ufffd" for char in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


@dataclass(frozen=True, slots=True)
class Source:
    """A scenario file's name and lines."""

    file: str
    lines: tuple[str, ...]

    def mistake(self, line: int, column: int, path: Path, says: str, suggestion: str = "") -> Mistake:
        """A mistake at this place of the file."""
        quoted = self.lines[line - 1] if line <= len(self.lines) else ""
        return Mistake(self.file, line, column, show_path(path), says, suggestion, quoted)


class ScenarioErrors(UsageError):
    """A scenario file, or a lab file, says what cannot be; all of its mistakes, in the order of the file."""

    def __init__(self, mistakes: Sequence[Mistake], remedy: str = "The grammar is in docs/scenario-files.md.") -> None:
        self.mistakes = tuple(mistakes[:MOST])
        count = f"{'more than ' if len(mistakes) > MOST else ''}{len(self.mistakes)}"
        total = f"{count} mistake{'' if len(mistakes) == 1 else 's'} in {mistakes[0].file}"
        text = "\n".join([*map(str, self.mistakes), total])
        super().__init__(text, remedy=remedy)


def show_path(path: Path) -> str:
    """`hosts.client.steps[1].connect`; a key that is not a plain word stands in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= 60:
            text += f".{part}" if text else part
        else:
            text += f'["{_printable(part[:60])}"]'
    return text


def nearest(word: object, words: Iterable[str]) -> str:
    """Which of the words was probably meant; empty when none is near."""
    if not isinstance(word, str) or not 0 < len(word) <= 64:
        return ""
    by_fold = {known.casefold().replace("_", "-"): known for known in islice(words, _MOST_WORDS)}
    folded = word.casefold().replace("_", "-")
    found = difflib.get_close_matches(folded, by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """`a`, `a or b`, `a, b or c`."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail
