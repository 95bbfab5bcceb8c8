"""Openings and resets at the edges: which number still answers a SYN, which ACK completes, which RST ends."""

from __future__ import annotations

import pytest
from tcp_notation import CLIENT, conversation, trace
from test_tcp_situations import facts

from testbed.tcp.trace import trace_connections

OPEN = """
c> S 0:0(0)
s> S. 0:0(0) ack 1
c> . 1:1(0) ack 1
"""
ASKED = "c> S 0:0(0)\ns> S. 0:0(0) ack 1\n"
BOTH_WENT_ON = OPEN + "c> R 1:1(0)\nc> . 1:1(0) ack 1\ns> P. 1:11(10) ack 1\nc> . 1:1(0) ack 11\n"
Expected = dict[str, object]

CASES: list[tuple[str, Expected]] = [
    # A SYN-ACK acknowledges the SYN, and of the SYN's data as much as there was
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 0", {"handshake": "unanswered", "syn_acks": 0}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 2", {"handshake": "unanswered", "syn_acks": 0}),
    ("c> S 0:10(10)\ns> S. 0:0(0) ack 11", {"handshake": "half-open", "syn_acks": 1, "bytes": (10, 0)}),
    ("c> S 0:10(10)\ns> S. 0:0(0) ack 12", {"handshake": "unanswered", "syn_acks": 0, "bytes": (0, 0)}),
    ("c> SF 0:0(0)\ns> S. 0:0(0) ack 2", {"handshake": "half-open", "syn_acks": 1}),
    ("c> SF 0:0(0)\ns> S. 0:0(0) ack 3", {"handshake": "unanswered", "syn_acks": 0}),
    ("c> S 0:10(10)\ns> S. 0:0(0) ack 1\nc> . 11:11(0) ack 1", {"handshake": "complete", "bytes": (0, 0)}),
    ("c> S 0:10(10)\ns> S. 0:0(0) ack 2\nc> P. 2:11(9) ack 1", {"handshake": "fast-open", "bytes": (10, 0)}),
    # the SYN's data is that of its first copy
    ("c> S 0:10(10)\nc> S 0:20(20)\ns> S. 0:0(0) ack 21", {"syn_acks": 0, "syns": 2}),
    # The ACK that completes: of the SYN-ACK, and inside the window
    (ASKED + "c> . 1:1(0) ack 0", {"handshake": "half-open", "duration_ms": None}),
    (ASKED + "c> . 1:1(0) ack 1", {"handshake": "complete", "duration_ms": 20.0, "handshake_packets": (1, 2, 3)}),
    (ASKED + "c> . 1:1(0) ack 2", {"handshake": "half-open", "audit": ("ack-of-unsent",)}),
    (ASKED + "c> . 0:0(0) ack 1", {"handshake": "half-open"}),
    (ASKED + "c> . 65536:65536(0) ack 1", {"handshake": "complete"}),
    (ASKED + "c> . 65537:65537(0) ack 1", {"handshake": "half-open"}),
    (ASKED + "s> . 1:1(0) ack 1", {"handshake": "half-open", "duration_ms": None}),
    # data on the SYN-ACK may be acknowledged with it
    ("c> S 0:0(0)\ns> S. 0:5(5) ack 1\nc> . 1:1(0) ack 6", {"handshake": "complete", "bytes": (0, 5)}),
    ("c> S 0:0(0)\ns> S. 0:5(5) ack 1\nc> . 1:1(0) ack 7", {"handshake": "half-open"}),
    # The server speaks before the third ACK: fast open, or the capture missed it
    (ASKED + "s> P. 1:11(10) ack 1", {"handshake": "half-open", "bytes": (0, 10)}),
    (ASKED + "s> . 1:1(0) ack 2", {"handshake": "complete", "duration_ms": None, "handshake_packets": (1, 2, 3)}),
    (ASKED + "s> . 1:1(0) ack 65536", {"handshake": "complete", "audit": ("packets-missing",)}),
    (ASKED + "s> . 1:1(0) ack 65537", {"handshake": "half-open", "audit": ("ack-of-unsent",)}),
    (
        ASKED + "s> . 1:1(0) ack 2",
        {"client_states": "SYN_SENT ESTABLISHED", "server_states": "LISTEN SYN_RECV ESTABLISHED"},
    ),
    # what the client's SYN granted: its window, never scaled
    ("c> S 0:0(0) win 10 <wscale 3>\ns> S. 0:0(0) ack 1 <wscale 0>\ns> P. 1:11(10) ack 1", {"audit": ()}),
    (
        "c> S 0:0(0) win 10 <wscale 3>\ns> S. 0:0(0) ack 1 <wscale 0>\ns> P. 1:12(11) ack 1",
        {"audit": ("window-overrun",)},
    ),
    # AccECN asked for, the older ECN agreed on
    ("c> SEWA 0:0(0)\ns> SE. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, False), "audit": ()}),
    ("c> SEWA 0:0(0)\ns> SEW. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, True), "audit": ()}),
    ("c> SEWA 0:0(0)\ns> S. 0:0(0) ack 1", {"ecn": (True, False), "accecn": (True, False), "audit": ()}),
    ("c> SE 0:0(0)\ns> S. 0:0(0) ack 1", {"ecn": (False, False), "accecn": (False, False)}),
    # the four answers of RFC 9768 table 2, and the fifth that is the older one's
    ("c> SEWA 0:0(0)\ns> SW. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, True)}),
    ("c> SEWA 0:0(0)\ns> SA. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, True)}),
    ("c> SEWA 0:0(0)\ns> SWA. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, True)}),
    ("c> SEWA 0:0(0)\ns> SEA. 0:0(0) ack 1", {"ecn": (True, True), "accecn": (True, False)}),
    # and beside other options
    ("c> SEWA 0:0(0) <mss 9>\ns> SW. 0:0(0) ack 1 <mss 9>", {"ecn": (True, True), "accecn": (True, True)}),
    # Data and a FIN on the SYN-ACK are no copies of anything
    ("c> S 0:0(0)\ns> SF. 0:5(5) ack 1", {"bytes": (0, 5), "duplicates": (0, 0), "closed_first": "server"}),
    (
        "0 c> S 0:0(0)\n0.1 s> SF. 0:5(5) ack 1\n1.1 s> SF. 0:5(5) ack 1",
        {"retransmits": (0, 1), "fin_retransmits": 1, "synack_retransmits": 1, "duplicates": (0, 0)},
    ),
    # An ACK of something else than the SYN-ACK brings no data
    (ASKED + "c> P. 1:11(10) ack 2", {"handshake": "half-open", "bytes": (0, 0)}),
    # A signature that was not agreed on: its receiver drops the segment with all that is in it
    (ASKED + "c> P. 1:11(10) ack 1 <md5>", {"handshake": "half-open", "bytes": (0, 0)}),
    # Simultaneous open: complete when both SYNs are acknowledged
    (
        "c> S 0:0(0)\ns> S 0:0(0)\nc> S. 0:0(0) ack 1",
        {
            "handshake": "half-open",
            "syns": 2,
            "syn_acks": 1,
            "client_states": "SYN_SENT SYN_RECV",
            "server_states": "SYN_SENT",
        },
    ),
    (
        "c> S 0:0(0)\ns> S 0:0(0)\nc> S. 0:0(0) ack 1\ns> S. 0:0(0) ack 1",
        {
            "handshake": "simultaneous",
            "duration_ms": 30.0,
            "handshake_packets": (1, 2, 3, 4),
            "client_states": "SYN_SENT SYN_RECV ESTABLISHED",
            "server_states": "SYN_SENT SYN_RECV ESTABLISHED",
        },
    ),
    (
        "c> S 0:0(0)\ns> S 0:0(0)\nc> . 1:1(0) ack 1\ns> . 1:1(0) ack 1",
        {"handshake": "simultaneous", "duration_ms": 30.0, "client_states": "SYN_SENT ESTABLISHED"},
    ),
    ("c> S 0:0(0)\ns> S 0:0(0)\nc> . 1:1(0) ack 1\ns> P. 1:11(10) ack 1", {"bytes": (0, 10)}),
    ("c> S 0:0(0)\ns> S 0:0(0)\nc> . 1:1(0) ack 1", {"handshake": "unanswered", "duration_ms": None}),
    ("c> S 0:0(0)\ns> S 0:0(0)\nc> . 1:1(0) ack 2\ns> . 1:1(0) ack 1", {"handshake": "unanswered"}),
    # The SYN-ACK stands before the SYN: the time counts from the SYN
    ("s> S. 0:0(0) ack 1\nc> S 0:0(0)\nc> . 1:1(0) ack 1", {"handshake": "complete", "duration_ms": 10.0}),
    # Several SYN-ACKs with numbers of their own: the one that is acknowledged counts
    (
        ASKED + "c> S 0:0(0)\ns> S. 900:900(0) ack 1\nc> . 1:1(0) ack 901",
        {"handshake": "complete", "syn_acks": 2, "synack_retransmits": 0},
    ),
    (
        ASKED + "c> S 0:0(0)\ns> S. 900:900(0) ack 1\nc> . 1:1(0) ack 1\ns> P. 1:11(10) ack 1",
        {"handshake": "complete", "bytes": (0, 10), "gaps": (0, 0)},
    ),
    # A capture that begins at the SYN-ACK, or at the third ACK
    ("s> S. 0:0(0) ack 1", {"handshake": "half-open", "syns": 0, "syn_acks": 1}),
    ("s> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1", {"handshake": "mid-stream", "duration_ms": None}),
    ("c> . 1:1(0) ack 1", {"handshake": "mid-stream", "syns": 0}),
    (
        "c> . 1:1(0) ack 1\nc> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2",
        {"client_states": "FIN_WAIT1 FIN_WAIT2", "server_states": "CLOSE_WAIT"},
    ),
    # An ACK that no SYN-ACK explains: the SYN's sender has seen one, others open nothing
    ("c> S 0:0(0)\nc> . 1:1(0) ack 1", {"handshake": "complete", "syn_acks": 0, "server_states": "ESTABLISHED"}),
    ("c> S 0:0(0)\ns> . 1:1(0) ack 1", {"handshake": "unanswered"}),
    ("c> S 0:0(0)\ns> P. 1:11(10) ack 1", {"handshake": "unanswered", "bytes": (0, 0)}),
    ("c> S 0:10(10)\nc> . 11:11(0) ack 1", {"handshake": "fast-open", "bytes": (10, 0)}),
    ("c> S 0:10(10)\nc> P. 1:11(10) ack 1", {"handshake": "complete", "bytes": (10, 0), "retransmits": (0, 0)}),
    # Refused: RST+ACK of the SYN and its data, by the other side
    ("c> S 0:0(0)\ns> R. 0:0(0) ack 1", {"handshake": "refused", "reset_by": "server", "teardown": "none"}),
    ("c> S 0:10(10)\ns> R. 0:0(0) ack 11", {"handshake": "refused"}),
    ("c> S 0:10(10)\ns> R. 0:0(0) ack 12", {"handshake": "unanswered"}),
    ("c> SF 0:0(0)\ns> R. 0:0(0) ack 2", {"handshake": "refused"}),
    ("c> S 0:0(0)\ns> R 0:0(0) ack 1", {"handshake": "unanswered", "audit": ("rst-ignored",)}),
    ("c> S 0:0(0)\nc> R 1:1(0)", {"handshake": "reset", "reset_by": "client", "reset_state": "SYN_SENT"}),
    ("c> S 0:10(10)\nc> R 11:11(0)", {"handshake": "reset"}),
    ("c> S 0:10(10)\nc> R 12:12(0)", {"handshake": "unanswered"}),
    # a SYN sent again shows that the refusal was not heard
    ("0 c> S 0:0(0)\n0.1 s> R. 0:0(0) ack 1\n1 c> S 0:0(0)", {"handshake": "unanswered", "syn_retransmits": 1}),
    # Reset while open: exactly at the next byte, by either count
    (
        OPEN + "c> R 1:1(0)",
        {
            "teardown": "rst",
            "reset_by": "client",
            "reset_state": "ESTABLISHED",
            "client_states": "SYN_SENT ESTABLISHED CLOSE",
            "server_states": "LISTEN SYN_RECV ESTABLISHED CLOSE",
        },
    ),
    (OPEN + "c> R 2:2(0)", {"teardown": "rst", "audit": ("rst-in-window",)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> R 11:11(0)", {"teardown": "rst", "audit": ()}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> R 1:1(0)", {"teardown": "rst", "audit": ()}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\nc> R 1:1(0)", {"teardown": "none"}),
    # at a closed window only the next byte is inside
    (OPEN + "s> . 1:1(0) ack 1 win 0\nc> R 1:1(0)", {"teardown": "rst", "audit": ()}),
    # Challenged: a bare ACK of the other side shows that it ended nothing
    (
        OPEN + "c> R 5:5(0)\ns> . 1:1(0) ack 1",
        {"teardown": "none", "reset_by": None, "client_states": "SYN_SENT ESTABLISHED"},
    ),
    (OPEN + "c> R 5:5(0)\ns> P. 1:11(10) ack 1", {"teardown": "rst", "reset_by": "client"}),
    (OPEN + "c> R 1:1(0)\ns> . 1:1(0) ack 1", {"teardown": "rst", "audit": ()}),
    (OPEN + "c> R 1:1(0)\nc> S 0:0(0)", {"teardown": "rst", "syn_retransmits": 1}),
    # Two RSTs: the first ended it
    (OPEN + "c> R 1:1(0)\ns> R 1:1(0)", {"teardown": "rst", "reset_by": "client", "teardown_packets": (4,)}),
    # Its sender going on alone does not undo it; both sides going on does, until another RST comes
    (OPEN + "c> R 1:1(0)\nc> P. 1:11(10) ack 1\nc> P. 11:21(10) ack 1", {"teardown": "rst", "reset_by": "client"}),
    (BOTH_WENT_ON, {"teardown": "none", "reset_by": None}),
    (BOTH_WENT_ON + "c> R 1:1(0)", {"teardown": "rst", "reset_by": "client", "teardown_packets": (8,)}),
    (BOTH_WENT_ON + "s> R 11:11(0)", {"teardown": "rst", "reset_by": "client", "teardown_packets": (4,)}),
    # An ACK behind a RST completes once it is clear that the RST had no effect
    (
        ASKED + "c> R 1:1(0)\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11",
        {
            "handshake": "complete",
            "handshake_packets": (1, 2, 4),
            "duration_ms": 30.0,
            "client_states": "SYN_SENT ESTABLISHED",
            "server_states": "LISTEN SYN_RECV ESTABLISHED",
        },
    ),
    (ASKED + "c> R 5:5(0)\nc> . 1:1(0) ack 1", {"handshake": "complete", "teardown": "none"}),
    (ASKED + "c> R 5:5(0)\ns> . 1:1(0) ack 1", {"handshake": "half-open", "reset_by": None}),
    # The bare ACK that answers a RST after both FINs is no challenge
    (
        OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2\nc> . 2:2(0) ack 2\ns> R 5:5(0)\nc> . 2:2(0) ack 2",
        {"teardown": "fin", "audit": ("rst-in-window",), "audit_packets": ((7,),)},
    ),
    # A FIN that was acknowledged is not undone by its sender's RST; one that was not is
    (
        OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\nc> R 2:2(0)",
        {"teardown": "fin", "reset_by": "client", "teardown_packets": (4, 5, 6)},
    ),
    (
        OPEN + "c> F. 1:1(0) ack 1\nc> R 2:2(0)",
        {"teardown": "rst", "closed_first": "client", "reset_by": "client", "reset_state": "FIN_WAIT1"},
    ),
    (
        OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2\nc> R 2:2(0)",
        {"teardown": "fin", "reset_by": None, "reset_state": None, "teardown_packets": (4, 5)},
    ),
    # A reset of which only the RST was captured
    ("c> R 1:1(0)", {"handshake": "mid-stream", "teardown": "rst", "reset_by": "client"}),
    ("c> R. 1:1(0) ack 1", {"handshake": "mid-stream", "teardown": "rst", "reset_state": "ESTABLISHED"}),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=range(len(CASES)))
def test_at_the_edges(text: str, expected: Expected) -> None:
    """One step to either side is told otherwise."""
    told = facts(trace(text))
    assert {name: told[name] for name in expected} == expected


def test_options_are_those_of_the_last_syn_before_the_answer() -> None:
    """A SYN may be sent again with less; what comes after the SYN-ACK changes nothing."""
    text = "0 c> S 0:0(0) <mss 1460,sackOK>\n1 c> S 0:0(0) <mss 500>\n"
    told = trace(text + "1.1 s> S. 0:0(0) ack 1\n3 c> S 0:0(0) <mss 99>")
    assert (told.handshake.client_options.mss, told.handshake.client_options.sack) == (500, False)


def test_a_rst_tells_where_its_sender_is() -> None:
    """Also as the first packet, and in the upper half of the numbers: what follows from there is more than it."""
    told = trace("c> R 1:1(0)\nc> P. 1:11(10) ack 1", isn={"c": 3_000_000_000, "s": 5000})
    assert facts(told)["audit"] == ("one-sided", "rst-sender-went-on")


def test_a_connection_to_itself() -> None:
    """One end that is both sides: its SYN and its FIN cross themselves."""
    text = """
    c> S 0:0(0)
    c> S. 0:0(0) ack 1
    c> . 1:1(0) ack 1
    c> F. 1:1(0) ack 1
    c> . 2:2(0) ack 2
    """
    (told,) = trace_connections(conversation(text, isn={"c": 1000, "s": 1000}, server=CLIENT))
    assert (told.handshake.outcome.value, told.teardown.kind.value) == ("simultaneous", "simultaneous")
    assert (told.client, told.handshake.syns, told.handshake.syn_acks) == (told.server, 1, 1)


def test_who_is_the_client_when_syns_cross() -> None:
    """The sender of the first SYN, from which the time of the handshake counts."""
    told = trace("1 s> S 0:0(0)\n1.2 c> S 0:0(0)\n1.3 c> S. 0:0(0) ack 1\n1.5 s> S. 0:0(0) ack 1")
    assert (told.client.port, told.handshake.duration_ns) == (7456, 500_000_000)
