"""Checks that every connection must satisfy by itself: how it opened and closed, what it carried, the known words.

The table gives for each expectation the fact of a connection, how it compares, and the packets that show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testbed.scenario.model import PacketClass
from testbed.scenario.units import Range, format_duration
from testbed.tcp.connection import Connection, Role
from testbed.verdict.classes import is_a
from testbed.verdict.kind import Answer, Kind, Question, expected
from testbed.verdict.value import Outcome
from testbed.verdict.view import View
from testbed.verdict.wire import show_ms

MOST = 100  # packet numbers given as evidence of one check
NOBODY = "nobody"

Packets = Callable[[View, Connection], tuple[int, ...]]


def _word(value: Any) -> str:
    return NOBODY if value is None else str(getattr(value, "value", value))


def _number(value: Any) -> str:
    return value.show() if isinstance(value, Range) else str(value)


def _duration(value: Any) -> str:
    if isinstance(value, Range):
        return value.show(format_duration)
    return "never complete" if value is None else show_ms(value)


def _equal(seen: Any, wanted: Any) -> bool:
    return bool(seen == wanted)


def _within(seen: Any, wanted: Range) -> bool:
    return seen is not None and seen in wanted


@dataclass(frozen=True, slots=True)
class Fact:
    """A row: the fact of a connection that an expectation is about."""

    path: str
    fact: Callable[[Connection], Any]
    packets: Packets
    fits: Callable[[Any, Any], bool] = _equal
    show: Callable[[Any], str] = _word


def _opening(view: View, connection: Connection) -> tuple[int, ...]:
    return connection.handshake.packets


def _closing(view: View, connection: Connection) -> tuple[int, ...]:
    return connection.teardown.packets


def _both(view: View, connection: Connection) -> tuple[int, ...]:
    return tuple(sorted({*connection.handshake.packets, *connection.teardown.packets}))


def _of(kind: PacketClass) -> Packets:
    return lambda view, connection: tuple(n for n in connection.packets if is_a(view.by_number[n], kind))


def _data(role: Role) -> Packets:
    return lambda view, connection: connection.flow(role).data_packets


def _again(role: Role) -> Packets:
    return lambda view, connection: connection.flow(role).retransmitted_packets


_SYN, _SYN_ACK, _FIN, _RST = map(_of, (PacketClass.SYN, PacketClass.SYN_ACK, PacketClass.FIN, PacketClass.RST))

FACTS = (
    Fact("handshake.outcome", lambda c: c.handshake.outcome, _opening),
    Fact("handshake.duration", lambda c: c.handshake.duration_ns, _opening, _within, _duration),
    Fact("handshake.syns", lambda c: c.handshake.syns, _SYN, _within, _number),
    Fact("handshake.syn_acks", lambda c: c.handshake.syn_acks, _SYN_ACK, _within, _number),
    Fact("handshake.syn_retransmits", lambda c: c.handshake.syn_retransmits, _SYN, _within, _number),
    Fact("handshake.synack_retransmits", lambda c: c.handshake.synack_retransmits, _SYN_ACK, _within, _number),
    Fact("teardown.kind", lambda c: c.teardown.kind, _closing),
    Fact("teardown.closed_first", lambda c: c.teardown.closed_first, _closing),
    Fact("teardown.fin_retransmits", lambda c: c.teardown.fin_retransmits, _FIN, _within, _number),
    Fact("teardown.reset_by", lambda c: c.teardown.reset_by, _RST),
    Fact("bytes.client->server", lambda c: c.client_flow.bytes, _data(Role.CLIENT), _within, _number),
    Fact("bytes.server->client", lambda c: c.server_flow.bytes, _data(Role.SERVER), _within, _number),
    Fact("retransmits.client", lambda c: c.client_flow.retransmits, _again(Role.CLIENT), _within, _number),
    Fact("retransmits.server", lambda c: c.server_flow.retransmits, _again(Role.SERVER), _within, _number),
    Fact("conn_state", lambda c: c.conn_state, _both),
    Fact("history", lambda c: c.history, _both),
    Fact("completeness", lambda c: c.completeness, _both),
)


def _count(view: View, question: Question) -> Answer:
    number, wanted = len(view.connections), question.wanted
    packets = tuple(connection.packets[0] for connection in view.connections)
    if number in wanted:
        return Answer(Outcome.PASSED, _number(wanted), str(number), "", packets[:MOST])
    why = f"TCP connections that the wire saw: {number} instead of {_number(wanted)}"
    told = f"{why}: {view.say_all(packets)}" if packets else f"{why}; {len(view.wire)} packets were on it in all"
    return Answer(Outcome.FAILED, _number(wanted), str(number), told, packets[:MOST])


def nothing_seen(view: View, wanted: str) -> Answer:
    """The answer about connections where there is none."""
    why = f"the wire saw no TCP connection; {len(view.wire)} packets were on it in all"
    return Answer(Outcome.FAILED, wanted, "no connection", why)


def _check(fact: Fact) -> Callable[[View, Question], Answer]:
    def answer(view: View, question: Question) -> Answer:
        wanted = fact.show(question.wanted)
        if not view.connections:
            return nothing_seen(view, wanted)
        wrong = [c for c in view.connections if not fact.fits(fact.fact(c), question.wanted)]
        if wrong:
            return _wrong(view, fact, wanted, wrong)
        seen = Counter(fact.show(fact.fact(connection)) for connection in view.connections)
        packets = [number for connection in view.connections for number in fact.packets(view, connection)]
        return Answer(Outcome.PASSED, wanted, tell(seen), "", tuple(sorted(set(packets)))[:MOST])

    return answer


def _wrong(view: View, fact: Fact, wanted: str, wrong: list[Connection]) -> Answer:
    first = wrong[0]
    seen = fact.show(fact.fact(first))
    packets = fact.packets(view, first)
    shown = f": {view.say_all(packets)}" if packets else f"; of its packets the last is: {view.say(first.packets[-1])}"
    why = f"{who(view, first)} has {fact.path} {seen} instead of {wanted}{shown}"
    evidence = packets or (first.packets[0], first.packets[-1])
    if len(view.connections) > 1:
        seen += f" (client port {first.client.port}; {len(wrong)} of {len(view.connections)} connections)"
    return Answer(Outcome.FAILED, wanted, seen, why, evidence[:MOST])


def who(view: View, connection: Connection) -> str:
    """A connection in words."""
    client, server = connection.client, connection.server
    return (
        f"the connection from {view.host(client.address)} port {client.port} "
        f"to {view.host(server.address)} port {server.port}"
    )


def tell(seen: Counter[str]) -> str:
    """Values with how many connections showed them."""
    if len(seen) == 1:
        ((value, times),) = seen.items()
        return value if times == 1 else f"{value} ({times} connections)"
    return ", ".join(f"{value} ({times} connections)" for value, times in seen.items())


CHECKS = (
    Kind(expected("connections"), _count, rests_on_packets=True),
    *(Kind(expected(fact.path), _check(fact), rests_on_packets=True) for fact in FACTS),
)
