"""Captures on a real interface: nothing lost at the start, at the end, or in between."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from namespaces import inside

from testbed.agent import canary, capture, tap

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]

MTU = 1500
HERE, THERE = "02:00:00:00:00:02", "02:00:00:00:00:03"


class Record(NamedTuple):
    """A record of a capture file."""

    time_ns: int
    length: int
    direction: int
    data: bytes


def ip(*words: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def ends() -> Iterator[tuple[str, str]]:
    """Two namespaces of our own, joined by a veth pair called eth0 on both sides, without IPv6's chatter."""
    names = f"tbcap-{os.getpid()}-a", f"tbcap-{os.getpid()}-b"
    with contextlib.ExitStack() as undo:
        for name in names:
            ip("netns", "add", name)
            undo.callback(ip, "netns", "del", name)
            ip("netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        ip("link", "add", "eth0", "netns", names[0], "type", "veth", "peer", "name", "eth0", "netns", names[1])
        for name, mac in zip(names, (HERE, THERE), strict=True):
            ip("-n", name, "link", "set", "eth0", "address", mac, "up")
        yield names


def start(namespace: str, directory: Path, interface: str = "eth0", snap_length: int = 256) -> capture.Capture:
    """A capture that runs in the namespace."""
    made = capture.Capture(f"{namespace}-{interface}", interface, str(directory), True, snap_length)
    with inside(namespace):
        made.start()
    return made


def sender(namespace: str) -> socket.socket:
    """A socket that sends frames from the namespace."""
    with inside(namespace):
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        packets.bind(("eth0", 0))
    return packets


def frame(number: int, size: int = 100) -> bytes:
    """The number-th frame, from here to there."""
    head = bytes.fromhex((THERE + HERE).replace(":", "")) + b"\x88\xb6"
    return (head + struct.pack("!I", number)).ljust(size, b"\xaa")


def records(path: str) -> list[Record]:
    """A capture file, read to its end."""
    content = Path(path).read_bytes()
    found, at = [], 0
    while at < len(content):
        time_ns, length, captured, direction = capture.RECORD.unpack_from(content, at)
        at += capture.RECORD.size
        found.append(Record(time_ns, length, direction, content[at : at + captured]))
        at += captured
    return found


def numbers(found: list[Record]) -> list[int]:
    """The numbers of our frames, in file order."""
    return [struct.unpack_from("!I", one.data, 14)[0] for one in found if one.data[12:14] == b"\x88\xb6"]


def hear(running: capture.Capture, limit_s: float = 2.0) -> list[dict[str, Any]]:
    """The next events."""
    assert select.select([running], [], [], limit_s)[0], "no event came"
    return running.read_events()


@pytest.mark.parametrize("size", [60, 1514])
def test_a_burst_is_captured_whole(ends: tuple[str, str], tmp_path: Path, size: int) -> None:
    """20,000 frames as fast as they go: all there, in order, none dropped, with the bytes and lengths they had."""
    running = start(ends[1], tmp_path)
    with sender(ends[0]) as packets:
        for number in range(20_000):
            packets.send(frame(number, size))
    said = running.stop()
    found = records(said["path"])
    assert said["dropped"] == 0
    assert said["packets"] == len(found) == 20_000
    assert said["bytes"] == Path(said["path"]).stat().st_size
    assert numbers(found) == list(range(20_000))
    assert {(one.length, len(one.data)) for one in found} == {(size, min(size, 256))}
    assert found[-1].data == frame(19_999, size)[:256]


def test_no_frame_is_lost_at_the_start_or_the_end(ends: tuple[str, str], tmp_path: Path) -> None:
    """A frame sent right after start, and one sent right before stop, are in the file. Again and again."""
    with sender(ends[0]) as packets:
        for turn in range(5):
            running = start(ends[1], tmp_path)
            packets.send(frame(turn))
            packets.send(frame(turn + 100))
            assert numbers(records(running.stop()["path"])) == [turn, turn + 100]


def test_nothing_from_before_the_start_is_in_the_file(ends: tuple[str, str], tmp_path: Path) -> None:
    """The ring fills from the moment of the start."""
    with sender(ends[0]) as packets:
        packets.send(frame(1))
        running = start(ends[1], tmp_path)
        packets.send(frame(2))
        assert numbers(records(running.stop()["path"])) == [2]


def test_direction_and_time_are_the_kernels(ends: tuple[str, str], tmp_path: Path) -> None:
    """Out at the sender, in at the receiver, at times between those of the sender's clock around it."""
    here, there = start(ends[0], tmp_path), start(ends[1], tmp_path)
    with sender(ends[0]) as packets:
        before = time.time_ns()
        packets.send(frame(1))
        after = time.time_ns()
    (sent,), (received,) = records(here.stop()["path"]), records(there.stop()["path"])
    assert (sent.direction, received.direction) == (tap.OUT, tap.IN)
    assert before <= sent.time_ns <= received.time_ns <= after
    assert sent.data == received.data == frame(1)


def test_a_canary_is_heard_at_once_and_recorded(ends: tuple[str, str], tmp_path: Path) -> None:
    """Not only at the end: the agent waits for it before the play begins."""
    running = start(ends[1], tmp_path)
    sent_at = time.monotonic()
    with inside(ends[0]):
        canary.send_canary("eth0", THERE, "run-7")
    (event,) = hear(running)
    assert time.monotonic() - sent_at < 0.1
    assert (event["event"], event["token"], event["direction"]) == ("canary", "run-7", tap.IN)
    (record,) = records(running.stop()["path"])
    assert record.time_ns == event["time_ns"]
    assert record.data[:14] == bytes.fromhex("02000000000302000000000288b5")
    assert canary.read_canary(record.data) == "run-7"


def test_events_are_not_lost_by_stop(ends: tuple[str, str], tmp_path: Path) -> None:
    """What came in with the last packets can be read after stop, once."""
    running = start(ends[1], tmp_path)
    with inside(ends[0]):
        canary.send_canary("eth0", THERE, "late")
    assert running.stop()["packets"] == 1
    assert [event["token"] for event in running.read_events()] == ["late"]
    assert running.read_events() == []


@pytest.mark.parametrize(("mac", "token"), [("02:00", "x"), ("no:ma:c0:00:00:00", "x"), (HERE, ""), (HERE, "a\nb")])
def test_a_canary_that_makes_no_sense_is_refused(mac: str, token: str) -> None:
    """Before a socket is opened."""
    with pytest.raises(ValueError, match="a canary"):
        canary.send_canary("lo", mac, token)


def test_promiscuous_hears_what_is_for_others(ends: tuple[str, str], tmp_path: Path) -> None:
    """A sniffer's interface takes in frames for any address."""
    running = start(ends[1], tmp_path)
    with inside(ends[1]):
        shown = subprocess.run(["ip", "-d", "link", "show", "eth0"], check=True, capture_output=True, text=True).stdout
    assert "promiscuity 1" in shown
    running.stop()


def test_a_vlan_tag_is_put_back(ends: tuple[str, str], tmp_path: Path) -> None:
    """The kernel takes the tag off and keeps it beside the frame; the file has the frame as it was on the wire."""
    tagged = frame(1)[:12] + b"\x81\x00\x20\x07" + frame(1)[12:]
    running = start(ends[1], tmp_path)
    with sender(ends[0]) as packets:
        packets.send(tagged)
    (record,) = records(running.stop()["path"])
    assert record.data == tagged
    assert record.length == len(tagged)


def test_without_a_ring_it_reads_packet_by_packet(
    ends: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old kernel or a sandbox has no ring: the same file, and an event that says so."""

    def refuse(packets: socket.socket, ring_bytes: int) -> tuple[int, int]:
        raise OSError(92, "Protocol not available")

    monkeypatch.setattr(tap, "map_ring", refuse)
    running = start(ends[1], tmp_path)
    (event,) = hear(running)
    tagged = frame(0)[:12] + b"\x81\x00\x20\x07" + frame(0)[12:]
    before = time.time_ns()
    with sender(ends[0]) as packets:
        packets.send(tagged)
        for number in range(2000):
            packets.send(frame(number, 1514))
    said = running.stop()
    found = records(said["path"])
    assert event["event"] == "problem"
    assert "no packet ring (Protocol not available)" in event["says"]
    assert (said["packets"], said["dropped"]) == (2001, 0)
    assert numbers(found) == list(range(2000))
    assert (found[0].data, found[0].length) == (tagged, len(tagged))
    assert (found[-1].length, len(found[-1].data), found[-1].direction) == (1514, 256, tap.IN)
    assert before <= found[0].time_ns <= time.time_ns()


def test_a_full_disk_is_said_and_counted(ends: tuple[str, str], tmp_path: Path) -> None:
    """The file ends with a whole record; what did not fit counts as dropped; the capture lives on."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=True)
    try:
        running = start(ends[1], tmp_path)
        with sender(ends[0]) as packets:
            for number in range(2000):
                packets.send(frame(number))
            said_at = hear(running)
            packets.send(frame(2000))
        said = running.stop()
        found = numbers(records(said["path"]))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    assert "No space left on device; it ends here" in said_at[0]["says"]
    assert said["packets"] + said["dropped"] == 2001
    assert found == list(range(said["packets"]))


def test_an_overrun_ring_is_counted(ends: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel had no room for is in `dropped`: every frame is either in the file or counted."""
    monkeypatch.setattr(tap, "RINGS", ((1 << 16, 2),))
    running = start(ends[1], tmp_path, snap_length=2000)
    os.kill(running._child.pid, 19)  # type: ignore[union-attr]  # SIGSTOP: it cannot keep up
    with sender(ends[0]) as packets:
        for number in range(2000):
            packets.send(frame(number, 1514))
    os.kill(running._child.pid, 18)  # type: ignore[union-attr]
    said = running.stop()
    assert said["dropped"] > 0
    assert said["packets"] + said["dropped"] == 2000
    assert len(records(said["path"])) == said["packets"]


def test_a_missing_interface_is_an_error_of_start(ends: tuple[str, str], tmp_path: Path) -> None:
    """With the errno and the interface's name, and no process left."""
    with pytest.raises(OSError, match="on eth9: No such device") as refused:
        start(ends[0], tmp_path, "eth9")
    assert refused.value.errno == 19


def test_a_capture_that_was_stopped_has_not_ended_unexpectedly(ends: tuple[str, str], tmp_path: Path) -> None:
    """The end of the process that stop itself asked for is no event, however soon it comes."""
    for _ in range(25):
        made = start(ends[0], tmp_path)
        made.stop()
        assert made.read_events() == []


def test_a_dead_process_is_a_problem_once(ends: tuple[str, str], tmp_path: Path) -> None:
    """The loop that waits for events hears of it, and is not kept busy by it."""
    running = start(ends[1], tmp_path)
    os.kill(running._child.pid, 9)  # type: ignore[union-attr]
    (event,) = hear(running)
    assert "ended unexpectedly" in event["says"]
    assert running.read_events() == []
    assert select.select([running], [], [], 0)[0] == []
    with pytest.raises(ConnectionError):
        running.stop()


def test_an_interface_that_goes_down_is_a_problem(ends: tuple[str, str], tmp_path: Path) -> None:
    """The capture says that it heard nothing meanwhile, and hears again when it is up."""
    running = start(ends[1], tmp_path)
    ip("-n", ends[1], "link", "set", "eth0", "down")
    (event,) = hear(running)
    assert "Network is down" in event["says"]
    ip("-n", ends[1], "link", "set", "eth0", "up")
    with sender(ends[0]) as packets:
        packets.send(frame(1))
    assert numbers(records(running.stop()["path"])) == [1]


def test_the_process_dies_with_the_agent(ends: tuple[str, str], tmp_path: Path) -> None:
    """Even when the agent is killed and can end nothing: no capture stays behind."""
    told, tell = os.pipe()
    agent = os.fork()
    if not agent:
        running = start(ends[1], tmp_path)
        os.write(tell, str(running._child.pid).encode())  # type: ignore[union-attr]
        time.sleep(60)
        os._exit(0)
    process = os.pidfd_open(int(os.read(told, 20)))
    assert select.select([process], [], [], 0)[0] == []
    os.kill(agent, 9)
    os.waitpid(agent, 0)
    assert select.select([process], [], [], 2)[0] == [process]
    for number in (told, tell, process):
        os.close(number)
