"""Which connections are plain: their segments follow one another as if nothing ever went wrong.

A plain connection begins with its SYN; its SYN-ACK, if any, comes next, and then the originator. Every segment begins
where the sender's last one ended, acknowledges no less than the one before and nothing that was not sent, and stays
within the window; nothing is repeated, zero, urgent or marked; options are those agreed and timestamps do not go back;
a RST is the last packet and exact. For such connections everything but numbers depends on which kinds of segments came,
and in which order they first came. That order is the *outline*: the first row of each kind, before and after the first
FIN. Rules are stricter than TCP's where in doubt: what is not plain is followed packet by packet, at no loss but time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from testbed.columns.headers import Mask
from testbed.columns.records import Column, sort_out, sort_stably
from testbed.columns.table import Rows, take
from testbed.tcp.end import LARGEST_SHIFT
from testbed.tcp.follower import LINGER_NS
from testbed.tcp.sequence import HALF

FIN, SYN, RST, PSH, ACK, ECE, CWR = 1, 2, 4, 8, 16, 64, 128
_ON_SYN = SYN | ACK | ECE | CWR
_LATER = FIN | RST | PSH | ACK
_GROUP = 1 << 41  # more than any edge of a window
_AFTER_FIN, _NOT_PLAIN = 1 << 8, 1 << 9
_BEGINNING = 64  # rows
_SCATTER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in order of pair and arrival, and each pair's group of them."""

    rows: Rows
    start: Column  # of each group
    size: Column
    group: Column  # of each row

    @property
    def pair(self) -> Column:
        """Each group's pair."""
        return self.rows["pair"][self.start].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known of plain groups; `code` is the kind of each row of the outline, `first` where a group's begin."""

    plain: Mask  # by group
    side: NDArray[np.int8]  # by row: 0 from the sender of the first packet
    row: Column  # of the outline, in order
    code: NDArray[np.uint8]
    first: Column  # by group, and one more


def group_rows(rows: Rows) -> Groups:
    """Sort rows that stand in order of arrival."""
    rows = take(rows, sort_stably(rows["pair"]))
    pair = np.ascontiguousarray(rows["pair"])
    begins = np.empty(len(rows), bool)
    begins[:1] = True
    np.not_equal(pair[1:], pair[:-1], out=begins[1:])
    start = np.flatnonzero(begins)
    size = np.diff(start, append=len(rows))
    return Groups(rows, start, size, np.repeat(np.arange(len(start)), size))


def outline(groups: Groups, scale: NDArray[np.int16], stamped: Mask) -> Outline:
    """Tell plain groups from others. `scale` and `stamped` tell of each list of options its window scale (-1: none) and
    whether it has timestamps."""
    c = _Columns(groups)
    bad = _too_late(c, groups.rows["time_ns"])
    for wrong in chain(_wrong_flags(c), _wrong_numbers(c), _wrong_windows(c, scale), _wrong_timestamps(c, stamped)):
        bad |= wrong
    plain = ~np.logical_or.reduceat(bad, groups.start) if len(bad) else np.zeros(0, bool)
    plain &= (c.at_end(c.sent[0]) < HALF) & (c.at_end(c.sent[1]) < HALF)
    return _draw(c, plain, stamped)


class _Columns:
    """The columns that the rules look at, one item for each row; numbers count from the initial sequence numbers."""

    def __init__(self, groups: Groups) -> None:
        rows, self.group, self.start, self.size = groups.rows, groups.group, groups.start, groups.size
        sides = np.ascontiguousarray(rows["side"])
        self.side = (sides ^ sides[self.start][self.group]).astype(np.int8)
        self.ours = self.side == 0
        self.place = np.arange(len(rows)) - self.start[self.group]
        self.last = self.start + self.size - 1
        self.second = np.minimum(self.start + 1, self.last)
        self.flags = rows["flags"].astype(np.int16)
        self.length = rows["length"].astype(np.int64)
        self.window = rows["window"].astype(np.int64)
        self.listed = np.ascontiguousarray(rows["options"])
        self.tsval, self.tsecr = np.ascontiguousarray(rows["tsval"]), np.ascontiguousarray(rows["tsecr"])
        self.whole = (rows["captured"] == rows["length"]) & (rows["checksum_ok"] % 2 != 0)
        self.is_syn, self.is_fin, self.is_rst, self.is_ack = (self.flags & bit > 0 for bit in (SYN, FIN, RST, ACK))
        self.refused = self.is_rst & (self.place == 1) & ~self.ours
        self.sequence, self.acknowledgement = rows["sequence"].copy(), rows["acknowledgement"].copy()
        self._place_numbers()
        self.before = self._before()

    def _place_numbers(self) -> None:
        isn = self.sequence[self.start][self.group], self.sequence[self.second][self.group]
        self.seq = (self.sequence - np.where(self.ours, isn[0], isn[1])).astype(np.int64)
        self.ack = (self.acknowledgement - np.where(self.ours, isn[1], isn[0])).astype(np.int64)
        space = self.length + self.is_fin + self.is_syn
        self.sent = self.running(np.where(self.ours, space, 0)), self.running(np.where(self.ours, 0, space))
        self.next = np.where(self.ours, *self.sent)
        self.peer_next = np.where(self.ours, *self.sent[::-1])
        fins = self.running(self.is_fin & self.ours), self.running(self.is_fin & ~self.ours)
        self.closed = np.where(self.ours, *fins) > 0
        self.peer_closed = np.where(self.ours, *fins[::-1]) > 0

    def running(self, values: Column | Mask) -> Column:
        """The sum over a group's rows before each."""
        summed: Column = np.cumsum(values, dtype=np.int64) - values
        before: Column = summed - summed[self.start][self.group]
        return before

    def at_end(self, running: Column) -> Column:
        """A running sum before each group's last row."""
        found: Column = running[self.last]
        return found

    def _before(self) -> tuple[Column, Column]:
        """The row before of the same end, and the last one of the peer; -1 where there is none in the group."""
        index = np.arange(len(self.group))
        found = []
        for there in (self.ours, ~self.ours):
            latest = np.maximum.accumulate(np.where(there, index, -1))
            previous = np.concatenate([[-1], latest[:-1]])
            found.append(np.where(previous >= self.start[self.group], previous, -1))
        return np.where(self.ours, *found), np.where(self.ours, *found[::-1])


def _wrong_flags(c: _Columns) -> Iterator[Mask]:
    """The order and the flags of the packets."""
    yield ~c.whole
    yield np.where(c.is_syn, c.flags & ~_ON_SYN, c.flags & ~_LATER) != 0
    yield c.is_syn != ((c.place == 0) | ((c.place == 1) & ~c.is_rst))
    yield c.is_syn & ((c.length > 0) | (c.ours == c.is_ack))
    yield (c.place == 1) & c.ours
    yield (c.place == 2) & ~c.ours
    yield ~c.is_ack & ~c.is_rst & (c.place > 0)
    yield c.is_rst & ((c.place != (c.size - 1)[c.group]) | (c.length > 0) | c.is_fin)
    yield c.closed & ((c.length > 0) | c.is_fin)


def _wrong_numbers(c: _Columns) -> Iterator[Mask]:
    """Sequence and acknowledgement. Zeros are what some take for "not set"."""
    refusal = c.refused & c.is_ack & (c.sequence == 0) & (c.ack == 1)
    yield np.where(c.refused, ~refusal, (c.seq != c.next) | (c.sequence == 0))
    yield c.is_ack & ((c.ack < 1) | (c.ack > c.peer_next) | (c.acknowledgement == 0))
    before = c.before[0]
    follows = c.is_ack & (before >= 0) & c.is_ack[before]
    yield follows & (c.ack < c.ack[before])
    pure = ~(c.is_syn | c.is_fin | c.is_rst) & (c.length == 0)
    yield follows & pure & (c.ack == c.ack[before]) & (c.window == c.window[before])


def _wrong_windows(c: _Columns, scale: NDArray[np.int16]) -> Iterator[Mask]:
    """What an end may send is bounded by the largest right edge that its peer has granted."""
    yield (c.window == 0) & ~c.is_rst
    scales = scale[c.listed]
    mine, other = scales[c.start], scales[c.second]
    both = (mine >= 0) & (other >= 0)
    shifts = [np.where(both, np.minimum(one, LARGEST_SHIFT), 0)[c.group] for one in (mine, other)]
    shift = np.where(c.is_syn, 0, np.where(c.ours, *shifts)).astype(np.int64)
    granted = np.where(c.is_ack, c.ack, 1) + (c.window << shift)
    floor = c.group * _GROUP
    edges = [np.maximum.accumulate(np.where(there, granted, 0) + floor) - floor for there in (~c.ours, c.ours)]
    beyond = c.seq + c.length > np.where(c.ours, *edges)
    yield beyond & ((c.length > 0) | c.is_fin)


def _wrong_timestamps(c: _Columns, stamped: Mask) -> Iterator[Mask]:
    """There where agreed, never going back, never echoing what was not sent (RFC 7323)."""
    has = stamped[c.listed]
    agreed = (has[c.start] & has[c.second])[c.group]
    yield ~c.is_syn & ~c.is_rst & (has != agreed)
    before, heard = c.before
    earlier = has & (before >= 0) & has[before]
    yield earlier & (c.tsval - c.tsval[before] >= HALF)
    echo = has & c.is_ack & (heard >= 0) & has[heard]
    yield echo & (c.tsval[heard] - c.tsecr >= HALF)


def _too_late(c: _Columns, time_ns: NDArray[np.int64]) -> Mask:
    """Once a connection may be over, a packet that comes so late begins another one."""
    passed = np.diff(time_ns, prepend=time_ns[:1])
    late: Mask = (c.closed | c.peer_closed) & (passed > LINGER_NS)
    return late


def _draw(c: _Columns, plain: Mask, stamped: Mask) -> Outline:
    """The first row of each kind in each group, before and after the first FIN."""
    covers = c.peer_closed & c.is_ack & (c.ack == c.peer_next)
    special = np.where(c.is_rst, stamped[c.listed], c.is_fin & (c.ack == c.peer_next)).astype(bool)
    code = np.zeros(len(c.group), np.uint8)
    for bit, there in enumerate((~c.ours, c.is_syn, c.is_fin, c.is_rst, c.is_ack, c.length > 0, covers, special)):
        code |= there.view(np.uint8) << np.uint8(bit)
    phase = c.closed | c.peer_closed | c.is_fin
    kind = code.astype(np.int16)
    kind[phase] += _AFTER_FIN
    kind[~plain[c.group]] = _NOT_PLAIN
    firsts = [np.zeros(0, np.int64)]
    for known in np.flatnonzero(np.bincount(kind, minlength=1)[:_NOT_PLAIN]).tolist():
        rows = np.flatnonzero(kind == known)
        groups = c.group[rows]
        new = np.ones(len(rows), bool)
        np.not_equal(groups[1:], groups[:-1], out=new[1:])
        firsts.append(rows[new])
    row = np.sort(np.concatenate(firsts))
    first = np.searchsorted(c.group[row], np.arange(len(plain) + 1))
    return Outline(plain, c.side, row, code[row], first)


def shape_key(groups: Groups, drawn: Outline, at: int) -> object:
    """What tells the shape of a plain group: its outline, and options and flags of the first two packets."""
    first, second = groups.start[at], min(groups.start[at] + 1, groups.start[at] + groups.size[at] - 1)
    opening = [int(groups.rows[name][row]) for name in ("options", "flags") for row in (first, second)]
    return (drawn.code[drawn.first[at] : drawn.first[at + 1]].tobytes(), *opening)


def alike(groups: Groups, drawn: Outline, chosen: Column) -> tuple[Column, Column]:
    """Sort groups by their `shape_key`: for each the number of its sort, and for each sort one of them.

    The sort is -1 where hashing cannot tell.
    """
    if not len(chosen):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows, last = groups.rows, groups.start + groups.size - 1
    second = np.minimum(groups.start + 1, last)
    told = np.stack(
        [rows[name][row[chosen]].astype(np.uint64) for name in ("options", "flags") for row in (groups.start, second)]
    )
    first, count = drawn.first[:-1][chosen], np.diff(drawn.first)[chosen]
    begins = np.cumsum(count) - count
    place = np.arange(int(count.sum())) - np.repeat(begins, count)  # in its outline
    code = drawn.code[np.repeat(first, count) + place]
    scattered = (code.astype(np.uint64) + np.uint64(1)) * (_SCATTER ** (place + 1).astype(np.uint64))
    hashes = np.add.reduceat(scattered, begins)
    for column in told:
        hashes = hashes * _SCATTER + column
    example, sort = sort_out(hashes)
    like = example[sort]
    same = (told == told[:, like]).all(axis=0) & (count == count[like])
    other = code[np.minimum(np.repeat(begins[like], count) + place, len(code) - 1)]
    same &= ~np.logical_or.reduceat(code != other, begins)
    return np.where(same, sort, -1), example


def shorten(rows: Rows, drawn: Outline, at: int, start: int) -> Rows:
    """A short connection like this long one: its first rows, and those of its outline; what is left out was not sent.

    Who takes it must look whether it still is what the long one was.
    """
    index = np.arange(len(rows))
    side = drawn.side[start : start + len(rows)]
    kept = index < _BEGINNING
    outlined = drawn.row[drawn.first[at] : drawn.first[at + 1]] - start
    kept[outlined] = True
    for one in (0, 1):  # what was heard before is what an acknowledgement in the outline is about
        latest = np.maximum.accumulate(np.where(side == one, index, 0))
        kept[latest[outlined]] = True
    short = rows[kept].copy()
    space = rows["length"].astype(np.int64) + (rows["flags"] & FIN > 0) + (rows["flags"] & SYN > 0)
    for one in (0, 1):
        mine = side == one
        gone = np.where(mine & ~kept, space, 0)
        before = np.cumsum(gone) - gone
        isn = rows["sequence"][np.argmax(mine)]
        start_of = (rows["sequence"] - isn).astype(np.int64)[mine]
        gone_before, gone_here = before[mine], gone[mine]
        short["sequence"][side[kept] == one] -= before[mine & kept].astype(np.uint32)
        theirs = short["flags"] & ACK > 0
        theirs &= side[kept] != one
        acknowledged = (short["acknowledgement"][theirs] - isn).astype(np.int64)
        row = np.searchsorted(start_of, acknowledged, side="right") - 1
        missing = gone_before[row] + np.minimum(acknowledged - start_of[row], gone_here[row])
        short["acknowledgement"][theirs] -= missing.astype(np.uint32)
        latest = np.maximum.accumulate(np.where(side[kept] == one, np.arange(len(short)), -1))
        echoes = (side[kept] != one) & (latest >= 0)
        sent = short["tsval"][latest[echoes]]
        short["tsecr"][echoes] = np.where(sent - short["tsecr"][echoes] >= HALF, sent, short["tsecr"][echoes])
    return short
