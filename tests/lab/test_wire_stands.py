"""A wire that is not as it was left says so, with the reason; and what is pulled and put back is as before."""

from __future__ import annotations

import functools
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wire_pair
from namespaces import inside, run
from wire_pair import CLIENT, CLIENT6, MS, Pair, left

from testbed.agent import capture, ifb, wire
from testbed.agent.control import Agent
from testbed.agent.loop import Output

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
]
ENGINES = ("portable", "netem")
DELAYED = {CLIENT: {"delay_ns": 20 * MS, "ports": {"80": {"loss_percent": 100.0}}}}

lacking = functools.cache(wire_pair.lacking)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine that this machine has; with TESTBED_REQUIRE_NETEM=1 it must have netem."""
    name: str = request.param
    if why := lacking(name):
        if name == "netem" and os.environ.get("TESTBED_REQUIRE_NETEM") == "1":
            pytest.fail(f"TESTBED_REQUIRE_NETEM is set, and {why}")
        pytest.skip(why)
    return name


@pytest.fixture(scope="module")
def hosts() -> Iterator[Pair]:
    """Two hosts."""
    made = Pair()
    with made.lab:
        made.make()
        yield made


@pytest.fixture
def pair(hosts: Pair) -> Iterator[Pair]:
    """Both as new."""
    with hosts.undo:
        yield hosts


def test_it_stands_as_it_was_left(pair: Pair, engine: str) -> None:
    """Up, no reason, and the settings are what was asked; traffic changes none of it."""
    applied = pair.apply(engine, DELAYED)
    sender, receiver = pair.ends()
    wire_pair.send(sender, 50)
    assert len(wire_pair.heard(receiver, 50)) == 50
    said = pair.read(applied)
    assert (said["engine"], said["up"], said["why"], said["phase"]) == (engine, True, "", 0)
    assert sorted(said["settings"], key=str) == sorted(
        [
            {"from": CLIENT, "port": 80, "loss_percent": 100.0},
            {"from": CLIENT, "port": None, "delay_ns": 20 * MS},
        ],
        key=str,
    )
    assert (said["in"], said["out"], said["dropped"], said["waiting"]) == (50, 50, 0, 0)
    assert {found["dev"] for found in said["qdiscs"]} >= {"eth0"}
    assert applied.answer["settings"] == said["settings"]


BEHIND_ITS_BACK = {
    "clsact removed": (["tc qdisc del dev eth0 clsact"], "the qdisc clsact of eth0 is gone"),
    "clsact replaced": (
        ["tc qdisc del dev eth0 clsact", "tc qdisc add dev eth0 clsact"],
        "the filters that redirect what arrives at eth0 to link0 are not as they were left",
    ),
    "a filter removed": (
        ["tc filter del dev eth0 ingress pref 20"],
        "the filters that redirect what arrives at eth0 to link0 are not as they were left",
    ),
    "a filter added": (
        ["tc filter add dev eth0 ingress protocol ip pref 5 u32 match ip dst 198.18.0.3 flowid 1:1"],
        "the filters that redirect what arrives at eth0 to link0 are not as they were left",
    ),
    "another qdisc": (
        ["tc qdisc add dev eth0 root handle 7: tbf rate 1mbit burst 10kb latency 50ms"],
        "eth0 has the qdisc tbf 7: where it had the qdisc noqueue 0:",
    ),
    "link0 down": (["ip link set dev link0 down"], "the interface link0 is down"),
    "link0 smaller": (["ip link set dev link0 mtu 900"], "the interface link0 is another one than was put up"),
}


@pytest.mark.parametrize("what", BEHIND_ITS_BACK)
def test_what_is_changed_behind_its_back_is_said(pair: Pair, engine: str, what: str) -> None:
    """`up` is false, with the reason and a command to look with; close still restores."""
    applied = pair.apply(engine, DELAYED)
    commands, reason = BEHIND_ITS_BACK[what]
    for command in commands:
        run("ip", "netns", "exec", pair.server, *command.split())
    said = pair.read(applied)
    assert said["up"] is False
    assert reason in said["why"]
    assert "see `" in said["why"]
    pair.close(applied)
    if what == "another qdisc":
        run("tc", "-n", pair.server, "qdisc", "del", "dev", "eth0", "root")
    assert left(pair.server) == []


def test_a_killed_emulator_is_said(pair: Pair) -> None:
    """The process dies, the TAP with it: both are in the reason, and the counters are the last ones known."""
    if why := lacking("portable"):
        pytest.skip(why)
    applied = pair.apply("portable", DELAYED)
    before = pair.read(applied)
    os.kill(applied._link._child.pid, 9)  # type: ignore[attr-defined]
    assert select.select([applied], [], [], 1)[0]
    said = pair.read(applied)
    assert said["up"] is False
    assert said["why"].startswith("the portable engine does not answer: link link0: its process")
    assert "the interface link0 is gone" in said["why"]
    assert [said[name] for name in ("in", "settings", "phase")] == [
        before[name] for name in ("in", "settings", "phase")
    ]


@pytest.mark.parametrize("how", ["the link", "the engine"])
def test_what_cannot_be_put_up_leaves_nothing(
    pair: Pair, engine: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All or nothing: a filter that the kernel refuses, or a request that makes no sense."""
    if how == "the link":
        monkeypatch.setitem(wire.FILTERS, "ipv6", ("protocol ipv6 pref 20 nosuchfilter",))
        with pytest.raises(wire.CommandRefused, match="nosuchfilter"):
            pair.apply(engine, DELAYED)
    else:
        with pytest.raises(ValueError, match="loss_percent"):
            pair.apply(engine, {CLIENT: {"loss_percent": 101.0}})
    assert left(pair.server) == []


def test_a_phase_begins_on_time(pair: Pair, engine: str) -> None:
    """After wire.begin the second phase holds at its moment, an event says so, and it is what is read."""
    applied = pair.apply(engine, DELAYED, {CLIENT: {"blackhole": True}})
    assert pair.read(applied)["phase"] == 0
    started_ns = time.time_ns()
    with inside(pair.server):
        applied.begin(started_ns)
    assert select.select([applied], [], [], 5)[0]
    (event,) = pair.events(applied)
    assert (event["event"], event["phase"]) == ("wire", 1)
    assert event["time_ns"] >= started_ns + 300 * MS
    said = pair.read(applied)
    assert (said["up"], said["why"], said["phase"]) == (True, "", 1)
    assert {"from": CLIENT, "port": None, "blackhole": True} in said["settings"]
    sender, receiver = pair.ends()
    wire_pair.send(sender, 10)
    assert wire_pair.heard(receiver) == []
    assert pair.read(applied)["dropped_by"]["blackhole"] == 10
    assert not select.select([applied], [], [], 0)[0]


def test_probing_leaves_nothing(pair: Pair) -> None:
    """No device and no qdisc; what is missing is named."""
    before = run("ip", "netns", "exec", pair.server, "ip", "link")
    with inside(pair.server):
        found = Agent(Output(os.open(os.devnull, os.O_WRONLY))).serve({"id": 1, "do": "wire.probe"})
    assert run("ip", "netns", "exec", pair.server, "ip", "link") == before
    assert left(pair.server) == []
    assert isinstance(found, dict)
    for name in ENGINES:
        assert found[name]["ok"] is (not found[name]["says"]) is (not found[name]["lacks"])


def test_an_ifb_that_nobody_holds_is_removed_by_a_reset(pair: Pair) -> None:
    """As an agent that was killed leaves it."""
    with inside(pair.server):
        try:
            ifb.Link("link0", {"phases": [{"at_ns": 0, "sources": {}}]}, "eth0")._timer.close()
        except wire.CommandRefused as refused:
            pytest.skip(f"the kernel has no ifb: {refused.output}")
        agent = Agent(Output(os.open(os.devnull, os.O_WRONLY)))
        answer: Any = agent.serve({"id": 1, "do": "reset"})
    assert answer == {"clean": True, "left": []}
    assert left(pair.server) == []


# ---------------------------------------------------------------- link down and up


def shown(namespace: str) -> list[str]:
    """Addresses, routes and permanent neighbours as ip shows them, but for the link-local address and lifetimes."""
    commands = (
        "addr show dev eth0",
        "route show",
        "-6 route show",
        "neigh show nud permanent",
        "-6 neigh show nud permanent",
    )
    lines = [line for command in commands for line in run("ip", "-n", namespace, *command.split()).splitlines()]
    return sorted(line.replace("linkdown", "").strip() for line in lines if "fe80" not in line and "state" not in line)


def test_an_interface_that_comes_back_has_all_it_had(pair: Pair) -> None:
    """Addresses and routes of both families, permanent neighbours; a capture and a listening socket hear on."""
    for line in (
        "route add 198.18.9.0/24 via 198.18.0.2 metric 7",
        "-6 route add fd09::/64 via fd00::2",
        "neigh add 198.18.0.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
        "-6 neigh add fd00::77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent",
    ):
        run("ip", "-n", pair.server, *line.split())
        pair.undo.callback(run, "ip", "-n", pair.server, *line.replace(" add ", " del ").split())
    before = shown(pair.server)
    assert len(before) >= 9
    told, tell = os.pipe()
    with os.fdopen(told, "rb") as reader, inside(pair.server):
        output = Output(tell)
        agent = Agent(output)
        hearing = {"name": "ear", "interface": "eth0", "promiscuous": False, "snap_length": 128}
        agent.serve({"id": 1, "do": "capture.start", **hearing})
        for _ in range(2):
            agent.serve({"id": 2, "do": "link.set", "interface": "eth0", "up": False})
            for family, peer in ((socket.AF_INET, CLIENT), (socket.AF_INET6, CLIENT6)):
                with (
                    socket.socket(family, socket.SOCK_DGRAM) as lost,
                    pytest.raises(OSError, match=r"(?i)unreachable|assign"),
                ):
                    lost.connect((peer, 9))
            agent.serve({"id": 3, "do": "link.set", "interface": "eth0", "up": True})
        assert shown(pair.server) == before
        for source in (CLIENT, CLIENT6):
            sender, receiver = pair.ends(source)
            wire_pair.send(sender, 5)
            assert len(wire_pair.heard(receiver, 5)) == 5
        answer: Any = agent.serve({"id": 4, "do": "capture.stop", "name": "ear"})
        agent.close()
        output.finish()
        os.close(tell)
        assert (answer["packets"] >= 10, reader.read()) == (
            True,
            b"",
        )  # that it was down is no news to who asked for it


def test_a_capture_whose_interface_is_gone_says_so(pair: Pair, tmp_path: Path) -> None:
    """Down is not gone: only what can never be heard again is a problem."""
    run("ip", "-n", pair.server, "link", "add", "name", "dummy9", "type", "ifb")
    run("ip", "-n", pair.server, "link", "set", "dummy9", "up")
    with inside(pair.server):
        listening = capture.Capture("dummy9", "dummy9", str(tmp_path), False, 128)
        listening.start()
    run("ip", "-n", pair.server, "link", "del", "dummy9")
    assert select.select([listening], [], [], 2)[0]
    (event,) = listening.read_events()
    assert (event["says"], event["down"]) == ("capture dummy9: Network is down", False)
    listening.kill()


def test_the_wire_stands_while_its_interface_was_down(pair: Pair, engine: str) -> None:
    """link.set of the agent takes eth0 down and up; the wire is as it was left, and impairs as before."""
    applied = pair.apply(engine, DELAYED)
    agent = Agent(Output(os.open(os.devnull, os.O_WRONLY)))
    with inside(pair.server):
        for up in (False, False, True):
            assert agent.serve({"id": 1, "do": "link.set", "interface": "eth0", "up": up}) == {"up": up}
    sender, receiver = pair.ends()
    wire_pair.send(sender, 5)
    assert [number for number, took_ms in wire_pair.heard(receiver, 5) if took_ms >= 20] == [0, 1, 2, 3, 4]
    said = pair.read(applied)
    assert (said["up"], said["why"]) == (True, "")


def test_what_was_taken_down_is_up_when_the_agent_ends(pair: Pair) -> None:
    """A reset, or the end of the agent, puts the interface back."""
    before = shown(pair.server)
    agent = Agent(Output(os.open(os.devnull, os.O_WRONLY)))
    with inside(pair.server):
        agent.serve({"id": 1, "do": "link.set", "interface": "eth0", "up": False})
        assert agent.close() == []
    assert shown(pair.server) == before
