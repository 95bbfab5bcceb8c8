"""The ladder as values: one row per packet of the wire, kernel states of both hosts in between, in order of time.

Every drawing (terminal, SVG, HTML) takes these rows, so that all say the same. Times are nanoseconds since the
first packet (a listening server is there before: negative). Of several connections the rows are interleaved as they
happened, each with its connection's number, counting from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations_with_replacement

from testbed.evidence import CaptureCount, StateSample, StepOutcome
from testbed.packet import Flags, Packet, Protocol
from testbed.report.lanes import Lanes, place_hosts
from testbed.report.relative import MODULUS, Scales, Segment, scale, segment
from testbed.tcp.connection import Connection
from testbed.verdict.value import Change, Judgement, Outcome, Trip

FOLD_ABOVE = 60


class Where(StrEnum):
    """Where a packet was lost, as far as the vantage points tell."""

    BEFORE_WIRE = "before the wire"
    BEHIND_WIRE = "behind the wire"
    ON_ARRIVAL = "on arrival"


class Mark(StrEnum):
    """What is unusual about a packet."""

    RETRANSMISSION = "retransmission"
    DUPLICATE = "duplicate"
    FORGED = "forged"  # by a fault; or its sender's own capture, which missed nothing, never saw it
    REWRITTEN = "rewritten"
    CORRUPTED = "corrupted"
    HELD_BACK = "held back"  # by a fault


@dataclass(frozen=True, slots=True)
class Loss:
    """A packet that did not arrive: where it ended, and by what."""

    where: Where
    cause: str

    @property
    def says(self) -> str:
        """The loss in words; that impairments take packets on arrival goes without saying."""
        cause = self.cause or "lost"
        return cause if self.where is Where.ON_ARRIVAL else f"{self.where}: {cause}"


@dataclass(frozen=True, slots=True)
class PacketRow:
    """One packet's way from host to host."""

    at_ns: int
    number: int  # in the trace; the wire's where the wire saw it
    from_left: bool
    connection: int | None
    segment: Segment
    trip: Trip
    marks: tuple[Mark, ...] = ()
    lost: Loss | None = None
    delay_ns: int | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """The packet's numbers in the trace, at all vantage points that saw it."""
        return _numbers(self.trip)

    @property
    def own(self) -> int:
        """The number that no other row has: of a copy the last, since it shares the others with its original."""
        delivered = self.trip.delivered
        return delivered if self.trip.fate == "duplicate" and delivered is not None else self.number


@dataclass(frozen=True, slots=True)
class StateRow:
    """A kernel socket's change of state, beside its host's lane."""

    at_ns: int
    host: str
    left: bool
    connection: int | None
    socket: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FoldRow:
    """So many rows are left out here."""

    packets: int
    lost: int
    states: int


Row = PacketRow | StateRow | FoldRow


@dataclass(frozen=True, slots=True)
class Ladder:
    """Two lanes with the wire between them, and what happened on them."""

    left: str
    right: str
    rows: tuple[PacketRow | StateRow, ...]
    connections: int


@dataclass(frozen=True, slots=True)
class _Index:
    """What making rows looks up again and again."""

    packets: dict[int, Packet]
    scales: tuple[Scales, ...]
    by_number: dict[int, int]  # packet number -> connection
    by_ports: dict[tuple[str, int, str, int], tuple[int, ...]]
    by_port_pair: dict[frozenset[int], int]  # the first connection between two ports
    lanes: Lanes
    all_seen: frozenset[str]  # hosts whose own capture dropped nothing


def climb(judgement: Judgement) -> Ladder:
    """The ladder of a run, every row of it."""
    index = _index(judgement)
    origin = origin_ns(judgement)
    repeated = _repeated(judgement, index)
    packets = [_packet_row(trip, origin, index, repeated) for trip in judgement.trips if _numbers(trip)]
    states = [_state_row(sample, origin, index) for sample in judgement.evidence.all(StateSample)]
    rows: list[PacketRow | StateRow] = [*packets, *states]
    lanes = index.lanes
    return Ladder(
        lanes.left_title, lanes.right_title, tuple(sorted(rows, key=lambda row: row.at_ns)), len(judgement.connections)
    )


def origin_ns(judgement: Judgement) -> int:
    """The moment that a report counts from: the first packet, else the first step, else the start of the run."""
    times = [time for trip in judgement.trips if (time := _time_ns(trip, {})) is not None]
    steps = [step.start_ns for step in judgement.evidence.all(StepOutcome)]
    return min(times or steps or [judgement.evidence.run.started_ns])


def fold(rows: Sequence[PacketRow | StateRow], *, keep: Iterable[int] = (), limit: int = FOLD_ABOVE) -> tuple[Row, ...]:
    """At most `limit` rows, the first and the last ones and packets numbered in `keep`; counts stand for the rest."""
    if len(rows) <= limit:
        return tuple(rows)
    wanted = frozenset(keep)
    cited = [at for at, row in enumerate(rows) if isinstance(row, PacketRow) and wanted & set(row.numbers)]
    cited = cited[: limit // 3]
    head = (limit - len(cited)) // 2
    shown = sorted({*range(head), *cited, *range(len(rows) - (limit - len(cited) - head), len(rows))})
    folded: list[Row] = []
    for at, previous in zip(shown, [-1, *shown], strict=False):
        if at > previous + 1:
            folded.append(_fold_row(rows[previous + 1 : at]))
        folded.append(rows[at])
    return tuple(folded)


def cited(judgement: Judgement) -> frozenset[int]:
    """The packets that checks which did not pass point at."""
    return frozenset(
        number for check in judgement.checks if check.verdict is not Outcome.PASSED for number in check.packets
    )


def _fold_row(hidden: Sequence[PacketRow | StateRow]) -> FoldRow:
    packets = [row for row in hidden if isinstance(row, PacketRow)]
    return FoldRow(len(packets), sum(1 for row in packets if row.lost), len(hidden) - len(packets))


def _numbers(trip: Trip) -> tuple[int, ...]:
    seen = (trip.wire, trip.sent, trip.arrived, trip.delivered)
    return tuple(number for number in seen if number is not None)


def _time_ns(trip: Trip, packets: dict[int, Packet]) -> int | None:
    if trip.sent_ns is not None:
        return trip.sent_ns
    seen = [packets[number].time_ns for number in _numbers(trip) if number in packets]
    return min(seen) if seen else trip.ended_ns


def _index(judgement: Judgement) -> _Index:
    packets = {packet.number: packet for packet in judgement.packets}
    by_ports: dict[tuple[str, int, str, int], tuple[int, ...]] = {}
    for at, connection in enumerate(judgement.connections):
        client, server = connection.client, connection.server
        for key in (
            (client.address, client.port, server.address, server.port),
            (server.address, server.port, client.address, client.port),
        ):
            by_ports[key] = (*by_ports.get(key, ()), at)
    pairs = [frozenset((connection.client.port, connection.server.port)) for connection in judgement.connections]
    return _Index(
        packets,
        tuple(_scales(connection, packets) for connection in judgement.connections),
        {number: at for at, connection in enumerate(judgement.connections) for number in connection.packets},
        by_ports,
        {pair: at for at, pair in reversed([*enumerate(pairs, start=1)])},
        place_hosts(judgement),
        frozenset(count.host for count in judgement.evidence.all(CaptureCount) if not count.dropped),
    )


def _scales(connection: Connection, packets: dict[int, Packet]) -> Scales:
    return scale(connection, [packets[number] for number in connection.packets if number in packets])


def _connection(trip: Trip, packet: Packet, index: _Index) -> int | None:
    """Which connection a packet belongs to: as the analysis says, else the nearest in time on the same ports."""
    known = [index.by_number[number] for number in _numbers(trip) if number in index.by_number]
    ports = (packet.source, packet.source_port, packet.destination, packet.destination_port)
    if known or packet.protocol != Protocol.TCP or ports not in index.by_ports:
        return known[0] if known else None

    def distance(at: int) -> int:
        connection = index.scales[at].connection
        return max(connection.first_ns - packet.time_ns, packet.time_ns - connection.last_ns, 0)

    return min(index.by_ports[ports], key=distance)


def _packet(trip: Trip, index: _Index) -> Packet | None:
    order = (trip.sent, trip.wire, trip.arrived, trip.delivered)
    return next((index.packets[number] for number in order if number in index.packets), None)


def _repeated(judgement: Judgement, index: _Index) -> frozenset[int]:
    """Numbers of the packets that were sent before: data as the analysis says, SYN and FIN by their place."""
    again = {
        number
        for connection in judgement.connections
        for flow in (connection.client_flow, connection.server_flow)
        for number in flow.retransmitted_packets
    }
    seen: set[tuple[object, ...]] = set()
    for trip in sorted(judgement.trips, key=lambda trip: _time_ns(trip, index.packets) or 0):
        packet = _packet(trip, index)
        if packet is None or not (place := _place(packet)) or trip.fate == "duplicate":
            continue
        key = (packet.source, packet.source_port, packet.destination, packet.destination_port, *place)
        again.update(_numbers(trip) if key in seen else ())
        seen.add(key)
    return frozenset(again)


def _place(packet: Packet) -> tuple[object, ...] | None:
    # RFC 9293 section 3.4: SYN and FIN each take a place of their own in sequence space. A SYN-ACK with the number
    # of an earlier SYN (simultaneous open) is not a copy of it, so ACK is part of the place.
    if packet.protocol != Protocol.TCP or not packet.flags & (Flags.SYN | Flags.FIN):
        return None
    if packet.flags & Flags.SYN:
        return "SYN", bool(packet.flags & Flags.ACK), packet.sequence
    return "FIN", (packet.sequence + packet.payload_length) % MODULUS


def _packet_row(trip: Trip, origin: int, index: _Index, repeated: frozenset[int]) -> PacketRow:
    packet = _packet(trip, index)
    connection = _connection(trip, packet, index) if packet else None
    scales = None if connection is None else index.scales[connection]
    return PacketRow(
        at_ns=(_time_ns(trip, index.packets) or origin) - origin,
        number=_numbers(trip)[0],
        from_left=index.lanes.rightward(trip.source, trip.destination),
        connection=None if connection is None else connection + 1,
        segment=segment(packet, scales) if packet else Segment("?", says="not decoded"),
        trip=trip,
        marks=_marks(trip, index, repeated),
        lost=Loss(_where(trip), trip.cause) if trip.fate == "lost" else None,
        delay_ns=_delay_ns(trip),
    )


def _marks(trip: Trip, index: _Index, repeated: frozenset[int]) -> tuple[Mark, ...]:
    found = {
        Mark.RETRANSMISSION: bool(repeated.intersection(_numbers(trip))),
        Mark.DUPLICATE: trip.fate == "duplicate",
        Mark.FORGED: trip.change is Change.FORGED
        or (trip.sent is None and trip.fate != "duplicate" and trip.source in index.all_seen),
        Mark.REWRITTEN: trip.change is Change.REWRITTEN,
        Mark.CORRUPTED: trip.change is Change.CORRUPTED,
        Mark.HELD_BACK: trip.change is Change.DELAYED,
    }
    return tuple(mark for mark, there in found.items() if there)


def _where(trip: Trip) -> Where:
    if trip.arrived is not None:
        return Where.ON_ARRIVAL
    return Where.BEFORE_WIRE if trip.wire is None else Where.BEHIND_WIRE


def _delay_ns(trip: Trip) -> int | None:
    if trip.fate == "lost" or trip.sent_ns is None or trip.ended_ns is None:
        return None
    return trip.ended_ns - trip.sent_ns


def _state_row(sample: StateSample, origin: int, index: _Index) -> StateRow:
    numbers = {int(number) for number in re.findall(r"\d+", sample.socket)}
    pairs = map(frozenset, combinations_with_replacement(numbers, 2))
    ends = [index.by_port_pair[pair] for pair in pairs if pair in index.by_port_pair]
    return StateRow(
        at_ns=sample.time_ns - origin,
        host=sample.host,
        left=index.lanes.is_left(sample.host),
        connection=min(ends, default=None),
        socket=sample.socket,
        before=sample.before,
        after=sample.after,
    )
