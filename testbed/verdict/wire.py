"""What the wire did, direction by direction: measured from the trips, and laid beside what was asked.

A direction may have been asked for several things: one after the other (phases of the timeline), or by port. Each such
stretch is a `Share` of its traffic, measured for itself; `Traffic` is the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from testbed.agent.impairments import NONE, Impairment
from testbed.packet import Packet
from testbed.plan import Plan
from testbed.verdict.asked import Asking
from testbed.verdict.value import EITHER, FULL, NEVER_CAPTURED, Change, Trip

ETHERNET = 14


@dataclass(frozen=True, slots=True)
class Crossing:
    """One packet that crossed (or was lost on) an impaired link: when it came in, its size, when it came out."""

    trip: Trip
    arrived_ns: int
    size: int  # of its Ethernet frame, bytes
    took_ns: int | None  # None: lost


@dataclass(frozen=True, slots=True)
class Share:
    """The packets of a direction of which the same was asked."""

    source: str
    destination: str
    phase: int
    asked: Impairment
    crossings: tuple[Crossing, ...]  # in order of their arrival; what nobody sent is not among them
    packets: int
    delivered: int
    lost: int
    by_fault: int  # of those lost
    unexplained: int  # of those lost: "never captured"
    by_queue: int  # of those lost: for want of room, surely or perhaps
    duplicates: int  # by chance
    corrupted: int  # by chance
    delays_ns: tuple[int, ...]  # in order of length; those that a fault held back left out
    unsure_ns: int = 0  # so far off may each of them be: the two ends' clocks are not one

    @property
    def name(self) -> str:
        """The direction as scenarios write it."""
        return f"{self.source}->{self.destination}"

    @property
    def chances(self) -> int:
        """How many packets chance had its say about."""
        return self.packets - self.by_fault - self.unexplained - self.by_queue

    @property
    def lost_by_chance(self) -> int:
        """Lost, and not by a fault, a full queue, and not merely unseen."""
        return self.lost - self.by_fault - self.unexplained - self.by_queue

    @property
    def loss_percent(self) -> float | None:
        """Of the packets that no fault took, how many were lost."""
        left = self.packets - self.by_fault
        return 100 * (self.lost - self.by_fault) / left if left else None

    def quantile_ns(self, part: float) -> int | None:
        """The delay that so large a part of the delivered packets stayed within (nearest rank)."""
        last = len(self.delays_ns) - 1
        return self.delays_ns[round(part * last)] if self.delays_ns else None

    @property
    def rate_bit(self) -> float | None:
        """Bits per second that came out, from the first delivery to the last; None of fewer than two."""
        out = sorted((c.arrived_ns + c.took_ns, c.size) for c in self.crossings if c.took_ns is not None)
        if len(out) < 2 or out[-1][0] == out[0][0]:
            return None
        return sum(size for _, size in out[1:]) * 8e9 / (out[-1][0] - out[0][0])


@dataclass(frozen=True, slots=True)
class Traffic:
    """One direction of the wire as a whole, and its shares where several things were asked of it."""

    whole: Share
    shares: tuple[Share, ...]

    @property
    def name(self) -> str:
        """The direction as scenarios write it."""
        return self.whole.name

    @property
    def is_impaired(self) -> bool:
        """Whether anything was asked of it, at any time, for any port."""
        return any(share.asked != NONE for share in self.shares)


def measure(
    plan: Plan,
    asking: Asking,
    trips: Iterable[Trip],
    packets: Mapping[int, Packet],
    unsure_ns: Mapping[tuple[str, str], int] | None = None,
) -> tuple[Traffic, ...]:
    """The traffic of each direction that had packets, or of which something was asked.

    `unsure_ns`: by source and destination, how far the difference of their clocks may be off, where they have two.
    """
    by_direction: dict[tuple[str, str], list[Trip]] = {}
    for trip in trips:
        by_direction.setdefault((trip.source, trip.destination), []).append(trip)
    names = [host.name for host in plan.hosts]
    return tuple(
        _unsure(_traffic(asking, a, b, by_direction.get((a, b), []), packets), (unsure_ns or {}).get((a, b), 0))
        for a in names
        for b in names
        if a != b and ((a, b) in by_direction or asking.ever(a, b))
    )


def _unsure(traffic: Traffic, unsure_ns: int) -> Traffic:
    if not unsure_ns:
        return traffic
    shares = tuple(replace(share, unsure_ns=unsure_ns) for share in traffic.shares)
    return Traffic(replace(traffic.whole, unsure_ns=unsure_ns), shares)


def _traffic(
    asking: Asking, source: str, destination: str, trips: list[Trip], packets: Mapping[int, Packet]
) -> Traffic:
    link = asking.plan.link(destination)
    first = link.asked(source) if link else NONE
    shares: dict[tuple[int, Impairment], list[Trip]] = {}
    for trip in trips:
        packet = packets[trip.numbers[0]]
        time_ns = _arrived_ns(trip, packets)
        asked = asking.of_packet(source, destination, time_ns, (packet.source_port, packet.destination_port))
        phase = asking.phase(destination, time_ns)
        if asking.between(destination, time_ns):
            continue  # either phase may have met it: it says nothing of either
        shares.setdefault((phase, asked), []).append(trip)
    if not shares:
        shares[(0, first)] = []
    measured = tuple(
        _share(source, destination, phase, asked, found, packets) for (phase, asked), found in shares.items()
    )
    if len(measured) == 1 and len(measured[0].crossings) == len(trips):
        return Traffic(measured[0], measured)
    return Traffic(_share(source, destination, 0, first, trips, packets), measured)


def _share(
    source: str,
    destination: str,
    phase: int,
    asked: Impairment,
    trips: list[Trip],
    packets: Mapping[int, Packet],
) -> Share:
    carried = [trip for trip in trips if trip.fate != "duplicate" and not _appeared(trip)]
    lost = [trip for trip in carried if trip.fate == "lost"]
    crossings = tuple(sorted((_crossing(trip, packets) for trip in carried), key=lambda one: one.arrived_ns))
    delays = [
        trip.ended_ns - trip.sent_ns
        for trip in carried
        if trip.ended_ns is not None and trip.sent_ns is not None and trip.change is not Change.DELAYED
    ]
    return Share(
        source,
        destination,
        phase,
        asked,
        crossings,
        len(carried),
        sum(trip.fate == "delivered" for trip in carried),
        len(lost),
        sum(trip.cause.startswith("fault ") for trip in lost),
        sum(trip.cause == NEVER_CAPTURED for trip in lost),
        sum(trip.cause in (FULL, EITHER) for trip in lost),
        sum(trip.fate == "duplicate" and trip.by == "chance" for trip in trips),
        sum(trip.change is Change.CORRUPTED and trip.by == "chance" for trip in carried),
        tuple(sorted(delays)),
    )


def _appeared(trip: Trip) -> bool:
    """Whether a packet came out of the link, forged, without having gone in."""
    return trip.change is Change.FORGED and trip.sent is None and trip.wire is None


def _arrived_ns(trip: Trip, packets: Mapping[int, Packet]) -> int:
    """When a packet came to the link, or was last seen before it."""
    return packets[trip.numbers[0] if trip.arrived is None else trip.arrived].time_ns


def _crossing(trip: Trip, packets: Mapping[int, Packet]) -> Crossing:
    packet, arrived_ns = packets[trip.numbers[0]], _arrived_ns(trip, packets)
    took = None if trip.ended_ns is None or trip.fate == "lost" else trip.ended_ns - arrived_ns
    return Crossing(trip, arrived_ns, packet.length + ETHERNET, took)


def show_ms(time_ns: int) -> str:
    """A time as scenarios write it: `50ms`, `1.004s`."""
    if abs(time_ns) >= 1_000_000_000:
        return f"{time_ns / 1e9:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{time_ns / 1e6:.3f}".rstrip("0").rstrip(".") + "ms"
