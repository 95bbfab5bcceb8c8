"""The connections of any capture as a table: who, how opened, how closed, how much, how long.

The columns are as wide as what is in them. Where they do not fit into the width, the two ends of a connection get a
line of their own above its numbers. Findings of the audit stand below their connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from testbed.report.escape import clean
from testbed.report.facts import list_packets
from testbed.report.style import ASCII, UNICODE, Glyphs, Line, Span, fit, wrap
from testbed.report.text import show_endpoint
from testbed.summary import Summary, say_teardown, summarize
from testbed.tcp.connection import Connection, Endpoint, Finding, FindingKind

__all__ = ["Table", "render_connections", "say_teardown"]

HEADER = ("#", "state", "client > server", "opened", "closed", "bytes > <", "again > <", "seconds")
NUMERIC = frozenset({5, 6, 7})
WHO = 2
GAP = "  "
HANGING = "    "
NOTHING: Line = (("no TCP connections", "dim"),)

Row = tuple[str, ...]  # the columns but the first


class Table:
    """The table of `testbed analyze`, at most `width` columns wide: first all rows are measured, then drawn."""

    def __init__(self, width: int, *, unicode: bool = True) -> None:
        self._width = width
        self._glyphs: Glyphs = UNICODE if unicode else ASCII
        self._widths = [len(title) for title in HEADER]

    def measure(self, summary: Summary) -> Row:
        """The cells of a connection; columns become as wide as they need."""
        row = _cells(summary, self._glyphs)
        for at, text in enumerate(row, start=1):
            if len(text) > self._widths[at]:
                self._widths[at] = len(text)
        return row

    def draw(self, rows: Iterable[tuple[int, Row, Sequence[Finding]]], last: int) -> Iterator[Line]:
        """The lines: a number, cells and findings for each row; `last` is the highest number."""
        widths = [max(self._widths[0], len(str(last))), *self._widths[1:]]
        own_line = sum(widths) + len(GAP) * (len(widths) - 1) > self._width
        header = _lines(HEADER, widths, own_line, "dim")
        for number, row, findings in rows:
            yield from (fit(line, self._width) for line in header)
            header = []
            for line in _lines((str(number), *row), widths, own_line, ""):
                yield fit(line, self._width)
            for finding in findings:
                yield from (fit(line, self._width) for line in _finding(finding, self._width, self._glyphs))
        if header:
            yield NOTHING


def render_connections(
    connections: Sequence[Connection], *, width: int, unicode: bool = True, first: int = 1
) -> list[Line]:
    """The table of these connections, counting from `first`."""
    table = Table(width, unicode=unicode)
    rows = [
        (number, table.measure(summarize(connection)), connection.audit)
        for number, connection in enumerate(connections, start=first)
    ]
    return list(table.draw(rows, first + len(rows) - 1))


def _cells(summary: Summary, glyphs: Glyphs) -> Row:
    return (
        clean(summary.state, unicode=glyphs.unicode),
        f"{show_endpoint(Endpoint(*summary.client))} > {show_endpoint(Endpoint(*summary.server))}",
        summary.opened,
        summary.closed,
        f"{summary.bytes[0]} {summary.bytes[1]}",
        f"{summary.retransmits[0]} {summary.retransmits[1]}",
        f"{(summary.last_ns - summary.first_ns) / 1e9:.6f}",
    )


def _lines(row: Sequence[str], widths: Sequence[int], own_line: bool, style: str) -> list[Line]:
    padded = [f"{text:>{wide}}" if at in NUMERIC else f"{text:<{wide}}" for at, (text, wide) in _columns(row, widths)]
    if not own_line:
        return [((GAP.join(padded), style),)]
    who: Span = (f"{padded[0]}{GAP}{row[WHO]}", style or "bold")
    return [(who,), ((HANGING + GAP.join([padded[1], *padded[WHO + 1 :]]), style),)]


def _columns(row: Sequence[str], widths: Sequence[int]) -> enumerate[tuple[str, int]]:
    return enumerate(zip(row, widths, strict=True))


def _finding(finding: Finding, width: int, glyphs: Glyphs) -> list[Line]:
    word = _WORDS[finding.kind] if finding.sure else f"{_WORDS[finding.kind]}, perhaps"
    where = ", ".join(filter(None, (finding.section, f"packets {list_packets(finding.packets)}")))
    said = clean(f"{word}: {finding.rule}: {finding.says} ({where})", unicode=glyphs.unicode)
    style = "failed" if finding.sure else "unknown"
    return wrap(said, width=width, first=(HANGING, ""), style="dim" if finding.kind is FindingKind.NOTE else style)


_WORDS = {FindingKind.PROTOCOL: "audit", FindingKind.CAPTURE: "capture", FindingKind.NOTE: "note"}
