"""The connections of any capture as a table: who, how opened, how closed, how much, how long.

The columns are as wide as what is in them. Where they do not fit into the width, the two ends of a connection get a
line of their own above its numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

from testbed.report.escape import clean
from testbed.report.facts import list_packets
from testbed.report.style import ASCII, UNICODE, Glyphs, Line, Span, fit, wrap
from testbed.report.text import show_endpoint
from testbed.tcp.connection import Connection, Finding, Teardown

HEADER = ("#", "state", "client > server", "opened", "closed", "bytes > <", "again > <", "seconds")
NUMERIC = frozenset({5, 6, 7})
WHO = 2
GAP = "  "
HANGING = "    "


def render_connections(connections: Sequence[Connection], *, width: int, unicode: bool = True) -> list[Line]:
    """The table of `testbed analyze`, at most `width` columns wide, findings of the audit below their connection."""
    if not connections:
        return [(("no TCP connections", "dim"),)]
    glyphs = UNICODE if unicode else ASCII
    rows = [_row(at, connection, glyphs) for at, connection in enumerate(connections, start=1)]
    widths = [max(len(row[at]) for row in (HEADER, *rows)) for at in range(len(HEADER))]
    own_line = sum(widths) + len(GAP) * (len(widths) - 1) > width
    lines = _lines(HEADER, widths, own_line, "dim")
    for row, connection in zip(rows, connections, strict=True):
        lines += _lines(row, widths, own_line, "")
        lines += [line for finding in connection.audit for line in _finding(finding, width, glyphs)]
    return [fit(line, width) for line in lines]


def _row(number: int, connection: Connection, glyphs: Glyphs) -> tuple[str, ...]:
    client, server = connection.client_flow, connection.server_flow
    return (
        str(number),
        clean(connection.conn_state, unicode=glyphs.unicode),
        f"{show_endpoint(connection.client)} > {show_endpoint(connection.server)}",
        _opened(connection),
        say_teardown(connection.teardown),
        f"{client.bytes} {server.bytes}",
        f"{client.retransmits} {server.retransmits}",
        f"{(connection.last_ns - connection.first_ns) / 1e9:.6f}",
    )


def _opened(connection: Connection) -> str:
    handshake = connection.handshake
    again = handshake.syn_retransmits + handshake.synack_retransmits
    return handshake.outcome.value + (f" ({again} again)" if again else "")


def say_teardown(teardown: Teardown) -> str:
    """How a connection closed and by whom: `fin, client first`, `rst by server`."""
    said = teardown.kind.value
    if teardown.reset_by is not None:
        return f"{said} by {teardown.reset_by.value}"
    return said if teardown.closed_first is None else f"{said}, {teardown.closed_first.value} first"


def _lines(row: Sequence[str], widths: Sequence[int], own_line: bool, style: str) -> list[Line]:
    padded = [f"{text:>{wide}}" if at in NUMERIC else f"{text:<{wide}}" for at, (text, wide) in _columns(row, widths)]
    if not own_line:
        return [((GAP.join(padded), style),)]
    who: Span = (f"{padded[0]}{GAP}{row[WHO]}", style or "bold")
    return [(who,), ((HANGING + GAP.join([padded[1], *padded[WHO + 1 :]]), style),)]


def _columns(row: Sequence[str], widths: Sequence[int]) -> enumerate[tuple[str, int]]:
    return enumerate(zip(row, widths, strict=True))


def _finding(finding: Finding, width: int, glyphs: Glyphs) -> list[Line]:
    word = "audit" if finding.sure else "audit, perhaps"
    said = f"{word}: {finding.rule}: {finding.says} (packets {list_packets(finding.packets)})"
    style = "failed" if finding.sure else "unknown"
    return wrap(clean(said, unicode=glyphs.unicode), width=width, first=(HANGING, ""), style=style)
