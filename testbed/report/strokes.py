"""One packet in the drawn ladder: its arrow, how it is marked, and the texts along it.

A line's look tells what is unusual: long dashes for what is sent again, dots for what nobody sent, dashes and dots for
a copy. A lost packet ends in a cross where it was lost. Texts come twice where the reader may choose: with numbers
relative to the connection, and as they are on the wire.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, replace

from testbed.packet import Flags, Packet, Protocol
from testbed.report.arrows import labels
from testbed.report.escape import clean, clip, quote
from testbed.report.ink import element, write
from testbed.report.ladder import Mark, PacketRow, Where
from testbed.report.relative import Segment

SPAN = 560.0  # between the lanes
LABEL_AWAY = 18.0  # from the lane, where heads of arrows end
CHARACTER = 6.7  # width of one, at 11 px
HALF = int((SPAN / 2 - 20) / CHARACTER)  # characters on one half of an arrow

# How far a lost packet gets, as part of its way.
REACH = {Where.BEFORE_WIRE: 0.44, Where.BEHIND_WIRE: 0.62, Where.ON_ARRIVAL: 0.95}
# How a line is dashed; the first mark that a packet has counts.
DASHES = {Mark.FORGED: "forged", Mark.DUPLICATE: "copy", Mark.RETRANSMISSION: "again"}


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where an arrow is drawn, and its slope in radians as a text along it has it."""

    x: float
    y: float
    stop_x: float
    stop_y: float
    slope: float


def way_of(row: PacketRow, left: float, right: float, start_y: float, end_y: float) -> Way:
    """The way of a packet between the lanes at `left` and `right`; a lost one stops where it was lost."""
    start, end = (left, right) if row.from_left else (right, left)
    drop, reach = end_y - start_y, REACH[row.lost.where] if row.lost else 1.0
    slope = math.atan2(drop, SPAN) * (1 if row.from_left else -1)
    return Way(start, start_y, start + (end - start) * reach, start_y + drop * reach, slope)


def side(row: PacketRow) -> str:
    """The class of what one side sends."""
    return "client" if row.from_left else "server"


def arrow(row: PacketRow, way: Way) -> list[str]:
    """The line, and its head or its cross."""
    dash = next((f" {style}" for mark, style in DASHES.items() if mark in row.marks), "")
    line = element("line", x1=way.x, y1=way.y, x2=way.stop_x, y2=way.stop_y, class_=side(row) + dash)
    return [line, _cross(way.stop_x, way.stop_y) if row.lost else _arrowhead(way, side(row))]


def hit(way: Way) -> str:
    """What can be pointed at: the arrow, made wide and not seen."""
    return element("line", x1=way.x, y1=way.y, x2=way.stop_x, y2=way.stop_y, class_="hit")


def told(row: PacketRow, says: str) -> str:
    """What a pointer that rests on the packet is told."""
    return element("title", html.escape(clean(f"packet {row.number}: {says}")))


def texts(row: PacketRow, way: Way, packet: Packet | None, *, payload: bool) -> list[str]:
    """The texts along an arrow: the label with its marks at the start; payload or the cause of a loss at the end."""
    said = _note(row, payload=payload)
    raw = _raw(row.segment, packet) if packet else row.segment
    if raw == row.segment:
        return [_label_text(row, way, row.segment, not said, ""), *_note_text(row, way, said)]
    return [
        _label_text(row, way, row.segment, not said, " relative"),
        _label_text(row, way, raw, not said, " absolute"),
        *_note_text(row, way, said),
    ]


def _raw(segment: Segment, packet: Packet) -> Segment:
    """The segment with its numbers as they are on the wire."""
    if packet.protocol != Protocol.TCP:
        return segment
    acknowledged = packet.acknowledgement if packet.flags & Flags.ACK else None
    return replace(segment, sequence=packet.sequence, acknowledgement=acknowledged)


def _label_text(row: PacketRow, way: Way, segment: Segment, alone: bool, numbers: str) -> str:
    ahead, near = (1, "start") if row.from_left else (-1, "end")
    label = _label(row, segment, alone=alone)
    return _turned(way.x + LABEL_AWAY * ahead, way.y - 6, label, f"{side(row)} halo{numbers}", near, way.slope)


def _note_text(row: PacketRow, way: Way, said: str) -> list[str]:
    if not said:
        return []
    ahead, near, far = (1, "start", "end") if row.from_left else (-1, "end", "start")
    if row.lost and row.lost.where is not Where.ON_ARRIVAL:
        # Behind the cross there is no line to stand above.
        return [_turned(way.stop_x + 10 * ahead, way.stop_y + 4, said, "lost halo", near, way.slope)]
    colour = "lost halo" if row.lost else "dim halo"
    return [_turned(way.stop_x - 14 * ahead, way.stop_y - 6, said, colour, far, way.slope)]


def _label(row: PacketRow, segment: Segment, *, alone: bool) -> str:
    room = 2 * HALF if alone else HALF
    marks = "".join(f", {mark}" for mark in row.marks)
    shapes = [label for label in labels(segment) if len(label) + len(marks) <= room]
    return clip((shapes[0] if shapes else labels(segment)[-1]) + marks, room)


def _turned(x: float, y: float, said: str, class_: str, anchor: str, slope: float) -> str:
    turn = f"rotate({math.degrees(slope):.2f} {x:.1f} {y:.1f})"
    return write(x, y, said, class_, anchor, transform=turn)


def _note(row: PacketRow, *, payload: bool) -> str:
    if row.lost:
        beyond = row.lost.where is Where.BEHIND_WIRE
        return clip(clean(row.lost.says), int(HALF * 0.7) if beyond else HALF)
    return quote(row.segment.payload, limit=HALF - 8) if payload and row.segment.payload and not row.marks else ""


def _cross(x: float, y: float) -> str:
    return element("path", d=f"M{x - 5:.1f} {y - 5:.1f}l10 10m0-10l-10 10", class_="lost", stroke_width="2.5")


def _arrowhead(way: Way, style: str) -> str:
    angle = math.atan2(way.stop_y - way.y, way.stop_x - way.x)
    wings = [
        (way.stop_x - 10 * math.cos(angle + turn), way.stop_y - 10 * math.sin(angle + turn)) for turn in (0.38, -0.38)
    ]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(way.stop_x, way.stop_y), *wings])
    return element("polygon", points=points, class_=style)
