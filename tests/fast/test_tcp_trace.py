"""How packets are sorted into connections: several tuples, port reuse, strays, what is no TCP."""

from __future__ import annotations

from dataclasses import replace

from tcp_notation import conversation, rules, trace

from testbed.packet import Packet, Protocol
from testbed.tcp.connection import FindingKind, HandshakeOutcome, TeardownKind
from testbed.tcp.trace import trace_connections

WHOLE = """
c> S 0:0(0)
s> S. 0:0(0) ack 1
c> . 1:1(0) ack 1
c> F. 1:1(0) ack 1
s> F. 1:1(0) ack 2
c> . 2:2(0) ack 2
"""
OPEN = "\n".join(WHOLE.splitlines()[:4])


def again(text: str, after: list[Packet], isn: int = 900_000) -> list[Packet]:
    """A further conversation on the same tuple, with other sequence numbers."""
    more = conversation(text, isn={"c": isn, "s": isn + 77}, first_number=len(after) + 1, start_ns=10**9)
    return [*after, *more]


def test_connections_come_in_order_of_their_first_packets() -> None:
    """Two clients, interleaved: two connections, the earlier first; UDP is no business of ours."""
    one = conversation(WHOLE)
    two = conversation(WHOLE, client=("198.18.0.9", 40000))
    mixed = [packet for pair in zip(one, two, strict=True) for packet in pair]
    mixed = [replace(packet, number=number) for number, packet in enumerate(mixed, start=1)]
    udp = replace(mixed[0], number=99, protocol=Protocol.UDP)
    first, second = trace_connections([udp, *mixed, udp])
    assert (first.client.address, second.client.address) == ("198.18.0.1", "198.18.0.9")
    assert first.packets == (1, 3, 5, 7, 9, 11)
    assert second.packets == (2, 4, 6, 8, 10, 12)


def test_no_packets_no_connections() -> None:
    """Nothing in, nothing out."""
    assert trace_connections([]) == ()


def test_port_reuse_after_close_starts_a_new_connection() -> None:
    """A SYN with another ISN after the close (TIME-WAIT reuse, RFC 6191) is a new connection."""
    first, second = trace_connections(again(WHOLE, conversation(WHOLE)))
    assert [c.handshake.outcome for c in (first, second)] == [HandshakeOutcome.COMPLETE] * 2
    assert first.packets == (1, 2, 3, 4, 5, 6)
    assert second.packets == (7, 8, 9, 10, 11, 12)


def test_port_reuse_unanswered_is_a_new_connection_too() -> None:
    """After the close an unanswered SYN with another ISN is an attempt of its own."""
    _, second = trace_connections(again("c> S 0:0(0)", conversation(WHOLE)))
    assert second.handshake.outcome is HandshakeOutcome.UNANSWERED


def test_refused_attempts_with_new_numbers_are_one_connection_each() -> None:
    """connect() again from the same port after a refusal: another ISN, another connection."""
    refused = "c> S 0:0(0)\ns> R. 0:0(0) ack 1"
    connections = trace_connections(again(refused, conversation(refused)))
    assert [c.handshake.outcome for c in connections] == [HandshakeOutcome.REFUSED] * 2


def test_half_open_after_a_reboot() -> None:
    """RFC 9293 section 3.5.1, figure 9: the old end challenges, the new end resets it and sends its SYN again."""
    old = conversation(OPEN + "\ns> P. 1:11(10) ack 1\nc> . 1:1(0) ack 11")
    new = conversation("c> S 0:0(0)", isn={"c": 900_000, "s": 0}, first_number=6, start_ns=10**9)
    challenge = conversation("s> . 11:11(0) ack 1\nc> R 1:1(0)", first_number=7, start_ns=10**9 + 1)
    retry = conversation(
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1",
        isn={"c": 900_000, "s": 700_000},
        first_number=9,
        start_ns=2 * 10**9,
    )
    first, second = trace_connections([*old, *new, *challenge, *retry])
    assert (first.teardown.kind, first.packets) == (TeardownKind.RST, (1, 2, 3, 4, 5, 7, 8))
    assert second.handshake.outcome is HandshakeOutcome.COMPLETE
    assert (second.handshake.syn_retransmits, second.packets) == (1, (6, 9, 10, 11))


def test_an_old_syn_in_time_wait_is_no_connection() -> None:
    """TIME-WAIT answers an old SYN with an ACK (RFC 9293 section 3.10.7.4); nothing new opens."""
    packets = conversation(WHOLE)
    stray = replace(packets[0], number=7, sequence=123, time_ns=10**9)
    answer = replace(
        packets[1], number=8, sequence=5002, acknowledgement=1002, flags=packets[2].flags, time_ns=10**9 + 1
    )
    (connection,) = trace_connections([*packets, stray, answer])
    assert connection.teardown.kind is TeardownKind.FIN
    assert connection.packets == (1, 2, 3, 4, 5, 6, 7, 8)
    assert rules(connection) == {"syn-in-connection": True}


def test_several_syn_cookies_the_acknowledged_one_counts() -> None:
    """A stateless server may answer each SYN with another ISN; the client's ACK says which one it took."""
    packets = conversation("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> S 0:0(0)\ns> S. 900:900(0) ack 1\nc> . 1:1(0) ack 1")
    (connection,) = trace_connections(packets)
    assert connection.handshake.outcome is HandshakeOutcome.COMPLETE
    assert (connection.server_isn, connection.handshake.synack_retransmits) == (5000, 0)


def test_only_a_corrupt_syn() -> None:
    """A connection of which only a packet with a wrong checksum was seen is not complete, and says why."""
    connection = trace("c> S 0:0(0) bad")
    assert connection.handshake.outcome is HandshakeOutcome.UNANSWERED
    assert rules(connection) == {"bad-checksum": True}


def test_what_a_late_capture_could_explain_is_not_sure() -> None:
    """The same acknowledgement of unseen data: sure in a whole capture, not sure in one with a hole."""
    whole = trace(OPEN + "\ns> . 1:1(0) ack 500")
    holed = trace(OPEN + "\nc> P. 11:21(10) ack 1\ns> . 1:1(0) ack 500")
    late = trace("c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 500")
    assert rules(whole) == {"ack-of-unsent": True}
    assert rules(holed) == {"ack-of-unsent": False}
    assert rules(late) == {"ack-of-unsent": False}


def test_a_capture_that_missed_the_data_is_not_proof() -> None:
    """Data that skips ahead to where the acknowledgement was: the capture lost packets, nobody lied."""
    connection = trace(OPEN + "\ns> . 1:1(0) ack 501\nc> P. 501:511(10) ack 1")
    assert rules(connection) == {"packets-missing": True}
    assert connection.audit[0].kind is FindingKind.CAPTURE
    assert connection.client_flow.gaps == 1


def test_options_as_offered_and_payload_put_together() -> None:
    """Options come from the SYN and SYN-ACK, the stream from the segments, cut where the capture cut it."""
    packets = conversation(
        """
        c> SEW 0:0(0) <mss 1460,sackOK,TS,wscale 7,FO aabb>
        s> SE. 0:0(0) ack 1 <mss 1400,sackOK>
        c> P. 1:11(10) ack 1
        c> P. 11:21(10) ack 1
        """
    )
    packets[3] = replace(packets[3], payload=packets[3].payload[:4])
    (connection,) = trace_connections(packets)
    client, server = connection.handshake.client_options, connection.handshake.server_options
    assert (client.mss, client.window_scale, client.sack, client.timestamps, client.fast_open, client.ecn) == (
        *(1460, 7),
        *(True, True, True, True),
    )
    assert (server.mss, server.window_scale, server.sack, server.timestamps, server.ecn) == (
        1400,
        None,
        True,
        False,
        True,
    )
    assert connection.client_flow.bytes == 20
    assert connection.client_flow.stream == packets[2].payload + packets[3].payload
