"""Lines of styled text, and the glyphs they are drawn with, in Unicode and in ASCII.

A line is a tuple of spans, a span a text with the name of a style. Who prints decides what a style looks like:
`STYLES` has the look in the notation of rich; without colour the texts alone say everything.

A terminal would wrap a line that is too wide, so there every word can be broken. In a log nothing wraps, and a place in
a file (`scenarios/hangs.yaml:5`) must stay one word there, to be searched for and clicked: `Glyphs.whole`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from testbed.report.escape import cells, clean, clip

Span = tuple[str, str]
Line = tuple[Span, ...]

STYLES = {
    "": "",
    "passed": "bold green",
    "failed": "bold red",
    "unknown": "bold yellow",
    "dim": "dim",
    "client": "cyan",
    "server": "magenta",
    "lost": "red",
    "bold": "bold",
    "place": "dim",
}

# A path with a slash, or a file's name with a line behind it; in quotes or parentheses too.
_PATH = r"[\w.@%+~-]*(?:/[\w.@%+~-]+)+/*(?::\d+)*|[\w.@%+~-]+\.\w+(?::\d+)+"
_PLACE = re.compile(rf"[('\"]*(?:{_PATH})[)'\",;:.]*")


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a ladder is drawn with; every one a single column wide but what stands between two notes.

    `unicode`: whether texts from outside may have more than ASCII. `whole`: places in files are never broken.
    """

    dash: str
    lane: str
    wire: str
    right: str
    left: str
    lost: str
    state: str
    dots: str
    between: str
    unicode: bool
    whole: bool = False


UNICODE = Glyphs("─", "│", "┼", "▶", "◀", "✗", "●", "⋮", " · ", True)
ASCII = Glyphs("-", "|", "+", ">", "<", "x", "o", ":", ", ", False)


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without any style."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def fit(line: Line, width: int, *, whole: bool = False) -> Line:
    """The line cut to `width` columns; places in files are not cut where they are to stay whole."""
    fitted: list[Span] = []
    for text, style in line:
        room = width - sum(cells(kept) for kept, _ in fitted)
        if whole and (style == "place" or _PLACE.fullmatch(text)):
            fitted.append((text, style))
        elif room > 0:
            fitted.append((clip(text, room), style))
    return tuple(fitted)


def wrap(
    text: str, *, width: int, first: Span = ("", ""), rest: str | None = None, style: str = "", whole: bool = False
) -> list[Line]:
    """A (clean) text as lines of at most `width` columns: `first` before the first one, `rest` before the others.

    With `whole`, a place in a file that is longer than a line stays one word on a line of its own.
    """
    indent = " " * cells(first[0]) if rest is None else rest
    room = max(width - cells(first[0]), 8)
    # textwrap counts characters; text with characters two columns wide gets half the room.
    room = room if cells(text) <= len(text) else room // 2
    parts = _whole_parts(text, room) if whole else _parts(text, room)
    lines = enumerate(parts or [""])
    return [fit((first if at == 0 else (indent, ""), (part, style)), width, whole=whole) for at, part in lines]


def _parts(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, room, break_on_hyphens=False)


def _whole_parts(text: str, room: int) -> list[str]:
    """The text in lines; of the words that are longer than one, only those that are no places are broken."""
    lines = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False)
    return [part for line in lines for part in ([line] if _PLACE.fullmatch(line) else _parts(line, room))]


def labelled(label: Span, text: str, *, width: int, glyphs: Glyphs, style: str = "", indent: int = 0) -> list[Line]:
    """`label  text`, wrapped behind the label; nothing where there is no text."""
    first = (" " * indent + f"{label[0]:<10}  ", label[1])
    shown = clean(text, unicode=glyphs.unicode)
    return wrap(shown, width=width, first=first, style=style, whole=glyphs.whole) if shown else []
