"""Checks that every connection must satisfy: how values are told, of one connection and of several."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from verdict_story import HOLA, Story, find, hola

from testbed.verdict.connection_checks import tell
from testbed.verdict.value import Check, Outcome


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ({"SF": 1}, "SF"),
        ({"SF": 2}, "SF (2 connections)"),
        ({"SF": 2, "S0": 1}, "SF (2 connections), S0 (1 connections)"),
    ],
)
def test_values_of_several(seen: dict[str, int], told: str) -> None:
    """Each value with how many connections showed it, where there are several."""
    assert tell(Counter(seen)) == told


def checked(name: str, wanted: Any, story: Story | None = None) -> Check:
    """A check of one connection as it should be, or of this story's."""
    first, dot, rest = name.partition(".")
    expect = {first: {rest: wanted} if dot else wanted}
    if story is None:
        return find(hola(expect).judge(), name)
    told = Story({**story.told, "expect": expect})
    told.frames, told.records = story.frames, story.records
    return find(told.judge(), name)


OPENING, CLOSING = (2, 5, 8), (17, 20, 23)


@pytest.mark.parametrize(
    ("name", "wanted", "seen", "packets"),
    [
        ("handshake.outcome", "complete", "complete", OPENING),
        ("handshake.duration", "..1s", "2ms", OPENING),
        ("handshake.syns", 1, "1", (2,)),
        ("handshake.syn_acks", 1, "1", (5,)),
        ("handshake.syn_retransmits", 0, "0", (2,)),
        ("handshake.synack_retransmits", 0, "0", (5,)),
        ("teardown.kind", "fin", "fin", None),
        ("teardown.closed_first", "client", "client", None),
        ("teardown.fin_retransmits", 0, "0", (17, 20)),
        ("bytes.client->server", 27, "27", (11,)),
        ("bytes.server->client", 0, "0", ()),
        ("retransmits.client", 0, "0", ()),
        ("retransmits.server", 0, "0", ()),
        ("conn_state", "SF", "SF", None),
        ("history", "ShADaFf", "ShADaFf", None),
        ("completeness", 31, "31", None),
    ],
)
def test_values_and_evidence(name: str, wanted: Any, seen: str, packets: tuple[int, ...] | None) -> None:
    """What was seen, in the scenario's notation, and the packets that show it."""
    passed = checked(name, wanted)
    assert (passed.verdict, passed.seen, passed.why) == (Outcome.PASSED, seen, "")
    if packets is not None:
        assert passed.packets == packets
    else:
        assert set(CLOSING) <= set(passed.packets)
        assert (OPENING[0] in passed.packets) == (not name.startswith("teardown"))


def test_reason() -> None:
    """The reason names the connection, the expectation, what was seen and wanted, and the packets."""
    check = checked("handshake.syns", "2..")
    assert (check.expected, check.seen, check.packets) == ("2..", "1", (2,))
    assert check.why == (
        "the connection from client port 40000 to server port 7456 has handshake.syns 1 instead of 2..: "
        "packet 2 at 0.000 s on wire is SYN from client"
    )
    nothing = checked("retransmits.client", "1..")
    assert nothing.packets == (2, 23)
    assert nothing.why.endswith("instead of 1..; of its packets the last is: packet 23 at 0.014 s on wire is ACK from "
                                "client")  # fmt: skip


def test_handshake_that_never_completed() -> None:
    """A duration that never was is in no range; words stand for what did not happen."""
    story = Story({})
    story.tcp(0, "client", "S")
    story.play()
    check = checked("handshake.duration", "0s..", story)
    assert (check.verdict, check.expected, check.seen) == (Outcome.FAILED, "0s..", "never complete")
    assert checked("teardown.closed_first", "client", story).seen == "nobody"
    assert checked("teardown.reset_by", "client", story).packets == (2, 2)


def test_retransmissions_are_the_evidence() -> None:
    """What was sent again is told by its own packets."""
    story = Story({})
    story.open()
    for at in (10, 20):
        story.tcp(at, "client", "P.", 1, 1, HOLA)
    for at in (30, 40, 50):
        story.tcp(at, "server", "P.", 1, 28, b"hi")
    story.play()
    for name, wanted, packets in (("retransmits.client", 1, (14,)), ("retransmits.server", 2, (20, 23))):
        assert checked(name, wanted, story).packets == packets
        assert checked(name, 9, story).packets == packets


def three() -> Story:
    """Two connections as they should be, one that is half-open in between."""
    story = Story({})
    story.open()
    story.tcp(20, "client", "S", port=40001)
    story.open(40, port=40002)
    story.play()
    return story


def test_several_connections() -> None:
    """All must satisfy; of those that do not the first is told, and how many there are."""
    check = checked("handshake.outcome", "complete", three())
    assert check.seen == "unanswered (client port 40001; 1 of 3 connections)"
    assert check.packets == (11,)
    assert "from client port 40001 to server port 7456 has handshake.outcome unanswered" in check.why
    passed = checked("handshake.syn_acks", "0..1", three())
    assert passed.verdict is Outcome.PASSED
    assert passed.seen == "1 (2 connections), 0 (1 connections)"
    assert passed.packets == (5, 17)
    assert checked("handshake.syns", 1, three()).seen == "1 (3 connections)"


def test_how_many_connections() -> None:
    """Each is told by its first packet; where there is none, how many packets there were of anything else."""
    check = checked("connections", "4..", three())
    assert (check.verdict, check.expected, check.seen, check.packets) == (Outcome.FAILED, "4..", "3", (2, 11, 14))
    assert check.why.startswith(
        "TCP connections that the wire saw: 3 instead of 4..: packet 2 at 0.000 s on wire is SYN"
    )
    assert checked("connections", 3, three()).seen == "3"
    assert (checked("connections", 3, three()).packets, checked("connections", 3, three()).why) == ((2, 11, 14), "")
    none = Story({})
    none.udp(0, "client", b"x")
    none.play()
    silent = checked("connections", 1, none)
    assert (silent.verdict, silent.seen, silent.packets) == (Outcome.FAILED, "0", ())
    assert silent.why == "TCP connections that the wire saw: 0 instead of 1; 1 packets were on it in all"
    nothing = checked("handshake.syns", 1, none)
    assert (nothing.expected, nothing.seen) == ("1", "no connection")
    assert nothing.why == "the wire saw no TCP connection; 1 packets were on it in all"


def test_many_packets_are_told_by_a_hundred() -> None:
    """Of very many packets the first hundred are evidence, and a reason tells of the first and last two."""
    story = Story({"expect": {"connections": 1, "handshake": {"syns": 1, "syn_acks": 1}}})
    for number in range(101):
        story.tcp(number, "client", "S", port=40000 + number)
    story.play()
    judgement = story.judge()
    hundred = tuple(range(2, 302, 3))
    assert [find(judgement, name).packets for name in ("connections", "handshake.syns")] == [hundred, hundred]
    why = find(judgement, "connections").why
    assert [word for word in why.split("; ") if "more" in word] == ["97 more"]
    assert why.count("packet ") == 4
    again = Story({"expect": {"connections": 101, "handshake": {"syns": 1}}})
    again.frames = story.frames
    assert find(again.judge(), "connections").packets == hundred
    for number in range(101):
        again.tcp(1000 * number, "client", "S", port=40000)
    assert len(find(again.judge(), "handshake.syns").packets) == 100


def test_five_packets_are_told_in_full() -> None:
    """Up to five packets are told each, of more the middle is left out."""
    for many, told in ((5, 5), (6, 4)):
        story = Story({})
        for number in range(many):
            story.tcp(number * 1000, "client", "S")
        story.play()
        check = checked("handshake.syns", 9, story)
        assert check.why.count(" is SYN") == told
        assert ("2 more" in check.why) == (many == 6)
