"""Foreign text made safe to show: payload, log lines and names can hold anything, also terminal escapes.

Control characters (C0, DEL, C1), invisible and direction-changing ones (Unicode category Cf), line separators and
surrogates are written as Python would escape them, so that nothing a peer sent can move a cursor, hide a line or
break an XML document. What is left has a known width in terminal cells (Unicode annex 11).
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: str, *, unicode: bool = True) -> str:
    """The text with all that a terminal or a page could obey escaped; in ASCII only where `unicode` is False."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _safe(char, unicode) else _escaped(char) for char in text)


def is_safe(char: str) -> bool:
    """Whether a terminal or a page shows a character and does nothing else, and everybody sees it."""
    return unicodedata.category(char) not in _UNSAFE


def _safe(char: str, unicode: bool) -> bool:
    return is_safe(char) if unicode else char.isascii() and char.isprintable()


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def quote(payload: bytes, *, limit: int, unicode: bool = True) -> str:
    """The start of a payload in double quotes, escaped; `...` stands for what is beyond `limit` characters."""
    shown = clean(payload[: 4 * limit].decode("utf-8", "backslashreplace").replace('"', '\\"'), unicode=unicode)
    return f'"{shown}"' if len(shown) <= limit and len(payload) <= 4 * limit else f'"{shown[:limit]}..."'


def cells(text: str) -> int:
    """How many columns of a terminal the (clean) text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in {"W", "F"} else 1


def clip(text: str, width: int) -> str:
    """The text cut to `width` columns, `..` at its end where something is missing."""
    if cells(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        if used + _cells(char) > width - 2:
            break
        kept, used = kept + char, used + _cells(char)
    return (kept + "..")[: max(width, 0)]
