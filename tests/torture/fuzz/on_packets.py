"""Targets: frames and TCP segments, as the analysis takes them, and the emulator with its faults."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from zlib import crc32

from conversations import make_frames
from mutators import frames_mutator, split_frames
from targets import Target

from testbed.agent import forge, frames
from testbed.agent.faults import Faults, Met
from testbed.agent.rewrite import Rewriting, _rewrite_options, read_set, read_strip
from testbed.analysis_json import connection_facts
from testbed.decode import decode, decode_frame
from testbed.decode.options import read_options
from testbed.packet import Flags, Options, Packet
from testbed.pcap.frame import Capture, Frame, Interface, LinkType
from testbed.summary import summarize
from testbed.tcp.follower import Follower


def decode_frames(data: bytes) -> None:
    """Frames of any link type: the first byte chooses it, each frame has its length in front."""
    kinds = list(LinkType)
    kind = kinds[data[0] % len(kinds)] if data else kinds[0]
    found = [Frame(number, one, len(one)) for number, one in enumerate(split_frames(data[1:]))]
    decoded = decode(Capture((Interface("x", link_type=kind),), tuple(found)))
    assert len(decoded.packets) + sum(count for _, count in decoded.skipped) == len(found)


def read_one_frame(data: bytes) -> None:
    """One Ethernet frame as the analysis reads it, and as the emulator does: what both understand, they agree on."""
    packet = decode_frame(Frame(0, data, len(data)), 1, LinkType.ETHERNET)
    segment = frames.parse(data)
    if segment is None:
        return
    assert "ANY" in frames.kinds(segment)
    assert frames.describe(segment, "ANY").isprintable()
    forge.digest(data)
    where = forge.find(data, segment.protocol) if segment.protocol in forge.SMALLEST else None
    if where is not None and isinstance(packet, Packet) and packet.protocol == segment.protocol:
        assert (segment.source_port, segment.destination_port) == (packet.source_port, packet.destination_port)
        assert segment.payload_length in (packet.payload_length, 0)


def read_tcp_options(data: bytes) -> None:
    """A list of TCP options: read, and laid out anew without some of them and with others, which reads back."""
    options = data[: len(data) // 4 * 4][:40]
    before = read_options(options)
    asked = REWRITINGS[crc32(data) % len(REWRITINGS)]
    after = read_options(_rewrite_options(options, asked))
    if not before.malformed:
        assert not after.malformed
        assert all(kind not in asked.strip or not getattr(after, name) for kind, name in NAMES_OF_KINDS.items())


NAMES_OF_KINDS = {2: "mss", 3: "window_scale", 4: "sack_permitted", 5: "sack", 8: "timestamps"}
REWRITINGS = tuple(
    Rewriting(read_strip("x", strip), *read_set("x", changed))
    for strip, changed in (
        (["mss"], {}),
        (["sack", "timestamps", "window-scale", "fast-open"], {}),
        ([], {"mss": 500, "window_scale": 3}),
        (["timestamps"], {"mss": "+1", "window_scale": "-300"}),
    )
)

ROW = struct.Struct("BBbbBBBB")
ENDS = (("198.18.0.2", 40000), ("198.18.0.3", 7456))
OPTIONS = (
    Options(),
    Options(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 0)),
    Options(mss=536),
    Options(timestamps=(5, 1)),
    Options(sack=((1000, 2000), (1, 9))),
    Options(window_scale=255, malformed=True),
    Options(fast_open=b"cookie"),
    Options(fast_open=b"", mptcp=True, md5=True, unknown=(253,)),
)
FLAGS = tuple(map(Flags, range(512)))
WINDOWS = (65535, 0, 1, 500)
STEPS_NS = (1_000, 1_000_000, 300_000_000, 250_000_000_000)


def follow_segments(data: bytes) -> None:
    """TCP segments, whole and well made, that make sense or none: each ends in one connection that can be told of.

    The first byte says how they are followed. Numbers stand relative to where the two ends are.
    """
    how, time_ns = (data[0] if data else 0), 0
    reach = [0xFFFFFFF0 if how & 16 else 1000, 5000]
    packets: list[Packet] = []
    for number, row in enumerate(ROW.iter_unpack(data[1 : 1 + (len(data) - 1) // ROW.size * ROW.size]), 1):
        who, flags, move, ackmove, window, size, options, later = row
        me, peer = who & 1, 1 - (who & 1)
        sequence = reach[me] + (move if abs(move) < 100 else move * 9973)
        ack = reach[peer] + (ackmove if abs(ackmove) < 100 else ackmove * 9973)
        time_ns += STEPS_NS[later & 3]
        body = bytes((size,)) * size
        packets.append(
            Packet(
                number,
                time_ns,
                ENDS[me][0],
                ENDS[me][1] + (who >> 6),
                *ENDS[peer],
                sequence=sequence & 0xFFFFFFFF,
                acknowledgement=ack & 0xFFFFFFFF if flags & 16 else 0,
                flags=FLAGS[flags | (who & 2) << 7],
                window=WINDOWS[window & 3] if window < 128 else window * 256,
                options=OPTIONS[options & 7],
                payload=body[: size >> 1] if who & 32 else body,
                payload_length=size,
                checksum_ok=False if who & 4 else None if who & 8 else True,
                ip_id=number if who & 16 else None,
                length=40 + size,
            )
        )
        reach[me] = max(reach[me], sequence + size + bool(flags & 2) + bool(flags & 1))
    follower = Follower(keep_stream=bool(how & 1), keep_closed=(None, 1)[how >> 1 & 1], zeek_cuts=bool(how & 4))
    followed = [*follower.follow(packets), *follower.finish()]
    assert sorted(number for one in followed for number in one.packets) == [packet.number for packet in packets]
    if followed:
        summarize(followed[-1])
        connection_facts(followed[-1])


RULES = (
    {"action": "rewrite", "kind": "SYN", "strip": ["mss", "sack", "timestamps", "window-scale", "fast-open"]},
    {"action": "rewrite", "kind": "ANY", "set": {"mss": 1, "window_scale": 14, "seq": "+100", "ttl": "-70"}},
    {"action": "rewrite", "kind": "ACK", "set": {"window": 0, "flags": "SYN+FIN", "ack": "-1"}},
    {"action": "reset", "kind": "ANY", "to": "both"},
    {"action": "reset", "kind": "DATA", "passes": False},
    {"action": "icmp", "kind": "ANY", "unreachable": "port"},
    {"action": "icmp", "kind": "ANY", "unreachable": "frag-needed", "mtu": 68, "passes": True},
    {"action": "corrupt", "kind": "ANY", "bits": 3},
    {"action": "corrupt", "kind": "DATA", "contains": "00", "bits": 40},
    {"action": "duplicate", "kind": "HANDSHAKE-ACK", "copies": 3, "by_ns": 5},
    {"action": "drop", "kind": "ANY", "retransmissions": "only", "every": 2},
    {"action": "delay", "kind": "FIN", "by_ns": 7, "per": "scenario", "low": 2, "high": 3},
)
MADE_WHOLE = ("reset", "icmp")  # what these make has nothing of the packet's own errors


def meet_faults(data: bytes) -> None:
    """Ethernet frames before the faults of a link: all that is forged is a packet with right checksums.

    The first byte chooses the fault; all others come behind it.
    """
    faults = _faults(data[0] % len(RULES) if data else 0)
    faults.connections.clear()
    faults.counts.clear()
    for frame in split_frames(data[1:]):
        segment = frames.parse(frame)
        if segment is None:
            continue
        frames.kinds(segment)
        met = faults.meet(segment, frame)
        if met is not None:
            _examine(met)


@cache
def _faults(first: int) -> Faults:
    return Faults([RULES[first], *RULES[:first], *RULES[first + 1 :]])


def _examine(met: Met) -> None:
    made = [frame for _, frame, spared in met.deliveries if spared] + list(met.to_sender)
    assert len(met.entry["made"]) >= len(met.to_sender)
    for frame in made if met.entry["action"] in MADE_WHOLE else ():
        packet = decode_frame(Frame(0, frame, len(frame)), 1, LinkType.ETHERNET)
        assert isinstance(packet, Packet), packet
        assert packet.checksum_ok is not False
        assert packet.ip_checksum_ok
        assert forge.digest(frame)


def any_frames() -> Iterator[bytes]:
    """Frames of every link type: the byte in front chooses, each frame has its length before it."""
    for seed in range(4):
        made = [data for _, data, _ in make_frames(seed, talks=2, bad_luck=0.1) if len(data) < 200][:8]
        for kind, (strip, head) in HEADS.items():
            yield bytes((kind,)) + b"".join(
                bytes((len(one),)) + one for data in made if len(one := head(data) + data[strip:]) < 256
            )


def _kind(data: bytes) -> bytes:
    return data[12:14]


def _family(data: bytes) -> bytes:
    return bytes(3) + (b"\x02" if _kind(data) == b"\x08\0" else b"\x1e")


Header = Callable[[bytes], bytes]

# by the place of the link type in LinkType: what an Ethernet frame loses, and what it gets in front instead
HEADS: dict[int, tuple[int, Header]] = {
    0: (14, lambda data: _family(data)[::-1]),
    1: (0, lambda data: b""),
    2: (14, lambda data: b"\xff\3\0\x21"),
    5: (14, lambda data: b""),
    6: (14, lambda data: b"\x0f\0" + _kind(data)),
    7: (14, _family),
    8: (14, lambda data: bytes(14) + _kind(data)),
    11: (14, lambda data: b""),
    13: (14, lambda data: _kind(data) + bytes(18)),
}


def ethernet() -> Iterator[bytes]:
    """Frames as a host receives them; the byte in front chooses the faults."""
    for seed in range(12):
        made = [data for _, data, _ in make_frames(seed, talks=2, bad_luck=0.1) if len(data) < 200][:8]
        yield bytes((seed,)) + b"".join(bytes((len(data),)) + data for data in made)


def segments() -> Iterator[bytes]:
    """Conversations in the notation of the target `tcp`: who, flags, numbers moved, window, length, options, time."""
    opening = ((0, 2, 0, 0), (1, 18, 0, 0), (0, 16, 0, 0))
    closings = (
        ((0, 17, 0, 0), (1, 17, 0, 0), (0, 16, 0, 0)),
        ((1, 4, 0, 0),),
        ((0, 20, 0, 0), (1, 16, 1, 0)),
        ((0, 17, 0, 0), (1, 16, 0, 0), (1, 24, 0, 9), (1, 17, 0, 0), (0, 16, 0, 0)),
    )
    talk = ((0, 24, 0, 9), (1, 16, 0, 0), (0, 24, -9, 9), (1, 24, 0, 200))
    for number, closing in enumerate(closings):
        for before in (opening, (*opening, *talk), (opening[0], *opening, *talk[2:])):
            rows = (struct.pack("BBbbBBBB", *row[:3], 0, 0, row[3], number, 1) for row in (*before, *closing))
            yield bytes((number,)) + b"".join(rows)


def single_frames() -> Iterator[bytes]:
    """Ethernet frames."""
    for data in ethernet():
        yield from (one for one in split_frames(data[1:]) if len(one) <= 160)


def option_lists() -> Iterator[bytes]:
    """As stacks write them."""
    yield bytes.fromhex("020405b40402080a0000000100000000 01030307".replace(" ", ""))
    yield bytes.fromhex("0101080a0000000500000001 0101050a000003e8000007d0".replace(" ", ""))
    yield bytes.fromhex(
        "020405b422020101 fe04f98900000000 13120000000000000000000000000000000000000101".replace(" ", "")
    )


TARGETS = {
    "decode": Target(decode_frames, any_frames, 256, lambda: frames_mutator),
    "frame": Target(read_one_frame, single_frames, 160),
    "options": Target(read_tcp_options, option_lists, 41),
    "tcp": Target(follow_segments, segments, 97),
    "faults": Target(meet_faults, ethernet, 512, lambda: frames_mutator),
}
