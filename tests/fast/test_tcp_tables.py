"""The tables and the small parts: transitions, sequence arithmetic, streams, completeness, Zeek's rules."""

from __future__ import annotations

import ast
from itertools import permutations
from pathlib import Path

import pytest
from tcp_notation import conversation, trace

import testbed.tcp.trace
from testbed.packet import Flags
from testbed.tcp.audit import KINDS, RULES
from testbed.tcp.connection import FindingKind, HandshakeOutcome, TeardownKind
from testbed.tcp.states import NEXT, TRANSITIONS, Event, State, step
from testbed.tcp.stream import FILLED, NEW, REPEATED, Stream
from testbed.tcp.trace import trace_connections
from testbed.tcp.vocabulary import OUTCOMES, STATES, TEARDOWNS, VOCABULARIES
from testbed.tcp.wireshark import EMPTY
from testbed.tcp.wireshark import FILLED as WITH_PAYLOAD
from testbed.tcp.zeek import Zeek
from testbed.tcp.zeek_words import CONN_STATES, HISTORY_LETTERS


def test_every_state_can_be_reached_and_left() -> None:
    """From CLOSE each state can be reached; each can be left again."""
    reached = {State.CLOSE}
    for _ in State:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(State)
    assert {before for before, _ in TRANSITIONS} == set(State)


def test_illegal_transitions_are_missing_rows() -> None:
    """Nothing is acknowledged in LISTEN, no FIN is sent twice, nothing is received when closed."""
    assert step(State.LISTEN, Event.RECEIVE_ACK_OF_FIN) is None
    assert step(State.FIN_WAIT1, Event.SEND_FIN) is None
    assert step(State.CLOSE, Event.RECEIVE_FIN) is None


def test_stream_says_what_arrived() -> None:
    """New, filling and repeated bytes are told apart; the first copy of a byte counts."""
    stream = Stream()
    assert stream.add(1, 4, b"abc") == NEW
    assert stream.add(7, 9, b"gh") == NEW
    assert stream.holes() == 1
    assert stream.add(4, 7, b"def") == FILLED
    assert stream.add(2, 11, b"XXXXXXXij") == REPEATED
    assert (stream.joined(), stream.unique, stream.holes()) == (b"abcdefghij", 10, 0)


@pytest.mark.parametrize("order", list(permutations([(1, 4), (3, 6), (5, 9), (8, 11)])))
def test_overlapping_segments_in_any_order(order: list[tuple[int, int]]) -> None:
    """Overlaps in any order give every byte once."""
    stream, whole = Stream(), b"?abcdefghij"
    for start, end in order:
        stream.add(start, end, whole[start:end])
    assert (stream.joined(), stream.unique, stream.holes()) == (whole[1:], 10, 0)


def test_stream_ends_where_the_capture_was_cut() -> None:
    """Bytes after a cut payload are counted, but not joined to it."""
    stream = Stream()
    stream.add(1, 6, b"ab")
    stream.add(6, 8, b"fg")
    assert (stream.joined(), stream.unique) == (b"ab", 7)


def test_completeness_of_a_refused_connect() -> None:
    """RST+ACK sets the ACK bit as well: 1 + 4 + 32."""
    assert EMPTY[Flags.SYN] | EMPTY[Flags.RST | Flags.ACK] == 37
    assert EMPTY[Flags.FIN] == 0


def test_a_segment_counts_as_data_or_as_ack() -> None:
    """Payload makes an ACK count as data, and not as ACK any more; a SYN-ACK counts only as such."""
    assert (EMPTY[Flags.ACK], WITH_PAYLOAD[Flags.ACK]) == (4, 8)
    assert WITH_PAYLOAD[Flags.SYN | Flags.ACK] == 2


@pytest.mark.parametrize(
    ("text", "state", "history"),
    [
        ("c> S 0:0(0)\nc> R 1:1(0)", "RSTOS0", "SR"),
        ("c> S 0:0(0)\nc> F 1:1(0)", "SH", "SF"),
        ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\nc> R. 1:1(0) ack 1", "RSTO", "ShAR"),
        ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\ns> F. 1:1(0) ack 1", "S3", "ShAf"),
        ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\nc> F. 1:1(0) ack 1", "S2", "ShAF"),
        ("c> . 1:1(0) ack 1\ns> . 1:1(0) ack 1", "OTH", "Aa"),
        ("s> S. 0:0(0) ack 1\nc> R 1:1(0)", "REJ", "Hr"),
        ("c> SF 0:0(0)", "SH", "Q"),
        ("c> SR 0:0(0)", "OTH", "Q"),
        ("c> FR 0:0(0)", "OTH", "I"),
        ("s> S. 0:0(0) ack 1\nc> S 0:0(0)\nc> . 1:1(0) ack 1", "S1", "Hs^A"),
    ],
)
def test_zeeks_words(text: str, state: str, history: str) -> None:
    """conn_state and history as Zeek's sources make them."""
    packets = conversation(text)
    zeek = Zeek(packets[0])
    for packet in packets:
        zeek.feed(0 if packet.source == packets[0].source else 1, packet, int(packet.flags), packet.payload_length)
    assert (zeek.conn_state(), zeek.history()) == (state, history)


def test_zeek_flips_by_port() -> None:
    """A capture that starts with the server's data: the known port is the responder's, and ^ says so."""
    packets = conversation("s> P. 1:11(10) ack 1\nc> . 1:1(0) ack 11", server=("198.18.0.2", 80))
    (connection,) = trace_connections(packets)
    assert (connection.history, connection.conn_state) == ("^dA", "OTH")
    assert connection.server.port == 80


def test_zeek_counts_retransmissions_on_a_log_scale() -> None:
    """t is written at the first and the tenth retransmission."""
    data = "c> P. 1:11(10) ack 1\n"
    connection = trace("c> S 0:0(0)\ns> S. 0:0(0) ack 1\n" + data * 12)
    assert connection.history == "ShDTT"


def test_tcp_imports_nothing_of_the_world() -> None:
    """Sans I/O: only these modules of the standard library, and the packet."""
    allowed = {"__future__", "typing", "dataclasses", "enum", "collections", "collections.abc", "bisect", "itertools"}
    allowed |= {"array", "functools", "testbed.packet"}
    for path in Path(testbed.tcp.trace.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name in allowed or name.startswith("testbed.tcp."), f"{path.name} imports {name}"


def test_every_rule_of_the_audit_names_its_source() -> None:
    """Each rule says which RFC it is from, or that it is about the capture."""
    for name, rule in RULES.items():
        assert "RFC" in rule.says or "capture" in rule.says, name


def test_every_word_has_a_meaning() -> None:
    """Outcomes, closes, states and kinds: each value of the type has a row in the vocabulary, and words are there."""
    assert set(OUTCOMES) == set(HandshakeOutcome)
    assert set(TEARDOWNS) == set(TeardownKind)
    assert set(STATES) == set(State)
    assert set(KINDS) == set(FindingKind)
    for title, table in VOCABULARIES.items():
        assert table, title
        assert all(says.strip() for says in table.values()), title


def test_zeeks_vocabulary_covers_what_it_says() -> None:
    """Each letter that is ever written, and each conn_state, is explained."""
    assert set("shadfrcgtwiq^") == set(HISTORY_LETTERS)
    assert {"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"} == set(
        CONN_STATES
    )


def test_the_table_of_states_by_number_is_the_same_table() -> None:
    """NEXT says what TRANSITIONS says, for every state and event."""
    for e, event in enumerate(Event):
        for s, state in enumerate(State):
            after = NEXT[e][s]
            assert (None if after < 0 else tuple(State)[after]) == step(state, event)


@pytest.mark.parametrize(
    ("text", "history"),
    [
        ("c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 21", "ShADaG"),
        ("c> P. 11:21(10) ack 1\nc> P. 31:41(10) ack 1\ns> . 1:1(0) ack 41", "ShADaG"),
        ("c> P. 11:21(10) ack 1\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 21", "ShADTa"),
        ("s> . 1:1(0) ack 501", "ShAaG"),
        ("c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2", "ShAFa"),
    ],
)
def test_zeek_writes_gaps(text: str, history: str) -> None:
    """g at the first and the tenth hole that was acknowledged; a late segment is a T to Zeek, and no gap."""
    opening = "c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\n"
    assert trace(opening + text).history == history


def test_a_single_packet_counts_only_as_a_syn() -> None:
    """tshark -2: the first packet's other bits count from the second packet on; a later SYN never."""
    assert trace("c> R 1:1(0)").completeness == 0
    assert trace("c> F. 1:1(0) ack 1").completeness == 0
    assert trace("c> S 0:5(5)").completeness == 9
    assert trace("s> S. 0:0(0) ack 1\nc> S 0:0(0)\nc> . 1:1(0) ack 1").completeness == 6
