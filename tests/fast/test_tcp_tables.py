"""The tables and the small parts: transitions, sequence arithmetic, streams, completeness, Zeek's rules."""

from __future__ import annotations

import ast
from dataclasses import is_dataclass
from itertools import permutations
from pathlib import Path
from typing import cast

import pytest
from tcp_notation import CLIENT, ISN, SERVER, STEP_NS, conversation, trace

import testbed.tcp.trace
from testbed.packet import Flags
from testbed.tcp import connection
from testbed.tcp.audit import KINDS, RULES, Rule
from testbed.tcp.connection import (
    Connection,
    Endpoint,
    Finding,
    FindingKind,
    Flow,
    Handshake,
    HandshakeOutcome,
    OfferedOptions,
    Role,
    StateChange,
    Teardown,
    TeardownKind,
)
from testbed.tcp.end import LARGEST_SHIFT
from testbed.tcp.follower import LINGER_NS
from testbed.tcp.opening import FIRST_RTO_NS
from testbed.tcp.page import vocabulary_page
from testbed.tcp.segments import FAST_RETRANSMIT
from testbed.tcp.sequence import unwrap
from testbed.tcp.states import NEXT, TRANSITIONS, Event, State, step
from testbed.tcp.stream import FILLED, NEW, REPEATED, Stream
from testbed.tcp.trace import trace_connections
from testbed.tcp.vocabulary import OUTCOMES, STATES, TEARDOWNS, VOCABULARIES
from testbed.tcp.wireshark import EMPTY
from testbed.tcp.wireshark import FILLED as WITH_PAYLOAD
from testbed.tcp.zeek import Zeek
from testbed.tcp.zeek_end import delta
from testbed.tcp.zeek_words import CONN_STATES, HISTORY_LETTERS, SERVER_PORTS


def test_every_state_can_be_reached_and_left() -> None:
    """From CLOSE each state can be reached; each can be left again."""
    reached = {State.CLOSE}
    for _ in State:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(State)
    assert {before for before, _ in TRANSITIONS} == set(State)


@pytest.mark.parametrize(
    ("raw", "origin", "near", "offset"),
    [
        (1000, 1000, 0, 0),
        (1001, 1000, 1, 1),
        (999, 1000, 1, -1),
        (5, 2**32 - 5, 1, 10),
        (2**32 - 5, 5, 2**32, 2**32 - 10),
        (1000, 1000, 2**32 - 1, 2**32),
        (1000, 1000, 2**33 + 7, 2**33),
        (2**31 - 1, 0, 0, 2**31 - 1),
        (2**31, 0, 0, -(2**31)),  # as far ahead as behind: behind
        (2**31 + 1, 0, 0, -(2**31) + 1),
    ],
)
def test_a_number_on_the_wire_is_the_closest_offset(raw: int, origin: int, near: int, offset: int) -> None:
    """RFC 9293 section 3.4: modulo 2**32, so a number means the place nearest to where we are."""
    assert unwrap(raw, origin, near) == offset
    assert delta(raw, origin) == unwrap(raw, origin, 0)


def test_states_are_called_as_linux_calls_them() -> None:
    """As in tcp_states.h, without TCP_; they are compared with what kernels report."""
    assert {state.value for state in State} == {
        *("CLOSE", "LISTEN", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT1"),
        *("FIN_WAIT2", "CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT"),
    }


def test_values_are_frozen() -> None:
    """What is given out cannot be changed, nor be given attributes that it does not have."""
    values = [kind for kind in vars(connection).values() if is_dataclass(kind)]
    for kind in (*values, Rule):
        assert "__slots__" in vars(kind), kind
        assert vars(kind)["__dataclass_params__"].frozen, kind


def test_ends_and_their_flows() -> None:
    """Each end has the other, and what it sent."""
    told = trace("c> S 0:0(0)\ns> S. 0:0(0) ack 1\nc> P. 1:11(10) ack 1\ns> P. 1:6(5) ack 11")
    assert (Role.CLIENT.peer, Role.SERVER.peer) == (Role.SERVER, Role.CLIENT)
    assert (told.flow(Role.CLIENT).bytes, told.flow(Role.SERVER).bytes) == (10, 5)
    assert (told.client, told.server) == (Endpoint(*CLIENT), Endpoint(*SERVER))
    assert (told.client_isn, told.server_isn) == (ISN["c"], ISN["s"])
    assert (told.first_ns, told.last_ns, told.packets) == (0, 3 * STEP_NS, (1, 2, 3, 4))


def test_what_is_not_told_is_nothing() -> None:
    """Values of which only what must be told is told: no count, no packet, no time, and nothing offered."""
    nothing = OfferedOptions(None, None, *[False] * 6)
    nobody = Endpoint("", 0)
    opened, closed = Handshake(HandshakeOutcome.UNANSWERED), Teardown(TeardownKind.NONE)
    assert OfferedOptions() == nothing
    assert opened == Handshake(HandshakeOutcome.UNANSWERED, None, 0, 0, 0, 0, nothing, nothing, ())
    assert closed == Teardown(TeardownKind.NONE, None, 0, None, None, ())
    assert Flow() == Flow(0, b"", 0, 0, 0, 0, 0, 0, (), (), 0, 0, 0, 0)
    assert Finding("rule", "says", ()) == Finding("rule", "says", (), True, "", FindingKind.PROTOCOL)
    told = (nobody, nobody, opened, closed, Flow(), Flow(), "S0", "S", 1, (1,), 0, 0)
    assert Connection(*told) == Connection(*told, None, None, (), ())


def test_changes_of_state_are_a_sequence_of_values() -> None:
    """Made when looked at, and yet like any tuple: its length, parts, equality, hash and how it prints."""
    changes = trace("c> S 0:0(0)\ns> S. 0:0(0) ack 1").states
    first = StateChange(0, Role.CLIENT, "CLOSE", "SYN_SENT", 1)
    second = StateChange(STEP_NS, Role.SERVER, "CLOSE", "LISTEN", 2)
    third = StateChange(STEP_NS, Role.SERVER, "LISTEN", "SYN_RECV", 2)
    assert tuple(changes) == (first, second, third)
    assert (len(changes), changes[1], changes[1:]) == (3, second, (second, third))
    others: tuple[object, ...] = ((first, second, third), (first, second), 7)
    assert [changes == other for other in others] == [True, False, False]
    assert hash(changes) == hash((first, second, third))
    assert repr(changes) == repr((first, second, third))


@pytest.mark.parametrize(
    ("port", "other", "server"),
    [(40000, 80, 80), (80, 40000, 80), (80, 22, 22), (22, 80, 22), (80, 7, 80), (5000, 6000, 5000), (6000, 5000, 5000)],
)
def test_who_is_the_server_of_a_capture_that_begins_late(port: int, other: int, server: int) -> None:
    """The side of the well-known port, or else of the lower one."""
    (told,) = trace_connections(
        conversation("c> P. 1:11(10) ack 1", client=("198.18.0.1", port), server=("198.18.0.2", other))
    )
    assert told.server.port == server


def test_between_equal_ports_the_first_to_speak_is_the_client() -> None:
    """Nothing else tells them apart."""
    (told,) = trace_connections(
        conversation("c> P. 1:11(10) ack 1", client=("198.18.0.1", 5000), server=("198.18.0.2", 5000))
    )
    assert told.client.address == "198.18.0.1"


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
    assert stream.missing() == [(4, 7)]
    assert stream.add(4, 7, b"def") == FILLED
    assert stream.add(2, 11, b"XXXXXXXij") == REPEATED
    assert (stream.joined(), stream.unique, stream.missing()) == (b"abcdefghij", 10, [])


@pytest.mark.parametrize("keep", [True, False])
def test_streams_with_and_without_bytes_have_the_same_places(keep: bool) -> None:
    """Parts beyond a hole wait apart, or as one where they touch; each byte counts once."""
    stream = Stream(keep)
    assert [stream.add(start, end, b"x" * (end - start)) for start, end in ((5, 7), (9, 11), (11, 13), (13, 14))] == [
        *(NEW, NEW, NEW, NEW)
    ]
    assert (stream.missing(), stream.unique, stream.highest) == ([(1, 5), (7, 9)], 7, 14)
    assert stream.add(6, 10, b"xxxx") == REPEATED
    assert (stream.missing(), stream.unique) == ([(1, 5)], 9)
    assert stream.add(1, 5, b"xxxx") == FILLED
    assert (stream.missing(), stream.expected, stream.joined()) == ([], 14, b"x" * 13 if keep else b"")


def test_overlapping_the_end_of_what_waits() -> None:
    """Bytes that wait beyond a hole were seen before, too."""
    stream = Stream()
    assert stream.add(5, 10, b"fghij") == NEW
    assert stream.add(8, 12, b"ijkl") == REPEATED
    assert (stream.unique, stream.missing()) == (7, [(1, 5)])


@pytest.mark.parametrize("order", list(permutations([(1, 4), (3, 6), (5, 9), (8, 11)])))
def test_overlapping_segments_in_any_order(order: list[tuple[int, int]]) -> None:
    """Overlaps in any order give every byte once."""
    stream, whole = Stream(), b"?abcdefghij"
    for start, end in order:
        stream.add(start, end, whole[start:end])
    assert (stream.joined(), stream.unique, stream.missing()) == (whole[1:], 10, [])


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
    (told,) = trace_connections(packets)
    assert (told.history, told.conn_state) == ("^dA", "OTH")
    assert told.server.port == 80


def test_zeek_counts_retransmissions_on_a_log_scale() -> None:
    """t is written at the first and the tenth retransmission."""
    data = "c> P. 1:11(10) ack 1\n"
    assert trace("c> S 0:0(0)\ns> S. 0:0(0) ack 1\n" + data * 12).history == "ShDTT"


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


def test_a_bar_in_a_meaning_does_not_end_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of words is a table in Markdown."""
    monkeypatch.setitem(cast("dict[str, dict[str, str]]", VOCABULARIES), "More words", {"word": "this | that"})
    assert "| `word` | this \\| that |\n" in vocabulary_page()


def test_zeeks_vocabulary_covers_what_it_says() -> None:
    """Each letter that is ever written, and each conn_state, is explained."""
    assert set("shadfrcgtwiq^") == set(HISTORY_LETTERS)
    assert {"S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH"} == set(
        CONN_STATES
    )


ZEEKS_PORTS = {
    "dce-rpc": {135},
    "dnp3": {20000},
    "dns": {53},
    "finger": {79},
    "ftp": {21, 2811},
    "http": {80, 81, 631, 1080, 3128, 8000, 8080, 8888},
    "imap": {143},
    "irc": {6666, 6667, 6668, 6669},
    "kerberos": {88},
    "ldap": {389, 3268},
    "modbus": {502},
    "mqtt": {1883},
    "mssql": {1434},
    "mysql": {3306},
    "postgresql": {5432},
    "rdp": {3389},
    "redis": {6379},
    "smb": {139, 445},
    "smtp": {25, 465, 587},
    "ssh": {22},
    "ssl": {443, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223},
    "syslog": {514},
    "xmpp": {5222, 5269},
}


def test_ports_that_zeek_takes_for_a_servers() -> None:
    """Those of the protocols that its scripts know."""
    assert set().union(*ZEEKS_PORTS.values()) == SERVER_PORTS


def test_times_and_numbers_of_the_standards() -> None:
    """RFC 9293 section 3.4.2 (twice), RFC 6298 section 2.1, RFC 5681 section 3.2 and RFC 7323 section 2.3."""
    assert LINGER_NS == 2 * 120 * 10**9
    assert FIRST_RTO_NS == 10**9
    assert (FAST_RETRANSMIT, LARGEST_SHIFT) == (3, 14)


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
