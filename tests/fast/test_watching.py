"""Watching a run: what the onlooker is told, in what order it is shown, and in what words."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ether import CLIENT, SERVER, tcp
from test_run_fake_lab import PLAYED, RECORD, STEP, TOLD, FakeLab, Message, facts, walk

from testbed.agent.bringing import follow
from testbed.agent.loop import UsageError
from testbed.capture_file import Growing, read_records
from testbed.errors import Interrupted
from testbed.evidence import (
    ClockFacts,
    Evidence,
    FaultFired,
    HostFacts,
    MarkMade,
    Problem,
    Record,
    StateSample,
    StepOutcome,
)
from testbed.lab.agents import Agents
from testbed.live.lines import Lines
from testbed.live.merging import Merger
from testbed.live.pipe import Pipe
from testbed.live.pump import Pump
from testbed.live.telling import Teller, line_of
from testbed.pcap.frame import Capture, Direction, Frame
from testbed.pcap.reader import read_capture
from testbed.plan import make_plan
from testbed.report.style import plain
from testbed.run import Clock, run_plan
from testbed.scenario.model import Scenario
from testbed.stop import Stop


@dataclass
class Noted:
    """An onlooker that notes what it is told."""

    begun: Evidence | None = None
    records: list[Record] = field(default_factory=list)
    pieces: list[tuple[str, bytes]] = field(default_factory=list)
    last: list[str] = field(default_factory=list)

    def begin(self, so_far: Evidence) -> None:
        """Note it."""
        self.begun = so_far

    def heard(self, record: Record) -> None:
        """Note it."""
        self.records.append(record)

    def captured(self, vantage: str, piece: bytes) -> None:
        """Note it."""
        self.pieces.append((vantage, piece))

    def end(self, stop: Stop) -> None:
        """Note it."""
        self.last.append("end")

    def abandon(self) -> None:
        """Note it."""
        self.last.append("abandon")


def watch(lab: FakeLab, stop: Stop | None = None) -> tuple[Noted, Evidence | None]:
    """A run in the lab of fakes that is watched; None where it was broken off."""
    agents, noted = Agents(lab, stop := stop or Stop()), Noted()
    plan = make_plan("story", Scenario.model_validate(TOLD))
    try:
        return noted, run_plan(plan, agents, facts(), {}, stop, Clock(), 20.0, noted)
    except Interrupted:
        return noted, None
    finally:
        agents.close()


# --- what the onlooker is told ---


def test_an_onlooker_is_told_all_and_changes_nothing() -> None:
    """The hosts, every record and every capture, in pieces; the evidence is what it is without an onlooker."""
    programs: dict[str, list[Message | str]] = {"client": [STEP, PLAYED]}
    noted, evidence = watch(FakeLab(programs=dict(programs)))
    assert noted.begun
    assert [one.host for one in noted.begun.all(HostFacts)] == ["server", "client", "sniffer"]
    assert set(noted.begun.captures) == {"server", "client", "wire"}
    assert [record.step for record in noted.records if isinstance(record, StepOutcome)] == ["connect"]
    for vantage in ("server", "client", "wire"):
        assert b"".join(piece for name, piece in noted.pieces if name == vantage) == RECORD
    assert noted.last == ["end"]
    unwatched = walk(FakeLab(programs=dict(programs)))
    assert evidence
    assert evidence.captures == unwatched.captures
    assert sorted(map(repr, evidence.records)) == sorted(map(repr, unwatched.records))  # hosts tell when they like


def test_nobody_watches_nobody_is_asked() -> None:
    """Without an onlooker no capture is followed."""
    lab = FakeLab()
    walk(lab)
    assert "capture.follow" not in {do for _, do, _ in lab.asked}


def test_an_agent_that_cannot_be_followed_is_no_problem_of_the_run() -> None:
    """The onlooker is told; the evidence has no problem."""
    noted, evidence = watch(FakeLab(refuses={"capture.follow": "no"}))
    told = [record.says for record in noted.records if isinstance(record, Problem)]
    assert len(told) == 3
    assert "its packets were not all seen while the run went on" in told[0]
    assert evidence
    assert not evidence.all(Problem)


def test_a_run_that_is_broken_off_waits_for_no_onlooker() -> None:
    """Ctrl-C while it plays: the onlooker is abandoned, not asked to show the rest."""
    stop = Stop()
    lab = FakeLab(programs={"client": ["wait"]}, on_play=lambda: stop.request("SIGINT"))
    noted, evidence = watch(lab, stop)
    assert (evidence, noted.last) == (None, ["abandon"])


# --- the agent's side: a file as it grows ---


def test_a_file_is_followed_until_nobody_writes_to_it(tmp_path: Path) -> None:
    """What is there, what is added, and what was written last before the end; then the count of it all."""
    path = tmp_path / "f"
    told: list[dict[str, object]] = []
    ended = False
    with path.open("wb", buffering=0) as file:
        file.write(b"abcde")
        work = follow({"id": 7, "do": "capture.follow", "chunk": 3}, str(path), lambda: ended, told.append)
        waits = [next(work) for _ in range(3)]
        assert [one["data"] for one in told] == ["YWJj", "ZGU="]
        assert waits[:2] == [0.0, 0.0]
        assert waits[2] > 0
        file.write(b"f")
        ended = True
        assert next(work) == 0.0
        with pytest.raises(StopIteration) as end:
            next(work)
    assert end.value.value == {"bytes": 6}
    assert {one["id"] for one in told} == {7}


def test_of_a_file_that_is_removed_nothing_more_is_told(tmp_path: Path) -> None:
    """After `reset` nothing of the time before it is told any more."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    told: list[dict[str, object]] = []
    work = follow({"id": 7, "do": "capture.follow", "chunk": 9}, str(path), lambda: bool(told), told.append)
    next(work)
    path.unlink()
    with pytest.raises(StopIteration):
        next(work)
    assert len(told) == 1
    with pytest.raises(UsageError, match="at least 1 byte"):
        next(follow({"id": 7, "do": "capture.follow", "chunk": 0}, str(path), lambda: True, told.append))


def test_records_cut_anywhere_are_the_same_records() -> None:
    """Whatever the pieces, the frames are those of the whole file."""
    content = b"".join(struct.pack("<QIIB", at, 60, at, 1) + bytes(at) for at in range(5))
    for size in range(1, len(content) + 1):
        growing, frames = Growing(), list[Frame]()
        for at in range(0, len(content), size):
            frames += growing.take(content[at : at + size])
        assert frames == list(read_records(content))


# --- the order ---


def test_what_happened_first_goes_first_within_the_window() -> None:
    """A later message of an earlier packet goes ahead; nothing goes before it was held for the window."""
    merger: Merger[str] = Merger(window_ns=10)
    merger.put("late", 200, (0, 0), now_ns=1)
    merger.put("early", 100, (0, 0), now_ns=5)
    assert list(merger.take(10)) == []
    assert list(merger.take(11)) == ["early", "late"]


def test_equal_times_go_by_rank_then_as_they_came() -> None:
    """As in the trace: sender, wire, receiver."""
    merger: Merger[str] = Merger(window_ns=10)
    for name, rank in (("receiver", 2), ("wire", 1), ("wire again", 1), ("sender", 0)):
        merger.put(name, 100, (rank, 0), now_ns=0)
    assert list(merger.take(10)) == ["sender", "wire", "wire again", "receiver"]


def test_nothing_is_lost_however_late() -> None:
    """What comes behind the window goes at the next look, and the end gives all that is left."""
    merger: Merger[str] = Merger(window_ns=10)
    merger.put("a", 100, (0, 0), now_ns=0)
    assert list(merger.take(10)) == ["a"]
    merger.put("far too late", 50, (0, 0), now_ns=11)
    assert list(merger.take(11)) == ["far too late"]
    merger.put("c", 300, (0, 0), now_ns=12)
    merger.put("b", 200, (0, 0), now_ns=12)
    assert list(merger.take_all()) == ["b", "c"]
    assert not len(merger)


# --- hosts on several machines ---


def recorded(time_ns: int, data: bytes, direction: Direction) -> bytes:
    """A record of a capture file."""
    return struct.pack("<QIIB", time_ns, len(data), len(data), direction.value) + data


def test_without_a_wire_packets_are_told_as_sent_and_on_our_clock() -> None:
    """Each packet once, also one of whose arrival nobody knows; of two clocks 5 s apart the order is the true one."""
    ahead = 5_000_000_000
    scenario = Scenario.model_validate(TOLD)
    addresses = {"client": CLIENT, "server": SERVER}
    hosts = [HostFacts(name, name, address, "", "", "eth0") for name, address in addresses.items()]
    clock = ClockFacts("server", "far", ahead, 0, ahead, 0, 0, 0)
    vantages = ("client", "server", "server:link0")
    so_far = Evidence(scenario, (facts(), *hosts, clock), {name: Capture((), ()) for name in vantages})
    out = io.StringIO()
    pump = Pump([Lines(out, unicode=False)])
    pump.begin(so_far)
    syn, answer = tcp("S"), tcp("SA", 0, 1, source=SERVER, to=CLIENT, ports=(7456, 40000))
    for name in ("server", "server:link0"):
        pump.captured(name, recorded(2_000 + ahead, syn, Direction.IN))
    pump.captured("server", recorded(4_000 + ahead, answer, Direction.OUT))
    pump.heard(StateSample("server", 3_000 + ahead, "a b", "LISTEN", "SYN_RECV"))
    pump.captured("client", recorded(1_000, syn, Direction.OUT))
    pump.end(Stop())
    assert [line.split()[:3] for line in out.getvalue().splitlines()] == [
        ["0.000000", "packet", "client:40000"],
        ["0.000002", "state", "server"],
        ["0.000003", "packet", "server:7456"],
    ]


# --- the words ---

HOSTS = {CLIENT: "client", SERVER: "server"}


def frame_of(number: int, data: bytes) -> Frame:
    """A frame, one microsecond behind the one before."""
    return Frame(number * 1000, data, len(data), 0, Direction.IN)


def test_packets_are_told_with_names_and_relative_numbers() -> None:
    """A handshake and data, with the hosts' names; sequence numbers count from each side's SYN."""
    teller = Teller(HOSTS)
    answer = tcp("SA", 5000, 0, source=SERVER, to=CLIENT, ports=(7456, 40000))
    packets = (tcp("S", 0xFFFFFFFF), answer, tcp("PA", 0, 5001, b"hola"))
    said = [told.says for at, data in enumerate(packets) if (told := teller.frame(frame_of(at, data)))]
    assert said == [
        "client:40000 > server:7456  S seq 0 win 65535",
        "server:7456 > client:40000  S. seq 0 ack 1 win 65535",
        "client:40000 > server:7456  P. seq 1 ack 1 len 4",
    ]
    assert teller.frame(Frame(0, b"\xff" * 12 + b"\x08\x06" + bytes(28), 42)) is None


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (
            StateSample("client", 1_500_000, "a:1 b:2", "CLOSE", "SYN_SENT"),
            "  0.001500  state    client  CLOSE > SYN_SENT  a:1 b:2",
        ),
        (
            StepOutcome("client", "0", "connect", "error", 0, 2_000_000, errno="ECONNREFUSED"),
            "  0.002000  step     client  connect error ECONNREFUSED",
        ),
        (FaultFired("client", 0, 0, "drop", "SYN-ACK \x1b[2J"), "  0.000000  fault    client  drop: SYN-ACK \\x1b[2J"),
        (Problem("wire", "cut"), "            problem  wire  cut"),
        (MarkMade("client", 0, "m"), ""),
    ],
)
def test_what_hosts_tell_is_a_line(record: Record, line: str) -> None:
    """When, what kind, where and what; escapes are shown, not sent; what is no event of its own is not told."""
    told = Teller(HOSTS).record(record)
    assert (plain([line_of(told, 0)]).rstrip("\n") if told else "") == line


# --- the capture for another program ---


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read, where to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def so_far() -> Evidence:
    """What is known when a run begins."""
    scenario = Scenario.model_validate(TOLD)
    host = HostFacts("server", "server", "198.18.0.2", "02:00:00:00:00:02", "6.1", "eth0")
    return Evidence(scenario, (facts(), host), {"server": Capture((), ()), "wire": Capture((), ())})


def test_packets_are_there_as_soon_as_they_are_written(pipe: tuple[int, int]) -> None:
    """The header names the vantage points; each packet can be read before the next one comes."""
    reader, writer = pipe
    outlet = Pipe(writer, str)
    outlet.begin(so_far())
    outlet.frame(frame := Frame(1000, bytes(60), 60, 1, Direction.IN))
    read = read_capture(os.read(reader, 1 << 16))
    assert [interface.name for interface in read.interfaces] == ["wire", "server"]
    assert "198.18.0.2" in read.interfaces[1].description
    assert read.frames == (frame,)


def test_a_reader_that_is_gone_is_told_once(pipe: tuple[int, int], capsys: pytest.CaptureFixture[str]) -> None:
    """The writing ends; nothing is raised."""
    reader, writer = pipe
    outlet = Pipe(writer, lambda error: f"gone ({error.strerror})")
    os.close(reader)
    outlet.begin(so_far())
    outlet.frame(Frame(1000, bytes(60), 60, 1, Direction.IN))
    assert capsys.readouterr().err == "gone (Broken pipe); the run goes on without it\n"


def test_nobody_waits_for_a_full_pipe_that_was_abandoned(pipe: tuple[int, int]) -> None:
    """More than a pipe holds, and nobody reads: it returns all the same."""
    outlet = Pipe(pipe[1], str)
    outlet.begin(so_far())
    outlet.abandon()
    outlet.frame(Frame(1000, bytes(1 << 20), 1 << 20, 1, Direction.IN))
