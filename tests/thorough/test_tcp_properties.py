"""Rules that hold for every conversation: mirror, duplicates, prefixes, wrap-around, any packets at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tcp_notation import CLIENT, SERVER, conversation, rules
from test_tcp_situations import CASES, Case

from testbed.packet import Flags, Options, Packet
from testbed.tcp.connection import Connection, HandshakeOutcome, Role, TeardownKind
from testbed.tcp.follower import LINGER_NS, follow
from testbed.tcp.trace import trace_connections
from testbed.tcp.tracker import Tracker

WITH_SYN = [case for case in CASES if "mid-stream" not in str(case.expected.get("handshake")) and "D4" not in case.name]
CLOSED = {TeardownKind.FIN, TeardownKind.SIMULTANEOUS, TeardownKind.HALF_CLOSE, TeardownKind.RST}
COMPLETE = {HandshakeOutcome.COMPLETE, HandshakeOutcome.SIMULTANEOUS, HandshakeOutcome.FAST_OPEN}


def swap(packet: Packet) -> Packet:
    """The same packet between the same addresses the other way round."""
    return replace(
        packet,
        source=packet.destination,
        source_port=packet.destination_port,
        destination=packet.source,
        destination_port=packet.source_port,
    )


def told(connection: Connection) -> tuple[object, ...]:
    """What must not depend on how often frames were doubled."""
    h, t = connection.handshake, connection.teardown
    flows = tuple(
        (flow.bytes, flow.stream, flow.retransmits) for flow in (connection.client_flow, connection.server_flow)
    )
    counts = (h.syn_retransmits, h.synack_retransmits, t.fin_retransmits, h.syns, h.syn_acks)
    return (h.outcome, h.duration_ns, t.kind, t.closed_first, t.reset_by, t.reset_state, flows, counts)


def numbered(packets: list[Packet]) -> list[Packet]:
    """With IP ids, as a host that counts them would send, so that a doubled frame can be told from a new one."""
    return [replace(packet, ip_id=100 + index) for index, packet in enumerate(packets)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_swapped_sides_give_the_mirror_image(case: Case) -> None:
    """Nothing depends on which address is which; only the endpoints change places."""
    packets = conversation(case.text)
    before = trace_connections(packets)
    after = trace_connections([swap(packet) for packet in packets])
    for one, other in zip(before, after, strict=True):
        if one.handshake.outcome is HandshakeOutcome.MID_STREAM and one.client_isn is None and one.server_isn is None:
            assert one.client == other.client  # then the lower port is the server
            continue
        assert one.client.port == other.server.port
        assert replace(one, client=one.server, server=one.client) == other


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_doubled_frames_change_nothing(case: Case) -> None:
    """Each frame twice, a millisecond apart: the same outcome, the same counts."""
    packets = numbered(conversation(case.text))
    pairs = [(packet, replace(packet, time_ns=packet.time_ns + 1_000_000)) for packet in packets]
    doubled = [replace(copy, number=n) for n, copy in enumerate((copy for pair in pairs for copy in pair), start=1)]
    assert [told(c) for c in trace_connections(doubled)] == [told(c) for c in trace_connections(packets)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_prefixes_never_crash_and_never_invent_a_close(case: Case) -> None:
    """However early the capture ends: no close without a FIN or RST in it, no completion without an ACK."""
    packets = conversation(case.text)
    for length in range(len(packets) + 1):
        seen = packets[:length]
        for connection in trace_connections(seen):
            closing = [p for p in seen if p.flags & (Flags.FIN | Flags.RST)]
            assert connection.teardown.kind not in CLOSED or closing
            shown = length >= 3 or "syn-ack-not-captured" in rules(connection)
            assert connection.handshake.outcome not in COMPLETE or shown
            assert set(connection.packets) <= {p.number for p in seen}


@pytest.mark.parametrize("case", WITH_SYN, ids=lambda case: case.name)
@pytest.mark.parametrize(
    "isn", [{"c": 2**32 - 1, "s": 2**32 - 5}, {"c": 2**32 - 700, "s": 0}, {"c": 2**31 - 3, "s": 2**31}]
)
def test_wrap_around_changes_nothing(case: Case, isn: dict[str, int]) -> None:
    """The outcome does not depend on the initial sequence numbers, also near 2**32."""
    plain = trace_connections(conversation(case.text))
    wrapped = trace_connections(conversation(case.text, isn=isn))
    assert [told(c) for c in wrapped] == [told(c) for c in plain]
    assert [(c.conn_state, c.states, c.audit) for c in wrapped] == [(c.conn_state, c.states, c.audit) for c in plain]


def test_a_stream_longer_than_the_sequence_space() -> None:
    """Offsets go on beyond 2**32 bytes; nothing turns into a retransmission."""
    opening = conversation(
        "c> S 0:0(0) <wscale 14>\ns> S. 0:0(0) ack 1 <wscale 14>\nc> . 1:1(0) ack 1\ns> . 1:1(0) ack 1"
    )
    step, packets, sent = 1 << 29, list(opening), 1
    for _ in range(10):
        n = len(packets) + 1
        packets.append(
            replace(
                opening[2],
                number=n,
                sequence=(1000 + sent) % 2**32,
                payload_length=step,
                acknowledgement=5001,
                window=65535,
            )
        )
        sent += step
        packets.append(
            replace(swap(opening[2]), number=n + 1, sequence=5001, acknowledgement=(1000 + sent) % 2**32, window=65535)
        )
    (connection,) = trace_connections(packets)
    assert connection.client_flow.bytes == 10 * step
    assert connection.client_flow.retransmits == 0
    assert [finding.rule for finding in connection.audit] == ["snapped"]  # the payload is not there, only its length


def test_a_self_connect_is_a_simultaneous_open() -> None:
    """One socket connected to itself plays both ends (RFC 9293 figure 7 with one end)."""
    both = conversation("c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> P. 1:6(5) ack 1\ns> . 6:6(0) ack 6", isn={"c": 9, "s": 9})
    own = [replace(p, source=CLIENT[0], source_port=1, destination=CLIENT[0], destination_port=1) for p in both]
    (connection,) = trace_connections(own)
    assert connection.handshake.outcome is HandshakeOutcome.SIMULTANEOUS
    assert connection.client_flow.bytes == 5
    assert connection.client == connection.server


flags = st.sampled_from([Flags(value) for value in range(0x20)])
numbers = st.one_of(st.integers(0, 40), st.sampled_from([2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
options = st.builds(
    Options,
    window_scale=st.none() | st.integers(0, 20),
    sack=st.just(()) | st.just(((1, 9),)),
    fast_open=st.none() | st.just(b""),
    md5=st.booleans(),
)


@st.composite
def any_packets(draw: st.DrawFn) -> list[Packet]:
    """Packets of two tuples that obey nothing."""
    made = []
    for number in range(1, draw(st.integers(1, 14)) + 1):
        length = draw(st.integers(0, 5))
        packet = Packet(
            number,
            number * 1000,
            *CLIENT,
            *SERVER,
            sequence=draw(numbers),
            acknowledgement=draw(numbers),
            flags=draw(flags),
            window=draw(st.sampled_from([0, 1, 500, 65535])),
            options=draw(options),
            payload=b"x" * draw(st.integers(0, length)),
            payload_length=length,
            checksum_ok=draw(st.sampled_from([None, None, True, False])),
            ip_id=draw(st.sampled_from([None, 0, 1, 2])),
        )
        made.append(swap(packet) if draw(st.booleans()) else packet)
    return made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(any_packets())
def test_any_packets_give_connections(packets: list[Packet]) -> None:
    """No packets crash the tracer; each packet belongs to exactly one connection."""
    connections = trace_connections(packets)
    assert sorted(number for c in connections for number in c.packets) == [p.number for p in packets]
    for connection in connections:
        for role in Role:
            flow = connection.flow(role)
            assert len(flow.stream) <= flow.bytes <= sum(p.payload_length for p in packets)
        assert connection.first_ns <= connection.last_ns


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Packet], bytes, bytes]:
    """A well-behaved conversation with lossless delivery, its segments cut, repeated and reordered at will."""
    isn = {"c": draw(numbers), "s": draw(numbers)}
    sent = {side: draw(st.binary(max_size=40)) for side in "cs"}
    lines = ["c> S 0:0(0)", "s> S. 0:0(0) ack 1", "c> . 1:1(0) ack 1"]
    segments: list[tuple[str, int, int]] = []
    for side in "cs":
        place = 0
        while place < len(sent[side]):
            size = draw(st.integers(1, 12))
            segments.append((side, place, min(len(sent[side]), place + size)))
            place += size
    segments += draw(st.lists(st.sampled_from(segments), max_size=3)) if segments else []
    segments = draw(st.permutations(segments))
    lines += [f"{side}> P. {a + 1}:{b + 1}({b - a}) ack 1" for side, a, b in segments]
    c, s = 1 + len(sent["c"]), 1 + len(sent["s"])
    lines += [f"c> F. {c}:{c}(0) ack {s}", f"s> F. {s}:{s}(0) ack {c + 1}", f"c> . {c + 1}:{c + 1}(0) ack {s + 1}"]
    packets = conversation("\n".join(lines), isn=isn)
    for index, (side, a, b) in enumerate(segments, start=3):
        packets[index] = replace(packets[index], payload=sent[side][a:b])
    return packets, sent["c"], sent["s"]


@settings(max_examples=120, deadline=None, derandomize=True)
@given(conversations())
def test_streams_come_out_as_they_went_in(made: tuple[list[Packet], bytes, bytes]) -> None:
    """Whatever the order and the copies of segments: the bytes, the handshake and the teardown are the same."""
    packets, client, server = made
    (connection,) = trace_connections(packets)
    assert (connection.client_flow.stream, connection.server_flow.stream) == (client, server)
    assert (connection.client_flow.bytes, connection.server_flow.bytes) == (len(client), len(server))
    assert (connection.client_flow.gaps, connection.server_flow.gaps) == (0, 0)
    assert connection.handshake.outcome is HandshakeOutcome.COMPLETE
    assert (connection.teardown.kind, connection.teardown.closed_first) == (TeardownKind.FIN, Role.CLIENT)
    assert connection.completeness == (31 if client or server else 23)
    assert connection.audit == ()


def carefully(packets: list[Packet]) -> tuple[Connection, ...]:
    """The same without the short way for plain segments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "calm_down", lambda self: None)
        return trace_connections(packets)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_short_way_says_the_same(case: Case) -> None:
    """Plain segments are dealt with on the spot; whoever looks at each closely says the same."""
    packets = conversation(case.text)
    assert trace_connections(packets) == carefully(packets)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(conversations())
def test_the_short_way_says_the_same_of_any_conversation(made: tuple[list[Packet], bytes, bytes]) -> None:
    """Also for segments cut, repeated and reordered at will."""
    packets, _, _ = made
    assert trace_connections(packets) == carefully(packets)


@st.composite
def slow_talks(draw: st.DrawFn) -> list[Packet]:
    """Cases one after the other on the same endpoints, with long silences between packets."""
    texts = draw(st.lists(st.sampled_from([case.text for case in CASES]), min_size=1, max_size=3))
    packets: list[Packet] = []
    time_ns = 0
    for text in texts:
        isn = {"c": draw(numbers), "s": draw(numbers)}
        for packet in conversation(text, isn=isn):
            time_ns += draw(st.sampled_from([1000, 1000, 1000, 10**9, LINGER_NS, LINGER_NS + 1]))
            packets.append(replace(packet, number=len(packets) + 1, time_ns=time_ns))
    return packets


@settings(max_examples=200, deadline=None, derandomize=True)
@given(slow_talks())
def test_giving_out_early_changes_nothing(packets: list[Packet]) -> None:
    """The same connections, given out when they are over or all at the end, with payload or without."""
    early = sorted(follow(packets, keep_stream=True, keep_closed=None), key=lambda connection: connection.packets[0])
    whole = trace_connections(packets)
    assert tuple(early) == whole
    assert sorted(number for connection in whole for number in connection.packets) == [p.number for p in packets]
    for kept, bare in zip(whole, trace_connections(packets, keep_stream=False), strict=True):
        client, server = replace(kept.client_flow, stream=b""), replace(kept.server_flow, stream=b"")
        assert replace(kept, client_flow=client, server_flow=server) == bare


@settings(max_examples=100, deadline=None, derandomize=True)
@given(slow_talks())
def test_zeeks_cuts_lose_no_packet(packets: list[Packet]) -> None:
    """However Zeek cuts: each packet belongs to exactly one of its connections, in order."""
    cut = trace_connections(packets, zeek_cuts=True)
    assert [number for connection in cut for number in connection.packets] == [p.number for p in packets]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(slow_talks(), st.integers(0, 30))
def test_any_prefix_invents_no_close(packets: list[Packet], length: int) -> None:
    """However early the capture ends: no close without a FIN or RST in it."""
    seen = packets[:length]
    by_number = {packet.number: packet for packet in seen}
    for connection in trace_connections(seen):
        closing = [n for n in connection.packets if by_number[n].flags & (Flags.FIN | Flags.RST)]
        assert connection.teardown.kind not in CLOSED or closing
