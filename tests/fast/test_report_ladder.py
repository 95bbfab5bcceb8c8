"""Rules of the ladder's rows: numbers as Wireshark shows them, marks, losses, lanes, folds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from report_builder import GREETING, ISNS, Story, crowd, hola, judge_by_hand, lost_synack, refused, udp_hello

from testbed.evidence import CaptureCount, HostFacts
from testbed.packet import Flags
from testbed.report.ladder import FoldRow, Ladder, Mark, PacketRow, StateRow, Where, cited, climb, fold
from testbed.report.relative import show_flags
from testbed.tcp.connection import Handshake, HandshakeOutcome, OfferedOptions, Teardown, TeardownKind
from testbed.verdict.value import Judgement


def packets(ladder: Ladder) -> list[PacketRow]:
    return [row for row in ladder.rows if isinstance(row, PacketRow)]


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (Flags.SYN, "S"),
        (Flags.SYN | Flags.ACK, "S."),
        (Flags.ACK, "."),
        (Flags.FIN | Flags.PSH | Flags.ACK, "FP."),
        (Flags.RST, "R"),
        (Flags.SYN | Flags.ECE | Flags.CWR, "SEW"),
        (Flags.NONE, "none"),
    ],
)
def test_flags_are_written_as_tcpdump_writes_them(flags: Flags, shown: str) -> None:
    """Letters stand in tcpdump's order; no flags at all is `none`."""
    assert show_flags(flags) == shown


def test_numbers_are_relative_and_wrap() -> None:
    """SYN is 0, the first byte 1, also where the sequence number passes 2^32."""
    rows = [(row.segment.flags, row.segment.sequence, row.segment.acknowledgement) for row in packets(climb(hola()))]
    assert ISNS["client"] + 28 > 2**32
    assert rows == [
        ("S", 0, None),
        ("S.", 0, 1),
        (".", 1, 1),
        ("P.", 1, 1),
        (".", 1, 28),
        ("F.", 28, 1),
        (".", 1, 29),
        ("F.", 1, 29),
        (".", 29, 2),
    ]


def test_a_side_without_syn_starts_at_one() -> None:
    """The RST+ACK of a refusal carries sequence number 0 on the wire; Wireshark shows Seq=1 Ack=1."""
    answer = packets(climb(refused()))[1].segment
    assert (answer.flags, answer.sequence, answer.acknowledgement) == ("R.", 1, 1)


def test_a_capture_from_the_middle_starts_at_one() -> None:
    """Without SYNs both sides count from their first segment, and windows are known as on the wire only."""
    story = Story()
    story.send(0, "client", "P.", 5000, 900, payload=b"abc")
    story.send(0.1, "server", ".", 900, 5003)
    connection = story.connection(HandshakeOutcome.MID_STREAM, Teardown(TeardownKind.NONE), isns=False)
    first, second = (row.segment for row in packets(climb(judge_by_hand(story, connections=[connection]))))
    assert (first.sequence, first.acknowledgement, second.sequence, second.acknowledgement) == (1, 1, 1, 4)
    assert (first.window, first.scaled) == (502, False)


@pytest.mark.parametrize(
    ("server_scale", "window"), [(7, 502 << 7), (None, 502), (15, 502 << 7)], ids=["both", "one side", "peer beyond 14"]
)
def test_windows_are_scaled_when_both_offered(server_scale: int | None, window: int) -> None:
    """RFC 7323: the client's window is shifted by the client's offer, if the server offered a scale too."""
    judgement = hola()
    handshake = replace(judgement.connections[0].handshake, server_options=OfferedOptions(window_scale=server_scale))
    changed = replace(judgement, connections=(replace(judgement.connections[0], handshake=handshake),))
    rows = packets(climb(changed))
    assert rows[0].segment.window == 64240
    assert rows[2].segment.window == window


def test_a_shift_beyond_14_is_14() -> None:
    """RFC 7323 section 2.3: a shift count above 14 is taken as 14."""
    judgement = hola()
    offers = Handshake(HandshakeOutcome.COMPLETE, client_options=OfferedOptions(window_scale=99))
    offers = replace(offers, server_options=OfferedOptions(window_scale=2))
    changed = replace(judgement, connections=(replace(judgement.connections[0], handshake=offers),))
    assert packets(climb(changed))[2].segment.window == 502 << 14


def test_losses_say_where_and_by_what() -> None:
    """On arrival (seen at the receiver's interface), behind the wire, before the wire; with the cause as judged."""
    lost = [(row.lost.where, row.lost.cause) for row in packets(climb(lost_synack())) if row.lost]
    assert lost == [
        (Where.ON_ARRIVAL, "fault 0: drop SYN-ACK"),
        (Where.BEHIND_WIRE, "chance"),
        (Where.BEFORE_WIRE, "link down"),
    ]


def test_copies_are_marked() -> None:
    """The second SYN and SYN-ACK are retransmissions, data is one where the analysis says so; firsts are not."""
    marked = [row.number for row in packets(climb(lost_synack())) if Mark.RETRANSMISSION in row.marks]
    assert marked == [9, 13, 23]


def test_a_repeated_fin_is_a_retransmission_by_its_place() -> None:
    """A FIN at the same place in sequence space is a copy, whatever data comes along (RFC 9293 section 3.4)."""
    story = Story()
    story.send(0, "client", "P.", 1, 1, payload=GREETING)
    story.send(1, "client", "F.", 28, 1)
    again = story.send(2, "client", "FP.", 1, 1, payload=GREETING)
    rows = packets(climb(judge_by_hand(story)))
    assert [row.number for row in rows if row.marks] == [again]


def test_a_copy_made_by_the_wire_is_no_retransmission() -> None:
    """What the wire duplicated was sent once."""
    story = Story()
    story.send(0, "client", "S", 0)
    story.send(0.1, "client", "S", 0)
    story.trips[1] = replace(story.trips[1], fate="duplicate")
    assert packets(climb(judge_by_hand(story)))[1].marks == (Mark.DUPLICATE,)


def test_forged_needs_a_capture_that_missed_nothing() -> None:
    """A packet that its sender never sent is forged; where the sender's capture dropped, nobody can tell."""
    judgement = lost_synack()
    assert Mark.FORGED in packets(climb(judgement))[-1].marks
    records = tuple(
        replace(record, dropped=1) if isinstance(record, CaptureCount) else record
        for record in judgement.evidence.records
    )
    blind = replace(judgement, evidence=replace(judgement.evidence, records=records))
    assert packets(climb(blind))[-1].marks == ()


def test_delay_is_from_sending_to_delivery() -> None:
    """A lost packet has none."""
    rows = packets(climb(lost_synack()))
    assert rows[0].delay_ns == 10_200_000
    assert rows[1].delay_ns is None


def test_states_stand_between_packets_in_order_of_time() -> None:
    """A server listens before the first packet (negative time); each state is beside its host's lane."""
    rows = climb(hola()).rows
    assert [row.at_ns for row in rows] == sorted(row.at_ns for row in rows)
    states = [(row.left, row.after) for row in rows if isinstance(row, StateRow)]
    assert states[0] == (False, "LISTEN")
    assert rows[0].at_ns == -30_000_000
    assert [state for left, state in states if left] == ["SYN_SENT", "ESTABLISHED", "FIN_WAIT1", "TIME_WAIT"]


def test_who_opens_stands_left() -> None:
    """A host called server that opens the connection stands left."""
    judgement = hola()
    first = judgement.connections[0]
    swapped = replace(first, client=first.server, server=first.client)
    ladder = climb(replace(judgement, connections=(swapped,)))
    assert (ladder.left, ladder.right) == ("server", "client")
    assert not packets(ladder)[0].from_left


def test_datagrams_have_lanes_without_connections() -> None:
    """Without connections the host called server stands right; among others who spoke first stands left."""
    ladder = climb(udp_hello())
    assert (ladder.left, ladder.right) == ("client", "server")
    judgement = udp_hello()
    records = tuple(
        replace(record, role="peer") if isinstance(record, HostFacts) else record
        for record in judgement.evidence.records
    )
    peers = replace(judgement, evidence=replace(judgement.evidence, records=records))
    assert [row.from_left for row in packets(climb(peers))] == [True, False]


def test_every_packet_and_state_knows_its_connection() -> None:
    """Connections count from 1; the listener belongs to none."""
    rows = climb(crowd(3)).rows
    assert {row.connection for row in rows if isinstance(row, PacketRow)} == {1, 2, 3}
    assert [row.connection for row in rows if isinstance(row, StateRow) and row.after == "LISTEN"] == [None]
    assert {row.connection for row in rows if isinstance(row, StateRow) and row.after == "SYN_SENT"} == {1, 2, 3}


def test_folding_keeps_both_ends_and_what_is_cited() -> None:
    """Of many rows the limit is kept, failed checks' packets among them; the folds count all others."""
    judgement: Judgement = crowd()
    rows = climb(judgement).rows
    folded = fold(rows, keep=cited(judgement))
    shown = [row for row in folded if not isinstance(row, FoldRow)]
    hidden = [row for row in folded if isinstance(row, FoldRow)]
    assert len(shown) == 60
    assert len(shown) + sum(row.packets + row.states for row in hidden) == len(rows)
    assert (shown[0], shown[-1]) == (rows[0], rows[-1])
    assert cited(judgement) <= {row.number for row in shown if isinstance(row, PacketRow)}


def test_few_rows_are_not_folded() -> None:
    """Up to the limit every row is shown."""
    rows = climb(hola()).rows
    assert fold(rows, limit=len(rows)) == rows
    assert any(isinstance(row, FoldRow) for row in fold(rows, limit=len(rows) - 1))
