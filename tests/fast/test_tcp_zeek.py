"""Zeek's letters, states and cuts at the edges, by its sources (TCPSessionAdapter.cc, TCP_Reassembler.cc)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tcp_notation import ISN, SERVER, conversation, trace

from testbed.tcp.trace import trace_connections
from testbed.tcp.zeek import Zeek
from testbed.tcp.zeek_cuts import CUTS, SECOND_NS
from testbed.tcp.zeek_end import CLOSED, ESTABLISHED, HOLE_WITHOUT_ACKS, INACTIVE, SYN_SENT, ZeekEnd

OPEN = """
0 c> S 0:0(0)
0.01 s> S. 0:0(0) ack 1
0.02 c> . 1:1(0) ack 1
"""
DATA = "c> P. 1:11(10) ack 1\n"
AT_THE_WRAP = {"c": 2**32 - 2, "s": 2**32 - 12}
MIDDLE = "c> . 1:1(0) ack 1\ns> . 1:1(0) ack 1\n"


@pytest.mark.parametrize(
    ("text", "state", "history"),
    [
        # Counted letters: at 1, 10, 100
        (OPEN + DATA * 10, "S1", "ShADT"),
        (OPEN + DATA * 11, "S1", "ShADTT"),
        (OPEN + "c> . 1:1(0) ack 1 win 0\n" * 9, "S1", "ShAW"),
        (OPEN + "c> . 1:1(0) ack 1 win 0\n" * 10, "S1", "ShAWW"),
        (OPEN + "s> . 1:1(0) ack 1 win 0\n", "S1", "ShAaw"),
        # no W on a RST, nor once the other side has closed
        (OPEN + "c> R 1:1(0) win 0\n", "RSTO", "ShAR"),
        (OPEN + "s> F. 1:1(0) ack 1\nc> . 1:1(0) ack 2 win 0\n", "S3", "ShAf"),
        (OPEN + "c> F. 1:1(0) ack 1\nc> . 2:2(0) ack 1 win 0\n", "S2", "ShAFW"),
        # data on a SYN is a retransmission to Zeek
        ("c> S 0:10(10)\n", "S0", "ST"),
        ("c> S 0:10(10)\ns> S. 0:0(0) ack 1\nc> P. 1:11(10) ack 1\n", "S1", "SThD"),
        # Again when its place differs
        ("c> S 0:0(0)\nc> S 0:0(0)\n", "S0", "S"),
        ("c> S 0:0(0)\ns> S. 0:0(0) ack 1\ns> S. 0:0(0) ack 1\n", "S1", "Sh"),
        (OPEN + "c> F. 1:1(0) ack 1\nc> F. 1:1(0) ack 1\n", "S2", "ShAF"),
        (OPEN + "c> F. 1:1(0) ack 1\nc> F. 2:2(0) ack 1\n", "S2", "ShAFF"),
        (OPEN + "c> F. 1:1(0) ack 1\nc> F. 1:2(1) ack 1\n", "S2", "ShAFF"),
        (OPEN + "c> R 1:1(0)\nc> R 1:1(0)\n", "RSTO", "ShAR"),
        (OPEN + "c> R 1:1(0)\nc> R 2:2(0)\n", "RSTO", "ShARR"),
        (OPEN + "c> FR 1:1(0)\n", "RSTO", "ShAI"),
        (OPEN + "c> FR 1:1(0)\nc> FR 1:1(0)\n", "RSTO", "ShAI"),
        ("c> SFR 0:0(0)\n", "OTH", "I"),
        (OPEN + "c> P. 1:11(10) ack 1 bad\n" * 2, "S1", "ShAC"),
        # States
        ("c> S 0:0(0)\ns> R. 0:0(0) ack 1\n", "REJ", "Sr"),
        ("c> S 0:0(0)\nc> R 1:1(0)\n", "RSTOS0", "SR"),
        ("c> S 0:0(0)\nc> . 1:1(0) ack 1\nc> R 1:1(0)\n", "OTH", "SAR"),
        ("c> S 0:0(0)\nc> F. 1:1(0) ack 1\n", "SH", "SF"),
        ("s> S. 0:0(0) ack 1\ns> R 1:1(0)\n", "OTH", "HR"),
        ("c> S 0:0(0)\ns> F. 1:1(0) ack 1\n", "S3", "Sf"),
        (OPEN + "s> R 1:1(0)\n", "RSTR", "ShAr"),
        (OPEN + "c> F. 1:1(0) ack 1\ns> R 1:1(0)\n", "RSTR", "ShAFr"),
        (OPEN + "c> R 1:1(0)\ns> R 1:1(0)\n", "REJ", "ShARr"),
        (OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2\nc> . 2:2(0) ack 2\n", "SF", "ShAFf"),
        (OPEN + "c> F. 1:1(0) ack 1\ns> F. 1:1(0) ack 2\nc> R 2:2(0)\n", "SF", "ShAFfR"),
        (MIDDLE + "c> F. 1:1(0) ack 1\n", "SH", "AaF"),
        (MIDDLE + "s> F. 1:1(0) ack 1\n", "SHR", "Aaf"),
        (MIDDLE + "c> R 1:1(0)\n", "OTH", "AaR"),
        (MIDDLE + "s> R 1:1(0)\n", "RSTRH", "Aar"),
        # Gaps: bytes that were acknowledged and never seen, of a connection both ends of which are open
        (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 12\n", "S1", "ShADaG"),
        (OPEN + "c> P. 1:11(10) ack 1\ns> . 1:1(0) ack 11\n", "S1", "ShADa"),
        (OPEN + "c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 11\n", "S1", "ShADaG"),
        (OPEN + "c> P. 11:21(10) ack 1\nc> P. 1:11(10) ack 1\ns> . 1:1(0) ack 22\n", "S1", "ShADTaG"),
        (OPEN + "c> F. 1:1(0) ack 1\ns> . 1:1(0) ack 2\n", "S2", "ShAFa"),
        (OPEN + "c> F. 11:11(0) ack 1\ns> . 1:1(0) ack 12\n", "S2", "ShAFaG"),
        # more than 16384 bytes beyond what was acknowledged, which shows that both sides are captured
        (OPEN + DATA + "s> . 1:1(0) ack 11\nc> P. 20011:20021(10) ack 1\ns> . 1:1(0) ack 20021\n", "S1", "ShADaG"),
        (
            OPEN + "s> P. 1:11(10) ack 1\nc> . 1:1(0) ack 11\ns> P. 20011:20021(10) ack 1\nc> . 1:1(0) ack 20021\n",
            "S1",
            "ShAdg",
        ),
        # the same without any acknowledgement of data, and with one of a single byte
        (OPEN + "c> P. 20011:20021(10) ack 1\ns> . 1:1(0) ack 20021\n", "S1", "ShADa"),
        (
            OPEN + "c> P. 1:2(1) ack 1\ns> . 1:1(0) ack 2\nc> P. 20011:20021(10) ack 1\ns> . 1:1(0) ack 20021\n",
            "S1",
            "ShADaG",
        ),
        # a FIN after the other side's FIN and RST
        (OPEN + "c> F. 1:1(0) ack 1\nc> R 2:2(0)\ns> F. 1:1(0) ack 2\n", "SF", "ShAFRf"),
        (OPEN + "c> R 1:1(0)\ns> F. 1:1(0) ack 1\n", "RSTO", "ShARf"),
        (MIDDLE + "s> . 1:1(0) ack 500\n", "OTH", "Aa"),
        (MIDDLE + "c> . 1:1(0) ack 1\ns> S. 0:0(0) ack 1\n", "OTH", "Aah"),
        ("c> P. 1:11(10) ack 1\ns> P. 1:11(10) ack 11\nc> P. 11:21(10) ack 11\ns> S. 0:0(0) ack 1\n", "OTH", "Ddh"),
        (OPEN + "s> P. 11:21(10) ack 1\nc> . 1:1(0) ack 21\n", "S1", "ShAdg"),
        # not of a RST, whose acknowledgement nobody trusts, nor before the other side has answered
        (OPEN + "s> P. 11:21(10) ack 1\nc> R. 1:1(0) ack 21\n", "RSTO", "ShAdR"),
        ("c> . 1:1(0) ack 1\ns> S. 0:0(0) ack 1\ns> P. 11:21(10) ack 1\nc> . 1:1(0) ack 21\n", "OTH", "Ahd"),
        # on a SYN-ACK, and on the last byte before a FIN
        ("c> S 0:0(0)\ns> S. 0:0(0) ack 11\n", "S1", "ShG"),
        ("c> P. 1:11(10) ack 1\ns> S. 0:0(0) ack 21\n", "OTH", "Dh"),
        (OPEN + "c> F. 2:2(0) ack 1\ns> . 1:1(0) ack 3\n", "S2", "ShAFaG"),
        # A SYN takes one number also where its window is closed; its data is not counted twice by a copy without
        ("c> S 0:0(0) win 0\ns> S. 0:0(0) ack 1\nc> . 0:1(1) ack 1\n", "S1", "SWhDT"),
        ("c> S 0:10(10)\nc> S 0:0(0)\ns> S. 0:0(0) ack 11\n", "S1", "STh"),
        # A FIN that carries data takes both, one at an old place moves nothing
        (OPEN + "c> FP. 1:11(10) ack 1\nc> . 5:11(6) ack 1\n", "S2", "ShAFDT"),
        (OPEN + "c> FP. 1:11(10) ack 1\nc> F. 11:11(0) ack 1\n", "S2", "ShAF"),
        (OPEN + DATA + "c> F. 5:5(0) ack 1\n" + DATA, "S2", "ShADFT"),
        # only the SYN and the FIN of more than 2 GB
        (OPEN + "c> F. 3000000000:3000000000(0) ack 1\nc> P. 3000000001:3000000011(10) ack 1\n", "S2", "ShAFD"),
        (OPEN + "c> . 0:1(1) ack 1\n", "S1", "ShADT"),
        # what a RST carries takes no numbers, and so is a retransmission
        (OPEN + "c> R 1:11(10)\ns> R 1:1(0)\n", "REJ", "ShARTr"),
        (OPEN + DATA + "c> R 11:11(0)\ns> R 1:1(0)\n", "RSTR", "ShADRr"),
        ("c> R 1:1(0)\ns> R 1:1(0)\n", "REJ", "Rr"),
        # a RST more than 2**20 away does not tell where its sender is, data does
        (OPEN + "c> P. 2000001:2000011(10) ack 1\n" * 2, "S1", "ShADT"),
        (OPEN + "c> R 1048577:1048577(0)\ns> R 1:1(0)\n", "RSTR", "ShARr"),
        (OPEN + "c> R 1048578:1048578(0)\ns> R 1:1(0)\n", "REJ", "ShARr"),
        # an early ACK of the SYN does not make a partial connection, data does
        ("c> S 0:0(0)\ns> . 1:1(0) ack 1\n", "S0", "Sa"),
        ("c> S 0:0(0)\ns> . 1:11(10) ack 1\n", "OTH", "Sd"),
        # a SYN-ACK that was the first packet is the responder's, as soon as the other side goes on
        ("s> S. 0:0(0) ack 1\nc> F. 1:1(0) ack 1\n", "S2", "^hF"),
        ("s> S. 0:0(0) ack 1\ns> S. 0:0(0) ack 1\n", "OTH", "H"),
    ],
)
def test_letters_and_states(text: str, state: str, history: str) -> None:
    """conn_state and history as Zeek writes them, wherever the numbers begin."""
    for isn in (ISN, AT_THE_WRAP):
        told = trace(text, isn=isn)
        assert (told.conn_state, told.history) == (state, history)


def zeeks(text: str, server: tuple[str, int] = SERVER) -> tuple[str, str]:
    """What Zeek's rules alone say of packets that ours would give to several connections."""
    packets = conversation(text, server=server)
    zeek = Zeek(packets[0])
    for packet in packets:
        zeek.feed(0 if packet.source == packets[0].source else 1, packet, int(packet.flags), packet.payload_length)
    return zeek.conn_state(), zeek.history()


@pytest.mark.parametrize(
    ("text", "state", "history"),
    [
        # After packets in the middle a SYN begins anew, as long as the other side is silent
        ("c> . 1:1(0) ack 1\nc> S 0:0(0)\n", "S0", "AS"),
        ("c> . 1:1(0) ack 1\nc> S. 0:0(0) ack 1\n", "OTH", "AH"),
        ("c> . 1:1(0) ack 1\nc> - 1:1(0)\n", "OTH", "A"),
        (MIDDLE + "c> S 0:0(0)\ns> R 1:1(0)\n", "RSTRH", "AaSr"),
        # Before the handshake is over its number is the one that counts
        ("c> S 0:0(0)\nc> S 5:5(0)\n", "S0", "S"),
        (
            "c> S 0:0(0)\nc> S 5:5(0)\ns> S. 0:0(0) ack 6\nc> P. 6:16(10) ack 1\ns> . 1:1(0) ack 16\n",
            "S1",
            "ShDa",
        ),
        (OPEN + "s> S. 7:7(0) ack 1\n", "S1", "ShA"),
        # After a FIN it changes no numbers: what is missing before the FIN is a gap all the same
        (OPEN + "c> F. 11:11(0) ack 1\nc> S 500:500(0)\ns> . 1:1(0) ack 12\n", "S2", "ShAFSaG"),
        # After a RST it does only where nothing came before the RST
        (OPEN + DATA + "c> R 11:11(0)\nc> S 500:500(0)\ns> R 1:1(0)\n", "RSTR", "ShADRSr"),
        ("c> R 1:1(0)\nc> S 500:500(0)\ns> . 1:1(0) ack 501\ns> R 1:1(0)\n", "REJ", "RSar"),
    ],
)
def test_syns_inside_a_connection(text: str, state: str, history: str) -> None:
    """Where Zeek takes the numbers of a SYN as those of its sender from now on (init_endpoint)."""
    assert zeeks(text) == (state, history)


def test_a_capture_that_begins_with_the_answer_of_a_known_port() -> None:
    """The client's first segment shows where its numbers are, so that what is missing behind it is a gap."""
    opening = "s> S. 0:0(0) ack 1\nc> . 1:1(0) ack 1\n"
    server = ("198.18.0.2", 80)
    assert zeeks(opening + DATA + "s> . 1:1(0) ack 11", server=server) == ("S1", "^hADa")
    assert zeeks(opening + "c> P. 3:13(10) ack 1\ns> . 1:1(0) ack 13", server=server) == ("S1", "^hADaG")
    assert zeeks("s> S. 0:0(0) ack 1\ns> S 0:0(0)\nc> . 1:1(0) ack 1", server=server) == ("S1", "^hA")
    assert zeeks("s> S. 0:0(0) ack 1\nc> - 1:1(0)", server=server) == ("OTH", "^h")
    assert zeeks("s> F. 1:1(0) ack 1", server=server) == ("SHR", "^f")
    assert zeeks("s> R 1:1(0)", server=server) == ("RSTRH", "^r")
    # flipped, and back again
    assert zeeks("s> . 1:1(0) ack 1 bad\nc> S. 0:0(0) ack 1\ns> S 0:0(0)", server=server) == ("S1", "^cHs^")


@pytest.mark.parametrize(("ack", "state"), [(1048577, "RSTR"), (1048578, "REJ")])
def test_an_acknowledgement_of_zero_far_away_is_broken(ack: int, state: str) -> None:
    """More than 2**20 beyond what was acknowledged before, so that the other side's size stays nothing."""
    packets = conversation(OPEN + f"c> . 1:1(0) ack {ack}\nc> R 1:1(0)\ns> R 1:1(0)", isn={"c": 1000, "s": 2**32 - ack})
    (told,) = trace_connections(packets)
    assert (told.conn_state, told.history) == (state, "ShAgRr")


def test_bytes_that_the_capture_cut_are_a_gap() -> None:
    """Zeek delivers no part of a segment."""
    packets = conversation(OPEN + DATA + "s> . 1:1(0) ack 11")
    packets[3] = replace(packets[3], payload=packets[3].payload[:9])
    (told,) = trace_connections(packets)
    assert told.history == "ShADaG"


def test_acknowledgements_where_the_numbers_wrap_around() -> None:
    """Zero is an acknowledgement like any other, and the number of a packet without ACK is none."""
    isn = {"c": 2**32 - 5, "s": 2**32 - 5}
    assert trace(OPEN + "c> . 1:1(0) ack 5", isn=isn).history == "ShAg"
    assert trace(OPEN + "c> - 1:1(0)", isn=isn).history == "ShA"
    assert trace("c> S 0:0(0)\ns> S 0:0(0)", isn=isn).history == "Ss"


@pytest.mark.parametrize(
    ("source", "destination", "flags", "flipped"),
    [
        (80, 40000, ".", True),
        (40000, 80, ".", False),
        (80, 443, ".", True),
        (443, 80, ".", False),
        (80, 80, ".", False),
        (40000, 50000, ".", False),
        (80, 40000, "S.", True),
        (80, 443, "S.", False),
        (80, 40000, "S", False),
        (80, 40000, "SF", False),
    ],
)
def test_the_first_packet_of_a_known_port_is_the_responders(
    source: int, destination: int, flags: str, flipped: bool
) -> None:
    """Unless it is a SYN; between two known ports the lower one, and only where no SYN-ACK says who answers."""
    ack = " ack 1" if "." in flags else ""
    packets = conversation(f"c> {flags} 0:0(0){ack}", client=("198.18.0.1", source), server=("198.18.0.2", destination))
    (told,) = trace_connections(packets)
    assert told.history.startswith("^") == flipped


def test_a_packet_with_a_wrong_ip_checksum_has_no_letter() -> None:
    """Zeek passes it over altogether; with a wrong TCP checksum only it counts as C."""
    packets = conversation("c> S 0:0(0)\nc> S 0:0(0) bad")
    for ip_checksum_ok, history in ((True, "SC"), (False, "S")):
        (told,) = trace_connections([packets[0], replace(packets[1], ip_checksum_ok=ip_checksum_ok)])
        assert told.history == history


def test_a_scan_behind_a_flipped_packet_that_zeek_does_not_read() -> None:
    """The letter for the flip may stand before the SYN of a scan."""
    packets = conversation(
        "c> . 1:1(0) ack 1 bad\ns> S 0:0(0)\ns> R 1:1(0)", client=("198.18.0.1", 80), server=("198.18.0.2", 4000)
    )
    packets[0] = replace(packets[0], ip_checksum_ok=False)
    (told,) = trace_connections(packets)
    assert (told.conn_state, told.history) == ("RSTOS0", "^SR")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        # 5 s after a SYN without any answer, counted from the first
        ("0 c> S 0:0(0)\n4.999 c> S 0:0(0)", 1),
        ("0 c> S 0:0(0)\n3 c> S 0:0(0)\n5 c> S 0:0(0)", 2),
        ("0 c> S 0:0(0)\n0.1 s> S. 0:0(0) ack 1\n5 c> S 0:0(0)", 1),
        ("0 s> S. 0:0(0) ack 1\n4.999 s> S. 0:0(0) ack 1", 1),
        ("0 s> S. 0:0(0) ack 1\n5 s> S. 0:0(0) ack 1", 2),
        # 60 s of silence before the handshake is over, 300 s afterwards
        ("0 c> S 0:0(0)\n0.1 s> S. 0:0(0) ack 1\n300.09 c> . 1:1(0) ack 1", 1),
        ("0 c> S 0:0(0)\n0.1 s> S. 0:0(0) ack 1\n300.1 c> . 1:1(0) ack 1", 2),
        (OPEN + "300.01 c> . 1:1(0) ack 1", 1),
        (OPEN + "300.02 c> . 1:1(0) ack 1", 2),
        # 5 s after the close was complete: a RST, or FINs with nothing pending
        (OPEN + "1 c> R 1:1(0)\n5.999 s> . 1:1(0) ack 1", 1),
        (OPEN + "1 c> R 1:1(0)\n6 s> . 1:1(0) ack 1", 2),
        (OPEN + "1 c> F. 1:1(0) ack 1\n2 s> F. 1:1(0) ack 2\n3 c> . 2:2(0) ack 2\n8.1 c> . 2:2(0) ack 2", 2),
        (OPEN + "1 c> F. 1:1(0) ack 1\n2 s> . 1:1(0) ack 2\n9 s> . 1:1(0) ack 2", 1),
        (OPEN + "1 c> R 1:1(0)\n3 s> R 1:1(0)\n6 s> R 1:1(0)", 2),  # a second close puts nothing off
        (OPEN + "1 c> R 1:1(0)\n6 s> . 1:1(0) ack 1\n6.5 s> . 1:1(0) ack 1", 2),  # what is cut off has its own
        # also a FIN while the other side never spoke
        ("0 c> F. 1:1(0) ack 1\n4.999 c> F. 1:1(0) ack 1", 1),
        ("0 c> F. 1:1(0) ack 1\n5 c> F. 1:1(0) ack 1", 2),
        # a SYN with another number, any SYN after the close; not a copy
        (OPEN + "1 c> S 5:5(0)", 2),
        (OPEN + "1 c> S 0:0(0)", 1),
        (OPEN + "1 s> S. 0:0(0) ack 1", 1),
        (OPEN + "1 s> S. 7:7(0) ack 1", 1),
        (OPEN + "1 c> F. 1:1(0) ack 1\n1.1 s> F. 1:1(0) ack 2\n1.2 c> . 2:2(0) ack 2\n1.3 c> S 0:0(0)", 2),
        ("0 c> S 0:0(0)\n0.1 s> S 0:0(0)", 2),
        ("0 s> S. 0:0(0) ack 1\n0.1 c> S 0:0(0)", 1),
        ("0 s> S. 0:0(0) ack 1\n0.1 c> S 7:7(0)", 2),
        (OPEN + "1 c> S 4000:4000(0)", 2),  # also where it is the server's
        # 300 s also after a SYN-ACK that nobody asked for, or a FIN, once one side has left the handshake
        ("0 s> S. 0:0(0) ack 1\n0.1 c> . 1:1(0) ack 1\n100 c> . 1:1(0) ack 1", 1),
        ("0 s> S. 0:0(0) ack 1\n0.1 s> F. 11:11(0) ack 1\n100 s> F. 11:11(0) ack 1", 1),
        ("0 c> S 0:0(0)\n0.1 c> F. 11:11(0) ack 1\n100 c> F. 11:11(0) ack 1", 1),
        # A FIN is complete once the data before it was seen or given up
        (OPEN + "1 c> F. 11:11(0) ack 1\n2 s> F. 1:1(0) ack 1\n8 c> F. 11:11(0) ack 1", 1),
        (OPEN + "1 c> F. 11:11(0) ack 1\n2 s> F. 1:1(0) ack 12\n6.99 c> . 12:12(0) ack 1", 1),
        (OPEN + "1 c> F. 11:11(0) ack 1\n2 s> F. 1:1(0) ack 12\n7 c> . 12:12(0) ack 1", 2),
        (OPEN + "c> P. 11:21(10) ack 1\ns> . 1:1(0) ack 11\n1 c> R 21:21(0)\n6 s> . 1:1(0) ack 21", 2),
        (OPEN + "c> P. 11:21(10) ack 1\nc> P. 1:11(10) ack 1\n1 c> R 21:21(0)\n6 s> . 1:1(0) ack 21", 2),
        # and once the other side's data is acknowledged
        (OPEN + "s> P. 1:11(10) ack 1\n1 c> F. 1:1(0) ack 1\n2 s> F. 11:11(0) ack 2\n8 s> F. 11:11(0) ack 2", 1),
        (
            OPEN + "s> P. 1:11(10) ack 1\n1 c> F. 1:1(0) ack 1\n2 s> F. 11:11(0) ack 2\n3 c> . 2:2(0) ack 12\n"
            "8 s> F. 11:11(0) ack 2",
            2,
        ),
        (
            OPEN
            + "s> P. 1:11(10) ack 1\nc> . 1:1(0) ack 11\n1 c> F. 1:1(0) ack 11\n"
            + "2 s> F. 11:11(0) ack 2\n7 s> . 12:12(0) ack 2",
            2,
        ),
        (OPEN + "s> P. 1:2(1) ack 1\n1 c> F. 1:1(0) ack 1\n2 s> F. 2:2(0) ack 2\n8 s> F. 2:2(0) ack 2", 1),
        (
            OPEN
            + DATA
            + "s> P. 1:11(10) ack 11\n1 c> F. 5:5(0) ack 1\n2 s> F. 11:11(0) ack 11\n8 s> . 12:12(0) ack 11",
            1,
        ),
        (OPEN + "1 s> F. 1:1(0) ack 1\n2 s> P. 11:21(10) ack 1\n3 c> F. 1:1(0) ack 2\n9 c> . 2:2(0) ack 2", 1),
        # which a RST does not wait for
        (OPEN + "s> P. 1:11(10) ack 1\n1 c> R 1:1(0)\n6 s> P. 1:11(10) ack 1", 2),
        # Behind 16384 bytes without any acknowledgement nothing is waited for
        (
            OPEN
            + "c> P. 20011:20021(10) ack 1\n1 c> F. 20021:20021(0) ack 1\n2 s> F. 1:1(0) ack 1\n7 s> . 2:2(0) ack 1",
            2,
        ),
    ],
)
def test_cuts(text: str, count: int) -> None:
    """At the very moment of a timer it is too late, wherever the numbers begin and whether or not sums were checked."""
    packets = conversation(text)
    verified = [replace(packet, checksum_ok=packet.checksum_ok is not False) for packet in packets]
    for told in (packets, verified, conversation(text, isn=AT_THE_WRAP)):
        assert len(trace_connections(told, zeek_cuts=True)) == count


@pytest.mark.parametrize(("port", "count"), [(21, 1), (22, 1), (23, 1), (513, 1), (24, 2), (514, 2)])
def test_ports_on_which_people_think(port: int, count: int) -> None:
    """ftp, ssh, telnet and rlogin may be silent for an hour."""
    packets = conversation(OPEN + "3600.01 c> . 1:1(0) ack 1", server=("198.18.0.2", port))
    assert len(trace_connections(packets, zeek_cuts=True)) == count
    packets = conversation(OPEN + "3600.02 c> . 1:1(0) ack 1", server=("198.18.0.2", port))
    assert len(trace_connections(packets, zeek_cuts=True)) == 2


def test_whose_port_it_is_on_which_people_think() -> None:
    """The responder's, also where its SYN-ACK came before the SYN; not the client's, nor that of a late capture."""
    silence = "0.02 c> . 1:1(0) ack 1\n1000 c> . 1:1(0) ack 1"
    reversed_order = "0 s> S. 0:0(0) ack 1\n0.01 c> S 0:0(0)\n"
    for text, ports, count in (
        (reversed_order, (40000, 23), 1),
        ("0 s> S. 0:0(0) ack 1\n", (40000, 22), 1),
        (OPEN, (513, 7456), 2),
        ("0 c> S 0:0(0)\n0.01 s> F. 11:11(0) ack 1\n", (40000, 22), 2),
        (reversed_order, (513, 7456), 2),
        ("0 c> . 1:1(0) ack 1\n0.01 s> S. 0:0(0) ack 1\n", (40000, 23), 2),
    ):
        client, server = ("198.18.0.1", ports[0]), ("198.18.0.2", ports[1])
        packets = conversation(text + silence, client=client, server=server)
        assert len(trace_connections(packets, zeek_cuts=True)) == count, text


@pytest.mark.parametrize(("text", "count"), [("0.1 s> S. 0:0(0) ack 1", 1), ("0.1 s> S. 7:7(0) ack 1", 2)])
def test_a_half_connection_is_cut_at_its_next_answer(text: str, count: int) -> None:
    """While the originator is silent, a SYN-ACK with another number begins another connection, too."""
    packets = conversation("0 s> S. 0:0(0) ack 1\n" + text, server=("198.18.0.2", 80))
    assert len(trace_connections(packets, zeek_cuts=True)) == count


@pytest.mark.parametrize(("text", "count"), [("0.1 c> S 0:0(0)", 1), ("0.1 c> S 1:1(0)", 2)])
def test_the_number_that_a_late_capture_gives_the_other_side(text: str, count: int) -> None:
    """The first acknowledgement tells where the silent originator's numbers began; a SYN from there is no reuse."""
    packets = conversation("0 s> P. 1:11(10) ack 1\n" + text, server=("198.18.0.2", 80))
    assert len(trace_connections(packets, zeek_cuts=True)) == count


def test_beyond_two_gigabytes_nothing_is_given_up() -> None:
    """As far as half of the numbers from where it began, an acknowledgement counts as an old one to Zeek."""
    end = end_at(0)
    end.deliver(1, 2**30)
    end.deliver(2**30 + 1, 2**30 - 2)
    assert end.give_up(2**31) == 0
    assert end.give_up(2**31 - 1 + 100) == 0


def test_timers() -> None:
    """The timers of Zeek's default settings, in seconds."""
    assert [after_ns // SECOND_NS for after_ns, _ in CUTS.values()] == [5, 5, 60, 300, 3600]
    assert SECOND_NS == 10**9


def end_at(start: int) -> ZeekEnd:
    """An end whose numbers start there."""
    end = ZeekEnd()
    end.begin(start, start + 1)
    return end


@pytest.mark.parametrize("start", [0, 5000, 2**32 - 1, 2**32 - 15, 2**31])
def test_holes_are_given_up_when_they_are_acknowledged(start: int) -> None:
    """Bytes beyond a hole wait; an acknowledgement counts the holes before it, wherever the numbers start."""

    def deliver(*parts: tuple[int, int]) -> ZeekEnd:
        end = end_at(start)
        for first, length in parts:
            end.deliver((start + first) % 2**32, length)
        return end

    assert deliver((1, 10)).give_up((start + 11) % 2**32) == 0
    assert deliver((1, 10)).give_up((start + 12) % 2**32) == 1
    assert deliver((11, 10)).give_up((start + 11) % 2**32) == 1
    assert deliver((11, 10), (31, 10)).give_up((start + 41) % 2**32) == 2
    assert deliver((11, 10), (31, 10)).give_up((start + 21) % 2**32) == 1
    assert deliver((31, 10), (11, 10)).give_up((start + 51) % 2**32) == 3
    assert deliver((11, 10), (1, 10)).give_up((start + 21) % 2**32) == 0
    assert deliver((11, 10), (1, 15)).give_up((start + 21) % 2**32) == 0
    assert deliver((11, 10), (21, 10)).give_up((start + 31) % 2**32) == 1
    # parts that arrived in another order, touch or overlap
    assert deliver((31, 10), (21, 10)).give_up((start + 41) % 2**32) == 1
    assert deliver((1, 10), (5, 7)).give_up((start + 12) % 2**32) == 0
    assert deliver((11, 9), (15, 6)).give_up((start + 21) % 2**32) == 1
    assert deliver((11, 9), (15, 6), (1, 10)).give_up((start + 21) % 2**32) == 0
    # what lies further on waits for its own acknowledgement
    assert deliver((11, 10), (31, 10), (1, 10)).give_up((start + 51) % 2**32) == 2
    further = deliver((11, 10), (31, 10), (51, 10))
    assert [further.give_up((start + at) % 2**32) for at in (15, 71)] == [1, 3]
    half = deliver((11, 10), (31, 10))
    assert [half.give_up((start + at) % 2**32) for at in (15, 21, 30, 41)] == [1, 0, 1, 1]


def test_a_large_hole_without_acknowledgements_is_no_gap() -> None:
    """Beyond tcp_max_above_hole_without_any_acks the other side was never captured: Zeek stops to look."""
    for length, holes in ((HOLE_WITHOUT_ACKS - 10, 1), (HOLE_WITHOUT_ACKS - 9, 0)):
        end = end_at(0)
        end.deliver(11, length)
        assert end.give_up(11 + length) == holes
    assert HOLE_WITHOUT_ACKS == 16384


def test_sizes_of_an_end() -> None:
    """By sequence numbers, without SYN and FIN."""
    end = ZeekEnd()
    assert (end.state, end.size()) == (INACTIVE, 0)
    end.begin(2**32 - 5, 2**32 - 4)
    end.enter(SYN_SENT)
    assert end.size() == 0
    end.last = 6
    assert end.size() == 10
    end.fin_end = 6
    assert end.size() == 9
    end.acked = 16
    assert end.size() == 19
    assert not end.is_clean()
    end.enter(ESTABLISHED)
    assert end.is_clean()
    end.enter(ESTABLISHED)
    end.enter(CLOSED)
    assert end.is_clean()
