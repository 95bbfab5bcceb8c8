"""The wire's contract, case by case: what is asked, and what the captures of a run must show for it.

An engine is judged from the captures alone, by the numbers that the datagrams carry; nothing of the testbed's own
verdict is used. Samples and bounds are such that a correct engine fails a case less than once in 10,000 runs: counts
may be 4.5 standard deviations off, and times late by SLACK_MS, since a busy machine holds packets back.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

from testbed.pcap.frame import Direction
from testbed.pcap.reader import read_capture

SIGMAS = 4.5
SLACK_MS = 10.0
EARLY_MS = 0.5
HEADERS = {"ipv4": 42, "ipv6": 62}  # Ethernet, IP, UDP


@dataclass(frozen=True)
class Datagram:
    """A datagram of the client's, at one place: its number, its time in ms, its bytes."""

    number: int
    at_ms: float
    frame: bytes


@dataclass(frozen=True)
class Seen:
    """What was sent, and what came out behind the server's link, each in order of time."""

    sent: tuple[Datagram, ...]
    delivered: tuple[Datagram, ...]

    @property
    def times(self) -> dict[int, float]:
        """How long each delivered datagram took (its first copy), by number."""
        started = {one.number: one.at_ms for one in self.sent}
        took: dict[int, float] = {}
        for one in self.delivered:
            if one.number in started:
                took.setdefault(one.number, one.at_ms - started[one.number])
        return took

    @property
    def delays(self) -> list[float]:
        """The times in the order in which the datagrams were sent."""
        return [took for _, took in sorted(self.times.items())]

    @property
    def lost(self) -> list[int]:
        """Numbers of those that never came out."""
        came = {one.number for one in self.delivered}
        return [one.number for one in self.sent if one.number not in came]

    @property
    def copies(self) -> int:
        """How many came out once too often."""
        return sum(count - 1 for count in Counter(one.number for one in self.delivered).values())


def look(folder: Path, name: str, engine: str) -> Seen:
    """Read the captures of a case's run."""
    out = Direction.OUT if engine == "netem" else Direction.IN  # an IFB shows what leaves it, a TAP what it writes
    sent = _datagrams(folder / "captures" / "client.pcapng", name, Direction.OUT)
    return Seen(sent, _datagrams(folder / "captures" / "server-link0.pcapng", name, out))


def _datagrams(path: Path, name: str, direction: Direction) -> tuple[Datagram, ...]:
    """Known by their length alone: any bit may have been flipped."""
    header = HEADERS[CASES[name].family]
    frames = [frame for frame in read_capture(path.read_bytes()).frames if frame.direction is direction]
    found = [
        Datagram(int.from_bytes(frame.data[header : header + 8]), frame.time_ns / 1e6, frame.data)
        for frame in frames
        if len(frame.data) == header + CASES[name].size
    ]
    return tuple(sorted(found, key=lambda one: one.at_ms))


# ---------------------------------------------------------------- judging


def _near(hits: int, tries: int, rate: float, spread: float = 1.0) -> None:
    """A count is within so many standard deviations of its expectation."""
    margin = SIGMAS * sqrt(tries * rate * (1 - rate) * spread) + 1
    assert abs(hits - tries * rate) <= margin, (
        f"{hits} of {tries}, where {tries * rate:.1f} +- {margin:.1f} are expected"
    )


def _complete(seen: Seen) -> None:
    assert seen.lost == []
    assert seen.copies == 0
    assert {one.frame for one in seen.delivered} == {one.frame for one in seen.sent}


def _quartiles(delays: Sequence[float], wanted: Sequence[float], sigma: float) -> None:
    """The quartiles of the delays; `sigma` is how far one may be off (ms)."""
    found = statistics.quantiles(delays, n=4)
    for have, want in zip(found, wanted, strict=True):
        assert -sigma - EARLY_MS <= have - want <= sigma + SLACK_MS / 4, f"quartiles {found}, wanted {wanted}"


def _follows(values: Sequence[float], wanted: float) -> None:
    """How much each value follows the last one: the correlation at lag 1."""
    found = statistics.correlation(values[:-1], values[1:])
    assert abs(found - wanted) <= SIGMAS / sqrt(len(values)) + 0.05, f"correlation {found:.3f}, wanted {wanted}"


def delay(seen: Seen) -> None:
    """20 ms."""
    _complete(seen)
    assert min(seen.delays) >= 20 - EARLY_MS
    assert statistics.median(seen.delays) <= 20 + SLACK_MS


def untouched(seen: Seen) -> None:
    """Zeros ask for nothing: nothing happens, at once."""
    _complete(seen)
    assert statistics.median(seen.delays) <= SLACK_MS


def jitter_uniform(seen: Seen) -> None:
    """50 ms +- 20 ms: nothing outside, quartiles at 40, 50 and 60."""
    _complete(seen)
    assert min(seen.delays) >= 30 - EARLY_MS
    assert sum(took > 70 + SLACK_MS for took in seen.delays) <= len(seen.delays) // 50
    _quartiles(seen.delays, (40, 50, 60), SIGMAS * 20 / sqrt(len(seen.delays)))


def jitter_normal(seen: Seen) -> None:
    """60 ms with a sigma of 10 ms: quartiles 0.674 sigma from the middle."""
    _complete(seen)
    _quartiles(seen.delays, (60 - 6.745, 60, 60 + 6.745), SIGMAS * 10 * 1.4 / sqrt(len(seen.delays)))


def jitter_pareto(seen: Seen) -> None:
    """60 ms with 20 ms of pareto (a = 3): quartiles by its quantile function, a long tail upwards."""
    _complete(seen)
    quartiles = [60 + 20 * 4 / 3 * ((1 - q) ** (-1 / 3) - 1.5) for q in (0.25, 0.5, 0.75)]
    _quartiles(seen.delays, quartiles, SIGMAS * 20 * 0.7 / sqrt(len(seen.delays)))
    assert min(seen.delays) >= 60 - 20 * 2 / 3 - 1


def jitter_paretonormal(seen: Seen) -> None:
    """60 ms with 20 ms of a quarter normal and three quarters pareto."""
    _complete(seen)
    normal = statistics.NormalDist()
    quartiles = [
        60 + 20 * (0.25 * normal.inv_cdf(q) + 0.75 * 4 / 3 * ((1 - q) ** (-1 / 3) - 1.5)) for q in (0.25, 0.5, 0.75)
    ]
    _quartiles(seen.delays, quartiles, SIGMAS * 20 * 0.8 / sqrt(len(seen.delays)))


def jitter_correlated(seen: Seen) -> None:
    """Each delay follows the last one by half, within 60 ms +- 20 ms."""
    jitter_bounds(seen)
    _follows(seen.delays, 0.5)


def jitter_bounds(seen: Seen) -> None:
    """60 ms +- 20 ms. netem takes its correlated draw modulo the range, and so loses the correlation."""
    _complete(seen)
    assert min(seen.delays) >= 40 - EARLY_MS
    assert sum(took > 80 + SLACK_MS for took in seen.delays) <= len(seen.delays) // 50


def loss(seen: Seen) -> None:
    """10 %, each for itself."""
    _near(len(seen.lost), len(seen.sent), 0.1)
    _no_bursts(seen)


def _no_bursts(seen: Seen) -> None:
    gone = set(seen.lost)
    numbers = [one.number for one in seen.sent]
    pairs = sum(a in gone and b in gone for a, b in pairwise(numbers))
    _near(pairs, len(numbers) - 1, 0.01, 3.0)


def little_loss(seen: Seen) -> None:
    """0.5 %."""
    _near(len(seen.lost), len(seen.sent), 0.005)


def loss_correlated(seen: Seen) -> None:
    """25 % with a correlation of 25 %: netem's draws crowd around the middle, so fewer are lost, and in pairs."""
    tries = len(seen.sent)
    rate = 1 / 6  # P(x < 1/4) of x = x / 4 + 3 u / 4 in the long run: the mean of (1 - x) / 3
    _near(len(seen.lost), tries, rate, 1.25 / 0.75)


def gilbert_elliott(seen: Seen) -> None:
    """p 4 %, r 25 %: 13.8 % are lost, in bursts of 4 on average."""
    tries, p, r = len(seen.sent), 0.04, 0.25
    memory = 1 - p - r
    _near(len(seen.lost), tries, p / (p + r), (1 + memory) / (1 - memory))
    assert 1.5 <= len(seen.lost) / max(1, _bursts(seen)) <= 8


def four_states(seen: Seen) -> None:
    """p13 2 %, p31 20 %, p32 20 %, p23 50 %, p14 1 %."""
    weights = [1.0, 0.0, 0.0, 0.0]
    for _ in range(500):
        one, two, three, four = weights
        weights = [
            0.97 * one + 0.2 * three + four,
            0.5 * two + 0.2 * three,
            0.02 * one + 0.5 * two + 0.6 * three,
            0.01 * one,
        ]
    _near(len(seen.lost), len(seen.sent), weights[2] + weights[3], 9.0)


def _bursts(seen: Seen) -> int:
    gone = set(seen.lost)
    numbers = [one.number for one in seen.sent]
    return sum(b in gone and a not in gone for a, b in zip([-1, *numbers], numbers, strict=False))


def duplicate(seen: Seen) -> None:
    """10 % come twice, none is lost."""
    assert seen.lost == []
    _near(seen.copies, len(seen.sent), 0.1)


def reorder(seen: Seen) -> None:
    """A quarter of the datagrams skips the 20 ms."""
    _complete(seen)
    _near(sum(took < 10 for took in seen.delays), len(seen.delays), 0.25)
    assert statistics.quantiles(seen.delays, n=4)[1] >= 20 - EARLY_MS


def reorder_gap(seen: Seen) -> None:
    """Only each fifth may skip, and always does."""
    _complete(seen)
    quick = [number for number, took in sorted(seen.times.items()) if took < 10]
    assert {b - a for a, b in pairwise(quick)} == {5}


def corrupt(seen: Seen) -> None:
    """5 % differ in exactly one bit from a datagram that was sent."""
    assert len(seen.delivered) == len(seen.sent)
    whole = {one.frame for one in seen.sent}
    spoiled = [one for one in seen.delivered if one.frame not in whole]
    _near(len(spoiled), len(seen.sent), 0.05)
    missing = [int.from_bytes(frame) for frame in whole - {one.frame for one in seen.delivered}]
    for one in spoiled:
        value = int.from_bytes(one.frame)
        assert any((value ^ other).bit_count() == 1 for other in missing)


def rate(seen: Seen) -> None:
    """200 kbit/s: the datagrams come one after the other, each in its time."""
    _complete(seen)
    first, last = seen.delivered[0], seen.delivered[-1]
    bits = 8 * sum(len(one.frame) for one in seen.delivered[1:])
    assert 0.97 <= bits / ((last.at_ms - first.at_ms) / 1e3) / 200e3 <= 1.03


def limit(seen: Seen) -> None:
    """A queue of 10 behind a slow rate: what does not fit is dropped, what does comes at that rate."""
    assert 10 <= len(seen.delivered) <= len(seen.sent) - 20, f"{len(seen.delivered)} of {len(seen.sent)}"
    numbers = [one.number for one in seen.delivered]
    assert numbers == sorted(numbers)
    assert max(seen.delays) <= 11 * 8 * (200 + 42) / 16e3 * 1e3 + 5 * SLACK_MS


def blackhole(seen: Seen) -> None:
    """Nothing."""
    assert len(seen.sent) >= 50
    assert seen.delivered == ()


def ports(seen: Seen) -> None:
    """The port's own impairment, in place of the general one."""
    _complete(seen)
    assert min(seen.delays) >= 20 - EARLY_MS
    assert statistics.median(seen.delays) <= 20 + SLACK_MS


def timeline(seen: Seen) -> None:
    """Nothing at first, from 1 s on 40 ms, from 2 s on nothing arrives, from 3 s on 10 ms; changes take some time."""
    start = seen.sent[0].at_ms
    for one in seen.sent:
        at, took = one.at_ms - start, seen.times.get(one.number)
        if 200 < at < 900:
            assert took is not None
            assert took < 30
        elif 1600 < at < 1900:
            assert took is not None
            assert took >= 40 - EARLY_MS
        elif 2600 < at < 2900:
            assert took is None
        elif at > 3600:
            assert took is not None
            assert took >= 10 - EARLY_MS


@dataclass(frozen=True)
class Case:
    """What is asked of the wire, how many datagrams are sent and how far apart, and who judges."""

    wire: dict[str, Any]
    judge: Callable[[Seen], None]
    datagrams: int = 600
    apart: str = "300us"
    size: int = 100
    family: str = "ipv4"
    on_netem: Callable[[Seen], None] | None = None  # where netem itself does not do what it is asked for

    def judge_on(self, engine: str) -> Callable[[Seen], None]:
        """Who judges what this engine did."""
        return self.on_netem if engine == "netem" and self.on_netem else self.judge


CASES: dict[str, Case] = {
    "delay": Case({"delay": "20ms"}, delay, 300),
    "delay-v6": Case({"delay": "20ms"}, delay, 300, family="ipv6"),
    "zero": Case({"delay": 0, "client->server": {"loss": "0%", "delay": "1us"}}, untouched, 300),
    "jitter-uniform": Case({"delay": "50ms", "jitter": "20ms"}, jitter_uniform),
    "jitter-normal": Case({"delay": "60ms", "jitter": "10ms", "jitter_distribution": "normal"}, jitter_normal),
    "jitter-pareto": Case({"delay": "60ms", "jitter": "20ms", "jitter_distribution": "pareto"}, jitter_pareto),
    "jitter-paretonormal": Case(
        {"delay": "60ms", "jitter": "20ms", "jitter_distribution": "paretonormal"}, jitter_paretonormal
    ),
    "jitter-correlated": Case(
        {"delay": "60ms", "jitter": "20ms", "jitter_correlation": "50%"}, jitter_correlated, on_netem=jitter_bounds
    ),
    "loss": Case({"loss": "10%"}, loss, 1200),
    "loss-v6": Case({"loss": "10%"}, loss, 600, family="ipv6"),
    "loss-little": Case({"loss": "0.5%"}, little_loss, 2000),
    "loss-correlated": Case({"loss": "25%", "loss_correlation": "25%"}, loss_correlated, 1200),
    "loss-gilbert-elliott": Case({"gilbert_elliott": {"p": "4%", "r": "25%"}}, gilbert_elliott, 1800),
    "loss-states": Case(
        {"loss_states": {"p13": "2%", "p31": "20%", "p32": "20%", "p23": "50%", "p14": "1%"}}, four_states, 1800
    ),
    "duplicate": Case({"duplicate": "10%"}, duplicate),
    "reorder": Case({"delay": "20ms", "reorder": "25%"}, reorder),
    "reorder-gap": Case({"delay": "20ms", "reorder": "100%", "reorder_gap": 5}, reorder_gap, 300),
    "corrupt": Case({"corrupt": "5%"}, corrupt),
    "rate": Case({"rate": "200kbit"}, rate, 50, "100us", 958),
    "limit": Case({"rate": "16kbit", "limit": 10}, limit, 100, "100us", 200),
    "blackhole": Case({"blackhole": True}, blackhole, 100),
    "ports": Case({"delay": "200ms", "ports": {9: {"delay": "20ms"}}}, ports, 300),
    "timeline": Case(
        {
            "timeline": [
                {"at": "1s", "client->server": {"delay": "40ms"}},
                {"at": "2s", "client->server": {"blackhole": True}},
                {"at": "3s", "client->server": {"blackhole": False, "delay": "10ms"}},
            ]
        },
        timeline,
        420,
        "10ms",
    ),
}


def scenario(name: str, engine: str) -> dict[str, Any]:
    """A case as a scenario: the client sends its numbered datagrams, the server holds the port.

    netem is mostly tried on an emulated processor, where a step takes ten times as long: it gets a smaller sample.
    """
    case = CASES[name]
    fewer = engine == "netem" and name != "timeline"
    datagrams = min(case.datagrams, max(100, case.datagrams // 2)) if fewer else case.datagrams
    send = {"sendto": "server:9", "data": {"numbered": case.size}}
    return {
        "summary": f"The wire's contract: {name}.",
        "family": case.family,
        "seed": 20260101,
        "timeout": "300s",
        "hosts": {
            "server": {"steps": [{"udp": 9}, {"wait": "done", "timeout": "240s"}]},
            "client": {
                "steps": [
                    {"udp": 40000},
                    {"repeat": datagrams, "steps": [send, {"sleep": case.apart}], "timeout": "240s"},
                    {"sleep": "2500ms" if name in ("rate", "limit") else "400ms"},
                    {"mark": "done"},
                ]
            },
        },
        "wire": case.wire,
        "expect": {"connections": 0},
    }
