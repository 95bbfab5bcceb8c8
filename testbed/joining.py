"""Putting a long text together from very many small pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

AT_ONCE = 10_000


def join(pieces: Iterable[str]) -> str:
    """The pieces as one text.

    `"".join` keeps every piece until the end, and a piece of ten characters takes sixty bytes: of a storm's result that
    was six times the text.
    """
    rest, blocks = iter(pieces), []
    while some := list(islice(rest, AT_ONCE)):
        blocks.append("".join(some))
    return "".join(blocks)
