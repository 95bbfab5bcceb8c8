"""The situations of passive TCP, a few lines each: what the packets are, and what must be said of them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from tcp_notation import rules, trace

from testbed.tcp.connection import Connection

OPEN = """
c> S 0:0(0)
s> S. 0:0(0) ack 1
c> . 1:1(0) ack 1
"""


@dataclass(frozen=True)
class Case:
    """One conversation and what is said of it, as `name=value` of `facts`."""

    name: str
    text: str
    expected: dict[str, object]


def facts(connection: Connection) -> dict[str, object]:
    """Everything the cases speak about, flat."""
    h, t, c, s = connection.handshake, connection.teardown, connection.client_flow, connection.server_flow
    return {
        "handshake": h.outcome.value,
        "syns": h.syns,
        "syn_acks": h.syn_acks,
        "syn_retransmits": h.syn_retransmits,
        "synack_retransmits": h.synack_retransmits,
        "handshake_packets": h.packets,
        "duration_ms": None if h.duration_ns is None else h.duration_ns / 1e6,
        "teardown": t.kind.value,
        "closed_first": t.closed_first and t.closed_first.value,
        "fin_retransmits": t.fin_retransmits,
        "reset_by": t.reset_by and t.reset_by.value,
        "reset_state": t.reset_state,
        "teardown_packets": t.packets,
        "bytes": (c.bytes, s.bytes),
        "retransmits": (c.retransmits, s.retransmits),
        "out_of_order": (c.out_of_order, s.out_of_order),
        "duplicates": (c.duplicates, s.duplicates),
        "duplicate_acks": (c.duplicate_acks, s.duplicate_acks),
        "zero_windows": (c.zero_windows, s.zero_windows),
        "gaps": (c.gaps, s.gaps),
        "zeek": (connection.conn_state, connection.history),
        "completeness": connection.completeness,
        "audit": tuple(sorted(rules(connection))),
        "kinds": tuple(sorted(finding.kind.value for finding in connection.audit)),
        "audit_packets": tuple(finding.packets for finding in connection.audit),
        "ecn": (h.client_options.ecn, h.server_options.ecn),
        "accecn": (h.client_options.accecn, h.server_options.accecn),
        "probes": (c.keep_alives, c.window_probes),
        "client_states": states(connection, "client"),
        "server_states": states(connection, "server"),
    }


def states(connection: Connection, role: str) -> str:
    """The states an end went through, after the first."""
    return " ".join(change.after for change in connection.states if change.role.value == role)


CLEAN: dict[str, object] = {"audit": ()}

CASES = [
    # A. Close and shutdown
    Case(
        "A1 active close in four segments",
        OPEN
        + """
        c> P. 1:1001(1000) ack 1
        s> . 1:1(0) ack 1001
        c> F. 1001:1001(0) ack 1
        s> . 1:1(0) ack 1002
        s> F. 1:1(0) ack 1002
        c> . 1002:1002(0) ack 2
        """,
        CLEAN
        | {
            "handshake": "complete",
            "handshake_packets": (1, 2, 3),
            "duration_ms": 20.0,
            "teardown": "fin",
            "closed_first": "client",
            "teardown_packets": (6, 7, 8, 9),
            "bytes": (1000, 0),
            "zeek": ("SF", "ShADaFf"),
            "completeness": 31,
            "client_states": "SYN_SENT ESTABLISHED FIN_WAIT1 FIN_WAIT2 TIME_WAIT",
            "server_states": "LISTEN SYN_RECV ESTABLISHED CLOSE_WAIT LAST_ACK CLOSE",
        },
    ),
    Case(
        "A2 close while connecting: the SYN-ACK draws a RST without ACK",
        """
        c> S 0:0(0)
        s> S. 0:0(0) ack 1
        c> R 1:1(0)
        """,
        CLEAN
        | {
            "handshake": "reset",
            "teardown": "none",
            "reset_by": "client",
            "reset_state": "SYN_SENT",
            "zeek": ("RSTO", "ShR"),
            "completeness": 35,
            "handshake_packets": (1, 2, 3),
        },
    ),
    Case(
        "A3 passive close, then a late segment draws a RST",
        OPEN
        + """
        c> F. 1:1(0) ack 1
        s> . 1:1(0) ack 2
        s> F. 1:1(0) ack 2
        c> . 2:2(0) ack 2
        c> . 2:2(0) ack 2
        s> R 2:2(0)
        """,
        CLEAN | {"teardown": "fin", "closed_first": "client", "reset_by": None, "teardown_packets": (4, 5, 6, 7)},
    ),
    Case(
        "A4 half-close: data towards the side that closed",
        OPEN
        + """
        s> F. 1:1(0) ack 1
        c> . 1:1(0) ack 2
        c> . 1:1001(1000) ack 2
        s> . 2:2(0) ack 1001
        c> F. 1001:1001(0) ack 2
        s> . 2:2(0) ack 1002
        """,
        CLEAN | {"teardown": "half-close", "closed_first": "server", "bytes": (1000, 0)},
    ),
    Case(
        "A5 A6 shutdown(RD) is invisible",
        OPEN
        + """
        s> . 1:1001(1000) ack 1
        c> . 1:1(0) ack 1001
        c> P. 1:1001(1000) ack 1001
        s> . 1001:1001(0) ack 1001
        c> F. 1001:1001(0) ack 1001
        s> F. 1001:1001(0) ack 1002
        c> . 1002:1002(0) ack 1002
        """,
        CLEAN | {"teardown": "fin", "closed_first": "client", "bytes": (1000, 1000)},
    ),
    Case(
        "A8 FIN rides on the last queued data",
        OPEN
        + """
        s> P. 1:12001(12000) ack 1
        c> . 1:1(0) ack 12001
        s> FP. 12001:20001(8000) ack 1
        c> . 1:1(0) ack 20002
        c> F. 1:1(0) ack 20002
        s> . 20002:20002(0) ack 2
        """,
        CLEAN | {"teardown": "fin", "closed_first": "server", "bytes": (0, 20000), "retransmits": (0, 0)},
    ),
    Case(
        "A9 A10 the FIN is sent again, sooner or later",
        OPEN
        + """
        s> P. 1:1001(1000) ack 1
        s> F. 1001:1001(0) ack 1
        s> F. 1001:1001(0) ack 1
        s> F. 1001:1001(0) ack 1
        """,
        CLEAN
        | {
            "teardown": "half-close",
            "closed_first": "server",
            "fin_retransmits": 2,
            "retransmits": (0, 0),
            "server_states": "LISTEN SYN_RECV ESTABLISHED FIN_WAIT1",
            "client_states": "SYN_SENT ESTABLISHED",
        },
    ),
    Case(
        "A11 close with unread data is a RST",
        OPEN
        + """
        c> P. 1:1001(1000) ack 1
        s> . 1:1(0) ack 1001
        s> R. 1:1(0) ack 1001
        """,
        CLEAN
        | {
            "teardown": "rst",
            "closed_first": None,
            "reset_by": "server",
            "reset_state": "ESTABLISHED",
            "teardown_packets": (6,),
            "zeek": ("RSTR", "ShADar"),
            "completeness": 47,
        },
    ),
    Case(
        "A13 the same data again, with FIN",
        OPEN
        + """
        c> . 1:1001(1000) ack 1
        s> . 1:1(0) ack 1001
        c> F. 1:1001(1000) ack 1
        s> . 1:1(0) ack 1002
        s> F. 1:1(0) ack 1002
        c> . 1002:1002(0) ack 2
        """,
        CLEAN | {"teardown": "fin", "bytes": (1000, 0), "retransmits": (1, 0), "fin_retransmits": 0},
    ),
    Case(
        "A14 crossing FINs, the second seen after a bare ACK",
        OPEN
        + """
        s> F. 1:1(0) ack 1
        c> . 2:2(0) ack 2
        c> F. 1:1(0) ack 1
        s> . 2:2(0) ack 2
        """,
        {"teardown": "simultaneous", "closed_first": None},
    ),
    Case(
        "A15 a FIN is accepted at a closed window",
        OPEN
        + """
        c> P. 1:60001(60000) ack 1
        s> . 1:1(0) ack 60001 win 0
        c> F. 60001:60001(0) ack 1
        s> . 1:1(0) ack 60002 win 0
        """,
        CLEAN | {"teardown": "half-close", "zero_windows": (0, 1)},
    ),
    Case(
        "A17 fast retransmit, then an orderly close",
        OPEN
        + """
        s> . 1:1461(1460) ack 1
        s> . 1461:2921(1460) ack 1
        s> . 2921:4381(1460) ack 1
        s> . 4381:5841(1460) ack 1
        c> . 1:1(0) ack 1
        c> . 1:1(0) ack 1
        c> . 1:1(0) ack 1
        s> . 1:1461(1460) ack 1
        c> . 1:1(0) ack 5841
        s> F. 5841:5841(0) ack 1
        c> F. 1:1(0) ack 5842
        s> . 5842:5842(0) ack 2
        """,
        CLEAN
        | {
            "teardown": "fin",
            "bytes": (0, 5840),
            "retransmits": (0, 1),
            "duplicate_acks": (3, 0),
            "out_of_order": (0, 0),
        },
    ),
    Case(
        "A17 the same, seen beyond the loss: the hole is filled after three duplicate ACKs",
        OPEN
        + """
        s> . 1461:2921(1460) ack 1
        c> . 1:1(0) ack 1
        c> . 1:1(0) ack 1
        c> . 1:1(0) ack 1
        s> . 1:1461(1460) ack 1
        """,
        CLEAN | {"retransmits": (0, 1), "out_of_order": (0, 0), "gaps": (0, 0), "bytes": (0, 2920)},
    ),
    Case(
        "A18 a segment without flags carries nothing",
        OPEN
        + """
        c> - 1:1001(1000)
        c> . 1:1001(1000) ack 1
        s> . 1:1(0) ack 1001
        """,
        {"bytes": (1000, 0), "retransmits": (0, 0), "audit": ("no-ack-flag",)},
    ),
    Case(
        "A19 a FIN with an impossible acknowledgement closes nothing",
        OPEN
        + """
        c> F. 1:1(0) ack 9999
        c> . 1:1001(1000) ack 1
        s> . 1:1(0) ack 1001
        """,
        {"teardown": "none", "bytes": (1000, 0), "audit": ("ack-of-unsent",)},
    ),
    # B. Handshake
    Case(
        "B2 third ACKs with an unexpected MD5 signature establish nothing",
        """
        c> S 0:0(0) <mss 1460>
        s> S. 0:0(0) ack 1 <mss 1460>
        c> . 1:1(0) ack 1 <md5>
        c> . 1:1(0) ack 1 <md5>
        c> . 1:1(0) ack 1
        """,
        {"handshake": "complete", "handshake_packets": (1, 2, 5), "audit": ("md5-mismatch",)},
    ),
    Case(
        "B3 a zero window in a SYN is no zero window",
        """
        c> S 0:0(0) win 0
        s> S. 0:0(0) ack 1
        c> . 1:1(0) ack 1
        """,
        {"zero_windows": (0, 0), "handshake": "complete"},
    ),
    Case(
        "B4 SYN copies change their flags",
        """
        0 c> SEW 0:0(0)
        1 c> SEW 0:0(0)
        2 c> S 0:0(0)
        3 c> S 0:0(0)
        3.1 s> S. 0:0(0) ack 1
        3.2 c> . 1:1(0) ack 1
        """,
        CLEAN | {"syns": 4, "syn_retransmits": 3, "handshake": "complete", "duration_ms": 3200.0},
    ),
    Case(
        "B5 SYN-ACK copies, completed late",
        """
        0 c> S 0:0(0)
        0.1 s> S. 0:0(0) ack 1
        1.1 s> S. 0:0(0) ack 1
        3.1 s> S. 0:0(0) ack 1
        3.2 c> . 1:1(0) ack 1
        """,
        CLEAN | {"syn_acks": 3, "synack_retransmits": 2, "handshake": "complete", "zeek": ("S1", "ShA")},
    ),
    Case("unanswered", "c> S 0:0(0)\nc> S 0:0(0)", {"handshake": "unanswered", "zeek": ("S0", "S"), "completeness": 1}),
    Case(
        "half-open",
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> S. 0:0(0) ack 1",
        {
            "handshake": "half-open",
            "zeek": ("S1", "Sh"),
            "server_states": "LISTEN SYN_RECV",
            "client_states": "SYN_SENT",
        },
    ),
    Case(
        "the third ACK is lost, data completes",
        """
        c> S 0:0(0)
        s> S. 0:0(0) ack 1
        c> P. 1:28(27) ack 1
        """,
        CLEAN | {"handshake": "complete", "handshake_packets": (1, 2, 3), "bytes": (27, 0)},
    ),
    Case(
        "SYN-ACK lost: both timers fire",
        """
        0 c> S 0:0(0)
        0.01 s> S. 0:0(0) ack 1
        1.01 s> S. 0:0(0) ack 1
        1.02 c> S 0:0(0)
        1.03 c> . 1:1(0) ack 1
        1.04 s> S. 0:0(0) ack 1
        1.05 c> . 1:1(0) ack 1
        """,
        CLEAN | {"handshake": "complete", "syn_retransmits": 1, "synack_retransmits": 2},
    ),
    # C. Fast open
    Case(
        "C1 data on the SYN, the server speaks before the third ACK",
        """
        c> S 0:10(10) <mss 1460,FO aabb>
        s> S. 0:0(0) ack 11 <mss 1460>
        s> P. 1:101(100) ack 11
        c> . 11:11(0) ack 101
        """,
        CLEAN
        | {
            "handshake": "fast-open",
            "bytes": (10, 100),
            "retransmits": (0, 0),
            "zeek": ("S1", "STh dA".replace(" ", "")),
        },
    ),
    Case(
        "C2 C4 the SYN's data is not taken and sent again",
        """
        c> S 0:10(10)
        s> S. 0:0(0) ack 1
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11
        """,
        CLEAN | {"handshake": "complete", "bytes": (10, 0), "retransmits": (0, 0)},
    ),
    Case(
        "C3 the SYN is sent again without data",
        """
        0 c> S 0:1000(1000) <FO aabb>
        1 c> S 0:0(0)
        1.1 s> S. 0:0(0) ack 1
        1.2 c> P. 1:1001(1000) ack 1
        """,
        CLEAN | {"handshake": "complete", "syn_retransmits": 1, "bytes": (1000, 0), "retransmits": (0, 0)},
    ),
    Case(
        "C5 the SYN's data is taken in part",
        """
        c> S 0:18(18) <FO aabb>
        s> S. 0:0(0) ack 10
        c> P. 10:19(9) ack 1
        s> . 1:1(0) ack 19
        """,
        CLEAN | {"handshake": "fast-open", "bytes": (18, 0), "retransmits": (0, 0), "gaps": (0, 0)},
    ),
    Case(
        "C5 D11 a SYN-ACK that acknowledges too much is refused, and the attempt goes on",
        """
        0 c> S 0:0(0)
        0.1 s> S. 0:0(0) ack 100101
        0.2 c> R 100101:100101(0)
        2 c> S 0:0(0)
        2.1 s> S. 0:0(0) ack 1
        2.2 c> . 1:1(0) ack 1
        """,
        {"handshake": "complete", "syn_acks": 1, "syn_retransmits": 1, "audit": ("ack-of-unsent", "rst-ignored")},
    ),
    Case(
        "C6 data and FIN on the SYN-ACK",
        """
        c> S 0:0(0)
        s> SF. 0:1400(1400) ack 1
        c> . 1:1(0) ack 1402
        """,
        CLEAN
        | {
            "handshake": "complete",
            "bytes": (0, 1400),
            "teardown": "half-close",
            "closed_first": "server",
            "client_states": "SYN_SENT ESTABLISHED CLOSE_WAIT",
        },
    ),
    Case(
        "C7 simultaneous open with data on both SYNs",
        """
        c> S 0:1000(1000)
        s> S 0:500(500)
        c> S. 0:0(0) ack 1
        s> S. 0:0(0) ack 1
        c> . 1:1(0) ack 1
        """,
        CLEAN | {"handshake": "simultaneous", "syns": 2, "syn_acks": 2, "syn_retransmits": 0, "synack_retransmits": 0},
    ),
    Case(
        "C8 RST instead of the third ACK",
        """
        c> S 0:10(10) <FO aabb>
        s> S. 0:0(0) ack 11
        c> R. 11:11(0) ack 1
        """,
        CLEAN | {"handshake": "reset", "reset_by": "client", "bytes": (10, 0)},
    ),
    Case(
        "C9 RST by the responder before the handshake is complete",
        """
        c> S 0:10(10) <FO aabb>
        s> S. 0:0(0) ack 11
        s> R. 1:1(0) ack 11
        """,
        CLEAN | {"handshake": "reset", "reset_by": "server", "reset_state": "SYN_RECV"},
    ),
    Case(
        "C10 the FIN is the third ACK",
        """
        c> S 0:10(10) <FO aabb>
        s> S. 0:0(0) ack 11
        c> F. 11:11(0) ack 1
        s> . 1:1(0) ack 12
        s> F. 1:1(0) ack 12
        c> . 12:12(0) ack 2
        """,
        CLEAN | {"handshake": "fast-open", "teardown": "fin", "closed_first": "client", "bytes": (10, 0)},
    ),
    # D. State-event tests
    Case(
        "D1 FreeBSD repeats its FIN with the new acknowledgement",
        OPEN
        + """
        s> F. 1:1(0) ack 1
        c> F. 1:1(0) ack 1
        s> F. 1:1(0) ack 2
        c> F. 1:1(0) ack 2
        """,
        CLEAN
        | {
            "teardown": "simultaneous",
            "fin_retransmits": 2,
            "server_states": "LISTEN SYN_RECV ESTABLISHED FIN_WAIT1 CLOSING TIME_WAIT",
        },
    ),
    Case(
        "D2 simultaneous open that ends with a bare ACK; 3 bytes on the crossing SYN",
        """
        c> S 0:0(0)
        s> S 0:3(3)
        c> S. 0:0(0) ack 1
        s> . 4:4(0) ack 1
        c> . 1:1(0) ack 4
        """,
        CLEAN
        | {
            "handshake": "simultaneous",
            "syn_acks": 1,
            "bytes": (0, 3),
            "client_states": "SYN_SENT SYN_RECV ESTABLISHED",
            "server_states": "SYN_SENT ESTABLISHED",
        },
    ),
    Case(
        "D3 D9 refused: RST+ACK of the SYN",
        "c> S 0:0(0)\ns> R. -5000:-5000(0) ack 1",
        CLEAN
        | {
            "handshake": "refused",
            "teardown": "none",
            "reset_by": "server",
            "reset_state": "CLOSE",
            "zeek": ("REJ", "Sr"),
            "completeness": 37,
            "client_states": "SYN_SENT CLOSE",
        },
    ),
    Case("D3 refused: data on the SYN", "c> S 0:9(9)\ns> R. -5000:-5000(0) ack 10", {"handshake": "refused"}),
    Case("D3 refused: SYN+FIN", "c> SF 0:0(0)\ns> R. -5000:-5000(0) ack 2", {"handshake": "refused"}),
    Case(
        "D4 backscatter: a SYN-ACK nobody asked for",
        "s> S. 17:17(0) ack 34\nc> R 34:34(0)",
        {"handshake": "reset", "reset_by": "client", "syn_acks": 1},
    ),
    Case("D5 FIN scan of a closed port", "c> F. 1:1(0) ack 1\ns> R 1:1(0)", {"handshake": "mid-stream"}),
    Case(
        "D6 RST in the window: a challenge ACK, and the connection lives",
        OPEN
        + """
        c> R 5:5(0)
        s> . 1:1(0) ack 1
        """,
        {"teardown": "none", "reset_by": None, "audit": ("rst-in-window",)},
    ),
    Case(
        "D6 RST outside the window is ignored",
        OPEN
        + """
        c> R 900000:900000(0)
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11
        """,
        {"teardown": "none", "audit": ("rst-outside-window",)},
    ),
    Case(
        "a RST in the right place that had no effect: data is acknowledged afterwards",
        OPEN
        + """
        c> R 1:1(0)
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11
        """,
        {
            "teardown": "none",
            "reset_by": None,
            "client_states": "SYN_SENT ESTABLISHED",
            "server_states": "LISTEN SYN_RECV ESTABLISHED",
        },
    ),
    Case(
        "a forged RST in the right place: the peer is gone and answers with RSTs",
        OPEN
        + """
        c> R 1:1(0)
        c> P. 1:11(10) ack 1
        s> R 1:1(0)
        """,
        {"teardown": "rst", "reset_by": "client", "reset_state": "ESTABLISHED"},
    ),
    Case(
        "D7 a SYN inside a connection is challenged",
        OPEN
        + """
        c> S 777:777(0)
        s> . 1:1(0) ack 1
        c> P. 1:11(10) ack 1
        """,
        {"handshake": "complete", "syns": 1, "bytes": (10, 0), "audit": ("syn-in-connection",)},
    ),
    Case(
        "D8 RST before the third ACK, outside the window",
        """
        c> S 0:0(0)
        s> S. 0:0(0) ack 1
        c> R 900000:900000(0)
        c> . 1:1(0) ack 1
        """,
        {"handshake": "complete", "teardown": "none"},
    ),
    Case(
        "D8 RST before the third ACK, in the right place; the ACK comes too late",
        """
        c> S 0:0(0)
        s> S. 0:0(0) ack 1
        c> R 1:1(0)
        c> . 1:1(0) ack 1
        s> R 1:1(0)
        """,
        {"handshake": "reset", "reset_by": "client"},
    ),
    Case(
        "D9 a bare RST before the SYN-ACK is ignored",
        """
        0 c> S 0:0(0)
        0.1 s> R 0:0(0)
        1 c> S 0:0(0)
        1.1 s> S. 0:0(0) ack 1
        1.2 c> . 1:1(0) ack 1
        """,
        {"handshake": "complete", "audit": ("rst-ignored",), "teardown": "none"},
    ),
    Case(
        "D9 a RST with another acknowledgement does not refuse",
        "c> S 0:0(0)\ns> R. 0:0(0) ack 77",
        {"handshake": "unanswered", "audit": ("rst-ignored",)},
    ),
    Case(
        "D10 an ACK without SYN opens nothing",
        """
        0 c> S 0:0(0)
        0.1 s> . 40:40(0) ack 1
        1 c> S 0:0(0)
        1.1 s> S. 0:0(0) ack 1
        1.2 c> . 1:1(0) ack 1
        """,
        CLEAN | {"handshake": "complete", "syn_retransmits": 1},
    ),
    Case(
        "D13 a bare FIN without ACK is ignored",
        OPEN + "c> F 1:1(0)",
        {"teardown": "none", "audit": ("no-ack-flag",)},
    ),
    # Data
    Case(
        "keep-alives and their answers are no data",
        OPEN
        + """
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11
        c> . 10:10(0) ack 1
        s> . 1:1(0) ack 11
        c> . 10:11(1) ack 1
        s> . 1:1(0) ack 11
        """,
        CLEAN | {"bytes": (10, 0), "retransmits": (0, 0), "duplicate_acks": (0, 0)},
    ),
    Case(
        "a window probe's byte counts once",
        OPEN
        + """
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11 win 0
        c> . 11:12(1) ack 1
        s> . 1:1(0) ack 11 win 0
        s> . 1:1(0) ack 11 win 500
        c> P. 11:21(10) ack 1
        s> . 1:1(0) ack 21
        """,
        CLEAN | {"bytes": (20, 0), "retransmits": (0, 0), "zero_windows": (0, 1), "gaps": (0, 0)},
    ),
    Case(
        "a window probe's byte that was accepted",
        OPEN
        + """
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11 win 0
        c> . 11:12(1) ack 1
        s> . 1:1(0) ack 12 win 500
        c> P. 12:22(10) ack 1
        """,
        CLEAN | {"bytes": (21, 0), "retransmits": (0, 0), "gaps": (0, 0)},
    ),
    Case(
        "reordered data is out of order, not sent again",
        OPEN
        + """
        c> . 11:21(10) ack 1
        c> . 1:11(10) ack 1
        """,
        CLEAN | {"bytes": (20, 0), "out_of_order": (1, 0), "retransmits": (0, 0), "gaps": (0, 0)},
    ),
    Case(
        "a lost segment that the capture never shows is a gap",
        OPEN + "c> . 11:21(10) ack 1\nc> . 31:41(10) ack 1",
        CLEAN | {"bytes": (20, 0), "gaps": (2, 0)},
    ),
    Case(
        "a frame doubled by the path is no retransmission",
        """
        c> S 0:0(0) id 1
        s> S. 0:0(0) ack 1
        c> . 1:1(0) ack 1 id 2
        c> P. 1:11(10) ack 1 id 3
        c> P. 1:11(10) ack 1 id 3
        c> P. 1:11(10) ack 1 id 4
        """,
        CLEAN | {"bytes": (10, 0), "duplicates": (1, 0), "retransmits": (1, 0)},
    ),
    Case(
        "a segment with a wrong checksum is not delivered",
        OPEN + "c> P. 1:11(10) ack 1 bad\nc> P. 1:11(10) ack 1",
        {"bytes": (10, 0), "retransmits": (0, 0), "audit": ("bad-checksum",), "zeek": ("S1", "ShACD")},
    ),
    Case(
        "data beyond the window",
        """
        c> S 0:0(0)
        s> S. 0:0(0) ack 1 win 100
        c> . 1:1(0) ack 1
        c> P. 1:201(200) ack 1
        """,
        {"audit": ("window-overrun",)},
    ),
    Case(
        "data beyond its own FIN",
        OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\nc> P. 2:12(10) ack 1",
        {"audit": ("data-beyond-fin",), "bytes": (0, 0), "teardown": "half-close"},
    ),
    Case(
        "options answered, not offered",
        """
        c> S 0:0(0) <mss 1460>
        s> S. 0:0(0) ack 1 <mss 1460,sackOK,TS,wscale 7>
        """,
        {
            "audit": (
                "option-not-offered:sack",
                "option-not-offered:timestamps",
                "option-not-offered:window-scale",
            )
        },
    ),
    # Teardown
    Case(
        "server closes first, FIN and ACK on one segment",
        OPEN + "s> F. 1:1(0) ack 1\nc> F. 1:1(0) ack 2\ns> . 2:2(0) ack 2",
        CLEAN | {"teardown": "fin", "closed_first": "server", "zeek": ("SF", "ShAfFa")},
    ),
    Case(
        "the last ACK is lost",
        OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2\ns> F. 1:1(0) ack 2\nc> . 2:2(0) ack 2",
        CLEAN | {"teardown": "fin", "closed_first": "client", "fin_retransmits": 1},
    ),
    Case(
        "write after close: the closed side resets, the close stays a FIN",
        OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\ns> P. 1:11(10) ack 2\nc> R 2:2(0)",
        CLEAN | {"teardown": "fin", "closed_first": "client", "reset_by": "client", "reset_state": "FIN_WAIT2"},
    ),
    Case(
        "the other side resets after the first FIN",
        OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\ns> R. 1:1(0) ack 2",
        CLEAN | {"teardown": "rst", "closed_first": "client", "reset_by": "server", "reset_state": "CLOSE_WAIT"},
    ),
    Case(
        "data in flight when the FIN comes is no half-close",
        OPEN + "c> F. 1:1(0) ack 1\ns> P. 1:11(10) ack 1\ns> F. 11:11(0) ack 2\nc> . 2:2(0) ack 12",
        CLEAN | {"teardown": "fin", "bytes": (0, 10)},
    ),
    # Mid-stream
    Case(
        "a capture that starts in the middle",
        """
        s> P. 101:201(100) ack 50
        c> . 50:50(0) ack 201
        c> F. 50:50(0) ack 201
        s> F. 201:201(0) ack 51
        c> . 51:51(0) ack 202
        """,
        CLEAN
        | {
            "handshake": "mid-stream",
            "duration_ms": None,
            "teardown": "fin",
            "closed_first": "client",
            "bytes": (0, 100),
        },
    ),
    Case(
        "a capture that starts at the SYN-ACK",
        "s> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1",
        CLEAN | {"handshake": "mid-stream", "bytes": (10, 0), "zeek": ("S1", "^hAD")},
    ),
    # Audit: protocol, capture, notes
    Case(
        "PAWS: an older timestamp is dropped, the data is sent again",
        """
        c> S 0:0(0) <TS 100>
        s> S. 0:0(0) ack 1 <TS 900>
        c> . 1:1(0) ack 1 <TS 101>
        c> P. 1:11(10) ack 1 <TS 102>
        s> . 1:1(0) ack 11 <TS 901>
        c> P. 11:21(10) ack 1 <TS 50>
        s> . 1:1(0) ack 11 <TS 902>
        c> P. 11:21(10) ack 1 <TS 104>
        s> . 1:1(0) ack 21 <TS 903>
        """,
        {"bytes": (20, 0), "retransmits": (1, 0), "gaps": (0, 0), "audit": ("timestamp-old",)},
    ),
    Case(
        "an older timestamp that was taken all the same",
        """
        c> S 0:0(0) <TS 100>
        s> S. 0:0(0) ack 1 <TS 900>
        c> . 1:1(0) ack 1 <TS 101>
        c> P. 1:11(10) ack 1 <TS 50>
        s> . 1:1(0) ack 11 <TS 901>
        """,
        {"bytes": (10, 0), "retransmits": (0, 0), "gaps": (0, 0), "audit": ("timestamp-old",)},
    ),
    Case(
        "a timestamp that wraps around is no older one",
        """
        c> S 0:0(0) <TS 4294967290>
        s> S. 0:0(0) ack 1 <TS 900>
        c> . 1:1(0) ack 1 <TS 4294967295>
        c> P. 1:11(10) ack 1 <TS 3>
        s> . 1:1(0) ack 11 <TS 901>
        """,
        CLEAN | {"bytes": (10, 0)},
    ),
    Case(
        "data without the timestamp that both agreed on",
        """
        c> S 0:0(0) <TS>
        s> S. 0:0(0) ack 1 <TS>
        c> . 1:1(0) ack 1 <TS>
        c> P. 1:11(10) ack 1
        """,
        {"bytes": (10, 0), "audit": ("timestamp-missing",)},
    ),
    Case(
        "ECN agreed on: ECE and CWR mean something",
        """
        c> SEW 0:0(0)
        s> SE. 0:0(0) ack 1
        c> . 1:1(0) ack 1
        c> P.W 1:11(10) ack 1
        s> .E 1:1(0) ack 11
        """,
        CLEAN | {"ecn": (True, True), "accecn": (False, False)},
    ),
    Case(
        "AccECN agreed on: the three bits count",
        """
        c> SEWA 0:0(0)
        s> SW. 0:0(0) ack 1
        c> .WA 1:1(0) ack 1
        c> P.WA 1:11(10) ack 1
        """,
        CLEAN | {"ecn": (True, True), "accecn": (True, True)},
    ),
    Case(
        "ECN asked for, not agreed on, and used",
        """
        c> SEW 0:0(0)
        s> S. 0:0(0) ack 1
        c> . 1:1(0) ack 1
        c> P.W 1:11(10) ack 1
        """,
        {"ecn": (True, False), "audit": ("ecn-not-agreed",)},
    ),
    Case(
        "the ECN bits of the SYN sent back",
        "c> SEW 0:0(0)\ns> SEW. 0:0(0) ack 1\nc> . 1:1(0) ack 1",
        {"ecn": (True, False), "audit": ("ecn-reflected",)},
    ),
    Case(
        "multipath answered, not offered",
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 <mptcp>",
        {"audit": ("option-not-offered:mptcp",)},
    ),
    Case(
        "a window scale of 15 counts as 14",
        "c> S 0:0(0) <wscale 15>\ns> S. 0:0(0) ack 1 <wscale 2>",
        {"audit": ("window-scale-too-large",)},
    ),
    Case(
        "a SACK block beyond what was sent, on an ACK that is plain otherwise",
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11 <sack 300 310>",
        {"audit": ("sack-of-unsent",)},
    ),
    Case(
        "a SYN again after half a second, and then sooner still",
        """
        0 c> S 0:0(0)
        0.5 c> S 0:0(0)
        0.7 c> S 0:0(0)
        """,
        {"syn_retransmits": 2, "audit": ("rto-shrinks", "syn-again-too-soon")},
    ),
    Case(
        "a SYN with FIN",
        "c> SF 0:0(0)",
        {"handshake": "unanswered", "audit": ("syn-and-fin",)},
    ),
    Case(
        "the capture missed a segment that was acknowledged",
        OPEN + "c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 21",
        {"gaps": (1, 0), "bytes": (10, 0), "audit": ("packets-missing",), "kinds": ("capture",)},
    ),
    Case(
        "two acknowledgements of what was never seen: the capture lost it",
        OPEN + "s> . 1:1(0) ack 501\ns> . 1:1(0) ack 1001\nc> P. 1001:1011(10) ack 1",
        {"audit": ("packets-missing",), "gaps": (1, 0)},
    ),
    Case(
        "an acknowledgement of data not yet sent is proven wrong when it is sent",
        OPEN + "s> . 1:1(0) ack 501\nc> P. 1:11(10) ack 1",
        {"audit": ("ack-of-unsent",), "kinds": ("protocol",), "bytes": (10, 0)},
    ),
    Case(
        "segments larger than the other side can take: offload",
        """
        c> S 0:0(0) <mss 1460>
        s> S. 0:0(0) ack 1 <mss 1000>
        c> . 1:1(0) ack 1
        c> P. 1:5001(5000) ack 1
        s> P. 1:1461(1460) ack 5001
        """,
        {"bytes": (5000, 1460), "audit": ("super-segment",), "kinds": ("capture",)},
    ),
    Case(
        "only the client's side was captured",
        "c> S 0:0(0)\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1\nc> . 11:11(0) ack 101\nc> F. 11:11(0) ack 101",
        {
            "handshake": "complete",
            "bytes": (10, 0),
            "audit": ("one-sided", "syn-ack-not-captured"),
            "kinds": ("capture", "capture"),
        },
    ),
    Case(
        "the server acknowledges data that was not captured: the handshake was completed",
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> . 1:1(0) ack 28",
        {"handshake": "complete", "duration_ms": None, "audit": ("packets-missing",)},
    ),
    Case(
        "a RST with another TTL, in the right place, that nobody believed",
        """
        c> S 0:0(0) ttl 64
        s> S. 0:0(0) ack 1 ttl 60
        c> . 1:1(0) ack 1 ttl 64
        s> R 1:1(0) ttl 200
        s> P. 1:11(10) ack 1 ttl 60
        c> . 1:1(0) ack 11 ttl 64
        """,
        {
            "teardown": "none",
            "bytes": (0, 10),
            "zeek": ("RSTR", "ShArd"),
            "audit": ("rst-other-ttl", "rst-without-effect"),
            "kinds": ("note", "note"),
        },
    ),
    Case(
        "a forged RST that was believed: the end it speaks for goes on",
        OPEN + "c> R 1:1(0)\nc> P. 1:11(10) ack 1\ns> R 1:1(0)",
        {"teardown": "rst", "reset_by": "client", "audit": ("rst-sender-went-on",), "kinds": ("note",)},
    ),
    Case(
        "the challenge belongs to the finding",
        OPEN + "c> R 5:5(0)\ns> . 1:1(0) ack 1",
        {"audit_packets": ((4, 5),)},
    ),
    Case(
        "the SYN-ACK stands before the SYN",
        "s> S. 0:0(0) ack 1 <wscale 3>\nc> S 0:0(0) <wscale 2>\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1",
        CLEAN | {"handshake": "complete", "syns": 1, "bytes": (10, 0), "zeek": ("S1", "Hs^AD"), "completeness": 14},
    ),
    Case(
        "keep-alives and window probes are counted for what they are",
        OPEN
        + """
        c> P. 1:11(10) ack 1
        s> . 1:1(0) ack 11 win 0
        c> . 10:10(0) ack 1
        s> . 1:1(0) ack 11 win 0
        c> . 11:12(1) ack 1
        s> . 1:1(0) ack 11 win 0
        """,
        CLEAN | {"probes": (1, 1), "bytes": (10, 0), "retransmits": (0, 0)},
    ),
    Case(
        "one IP id for all packets tells nothing about copies",
        """
        c> S 0:0(0) id 1
        s> S. 0:0(0) ack 1 id 1
        c> . 1:1(0) ack 1 id 1
        c> P. 1:11(10) ack 1 id 1
        c> P. 1:11(10) ack 1 id 1
        """,
        CLEAN | {"retransmits": (1, 0), "duplicates": (0, 0)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_situation(case: Case) -> None:
    """Each situation of the tables is told as it is."""
    told = facts(trace(case.text))
    assert {name: told[name] for name in case.expected} == case.expected
