"""Connections as they end: what is given out when, with and without payload, and cut as Zeek cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tcp_notation import conversation

from testbed.packet import Packet
from testbed.tcp.connection import HandshakeOutcome, TeardownKind
from testbed.tcp.follower import LINGER_NS, Follower, follow
from testbed.tcp.trace import trace_connections

SECOND = 10**9
WHOLE = """
c> S 0:0(0)
s> S. 0:0(0) ack 1
c> . 1:1(0) ack 1
c> P. 1:11(10) ack 1
s> . 1:1(0) ack 11
c> F. 11:11(0) ack 1
s> F. 1:1(0) ack 12
c> . 12:12(0) ack 2
"""


def late(packet: Packet, number: int, after_ns: int) -> Packet:
    """The same packet again, that much later."""
    return replace(packet, number=number, time_ns=packet.time_ns + after_ns)


def of_client(port: int, number: int, start_ns: int) -> list[Packet]:
    """A whole conversation of another client."""
    return conversation(WHOLE, client=("198.18.0.7", port), first_number=number, start_ns=start_ns)


def test_closed_and_silent_connections_are_given_out() -> None:
    """Once a connection is closed and silent for LINGER_NS, the next close gives it out; the rest comes at the end."""
    first, second = of_client(1, 1, 0), of_client(2, 9, LINGER_NS + SECOND)
    follower = Follower()
    given = [connection for packet in [*first, *second] for connection in follower.take(packet)]
    assert [connection.client.port for connection in given] == [1]
    assert [connection.client.port for connection in follower.finish()] == [2]


def test_open_connections_are_kept() -> None:
    """Without a close nothing is given out, however long the silence, and the answer still belongs to it."""
    packets = of_client(1, 1, 0)
    packets[5:] = [late(packet, packet.number, 100 * LINGER_NS) for packet in packets[5:]]
    follower = Follower()
    assert not any(follower.take(packet) for packet in packets)
    (connection,) = follower.finish()
    assert connection.teardown.kind is TeardownKind.FIN


@pytest.mark.parametrize(("after_ns", "count"), [(LINGER_NS, 1), (LINGER_NS + 1, 2)])
def test_a_straggler_after_the_linger_is_another_connection(after_ns: int, count: int) -> None:
    """The same with and without giving out early: a packet so late cannot belong to the closed connection."""
    packets = of_client(1, 1, 0)
    packets.append(late(packets[-1], 9, after_ns))
    assert len(trace_connections(packets)) == count
    assert len(list(follow(packets))) == count


def test_a_new_syn_gives_the_old_connection_out() -> None:
    """An answered SYN on the same endpoints ends what was there."""
    again = conversation(
        WHOLE, isn={"c": 90_000, "s": 95_000}, client=("198.18.0.7", 1), first_number=9, start_ns=SECOND
    )
    follower = Follower()
    given = [len(follower.take(packet)) for packet in [*of_client(1, 1, 0), *again]]
    assert given == [0] * 9 + [1] + [0] * 6
    assert len(follower.finish()) == 1


def test_few_closed_connections_are_kept_when_asked() -> None:
    """Memory does not grow with the rate of connections: beyond the limit the longest closed is given out."""
    follower = Follower(keep_closed=3)
    packets = [packet for port in range(1, 11) for packet in of_client(port, 8 * port - 7, port * SECOND)]
    given = [connection.client.port for packet in packets for connection in follower.take(packet)]
    assert given == [1, 2, 3, 4, 5, 6, 7]


def test_without_payload_all_but_the_stream_is_the_same() -> None:
    """keep_stream=False changes nothing but `stream`."""
    (kept,) = trace_connections(conversation(WHOLE))
    (bare,) = trace_connections(conversation(WHOLE), keep_stream=False)
    assert kept.client_flow.stream != b""
    assert replace(kept, client_flow=replace(kept.client_flow, stream=b"")) == bare


@pytest.mark.parametrize(
    ("text", "states"),
    [
        ("0 c> S 0:0(0)\n5 c> S 0:0(0)", ["S0", "S0"]),
        ("0 c> S 0:0(0)\n4.9 c> S 0:0(0)", ["S0"]),
        ("0 c> S 0:0(0)\n1 s> S 0:0(0)\n1.1 c> S. 0:0(0) ack 1", ["S0", "S1"]),
        (f"{WHOLE}\n5.07 c> . 12:12(0) ack 2", ["SF", "OTH"]),
        (f"{WHOLE}\n4 c> . 12:12(0) ack 2", ["SF"]),
        (f"{WHOLE}\n1 c> S 0:0(0)", ["SF", "S0"]),
        ("0 c> . 1:1(0) ack 1\n299 c> . 1:1(0) ack 1", ["OTH"]),
        ("0 c> . 1:1(0) ack 1\n300 c> . 1:1(0) ack 1", ["OTH", "OTH"]),
        ("0 c> S 0:0(0)\n1 s> S. 0:0(0) ack 1\n2 c> . 1:1(0) ack 1\n301 c> . 1:1(0) ack 1", ["S1"]),
        ("0 c> S 0:0(0)\n1 s> S. 0:0(0) ack 1\n2 c> . 1:1(0) ack 1\n302 c> . 1:1(0) ack 1", ["S1", "OTH"]),
    ],
)
def test_zeeks_cuts(text: str, states: list[str]) -> None:
    """5 s after an unanswered SYN or a close, 1 and 5 minutes of silence, and any SYN that is no copy."""
    packets = conversation(text)
    assert [connection.conn_state for connection in trace_connections(packets, zeek_cuts=True)] == states


def test_long_lived_ports_may_be_silent_for_an_hour() -> None:
    """Port 22 is not cut after 5 minutes."""
    text = "0 c> S 0:0(0)\n1 s> S. 0:0(0) ack 1\n2 c> . 1:1(0) ack 1\n3000 c> . 1:1(0) ack 1"
    assert len(trace_connections(conversation(text, server=("198.18.0.2", 22)), zeek_cuts=True)) == 1


def test_we_do_not_cut() -> None:
    """Without zeek_cuts an unanswered SYN an hour later is the same attempt."""
    (connection,) = trace_connections(conversation("0 c> S 0:0(0)\n3600 c> S 0:0(0)"))
    assert (connection.handshake.outcome, connection.handshake.syns) == (HandshakeOutcome.UNANSWERED, 2)


def test_a_syn_with_the_old_number_after_the_close() -> None:
    """Answered it is a new connection, though its number is the same; unanswered it is a late copy."""
    packets = conversation(WHOLE)
    copy = late(packets[0], 9, SECOND)
    assert len(trace_connections([*packets, copy])) == 1
    answer = replace(late(packets[1], 10, SECOND), sequence=77_000)
    assert len(trace_connections([*packets, copy, answer])) == 2
