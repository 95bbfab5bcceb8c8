"""The runs whose reports are opened in a browser: told by hand, judged as real ones are, with real frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from verdict_story import CLIENT, SERVER, START_NS, Story

from testbed.evidence import StateSample
from testbed.verdict.value import Judgement

MS = 1_000_000
CLOSING = {"handshake": {"outcome": "complete"}, "teardown": {"kind": "fin", "closed_first": "client"}}
STORM = 1000


def enter(story: Story, host: str, *states: tuple[float, str, str], port: int = 40000) -> None:
    """The states of one socket of a host: when, from, to."""
    socket = f"{CLIENT}:{port} {SERVER}:7456"
    story.records += [
        StateSample(host, START_NS + round(at_ms * MS), socket, before, after) for at_ms, before, after in states
    ]


def open_and_close(story: Story, at_ms: float = 0.0, port: int = 40000) -> None:
    """A connection as it should be, with the states of both kernels."""
    story.open(at_ms, port=port)
    story.talk(at_ms + 10, port=port)
    enter(
        story, "client", (at_ms, "CLOSE", "SYN_SENT"), (at_ms + 2, "SYN_SENT", "ESTABLISHED"),
        (at_ms + 12, "ESTABLISHED", "FIN_WAIT1"), (at_ms + 14, "FIN_WAIT1", "TIME_WAIT"), port=port,
    )  # fmt: skip
    enter(
        story, "server", (at_ms + 1, "CLOSE", "SYN_RECV"), (at_ms + 3, "SYN_RECV", "ESTABLISHED"),
        (at_ms + 13, "ESTABLISHED", "LAST_ACK"), (at_ms + 15, "LAST_ACK", "CLOSE"), port=port,
    )  # fmt: skip


def plain() -> Judgement:
    """One connection, opened and closed."""
    story = Story({"summary": "The client says hello and closes.", "expect": CLOSING})
    open_and_close(story)
    story.play()
    return story.judge()


def lost_synack() -> Judgement:
    """The first SYN-ACK is dropped by a fault; SYN and SYN-ACK are sent again a second later."""
    fault = {"drop": "SYN-ACK", "from": "server", "nth": 1}
    story = Story({"summary": "The first SYN-ACK is lost.", "wire": {"delay": "10ms"}, "faults": [fault],
                   "expect": {"handshake": {"outcome": "complete", "syn_retransmits": 1}}})  # fmt: skip
    story.tcp(0, "client", "S")
    story.tcp(10.2, "server", "S.", 0, 1, fault=0)
    story.tcp(1012, "client", "S")
    story.tcp(1022.2, "server", "S.", 0, 1)
    story.tcp(1032.4, "client", ".", 1, 1)
    story.talk(1033)
    enter(story, "client", (0, "CLOSE", "SYN_SENT"), (1032.3, "SYN_SENT", "ESTABLISHED"))
    enter(story, "server", (10.1, "CLOSE", "SYN_RECV"), (1042.5, "SYN_RECV", "ESTABLISHED"))
    story.play()
    return story.judge()


def simultaneous_close() -> Judgement:
    """Both sides close at once: their FINs cross on a slow wire."""
    story = Story({"summary": "Both close at once.", "wire": {"delay": "10ms"},
                   "expect": {"teardown": {"kind": "simultaneous"}}})  # fmt: skip
    story.tcp(0, "client", "S")
    story.tcp(10.2, "server", "S.", 0, 1)
    story.tcp(20.4, "client", ".", 1, 1)
    story.tcp(50, "client", "F.", 1, 1)
    story.tcp(52, "server", "F.", 1, 1)
    story.tcp(60.2, "server", ".", 2, 2)
    story.tcp(62.2, "client", ".", 2, 2)
    closing = ((50, "ESTABLISHED", "FIN_WAIT1"), (62.1, "FIN_WAIT1", "CLOSING"), (72.4, "CLOSING", "TIME_WAIT"))
    enter(story, "client", *closing)
    enter(story, "server", *((at + 2, before, after) for at, before, after in closing))
    story.play()
    return story.judge()


def reset() -> Judgement:
    """The server aborts an open connection."""
    story = Story({"summary": "The server aborts.", "expect": {"teardown": {"kind": "rst", "reset_by": "server"}}})
    story.open()
    story.tcp(10, "client", "P.", 1, 1, b"\x1b[2J<script>alert(1)</script>" + bytes(range(256)))
    story.tcp(12, "server", "R.", 1, 286)
    enter(story, "client", (0, "CLOSE", "SYN_SENT"), (2, "SYN_SENT", "ESTABLISHED"), (12.1, "ESTABLISHED", "CLOSE"))
    story.play()
    return story.judge()


def failing() -> Judgement:
    """Three checks do not hold, each with the packets that show it."""
    wrong = {"handshake": {"outcome": "refused"}, "teardown": {"closed_first": "server"},
             "payload": {"client->server": "Something else"}}  # fmt: skip
    story = Story({"summary": "What is expected does not happen.", "expect": wrong})
    open_and_close(story)
    story.play()
    return story.judge()


@cache
def storm() -> Judgement:
    """A thousand connections within half a second."""
    story = Story({"summary": "A thousand connections.", "expect": {"connections": STORM}})
    for number in range(STORM):
        open_and_close(story, number * 0.4, 10000 + number)
    story.play()
    return story.judge()


STORIES: dict[str, Callable[[], Judgement]] = {
    "plain": plain,
    "lost-synack": lost_synack,
    "simultaneous-close": simultaneous_close,
    "rst": reset,
    "storm": storm,
    "failing": failing,
}
SMALL = sorted(set(STORIES) - {"storm"})
