"""scapy and tshark, which know nothing of us, judge what faults rewrite and forge: sound, and what was asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet as Crafted
from scapy.utils import RawPcapWriter

from testbed.agent import forge, frames
from testbed.agent.faults import Faults, Met

pytestmark = pytest.mark.oracle

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: install Debian's package")

# addresses of our own, else scapy asks the network for them
_ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_V4 = IP(src="192.0.2.1", dst="198.51.100.7", id=4242, ttl=61, tos=2)
_V4_OPTIONS = IP(src="192.0.2.1", dst="198.51.100.7", options=b"\x94\x04\0\0")
_V6 = IPv6(src="2001:db8::1", dst="2001:db8::7", hlim=61, tc=1, fl=99)
_LINUX: list[Any] = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (123456, 0)), ("NOP", None), ("WScale", 7)]
_COOKIE: list[Any] = [*_LINUX, ("TFO", (0xDEADBEEF, 0xCAFEF00D)), ("NOP", None), ("NOP", None)]
_SACK: list[Any] = [("NOP", None), ("NOP", None), ("SAck", (1000, 2000, 3000, 4000))]
_SYN = TCP(sport=40000, dport=7456, flags="SEC", seq=0xFFFFFFFF, window=64240, options=_LINUX)
_FAST = TCP(sport=40000, dport=7456, flags="S", seq=1, window=64240, options=_COOKIE)
_SYN_ACK = TCP(sport=7456, dport=40000, flags="SA", seq=9, ack=0x80000000, window=65160, options=_LINUX)
_DATA = TCP(sport=7456, dport=40000, flags="PA", seq=17, ack=0x80000000, window=502, options=_SACK)
_FIN = TCP(sport=7456, dport=40000, flags="FA", seq=17, ack=0x80000000, window=502)
_NETWORKS = {"ipv4": _V4, "ipv4 with options": _V4_OPTIONS, "ipv6": _V6}
_SEGMENTS: dict[str, Crafted] = {
    "syn": _SYN,
    "fast open": _FAST,
    "fast open data": _FAST / b"early",
    "syn-ack": _SYN_ACK,
    "data": _DATA / b"hola server, are you bored?",
    "odd data": _DATA / b"odd",
    "long data": _DATA / (bytes(range(256)) * 5),
    "fin": _FIN,
}
FRAMES = {
    f"{network}, {segment}": bytes(_ETHER / head / body)
    for network, head in _NETWORKS.items()
    for segment, body in _SEGMENTS.items()
}
ACTIONS: dict[str, dict[str, Any]] = {
    "strip all": {"action": "rewrite", "strip": ["mss", "sack", "timestamps", "window-scale", "fast-open"]},
    "strip timestamps": {"action": "rewrite", "strip": ["timestamps"]},
    "set all": {
        "action": "rewrite",
        "set": {"window": 1000, "window_scale": 3, "mss": 536, "seq": "+100", "ack": 77, "ttl": 5, "flags": "SYN+ECE"},
    },
    "reset": {"action": "reset", "to": "both"},
    "port": {"action": "icmp", "unreachable": "port"},
    "host": {"action": "icmp", "unreachable": "host"},
    "net": {"action": "icmp", "unreachable": "net"},
    "admin": {"action": "icmp", "unreachable": "admin"},
    "frag-needed": {"action": "icmp", "unreachable": "frag-needed", "mtu": 1280},
}
each_frame = pytest.mark.parametrize("name", list(FRAMES))
each_action = pytest.mark.parametrize("action", list(ACTIONS))


def meet(frame: bytes, action: str) -> Met:
    """What comes of the frame."""
    segment = frames.parse(frame)
    assert segment is not None
    met = Faults([{"kind": "ANY", **ACTIONS[action]}]).meet(segment, frame)
    assert met is not None
    return met


def made(frame: bytes, action: str) -> list[bytes]:
    """The frames that are not the one that came."""
    met = meet(frame, action)
    return [there for _, there, _ in met.deliveries if there != frame] + [*met.to_sender]


COMPUTED: dict[str, tuple[str, ...]] = {
    "IP": ("len", "chksum"),
    "IPv6": ("plen",),
    "TCP": ("dataofs", "chksum"),
    "ICMP": ("chksum",),
    "ICMPv6DestUnreach": ("cksum",),
    "ICMPv6PacketTooBig": ("cksum",),
}


def dissect(frame: bytes) -> Crafted:
    """The frame as scapy reads it; built anew with its lengths and checksums computed it must be the same."""
    again = Ether(frame)
    layer = again.payload
    while "error" not in type(layer).__name__ and layer:  # what an error quotes stays as it is
        for field in COMPUTED.get(type(layer).__name__, ()):
            delattr(layer, field)
        layer = layer.payload
    assert bytes(again) == frame
    return Ether(frame)


@each_action
@each_frame
def test_scapy_builds_the_same_frame(name: str, action: str) -> None:
    """Every length and checksum is what scapy computes; the addresses of both layers say who it is from."""
    came = Ether(FRAMES[name])
    network = IP if IP in came else IPv6
    for frame in made(FRAMES[name], action):
        packet = dissect(frame)
        there = packet.src == came.src
        assert (packet.src, packet.dst) == ((came.src, came.dst) if there else (came.dst, came.src))
        ends = came[network].src, came[network].dst
        assert (packet[network].src, packet[network].dst) == (ends if there else ends[::-1])


@each_frame
def test_scapy_reads_what_was_set(name: str) -> None:
    """All fields at once, and nothing of the rest."""
    came, (frame,) = Ether(FRAMES[name]), made(FRAMES[name], "set all")
    tcp, before = dissect(frame)[TCP], came[TCP]
    assert (tcp.window, tcp.ack, str(tcp.flags)) == (1000, 77, "SE")
    assert tcp.seq == (before.seq + 100) % 2**32
    assert (tcp.sport, tcp.dport, bytes(tcp.payload)) == (before.sport, before.dport, bytes(before.payload))
    options = dict(tcp.options)
    assert (options["MSS"], options["WScale"]) == (536, 3)
    kept = {key: value for key, value in before.options if key not in ("MSS", "WScale", "NOP")}
    assert {key: value for key, value in tcp.options if key not in ("MSS", "WScale", "NOP")} == kept
    packet = Ether(frame)
    assert (packet.ttl if IP in packet else packet.hlim) == 5
    if IP in packet:
        assert (packet.id, packet.tos, bytes(packet[IP])[20:-len(tcp)]) == (
            came.id, came.tos, bytes(came[IP])[20 : came[IP].ihl * 4]
        )  # fmt: skip
    else:
        assert (packet.tc, packet.fl) == (came.tc, came.fl)


@each_frame
def test_scapy_reads_no_stripped_option(name: str) -> None:
    """All gone, and the header as short as can be."""
    came = Ether(FRAMES[name])
    if not came[TCP].options:
        assert made(FRAMES[name], "strip all") == []
        return
    tcp = dissect(made(FRAMES[name], "strip all")[0])[TCP]
    assert (tcp.options, tcp.dataofs, bytes(tcp.payload)) == ([], 5, bytes(came[TCP].payload))


def test_a_vlan_tag_is_left_alone() -> None:
    """A tagged frame is nobody's to rewrite."""
    tagged = bytes(_ETHER / Dot1Q(vlan=5) / _V4 / _SYN)
    assert frames.parse(tagged) is None
    assert forge.find(tagged, frames.TCP) is None


@needs_tshark
def test_tshark_finds_nothing_wrong(tmp_path: Path) -> None:
    """Of all that is made: every checksum good, nothing malformed, and the words are tshark's."""
    every = [frame for name in FRAMES for action in ACTIONS for frame in made(FRAMES[name], action)]
    rows = ask_tshark(tmp_path / "made.pcap", every)
    assert len(rows) == len(every)
    for frame, row in zip(every, rows, strict=True):
        statuses = {kind: row[f"{kind}.checksum.status"].split(",")[0] for kind in ("ip", "tcp", "icmp", "icmpv6")}
        kind = next(kind for kind in ("icmp", "icmpv6", "tcp") if statuses[kind])
        assert statuses[kind] == "1", frame.hex()
        assert statuses["ip"] == ("1" if frame[12] == 8 else "")
        assert row["_ws.malformed"] == ""
        if kind == "tcp":  # of a quoted packet that is cut tshark complains, and must
            assert "checksum" not in row["_ws.expert.message"].lower()


@needs_tshark
@pytest.mark.parametrize(
    ("action", "ipv4", "ipv6"),
    [
        ("port", ("3", "3"), ("1", "4")),
        ("host", ("3", "1"), ("1", "3")),
        ("net", ("3", "0"), ("1", "0")),
        ("admin", ("3", "13"), ("1", "1")),
        ("frag-needed", ("3", "4"), ("2", "0")),
    ],
)
def test_tshark_reads_the_error_and_the_packet_in_it(
    tmp_path: Path, action: str, ipv4: tuple[str, str], ipv6: tuple[str, str]
) -> None:
    """Type, code and MTU; the quoted packet's ports and number are those of the packet that came."""
    every = [made(frame, action)[0] for frame in FRAMES.values()]
    for frame, row in zip(FRAMES.values(), ask_tshark(tmp_path / "made.pcap", every), strict=True):
        came = Ether(frame)
        kind = "icmp" if IP in came else "icmpv6"
        assert (row[f"{kind}.type"], row[f"{kind}.code"]) == (ipv4 if IP in came else ipv6)
        assert (row["tcp.srcport"], row["tcp.dstport"]) == (str(came[TCP].sport), str(came[TCP].dport))
        assert row["tcp.seq"] == str(came[TCP].seq)
        if action == "frag-needed":
            assert row[f"{kind}.mtu"] == "1280"


@needs_tshark
def test_tshark_finds_what_is_corrupt(tmp_path: Path) -> None:
    """Only a wrong checksum: the packet is that of the connection still."""
    every = []
    for frame in (frame for name, frame in FRAMES.items() if name.endswith("data")):
        segment = frames.parse(frame)
        assert segment is not None
        met = Faults([{"action": "corrupt", "kind": "ANY", "bits": 2}]).meet(segment, frame)
        assert met is not None
        every.append(met.deliveries[0][1])
    rows = ask_tshark(tmp_path / "made.pcap", every)
    assert {row["tcp.checksum.status"] for row in rows} == {"0"}
    assert {row["ip.checksum.status"] for row in rows} == {"", "1"}


_FIELDS = (
    *("_ws.malformed", "_ws.expert.message", "ip.checksum.status", "tcp.checksum.status", "icmp.checksum.status"),
    *("icmpv6.checksum.status", "icmp.type", "icmp.code", "icmp.mtu", "icmpv6.type", "icmpv6.code", "icmpv6.mtu"),
    *("tcp.srcport", "tcp.dstport", "tcp.seq"),
)


def ask_tshark(path: Path, every: list[bytes]) -> list[dict[str, str]]:
    """What tshark reads in each frame."""
    with RawPcapWriter(str(path), linktype=1) as writer:
        for frame in every:
            writer.write(frame)
    checks = [word for kind in ("ip", "tcp") for word in ("-o", f"{kind}.check_checksum:TRUE")]
    fields = [word for field in _FIELDS for word in ("-e", field)]
    command = ["tshark", "-r", str(path), *checks, "-T", "fields", *fields]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [dict(zip(_FIELDS, line.split("\t"), strict=True)) for line in done.stdout.splitlines()]
