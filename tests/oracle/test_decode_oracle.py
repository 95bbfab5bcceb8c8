"""scapy and tshark, which know nothing of us, must read the same packets out of the same bytes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.packet import Packet as Crafted
from scapy.packet import Raw
from scapy.utils import PcapNgReader, PcapReader, PcapWriter

from testbed.decode import decode, decode_frame
from testbed.packet import Packet
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics, LinkType
from testbed.pcap.reader import read_capture
from testbed.pcap.writer import write_capture

pytestmark = pytest.mark.oracle

_cut: Any = fragment
_cut6: Any = fragment6

_TSHARK = shutil.which("tshark")
needs_tshark = pytest.mark.skipif(_TSHARK is None, reason="tshark is missing: install Debian's package tshark")

# addresses of our own, else scapy asks the network for them
_ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
_V4 = IP(src="192.0.2.1", dst="198.51.100.7", id=4242, ttl=61, tos=2)
_V6 = IPv6(src="2001:db8::1", dst="2001:db8::7", hlim=61, tc=1)
_OPTIONS: list[Any] = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (123456, 0)), ("NOP", None), ("WScale", 7)]
_SACK: list[Any] = [("NOP", None), ("NOP", None), ("SAck", (1000, 2000, 3000, 4000))]
_SYN = TCP(sport=40000, dport=7456, flags="SEC", seq=0xFFFFFFFF, window=64240, options=_OPTIONS)
_DATA = TCP(sport=7456, dport=40000, flags="PA", seq=17, ack=0x80000000, window=502, urgptr=3, options=_SACK)
_COOKIE = TCP(sport=1, dport=2, flags="S", options=[("TFO", (0xDEADBEEF, 0xCAFEF00D))])

# name: (link type, packet)
_CASES: dict[str, tuple[int, Crafted]] = {
    "syn": (LinkType.ETHERNET, _ETHER / _V4 / _SYN),
    "data": (LinkType.ETHERNET, _ETHER / _V4 / _DATA / b"hola server, are you bored?"),
    "odd data": (LinkType.ETHERNET, _ETHER / _V4 / _DATA / b"odd"),
    "long data": (LinkType.ETHERNET, _ETHER / _V4 / _DATA / (bytes(range(256)) * 5)),
    "cookie": (LinkType.ETHERNET, _ETHER / _V4 / _COOKIE / b"early"),
    "padded": (LinkType.ETHERNET, _ETHER / _V4 / TCP(flags="A") / Raw(b"")),
    "vlan": (LinkType.ETHERNET, _ETHER / Dot1Q(vlan=5) / _V4 / _SYN),
    "qinq": (LinkType.ETHERNET, _ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / _V6 / _SYN),
    "ipv6": (LinkType.ETHERNET, _ETHER / _V6 / _DATA / b"hola"),
    "ip options": (LinkType.ETHERNET, _ETHER / IP(src="192.0.2.1", dst="192.0.2.2", options=b"\x94\x04\0\0") / _SYN),
    "udp": (LinkType.ETHERNET, _ETHER / _V4 / UDP(sport=53, dport=1234) / b"hello"),
    "udp6": (LinkType.ETHERNET, _ETHER / _V6 / UDP(sport=53, dport=1234) / b"hello!"),
    "icmp": (LinkType.ETHERNET, _ETHER / _V4 / ICMP(type=3, code=1) / _V4 / TCP()),
    "icmp6": (LinkType.ETHERNET, _ETHER / _V6 / ICMPv6DestUnreach(code=4) / _V6 / TCP()),
    "hop by hop": (LinkType.RAW, _V6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / _DATA / b"hola"),
    "routing": (LinkType.RAW, _V6 / IPv6ExtHdrRouting(addresses=["2001:db8::9", "2001:db8::a"]) / _DATA / b"hola"),
    "raw": (LinkType.RAW, _V4 / _DATA / b"hola"),
    "cooked": (LinkType.LINUX_SLL, CookedLinux(proto=0x0800) / _V4 / _SYN),
    "cooked 2": (LinkType.LINUX_SLL2, CookedLinuxV2(proto=0x86DD) / _V6 / _SYN),
    "loopback": (LinkType.NULL, Loopback(type=2) / _V4 / _SYN),
}
each_case = pytest.mark.parametrize("name", list(_CASES))


def _bytes(name: str) -> bytes:
    data = bytes(_CASES[name][1])
    return data.ljust(60, b"\0") if name == "padded" else data


def _decoded(data: bytes, link_type: int) -> Packet:
    packet = decode_frame(Frame(0, data, len(data)), 1, link_type)
    assert isinstance(packet, Packet), packet
    return packet


@each_case
def test_scapy_built_it_and_we_read_it(name: str) -> None:
    """Every header field that scapy put in comes out, and the checksums it computed are right to us."""
    link_type, crafted = _CASES[name]
    packet = _decoded(_bytes(name), link_type)
    judge = type(crafted)(bytes(crafted))  # scapy's own reading, with the computed fields
    ip = judge[IP] if IP in judge else judge[IPv6]
    assert packet.source == ip.src
    assert packet.checksum_ok is True
    if IP in judge:
        assert (packet.destination, packet.ip_id, packet.ttl, packet.ecn) == (ip.dst, ip.id, ip.ttl, ip.tos & 3)
        assert packet.length == ip.len
    else:
        assert (packet.ttl, packet.ecn, packet.length) == (ip.hlim, ip.tc & 3, ip.plen + 40)
    if TCP in judge and packet.icmp is None:
        _compare_tcp(packet, judge[TCP])
    elif UDP in judge:
        assert (packet.source_port, packet.destination_port) == (judge[UDP].sport, judge[UDP].dport)
        assert packet.payload == bytes(judge[UDP].payload)


def _compare_tcp(packet: Packet, tcp: Crafted) -> None:
    assert (packet.source_port, packet.destination_port) == (tcp.sport, tcp.dport)
    assert (packet.sequence, packet.acknowledgement) == (tcp.seq, tcp.ack)
    assert (int(packet.flags), packet.window, packet.urgent) == (int(tcp.flags), tcp.window, tcp.urgptr)
    assert packet.payload == bytes(tcp.payload)
    assert packet.payload_length == len(packet.payload)
    options = dict(tcp.options)
    assert packet.options.mss == options.get("MSS")
    assert packet.options.window_scale == options.get("WScale")
    assert packet.options.timestamps == options.get("Timestamp")
    assert packet.options.sack_permitted == ("SAckOK" in options)
    assert tuple(edge for block in packet.options.sack for edge in block) == tuple(options.get("SAck") or ())
    cookie = options.get("TFO")
    assert (packet.options.fast_open is None) == (cookie is None)
    assert not packet.options.malformed


@each_case
def test_a_wrong_checksum_is_seen(name: str) -> None:
    """One bit flipped in the last byte of the transport's bytes makes the checksum wrong."""
    if name == "padded":
        data = bytearray(_bytes(name))
        data[14 + 39] ^= 1
    else:
        data = bytearray(_bytes(name))
        data[-1] ^= 1
    assert _decoded(bytes(data), _CASES[name][0]).checksum_ok is False


@pytest.mark.parametrize("size", [1, 0xFFFF, 0x1234])
def test_a_forged_checksum_is_seen(size: int) -> None:
    """A checksum that scapy was told to write is not right."""
    data = bytes(_ETHER / _V4 / TCP(chksum=size) / b"hola")
    assert _decoded(data, LinkType.ETHERNET).checksum_ok is False


def test_scapy_cut_it_and_we_put_it_together() -> None:
    """Fragments of IPv4 and IPv6 become the packet that scapy cut."""
    parts = _cut(_V4 / _DATA / (b"hola" * 100), 120)
    parts6 = _cut6(_V6 / IPv6ExtHdrFragment(id=7) / _DATA / (b"hola" * 1000), 1280)
    datas = [bytes(part) for part in (*parts, *parts6)]
    frames = tuple(Frame(0, data, len(data)) for data in datas)
    decoded = decode(Capture((Interface("wire", LinkType.RAW),), frames))
    assert [packet.payload for packet in decoded.packets] == [b"hola" * 100, b"hola" * 1000]
    assert [packet.number for packet in decoded.packets] == [len(parts), len(frames)]
    assert all(packet.checksum_ok for packet in decoded.packets)


def test_arp_is_skipped() -> None:
    """What scapy calls ARP we skip as ARP."""
    data = bytes(_ETHER / ARP(hwsrc="02:00:00:00:00:01", psrc="192.0.2.1", pdst="192.0.2.2"))
    assert decode_frame(Frame(0, data, len(data)), 1, LinkType.ETHERNET) == "ARP"


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_as_scapy_writes_it(tmp_path: Path, endianness: str, nano: bool) -> None:
    """scapy's pcap files, in both byte orders and units, give its packets at its times."""
    path = tmp_path / "scapy.pcap"
    crafted = _ETHER / _V4 / _SYN
    crafted.time = 1_700_000_000.25
    with PcapWriter(str(path), nano=nano, endianness=endianness) as writer:
        writer.write(crafted)
    with PcapReader(str(path)) as judge:
        seen = judge.read_packet()
    (frame,) = read_capture(path.read_bytes()).frames
    assert frame.data == bytes(seen)
    assert frame.time_ns == int(seen.time * 1_000_000_000) == 1_700_000_000_250_000_000


def _annotated() -> Capture:
    """Two vantage points, one of which saw nothing, and a frame of every link type that scapy and tshark can tell."""
    frames = tuple(
        Frame(
            1_700_000_000_123_456_789 + index * 1001,
            _bytes(name),
            len(_bytes(name)),
            0,
            direction,
            (f"this is {name}",),
        )
        for index, (name, direction) in enumerate(zip(_ETHERNET, _directions(), strict=False))
    )
    interfaces = (Interface("client eth0", description="as sent"), Interface("wire", snap_length=96))
    statistics = (InterfaceStatistics(0, len(frames), 3), InterfaceStatistics(1, 0, 0))
    return Capture(interfaces, frames, statistics, ("a run", "of the testbed"))


_ETHERNET = [name for name, (link_type, _) in _CASES.items() if link_type == LinkType.ETHERNET]


def _directions() -> Iterator[Direction]:
    while True:
        yield from Direction


def _tshark(path: Path, *arguments: str) -> list[list[str]]:
    command = [_TSHARK or "tshark", "-n", "-r", str(path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    noise = "Running as user"  # tshark as root
    complaints = [line for line in done.stderr.splitlines() if line and not line.startswith(noise)]
    assert complaints == []
    return [line.split("\t") for line in done.stdout.splitlines()]


def _fields(*names: str) -> list[str]:
    return ["-T", "fields", *(part for name in names for part in ("-e", name))]


@needs_tshark
def test_tshark_reads_what_we_write(tmp_path: Path) -> None:
    """tshark opens our pcapng without a warning and shows names, times, comments and directions as they were given."""
    capture = _annotated()
    path = tmp_path / "trace.pcapng"
    path.write_bytes(write_capture(capture))
    names = ("frame.interface_name", "frame.interface_description", "frame.time_epoch", "frame.comment", "frame.len")
    rows = _tshark(path, *_fields(*names, "frame.packet_flags_direction"))
    assert rows == [
        [
            "client eth0",
            "as sent",
            f"{frame.time_ns // 10**9}.{frame.time_ns % 10**9:09}",
            frame.comments[0],
            str(frame.length),
            f"0x{frame.direction:08x}" if frame.direction else "",
        ]
        for frame in capture.frames
    ]


@needs_tshark
def test_capinfos_reads_what_we_write(tmp_path: Path) -> None:
    """capinfos, of the same Debian package as tshark's readers, sees both interfaces and their statistics."""
    capinfos = shutil.which("capinfos")
    if capinfos is None:
        pytest.skip("capinfos is missing: install Debian's package wireshark-common")
    path = tmp_path / "trace.pcapng"
    path.write_bytes(write_capture(_annotated()))
    done = subprocess.run([capinfos, str(path)], capture_output=True, text=True, check=True, timeout=60)
    said = [line.strip() for line in done.stdout.splitlines()]
    assert "Name = client eth0" in said
    assert "Name = wire" in said
    assert "Number of packets = 0" in said
    assert "Time precision = nanoseconds (9)" in said
    assert "Capture comment:     a run" in said
    assert "Capture comment:     of the testbed" in said


@needs_tshark
def test_statistics_as_tshark_reads_them(tmp_path: Path) -> None:
    """tshark's dissector of the file format itself sees the counts, and no block or option that is wrong."""
    path = tmp_path / "trace.pcapng"
    path.write_bytes(write_capture(_annotated()))
    lines = [row[0].strip() for row in _tshark(path, "-X", "read_format:MIME Files Format", "-V") if row]
    counts = [line.removeprefix("Option: ") for line in lines if line.startswith("Option: Number of")]
    received, dropped = "Number of Received Packets", "Number of Dropped Packets"
    assert counts == [f"{received} = {len(_ETHERNET)}", f"{dropped} = 3", f"{received} = 0", f"{dropped} = 0"]
    assert lines.count("Block: Interface Description Block 0") == 1
    assert lines.count("Block: Interface Description Block 1") == 1
    assert not [line for line in lines if "Expert Info" in line or "Malformed" in line]


@needs_tshark
@pytest.mark.parametrize(("form", "unit_ns"), [("pcapng", 1), ("pcap", 1000), ("nsecpcap", 1), ("modpcap", 1000)])
def test_files_that_editcap_writes(tmp_path: Path, form: str, unit_ns: int) -> None:
    """Our file, written anew by Wireshark's editcap in each format that both know, has the same frames."""
    editcap = shutil.which("editcap")
    if editcap is None:
        pytest.skip("editcap is missing: install Debian's package wireshark-common")
    capture = _annotated()
    ours, theirs = tmp_path / "ours.pcapng", tmp_path / f"theirs.{form}"
    one = replace(capture, interfaces=capture.interfaces[:1], statistics=())  # pcap has one interface
    ours.write_bytes(write_capture(one))
    subprocess.run([editcap, "-F", form, str(ours), str(theirs)], check=True, timeout=60, capture_output=True)
    back = read_capture(theirs.read_bytes())
    expected = [(frame.time_ns // unit_ns * unit_ns, frame.data, frame.length) for frame in capture.frames]
    assert [(frame.time_ns, frame.data, frame.length) for frame in back.frames] == expected
    assert back.warnings == ()
    if form == "pcapng":
        assert back == one


_TCP_FIELDS = {
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.len",
}


@needs_tshark
@pytest.mark.parametrize("link_type", sorted({link_type for link_type, _ in _CASES.values()}))
def test_tshark_agrees_on_every_packet(tmp_path: Path, link_type: int) -> None:
    """tshark and we read the same numbers, and the same checksums as right or wrong."""
    names = [
        name for name, (kind, crafted) in _CASES.items() if kind == link_type and TCP in crafted and ICMP not in crafted
    ]
    names = [name for name in names if name != "icmp6"]
    datas = [_bytes(name) for name in names] + [_bytes(name)[:-1] + b"?" for name in names if name != "padded"]
    capture = Capture((Interface("x", link_type),), tuple(Frame(0, data, len(data)) for data in datas))
    path = tmp_path / "all.pcapng"
    path.write_bytes(write_capture(capture))
    wanted = sorted(_TCP_FIELDS)
    checks = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    rows = _tshark(path, *checks, *_fields("frame.number", *wanted, "tcp.checksum.status"))
    ours = [
        [
            str(packet.number),
            *(
                {
                    "tcp.srcport": str(packet.source_port),
                    "tcp.dstport": str(packet.destination_port),
                    "tcp.seq_raw": str(packet.sequence),
                    "tcp.ack_raw": str(packet.acknowledgement),
                    "tcp.flags": f"0x{packet.flags:04x}",
                    "tcp.window_size_value": str(packet.window),
                    "tcp.len": str(packet.payload_length),
                }[name]
                for name in wanted
            ),
            "1" if packet.checksum_ok else "0",
        ]
        for packet in decode(read_capture(path.read_bytes())).packets
    ]
    assert ours == rows


def test_scapy_reads_what_we_write(tmp_path: Path) -> None:
    """scapy reads our pcapng too: bytes and times."""
    capture = _annotated()
    path = tmp_path / "trace.pcapng"
    path.write_bytes(write_capture(capture))
    with PcapNgReader(str(path)) as judge:
        seen = list(judge)
    assert [bytes(packet) for packet in seen] == [frame.data for frame in capture.frames]
    assert [int(packet.time * 10**9) for packet in seen] == [frame.time_ns for frame in capture.frames]
