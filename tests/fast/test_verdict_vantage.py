"""Vantage points put together: which there are, what they missed, and what the view makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import CLIENT, CLIENT_ISN, HOLA, START_NS, STEPS, Story, hola, uncaptured, with_records, without

from testbed.evidence import WIRE, CaptureCount, ClockFacts, Evidence, HostFacts, Problem, ProgramEnd
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics, LinkType
from testbed.verdict.merge import describe, dropped, is_canary, merge, rank, vantages
from testbed.verdict.view import kernel_of, look

CANARY = bytes(12) + b"\x88\xb5" + b"testbed canary"


def with_captures(evidence: Evidence, **captures: Capture) -> Evidence:
    """The evidence with these captures, `_` standing for a colon, in place of those of their names."""
    named = {name.replace("_", ":"): capture for name, capture in captures.items()}
    return replace(evidence, captures={**evidence.captures, **named})


def test_order_of_vantage_points() -> None:
    """The wire, each host with what is behind its link, then any others by name; only what was captured."""
    evidence = Story({"wire": {"delay": "1ms"}}).evidence()
    every = ("wire", "server", "server:link0", "client", "client:link0")
    assert vantages(evidence) == every
    assert vantages(uncaptured(evidence, "server")) == tuple(name for name in every if name != "server")
    assert vantages(uncaptured(evidence)) == every[1:]
    others = {"zz": Capture((), ()), "aa": Capture((), ())}
    assert vantages(with_captures(evidence, **others)) == (*every, "aa", "zz")


@pytest.mark.parametrize(
    ("vantage", "says"),
    [
        ("wire", "the wire, as the sniffer hears it"),
        ("client", "eth0 of client, 198.18.0.2"),
        ("server", "eth0 of server, 198.18.0.3"),
        ("client:link0", "behind the impaired link of client: what was delivered"),
        ("other", "host other"),
    ],
)
def test_places_in_words(vantage: str, says: str) -> None:
    """Where a vantage point is."""
    assert describe(Story({}).evidence(), vantage) == says


@pytest.mark.parametrize(
    ("vantage", "direction", "place"),
    [
        ("client", Direction.OUT, 0),
        ("wire", Direction.OUT, 1),
        ("wire", Direction.IN, 1),
        ("client", Direction.IN, 2),
        ("client", Direction.UNKNOWN, 2),
        ("client:link0", Direction.OUT, 3),
        ("client:link0", Direction.IN, 3),
    ],
)
def test_places_on_the_way(vantage: str, direction: Direction, place: int) -> None:
    """The order of a packet's way: sender, wire, receiver, behind the link."""
    assert rank(vantage, Frame(0, b"", 0, 0, direction)) == place


@pytest.mark.parametrize(
    ("data", "link_type", "canary"),
    [
        (CANARY, LinkType.ETHERNET, True),
        (CANARY, LinkType.RAW, False),
        (bytes(11) + b"\x88\xb5", LinkType.ETHERNET, False),
        (bytes(13) + b"\x88\xb5", LinkType.ETHERNET, False),
        (bytes(12) + b"\x08\x00" + b"\x88\xb5", LinkType.ETHERNET, False),
    ],
)
def test_canaries(data: bytes, link_type: LinkType, canary: bool) -> None:
    """The lab's own frames are known by their type, on Ethernet alone."""
    frame = Frame(0, data, len(data))
    assert is_canary(frame, (Interface("x", link_type),)) is canary
    assert link_type is not LinkType.ETHERNET or is_canary(frame, ()) is canary


def test_each_interface_of_a_vantage_point() -> None:
    """Interfaces are told apart by their index in the trace, also where a capture describes none."""
    evidence = Story({}).evidence()
    data = bytes(20)
    wire = Capture(
        (Interface("a", LinkType.RAW), Interface("b")), (Frame(5, data, 20, 1),), (InterfaceStatistics(1, 9, 4),)
    )
    server = Capture((), (Frame(5, data, 20), Frame(3, data, 20)), (), (), ("torn",))
    trace = merge(with_captures(evidence, wire=wire, server=server, client=Capture((), ())))
    assert [one.name for one in trace.interfaces] == ["wire", "wire", "server", "client"]
    assert [one.link_type for one in trace.interfaces[:2]] == [LinkType.RAW, LinkType.ETHERNET]
    assert [(frame.time_ns, frame.interface) for frame in trace.frames] == [(3, 2), (5, 1), (5, 2)]
    assert trace.statistics == (
        InterfaceStatistics(1, 9, 4),
        InterfaceStatistics(2, 0, 0),
        InterfaceStatistics(3, 0, 0),
    )
    assert trace.warnings == ("server: torn",)


def test_counts_of_a_file_behind_others() -> None:
    """The counts of a file are those of its own interfaces, where others stand before them in the trace."""
    server = Capture((Interface("a"), Interface("b")), (), (InterfaceStatistics(1, 9, 4),))
    evidence = without(Story({}).evidence(), CaptureCount)
    assert merge(with_captures(evidence, server=server)).statistics == (InterfaceStatistics(1 + 1, 9, 4),)


def test_frames_of_one_moment() -> None:
    """Frames of one vantage point and time keep the order in which it captured them."""
    frames = tuple(Frame(5, bytes([number]) * 20, 20) for number in (2, 3, 1))
    trace = merge(with_captures(Story({}).evidence(), client=Capture((Interface("a"),), frames)))
    assert [frame.data[0] for frame in trace.frames] == [2, 3, 1]


def test_counts_of_a_capture() -> None:
    """Where a file holds no counts, those of the agent stand in the trace: all that came, and what was dropped."""
    evidence = with_records(without(Story({}).evidence(), CaptureCount), CaptureCount("client", "client", "eth0", 5, 2))
    assert merge(evidence).statistics == (InterfaceStatistics(2, 7, 2),)


def test_what_captures_missed() -> None:
    """Both the agent's count and the file's are asked, and the larger one stands."""
    evidence = without(Story({}).evidence(), CaptureCount)
    wire = Capture(
        (Interface("a"), Interface("b")), (), tuple(InterfaceStatistics(n, 9, d) for n, d in enumerate((4, 3)))
    )
    server = Capture((Interface("a"),), (), (InterfaceStatistics(0, 9, None),))
    counts = (CaptureCount("wire", "sniffer", "eth0", 1, 5), CaptureCount("server", "server", "eth0", 1, 1))
    told = with_captures(
        with_records(evidence, *counts, CaptureCount("gone", "x", "y", 1, 6)), wire=wire, server=server
    )
    assert dropped(told) == {"client": 0, "gone": 6, "server": 1, "wire": 7}
    unknown = with_captures(with_records(evidence, CaptureCount("gone", "x", "y", 1, 0)), server=server)
    assert dropped(unknown) == {"client": 0, "gone": 0, "server": 0, "wire": 0}


# ---------------------------------------------------------------- the view


def test_only_the_wire_is_followed() -> None:
    """Connections are those of the wire; other protocols are packets of it, and no connections."""
    story = hola()
    story.udp(50, "client", b"x")
    view = look(story.evidence())
    assert {view.trace.interfaces[packet.interface].name for packet in view.wire} == {"wire"}
    assert (len(view.wire), len(view.packets), len(view.connections)) == (9, 27, 1)
    assert view.connections[0].packets == tuple(range(2, 24, 3))
    assert view.by_number[26].payload == b"x"
    assert view.hosts[CLIENT] == "client"


def test_trip_of_each_packet() -> None:
    """A packet leads to its trip from wherever it was seen."""
    story = Story({"wire": {"delay": "10ms"}})
    story.tcp(0, "client", "S")
    view = look(story.evidence())
    (trip,) = view.trips
    assert {number: view.trip_of.get(number) for number in range(1, 6)} == {1: trip, 2: trip, 3: trip, 4: None, 5: trip}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("a.b", 2),
        ("a.b.c", 2),
        ("a.b.c.d", 2),
        ("a", 1),
        ("a.x", 1),
        ("x.y", None),
        ("", None),
        ("moved", 2),
    ],
)
def test_lines_of_the_scenario(path: str, line: int | None) -> None:
    """The line of a path, or of the nearest thing around it; what only some kernels are asked stands elsewhere."""
    view = look(Story({}).evidence())
    run = replace(view.evidence.run, lines={"a": 1, "a.b": 2})
    evidence = replace(view.evidence, records=(run,))
    assert replace(view, evidence=evidence, places={"moved": "a.b"}).line(path) == line


def test_a_packet_in_words() -> None:
    """Number, time since the start, place, what it is, whether again, from whom, and what became of it."""
    story = Story({"wire": {"delay": "1ms", "client->server": {"loss": "50%"}}})
    story.tcp(0, "client", "S", lost=True)
    story.tcp(1500, "client", "S")
    story.tcp(3000, "server", "S.", 0, 1)
    view = look(story.evidence())
    assert [view.say(number) for number in (1, 2, 6, 9)] == [
        "packet 1 at 0.000 s on client is SYN from client (lost: chance)",
        "packet 2 at 0.000 s on wire is SYN from client (lost: chance)",
        "packet 6 at 1.500 s on wire is SYN again from client",
        "packet 9 at 1.500 s on server:link0 is SYN from client",
    ]
    stranger = replace(view, hosts={})
    assert stranger.say(2).endswith("is SYN from 198.18.0.2 (lost: chance)")
    assert view.say_all([1]) == view.say(1)
    assert view.say_all([1, 2, 6, 9, 1]) == "; ".join(map(view.say, (1, 2, 6, 9, 1)))
    assert view.say_all([1, 2, 6, 9, 1, 6]) == "; ".join((view.say(1), view.say(2), "2 more", view.say(1), view.say(6)))
    assert view.say_all([]) == ""


def test_a_fin_again() -> None:
    """A FIN is the same where the sequence space that it takes is, with the last data or without it."""
    story = Story({})
    story.open()
    story.tcp(10, "client", "FP.", 1, 1, HOLA)
    story.tcp(20, "client", "F.", 1 + len(HOLA), 1)
    story.tcp(30, "client", "F.", 1 + len(HOLA) + 64, 1)
    story.tcp(40, "server", "F.", 1, 2 + len(HOLA))
    view = look(story.evidence())
    again = view.connections[0].packets[4]
    assert view.again == {again}
    assert view.say(again) == "packet 14 at 0.020 s on wire is FIN again from client"


def test_a_fin_again_behind_the_wrap() -> None:
    """The number behind 2**32 - 1 is 0, for a FIN too."""
    story = Story({})
    isn = 2**32 - CLIENT_ISN - 6  # 5 octets and the SYN later it is 0
    story.tcp(0, "client", "S", isn)
    story.tcp(1, "server", "S.", 0, isn + 1)
    story.tcp(2, "client", "FP.", isn + 1, 1, b"Hola!")
    story.tcp(20, "client", "F.", -CLIENT_ISN, 1)
    view = look(story.evidence())
    assert view.connections[0].packets == (2, 5, 8, 11)
    assert view.again == {11}


def test_a_moment_late_in_a_run() -> None:
    """Moments are told to the millisecond, also of a run of ten days."""
    assert look(Story({}).evidence()).seconds(START_NS + 864_000 * 10**9) == "864000.000 s"


def test_clocks_of_hosts_reach_the_traffic() -> None:
    """How far two hosts' clocks may be off is known to what is measured between them."""
    clocks = (
        ClockFacts("client", "a", 0, 0, 0, 0, 0, 0, {"server": 5_000}),
        ClockFacts("server", "b", 0, 0, 0, 0, 0, 0, {"client": 7_000}),
    )
    traffic = look(with_records(hola().evidence(), *clocks)).traffic
    assert {one.name: one.whole.unsure_ns for one in traffic} == {"client->server": 5_000, "server->client": 7_000}


@pytest.mark.parametrize(
    ("kernels", "version"),
    [(["6.1.0-18-amd64", "5.15.4"], (5, 15)), (["6.10", "6.9"], (6, 9)), ([], (0, 0))],
)
def test_kernel_of_the_hosts(kernels: list[str], version: tuple[int, int]) -> None:
    """The lowest version of the hosts' kernels is what expectations for a range of kernels go by."""
    facts = [HostFacts(f"h{n}", "client", f"198.18.0.{n}", "", kernel, "eth0") for n, kernel in enumerate(kernels)]
    assert kernel_of(with_records(without(Story({}).evidence(), HostFacts), *facts)) == version


def test_judgement_tells_the_traffic() -> None:
    """Each direction's traffic is part of what was judged, for who writes the report."""
    assert [(one.name, one.whole.packets) for one in hola().judge().traffic] == [
        ("server->client", 3),
        ("client->server", 5),
    ]


def broken(evidence: Evidence) -> tuple[str, ...]:
    """Why nothing of the run counts."""
    return look(evidence).broken


def test_why_a_run_does_not_count() -> None:
    """Problems of the lab, programs that somebody killed, hosts that never came up, a wire that did something else."""
    good = hola().evidence()
    assert broken(good) == ()
    assert broken(with_records(good, Problem("server", "gone"), Problem("wire", "deaf"))) == (
        "server: gone",
        "wire: deaf",
    )
    end = ProgramEnd("client", START_NS, None, "SIGKILL")
    killed = "client: its program was killed by SIGKILL, which no step of it asks for"
    assert broken(with_records(good, end)) == (killed,)
    assert broken(with_records(good, replace(end, host="stranger")))[0].startswith(
        "stranger: its program was killed by"
    )
    assert broken(with_records(good, replace(end, signal=None))) == ()
    assert broken(without(good, HostFacts)) == ("no host came up",)
    lossy = Story({"wire": {"client->server": {"blackhole": True}}})
    lossy.open()
    assert broken(lossy.evidence()) == (
        "the wire did not do what was asked: a blackhole was asked for from client to server, and 2 packets "
        "got through",
    )


@pytest.mark.parametrize(
    ("steps", "signal", "own"),
    [
        (["kill"], "SIGKILL", True),
        ([{"kill": "SIGTERM"}], "SIGTERM", True),
        ([{"kill": "SIGTERM"}], "SIGKILL", False),
        ([{"repeat": 2, "steps": ["kill"]}], "SIGKILL", True),
        ([{"log": "x"}], "SIGKILL", False),
    ],
)
def test_a_signal_of_its_own(steps: list[Any], signal: str, own: bool) -> None:
    """A program that has a step for the signal that ended it was not killed by somebody else."""
    story = Story({"hosts": {**STEPS, "client": {"steps": steps}}})
    story.records.append(ProgramEnd("client", START_NS, None, signal))
    assert (broken(story.evidence()) == ()) is own


def blind(evidence: Evidence) -> tuple[str, ...]:
    """Why what rests on packets cannot be told."""
    return look(evidence).blind


def test_why_packets_were_not_seen() -> None:
    """Each way of not hearing the wire in full; what other captures missed does not blind."""
    good = hola().evidence()
    assert blind(good) == ()
    assert blind(uncaptured(good)) == ("nothing was captured on the wire",)
    many = len(good.captures[WIRE].frames)
    missed = "the capture on the wire missed 3 packets, which the kernel dropped"
    assert blind(with_records(good, CaptureCount(WIRE, "sniffer", "eth0", 0, 3))) == (missed,)
    assert blind(with_records(good, CaptureCount("server", "server", "eth0", 50, 3))) == ()
    short = f"the capture of the wire holds {many} of the {many + 1} packets that it counted"
    assert blind(with_records(good, CaptureCount(WIRE, "sniffer", "eth0", 1, 0))) == (short,)
    torn = replace(good.captures[WIRE], warnings=("one", "two"))
    assert blind(with_captures(good, wire=torn)) == tuple(
        f"the capture of the wire is not whole: {says}" for says in ("one", "two")
    )
    more = replace(good.captures[WIRE], frames=(*good.captures[WIRE].frames, Frame(START_NS, CANARY, len(CANARY))))
    assert blind(with_captures(good, wire=more)) == ()


def test_payload_that_was_cut() -> None:
    """Packets of the wire that a capture cut are counted, and the first is named; others do not matter."""
    story = hola()
    data = 4  # SYN, SYN-ACK, ACK, DATA
    for vantage in ("server", WIRE):
        frame = story.frames[vantage][data - 1]
        story.frames[vantage][data - 1] = replace(frame, data=frame.data[:-5])
        cut = look(story.evidence()).cut
        assert cut == (() if vantage == "server" else ("1 packets on the wire were cut, the first is packet 11",))
