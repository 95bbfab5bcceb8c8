"""What the page says of each packet: a line of its list, and behind that everything that is known of it.

The first `DISSECTED` packets, those that the ladder draws, and those that checks which did not pass point at are taken
apart by scapy, with their bytes; a storm has more packets than a page can hold so, and the rest tell what our own
decoder knows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from testbed.packet import Flags, Options, Packet, Protocol
from testbed.report.arrows import labels, notes
from testbed.report.dissect import Layer, dissect, hex_dump
from testbed.report.escape import clip, quote
from testbed.report.ladder import Ladder, PacketRow, cited
from testbed.report.originals import originals
from testbed.verdict.value import Judgement, Trip

DISSECTED = 200
PAYLOAD_CHARACTERS = 34
FATE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Opened:
    """One captured copy of a packet, taken apart."""

    number: int
    vantage: str
    length: int
    layers: tuple[Layer, ...]
    hex: str


@dataclass(frozen=True, slots=True)
class Card:
    """A packet as the page lists it; `facts` and `opened` stand behind its line."""

    row: PacketRow
    at: str
    label: str
    fate: str
    payload: str
    repeats: int | None
    repeated_by: tuple[int, ...]
    checks: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()
    opened: tuple[Opened, ...] = ()

    @property
    def anchors(self) -> tuple[int, ...]:
        """The numbers by which links find it; of a copy only its own, since the others are its original's."""
        if self.row.trip.fate == "duplicate":
            return () if self.row.own == self.row.number else (self.row.own,)
        return self.row.numbers

    @property
    def brief(self) -> str:
        """The facts in one line, for packets that are too many to be set in columns."""
        return ", ".join(f"{name} {said}" for name, said in self.facts)


def cards(judgement: Judgement, ladder: Ladder, limit: int, keep: Collection[int]) -> list[Card]:
    """The first `limit` packets of a run in order of time, and those that are drawn (`keep`) or pointed at."""
    rows = [row for row in ladder.rows if isinstance(row, PacketRow)]
    index = _index(judgement, rows)
    wanted = cited(judgement)
    pointed_at = [row.number for row in rows if wanted & set(row.numbers)][:DISSECTED]
    opening = {*(row.number for row in rows[:DISSECTED]), *pointed_at, *keep}
    listed = [row for at, row in enumerate(rows) if at < limit or row.number in opening]
    return [_card(row, index, whole=row.number in opening) for row in listed]


@dataclass(frozen=True, slots=True)
class _Index:
    """What making cards looks up again and again."""

    judgement: Judgement
    packets: Mapping[int, Packet]
    repeats: Mapping[int, PacketRow]
    repeated_by: Mapping[int, Sequence[int]]
    checks: Mapping[int, Sequence[str]]


def _index(judgement: Judgement, rows: Iterable[PacketRow]) -> _Index:
    repeats = originals(rows)
    repeated_by: dict[int, list[int]] = {}
    for number, first in repeats.items():
        repeated_by.setdefault(first.number, []).append(number)
    checks: dict[int, list[str]] = {}
    for check in judgement.checks:
        for number in check.packets:
            checks.setdefault(number, []).append(f"{check.name} ({check.verdict.value})")
    return _Index(judgement, {packet.number: packet for packet in judgement.packets}, repeats, repeated_by, checks)


def _card(row: PacketRow, index: _Index, *, whole: bool) -> Card:
    lost = f"lost {row.lost.where}: {row.lost.cause or 'no cause known'}" if row.lost else row.trip.fate
    noted = notes(row, between=", ")
    first = index.repeats.get(row.number)
    packet = index.packets.get(row.number)
    checks = dict.fromkeys(name for number in row.numbers for name in index.checks.get(number, ()))
    return Card(
        row,
        f"{row.at_ns / 1e6:.3f}",
        labels(row.segment)[0],
        clip(f"{lost}, {noted}" if noted else lost, FATE_CHARACTERS),
        quote(row.segment.payload, limit=PAYLOAD_CHARACTERS) if row.segment.payload else "",
        first.number if first else None,
        tuple(index.repeated_by.get(row.number, ())),
        tuple(checks),
        (*_seen(row.trip), *(_facts(row, packet) if packet else ())),
        tuple(_opened(row.trip, index.judgement)) if whole else (),
    )


def _seen(trip: Trip) -> Iterator[tuple[str, str]]:
    """Where it was seen, by its numbers in the trace."""
    places = (("sent", trip.sent), ("wire", trip.wire), ("arrived", trip.arrived), ("delivered", trip.delivered))
    yield from ((name, str(number)) for name, number in places if number is not None)


def _facts(row: PacketRow, packet: Packet) -> Iterator[tuple[str, str]]:
    """What our decoder knows of it: the numbers in both notations, window and options."""
    if packet.protocol != Protocol.TCP:
        return
    yield "sequence", f"{row.segment.sequence} ({packet.sequence})"
    if packet.flags & Flags.ACK:
        yield "ack", f"{row.segment.acknowledgement} ({packet.acknowledgement})"
    scaled = f" ({packet.window})" if row.segment.window != packet.window else ""
    yield "window", f"{row.segment.window}{scaled}"
    if options := show_options(packet.options):
        yield "options", options


def show_options(options: Options) -> str:
    """The TCP options of a segment as one line; those it does not carry left out."""
    carried = ((spec.name, getattr(options, spec.name)) for spec in fields(options))
    return ", ".join(_option(name, value) for name, value in carried if value not in (None, False, ()))


def _option(name: str, value: Any) -> str:
    said = name.replace("_", " ")
    if value is True:
        return said
    return f"{said} {value.hex() or 'asked for' if isinstance(value, bytes) else value}"


def _opened(trip: Trip, judgement: Judgement) -> Iterator[Opened]:
    """The packet as it was seen first, and once more where what was delivered has other bytes."""
    shown: set[bytes] = set()
    for number in trip.numbers:
        if number > len(judgement.trace.frames):
            continue
        frame = judgement.trace.frames[number - 1]
        if frame.data[12:] in shown:  # MAC addresses aside, which a link may rewrite
            continue
        shown.add(frame.data[12:])
        interface = judgement.trace.interfaces[frame.interface]
        yield Opened(
            number, interface.name, frame.length, dissect(frame.data, interface.link_type), hex_dump(frame.data)
        )
