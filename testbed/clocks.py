"""Clocks of several machines: how far each is from ours, how sure that is, and evidence put on one clock. Pure.

*Over the control channel.* A question leaves at `asked`, the engine looks at its clock (`told`), the answer is here at
`heard`. So its clock is ahead of ours by something between `told - heard` and `told - asked` (RFC 5905 section 8 takes
the middle). Each further question narrows the two bounds. This is done before the play and after it; where no one
offset explains both, the clock drifts, on a straight line.

*From the packets.* No packet arrives before it has left. With packets both ways between two machines that bounds their
clocks from both sides, to within the shortest time under way (H. Duda et al., Estimating global time in distributed
systems, ICDCS 1987). Both kinds of bounds are differences of two unknowns, so shortest paths tighten them all at once
(CLRS section 22.4); a negative cycle means that they contradict each other, and nothing is known then.

What is chosen lies within all bounds: no packet of the corrected evidence arrives before it was sent, and in order of
time what was sent in answer stands behind what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from testbed.evidence import ClockFacts
from testbed.pcap.frame import Capture, Direction

# the fields of records that a host's clock told
TIMES = ("time_ns", "due_ns", "start_ns", "end_ns", "last_ns", "began_ns")
OURS = ""  # the machine that asks
FAR = 1 << 62
THIRDS = 200  # of the search for a drift: each leaves two thirds
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Reading:
    """One question after the time: both of our times, and theirs between."""

    asked_ns: int
    told_ns: int
    heard_ns: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """At a moment of our clock, another one was ahead of it by at least `low_ns` and at most `high_ns`."""

    at_ns: int
    low_ns: int
    high_ns: int

    @property
    def middle_ns(self) -> int:
        """What is taken for it."""
        return (self.low_ns + self.high_ns) // 2

    @property
    def error_ns(self) -> int:
        """How far the middle may be off."""
        return (self.high_ns - self.low_ns + 1) // 2


def bound(readings: Iterable[Reading]) -> Bounds | None:
    """What readings of one clock, all within a moment, say together; None where it was set between them."""
    asked = tuple(readings)
    low = max(one.told_ns - one.heard_ns for one in asked)
    high = min(one.told_ns - one.asked_ns for one in asked)
    return Bounds(asked[-1].heard_ns, low, high) if low <= high else None


def facts_of(host: str, engine: str, before: Bounds, after: Bounds) -> ClockFacts:
    """The record of a host's clock, before any packet was looked at.

    Drift is believed in only where no one offset lies within both bounds: else it would be made of the bounds' noise.
    """
    low, high = max(before.low_ns, after.low_ns), min(before.high_ns, after.high_ns)
    one = (low + high) // 2
    begins, ends = (one, one) if low <= high else (before.middle_ns, after.middle_ns)
    error = max(_farthest(begins, before), _farthest(ends, after))
    return ClockFacts(host, engine, begins, before.at_ns, ends, after.at_ns, error, error)


def _farthest(chosen_ns: int, bounds: Bounds) -> int:
    return max(bounds.high_ns - chosen_ns, chosen_ns - bounds.low_ns)


def ahead_ns(clock: ClockFacts, told_ns: int) -> int:
    """How far a host's clock was ahead of ours when it showed this time."""
    ours = told_ns - clock.before_ns
    length = clock.until_ns - clock.from_ns
    drift = (clock.after_ns - clock.before_ns) * (ours - clock.from_ns) // length if length > 0 else 0
    return clock.before_ns + drift


# ---------------------------------------------------------------- what the packets say


@dataclass(frozen=True, slots=True)
class Sight:
    """A packet from one host to another, on another engine: when it left, how long it seemed to be under way."""

    sent_ns: int
    took_ns: int
    source: str
    destination: str


Sights = Mapping[tuple[str, str], Sequence[Sight]]  # by source's and destination's engine


def sights(captures: Mapping[str, Capture], engine_of: Mapping[str, str]) -> dict[tuple[str, str], list[Sight]]:
    """The packets that bound the engines' clocks, from the captures of the hosts' own interfaces.

    Only frames that were sent once and arrived once are looked at: which copy is which is no question then. Of those,
    only those remain that some straight line touches from below: no other can be the first to contradict a drift.
    """
    sent = {host: _once(captures[host], Direction.OUT) for host in engine_of if host in captures}
    came = {host: _once(captures[host], Direction.IN) for host in engine_of if host in captures}
    found: dict[tuple[str, str], list[Sight]] = {}
    for source, theirs in sent.items():
        for destination, ours in came.items():
            if (pair := (engine_of[source], engine_of[destination])) and pair[0] != pair[1]:
                seen = [Sight(theirs[d], ours[d] - theirs[d], source, destination) for d in theirs.keys() & ours.keys()]
                found.setdefault(pair, []).extend(seen)
    return {pair: _lower_hull(seen) for pair, seen in found.items() if seen}


def _once(capture: Capture, direction: Direction) -> dict[bytes, int]:
    times: dict[bytes, int | None] = {}
    for frame in capture.frames:
        if frame.direction is direction:
            times[frame.data] = None if frame.data in times else frame.time_ns
    return {data: time_ns for data, time_ns in times.items() if time_ns is not None}


def _lower_hull(seen: Iterable[Sight]) -> list[Sight]:
    """The lower half of Andrew's monotone chain."""
    hull: list[Sight] = []
    for one in sorted(seen, key=lambda sight: (sight.sent_ns, sight.took_ns)):
        while len(hull) > 1 and _turn(hull[-2], hull[-1], one) <= 0:
            hull.pop()
        hull.append(one)
    return hull


def _turn(a: Sight, b: Sight, c: Sight) -> int:
    return (b.sent_ns - a.sent_ns) * (c.took_ns - a.took_ns) - (b.took_ns - a.took_ns) * (c.sent_ns - a.sent_ns)


def _drift(there: Sequence[Sight], back: Sequence[Sight], from_ns: int, most: float) -> float:
    """By how much the far clock still runs too fast (of 1), by packets there and back; 0 where that explains them.

    The room that is left for an offset is a concave function of the drift, so thirds find its top.
    """

    def room(rate: float) -> float:
        out = min(one.took_ns - rate * (one.sent_ns - from_ns) for one in there)
        return out + min(one.took_ns + rate * (one.sent_ns - from_ns) for one in back)

    if room(0.0) > 0:
        return 0.0
    low, high = -most, most
    for _ in range(THIRDS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (left, high) if room(left) < room(right) else (low, right)
    return (low + high) / 2


@dataclass(frozen=True, slots=True)
class Agreement:
    """What the bounds of the control channel and of the packets say together.

    By engine, the correction that its times still need, and how far that may be off; by pair of engines, how far the
    difference of the two may be off. `against`: the packet that contradicts it all.
    """

    corrections_ns: Mapping[str, int]
    errors_ns: Mapping[str, int]
    pairs_ns: Mapping[tuple[str, str], int]
    against: tuple[str, str] | None = None


def agree(errors_ns: Mapping[str, int], least_ns: Mapping[tuple[str, str], int]) -> Agreement:
    """Put the bounds together.

    With x the correction that an engine's times still need: |x| is at most its error, and x_i - x_j is at most the
    shortest time from i to j, as the times stand.
    """
    names = (OURS, *errors_ns)
    most = {(i, j): 0 if i == j else FAR for i in names for j in names}
    for name, error in errors_ns.items():
        most[name, OURS] = most[OURS, name] = error
    for (i, j), took in least_ns.items():
        most[i, j] = min(most[i, j], took)
    for k in names:
        for i in names:
            for j in names:
                most[i, j] = min(most[i, j], most[i, k] + most[k, j])
    if any(most[name, name] < 0 for name in names):
        worst = min(least_ns, key=lambda pair: least_ns[pair] + sum(errors_ns[name] for name in pair))
        return Agreement(dict.fromkeys(errors_ns, 0), errors_ns, {}, worst)
    middles = {name: (most[name, OURS] - most[OURS, name]) // 2 for name in errors_ns}
    pairs = {
        (i, j): max(most[i, j] - (middles[i] - middles[j]), most[j, i] + (middles[i] - middles[j]))
        for i in errors_ns
        for j in errors_ns
        if i != j
    }
    return Agreement(middles, {n: (most[n, OURS] + most[OURS, n] + 1) // 2 for n in errors_ns}, pairs)


def refine(clocks: Sequence[ClockFacts], seen: Sights) -> tuple[tuple[ClockFacts, ...], Sight | None]:
    """The clocks with what packets say of them; `seen` is on our clock as these tell it.

    Also gives the packet that contradicts them, if one does: the clocks are then as they were, and sure of nothing.
    """
    by_engine = {clock.engine: clock for clock in clocks}
    rates = _rates(by_engine, seen)
    start = {engine: clock.from_ns for engine, clock in by_engine.items()}

    def took(pair: tuple[str, str], one: Sight) -> int:
        i, j = pair
        moved = rates[j] * (one.sent_ns - start[j]) - rates[i] * (one.sent_ns - start[i])
        return one.took_ns - round(moved)

    least = {pair: min(ones, key=lambda one, pair=pair: took(pair, one)) for pair, ones in seen.items()}  # type: ignore[misc]
    errors = {engine: clock.error_ns for engine, clock in by_engine.items()}
    agreement = agree(errors, {pair: took(pair, one) for pair, one in least.items()})
    if agreement.against is not None:
        one = least[agreement.against]
        return tuple(replace(clock, sure_ns=max(clock.error_ns, abs(one.took_ns))) for clock in clocks), one
    return tuple(_refined(clock, clocks, rates[clock.engine], agreement) for clock in clocks), None


def _rates(by_engine: Mapping[str, ClockFacts], seen: Sights) -> dict[str, float]:
    """How much too fast each clock runs still, against the first engine's."""
    first, *others = by_engine
    rates = dict.fromkeys(by_engine, 0.0)
    for engine in others:
        there, back = seen.get((first, engine)), seen.get((engine, first))
        clock = by_engine[engine]
        length = clock.until_ns - clock.from_ns
        if there and back and length > 0:
            most = 2 * (clock.error_ns + by_engine[first].error_ns) / length
            rates[engine] = _drift(there, back, clock.from_ns, most)
    return rates


def _refined(clock: ClockFacts, clocks: Iterable[ClockFacts], rate: float, agreement: Agreement) -> ClockFacts:
    correction = agreement.corrections_ns[clock.engine]
    drift = round(rate * (clock.until_ns - clock.from_ns))
    between = {
        peer.host: 0 if peer.engine == clock.engine else agreement.pairs_ns[clock.engine, peer.engine]
        for peer in clocks
        if peer.host != clock.host
    }
    return replace(
        clock,
        before_ns=clock.before_ns - correction,
        after_ns=clock.after_ns - correction + drift,
        sure_ns=agreement.errors_ns[clock.engine],
        between=between,
    )


# ---------------------------------------------------------------- evidence on one clock


def align_records(records: Iterable[R], clocks: Iterable[ClockFacts]) -> tuple[R, ...]:
    """The records with every time that a host told put on our clock."""
    by_host = {clock.host: clock for clock in clocks}
    return tuple(_aligned(record, by_host) for record in records)


def _aligned(record: R, clocks: Mapping[str, ClockFacts]) -> R:
    clock = clocks.get(getattr(record, "host", ""))
    if clock is None or isinstance(record, ClockFacts):
        return record
    told: Any = record
    times = {spec.name: getattr(record, spec.name) for spec in fields(told) if spec.name in TIMES}
    # A time of 0 was not told.
    moved = {name: time_ns - ahead_ns(clock, time_ns) for name, time_ns in times.items() if time_ns}
    changed: R = replace(told, **moved)
    return changed


def align_captures(captures: Mapping[str, Capture], clocks: Iterable[ClockFacts]) -> dict[str, Capture]:
    """The captures with every frame's time put on our clock; a capture's name begins with its host's."""
    by_host = {clock.host: clock for clock in clocks}
    return {name: _moved(capture, by_host.get(name.partition(":")[0])) for name, capture in captures.items()}


def _moved(capture: Capture, clock: ClockFacts | None) -> Capture:
    if clock is None:
        return capture
    frames = tuple(replace(frame, time_ns=frame.time_ns - ahead_ns(clock, frame.time_ns)) for frame in capture.frames)
    return replace(capture, frames=frames)
