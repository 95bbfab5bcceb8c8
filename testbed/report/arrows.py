"""One row of the ladder as a line of characters: three lanes, and an arrow that carries the packet's label.

    12.000102    4  │─ S seq 0 win 64240 mss 1460 ─┼───────────────────────────▶│
    13.010200    6  │        drop SYN-ACK ✗────────┼──── S. seq 0 ack 1 win 65160 ─│

The label stands on the sender's side and gives up the least telling numbers first where it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.report.escape import cells, clean, clip, quote
from testbed.report.ladder import PacketRow, StateRow, Where
from testbed.report.relative import Segment
from testbed.report.style import Glyphs, Line, Span

SHOW_DELAY_NS = 1_000_000
PAYLOAD_CHARACTERS = 32
_SHORTEST_NOTE = 12


def labels(segment: Segment) -> tuple[str, ...]:
    """What a segment says of itself, from everything down to its flags."""
    if segment.protocol != "TCP":
        return (" ".join(part for part in (segment.protocol, segment.says, f"len {segment.length}") if part),)
    optional = (_mss(segment), _window(segment), _acknowledgement(segment))
    core = f"{segment.flags} seq {segment.sequence}"
    length = f" len {segment.length}" if segment.length else ""
    mss, window, acknowledgement = optional
    full = core + acknowledgement + length
    return full + window + mss, full + window, full, core + length, segment.flags


def _mss(segment: Segment) -> str:
    return "" if segment.mss is None else f" mss {segment.mss}"


def _window(segment: Segment) -> str:
    return "" if segment.window is None else f" win {segment.window}{'' if segment.scaled else ' unscaled'}"


def _acknowledgement(segment: Segment) -> str:
    return "" if segment.acknowledgement is None else f" ack {segment.acknowledgement}"


def notes(row: PacketRow, *, between: str) -> str:
    """What is unusual about a packet, in words: repeated, forged, late."""
    return between.join([*map(str, row.marks), *([took] if (took := show_delay(row)) else [])])


def show_delay(row: PacketRow) -> str:
    """How long the packet took, `+10.2 ms`, where it took long enough to be seen."""
    late = row.delay_ns is not None and row.delay_ns >= SHOW_DELAY_NS
    return f"+{row.delay_ns / 1e6:.1f} ms" if late and row.delay_ns else ""


@dataclass(slots=True)
class _Canvas:
    """Columns of one arrow. Places count along the packet's way, whichever side it starts from."""

    columns: list[Span]
    rightward: bool

    def put(self, place: int, text: str, style: str) -> None:
        """Write a text, readable from left to right, over the columns at this place."""
        wide = cells(text)
        start = place if self.rightward else len(self.columns) - place - wide
        if wide <= 0 or start < 0 or start + wide > len(self.columns):
            return
        self.columns[start : start + wide] = [(text, style), *[("", style)] * (wide - 1)]


def draw_packet(row: PacketRow, *, width: int, glyphs: Glyphs) -> Line:
    """The lanes of a packet's row, exactly `width` columns wide."""
    room = width - 2
    style = "client" if row.from_left else "server"
    canvas = _Canvas([(" ", "")] * room, row.from_left)
    wire = wire_column(width) - 1
    middle = wire if row.from_left else room - wire - 1
    said, label = _texts(row, room, glyphs)
    stop = _stop(row, room, middle, cells(label) + 2, cells(said) + 1)
    canvas.put(middle, glyphs.lane, "dim")
    for place in range(stop):
        canvas.put(place, glyphs.wire if place == middle else glyphs.dash, style)
    if row.lost:
        canvas.put(stop, glyphs.lost, "lost")
        canvas.put(stop + 1, f" {said}" if row.from_left else f"{said} ", "lost")
    else:
        canvas.put(stop, glyphs.right if row.from_left else glyphs.left, style)
        canvas.put(_beside(middle, cells(label), cells(said), room), f" {said} " if said else "", "dim")
    canvas.put(1, f" {label} ", style)
    return ((glyphs.lane, "dim"), *_joined(canvas.columns), (glyphs.lane, "dim"))


def _texts(row: PacketRow, room: int, glyphs: Glyphs) -> tuple[str, str]:
    """What is said behind the label, and the longest label that leaves room for it."""
    said = notes(row, between=glyphs.between)
    if row.lost:
        cause = clean(row.lost.says, unicode=glyphs.unicode)
        said = f"{cause}{glyphs.between}{said}" if said else cause
    shapes = [label for label in labels(row.segment) if cells(label) + cells(said) + 7 <= room]
    label = shapes[0] if shapes else labels(row.segment)[-1]
    said = clip(said, max(room - cells(label) - 7, 0))
    if not said and row.segment.payload:
        said = _payload(row.segment.payload, min(room - cells(label) - 8, room // 2 - 4), glyphs)
    return said, clip(label, room - 4)


def _payload(payload: bytes, room: int, glyphs: Glyphs) -> str:
    quoted = quote(payload, limit=PAYLOAD_CHARACTERS, unicode=glyphs.unicode)
    if cells(quoted) > room:
        quoted = quote(payload, limit=max((room - 5) * len(quoted) // cells(quoted), 0), unicode=glyphs.unicode)
    return quoted if room >= _SHORTEST_NOTE and cells(quoted) <= room else ""


def _stop(row: PacketRow, room: int, middle: int, label: int, said: int) -> int:
    """Where the arrow ends: at its head, or at the cross of a packet that was lost."""
    if row.lost is None:
        return room - 1
    last = room - said - 1
    nearest = min(label + 2, last)
    ideal = {Where.BEFORE_WIRE: nearest, Where.BEHIND_WIRE: middle + 3, Where.ON_ARRIVAL: last}[row.lost.where]
    return max(min(ideal, last), nearest)


def _beside(middle: int, label: int, said: int, room: int) -> int:
    """Where a note starts: behind the wire where the label leaves that free, in any case behind the label."""
    return max(min(middle + 2, room - said - 4), label + 4)


def _joined(columns: list[Span]) -> list[Span]:
    joined: list[Span] = []
    for text, style in columns:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined


def draw_state(row: StateRow, *, width: int, glyphs: Glyphs) -> Line:
    """The lanes of a change of state: a knot on the host's lane, and the state it is in now."""
    name = clip(clean(row.after, unicode=glyphs.unicode), width // 2 - 4)
    wire = wire_column(width)
    if row.left:
        gap = " " * (wire - cells(name) - 2)
        rest = " " * (width - wire - 2)
        return (
            (f"{glyphs.state} {name}", "client"),
            (f"{gap}{glyphs.lane}{rest}{glyphs.lane}", "dim"),
        )
    left = " " * (wire - 1)
    gap = " " * (width - wire - cells(name) - 3)
    return ((f"{glyphs.lane}{left}{glyphs.lane}{gap}", "dim"), (f"{name} {glyphs.state}", "server"))


def wire_column(width: int) -> int:
    """The column of the wire's lane: half way."""
    return (width - 1) // 2
