"""tshark reads every capture of the corpus (tests/captures) and must agree with us.

tshark (two passes, `-2`) is asked for streams, `tcp.completeness`, payload, retransmissions and lost segments.
Where it differs, the difference stands in EXCEPTIONS with its reason and the packet to look at; an exception that
is no longer one fails too.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from testbed.analyze import analyze_capture
from testbed.tcp.connection import Connection, Role

sys.path.insert(0, str(Path(__file__).parents[1]))  # the corpus is the package tests/captures
from captures.corpus import CASES, Case
from captures.files import Record, interface, packet, section

pytestmark = pytest.mark.oracle

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is missing: install Debian's package")

FIELDS = ("frame.number", "tcp.stream", "tcp.srcport", "tcp.completeness", "tcp.seq_raw", "tcp.len", "tcp.flags.syn")
MARKS = ("retransmission", "fast_retransmission", "spurious_retransmission", "lost_segment")
PREFERENCES = ("tcp.desegment_tcp_streams:FALSE", "tcp.check_checksum:FALSE", "ip.defragment:TRUE")
PLAIN = bytes.fromhex("d4c3b2a1")  # pcap, little-endian, microseconds
ODD = {"file_cut_short"}


@dataclass(frozen=True)
class Row:
    """A packet as tshark reads it."""

    number: int
    stream: int
    port: int
    completeness: int
    sequence: int
    length: int
    syn: bool
    again: bool
    lost: bool


Said = dict[str, dict[str, object]]  # stream -> what is compared -> value
Key = tuple[str, str, str]  # case, stream, what is compared


def ask_tshark(path: Path) -> list[Row]:
    """All TCP packets of a capture, without those that ICMP quotes."""
    names = [*FIELDS, *(f"tcp.analysis.{mark}" for mark in MARKS)]
    command = ["tshark", "-2", "-n", "-r", str(path), "-Y", "tcp && !icmp && !icmpv6", "-T", "fields"]
    command += [part for preference in PREFERENCES for part in ("-o", preference)]
    command += [part for name in names for part in ("-e", name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 or "cut short" in done.stderr, done.stderr
    return [_row(line.split("\t")) for line in done.stdout.splitlines()]


def ask_at_once(cases: list[Case], path: Path) -> dict[str, list[Row]]:
    """The same of many captures in one run: starting tshark takes far longer than reading one of them.

    They are put into one file at `path`, each with an interface and with addresses of its own, else unchanged.
    """
    parts, first = [section()], [1]
    for index, case in enumerate(cases):
        link_type, records = _records(case.capture.read_bytes())
        parts.append(interface(link_type, case.name))
        parts += [packet(replace(each, data=_moved(each.data, index), interface=index)) for each in records]
        first.append(first[-1] + len(records))
    path.write_bytes(b"".join(parts))
    rows: dict[str, list[Row]] = {case.name: [] for case in cases}
    for row in ask_tshark(path):
        index = bisect_right(first, row.number) - 1
        rows[cases[index].name].append(replace(row, number=row.number - first[index] + 1))
    return rows


def _records(data: bytes) -> tuple[int, list[Record]]:
    """Link type and records of a plain pcap file."""
    (link_type,) = struct.unpack_from("<I", data, 20)
    records, at = [], 24
    while at < len(data):
        seconds, micros, kept, length = struct.unpack_from("<IIII", data, at)
        records.append(Record((seconds * 10**6 + micros) * 1000, data[at + 16 : at + 16 + kept], length))
        at += 16 + kept
    return link_type, records


def _moved(data: bytes, index: int) -> bytes:
    """A frame between other addresses: 198.18.0.x becomes 199.y.y.x, 2001:db8::x becomes 2001:db8:y::x."""
    there = struct.pack(">H", index + 1)
    data = data.replace(b"\xc6\x12\0", b"\xc7" + there)
    return data.replace(b"\x20\x01\x0d\xb8" + bytes(11), b"\x20\x01\x0d\xb8" + there + bytes(9))


def _row(fields: list[str]) -> Row:
    number, stream, port, completeness, sequence, length = (int(field or 0) for field in fields[:6])
    marks = dict(zip(MARKS, fields[7:], strict=True))
    again = any(marks[mark] for mark in MARKS[:3])
    return Row(
        number,
        stream,
        port,
        completeness,
        sequence,
        length,
        fields[6] in ("1", "True"),
        again,
        bool(marks["lost_segment"]),
    )


def said_by_tshark(rows: Iterable[Row]) -> Said:
    """Per stream: what is compared."""
    streams: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        streams[row.stream].append(row)
    return {f"stream {index}": dict(_stream(packets)) for index, (_, packets) in enumerate(sorted(streams.items()))}


def _stream(rows: list[Row]) -> Iterator[tuple[str, object]]:
    yield "packets", tuple(row.number for row in rows)
    yield "completeness", rows[-1].completeness
    yield "copies of SYN and FIN", sum(row.again and not row.length for row in rows)
    for port in sorted({row.port for row in rows}):
        mine = [row for row in rows if row.port == port]
        yield f"bytes from {port}", _unique([(row.sequence + row.syn, row.length) for row in mine if row.length])
        yield f"retransmitted by {port}", tuple(row.number for row in mine if row.again and row.length)
        yield f"lost before {port}", sum(row.lost for row in mine)


def _unique(segments: list[tuple[int, int]]) -> int:
    """How many bytes these segments cover, by place; they lie within 2**31 of the first."""
    covered: set[int] = set()
    for start, length in segments:
        place = (start - segments[0][0] + 2**31) % 2**32
        covered.update(range(place, place + length))
    return len(covered)


def said_by_us(connections: Iterable[Connection]) -> Said:
    """The same of our analysis."""
    return {f"stream {index}": dict(_connection(each)) for index, each in enumerate(connections)}


def _connection(connection: Connection) -> Iterator[tuple[str, object]]:
    handshake = connection.handshake
    yield "packets", tuple(connection.packets)
    yield "completeness", connection.completeness
    copies = handshake.syn_retransmits + handshake.synack_retransmits + connection.teardown.fin_retransmits
    yield "copies of SYN and FIN", copies
    for role, end in ((Role.CLIENT, connection.client), (Role.SERVER, connection.server)):
        flow = connection.flow(role)
        yield f"bytes from {end.port}", flow.bytes
        yield f"retransmitted by {end.port}", tuple(flow.retransmitted_packets)
        yield f"lost before {end.port}", flow.gaps


def differences(case: Case, theirs: Said, ours: Said) -> dict[Key, tuple[object, object]]:
    """What differs: tshark's value and ours. An end that sent nothing has none of anything."""
    found: dict[Key, tuple[object, object]] = {}
    for stream in sorted({*theirs, *ours}):
        there, here = theirs.get(stream, {}), ours.get(stream, {})
        for what in sorted({*there, *here}):
            one, other = there.get(what), here.get(what)
            if (one or 0) != (other or 0):
                found[case.name, stream, what] = (one, other)
    return found


# case: (what differs, as a beginning of its name; the packet to look at; why tshark differs)
EXCEPTIONS: dict[str, list[tuple[str, int, str]]] = {
    "ack_before_syn_ack": [
        ("copies", 4, "a SYN-ACK after a stray ACK of the same side is the first SYN-ACK, not a copy")
    ],
    "bad_ip_checksum": [
        ("retransmitted", 5, "the packet with the bad header checksum never arrived, so nothing in it counts as sent")
    ],
    "bad_tcp_checksum": [
        (
            "retransmitted",
            5,
            "the same for a bad TCP checksum; tshark does not check unless told to, and counts it then too",
        )
    ],
    "client_rebooted": [
        ("", 6, "tshark splits at the SYN; the challenge ACK and the RST after it belong to the old connection")
    ],
    "data_after_fin": [("bytes", 5, "bytes beyond a FIN are not part of the stream")],
    "fast_open_ignored": [("retransmitted", 3, "bytes of a SYN that was not taken come for the first time after it")],
    "fast_open_partly_taken": [("retransmitted", 3, "the same for the part of them that was not taken")],
    "fast_open_syn_lost": [("retransmitted", 4, "the same, after a SYN copy without them")],
    "fast_retransmit_of_unseen": [("lost", 4, "the hole was filled by packet 9")],
    "file_out_of_order": [
        ("lost", 4, "the hole was filled by packet 5"),
        ("retransmitted", 5, "it came late; tshark takes it for a copy as its time is before packet 4's"),
    ],
    "fin_before_data": [("lost", 4, "the hole was filled by packet 5")],
    "fin_with_data_retransmitted": [
        ("copies", 6, "data and FIN sent again in one packet: tshark marks it once, we count both")
    ],
    "half_open_discovery": [
        ("copies", 5, "a SYN-ACK after an ACK of an older connection is the first SYN-ACK, not a copy")
    ],
    "mirrored_twice": [
        ("copies", 2, "a frame that the mirror port doubled (same IP id, 3 us later) was sent once"),
        ("retransmitted", 8, "the same"),
    ],
    "no_flags_no_data": [
        ("retransmitted", 5, "the segment without ACK was dropped, its bytes come for the first time now")
    ],
    "old_syn_in_time_wait": [
        ("", 7, "tshark splits at the SYN; the answer of TIME-WAIT and the RST belong to the old connection")
    ],
    "overlap_at_the_end": [
        ("retransmitted", 5, "half of it was sent before, which tshark marks only where nothing is new")
    ],
    "overlap_fills_the_hole": [("lost", 5, "the hole was filled by packet 6")],
    "overlap_inside": [
        (
            "retransmitted",
            5,
            "tshark calls it out of order, within the first round trip; its bytes were all sent before",
        )
    ],
    "pcapng_unknown_blocks": [("packets", 1, "Wireshark numbers blocks of unknown types as frames; we number packets")],
    "refused_with_data_on_syn": [("bytes", 1, "a refused SYN's bytes were never delivered")],
    "reordered": [("lost", 4, "the hole was filled by packet 5")],
    "rst_in_window_challenged": [("retransmitted", 6, "the forged RST moved the next number that tshark expects")],
    "rst_outside_window": [("copies", 7, "the forged RST moved the next number that tshark expects")],
    "rst_with_text": [("bytes", 6, "the words on a RST are not part of the stream (RFC 9293 section 3.5.3)")],
    "self_connect": [("copies", 2, "the SYN-ACK of a simultaneous open has the number of its SYN (RFC 9293 figure 7)")],
    "simultaneous_close_ack_first": [
        ("copies", 6, "the FIN was sent before the ACK that was captured first"),
        ("lost", 5, "the FIN that seems lost before the ACK is packet 6"),
    ],
    "simultaneous_fast_open": [("copies", 3, "the SYN-ACKs of a simultaneous open have the numbers of their SYNs")],
    "simultaneous_open": [("copies", 3, "the same")],
    "simultaneous_open_bare_ack": [("copies", 3, "the same")],
    "snapped_inside_the_header": [
        ("packets", 1, "tshark reads the ports of a header that was cut; we pass over what has no whole header")
    ],
    "syn_ack_with_wrong_ack": [("copies", 5, "an old SYN-ACK came before; this one is the first for this SYN")],
    "syn_cookie_fresh_numbers": [
        ("copies", 4, "a stateless server's second SYN-ACK has another number: it is no copy")
    ],
    "syn_in_connection_challenged": [
        ("", 4, "tshark splits at the SYN, which was challenged; the old connection goes on")
    ],
    "tunnelled": [("", 1, "tshark looks into tunnels; we pass over them, and say so")],
    "window_probe_taken": [("lost", 7, "tshark does not count the byte of the probe that was taken")],
}


@pytest.fixture(scope="module")
def tshark(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Row]]:
    """What tshark reads in each capture; asked once. Odd files are read as they are."""
    odd = [case for case in CASES if case.capture.read_bytes()[:4] != PLAIN or case.name in ODD]
    rows = ask_at_once([case for case in CASES if case not in odd], tmp_path_factory.mktemp("corpus") / "all.pcapng")
    return rows | {case.name: ask_tshark(case.capture) for case in odd}


@needs_tshark
def test_tshark_agrees_on_the_corpus(tshark: dict[str, list[Row]]) -> None:
    """Streams, completeness, payload, retransmissions and lost segments are equal, but for the exceptions."""
    found: dict[Key, tuple[object, object]] = {}
    for case in CASES:
        ours = analyze_capture(case.capture.read_bytes(), case.name, columns=False).connections
        found |= differences(case, said_by_tshark(tshark[case.name]), said_by_us(ours))
    allowed = {(name, what) for name, exceptions in EXCEPTIONS.items() for what, _, _ in exceptions}
    used = {(name, what) for name, what in allowed for key in found if key[0] == name and key[2].startswith(what)}
    surprising = [
        f"{name}, {stream}, {what}: tshark {theirs}, we {ours}"
        for (name, stream, what), (theirs, ours) in found.items()
        if not any(name == other and what.startswith(beginning) for other, beginning in used)
    ]
    assert not surprising, "\n".join(surprising)
    assert allowed - used == set(), "tshark and we agree by now: no longer exceptions"


@needs_tshark
def test_an_exception_names_a_packet_of_its_capture(tshark: dict[str, list[Row]]) -> None:
    """Each exception says which packet to look at, and tshark has that packet (unless it numbers blocks, too)."""
    for name, exceptions in EXCEPTIONS.items():
        for _, number, why in exceptions:
            assert 1 <= number <= max(row.number for row in tshark[name]), (name, number, why)
