"""The emulator's decisions: each impairment asked against had, chance with a seed, phases, ports, faults among them.

Shares have bounds that a correct engine misses for less than one seed in 10,000.
"""

from __future__ import annotations

import bisect
import itertools
import math
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ether import CLIENT, MACS, SERVER, ip, tcp
from hypothesis import given
from hypothesis import strategies as st

from testbed.agent import chance
from testbed.agent.impair import Emulator
from testbed.agent.impairments import KEYS, LIMIT, NONE, Impairment, from_message, netem_arguments, to_message

MS = 1_000_000
OTHER = "198.18.0.4"
FOREVER = 1 << 62
RARE = 4.5  # so many standard deviations is no share off, once in 10,000 seeds; skewed ones included
FRAME = tcp("PA", 1, payload=b"Hola")

Delivered = list[tuple[int, bytes]]  # how long after its arrival, and what


def link(*phases: dict[str, Any], seed: int = 7, **more: Any) -> dict[str, Any]:
    """A link whose phases come one second after another; each is the impairments by source."""
    return {
        "seed": seed,
        "phases": [{"at_ns": number * 1000 * MS, "sources": sources} for number, sources in enumerate(phases)],
        **more,
    }


def wire(seed: int = 7, **asked: Any) -> Emulator:
    """An emulator that does this to what comes from the client."""
    return Emulator(link({CLIENT: asked}, seed=seed))


def fate(emulator: Emulator, frame: bytes = FRAME, now_ns: int = 0) -> Delivered:
    """What becomes of a frame that arrives now, in the order of its times; nothing else is on its way then."""
    emulator.decide(frame, now_ns)
    found = []
    while (due_ns := emulator.way.next_ns()) is not None:
        taken = emulator.way.take(FOREVER)
        assert taken is not None
        found.append((due_ns - now_ns, taken))
    return found


def fates(emulator: Emulator, count: int = 1000, frame: bytes = FRAME, step_ns: int = MS) -> list[Delivered]:
    """What becomes of so many frames, one each step."""
    return [fate(emulator, frame, number * step_ns) for number in range(count)]


def losses(emulator: Emulator, count: int = 1000, frame: bytes = FRAME, step_ns: int = MS) -> list[bool]:
    """Which of so many frames chance drops."""
    found = []
    for number in range(count):
        before = emulator.dropped["loss"]
        fate(emulator, frame, number * step_ns)
        found.append(emulator.dropped["loss"] > before)
    return found


def near(had: float, share: float, count: int, spread: float = 1.0) -> bool:
    """Whether so many of count are that share, as far as chance (binomial, its variance `spread` times) allows."""
    return abs(had - share * count) <= RARE * math.sqrt(share * (1 - share) * count * spread)


# ---------------------------------------------------------------- delay, jitter


@pytest.mark.parametrize("frame", [FRAME, tcp("S", source=OTHER), MACS + b"\x88\xb5canary", b"x", b""])
def test_without_impairment_a_frame_passes_at_once(frame: bytes) -> None:
    """Zero is legal; sources not named, and what is no IP packet, pass untouched."""
    assert fate(Emulator({}), frame, 5) == [(0, frame)]
    assert fate(wire(delay_ns=0), frame, 5) == [(0, frame)]
    if frame != FRAME:
        assert fate(wire(delay_ns=MS, blackhole=True), frame) == [(0, frame)]


@pytest.mark.parametrize("frame", [FRAME, ip(17, bytes(20)), ip(1, b"\x08\0" + bytes(6)), ip(47, b""), ip(6, b"")])
def test_delay_is_added_to_the_time_of_arrival(frame: bytes) -> None:
    """A packet of any protocol that arrives at t is delivered at t + delay."""
    assert fate(wire(delay_ns=50 * MS), frame, 7) == [(50 * MS, frame)]


def test_delay_works_on_ipv6() -> None:
    """The addresses' family changes nothing."""
    frame = tcp("S", source="fd00::2", to="fd00::3")
    assert fate(Emulator(link({"fd00::2": {"delay_ns": MS}})), frame) == [(MS, frame)]


QUANTILES: dict[str, Callable[[float], float]] = {
    "uniform": lambda u: 2 * u - 1,
    "normal": statistics.NormalDist().inv_cdf,
    "pareto": lambda u: min(4.0, ((1 - u) ** (-1 / 3) - 1.5) * 4 / 3),
}
QUANTILES["paretonormal"] = lambda u: QUANTILES["normal"](u) / 4 + QUANTILES["pareto"](u) * 3 / 4


@pytest.mark.parametrize("distribution", QUANTILES)
def test_jitter_has_its_distribution(distribution: str) -> None:
    """By Kolmogorov and Smirnov's test against the quantiles that iproute2's tables are made of."""
    count, reference = 20_000, [QUANTILES[distribution]((k + 0.5) / 20_000) for k in range(20_000)]
    emulator = wire(delay_ns=100 * MS, jitter_ns=10 * MS, jitter_distribution=distribution)
    had = sorted((times[0][0] - 100 * MS) / (10 * MS) for times in fates(emulator, count))
    furthest = max(abs(bisect.bisect(reference, value) / count - place / count) for place, value in enumerate(had))
    assert furthest < math.sqrt(math.log(2 / 0.0001) / 2 / count) + 1 / 4096
    assert (had[0] >= -1 and had[-1] <= 1) == (distribution == "uniform")


@pytest.mark.parametrize(("distribution", "steps"), [("normal", 1), ("pareto", 0), ("paretonormal", 20)])
def test_a_distribution_is_the_table_that_tc_loads(distribution: str, steps: int) -> None:
    """Entry by entry, but for what iproute2's coarse integration adds in the tails."""
    path = next(Path("/usr/lib").glob(f"*/tc/{distribution}.dist"), None)
    if path is None:
        pytest.skip("tc's distribution tables are not installed")
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    theirs = [int(word) for line in lines for word in line.split()]
    ours = chance.TABLES[distribution]()
    assert len(ours) == len(theirs)
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= steps


def test_jitter_may_reorder_and_a_steady_delay_does_not() -> None:
    """As netem does (decision 9): what is due earlier goes earlier."""
    for jitter_ns, kept in ((0, True), (5 * MS, False)):
        emulator = wire(delay_ns=5 * MS, jitter_ns=jitter_ns)
        for number in range(100):
            emulator.decide(tcp("PA", number), number * 1000)
        gone = [emulator.way.take(FOREVER) for _ in range(100)]
        assert (gone == [tcp("PA", number) for number in range(100)]) is kept
        assert sorted(filter(None, gone)) == sorted(tcp("PA", number) for number in range(100))


def test_frames_leave_when_they_are_due() -> None:
    """In order of their times, none before, whatever the lanes and jitters they come from."""
    emulator = Emulator(link({CLIENT: {"delay_ns": 9 * MS, "jitter_ns": 9 * MS}, OTHER: {"delay_ns": 4 * MS}}))
    draw = random.Random(3)
    for number in range(500):
        emulator.decide(tcp("PA", number, source=draw.choice((CLIENT, OTHER, SERVER))), number * 10_000)
    given = []
    while (due_ns := emulator.way.next_ns()) is not None:
        assert emulator.way.take(due_ns - 1) is None
        assert emulator.way.take(due_ns) is not None
        given.append(due_ns)
    assert given == sorted(given)
    assert len(given) == 500
    assert len(emulator.way) == 0


def test_jitter_above_the_delay_never_delivers_before_the_arrival() -> None:
    """A delay of 1 ms +- 10 ms is 0 at least; and 0 for what would come earlier: 45% of the packets."""
    had = [times[0][0] for times in fates(wire(delay_ns=MS, jitter_ns=10 * MS), 2000)]
    assert min(had) == 0
    assert near(had.count(0), 0.45, 2000)


# ---------------------------------------------------------------- loss


@pytest.mark.parametrize("percent", [0, 0.5, 10, 50, 100])
def test_loss_drops_its_share(percent: float) -> None:
    """Each packet is lost with the probability asked for; 0 and 100 are exact."""
    emulator = wire(loss_percent=percent)
    had = fates(emulator, 10_000).count([])
    assert near(had, percent / 100, 10_000)
    assert emulator.dropped == {"fault": 0, "loss": had, "blackhole": 0, "queue": 0}


def mixed(draw: Callable[[], float], rho: float) -> Iterator[float]:
    """netem's crandom, written anew."""
    value = draw() if rho else 0.0
    while True:
        fresh = draw()
        value = value * rho + fresh * (1 - rho)
        yield value


@pytest.mark.parametrize("rho", [0, 25, 90])
def test_correlation_is_netem_s(rho: float) -> None:
    """Each value is a mean of the last one and a fresh draw."""
    ours = chance.event(random.Random(5).random, 40, rho)
    theirs = mixed(random.Random(5).random, rho / 100)
    assert [ours() for _ in range(5000)] == [next(theirs) < 0.4 for _ in range(5000)]


def gilbert(draw: Callable[[], float], p: float, r: float, bad: float, good: float) -> Iterator[bool]:
    """Gilbert and Elliott's model, written anew."""
    state = "good"
    while True:
        before, move, loss = state, draw(), draw()
        if move < (p if state == "good" else r):
            state = "bad" if state == "good" else "good"
        yield loss < (good if before == "good" else bad)


def chain(draw: Callable[[], float], p13: float, p31: float, p32: float, p23: float, p14: float) -> Iterator[bool]:
    """The chain of four states, written anew: chances to go, by state."""
    leave = {1: {4: p14, 3: p13}, 2: {3: p23}, 3: {2: p32, 1: p31}, 4: {1: 1.0}}
    state = 1
    while True:
        value, below = draw(), 0.0
        for following, probability in leave[state].items():
            below += probability
            if value < below:
                state = following
                break
        yield state in (3, 4)


GILBERT = (1.0, 25.0, 100.0, 0.0)
CHAIN = (2.0, 30.0, 10.0, 50.0, 1.0)


def test_the_loss_machines_are_netem_s() -> None:
    """Packet for packet like a second writing of them."""
    ours = chance.gilbert_elliott(random.Random(5).random, (5, 25, 80, 2))
    theirs = gilbert(random.Random(5).random, 0.05, 0.25, 0.8, 0.02)
    assert [ours() for _ in range(5000)] == list(itertools.islice(theirs, 5000))
    ours = chance.loss_states(random.Random(5).random, CHAIN)
    theirs = chain(random.Random(5).random, *(percent / 100 for percent in CHAIN))
    assert [ours() for _ in range(5000)] == list(itertools.islice(theirs, 5000))


def test_gilbert_elliott_loses_its_share_in_bursts() -> None:
    """p/(p+r) of the packets, in bursts of 1/r; losses follow each other, which widens the bounds."""
    lost = losses(wire(gilbert_elliott_percent=list(GILBERT)), 50_000)
    p, r = GILBERT[0] / 100, GILBERT[1] / 100
    bursts = [len(list(run)) for hit, run in itertools.groupby(lost) if hit]
    assert near(sum(lost), p / (p + r), 50_000, spread=(2 - p - r) / (p + r))
    assert abs(statistics.mean(bursts) - 1 / r) < RARE * math.sqrt((1 - r) / len(bursts)) / r


def test_loss_states_lose_their_share() -> None:
    """The chain's balance: what goes from 1 to 3 comes back, 4 alone, 2 and 3 among themselves."""
    p13, p31, p32, p23, p14 = (percent / 100 for percent in CHAIN)
    weights = {1: 1.0, 4: p14, 3: p13 / p31, 2: p13 / p31 * p32 / p23}
    share = (weights[3] + weights[4]) / sum(weights.values())
    lost = losses(wire(loss_states_percent=list(CHAIN)), 50_000)
    assert near(sum(lost), share, 50_000, spread=2 / (p13 + p31))


def test_a_blackhole_drops_everything() -> None:
    """And says so, not that it was chance; no duplicate slips through."""
    emulator = wire(blackhole=True, loss_percent=50, duplicate_percent=100, delay_ns=MS)
    assert fates(emulator, 10) == [[]] * 10
    assert emulator.dropped["blackhole"] == 10


# ---------------------------------------------------------------- duplicates, corruption, order


def test_a_duplicate_is_the_same_frame_again() -> None:
    """Twice the same frame, at the same time, for the share asked for."""
    emulator = wire(duplicate_percent=30, delay_ns=MS)
    had = fates(emulator, 10_000)
    twice = had.count([(MS, FRAME), (MS, FRAME)])
    assert twice + had.count([(MS, FRAME)]) == 10_000
    assert near(twice, 0.3, 10_000)
    assert emulator.duplicated == twice


def test_a_duplicate_survives_a_loss_and_a_copy_may_be_lost() -> None:
    """netem's count: +1 -1 is one; else the copy is drawn loss anew. So of half lost, all doubled, a quarter is two."""
    emulator = wire(duplicate_percent=100, loss_percent=50)
    had = [len(times) for times in fates(emulator, 10_000)]
    assert had.count(0) == 0
    assert near(had.count(2), 0.25, 10_000)
    assert emulator.duplicated == 10_000
    assert sum(had) + emulator.dropped["loss"] == 20_000


def test_a_corrupted_packet_has_one_bit_flipped() -> None:
    """Anywhere in the IP packet, never in the Ethernet header; for the share asked for; each copy for itself."""
    emulator = wire(corrupt_percent=50)
    arrived = int.from_bytes(FRAME)
    flipped = [int.from_bytes(times[0][1]) ^ arrived for times in fates(emulator, 20_000)]
    bits = [change.bit_length() - 1 for change in flipped if change]
    assert {change.bit_count() for change in flipped} == {0, 1}
    assert near(len(bits), 0.5, 20_000)
    assert emulator.corrupted == len(bits)
    assert set(bits) == set(range((len(FRAME) - 14) * 8))


def test_reorder_skips_the_delay() -> None:
    """For the share asked for."""
    had = [times[0][0] for times in fates(wire(delay_ns=MS, reorder_percent=25), 10_000)]
    assert set(had) == {0, MS}
    assert near(had.count(0), 0.25, 10_000)


@pytest.mark.parametrize("gap", [1, 2, 5])
def test_a_gap_keeps_packets_between_those_that_skip(gap: int) -> None:
    """With 100% each gap-th packet skips, and the jitter's chances with it."""
    had = [times[0][0] for times in fates(wire(delay_ns=MS, reorder_percent=100, reorder_gap=gap), 20)]
    assert [number for number, delay in enumerate(had, 1) if not delay] == list(range(gap, 21, gap))


def test_a_gap_after_chance_begins_where_one_skipped() -> None:
    """Never less than gap - 1 packets in between, and the wait for the draw on top."""
    had = [times[0][0] for times in fates(wire(delay_ns=MS, reorder_percent=50, reorder_gap=4), 8000)]
    places = [number for number, delay in enumerate(had) if not delay]
    apart = [after - before for before, after in itertools.pairwise(places)]
    assert min(apart) == 4
    assert near(apart.count(4), 0.5, len(apart))


# ---------------------------------------------------------------- rate, limit


def test_rate_sends_packets_one_after_the_other() -> None:
    """A burst leaves spaced by the frames' own time on the wire; after a pause there is no credit."""
    emulator = wire(rate_bit=8_000_000, delay_ns=MS)
    took_ns = len(FRAME) * 1000  # a byte takes 1 us
    dues = [fate(emulator)[0][0] for _ in range(5)]
    assert dues == [MS + number * took_ns for number in range(1, 6)]
    assert fate(emulator, now_ns=100 * MS)[0][0] == MS + took_ns


def test_rate_keeps_the_order_under_jitter() -> None:
    """netem's queue: none is due before the one ahead is through."""
    emulator = wire(rate_bit=100_000_000, delay_ns=5 * MS, jitter_ns=5 * MS)
    dues = [now_ns + fate(emulator, now_ns=now_ns)[0][0] for now_ns in range(0, MS, 1000)]
    apart = [after - before for before, after in itertools.pairwise(dues)]
    assert min(apart) >= len(FRAME) * 80


def test_limit_is_what_may_wait() -> None:
    """One more is dropped, and one that has left makes room; other sources have room of their own."""
    emulator = Emulator(
        link({CLIENT: {"limit_packets": 3, "delay_ns": MS}, OTHER: {"limit_packets": 3, "jitter_ns": 1}})
    )
    for _ in range(5):
        emulator.decide(FRAME, 0)
    assert (len(emulator.way), emulator.dropped["queue"]) == (3, 2)
    emulator.way.take(MS)
    emulator.decide(FRAME, 0)
    assert (len(emulator.way), emulator.dropped["queue"]) == (3, 2)
    for _ in range(4):
        emulator.decide(tcp("S", source=OTHER), 0)
    assert (len(emulator.way), emulator.dropped["queue"]) == (6, 3)


# ---------------------------------------------------------------- seeds

ALL: dict[str, Any] = {
    "delay_ns": MS, "jitter_ns": MS, "loss_percent": 20, "duplicate_percent": 20, "corrupt_percent": 20,
    "reorder_percent": 20, "rate_bit": 10**9,
}  # fmt: skip


def test_the_same_seed_gives_the_same_fates() -> None:
    """Packet for packet, frame for frame, whatever the clock says; another seed gives others."""
    here, there, other = (
        [[frame for _, frame in sorted(times)] for times in fates(wire(seed, **ALL), step_ns=step_ns)]
        for seed, step_ns in ((7, MS), (7, 100 * MS), (8, MS))
    )
    assert here == there
    assert here != other


@pytest.mark.parametrize(
    "loss", [{"loss_percent": 20}, {"gilbert_elliott_percent": GILBERT}, {"loss_states_percent": CHAIN}]
)
def test_which_packets_are_lost_does_not_depend_on_the_other_impairments(loss: dict[str, Any]) -> None:
    """Each impairment draws from a stream of its own, and copies from others."""
    also = {name: value for name, value in ALL.items() if name != "loss_percent"}
    emulator = wire(**also, **loss)
    lost = []
    for number in range(2000):
        before = emulator.dropped["loss"], emulator.duplicated
        fate(emulator, now_ns=number)
        hit, doubled = emulator.dropped["loss"] > before[0], emulator.duplicated > before[1]
        lost.append(None if doubled else hit)  # a loss may be the copy's
    alone = losses(wire(**loss), 2000)
    assert sum(alone) > 10
    assert [hit for hit in lost if hit is not None] == [
        hit for hit, told in zip(alone, lost, strict=True) if told is not None
    ]


def test_the_fates_do_not_depend_on_the_address() -> None:
    """Another run of the scenario gets another subnet, and must lose the same packets; a place is what counts."""
    here, there, third = (
        losses(Emulator(link(sources)), frame=tcp("PA", source=source))
        for source, sources in (
            (CLIENT, {CLIENT: ALL, OTHER: ALL}),
            ("198.19.7.2", {"198.19.7.2": ALL, "198.19.7.4": ALL}),
            (OTHER, {CLIENT: ALL, OTHER: ALL}),
        )
    )
    assert here == there
    assert here != third


def test_the_fates_of_one_source_do_not_depend_on_another() -> None:
    """Two hosts that talk at once, in whatever order, cannot change each other's losses."""
    alone = losses(Emulator(link({CLIENT: ALL, OTHER: ALL})))
    both = Emulator(link({CLIENT: ALL, OTHER: {"loss_percent": 50}}))
    together = []
    for number in range(1000):
        fate(both, tcp("PA", number, source=OTHER))
        together += losses(both, 1)
    assert together == alone


# ---------------------------------------------------------------- ports


def test_a_port_has_an_impairment_of_its_own() -> None:
    """Packets from or to it, TCP and UDP; the first that fits; later fragments and other protocols have none."""
    ports = {"7456": {"delay_ns": MS}, "9": {"delay_ns": 2 * MS}, "40000": {"blackhole": True}}
    emulator = Emulator(link({CLIENT: {"delay_ns": 9 * MS, "ports": ports}}))

    def delays(frame: bytes) -> list[int]:
        return [delay // MS for delay, _ in fate(emulator, frame)]

    assert delays(tcp("S", ports=(5000, 7456))) == [1]
    assert delays(tcp("S", ports=(7456, 5000))) == [1]
    assert delays(tcp("S", ports=(40000, 7456))) == [1]
    assert delays(tcp("S", ports=(40000, 5000))) == []
    assert delays(ip(17, bytes((0, 9, 0, 8, 0, 8, 0, 0)))) == [2]
    assert delays(tcp("S", ports=(5000, 5001))) == [9]
    assert delays(ip(17, bytes((0, 9, 0, 8, 0, 8, 0, 0)), fragment=5)) == [9]
    assert delays(ip(1, bytes((0, 9, 0, 8, 0, 8, 0, 0)))) == [9]


def test_a_port_has_chances_of_its_own() -> None:
    """What goes to other ports does not change what is lost there; and they are not the same chances."""
    emulator = Emulator(link({CLIENT: {"loss_percent": 30, "ports": {"7456": {"loss_percent": 30}}}}))
    there, elsewhere = [], []
    for _ in range(1000):
        there += losses(emulator, 1)
        elsewhere += losses(emulator, 1, tcp("S", ports=(1, 2)))
    assert elsewhere == losses(wire(loss_percent=30))
    assert there != elsewhere
    assert near(sum(there), 0.3, 1000)


# ---------------------------------------------------------------- phases


def test_phases_follow_one_another_from_the_beginning() -> None:
    """The first holds from the start on; the others when their moment has come after `begin`, told once each."""
    emulator = Emulator(link({}, {CLIENT: {"delay_ns": MS}}, {CLIENT: {"delay_ns": 2 * MS}}))
    assert emulator.turn(FOREVER) == []
    assert emulator.turn_ns() is None
    emulator.begin(500)
    assert emulator.turn_ns() == 500 + 1000 * MS
    assert emulator.turn(499 + 1000 * MS) == []
    assert fate(emulator)[0][0] == 0
    assert emulator.turn(500 + 1000 * MS) == [1]
    assert fate(emulator)[0][0] == MS
    assert emulator.turn(FOREVER) == [2]
    assert fate(emulator)[0][0] == 2 * MS
    assert emulator.turn_ns() is None


def test_a_late_beginning_catches_up() -> None:
    """Each phase that has begun is told, and the last holds."""
    emulator = Emulator(link({}, {}, {CLIENT: {"delay_ns": MS}}))
    emulator.begin(-FOREVER)
    assert emulator.turn(0) == [1, 2]
    assert fate(emulator)[0][0] == MS


def test_a_phase_is_complete_by_itself() -> None:
    """What it does not name is not impaired, sources and ports alike; what waits keeps its time."""
    emulator = Emulator(link({CLIENT: {"delay_ns": 9 * MS, "ports": {"9": {"blackhole": True}}}}, {OTHER: {}}))
    emulator.decide(FRAME, 0)
    emulator.begin(-1000 * MS)
    assert emulator.turn(0) == [1]
    assert emulator.way.next_ns() == 9 * MS
    emulator.decide(tcp("S", ports=(9, 9)), 0)
    assert emulator.way.next_ns() == 0


@pytest.mark.parametrize(
    "loss", [{"loss_percent": 20}, {"gilbert_elliott_percent": (9, 9, 100, 0)}, {"loss_states_percent": CHAIN}]
)
def test_a_phase_that_changes_something_else_changes_no_loss(loss: dict[str, Any]) -> None:
    """A lane that stays as it is goes on, states of its machine included."""
    emulator = Emulator(link({CLIENT: loss}, {CLIENT: loss, OTHER: {"blackhole": True}}))
    emulator.begin(0)
    first = losses(emulator, 500)
    assert emulator.turn(FOREVER) == [1]
    assert first + losses(emulator, 500) == losses(wire(**loss))


def test_chances_go_on_over_phases() -> None:
    """Another delay, another share: the stream of the losses is still where it was."""
    emulator = Emulator(link({CLIENT: {"loss_percent": 20}}, {CLIENT: {"loss_percent": 20, "delay_ns": MS}}))
    emulator.begin(0)
    first = losses(emulator, 500)
    emulator.turn(FOREVER)
    assert first + losses(emulator, 500) == losses(wire(loss_percent=20))


def test_the_settings_are_what_holds_now() -> None:
    """Each source and port, as a message; without what is as it would be anyhow."""
    emulator = Emulator(link({CLIENT: {"ports": {"9": {"delay_ns": 1}}}, "fd00::2": {}}, {CLIENT: {"loss_percent": 5}}))
    assert emulator.settings() == [
        {"from": CLIENT, "port": None},
        {"from": CLIENT, "port": 9, "delay_ns": 1},
        {"from": "fd00::2", "port": None},
    ]
    emulator.begin(0)
    emulator.turn(FOREVER)
    assert emulator.settings() == [{"from": CLIENT, "port": None, "loss_percent": 5.0}]


# ---------------------------------------------------------------- faults among them


def faulty(action: str, low: int = 1, high: int | None = 1, **more: Any) -> dict[str, Any]:
    """A fault of packets from the client."""
    return {"rule": 3, "action": action, "kind": "ANY", "from": CLIENT, "low": low, "high": high, **more}


def test_chance_does_not_change_what_a_fault_counts() -> None:
    """Faults come before chance: which packet is the second does not depend on luck."""
    emulator = Emulator(link({CLIENT: {"loss_percent": 100}}, faults=[faulty("drop", 2, 2)]))
    assert [bool(emulator.decide(FRAME, 0)) for _ in range(3)] == [False, True, False]
    assert emulator.dropped == {"fault": 1, "loss": 2, "blackhole": 0, "queue": 0}


def test_a_fault_needs_no_impairment() -> None:
    """Sources that are not named are met too."""
    emulator = Emulator({"faults": [faulty("drop")]})
    assert [len(times) for times in fates(emulator, 2)] == [0, 1]


def test_a_fault_s_delay_comes_on_top() -> None:
    """Of the lane's own; and chance may still lose the packet."""
    late = faulty("delay", by_ns=5 * MS)
    assert fate(Emulator(link({CLIENT: {"delay_ns": MS}}, faults=[late]))) == [(6 * MS, FRAME)]
    assert fate(Emulator(link({CLIENT: {"loss_percent": 100}}, faults=[late]))) == []


def test_what_a_fault_forges_comes_right_behind_its_packet() -> None:
    """With the packet's own time, jitter included, and spared by chance even where the packet is lost."""
    reset = faulty("reset", to="receiver", passes=True)
    emulator = Emulator(link({CLIENT: {"delay_ns": 9 * MS, "jitter_ns": 5 * MS}}, faults=[reset]))
    (packet, forged) = fate(emulator)
    assert packet[1] == FRAME
    assert packet[0] == forged[0] != 9 * MS
    assert emulator.forged == 1
    (alone,) = fate(Emulator(link({CLIENT: {"delay_ns": 9 * MS, "loss_percent": 100}}, faults=[reset])))
    assert alone == (9 * MS, forged[1])


def test_what_is_for_the_sender_is_handed_out() -> None:
    """The emulator sends nothing itself; a packet that does not go on is dropped by the fault."""
    emulator = Emulator(link({CLIENT: {"delay_ns": MS}}, faults=[faulty("icmp", unreachable="port")]))
    met = emulator.decide(FRAME, 0)
    assert met
    assert len(met.to_sender) == 1
    assert (len(emulator.way), emulator.dropped["fault"]) == (0, 1)


# ---------------------------------------------------------------- messages, tables


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            link({CLIENT: {"delay_ns": -1}}),
            "link.phases[0].sources.198.18.0.2.delay_ns is -1; it is a number, 0 or more",
        ),
        (link({}, {CLIENT: {"loss_percent": 101}}), "link.phases[1].sources.198.18.0.2.loss_percent is 101"),
        (link({CLIENT: {"delay_ns": 0.5}}), "delay_ns is 0.5; it is a whole number"),
        (link({CLIENT: {"delay_ns": "1ms"}}), "delay_ns is '1ms'; it is a number"),
        (link({CLIENT: {"blackhole": 1}}), "blackhole is 1; it must be of type bool"),
        (link({CLIENT: {"lost": 1}}), "sources.198.18.0.2 has 'lost', which is no impairment; there are delay_ns, "),
        (link({CLIENT: {"jitter_distribution": "gamma"}}), "is 'gamma'; it is one of uniform, normal"),
        (link({CLIENT: {"gilbert_elliott_percent": [1, 2]}}), "is [1, 2]; it holds p, r, loss_bad, loss_good"),
        (link({CLIENT: {"loss_states_percent": 5}}), "is 5; it holds p13, p31, p32, p23, p14"),
        (link({CLIENT: {"loss_states_percent": [60, 0, 0, 0, 60]}}), "p13 and p14 of loss_states are more than 100%"),
        (link({CLIENT: {"loss_percent": 1, "gilbert_elliott_percent": GILBERT}}), "only one of loss, gilbert_elliott"),
        (link({CLIENT: {"reorder_percent": 1}}), "reorder needs a delay to skip"),
        (link({CLIENT: {"reorder_gap": 0}}), "reorder_gap must be 1 or more"),
        (link({CLIENT: {"jitter_ns": 1 << 31}}), "jitter can be 2.147 s at most"),
        (link({CLIENT: {"ports": {"0": {}}}}), "sources.198.18.0.2.ports has '0'; a port is 1 to 65535"),
        (link({CLIENT: {"ports": {"9": {"loss_percent": -1}}}}), "198.18.0.2.ports.9.loss_percent is -1"),
        (link({"client": {}}), "link.phases[0].sources.client is no IPv4 or IPv6 address"),
        ({"phases": [{"at_ns": 5}]}, "link.phases[0].at_ns is 5; the first phase is at 0"),
        ({"phases": [{"at_ns": 0}, {"at_ns": 9}, {"at_ns": 8}]}, "link.phases[2].at_ns is 8"),
        ({"faults": [faulty("lose")]}, "link.faults[0].action is 'lose'"),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ValueError) as refused:
        Emulator(given)
    assert says in str(refused.value)


ROWS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"delay_ns": 40 * MS}, "delay 40000000ns"),
    ({"delay_ns": MS, "jitter_ns": 7}, "delay 1000000ns 7ns 0%"),
    (
        {"jitter_ns": 7, "jitter_correlation_percent": 25.0, "jitter_distribution": "pareto"},
        "delay 0ns 7ns 25% distribution pareto",
    ),
    ({"loss_percent": 0.01}, "loss random 0.01%"),
    ({"loss_percent": 5.0, "loss_correlation_percent": 30.0}, "loss random 5% 30%"),
    ({"gilbert_elliott_percent": GILBERT}, "loss gemodel 1% 25% 100% 0%"),
    ({"loss_states_percent": CHAIN}, "loss state 2% 30% 10% 50% 1%"),
    ({"duplicate_percent": 1.0, "duplicate_correlation_percent": 2.5}, "duplicate 1% 2.5%"),
    ({"corrupt_percent": 1e-7}, "corrupt 0.0000001%"),
    ({"corrupt_percent": 1.0, "corrupt_correlation_percent": 5.0}, "corrupt 1% 5%"),
    ({"delay_ns": 1, "reorder_percent": 25.0}, "reorder 25% delay 1ns"),
    (
        {"delay_ns": 1, "reorder_percent": 25.0, "reorder_correlation_percent": 50.0, "reorder_gap": 5},
        "reorder 25% 50% gap 5 delay 1ns",
    ),
    ({"rate_bit": 10_000_000}, "rate 10000000bit"),
    ({"blackhole": True, "duplicate_percent": 50.0, "delay_ns": MS}, "loss random 100%"),
]


@pytest.mark.parametrize(("asked", "words"), ROWS)
def test_tc_is_told_what_is_asked(asked: dict[str, Any], words: str) -> None:
    """tc-netem(8)'s words; the limit always, since netem's own is small."""
    said = netem_arguments(Impairment(**asked))
    at = said.index("limit")
    assert said[at : at + 2] == ["limit", str(LIMIT)]
    assert " ".join(said[:at] + said[at + 2 :]) == words


def test_each_key_changes_an_impairment() -> None:
    """No field without a key, no key without a field; and tc hears of each."""
    assert sorted(key.field for key in KEYS) == sorted(vars(NONE))
    heard = {name for asked, _ in ROWS for name in asked} | {"limit_packets"}
    assert heard == {key.field for key in KEYS}


percents = st.floats(0, 100, allow_nan=False)
impairments = st.fixed_dictionaries(
    {"delay_ns": st.integers(1, 10**9)},
    optional={
        "jitter_ns": st.integers(0, 10**9),
        "jitter_distribution": st.sampled_from(["uniform", "normal", "pareto", "paretonormal"]),
        "duplicate_percent": percents,
        "corrupt_percent": percents,
        "reorder_percent": percents,
        "reorder_gap": st.integers(1, 9),
        "rate_bit": st.integers(0, 10**9),
        "limit_packets": st.integers(0, 9),
        "blackhole": st.booleans(),
        "gilbert_elliott_percent": st.tuples(percents, percents, percents, percents),
    },
)


@given(impairments)
def test_a_message_is_what_it_was_made_of(asked: dict[str, Any]) -> None:
    """What differs from nothing at all is carried, and comes out the same."""
    impairment = Impairment(**asked)
    assert from_message("link", to_message(impairment)) == impairment


@given(
    impairments,
    st.lists(st.tuples(st.one_of(st.just(FRAME), st.binary(max_size=60)), st.integers(0, 10**9)), max_size=40),
    st.sampled_from([[], [faulty("duplicate", 2, None)], [faulty("reset", 1, None)], [faulty("drop", 1, 5)]]),
)
def test_every_frame_is_delivered_or_counted(
    asked: dict[str, Any], arriving: list[tuple[bytes, int]], faults: list[dict[str, Any]]
) -> None:
    """Whatever comes: what arrived and what was made is delivered, waits, or was dropped for a reason."""
    emulator = Emulator(link({CLIENT: asked}, faults=faults))
    now_ns = given_out = 0
    for frame, after_ns in arriving:
        now_ns += after_ns
        emulator.decide(frame, now_ns)
        while emulator.way.take(now_ns) is not None:
            given_out += 1
    came = len(arriving) + emulator.duplicated + emulator.forged
    assert came == given_out + sum(emulator.dropped.values()) + len(emulator.way)
