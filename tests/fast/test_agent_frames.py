"""The emulator's parser: what a frame means, and that nothing can upset it."""

from __future__ import annotations

import struct

import pytest
from ether import CLIENT, MACS, SERVER, ip, tcp

from testbed.agent import frames


@pytest.mark.parametrize(
    ("flags", "payload", "expected"),
    [
        ("S", b"", {"SYN"}),
        ("S", b"early", {"SYN"}),  # RFC 7413: data in a SYN; it is still the SYN that is lost
        ("SA", b"", {"SYN-ACK"}),
        ("A", b"", {"ACK"}),
        ("PA", b"Hola", {"DATA"}),
        ("PA", b"", {"ACK"}),
        ("FA", b"", {"FIN"}),
        ("FPA", b"bye", {"FIN", "DATA"}),
        ("F", b"", {"FIN"}),
        ("R", b"", {"RST"}),
        ("RA", b"", {"RST"}),
        ("SR", b"", {"RST"}),
        ("", b"", set()),
    ],
)
def test_a_segment_is_classified_by_its_flags_and_payload(flags: str, payload: bytes, expected: set[str]) -> None:
    """Each segment has the classes of its control bits, and ANY (RFC 9293 section 3.1)."""
    segment = frames.parse(tcp(flags, payload=payload))
    assert segment is not None
    assert frames.kinds(segment) == expected | {"ANY"}


def test_an_ipv4_segment_is_read_with_its_options() -> None:
    """The payload's length comes from the headers, not from the frame, which may be padded."""
    frame = tcp("PA", 7, 8, b"Hola", options=b"\x01" * 12) + b"\0" * 6
    assert frames.parse(frame) == frames.Segment(
        6,
        frames.pack(CLIENT),
        frames.pack(SERVER),
        40000,
        7456,
        sequence=7,
        acknowledgement=8,
        flags=0x18,
        payload_length=4,
    )


def test_an_ipv6_segment_is_read_behind_extension_headers() -> None:
    """RFC 8200 section 4: hop-by-hop options and destination options stand before TCP."""
    plain = tcp("PA", 7, 8, b"Hola", source="fd00::2", to="fd00::3")
    segment = plain[14 + 40 :]
    wrapped = ip(0, struct.pack("!BB6x", 60, 0) + struct.pack("!BB14x", 6, 1) + segment, source="fd00::2", to="fd00::3")
    assert frames.parse(plain) is not None
    assert frames.parse(wrapped) == frames.parse(plain)


def test_a_later_fragment_has_no_ports() -> None:
    """Behind offset 0 there is no TCP header: what stands there is payload (RFC 791 section 3.2)."""
    segment = frames.parse(ip(6, b"\xff" * 40, fragment=185))
    assert segment == frames.Segment(6, frames.pack(CLIENT), frames.pack(SERVER))
    assert frames.kinds(segment) == {"ANY"}


def test_udp_has_ports_and_no_class_but_any() -> None:
    """Only TCP packets have a meaning in a connection."""
    segment = frames.parse(ip(17, struct.pack("!HHHH", 5, 6, 8, 0)))
    assert segment is not None
    assert (segment.source_port, segment.destination_port) == (5, 6)
    assert frames.kinds(segment) == {"ANY"}


@pytest.mark.parametrize("frame", [b"", MACS, MACS + b"\x08\x06" + b"\0" * 28, tcp("S")[:40], tcp("S")[:20]])
def test_what_is_no_whole_ip_packet_is_none(frame: bytes) -> None:
    """ARP, and frames cut inside a header, are carried without being understood."""
    assert frames.parse(frame) is None


def test_a_description_names_class_ends_and_numbers() -> None:
    """A ledger's line can be found in a capture by eye."""
    ipv4 = frames.parse(tcp("SA", 7, 8, source=SERVER, to=CLIENT, ports=(7456, 40000)))
    ipv6 = frames.parse(tcp("PA", 7, 8, b"Hola", source="fd00::2", to="fd00::3"))
    assert ipv4 is not None
    assert ipv6 is not None
    assert frames.describe(ipv4, "SYN-ACK") == "SYN-ACK 198.18.0.3:7456 > 198.18.0.2:40000 seq 7 ack 8 len 0"
    assert frames.describe(ipv6, "DATA") == "DATA [fd00::2]:40000 > [fd00::3]:7456 seq 7 ack 8 len 4"
