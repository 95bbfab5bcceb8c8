"""The agent plays every step on real sockets over the loopback of a namespace of its own."""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from agent_driver import Agent, step

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not shutil.which("unshare"), reason="unshare(1) is not here")]

LISTEN = step("listen", port=7456)
CONNECT = step("connect", host="a", port=7456)
MILLISECOND = 1_000_000


@pytest.fixture
def agent() -> Iterator[Agent]:
    with Agent() as one:
        yield one


def outcomes(steps: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(one["step"], one["outcome"], one["errno"]) for one in steps]


def test_a_conversation_reports_addresses_bytes_and_digests(agent: Agent) -> None:
    """listen, connect, accept, send, shutdown, recv to the end, close: each says what the kernel did."""
    text = "Hola server, are you bored?"
    steps = agent.run(
        LISTEN,
        {**CONNECT, "as": "c", "from": 40000},
        step("accept", as_="s"),
        step("send", payload={"text": text}, on="c"),
        step("shutdown", how="wr", on="c"),
        step("recv", bytes=None, chunk=4, equals={"text": text}, on="s"),
        step("log", line="Got connection from {peer} at {local} on {host}", on="s"),
        step("close", on="s"),
        step("close"),
    )
    assert {one["outcome"] for one in steps} == {"ok"}
    assert [one["path"] for one in steps] == [str(number) for number in range(9)]
    by_name = {one["step"]: one for one in steps}
    assert by_name["listen"]["local"] == "0.0.0.0:7456"
    assert (by_name["connect"]["local"], by_name["connect"]["peer"]) == ("127.0.0.1:40000", "127.0.0.1:7456")
    assert (by_name["accept"]["local"], by_name["accept"]["peer"]) == ("127.0.0.1:7456", "127.0.0.1:40000")
    assert by_name["recv"]["bytes"] == by_name["send"]["bytes"] == 27
    assert base64.b64decode(by_name["recv"]["data"]).decode() == text
    assert by_name["recv"]["sha256"] == by_name["send"]["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    log = agent.until("log")
    assert log["line"] == "Got connection from ('127.0.0.1', 40000) at ('127.0.0.1', 7456) on a"
    assert log["path"] == "6"
    played = agent.until("played")
    assert (played["exit"], played["signal"], played["held"]) == (0, None, False)


def test_ipv6_sockets(agent: Agent) -> None:
    """With family ipv6 all sockets are IPv6 ones, and addresses are in brackets."""
    steps = agent.run(LISTEN, CONNECT, step("accept"), family="ipv6")
    assert (steps[0]["local"], steps[1]["peer"]) == ("[::]:7456", "[::1]:7456")


def test_large_payload_between_two_programs(agent: Agent) -> None:
    """send writes all, however much the peer's window takes at once; the digest is of all, the data of 64 KiB."""
    size = 5_000_000
    expected = Random(5).randbytes(size)
    agent.play(LISTEN, step("accept"), step("recv", bytes=size, chunk=65536, equals={"random": size, "seed": 5}))
    connect = {**CONNECT, "await": "listening:a:7456"}
    agent.play(connect, step("send", payload={"random": size, "seed": 5}), step("close"))
    received = agent.until("step", step="recv")
    assert (received["outcome"], received["bytes"]) == ("ok", size)
    assert received["sha256"] == hashlib.sha256(expected).hexdigest()
    assert base64.b64decode(received["data"]) == expected[: 64 * 1024]


def test_expected_errors_go_on_and_others_end_the_program(agent: Agent) -> None:
    """The same ECONNREFUSED: declared, the program goes on; not declared, it ends with exit code 1."""
    declared = agent.run({**CONNECT, "error": "ECONNREFUSED"}, step("mark", name="after"))
    assert outcomes(declared) == [("connect", "error", "ECONNREFUSED"), ("mark", "ok", None)]
    assert declared[0]["peer"] == "127.0.0.1:7456"
    since = len(agent.events)
    assert outcomes(agent.run(CONNECT, step("mark", name="after"))) == [("connect", "error", "ECONNREFUSED")]
    assert agent.until("played", since=since)["exit"] == 1


def test_an_error_that_does_not_come_ends_the_program(agent: Agent) -> None:
    """A step that succeeds, or fails otherwise, where an error is declared ends the program."""
    assert outcomes(agent.run({**LISTEN, "error": "EADDRINUSE"}, step("close"))) == [("listen", "ok", None)]
    assert outcomes(agent.run({**CONNECT, "error": "ETIMEDOUT"}, step("mark", name="m"))) == [
        ("connect", "error", "ECONNREFUSED")
    ]


def test_bind_only(agent: Agent) -> None:
    """A bound port that nobody listens on refuses; binding it again is EADDRINUSE."""
    steps = agent.run(
        step("bind", port=10000, as_="one", reuse=False),
        step("bind", port=10000, reuse=False, error="EADDRINUSE"),
        step("socket", as_="c"),
        step("connect", host="a", port=10000, on="c", error="ECONNREFUSED"),
        step("listen", port=None, on="one"),
    )
    assert [one["errno"] for one in steps] == [None, "EADDRINUSE", None, "ECONNREFUSED", None]
    assert [e["name"] for e in agent.events if e["event"] == "mark"] == ["bound:a:10000", "listening:a:10000"]


def test_a_free_port_is_told_by_the_mark(agent: Agent) -> None:
    """Port 0: the marks end with `free` and carry the real port; a connect to `free` takes it from there."""
    steps = agent.run(
        step("listen", port=0), step("connect", host="a", port="free", await_="listening:a:free"), step("accept")
    )
    marks = {event["name"]: event["value"] for event in agent.events if event["event"] == "mark"}
    assert marks["bound:a:free"] == marks["listening:a:free"] > 0
    assert steps[1]["peer"] == f"127.0.0.1:{marks['listening:a:free']}"


def test_time_limits(agent: Agent) -> None:
    """A step whose time is over ends with outcome timeout and no errno, and so does the program."""
    limit = {"timeout_ns": 30 * MILLISECOND}
    for steps in (
        [LISTEN, {"step": "accept", **limit}],
        [LISTEN, CONNECT, step("recv", bytes=5, **limit)],
        [step("wait", name="never", **limit)],
        [step("udp", port=0), step("recvfrom", bytes=5, **limit)],
        [LISTEN, CONNECT, step("send", payload={"random": 30_000_000, "seed": 1}, **limit)],
    ):
        last = agent.run(*steps, step("mark", name="not reached"))[-1]
        assert (last["step"], last["outcome"], last["errno"]) == (steps[-1]["step"], "timeout", None)
        assert last["end_ns"] - last["start_ns"] < 1000 * MILLISECOND
        assert "its time was over" in last["says"]


def test_a_time_limit_counts_once_the_peer_is_ready(agent: Agent) -> None:
    """A connect waits for the mark of its peer's listen for as long as it takes, and then has all of its time."""
    rounds = [
        [step("sleep", duration_ns=150 * MILLISECOND), LISTEN, step("accept")],
        [{**CONNECT, "await": "listening:a:7456", "timeout_ns": 50 * MILLISECOND}],
    ]
    for steps in rounds:
        agent.play(*steps)
    connect = agent.until("step", step="connect")
    assert connect["outcome"] == "ok"
    assert connect["due_ns"] + 100 * MILLISECOND < connect["start_ns"] < connect["due_ns"] + 10_000 * MILLISECOND


def test_recv_that_differs_or_ends_early(agent: Agent) -> None:
    """An early end is the error EOF with what was read; other bytes than expected are an error without errno."""
    talk = [LISTEN, {**CONNECT, "as": "c"}, step("accept", as_="s"), step("send", payload={"hex": "0a0b"}, on="c")]
    early = agent.run(*talk, step("close", on="c"), step("recv", bytes=3, on="s", error="EOF"), step("close"))
    assert (early[5]["errno"], early[5]["bytes"], early[5]["data"]) == ("EOF", 2, "Cgs=")
    assert early[-1]["outcome"] == "ok"
    other = agent.run(*talk, step("recv", bytes=2, equals={"hex": "0a0c"}, on="s"), step("close"))[-1]
    assert (other["step"], other["outcome"], other["errno"]) == ("recv", "error", None)
    assert "differ from byte 1" in other["says"]


def test_resets_and_broken_pipes(agent: Agent) -> None:
    """abort sends a reset: the peer reads ECONNRESET, then writes EPIPE, and is not killed by SIGPIPE."""
    steps = agent.run(
        LISTEN,
        {**CONNECT, "as": "c"},
        step("accept", as_="s"),
        step("abort", on="s"),
        step("recv", bytes=1, on="c", error="ECONNRESET"),
        step("send", payload={"text": "x"}, on="c", error="EPIPE"),
    )
    assert [one["errno"] for one in steps] == [None, None, None, None, "ECONNRESET", "EPIPE"]
    assert agent.until("played")["signal"] is None


def test_options(agent: Agent) -> None:
    """Options by name reach setsockopt(2); one that nobody knows is ENOPROTOOPT."""
    steps = agent.run(
        step("socket"),
        step("sockopt", options={"TCP_NODELAY": True, "SO_LINGER": 0, "TCP_CONGESTION": "reno", "TCP_USER_TIMEOUT": 9}),
        step("sockopt", options={"TCP_NO_SUCH": 1}, error="ENOPROTOOPT"),
        step("sockopt", options={"SO_RCVBUF": 1 << 40}, error="EINVAL"),
    )
    assert [one["outcome"] for one in steps] == ["ok", "ok", "error", "error"]


def test_datagrams(agent: Agent) -> None:
    """udp, sendto, recvfrom and a reply to whom the datagram came from."""
    steps = agent.run(
        step("udp", port=5000, as_="one"),
        step("udp", port=0, as_="two"),
        step("sendto", host="a", port=5000, payload={"text": "hi"}, await_="bound:a:5000", on="two"),
        step("recvfrom", bytes=100, equals={"text": "hi"}, on="one"),
        step("sendto", host=None, port=None, payload={"text": "ho"}, on="one"),
        step("recvfrom", bytes=100, equals={"text": "ho"}, on="two"),
    )
    assert {one["outcome"] for one in steps} == {"ok"}
    assert steps[3]["peer"] == steps[2]["local"].replace("0.0.0.0", "127.0.0.1")
    assert (steps[5]["bytes"], steps[5]["peer"]) == (2, "127.0.0.1:5000")


def test_files(agent: Agent) -> None:
    """A file payload is what came with the program; one that did not come is an error that names it."""
    content = base64.b64encode(b"from a file").decode()
    talk = [LISTEN, CONNECT, step("send", payload={"file": "x.bin"})]
    assert agent.run(*talk, files={"x.bin": content})[-1]["bytes"] == 11
    assert "x.bin" in agent.run(*talk)[-1]["says"]


def test_marks_of_others_and_earlier_ones(agent: Agent) -> None:
    """wait is satisfied by a mark of the program, by one relayed before the program began, and by one relayed later."""
    agent.ask("mark", name="before", value=None)
    agent.play(
        step("wait", name="before"), step("mark", name="own"), step("wait", name="own"), step("wait", name="later")
    )
    agent.until("mark", name="own")
    agent.ask("mark", name="later", value=None)
    assert agent.until("played")["exit"] == 0


def test_twenty_at_once(agent: Agent) -> None:
    """parallel: twenty connections at the same time, each with its own sockets; repeat: the rounds one by one."""
    client = step("parallel", times=20, steps=[CONNECT, step("wait", name="go"), step("recv", bytes=None)])
    accept = step("repeat", times=20, steps=[step("accept", as_="s")])
    agent.play(LISTEN, step("wait", name="full"), accept, step("snapshot", name="table"), step("mark", name="go"))
    agent.until("mark", name="listening:a:7456")
    agent.play(client)
    for number in range(20):
        agent.until("step", step="connect", round=[number], path="0.0", outcome="ok")
    agent.ask("mark", name="full")
    rows = agent.until("snapshot", name="table")["rows"]
    assert {"state": "LISTEN", "local": "0.0.0.0:7456", "peer": "0.0.0.0:0"}.items() <= rows[0].items()
    assert len([row for row in rows if row["local"] == "127.0.0.1:7456" and row["state"] == "ESTABLISHED"]) == 20
    assert [e["round"] for e in agent.events if e.get("step") == "accept"] == [[n] for n in range(20)]
    for number in range(20):
        agent.until("step", step="recv", round=[number], outcome="ok")


def test_an_undeclared_error_in_one_round_ends_all(agent: Agent) -> None:
    """A step that fails in one of the parallel rounds ends the program, whatever the others wait for."""
    rounds = step("parallel", times=3, steps=[CONNECT, step("wait", name="never")])
    steps = agent.run(step("parallel", times=1, steps=[rounds]))
    assert outcomes(steps)[0] == ("connect", "error", "ECONNREFUSED")
    assert agent.until("played")["exit"] == 1


def test_hold_keeps_sockets_until_release(agent: Agent) -> None:
    """A held program has played, its connection stays; release closes it before it is answered."""
    agent.play(LISTEN, CONNECT, step("hold"))
    played = agent.until("played")
    assert (played["held"], played["exit"]) == (True, None)
    assert agent.ask("settled", timeout_ns=0)["sockets"]["ESTABLISHED"] == 2
    agent.ask("release")
    assert "ESTABLISHED" not in agent.ask("settled", timeout_ns=0)["sockets"]
    assert len([event for event in agent.events if event["event"] == "played"]) == 1


def test_hold_inside_parallel(agent: Agent) -> None:
    """Rounds that hold keep their sockets; the program has played when every round holds or has ended."""
    agent.play(LISTEN, step("parallel", times=3, steps=[CONNECT, step("hold")]), step("mark", name="not reached"))
    assert agent.until("played")["held"]
    assert agent.ask("settled", timeout_ns=0)["sockets"]["ESTABLISHED"] == 6


def test_what_a_round_leaves_open_stays_open(agent: Agent) -> None:
    """A round's sockets are not closed at its end, and are not seen by later steps."""
    steps = agent.run(
        LISTEN, step("repeat", times=2, steps=[CONNECT]), step("snapshot", name="s"), step("recv", bytes=1)
    )
    states = [row["state"] for row in agent.until("snapshot")["rows"]]
    assert states.count("ESTABLISHED") == 4
    assert (steps[-1]["step"], steps[-1]["errno"]) == ("recv", "ENOTCONN")  # the listener is all it sees


def test_no_socket_that_fits(agent: Agent) -> None:
    """A step without a socket to act on says so, and which there are."""
    last = agent.run(step("socket", as_="plain"), step("accept"))[-1]
    assert (last["outcome"], last["errno"]) == ("error", None)
    assert "no open listener" in last["says"]
    assert "plain (fresh)" in last["says"]
