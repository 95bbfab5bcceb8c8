"""The JSON of plain connections, many at a time: all of one shape have the same text but for some numbers.

The text is made once for each shape, with numbers that occur nowhere else; where they stand, those of each connection
are put. What is not made of these numbers as they are shows when the text is tried on a real connection: then there is
no such text, and every connection is told by itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple, cast

from testbed.analysis_json import connection_facts, say_ms
from testbed.columns.shapes import Numbers, Shape, fill_in

_BASE = 7_300_000_000_000_000  # of numbers that occur nowhere else
_MARKS = re.compile(r"@(\d\d)@|73000000000000(\d\d)|7300000000\.0(\d\d)")
_LASTED, _OPENED, _OUTLINE = 11, 12, 20  # places among the values
_MOST = 100

Values = list[object]


class Text(NamedTuple):
    """A text with places for values, and which values they are."""

    form: str
    chosen: Callable[[Values], tuple[object, ...]]

    def fill(self, values: Values) -> str:
        """The text of one connection."""
        return self.form % self.chosen(values)


def values_of(
    ends: tuple[tuple[str, int], tuple[str, int]],
    first_ns: int,
    carried: tuple[int, int],
    segments: tuple[int, int],
    largest: tuple[int, int],
    last_ns: int,
    opened_ns: int,
    packets: int,
    outline: Sequence[int],
) -> Values:
    """What may stand in a text, in the order of the marks."""
    (client, client_port), (server, server_port) = ends
    lasted, opened = say_ms(last_ns - first_ns), say_ms(opened_ns)
    return [
        client, client_port, server, server_port, first_ns, *carried, *segments, *largest, lasted, opened, packets,
        None, None, None, None, None, None, *outline,
    ]  # fmt: skip


def learn_text(shape: Shape, outline: int, example: Numbers) -> Text | None:
    """The text of all connections of a shape with so many rows in their outline; None where it cannot be had."""
    if outline + _OUTLINE > _MOST:
        return None
    marks = range(_BASE, _BASE + _MOST)
    opened = marks[0] + marks[_OPENED] % _BASE * 1000
    marked = Numbers(
        client=("@00@", marks[1]),
        server=("@02@", marks[3]),
        first_ns=marks[4],
        last_ns=marks[4] + marks[0] + _LASTED * 1000,
        isns=(0, 0),
        bytes=(marks[5], marks[6]),
        segments=(marks[7], marks[8]),
        largest=(marks[9], marks[10]),
        outline=marks[_OUTLINE : _OUTLINE + outline],
        outline_ns=[marks[4] + opened] * outline,
        packets=cast("tuple[int, ...]", range(marks[13])),
        data=((), ()),
    )
    parts = _MARKS.split(connection_facts(fill_in(shape, marked)))
    places = [int(next(filter(None, parts[at : at + 3]))) for at in range(1, len(parts), 4)]
    form = "%s".join(part.replace("%", "%%") for part in parts[::4])
    text = Text(form, itemgetter(*places)) if len(places) > 1 else None
    tried = text and text.fill(values_of_numbers(shape, example))
    return text if tried == connection_facts(fill_in(shape, example)) else None


def values_of_numbers(shape: Shape, numbers: Numbers) -> Values:
    """The values of one connection."""
    return values_of(
        (numbers.client, numbers.server),
        numbers.first_ns,
        numbers.bytes,
        numbers.segments,
        numbers.largest,
        numbers.last_ns,
        opened_ns(shape, numbers.outline_ns, 0) - numbers.first_ns,
        len(numbers.packets),
        numbers.outline,
    )


def opened_ns(shape: Shape, times_ns: Sequence[int], first: int) -> int:
    """When the handshake was over; any time where it never was. The outline's times begin at `first`."""
    packets = shape.example.handshake.packets
    return times_ns[first + packets[-1]] if packets else times_ns[first]
