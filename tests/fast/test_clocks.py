"""Clocks of several machines, and the wire put together from its ends: pure, from stories with a known truth."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from testbed.clocks import (
    Bounds,
    Reading,
    agree,
    ahead_ns,
    align_captures,
    align_records,
    bound,
    facts_of,
    refine,
    sights,
)
from testbed.ends import OVERTAKING_NS, join_ends, lost_between
from testbed.evidence import ClockFacts, MarkMade, StateSample, dump_records, load_records
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics

MS = 1_000_000
S = 1_000 * MS
START = 1_700_000_000 * S
ENGINES = {"client": "left", "server": "right"}
CLIENT, SERVER = bytes.fromhex("024200000002"), bytes.fromhex("024200000003")
MACS = {CLIENT.hex(":"): "client", SERVER.hex(":"): "server"}


def read(ahead_ns: int, at_ns: int, there_ns: int, back_ns: int) -> Reading:
    """A question to a clock that is so far ahead, by a way of so long."""
    return Reading(at_ns, at_ns + there_ns + ahead_ns, at_ns + there_ns + back_ns)


def story(ahead: dict[str, int], drift_ppm: dict[str, float], *, packets: int = 60) -> dict[str, Capture]:
    """Packets both ways, for 10 s; the truth is that each takes 0.1 ms to 3 ms. Each host's clock tells its times."""
    random = Random(7)
    frames: dict[str, list[Frame]] = {"client": [], "server": []}

    def shown(host: str, time_ns: int) -> int:
        return time_ns + ahead[host] + round(drift_ppm[host] * (time_ns - START) / 1e6)

    for number in range(packets):
        a, b = ("client", "server") if number % 2 else ("server", "client")
        sent = START + number * 10 * S // packets
        came = sent + random.randint(100_000, 3 * MS)
        data = (SERVER + CLIENT if a == "client" else CLIENT + SERVER) + b"\x08\x00" + number.to_bytes(4)
        frames[a].append(Frame(shown(a, sent), data, len(data), 0, Direction.OUT))
        frames[b].append(Frame(shown(b, came), data, len(data), 0, Direction.IN))
    return {
        host: Capture(
            (Interface(host),), tuple(sorted(found, key=lambda f: f.time_ns)), (InterfaceStatistics(0, 0, 0),)
        )
        for host, found in frames.items()
    }


def clocks(ahead: dict[str, int], drift_ppm: dict[str, float], way_ns: int = MS) -> tuple[ClockFacts, ...]:
    """What the control channel finds of such clocks, by answers that each come over a way of so long."""
    found = []
    for host, engine in ENGINES.items():
        before = bound([read(ahead[host], START, way_ns, way_ns // 3)])
        after = bound([read(ahead[host] + round(drift_ppm[host] * 10_000), START + 10 * S, way_ns // 3, way_ns)])
        assert before
        assert after
        found.append(facts_of(host, engine, before, after))
    return tuple(found)


# ---------------------------------------------------------------- the control channel


def test_bounds_hold_the_truth_and_narrow() -> None:
    """Whatever the two ways took, the truth lies within the bounds; more questions never widen them."""
    random = Random(3)
    readings: list[Reading] = []
    width = None
    for _ in range(50):
        readings.append(read(5 * S, START, random.randint(1, 4 * MS), random.randint(1, 4 * MS)))
        found = bound(readings)
        assert found is not None
        assert found.low_ns <= 5 * S <= found.high_ns
        assert abs(found.middle_ns - 5 * S) <= found.error_ns
        assert width is None or found.high_ns - found.low_ns <= width
        width = found.high_ns - found.low_ns


def test_a_clock_that_is_set_between_questions() -> None:
    """Readings that no one offset explains give no bounds."""
    assert bound([read(0, START, MS, MS), read(5 * S, START, MS, MS)]) is None


def test_drift_is_believed_only_where_it_must_be() -> None:
    """Bounds that overlap have one offset; else the clock moves from one middle to the other."""
    steady = facts_of("client", "left", Bounds(START, -100, 300), Bounds(START + S, 100, 500))
    assert (steady.before_ns, steady.after_ns) == (200, 200)
    assert steady.error_ns == 300
    drifting = facts_of("client", "left", Bounds(START, 0, 200), Bounds(START + S, 900, 1100))
    assert (drifting.before_ns, drifting.after_ns, drifting.error_ns) == (100, 1000, 100)
    assert ahead_ns(drifting, START + S // 2 + 550) == pytest.approx(550, abs=2)


# ---------------------------------------------------------------- packets


@pytest.mark.parametrize("ahead", [{"client": 0, "server": 0}, {"client": -3 * S, "server": 5 * S}])
@pytest.mark.parametrize("ppm", [{"client": 0.0, "server": 0.0}, {"client": -20.0, "server": 80.0}])
def test_no_packet_arrives_before_it_left(ahead: dict[str, int], ppm: dict[str, float]) -> None:
    """On one clock every packet took some time, and the truth lies within what is said of it."""
    told, found = story(ahead, ppm), clocks(ahead, ppm)
    refined, against = refine(found, sights(align_captures(told, found), ENGINES))
    assert against is None
    aligned = align_captures(told, refined)
    sent = {f.data: f.time_ns for c in aligned.values() for f in c.frames if f.direction is Direction.OUT}
    came = {f.data: f.time_ns for c in aligned.values() for f in c.frames if f.direction is Direction.IN}
    truth = align_captures(story(dict.fromkeys(ahead, 0), dict.fromkeys(ppm, 0.0)), ())
    right = {f.data: f.time_ns for c in truth.values() for f in c.frames if f.direction is Direction.IN}
    assert all(came[data] - sent[data] >= -1 for data in sent)
    assert all(abs(came[data] - right[data]) <= 4 * MS for data in sent)
    assert all(0 < clock.between[peer] < 2 * MS for clock in refined for peer in clock.between)
    assert all(clock.sure_ns <= clock.error_ns for clock in refined)


def test_packets_that_contradict_the_clocks() -> None:
    """An engine that tells a wrong time over the control channel (5 s) is found out by any packet the other way."""
    none = {"client": 0, "server": 0}
    still = {"client": 0.0, "server": 0.0}
    wrong = clocks({"client": 0, "server": 5 * S}, still)
    refined, against = refine(wrong, sights(align_captures(story(none, still), wrong), ENGINES))
    assert against is not None
    assert against.source == "client"
    assert against.took_ns < -4 * S
    assert all(clock.sure_ns > 4 * S for clock in refined)


def test_a_clock_that_is_set_during_the_play() -> None:
    """Half of the packets before a step of 5 s, half after it: no straight line explains both."""
    still = {"client": 0.0, "server": 0.0}
    calm = story({"client": 0, "server": 0}, still)
    stepped = tuple(
        replace(f, time_ns=f.time_ns + (5 * S if f.time_ns > START + 5 * S else 0)) for f in calm["server"].frames
    )
    told = {**calm, "server": replace(calm["server"], frames=stepped)}
    before = clocks({"client": 0, "server": 0}, still)
    after = clocks({"client": 0, "server": 5 * S}, still)
    found = tuple(
        facts_of(
            a.host,
            a.engine,
            Bounds(START, a.before_ns - MS, a.before_ns + MS),
            Bounds(START + 10 * S, b.after_ns - MS, b.after_ns + MS),
        )
        for a, b in zip(before, after, strict=True)
    )
    assert refine(found, sights(align_captures(told, found), ENGINES))[1] is not None


def test_three_engines_agree() -> None:
    """Bounds between two pairs bound the third; corrections satisfy all of them."""
    least = {("a", "b"): 50, ("b", "a"): 70, ("b", "c"): -900, ("c", "b"): 1000}
    found = agree({"a": 2000, "b": 2000, "c": 2000}, least)
    x = found.corrections_ns
    assert found.against is None
    assert all(x[i] - x[j] <= took + 1 for (i, j), took in least.items())
    assert found.pairs_ns["a", "c"] < 300
    assert agree({"a": 10, "b": 10}, {("a", "b"): -50, ("b", "a"): 60}).against == ("a", "b")
    assert agree({"a": 10**9, "b": 10**9}, {("a", "b"): -50, ("b", "a"): 40}).against == ("a", "b")


# ---------------------------------------------------------------- records


def test_records_are_moved_by_their_hosts_clock() -> None:
    """A host's times are put on our clock; a time that was not told, and other hosts' times, stay."""
    clock = facts_of("client", "left", Bounds(START, 5 * S, 5 * S), Bounds(START + S, 5 * S, 5 * S))
    state = StateSample("client", START + 6 * S, "x", "CLOSE", "LISTEN")
    records = (state, replace(state, host="server"), MarkMade("client", 0, "go"), clock)
    moved = align_records(records, [clock])
    assert moved == (replace(state, time_ns=START + S), records[1], records[2], clock)


def test_clock_facts_read_back() -> None:
    """The record of a clock is stored and read like any other."""
    clock = replace(facts_of("a", "e", Bounds(1, 2, 3), Bounds(4, 2, 3)), between={"b": 7})
    assert load_records(dump_records([clock])) == (clock,)


# ---------------------------------------------------------------- the wire from its ends


def frame(time_ns: int, to: bytes, payload: bytes, direction: Direction) -> Frame:
    """A frame."""
    data = to + b"\x02" * 6 + b"\x08\x00" + payload
    return Frame(time_ns, data, len(data), 0, direction)


def capture(*frames: Frame, dropped: int = 0) -> Capture:
    """A capture at a host."""
    return Capture((Interface("x"),), frames, (InterfaceStatistics(0, len(frames), dropped),))


def test_the_wire_has_each_frame_once_as_it_was_sent() -> None:
    """A frame stands in the wire when it left; one that no host has sent, when it came in; drops are told."""
    ends = {
        "client": capture(frame(1, SERVER, b"syn", Direction.OUT), frame(9, CLIENT, b"synack", Direction.IN)),
        "server": capture(
            frame(3, SERVER, b"syn", Direction.IN),
            frame(5, CLIENT, b"synack", Direction.OUT),
            frame(7, SERVER, b"from elsewhere", Direction.IN),
            dropped=2,
        ),
    }
    wire = join_ends(ends, 65535)
    assert [(f.time_ns, f.data[14:]) for f in wire.frames] == [(1, b"syn"), (5, b"synack"), (7, b"from elsewhere")]
    assert wire.interfaces[0].name == "wire"
    assert wire.statistics[0].dropped == 2


def test_a_frame_to_all_counts_once() -> None:
    """What several hosts hear and nobody sent is one frame."""
    alien = frame(4, b"\xff" * 6, b"hello", Direction.IN)
    assert len(join_ends({"client": capture(alien), "server": capture(alien)}, 65535).frames) == 1


def test_losses_between_the_ends() -> None:
    """A frame that left and never came is lost, by direction; what was sent at the very end is not held for lost."""
    late = 2 * OVERTAKING_NS
    ends = {
        "client": capture(
            frame(1, SERVER, b"lost", Direction.OUT),
            frame(2, SERVER, b"twice", Direction.OUT),
            frame(2, SERVER, b"twice", Direction.OUT),
            frame(late, SERVER, b"under way", Direction.OUT),
        ),
        "server": capture(frame(3, SERVER, b"twice", Direction.IN), frame(late, CLIENT, b"end", Direction.IN)),
    }
    assert lost_between(ends, MACS) == {("client", "server"): 2}
