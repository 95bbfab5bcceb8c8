"""What came of a conversation: the frozen value, and what only the whole of it shows.

* Who is the client of a connection whose SYN was not seen: the other side of the well-known port, or of the lower one.
* Holes that were acknowledged are the capture's; holes that were not may be losses, and are counted only.
* Segments larger than the other side can take were cut after, or joined before, the capture (offload).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from testbed.tcp.connection import Connection, Endpoint, Finding, HandshakeOutcome, Role, StateChange
from testbed.tcp.end import End
from testbed.tcp.handshake import judge_handshake
from testbed.tcp.states import STATES
from testbed.tcp.talk import SYN
from testbed.tcp.teardown import judge_teardown
from testbed.tcp.tracker import Tracker
from testbed.tcp.wireshark import settle
from testbed.tcp.zeek_end import INACTIVE
from testbed.tcp.zeek_words import SERVER_PORTS

_NAMES = tuple(state.value for state in STATES)
_NEVER_OPENED = frozenset({HandshakeOutcome.REFUSED, HandshakeOutcome.RESET})


class StateChanges(Sequence[StateChange]):
    """The changes of state of both ends, made when somebody looks: in most captures nobody does."""

    __slots__ = ("_client_is_a", "_made", "_rows")

    def __init__(self, rows: list[tuple[int, bool, int, int, int]], client_is_a: bool) -> None:
        self._rows = rows
        self._client_is_a = client_is_a
        self._made: tuple[StateChange, ...] | None = None

    def _changes(self) -> tuple[StateChange, ...]:
        if self._made is None:
            roles = (Role.SERVER, Role.CLIENT) if self._client_is_a else (Role.CLIENT, Role.SERVER)
            self._made = tuple(
                StateChange(time_ns, roles[is_a], _NAMES[before], _NAMES[after], number)
                for time_ns, is_a, before, after, number in self._rows
            )
        return self._made

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> StateChange: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[StateChange, ...]: ...
    def __getitem__(self, index: int | slice) -> StateChange | tuple[StateChange, ...]:
        return self._changes()[index]

    def __iter__(self) -> Iterator[StateChange]:
        return iter(self._changes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._changes() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._changes())

    def __repr__(self) -> str:
        return repr(self._changes())


def conclude(talk: Tracker) -> Connection:
    """The connection as a value."""
    if talk.calm:
        talk.grow_alert()
    client = talk.client or _likely_client(talk)
    server = talk.peer_of(client)
    reset = None if talk.reset is not None and talk.reset.doubted else talk.reset
    handshake = judge_handshake(talk.opening, client, server, reset, talk.first_syn_ns)
    opened = handshake.outcome not in _NEVER_OPENED
    client_holes, server_holes = client.stream.missing(), server.stream.missing()
    flows = client.flow(len(client_holes)), server.flow(len(server_holes))
    audit = _audit(talk, (client, client_holes), (server, server_holes))
    one, other = Endpoint(talk.source, talk.source_port), Endpoint(talk.destination, talk.destination_port)
    return Connection(
        client=one if client is talk.a else other,
        server=other if client is talk.a else one,
        handshake=handshake,
        teardown=judge_teardown(talk.fins, talk.late_data, reset, client, opened=opened, own=client is server),
        client_flow=flows[0],
        server_flow=flows[1],
        conn_state=talk.zeek.conn_state(),
        history=talk.zeek.history(),
        completeness=settle(talk.completeness, talk.first_flags, len(talk.packets)),
        packets=tuple(talk.packets),
        first_ns=talk.first_ns,
        last_ns=talk.last_ns,
        client_isn=client.isn,
        server_isn=server.isn,
        states=StateChanges(talk.states, client is talk.a),
        audit=audit,
    )


def _likely_client(talk: Tracker) -> End:
    """No SYN seen: the well-known port, or else the lower one, is the server's."""
    if talk.first_flags & SYN:
        return talk.a
    rank_a = (talk.source_port not in SERVER_PORTS, talk.source_port)
    rank_b = (talk.destination_port not in SERVER_PORTS, talk.destination_port)
    return talk.b if rank_a < rank_b else talk.a


Holes = list[tuple[int, int]]


def _audit(talk: Tracker, *sides: tuple[End, Holes]) -> tuple[Finding, ...]:
    """What was noted in passing, and what only the whole shows."""
    whole = not talk.opening.mid_stream
    for end, holes in sides:
        peer = talk.peer_of(end)
        if holes or end.misses_tail():
            whole = False
        if holes or end.jumps:
            _find_missing(talk, end, peer, holes)
        if end.bogus_acks:
            for number, _, _ in end.bogus_acks:
                talk.note("ack-of-unsent", number)
        if end.largest > peer.mss:
            talk.note("super-segment", end.largest_packet)
    for end, _ in sides:
        if end.spoke and talk.zeek.ends[1 if end is talk.a else 0].state == INACTIVE:
            _find_one_sided(talk, end)
    if talk.snapped:
        talk.note("snapped", *talk.snapped)
    if talk.reset is not None and (talk.reset.doubted or talk.reset.went_on):
        talk.note("rst-sender-went-on", talk.reset.packet)
    if talk.audit is None:
        return ()
    return talk.audit.findings(complete=whole and not talk.audit.has("packets-missing"))


def _find_one_sided(talk: Tracker, end: End) -> None:
    """Nothing of the other side was seen; sure when what it sent is acknowledged."""
    if end.ack > 1:
        talk.note("one-sided", end.spoke, proven=True)
    elif len(talk.packets) > 1 and (end.data or end.fin is not None):
        talk.note("one-sided", end.spoke)


def _find_missing(talk: Tracker, end: End, peer: End, holes: Holes) -> None:
    """Holes that the other side acknowledged, and so had received."""
    highest = end.stream.highest
    upto = end.fin if end.fin is not None else end.next
    tail = [(highest, upto)] if upto > highest and end.jumps and not end.silent else []
    acked = [(first, last) for first, last in (*holes, *tail) if peer.ack >= last]
    for first, last in acked:
        after = [number for start, number in end.jumps or () if first < start <= last]
        talk.note("packets-missing", *after[:1])
