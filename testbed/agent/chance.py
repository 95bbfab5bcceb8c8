"""Chance as netem has it: correlated draws, loss machines, delay distributions (sch_netem.c; iproute2's netem/*.c).

Everything here is a closure over a source of uniform draws in [0, 1), so that a stream decides by itself and its seed
alone. `Streams` are those of one lane of the wire, one for each use: what one impairment draws never moves another's.

netem works with 32-bit numbers and takes a draw modulo the size of its table, which leaves nothing of a correlation
between delays; here the high part of the draw chooses, so that a correlation asked for is had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from random import Random

Draw = Callable[[], float]
Event = Callable[[], bool]

_SCALE = 8192  # netem's tables count in parts of sigma, so many to one (NETEM_DIST_SCALE)
_SIZE = 4096  # entries of each table


class Streams:
    """The seeded streams of one lane, by use. They go on from phase to phase: asked again, a use is where it was."""

    def __init__(self, *seeds: object) -> None:
        self.name = " ".join(map(str, seeds))
        self.known: dict[str, Draw] = {}

    def __call__(self, use: str) -> Draw:
        """The stream of a use, such as `loss`."""
        if use not in self.known:
            self.known[use] = Random(f"{self.name} {use}").random
        return self.known[use]


def correlated(draw: Draw, percent: float) -> Draw:
    """netem's crandom: each value is the mean of a fresh draw and the last value, weighted by the correlation."""
    if not percent:
        return draw
    rho = percent / 100
    last = draw()

    def value() -> float:
        nonlocal last
        last = rho * last + (1 - rho) * draw()
        return last

    return value


def event(draw: Draw, percent: float, correlation_percent: float = 0.0) -> Event:
    """Something that happens so often: when the value is below its probability."""
    value, probability = correlated(draw, correlation_percent), percent / 100
    return lambda: value() < probability


def gilbert_elliott(draw: Draw, percents: Sequence[float]) -> Event:
    """Loss in bursts: `p` and `r` change the state from good to bad and back, the others are the loss in bad and good.

    As in netem the state before the change decides, and each packet takes two draws.
    """
    p, r, loss_bad, loss_good = (percent / 100 for percent in percents)
    bad = False

    def lost() -> bool:
        nonlocal bad
        change, loss = draw(), draw()
        if bad:
            bad = change >= r
            return loss < loss_bad
        bad = change < p
        return loss < loss_good

    return lost


def loss_states(draw: Draw, percents: Sequence[float]) -> Event:
    """netem's loss_4state: 1 good, 2 good within a burst, 3 lost within a burst, 4 lost alone; p13 p31 p32 p23 p14."""
    p13, p31, p32, p23, p14 = (percent / 100 for percent in percents)
    # By state: the next one below each limit, in order; the last row holds for all above.
    table: dict[int, tuple[tuple[float, ...], tuple[int, ...]]] = {
        1: ((p14, p14 + p13), (4, 3, 1)),
        2: ((p23,), (3, 2)),
        3: ((p32, p32 + p31), (2, 1, 3)),
        4: ((), (1,)),
    }
    state = 1

    def lost() -> bool:
        nonlocal state
        limits, following = table[state]
        state = following[bisect_right(limits, draw())]
        return state in (3, 4)

    return lost


def deviation(distribution: str, jitter_ns: int) -> Callable[[float], float]:
    """How far from its middle a delay is, in ns, for a draw in [0, 1): uniform, or by netem's quantile table."""
    if distribution == "uniform":
        return lambda value: (2 * value - 1) * jitter_ns
    table = [quantile * jitter_ns / _SCALE for quantile in TABLES[distribution]()]
    return lambda value: table[int(value * _SIZE)]


def _normal() -> list[int]:
    from statistics import NormalDist  # slow to load, and needed by few links

    return [
        max(-4 * _SCALE, round(_SCALE * NormalDist().inv_cdf((4 * place + 0.5) / (4 * _SIZE))))
        for place in range(_SIZE)
    ]


def _pareto() -> list[int]:
    exact = (round(_SCALE * 4 / 3 * ((1 - place / _SIZE) ** (-1 / 3) - 1.5)) for place in range(_SIZE))
    return [min(4 * _SCALE - 1, value) for value in exact]


def _paretonormal() -> list[int]:
    return [int((normal + 3 * pareto) / 4) for normal, pareto in zip(_normal(), _pareto())]


TABLES: dict[str, Callable[[], list[int]]] = {"normal": _normal, "pareto": _pareto, "paretonormal": _paretonormal}
