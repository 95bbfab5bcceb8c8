"""Packet faults: matching, counting, each action, what the ledger says, and what is refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from ether import CLIENT, MACS, SERVER, ip, tcp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from testbed.agent import forge, frames
from testbed.agent.fault_actions import ACTIONS
from testbed.agent.faults import Faults, Met
from testbed.agent.following import Connection
from testbed.agent.rewrite import each_option, lay_out
from testbed.decode import decode_frame
from testbed.packet import Flags, Options, Packet
from testbed.pcap.frame import Frame, LinkType

EXAMPLES = settings(max_examples=80, deadline=None)
OTHER = "198.18.0.4"
BACK: dict[str, Any] = {"source": SERVER, "to": CLIENT, "ports": (7456, 40000)}
V6: dict[str, Any] = {"source": "fd00::2", "to": "fd00::3"}
LINUX = bytes.fromhex("020405b4 0402080a0000000100000000 01030307")  # as Linux sends a SYN

SYN, SYN_ACK = tcp("S", 100), tcp("SA", 500, 101, **BACK)
ACK, DATA, FIN = tcp("A", 101, 501), tcp("PA", 101, 501, b"Hola"), tcp("FA", 105, 501)

# what each action needs beside the keys of every fault
NEEDED: dict[str, dict[str, Any]] = {
    "drop": {},
    "delay": {"by_ns": 1},
    "duplicate": {},
    "corrupt": {},
    "rewrite": {"set": {"ttl": 9}},
    "reset": {},
    "icmp": {"unreachable": "port"},
}


def message(action: str = "drop", kind: str = "ANY", source: str | None = CLIENT, **more: Any) -> dict[str, Any]:
    """A fault as wire.apply gives it: the first such packet from the client."""
    return {"rule": 0, "action": action, "kind": kind, "from": source, "low": 1, "high": 1, **NEEDED[action], **more}


def meet(faults: Faults, frame: bytes) -> Met | None:
    """What comes of a frame, as the emulator asks for it."""
    segment = frames.parse(frame)
    return faults.meet(segment, frame) if segment else None


def met(frame: bytes, action: str, *, before: tuple[bytes, ...] = (), **more: Any) -> Met:
    """What comes of a packet that a fault of that action hits; `before`: what came before, in the same connection."""
    faults = Faults([message(action, high=None, source=None, **more)])
    for earlier in before:
        meet(faults, earlier)
    found = meet(faults, frame)
    assert found is not None
    return found


def hits(faults: Faults | dict[str, Any], *arriving: bytes) -> list[int]:
    """Which of the frames (from 1) are hit."""
    here = Faults([faults]) if isinstance(faults, dict) else faults
    return [number for number, frame in enumerate(arriving, 1) if meet(here, frame)]


def read(frame: bytes) -> Packet:
    """The frame as the testbed's own decoder, which knows nothing of the agent, reads it; it must be sound."""
    packet = decode_frame(Frame(0, frame, len(frame)), 1, LinkType.ETHERNET)
    assert isinstance(packet, Packet), packet
    assert packet.checksum_ok is True
    assert packet.length == len(frame) - 14
    if frame[12:14] == b"\x08\x00":
        assert forge.checksum(frame[14 : 14 + (frame[14] & 15) * 4]) == 0
    return packet


def rewritten(frame: bytes, **more: Any) -> Packet:
    """The packet that goes on in place of this one."""
    found = met(frame, "rewrite", **{"set": None, **more})
    assert not found.dropped
    return read(found.deliveries[0][1])


# ---------------------------------------------------------------- matching


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("SYN", [1, 2]),
        ("HANDSHAKE-ACK", [3]),
        ("ACK", [3, 6]),
        ("DATA", [4, 5]),
        ("FIN", [7]),
        ("RST", [8]),
        ("ANY", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
@pytest.mark.parametrize("more", [{}, V6], ids=["ipv4", "ipv6"])
def test_a_fault_means_its_class_only(kind: str, expected: list[int], more: dict[str, Any]) -> None:
    """Of a whole connection as it arrives at the server, exactly the packets of the class; in both families."""
    arriving = [
        tcp("S", 100, **more),
        tcp("S", 100, **more),
        tcp("A", 101, 501, **more),
        tcp("PA", 101, 501, b"Hola", **more),
        tcp("PA", 101, 501, b"Hola", **more),
        tcp("A", 105, 600, **more),
        tcp("FA", 105, 501, **more),
        tcp("R", 106, **more),
    ]
    assert hits(message(kind=kind, high=None, source=more.get("source", CLIENT)), *arriving) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1, 1, [1]), (2, 2, [2]), (2, 3, [2, 3]), (3, None, [3, 4, 5]), (6, 9, [])]
)
def test_a_fault_counts_from_one(low: int, high: int | None, expected: list[int]) -> None:
    """The low-th to the high-th, both included; no high end means all after."""
    assert hits(message(kind="SYN", low=low, high=high), *[SYN] * 5) == expected


def test_every_so_manieth_is_hit() -> None:
    """`every` stands instead of low and high."""
    assert hits(message(kind="SYN", every=2), *[SYN] * 7) == [2, 4, 6]
    assert hits(message(kind="SYN", every=1), *[SYN] * 3) == [1, 2, 3]


def test_a_fault_counts_in_each_connection_or_over_all() -> None:
    """Two connections, mixed: the first SYN of each, or the first of all."""
    other = tcp("S", 100, ports=(40001, 7456))
    assert hits(message(kind="SYN"), SYN, other, SYN, other) == [1, 2]
    assert hits(message(kind="SYN", per="scenario"), SYN, other, SYN, other) == [1]
    assert hits(message(kind="SYN", per="scenario", low=3, high=3), SYN, other, SYN, other) == [3]


def test_over_all_connections_counts_the_rule_s_host_alone() -> None:
    """What another host sends is not counted."""
    assert hits(message(kind="SYN", per="scenario", low=2, high=2), SYN, tcp("S", 1, source=OTHER), SYN) == [3]


def test_hosts_of_one_role_are_counted_together_over_all_connections() -> None:
    """Each has a message of its own, with the number of the one fault in the scenario; other faults count apart."""
    there = tcp("S", 1, source=OTHER)
    both = [message(kind="SYN", per="scenario", low=2, high=2, source=source) for source in (CLIENT, OTHER)]
    assert hits(Faults(both), SYN, there, SYN, there) == [2]
    assert hits(Faults([both[0], {**both[1], "rule": 1}]), SYN, there, SYN, there) == [3, 4]


def test_a_new_connection_between_the_same_ports_counts_anew() -> None:
    """A SYN with another initial sequence number opens another connection (RFC 9293 section 3.4.1)."""
    assert hits(message(kind="SYN"), SYN, SYN, tcp("S", 9000), tcp("S", 9000)) == [1, 3]


def test_a_syn_ack_with_a_fresh_number_for_the_same_syn_counts_on() -> None:
    """A listener that forgot the half-open connection picks another number; it still answers the same SYN."""
    fresh, later = tcp("SA", 777, 101, **BACK), tcp("SA", 900, 301, **BACK)
    assert hits(message(kind="SYN-ACK", source=SERVER), SYN_ACK, fresh, later, later) == [1, 3]


@pytest.mark.parametrize(
    ("arriving", "expected"),
    [
        ([SYN, ACK, ACK], [2]),
        ([SYN, DATA, ACK], [2]),  # data can complete the handshake
        ([SYN, tcp("RA", 101, 501), ACK], [3]),
        ([SYN, SYN, ACK], [3]),
        ([ACK, DATA], []),  # no SYN seen: nobody's handshake
        ([SYN, ACK, tcp("S", 9000), tcp("A", 9001, 700)], [2, 4]),
        ([SYN_ACK, tcp("A", 501, 101, **BACK)], []),
    ],
)
def test_the_handshake_ack_is_the_first_ack_after_the_syn(arriving: list[bytes], expected: list[int]) -> None:
    """Seen from the arriving direction alone, once in each connection."""
    assert hits(message(kind="HANDSHAKE-ACK", high=None, source=None), *arriving) == expected


def test_a_fault_is_for_one_sender() -> None:
    """`from` is the sender's address; null is any."""
    assert hits(message(kind="SYN", source=OTHER), SYN, tcp("S", 1, source=OTHER)) == [2]
    assert hits(message(kind="SYN", source=None), SYN, tcp("S", 1, source=OTHER)) == [1, 2]


@pytest.mark.parametrize("retransmissions", ["too", "never", "only"])
@pytest.mark.parametrize("start", [100, 2**32 - 3], ids=["low", "wraps"])
def test_a_retransmission_takes_numbers_already_sent(retransmissions: str, start: int) -> None:
    """SYN, data and FIN, alone or mixed with new data, also where the numbers wrap; a bare ACK never."""

    def at(number: int) -> int:
        return (start + number) & 0xFFFFFFFF

    arriving = {
        tcp("S", at(0)): "first",
        tcp("S", at(0), options=LINUX): "again",
        tcp("A", at(1), 501): "first",
        tcp("PA", at(1), 501, b"Hola"): "first",
        tcp("A", at(1), 501, options=LINUX): "first",
        tcp("PA", at(5), 501, b"Hola"): "first",
        tcp("A", at(1), 501, b"Hola"): "again",
        tcp("PA", at(8), 501, b"amigo"): "again",  # its first octet is old
        tcp("A", at(12), 501): "first",  # a keep-alive of Linux
        tcp("A", at(12), 501, b"\0"): "again",  # one with a byte of garbage (RFC 9293 section 3.8.4)
        tcp("FA", at(13), 501): "first",
        tcp("FA", at(13), 502): "again",
        tcp("R", at(13)): "first",
    }
    wanted = {"too": ("first", "again"), "never": ("first",), "only": ("again",)}[retransmissions]
    expected = [number for number, says in enumerate(arriving.values(), 1) if says in wanted]
    assert hits(message(high=None, retransmissions=retransmissions), *arriving) == expected


def test_a_syn_ack_with_a_fresh_number_is_no_retransmission() -> None:
    """And what its connection sends is measured from there, whichever of the numbers is the higher."""
    for fresh in (77, 7777):
        rule = message(high=None, retransmissions="only", source=SERVER)
        arriving = (SYN_ACK, SYN_ACK, tcp("SA", fresh, 101, **BACK), tcp("PA", fresh + 1, 101, b"x", **BACK))
        assert hits(rule, *arriving, tcp("PA", fresh + 1, 101, b"x", **BACK)) == [2, 5]


def test_data_of_a_connection_whose_start_was_not_seen() -> None:
    """The first packet seen is the first sent, as far as anybody can tell."""
    assert hits(message(kind="DATA", high=None, retransmissions="only"), DATA, DATA) == [2]


def test_a_fault_can_mean_certain_bytes() -> None:
    """Of the payload alone, not of the header or of what Ethernet pads; and only those are counted."""
    rule = message(kind="ANY", contains=b"ola".hex(), low=2, high=2)
    padded = tcp("PA", 101, 501, b"Hey") + b"Hola"
    arriving = (tcp("S", int.from_bytes(b"Hola", "big")), DATA, padded, tcp("PA", 105, 501, b"ho"), DATA)
    assert hits(rule, *arriving) == [5]


def test_udp_is_of_class_any_alone() -> None:
    """And its payload can be meant."""
    datagram = ip(17, struct.pack("!HHHH", 5, 6, 12, 0) + b"Hola")
    assert hits(message(high=None), datagram, datagram) == [1, 2]
    assert hits(message(contains=b"Hola".hex()), datagram) == [1]
    assert hits(message(retransmissions="only"), datagram, datagram) == []
    for kind in set(frames.KINDS) - {"ANY"}:
        assert hits(message(kind=kind), datagram) == []


WRAPPED = ip(60, struct.pack("!BB6x", 6, 0) + tcp("S", **V6)[54:], **V6)
FRAGMENTS = [
    ip(6, tcp("S")[34:], fragment=0x2000),  # the first: more come
    ip(6, b"\xff" * 40, fragment=185),
    ip(44, struct.pack("!BBHI", 6, 0, 1, 7) + tcp("S", **V6)[54:], **V6),
    ip(44, struct.pack("!BBHI", 6, 0, 185 << 3, 7) + b"\xff" * 40, **V6),
]
ODD = [WRAPPED, *FRAGMENTS, tcp("S")[:46] + b"\x40" + tcp("S")[47:], tcp("S")[:-1], ip(1, b"\x08\0\0\0\0\0\0\0")]


@pytest.mark.parametrize("frame", ODD)
def test_what_is_no_whole_tcp_packet_is_of_class_any_alone(frame: bytes) -> None:
    """Behind extension headers, in fragments, malformed, cut, of another protocol: it can be dropped, not rewritten."""
    assert hits(message(high=None, source=None), frame) == [1]
    assert hits(message(kind="SYN", source=None), frame) == []
    for action in ("rewrite", "reset", "corrupt"):
        assert hits(message(action, source=None), frame) == []


@pytest.mark.parametrize("frame", [b"", MACS + b"\x88\xb5canary", MACS + b"\x08\x06" + b"\0" * 28])
def test_what_is_no_ip_packet_is_met_by_nobody(frame: bytes) -> None:
    """Also a VLAN tag hides a packet: whatever the frame is, it goes on untouched."""
    tagged = tcp("S")[:12] + b"\x81\x00\x00\x05" + tcp("S")[12:]
    assert frames.parse(frame) is frames.parse(tagged) is None
    assert forge.find(tagged, 6) is None


# ---------------------------------------------------------------- counting


def test_all_rules_count_and_the_first_that_hits_acts() -> None:
    """A packet that one rule drops is still counted by the others."""
    faults = Faults([message(kind="SYN"), message(kind="ANY", low=2, high=2, rule=1), message("delay", high=1, rule=2)])
    found = [meet(faults, SYN) for _ in range(3)]
    assert [here and here.entry["rule"] for here in found] == [0, 1, None]
    assert found[0] is not None
    assert found[0].entry["says"] == "SYN 198.18.0.2:40000 > 198.18.0.3:7456 seq 100 ack 0 len 0"


def test_a_rule_counts_only_what_it_can_be_done_to() -> None:
    """The first packet that can be reset is the first of the rule."""
    datagram = ip(17, struct.pack("!HHHH", 5, 6, 8, 0))
    assert hits(message("reset", per="scenario"), datagram, SYN) == [2]


@EXAMPLES
@given(
    st.lists(st.sampled_from([SYN, ACK, DATA, FIN, tcp("S", 100, ports=(1, 2))]), max_size=12),
    st.integers(1, 4),
    st.integers(0, 4),
    st.sampled_from(["connection", "scenario"]),
)
def test_a_range_hits_what_all_hits_there(arriving: list[bytes], low: int, more: int, per: str) -> None:
    """low..high of a class are the packets low to high among those that a rule for all of them hits."""
    whole = hits(message(kind="DATA", high=None, per=per), *arriving)
    assert hits(message(kind="DATA", low=low, high=low + more, per=per), *arriving) == whole[low - 1 : low + more]


# ---------------------------------------------------------------- actions


def test_a_dropped_packet_goes_nowhere() -> None:
    """No delivery, nothing made, and the entry names the packet."""
    found = met(DATA, "drop")
    assert (found.deliveries, found.to_sender, found.dropped) == ((), (), True)
    assert found.entry["packet"] == forge.digest(DATA)
    assert (found.entry["action"], found.entry["passed"], found.entry["made"]) == ("drop", False, [])


def test_a_delayed_packet_goes_on_unchanged() -> None:
    """Later, and still under chance."""
    found = met(DATA, "delay", by_ns=7)
    assert (found.deliveries, found.dropped) == (((7, DATA, False),), False)
    assert (found.entry["passed"], found.entry["made"]) == (True, [])


def test_copies_follow_one_another() -> None:
    """Each `by_ns` behind the one before, spared by chance; each is in the ledger."""
    found = met(DATA, "duplicate", copies=2, by_ns=5)
    assert found.deliveries == ((0, DATA, False), (5, DATA, True), (10, DATA, True))
    assert met(DATA, "duplicate").deliveries == ((0, DATA, False), (0, DATA, True))
    copy = {"to": "receiver", "packet": forge.digest(DATA), "says": found.entry["says"]}
    assert (found.entry["passed"], found.entry["made"]) == (True, [copy, copy])


@EXAMPLES
@example(bytes(6), b"", 16, {})  # regular flips cancel out here
@example(bytes(6), b"", 48, {})
@given(
    st.binary(max_size=40),
    st.binary(max_size=5).map(lambda part: part * 4),
    st.integers(1, 500),
    st.sampled_from([{}, V6]),
)
def test_a_corrupted_packet_has_so_many_bits_flipped(
    payload: bytes, options: bytes, bits: int, more: dict[str, Any]
) -> None:
    """In the payload, else in the header behind the ports; the checksum stays, and is wrong for certain."""
    frame = sealed(tcp("PA", 101, 501, payload, options=options, **more))
    (_, there, spared), *_ = met(frame, "corrupt", bits=bits).deliveries
    start = 34 if frame[12] == 8 else 54
    flipped = [at for at in range(len(frame)) for bit in range(8) if (frame[at] ^ there[at]) >> bit & 1]
    place = range(len(frame) - len(payload), len(frame)) if payload else range(start + 4, len(frame))
    assert set(flipped) <= set(place) - ({start + 16, start + 17} if not payload else set())
    room = 8 * (len(place) - 2 * (not payload))
    assert len(flipped) == bits if bits < room else room - 1 <= len(flipped) <= room
    packet = decode_frame(Frame(0, there, len(there)), 1, LinkType.ETHERNET)
    assert not isinstance(packet, Packet) or packet.checksum_ok is False  # no packet: the data offset was hit
    assert not spared


def sealed(frame: bytes) -> bytes:
    """The frame with right checksums (those of `ether` are 0)."""
    start = 34 if frame[12:14] == b"\x08\x00" else 54
    return forge.seal(frame[:start], frame[start:], 16)


def test_a_corrupted_datagram_has_a_wrong_checksum() -> None:
    """UDP's payload can be corrupted; an empty datagram cannot."""
    empty, full = (ip(17, struct.pack("!HHHH", 5, 6, 8 + len(data), 0) + data) for data in (b"", b"Hola"))
    there = met(full, "corrupt", bits=3).deliveries[0][1]
    assert there[:42] == full[:42]
    assert sum((here ^ now).bit_count() for here, now in zip(there, full, strict=True)) == 3
    assert hits(message("corrupt"), empty) == []


@pytest.mark.parametrize(
    ("strip", "left"),
    [
        (["timestamps"], "020405b4 01010402 01030307"),
        (["sack"], "020405b4 0101080a0000000100000000 01030307"),
        (["sack", "timestamps"], "020405b4 01030307"),
        (["mss"], "0402080a0000000100000000 01030307"),
        (["window-scale"], "020405b4 0402080a0000000100000000"),
        (["mss", "sack", "timestamps", "window-scale", "fast-open"], ""),
    ],
)
def test_stripped_options_leave_what_linux_sends_without_them(strip: list[str], left: str) -> None:
    """Options are laid out anew (tcp_options_write in Linux's tcp_output.c), and the header is shorter."""
    there = met(tcp("S", 100, options=LINUX), "rewrite", set=None, strip=strip).deliveries[0][1]
    assert there[54:] == bytes.fromhex(left)
    assert there[46] >> 4 == 5 + len(bytes.fromhex(left)) // 4
    read(there)


@pytest.mark.parametrize("cookie", ["2202 0101", "220a 0102030405060708 0101", "fe04f989", "fe0cf9890102030405060708"])
def test_fast_open_is_stripped_in_both_its_forms(cookie: str) -> None:
    """Option 34, and experiment 254 with its magic number (RFC 7413 section 4.1.1); other experiments stay."""
    options = bytes.fromhex("020405b4" + cookie)
    assert rewritten(tcp("S", 100, options=options), strip=["fast-open"]).options == Options(mss=1460)
    other = tcp("S", 100, options=bytes.fromhex("fe04abcd"))
    assert met(other, "rewrite", set=None, strip=["fast-open"]).entry["passed"] is True


@pytest.mark.parametrize("tail", ["02130405", "02010405", "02000405", "01010102"])
def test_what_has_no_sensible_length_is_no_option(tail: str) -> None:
    """It stays as it is, whatever its kind."""
    frame = tcp("S", 100, options=bytes.fromhex(tail))
    assert met(frame, "rewrite", set=None, strip=["mss"]).deliveries[0][1] == frame
    before = tcp("S", 100, options=bytes.fromhex("03030701" + tail))
    there = met(before, "rewrite", set=None, strip=["mss", "window-scale"]).deliveries[0][1]
    assert there[54:].strip(b"\1\0") == bytes.fromhex(tail).strip(b"\1\0")


def test_stripping_sack_takes_the_blocks_of_data_packets_too() -> None:
    """Kinds 4 and 5 (RFC 2018)."""
    blocks = bytes.fromhex("0101050a 00000001 00000002 0101080a 00000001 00000002")
    there = met(tcp("A", 1, 1, options=blocks), "rewrite", set=None, strip=["sack"]).deliveries[0][1]
    assert there[54:] == blocks[12:]


def test_a_rewrite_that_finds_nothing_lets_the_packet_pass() -> None:
    """Not even its wrong checksum is touched, nor its padding: only the header was to be changed."""
    frame = tcp("S", 100) + b"\0" * 6
    found = met(frame, "rewrite", set=None, strip=["mss"])
    assert found.deliveries == ((0, frame, False),)
    assert (found.entry["passed"], found.entry["made"]) == (True, [])


@pytest.mark.parametrize(
    ("asked", "field", "expected"),
    [
        ({"window": 0}, "window", 0),
        ({"window": 1}, "window", 1),
        ({"window": "+1"}, "window", 65535),  # what is no sequence number stops at its ends
        ({"window": "-65534"}, "window", 1),
        ({"seq": 7}, "sequence", 7),
        ({"seq": "+100"}, "sequence", 201),
        ({"seq": "-102"}, "sequence", 2**32 - 1),
        ({"ack": "+1"}, "acknowledgement", 502),
        ({"ack": 0xFFFFFFFF}, "acknowledgement", 0xFFFFFFFF),
        ({"ttl": 1}, "ttl", 1),
        ({"ttl": "-1"}, "ttl", 63),
        ({"ttl": "-100"}, "ttl", 0),
        ({"flags": "SYN+ECE"}, "flags", Flags.SYN | Flags.ECE),
        ({"flags": "FIN+AE"}, "flags", Flags.FIN | Flags.AE),
        ({"flags": ""}, "flags", Flags.NONE),
    ],
)
@pytest.mark.parametrize("more", [{}, V6], ids=["ipv4", "ipv6"])
def test_a_field_is_set_and_nothing_else(
    asked: dict[str, Any], field: str, expected: int, more: dict[str, Any]
) -> None:
    """Absolute or relative; all else of the packet is as it was."""
    frame = sealed(tcp("FPA", 101, 501, b"Hola" * 300, options=LINUX, **more))
    change: dict[str, Any] = {field: expected}
    assert rewritten(frame, set=asked) == replace(read(frame), **change)


@pytest.mark.parametrize(
    ("options", "asked", "left"),
    [
        (LINUX.hex(), {"mss": 536}, "02040218 0402080a0000000100000000 01030307"),
        (LINUX.hex(), {"mss": "-60"}, "02040578 0402080a0000000100000000 01030307"),
        (LINUX.hex(), {"window_scale": 0}, "020405b4 0402080a0000000100000000 01030300"),
        ("030307 01 020405b4", {"window_scale": 15, "mss": 1}, "03030f 01 02040001"),  # where they are
        ("01010402", {"mss": 536}, "02040218 01010402"),
        ("", {"window_scale": 7}, "01030307"),
        ("", {"mss": "+1"}, ""),
        ("0101080a0000000100000000" * 3, {"mss": 1}, "0101080a0000000100000000" * 3 + "02040001"),
        ("1428" + "11" * 38, {"mss": 1}, "1428" + "11" * 38),  # no room
        ("02010405", {"mss": 1}, "02040001 02010405"),  # a length that makes no sense is nobody's option
        ("02030501", {"mss": 1}, "02040001 01020305"),
    ],
)
def test_options_are_set_where_they_are_or_added(options: str, asked: dict[str, Any], left: str) -> None:
    """A value changes in place; what the packet lacks is added where there is room, unless it is relative."""
    there = met(tcp("S", 100, options=bytes.fromhex(options)), "rewrite", set=asked).deliveries[0][1]
    assert sorted(option for _, option in each_option(there[54:])) == sorted(
        option for _, option in each_option(bytes.fromhex(left))
    )
    if len(options) < 60:
        assert there[54:] == bytes.fromhex(left)


def test_ip_options_stay() -> None:
    """Only the TTL of the IP header is ever changed, and its checksum is right."""
    plain = tcp("S", 100, options=LINUX)
    frame = plain[:14] + b"\x46" + plain[15:34] + b"\x94\x04\0\0" + plain[34:]
    frame = sealed_with(frame, 38)
    there = met(frame, "rewrite", strip=["mss"], set={"ttl": 3}).deliveries[0][1]
    assert there[34:38] == b"\x94\x04\0\0"
    assert read(there) == replace(
        read(frame), ttl=3, length=read(frame).length - 4, options=replace(read(frame).options, mss=None)
    )


def sealed_with(frame: bytes, start: int) -> bytes:
    """The frame with right lengths and checksums, its TCP header at that place."""
    return forge.seal(frame[:start], frame[start:], 16)


OPTION = st.one_of(
    st.just(b"\x01"),
    st.builds(lambda kind, body: bytes((kind, 2 + len(body))) + body, st.integers(2, 255), st.binary(max_size=12)),
)
OPTIONS = st.one_of(st.lists(OPTION, max_size=12).map(b"".join), st.binary(max_size=40)).map(
    lambda options: options[:40] + bytes(-len(options[:40]) % 4)
)


@EXAMPLES
@given(
    OPTIONS,
    st.sets(st.sampled_from(["mss", "sack", "timestamps", "window-scale", "fast-open"])),
    st.fixed_dictionaries({}, optional={"mss": st.integers(0, 65535), "window_scale": st.integers(0, 255)}),
    st.binary(max_size=9),
    st.sampled_from([{}, V6]),
)
def test_whatever_the_options_the_packet_stays_sound(
    options: bytes, strip: set[str], asked: dict[str, int], payload: bytes, more: dict[str, Any]
) -> None:
    """Any octets for options: the payload stays, the checksum is right, and what is stripped is gone."""
    frame = sealed(tcp("SA", 1, 2, payload, options=options, **more))
    packet = rewritten(frame, strip=[*strip], set={**asked, "window": 9})
    before = read(frame)
    assert (packet.payload, packet.sequence, packet.window) == (payload, 1, 9)
    assert len(packet.options.unknown) <= len(before.options.unknown)
    if not before.options.malformed:
        assert not packet.options.malformed
        if "timestamps" in strip:
            assert packet.options.timestamps is None
        if "sack" in strip:
            assert packet.options.sack == ()
            assert not packet.options.sack_permitted
        if "mss" not in asked:
            assert packet.options.mss in ((None,) if "mss" in strip else (before.options.mss,))


@EXAMPLES
@given(st.lists(st.binary(min_size=1, max_size=38).map(lambda body: bytes((9, 1 + len(body))) + body[1:]), max_size=8))
def test_options_laid_out_are_those_options(options: list[bytes]) -> None:
    """Padding adds nothing but NOPs and the end, and comes to a multiple of four."""
    options = [bytes((9, len(option))) + option[2:] for option in options if len(option) > 1]
    laid = lay_out(options)
    assert [option for _, option in each_option(laid)] == options
    assert len(laid) % 4 == 0
    assert len(laid) <= max(40, (len(b"".join(options)) + 3) // 4 * 4)


# ---------------------------------------------------------------- forged


@pytest.mark.parametrize("more", [{}, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("flags", "payload", "passes", "sequence", "acknowledgement"),
    [
        ("S", b"", True, 101, 0),  # the receiver is in SYN-RECEIVED and expects the number behind the SYN
        ("S", b"", False, 100, 0),
        ("SA", b"", True, 101, 500),
        ("SA", b"", False, 100, 500),  # in SYN-SENT the acknowledgement counts
        ("PA", b"Hola", True, 104, 500),
        ("PA", b"Hola", False, 100, 500),
        ("FPA", b"Hola", True, 105, 500),
        ("A", b"", True, 100, 500),
        ("A", b"", False, 100, 500),
    ],
)
def test_a_reset_to_the_receiver_is_in_sequence(
    flags: str, payload: bytes, passes: bool, sequence: int, acknowledgement: int, more: dict[str, Any]
) -> None:
    """Its number is the one that the receiver expects next (RFC 5961 section 3.2), behind the packet if that passes."""
    frame = tcp(flags, 100, 500, payload, **more)  # without the flag the field means nothing
    found = met(frame, "reset", to="receiver", passes=passes)
    *before, (later_ns, forged, spared) = found.deliveries
    packet = read(forged)
    assert before == ([(0, frame, False)] if passes else [])
    assert (later_ns, spared, found.dropped, found.to_sender) == (0, True, not passes, ())
    assert forged[:12] == frame[:12]
    assert (packet.source, packet.source_port, packet.destination_port) == (more.get("source", CLIENT), 40000, 7456)
    assert (packet.sequence, packet.acknowledgement) == (sequence, acknowledgement)
    assert packet.flags == (Flags.RST | Flags.ACK if "A" in flags else Flags.RST)


def test_a_reset_behind_a_packet_that_fills_a_hole_is_behind_all_that_was_sent() -> None:
    """The receiver kept what came before, and expects the highest number then."""
    found = met(DATA, "reset", before=(DATA, tcp("PA", 105, 501, b"amigo")), to="receiver", retransmissions="only")
    assert read(found.deliveries[1][1]).sequence == 110
    alive = met(tcp("A", 109, 501), "reset", before=(tcp("PA", 105, 501, b"amigo"),), to="receiver", kind="ACK")
    assert read(alive.deliveries[1][1]).sequence == 110  # a keep-alive's own number is an old one


@pytest.mark.parametrize("more", [{}, V6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    ("flags", "payload", "expected"),
    [
        ("S", b"", (0, 101, Flags.RST | Flags.ACK)),  # SYN-SENT takes only an RST that acknowledges its SYN
        ("S", b"early", (0, 106, Flags.RST | Flags.ACK)),
        ("F", b"", (0, 101, Flags.RST | Flags.ACK)),
        ("SA", b"", (500, 0, Flags.RST)),
        ("PA", b"Hola", (500, 0, Flags.RST)),
        ("FA", b"", (500, 0, Flags.RST)),
    ],
)
def test_a_reset_to_the_sender_is_what_a_closed_port_answers(
    flags: str, payload: bytes, expected: tuple[int, int, Flags], more: dict[str, Any]
) -> None:
    """RFC 9293 section 3.10.7.1; from the receiver's addresses of both layers, beside the packet."""
    frame = tcp(flags, 100, 500 if "A" in flags else 0, payload, **more)
    found = met(frame, "reset", to="sender")
    (forged,) = found.to_sender
    packet = read(forged)
    assert found.deliveries == ((0, frame, False),)
    assert (forged[:6], forged[6:12]) == (frame[6:12], frame[:6])
    assert (packet.source, packet.destination) == (more.get("to", SERVER), more.get("source", CLIENT))
    assert (packet.source_port, packet.destination_port) == (7456, 40000)
    assert (packet.sequence, packet.acknowledgement, packet.flags) == expected


def test_resets_wrap() -> None:
    """Behind the last number is 0."""
    last = tcp("S", 2**32 - 1)
    found = met(last, "reset", to="both")
    assert read(found.deliveries[1][1]).sequence == 0
    assert read(found.to_sender[0]).acknowledgement == 0


@pytest.mark.parametrize(
    ("name", "mtu", "ipv4", "ipv6"),
    [
        ("port", None, (3, 3), (1, 4)),
        ("host", None, (3, 1), (1, 3)),
        ("net", None, (3, 0), (1, 0)),
        ("admin", None, (3, 13), (1, 1)),
        ("frag-needed", 1280, (3, 4), (2, 0)),
    ],
)
@pytest.mark.parametrize("length", [0, 4, 520, 1440])
def test_an_unreachable_quotes_the_packet(
    name: str, mtu: int | None, ipv4: tuple[int, int], ipv6: tuple[int, int], length: int
) -> None:
    """RFC 792 and 4443: the type, the next hop's MTU, and as much of the packet as fits 576 or 1,280 bytes."""
    for more, kind, most in (({}, ipv4, 576), (V6, ipv6, 1280)):
        frame = tcp("PA", 101, 501, b"x" * length, **more)
        found = met(frame + b"\0" * 4, "icmp", unreachable=name, mtu=mtu)
        (forged,) = found.to_sender
        packet = read(forged)
        header = 8 + (20 if not more else 40)
        assert packet.icmp == kind
        assert packet.length == min(most, header + len(frame) - 14)
        assert packet.payload == frame[14 : 14 + most - header]
        assert forged[14 + header - 4 : 14 + header] == struct.pack("!I", mtu or 0)
        assert (packet.source, packet.destination) == (more.get("to", SERVER), more.get("source", CLIENT))
        assert (forged[:6], forged[6:12]) == (frame[6:12], frame[:6])
        assert (found.deliveries, found.dropped) == ((), True)


def test_an_unreachable_may_let_the_packet_pass() -> None:
    """As a router's that warns, and as a forger's beside the path."""
    found = met(DATA, "icmp", passes=True)
    assert (found.deliveries, found.dropped, found.entry["passed"]) == (((0, DATA, False),), False, True)


def test_no_icmp_error_answers_what_must_not_be_answered() -> None:
    """RFC 1122 section 3.2.2: no ICMP error, no later fragment, nothing sent to many."""
    error = ip(1, b"\x03\x03" + bytes(6) + tcp("S")[14:])
    many = b"\xff" * 6 + ip(17, struct.pack("!HHHH", 5, 6, 8, 0))[6:]
    assert hits(message("icmp", high=None), error, many, FRAGMENTS[1]) == []
    assert hits(message("icmp", source=V6["source"]), FRAGMENTS[3]) == []
    assert hits(message("icmp"), ip(17, struct.pack("!HHHH", 5, 6, 8, 0))) == [1]


# ---------------------------------------------------------------- the ledger


@pytest.mark.parametrize(
    ("action", "more", "made"),
    [
        ("drop", {}, []),
        ("delay", {}, []),
        ("duplicate", {}, ["receiver DATA 198.18.0.2:40000 > 198.18.0.3:7456 seq 101 ack 501 len 4"]),
        ("corrupt", {}, ["receiver DATA 198.18.0.2:40000 > 198.18.0.3:7456 seq 101 ack 501 len 4"]),
        ("rewrite", {"set": {"seq": 9}}, ["receiver DATA 198.18.0.2:40000 > 198.18.0.3:7456 seq 9 ack 501 len 4"]),
        (
            "rewrite",
            {"set": {"flags": "SYN+ACK"}},
            ["receiver SYN-ACK 198.18.0.2:40000 > 198.18.0.3:7456 seq 101 ack 501 len 4"],
        ),
        (
            "reset",
            {"to": "both"},
            [
                "receiver RST 198.18.0.2:40000 > 198.18.0.3:7456 seq 105 ack 501 len 0",
                "sender RST 198.18.0.3:7456 > 198.18.0.2:40000 seq 501 ack 0 len 0",
            ],
        ),
        ("icmp", {"unreachable": "admin"}, ["sender ICMP admin 198.18.0.3 > 198.18.0.2"]),
    ],
)
def test_the_ledger_names_what_was_made(action: str, more: dict[str, Any], made: list[str]) -> None:
    """In words and by its bytes: each frame delivered or sent back that is not the packet itself is listed, once."""
    found = met(DATA, action, kind="DATA", **more)
    there = [frame for _, frame, _ in found.deliveries] + [*found.to_sender]
    if found.entry["passed"]:
        assert there.pop(0) == DATA
    assert [f"{made['to']} {made['says']}" for made in found.entry["made"]] == made
    assert [made["packet"] for made in found.entry["made"]] == [forge.digest(frame) for frame in there]
    assert found.entry["says"] == "DATA 198.18.0.2:40000 > 198.18.0.3:7456 seq 101 ack 501 len 4"
    assert set(found.entry) == {"rule", "action", "says", "packet", "passed", "made"}


def test_what_is_icmp_itself_can_be_doubled() -> None:
    """An echo request that a fault for any packet means."""
    found = met(ip(1, b"\x08\0\0\0\0\0\0\0"), "duplicate")
    assert found.entry["made"][0]["says"] == found.entry["says"] == "ANY 198.18.0.2:0 > 198.18.0.3:0 protocol 1"


def test_the_handshake_ack_keeps_its_class() -> None:
    """What goes on in its place is still that."""
    found = met(ACK, "rewrite", before=(SYN,), kind="HANDSHAKE-ACK", set={"window": 3})
    assert found.entry["made"][0]["says"].startswith("HANDSHAKE-ACK 198.18.0.2:40000")


def test_a_digest_is_of_the_ip_packet_alone() -> None:
    """Neither the addresses of Ethernet nor its padding change it; a packet's every octet does."""
    for frame in (DATA, tcp("S", **V6)):
        assert forge.digest(frame) == forge.digest(b"\xff" * 12 + frame[12:] + b"\0" * 6)
        others = {
            forge.digest(frame[:at] + bytes((frame[at] ^ 0x80,)) + frame[at + 1 :]) for at in range(20, len(frame))
        }
        assert len(others) == len(frame) - 20
        assert len(forge.digest(frame)) == 16


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"action": "lose"}, "link.faults[1].action is 'lose'; it is one of drop, delay"),
        ({"action": None}, "link.faults[1].action is None; it is one of drop, delay"),
        ({"kind": "SYNACK"}, "link.faults[1].kind is 'SYNACK'; it is one of SYN, SYN-ACK"),
        ({"from": "x"}, "link.faults[1].from has 'x', which is no IPv4 or IPv6 address"),
        ({"from": 7}, "link.faults[1].from has 7"),
        ({"low": 0}, "link.faults[1].low is 0; packets are counted from 1"),
        ({"low": 3, "high": 2}, "link.faults[1].high is 2; it is low, which is 3, or more, or null"),
        ({"every": 0}, "link.faults[1].every is 0; packets are counted from 1"),
        ({"every": 1.5}, "link.faults[1].every is 1.5"),
        ({"retransmissions": "yes"}, "link.faults[1].retransmissions is 'yes'; it is one of too, never, only"),
        ({"per": "host"}, "link.faults[1].per is 'host'; it is one of connection, scenario"),
        ({"contains": "xyz"}, "link.faults[1].contains is 'xyz'; it is bytes in hex, such as 486f6c61"),
        ({"contains": ""}, "link.faults[1].contains is ''"),
        ({"mtu": 9}, "link.faults[1].mtu is no key of this action; drop has no keys of its own"),
        ({"action": "delay", "mtu": 9}, "link.faults[1].mtu is no key of this action; delay has by_ns"),
        ({"action": "delay"}, "link.faults[1].by_ns is missing; delay needs it"),
        ({"action": "delay", "by_ns": -1}, "link.faults[1].by_ns is -1; it is a whole number, 0 or more"),
        ({"action": "duplicate", "copies": 0}, "link.faults[1].copies is 0; it is a whole number, 1 to 1000"),
        ({"action": "corrupt", "bits": True}, "link.faults[1].bits is True; it is a whole number, 1 or more"),
        ({"action": "rewrite"}, "link.faults[1].set is missing; rewrite needs strip or set"),
        ({"action": "rewrite", "set": {"window": None}}, "link.faults[1].set is missing"),
        ({"action": "rewrite", "strip": ["tfo"]}, "link.faults[1].strip is ['tfo']; it is a list of mss, sack"),
        ({"action": "rewrite", "strip": [["mss"]]}, "link.faults[1].strip is [['mss']]"),
        ({"action": "rewrite", "set": [1]}, "link.faults[1].set is [1]; it has keys of window"),
        ({"action": "rewrite", "set": {"urgent": 1}}, "link.faults[1].set.urgent is no field; there are window"),
        ({"action": "rewrite", "set": {"window": 65536}}, "link.faults[1].set.window is 65536; it is 0 to 65535"),
        ({"action": "rewrite", "set": {"seq": "100"}}, "link.faults[1].set.seq is '100'; it is 0 to 4294967295, or a"),
        ({"action": "rewrite", "set": {"flags": "SYN,ACK"}}, "link.faults[1].set.flags is 'SYN,ACK'; it is names"),
        ({"action": "rewrite", "set": {"flags": 2}}, "link.faults[1].set.flags is 2"),
        ({"action": "reset", "to": "all"}, "link.faults[1].to is 'all'; it is one of receiver, sender, both"),
        ({"action": "reset", "passes": 1}, "link.faults[1].passes is 1; it is true or false"),
        ({"action": "icmp"}, "link.faults[1].unreachable is missing; icmp needs it"),
        ({"action": "icmp", "unreachable": "frag-needed"}, "link.faults[1].mtu is missing; frag-needed tells one"),
        (
            {"action": "icmp", "unreachable": "port", "mtu": 9},
            "link.faults[1].mtu is given; only frag-needed tells one",
        ),
        ({"action": "icmp", "unreachable": "frag-needed", "mtu": 65536}, "link.faults[1].mtu is 65536"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: dict[str, Any], says: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ValueError) as refused:
        Faults([message(), {**message(), **wrong}])
    assert says in str(refused.value)


@pytest.mark.parametrize("action", list(ACTIONS))
def test_nulls_are_what_is_not_given(action: str) -> None:
    """A message may name every key there is."""
    nulls = {key: None for row in ACTIONS.values() for key in row.keys}
    assert Faults([{**nulls, "every": None, "contains": None, **message(action)}]).rules[0].action == action


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["low", "high", "every", "kind", "from", "per", "contains", "retransmissions", "set", "strip", "to", "mtu", "bits"]
)


@EXAMPLES
@given(st.sampled_from(list(ACTIONS)), st.dictionaries(KEYS, JSON, max_size=3))
def test_whatever_the_message_it_is_taken_or_refused(action: str, junk: dict[str, Any]) -> None:
    """Never another error than ValueError, with the place."""
    try:
        Faults([{**message(action), **junk}])
    except ValueError as refused:
        assert str(refused).startswith("link.faults[0]")  # noqa: PT017


# ---------------------------------------------------------------- anything at all

ACTION = st.sampled_from(list(ACTIONS))
HEADS = st.sampled_from([MACS + b"\x08\x00", MACS + b"\x86\xdd", MACS + b"\x81\x00", b""])
FRAME = st.one_of(
    st.builds(lambda head, rest: head + rest, HEADS, st.binary(max_size=120)),
    st.builds(
        lambda flags, seq, payload, options, more, cut: tcp(
            flags, seq, 5, payload, options=options + bytes(-len(options) % 4), **more
        )[: cut or None],
        st.sampled_from(["S", "SA", "A", "PA", "FA", "R", "RA", "", "SF"]),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=20),
        st.binary(max_size=40),
        st.sampled_from([{}, V6, BACK]),
        st.integers(0, 100),
    ),
)


@EXAMPLES
@given(ACTION, st.lists(FRAME, min_size=1, max_size=5))
def test_whatever_comes_goes_on_or_is_made_sound(action: str, arriving: list[bytes]) -> None:
    """No frame upsets a fault; what is forged or rewritten is sound, and chance is spared only what is added."""
    faults = Faults([message(action, high=None, source=None)])
    for frame in arriving:
        found = meet(faults, frame)
        if found is None:
            continue
        here = [there for _, there, spared in found.deliveries if not spared]
        assert len(here) == (not found.dropped)
        assert found.entry["passed"] == (here == [frame])
        assert action != "drop" or found.dropped
        made = [there for _, there, spared in found.deliveries if spared] + [*found.to_sender]
        if action in ("reset", "icmp"):
            for there in made:
                read(there)
        if action == "rewrite" and not found.entry["passed"]:
            assert read(here[0]).ttl == 9


@EXAMPLES
@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_following_does_not_care_where_the_numbers_begin(start: int, sent: list[tuple[int, int]]) -> None:
    """The same packets from another initial number are the same retransmissions (modulo 2^32)."""

    def follow(origin: int) -> list[tuple[bool, int]]:
        connection, told = Connection(), []
        for offset, length in sent:
            segment = frames.parse(tcp("PA", (origin + offset) & 0xFFFFFFFF, 1, b"x" * length))
            assert segment is not None
            repeated = connection.repeats(segment)
            told.append((repeated, (connection.expected(segment) - origin) & 0xFFFFFFFF))
        return told

    assert follow(start) == follow(0)


@EXAMPLES
@given(st.binary(max_size=80))
def test_a_checksum_makes_its_data_whole(data: bytes) -> None:
    """With the checksum in its place the sum is right (RFC 1071), and one word changed is noticed."""
    data += bytes(len(data) & 1)
    whole = data + struct.pack("!H", forge.checksum(data))
    assert forge.checksum(whole) == 0
    assert not any(data) or forge.checksum(struct.pack("!H", 1) + whole) != 0
