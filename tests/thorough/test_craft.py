"""Crafted packets: scapy reads back what was described, the wire's numbers are the RFC's, a silent kernel's filter."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from testbed.agent import forge, frames, hush
from testbed.agent.inject import _write
from testbed.agent.live import Connections
from testbed.agent.numbers import NUMBERS, Unknown, evaluate, later
from testbed.craft import Place, craft, craft_steps
from testbed.injecting import injects
from testbed.plan import make_plan
from testbed.scenario.model import Scenario, dump_scenario

CLIENT, SERVER, OTHER = "198.18.0.2", "198.18.0.3", "198.18.0.4"
PLACES = {
    "client": Place(CLIENT, "02:00:00:00:00:02"),
    "server": Place(SERVER, "02:00:00:00:00:03"),
    "other": Place(OTHER, "02:00:00:00:00:04"),
}
PLACES6 = {name: Place(f"fd00::{number}", PLACES[name].mac) for number, name in enumerate(PLACES, 2)}
FAMILIES = pytest.mark.parametrize("places", [PLACES, PLACES6], ids=["ipv4", "ipv6"])


def described(**keys: Any) -> dict[str, Any]:
    """An inject step of `other`, as it stands in a plan."""
    told = {
        "summary": "One packet.",
        "hosts": {
            "server": {},
            "client": {},
            "other": {"steps": [{"inject": {"to": "server:7456", "flags": "SYN", **keys}}]},
        },
    }
    scenario = Scenario.model_validate(told)
    assert Scenario.model_validate(dump_scenario(scenario)) == scenario
    (step,) = make_plan("one", scenario).hosts[2].steps
    return dict(step)


def made(places: dict[str, Place] = PLACES, **keys: Any) -> tuple[Packet, dict[str, Any]]:
    """The frame as scapy reads it, and what goes along."""
    message = craft(described(**keys), "other", places)
    frame = bytes.fromhex(message["frame"])
    sound(frame)
    return Ether(frame), message


def sound(frame: bytes) -> None:
    """Lengths and checksums are what scapy itself computes."""
    packet = Ether(frame)
    for layer, fields in ((IP, ("len", "chksum")), (IPv6, ("plen",)), (TCP, ("dataofs", "chksum"))):
        for field in fields if layer in packet else ():
            delattr(packet[layer], field)
    assert bytes(packet) == frame


# --- the frame ---


@FAMILIES
def test_addresses_are_the_claimed_ones_and_the_mac_is_the_senders(places: dict[str, Place]) -> None:
    """A third host speaks in the client's name; a capture still shows at the link who it was."""
    packet, message = made(places, **{"from": "client:40000"}, flags="RST", ttl=7)
    assert (packet.src, packet.dst) == (places["other"].mac, places["server"].mac)
    network = packet.payload
    assert (network.src, network.dst) == (places["client"].address, places["server"].address)
    assert (network.hlim if IPv6 in packet else network.ttl) == 7
    assert (packet[TCP].sport, packet[TCP].dport, str(packet[TCP].flags)) == (40000, 7456, "R")
    assert (message["from_port"], message["to_port"]) == (40000, 7456)


@pytest.mark.parametrize(
    ("flags", "shown"),
    [("", ""), ("FIN+PSH+URG", "FPU"), ("SYN+ACK", "SA"), ("SYN+ECE+CWR", "SEC"), ("SYN+FIN", "FS"), ("AE", "N")],
)
def test_any_flags(flags: str, shown: str) -> None:
    """All nine flags, and none."""
    packet, _ = made(flags=flags)
    assert str(packet[TCP].flags) == shown


@FAMILIES
@pytest.mark.parametrize(
    ("options", "laid"),
    [
        ({}, []),
        ({"mss": 536}, [("MSS", 536)]),
        ({"sack_permitted": True}, [("NOP", None), ("NOP", None), ("SAckOK", b"")]),
        ({"tsval": 7, "tsecr": 9}, [("NOP", None), ("NOP", None), ("Timestamp", (7, 9))]),
        (
            {"window_scale": 7, "tsval": 7, "tsecr": 0, "sack_permitted": True, "mss": 1460},
            [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 0)), ("NOP", None), ("WScale", 7)],
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_options_as_linux_lays_them_out(places: dict[str, Place], options: dict[str, Any], laid: list[Any]) -> None:
    """Every option ends on 32 bits, in Linux's order, whatever the order they are told in."""
    packet, _ = made(places, options=options)
    assert packet[TCP].options == laid


@pytest.mark.parametrize(
    ("keys", "fill", "known"),
    [
        ({"flags": "SYN"}, {}, (0, 0, 64240)),
        ({"flags": "ACK", "seq": 5, "ack": 6, "window": 7}, {}, (5, 6, 7)),
        ({"from": "client", "flags": "RST"}, {"seq": "rcv_nxt"}, (0, 0, 0)),
        ({"from": "client", "flags": "RST+ACK"}, {"seq": "rcv_nxt", "ack": "snd_nxt"}, (0, 0, 0)),
        ({"from": "client:free", "flags": "ACK"}, {}, (0, 0, 64240)),
        ({"from": "client", "flags": "ACK", "seq": "iss-1", "ack": 3}, {"seq": "iss-1"}, (0, 3, 64240)),
        (
            {"from": "client", "seq": 1, "options": {"tsval": "ts_recent-5"}},
            {"tsval": "ts_recent-5", "tsecr": "ts_val"},
            (1, 0, 64240),
        ),
    ],
)
def test_what_holds_unless_told(keys: dict[str, Any], fill: dict[str, str], known: tuple[int, int, int]) -> None:
    """Of a live connection the numbers that its receiver expects; from a free port 0; an RST has no window."""
    packet, message = made(**keys)
    assert message["fill"] == fill
    assert (packet[TCP].seq, packet[TCP].ack, packet[TCP].window) == known
    assert message["from_port"] == ("free" if keys.get("from", ":free").endswith(":free") else None)


def test_steps_are_crafted_where_they_stand() -> None:
    """Also inside repeat and parallel; all other steps stay as they are."""
    inner = described(payload="x")
    steps: list[dict[str, Any]] = [{"step": "accept"}, {"step": "repeat", "times": 2, "steps": [inner]}]
    assert injects(steps)
    assert not injects(steps[:1])
    accept, repeat = craft_steps(steps, "other", PLACES)
    assert accept is steps[0]
    (crafted,) = repeat["steps"]
    assert crafted == {
        **{key: inner[key] for key in ("step", "error", "timeout_ns", "count", "await")},
        "payload": {"text": "x"},
        **craft(inner, "other", PLACES),
    }


def test_a_crafted_packet_waits_for_who_listens_there() -> None:
    """As connect does; `when: now` does not."""
    hosts: dict[str, Any] = {
        "server": {"steps": [{"listen": 7456}]},
        "client": {
            "steps": [{"inject": {"to": "server:7456", "flags": ""}, "when": when} for when in ("ready", "now")]
        },
    }
    plan = make_plan("two", Scenario.model_validate({"summary": "Two.", "hosts": hosts}))
    assert [step["await"] for step in plan.hosts[1].steps] == ["listening:server:7456", None]


@FAMILIES
@settings(deadline=None)  # the first frame waits for scapy to load
@given(
    seq=st.integers(0, 2**32 - 1),
    ack=st.integers(0, 2**32 - 1),
    stamps=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    data=st.binary(max_size=99),
)
def test_what_the_agent_fills_in(
    places: dict[str, Place], seq: int, ack: int, stamps: tuple[int, int], data: bytes
) -> None:
    """Ports, numbers, timestamps and payload, and then lengths and checksums are right again."""
    template, _ = made(places, **{"from": "client"}, flags="PSH+ACK", options={"tsval": "ts_recent", "mss": 9})
    values = {"seq": seq, "ack": ack, "tsval": stamps[0], "tsecr": stamps[1]}
    frame = _write(bytes(template), data, (40001, 7456), values)
    sound(frame)
    segment = Ether(frame)[TCP]
    assert (segment.sport, segment.dport, segment.seq, segment.ack) == (40001, 7456, seq, ack)
    assert dict(segment.options)["Timestamp"] == stamps
    assert bytes(segment.payload) == data
    assert forge.digest(frame) == forge.digest(bytes(Ether(frame)))


def test_who_does_not_inject_does_not_load_scapy() -> None:
    """Neither the command line nor what runs a scenario; the room where it is at home does."""
    code = "import sys, testbed.cli, testbed.session, testbed.run; print('scapy' in sys.modules)"
    code += "; import testbed.craft; print('scapy' in sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split() == ["False", "True"]


# --- the numbers of a live connection ---


def segment(source: str, flags: str, seq: int, ack: int = 0, data: bytes = b"", **more: Any) -> bytes:
    """A packet of the conversation between client port 40000 and server port 7456."""
    client = source == "client"
    ports: dict[str, Any] = {"sport": 40000, "dport": 7456} if client else {"sport": 7456, "dport": 40000}
    addresses: dict[str, Any] = {"src": CLIENT, "dst": SERVER} if client else {"src": SERVER, "dst": CLIENT}
    mac = PLACES[more.pop("by", source)].mac
    return bytes(Ether(src=mac) / IP(**addresses) / TCP(**ports, flags=flags, seq=seq, ack=ack, **more) / Raw(data))


def scaled(*stamps: int) -> list[Any]:
    """The options of a SYN."""
    return [("Timestamp", stamps), ("WScale", 7)]


def connections(*packets: bytes) -> Connections:
    """What is known of all connections behind these packets."""
    macs = {frames.pack(place.address): bytes.fromhex(place.mac.replace(":", "")) for place in PLACES.values()}
    known = Connections(macs)
    for packet in packets:
        known.take(packet)
    return known


def numbers(receiver: str, *packets: bytes) -> dict[str, int | None]:
    """The numbers for packets to the receiver."""
    source, target = (CLIENT, SERVER) if receiver == "server" else (SERVER, CLIENT)
    found = connections(*packets).find((frames.pack(source), None), (frames.pack(target), None))
    assert found is not None
    return dict(found[1].numbers(found[0]))


TALK = (
    segment("client", "S", 0xFFFFFFFE, window=1000, options=scaled(10, 0)),
    segment("server", "SA", 500, 0xFFFFFFFF, window=2000, options=scaled(70, 10)),
    segment("client", "A", 0xFFFFFFFF, 501, window=100, options=[("Timestamp", (11, 70))]),
    segment("client", "PA", 0xFFFFFFFF, 501, b"Hola", window=100, options=[("Timestamp", (12, 70))]),
    segment("server", "A", 501, 3, window=200, options=[("Timestamp", (71, 12))]),
    segment("server", "PA", 501, 3, b"yes", window=200, options=[("Timestamp", (72, 12))]),
)


def test_numbers_are_the_receivers_variables() -> None:
    """RFC 9293 section 3.3.1, across the end of the sequence space; windows are scaled, but for those of SYNs."""
    assert numbers("server", *TALK) == {
        "rcv_nxt": 3,
        "rcv_wnd": 200 << 7,
        "snd_nxt": 504,
        "snd_una": 501,
        "snd_wnd": 100 << 7,
        "iss": 500,
        "irs": 0xFFFFFFFE,
        "ts_recent": 12,
        "ts_val": 72,
    }
    theirs = numbers("client", *TALK)
    assert [theirs[name] for name in NUMBERS[:7]] == [501, 100 << 7, 3, 3, 200 << 7, 0xFFFFFFFE, 500]
    assert numbers("client", *TALK[:2])["rcv_wnd"] == 1000


def test_what_the_wire_has_not_shown_is_not_known() -> None:
    """Behind a SYN alone there is no rcv_nxt of the server, and all of it of the client that sent it."""
    assert [numbers("server", TALK[0])[name] for name in ("rcv_nxt", "snd_nxt", "iss", "irs")] == [
        None,
        None,
        None,
        0xFFFFFFFE,
    ]
    assert [numbers("client", TALK[0])[name] for name in ("rcv_nxt", "snd_nxt", "iss", "irs")] == [
        None,
        0xFFFFFFFF,
        0xFFFFFFFE,
        None,
    ]


@pytest.mark.parametrize(
    "packet",
    [
        segment("client", "PA", 3, 504, b"false", by="other"),
        segment("client", "S", 7777, by="other"),
        segment("client", "R", 0xFFFFFFF0),
        segment("client", "RA", 3, 9999),
        segment("client", "A", 3, 9999, options=[("Timestamp", (1, 1))], window=100),
        TALK[1][:60],
        b"",
    ],
    ids=["forged data", "forged SYN", "RST", "RST-ACK", "acknowledges what was never sent", "cut", "empty"],
)
def test_what_changes_nothing(packet: bytes) -> None:
    """What a third host says in another's name, an RST, an acknowledgement of what was never sent, and rubbish."""
    assert numbers("server", *TALK, packet) == numbers("server", *TALK)


def test_a_fresh_syn_begins_anew() -> None:
    """The same ports again; a SYN sent again is the same connection."""
    assert numbers("server", *TALK, TALK[0]) == numbers("server", *TALK)
    again = numbers("server", *TALK, segment("client", "S", 900))
    assert (again["irs"], again["rcv_nxt"], again["iss"]) == (900, None, None)


def test_the_newest_connection_that_fits() -> None:
    """By ports where they are told; there may be none."""
    known = connections(
        *TALK, bytes(Ether(src=PLACES["client"].mac) / IP(src=CLIENT, dst=SERVER) / TCP(sport=5, dport=6))
    )
    client, server = frames.pack(CLIENT), frames.pack(SERVER)

    def receiver(source: Any, target: Any) -> Any:
        found = known.find(source, target)
        return found and found[0]

    assert receiver((client, None), (server, None)) == (server, 6)
    assert receiver((server, None), (client, None)) == (client, 5)
    assert receiver((client, None), (server, 7456)) == (server, 7456)
    assert receiver((client, 40000), (server, None)) == (server, 7456)
    assert receiver((client, 40001), (server, None)) is None
    assert receiver((client, None), (frames.pack(OTHER), None)) is None


def test_sums() -> None:
    """Signs, numbers and names, modulo 2^32; a name that is not known is told."""
    known = {**dict.fromkeys(NUMBERS), "rcv_nxt": 0xFFFFFFFF, "rcv_wnd": 10}
    assert evaluate("rcv_nxt+rcv_wnd-3", known) == 6
    assert evaluate("rcv_wnd-11", known) == 0xFFFFFFFF
    with pytest.raises(Unknown, match=r"^snd_nxt$"):
        evaluate("rcv_nxt+snd_nxt", known)


@settings(deadline=None)  # the first frame waits for scapy to load
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1))
def test_later_goes_around(one: int, ahead: int) -> None:
    """Of two numbers less than half the space apart, the one ahead."""
    two = (one + ahead) % 2**32
    assert later(one, two) == later(two, one) == two
    assert later(None, one) == one


# --- a silent kernel ---


def run_filter(frame: bytes, mark: int = 0) -> int:
    """What the filter returns: classic BPF, as far as it is used (Documentation/networking/filter.rst)."""
    program = hush.assemble()
    accumulator = index = at = 0
    while True:
        code, when_true, when_false, value = program[at]
        at += 1
        if code == 0x06:
            return value
        if code in (0x15, 0x45):
            holds = accumulator == value if code == 0x15 else bool(accumulator & value)
            at += when_true if holds else when_false
        elif code == 0xB1:
            index = (frame[value] & 15) * 4
        elif value == 0xFFFFF014:
            accumulator = mark
        else:
            size, start = {0x28: (2, value), 0x30: (1, value), 0x50: (1, index + value)}[code]
            accumulator = int.from_bytes(frame[start : start + size], "big")


V4, V4_OPTIONS = IP(src=CLIENT, dst=SERVER), IP(src=CLIENT, dst=SERVER, options=b"\x94\x04\0\0")
V6 = IPv6(src="fd00::2", dst="fd00::3")
KERNELS_OWN = {
    "rst": V4 / TCP(flags="R"),
    "rst-ack": V4 / TCP(flags="RA"),
    "rst behind options": V4_OPTIONS / TCP(flags="R"),
    "port unreachable": V4 / ICMP(type=3, code=3),
    "rst over ipv6": V6 / TCP(flags="RA"),
    "port unreachable over ipv6": V6 / ICMPv6DestUnreach(code=4),
}
PASSES = {
    "arp": ARP(),
    "syn": V4 / TCP(flags="S"),
    "all but rst": V4_OPTIONS / TCP(flags="FSPAUEC"),
    "ping": V4 / ICMP(type=8),
    "udp": V4 / UDP(sport=4, dport=4) / Raw(b"\4" * 40),
    "fragment": IP(src=CLIENT, dst=SERVER, frag=5, proto=6) / Raw(b"\4" * 40),
    "data over ipv6": V6 / TCP(flags="PA") / Raw(b"x"),
    "packet too big": V6 / ICMPv6PacketTooBig(),
    "udp over ipv6": V6 / UDP() / Raw(b"\4" * 40),
}


@pytest.mark.parametrize("name", KERNELS_OWN)
def test_what_a_silent_kernel_does_not_say(name: str) -> None:
    """RSTs and unreachables are dropped, but for those that are crafted."""
    frame = bytes(Ether() / KERNELS_OWN[name])
    assert run_filter(frame) == 2  # TC_ACT_SHOT
    assert run_filter(frame, hush.MARK) == 0xFFFFFFFF  # TC_ACT_UNSPEC


@pytest.mark.parametrize("name", PASSES)
def test_what_a_silent_kernel_still_says(name: str) -> None:
    """All else goes on."""
    assert run_filter(bytes(Ether() / PASSES[name])) == 0xFFFFFFFF


def test_the_filter_is_sound() -> None:
    """Jumps go ahead and stay inside; it ends with a return; every instruction can be reached."""
    program = hush.assemble()
    reached = {0}
    for at, (code, when_true, when_false, _) in enumerate(program):
        assert at in reached
        if code != 0x06:
            steps = (when_true, when_false) if code in (0x15, 0x45) else (0,)
            reached |= {at + 1 + step for step in steps}
    assert max(reached) == len(program) - 1
    assert struct.calcsize("=HBBI") == 8
    assert all(0 <= one <= 255 for each in program for one in each[1:3])
