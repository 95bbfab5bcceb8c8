"""Crafted packets on real kernels: what Linux answers, on both backends and over both families; and silent kernels."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_driver import PATIENCE_S, RETRIES, last_try, seen, testbed_within
from namespaces import inside, run
from wire_pair import CLIENT, CLIENT6, MS, SERVER, SERVER6, Pair, left

from testbed.agent import hush, link
from testbed.agent.command import CommandRefused
from testbed.agent.control import Agent
from testbed.agent.forge import digest
from testbed.agent.loop import Output, UsageError
from testbed.decode.frames import decode
from testbed.evidence import WIRE, Evidence, HostFacts, StepOutcome
from testbed.files import load_evidence
from testbed.packet import Flags, Packet

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]
SOON_NS = 40 * MS  # what a kernel answers comes at once; the scenarios are quiet for 50 ms
SHORT = ((Flags.SYN, "S"), (Flags.FIN, "F"), (Flags.RST, "R"), (Flags.PSH, "P"), (Flags.URG, "U"), (Flags.ACK, "."))

# What the wire shows from each crafted packet on: > in its direction, < in answer. Measured on Linux 6.18.
STORIES = {
    "rb-rst-exact": ["> R"],
    "rb-rst-in-window": ["> R", "< ."],
    "rb-rst-out-of-window": ["> R", "> R"],
    "rb-syn-established": ["> S", "< ."],
    "rb-ack-to-listen": ["> .", "< R"],
    "rb-fin-to-closed": ["> F", "< R."],
    "hs-old-dup-synack": ["> S.", "< R", "< S"],
    "hs-half-open-scan": ["> S", "< S.", "< S.", "> R"],
    "data-old-timestamp": ["> P.", "< ."],
    "data-bad-ack": ["> P.", "< ."],
    "data-no-ack-flag": ["> P"],
}
CRAFTED = (*STORIES, "rb-bad-flags")
LABS = (("netns", "ipv4"), ("netns", "ipv6"), ("compose", "ipv4"))


@pytest.fixture(scope="module", params=LABS, ids="-".join)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every scenario that injects, run once on a backend; where the run folders are."""
    backend, family = request.param
    if backend == "compose":
        request.getfixturevalue("image")
    out = tmp_path_factory.mktemp("crafted")
    words = ("run", "--tag", "crafted", "--backend", backend, "--family", family, "--jobs", "2", "--out", out)
    ended = testbed_within(300.0, *words, *RETRIES)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return out / "latest"


class Story:
    """A run: its packets on the wire, and which of them were crafted."""

    def __init__(self, folder: Path) -> None:
        self.evidence: Evidence = load_evidence(folder)
        capture = self.evidence.captures[WIRE]
        self.frames = [frame.data for frame in capture.frames]
        self.packets = [packet for packet in decode(capture).packets if packet.protocol == 6]
        said = [step for step in self.evidence.all(StepOutcome) if step.step == "inject"]
        self.named = {re.findall(r"packet ([0-9a-f]{16})$", step.says)[0]: step.host for step in said}

    def crafted(self) -> list[Packet]:
        """The crafted packets, in order."""
        return [packet for packet in self.packets if digest(self.frames[packet.number - 1]) in self.named]

    def since(self, first: Packet) -> list[Packet]:
        """Of the same connection what is on the wire from a packet on."""
        ends = {first.source_port, first.destination_port}
        return [p for p in self.packets if p.time_ns >= first.time_ns and {p.source_port, p.destination_port} == ends]


def told(packets: list[Packet], first: Packet) -> list[str]:
    """Packets as the tables have them."""
    return [
        f"{'>' if (p.source, p.source_port) == (first.source, first.source_port) else '<'} "
        f"{''.join(letter for flag, letter in SHORT if p.flags & flag)}"
        for p in packets
    ]


@pytest.mark.parametrize("name", STORIES)
def test_what_linux_answers(runs: Path, name: str) -> None:
    """From the crafted packet on, and until it can be anything else than the answer to it."""
    story = Story(last_try(runs, name))
    crafted = story.crafted()
    end_ns = crafted[-1].time_ns + SOON_NS
    seen = [packet for packet in story.since(crafted[0]) if packet.time_ns < end_ns]
    assert told(seen, crafted[0]) == STORIES[name]


def test_flags_that_make_no_sense(runs: Path) -> None:
    """Dropped at the open port, RST at the closed one; then an honest client is served."""
    story = Story(last_try(runs, "rb-bad-flags"))
    crafted = story.crafted()
    seen = [told(story.since(packet), packet) for packet in crafted]
    assert seen == [
        *(["> " + flags] for flags in ("", "SF", "FPU")),
        *(["> " + flags, "< R."] for flags in ("", "SF", "FPU")),
    ]
    assert [packet.destination_port for packet in crafted] == [7456] * 3 + [7457] * 3


def test_numbers_are_relative_to_the_live_connection(runs: Path) -> None:
    """What is crafted has the numbers asked for, and what answers it the numbers of the RFC."""

    def exchange(name: str) -> tuple[Packet, Packet]:
        story = Story(last_try(runs, name))
        crafted = story.crafted()[0]
        return crafted, next(packet for packet in story.since(crafted) if packet.source != crafted.source)

    reset, challenge = exchange("rb-rst-in-window")
    assert challenge.acknowledgement == (reset.sequence - 100) % 2**32
    syn, challenge = exchange("rb-syn-established")
    assert challenge.acknowledgement == (syn.sequence - 100) % 2**32
    data, answer = exchange("data-bad-ack")
    assert (answer.acknowledgement, answer.sequence) == (data.sequence, (data.acknowledgement - 1000) % 2**32)
    old, answer = exchange("data-old-timestamp")
    assert old.options.timestamps is not None
    assert answer.options.timestamps is not None
    assert (answer.options.timestamps[1] - old.options.timestamps[0]) % 2**32 == 1000
    probe, reset = exchange("rb-ack-to-listen")
    assert (probe.sequence, probe.acknowledgement, reset.sequence) == (1000, 2000, 2000)
    probe, reset = exchange("rb-fin-to-closed")
    assert (reset.sequence, reset.acknowledgement) == (0, 1001)
    answer, reset = exchange("hs-old-dup-synack")
    assert (reset.sequence, reset.flags) == (answer.acknowledgement, Flags.RST)
    scan = Story(last_try(runs, "hs-half-open-scan")).crafted()
    assert [packet.sequence for packet in scan] == [1000, 1001]


def test_the_step_names_what_the_wire_carried(runs: Path) -> None:
    """Every crafted packet is on the wire byte for byte, once, with the MAC of the host that really sent it."""
    for name in CRAFTED:
        story = Story(last_try(runs, name))
        macs = {facts.host: facts.mac for facts in story.evidence.all(HostFacts)}
        crafted = [story.frames[packet.number - 1] for packet in story.crafted()]
        assert sorted(map(digest, crafted)) == sorted(story.named), name
        assert {frame[6:12].hex(":") for frame in crafted} == {macs[story.named[digest(f)]] for f in crafted}, name


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_every_checksum_right(runs: Path) -> None:
    """Of IPv4 and of TCP, of every packet on the wire."""
    for name in CRAFTED:
        command = ["tshark", "-n", "-r", str(last_try(runs, name) / "captures" / "wire.pcapng"), "-Y", "tcp"]
        command += ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
        command += ["-T", "fields", "-e", "tcp.checksum.status", "-e", "ip.checksum.status"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        lines = done.stdout.splitlines()
        assert len(lines) >= 2, name
        assert set("".join(lines).replace("\t", "")) == {"1"}, name


def test_a_kernel_that_is_not_silent_answers(tmp_path: Path) -> None:
    """Without `silent` the scanner's own kernel resets what the scan began."""
    setting = "hosts.scanner.silent=false"
    ended = seen(PATIENCE_S, "run", "hs-half-open-scan", "--backend", "netns", "--out", tmp_path, "--set", setting)
    story = Story(tmp_path / "latest" / "hs-half-open-scan")
    first = story.crafted()[0]
    assert told(story.since(first), first)[:3] == ["> S", "< S.", "> R"]
    assert ended.returncode == 1


# --- a silent kernel ---


@pytest.fixture(scope="module")
def hosts() -> Iterator[Pair]:
    """Two hosts."""
    made = Pair()
    with made.lab:
        made.make()
        yield made


@pytest.fixture
def pair(hosts: Pair) -> Iterator[Pair]:
    """Both as new."""
    with hosts.undo:
        yield hosts


def is_refused(pair: Pair, source: str, target: str, patience_s: float = 0.3) -> bool:
    """Whether the server's kernel answers a connection to a closed port."""
    with (
        inside(pair.client),
        socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET) as trying,
    ):
        trying.settimeout(patience_s)
        try:
            trying.connect((target, 81))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("somebody listens there")


def is_unreachable(pair: Pair, source: str, target: str, patience_s: float = 0.3) -> bool:
    """Whether the server's kernel says that a UDP port is closed."""
    sender, receiver = pair.ends(source)
    receiver.close()
    sender.settimeout(patience_s)
    sender.send(b"x")
    try:
        sender.recv(1)
    except ConnectionRefusedError:
        return True
    except TimeoutError:
        return False
    raise AssertionError("somebody listens there")


def answers(pair: Pair, patience_s: float) -> list[bool]:
    """Whether the kernel says each of the things that it says by itself."""
    ways = ((CLIENT, SERVER), (CLIENT6, SERVER6))
    return [ask(pair, *way, patience_s) for ask in (is_refused, is_unreachable) for way in ways]


@contextlib.contextmanager
def silent(pair: Pair) -> Iterator[hush.Hush]:
    """The server's kernel kept silent."""
    with inside(pair.server):
        silence = hush.apply("eth0")
    try:
        yield silence
    finally:
        with inside(pair.server):
            silence.close()


def test_a_silent_kernel_says_nothing_until_it_may(pair: Pair) -> None:
    """RSTs and unreachables of both families stay away, and are counted; then all is as before."""
    assert answers(pair, 5) == [True] * 4
    with silent(pair) as silence:
        assert answers(pair, 0.3) == [False] * 4
        with inside(pair.server):
            stands = silence.read()
            assert (stands["up"], stands["why"]) == (True, "")
            assert stands["silenced"] >= 4
            silence.close()
    assert answers(pair, 5) == [True] * 4
    assert left(pair.server) == []


def test_connections_of_a_silent_host_work(pair: Pair) -> None:
    """What programs say is not touched."""
    pair.undo.enter_context(silent(pair))
    with inside(pair.server):
        listener = pair.undo.enter_context(socket.create_server((SERVER, 80)))
    with inside(pair.client), socket.create_connection((SERVER, 80), timeout=2) as client:
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"Hola")
            assert accepted.recv(4) == b"Hola"
            accepted.sendall(b"yes")
            assert client.recv(3) == b"yes"


def test_silence_beside_a_wire(pair: Pair) -> None:
    """On the same clsact: the wire stands as it was left, while and after the kernel was kept silent."""
    applied = pair.apply("portable", {CLIENT: {"delay_ns": 5 * MS}})
    with silent(pair) as silence:
        assert not is_refused(pair, CLIENT, SERVER)
        with inside(pair.server):
            assert silence.read()["up"] is True
        said = pair.read(applied)
        assert (said["up"], said["why"]) == (True, "")
    assert is_refused(pair, CLIENT, SERVER, 5)
    said = pair.read(applied)
    assert (said["up"], said["why"]) == (True, "")


BEHIND_ITS_BACK = {
    "the filter removed": ["tc filter del dev eth0 egress"],
    "the qdisc removed": ["tc qdisc del dev eth0 clsact"],
    "another program": [
        "tc filter del dev eth0 egress",
        "tc filter add dev eth0 egress protocol all pref 1 bpf da bytecode 1,6_0_0_4294967295,",
    ],
}


@pytest.mark.parametrize("what", BEHIND_ITS_BACK)
def test_a_kernel_that_may_speak_again_is_told(pair: Pair, what: str) -> None:
    """With the reason, and a command to look with; nothing is left afterwards."""
    with silent(pair) as silence, inside(pair.server):
        for command in BEHIND_ITS_BACK[what]:
            run(*(word.replace("_", " ") for word in command.split()))
        said = silence.read()
        assert said["up"] is False
        assert "the filter that keeps the kernel silent on eth0 is" in said["why"]
        assert "see `tc filter show dev eth0 egress`" in said["why"]
    assert left(pair.server) == []


def test_silence_that_cannot_be_is_refused_and_leaves_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """All or nothing."""
    monkeypatch.setattr(hush, "assemble", lambda: (hush.Instruction(0x05, 0, 0, 9),))
    with inside(pair.server), pytest.raises(CommandRefused):
        hush.apply("eth0")
    assert left(pair.server) == []


def test_crafted_frames_pass_a_silent_kernel(pair: Pair) -> None:
    """The same RST as the kernel's own, but with our mark."""
    silence = pair.undo.enter_context(silent(pair))
    with inside(pair.server):
        sender = pair.undo.enter_context(link.open_interface("eth0"))
        plain = pair.undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        plain.bind(("eth0", 0))
    with inside(pair.client):
        ear = pair.undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)))
        ear.bind(("eth0", 0x0800))
        ear.settimeout(0.5)
    address = b"\xc6\x12\x00\x03\xc6\x12\x00\x02"
    packet = b"E\0\0\x28\0\0\0\0\x40\x06\0\0" + address + b"\0\x51\x9c\x40" + bytes(8) + b"\x50\x04" + bytes(6)
    frame = b"\xff" * 6 + b"\x02" + bytes(5) + b"\x08\x00" + packet
    with pytest.raises(OSError, match="No buffer space"):  # how the kernel tells a sender of the drop
        plain.send(frame)
    sender.send(frame)
    assert ear.recv(100)[14:] == packet
    with pytest.raises(TimeoutError):
        ear.recv(100)
    with inside(pair.server):
        assert silence.read()["silenced"] == 1


# --- the agent ---


def test_a_program_needs_an_ear_and_a_reset_ends_all(pair: Pair) -> None:
    """Without `inject.open` the program is refused; silence and ear are gone after a reset."""
    agent = Agent(Output(os.open(os.devnull, os.O_WRONLY)))
    step = {"step": "inject", "frame": "00", "from_port": None, "to_port": None}
    play: dict[str, Any] = {"id": 1, "do": "play", "addresses": {}, "host": "a", "family": "ipv4"}
    with inside(pair.server):
        with pytest.raises(UsageError, match=r"inject\.open was not asked"):
            agent.serve({**play, "steps": [{"step": "repeat", "times": 1, "steps": [step]}]})
        with pytest.raises(UsageError, match=r"inject needs frame"):
            agent.serve({**play, "steps": [{"step": "inject", "from_port": 1, "to_port": 1}]})
        with pytest.raises(UsageError, match="nothing keeps the kernel silent"):
            agent.serve({"id": 1, "do": "hush.read"})
        assert agent.serve({"id": 1, "do": "hush.apply", "interface": "eth0"}) == {}
        with pytest.raises(UsageError, match="silent already"):
            agent.serve({"id": 1, "do": "hush.apply", "interface": "eth0"})
        for _ in range(2):
            assert agent.serve({"id": 1, "do": "inject.open", "interface": "eth0", "hosts": {}}) == {}
        assert agent.serve({"id": 1, "do": "reset"}) == {"clean": True, "left": []}
    assert left(pair.server) == []
