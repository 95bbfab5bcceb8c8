"""The netem engine on a kernel that has it: what is asked is what tc shows, and what packets meet.

Where the kernel has no netem the tests are skipped; with TESTBED_REQUIRE_NETEM=1, as in the netem lane, they fail
instead. Bounds on chance are ones that a right engine misses less than once in 10,000 runs; bounds on time are wide
upwards, since the lane's machine is emulated.
"""

from __future__ import annotations

import functools
import os
import select
import socket
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
import wire_pair
from namespaces import inside, run
from wire_pair import CLIENT, CLIENT6, MS, OTHER, Pair, heard, send

from testbed.agent import wire
from testbed.agent.impairments import Impairment as I
from testbed.agent.impairments import to_message

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]
LATE_MS = 100  # how late a packet may be on an emulated machine

lacking = functools.cache(wire_pair.lacking)


@pytest.fixture(scope="module")
def hosts() -> Iterator[Pair]:
    """Two hosts, where there is netem."""
    if why := lacking("netem"):
        if os.environ.get("TESTBED_REQUIRE_NETEM") == "1":
            pytest.fail(f"TESTBED_REQUIRE_NETEM is set, and {why}")
        pytest.skip(why)
    made = Pair()
    with made.lab:
        made.make()
        yield made


@pytest.fixture
def pair(hosts: Pair) -> Iterator[Pair]:
    """Both as new."""
    with hosts.undo:
        yield hosts


ASKED = {
    "nothing": I(),
    "delay": I(delay_ns=40 * MS),
    "part of a microsecond": I(delay_ns=1_234_567),
    "minutes": I(delay_ns=200 * 1000 * MS),
    "jitter": I(delay_ns=40 * MS, jitter_ns=10 * MS, jitter_correlation_percent=25.0),
    "jitter alone": I(jitter_ns=10 * MS),
    "normal": I(delay_ns=40 * MS, jitter_ns=10 * MS, jitter_distribution="normal"),
    "pareto": I(delay_ns=40 * MS, jitter_ns=10 * MS, jitter_distribution="pareto"),
    "paretonormal": I(jitter_ns=10 * MS, jitter_distribution="paretonormal", jitter_correlation_percent=3.5),
    "loss": I(loss_percent=0.01, loss_correlation_percent=33.333333),
    "gilbert": I(gilbert_elliott_percent=(1.0, 10.0, 90.0, 0.1)),
    "gilbert by default": I(gilbert_elliott_percent=(1.0, 10.0, 100.0, 0.0)),
    "states": I(loss_states_percent=(1.0, 10.0, 3.0, 100.0, 0.1)),
    "duplicate": I(duplicate_percent=12.5, duplicate_correlation_percent=1.0),
    "reorder": I(delay_ns=10 * MS, reorder_percent=25.0, reorder_correlation_percent=50.0, reorder_gap=5),
    "reorder alone": I(reorder_percent=25.0),
    "corrupt": I(corrupt_percent=0.3, corrupt_correlation_percent=7.0),
    "rate": I(rate_bit=10_000_000, limit_packets=50),
    "slow": I(rate_bit=9600),
    "fast": I(rate_bit=40_000_000_000),
    "blackhole": I(delay_ns=MS, blackhole=True),
    "all": I(
        delay_ns=40 * MS,
        jitter_ns=3 * MS,
        jitter_correlation_percent=20.0,
        jitter_distribution="normal",
        loss_percent=1.5,
        loss_correlation_percent=5.0,
        duplicate_percent=2.0,
        duplicate_correlation_percent=6.0,
        reorder_percent=3.0,
        reorder_correlation_percent=7.0,
        reorder_gap=2,
        corrupt_percent=4.0,
        corrupt_correlation_percent=8.0,
        rate_bit=100_000_000,
        limit_packets=777,
    ),
    "fields that mean nothing alone": I(jitter_correlation_percent=5.0, jitter_distribution="pareto", reorder_gap=3),
}


def ask(*impairments: I) -> list[dict[str, Any]]:
    """Phases in which the client's packets meet these."""
    return [{CLIENT: to_message(one)} for one in impairments]


def setting(impairment: I, source: str = CLIENT) -> dict[str, Any]:
    """As it is read back."""
    return {"from": source, "port": None, **to_message(impairment)}


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_is_what_tc_shows(pair: Pair, name: str) -> None:
    """Every impairment reads back as it was asked for."""
    applied = pair.apply("netem", *ask(ASKED[name]))
    said = pair.read(applied)
    assert said["settings"] == [setting(ASKED[name])]
    assert (said["up"], said["why"]) == (True, "")


def test_every_phase_is_whole(pair: Pair) -> None:
    """Nothing of a phase is left in the next: all settings, one after the other, on the same qdisc."""
    phases = [*ASKED.values(), I()]
    applied = pair.apply("netem", *ask(*phases))
    with inside(pair.server):
        applied.begin(time.time_ns() - 3600 * 1000 * MS)  # all are due
    events = pair.events(applied)
    assert [event["event"] for event in events] == ["wire"] * (len(phases) - 1), events
    said = pair.read(applied)
    assert (said["phase"], said["settings"], said["why"]) == (len(phases) - 1, [setting(I())], "")
    sender, receiver = pair.ends()
    send(sender, 200)
    assert [number for number, _ in heard(receiver, 200)] == list(range(200))


def test_a_delay(pair: Pair) -> None:
    """100 ms: no packet is early, and the median is not late."""
    applied = pair.apply("netem", *ask(I(delay_ns=100 * MS)))
    sender, receiver = pair.ends()
    send(sender, 100, every_s=0.002)
    took_ms = [ms for _, ms in heard(receiver, 100)]
    assert len(took_ms) == 100
    assert min(took_ms) >= 100
    assert statistics.median(took_ms) < 100 + LATE_MS
    said = pair.read(applied)
    assert (said["in"], said["out"], said["dropped"], said["duplicated"], said["waiting"]) == (100, 100, 0, 0, 0)


def test_ipv6_is_delayed_and_neighbour_discovery_is_not(pair: Pair) -> None:
    """With an empty neighbour table, one delay and not three."""
    pair.apply("netem", {CLIENT6: {"delay_ns": 300 * MS}})
    run("ip", "-n", pair.client, "-6", "neigh", "flush", "dev", "eth0")
    run("ip", "-n", pair.server, "-6", "neigh", "flush", "dev", "eth0")
    sender, receiver = pair.ends(CLIENT6)
    send(sender, 1)
    ((_, took_ms),) = heard(receiver, 1)
    assert 300 <= took_ms < 500


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        # 2000 packets; 4 sigma each way, chances that go together widen it
        (I(loss_percent=20.0), 328, 472),
        (I(gilbert_elliott_percent=(5.0, 20.0, 100.0, 0.0)), 210, 590),  # a fifth of the time bad
        (I(loss_states_percent=(5.0, 20.0, 0.0, 100.0, 0.0)), 210, 590),
        (I(loss_percent=100.0), 2000, 2000),
        (I(blackhole=True), 2000, 2000),
        (I(loss_percent=0.0), 0, 0),
    ],
)
def test_loss(pair: Pair, asked: I, low: int, high: int) -> None:
    """As many are lost as asked, and counted."""
    applied = pair.apply("netem", *ask(asked))
    sender, receiver = pair.ends()
    send(sender, 2000)
    lost = 2000 - len({number for number, _ in heard(receiver)})
    assert low <= lost <= high
    said = pair.read(applied)
    assert said["dropped"] == lost
    assert said["dropped_by"]["blackhole" if asked.blackhole else "loss"] == lost


def test_duplicates(pair: Pair) -> None:
    """A tenth comes twice, and is counted."""
    applied = pair.apply("netem", *ask(I(duplicate_percent=10.0)))
    sender, receiver = pair.ends()
    send(sender, 2000)
    numbers = [number for number, _ in heard(receiver)]
    assert 146 <= len(numbers) - 2000 <= 254
    assert pair.read(applied)["duplicated"] == len(numbers) - len(set(numbers))


def test_reordering(pair: Pair) -> None:
    """A quarter overtakes: it skips the delay."""
    pair.apply("netem", *ask(I(delay_ns=400 * MS, reorder_percent=25.0)))
    sender, receiver = pair.ends()
    send(sender, 400)
    early = [number for number, took_ms in heard(receiver, 400) if took_ms < 400]
    assert 65 <= len(early) <= 135


def test_jitter_of_every_distribution(pair: Pair) -> None:
    """Around the delay; uniform stays within it, also after a phase with a table, and the others do not."""
    jittered = {
        name: I(delay_ns=200 * MS, jitter_ns=50 * MS, jitter_distribution=name) for name in ("normal", "uniform")
    }
    applied = pair.apply("netem", *ask(jittered["normal"], jittered["uniform"]))
    sender, receiver = pair.ends()
    spread = []
    for begin in (False, True):
        if begin:
            with inside(pair.server):
                applied.begin(time.time_ns() - 1000 * MS)
            assert [event["event"] for event in pair.events(applied)] == ["wire"]
        send(sender, 1000)
        took_ms = [ms for _, ms in heard(receiver, 1000)]
        assert len(took_ms) == 1000
        assert 190 <= statistics.median(took_ms) < 210 + LATE_MS
        spread.append(took_ms)
    assert min(spread[0]) < 140
    assert 149 <= min(spread[1]) < 155
    assert statistics.pstdev(spread[1]) == pytest.approx(50 / 3**0.5, rel=0.25)


def test_rate_and_limit(pair: Pair) -> None:
    """1 Mbit/s: 100 frames of 1042 bytes take at least 0.8 s; a queue of 10 drops all but the first 11 or so."""
    applied = pair.apply("netem", *ask(I(rate_bit=1_000_000)))
    sender, receiver = pair.ends()
    send(sender, 100, size=1000)
    took_ms = [ms for _, ms in heard(receiver, 100)]
    assert len(took_ms) == 100
    assert 800 <= max(took_ms) < 1000 + LATE_MS
    pair.close(applied)
    applied = pair.apply("netem", *ask(I(rate_bit=100_000, limit_packets=10)))
    send(sender, 100, size=1000)
    assert 10 <= len(heard(receiver)) <= 25
    said = pair.read(applied)
    assert said["dropped"] == said["dropped_by"]["queue"] >= 75


def test_corruption(pair: Pair) -> None:
    """Flipped bits are caught by the checksums: about as many datagrams are missing."""
    pair.apply("netem", *ask(I(corrupt_percent=50.0)))
    sender, receiver = pair.ends()
    send(sender, 1000, size=1000)
    assert 400 <= len(heard(receiver)) <= 620  # some bits are padding, or of the frame's own header


def test_each_source_and_port_has_its_lane(pair: Pair) -> None:
    """By address, by either port, in the order given; who is not named is not touched."""
    course = {
        "delay_ns": 300 * MS,
        "ports": {"80": {"delay_ns": 900 * MS}, "81": {}, "9": {"delay_ns": 600 * MS}},
    }
    applied = pair.apply("netem", {CLIENT: course, CLIENT6: course})
    for source, port, expected_ms in (
        (CLIENT, 80, 900),
        (CLIENT, 81, 0),
        (CLIENT, 9, 600),
        (CLIENT, 7, 300),
        (OTHER, 80, 0),
        (CLIENT6, 80, 900),
        (CLIENT6, 81, 0),
        (CLIENT6, 7, 300),
    ):
        sender, receiver = pair.ends(source, port)
        with sender, receiver:
            send(sender, 3)
            took_ms = [ms for _, ms in heard(receiver, 3)]
        assert len(took_ms) == 3, (source, port)
        assert expected_ms <= min(took_ms) < expected_ms + 300, (source, port, took_ms)
    assert len(pair.read(applied)["settings"]) == 8


def test_a_source_port_counts_too_and_options_do_not_hide_it(pair: Pair) -> None:
    """Port 80 as the sender's, behind an IPv4 header of 24 bytes."""
    pair.apply("netem", {CLIENT: {"ports": {"80": {"delay_ns": 300 * MS}}}})
    sender, receiver = pair.ends()
    sender.setsockopt(0, 4, b"\x94\x04\0\0")  # IP_OPTIONS: router alert
    send(sender, 3)
    assert max(ms for _, ms in heard(receiver, 3)) < 300
    with inside(pair.client):
        from_80 = pair.undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        from_80.bind((CLIENT, 80))
        from_80.connect(receiver.getsockname())
        from_80.setsockopt(0, 4, b"\x94\x04\0\0")
    send(from_80, 3)
    assert min(ms for _, ms in heard(receiver, 3)) >= 300


def test_packets_under_way_survive_a_phase(pair: Pair) -> None:
    """A phase that begins while packets wait takes none of them along."""
    applied = pair.apply("netem", *ask(I(delay_ns=3000 * MS), I(delay_ns=10 * MS)))
    sender, receiver = pair.ends()
    send(sender, 50)
    assert pair.read(applied)["waiting"] == 50
    with inside(pair.server):
        applied.begin(time.time_ns() - 300 * MS)
    assert select.select([applied], [], [], 2)[0]
    assert [event["event"] for event in pair.events(applied)] == ["wire"]
    assert len(heard(receiver, 50)) == 50


def test_a_changed_delay_is_said(pair: Pair) -> None:
    """With what is there now, and what was asked."""
    applied = pair.apply("netem", *ask(I(delay_ns=40 * MS)))
    for command in ("change dev link0 parent 1:2 handle 102: netem limit 20000 delay 50ms",):
        run("tc", "-n", pair.server, "qdisc", *command.split())
    said = pair.read(applied)
    assert said["up"] is False
    assert f"packets from {CLIENT} have delay_ns {50 * MS}, not delay_ns {40 * MS}" in said["why"]
    assert said["settings"] == [setting(I(delay_ns=50 * MS))]


@pytest.mark.parametrize(
    ("commands", "reason"),
    [
        (["qdisc del dev link0 root"], "netem 102: for packets from 198.18.0.2 is gone"),
        (["qdisc replace dev link0 root netem delay 40ms"], "netem 102: for packets from 198.18.0.2 is gone"),
        (["qdisc del dev link0 parent 1:2"], "netem 102: for packets from 198.18.0.2 is gone"),
        (["qdisc change dev link0 parent 1:2 handle 102: netem limit 20000 delay 40ms slot 1ms"], "see `tc qdisc show"),
        (["filter del dev link0 parent 1: pref 10"], "the filters of link0 are not as they were left"),
    ],
)
def test_what_is_changed_on_link0_is_said(pair: Pair, commands: list[str], reason: str) -> None:
    """Qdiscs removed, replaced or given more; filters removed."""
    applied = pair.apply("netem", *ask(I(delay_ns=40 * MS)))
    for command in commands:
        run("tc", "-n", pair.server, *command.split())
    said = pair.read(applied)
    assert said["up"] is False
    assert reason in said["why"]


def test_a_removed_link0_is_said(pair: Pair) -> None:
    """The device is gone, with the last counters kept; and close still restores."""
    applied = pair.apply("netem", *ask(I(delay_ns=40 * MS)))
    run("ip", "-n", pair.server, "link", "del", "link0")
    said = pair.read(applied)
    assert said["up"] is False
    assert "the interface link0 is gone" in said["why"]
    pair.close(applied)
    assert wire_pair.left(pair.server) == []


def test_same_seed_same_drops_where_the_kernel_has_seeds(pair: Pair) -> None:
    """Since Linux and iproute2 6.6; elsewhere the answer says that there is no seed."""
    sender, receiver = pair.ends()
    runs = []
    for seed in (7, 7, 8):
        applied = pair.apply("netem", *ask(I(loss_percent=20.0)), seed=seed)
        if not applied.answer["seeded"]:
            assert "iproute2-6.1" in run("tc", "-V") or os.uname().release < "6.6"
            return
        send(sender, 300)
        runs.append([number for number, _ in heard(receiver)])
        pair.close(applied)
    assert runs[0] == runs[1] != runs[2]


def test_more_lanes_than_bands_are_shared_or_refused(pair: Pair) -> None:
    """20 ports of which the same is asked fit; with a rate each they do not, and the words say so."""
    many = {str(port): {"delay_ns": 5 * MS} for port in range(1, 21)}
    applied = pair.apply("netem", {CLIENT: {"delay_ns": 9 * MS, "ports": many}})
    assert len(pair.read(applied)["settings"]) == 21
    pair.close(applied)
    with pytest.raises(ValueError, match=r"20 lanes .* netem has room for 15"):
        pair.apply("netem", {CLIENT: {"ports": {port: {"rate_bit": 1000} for port in many}}})
    assert wire_pair.left(pair.server) == []


def test_what_netem_cannot_hold_is_refused(pair: Pair) -> None:
    """The kernel cuts jitter at 2.1 s without a word: it reads back otherwise, and nothing is left."""
    with pytest.raises(OSError, match=r"but shows others: .*jitter_ns"):
        pair.apply("netem", *ask(I(delay_ns=5000 * MS, jitter_ns=3000 * MS)))
    assert wire_pair.left(pair.server) == []


def test_faults_are_not_for_netem(pair: Pair) -> None:
    """They need the portable engine."""
    with pytest.raises(ValueError, match="only the portable engine"):
        pair.apply("netem", *ask(I(delay_ns=MS)), faults=[{"rule": 0}])


def test_duplicates_in_several_lanes_work_or_are_refused_in_the_kernels_words(pair: Pair) -> None:
    """Some kernels allow one duplicating netem alone; the probe knows which."""
    with inside(pair.server):
        from testbed.agent.probe import probe

        mixes = probe()["netem"]["mixes"]
    sources = {CLIENT: {"duplicate_percent": 100.0}, OTHER: {"delay_ns": 100 * MS}}
    if not mixes:
        with pytest.raises(wire.CommandRefused, match="cannot mix duplicating netems"):
            pair.apply("netem", sources)
        assert wire_pair.left(pair.server) == []
        return
    pair.apply("netem", sources)
    sender, receiver = pair.ends()
    send(sender, 20)
    assert len(heard(receiver, 40)) == 40
