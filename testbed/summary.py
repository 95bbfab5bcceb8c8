"""What is told of a connection on one line: enough for a table, and to choose some of many. Pure."""

from __future__ import annotations

from typing import NamedTuple

from testbed.tcp.connection import Connection, Finding, Teardown


class Summary(NamedTuple):
    """A connection on one line; pairs are (client, server)."""

    number: int  # of its first packet
    state: str  # Zeek's conn_state
    outcome: str
    opened: str
    closing: str
    closed: str
    client: tuple[str, int]
    server: tuple[str, int]
    bytes: tuple[int, int]
    retransmits: tuple[int, int]
    first_ns: int
    last_ns: int
    packets: int
    history: str
    completeness: int
    audit: tuple[Finding, ...]


def summarize(connection: Connection) -> Summary:
    """A connection on one line."""
    return Summary(
        number=connection.packets[0],
        state=connection.conn_state,
        outcome=connection.handshake.outcome.value,
        opened=say_opening(connection),
        closing=connection.teardown.kind.value,
        closed=say_teardown(connection.teardown),
        client=(connection.client.address, connection.client.port),
        server=(connection.server.address, connection.server.port),
        bytes=(connection.client_flow.bytes, connection.server_flow.bytes),
        retransmits=(connection.client_flow.retransmits, connection.server_flow.retransmits),
        first_ns=connection.first_ns,
        last_ns=connection.last_ns,
        packets=len(connection.packets),
        history=connection.history,
        completeness=connection.completeness,
        audit=connection.audit,
    )


def say_opening(connection: Connection) -> str:
    """How a connection opened: `complete`, `unanswered (2 again)`."""
    handshake = connection.handshake
    again = handshake.syn_retransmits + handshake.synack_retransmits
    return handshake.outcome.value + (f" ({again} again)" if again else "")


def say_teardown(teardown: Teardown) -> str:
    """How a connection closed and by whom: `fin, client first`, `rst by server`."""
    said = teardown.kind.value
    if teardown.reset_by is not None:
        return f"{said} by {teardown.reset_by.value}"
    return said if teardown.closed_first is None else f"{said}, {teardown.closed_first.value} first"
