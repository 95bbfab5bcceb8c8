"""Lines of styled text, and the glyphs they are drawn with, in Unicode and in ASCII.

A line is a tuple of spans, a span a text with the name of a style. Who prints decides what a style looks like:
`STYLES` has the look in the notation of rich; without colour the texts alone say everything.
"""

from __future__ import annotations

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
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a ladder is drawn with; every one a single column wide but what stands between two notes."""

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


UNICODE = Glyphs("─", "│", "┼", "▶", "◀", "✗", "●", "⋮", " · ", True)
ASCII = Glyphs("-", "|", "+", ">", "<", "x", "o", ":", ", ", False)


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without any style."""
    return "".join("".join(text for text, _ in line).rstrip() + "\n" for line in lines)


def fit(line: Line, width: int) -> Line:
    """The line cut to `width` columns."""
    fitted: list[Span] = []
    for text, style in line:
        room = width - sum(cells(kept) for kept, _ in fitted)
        if room <= 0:
            break
        fitted.append((clip(text, room), style))
    return tuple(fitted)


def wrap(text: str, *, width: int, first: Span = ("", ""), rest: str | None = None, style: str = "") -> list[Line]:
    """A (clean) text as lines of at most `width` columns: `first` before the first one, `rest` before the others."""
    indent = " " * cells(first[0]) if rest is None else rest
    room = max(width - cells(first[0]), 8)
    # textwrap counts characters; text with characters two columns wide gets half the room.
    room = room if cells(text) <= len(text) else room // 2
    parts = textwrap.wrap(text, room, break_on_hyphens=False) or [""]
    return [fit((first if at == 0 else (indent, ""), (part, style)), width) for at, part in enumerate(parts)]


def labelled(label: Span, text: str, *, width: int, glyphs: Glyphs, style: str = "", indent: int = 0) -> list[Line]:
    """`label  text`, wrapped behind the label; nothing where there is no text."""
    first = (" " * indent + f"{label[0]:<10}  ", label[1])
    shown = clean(text, unicode=glyphs.unicode)
    return wrap(shown, width=width, first=first, style=style) if shown else []
