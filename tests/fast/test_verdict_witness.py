"""The kernel's states against the packets: silent where both agree, a failed check where they contradict each other."""

from __future__ import annotations

import pytest
from verdict_story import HOLA, MS, START_NS, STEPS, Story, hola

from testbed.evidence import Sampling, StateSample
from testbed.verdict.value import Check, Outcome

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
