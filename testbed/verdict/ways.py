"""A packet's way while it is being put together: the same packet at one vantage point after the other.

Equal packets are recognised by addresses, ports, sequence numbers, flags, length, IP identification and TCP timestamps;
between copies that are equal in all of these, `pairing` decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from testbed.evidence import WIRE, FaultFired
from testbed.packet import Packet, Protocol
from testbed.pcap.frame import Capture, Direction
from testbed.verdict.merge import BEHIND
from testbed.verdict.pairing import pair

CLOCKS_NS = 1_000_000  # so much earlier may a later vantage point's time be: two captures, two processors
ENGINES_NS = 1_000_000_000  # and so much where hosts are on machines of their own


class Stage(IntEnum):
    """Where on its way a packet was seen."""

    SENT = 0
    WIRE = 1
    ARRIVED = 2
    DELIVERED = 3


Key = tuple[object, ...]


@dataclass(slots=True, eq=False)
class Way:
    """One packet: who sent it to whom, its sightings, the fault that it met, and what came of that."""

    key: Key
    source: str
    destination: str
    seen: dict[Stage, Packet]
    fault: FaultFired | None = None
    duplicate: bool = False
    taken: bool = False  # the fault did not let it pass as it was
    altered: bool = False  # what was delivered is another packet in its place
    forged: bool = False  # no host sent it: the fault made it
    flipped: bool = False  # delivered with a bit changed by chance

    @property
    def first(self) -> Packet:
        """The earliest sighting on the way."""
        return self.seen[min(self.seen)]

    @property
    def last(self) -> Packet:
        """The furthest sighting on the way."""
        return self.seen[max(self.seen)]


@dataclass(slots=True, eq=False)
class Copies:
    """All ways of equal packets between two hosts, and the deliveries behind the link, not yet matched to them."""

    key: Key
    source: str
    destination: str
    ways: list[Way]
    deliveries: list[Packet]
    copied_by: list[FaultFired] = field(default_factory=list)  # faults that made a copy of one of these


def gather(packets: Iterable[Packet], trace: Capture, hosts: Mapping[str, str], engine: str) -> dict[Key, Copies]:
    """Packets between known hosts (`hosts`: name by address), each followed up to its arrival at the receiver."""
    sightings: dict[Key, dict[Stage, list[Packet]]] = {}
    for packet in packets:
        if (stage := _stage(packet, trace, hosts, engine)) is not None:
            sightings.setdefault(_key(packet), {}).setdefault(stage, []).append(packet)
    return {key: _follow(key, stages, hosts) for key, stages in sightings.items()}


def is_delivery(direction: Direction, engine: str) -> bool:
    """Whether a frame behind a link is one that comes out of it.

    A TAP shows what goes into the link as OUT, what comes out of it as IN; an IFB shows only the latter, as OUT.
    """
    return direction is not Direction.OUT or engine == "netem"


def _stage(packet: Packet, trace: Capture, hosts: Mapping[str, str], engine: str) -> Stage | None:
    if packet.source not in hosts or packet.destination not in hosts or _is_discovery(packet):
        return None
    vantage = trace.interfaces[packet.interface].name
    direction = trace.frames[packet.number - 1].direction
    destination = hosts[packet.destination]
    if vantage == WIRE:
        return Stage.WIRE
    if vantage == hosts[packet.source]:
        return Stage.SENT if direction is not Direction.IN else None
    if vantage == destination:
        return Stage.ARRIVED if direction is not Direction.OUT else None
    if vantage == destination + BEHIND:
        return Stage.DELIVERED if is_delivery(direction, engine) else None
    return None


def _is_discovery(packet: Packet) -> bool:
    """Neighbour discovery (RFC 4861) goes around the links, as ARP does."""
    return packet.protocol == Protocol.ICMPV6 and packet.icmp is not None and packet.icmp[0] in range(133, 138)


def _key(packet: Packet) -> Key:
    return (
        packet.protocol,
        packet.source,
        packet.source_port,
        packet.destination,
        packet.destination_port,
        packet.sequence,
        packet.acknowledgement,
        packet.flags,
        packet.payload_length,
        packet.ip_id,
        packet.options.timestamps,
        packet.window,
        packet.options.sack,
        packet.icmp,
        None if packet.protocol == Protocol.TCP else packet.payload,
    )


def _follow(key: Key, stages: Mapping[Stage, list[Packet]], hosts: Mapping[str, str]) -> Copies:
    some = next(iter(stages.values()))[0]
    ways: list[Way] = []
    for stage in (Stage.SENT, Stage.WIRE, Stage.ARRIVED):
        packets = stages.get(stage, [])
        ways.sort(key=lambda way: way.first.time_ns)
        found = pair([way.first.time_ns for way in ways], _times(packets), -CLOCKS_NS, -ENGINES_NS)
        started = list(ways)
        for packet, index in zip(packets, found, strict=True):
            if index is None:
                ways.append(Way(key, hosts[some.source], hosts[some.destination], {stage: packet}))
            else:
                started[index].seen[stage] = packet
    return Copies(key, hosts[some.source], hosts[some.destination], ways, stages.get(Stage.DELIVERED, []))


def deliver(copies: Copies, least_ns: int) -> Iterator[Way]:
    """Match the deliveries behind a link to the copies that no fault took; give all ways, duplicates among them.

    `least_ns` is the least time that the link was asked to take.
    """
    waiting = sorted((way for way in copies.ways if not way.taken), key=lambda way: way.last.time_ns)
    found = pair([way.last.time_ns for way in waiting], _times(copies.deliveries), max(0, least_ns - CLOCKS_NS), 0)
    for packet, index in zip(copies.deliveries, found, strict=True):
        if index is not None:
            waiting[index].seen[Stage.DELIVERED] = packet
    yield from copies.ways
    for packet, index in zip(copies.deliveries, found, strict=True):
        if index is None:
            yield _extra(copies, packet)


def _extra(copies: Copies, packet: Packet) -> Way:
    """A delivery too many: a duplicate of the copy that came last before it, or without one a packet of its own."""
    before = [way for way in copies.ways if way.last.time_ns <= packet.time_ns and Stage.DELIVERED in way.seen]
    seen = max(before, key=lambda way: way.first.time_ns).seen if before else {}
    found = {**seen, Stage.DELIVERED: packet}
    entry = copies.copied_by.pop(0) if before and copies.copied_by else None
    return Way(copies.key, copies.source, copies.destination, found, entry, duplicate=bool(before))


def _times(packets: Iterable[Packet]) -> list[int]:
    return [packet.time_ns for packet in packets]
