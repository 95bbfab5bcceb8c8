"""What a wire did, counted from the trips of its packets: losses by cause, copies, delays, rate, stretch by stretch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from verdict_story import CLIENT, MS, SERVER, START_NS, STEPS, Story

from testbed.agent.impairments import NONE, Impairment
from testbed.evidence import WireChanged
from testbed.packet import Packet
from testbed.verdict.asked import Asking
from testbed.verdict.value import Change, Trip
from testbed.verdict.wire import Share, Traffic, measure, show_ms

SIZE = 86  # of the IP packets here; 100 with the Ethernet header


class Trips:
    """Trips from client to server, and the packets that they speak of: each sent, heard and come in a ms apart."""

    def __init__(self) -> None:
        self.trips: list[Trip] = []
        self.packets: dict[int, Packet] = {}

    def see(self, at_ms: float, port: int) -> int:
        """A vantage point sees a packet; its number."""
        number = len(self.packets) + 1
        at_ns = START_NS + round(at_ms * MS)
        self.packets[number] = Packet(number, at_ns, CLIENT, port, SERVER, 7456, length=SIZE)
        return number

    def go(
        self, at_ms: float, took_ms: float | None = 10.0, *, port: int = 40000, unseen: str = "", **how: Any
    ) -> None:
        """A packet goes its way: sent, heard, come in 2 ms after it was sent, and out `took_ms` after it was sent."""
        at = {"sent": at_ms, "wire": at_ms + 1, "arrived": at_ms + 2}
        numbers = {place: None if place in unseen.split() else self.see(ms, port) for place, ms in at.items()}
        ended = None if took_ms is None else START_NS + round((at_ms + took_ms) * MS)
        out = None if took_ms is None else self.see(at_ms + took_ms, port)
        sent_ns = None if numbers["sent"] is None else START_NS + round(at_ms * MS)
        fate = "lost" if took_ms is None else "delivered"
        sent, wire, arrived = numbers.values()
        self.trips.append(replace(Trip("client", "server", sent, wire, arrived, out, sent_ns, ended, fate), **how))

    def measured(self, wire: Mapping[str, Any], *changed: WireChanged, **more: Any) -> Traffic:
        """The traffic from client to server; half a second after the start it is asked for another delay."""
        later = [{"at": "500ms", "client->server": {"delay": "9ms"}}]
        plan = Story({"wire": {"client->server": dict(wire), "timeline": later}}).plan
        (one,) = measure(plan, Asking.of(plan, changed), self.trips, self.packets, **more)
        return one

    def whole(self, **wire: Any) -> Share:
        """The same as a whole."""
        return self.measured(wire or {"delay": "8ms"}).whole


def times(trips: Trips, many: int, **how: Any) -> None:
    """So many equal packets."""
    for number in range(many):
        trips.go(100 * number, **how)


def test_losses_by_cause() -> None:
    """Of the packets lost, a fault's, a full queue's, and those that nothing explains are counted apart."""
    trips = Trips()
    times(trips, 10)
    for many, cause in enumerate(
        ("fault 0: drop SYN", "never captured", "queue full", "chance or a full queue", "chance", "blackhole"), 1
    ):
        times(trips, many, took_ms=None, cause=cause)
    one = trips.whole()
    assert (one.source, one.destination, one.name) == ("client", "server", "client->server")
    assert (one.packets, one.delivered, one.lost) == (31, 10, 21)
    assert (one.by_fault, one.unexplained, one.by_queue) == (1, 2, 3 + 4)
    assert (one.chances, one.lost_by_chance) == (31 - 10, 5 + 6)
    assert one.loss_percent == pytest.approx(100 * 20 / 30)
    assert (one.duplicates, one.corrupted) == (0, 0)


def test_loss_of_nothing() -> None:
    """Where faults took every packet there is no rate of loss; where none was lost it is 0."""
    trips = Trips()
    trips.go(0, None, cause="fault 0: drop SYN")
    assert trips.whole().loss_percent is None
    trips.go(1)
    assert trips.whole().loss_percent == 0


def test_what_was_changed() -> None:
    """Copies and flipped bits count where chance made them; a copy, or what a link forged, is no packet of its own."""
    trips = Trips()
    trips.go(0)
    for by in ("chance", "chance", "chance", "fault 0: duplicate SYN"):
        trips.go(0, 11, fate="duplicate", change=Change.DUPLICATED, by=by)
    for by in ("chance", "chance", "fault 1: corrupt DATA"):
        trips.go(50, change=Change.CORRUPTED, by=by)
    trips.go(90, change=Change.FORGED, by="fault 2: reset DATA", unseen="sent wire arrived")
    one = trips.whole()
    assert (one.packets, one.delivered, one.lost) == (4, 4, 0)
    assert (one.duplicates, one.corrupted) == (3, 2)
    assert len(one.crossings) == 4


def test_forged_and_heard() -> None:
    """What was forged in a host's name and crossed the wire is one of the direction's packets."""
    trips = Trips()
    trips.go(0, change=Change.FORGED, by="fault 0: icmp SYN", unseen="sent")
    trips.go(1, change=Change.FORGED, by="fault 0: icmp SYN", unseen="wire")
    assert trips.whole().packets == 2


def test_delays() -> None:
    """A delay is from the sender to the end of the way; what a fault held back, or nobody saw leave, has none."""
    trips = Trips()
    for took in (30, 10, 20):
        trips.go(0, took)
    trips.go(0, 900, change=Change.DELAYED, by="fault 0: delay SYN")
    trips.go(0, 5, unseen="sent")
    trips.go(0, None, cause="chance")
    one = trips.whole()
    assert one.delays_ns == (10 * MS, 20 * MS, 30 * MS)
    assert [one.quantile_ns(part) for part in (0, 0.2, 0.5, 0.8, 1)] == [
        10 * MS, 10 * MS, 20 * MS, 30 * MS, 30 * MS,
    ]  # fmt: skip
    assert one.unsure_ns == 0
    assert Trips().measured({"delay": "8ms"}).whole.quantile_ns(0.5) is None


def test_crossings() -> None:
    """A packet's time on the link is from its arrival there, or where it was last seen before, to its end."""
    trips = Trips()
    trips.go(70, 10, unseen="arrived")
    trips.go(50, 10, unseen="sent arrived")
    trips.go(30, None, cause="chance")
    trips.go(10, 10)
    trips.go(90, 10, fate="lost", cause="chance")
    one = trips.whole()
    assert [(c.arrived_ns - START_NS, c.size, c.took_ns) for c in one.crossings] == [
        (12 * MS, 100, 8 * MS),
        (32 * MS, 100, None),
        (51 * MS, 100, 9 * MS),
        (70 * MS, 100, 10 * MS),
        (92 * MS, 100, None),
    ]
    assert [c.trip for c in one.crossings] == [trips.trips[n] for n in (3, 2, 1, 0, 4)]


def test_rate() -> None:
    """Bits per second that came out, from the first to the last; the first one's own bits were there before."""
    trips = Trips()
    trips.go(0, 50)
    assert trips.whole().rate_bit is None
    trips.go(10, 40)
    assert trips.whole().rate_bit is None  # at once
    trips.go(5, 145)
    trips.go(20, None, cause="chance")
    assert trips.whole().rate_bit == pytest.approx(2 * 100 * 8 / 0.1)


def test_rate_of_two() -> None:
    """Two packets have a rate: the second one's bits, over the time between them."""
    trips = Trips()
    trips.go(0, 50)
    trips.go(5, 145)
    assert trips.whole().rate_bit == 100 * 8 / 0.1
    trips.go(10, 140)  # at once with the second, and not with the first
    assert trips.whole().rate_bit == 2 * 100 * 8 / 0.1


def changed(at_ms: int, phase: int = 1) -> WireChanged:
    """The server's link came to its next phase."""
    return WireChanged("server", START_NS + at_ms * MS, phase)


def test_stretches() -> None:
    """Each phase, and each port with an impairment of its own, is measured for itself; the whole has all packets."""
    story = Story(
        {
            "wire": {
                "client->server": {"delay": "8ms", "ports": {"9": {"delay": "20ms"}}},
                "timeline": [{"at": "1s", "client->server": {"delay": "30ms"}}],
            }
        }
    )
    trips = Trips()
    for at_ms, port in ((0, 40000), (10, 9), (20, 9), (990, 40000), (2000, 40000), (2010, 40000), (2020, 40000)):
        trips.go(at_ms, port=port)
    asking = Asking.of(story.plan, [changed(1000)])
    (one,) = measure(story.plan, asking, trips.trips, trips.packets)
    assert [(share.phase, share.asked.delay_ns // MS, share.packets) for share in one.shares] == [
        (0, 8, 2),
        (0, 20, 2),
        (1, 30, 3),
    ]
    # What comes in at 995 ms, within 5 ms of the change, counts in the whole alone.
    trips.go(993)
    (one,) = measure(story.plan, asking, trips.trips, trips.packets)
    assert sum(share.packets for share in one.shares) == 7
    assert (one.whole.packets, one.whole.phase, one.whole.asked) == (8, 0, Impairment(delay_ns=8 * MS))
    assert one.is_impaired


def test_one_stretch_is_the_whole() -> None:
    """Where the same was asked of all packets, the whole is that stretch; not where some came between two phases."""
    trips = Trips()
    trips.go(0)
    trips.go(10)
    one = trips.measured({"delay": "8ms"})
    assert one.shares == (one.whole,)
    trips.go(500)
    between = trips.measured({"delay": "8ms"}, changed(500))
    assert (between.whole.packets, [share.packets for share in between.shares]) == (3, [2])
    late = Trips()
    late.go(700)
    whole = late.measured({"delay": "8ms"}, changed(500)).whole
    assert (whole.phase, whole.asked.delay_ns) == (1, 9 * MS)


def test_between_two_phases() -> None:
    """What came in just then belongs to no stretch; what came later does. Of nothing there is the first stretch."""
    trips = Trips()
    trips.go(498)
    alone = trips.measured({"delay": "8ms"}, changed(500))
    assert [(share.phase, share.packets) for share in alone.shares] == [(0, 0)]
    assert alone.whole.packets == 1
    trips.go(700)
    both = trips.measured({"delay": "8ms"}, changed(500))
    assert [(share.phase, share.packets) for share in both.shares] == [(1, 1)]
    assert both.whole.packets == 2


def test_copies_and_the_whole() -> None:
    """A direction with copies has them in its stretch and in the whole alike."""
    trips = Trips()
    trips.go(0)
    trips.go(0, 11, fate="duplicate", change=Change.DUPLICATED, by="chance")
    one = trips.measured({"delay": "8ms"})
    assert (one.whole.packets, one.whole.duplicates, [share.duplicates for share in one.shares]) == (1, 1, [1])


def names(story: Story, trips: Iterable[Trip], packets: Mapping[int, Packet]) -> list[str]:
    """The directions that are measured."""
    return [one.name for one in measure(story.plan, Asking.of(story.plan, ()), trips, packets)]


def test_which_directions_are_measured() -> None:
    """Those that had packets, and those of which something was asked, though it had none."""
    trips = Trips()
    trips.go(0)
    assert names(Story({}), (), {}) == []
    assert names(Story({}), trips.trips, trips.packets) == ["client->server"]
    assert names(Story({"wire": {"server->client": {"delay": "1ms"}}}), (), {}) == ["server->client"]
    asked = Story({"wire": {"server->client": {"delay": "1ms"}}})
    (unused,) = measure(asked.plan, Asking.of(asked.plan, ()), (), {})
    assert (unused.whole.packets, unused.whole.asked.delay_ns, unused.is_impaired) == (0, MS, True)
    unasked = measure(Story({}).plan, Asking.of(Story({}).plan, ()), trips.trips, trips.packets)
    assert [(one.whole.asked, one.is_impaired) for one in unasked] == [(NONE, False)]


def test_clocks_that_differ() -> None:
    """How far the ends' clocks may be off goes with the direction, as a whole and in every stretch."""
    trips = Trips()
    trips.go(0)
    trips.go(500)
    one = trips.measured({"delay": "8ms"}, changed(500), unsure_ns={("client", "server"): 7, ("server", "client"): 9})
    assert (one.whole.unsure_ns, [share.unsure_ns for share in one.shares]) == (7, [7])
    assert trips.measured({"delay": "8ms"}, unsure_ns={("server", "client"): 9}).whole.unsure_ns == 0


def test_replicas_are_measured_apart() -> None:
    """Each pair of hosts is a direction of its own."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    story = Story({"hosts": hosts, "wire": {"client->server": {"delay": "1ms"}}})
    assert set(names(story, (), {})) == {"client->server", "client-2->server"}


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "0ms"),
        (1, "0ms"),
        (50 * MS, "50ms"),
        (10_025_000, "10.025ms"),
        (999_999_000, "999.999ms"),
        (1_000 * MS, "1s"),
        (1_004 * MS, "1.004s"),
        (100_000 * MS, "100s"),
        (-2_500_000, "-2.5ms"),
        (-1_500 * MS, "-1.5s"),
    ],
)
def test_times_as_scenarios_write_them(time_ns: int, shown: str) -> None:
    """Milliseconds below a second, seconds from there on, no zeros behind the point."""
    assert show_ms(time_ns) == shown
