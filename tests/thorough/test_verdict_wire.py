"""What the wire made of packets, and the proof that it did what was asked, no less and no more."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from verdict_story import (
    ADDRESSES,
    CLIENT_ISN,
    MS,
    SERVER_ISN,
    START_NS,
    US,
    Story,
    find,
    ip_frame,
    transport,
    with_records,
    without,
)

from testbed.agent.impairments import Impairment
from testbed.evidence import FaultFired, LinkCount, Made, WireChanged
from testbed.pcap.frame import Direction
from testbed.verdict.judge import judge
from testbed.verdict.ledger import digest
from testbed.verdict.odds import (
    Odds,
    draw_odds,
    interval,
    loss_odds,
    reorder_odds,
    too_few,
    too_many,
)
from testbed.verdict.value import Change, Judgement, Outcome, Trip


def segment(source: str, flags: int, seq: int = 0, ack: int = 0, payload: bytes = b"", window: int = 65535) -> bytes:
    """A frame of the story's connection."""
    to, ports = ("server", (40000, 7456)) if source == "client" else ("client", (7456, 40000))
    mine, theirs = (CLIENT_ISN, SERVER_ISN) if source == "client" else (SERVER_ISN, CLIENT_ISN)
    acknowledged = theirs + ack if flags & 0x10 else 0
    numbers = (*ports, mine + seq, acknowledged, 5 << 4, flags, window, 0, 0)
    header = b"".join(value.to_bytes(size) for value, size in zip(numbers, (2, 2, 4, 4, 1, 1, 2, 2, 2), strict=True))
    body = transport(6, header + payload, 16, ADDRESSES[source], ADDRESSES[to])
    return ip_frame(6, body, ADDRESSES[source], ADDRESSES[to])


def met(
    story: Story, came: bytes, action: str, out: bytes | None, *, passed: bool = False, to: str = "receiver"
) -> Trip:
    """The client's packet meets fault 0 on the server's link: `out` is made of it; gives its trip."""
    story.see("client", 0, came, Direction.OUT)
    story.see("wire", 10 * US, came, Direction.IN)
    story.see("server", 20 * US, came, Direction.IN)
    story.see("server:link0", 21 * US, came, Direction.OUT)
    made = () if out is None else (Made(to, digest(out), "made"),)
    if passed:
        story.see("server:link0", 25 * US, came, Direction.IN)
    if out is not None and to == "receiver":
        story.see("server:link0", 30 * US, out, Direction.IN)
    story.records.append(FaultFired("server", START_NS + 22 * US, 0, action, "x", digest(came), passed, made))
    story.play()
    return story.judge().trips[0]


def faulty(**fault: Any) -> Story:
    """A story with one fault, on an otherwise perfect wire."""
    return Story({"faults": [{"from": "client", "nth": 1, **fault}]})


def test_rewritten() -> None:
    """A packet that was rewritten is delivered as another; its trip has both, and each says so in a comment."""
    story = faulty(rewrite="SYN", set={"window": 1000})
    trip = met(story, segment("client", 2), "rewrite", segment("client", 2, window=1000))
    assert (trip.fate, trip.change, trip.by) == ("delivered", Change.REWRITTEN, "fault 0: rewrite SYN")
    judgement = story.judge()
    assert trip.delivered is not None
    assert judgement.packets[trip.delivered - 1].window == 1000
    assert "rewritten: fault 0: rewrite SYN" in judgement.trace.frames[trip.delivered - 1].comments
    assert judgement.faults[0].made == (trip.delivered,)
    assert trip.wire == judgement.faults[0].packet
    assert trip.wire is not None
    assert judgement.trace.frames[trip.wire - 1].comments == ("rewritten on the way to server: fault 0: rewrite SYN",)
    assert len(judgement.trips) == 1


def test_rewritten_and_then_lost() -> None:
    """What a fault rewrote and chance then took was lost by chance, not by the fault."""
    story = Story({"faults": [{"rewrite": "SYN", "from": "client", "set": {"window": 1000}}], "wire": {"loss": "50%"}})
    came, out = segment("client", 2), segment("client", 2, window=1000)
    for place, at, direction in (
        ("client", 0, Direction.OUT),
        ("wire", 10, Direction.IN),
        ("server", 20, Direction.IN),
    ):
        story.see(place, at * US, came, direction)
    made = (Made("receiver", digest(out), ""),)
    story.records.append(FaultFired("server", START_NS + 22 * US, 0, "rewrite", "", digest(came), False, made))
    story.tcp(50, "server", ".", 1, 1)
    story.play()
    assert (story.judge().trips[0].fate, story.judge().trips[0].cause) == ("lost", "chance")


def test_corrupted_by_a_fault() -> None:
    """A packet that a fault corrupted is delivered as it came out."""
    came = segment("client", 0x18, 1, 1, b"abcd")
    out = came[:-1] + bytes([came[-1] ^ 1])
    trip = met(faulty(corrupt="DATA"), came, "corrupt", out)
    assert (trip.fate, trip.change) == ("delivered", Change.CORRUPTED)


def test_forged_to_the_receiver() -> None:
    """A packet that the link forged is a trip of its own: nobody sent it, and the comment says who made it."""
    story = faulty(reset="DATA")
    met(story, segment("client", 0x18, 1, 1, b"abcd"), "reset", segment("client", 4, 5), passed=True)
    judgement = story.judge()
    forged = next(trip for trip in judgement.trips if trip.change is Change.FORGED)
    assert (forged.source, forged.sent, forged.wire, forged.fate) == ("client", None, None, "delivered")
    assert forged.delivered is not None
    assert judgement.trace.frames[forged.delivered - 1].comments == (
        "forged by fault 0: reset DATA: no program sent it",
    )
    (traffic,) = [one for one in judgement.traffic if one.name == "client->server"]
    assert (traffic.whole.packets, traffic.whole.lost) == (1, 0)


def test_forged_to_the_sender() -> None:
    """What the link answered in the receiver's name was on the wire; the trip says that it was forged."""
    story = faulty(icmp="SYN", unreachable="host")
    reply = segment("server", 0x14, 0, 1)
    met(story, segment("client", 2), "icmp", reply, to="sender")
    story.see("server", 40 * US, reply, Direction.OUT)
    story.see("wire", 50 * US, reply, Direction.IN)
    story.see("client", 60 * US, reply, Direction.IN)
    judgement = story.judge()
    forged = next(trip for trip in judgement.trips if trip.source == "server")
    assert (forged.fate, forged.change, forged.by) == ("delivered", Change.FORGED, "fault 0: icmp SYN")
    assert judgement.trips[0].fate == "lost"
    assert judgement.faults[0].made == (forged.wire,)


def test_copies_by_a_fault() -> None:
    """Copies that a fault made are duplicates by that fault, and do not count for chance."""
    story = faulty(duplicate="SYN", copies=1)
    came = segment("client", 2)
    met(story, came, "duplicate", came, passed=True)
    judgement = story.judge()
    assert [(trip.fate, trip.by) for trip in judgement.trips] == [
        ("delivered", ""),
        ("duplicate", "fault 0: duplicate SYN"),
    ]
    assert judgement.traffic[0].whole.duplicates == 0


def test_held_back_by_a_fault() -> None:
    """The time of a packet that a fault delayed is not held against the wire's delay."""
    story = Story({"faults": [{"delay": "SYN", "from": "client", "by": "900ms"}], "wire": {"delay": "10ms"}})
    came = segment("client", 2)
    for place, at, direction in (
        ("client", 0, Direction.OUT),
        ("wire", 10, Direction.IN),
        ("server", 20, Direction.IN),
        ("server:link0", 910_000, Direction.IN),
    ):
        story.see(place, at * US, came, direction)
    made = (Made("receiver", digest(came), ""),)
    story.records.append(FaultFired("server", START_NS + 22 * US, 0, "delay", "", digest(came), True, made))
    story.play()
    judgement = story.judge()
    assert (judgement.trips[0].change, judgement.trips[0].fate) == (Change.DELAYED, "delivered")
    assert judgement.traffic[0].whole.delays_ns == ()
    assert find(judgement, "wire.client->server").verdict is Outcome.PASSED


@pytest.mark.parametrize("bit", [8 * 14 + 3, 8 * 29, 8 * 33 + 1, 8 * 38, 8 * 47 + 7, 8 * 54])
def test_flipped_by_chance(bit: int) -> None:
    """A bit flipped anywhere, in an address or a port too, is found: the packet was corrupted, not lost."""
    story = Story({"wire": {"client->server": {"corrupt": "50%"}}})
    came = segment("client", 0x18, 1, 1, b"abcd")
    out = bytearray(came)
    out[bit // 8] ^= 1 << bit % 8
    story.tcp(0, "client", "S")
    for place, at, direction, frame in (
        ("client", 1000, Direction.OUT, came),
        ("wire", 1010, Direction.IN, came),
        ("server", 1020, Direction.IN, came),
        ("server:link0", 1021, Direction.OUT, came),
        ("server:link0", 1030, Direction.IN, bytes(out)),
    ):
        story.see(place, at * US, frame, direction)
    story.play()
    judgement = story.judge()
    assert [(trip.fate, trip.change) for trip in judgement.trips] == [
        ("delivered", Change.NONE),
        ("delivered", Change.CORRUPTED),
    ]
    assert judgement.traffic[0].whole.corrupted == 1


def many(wire: dict[str, Any], **carry: Any) -> Story:
    """Two hundred packets a millisecond apart; `lost` and `twice` name which of them, `late_ms` their delay."""
    story = Story({"wire": {"client->server": wire}})
    if "late_ms" in carry:
        story.delay_ns["server"] = round(carry["late_ms"] * MS)
    for number in range(200):
        chosen = {name: number in carry.get(name, ()) for name in ("lost", "twice")}
        story.tcp(number, "client", "P.", 1 + 4 * number, 1, b"abcd", lost=chosen["lost"], twice=chosen["twice"])
    story.play()
    return story


OFF: dict[str, tuple[Story, str]] = {
    "too slow": (many({"delay": "20ms"}, late_ms=200), "at most 20ms were asked for from client to server, and half"),
    "too many lost": (many({"loss": "1%"}, lost=range(60)), "60 of 200 packets were: more than chance explains"),
    "too few lost": (many({"loss": "50%"}, lost=range(20)), "20 of 200 packets were: less than chance explains"),
    "too many twice": (many({"duplicate": "1%"}, twice=range(60)), "1% duplicated was asked for"),
    "not corrupted": (many({"corrupt": "50%"}), "50% corrupted was asked for from client to server, and 0 of 200"),
    "not reordered": (many({"delay": "20ms", "reorder": "50%"}, late_ms=20), "50% reordered was asked for"),
    "no rate": (many({"rate": "64kbit"}), "at least 7.25ms were asked for from client to server, and packet"),
    "bursts": (
        many({"gilbert_elliott": {"p": "1%", "r": "10%"}}),
        "9.091% lost was asked for from client to server, and 0 of 200 packets were: less than chance explains",
    ),
}


@pytest.mark.parametrize("what", [one for one in OFF if one != "bursts"])
def test_wire_that_did_something_else(what: str) -> None:
    """Less or more than asked, beyond chance: the run is unknown, and says what was asked and had."""
    story, says = OFF[what]
    judgement = story.judge()
    assert says in find(judgement, "wire.client->server").why
    assert judgement.verdict is Outcome.UNKNOWN


def test_wire_within_chance() -> None:
    """What chance explains is passed, bursts too: they vary more."""
    for story in (
        many({"loss": "10%"}, lost=range(0, 200, 12)),
        many({"duplicate": "10%"}, twice=range(0, 200, 9)),
        many({"delay": "20ms", "jitter": "5ms"}, late_ms=22),
        OFF["bursts"][0],
    ):
        judgement = story.judge()
        assert find(judgement, "wire.client->server").verdict is Outcome.PASSED, judgement.checks


def spoiled(story: Story, **changes: Any) -> Judgement:
    """The judgement with the server's link standing otherwise at the end."""
    evidence = story.evidence()
    counts = [replace(count, **changes) if count.host == "server" else count for count in evidence.all(LinkCount)]
    return judge(with_records(without(evidence, LinkCount), *counts))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"why": "the qdisc clsact on eth0 is gone"}, "the qdisc clsact on eth0 is gone"),
        (
            {"settings": ({"from": ADDRESSES["client"], "port": None, "delay_ns": 200 * MS},)},
            "at the end the link held delay_ns 200000000 instead of 10000000 for client->server",
        ),
        (
            {"settings": ({"from": ADDRESSES["client"], "port": None, "delay_ns": 10 * MS, "loss_percent": 1.0},)},
            "at the end the link held loss_percent 1.0 instead of nothing for client->server",
        ),
        ({"phase": 3}, "phase 1 of the timeline was never read back on server"),
        ({"dropped_by": {"overrun": 9}}, "the link of server lost 9 packets by itself (overrun)"),
    ],
)
def test_link_that_was_changed_behind_our_back(changes: dict[str, Any], says: str) -> None:
    """What the host read back at the end is not what was asked: unknown, whatever the packets say."""
    judgement = spoiled(many({"delay": "10ms"}), **changes)
    assert says in find(judgement, "wire.client->server").why
    assert judgement.verdict is Outcome.UNKNOWN


def test_rounded_settings() -> None:
    """tc shows its numbers rounded: that is no change."""
    story = many({"loss": "10%"}, lost=range(0, 200, 12))
    told = {"from": ADDRESSES["client"], "port": None, "loss_percent": 9.99999998}
    assert find(spoiled(story, settings=(told,)), "wire.client->server").verdict is Outcome.PASSED


def test_timeline() -> None:
    """Each phase is measured for itself, from when the host read it back; packets around a change count for neither."""
    story = Story({"wire": {"timeline": [{"at": "100ms", "client->server": {"delay": "50ms"}}]}})
    for number in range(200):
        story.delay_ns["server"] = 50 * MS if number >= 100 else 0
        story.tcp(number, "client", "P.", 1 + 4 * number, 1, b"abcd")
    story.records.append(WireChanged("server", START_NS + 100 * MS, 1))
    story.play()
    judgement = spoiled(story, phase=1)
    (traffic,) = [one for one in judgement.traffic if one.name == "client->server"]
    assert [(share.phase, share.asked.delay_ns, share.packets) for share in traffic.shares] == [
        (0, 0, 95),
        (1, 50 * MS, 95),
    ]
    check = find(judgement, "wire.client->server")
    assert (check.verdict, check.expected) == (Outcome.PASSED, "{delay: 50ms}")


def test_while_a_phase_is_put_up() -> None:
    """What arrives between the begin of a change and its reading back may have met either phase: neither is blamed."""
    story = Story({"wire": {"timeline": [{"at": "100ms", "client->server": {"blackhole": True}}]}})
    for number in range(200):
        story.tcp(number, "client", "P.", 1 + 4 * number, 1, b"abcd", lost=number >= 110)
    story.records.append(WireChanged("server", START_NS + 150 * MS, 1, START_NS + 100 * MS))
    story.play()
    (traffic,) = [one for one in spoiled(story, phase=1).traffic if one.name == "client->server"]
    assert [(share.phase, share.delivered, share.lost) for share in traffic.shares] == [(0, 95, 0), (1, 0, 45)]


@pytest.mark.parametrize(("apart_ms", "verdict"), [(7.25, Outcome.PASSED), (5.0, Outcome.UNKNOWN)])
def test_one_after_the_other(apart_ms: float, verdict: Outcome) -> None:
    """58 bytes at 64 kbit/s take 7.25 ms each: what comes out before its turn came faster than the rate."""
    story = Story({"wire": {"client->server": {"rate": "64kbit"}}})
    for number in range(40):
        story.delay_ns["server"] = round((number * (apart_ms - 1) + 7.25) * MS)
        story.tcp(number, "client", "P.", 1 + 4 * number, 1, b"abcd")
    story.play()
    check = find(story.judge(), "wire.client->server")
    assert check.verdict is verdict
    assert ("before its turn" in check.why) == (verdict is Outcome.UNKNOWN)


def test_ports() -> None:
    """Packets of a port that has an impairment of its own are measured by that one."""
    story = Story({"wire": {"delay": "10ms", "ports": {"9": {"delay": "30ms"}}}})
    for number in range(20):
        story.delay_ns["server"] = 10 * MS
        story.udp(number * 100, "client", b"x")
        story.delay_ns["server"] = 30 * MS
        story.udp(number * 100 + 50, "client", b"x", (40000, 9))
    story.play()
    judgement = story.judge()
    (traffic,) = [one for one in judgement.traffic if one.name == "client->server"]
    assert sorted((share.asked.delay_ns, share.packets) for share in traffic.shares) == [(10 * MS, 20), (30 * MS, 20)]
    assert find(judgement, "wire.client->server").verdict is Outcome.PASSED


@pytest.mark.parametrize(("percent", "rho"), [(10.0, 0.0), (10.0, 25.0), (25.0, 50.0), (50.0, 90.0)])
def test_rate_of_a_correlated_chance(percent: float, rho: float) -> None:
    """netem's draws, simulated, hit as often as worked out: correlated ones crowd around the middle."""
    draw = random.Random(1).random
    last, hits, tries = draw(), 0, 400_000
    for _ in range(tries):
        last = last * rho / 100 + draw() * (1 - rho / 100)
        hits += last < percent / 100
    odds = draw_odds(percent, rho)
    assert odds.rate == pytest.approx(hits / tries, abs=0.004)
    assert odds.rate <= percent / 100 + 1e-6


def test_rates_of_loss_models() -> None:
    """The long run of Gilbert-Elliott and of the four states, worked out by hand."""
    assert loss_odds(Impairment(gilbert_elliott_percent=(1.0, 9.0, 50.0, 0.0))).rate == pytest.approx(0.05)
    assert loss_odds(Impairment(gilbert_elliott_percent=(0.0, 0.0, 50.0, 3.0))).rate == pytest.approx(0.03)
    only_alone = Impairment(loss_states_percent=(0.0, 100.0, 0.0, 100.0, 25.0))
    assert loss_odds(only_alone).rate == pytest.approx(0.2, abs=1e-3)  # one of four leaves state 1, and comes back
    assert reorder_odds(Impairment(reorder_percent=50.0, reorder_gap=3)).rate == pytest.approx(0.25)


def test_interval() -> None:
    """Wilson's interval: known values, and nothing of nothing."""
    assert interval(0, 0) is None
    assert interval(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-4)


def test_chance_has_its_due() -> None:
    """What is seen once in a million is held against the wire, what is seen once in a thousand is not."""
    odds = Odds(0.5)
    assert not too_few(40, 100, odds)
    assert too_few(20, 100, odds)
    assert not too_many(60, 100, odds)
    assert too_many(80, 100, odds)


@pytest.mark.parametrize(
    ("expected", "verdict"),
    [("1..", Outcome.UNKNOWN), ("0..3", Outcome.PASSED), ("..2", Outcome.UNKNOWN), ("4..", Outcome.FAILED)],
)
def test_losses_that_nothing_explains_matter_only_near_the_bounds(expected: str, verdict: Outcome) -> None:
    """Of three packets that were never captured any number may be lost: unknown, unless it is the same for all."""
    story = Story({"wire": {"delay": "10ms"}, "expect": {"lost": {"client->server": expected}}})
    for number in range(20):
        story.tcp(number, "client", "P.", 1 + 4 * number, 1, b"abcd", lost=number in (7, 8, 9))
    assert find(story.judge(), "lost.client->server").verdict is verdict
