"""tshark reads the same conversations, written by scapy: streams and completeness must agree with ours.

`tshark -2`, since with one pass the completeness lags a packet behind.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import reduce
from operator import or_
from pathlib import Path

import pytest

from testbed.packet import Flags, Packet
from testbed.tcp.trace import trace_connections

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
]

# (client sends?, flags, sequence, acknowledgement, payload length), relative to ISNs that are not 0.
Segment = tuple[bool, str, int, int, int]
OPEN: list[Segment] = [(True, "S", 0, 0, 0), (False, "SA", 0, 1, 0), (True, "A", 1, 1, 0)]
CLOSE: list[Segment] = [(True, "FA", 1, 1, 0), (False, "FA", 1, 2, 0), (True, "A", 2, 2, 0)]
CONVERSATIONS: dict[str, list[Segment]] = {
    "complete": OPEN + CLOSE,
    "with data": [
        *OPEN,
        (True, "PA", 1, 1, 27),
        (False, "A", 1, 28, 0),
        (True, "FA", 28, 1, 0),
        (False, "FA", 1, 29, 0),
    ],
    "refused": [(True, "S", 0, 0, 0), (False, "RA", -5000, 1, 0)],
    "unanswered": [(True, "S", 0, 0, 0), (True, "S", 0, 0, 0)],
    "half-open": [(True, "S", 0, 0, 0), (False, "SA", 0, 1, 0)],
    "reset": [*OPEN, (True, "PA", 1, 1, 5), (False, "RA", 1, 6, 0)],
    "bare reset": [*OPEN, (False, "R", 1, 0, 0)],
    "simultaneous open": [(True, "S", 0, 0, 0), (False, "S", 0, 0, 0), (True, "SA", 0, 1, 0), (False, "SA", 0, 1, 0)],
    "fast open": [(True, "S", 0, 0, 10), (False, "SA", 0, 11, 0), (True, "A", 11, 1, 0)],
    "mid-stream": [(False, "PA", 100, 50, 10), (True, "A", 50, 110, 0), (True, "FA", 50, 110, 0)],
    "port reuse": [*OPEN, *CLOSE, (True, "S", 90_000, 0, 0), (False, "RA", 0, 90_001, 0)],
    "half-close": [*OPEN, (True, "FA", 1, 1, 0), (False, "A", 1, 2, 0), (False, "PA", 1, 2, 9), (True, "A", 2, 10, 0)],
    "syn-ack with fin": [(True, "S", 0, 0, 0), (False, "SFA", 0, 1, 4), (True, "A", 1, 6, 0)],
    "fin without ack": [*OPEN, (True, "F", 1, 0, 0)],
}
LETTERS = {"S": Flags.SYN, "A": Flags.ACK, "F": Flags.FIN, "R": Flags.RST, "P": Flags.PSH}
CLIENT_ISN, SERVER_ISN = 1000, 5000


def segments(conversations: list[list[Segment]]) -> list[tuple[Packet, str]]:
    """All conversations, each on a client port of its own, one after the other."""
    made: list[tuple[Packet, str]] = []
    for index, conversation in enumerate(conversations):
        for segment in conversation:
            made.append((_packet(len(made) + 1, 20000 + index, segment), segment[1]))
    return made


def _packet(number: int, port: int, segment: Segment) -> Packet:
    from_client, letters, sequence, acknowledgement, length = segment
    client, server = ("198.18.0.1", port), ("198.18.0.2", 7456)
    ours, theirs = (CLIENT_ISN, SERVER_ISN) if from_client else (SERVER_ISN, CLIENT_ISN)
    source, destination = (client, server) if from_client else (server, client)
    return Packet(
        number,
        1_700_000_000_000_000_000 + number * 1_000_000,
        *source,
        *destination,
        sequence=(ours + sequence) % 2**32,
        acknowledgement=theirs + acknowledgement if "A" in letters else 0,
        flags=reduce(or_, (LETTERS[letter] for letter in letters), Flags.NONE),
        window=64240,
        payload=b"x" * length,
        payload_length=length,
        ip_id=number,
    )


def write(path: Path, made: list[tuple[Packet, str]]) -> None:
    """The same packets as a capture file, by scapy."""
    inet = pytest.importorskip("scapy.layers.inet")
    link = pytest.importorskip("scapy.layers.l2")
    utils = pytest.importorskip("scapy.utils")
    frames = []
    for packet, letters in made:
        tcp = inet.TCP(
            sport=packet.source_port,
            dport=packet.destination_port,
            seq=packet.sequence,
            ack=packet.acknowledgement,
            flags=letters,
            window=packet.window,
        )
        address = inet.IP(src=packet.source, dst=packet.destination, id=packet.ip_id)
        frame = link.Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / address / tcp / packet.payload
        frame.time = packet.time_ns / 1e9
        frames.append(frame)
    utils.wrpcap(str(path), frames)


def ask_tshark(path: Path) -> list[tuple[list[int], int]]:
    """Per stream: the numbers of its packets, and the completeness it ends with."""
    fields = ["-T", "fields", "-e", "frame.number", "-e", "tcp.stream", "-e", "tcp.completeness"]
    done = subprocess.run(["tshark", "-2", "-r", str(path), *fields], capture_output=True, text=True, check=True)
    streams: dict[str, tuple[list[int], int]] = {}
    for line in done.stdout.splitlines():
        number, stream, completeness = line.split("\t")
        numbers, _ = streams.setdefault(stream, ([], 0))
        numbers.append(int(number))
        streams[stream] = (numbers, int(completeness))
    return list(streams.values())


def test_streams_and_completeness_agree_with_tshark(tmp_path: Path) -> None:
    """The same packets make the same streams, and each ends with the same tcp.completeness."""
    made = segments(list(CONVERSATIONS.values()))
    write(tmp_path / "all.pcap", made)
    ours = trace_connections([packet for packet, _ in made])
    assert [(list(c.packets), c.completeness) for c in ours] == ask_tshark(tmp_path / "all.pcap")


@pytest.mark.parametrize("length", [0, 5])
@pytest.mark.parametrize("before", ["", "S"])
@pytest.mark.parametrize("from_client", [True, False])
def test_every_combination_of_flags_counts_the_same(
    tmp_path: Path, length: int, before: str, from_client: bool
) -> None:
    """Twice the same flags, with and without payload, alone or after a SYN, from either side."""
    conversations: list[list[Segment]] = []
    for flags in range(0x20):
        letters = "".join(letter for letter, bit in LETTERS.items() if flags & bit)
        opening: list[Segment] = [(True, before, 0, 0, 0)] if before else []
        conversations.append([*opening, *[(from_client, letters, 0, 1, length)] * 2])
    made = segments(conversations)
    write(tmp_path / "flags.pcap", made)
    ours = trace_connections([packet for packet, _ in made])
    assert [(list(c.packets), c.completeness) for c in ours] == ask_tshark(tmp_path / "flags.pcap")
