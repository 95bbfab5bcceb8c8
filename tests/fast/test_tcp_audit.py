"""The audit: for each rule a conversation that breaks it, which packets the finding names, and whether it is sure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tcp_notation import conversation, trace

from testbed.tcp.audit import RULES
from testbed.tcp.trace import trace_connections

OPEN = """
c> S 0:0(0)
s> S. 0:0(0) ack 1
c> . 1:1(0) ack 1
"""
STAMPED = """
c> S 0:0(0) <TS 100>
s> S. 0:0(0) ack 1 <TS 900>
c> . 1:1(0) ack 1 <TS 101>
"""
SURE, PERHAPS = True, False
Found = dict[str, tuple[tuple[int, ...], bool]]

CASES: list[tuple[str, Found]] = [
    # Acknowledgements
    (OPEN + "s> . 1:1(0) ack 500", {"ack-of-unsent": ((4,), SURE)}),
    (OPEN + "s> . 1:1(0) ack 2", {"ack-of-unsent": ((4,), SURE)}),
    ("c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 500", {"ack-of-unsent": ((2,), PERHAPS)}),
    # proven also in a capture that begins late: what was acknowledged is sent afterwards
    ("c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 500\nc> P. 11:21(10) ack 1", {"ack-of-unsent": ((2,), SURE)}),
    (
        OPEN + "s> . 1:1(0) ack 900\ns> . 1:1(0) ack 800\ns> . 1:1(0) ack 700",
        {"ack-of-unsent": ((4, 5, 6), SURE)},
    ),
    # before the handshake is over nothing can have been missed
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 2\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\nc> P. 11:21(10) ack 1",
        {"ack-of-unsent": ((2,), SURE)},
    ),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 2\nc> . 1:1(0) ack 1\nc> P. 11:21(10) ack 1",
        {"ack-of-unsent": ((3,), SURE)},
    ),
    ("s> S. 0:0(0) ack 1\ns> S. 0:0(0) ack 7", {"ack-of-unsent": ((2,), PERHAPS)}),
    # or its sender takes it back
    ("c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 500\ns> . 1:1(0) ack 11", {"ack-of-unsent": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 2", {"ack-of-unsent": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 2", {"ack-of-unsent": ((3,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 0", {"ack-of-unsent": ((3,), SURE)}),
    (OPEN + "s> . 1:1(0) ack 501\nc> P. 501:511(10) ack 1", {"packets-missing": ((4,), SURE)}),
    (OPEN + "s> . 1:1(0) ack 501\ns> . 1:1(0) ack 1001", {"packets-missing": ((4,), SURE)}),
    # an old one between them tells nothing
    (
        OPEN + "1 s> . 1:1(0) ack 501\n1.05 s> . 1:1(0) ack 1\n1.2 s> . 1:1(0) ack 501",
        {"packets-missing": ((4,), SURE)},
    ),
    # what is only sent again tells nothing about how far its sender went
    (
        OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 500\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 600",
        {"packets-missing": ((5,), SURE)},
    ),
    # a capture that misses packets proves nothing by what it does not show
    (
        OPEN + "s> . 1:1(0) ack 501\ns> . 1:1(0) ack 1001\nc> . 1001:1001(0) ack 900",
        {"packets-missing": ((4,), SURE), "ack-of-unsent": ((6,), PERHAPS)},
    ),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> . 1:1(0) ack 28\nc> . 28:28(0) ack 900",
        {"packets-missing": ((3,), SURE), "ack-of-unsent": ((4,), PERHAPS)},
    ),
    (OPEN + "c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 21", {"packets-missing": ((4,), SURE)}),
    (
        OPEN + "c> P. 11:21(10) ack 1\nc> P. 31:41(10) ack 1\nc> P. 41:51(10) ack 1\ns> . 1:1(0) ack 51",
        {"packets-missing": ((4, 5), SURE)},
    ),
    # only the first of two holes was acknowledged
    (
        OPEN + "c> P. 11:21(10) ack 1\nc> P. 31:41(10) ack 1\ns> . 1:1(0) ack 21",
        {"packets-missing": ((4,), SURE)},
    ),
    # the first packet behind a hole shows it, not one before
    (OPEN + "c> . 11:11(0) ack 1\nc> P. 21:31(10) ack 1\ns> . 1:1(0) ack 31", {"packets-missing": ((4,), SURE)}),
    (
        OPEN + "c> P. 1:11(10) ack 1\nc> . 21:21(0) ack 1\nc> P. 11:21(10) ack 1\nc> P. 31:41(10) ack 1\n"
        "s> . 1:1(0) ack 41",
        {"packets-missing": ((7,), SURE)},
    ),
    # what came late is not missing
    (OPEN + "c> P. 11:21(10) ack 1\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 21", {}),
    # up to a hole, not beyond: perhaps lost on the way
    (OPEN + "c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 1", {}),
    # the last bytes are missing: a later ACK of the client shows how far it had sent
    (OPEN + "c> P. 1:11(10) ack 1\nc> . 21:21(0) ack 1\ns> . 1:1(0) ack 21", {"packets-missing": ((5,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> F. 21:21(0) ack 1\ns> . 1:1(0) ack 22", {"packets-missing": ((5,), SURE)}),
    ("c> S 0:0(0)\nc> . 1:1(0) ack 1", {"syn-ack-not-captured": ((2,), SURE)}),
    (
        "c> S 0:0(0)\nc> P. 1:11(10) ack 101",
        {"syn-ack-not-captured": ((2,), SURE), "one-sided": ((2,), SURE)},
    ),
    # One side only
    ("c> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1", {"one-sided": ((1,), PERHAPS)}),
    ("c> P. 1:11(10) ack 1", {}),
    ("c> . 1:1(0) ack 1\nc> . 1:1(0) ack 1", {}),
    ("c> . 1:1(0) ack 1\nc> F. 1:1(0) ack 1", {"one-sided": ((1,), PERHAPS)}),
    ("c> P. 1:11(10) ack 1\nc> . 11:11(0) ack 2", {"one-sided": ((1,), SURE)}),
    ("s> P. 1:11(10) ack 1\ns> . 11:11(0) ack 2", {"one-sided": ((1,), SURE)}),
    ("c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11", {}),
    (
        "c> P. 1:11(10) ack 1 bad\ns> P. 1:11(10) ack 1\ns> . 11:11(0) ack 2",
        {"bad-checksum": ((1,), SURE), "one-sided": ((2,), SURE)},
    ),
    # Flags and checksums
    (OPEN + "c> P. 1:11(10) ack 1 bad", {"bad-checksum": ((4,), SURE)}),
    ("c> SR 0:0(0)", {"bad-flags": ((1,), SURE)}),
    ("c> SF 0:0(0)", {"syn-and-fin": ((1,), SURE)}),
    (OPEN + "c> F 1:1(0)\nc> - 1:1(0)", {"no-ack-flag": ((4, 5), SURE)}),
    (OPEN + "c> .E 1:1(0) ack 1", {"ecn-not-agreed": ((4,), SURE)}),
    (OPEN + "c> .W 1:1(0) ack 1", {"ecn-not-agreed": ((4,), SURE)}),
    ("c> SEW 0:0(0)\ns> SE. 0:0(0) ack 1\nc> .EW 1:1(0) ack 1", {}),
    ("c> . 1:1(0) ack 1\ns> .E 1:1(0) ack 1", {}),  # who knows what was agreed on
    ("c> SEW 0:0(0)\ns> SEW. 0:0(0) ack 1", {"ecn-reflected": ((2,), SURE)}),
    # Options
    ("c> S 0:0(0) <malformed>", {"option-malformed": ((1,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <malformed>", {"option-malformed": ((2,), SURE)}),
    (OPEN + "c> . 1:1(0) ack 1 <malformed>", {"option-malformed": ((4,), SURE)}),
    (OPEN + "c> . 1:1(0) ack 1 <mss 1460>", {"option-outside-syn": ((4,), SURE)}),
    (OPEN + "c> . 1:1(0) ack 1 <wscale 2>", {"option-outside-syn": ((4,), SURE)}),
    (OPEN + "c> . 1:1(0) ack 1 <sackOK>", {"option-outside-syn": ((4,), SURE)}),
    ("c> S 0:0(0)\ns> SE. 0:0(0) ack 1", {"option-not-offered:ecn": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <FO aabb>", {"option-not-offered:fast-open": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <mptcp>", {"option-not-offered:mptcp": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <sackOK>", {"option-not-offered:sack": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <TS>", {"option-not-offered:timestamps": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <wscale 0>", {"option-not-offered:window-scale": ((2,), SURE)}),
    # a copy of the SYN may offer less: what the first offered may still be answered
    ("0 c> S 0:0(0) <sackOK>\n1 c> S 0:0(0)\n1.1 s> S. 0:0(0) ack 1 <sackOK>", {}),
    # and so may what only a later copy offered
    ("0 c> S 0:0(0)\n1 c> S 0:0(0) <sackOK>\n1.1 s> S. 0:0(0) ack 1 <sackOK>", {}),
    (
        "0 c> S 0:0(0) <mss 1460>\n1 c> S 0:0(0) <mss 500>\n1.1 s> S. 0:0(0) ack 1 <sackOK>",
        {"option-not-offered:sack": ((3,), SURE)},
    ),
    ("c> S 0:0(0) <wscale 14>\ns> S. 0:0(0) ack 1", {}),
    ("c> S 0:0(0) <wscale 15>", {"window-scale-too-large": ((1,), SURE)}),
    ("c> S 0:0(0) <wscale 1>\ns> S. 0:0(0) ack 1 <wscale 15>", {"window-scale-too-large": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1 <md5>", {"md5-mismatch": ((3,), SURE)}),
    ("c> S 0:0(0) <md5>\ns> S. 0:0(0) ack 1 <md5>\nc> . 1:1(0) ack 1 <md5>", {}),
    (STAMPED + "c> P. 1:11(10) ack 1", {"timestamp-missing": ((4,), SURE)}),
    (STAMPED + "c> . 1:1(0) ack 1", {}),  # many leave it out of bare ACKs
    ("c> S 0:0(0) <TS 100>\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1", {}),  # not agreed on
    # a clock at zero, and just before it
    (
        STAMPED.replace("101", "0").replace("100", "0")
        + "c> P. 1:11(10) ack 1 <TS 0>\nc> P. 11:21(10) ack 1 <TS 4294967295>",
        {"timestamp-old": ((5,), SURE)},
    ),
    (
        STAMPED.replace("101", "0").replace("100", "0") + "c> FP. 1:11(10) ack 1 <TS 4294967295>",
        {"timestamp-old": ((4,), SURE)},
    ),
    (STAMPED + "c> P. 1:11(10) ack 1 <TS 100>", {"timestamp-old": ((4,), SURE)}),
    (STAMPED + "c> P. 1:11(10) ack 1 <TS 101>", {}),
    (
        "c> S 0:0(0) <TS 4000000000>\ns> S. 0:0(0) ack 1 <TS 900>\nc> P. 1:11(10) ack 1 <TS 4000000000>\n"
        "c> P. 11:21(10) ack 1 <TS 4000000001>",
        {},
    ),
    (STAMPED + "c> . 1:1(0) ack 1 <TS 100>", {}),
    # what was acknowledged before is an old duplicate whatever its timestamp, and a bare ACK delivers nothing
    (
        STAMPED + "c> P. 1:11(10) ack 1 <TS 102>\ns> . 1:1(0) ack 11 <TS 901>\nc> P. 1:11(10) ack 1 <TS 50>",
        {},
    ),
    (STAMPED + "c> P. 1:11(10) ack 1 <TS 102>\nc> . 11:11(0) ack 1 <TS 50>", {}),
    # a bare ACK's timestamp counts, also where nothing else needs a closer look
    (
        STAMPED + "c> P. 1:11(10) ack 1 <TS 102>\ns> . 1:1(0) ack 11 <TS 901>\n"
        "c> . 11:11(0) ack 1 <TS 200>\nc> P. 11:21(10) ack 1 <TS 199>",
        {"timestamp-old": ((7,), SURE)},
    ),
    (STAMPED + "c> P. 1:11(10) ack 1 <TS 102,mss 1460>", {"option-outside-syn": ((4,), SURE)}),
    # half of the clock ahead is behind
    (STAMPED + f"c> P. 1:11(10) ack 1 <TS {101 + 2**31 - 1}>", {}),
    (STAMPED + f"c> P. 1:11(10) ack 1 <TS {101 + 2**31}>", {"timestamp-old": ((4,), SURE)}),
    # Windows
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> P. 1:12(11) ack 1", {"window-overrun": ((3,), SURE)}),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> P. 1:11(10) ack 1", {}),
    # without the option on both sides nothing is scaled
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> . 1:1(0) ack 1\ns> . 1:1(0) ack 1 win 20\nc> P. 1:22(21) ack 1",
        {"window-overrun": ((5,), SURE)},
    ),
    # a scaled window: 2 units of 8, and the window of a SYN is never scaled
    (
        "c> S 0:0(0) <wscale 1>\ns> S. 0:0(0) ack 1 win 10 <wscale 3>\nc> . 1:1(0) ack 1\n"
        "s> . 1:1(0) ack 1 win 2\nc> P. 1:17(16) ack 1",
        {},
    ),
    (
        "c> S 0:0(0) <wscale 1>\ns> S. 0:0(0) ack 1 win 10 <wscale 3>\nc> . 1:1(0) ack 1\n"
        "s> . 1:1(0) ack 1 win 2\nc> P. 1:18(17) ack 1",
        {"window-overrun": ((5,), SURE)},
    ),
    # the same where the SYN-ACK stands before the SYN
    (
        "s> S. 0:0(0) ack 1 win 10 <wscale 3>\nc> S 0:0(0) <wscale 1>\nc> . 1:1(0) ack 1\n"
        "s> . 1:1(0) ack 1 win 2\nc> P. 1:17(16) ack 1",
        {},
    ),
    (
        "s> S. 0:0(0) ack 1 win 10 <wscale 3>\nc> S 0:0(0) <wscale 1>\nc> . 1:1(0) ack 1\n"
        "s> . 1:1(0) ack 1 win 2\nc> P. 1:18(17) ack 1",
        {"window-overrun": ((5,), SURE)},
    ),
    (
        "c> S 0:0(0) <wscale 1>\ns> S. 0:0(0) ack 1 win 10 <wscale 3>\nc> P. 1:18(17) ack 1",
        {"window-overrun": ((3,), SURE)},
    ),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 win 10\nc> . 1:1(0) ack 1\nc> F. 12:12(0) ack 1",
        {"fin-outside-window": ((4,), SURE)},
    ),
    # Segments
    (OPEN + "c> F. 1:1(0) ack 1\nc> P. 1:11(10) ack 1", {"data-beyond-fin": ((5,), SURE)}),
    (OPEN + "c> F. 1:1(0) ack 1\nc> F. 2:2(0) ack 1", {"data-beyond-fin": ((5,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> F. 5:5(0) ack 1", {"data-beyond-fin": ((5,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1 <sack 300 310>", {"sack-of-unsent": ((5,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1 <sack 5 12>", {"sack-of-unsent": ((5,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 1 <sack 5 11>", {}),
    (
        "c> S 0:0(0)\ns> S. 0:0(0) ack 1 <mss 1000>\nc> P. 1:1002(1001) ack 1",
        {"super-segment": ((3,), PERHAPS)},
    ),
    ("c> S 0:0(0)\ns> S. 0:0(0) ack 1 <mss 1000>\nc> P. 1:1001(1000) ack 1", {}),
    # SYNs
    (
        OPEN + "c> S 777:777(0)\ns> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1",
        {"syn-in-connection": ((4, 5), SURE)},
    ),
    (OPEN + "s> S. 9:9(0) ack 1", {"syn-ack-changed": ((4,), SURE)}),
    ("10 c> S 0:0(0)\n10.89 c> S 0:0(0)", {"syn-again-too-soon": ((2,), SURE)}),
    ("10 c> S 0:0(0)\n10.9 c> S 0:0(0)", {}),
    ("10 c> S 0:0(0)\n11 c> S 0:0(0)\n13 c> S 0:0(0)\n14 c> S 0:0(0)", {"rto-shrinks": ((4,), SURE)}),
    ("10 c> S 0:0(0)\n11 c> S 0:0(0)\n11.9 c> S 0:0(0)", {}),
    ("10 c> S 0:0(0)\n10.1 s> S. 0:0(0) ack 1\n10.5 s> S. 0:0(0) ack 1", {"syn-again-too-soon": ((3,), SURE)}),
    # asked again, the server answers again: that is not its timer
    ("10 c> S 0:0(0)\n10.1 s> S. 0:0(0) ack 1\n11 c> S 0:0(0)\n11.1 s> S. 0:0(0) ack 1", {}),
    # but what comes after that, unasked, is
    (
        "10 c> S 0:0(0)\n10.1 s> S. 0:0(0) ack 1\n11 c> S 0:0(0)\n11.1 s> S. 0:0(0) ack 1\n11.5 s> S. 0:0(0) ack 1",
        {"syn-again-too-soon": ((5,), SURE)},
    ),
    # in a capture that begins late, too
    (
        "c> . 1:1(0) ack 1\ns> . 1:1(0) ack 1\nc> S 777:777(0)\ns> . 1:1(0) ack 1\nc> P. 1:11(10) ack 1",
        {"syn-in-connection": ((3, 4), SURE)},
    ),
    # RSTs
    ("c> S 0:0(0)\ns> R 0:0(0)", {"rst-ignored": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> R. 0:0(0) ack 2", {"rst-ignored": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> R. 0:0(0) ack 0", {"rst-ignored": ((2,), SURE)}),
    ("c> S 0:0(0)\ns> R. 0:0(0) ack 1", {}),
    ("c> S 0:0(0)\nc> R 2:2(0)", {"rst-ignored": ((2,), SURE)}),
    ("c> S 0:0(0)\nc> R 0:0(0)", {"rst-ignored": ((2,), SURE)}),
    ("c> S 0:0(0)\nc> R 1:1(0)", {}),
    (OPEN + "c> R 5:5(0)", {"rst-in-window": ((4,), SURE)}),
    ("c> S 0:10(10)\ns> S. 0:0(0) ack 11\nc> . 11:11(0) ack 1\nc> R 12:12(0)", {"rst-in-window": ((4,), SURE)}),
    (OPEN + "c> R 65535:65535(0)", {"rst-in-window": ((4,), SURE)}),
    (OPEN + "c> R 65536:65536(0)", {"rst-outside-window": ((4,), SURE)}),
    (OPEN + "c> R 0:0(0)", {"rst-outside-window": ((4,), SURE)}),
    (
        "c> S 0:0(0) ttl 64\ns> S. 0:0(0) ack 1 ttl 60\nc> . 1:1(0) ack 1 ttl 64\ns> R 1:1(0) ttl 200",
        {"rst-other-ttl": ((4,), PERHAPS)},
    ),
    ("c> S 0:0(0) ttl 64\ns> S. 0:0(0) ack 1 ttl 60\nc> . 1:1(0) ack 1 ttl 64\ns> R 1:1(0) ttl 60", {}),
    ("c> S 0:0(0) ttl 64\ns> S. 0:0(0) ack 1 ttl 60\nc> R 1:1(0) ttl 200", {"rst-other-ttl": ((3,), PERHAPS)}),
    ("c> . 1:1(0) ack 1 ttl 64\ns> . 1:1(0) ack 1 ttl 60\nc> R 1:1(0) ttl 60", {"rst-other-ttl": ((3,), PERHAPS)}),
    (OPEN + "c> R 1:1(0)\nc> P. 1:11(10) ack 1", {"rst-sender-went-on": ((4,), SURE)}),
    (OPEN + "c> P. 1:11(10) ack 1\nc> R 11:11(0)\nc> P. 1:11(10) ack 1", {}),  # sent before the RST
    (
        OPEN + "c> R 1:1(0)\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11",
        {"rst-without-effect": ((4,), SURE)},
    ),
]


def found(text: str) -> Found:
    """What the audit finds: rule -> packets, sure."""
    return {finding.rule: (finding.packets, finding.sure) for finding in trace(text).audit}


@pytest.mark.parametrize(("text", "expected"), CASES, ids=range(len(CASES)))
def test_each_breach_and_its_packets(text: str, expected: Found) -> None:
    """A finding names the packets that break its rule, and is sure only where no missing packet explains it."""
    assert found(text) == expected


def test_a_cut_packet_is_named() -> None:
    """What the capture cut is its own doing, and it names the packets, sixteen of them at most."""
    packets = conversation(OPEN + "c> P. 1:11(10) ack 1\n" + "c> P. 11:21(10) ack 1\n" * 20)
    cut = [replace(packet, payload=packet.payload[:3]) for packet in packets]
    (connection,) = trace_connections(cut)
    (finding,) = connection.audit
    assert (finding.rule, finding.packets) == ("snapped", tuple(range(4, 20)))


def test_every_rule_has_its_case() -> None:
    """No rule that nothing breaks."""
    assert {rule for _, expected in CASES for rule in expected} | {"snapped"} == set(RULES)


def test_what_a_hole_could_explain() -> None:
    """Rules about what was not seen, which a capture with holes could explain, and those that are hints at best."""
    assert {name for name, rule in RULES.items() if rule.blind} == {
        "ack-of-unsent",
        "data-beyond-fin",
        "fin-outside-window",
        "one-sided",
        "rst-in-window",
        "rst-outside-window",
        "rto-shrinks",
        "sack-of-unsent",
        "syn-ack-not-captured",
        "timestamp-old",
        "window-overrun",
    }
    assert {name for name, rule in RULES.items() if rule.never} == {"super-segment", "rst-other-ttl"}
