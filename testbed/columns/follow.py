"""Follows all connections of a capture, those that are plain in columns, the others packet by packet.

Rows wait until there are enough of them to be worth a look (`ENOUGH`, and no fewer than were left from the last look,
so that all looks together cost no more than a few). Then plain connections that have been over for a while are
finished, those still open wait on, and a pair that is not plain goes with all its packets, now and later, to who
follows packet by packet. At the end of the capture everything is finished. So memory grows with what is open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

import numpy as np
from numpy.typing import NDArray

from testbed.columns.block import PlainBlock
from testbed.columns.headers import Mask, read_headers
from testbed.columns.light import packets_of
from testbed.columns.options import OptionTable
from testbed.columns.plain import Groups, Outline, alike, group_rows, outline, shape_key, shorten
from testbed.columns.records import Column, Records
from testbed.columns.shapes import Shape, forgotten_fields, is_same
from testbed.columns.table import Pairs, Rows, join, make_rows, take
from testbed.packet import Packet
from testbed.tcp.connection import Connection
from testbed.tcp.follower import LINGER_NS, Follower
from testbed.tcp.trace import trace_connections

ENOUGH = 1 << 18  # rows
MOST = 1 << 18  # rows that wait after a look; more are finished or given away, whatever they are
LONG = 256  # packets; of a longer connection only some are followed as an example
FORGET_NS = 4 * LINGER_NS  # a pair that is not plain, and silent for so long, is looked at afresh

Result = PlainBlock | Connection


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look has found: for each group whether it is plain, over, and when its last packet was."""

    groups: Groups
    drawn: Outline
    plain: Mask
    over: Mask
    last_ns: Column
    shapes: list[Shape | None]


class Following:
    """Takes blocks of records, and packets decoded one by one; gives connections when they are finished."""

    def __init__(self, *, keep_closed: int | None = None, enough: int = ENOUGH, most: int = MOST) -> None:
        self.pairs = Pairs()
        self.options = OptionTable()
        self._follower = Follower(keep_closed=keep_closed)
        self._enough, self._most = enough, most
        self._waiting: list[Rows] = []
        self._count = 0  # rows that wait
        self._left = 0  # of them, from the last look
        self._odd: list[Packet] = []
        self._odd_pairs: dict[int, int] = {}  # and when each was seen last
        self._shapes: dict[object, Shape | None] = {}
        self._trusted = not forgotten_fields()
        self._now_ns = 0

    def take_block(self, records: Records, first_number: int, link_types: list[int]) -> Column:
        """Take the plain packets of a block; gives the rows of those that must be decoded one by one."""
        headers = read_headers(records, link_types)
        odd, found = [headers.odd], []
        for segments in headers.segments:
            rows, more = make_rows(records, first_number, segments, self.pairs, self.options)
            found.append(rows)
            odd.append(more)
        rows = found[0] if len(found) == 1 else join(found)
        if len(found) > 1:
            rows = take(rows, np.argsort(rows["number"]))
        if len(rows):
            self._waiting.append(rows)
            self._count += len(rows)
        return np.sort(np.concatenate(odd))

    def take_packet(self, packet: Packet) -> None:
        """Take a TCP packet that is not plain."""
        number = self.pairs.addresses.number
        source = int(number(_address(packet.source))[0]) << 16 | packet.source_port
        destination = int(number(_address(packet.destination))[0]) << 16 | packet.destination_port
        self._odd_pairs[self.pairs.find(min(source, destination), max(source, destination))] = packet.time_ns
        self._odd.append(packet)

    def look(self) -> Iterator[Result]:
        """Connections that are finished, if it is time to look for them."""
        if self._count + len(self._odd) >= max(self._enough, 2 * self._left):
            yield from self._look(at_end=False)

    def finish(self) -> Iterator[Result]:
        """All other connections: the capture has ended."""
        yield from self._look(at_end=True)
        yield from self._follower.finish()

    def _look(self, at_end: bool) -> Iterator[Result]:
        look = self._examine()
        odd = ~look.plain
        done = look.plain if at_end else self._done(look)
        if not at_end:
            odd |= self._excess(look, done | odd)
        self._keep(look, ~done & ~odd)
        yield from self._give_away(look, odd)
        chosen = np.flatnonzero(done)
        if len(chosen):
            shapes = [shape for at in chosen.tolist() if (shape := look.shapes[at]) is not None]
            block = PlainBlock(look.groups, look.drawn, chosen, shapes, self.pairs)
            self.pairs.drop(look.groups.pair[chosen].tolist())
            yield block

    def _examine(self) -> _Look:
        groups = group_rows(join(self._waiting))
        self._waiting.clear()
        drawn = outline(groups, *self.options.facts())
        pair, last = groups.pair, groups.start + groups.size - 1
        last_ns = groups.rows["time_ns"][last]
        self._now_ns = max(self._now_ns, int(last_ns.max(initial=0)))
        known_odd = np.isin(pair, np.fromiter(self._odd_pairs, np.int64, len(self._odd_pairs)))
        plain = drawn.plain & ~known_odd & ~self.pairs.are_one(pair) & self._trusted
        shapes: list[Shape | None] = [None] * len(pair)
        candidates = np.flatnonzero(plain)
        of, examples = alike(groups, drawn, candidates)
        learned = [self._shape(groups, drawn, int(candidates[example])) for example in examples.tolist()]
        for at, which in zip(candidates.tolist(), of.tolist(), strict=True):
            shapes[at] = learned[which] if which >= 0 else None
        plain = np.array([shape is not None for shape in shapes], bool)
        over = np.array([shape is not None and shape.is_over for shape in shapes], bool)
        return _Look(groups, drawn, plain, over, last_ns, shapes)

    def _shape(self, groups: Groups, drawn: Outline, at: int) -> Shape | None:
        """The shape of a plain group."""
        key = shape_key(groups, drawn, at)
        if key not in self._shapes:
            self._shapes[key] = self._learn(groups, drawn, at, key)
        return self._shapes[key]

    def _learn(self, groups: Groups, drawn: Outline, at: int, key: object) -> Shape | None:
        """Follow one connection packet by packet; it is an example if its columns give it back."""
        start = int(groups.start[at])
        rows = groups.rows[start : start + int(groups.size[at])]
        if len(rows) > LONG:
            short = group_rows(shorten(rows, drawn, at, start))
            redrawn = outline(short, *self.options.facts())
            if redrawn.plain[0] and shape_key(short, redrawn, 0) == key:
                groups, drawn, at, rows = short, redrawn, 0, short.rows
        connections = trace_connections(packets_of(rows, self.pairs, self.options), keep_stream=False)
        if len(connections) != 1 or connections[0].audit:
            return None
        places = drawn.row[drawn.first[at] : drawn.first[at + 1]]
        shape = Shape.learn(connections[0], groups.rows["number"][places].tolist())
        if shape is None:
            return None
        filled_in = PlainBlock(groups, drawn, np.array([at]), [shape], self.pairs).connection(0)
        return shape if is_same(filled_in, connections[0]) else None

    def _done(self, look: _Look) -> Mask:
        """Groups that are over, and have been for a while.

        Where too many rows wait: also those that are over for a shorter time, and in a flood of SYNs the oldest SYNs
        that nobody answered. What comes later begins another connection then.
        """
        done = look.over & (look.last_ns < self._now_ns - LINGER_NS)
        size = look.groups.size
        if int(size[look.plain & ~done].sum()) > self._most:
            _add_oldest(done, look.over, look.last_ns)
            alone = look.plain & (size == 1)
            if int(alone.sum()) > self._most // 4:
                _add_oldest(done, alone, look.last_ns)
        return done

    def _excess(self, look: _Look, settled: Mask) -> Mask:
        """The largest of the groups that wait, where too many rows do."""
        given = np.zeros(len(settled), bool)
        waiting = np.flatnonzero(~settled)
        size = look.groups.size[waiting]
        excess = int(size.sum()) - self._most
        if excess > 0:
            largest = np.argsort(-size, kind="stable")
            enough = int(np.searchsorted(np.cumsum(size[largest]), excess)) + 1
            given[waiting[largest[:enough]]] = True
        return given

    def _keep(self, look: _Look, kept: Mask) -> None:
        rows = take(look.groups.rows, kept[look.groups.group])
        self._waiting = [take(rows, np.argsort(rows["number"]))]
        self._count = self._left = len(rows)

    def _give_away(self, look: _Look, odd: Mask) -> Iterator[Connection]:
        """Hand packets over in the order of the capture, and remember their pairs for a while."""
        groups = look.groups
        rows = take(groups.rows, odd[groups.group])
        rows = take(rows, np.argsort(rows["number"]))
        yield from self._follower.follow(_merge(packets_of(rows, self.pairs, self.options), self._odd))
        self._odd.clear()
        seen: NDArray[np.int64] = look.last_ns[odd]
        self._odd_pairs.update(zip(groups.pair[odd].tolist(), seen.tolist(), strict=True))
        silent = [pair for pair, last_ns in self._odd_pairs.items() if last_ns < self._now_ns - FORGET_NS]
        self.pairs.drop(pair for pair in silent if pair >= 0)
        for pair in silent:
            del self._odd_pairs[pair]


def _add_oldest(done: Mask, which: Mask, last_ns: Column) -> None:
    """Three quarters of these groups, the oldest, are done too."""
    found = np.flatnonzero(which & ~done)
    done[found[np.argsort(last_ns[found], kind="stable")[: len(found) * 3 // 4 + 1]]] = True


def _merge(rows: Iterator[Packet], odd: list[Packet]) -> Iterator[Packet]:
    """Two rows of packets in order of their numbers."""
    ahead = next(rows, None)
    for packet in sorted(odd, key=lambda packet: packet.number):
        while ahead is not None and ahead.number < packet.number:
            yield ahead
            ahead = next(rows, None)
        yield packet
    if ahead is not None:
        yield ahead
        yield from rows


@lru_cache(maxsize=4096)
def _address(text: str) -> NDArray[np.void]:
    packed = ip_address(text).packed
    return np.frombuffer(packed, f"V{len(packed)}")
