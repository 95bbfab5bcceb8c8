"""Plain connections of one shape: the first is followed packet by packet, the others are filled in from their columns.

A shape is the outline (see `plain`), the options and the flags of SYN and SYN-ACK. What `testbed.tcp` says of one
connection of a shape is true of all of them, but for the numbers; those are taken from the columns. So the words, the
states and what they rest on stay where they belong. A shape whose first connection is not given back exactly when it is
filled in from its own columns is not used: its connections are followed one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

from testbed.summary import summarize
from testbed.tcp.connection import Connection, Endpoint, Flow, Handshake, StateChange, Teardown

# What is filled in, or is the same for all connections of a shape. A field that is not named here is one that nobody
# has thought about: then no shape is used.
FILLED_IN: dict[type, tuple[str, ...]] = {
    Connection: (
        "client", "server", "handshake", "teardown", "client_flow", "server_flow", "packets", "first_ns", "last_ns",
        "client_isn", "server_isn", "states",
    ),
    Flow: ("bytes", "segments", "largest_segment", "data_packets"),
    Handshake: ("duration_ns", "packets"),
    Teardown: ("packets",),
    StateChange: ("time_ns", "packet"),
}  # fmt: skip
THE_SAME: dict[type, tuple[str, ...]] = {
    Connection: ("conn_state", "history", "completeness", "audit"),
    Flow: (
        "stream", "retransmits", "out_of_order", "duplicate_acks", "zero_windows", "gaps", "retransmitted_packets",
        "duplicates", "keep_alives", "window_probes",
    ),
    Handshake: (
        "outcome", "syns", "syn_acks", "syn_retransmits", "synack_retransmits", "client_options", "server_options",
    ),
    Teardown: ("kind", "closed_first", "fin_retransmits", "reset_by", "reset_state"),
    StateChange: ("role", "before", "after"),
}  # fmt: skip


def forgotten_fields() -> list[str]:
    """Fields of a connection that are neither filled in nor the same for all of a shape."""
    return [
        f"{value.__name__}.{field.name}"
        for value in FILLED_IN
        for field in fields(value)
        if field.name not in FILLED_IN[value] and field.name not in THE_SAME[value]
    ]


@dataclass(frozen=True, slots=True)
class Shape:
    """A connection that stands for all of its shape; packet numbers in it are places in the outline."""

    example: Connection
    is_over: bool
    summary_parts: tuple[tuple[object, ...], tuple[int, int], tuple[object, ...]]

    @classmethod
    def learn(cls, connection: Connection, outline: Sequence[int]) -> Shape | None:
        """Take a connection, followed packet by packet, as an example; None where it is none."""
        place = {number: at for at, number in enumerate(outline)}
        handshake, teardown = connection.handshake, connection.teardown
        numbers = {*handshake.packets, *teardown.packets, *(change.packet for change in connection.states)}
        if not numbers <= place.keys():
            return None
        example = replace(
            connection,
            handshake=replace(handshake, packets=tuple(place[n] for n in handshake.packets)),
            teardown=replace(teardown, packets=tuple(place[n] for n in teardown.packets)),
            states=tuple(replace(change, packet=place[change.packet]) for change in connection.states),
        )
        s = summarize(connection)
        parts = (s.state, s.outcome, s.opened, s.closing, s.closed), s.retransmits, (s.history, s.completeness, s.audit)
        return cls(example, teardown.kind in _OVER or handshake.outcome in _OVER, parts)


_OVER = frozenset({"fin", "simultaneous", "rst", "refused", "reset"})


class Numbers(NamedTuple):
    """What is filled in for one connection; pairs are (client, server)."""

    client: tuple[str, int]
    server: tuple[str, int]
    first_ns: int
    last_ns: int
    isns: tuple[int, int | None]
    bytes: tuple[int, int]
    segments: tuple[int, int]
    largest: tuple[int, int]
    outline: Sequence[int]  # packet numbers
    outline_ns: Sequence[int]
    packets: tuple[int, ...]
    data: tuple[tuple[int, ...], tuple[int, ...]]  # the packets with payload


def fill_in(shape: Shape, numbers: Numbers) -> Connection:
    """A connection of this shape."""
    example, at, times = shape.example, numbers.outline, numbers.outline_ns
    handshake, teardown = example.handshake, example.teardown
    duration = None if handshake.duration_ns is None else times[handshake.packets[-1]] - numbers.first_ns
    return replace(
        example,
        client=Endpoint(*numbers.client),
        server=Endpoint(*numbers.server),
        handshake=replace(handshake, packets=tuple(at[place] for place in handshake.packets), duration_ns=duration),
        teardown=replace(teardown, packets=tuple(at[place] for place in teardown.packets)),
        client_flow=_fill_flow(example.client_flow, numbers, 0),
        server_flow=_fill_flow(example.server_flow, numbers, 1),
        packets=numbers.packets,
        first_ns=numbers.first_ns,
        last_ns=numbers.last_ns,
        client_isn=numbers.isns[0],
        server_isn=numbers.isns[1],
        states=tuple(
            StateChange(times[change.packet], change.role, change.before, change.after, at[change.packet])
            for change in example.states
        ),
    )


def _fill_flow(flow: Flow, numbers: Numbers, side: int) -> Flow:
    return replace(
        flow,
        bytes=numbers.bytes[side],
        segments=numbers.segments[side],
        largest_segment=numbers.largest[side],
        data_packets=numbers.data[side],
    )


def is_same(one: Connection, other: Connection) -> bool:
    """Whether two connections are equal, in whatever sequences their packet numbers are kept."""
    return _plain_sequences(one) == _plain_sequences(other)


def _plain_sequences(connection: Connection) -> Connection:
    flows = (
        replace(flow, data_packets=tuple(flow.data_packets))
        for flow in (connection.client_flow, connection.server_flow)
    )
    return replace(
        connection,
        client_flow=next(flows),
        server_flow=next(flows),
        packets=tuple(connection.packets),
        states=tuple(connection.states),
    )
