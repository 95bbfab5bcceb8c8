"""The fate of packets: matching across vantage points, losses and their causes, and a wire that did less than asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdict_story import HOLA, START_NS, STEPS, Story, find, hola, uncaptured, with_records, without

from testbed.evidence import CaptureCount, FaultFired, LinkCount
from testbed.packet import Packet, Protocol
from testbed.pcap.frame import Direction, Frame
from testbed.verdict.judge import judge
from testbed.verdict.ledger import digest
from testbed.verdict.merge import merge
from testbed.verdict.odds import at_most
from testbed.verdict.pairing import pair
from testbed.verdict.value import Judgement, Outcome, Trip
from testbed.verdict.ways import gather

MS = 1_000_000


def lossy(fault: dict[str, Any] | None = None, **wire: Any) -> Story:
    """A story with an impaired wire."""
    return Story({"wire": {"delay": "10ms", **wire}, "faults": [fault] if fault else []})


def fates(judgement: Judgement) -> Counter[tuple[str, str]]:
    """How many trips ended how."""
    return Counter((trip.fate, trip.cause) for trip in judgement.trips)


def test_every_packet_is_followed() -> None:
    """A packet seen at all four places is one trip, with its numbers in order of its way, and its time."""
    story = lossy()
    story.open()
    story.play()
    judgement = story.judge()
    assert judgement.verdict is Outcome.PASSED
    assert [trip.fate for trip in judgement.trips] == ["delivered"] * 3
    first = judgement.trips[0]
    assert first.ended_ns is not None
    assert first.sent_ns is not None
    assert first.ended_ns - first.sent_ns == 10 * MS + 25_000
    places = [judgement.packets[n - 1] for n in (first.sent, first.wire, first.arrived, first.delivered) if n]
    names = [judgement.trace.interfaces[packet.interface].name for packet in places]
    assert names == ["client", "wire", "server", "server:link0"]
    assert len({packet.sequence for packet in places}) == 1


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_the_ledger_tells_which_copy_was_lost(taken: int) -> None:
    """Of three equal SYN-ACKs the one is lost that the ledger names by its time, first or last."""
    story = lossy({"drop": "SYN-ACK", "from": "server", "nth": taken + 1})
    for number, at in enumerate((0, 1000, 2000)):
        story.tcp(at, "server", "S.", 0, 1, fault=0 if number == taken else None)
    story.play()
    judgement = story.judge()
    assert [trip.fate == "lost" for trip in judgement.trips] == [number == taken for number in range(3)]
    lost = judgement.trips[taken]
    assert lost.cause == "fault 0: drop SYN-ACK"
    assert [hit.packet for hit in judgement.faults] == [lost.wire]
    assert find(judgement, "faults.0").packets == (lost.wire,)


def test_lost_by_chance_before_a_copy_is_delivered() -> None:
    """Without a ledger the most recent copy is the one delivered, and the loss asked for explains the other."""
    story = lossy(loss="50%")
    story.tcp(0, "server", "S.", 0, 1, lost=True)
    story.tcp(1000, "server", "S.", 0, 1)
    story.tcp(1020, "client", ".", 1, 1)
    story.play()
    assert [(trip.fate, trip.cause) for trip in story.judge().trips] == [
        ("lost", "chance"),
        ("delivered", ""),
        ("delivered", ""),
    ]


def test_long_delay_between_copies() -> None:
    """With a delay longer than the time between copies, a delivery belongs to the copy that old, not to the newest."""
    story = lossy(delay="2s", loss="50%")
    story.tcp(0, "server", "S.", 0, 1)
    story.tcp(1000, "server", "S.", 0, 1, lost=True)
    story.tcp(5000, "client", ".", 1, 1)
    story.play()
    judgement = story.judge()
    assert [trip.fate for trip in judgement.trips] == ["delivered", "lost", "delivered"]
    assert judgement.verdict is Outcome.PASSED


def test_duplicates() -> None:
    """A second delivery of the same copy is a duplicate, and no packet more."""
    story = lossy(duplicate="50%")
    story.tcp(0, "client", "S", twice=True)
    story.play()
    judgement = story.judge()
    assert [trip.fate for trip in judgement.trips] == ["delivered", "duplicate"]
    (traffic,) = [one.whole for one in judgement.traffic if one.whole.packets]
    assert (traffic.packets, traffic.delivered, traffic.duplicates) == (1, 1, 1)


def test_blackhole() -> None:
    """What a blackhole takes is lost by it; nothing getting through is what was asked."""
    story = lossy(blackhole=True)
    for at in (0, 1000, 3000):
        story.tcp(at, "client", "S", lost=True)
    story.play()
    judgement = story.judge()
    assert fates(judgement) == {("lost", "blackhole"): 3}
    assert find(judgement, "wire.client->server").verdict is Outcome.PASSED


def test_what_is_under_way_at_the_end() -> None:
    """A packet still in the link when the captures ended was never captured; chance is not blamed."""
    story = lossy(delay="500ms", loss="10%")
    story.tcp(0, "client", "S", lost=True)
    story.play()
    assert fates(story.judge()) == {("lost", "never captured"): 1}


def test_lost_on_a_wire_without_links() -> None:
    """Where nothing is impaired, a packet that did not arrive was simply never captured."""
    story = hola()
    story.frames["server"] = [frame for frame in story.frames["server"] if frame.direction is Direction.OUT]
    assert fates(story.judge())[("lost", "never captured")] == 5


def test_receiver_that_nobody_looked_at() -> None:
    """Without a capture at the receiver nothing speaks against delivery."""
    judgement = judge(uncaptured(hola().evidence(), "server"))
    assert {(trip.fate, trip.ended_ns is None) for trip in judgement.trips if trip.destination == "server"} == {
        ("delivered", True)
    }


def test_datagrams_are_followed() -> None:
    """UDP has fates too; equal payloads are told apart by order."""
    story = Story({})
    for at in (0, 1, 2):
        story.udp(at, "client", b"ping")
    story.play()
    judgement = story.judge()
    assert [trip.sent for trip in judgement.trips] == [1, 4, 7]
    assert [trip.arrived for trip in judgement.trips] == [3, 6, 9]


def test_ledger_names_its_packet() -> None:
    """An entry is laid to the packet that it names, though a later one of the class had come in by then."""
    story = Story({"faults": [{"drop": "DATA", "from": "client", "nth": 1}]})
    story.tcp(0, "client", "P.", 1, 1, b"abc", lost=True)
    story.tcp(0.1, "client", "P.", 4, 1, b"def", lost=True)
    story.play()
    named = digest(story.frames["server"][0].data)
    time_ns = story.frames["server"][-1].time_ns + 50_000
    judgement = judge(with_records(story.evidence(), FaultFired("server", time_ns, 0, "drop", "", named)))
    assert [trip.cause for trip in judgement.trips] == ["fault 0: drop DATA", "never captured"]


def test_replica_names() -> None:
    """A rule about a role takes packets of its replicas, and directions are named by host."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    story = Story({"hosts": hosts, "faults": [{"drop": "SYN", "from": "client", "nth": 1}]})
    story.tcp(0, "client-2", "S", client="client-2", fault=0)
    story.tcp(1000, "client-2", "S", client="client-2")
    story.play()
    judgement = story.judge()
    assert [(trip.source, trip.fate) for trip in judgement.trips] == [("client-2", "lost"), ("client-2", "delivered")]


SHORT: dict[str, tuple[dict[str, Any], dict[str, int], str]] = {
    "delay": ({"delay": "10ms"}, {"server": MS}, "at least 10ms were asked for from client to server, and packet"),
    "blackhole": ({"client->server": {"blackhole": True}}, {}, "a blackhole was asked for from client to server"),
    "loss": ({"client->server": {"loss": "100%"}}, {}, "100% lost was asked for from client to server, and 0 of 5"),
    "duplicate": ({"client->server": {"duplicate": "100%"}}, {}, "and 0 of 5 packets were: less than chance explains"),
}


@pytest.mark.parametrize("kind", SHORT)
def test_wire_that_did_less_than_asked(kind: str) -> None:
    """A wire that did less than asked makes all checks unknown, also those that would fail."""
    wire, really, says = SHORT[kind]
    story = Story({"wire": wire, "expect": {"handshake": {"outcome": "refused"}}})
    story.delay_ns |= really
    story.open()
    story.talk()
    story.play()
    judgement = story.judge()
    assert judgement.verdict is Outcome.UNKNOWN
    assert {check.verdict for check in judgement.checks} == {Outcome.UNKNOWN}
    for name in ("wire.client->server", "handshake.outcome"):
        assert find(judgement, name).why.startswith("the wire did not do what was asked: ")
        assert says in find(judgement, name).why
    line = story.lines.get("wire.client->server", story.lines["wire"])
    assert find(judgement, "wire.client->server").line == line


def test_wire_that_did_what_was_asked() -> None:
    """A direction's check tells what was asked and what was had, in the scenario's words."""
    story = lossy()
    story.open()
    story.play()
    check = find(story.judge(), "wire.client->server")
    assert (check.verdict, check.expected) == (Outcome.PASSED, "{delay: 10ms}")
    assert check.seen == "2 of 2 packets delivered, after 10.025ms to 10.025ms"


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda evidence: without(evidence, LinkCount), "nothing is known of the impaired link of"),
        (lambda evidence: uncaptured(evidence, "server:link0"), "nothing was captured behind the impaired link of"),
        (
            lambda evidence: with_records(evidence, CaptureCount("server:link0", "server", "link0", 1, 7)),
            "the capture at server:link0 missed 7 packets",
        ),
    ],
)
def test_wire_that_nobody_could_see(spoil: Any, says: str) -> None:
    """A link of which nothing is known, or not all was captured, is unknown."""
    story = lossy()
    story.open()
    story.play()
    judgement = judge(spoil(story.evidence()))
    assert find(judgement, "wire.client->server").verdict is Outcome.UNKNOWN
    assert says in find(judgement, "wire.client->server").why
    assert judgement.verdict is Outcome.UNKNOWN


def test_fault_that_let_its_packet_pass() -> None:
    """A fault that never fired although its packet was on the wire breaks the run; the packet is named."""
    story = Story({"faults": [{"drop": "SYN-ACK", "from": "server", "nth": 1}]})
    story.open()
    story.play()
    judgement = story.judge()
    check = find(judgement, "faults.0")
    assert (check.verdict, check.line) == (Outcome.UNKNOWN, story.lines["faults.0"])
    assert "fault 0 never fired, and packet" in check.why
    assert "is a SYN-ACK from server" in check.why
    assert {one.verdict for one in judgement.checks} == {Outcome.UNKNOWN}


def test_fault_that_had_nothing_to_take() -> None:
    """A fault whose packet never came leaves the verdict unknown, and other checks as they are."""
    story = Story({"faults": [{"drop": "RST", "from": "server", "nth": 1}]})
    story.open()
    story.play()
    judgement = story.judge()
    assert find(judgement, "faults.0").verdict is Outcome.UNKNOWN
    assert "it never fired: no such packet came from server" in find(judgement, "faults.0").why
    assert find(judgement, "steps.client").verdict is Outcome.PASSED
    assert judgement.verdict is Outcome.UNKNOWN


def test_handshake_ack_of_the_wrong_side() -> None:
    """Only who sent a SYN can send the handshake's ACK: the server's ACKs are not one that slipped through."""
    story = Story({"faults": [{"drop": "HANDSHAKE-ACK", "from": "server", "nth": 1}]})
    story.open()
    story.talk()
    story.play()
    assert "it never fired: no such packet" in find(story.judge(), "faults.0").why


def test_small_shortfalls_are_chance() -> None:
    """A loss that chance explains is not held against the wire."""
    assert at_most(0, 100, 0.01) == pytest.approx(0.99**100)
    assert at_most(0, 20, 0.9) < 1e-6
    assert at_most(5, 5, 0.5) == 1.0


times = st.lists(st.integers(0, 10_000), max_size=8, unique=True).map(sorted)


@given(times, times, st.integers(0, 50))
def test_pairs_never_cross(starts: list[int], ends: list[int], least: int) -> None:
    """No start is used twice, none comes after its end, and the order of copies is kept."""
    chosen = [(start, end) for end, start in enumerate(pair(starts, ends, least)) if start is not None]
    assert [start for start, _ in chosen] == sorted({start for start, _ in chosen})
    assert all(starts[start] <= ends[end] - least for start, end in chosen)


@given(times, st.integers(0, 100_000))
def test_nothing_lost_is_all_paired(starts: list[int], delay: int) -> None:
    """When every copy came through, each is paired with itself, however long the way."""
    assert pair(starts, [start + delay for start in starts], delay) == tuple(range(len(starts)))


def test_annotations_on_lost_packets() -> None:
    """A lost packet's comment says where it was lost and why, at each place that saw it; a copy says that it is one."""
    story = lossy({"drop": "SYN", "from": "client", "nth": 1})
    story.tcp(0, "client", "S", fault=0)
    story.tcp(1000, "client", "S")
    story.play()
    judgement = story.judge()
    lost: Trip = judgement.trips[0]
    for number in (lost.sent, lost.wire, lost.arrived):
        assert number is not None
        assert judgement.trace.frames[number - 1].comments == ("lost on the way to server: fault 0: drop SYN",)
    copy = judgement.trips[1]
    assert copy.wire is not None
    assert judgement.trace.frames[copy.wire - 1].comments == ("SYN again",)
    assert copy.delivered is not None
    assert judgement.trace.frames[copy.delivered - 1].comments == ("delivered 10.025ms after it was sent",)


def test_shifted_clocks() -> None:
    """Hosts on machines of their own may differ in time by milliseconds; packets are still found again."""
    story = Story({})
    story.tcp(0, "client", "P.", 1, 1, HOLA)
    story.frames["server"] = [replace(frame, time_ns=frame.time_ns - 40 * MS) for frame in story.frames["server"]]
    story.play()
    (trip,) = story.judge().trips
    assert (trip.fate, trip.sent is not None, trip.arrived is not None) == ("delivered", True, True)


def test_neighbour_discovery_has_no_fate() -> None:
    """Neighbour discovery goes around the links, and is not said to be lost in them."""
    story = lossy()
    here, there = (f"fe80::{number}" for number in (1, 2))
    hosts = {here: "client", there: "server"}
    trace = merge(story.evidence())
    packet = Packet(1, 0, here, 0, there, 0, Protocol.ICMPV6, icmp=(135, 0))
    frame = Frame(0, b"", 0, 0)
    trace = replace(trace, frames=(frame,))
    assert gather([packet], trace, hosts, "portable") == {}
    assert len(gather([replace(packet, icmp=(128, 0))], trace, hosts, "portable")) == 1


def test_original_and_duplicate() -> None:
    """Of two deliveries of one copy, the earlier is the original."""
    assert pair([0], [10, 12], 0) == (0, None)
    assert pair([0, 100], [10, 12, 110], 0) == (0, None, 1)


def test_sender_that_hears_itself() -> None:
    """A frame that comes back in at its sender's interface was not sent a second time."""
    story = Story({})
    story.tcp(0, "client", "S")
    own = story.frames["client"][0]
    story.frames["client"].append(replace(own, time_ns=own.time_ns + 1000, direction=Direction.IN))
    story.play()
    assert len(story.judge().trips) == 1


def test_ledger_of_equal_packets() -> None:
    """Of two equal packets that had both come in by then, one was taken and the other is the one that came out."""
    story = lossy({"drop": "DATA", "from": "client", "nth": 1})
    story.tcp(0, "client", "P.", 1, 1, b"abc", lost=True)
    story.tcp(0.1, "client", "P.", 1, 1, b"abc")
    story.play()
    time_ns = story.frames["server"][-1].time_ns + 50_000
    named = digest(story.frames["server"][0].data)
    judgement = judge(with_records(story.evidence(), FaultFired("server", time_ns, 0, "drop", "", named)))
    assert sorted(trip.cause for trip in judgement.trips) == ["", "fault 0: drop DATA"]


def test_loss_is_counted_without_faults() -> None:
    """The loss had is of the packets that no fault took."""
    story = lossy({"drop": "SYN", "from": "client", "nth": 1}, loss="50%")
    story.tcp(0, "client", "S", fault=0)
    story.tcp(1000, "client", "S", lost=True)
    story.tcp(3000, "client", "S")
    story.tcp(3100, "client", ".", 1, 1)
    story.play()
    (traffic,) = [one.whole for one in story.judge().traffic if one.whole.packets]
    assert (traffic.lost, traffic.by_fault) == (2, 1)
    assert traffic.loss_percent == pytest.approx(100 / 3)


def test_fault_behind_a_blackhole() -> None:
    """A fault cannot take what a blackhole has taken before it: that is not held against the wire."""
    story = Story({"wire": {"blackhole": True}, "faults": [{"drop": "SYN", "from": "client", "nth": 1}]})
    story.tcp(0, "client", "S", lost=True)
    story.play()
    judgement = story.judge()
    assert find(judgement, "wire.client->server").verdict is Outcome.PASSED
    assert "it never fired" in find(judgement, "faults.0").why


def test_fin_again_with_other_data() -> None:
    """A FIN is known by its place behind the data that it carries: the same place again is the same FIN again."""
    story = Story({})
    story.open()
    story.tcp(10, "client", "FP.", 1, 1, b"abc")
    story.tcp(20, "client", "F.", 4, 1)
    story.play()
    judgement = story.judge()
    (copy,) = [trip.wire for trip in judgement.trips if trip.sent_ns == START_NS + 20 * MS]
    assert copy is not None
    assert "FIN again" in judgement.trace.frames[copy - 1].comments
