"""Packets by their meaning: which class each combination of flags is of, and what it is called."""

from __future__ import annotations

import pytest

from testbed.packet import Flags, Packet, Protocol
from testbed.scenario.model import PacketClass
from testbed.verdict.classes import is_a, name

LETTERS = {"F": Flags.FIN, "S": Flags.SYN, "R": Flags.RST, "P": Flags.PSH, ".": Flags.ACK, "E": Flags.ECE}


def segment(letters: str, length: int = 0) -> Packet:
    """A segment with these flags (`.` is ACK) and so many octets."""
    flags = Flags.NONE
    for letter in letters:
        flags |= LETTERS[letter]
    return Packet(1, 0, "198.18.0.2", 40000, "198.18.0.3", 7456, flags=flags, payload_length=length)


@pytest.mark.parametrize(
    ("letters", "length", "classes", "called"),
    [
        ("S", 0, {"SYN"}, "SYN"),
        ("SE", 0, {"SYN"}, "SYN"),
        ("S", 9, {"SYN"}, "SYN of 9 bytes"),  # fast open
        ("S.", 0, {"SYN-ACK"}, "SYN-ACK"),
        ("S.", 9, {"SYN-ACK"}, "SYN-ACK of 9 bytes"),
        (".", 0, {"HANDSHAKE-ACK", "ACK"}, "ACK"),
        ("P.", 0, {"HANDSHAKE-ACK", "ACK"}, "ACK"),
        (".", 9, {"HANDSHAKE-ACK", "DATA"}, "DATA of 9 bytes"),
        ("P.", 1, {"HANDSHAKE-ACK", "DATA"}, "DATA of 1 bytes"),
        ("P", 9, {"DATA"}, "DATA of 9 bytes"),
        ("F.", 0, {"HANDSHAKE-ACK", "FIN"}, "FIN"),
        ("F.", 9, {"HANDSHAKE-ACK", "FIN", "DATA"}, "FIN of 9 bytes"),
        ("F", 0, {"FIN"}, "FIN"),
        ("R", 0, {"RST"}, "RST"),
        ("R.", 9, {"RST"}, "RST of 9 bytes"),
        ("FR.", 9, {"RST"}, "RST of 9 bytes"),
        ("SR", 0, {"RST"}, "RST"),
        ("SF", 0, {"SYN"}, "SYN"),
        ("SF.", 9, {"SYN-ACK"}, "SYN-ACK of 9 bytes"),
        ("", 0, set(), "a segment without flags"),
        ("E", 0, set(), "a segment without flags"),
    ],
)
def test_classes(letters: str, length: int, classes: set[str], called: str) -> None:
    """Of what classes a segment is; everything is of the class ANY."""
    packet = segment(letters, length)
    assert {kind.value for kind in PacketClass if is_a(packet, kind)} == {*classes, "ANY"}
    assert name(packet) == called


@pytest.mark.parametrize(
    ("packet", "called"),
    [
        (Packet(1, 0, "a", 9, "b", 9, Protocol.UDP, payload_length=4), "a UDP datagram of 4 bytes"),
        (Packet(1, 0, "a", 0, "b", 0, Protocol.ICMP, icmp=(3, 1)), "ICMP type 3 code 1"),
    ],
)
def test_what_is_no_segment(packet: Packet, called: str) -> None:
    """What is not TCP is of no class but ANY, whatever stands in its place of flags."""
    assert {kind for kind in PacketClass if is_a(packet, kind)} == {PacketClass.ANY}
    assert name(packet) == called
