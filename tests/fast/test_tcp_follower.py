"""Connections as they end: what is given out when, with and without payload, and cut as Zeek cuts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tcp_notation import conversation

from testbed.packet import Packet
from testbed.tcp.connection import HandshakeOutcome, TeardownKind
from testbed.tcp.end import End
from testbed.tcp.follower import LINGER_NS, Follower, follow
from testbed.tcp.trace import trace_connections
from testbed.tcp.tracker import Tracker

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

OPEN = "c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\n"


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


def test_resets_out_of_nowhere_are_given_out() -> None:
    """A connection of which only a RST was seen is closed at once; few are kept, when asked."""
    (reset,) = conversation("c> R 1:1(0)")
    resets = [replace(reset, source_port=40000 + number, number=number) for number in range(1, 11)]
    follower = Follower(keep_closed=3)
    given = [each.client.port - 40000 for packet in resets for each in follower.take(packet)]
    assert given == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("side", [4, 7])
def test_a_straggler_of_what_was_given_out(side: int) -> None:
    """It begins another connection, whichever side sent it; whoever keeps all takes it for what it is."""
    packets = [packet for port in (1, 2) for packet in of_client(port, 8 * port - 7, 0)]
    packets.append(late(packets[side], 17, SECOND))
    assert sorted(len(told.packets) for told in follow(packets, keep_closed=1)) == [1, 8, 8]
    assert sorted(len(told.packets) for told in follow(packets, keep_closed=None)) == [8, 9]


def test_a_trace_keeps_all() -> None:
    """However many connections closed since, a straggler belongs to its own."""
    (reset,) = conversation("c> R 1:1(0)")
    others = [replace(reset, source_port=port, number=port) for port in range(9, 5009)]
    packets = [*of_client(1, 1, 0), *others]
    told = trace_connections([*packets, late(packets[7], 6000, SECOND)], keep_stream=False)
    assert (len(told), len(told[0].packets)) == (5001, 9)


def test_a_connection_to_itself_is_given_out_once() -> None:
    """Both directions between its endpoints are one."""
    packets = conversation("c> S 0:0(0)\nc> R 1:1(0)", server=("198.18.0.1", 40000), isn={"c": 1000, "s": 1000})
    follower = Follower(keep_closed=0)
    assert [len(told.packets) for packet in packets for told in follower.take(packet)] == [2]
    assert follower.finish() == ()


def test_after_the_end_a_follower_begins_anew() -> None:
    """What was given out at the end is not given out again."""
    follower = Follower()
    assert not any(follower.take(packet) for packet in of_client(1, 1, 0))
    assert len(follower.finish()) == 1
    assert not any(follower.take(packet) for packet in of_client(2, 9, LINGER_NS + SECOND))
    assert [connection.client.port for connection in follower.finish()] == [2]


@pytest.mark.parametrize(("after_ns", "given"), [(LINGER_NS, []), (LINGER_NS + 1, [1])])
def test_exactly_how_long_a_closed_connection_is_kept(after_ns: int, given: list[int]) -> None:
    """From its last packet to the second FIN of another: LINGER_NS is not too long yet."""
    first = of_client(1, 1, 0)
    second = of_client(2, 9, first[7].time_ns - first[6].time_ns + after_ns)
    follower = Follower()
    assert [each.client.port for packet in [*first, *second] for each in follower.take(packet)] == given


def test_what_is_left_comes_in_order_of_first_packets() -> None:
    """Also where endpoints were used again."""
    first, second = of_client(1, 1, 0), of_client(2, 9, SECOND)[:5]
    follower = Follower()
    for packet in [*first, *second, late(first[7], 14, LINGER_NS + SECOND)]:
        assert not follower.take(packet) or packet.number == 14
    assert [told.packets[0] for told in follower.finish()] == [9, 14]


def test_a_trace_comes_in_order_of_first_packets() -> None:
    """Also where a later connection was over long before."""
    packets = [*of_client(1, 1, 0)[:5], *of_client(2, 6, SECOND), *of_client(3, 14, LINGER_NS + 2 * SECOND)]
    assert [told.client.port for told in follow(packets)] == [2, 1, 3]
    assert [told.client.port for told in trace_connections(packets)] == [1, 2, 3]


def test_a_straggler_puts_off_when_a_connection_is_given_out() -> None:
    """Silence counts from the last packet; others that closed later wait behind it."""
    first, second = of_client(1, 1, 0), of_client(2, 10, LINGER_NS + SECOND)
    straggler = late(first[-1], 9, LINGER_NS - SECOND)
    third = of_client(3, 18, 2 * LINGER_NS)
    follower = Follower()
    given = [each.client.port for packet in [*first, straggler, *second, *third] for each in follower.take(packet)]
    assert given == [1]


def test_a_close_that_was_none_does_not_hinder_the_real_one() -> None:
    """A RST that ended nothing, and later a FIN of each side: given out in the order of the closes."""
    text = f"{OPEN}c> R 1:1(0)\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\n"
    text += "c> F. 11:11(0) ack 1\ns> F. 1:1(0) ack 12\nc> . 12:12(0) ack 2"
    first = conversation(text, client=("198.18.0.7", 1))
    second, third = of_client(2, 10, SECOND), of_client(3, 18, 2 * SECOND)
    follower = Follower(keep_closed=1)
    packets = [*first[:6], *second, *first[6:], *third]
    assert [each.client.port for packet in packets for each in follower.take(packet)] == [2, 1]


def test_one_fin_is_no_close() -> None:
    """A half-closed connection may be silent for longer than LINGER_NS, and go on."""
    packets = of_client(1, 1, 0)
    packets[6:] = [late(packet, packet.number, LINGER_NS + SECOND) for packet in packets[6:]]
    (told,) = trace_connections(packets)
    assert told.teardown.kind is TeardownKind.FIN


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


def fed(packets: list[Packet], patch: pytest.MonkeyPatch) -> list[int]:
    """The packets that were looked at closely."""
    looked: list[int] = []
    feed = Tracker.feed

    def spy(self: Tracker, packet: Packet, me: End, peer: End, flags: int) -> None:
        looked.append(packet.number)
        feed(self, packet, me, peer, flags)

    patch.setattr(Tracker, "feed", spy)
    trace_connections(packets)
    return looked


@pytest.mark.parametrize("options", ["", " <TS 5>"])
def test_plain_segments_are_dealt_with_on_the_spot(options: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, within the window, acknowledging what was sent: only what is odd is looked at closely."""
    text = f"""
    c> S 0:0(0){options}
    s> S. 0:0(0) ack 1{options}
    c> . 1:1(0) ack 1{options}
    c> P. 1:11(10) ack 1{options}
    s> . 1:1(0) ack 11{options}
    s> . 1:101(100) ack 11{options}
    s> P. 101:201(100) ack 11{options}
    c> . 11:11(0) ack 101{options}
    c> . 11:11(0) ack 201{options}
    c> P. 11:21(10) ack 201{options}
    c> P. 11:21(10) ack 201{options}
    s> P. 201:301(100) ack 21{options}
    c> . 21:21(0) ack 201{options}
    c> . 21:21(0) ack 301{options}
    c> P. 21:31(10) ack 301{options}
    s> . 301:301(0) ack 31{options}
    s> . 301:301(0) ack 31{options}
    """
    assert fed(conversation(text), monkeypatch) == [1, 2, 3, 11, 13]


def test_the_old_server_may_be_the_new_client() -> None:
    """Endpoints used again, the other way round: each side's bytes are its own."""
    packets = of_client(7456, 1, 0)
    again = conversation(
        WHOLE,
        isn={"c": 90_000, "s": 95_000},
        client=("198.18.0.2", 7456),
        server=("198.18.0.7", 7456),
        first_number=9,
        start_ns=SECOND,
    )
    first, second = trace_connections([*packets, *again])
    assert [told.client.address for told in (first, second)] == ["198.18.0.7", "198.18.0.2"]
    for told in (first, second):
        assert (told.client_flow.bytes, told.server_flow.bytes, told.conn_state) == (10, 0, "SF")


@pytest.mark.parametrize(
    ("text", "packets"),
    [
        # a SYN and its copy, challenged: strays of the old connection
        (f"{OPEN}c> S 777:777(0)\nc> S 777:777(0)\ns> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1", [7]),
        # crossed by another SYN, or answered: a connection of its own
        (f"{OPEN}c> S 777:777(0)\ns> S 888:888(0)", [3, 2]),
        (f"{OPEN}c> S 777:777(0)\ns> S 888:888(0)\nc> S. 777:777(0) ack 889\ns> S. 888:888(0) ack 778", [3, 4]),
        (f"{OPEN}c> S 777:777(0)\ns> S. 888:888(0) ack 778", [3, 2]),
        (f"{OPEN}c> S 777:777(0)\ns> R. 0:0(0) ack 778", [3, 2]),
        (f"{OPEN}c> S 777:777(0)\ns> R. 0:0(0) ack 779", [4, 1]),
        (f"{OPEN}c> S 777:777(0)\ns> R 0:0(0) ack 778", [4, 1]),
        # its sender answers the challenge with a RST: it has forgotten the old connection
        (f"{OPEN}c> S 777:777(0)\ns> . 1:1(0) ack 1\nc> R 1:1(0)", [5, 1]),
        # what it acknowledges may be data or a FIN on the SYN
        (f"{OPEN}c> S 777:787(10)\ns> S. 888:888(0) ack 788", [3, 2]),
        (f"{OPEN}c> SF 777:777(0)\ns> S. 888:888(0) ack 779", [3, 2]),
        # challenged: a stray, unless its sender insists on it
        (f"{OPEN}c> S 777:777(0)\ns> . 1:1(0) ack 1", [5]),
        (f"{OPEN}c> S 777:777(0)\ns> . 1:1(0) ack 1\nc> S 777:777(0)", [4, 2]),
        # nothing more came
        (f"{OPEN}c> S 777:777(0)", [3, 1]),
        (f"{OPEN}c> S 777:777(0)\nc> P. 1:11(10) ack 1", [5]),
        # nothing of its sender was seen before but what does not count
        ("s> . 5:5(0) ack 1 bad\nc> S 0:0(0)", [2]),
        ("s> R 1:1(0)\nc> S 0:0(0)", [1, 1]),
        # a number that would fit tells nothing unless a SYN-ACK was seen
        ("c> . 1:1(0) ack 1\nc> S 0:0(0)", [1, 1]),
        ("s> S. 0:0(0) ack 1\nc> S 0:0(0)", [2]),
        ("s> S. 0:0(0) ack 1\nc> S 7:7(0)", [1, 1]),
    ],
)
def test_a_syn_inside_a_connection(text: str, packets: list[int]) -> None:
    """How many packets the connections have: one that goes on, or two."""
    assert [len(told.packets) for told in trace_connections(conversation(text))] == packets


def test_the_first_of_several_attempts_goes_on() -> None:
    """What its sender sends then is its own, and the second was a stray."""
    text = "c> S 777:777(0)\nc> S 888:888(0)\nc> P. 778:788(10) ack 1"
    told = trace_connections(conversation(OPEN + text))
    assert [(len(each.packets), each.client_flow.bytes) for each in told] == [(3, 0), (3, 10)]


def test_the_last_of_several_attempts_is_answered() -> None:
    """Each number is an attempt of its own, and the data belongs to the one that was answered."""
    text = """
    c> S 777:777(0)
    c> S 888:888(0)
    s> S. 500:500(0) ack 889
    c> P. 889:899(10) ack 501
    """
    told = trace_connections(conversation(OPEN + text))
    assert [len(each.packets) for each in told] == [3, 1, 3]
    assert [each.client_flow.bytes for each in told] == [0, 0, 10]
    assert [each.handshake.outcome.value for each in told] == ["complete", "unanswered", "complete"]


def test_without_payload_a_straggler_has_none_either() -> None:
    """Also where it begins another connection."""
    packets = of_client(40000, 1, 0)
    packets.append(late(packets[3], 9, LINGER_NS + SECOND))
    first, second = follow(packets, keep_stream=False)
    assert [(told.client_flow.bytes, told.client_flow.stream) for told in (first, second)] == [(10, b"")] * 2


def test_without_payload_all_but_the_stream_is_the_same() -> None:
    """keep_stream=False changes nothing but `stream`."""
    (kept,) = trace_connections(conversation(WHOLE))
    (bare,) = trace_connections(conversation(WHOLE), keep_stream=False)
    assert kept.client_flow.stream != b""
    assert [bare] == list(follow(conversation(WHOLE)))
    follower = Follower()
    assert not any(follower.take(packet) for packet in conversation(WHOLE))
    assert (bare,) == follower.finish()
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
        # each plain segment breaks the silence
        (f"{OPEN}299 c> P. 1:11(10) ack 1\n598 c> F. 11:11(0) ack 1", ["S2"]),
        ("0 c> S 0:0(0)\n1 s> S. 0:0(0) ack 1\n2 c> . 1:1(0) ack 1\n302 c> . 1:1(0) ack 1", ["S1", "OTH"]),
    ],
)
def test_zeeks_cuts(text: str, states: list[str]) -> None:
    """5 s after an unanswered SYN or a close, 1 and 5 minutes of silence, and any SYN that is no copy."""
    packets = conversation(text)
    assert [connection.conn_state for connection in trace_connections(packets, zeek_cuts=True)] == states
    assert [connection.conn_state for connection in follow(packets, zeek_cuts=True)] == states


def test_what_is_not_cut_is_told_alike() -> None:
    """Whether or not Zeek's timers watch, a connection that they do not cut is the same."""
    assert trace_connections(conversation(WHOLE), zeek_cuts=True) == trace_connections(conversation(WHOLE))


def test_a_syn_in_the_middle_of_what_zeek_does_not_cut() -> None:
    """It opens nothing, where no SYN-ACK was seen before it."""
    (told,) = trace_connections(conversation("c> . 1:1(0) ack 1\nc> S 0:0(0)"), zeek_cuts=True)
    assert told.handshake.outcome is HandshakeOutcome.MID_STREAM


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
    (told,) = trace_connections([*packets, copy])
    assert told.audit == ()
    answer = replace(late(packets[1], 10, SECOND), sequence=77_000)
    assert len(trace_connections([*packets, copy, answer])) == 2
