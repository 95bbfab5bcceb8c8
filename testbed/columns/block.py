"""Plain connections that were finished together: columns of numbers, and the shape of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from testbed.analysis_json import connection_facts
from testbed.columns.plain import Groups, Outline
from testbed.columns.records import Column
from testbed.columns.shapes import Numbers, Shape, fill_in
from testbed.columns.table import Pairs
from testbed.columns.told import Text, learn_text, opened_ns, values_of
from testbed.summary import Summary
from testbed.tcp.connection import Connection

_AT_ONCE = 1 << 14  # connections that are lists of numbers at one time


class PlainBlock:
    """Some groups of rows, each a plain connection; made into values one by one when they are asked for."""

    def __init__(self, groups: Groups, drawn: Outline, chosen: Column, shapes: Sequence[Shape], pairs: Pairs) -> None:
        rows = groups.rows
        self.shapes = shapes
        self._pairs = pairs
        # of a plain connection the client sent the first packet
        self._ends = pairs.ends(groups.pair[chosen], rows["side"][groups.start[chosen]])
        self._start, self._size = groups.start[chosen], groups.size[chosen]
        self._numbers, self._times, self._sequence = rows["number"], rows["time_ns"], rows["sequence"]
        self._length = rows["length"].astype(np.int64)
        self._side = drawn.side
        self._group_start = groups.start
        self._chosen = chosen
        self._drawn = drawn

    def __len__(self) -> int:
        return len(self.shapes)

    def summaries(self) -> Iterator[Summary]:
        """What is told of each connection on one line."""
        carried = self._both(np.add, self._length)
        new = tuple.__new__
        for part in self._parts():
            columns = zip(
                self.shapes[part],
                self._numbers[self._start[part]].tolist(),
                self._pairs.name(self._ends[part]),
                zip(*(one[part].tolist() for one in carried), strict=True),
                self._times[self._start[part]].tolist(),
                self._times[self._last(part)].tolist(),
                self._size[part].tolist(),
                strict=True,
            )
            for shape, number, (client, server), both, first_ns, last_ns, size in columns:
                opening, repeats, words = shape.summary_parts
                yield new(Summary, (number, *opening, client, server, both, repeats, first_ns, last_ns, size, *words))

    def connections(self) -> Iterator[Connection]:
        """The connections."""
        return (self.connection(at) for at in range(len(self)))

    def connection(self, at: int) -> Connection:
        """One of the connections."""
        return fill_in(self.shapes[at], self._filling(at))

    def facts(self) -> Iterator[str]:
        """Each connection as JSON, as `testbed.analysis_json.connection_facts` tells it."""
        texts: dict[tuple[int, int], Text | None] = {}
        filled = (self._length > 0).astype(np.int64)
        counted = (np.add, self._length), (np.add, filled), (np.maximum, self._length)
        sums = [self._both(add, values) for add, values in counted]
        for part in self._parts():
            yield from self._tell(part, sums, texts)

    def _tell(
        self, part: slice, sums: list[tuple[Column, Column]], texts: dict[tuple[int, int], Text | None]
    ) -> Iterator[str]:
        chosen = self._chosen[part]
        begins, ends = self._drawn.first[chosen], self._drawn.first[chosen + 1]
        origin = int(begins[0])
        rows = self._drawn.row[origin : int(ends[-1])]
        outlined, times = self._numbers[rows].tolist(), self._times[rows].tolist()
        columns = zip(
            self.shapes[part],
            (begins - origin).tolist(),
            (ends - origin).tolist(),
            self._pairs.name(self._ends[part]),
            *(zip(*(side[part].tolist() for side in both), strict=True) for both in sums),
            self._times[self._start[part]].tolist(),
            self._times[self._last(part)].tolist(),
            self._size[part].tolist(),
            strict=True,
        )
        for at, (shape, begin, end, named, carried, segments, largest, first_ns, last_ns, size) in enumerate(columns):
            key = (id(shape), end - begin)
            if key not in texts:
                texts[key] = learn_text(shape, end - begin, self._filling(part.start + at))
            if (text := texts[key]) is None:
                yield connection_facts(self.connection(part.start + at))
                continue
            opened = opened_ns(shape, times, begin) - first_ns
            shown = outlined[begin:end]
            yield text.fill(
                values_of(named, first_ns, carried, segments, largest, last_ns, opened, size, shown),
            )

    def _parts(self) -> Iterator[slice]:
        return (slice(start, min(start + _AT_ONCE, len(self))) for start in range(0, len(self), _AT_ONCE))

    def _last(self, part: slice) -> Column:
        last: Column = self._start[part] + self._size[part] - 1
        return last

    def _both(self, add: np.ufunc, values: Column) -> tuple[Column, Column]:
        """Of each connection what the client's rows come to together, and the server's."""
        client, server = (
            add.reduceat(np.where(self._side == side, values, 0), self._group_start)[self._chosen] for side in (0, 1)
        )
        return client, server

    def _filling(self, at: int) -> Numbers:
        rows = slice(int(self._start[at]), int(self._start[at] + self._size[at]))
        side, length = self._side[rows], self._length[rows]
        numbers, times, sequence = self._numbers[rows], self._times[rows], self._sequence[rows]
        data = [(side == one) & (length > 0) for one in (0, 1)]
        group = self._chosen[at]
        places = self._drawn.row[self._drawn.first[group] : self._drawn.first[group + 1]] - rows.start
        answered = self.shapes[at].example.server_isn is not None
        ((client, server),) = self._pairs.name(self._ends[at : at + 1])
        return Numbers(
            client=client,
            server=server,
            first_ns=int(times[0]),
            last_ns=int(times[-1]),
            isns=(int(sequence[0]), int(sequence[1]) if answered else None),
            bytes=(int(length[side == 0].sum()), int(length[side == 1].sum())),
            segments=(int(data[0].sum()), int(data[1].sum())),
            largest=(int(length[side == 0].max(initial=0)), int(length[side == 1].max(initial=0))),
            outline=numbers[places].tolist(),
            outline_ns=times[places].tolist(),
            packets=tuple(numbers.tolist()),
            data=(tuple(numbers[data[0]].tolist()), tuple(numbers[data[1]].tolist())),
        )
