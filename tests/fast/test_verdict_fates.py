"""What became of each packet: seen where, lost why, changed by what, and which the ledger speaks of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import (
    CLIENT,
    HOLA,
    MS,
    SERVER,
    START_NS,
    US,
    Story,
    find,
    ip_frame,
    transport,
    uncaptured,
    with_records,
    without,
)

from testbed.evidence import Evidence, FaultFired, LinkCount, Made, WireChanged
from testbed.packet import Packet, Protocol
from testbed.pcap.frame import Capture, Direction, Frame, Interface
from testbed.verdict.asked import addresses
from testbed.verdict.ledger import digest, endpoint
from testbed.verdict.merge import merge
from testbed.verdict.trips import Fates, find_fates
from testbed.verdict.value import EITHER, FULL, NEVER_CAPTURED, Change, FaultHit, Trip
from testbed.verdict.view import look
from testbed.verdict.ways import Stage, gather, is_delivery

PLACES = {"client": Direction.OUT, "wire": Direction.IN, "server": Direction.IN, "server:link0": Direction.IN}
LINK = "server:link0"


def fates(story: Story, evidence: Evidence | None = None) -> Fates:
    """The fates of a story's packets."""
    evidence = evidence or story.evidence()
    view = look(evidence)
    return find_fates(evidence, story.plan, view.trace, view.packets)


def datagram(payload: bytes = b"x", port: int = 40000, to_port: int = 7456) -> bytes:
    """A datagram from the client to the server."""
    body = port.to_bytes(2) + to_port.to_bytes(2) + (8 + len(payload)).to_bytes(2) + bytes(2) + payload
    return ip_frame(17, transport(17, body, 6, CLIENT, SERVER), CLIENT, SERVER)


def see(story: Story, frame: bytes, **at_us: int) -> None:
    """The frame as vantage points see it: client, wire, server, and out of the link, each at its time."""
    for place, time_us in at_us.items():
        name = LINK if place == "link" else place
        story.see(name, time_us * US, frame, PLACES[name])


def impaired(**wire: Any) -> Story:
    """A link from client to server that was asked for this."""
    faults = wire.pop("faults", [])
    return Story({"wire": {"client->server": wire} if wire else {}, "faults": faults})


DROP = [{"drop": "ANY", "from": "client"}]


def ended(trips: tuple[Trip, ...]) -> list[tuple[str, str]]:
    """How each trip ended."""
    return [(trip.fate, trip.cause) for trip in trips]


# ---------------------------------------------------------------- where a packet was seen


@pytest.mark.parametrize(
    ("missing", "fate", "cause"),
    [
        ((), "delivered", ""),
        (("client",), "delivered", ""),
        (("wire",), "delivered", ""),
        (("client", "wire"), "delivered", ""),
        (("server",), "delivered", ""),
        (("link",), "lost", "chance"),
        (("server", "link"), "lost", NEVER_CAPTURED),
    ],
)
def test_places(missing: tuple[str, ...], fate: str, cause: str) -> None:
    """A packet is followed from wherever it was first seen; what did not come as far as the link was not lost in it."""
    story = impaired(loss="50%")
    at = {"client": 0, "wire": 10, "server": 20, "link": 30}
    see(story, datagram(), **{place: time for place, time in at.items() if place not in missing})
    see(story, datagram(b"later"), client=1000, wire=1010, server=1020, link=1030)
    trip = fates(story).trips[0]
    assert (trip.fate, trip.cause) == (fate, cause)
    seen = [trip.sent, trip.wire, trip.arrived, trip.delivered]
    assert [number is None for number in seen] == [place in missing for place in at]
    if missing != ("client", "wire", "server"):
        first = next(time for place, time in at.items() if place not in missing)
        assert trip.sent_ns == START_NS + first * US
    assert trip.ended_ns == (None if fate == "lost" else START_NS + 30 * US)


def test_only_seen_coming_out() -> None:
    """What was seen behind a link alone has no time of being sent."""
    story = impaired(delay="1ms")
    see(story, datagram(), link=30)
    (trip,) = fates(story).trips
    assert (trip.sent_ns, trip.ended_ns, trip.fate, trip.change) == (None, START_NS + 30 * US, "delivered", Change.NONE)


def test_without_a_link() -> None:
    """Where nothing is impaired, arrival is delivery; where nobody looked, nothing speaks against it."""
    story = Story({})
    see(story, datagram(), client=0, wire=10, server=20)
    see(story, datagram(b"lost"), client=1000, wire=1010)
    told = fates(story).trips
    assert ended(told) == [("delivered", ""), ("lost", NEVER_CAPTURED)]
    assert [trip.ended_ns for trip in told] == [START_NS + 20 * US, None]
    assert ended(fates(story, uncaptured(story.evidence(), "server")).trips) == [("delivered", "")] * 2


def test_order_of_trips() -> None:
    """Trips are told in the order of the trace; a copy stands where it came out."""
    story = impaired(duplicate="50%")
    for number in range(3):
        see(story, datagram(b"%d" % number), client=number * 100, wire=number * 100 + 10, server=number * 100 + 20,
            link=1000 - number)  # fmt: skip
    story.see(LINK, 5000 * US, datagram(b"0"), Direction.IN)
    told = fates(story).trips
    assert [trip.sent_ns for trip in told] == [START_NS + number * 100 * US for number in (0, 1, 2, 0)]
    assert [trip.fate for trip in told] == ["delivered"] * 3 + ["duplicate"]
    assert (told[3].change, told[3].by) == (Change.DUPLICATED, "chance")


def test_hosts_alone_have_fates() -> None:
    """What comes from, or goes to, no host of the lab is not followed."""
    story = Story({})
    story.see("client", 0, ip_frame(17, bytes(8), CLIENT, "198.18.0.99"), Direction.OUT)
    story.see("client", 0, ip_frame(17, bytes(8), "198.18.0.99", CLIENT), Direction.IN)
    assert fates(story).trips == ()


@pytest.mark.parametrize(
    ("vantage", "direction", "engine", "stage"),
    [
        ("client", Direction.OUT, "portable", Stage.SENT),
        ("client", Direction.UNKNOWN, "portable", Stage.SENT),
        ("client", Direction.IN, "portable", None),
        ("wire", Direction.OUT, "portable", Stage.WIRE),
        ("server", Direction.IN, "portable", Stage.ARRIVED),
        ("server", Direction.UNKNOWN, "portable", Stage.ARRIVED),
        ("server", Direction.OUT, "portable", None),
        (LINK, Direction.IN, "portable", Stage.DELIVERED),
        (LINK, Direction.OUT, "portable", None),
        (LINK, Direction.OUT, "netem", Stage.DELIVERED),
        (LINK, Direction.IN, "netem", Stage.DELIVERED),
        ("client:link0", Direction.IN, "portable", None),
    ],
)
def test_stages(vantage: str, direction: Direction, engine: str, stage: Stage | None) -> None:
    """Where on its way a frame from client to server is, by vantage point and direction."""
    story = Story({"wire": {"delay": "1ms"}})
    story.see(vantage, 0, datagram(), direction)
    view = look(story.evidence())
    found = gather(view.packets, view.trace, addresses(story.evidence()), engine)
    seen = [place for group in found.values() for way in group.ways for place in way.seen]
    late = [Stage.DELIVERED for group in found.values() for _ in group.deliveries]
    assert [*seen, *late] == ([] if stage is None else [stage])
    assert is_delivery(direction, engine) is (direction is not Direction.OUT or engine == "netem")


def test_what_tells_packets_apart() -> None:
    """Another window, port, payload or identification is another packet; the same in all is a copy."""
    story = Story({})
    frames = [datagram(), datagram(b"y"), datagram(port=9), datagram(to_port=9)]
    for number, frame in enumerate([*frames, datagram()]):
        see(story, frame, client=100 * number)
    view = look(story.evidence())
    found = gather(view.packets, view.trace, addresses(story.evidence()), "portable")
    assert sorted(len(group.ways) for group in found.values()) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("protocol", "icmp", "followed"),
    [
        *((Protocol.ICMPV6, (kind, 0), False) for kind in range(133, 138)),
        (Protocol.ICMPV6, (132, 0), True),
        (Protocol.ICMPV6, (138, 0), True),
        (Protocol.ICMPV6, (1, 134), True),  # a code is no type
        (Protocol.ICMPV6, None, True),  # cut before its type
        (Protocol.ICMP, (134, 0), True),
        (Protocol.UDP, None, True),
    ],
)
def test_neighbour_discovery_is_not_followed(protocol: int, icmp: tuple[int, int] | None, followed: bool) -> None:
    """The five messages of RFC 4861 go around the links: nothing of them is lost or delivered there."""
    packet = Packet(1, START_NS, "fd00::2", 0, "fd00::3", 0, protocol=protocol, icmp=icmp)
    trace = Capture((Interface("wire"),), (Frame(START_NS, b"", 0),))
    found = gather([packet], trace, {"fd00::2": "client", "fd00::3": "server"}, "portable")
    assert [group.destination for group in found.values()] == (["server"] if followed else [])


# ---------------------------------------------------------------- which of several copies


@pytest.mark.parametrize(("early_us", "trips"), [(1_000_000, 1), (1_000_001, 2)])
def test_hosts_on_machines_of_their_own(early_us: int, trips: int) -> None:
    """By another machine's clock a packet may have come in up to a second before it was sent."""
    story = Story({})
    see(story, datagram(), client=0, wire=10, server=-early_us)
    assert len(fates(story).trips) == trips


def test_one_machine_comes_first() -> None:
    """A copy that fits within a millisecond is the one that came in, though a later one would fit within a second."""
    story = Story({})
    see(story, datagram(), client=0, wire=10, server=20)
    see(story, datagram(), client=500_000, wire=500_010)
    assert ended(fates(story).trips) == [("delivered", ""), ("lost", NEVER_CAPTURED)]


def test_copy_that_its_sender_did_not_capture() -> None:
    """What the wire saw first and the sender's capture missed keeps its place before the copy that both have."""
    story = Story({})
    see(story, datagram(), wire=10, server=20)
    see(story, datagram(), client=5000, wire=5010, server=5020)
    told = fates(story).trips
    assert [(trip.sent, trip.wire, trip.arrived) for trip in told] == [(None, 1, 2), (3, 4, 5)]


def test_out_at_the_moment_it_came_in() -> None:
    """A link that did not delay at all let its packet out, whatever was asked; of two copies, the one of that time."""
    story = impaired(delay="10ms")
    see(story, datagram(), client=0, wire=10, server=20, link=20)
    (trip,) = fates(story).trips
    assert (trip.fate, trip.ended_ns) == ("delivered", START_NS + 20 * US)
    story = impaired(loss="50%")
    for at in (0, 100):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20)
    see(story, datagram(), link=120)
    see(story, datagram(b"later"), client=900)
    assert ended(fates(story).trips)[:2] == [("lost", "chance"), ("delivered", "")]


@pytest.mark.parametrize("again_us", [130, 200])
def test_duplicate_of_the_most_recent(again_us: int) -> None:
    """A delivery too many repeats the copy that came out last before it, also at the same time."""
    story = impaired(duplicate="50%")
    for at in (0, 100):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20, link=at + 30)
    see(story, datagram(), link=again_us)
    told = fates(story).trips
    assert [(trip.fate, trip.sent_ns) for trip in told] == [
        ("delivered", START_NS),
        ("delivered", START_NS + 100 * US),
        ("duplicate", START_NS + 100 * US),
    ]


def test_duplicate_of_what_came_out() -> None:
    """A copy that a fault took is not the one that came out twice, though it came in last."""
    story = Story({"faults": DROP, "wire": {"client->server": {"duplicate": "50%"}}})
    for at in (0, 100):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20)
    for at in (40, 200):
        see(story, datagram(), link=at)
    told = fates(story, with_records(story.evidence(), entry(at_us=125))).trips
    assert [(trip.fate, trip.sent_ns) for trip in told] == [
        ("delivered", START_NS),
        ("lost", START_NS + 100 * US),
        ("duplicate", START_NS),
    ]


def test_out_before_anything_came_in() -> None:
    """What came out first of all repeats nothing: it is a packet that nobody saw go in."""
    story = impaired(duplicate="50%")
    see(story, datagram(), link=-5000)
    see(story, datagram(), client=0, wire=10, server=20, link=30)
    told = fates(story).trips
    assert [(trip.fate, trip.change, trip.sent_ns) for trip in told] == [
        ("delivered", Change.NONE, None),
        ("delivered", Change.NONE, START_NS),
    ]


# ---------------------------------------------------------------- why a packet was lost


def dropped_by(evidence: Evidence, host: str, **reasons: int) -> Evidence:
    """The link of a host counted losses."""
    counts = [replace(one, dropped_by=reasons) if one.host == host else one for one in evidence.all(LinkCount)]
    return with_records(without(evidence, LinkCount), *counts)


@pytest.mark.parametrize(
    ("wire", "host", "reasons", "cause"),
    [
        ({"loss": "1%"}, "server", {}, "chance"),
        ({"gilbert_elliott": {"p": "1%", "r": "10%"}}, "server", {}, "chance"),
        ({"loss_states": {"p13": "1%", "p31": "10%"}}, "server", {}, "chance"),
        ({"duplicate": "1%"}, "server", {}, NEVER_CAPTURED),
        ({"rate": "1mbit"}, "server", {"queue": 1}, FULL),
        ({"delay": "1ms", "limit": 5}, "server", {"queue": 1}, FULL),
        ({"delay": "1ms"}, "server", {"queue": 1}, NEVER_CAPTURED),  # its queue has room for all
        ({"rate": "1mbit"}, "server", {"queue": 0, "overrun": 3}, NEVER_CAPTURED),
        ({"rate": "1mbit"}, "client", {"queue": 1}, NEVER_CAPTURED),
        ({"rate": "1mbit", "loss": "1%"}, "server", {"queue": 1}, EITHER),
        ({"blackhole": True}, "server", {"queue": 1}, "blackhole"),
    ],
)
def test_causes(wire: dict[str, Any], host: str, reasons: dict[str, int], cause: str) -> None:
    """What is lost in a link was lost by what was asked of it, where that can be."""
    story = Story({"wire": {"client->server": wire, "server->client": {"delay": "1ms"}}})
    see(story, datagram(), client=0, wire=10, server=20)
    see(story, datagram(b"later"), client=900_000, wire=900_010, server=900_020, link=902_000)
    assert ended(fates(story, dropped_by(story.evidence(), host, **reasons)).trips)[0] == ("lost", cause)


@pytest.mark.parametrize(("last_us", "cause"), [(10_020, "chance"), (10_019, NEVER_CAPTURED)])
def test_still_under_way(last_us: int, cause: str) -> None:
    """What may still have been in the link when the captures ended was not lost by chance."""
    story = impaired(delay="10ms", loss="50%")
    see(story, datagram(), client=0, wire=10, server=20)
    see(story, datagram(b"later"), client=last_us)
    assert ended(fates(story).trips)[0] == ("lost", cause)


def test_ports_and_phases_of_a_loss() -> None:
    """The cause is what was asked of that packet: by its port, and by the phase in which it came in."""
    story = Story(
        {
            "wire": {
                "client->server": {"loss": "1%", "ports": {"9": {"blackhole": True}, "10": {"delay": "1ms"}}},
                "timeline": [{"at": "1s", "client->server": {"loss": "0%", "delay": "1ms"}}],
            }
        }
    )
    for at, port in ((0, 80), (1, 9), (2, 10), (2_000_000, 80)):
        see(story, datagram(to_port=port), client=at, wire=at + 10, server=at + 20)
    see(story, datagram(b"later"), client=5_000_000)
    told = fates(story, with_records(story.evidence(), WireChanged("server", START_NS + 1_000 * MS, 1)))
    assert [cause for _, cause in ended(told.trips)][:4] == ["chance", "blackhole", NEVER_CAPTURED, NEVER_CAPTURED]


@pytest.mark.parametrize(
    ("wire", "changed", "sent_us"),
    [
        ({"delay": "900us", "loss": "50%"}, False, 1000),  # the most recent that can be
        ({"delay": "2ms", "loss": "50%"}, False, 0),  # which the delay says
        ({"delay": "2ms", "jitter": "500us", "loss": "50%"}, False, 1000),  # the least that it may be
        ({"delay": "2ms", "loss": "50%", "reorder": "50%"}, False, 1000),  # some skip it
        ({"delay": "2ms", "loss": "50%", "ports": {"9": {"delay": 0, "loss": "1%"}}}, False, 1000),
        ({"delay": "2ms", "loss": "50%", "ports": {"9": {"delay": "3ms"}}}, False, 0),
        ({"delay": "2ms", "loss": "50%"}, True, 1000),  # another phase may have held
    ],
)
def test_which_copy_came_out(wire: dict[str, Any], changed: bool, sent_us: int) -> None:
    """Of two equal packets the one came out that the least delay of the link allows."""
    told = {"wire": {"client->server": wire, "timeline": [{"at": "9s", "client->server": {"delay": "8ms"}}]}}
    story = Story(told)
    for at in (0, 1000):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20)
    see(story, datagram(), link=2015)
    evidence = story.evidence()
    if changed:
        evidence = with_records(evidence, WireChanged("server", START_NS + 9_000 * MS, 1))
    else:
        story = Story({"wire": {"client->server": wire}})
    trips = find_fates(evidence, story.plan, look(evidence).trace, look(evidence).packets).trips
    assert [trip.sent_ns for trip in trips if trip.fate == "delivered"] == [START_NS + sent_us * US]


# ---------------------------------------------------------------- the ledger


def entry(action: str = "drop", *, came: bytes = b"", at_us: int = 25, passed: bool = False, **more: Any) -> FaultFired:
    """Fault 0 met a datagram at the server's link."""
    made = tuple(Made(to, digest(frame), "") for to, frame in more.pop("made", ()))
    return FaultFired(
        "server", START_NS + at_us * US, more.pop("rule", 0), action, "says", digest(came or datagram()), passed, made
    )


def met(*records: FaultFired, faults: Any = DROP, out: tuple[tuple[int, bytes], ...] = (), wire: Any = None) -> Fates:
    """A datagram comes to the link at 20 us and meets these; frames come out."""
    story = Story({"faults": faults, "wire": wire or {}})
    see(story, datagram(), client=0, wire=10, server=20)
    for at_us, frame in out:
        see(story, frame, link=at_us)
    see(story, datagram(b"later"), client=90_000)
    return fates(story, with_records(story.evidence(), *records))


def test_dropped() -> None:
    """What a fault took is lost by it, whatever else was asked; the entry names the packet as the wire saw it."""
    told = met(entry(), wire={"client->server": {"blackhole": True}})
    assert ended(told.trips)[0] == ("lost", "fault 0: drop ANY")
    assert told.faults == (FaultHit(START_NS + 25 * US, "server", 0, "fault 0: drop ANY", 2),)


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (entry(at_us=-981), NEVER_CAPTURED),  # the packet came in more than a millisecond after
        (entry(at_us=-980), "fault 0: drop ANY"),
        (entry(came=datagram(b"other")), NEVER_CAPTURED),
        (replace(entry(), host="client"), NEVER_CAPTURED),
        (entry(passed=True), NEVER_CAPTURED),
        (entry(rule=1), "fault 1: drop says"),
        (entry(rule=7), "fault 7: drop says"),
        (entry(rule=-1), "fault -1: drop says"),
    ],
)
def test_entries_and_their_packets(record: FaultFired, cause: str) -> None:
    """An entry speaks of a packet by host, by its bytes, and of what had come in by then."""
    assert ended(met(record).trips)[0] == ("lost", cause)


def test_entry_without_a_packet() -> None:
    """An entry whose packet no capture has is told all the same."""
    told = met(entry(came=datagram(b"other")))
    assert [(hit.packet, hit.made) for hit in told.faults] == [(None, ())]


@pytest.mark.parametrize(
    ("action", "change", "fate"),
    [("rewrite", Change.REWRITTEN, "delivered"), ("corrupt", Change.CORRUPTED, "delivered")],
)
def test_altered(action: str, change: Change, fate: str) -> None:
    """What came out in place of a packet is that packet, changed."""
    out = datagram(b"z")
    told = met(entry(action, made=[("receiver", out)]), out=((40, out),))
    trip = told.trips[0]
    assert (trip.fate, trip.change, trip.by) == (fate, change, f"fault 0: {action} ANY")
    assert (trip.sent, trip.wire, trip.arrived, trip.delivered) == (1, 2, 3, 4)
    assert (told.faults[0].packet, told.faults[0].made) == (2, (4,))


@pytest.mark.parametrize(
    ("action", "to", "cause"),
    [
        ("rewrite", "receiver", "chance"),  # what went on in its place was lost by something else
        ("corrupt", "receiver", "chance"),
        ("rewrite", "sender", "fault 0: rewrite ANY"),
        ("reset", "receiver", "fault 0: reset ANY"),
    ],
)
def test_altered_and_lost(action: str, to: str, cause: str) -> None:
    """What a fault put in a packet's place may be lost; the fault did not lose it."""
    told = met(entry(action, made=[(to, datagram(b"z"))]), wire={"client->server": {"loss": "50%"}})
    assert ended(told.trips)[0] == ("lost", cause)


def test_forged_beside_a_packet() -> None:
    """What a fault made beside a packet is a trip of its own, and the packet goes on or does not."""
    out = datagram(b"z")
    for passed, fate in ((True, "delivered"), (False, "lost")):
        record = entry("reset", passed=passed, made=[("receiver", out)])
        told = met(record, out=((30, datagram()), (40, out)) if passed else ((40, out),))
        first, forged = told.trips[:2]
        assert len(told.trips) == 3  # the one sent later is the third
        assert (first.fate, first.change) == (fate, Change.NONE)
        assert (forged.change, forged.by, forged.sent, forged.sent_ns) == (
            Change.FORGED,
            "fault 0: reset ANY",
            None,
            None,
        )
        assert (told.faults[0].packet, told.faults[0].made) == (2, (forged.delivered,))


@pytest.mark.parametrize(("out_us", "known"), [(-975, True), (-976, False), (40, True)])
def test_when_a_made_packet_came_out(out_us: int, known: bool) -> None:
    """What was made comes out after its fault, but for a millisecond between two captures."""
    out = datagram(b"z")
    record = entry("reset", passed=True, made=[("receiver", out)])
    told = met(record, out=((30, datagram()), (out_us, out)))
    assert bool(told.faults[0].made) is known


def test_two_made_alike() -> None:
    """Of two that are alike each comes out once: the first for the first fault."""
    out = datagram(b"z")
    records = [entry("reset", passed=True, at_us=at, made=[("receiver", out)]) for at in (25, 35)]
    told = met(*reversed(records), out=((30, datagram()), (40, out), (50, out)))
    assert [hit.made for hit in told.faults] == [(6,), (5,)]


def test_answers() -> None:
    """What a link answers in the receiver's name is on the wire, forged, the first after the fault."""
    story = Story({"faults": [{"icmp": "ANY", "from": "client", "unreachable": "host"}]})
    see(story, datagram(), client=0, wire=10, server=20)
    body = transport(
        17, (7456).to_bytes(2) + (40000).to_bytes(2) + (9).to_bytes(2) + bytes(2) + b"!", 6, SERVER, CLIENT
    )
    answer = ip_frame(17, body, SERVER, CLIENT)
    for at_us in (-5000, 30, 5000):
        story.see("server", at_us * US, answer, Direction.OUT)
        story.see("wire", (at_us + 10) * US, answer, Direction.IN)
    record = entry("icmp", made=[("sender", answer)])
    told = fates(story, with_records(story.evidence(), record))
    forged = [trip for trip in told.trips if trip.change is Change.FORGED]
    assert [(trip.source, trip.sent_ns, trip.by) for trip in forged] == [
        ("server", START_NS + 30 * US, "fault 0: icmp ANY")
    ]
    assert told.faults[0].made == (forged[0].wire,)
    assert len(told.trips) == 4


@pytest.mark.parametrize(("at_us", "forged"), [(-975, True), (-976, False)])
def test_when_an_answer_went_out(at_us: int, forged: bool) -> None:
    """An answer goes out after its fault, but for a millisecond between two captures."""
    story = Story({"faults": [{"icmp": "ANY", "from": "client", "unreachable": "host"}]})
    see(story, datagram(), client=0, wire=10, server=20)
    answer = ip_frame(1, b"answer", SERVER, CLIENT)
    story.see("server", at_us * US, answer, Direction.OUT)
    told = fates(story, with_records(story.evidence(), entry("icmp", made=[("sender", answer)])))
    assert [trip.change is Change.FORGED for trip in told.trips if trip.source == "server"] == [forged]


def test_copies_made() -> None:
    """A copy that a fault made is a duplicate by it; further ones are chance's."""
    record = entry("duplicate", passed=True, made=[("receiver", datagram())])
    told = met(record, out=((30, datagram()), (31, datagram()), (32, datagram())))
    assert [(trip.fate, trip.by) for trip in told.trips[:3]] == [
        ("delivered", ""),
        ("duplicate", "fault 0: duplicate ANY"),
        ("duplicate", "chance"),
    ]
    assert told.faults[0].made == (5,)


def test_copies_made_by_two_faults() -> None:
    """Each fault's copy is its own: the first that came out is that of the first."""
    story = Story({"faults": [{"duplicate": "ANY", "from": "client"}] * 2})
    for at in (0, 100):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20, link=at + 30)
        see(story, datagram(), link=at + 31)
    records = [
        entry("duplicate", passed=True, rule=rule, at_us=25 + 100 * rule, made=[("receiver", datagram())])
        for rule in (0, 1)
    ]
    told = fates(story, with_records(story.evidence(), *records))
    assert [trip.by for trip in told.trips if trip.fate == "duplicate"] == [
        "fault 0: duplicate ANY",
        "fault 1: duplicate ANY",
    ]
    assert [hit.made for hit in told.faults] == [(5,), (10,)]


def test_held_back() -> None:
    """What a fault only held back is delivered, and delayed by it."""
    told = met(entry("delay", passed=True), out=((900_000, datagram()),))
    assert (told.trips[0].fate, told.trips[0].change, told.trips[0].by) == (
        "delivered",
        Change.DELAYED,
        "fault 0: delay ANY",
    )


def test_one_fault_for_each_packet() -> None:
    """Two equal packets and two entries: each was met once, the one that came last first by the first entry."""
    story = Story({"faults": DROP})
    for at in (0, 50):
        see(story, datagram(), client=at, wire=at + 10, server=at + 20)
    told = fates(story, with_records(story.evidence(), entry(at_us=75), entry(at_us=80)))
    assert ended(told.trips) == [("lost", "fault 0: drop ANY")] * 2
    assert [hit.packet for hit in told.faults] == [5, 2]


@pytest.mark.parametrize(("address", "shown"), [("198.18.0.2", "198.18.0.2:80"), ("fd00::2", "[fd00::2]:80")])
def test_ends(address: str, shown: str) -> None:
    """An end as the kernel prints it."""
    assert endpoint(address, 80) == shown


def test_digest() -> None:
    """A packet is named by its own bytes: neither the Ethernet header nor what pads the frame is part of it."""
    frame = datagram()
    assert digest(frame) == digest(b"\x01" * 12 + frame[12:] + bytes(9))
    assert digest(frame) != digest(frame[:-1] + b"y")
    six = bytes(12) + b"\x86\xdd" + b"\x60\0\0\0" + (3).to_bytes(2) + bytes(34) + b"abc"
    assert digest(six) == digest(six + b"pad")
    assert digest(six) != digest(six[:-1])
    assert len(digest(frame)) == 16


# ---------------------------------------------------------------- flipped bits


def flipped(*bits: int, at_us: int = 30, came: bytes | None = None, fault: bool = False) -> Fates:
    """A datagram comes in, and out with these bits changed; bits are counted from the start of the frame."""
    story = Story({"wire": {"client->server": {"corrupt": "50%"}}, "faults": DROP if fault else []})
    frame = came or datagram(HOLA)
    see(story, frame, client=0, wire=10, server=20)
    out = bytearray(frame)
    for bit in bits:
        out[bit // 8] ^= 1 << bit % 8
    story.see(LINK, 22 * US, frame, Direction.OUT)
    story.see(LINK, at_us * US, bytes(out), Direction.IN)
    records = [entry(came=frame)] if fault else []
    return fates(story, with_records(story.evidence(), *records))


ADDRESS, PORT, PAYLOAD = 8 * 28, 8 * 35, 8 * 45  # of the source's address, the source port, the payload


@pytest.mark.parametrize("bit", [8 * 14 + 1, ADDRESS, PORT, PAYLOAD])
def test_one_bit(bit: int) -> None:
    """Wherever the bit stands, the packet is one that came out corrupted, and nothing beside it did."""
    (trip,) = flipped(bit).trips
    assert (trip.fate, trip.change, trip.by, trip.delivered) == ("delivered", Change.CORRUPTED, "chance", 5)
    assert trip.ended_ns == START_NS + 30 * US


def test_more_than_one_bit() -> None:
    """What differs by two bits in its addresses is another packet."""
    assert [trip.fate for trip in flipped(ADDRESS, ADDRESS + 1).trips] == ["lost"]


def test_no_bit() -> None:
    """What came out as it went in was not changed, and bytes of the Ethernet header do not count."""
    for told in (flipped(), flipped(3)):
        assert [(trip.fate, trip.change) for trip in told.trips] == [("delivered", Change.NONE)]


def test_flipped_before_it_came() -> None:
    """What came out more than a millisecond before a packet came in is not that packet."""
    assert [trip.fate for trip in flipped(ADDRESS, at_us=-980).trips] == ["delivered"]
    assert [trip.fate for trip in flipped(ADDRESS, at_us=-981).trips] == ["lost"]


def test_flipped_and_taken() -> None:
    """A packet that a fault took did not come out with a bit flipped."""
    assert flipped(ADDRESS, fault=True).trips[0].cause == "fault 0: drop ANY"


def test_which_of_two_was_flipped() -> None:
    """Of two that differ by one bit from what came out, it is the one that came last; the other is still lost."""
    story = Story({"wire": {"client->server": {"corrupt": "50%", "loss": "50%"}}})
    frame = datagram(HOLA)
    for at in (0, 100):
        see(story, frame, client=at, wire=at + 10, server=at + 20)
    out = bytearray(frame)
    out[ADDRESS // 8] ^= 1
    story.see(LINK, 130 * US, bytes(out), Direction.IN)
    see(story, datagram(b"later"), client=90_000)
    told = fates(story).trips
    assert [trip.fate for trip in told[:2]] == ["lost", "delivered"]
    out[ADDRESS // 8 + 1] ^= 1  # another one, of two bits
    story.see(LINK, 140 * US, bytes(out), Direction.IN)
    assert [trip.fate for trip in fates(story).trips[:2]] == ["lost", "delivered"]


def bare(payload: bytes) -> bytes:
    """A datagram without a checksum: two of them differ by their payloads alone."""
    head = (40000).to_bytes(2) + (7456).to_bytes(2) + (8 + len(payload)).to_bytes(2) + bytes(2)
    return ip_frame(17, head + payload, CLIENT, SERVER)


def changes(story: Story) -> list[tuple[str, Change]]:
    """What became of each packet, and what it was changed to."""
    return [(trip.fate, trip.change) for trip in fates(story).trips]


LOST, WHOLE, FLIPPED = ("lost", Change.NONE), ("delivered", Change.NONE), ("delivered", Change.CORRUPTED)


def test_a_packet_that_looks_like_a_flipped_one() -> None:
    """A packet that came in and out as it was is no flipped copy of another, however alike they are."""
    story = impaired(corrupt="50%", loss="50%")
    see(story, bare(b"0"), client=0, wire=10, server=20)
    see(story, bare(b"1"), client=100, wire=110, server=120, link=130)
    story.see(LINK, 121 * US, bare(b"1"), Direction.OUT)
    assert changes(story) == [LOST, WHOLE]


def test_bit_in_the_payload_of_a_segment() -> None:
    """A segment is still known by its header; it came out corrupted, and it is compared with itself as it came in."""
    story = impaired(corrupt="50%")
    story.tcp(0, "client", "P.", 1, 1, HOLA)
    sent, *_, out = story.frames["client"] + story.frames[LINK]
    see(story, datagram(b"another, between the two"), wire=15)
    assert changes(story) == [WHOLE, LOST]
    story.frames[LINK][-1] = replace(out, data=sent.data[:-1] + bytes([sent.data[-1] ^ 1]))
    assert changes(story) == [FLIPPED, LOST]


def test_flipped_beside_another() -> None:
    """A packet is found by the length that it had itself, whatever stands before it in the trace."""
    story = impaired(corrupt="50%", loss="50%")
    see(story, bare(b"0"), client=0, wire=10, server=20)
    see(story, bare(b"another"), wire=15)
    see(story, bare(b"1"), link=30)
    assert changes(story) == [FLIPPED, LOST]


def test_flipped_in_order_of_arrival() -> None:
    """Of two that fit, the one that came in last was flipped, though it was sent first."""
    story = impaired(corrupt="50%", loss="50%")
    see(story, bare(b"0"), client=0, wire=10, server=50_000)
    see(story, bare(b"3"), client=1000, wire=1010, server=2000)
    see(story, bare(b"1"), link=51_000)
    assert changes(story) == [FLIPPED, LOST]


def test_two_flipped_out_of_turn() -> None:
    """The one that fits was flipped, not one that came later; that one may still come out flipped itself."""
    story = impaired(corrupt="50%", loss="50%")
    for number, payload in enumerate((b"0", b"?")):
        see(story, bare(payload), client=100 * number, wire=100 * number + 10, server=100 * number + 20)
    see(story, bare(b"1"), link=130)
    assert changes(story) == [FLIPPED, LOST]
    see(story, bare(b">"), link=140)
    assert changes(story) == [FLIPPED, FLIPPED]


def test_corrupted_is_told_in_the_trace() -> None:
    """A packet with a flipped bit counts for what is expected of corruption."""
    story = Story({"wire": {"client->server": {"corrupt": "50%"}}, "expect": {"corrupted": {"client->server": 1}}})
    frame = datagram(HOLA)
    see(story, frame, client=0, wire=10, server=20, link=30)
    assert find(story.judge(), "corrupted.client->server").seen == "0"
    assert merge(story.evidence()).frames[0].data == frame
