"""The emulator's decisions: delays, chance with a seed, packet faults."""

from __future__ import annotations

from typing import Any

import pytest
from ether import CLIENT, MACS, SERVER, tcp

from testbed.agent.impair import Decision, Emulator

MS = 1_000_000
OTHER = "198.18.0.4"


def fates(emulator: Emulator, count: int = 1000, source: str = CLIENT, step_ns: int = MS) -> list[Decision]:
    """Decisions on so many data segments, one each step."""
    return [emulator.decide(tcp("PA", number, source=source), number * step_ns) for number in range(count)]


def dropped(emulator: Emulator, *arriving: bytes) -> list[int]:
    """Which of the frames (from 1) a fault drops."""
    return [number for number, frame in enumerate(arriving, 1) if emulator.decide(frame, 0).dropped == "fault"]


def faulty(drop: str, low: int = 1, high: int | None = 1, source: str | None = CLIENT, rule: int = 0) -> dict[str, Any]:
    """A fault as wire.apply gives it."""
    return {"rule": rule, "drop": drop, "from": source, "low": low, "high": high}


def test_no_impairment_delivers_every_frame_at_once() -> None:
    """Zero is legal: the frame itself, now, once."""
    frame = tcp("S", 1)
    assert Emulator({}).decide(frame, 5) == Decision(((5, frame),))


def test_delay_is_added_to_the_time_of_arrival() -> None:
    """A frame that arrives at t is delivered at t + delay."""
    assert Emulator({"delay_ns": 50 * MS}).decide(b"x", 7).deliveries == ((50 * MS + 7, b"x"),)


def test_what_is_no_ip_packet_is_delayed_too() -> None:
    """The emulator does not lose what it does not understand."""
    frame = MACS + b"\x88\xb5canary"
    emulator = Emulator({"delay_ns": MS, "faults": [faulty("ANY", high=None, source=None)]})
    assert emulator.decide(frame, 0).deliveries == ((MS, frame),)


def test_jitter_is_uniform_around_the_delay() -> None:
    """Plus or minus the jitter, spread over all of it (sparse packets: order plays no part)."""
    emulator = Emulator({"delay_ns": 50 * MS, "jitter_ns": 10 * MS, "seed": 1})
    delays = [
        fate.deliveries[0][0] - number * 100 * MS for number, fate in enumerate(fates(emulator, step_ns=100 * MS))
    ]
    assert 40 * MS <= min(delays) < 41 * MS
    assert 59 * MS < max(delays) <= 60 * MS
    assert 49 * MS < sum(delays) / len(delays) < 51 * MS


def test_jitter_keeps_the_order() -> None:
    """No packet overtakes one of the same source, however close they follow."""
    times = [fate.deliveries[0][0] for fate in fates(Emulator({"delay_ns": 5 * MS, "jitter_ns": 5 * MS}), step_ns=1000)]
    assert times == sorted(times)
    assert len(set(times)) > 2


def test_jitter_above_the_delay_never_delivers_before_the_arrival() -> None:
    """A delay of 1 ms +- 10 ms is 0 at least."""
    sent = enumerate(fates(Emulator({"delay_ns": MS, "jitter_ns": 10 * MS}), step_ns=100 * MS))
    assert all(fate.deliveries[0][0] >= number * 100 * MS for number, fate in sent)


@pytest.mark.parametrize(("percent", "low", "high"), [(0, 0, 0), (0.5, 1, 15), (10, 70, 130), (100, 1000, 1000)])
def test_loss_drops_its_share(percent: float, low: int, high: int) -> None:
    """Each packet is lost with the probability asked for; 0 and 100 are exact."""
    lost = [fate.dropped for fate in fates(Emulator({"loss_percent": percent, "seed": 3}))].count("loss")
    assert low <= lost <= high


def test_a_duplicate_is_the_same_frame_again() -> None:
    """Twice the same frame, at the same time, and counted as one decision."""
    frame = tcp("PA", 1)
    assert Emulator({"duplicate_percent": 100, "delay_ns": MS}).decide(frame, 0).deliveries == ((MS, frame),) * 2


def test_a_blackhole_drops_everything() -> None:
    """And says so, not that it was chance."""
    assert {fate.dropped for fate in fates(Emulator({"blackhole": True, "loss_percent": 50}), 10)} == {"blackhole"}


RANDOM: dict[str, Any] = {
    "seed": 7, "delay_ns": MS, "jitter_ns": MS, "loss_percent": 20, "duplicate_percent": 20
}  # fmt: skip


def test_the_same_seed_gives_the_same_fates() -> None:
    """Packet for packet, whatever the clock says; another seed gives others."""
    here = [(len(fate.deliveries), fate.dropped) for fate in fates(Emulator(RANDOM))]
    later = [(len(fate.deliveries), fate.dropped) for fate in fates(Emulator(RANDOM), step_ns=3)]
    other = [(len(fate.deliveries), fate.dropped) for fate in fates(Emulator({**RANDOM, "seed": 8}))]
    assert here == later
    assert here != other


def test_which_packets_are_lost_does_not_depend_on_the_other_impairments() -> None:
    """Loss, duplicates and jitter draw from streams of their own."""
    only = Emulator({"seed": 7, "loss_percent": 20})
    assert [fate.dropped for fate in fates(only)] == [fate.dropped for fate in fates(Emulator(RANDOM))]


def test_the_fates_do_not_depend_on_the_address() -> None:
    """Another run of the scenario gets another subnet, and must lose the same packets."""
    here = [fate.dropped for fate in fates(Emulator(RANDOM), source=CLIENT)]
    there = [fate.dropped for fate in fates(Emulator(RANDOM), source="198.19.7.2")]
    listed = [
        [fate.dropped for fate in fates(Emulator({"seed": 7, "sources": {one: {"loss_percent": 20}}}), source=one)]
        for one in (CLIENT, OTHER)
    ]
    assert here == there
    assert listed[0] == listed[1]


def test_the_fates_of_one_source_do_not_depend_on_another() -> None:
    """Two hosts that talk at once, in whatever order, cannot change each other's losses."""
    alone = [fate.dropped for fate in fates(Emulator(RANDOM))]
    mixed = Emulator(RANDOM)
    together = []
    for number in range(1000):
        together.append(mixed.decide(tcp("PA", number), 0).dropped)
        mixed.decide(tcp("PA", number, source=OTHER), 0)
    assert together == alone


def test_a_source_of_its_own_has_its_own_impairment() -> None:
    """`sources` replaces the general impairment for packets from there, wholly."""
    emulator = Emulator({"delay_ns": MS, "loss_percent": 100, "sources": {OTHER: {"delay_ns": 9 * MS}}})
    assert emulator.decide(tcp("S"), 0).dropped == "loss"
    assert emulator.decide(tcp("S", source=OTHER), 0).deliveries[0][0] == 9 * MS


def test_order_is_kept_per_source_only() -> None:
    """A slow path from one host does not hold up the packets of another."""
    emulator = Emulator({"sources": {OTHER: {"delay_ns": 9 * MS}}})
    emulator.decide(tcp("S", source=OTHER), 0)
    assert emulator.decide(tcp("S"), 0).deliveries[0][0] == 0


SYN, SYN_ACK = tcp("S", 100), tcp("SA", 500, 101, source=SERVER, to=CLIENT, ports=(7456, 40000))
ACK, DATA, FIN = tcp("A", 101, 501), tcp("PA", 101, 501, b"Hola"), tcp("FA", 105, 501)


@pytest.mark.parametrize(
    ("drop", "expected"),
    [
        ("SYN", [1, 2]),
        ("HANDSHAKE-ACK", [3]),
        ("ACK", [3, 6]),
        ("DATA", [4, 5]),
        ("FIN", [7]),
        ("RST", [8]),
        ("ANY", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_a_fault_drops_its_class_only(drop: str, expected: list[int]) -> None:
    """Of a whole connection as it arrives at the server, exactly the packets of the class."""
    arriving = (SYN, SYN, ACK, DATA, DATA, tcp("A", 105, 600), FIN, tcp("R", 106))
    assert dropped(Emulator({"faults": [faulty(drop, high=None)]}), *arriving) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(1, 1, [1]), (2, 2, [2]), (2, 3, [2, 3]), (3, None, [3, 4, 5]), (6, 9, [])]
)
def test_a_fault_counts_from_one(low: int, high: int | None, expected: list[int]) -> None:
    """The low-th to the high-th, both included; no high end means all after."""
    assert dropped(Emulator({"faults": [faulty("SYN", low, high)]}), *[SYN] * 5) == expected


def test_a_fault_counts_in_each_connection() -> None:
    """Two connections, mixed: the first SYN of each."""
    other = tcp("S", 100, ports=(40001, 7456))
    assert dropped(Emulator({"faults": [faulty("SYN")]}), SYN, other, SYN, other) == [1, 2]


def test_a_new_connection_between_the_same_ports_counts_anew() -> None:
    """A SYN with another initial sequence number opens another connection (RFC 9293 section 3.4.1)."""
    assert dropped(Emulator({"faults": [faulty("SYN")]}), SYN, SYN, tcp("S", 9000), tcp("S", 9000)) == [1, 3]


def test_a_syn_ack_with_a_fresh_number_for_the_same_syn_is_a_repeat() -> None:
    """A listener that forgot the half-open connection picks another number; it still answers the same SYN."""
    fresh = tcp("SA", 777, 101, source=SERVER, to=CLIENT, ports=(7456, 40000))
    later = tcp("SA", 900, 301, source=SERVER, to=CLIENT, ports=(7456, 40000))
    emulator = Emulator({"faults": [faulty("SYN-ACK", source=SERVER)]})
    assert dropped(emulator, SYN_ACK, fresh, later, later) == [1, 3]


@pytest.mark.parametrize(
    ("arriving", "expected"),
    [
        ([SYN, ACK, ACK], [2]),
        ([SYN, DATA, ACK], [2]),  # data can complete the handshake
        ([SYN, tcp("RA", 101, 501), ACK], [3]),
        ([SYN, SYN, ACK], [3]),
        ([ACK, DATA], []),  # no SYN seen: nobody's handshake
        ([SYN, ACK, tcp("S", 9000), tcp("A", 9001, 700)], [2, 4]),
        ([SYN_ACK, tcp("A", 501, 101, source=SERVER, to=CLIENT, ports=(7456, 40000))], []),
    ],
)
def test_the_handshake_ack_is_the_first_ack_after_the_syn(arriving: list[bytes], expected: list[int]) -> None:
    """Seen from the arriving direction alone, once in each connection."""
    assert dropped(Emulator({"faults": [faulty("HANDSHAKE-ACK", high=None, source=None)]}), *arriving) == expected


def test_a_fault_is_for_one_sender() -> None:
    """`from` is the sender's address; null is any."""
    assert dropped(Emulator({"faults": [faulty("SYN", source=OTHER)]}), SYN, tcp("S", 1, source=OTHER)) == [2]
    assert dropped(Emulator({"faults": [faulty("SYN", source=None)]}), SYN, tcp("S", 1, source=OTHER)) == [1, 2]


def test_each_rule_counts_for_itself() -> None:
    """A packet that one rule drops is still counted by the others."""
    emulator = Emulator({"faults": [faulty("SYN", 1, 1, rule=0), faulty("ANY", 2, 2, rule=1)]})
    decisions = [emulator.decide(SYN, 0) for _ in range(3)]
    assert [decision.fault and decision.fault.rule for decision in decisions] == [0, 1, None]
    assert decisions[0].says == "SYN 198.18.0.2:40000 > 198.18.0.3:7456 seq 100 ack 0 len 0"


def test_a_fault_works_on_ipv6() -> None:
    """The addresses' family changes nothing."""
    syn = tcp("S", 1, source="fd00::2", to="fd00::3")
    assert dropped(Emulator({"faults": [faulty("SYN", source="fd00::2")]}), syn, syn) == [1]


def test_chance_does_not_change_what_a_fault_counts() -> None:
    """Faults come before chance: which packet is the second SYN does not depend on luck."""
    emulator = Emulator({"loss_percent": 100, "faults": [faulty("SYN", 2, 2)]})
    assert [emulator.decide(SYN, 0).dropped for _ in range(3)] == ["loss", "fault", "loss"]


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"delay_ns": -1}, "link.delay_ns is -1; a time is 0 or more"),
        ({"loss_percent": 101}, "link.loss_percent is 101; a percentage is 0 to 100"),
        ({"sources": {OTHER: {"duplicate_percent": -1}}}, "link.sources.198.18.0.4.duplicate_percent is -1"),
        ({"sources": {"client": {}}}, "link.sources has 'client', which is no IPv4 or IPv6 address"),
        ({"faults": [{"drop": "SYNACK"}]}, "link.faults[0].drop is 'SYNACK'; it is one of SYN, SYN-ACK"),
        ({"faults": [faulty("SYN"), faulty("SYN", source="x")]}, "link.faults[1].from has 'x'"),
        ({"faults": [faulty("SYN", 0)]}, "link.faults[0] has low 0 and high 1; packets are counted from 1"),
        ({"faults": [faulty("SYN", 3, 2)]}, "link.faults[0] has low 3 and high 2"),
    ],
)
def test_a_link_that_makes_no_sense_is_refused(link: dict[str, Any], says: str) -> None:
    """With the place and what would be right."""
    with pytest.raises(ValueError) as refused:
        Emulator(link)
    assert says in str(refused.value)
