"""What chance explains and what it does not: rates, spreads and bounds, each against a number known from elsewhere."""

from __future__ import annotations

from itertools import product
from math import comb, inf

import pytest

from testbed.agent.impairments import Impairment
from testbed.verdict.odds import (
    Odds,
    at_most,
    delay_bounds,
    draw_odds,
    interval,
    loss_odds,
    reorder_odds,
    too_few,
    too_many,
)

HALF = Odds(0.5)


@pytest.mark.parametrize(
    ("percent", "correlation", "rate", "spread"),
    [
        (10.0, 0.0, 0.1, 1.0),
        (1.0, 0.0, 0.01, 1.0),
        # Half of the last draw and half of a new one: Fabius' function, whose values at 1/4 and 1/8 are known.
        (25.0, 50.0, 5 / 72, 3.0),
        (12.5, 50.0, 1 / 288, 3.0),
        (50.0, 50.0, 0.5, 3.0),
        # With less, the middle is a straight line: (p - rho / 2) / (1 - rho).
        (25.0, 25.0, 1 / 6, 5 / 3),
        (60.0, 25.0, 19 / 30, 5 / 3),
        (99.0, 1.0, 98.5 / 99, 101 / 99),
        # What always, or never, happens is not changed by correlation; where one draw decides, nothing can be counted.
        (0.0, 50.0, 0.0, 1.0),
        (100.0, 50.0, 1.0, 1.0),
        (10.0, 100.0, 0.1, inf),
    ],
)
def test_rate_of_a_draw(percent: float, correlation: float, rate: float, spread: float) -> None:
    """A chance's true rate, and how much more its counts vary than independent draws."""
    odds = draw_odds(percent, correlation)
    assert odds.rate == pytest.approx(rate, abs=1e-5)
    assert odds.spread == pytest.approx(spread)


def test_hits_and_misses_of_a_correlated_draw() -> None:
    """The draws lie around the middle the same way on both sides, however strong the correlation."""
    assert draw_odds(20, 75).rate + draw_odds(80, 75).rate == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "rate", "spread"),
    [
        ((1.0, 9.0, 50.0, 0.0), 0.05, 19.0),
        ((10.0, 30.0, 25.0, 4.0), 0.25 * 0.25 + 0.75 * 0.04, 4.0),
        ((90.0, 90.0, 100.0, 0.0), 0.5, 9.0),  # it hardly ever stays: as much memory, the other way round
        ((100.0, 100.0, 100.0, 0.0), 0.5, inf),
        ((0.0, 0.0, 50.0, 3.0), 0.03, 1.0),  # it starts good and stays so
    ],
)
def test_bursts_of_two_states(model: tuple[float, ...], rate: float, spread: float) -> None:
    """Gilbert and Elliott: the share of time in each state, and the loss in it."""
    odds = loss_odds(Impairment(gilbert_elliott_percent=model))
    assert odds.rate == pytest.approx(rate)
    assert odds.spread == pytest.approx(spread)


@pytest.mark.parametrize(
    ("model", "rate", "spread"),
    [
        ((10.0, 25.0, 25.0, 50.0, 0.0), 0.4 / 1.6, 2 / 0.1),
        ((10.0, 25.0, 25.0, 50.0, 10.0), 0.5 / 1.7, 2 / 0.2),
        ((40.0, 5.0, 5.0, 50.0, 40.0), (40 + 2) / (5 + 4 + 40 + 2), 2 / 0.1),
        ((20.0, 50.0, 0.0, 100.0, 0.0), 0.2 / 0.7, 2 / 0.2),
        ((20.0, 50.0, 30.0, 2.0, 0.0), (0.2 * 0.02) / (0.5 * 0.02 + 0.2 * 0.3 + 0.2 * 0.02), 2 / 0.02),
        ((100.0, 100.0, 0.0, 100.0, 0.0), 0.5, 2.0),  # in and out: every second packet
        ((0.0, 100.0, 0.0, 100.0, 25.0), 0.2, 2 / 0.25),  # only alone
        ((0.0, 0.0, 0.0, 0.0, 25.0), 0.2, 2 / 0.25),
        ((0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 2.0),
        ((50.0, 0.0, 0.0, 0.0, 0.0), 1.0, 2 / 0.5),  # a burst without end
        ((50.0, 0.0, 10.0, 0.0, 0.0), 0.0, 2 / 0.1),  # whose good half has no way out
        ((0.00001, 100.0, 0.0, 100.0, 0.0), 1e-7 / (1 + 1e-7), 2e6),
    ],
)
def test_bursts_of_four_states(model: tuple[float, ...], rate: float, spread: float) -> None:
    """The chain of four states in the long run, worked out by hand from what goes in and out of each."""
    odds = loss_odds(Impairment(loss_states_percent=model))
    assert odds.rate == pytest.approx(rate)
    assert odds.spread == pytest.approx(spread)


def test_four_states_against_the_chain_itself() -> None:
    """Whatever the chances are, the chain's own steps come to the same rate."""
    for p13, p31, p32, p23, p14 in product((0.1, 0.4), (0.2, 0.6), (0.1, 0.3), (0.25, 1.0), (0.0, 0.2)):
        state = [1.0, 0.0, 0.0, 0.0]
        for _ in range(400):
            one, two, three, four = state
            state = [
                one * (1 - p13 - p14) + three * p31 + four,
                two * (1 - p23) + three * p32,
                one * p13 + two * p23 + three * (1 - p31 - p32),
                one * p14,
            ]
        model = tuple(100 * chance for chance in (p13, p31, p32, p23, p14))
        assert loss_odds(Impairment(loss_states_percent=model)).rate == pytest.approx(state[2] + state[3])


def test_random_loss() -> None:
    """Without a model of bursts a loss is a draw like another."""
    assert loss_odds(Impairment(loss_percent=4.0)) == Odds(0.04)
    assert loss_odds(Impairment(loss_percent=25.0, loss_correlation_percent=50.0)).rate == pytest.approx(
        5 / 72, abs=1e-5
    )


@pytest.mark.parametrize(
    ("percent", "correlation", "gap", "rate", "spread"),
    [
        (50.0, 0.0, 1, 0.5, 1.0),
        (50.0, 0.0, 3, 0.25, 1.0),  # two pass, then two draws on the average
        (100.0, 0.0, 5, 0.2, 1.0),
        (25.0, 50.0, 1, 5 / 72, 3.0),
        (0.0, 0.0, 3, 0.0, 1.0),
    ],
)
def test_how_often_a_packet_overtakes(percent: float, correlation: float, gap: int, rate: float, spread: float) -> None:
    """With a gap, only each so many packets may be drawn for."""
    asked = Impairment(reorder_percent=percent, reorder_correlation_percent=correlation, reorder_gap=gap)
    assert reorder_odds(asked).rate == pytest.approx(rate, abs=1e-5)
    assert reorder_odds(asked).spread == pytest.approx(spread)


def test_binomial_tail() -> None:
    """The lower tail is the sum of its terms, and 0 and 1 where there is nothing to draw."""
    for hits, tries, chance in ((0, 4, 0.3), (2, 10, 0.3), (9, 10, 0.9), (3, 7, 0.01)):
        terms = (comb(tries, k) * chance**k * (1 - chance) ** (tries - k) for k in range(hits + 1))
        assert at_most(hits, tries, chance) == pytest.approx(sum(terms))
    assert at_most(10, 10, 0.9) == 1
    assert at_most(0, 10, 0.0) == 1
    assert at_most(9, 10, 1.0) == 0
    assert at_most(0, 0, 0.5) == 1


@pytest.mark.parametrize(("hits", "tries", "odds", "few", "many"), [
    # One in a million: a coin falls 20 times on one side once in 1,048,576 times, 19 times once in half as many.
    (0, 19, HALF, False, False),
    (0, 20, HALF, True, False),
    (19, 19, HALF, False, False),
    (20, 20, HALF, False, True),
    (10, 20, HALF, False, False),
    # What was never asked for, and what always happens.
    (0, 50, Odds(0.0), False, False),
    (1, 50, Odds(0.0), False, True),
    (50, 50, Odds(1.0), False, False),
    (49, 50, Odds(1.0), True, False),
    (0, 0, HALF, False, False),
    # Clusters: 6 standard deviations of sqrt(10000 * 0.5 * 0.5 * 4) = 100, and 6 clusters of 4.
    (5000 - 624, 10_000, Odds(0.5, 4.0), False, False),
    (5000 - 625, 10_000, Odds(0.5, 4.0), True, False),
    (5000 + 624, 10_000, Odds(0.5, 4.0), False, False),
    (5000 + 625, 10_000, Odds(0.5, 4.0), False, True),
    # Where one draw decides over all packets nothing is too few or too many.
    (0, 10_000, Odds(0.5, inf), False, False),
    (10_000, 10_000, Odds(0.5, inf), False, False),
])  # fmt: skip
def test_what_chance_explains(hits: int, tries: int, odds: Odds, few: bool, many: bool) -> None:
    """What is less likely than one in a million is too few or too many."""
    assert (too_few(hits, tries, odds), too_many(hits, tries, odds)) == (few, many)


@pytest.mark.parametrize(
    ("hits", "tries", "bounds"),
    [
        (0, 0, None),
        (10, 100, (0.0552, 0.1744)),
        (0, 10, (0.0, 0.2775)),
        (10, 10, (0.7225, 1.0)),
        (1, 1, (0.2065, 1.0)),
    ],
)
def test_wilsons_interval(hits: int, tries: int, bounds: tuple[float, float] | None) -> None:
    """Known values of Wilson's score interval, never beyond 0 and 1, and none without tries."""
    seen = interval(hits, tries)
    assert seen == (bounds if bounds is None else pytest.approx(bounds, abs=1e-4))
    assert seen is None or (seen[0] >= 0 and seen[1] <= 1)


@pytest.mark.parametrize(
    ("delay_ms", "jitter_ms", "distribution", "bounds"),
    [
        (10, 0, "uniform", (10, 10)),
        (10, 3, "uniform", (7, 13)),
        (100, 20, "normal", (20, 180)),
        (100, 30, "pareto", (80, 220)),
        (100, 20, "paretonormal", (70, 180)),
        (10, 20, "normal", (0, 90)),  # nothing comes out before it went in
    ],
)
def test_bounds_of_a_delay(delay_ms: int, jitter_ms: int, distribution: str, bounds: tuple[int, int]) -> None:
    """How far netem's tables reach below and above the middle."""
    asked = Impairment(delay_ns=delay_ms * 10**6, jitter_ns=jitter_ms * 10**6, jitter_distribution=distribution)
    assert delay_bounds(asked) == tuple(bound * 10**6 for bound in bounds)
