"""What a scenario expects of the wire, and what is always told of it: directions, faults, losses, delays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import HOLA, MS, START_NS, STEPS, US, Story, find, with_records

from testbed.agent.impairments import NONE, Impairment
from testbed.evidence import CaptureCount, ClockFacts, FaultFired
from testbed.scenario.faults import Fault
from testbed.verdict.checks import check_all
from testbed.verdict.judge import judge
from testbed.verdict.value import NEVER_CAPTURED, Change, Check, FaultHit, Outcome, Trip
from testbed.verdict.view import View, look
from testbed.verdict.wire import Share
from testbed.verdict.wire_checks import show_asked, show_fault, show_had

TWO = {"hosts": {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (NONE, "{}"),
        (Impairment(delay_ns=40 * MS, jitter_ns=1500 * US), "{delay: 40ms, jitter: 1500us}"),
        (Impairment(jitter_distribution="normal", loss_percent=0.5), "{jitter_distribution: normal, loss: 0.5%}"),
        (
            Impairment(gilbert_elliott_percent=(1.0, 10.0, 100.0, 0.0)),
            "{gilbert_elliott: {p: 1.0%, r: 10.0%, loss_bad: 100.0%, loss_good: 0.0%}}",
        ),
        (Impairment(rate_bit=10_000_000, limit_packets=7, blackhole=True), "{rate: 10mbit, limit: 7, blackhole: true}"),
    ],
)
def test_impairments_as_scenarios_write_them(asked: Impairment, shown: str) -> None:
    """What was asked for, in a scenario's words, and nothing else."""
    assert show_asked(asked) == shown


HAD = Share("client", "server", 0, NONE, (), 9, 7, 2, 0, 0, 0, 0, 0, ())


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "7 of 9 packets delivered"),
        ({"duplicates": 2}, "7 of 9 packets delivered, 2 of them twice"),
        ({"corrupted": 1}, "7 of 9 packets delivered, 1 of them with a bit flipped"),
        ({"delays_ns": (MS, 2 * MS, 5 * MS)}, "7 of 9 packets delivered, after 1ms to 5ms"),
        ({"delays_ns": (MS,), "unsure_ns": 3 * MS}, "7 of 9 packets delivered, after 1ms to 1ms (to within 3ms)"),
        ({"unsure_ns": 3 * MS}, "7 of 9 packets delivered"),
    ],
)
def test_what_a_direction_did(changes: dict[str, Any], shown: str) -> None:
    """Packets, copies, flipped bits and delays, in words."""
    assert show_had(replace(HAD, **changes)) == shown


@pytest.mark.parametrize(
    ("fault", "shown"),
    [
        ({"drop": "SYN", "from": "client"}, "{drop: SYN, from: client, nth: all}"),
        ({"drop": "SYN-ACK", "from": "server", "nth": "2..3"}, "{drop: SYN-ACK, from: server, nth: 2..3}"),
        ({"delay": "DATA", "from": "client", "by": "1s", "every": 4}, "{delay: DATA, from: client, every: 4}"),
    ],
)
def test_faults_as_scenarios_write_them(fault: dict[str, Any], shown: str) -> None:
    """What it does, to which packets."""
    assert show_fault(Fault.model_validate(fault)) == shown


def test_directions_that_were_asked_for_something() -> None:
    """Each direction of which something was asked is told, several things in order, what is none left out."""
    wire = {
        "client->server": {"delay": "10ms", "ports": {"9": {"delay": 0}}},
        "timeline": [{"at": "1s", "client->server": {"delay": "20ms"}}],
    }
    story = Story({"wire": wire})
    story.tcp(0, "client", "S")
    story.udp(1, "client", b"x", (40000, 9))
    story.tcp(2, "client", "S")
    story.tcp(3, "server", "S.", 0, 1)
    story.play()
    checks = {check.name: check for check in story.judge().checks}
    assert [name for name in checks if name.startswith("wire.")] == ["wire.client->server"]
    assert checks["wire.client->server"].expected == "{delay: 10ms}"
    assert checks["wire.client->server"].line == story.lines["wire.client->server"]


@pytest.mark.parametrize(
    ("vantage", "name"),
    [
        ("client", "wire.client->server"),
        ("server", "wire.client->server"),
        ("server:link0", "wire.client->server"),
        ("client:link0", None),
        ("wire", None),
    ],
)
def test_captures_that_missed_packets(vantage: str, name: str | None) -> None:
    """Where a capture at either end missed packets, their fates are not known."""
    story = Story({"wire": {"client->server": {"delay": "10ms"}}})
    story.open()
    story.play()
    story.frames.setdefault(vantage, [])
    check = find(judge(with_records(story.evidence(), CaptureCount(vantage, "x", "y", 1, 7))), "wire.client->server")
    if name is None:
        assert check.verdict is Outcome.PASSED
    else:
        assert (check.verdict, check.expected) == (Outcome.UNKNOWN, "{delay: 10ms}")
        assert check.why == f"the capture at {vantage} missed 7 packets, so the fates of packets are not known"


def test_wire_that_did_something_else() -> None:
    """What was asked and what was had stand in the check of that direction, at its line; the reason tells which."""
    story = Story({"wire": {"client->server": {"blackhole": True}}})
    story.open()
    story.play()
    check = find(story.judge(), "wire.client->server")
    assert (check.verdict, check.expected, check.seen) == (
        Outcome.UNKNOWN,
        "{blackhole: true}",
        "2 of 2 packets delivered, after 0.025ms to 0.025ms",
    )
    assert check.why == (
        "the wire did not do what was asked: a blackhole was asked for from client to server, and 2 packets got through"
    )
    assert check.line == story.lines["wire.client->server"]


# ---------------------------------------------------------------- faults


def fired(times: int, expect: Any = None, *, index: int = 0) -> tuple[Story, Check]:
    """A fault that took so many SYNs, and its check."""
    faults = [{"drop": "SYN", "from": "client"}, {"drop": "RST", "from": "client"}]
    story = Story({"faults": faults, "expect": {} if expect is None else {"faults": {str(index): expect}}})
    for number in range(times):
        story.tcp(1000 * number, "client", "S", fault=0)
    story.play()
    return story, find(story.judge(), f"faults.{index}")


def test_fault_that_fired() -> None:
    """A fault of which nothing more is expected must have fired; its packets are the evidence."""
    story, check = fired(2)
    assert (check.verdict, check.seen, check.why, check.packets) == (Outcome.PASSED, "fired 2 times", "", (2, 6))
    assert check.expected == "{drop: SYN, from: client, nth: all}"
    assert check.line == story.lines["faults.0"]


def test_fault_that_never_fired() -> None:
    """A fault whose packet never came says nothing of TCP."""
    _, check = fired(1, index=1)
    assert (check.verdict, check.expected, check.seen) == (
        Outcome.UNKNOWN,
        "{drop: RST, from: client, nth: all}",
        "never fired",
    )
    assert check.why == "it never fired: no such packet came from client, so the scenario did not take place"


@pytest.mark.parametrize(
    ("times", "expect", "verdict", "why"),
    [
        (2, 2, Outcome.PASSED, ""),
        (2, "..1", Outcome.FAILED, "{drop: SYN, from: client, nth: all} fired 2 times"),
        (1, "2..", Outcome.FAILED, "{drop: SYN, from: client, nth: all} fired 1 times"),
    ],
)
def test_how_often_a_fault_is_to_fire(times: int, expect: Any, verdict: Outcome, why: str) -> None:
    """Where a scenario expects how often, that is what counts, and the line is the expectation's."""
    story, check = fired(times, expect)
    assert (check.verdict, check.expected, check.seen, check.why) == (verdict, str(expect), str(times), why)
    assert check.line == story.lines["expect.faults.0"]
    assert len(check.packets) == times


def test_fault_that_is_not_to_fire() -> None:
    """A fault that is expected never to fire, and did not, is passed; one that let its packet pass is not."""
    assert fired(0, 0, index=1)[1].verdict is Outcome.PASSED
    story = Story({"faults": [{"drop": "SYN", "from": "client"}], "expect": {"faults": {"0": 0}}})
    story.tcp(0, "client", "S")
    story.play()
    check = find(story.judge(), "faults.0")
    assert (check.verdict, check.expected, check.seen) == (
        Outcome.UNKNOWN,
        "{drop: SYN, from: client, nth: all}",
        "never fired",
    )
    assert check.why == (
        "the wire did not do what was asked: fault 0 never fired, and packet 2 on wire is a SYN from client"
    )
    assert check.line == story.lines["faults.0"]


def test_entry_of_a_packet_that_nobody_saw() -> None:
    """A fault that fired on a packet that no capture has fired all the same."""
    story = Story({"faults": [{"drop": "SYN", "from": "client"}]})
    story.records.append(FaultFired("server", START_NS, 0, "drop", "", "0000"))
    story.play()
    check = find(story.judge(), "faults.0")
    assert (check.verdict, check.seen, check.packets) == (Outcome.PASSED, "fired 1 times", ())


# ---------------------------------------------------------------- losses and the like


def view_of(expect: dict[str, Any], trips: list[Trip], **more: Any) -> View:
    """A run with these trips, of packets that its trace has."""
    story = Story({"expect": expect, **more})
    story.open()
    story.talk()
    story.play()
    return replace(look(story.evidence()), trips=tuple(trips))


def checked(view: View, name: str) -> Check:
    """A check of the view."""
    return next(check for check in check_all(view) if check.name == name)


def trip(
    number: int = 2, took_ms: float | None = 10, *, source: str = "client", to: str = "server", **how: Any
) -> Trip:
    """A packet's way; as the wire has it, it is the packet of that number."""
    ended = None if took_ms is None else START_NS + round(took_ms * MS)
    return replace(Trip(source, to, 1, number, 3, None, START_NS, ended, "delivered"), **how)


def lost(number: int, cause: str = "chance") -> Trip:
    """A packet that was lost."""
    return trip(number, None, fate="lost", cause=cause)


@pytest.mark.parametrize(
    ("wanted", "causes", "verdict", "why"),
    [
        (2, ["chance", "blackhole"], Outcome.PASSED, ""),
        (1, ["chance", "fault 0: drop SYN", "chance"], Outcome.FAILED, "lost: chance, fault 0: drop SYN"),
        ("1..", [], Outcome.FAILED, "none was lost"),
        # Of those that nothing explains any number may have been lost.
        (1, [NEVER_CAPTURED], Outcome.UNKNOWN, "1 packets were never captured, and nothing says what became of them"),
        (0, [NEVER_CAPTURED], Outcome.UNKNOWN, None),
        ("0..1", [NEVER_CAPTURED], Outcome.PASSED, ""),
        ("2..", [NEVER_CAPTURED], Outcome.FAILED, "lost: never captured"),
        ("2..", ["chance", NEVER_CAPTURED], Outcome.UNKNOWN, None),
        ("1..2", ["chance", NEVER_CAPTURED], Outcome.PASSED, ""),
        ("2..", ["chance", "chance", NEVER_CAPTURED], Outcome.PASSED, ""),
        (0, ["chance", NEVER_CAPTURED], Outcome.FAILED, "lost: chance, never captured"),
        (1, [NEVER_CAPTURED, NEVER_CAPTURED], Outcome.UNKNOWN, "2 packets were never captured, and nothing says what "
         "became of them"),
    ],
)  # fmt: skip
def test_losses(wanted: Any, causes: list[str], verdict: Outcome, why: str | None) -> None:
    """How many were lost, by cause; what nothing explains matters only where it decides."""
    trips = [trip(20), *(lost(number, cause) for number, cause in enumerate(causes, 5))]
    check = checked(view_of({"lost": {"client->server": wanted}}, trips), "lost.client->server")
    assert (check.verdict, check.expected, check.seen) == (verdict, str(wanted), str(len(causes)))
    assert why is None or check.why == why
    if verdict is not Outcome.UNKNOWN:
        assert check.packets == tuple(range(5, 5 + len(causes)))


@pytest.mark.parametrize(
    ("name", "change", "by"),
    [("duplicated", Change.DUPLICATED, "chance"), ("corrupted", Change.CORRUPTED, "fault 0: corrupt DATA")],
)
def test_changes(name: str, change: Change, by: str) -> None:
    """Copies and flipped bits are counted, whoever made them; losses that nothing explains leave them unknown."""
    trips = [trip(5, change=change, by=by), trip(8), trip(11, change=Change.REWRITTEN, by="x"), lost(14)]
    for wanted, verdict, why in ((1, Outcome.PASSED, ""), (0, Outcome.FAILED, f"{name}: {by}")):
        check = checked(view_of({name: {"client->server": wanted}}, trips), f"{name}.client->server")
        assert (check.verdict, check.seen, check.why, check.packets) == (verdict, "1", why, (5,))
    unseen = checked(
        view_of({name: {"client->server": "0.."}}, [*trips, lost(17, NEVER_CAPTURED)]), f"{name}.client->server"
    )
    assert unseen.verdict is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("direction", "seen"),
    [("client->server", "2"), ("client-2->server", "1"), ("server->client", "3"), ("server->client-2", "2")],
)
def test_directions_of_hosts_and_roles(direction: str, seen: str) -> None:
    """A role stands for all of its hosts, a host's own name for it alone."""
    ways = [("client", "server")] + [("client-2", "server")] + [("server", "client")] + [("server", "client-2")] * 2
    trips = [replace(lost(2), source=source, destination=to) for source, to in ways]
    view = view_of({"lost": {direction: "0.."}}, trips, **TWO)
    assert checked(view, f"lost.{direction}").seen == seen


def test_packet_of_a_trip() -> None:
    """A packet is told by its number on the wire; where the wire has it not, by the first place that has."""
    for places, number in (
        ({"sent": 4, "wire": 5, "arrived": 6, "delivered": 8}, 5),
        ({"sent": 4, "wire": None, "arrived": 6, "delivered": 8}, 4),
        ({"sent": None, "wire": None, "arrived": 6, "delivered": 8}, 6),
        ({"sent": None, "wire": None, "arrived": None, "delivered": 8}, 8),
    ):
        view = view_of({"lost": {"client->server": 1}}, [replace(lost(2), **places)])
        assert checked(view, "lost.client->server").packets == (number,)


@pytest.mark.parametrize("name", ["lost", "delay", "duplicated"])
@pytest.mark.parametrize(
    ("vantage", "direction", "known"),
    [
        ("server", "client->server", False),
        ("client", "client->server", False),
        ("client-2", "client->server", False),
        ("client-2", "server->client", False),
        ("client-2", "client-2->server", False),
        ("client-2", "server->client-2", False),
        ("client", "client-2->server", True),
        ("client", "server->client-2", True),
    ],
)
def test_fates_that_are_not_known(name: str, vantage: str, direction: str, known: bool) -> None:
    """Where a capture at one of the direction's ends missed packets, all that is counted of them is unknown."""
    source, _, to = direction.partition("->")
    view = view_of({name: {direction: "0.." if name != "delay" else "..1s"}}, [trip(source=source, to=to)], **TWO)
    evidence = with_records(view.evidence, CaptureCount(vantage, vantage, "eth0", 1, 3))
    check = checked(replace(view, evidence=evidence), f"{name}.{direction}")
    assert check.verdict is (Outcome.PASSED if known else Outcome.UNKNOWN)
    assert known or check.why.startswith(f"the capture at {vantage} missed 3 packets")
    assert known or check.seen == ("" if name == "delay" else "0")


@pytest.mark.parametrize(
    ("wanted", "took_ms", "verdict", "seen"),
    [
        ("..10ms", [10, 5], Outcome.PASSED, "5ms..10ms"),
        ("10ms..", [10, 5], Outcome.FAILED, "5ms..10ms"),
        ("10ms", [10], Outcome.PASSED, "10ms..10ms"),
    ],
)
def test_delays(wanted: str, took_ms: list[float], verdict: Outcome, seen: str) -> None:
    """Every packet that was delivered must have taken such a time."""
    trips = [trip(5 + 3 * number, took) for number, took in enumerate(took_ms)]
    check = checked(view_of({"delay": {"client->server": wanted}}, trips), "delay.client->server")
    assert (check.verdict, check.expected, check.seen) == (verdict, wanted, seen)
    if verdict is Outcome.FAILED:
        assert check.packets == (8,)
        assert check.why == ("1 of 2 packets took another time; packet 8 at 0.002 s on wire is ACK from client, 5ms")


def test_packets_without_a_time() -> None:
    """Copies, losses, and what nobody saw leave or come, have no time; without any other it is unknown."""
    trips = [
        trip(5, 900, fate="duplicate"),
        trip(8, 900, sent_ns=None),
        trip(8, None),
        lost(11),
        trip(11, 900, source="server", to="client"),
    ]
    name, wanted = "delay.client->server", {"delay": {"client->server": "..10ms"}}
    check = checked(view_of(wanted, trips), name)
    assert (check.verdict, check.expected, check.seen) == (Outcome.UNKNOWN, "..10ms", "no packet was delivered")
    assert check.why == "no packet's time could be measured"
    assert checked(view_of(wanted, [*trips, trip(5)]), name).verdict is Outcome.PASSED
    assert checked(view_of(wanted, [*trips, lost(14, NEVER_CAPTURED), trip(5)]), name).verdict is Outcome.PASSED


@pytest.mark.parametrize(
    ("wire", "wanted", "took_ms", "verdict"),
    [
        # What was asked is within what is expected, and the packet came later than asked: a busy machine.
        ({"delay": "10ms"}, "9ms..20ms", 21, Outcome.UNKNOWN),
        ({"delay": "10ms", "jitter": "5ms"}, "..20ms", 21, Outcome.UNKNOWN),
        ({"delay": "10ms"}, "9ms..10ms", 10.001, Outcome.UNKNOWN),
        ({}, "..20ms", 21, Outcome.UNKNOWN),
        # What was asked is not, so that the packet was not late, or it took less.
        ({"delay": "21ms"}, "..20ms", 21, Outcome.FAILED),
        ({"delay": "21ms"}, "..20ms", 25, Outcome.FAILED),
        ({"delay": "10ms", "jitter": "15ms"}, "..20ms", 26, Outcome.FAILED),
        ({"delay": "30ms"}, "20ms..", 10, Outcome.FAILED),
        ({"delay": "10ms"}, "20ms..30ms", 31, Outcome.FAILED),
        # Behind a rate is a queue, and in it a packet waits for as long as it takes.
        ({"delay": "10ms", "rate": "1mbit"}, "..20ms", 21, Outcome.FAILED),
    ],
)
def test_packets_that_came_later_than_asked(
    wire: dict[str, Any], wanted: str, took_ms: float, verdict: Outcome
) -> None:
    """A delay that nobody asked for says nothing of the scenario: unknown; one that was asked for fails it."""
    expect = {"delay": {"client->server": wanted}}
    view = view_of(expect, [trip(8, 20), trip(5, took_ms)], wire={"client->server": wire} if wire else {})
    check = checked(replace(view, shortcomings={}, broken=()), "delay.client->server")
    assert check.verdict is verdict
    assert 5 in check.packets
    assert check.why.endswith(" were asked for: this machine was too busy") is (verdict is Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("by", "took_ms", "verdict"),
    [("20ms", 30, Outcome.PASSED), ("20ms", 31, Outcome.UNKNOWN), ("21ms", 31, Outcome.FAILED)],
)
def test_packet_that_a_fault_held_back(by: str, took_ms: float, verdict: Outcome) -> None:
    """What a fault adds was asked for too."""
    view = view_of(
        {"delay": {"client->server": "..30ms"}},
        [trip(5, took_ms, change=Change.DELAYED, by="fault 0: delay DATA")],
        wire={"client->server": {"delay": "10ms"}},
        faults=[{"delay": "DATA", "from": "client", "by": by}],
    )
    hits = (FaultHit(START_NS, "server", 0, "fault 0: delay DATA", 5),)
    check = checked(replace(view, faults=hits, shortcomings={}, broken=()), "delay.client->server")
    assert check.verdict is verdict


def test_late_packets_beside_wrong_ones() -> None:
    """A packet that took what was asked, and not what is expected, fails whatever else was late."""
    ports = {"delay": "10ms", "ports": {"80": {"delay": "30ms"}}}
    story = Story({"wire": {"client->server": ports}, "expect": {"delay": {"client->server": "..20ms"}}})
    story.tcp(0, "client", "S")
    story.udp(1, "client", b"x", (40000, 80))
    story.play()
    view = look(story.evidence())
    trips = tuple(replace(one, ended_ns=(one.sent_ns or 0) + 40 * MS) for one in view.trips)
    check = checked(replace(view, trips=trips, shortcomings={}, broken=()), "delay.client->server")
    assert (check.verdict, len(check.packets)) == (Outcome.FAILED, 1)
    assert check.why.startswith("1 of 2 packets took another time")


@pytest.mark.parametrize(
    ("wanted", "sure_ms", "verdict"),
    [
        ("..12ms", 2, Outcome.PASSED),
        ("..12ms", 3, Outcome.UNKNOWN),
        ("8ms..", 2, Outcome.PASSED),
        ("8ms..", 3, Outcome.UNKNOWN),
        ("13ms..", 2, Outcome.FAILED),
        ("13ms..", 3, Outcome.UNKNOWN),
        ("..7ms", 2, Outcome.FAILED),
        ("..7ms", 3, Outcome.UNKNOWN),
        ("9ms..11ms", 0, Outcome.PASSED),
    ],
)
def test_delays_between_two_clocks(wanted: str, sure_ms: int, verdict: Outcome) -> None:
    """A time of 10 ms that may be off by so much decides nothing where it could lie on the other side of a bound."""
    view = view_of({"delay": {"client->server": wanted}}, [trip()], wire={"client->server": {"delay": "10ms"}})
    view = replace(view, shortcomings={}, broken=())
    clocks = (
        ClockFacts("client", "a", 0, 0, 0, 0, 0, 0, {"server": sure_ms * MS}),
        ClockFacts("server", "b", 0, 0, 0, 0, 0, 0, {"client": 9 * MS}),
    )
    check = checked(replace(view, evidence=with_records(view.evidence, *clocks)), "delay.client->server")
    assert check.verdict is verdict
    if verdict is Outcome.UNKNOWN:
        assert check.why == "the hosts' clocks are the same to within 9ms only"


def test_many_packets_are_told_by_a_hundred() -> None:
    """Of very many packets the first hundred are evidence."""
    story = Story({"expect": {"lost": {"client->server": 0}, "delay": {"client->server": "1s.."}}})
    for number in range(101):
        story.tcp(number, "client", "P.", 1 + number, 1, HOLA[:1])
    story.play()
    view = look(story.evidence())
    assert len(checked(view, "delay.client->server").packets) == 100
    every = tuple(replace(one, fate="lost", cause="chance") for one in view.trips)
    assert len(checked(replace(view, trips=every), "lost.client->server").packets) == 100
