"""What is held against a wire: how far each measure may be off, what the host read back, and faults that let pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from verdict_story import ADDRESSES, CLIENT, MS, SERVER, START_NS, STEPS, Story, uncaptured, with_records, without

from testbed.evidence import Evidence, FaultFired, LinkCount, WireChanged
from testbed.packet import Flags, Packet, Protocol
from testbed.verdict.asked import Asking
from testbed.verdict.shortfalls import find_shortcomings
from testbed.verdict.value import Trip
from testbed.verdict.wire import Crossing, Share, Traffic

NAME = "wire.client->server"
FROM = "from client to server"
LOST = None


def crossing(number: int, at_ms: float, size: int, took_ms: float | None, by: str = "") -> Crossing:
    """One packet on the link, 3 numbers for each in the trace: sent, wire, arrived; what came out is one of its own."""
    trip = Trip("client", "server", None, 3 * number, None, 900 + number, 0, None, "delivered", by=by)
    return Crossing(trip, round(at_ms * MS), size, None if took_ms is None else round(took_ms * MS))


def shortfall(
    wire: dict[str, Any], crossings: Sequence[Crossing] = (), took_ms: Sequence[float] = (), **counts: Any
) -> str:
    """What is held against a link that was asked for this, by what its packets did."""
    story = Story({"wire": {"client->server": wire}})
    link = story.plan.link("server")
    assert link is not None
    zero = dict.fromkeys(("packets", "delivered", "lost", "by_fault", "unexplained", "by_queue"), 0)
    zero |= dict.fromkeys(("duplicates", "corrupted"), 0)
    delays = tuple(sorted(round(took * MS) for took in took_ms))
    share = Share("client", "server", 0, link.asked("client"), tuple(crossings), **(zero | counts), delays_ns=delays)
    found = find_shortcomings(story.evidence(), story.plan, Asking.of(story.plan, ()), [Traffic(share, (share,))], ())
    return found.get(NAME, "")


def alone(wire: dict[str, Any], took_ms: float, size: int = 100) -> str:
    """What is held against a link by a single packet."""
    return shortfall(wire, [crossing(1, 0, size, took_ms)])


@pytest.mark.parametrize(
    ("delivered", "says"),
    [(0, ""), (1, f"a blackhole was asked for {FROM}, and 1 packets got through")],
)
def test_blackhole(delivered: int, says: str) -> None:
    """Nothing comes out of a blackhole."""
    assert shortfall({"blackhole": True}, packets=3, delivered=delivered, lost=3 - delivered) == says
    assert shortfall({"delay": "1ms"}, packets=3, delivered=3) == ""


@pytest.mark.parametrize(
    ("wire", "enough_ms", "least"),
    [
        ({"delay": "10ms"}, 9.5, "10ms"),
        ({"delay": "10ms", "jitter": "4ms"}, 5.5, "6ms"),
        ({"rate": "8kbit"}, 99.5, "100ms"),
        ({"rate": "8kbit", "delay": "10ms"}, 109.5, "110ms"),
    ],
)
def test_too_fast(wire: dict[str, Any], enough_ms: float, least: str) -> None:
    """A packet takes its least delay and its own time at the rate, but for half a millisecond."""
    assert alone(wire, enough_ms) == ""
    short = round(enough_ms - 0.001, 3)
    assert alone(wire, short) == f"at least {least} were asked for {FROM}, and packet 3 took {short}ms"


def test_the_one_that_is_too_fast_is_named() -> None:
    """Lost packets take no time; of the others the first is named, by what came out where the wire did not see it."""
    others = [crossing(1, 0, 100, 10), crossing(2, 1, 100, LOST)]
    early = replace(crossing(3, 2, 100, 1), trip=Trip("client", "server", None, None, None, 77, 0, None, "delivered"))
    assert shortfall({"delay": "10ms"}, [*others, crossing(3, 2, 100, 10)]) == ""
    assert "and packet 77 took 1ms" in shortfall({"delay": "10ms"}, [*others, early, crossing(4, 3, 100, 0)])


def test_what_overtakes_is_not_too_fast() -> None:
    """Where packets are asked to skip the delay, one without a delay is counted and not blamed."""
    assert alone({"delay": "10ms", "reorder": "50%"}, 0) == ""


@pytest.mark.parametrize(
    ("wire", "latest_ms", "most"),
    [
        ({"delay": "20ms"}, 70, "20ms"),  # 50 ms more
        ({"delay": "400ms"}, 600, "400ms"),  # half of it more, where that is longer
        ({"delay": "20ms", "jitter": "10ms"}, 80, "30ms"),
    ],
)
def test_too_slow(wire: dict[str, Any], latest_ms: int, most: str) -> None:
    """The median may be late, on a busy machine, by so much."""
    assert shortfall(wire, took_ms=(1, 2, latest_ms, 9000, 9000)) == ""
    says = shortfall(wire, took_ms=(1, 2, latest_ms + 0.001, 9000, 9000))
    assert says == f"at most {most} were asked for {FROM}, and half of 5 packets took {latest_ms}.001ms or more"


def test_never_too_slow() -> None:
    """A queue behind a rate has no bound, and without packets there is no median."""
    assert shortfall({"rate": "8kbit"}, took_ms=(9000,)) == ""
    assert shortfall({"delay": "20ms"}, took_ms=()) == ""


def test_slow_by_clocks_that_differ() -> None:
    """What the clocks of two machines may be off by is no delay."""
    story = Story({"wire": {"client->server": {"delay": "20ms"}}})
    link = story.plan.link("server")
    assert link is not None
    share = Share("client", "server", 0, link.asked("client"), (), 1, 1, 0, 0, 0, 0, 0, 0, (75 * MS,))
    for unsure_ms, fine in ((5, True), (4, False)):
        told = replace(share, unsure_ns=unsure_ms * MS)
        found = find_shortcomings(story.evidence(), story.plan, Asking.of(story.plan, ()), [Traffic(told, (told,))], ())
        assert (found == {}) is fine


def behind(*took_ms: float | None, at_ms: Sequence[float] = (0, 0, 0), **more: Any) -> str:
    """Packets of 100 octets, 100 ms each at 8 kbit/s."""
    crossings = [crossing(n, at, 100, took) for n, (at, took) in enumerate(zip(at_ms, took_ms, strict=False), 1)]
    return shortfall({"rate": "8kbit", **more}, crossings)


def test_one_after_the_other() -> None:
    """A packet waits for those before it; half a millisecond and a tenth of its own time are forgiven."""
    assert behind(100, 189.5) == ""
    assert behind(100, 189.4) == f"8000 bit/s were asked for {FROM}, and packet 6 came out 10.6ms before its turn"
    assert behind(100, 200, 289.5) == ""
    assert "packet 9 came out 10.6ms before its turn" in behind(100, 200, 289.4)


def test_a_link_that_was_idle() -> None:
    """What comes when nothing waits is served at once, also after a delay."""
    assert behind(100, 100, at_ms=(0, 100)) == ""
    assert behind(100, 100, 100, at_ms=(0, 250, 350)) == ""
    assert behind(150, 239.5, delay="50ms") == ""
    assert "packet 6 came out 10.6ms before its turn" in behind(150, 239.4, delay="50ms")
    assert behind(150, 150, at_ms=(0, 100), delay="50ms") == ""


def test_what_takes_no_room_in_the_rate() -> None:
    """What was lost was not sent, and what a fault held back had no turn; those behind them still have."""
    assert behind(100, LOST, 189.5) == ""
    held = [crossing(1, 0, 100, 100, "fault 0: delay DATA"), crossing(2, 0, 100, 100)]
    assert shortfall({"rate": "8kbit"}, held) == ""
    assert "packet 9" in behind(LOST, 100, 189.4)


def test_overtaking_has_no_turns() -> None:
    """With jitter or reordering packets overtake: each counts for itself alone."""
    assert behind(100, 100, delay="50ms", reorder="50%") == ""
    assert behind(150, 150, delay="50ms", jitter="5ms") == ""
    assert "before its turn" in behind(150, 150, delay="50ms")


@pytest.mark.parametrize(
    ("wire", "counts", "says"),
    [
        ({"loss": "50%"}, {"packets": 19, "delivered": 19}, ""),
        ({"loss": "50%"}, {"packets": 20, "delivered": 20}, "50% lost was asked for {} and 0 of 20 packets were: less"),
        ({"loss": "50%"}, {"packets": 20, "lost": 20}, "50% lost was asked for {} and 20 of 20 packets were: more"),
        ({"delay": "1ms"}, {"packets": 20, "lost": 1}, "0% lost was asked for {} and 1 of 20 packets were: more"),
        # Neither a fault's, nor what nothing explains, nor what found no room, is chance's doing.
        ({"delay": "1ms"}, {"packets": 20, "lost": 1, "by_fault": 1}, ""),
        ({"delay": "1ms"}, {"packets": 20, "lost": 1, "unexplained": 1}, ""),
        ({"loss": "50%"}, {"packets": 25, "delivered": 19, "lost": 6, "by_fault": 4, "unexplained": 2}, ""),
        ({"loss": "50%"}, {"packets": 26, "lost": 6, "by_fault": 4, "unexplained": 2}, "{} and 0 of 20 packets were"),
        ({"loss": "50%"}, {"packets": 90, "lost": 1, "by_queue": 1}, ""),
        ({"blackhole": True}, {"packets": 90, "lost": 90}, ""),
        ({"duplicate": "50%"}, {"packets": 19, "delivered": 19}, ""),
        ({"duplicate": "50%"}, {"packets": 20, "delivered": 20}, "50% duplicated was asked for {} and 0 of 20"),
        ({"duplicate": "50%"}, {"packets": 40, "delivered": 20, "lost": 20, "by_fault": 20}, "and 0 of 20"),
        ({"duplicate": "50%", "duplicate_correlation": "50%"}, {"packets": 20, "delivered": 20}, ""),
        ({"delay": "1ms"}, {"packets": 20, "delivered": 20, "duplicates": 1}, "0% duplicated was asked for {} and 1"),
        ({"corrupt": "50%"}, {"packets": 19, "delivered": 19}, ""),
        ({"corrupt": "50%"}, {"packets": 20, "delivered": 20}, "50% corrupted was asked for {} and 0 of 20"),
        ({"corrupt": "50%", "corrupt_correlation": "50%"}, {"packets": 20, "delivered": 20}, ""),
        ({"delay": "1ms"}, {"packets": 20, "delivered": 20, "corrupted": 1}, "0% corrupted was asked for {} and 1"),
        ({"loss": "33.33333%"}, {"packets": 50, "delivered": 50}, "33.33% lost"),
    ],
)  # fmt: skip
def test_chance(wire: dict[str, Any], counts: dict[str, Any], says: str) -> None:
    """Losses, copies and flipped bits are counted among those packets that chance had its say about."""
    seen = shortfall(wire, **counts)
    assert says.format(f"{FROM},") in seen
    assert bool(seen) == bool(says)
    assert not seen or seen.endswith("than chance explains")


def reordered(overtook: int, of: int = 20, took_ms: float = 4.9, delay: str = "10ms") -> str:
    """Some packets take less than half of the delay, one was lost."""
    crossings = [crossing(n, n, 100, took_ms if n < overtook else 10) for n in range(of)]
    return shortfall({"delay": delay, "reorder": "50%"}, [*crossings, crossing(99, 99, 100, LOST)])


def test_reordering() -> None:
    """A packet that took less than half of the delay overtook; where the delay is too short to tell, none did."""
    assert reordered(0, of=19) == ""
    assert reordered(0) == f"50% reordered was asked for {FROM}, and 0 of 20 packets were: less than chance explains"
    assert reordered(20).endswith("and 20 of 20 packets were: more than chance explains")
    assert reordered(10) == ""
    assert reordered(10, took_ms=5.0).endswith("and 0 of 20 packets were: less than chance explains")
    assert "reordered" in reordered(20, took_ms=0, delay="2ms")
    assert reordered(20, took_ms=0, delay="1999us") == ""
    assert shortfall({"delay": "10ms"}, [crossing(n, n, 100, 10) for n in range(40)]) == ""


def test_reordering_of_what_jitters() -> None:
    """The least of the delays counts: 6 ms of 10 and 4 of jitter, and what takes 4 ms has not overtaken."""
    wire = {"delay": "10ms", "jitter": "4ms", "reorder": "50%"}
    for took_ms, says in ((4, "and 0 of 20 packets were: less"), (2, "and 20 of 20 packets were: more")):
        assert says in shortfall(wire, [crossing(n, n, 100, took_ms) for n in range(20)])


def test_each_stretch_is_measured() -> None:
    """A shortfall in any stretch of a direction counts; a direction of which nothing was asked has none."""
    story = Story({"wire": {"client->server": {"delay": "10ms"}}})
    link = story.plan.link("server")
    assert link is not None
    good = Share("client", "server", 0, link.asked("client"), (), 0, 0, 0, 0, 0, 0, 0, 0, ())
    bad = replace(good, phase=1, packets=1, lost=1)
    asking = Asking.of(story.plan, ())
    for shares, fine in (((good,), True), ((good, bad), False), ((bad, good), False)):
        found = find_shortcomings(story.evidence(), story.plan, asking, [Traffic(good, shares)], ())
        assert (found == {}) is fine
    unasked = replace(bad, source="server", destination="client", asked=type(bad.asked)())
    assert find_shortcomings(story.evidence(), story.plan, asking, [Traffic(unasked, (unasked,))], ()) == {}


# ---------------------------------------------------------------- what the host told


def standing(story: Story, evidence: Evidence | None = None, **changes: Any) -> str:
    """What is held against the server's link by how it stood at the end; no packet was sent."""
    evidence = evidence or story.evidence()
    counts = [replace(count, **changes) if count.host == "server" else count for count in evidence.all(LinkCount)]
    evidence = with_records(without(evidence, LinkCount), *counts)
    link = story.plan.link("server")
    assert link is not None
    share = Share("client", "server", 0, link.asked("client"), (), 0, 0, 0, 0, 0, 0, 0, 0, ())
    asking = Asking.of(story.plan, evidence.all(WireChanged))
    return find_shortcomings(evidence, story.plan, asking, [Traffic(share, (share,))], ()).get(NAME, "")


def slow(**wire: Any) -> Story:
    """A story with a delay from client to server."""
    return Story({"wire": {"client->server": {"delay": "10ms", **wire}}})


def held(**settings: Any) -> dict[str, Any]:
    """A link's settings for what comes from the client."""
    return {"settings": ({"from": ADDRESSES["client"], "port": None, "delay_ns": 10 * MS, **settings},)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        (held(), ""),
        (held(delay_ns=10_010_000), ""),  # tc rounds: a thousandth
        (held(delay_ns=10_010_011),
         "at the end the link held delay_ns 10010011 instead of 10000000 for client->server"),
        (held(loss_percent=1.0), "at the end the link held loss_percent 1.0 instead of nothing for client->server"),
        (
            held(delay_ns=0, loss_percent=2.0),
            "at the end the link held delay_ns nothing instead of 10000000, loss_percent 2.0 instead of nothing "
            "for client->server",
        ),
        (held(blackhole=True), "at the end the link held blackhole True instead of nothing for client->server"),
        (
            held(jitter_distribution="normal"),
            "at the end the link held jitter_distribution normal instead of nothing for client->server",
        ),
        (
            held(gilbert_elliott_percent=[1, 2, 3, 4]),
            "at the end the link held gilbert_elliott_percent [1.0, 2.0, 3.0, 4.0] instead of nothing "
            "for client->server",
        ),
        (
            {"settings": (*held()["settings"], {"from": "198.18.0.9", "port": None, "loss_percent": 5.0})},
            "at the end the link held loss_percent 5.0 instead of nothing for others->server",
        ),
        (
            {"settings": ({"from": ADDRESSES["client"], "port": 9, "delay_ns": 10 * MS},)},
            "at the end the link held delay_ns 10000000 instead of nothing for client->server port 9",
        ),
        ({"why": "the qdisc is gone"}, "the qdisc is gone"),
        ({"dropped_by": {"overrun": 1}}, "the link of server lost 1 packets by itself (overrun): it was too slow "
         "for this traffic"),
        ({"dropped_by": {"refused": 2}}, "the link of server lost 2 packets by itself (refused): it was too slow "
         "for this traffic"),
        ({"dropped_by": {"queue": 3, "overrun": 0}}, ""),
        ({"phase": 1}, "phase 1 of the timeline was never read back on server"),
    ],
)  # fmt: skip
def test_what_the_host_read_back(changes: dict[str, Any], says: str) -> None:
    """A link that held something else at the end, or lost packets by itself, did not do what was asked."""
    assert standing(slow(), **changes) == says


def test_settings_of_a_port() -> None:
    """A port with an impairment of its own is held to that."""
    story = slow(ports={"9": {"delay": "30ms"}})
    every, port = held()["settings"][0], {"from": ADDRESSES["client"], "port": 9, "delay_ns": 30 * MS}
    assert standing(story, settings=(every, port)) == ""
    assert standing(story, settings=(every, {**port, "delay_ns": 31 * MS})) == (
        "at the end the link held delay_ns 31000000 instead of 30000000 for client->server port 9"
    )


def test_words_that_are_the_same() -> None:
    """How a delay varies is a word: the same one is no difference, another one is."""
    story = slow(jitter="1ms", jitter_distribution="normal")
    assert standing(story, **held(jitter_ns=MS, jitter_distribution="normal")) == ""
    assert standing(story, **held(jitter_ns=MS, jitter_distribution="pareto")) == (
        "at the end the link held jitter_distribution pareto instead of normal for client->server"
    )


def test_settings_without_a_way() -> None:
    """Without a port a setting is for all ports, without a sender for those that have none of their own."""
    every = {"from": ADDRESSES["client"], "delay_ns": 10 * MS}
    assert standing(slow(), settings=(every,)) == ""
    assert standing(slow(), settings=(every, {"loss_percent": 5.0})) == (
        "at the end the link held loss_percent 5.0 instead of nothing for others->server"
    )


def test_settings_that_were_not_told() -> None:
    """Of each way that something was asked of, the host must tell what it held; of the others it need not."""
    story = slow(ports={"9": {"delay": "30ms"}, "10": {"delay": 0}})
    every, port = held()["settings"][0], {"from": ADDRESSES["client"], "port": 9, "delay_ns": 30 * MS}
    assert standing(story, settings=(every, port)) == ""
    unknown = "nothing is known of what the link held at the end for client->server"
    assert standing(story, settings=()) == unknown
    assert standing(story, settings=(port,)) == unknown
    assert standing(story, settings=(every,)) == f"{unknown} port 9"


def test_loss_models_that_differ() -> None:
    """Models of loss are the same when all of their chances are, but for rounding."""
    story = slow(gilbert_elliott={"p": "1%", "r": "10%"})
    for chances, fine in (
        ([1.0, 10.0, 100.0, 0.0], True),
        ([1.0005, 10.0, 100.0, 0.0], True),
        ([1.0, 11.0, 100.0, 0.0], False),
        ([], False),
    ):
        assert (standing(story, **held(gilbert_elliott_percent=chances)) == "") is fine


@pytest.mark.parametrize(
    ("phase", "read_back", "says"),
    [
        (1, (1,), ""),
        (2, (2,), "phase 1 of the timeline was never read back on server"),
        (2, (1,), "phase 2 of the timeline was never read back on server"),
        (2, (1, 2), "server is in phase 2 of a timeline of 2"),
        (10**12, (1, 2), f"server is in phase {10**12} of a timeline of 2"),  # takes no memory for each
        (-1, (), "server is in phase -1 of a timeline of 2"),
    ],
)
def test_phases_that_were_read_back(phase: int, read_back: tuple[int, ...], says: str) -> None:
    """Every phase that a link came to must have been read back, by that host, and be one of the plan's."""
    story = Story({"wire": {"delay": "10ms", "timeline": [{"at": "100ms", "client->server": {"delay": "50ms"}}]}})
    told = [WireChanged("server", START_NS + 100 * MS, number) for number in read_back]
    others = [WireChanged("client", START_NS + 100 * MS, number) for number in (1, 2)]
    evidence = with_records(story.evidence(), *others, *told)
    assert standing(story, evidence, phase=phase, **held(delay_ns=50 * MS)) == says


def test_settings_are_those_of_the_last_phase() -> None:
    """A link is held to the phase that it was in at the end."""
    story = Story({"wire": {"delay": "10ms", "timeline": [{"at": "100ms", "client->server": {"delay": "50ms"}}]}})
    evidence = with_records(story.evidence(), WireChanged("server", START_NS + 100 * MS, 1))
    assert standing(story, evidence, phase=1, **held()) == (
        "at the end the link held delay_ns 10000000 instead of 50000000 for client->server"
    )
    assert standing(story, phase=0, **held()) == ""


def test_link_of_which_nothing_is_known() -> None:
    """Without the link's own count, or a capture behind it, nothing proves what it did."""
    story = slow()
    evidence = story.evidence()
    assert standing(story, without(evidence, LinkCount)) == "nothing is known of the impaired link of server"
    of_client = LinkCount("client", "portable", 0, 0, 0, 0)
    assert standing(story, with_records(without(evidence, LinkCount), of_client)) == (
        "nothing is known of the impaired link of server"
    )
    assert standing(story, uncaptured(evidence, "server:link0")) == (
        "nothing was captured behind the impaired link of server"
    )


# ---------------------------------------------------------------- faults


def segment(flags: Flags, length: int = 0, *, number: int = 7, port: int = 40000, back: bool = False) -> Packet:
    """A segment on the wire, from the client unless it goes back."""
    ends = ((CLIENT, port), (SERVER, 7456))
    (source, source_port), (destination, destination_port) = reversed(ends) if back else ends
    return Packet(
        number, START_NS, source, source_port, destination, destination_port, flags=flags, payload_length=length
    )


def passed(fault: dict[str, Any], *wire: Packet, **told: Any) -> int | None:
    """Which packet on the wire a fault let pass, by its number; the fault never fired."""
    story = Story({"faults": [fault], **told})
    asking = Asking.of(story.plan, ())
    says = find_shortcomings(story.evidence(), story.plan, asking, (), wire).get("faults.0")
    if says is None:
        return None
    assert says.startswith("fault 0 never fired, and packet ")
    return int(says.split()[6])


ACK, DATA = segment(Flags.ACK), segment(Flags.ACK | Flags.PSH, 5)
SYN, SYN_ACK = segment(Flags.SYN), segment(Flags.SYN | Flags.ACK, back=True, number=8)


@pytest.mark.parametrize(
    ("fault", "wire", "number"),
    [
        ({"drop": "SYN", "from": "client"}, (SYN,), 7),
        ({"drop": "SYN", "from": "server"}, (SYN,), None),
        ({"drop": "SYN-ACK", "from": "server"}, (SYN, SYN_ACK), 8),
        ({"drop": "SYN-ACK", "from": "client"}, (SYN, SYN_ACK), None),
        ({"drop": "FIN", "from": "client"}, (SYN, ACK, DATA), None),
        ({"drop": "ANY", "from": "client"}, (replace(SYN, protocol=Protocol.UDP),), 7),
        # The count: each connection for itself.
        ({"drop": "DATA", "from": "client", "nth": 2}, (DATA,), None),
        ({"drop": "DATA", "from": "client", "nth": 2}, (DATA, replace(DATA, number=9)), 9),
        ({"drop": "DATA", "from": "client", "nth": 2}, (DATA, replace(DATA, source_port=40001, number=9)), None),
        ({"drop": "DATA", "from": "client", "nth": 2}, (DATA, replace(DATA, source=SERVER, number=9)), None),
        ({"drop": "DATA", "from": "client", "nth": 2}, (DATA, ACK, replace(DATA, number=10)), 10),
        ({"drop": "DATA", "from": "client", "nth": "2..3"}, (DATA, replace(DATA, number=9)), 9),
        ({"drop": "DATA", "from": "client", "nth": "..3"}, (DATA,), 7),
        ({"drop": "DATA", "from": "client", "nth": "all"}, (DATA,), 7),
        # Who sent no SYN sends no handshake's ACK.
        ({"drop": "HANDSHAKE-ACK", "from": "client"}, (ACK,), None),
        ({"drop": "HANDSHAKE-ACK", "from": "client"}, (SYN, replace(ACK, number=9)), 9),
        ({"drop": "HANDSHAKE-ACK", "from": "client"}, (SYN, replace(ACK, number=9, source_port=40001)), None),
        ({"drop": "HANDSHAKE-ACK", "from": "server"}, (SYN, segment(Flags.ACK, back=True)), None),
        # What only the link itself has counted.
        ({"drop": "DATA", "from": "client", "every": 1}, (DATA,), None),
        ({"drop": "DATA", "from": "client", "contains": "x"}, (DATA,), None),
        ({"drop": "DATA", "from": "client", "retransmissions": "only"}, (DATA,), None),
        ({"drop": "DATA", "from": "client", "retransmissions": "never"}, (DATA,), None),
        # What did not go between hosts of the lab did not come by the link.
        ({"drop": "SYN", "from": "client"}, (replace(SYN, destination="198.18.0.99"),), None),
        ({"drop": "SYN", "from": "client"}, (replace(SYN, source="198.18.0.99"),), None),
    ],
)
def test_packet_that_a_fault_let_pass(fault: dict[str, Any], wire: tuple[Packet, ...], number: int | None) -> None:
    """A fault that never fired, and its packet on the wire: by class, sender and count."""
    assert passed(fault, *wire) == number


def test_what_a_fault_let_pass_is_told() -> None:
    """The reason names fault, packet, class and sender; a fault that fired let nothing pass."""
    faults = [{"drop": "RST", "from": "client"}, {"drop": "SYN", "from": "client"}]
    story = Story({"faults": faults})
    asking = Asking.of(story.plan, ())
    evidence = story.evidence()
    says = {"faults.1": "fault 1 never fired, and packet 7 on wire is a SYN from client"}
    assert find_shortcomings(evidence, story.plan, asking, (), (SYN,)) == says
    for rule, left in ((0, says), (1, {})):
        fired = with_records(evidence, FaultFired("server", START_NS, rule, "drop", ""))
        assert find_shortcomings(fired, story.plan, asking, (), (SYN,)) == left


def test_what_a_blackhole_took_first() -> None:
    """What a blackhole takes does not come as far as the faults, nor does it count for them."""
    fault = {"drop": "SYN", "from": "client"}
    assert passed(fault, SYN, wire={"client->server": {"blackhole": True}}) is None
    assert passed(fault, SYN, wire={"server->client": {"blackhole": True}}) == 7
    ports: dict[str, Any] = {"ports": {"7456": {"blackhole": True}}}
    assert passed(fault, SYN, wire=ports) is None
    assert passed(fault, SYN, replace(SYN, number=9, destination_port=80), wire=ports) == 9
    two = {"drop": "SYN", "from": "client", "nth": 2}
    dark = {"timeline": [{"at": "1s", "blackhole": True}]}
    assert passed(two, SYN, replace(SYN, number=9), wire=dark) == 9


def test_fault_of_replicas() -> None:
    """A fault about a role is about each of its hosts; one about a host is about it alone."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    second = replace(SYN, source=ADDRESSES["client-2"])
    assert passed({"drop": "SYN", "from": "client"}, second, hosts=hosts) == 7
    assert passed({"drop": "SYN", "from": "client-2"}, second, hosts=hosts) == 7
    assert passed({"drop": "SYN", "from": "client-2"}, SYN, hosts=hosts) is None
