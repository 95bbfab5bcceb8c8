"""scapy reads every capture of the corpus (tests/captures): the header fields must be the same as ours.

On every link type, IP version and file format there is; the frames that only one of us can read are named.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import GRE
from scapy.layers.ppp import HDLC, PPP
from scapy.packet import Packet as Crafted
from scapy.utils import PcapNgReader, PcapReader

from testbed.decode import decode
from testbed.packet import Packet
from testbed.pcap.reader import read_capture

sys.path.insert(0, str(Path(__file__).parents[1]))  # the corpus is the package tests/captures
from captures.corpus import CASES, Case

pytestmark = pytest.mark.oracle

NOT_FOR_SCAPY = {
    "file_modified": "not a format of scapy's",
    "pcapng_simple_packets": "scapy takes the time of reading for packets without one",
}
# what scapy does not find behind a link header of its own accord
DISSECT: dict[str, Callable[[bytes], Crafted]] = {
    "ipv6_loopback": lambda data: IPv6(data[4:]),
    "link_ppp": PPP,
    "link_ppp_framed": HDLC,
    "link_ppp_hdlc": HDLC,
}


def read_with_scapy(case: Case) -> list[Crafted]:
    """All frames of a capture, as scapy dissects them."""
    reader = PcapNgReader if case.capture.suffix == ".pcapng" else PcapReader
    with reader(str(case.capture)) as judge:
        frames = list(judge)
    dissect = DISSECT.get(case.name)
    return [_dissected(frame, dissect) for frame in frames] if dissect else frames


def _dissected(frame: Crafted, dissect: Callable[[bytes], Crafted]) -> Crafted:
    again = dissect(bytes(frame))
    again.time = frame.time
    return again


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in NOT_FOR_SCAPY], ids=lambda case: case.name)
def test_scapy_agrees_on_header_fields(case: Case) -> None:
    """Addresses, ports, numbers, flags, window, payload and time of every whole segment are what scapy reads."""
    frames = read_with_scapy(case)
    whole = {number: frame for number, frame in enumerate(frames, start=1) if _is_whole(frame)}
    assert whole or case.name in ("snapped_inside_the_header", "tunnelled")
    packets = {packet.number: packet for packet in decode(read_capture(case.capture.read_bytes())).packets}
    ours = {number: _fields(packet) for number, packet in packets.items() if number in whole}
    assert ours == {number: _scapy_fields(frame) for number, frame in whole.items()}


def _is_whole(frame: Crafted) -> bool:
    """Whether this is a TCP segment that is neither quoted by ICMP nor inside a tunnel nor a fragment."""
    if TCP not in frame or ICMP in frame or GRE in frame or frame.getlayer(IP, 2) is not None:
        return False
    cut = frame[IP].flags.MF or frame[IP].frag if IP in frame else IPv6ExtHdrFragment in frame
    return not cut


def _fields(packet: Packet) -> tuple[object, ...]:
    return (
        (packet.source, packet.source_port, packet.destination, packet.destination_port),
        (packet.sequence, packet.acknowledgement, int(packet.flags), packet.window, packet.urgent),
        (packet.options.mss, packet.options.window_scale, packet.options.timestamps),
        (packet.ip_id, packet.ttl),
        packet.payload,
        packet.time_ns // 1000,
    )


def _scapy_fields(frame: Crafted) -> tuple[object, ...]:
    ip = frame[IP] if IP in frame else frame[IPv6]
    tcp = frame[TCP]
    options = dict(tcp.options)
    return (
        (ip.src, tcp.sport, ip.dst, tcp.dport),
        (tcp.seq, tcp.ack, int(tcp.flags), tcp.window, tcp.urgptr),
        (options.get("MSS"), options.get("WScale"), options.get("Timestamp")),
        (ip.id, ip.ttl) if IP in frame else (None, ip.hlim),
        bytes(tcp.payload),
        int(frame.time * 1_000_000),
    )
