"""Bytes expected and seen: how they are written, where they differ, and whose packet held the difference."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from verdict_story import CLIENT, CLIENT_ISN, HOLA, START_NS, STEPS, Story, find, with_records

from testbed.evidence import StepOutcome
from testbed.scenario.steps import Payload
from testbed.verdict.judge import judge
from testbed.verdict.stream_checks import content, differ, show_bytes, show_payload
from testbed.verdict.value import Check, Outcome

NAME, UDP = "payload.client->server", "datagrams.client->server"
LONG = bytes(range(48, 129))  # 81 octets
FILE = {"file": "hola.txt"}


@pytest.mark.parametrize(
    ("told", "octets", "shown"),
    [
        ({"text": "Hola"}, b"Hola", '"Hola"'),
        ({"text": ""}, b"", '""'),
        ({"hex": "00ff"}, b"\x00\xff", "{hex: 00ff}"),
        ({"hex": "0" * 80}, bytes(40), "{hex: " + "0" * 80 + "}"),
        ({"hex": "0" * 82}, bytes(41), "{hex: " + "0" * 80 + "...}"),
        ({"random": 5, "seed": 7}, Random(7).randbytes(5), "{random: 5, seed: 7}"),
        (FILE, None, "{file: hola.txt}"),
    ],
)
def test_payloads(told: dict[str, Any], octets: bytes | None, shown: str) -> None:
    """What a payload holds, and how a scenario writes it."""
    payload = Payload.model_validate(told)
    assert content(payload) == octets
    assert show_payload(payload) == shown


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (b"", '""'),
        (b"Hola, \xc2\xbfqu\xc3\xa9 tal?", '"Hola, ¿qué tal?"'),
        (b'a "b" c\\d', '"a \\"b\\" c\\\\d"'),
        (b"a\r\n\tb", '"a\\r\\n\tb"'),
        (b"\x00", "{hex: 00}"),
        (b"a\xff", "{hex: 61ff}"),
        (b"\xef\xbf\xbd", "{hex: efbfbd}"),
        (b"x" * 80, '"' + "x" * 80 + '"'),
        (b"x" * 81, f"81 bytes, SHA-256 {sha256(b'x' * 81).hexdigest()[:16]}..."),
    ],
)
def test_bytes_as_scenarios_write_them(octets: bytes, shown: str) -> None:
    """Text where it is text, hex where it is not, a digest where there are many."""
    assert show_bytes(octets) == shown


@pytest.mark.parametrize(
    ("seen", "wanted", "at", "how"),
    [
        (b"abc", b"abcdef", 3, "it ends after 3 of 6 bytes"),
        (b"", b"a", 0, "it ends after 0 of 1 bytes"),
        (b"abcdef", b"abc", 3, 'it goes on after the 3 bytes wanted, with "def"'),
        (b"abc" + LONG, b"abc", 3, 'it goes on after the 3 bytes wanted, with "0123456789:;<=>?@ABCDEFG"'),
        (b"xbc", b"abc", 0, 'byte 0 is the first that differs: "xbc" instead of "abc"'),
        (b"abX", b"abc", 2, 'byte 2 is the first that differs: "abX" instead of "abc"'),
        (
            LONG[:20] + b"!" + LONG[21:40],
            LONG[:40],
            20,
            'byte 20 is the first that differs: "89:;<=>?@ABC!EFGHIJKLMNO" instead of "89:;<=>?@ABCDEFGHIJKLMNO"',
        ),
    ],
)
def test_where_bytes_differ(seen: bytes, wanted: bytes, at: int, how: str) -> None:
    """The first octet that differs, with a dozen on either side."""
    assert differ(seen, wanted) == (at, how)


def told(wanted: Any, *pieces: tuple[int, bytes], expect: str = NAME) -> Story:
    """The client sends these pieces, at these places of its stream."""
    first, _, rest = expect.partition(".")
    story = Story({"hosts": sends_file(), "expect": {first: {rest: wanted}}})
    story.open()
    for number, (place, data) in enumerate(pieces):
        story.tcp(10 + number, "client", "P.", 1 + place, 1, data)
    return story


def sends_file() -> dict[str, Any]:
    """The client's second step sends the file; so do those inside a loop."""
    steps: list[Any] = [{"connect": "server:7456"}, {"send": FILE}, {"repeat": 2, "steps": [{"send": FILE}]}]
    return {**STEPS, "client": {"steps": [*steps, {"send": {"file": "other.txt"}}, {"log": "done"}]}}


def sent(data: bytes = HOLA, *, path: str = "1", port: int | None = 40000, **how: Any) -> StepOutcome:
    """The step sent so many bytes, of that digest."""
    local = None if port is None else f"{CLIENT}:{port}"
    ended = {"outcome": "ok", "bytes": len(data), "sha256": sha256(data).hexdigest(), **how}
    return StepOutcome("client", path, "send", start_ns=START_NS, end_ns=START_NS, local=local, **ended)


def checked(story: Story, *records: StepOutcome, name: str = NAME) -> Check:
    """The check of the story with these records of steps."""
    return find(judge(with_records(story.evidence(), *records)), name)


def test_difference_in_a_stream() -> None:
    """The reason names side, connection, octet, and the packet that carried it; that packet is the evidence."""
    check = checked(told("abcdeX", (0, b"abc"), (3, b"def")))
    assert (check.verdict, check.expected, check.seen, check.packets) == (Outcome.FAILED, '"abcdeX"', '"abcdef"', (14,))
    assert check.why == (
        "the client's stream on the connection from client port 40000 to server port 7456 is not what was expected: "
        'byte 5 is the first that differs: "abcdef" instead of "abcdeX"; packet 14 at 0.011 s on wire is DATA of '
        "3 bytes from client"
    )


def test_stream_that_ends_early() -> None:
    """No packet carried what is missing: the last one is told, and all that carried data are evidence."""
    check = checked(told("abcdefg", (0, b"abc"), (3, b"def")))
    assert check.packets == (11, 14)
    assert check.why.endswith(
        "it ends after 6 of 7 bytes; the last of its packets: packet 14 at 0.011 s on wire is DATA of 3 bytes "
        "from client"
    )
    silent = checked(told("x"))
    assert silent.packets == (2,)
    assert silent.why.endswith("0 of 1 bytes; the last of its packets: packet 2 at 0.000 s on wire is SYN from client")


def test_stream_of_the_server() -> None:
    """The other direction is told of the other side."""
    story = told("x", expect="payload.server->client")
    story.tcp(10, "server", "P.", 1, 1, b"abc")
    check = checked(story, name="payload.server->client")
    assert check.why.startswith("the server's stream on the connection from client port 40000 to server port 7456 is")
    assert check.packets == (11,)


def test_difference_behind_the_wrap() -> None:
    """Sequence numbers start again at 0 behind 2**32: the packet that carried the octet is found all the same."""
    story = Story({"expect": {"payload": {"client->server": "a" * 100 + "bX"}}})
    isn = 2**32 - 51 - CLIENT_ISN
    story.tcp(0, "client", "S", isn)
    story.tcp(1, "server", "S.", 0, isn + 1)
    story.tcp(2, "client", ".", isn + 1, 1)
    story.tcp(10, "client", "P.", isn + 1, 1, b"a" * 100)
    story.tcp(11, "client", "P.", isn + 101 - 2**32, 1, b"bc")
    check = checked(story)
    assert check.verdict is Outcome.FAILED
    assert check.packets == (14,)
    assert 'byte 101 is the first that differs: "aaaaaaaaaaabc" instead of "aaaaaaaaaaabX"; packet 14 at' in check.why


def test_as_expected() -> None:
    """Passed with the data's packets as evidence, whatever the pieces."""
    check = checked(told("abcdef", (0, b"abc"), (3, b"def")))
    assert (check.verdict, check.seen, check.packets, check.why) == (Outcome.PASSED, '"abcdef"', (11, 14), "")


def test_hole() -> None:
    """A piece that was never captured leaves it unknown, and the connection and its side are named."""
    check = checked(told("abcdef", (3, b"def")))
    assert check.verdict is Outcome.UNKNOWN
    assert check.why == (
        "the connection from client port 40000 to server port 7456: 1 pieces of the client's stream were never captured"
    )
    assert check.packets == (11,)


@pytest.mark.parametrize(
    ("second", "verdict", "seen"),
    [
        (b"abc", Outcome.PASSED, '"abc" (2 connections)'),
        (b"abX", Outcome.FAILED, '"abX"'),
        (None, Outcome.UNKNOWN, None),
    ],
)
def test_several_streams(second: bytes | None, verdict: Outcome, seen: str | None) -> None:
    """Each connection must have carried it: one that did not fails it, one with a hole leaves it unknown."""
    story = told("abc", (0, b"abc"))
    story.open(20, port=40001)
    if second is None:
        story.tcp(30, "client", "P.", 2, 1, b"bc", port=40001)
    else:
        story.tcp(30, "client", "P.", 1, 1, second, port=40001)
    check = checked(story)
    assert check.verdict is verdict
    assert seen is None or check.seen == seen
    if verdict is Outcome.PASSED:
        assert check.packets == (11, 23)


def test_wrong_outweighs_unseen() -> None:
    """A stream that is wrong fails the check although another one has a hole."""
    story = told("abc", (1, b"bc"))
    story.open(20, port=40001)
    story.tcp(30, "client", "P.", 1, 1, b"xyz", port=40001)
    assert checked(story).verdict is Outcome.FAILED


WHAT = "the client's stream on the connection from client port 40000 to server port 7456"
DIGEST = sha256(HOLA).hexdigest()[:16]
OTHER = sha256(b"other").hexdigest()[:16]


@pytest.mark.parametrize(
    ("records", "verdict", "why"),
    [
        ([sent()], Outcome.PASSED, ""),
        ([sent(path="2.0")], Outcome.PASSED, ""),
        ([sent(b"other"), sent()], Outcome.PASSED, ""),
        (
            [sent(b"other")],
            Outcome.FAILED,
            f"{WHAT} is not file hola.txt: 5 bytes, SHA-256 {OTHER}..., were sent from it, 27 bytes, SHA-256 {DIGEST}"
            "..., were on the wire; packet 11 at 0.010 s on wire is DATA of 27 bytes from client",
        ),
        # The connection's own step counts, where there is one.
        ([sent(port=40001)], Outcome.PASSED, ""),
        ([sent(port=40001), sent(b"other")], Outcome.FAILED, None),
        ([sent(b"other", port=40001), sent()], Outcome.PASSED, ""),
        ([sent(port=None)], Outcome.PASSED, ""),
        # Another file's step, or another step, says nothing of this one.
        ([sent(path="3")], Outcome.UNKNOWN, None),
        ([sent(path="4")], Outcome.UNKNOWN, None),
        ([sent(path="9")], Outcome.UNKNOWN, None),
        ([], Outcome.UNKNOWN, None),
        (
            [sent(outcome="error", errno="EPIPE")],
            Outcome.FAILED,
            f"{WHAT} cannot be file hola.txt: the step that sends it ended with EPIPE",
        ),
        (
            [sent(outcome="timeout")],
            Outcome.FAILED,
            f"{WHAT} cannot be file hola.txt: the step that sends it ended with timeout",
        ),
        ([sent(outcome="error", errno="EPIPE"), sent()], Outcome.PASSED, ""),
        ([sent(sha256=None)], Outcome.UNKNOWN, None),
    ],
)
def test_file(records: Sequence[StepOutcome], verdict: Outcome, why: str | None) -> None:
    """What a file holds is told by the steps that sent it, those of the same connection first."""
    check = checked(told(FILE, (0, HOLA)), *records)
    assert check.verdict is verdict
    assert (check.expected, check.packets) == ("{file: hola.txt}", (11,))
    assert why is None or check.why == why


def test_file_of_a_stranger() -> None:
    """A connection that none of the hosts opened: no step of theirs can have sent the file."""
    story = Story({"hosts": sends_file(), "expect": {"payload": {"client->server": FILE}}})
    story.frames["client-2"] = []
    story.open(client="client-2")
    story.tcp(10, "client-2", "P.", 1, 1, HOLA, client="client-2")
    check = checked(story, sent())
    assert (check.verdict, check.packets) == (Outcome.UNKNOWN, (11,))
    assert check.why == "what file hola.txt holds is not known: no step is known to have sent it"


def datagrams(wanted: list[Any], *payloads: bytes, back: bytes | None = None) -> Story:
    """The client sends datagrams; one may go back."""
    steps = [{"sendto": "server:7456", "data": FILE}]
    hosts = {**STEPS, "client": {"steps": steps}}
    story = Story({"hosts": hosts, "expect": {"datagrams": {"client->server": wanted}}})
    for number, payload in enumerate(payloads):
        story.udp(number, "client", payload)
    if back is not None:
        story.udp(50, "server", back, (7456, 40000))
    return story


@pytest.mark.parametrize(
    ("wanted", "seen", "verdict", "why", "packets"),
    [
        ([], [], Outcome.PASSED, "", ()),
        (["a", "b"], [b"a", b"b"], Outcome.PASSED, "", (2, 5)),
        (
            ["a", "b"],
            [b"b", b"a"],
            Outcome.FAILED,
            'datagram 1 is not what was expected: byte 0 is the first that differs: "b" instead of "a"; packet 2 at '
            "0.000 s on wire is a UDP datagram of 1 bytes from client",
            (2,),
        ),
        (
            ["a", "b"],
            [b"a", b"c"],
            Outcome.FAILED,
            'datagram 2 is not what was expected: byte 0 is the first that differs: "c" instead of "b"; packet 5 at '
            "0.001 s on wire is a UDP datagram of 1 bytes from client",
            (5,),
        ),
        (
            ["a", "b"],
            [b"a"],
            Outcome.FAILED,
            "the wire saw 1 of 2 datagrams from client to server: packet 2 at 0.000 s on wire is a UDP datagram of "
            "1 bytes from client",
            (2,),
        ),
        (["a"], [], Outcome.FAILED, "the wire saw 0 of 1 datagrams from client to server", ()),
        (
            ["a"],
            [b"a", b"b", b"c"],
            Outcome.FAILED,
            "the wire saw 2 datagrams more than expected: packet 5 at 0.001 s on wire is a UDP datagram of 1 bytes "
            "from client",
            (5,),
        ),
    ],
)
def test_datagrams(wanted: list[str], seen: list[bytes], verdict: Outcome, why: str, packets: tuple[int, ...]) -> None:
    """Payloads in order, one datagram each; what goes the other way is not among them."""
    check = checked(datagrams(wanted, *seen, back=b"pong"), name=UDP)
    assert (check.verdict, check.why, check.packets) == (verdict, why, packets)
    assert check.expected == f"[{', '.join(f'{chr(34)}{one}{chr(34)}' for one in wanted)}]"
    assert check.seen == f"[{', '.join(f'{chr(34)}{one.decode()}{chr(34)}' for one in seen)}]"


def test_datagram_of_a_file() -> None:
    """A file that was sent as a datagram is known by its step, as that of a stream is."""
    story = datagrams([FILE], HOLA)
    passed = checked(story, sent(path="0"), name=UDP)
    assert (passed.verdict, passed.packets) == (Outcome.PASSED, (2,))
    failed = checked(story, sent(b"other", path="0"), name=UDP)
    assert failed.verdict is Outcome.FAILED
    assert failed.why.startswith(f"datagram 1 is not file hola.txt: 5 bytes, SHA-256 {OTHER}..., were sent from it")
    unknown = checked(story, name=UDP)
    assert (unknown.verdict, unknown.seen) == (Outcome.UNKNOWN, f'["{HOLA.decode()}"]')


@pytest.mark.parametrize(
    ("direction", "verdict"),
    [("client->server", Outcome.PASSED), ("client-2->server", Outcome.FAILED), ("server->client", Outcome.FAILED)],
)
def test_datagrams_of_others(direction: str, verdict: Outcome) -> None:
    """A role stands for each of its hosts, a host's name for it alone."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    story = Story({"hosts": hosts, "expect": {"datagrams": {direction: ["a"]}}})
    story.udp(0, "client", b"a")
    assert checked(story, name=f"datagrams.{direction}").verdict is verdict
