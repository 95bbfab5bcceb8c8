"""Segments at the edges: the last byte of a window, the third duplicate ACK, the moment at which a copy is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tcp_notation import conversation, rules, trace
from test_tcp_situations import facts

from testbed.tcp.connection import Flow
from testbed.tcp.trace import trace_connections

OPEN = """
c> S 0:0(0) id 1
s> S. 0:0(0) ack 1 id 2
c> . 1:1(0) ack 1 id 3
"""
WIDE = """
c> S 0:0(0) <wscale 0>
s> S. 0:0(0) ack 1 <wscale 1>
c> . 1:1(0) ack 1
s> . 1:1(0) ack 1 win 50000
"""
Expected = dict[str, object]

CASES: list[tuple[str, Expected]] = [
    # Copies: the same id within 100 ms is one packet that the path doubled
    (
        OPEN + "1 c> P. 1:11(10) ack 1 id 9\n1.1 c> P. 1:11(10) ack 1 id 9",
        {"duplicates": (1, 0), "retransmits": (0, 0)},
    ),
    (
        OPEN + "1 c> P. 1:11(10) ack 1 id 9\n1.2 c> P. 1:11(10) ack 1 id 9",
        {"duplicates": (0, 0), "retransmits": (1, 0)},
    ),
    (OPEN + "c> P. 1:11(10) ack 1\nc> P. 1:11(10) ack 1", {"duplicates": (0, 0), "retransmits": (1, 0)}),
    (OPEN + "c> F. 1:1(0) ack 1 id 9\nc> F. 1:1(0) ack 1 id 9", {"duplicates": (1, 0), "fin_retransmits": 0}),
    (OPEN + "c> F. 1:1(0) ack 1 id 9\nc> F. 1:1(0) ack 1 id 8", {"duplicates": (0, 0), "fin_retransmits": 1}),
    (
        OPEN + "c> FP. 1:11(10) ack 1 id 9\nc> FP. 1:11(10) ack 1 id 9",
        {"duplicates": (1, 0), "fin_retransmits": 0, "retransmits": (0, 0), "teardown_packets": (4, 5)},
    ),
    ("c> S 0:0(0) id 9\nc> S 0:0(0) id 9", {"duplicates": (1, 0), "syns": 1, "syn_retransmits": 0}),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 id 9\ns> S. 0:0(0) ack 1 id 9",
        {"duplicates": (0, 1), "syn_acks": 1, "synack_retransmits": 0},
    ),
    # an ACK and data with one id are no copies of each other
    (
        OPEN + "c> P. 1:11(10) ack 1\nc> P. 21:31(10) ack 1\nc> . 31:31(0) ack 1 id 9\nc> P. 21:31(10) ack 1 id 9",
        {"duplicates": (0, 0), "retransmits": (1, 0)},
    ),
    # Duplicate ACKs: nothing new in them, and data is under way
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1\ns> . 1:1(0) ack 1", {"duplicate_acks": (0, 1)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1 win 9", {"duplicate_acks": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1 win 1", {"duplicate_acks": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:2(1) ack 1", {"duplicate_acks": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> F. 1:1(0) ack 1", {"duplicate_acks": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\ns> . 1:1(0) ack 11", {"duplicate_acks": (0, 0)}),
    # What fills a hole was late, unless its receiver asked three times for it
    (
        OPEN + "s> . 11:21(10) ack 1\nc> . 1:1(0) ack 1\nc> . 1:1(0) ack 1\ns> . 1:11(10) ack 1",
        {"out_of_order": (0, 1), "retransmits": (0, 0), "duplicate_acks": (2, 0)},
    ),
    (
        OPEN + "s> . 11:21(10) ack 1\n" + "c> . 1:1(0) ack 1\n" * 3 + "s> . 1:11(10) ack 1",
        {"out_of_order": (0, 0), "retransmits": (0, 1), "duplicate_acks": (3, 0)},
    ),
    (
        OPEN + "c> . 11:21(10) ack 1\n" + "s> . 1:1(0) ack 1\n" * 3 + "c> . 1:11(10) ack 1",
        {"out_of_order": (1, 0), "retransmits": (0, 0), "duplicate_acks": (0, 2)},
    ),
    # asked for something else meanwhile: the count begins anew
    (
        OPEN
        + "s> . 1:11(10) ack 1\ns> . 21:31(10) ack 1\nc> . 1:1(0) ack 1\nc> . 1:1(0) ack 1\nc> . 1:1(0) ack 11\n"
        + "c> . 1:1(0) ack 11\ns> . 11:21(10) ack 1",
        {"out_of_order": (0, 1), "retransmits": (0, 0), "duplicate_acks": (3, 0)},
    ),
    # so it does where all that lies between is plain
    (
        OPEN
        + "s> . 1:11(10) ack 1\ns> . 11:21(10) ack 1\n"
        + "c> . 1:1(0) ack 1\n" * 2
        + "c> . 1:1(0) ack 11\n" * 3
        + "s> . 31:41(10) ack 1\ns> . 21:31(10) ack 1",
        {"out_of_order": (0, 1), "retransmits": (0, 0), "duplicate_acks": (4, 0)},
    ),
    # Keep-alives: one byte before the next, or none there, and acknowledged before
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\nc> . 10:10(0) ack 1", {"probes": (1, 0), "retransmits": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\nc> . 10:11(1) ack 1", {"probes": (1, 0), "retransmits": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> . 10:11(1) ack 1", {"probes": (0, 0), "retransmits": (1, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> . 10:10(0) ack 1", {"probes": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 10\nc> . 10:10(0) ack 1", {"probes": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\nc> . 9:9(0) ack 1", {"probes": (0, 0)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\nc> . 9:11(2) ack 1", {"probes": (0, 0), "retransmits": (1, 0)}),
    # acknowledged, as the capture learns in spite of what it missed
    (OPEN + "s> . 1:1(0) ack 501\ns> . 1:1(0) ack 1001\nc> . 1000:1000(0) ack 1", {"probes": (1, 0)}),
    # after its FIN it is no keep-alive but an ACK with an old number
    (OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\nc> . 1:1(0) ack 1", {"probes": (0, 0)}),
    # Probes of one byte into a closed window
    (
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11 win 0\nc> . 11:12(1) ack 1",
        {"probes": (0, 1), "bytes": (10, 0), "zero_windows": (0, 1)},
    ),
    # the byte is under way, so that the same answer again is a duplicate ACK
    (
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11 win 0\nc> . 11:12(1) ack 1\ns> . 1:1(0) ack 11 win 0",
        {"probes": (0, 1), "duplicate_acks": (0, 1)},
    ),
    (
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11 win 0\nc> . 11:12(1) ack 1\ns> . 1:1(0) ack 12 win 0",
        {"probes": (0, 1), "bytes": (11, 0), "zero_windows": (0, 1), "audit": ()},
    ),
    (
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11 win 0\nc> . 11:13(2) ack 1",
        {"probes": (0, 0), "bytes": (12, 0)},
    ),
    (
        OPEN + "s> . 1:1(0) ack 1 win 0\ns> . 1:1(0) ack 1 win 5\ns> . 1:1(0) ack 1 win 0",
        {"zero_windows": (0, 2), "duplicate_acks": (0, 0)},
    ),
    # Far beyond the window: the receiver drops it; put aside, and counted once it is acknowledged
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> . 1:1(0) ack 1\nc> P. 65546:65556(10) ack 1",
        {"bytes": (10, 0), "audit": ("window-overrun",), "gaps": (1, 0)},
    ),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> . 1:1(0) ack 1\nc> P. 65547:65557(10) ack 1",
        {"bytes": (0, 0), "audit": ("window-overrun",), "gaps": (0, 0)},
    ),
    # twice its window, where that is larger than any that is not scaled
    (WIDE + "c> P. 200001:200011(10) ack 1", {"bytes": (10, 0), "audit": ("window-overrun",)}),
    (WIDE + "c> P. 200002:200012(10) ack 1", {"bytes": (0, 0), "audit": ("window-overrun",)}),
    (WIDE + "c> P. 200002:200012(10) ack 1\ns> . 1:1(0) ack 200012 win 50000", {"bytes": (10, 0)}),
    # What the capture missed before its first packet of a side is no gap, after its SYN it is
    ("s> S. 0:0(0) ack 1\ns> . 1:1(0) ack 28\nc> P. 28:38(10) ack 1", {"gaps": (0, 0), "bytes": (10, 0)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> . 1:1(0) ack 28\nc> P. 28:38(10) ack 1", {"gaps": (1, 0), "bytes": (10, 0)}),
    # Data without ACK is none to its receiver, and the data that follows counts for Wireshark
    (OPEN + "c> - 1:11(10)\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1", {"completeness": 15, "bytes": (10, 0)}),
    (OPEN + "s> - 1:11(10)\ns> . 1:1(0) ack 1\ns> P. 1:11(10) ack 1", {"completeness": 15, "bytes": (0, 10)}),
    (
        "s> - 1:11(10)\n" + "s> . 11:11(0) ack 1\nc> . 1:1(0) ack 11\n" * 2 + "s> P. 11:21(10) ack 1",
        {"completeness": 12, "bytes": (0, 10)},
    ),
    # The FIN at the window's edge is taken, one beyond is not
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> P. 1:11(10) ack 1\nc> F. 11:11(0) ack 1",
        {"teardown": "half-close", "audit": ()},
    ),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> P. 1:11(10) ack 1\nc> F. 12:12(0) ack 1",
        {"teardown": "none", "audit": ("fin-outside-window",)},
    ),
    # A FIN with an acknowledgement of what was never sent: dropped, unless it is acknowledged itself
    (OPEN + "c> F. 1:1(0) ack 9999", {"teardown": "none", "closed_first": None}),
    (
        OPEN + "c> F. 1:1(0) ack 9999\ns> . 1:1(0) ack 2",
        {"teardown": "half-close", "closed_first": "client", "teardown_packets": (5,), "gaps": (0, 0)},
    ),
    (OPEN + "s> F. 1:1(0) ack 1\nc> F. 1:1(0) ack 9999\ns> . 2:2(0) ack 2", {"teardown": "simultaneous"}),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> P. 1:11(10) ack 1\nc> F. 11:11(0) ack 9999",
        {"teardown": "none", "audit": ("ack-of-unsent",)},
    ),
    (OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 3", {"audit": ("ack-of-unsent",)}),
    # A FIN behind data is not acknowledged with the data
    (
        OPEN + "c> FP. 1:11(10) ack 1\ns> . 1:1(0) ack 11",
        {"client_states": "SYN_SENT ESTABLISHED FIN_WAIT1", "server_states": "LISTEN SYN_RECV ESTABLISHED"},
    ),
    # A timestamp that was not agreed on is no reason to drop anything
    (OPEN + "c> P. 1:11(10) ack 1 <TS 5>\nc> P. 11:21(10) ack 1 <TS 4>", {"bytes": (20, 0), "audit": ()}),
    # The second FIN answers the first or crosses it
    (OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2", {"teardown": "fin"}),
    (OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 1", {"teardown": "simultaneous"}),
    # Data after the other side's FIN was acknowledged is a half-close; data that was on its way is not
    (
        OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\ns> P. 1:11(10) ack 2\ns> F. 11:11(0) ack 2",
        {"teardown": "half-close", "bytes": (0, 10)},
    ),
    (
        OPEN + "s> P. 1:11(10) ack 1\nc> F. 1:1(0) ack 11\ns> P. 1:11(10) ack 2\ns> F. 11:11(0) ack 2",
        {"teardown": "fin", "retransmits": (0, 1)},
    ),
    # Two holes in the capture, of which it shows the ends
    (OPEN + "c> P. 11:21(10) ack 1\nc> P. 31:41(10) ack 1\nc> F. 51:51(0) ack 1", {"gaps": (3, 0), "bytes": (20, 0)}),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=range(len(CASES)))
def test_at_the_edges(text: str, expected: Expected) -> None:
    """One step to either side is told otherwise."""
    told = facts(trace(text))
    assert {name: told[name] for name in expected} == expected


def test_what_a_side_sent() -> None:
    """The value of a direction, field by field."""
    text = """
    c> P. 1:11(10) ack 1 id 4
    c> P. 31:51(20) ack 1 id 5
    s> . 1:1(0) ack 11
    s> . 1:1(0) ack 11
    s> . 1:1(0) ack 11 win 0
    c> P. 1:11(10) ack 1 id 6
    c> P. 11:26(15) ack 1 id 7
    c> P. 11:26(15) ack 1 id 7
    """
    packets = conversation(OPEN + text)
    (connection,) = trace_connections(packets)
    assert connection.client_flow == Flow(
        bytes=45,
        stream=b"".join(packets[at].payload for at in (3, 9)),
        segments=5,
        retransmits=1,
        out_of_order=1,
        gaps=1,
        retransmitted_packets=(9,),
        data_packets=(4, 5, 9, 10, 11),
        duplicates=1,
        largest_segment=20,
    )
    assert connection.server_flow == Flow(duplicate_acks=1, zero_windows=1)


def test_data_on_a_syn_is_a_segment_of_its_own() -> None:
    """Once it is acknowledged: its packet is the SYN."""
    flow = trace("c> S 0:10(10)\ns> S. 0:0(0) ack 11").client_flow
    assert (flow.data_packets, flow.segments, flow.bytes) == ((1,), 1, 10)


def test_one_cut_segment_among_whole_ones() -> None:
    """Its bytes count, as do those after it; the stream ends where the capture cut."""
    packets = conversation(OPEN + "c> P. 1:11(10) ack 1\nc> P. 11:21(10) ack 1\nc> P. 21:31(10) ack 1")
    packets[4] = replace(packets[4], payload=packets[4].payload[:4])
    (told,) = trace_connections(packets)
    assert (told.client_flow.bytes, len(told.client_flow.stream), told.packets) == (30, 14, (1, 2, 3, 4, 5, 6))


def test_the_ids_of_a_sender_that_counts_them_are_forgotten_after_100_ms() -> None:
    """One id twice within 100 ms is a copy, at exactly 100 ms still, later it is another packet."""
    packets = conversation(OPEN + "c> P. 1:11(10) ack 1 id 9\nc> P. 1:11(10) ack 1 id 9")
    for after_ns, duplicates in ((100_000_000, 1), (100_000_001, 0)):
        later = replace(packets[4], time_ns=packets[3].time_ns + after_ns)
        (connection,) = trace_connections([*packets[:4], later])
        assert connection.client_flow.duplicates == duplicates


def test_what_was_put_aside_counts_once_it_is_acknowledged() -> None:
    """Data that looked too old or too far, and that its receiver took all the same: its bytes, its packet, its size."""
    text = """
    c> S 0:0(0) <TS 100>
    s> S. 0:0(0) ack 1 <TS 900>
    c> . 1:1(0) ack 1 <TS 101>
    c> P. 1:31(30) ack 1 <TS 50>
    c> P. 31:41(10) ack 1 <TS 51>
    s> . 1:1(0) ack 1 <TS 901>
    """
    flow = trace(text).client_flow
    assert (flow.bytes, flow.data_packets, flow.segments, flow.largest_segment) == (0, (), 0, 0)
    flow = trace(text + "s> . 1:1(0) ack 41 <TS 901>").client_flow
    assert (flow.bytes, flow.data_packets, flow.segments, flow.largest_segment) == (40, (4, 5), 2, 30)


def test_what_was_put_aside_waits_for_its_own_acknowledgement() -> None:
    """An acknowledgement up to where it begins says nothing of it yet."""
    text = """
    c> S 0:0(0) <TS 100>
    s> S. 0:0(0) ack 1 <TS 900>
    c> . 1:1(0) ack 1 <TS 101>
    c> P. 1:11(10) ack 1 <TS 102>
    c> P. 11:21(10) ack 1 <TS 50>
    s> . 1:1(0) ack 11 <TS 901>
    """
    assert trace(text).client_flow.bytes == 10
    assert trace(text + "s> . 1:1(0) ack 21 <TS 902>").client_flow.bytes == 20
    assert trace(text + "c> P. 20:30(10) ack 1 <TS 103>").client_flow.retransmits == 1
    assert trace(text + "c> P. 21:31(10) ack 1 <TS 103>").client_flow.retransmits == 0


def test_an_acknowledgement_as_high_as_the_one_before() -> None:
    """Twice the same, well apart: the capture misses data. At the same moment it may be one packet seen twice."""
    text = OPEN + "1 s> . 1:1(0) ack 501\n{} s> . 1:1(0) ack 501"
    assert rules(trace(text.format(1.2))) == {"packets-missing": True}
    assert rules(trace(text.format(1.1))) == {"ack-of-unsent": True}
    # what it has no room for it cannot have received
    assert rules(trace(text.format(1.2).replace("501", "65536"))) == {"packets-missing": True}
    assert rules(trace(text.format(1.2).replace("501", "65537"))) == {"ack-of-unsent": True}
