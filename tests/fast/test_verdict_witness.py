"""The kernel's states against the packets: silent where both agree, a failed check where they contradict each other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from verdict_story import HOLA, MS, START_NS, STEPS, Story, deaf, hola

from testbed.evidence import Sampling, StateSample
from testbed.packet import Flags, Packet
from testbed.tcp.sequence import HALF, MASK
from testbed.verdict.judge import judge
from testbed.verdict.value import Change, Check, Outcome
from testbed.verdict.view import look
from testbed.verdict.witness import Said, contradictions

GAP_MS, LAST_MS = 2, 500
CLIENT, SERVER = "198.18.0.2:40000", "198.18.0.3:7456"
Life = tuple[tuple[float, str], ...]
# Times of the story: SYN 0, SYN-ACK 1, ACK 2, DATA 10, its ACK 11, FIN 12, FIN 13, last ACK 14 ms.
CLIENTS: Life = ((0.5, "SYN_SENT"), (2, "ESTABLISHED"), (12.5, "FIN_WAIT1"), (13, "FIN_WAIT2"), (14, "TIME_WAIT"))
SERVERS: Life = ((1, "SYN_RECV"), (3, "ESTABLISHED"), (13, "CLOSE_WAIT"), (13.5, "LAST_ACK"), (15, "CLOSE"))


def told(clients: Life = CLIENTS, servers: Life = SERVERS, story: Story | None = None) -> Story:
    """A connection as it should be, and what the kernels showed of it."""
    story = story or hola()
    for host, socket, life in (
        ("client", f"{CLIENT} {SERVER}", clients),
        ("server", f"{SERVER} {CLIENT}", servers),
    ):
        before = "CLOSE"
        for at_ms, after in life:
            story.records.append(StateSample(host, START_NS + round(at_ms * MS), socket, before, after))
            before = after
        story.records.append(Sampling(host, 500, GAP_MS * MS, START_NS + LAST_MS * MS))
    return story


def kernels(story: Story) -> list[Check]:
    """The checks that speak of contradictions."""
    return [check for check in story.judge().checks if check.name.startswith("kernel.")]


def test_witnesses_that_agree_say_nothing() -> None:
    """A life that fits its packets makes no check."""
    assert kernels(told()) == []


@pytest.mark.parametrize(
    ("clients", "servers", "says"),
    [
        (
            ((0.5, "SYN_SENT"), (60, "ESTABLISHED")),
            SERVERS,
            "client acknowledged a segment: packet 8",
        ),
        (CLIENTS[:2], SERVERS, "client sent a FIN: packet 17"),
        (CLIENTS, (*SERVERS[:2], (13, "FIN_WAIT1")), "server acknowledged a FIN: packet 20"),
        (CLIENTS, SERVERS[:2], "was in ESTABLISHED, and server sent a FIN: packet 20"),
    ],
)
def test_what_was_said_is_behind_the_kernel(clients: Life, servers: Life, says: str) -> None:
    """A kernel that still shows a state, longer after the packet than between two samples, contradicts it."""
    (check,) = kernels(told(clients, servers))
    assert check.verdict is Outcome.FAILED
    assert says in check.why
    assert "198.18.0.2:40000" in check.seen
    assert check.packets


@pytest.mark.parametrize(
    ("clients", "servers", "says"),
    [
        (
            ((0.5, "SYN_SENT"), (2, "ESTABLISHED"), (4, "FIN_WAIT2"), CLIENTS[-1]),
            SERVERS,
            "client sent a FIN, only then: packet 17",
        ),
        (CLIENTS, ((1, "SYN_RECV"), (3, "CLOSE_WAIT"), *SERVERS[3:]), "server was sent a FIN, only then: packet 17"),
        (((-50, "ESTABLISHED"), *CLIENTS[2:]), SERVERS, "client was sent an ACK, only then: packet 5"),
    ],
)
def test_a_state_that_nothing_led_to(clients: Life, servers: Life, says: str) -> None:
    """A kernel in a state before the packet that leads there was on the wire contradicts it."""
    (check,) = kernels(told(clients, servers))
    assert says in check.why


def test_a_state_that_nothing_ever_led_to() -> None:
    """No FIN was ever sent to it, and the kernel is in CLOSE_WAIT."""
    story = Story({})
    story.open()
    story.tcp(10, "client", "P.", 1, 1, HOLA)
    story.play()
    (check,) = kernels(told(CLIENTS[:2], ((1, "SYN_RECV"), (3, "ESTABLISHED"), (40, "CLOSE_WAIT")), story))
    assert (
        "at 0.040 s 198.18.0.3:7456 198.18.0.2:40000 was in CLOSE_WAIT, and server was sent a FIN, never" in check.why
    )


def test_a_late_sample_is_no_contradiction() -> None:
    """Within the longest time between two samples a state may still be the one before."""
    late: Life = ((0.5, "SYN_SENT"), (2 + GAP_MS + 4, "ESTABLISHED"), *CLIENTS[2:])
    assert kernels(told(late)) == []


def test_what_was_not_watched_is_no_contradiction() -> None:
    """After the last sample the kernel is not known; without a sampling's record nothing is."""
    story = told(CLIENTS[:2])
    story.records = [
        Sampling(one.host, 5, GAP_MS * MS, START_NS + 13 * MS) if isinstance(one, Sampling) else one
        for one in story.records
    ]
    assert kernels(story) == []
    story.records = [one for one in story.records if not isinstance(one, Sampling)]
    assert kernels(story) == []


def test_a_second_life_is_left_out() -> None:
    """Samples of one address pair do not tell two lives apart."""
    assert kernels(told((*CLIENTS[:2], (3, "CLOSE"), (4, "SYN_SENT")))) == []


def test_forged_packets_prove_nothing_of_who_did_not_send_them() -> None:
    """Where steps inject packets, what is on the wire in a host's name need not be its kernel's."""
    crafted = {"inject": {"to": "server", "flags": "RST"}}
    hosts = {**STEPS, "client": {"steps": [*STEPS["client"]["steps"], crafted]}}
    assert kernels(told(CLIENTS[:2], story=hola(hosts=hosts))) == []


# ---------------------------------------------------------------- where exactly the line is


@pytest.mark.parametrize("change", [Change.REWRITTEN, Change.CORRUPTED])
def test_altered_packets_prove_nothing(change: Change) -> None:
    """Where a packet was changed on its way, its receiver was told something else than the wire shows."""
    view = look(told(CLIENTS[:2]).evidence())
    assert {one.host for one in contradictions(view)} == {"client"}
    assert {one.host for one in contradictions(replace(view, trip_of={}))} == {"client"}
    trip_of = {**view.trip_of, 11: replace(view.trip_of[11], change=change)}
    assert list(contradictions(replace(view, trip_of=trip_of))) == []
    trip_of[11] = replace(trip_of[11], change=Change.DUPLICATED)
    assert {one.host for one in contradictions(replace(view, trip_of=trip_of))} == {"client"}


def test_only_watched_hosts_are_asked() -> None:
    """Samples of a host that nobody told how it was watched count for nothing; those of the other still do."""
    story = told(CLIENTS[:2], SERVERS[:2])
    story.records = [one for one in story.records if not isinstance(one, Sampling) or one.host == "server"]
    assert [one.name for one in kernels(story)] == ["kernel.server"]


def test_two_lives_on_the_wire() -> None:
    """Ends that connected twice with the same ports, and one life of a socket: of which of the two, nothing tells."""
    story = hola()
    story.open(2000)
    story.talk(2010)
    lives = told(CLIENTS[:2], SERVERS[:2], story)
    assert len(look(lives.evidence()).connections) == 2
    assert kernels(lives) == []


def test_what_is_too_late_hides_nothing_before() -> None:
    """A FIN just before the last sample cannot be held against a kernel; the FIN that it acknowledged before can."""
    story = Story({})
    story.open()
    story.tcp(12, "client", "F.", 1, 1)
    story.tcp(13, "server", ".", 1, 2)
    story.tcp(LAST_MS - 2, "server", "F.", 1, 2)
    story.play()
    (check,) = kernels(told(CLIENTS[:4], SERVERS[:2], story))
    assert check.expected == "server acknowledged a FIN: packet 14 at 0.013 s on wire is ACK from server"


@pytest.mark.parametrize(("ahead", "acknowledged"), [(-1, False), (0, True), (HALF - 1, True), (HALF, False)])
def test_how_far_ahead_an_acknowledgement_may_be(ahead: int, acknowledged: bool) -> None:
    """Less than half of the sequence space from the number behind the FIN, around 2**32 too (RFC 9293 section 3.4)."""
    said = Said()
    fin = Packet(1, 0, "a", 1, "b", 2, sequence=MASK, flags=Flags.FIN | Flags.ACK)  # behind it is 0
    said.hear(fin, own=True)
    said.hear(Packet(2, 0, "b", 2, "a", 1, acknowledgement=ahead & MASK, flags=Flags.ACK), own=False)
    assert ("had its FIN acknowledged" in said.first) is acknowledged
    assert "was sent a SYN" not in said.first
    assert "was sent an ACK" in said.first


SURE_MS = 2 * GAP_MS + 5  # so much later than a packet a state must have been seen to contradict it


@pytest.mark.parametrize(("late_us", "contradicts"), [(0, False), (1, True)])
def test_how_late_a_state_may_be_seen(late_us: int, contradicts: bool) -> None:
    """Twice the longest time between two samples, and five milliseconds for the sniffer."""
    at_ms = 2 + 0.01 + SURE_MS + late_us / 1000
    late: Life = ((0.5, "SYN_SENT"), (at_ms, "ESTABLISHED"), (at_ms + 1, "FIN_WAIT1"), *CLIENTS[3:])
    story = Story({})
    story.open()
    story.play()
    found = kernels(told(late[:2], SERVERS[:2], story))
    assert bool(found) is contradicts
    if found:
        assert found[0].seen == f"at 0.011 s {CLIENT} {SERVER} was in SYN_SENT"
        assert found[0].expected == "client acknowledged a segment: packet 8 at 0.002 s on wire is ACK from client"
        assert found[0].packets == (8,)


@pytest.mark.parametrize(("last_us", "contradicts"), [(-1, False), (0, True)])
def test_how_long_a_kernel_must_be_watched(last_us: int, contradicts: bool) -> None:
    """A state counts only where the kernel was still sampled when it was to be another."""
    story = Story({})
    story.open()
    story.play()
    told(CLIENTS[:1], SERVERS[:2], story)
    last_ns = START_NS + 2 * MS + 10_000 + SURE_MS * MS + last_us * 1000
    story.records = [
        Sampling(one.host, 5, GAP_MS * MS, last_ns) if isinstance(one, Sampling) else one for one in story.records
    ]
    assert bool(kernels(story)) is contradicts


@pytest.mark.parametrize(("early_us", "contradicts"), [(0, False), (1, True)])
def test_how_early_a_state_may_be_seen(early_us: int, contradicts: bool) -> None:
    """A state may be seen five milliseconds before the sniffer hears what led to it."""
    story = Story({})
    story.open(20)
    story.play()
    at_ms = 20 + 1 + 0.01 - 5 - early_us / 1000  # the SYN-ACK's time on the wire
    clients: Life = ((at_ms - 0.5, "SYN_SENT"), (at_ms, "ESTABLISHED"))
    servers: Life = tuple((20 + at, state) for at, state in SERVERS[:2])
    assert bool(kernels(told(clients, servers, story))) is contradicts


ALWAYS = {"SYN_SENT", "LISTEN", "CLOSE"}


@pytest.mark.parametrize(
    ("state", "until_ms", "lacks"),
    [
        ("SYN_RECV", 0, ""),
        ("ESTABLISHED", 0, "server was sent an ACK, never"),
        ("ESTABLISHED", 2, ""),
        ("FIN_WAIT1", 0, ""),
        ("CLOSE_WAIT", 2, "server was sent a FIN, never"),
        ("CLOSING", 2, "server was sent a FIN, never"),
        ("LAST_ACK", 2, "server was sent a FIN, never"),
        ("CLOSE_WAIT", 12, ""),
        ("LAST_ACK", 12, ""),
        ("CLOSING", 12, ""),
        ("FIN_WAIT2", 2, "server sent a FIN, never"),
        ("TIME_WAIT", 14, ""),
        ("TIME_WAIT", 13, "server had its FIN acknowledged, never"),
        *((state, -1, "") for state in sorted(ALWAYS)),
    ],
)
def test_what_must_have_come_before(state: str, until_ms: int, lacks: str) -> None:
    """A server's kernel can be in a state only when what leads there was on the wire."""
    story = Story({})
    story.open()
    story.talk()
    story.frames = {
        name: [frame for frame in frames if frame.time_ns <= START_NS + until_ms * MS + 100_000]
        for name, frames in story.frames.items()
    }
    story.play()
    story.tcp(300, "client", "S", port=50000)  # there is a connection, whatever is left of the other
    found = kernels(told((), ((100, state),), story))
    assert [check.expected for check in found] == ([lacks] if lacks else [])
    assert all(check.verdict is Outcome.FAILED and check.packets == () for check in found)


def test_contradiction_on_a_wire_not_wholly_seen() -> None:
    """What the sniffer missed may have been what led to a state: then nothing is held against the kernel."""
    found = [check for check in judge(deaf(told(CLIENTS[:2]).evidence())).checks if check.name == "kernel.client"]
    assert [check.verdict for check in found] == [Outcome.UNKNOWN]
    assert found[0].why.startswith("the capture on the wire missed 3 packets, which the kernel dropped; ")


def test_several_contradictions() -> None:
    """One check for each host tells the first, and how many more there are, at the line of its role."""
    story = told(((0.5, "SYN_SENT"), (4, "FIN_WAIT2"), (5, "TIME_WAIT")))
    (check,) = kernels(story)
    assert check.name == "kernel.client"
    assert check.line == story.lines["hosts.client"]
    assert check.why == (
        f"the kernel and the wire contradict each other: at 0.004 s {CLIENT} {SERVER} was in FIN_WAIT2, and client "
        "sent a FIN, only then: packet 17 at 0.012 s on wire is FIN from client; and 4 more of it"
    )
    assert check.packets == (17,)
    both = kernels(told(CLIENTS[:2], SERVERS[:2]))
    assert [one.name for one in both] == ["kernel.client", "kernel.server"]
    assert both[0].why.endswith("; and 1 more of it")


def test_reset_acknowledges_nothing() -> None:
    """An RST bears no witness of a state: not of who sent it, nor of whom it went to."""
    story = Story({})
    story.tcp(0, "client", "S")
    story.tcp(1, "server", "R.", 0, 1)
    story.play()
    assert kernels(told(((0.5, "SYN_SENT"), (200, "CLOSE")), (), story)) == []


def test_packets_that_prove_nothing() -> None:
    """A segment whose checksum is wrong was not said; of a second FIN the first one's number counts."""
    story = Story({})
    story.open()
    story.tcp(10, "client", "F.", 1, 1)
    story.tcp(20, "client", "F.", 1, 1)
    story.tcp(21, "server", ".", 1, 2)
    story.play()
    servers: Life = ((1, "SYN_RECV"), (3, "ESTABLISHED"), (13, "CLOSE_WAIT"))
    clients: Life = ((0.5, "SYN_SENT"), (2, "ESTABLISHED"), (10, "FIN_WAIT1"), (22, "FIN_WAIT2"))
    assert kernels(told(clients, servers, story)) == []
    assert [one.name for one in kernels(told(clients, servers[:2], story))] == []


def test_data_is_not_the_fin() -> None:
    """An acknowledgement of the data before a FIN acknowledges no FIN; one behind it does."""
    story = Story({})
    story.open()
    story.tcp(10, "client", "FP.", 1, 1, HOLA)
    story.tcp(11, "server", ".", 1, 1 + len(HOLA))
    story.play()
    lives: Life = ((0.5, "SYN_SENT"), (2, "ESTABLISHED"), (10, "FIN_WAIT1"), (30, "FIN_WAIT2"))
    (check,) = kernels(told(lives, SERVERS[:2], story))
    assert check.expected == "client had its FIN acknowledged, never"
    story.tcp(12, "server", ".", 1, 2 + len(HOLA))
    story.records = [one for one in story.records if not isinstance(one, StateSample | Sampling)]
    found = kernels(told(lives, SERVERS[:2], story))
    assert [one.name for one in found] == ["kernel.server"]
    assert found[0].expected.startswith("server acknowledged a FIN: packet 17")


HELD = {  # of the packets behind the handshake, what the server's kernel can show from then on
    "an ACK": ((), "SYN_RECV ESTABLISHED FIN_WAIT1 FIN_WAIT2 CLOSE_WAIT CLOSING LAST_ACK TIME_WAIT CLOSE"),
    "a FIN": ((("server", "F.", 1, 1),), "FIN_WAIT1 FIN_WAIT2 CLOSING LAST_ACK TIME_WAIT CLOSE"),
    "an ACK of a FIN": (
        (("client", "F.", 1, 1), ("server", ".", 1, 2)),
        "CLOSE_WAIT CLOSING LAST_ACK TIME_WAIT CLOSE",
    ),
}


@pytest.mark.parametrize("state", sorted({*HELD["an ACK"][1].split(), *ALWAYS}))
@pytest.mark.parametrize("said", HELD)
def test_what_can_be_shown_behind_it(said: str, state: str) -> None:
    """Once an end has said something, its kernel shows only states in which it can have said it, or later ones."""
    segments, states = HELD[said]
    story = Story({})
    story.open()
    for number, segment in enumerate(segments):
        story.tcp(10 + number, *segment)
    story.play()
    found = kernels(told((), ((5, state),), story))
    contradicts = any(not one.expected.endswith(", never") and ", only then" not in one.expected for one in found)
    assert contradicts == (state not in states.split())
