"""What an impairment makes likely: rates, bounds and intervals, to hold what was had against what was asked.

The chances are netem's (tc-netem(8), net/sched/sch_netem.c), which the portable engine follows. A chance with
correlation averages each draw with the last one, so its draws crowd around the middle, and its rate is not the number
asked for: the rate it truly has is worked out here. Draws that follow each other tell less than independent ones;
`spread` says by how much a count's variance grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import exp, lgamma, log, log1p, sqrt

from testbed.agent.impairments import Impairment

CHANCE = 1e-6  # what is less likely than this is not taken for chance
SIGMAS = 6.0  # and so many standard deviations, where a count is not binomial
GRID = 512


@dataclass(frozen=True, slots=True)
class Odds:
    """The probability of something for each packet, and how much its counts vary beyond independent draws."""

    rate: float
    spread: float = 1.0


def loss_odds(asked: Impairment) -> Odds:
    """How often a packet is lost by chance."""
    if asked.gilbert_elliott_percent:
        return _gilbert_elliott(*(percent / 100 for percent in asked.gilbert_elliott_percent))
    if asked.loss_states_percent:
        return _four_states(*(percent / 100 for percent in asked.loss_states_percent))
    return draw_odds(asked.loss_percent, asked.loss_correlation_percent)


def draw_odds(percent: float, correlation_percent: float) -> Odds:
    """Of a chance with netem's correlation."""
    rho = correlation_percent / 100
    if not rho or not 0 < percent < 100:
        return Odds(percent / 100)
    if rho >= 1:
        return Odds(percent / 100, float("inf"))  # one draw decides over all packets
    return Odds(_stationary(percent / 100, rho), (1 + rho) / (1 - rho))


def reorder_odds(asked: Impairment) -> Odds:
    """How often a packet skips the delay: after gap - 1 others, until a draw hits."""
    draw = draw_odds(asked.reorder_percent, asked.reorder_correlation_percent)
    if not draw.rate:
        return draw
    return Odds(1 / (asked.reorder_gap - 1 + 1 / draw.rate), draw.spread)


def _gilbert_elliott(p: float, r: float, loss_bad: float, loss_good: float) -> Odds:
    """Gilbert (1960) and Elliott (1963): p good to bad, r bad to good."""
    if p + r == 0:
        return Odds(loss_good)  # it starts good and stays so
    bad = p / (p + r)
    memory = abs(1 - p - r)
    return Odds(bad * loss_bad + (1 - bad) * loss_good, (1 + memory) / (1 - memory) if memory < 1 else float("inf"))


def _four_states(p13: float, p31: float, p32: float, p23: float, p14: float) -> Odds:
    """Salsano, Ludovici, Ordine: loss whenever the chain enters state 3 or 4, or stays in 3. The long run of it."""
    p23 = p23 or float(not p32)  # a state 2 that is never entered needs no way out
    one, two, three = (p31 * p23, p13 * p32, p13 * p23) if p13 else (1.0, 0.0, 0.0)
    four = one * p14  # always back to 1
    leaving = max(min(chance for chance in (p31 + p32, p13 + p14, p23) if chance > 0), 1e-6)
    return Odds((three + four) / (one + two + three + four), 2 / leaving)


@cache
def _stationary(p: float, rho: float) -> float:
    """P(x < p) where each x is rho of the last one and the rest a fresh uniform draw, in the long run.

    The distribution function is iterated on a grid: F'(y) is the mean of F((y - v) / rho) over v in [0, 1 - rho].
    """
    cdf = [index / GRID for index in range(GRID + 1)]
    for _ in range(400):
        area = [0.0]
        for left, right in pairwise(cdf):
            area.append(area[-1] + (left + right) / (2 * GRID))
        following = [
            min(1.0, rho / (1 - rho) * (_area(area, y / GRID / rho) - _area(area, (y / GRID - 1 + rho) / rho)))
            for y in range(GRID + 1)
        ]
        moved = max(abs(a - b) for a, b in zip(cdf, following, strict=True))
        cdf = following
        if moved < 1e-9:
            break
    place = p * GRID
    low = int(place)
    return cdf[low] + (cdf[low + 1] - cdf[low]) * (place - low)


def _area(area: list[float], x: float) -> float:
    """The integral of the distribution function from 0 to x; it is 0 below 0 and 1 above 1."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return area[-1] + x - 1
    place = x * GRID
    low = int(place)
    return area[low] + (area[low + 1] - area[low]) * (place - low)


def too_few(hits: int, tries: int, odds: Odds) -> bool:
    """Whether so few hits are more than chance explains."""
    if odds.spread == 1.0:
        return at_most(hits, tries, odds.rate) < CHANCE
    # A few whole clusters of hits more or less are always possible: the second term.
    margin = SIGMAS * sqrt(tries * odds.rate * (1 - odds.rate) * odds.spread) + SIGMAS * odds.spread
    return tries * odds.rate - hits > margin


def too_many(hits: int, tries: int, odds: Odds) -> bool:
    """Whether so many hits are more than chance explains."""
    return too_few(tries - hits, tries, Odds(1 - odds.rate, odds.spread))


def at_most(hits: int, tries: int, chance: float) -> float:
    """The probability of so many hits or fewer (the binomial distribution's lower tail)."""
    if hits >= tries or chance <= 0:
        return 1.0
    if chance >= 1:
        return 0.0
    terms = (
        lgamma(tries + 1) - lgamma(k + 1) - lgamma(tries - k + 1) + k * log(chance) + (tries - k) * log1p(-chance)
        for k in range(hits + 1)
    )
    return sum(exp(term) for term in terms)


def interval(hits: int, tries: int) -> tuple[float, float] | None:
    """Wilson's score interval at 95 % for a rate of which so many were seen."""
    if not tries:
        return None
    z = 1.959964
    seen, squared = hits / tries, z * z / tries
    middle = (seen + squared / 2) / (1 + squared)
    half = z * sqrt(seen * (1 - seen) / tries + squared / (4 * tries)) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


# How far below and above its middle a delay can be, in jitters: the ends of netem's tables (iproute2 netem/*.c, whose
# entries are 16 bit of 1/8192 sigma each).
REACH = {
    "uniform": (1.0, 1.0),
    "normal": (4.0, 4.0),
    "pareto": (2 / 3, 4.0),
    "paretonormal": (1.5, 4.0),
}


def delay_bounds(asked: Impairment) -> tuple[int, int]:
    """The shortest and the longest delay that an impairment gives by itself (ns); queues come on top."""
    below, above = REACH[asked.jitter_distribution]
    return (
        max(0, round(asked.delay_ns - below * asked.jitter_ns)),
        round(asked.delay_ns + above * asked.jitter_ns),
    )
