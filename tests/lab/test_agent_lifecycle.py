"""The sampler and the kernel's table against real connections: on loopback, and between two namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import pytest
from agent_driver import Agent, join, step

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not shutil.which("unshare"), reason="unshare(1) is not here")]
MILLISECOND = 1_000_000
ADDRESSES = {
    "ipv4": {"client": "198.18.0.2", "server": "198.18.0.3"},
    "ipv6": {"client": "fd00::2", "server": "fd00::3"},
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="joins two namespaces by a veth: needs root")


def walk(agent: Agent, *, having: str) -> list[str]:
    """The states that sockets with this text in their label went through, in order."""
    found = [event for event in agent.events if event["event"] == "state" and having in event["socket"]]
    return [event["to"] for event in found]


def lasting(states: list[str]) -> list[str]:
    """Without those that last only until the peer answers: over loopback a sample meets one now and then."""
    return [state for state in states if state not in ("SYN_SENT", "SYN_RECV", "FIN_WAIT1", "LAST_ACK")]


def test_a_listener_and_its_connections() -> None:
    """A listener is seen in LISTEN and goes to CLOSE; a connection's steps join up, from CLOSE to CLOSE."""
    with Agent() as agent:
        agent.ask("states.start", interval_ns=MILLISECOND)
        pause = step("sleep", duration_ns=30 * MILLISECOND)
        connect = step("connect", host="a", port=7456, as_="c", from_=40000)
        rest = [step("accept", as_="s"), pause, step("close", on="c"), pause, step("close", on="s"), pause]
        agent.run(step("listen", port=7456, as_="l"), pause, connect, *rest, step("close", on="l"), pause)
        answer = agent.ask("states.stop")
        assert answer["samples"] > 7  # in 0.1 s: every 20 ms, and more often while there are packets
        assert answer["longest_gap_ns"] >= MILLISECOND
        assert walk(agent, having="0.0.0.0:7456 ") == ["LISTEN", "CLOSE"]
        assert lasting(walk(agent, having="127.0.0.1:40000 127")) == ["ESTABLISHED", "FIN_WAIT2", "TIME_WAIT"]
        assert lasting(walk(agent, having="127.0.0.1:7456 127")) == ["ESTABLISHED", "CLOSE_WAIT", "CLOSE"]
        state = next(event for event in agent.events if event["event"] == "state")
        assert (state["from"], state["socket"]) == ("CLOSE", "0.0.0.0:7456 0.0.0.0:0")


@needs_root
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_two_hosts_walk_the_whole_life(family: str) -> None:
    """Two agents in two namespaces: handshake and close over a veth, marks relayed by us, states of both kernels."""
    with Agent() as client, Agent() as server:
        join(client, server)
        for one in (client, server):
            seen = one.ask("hello", sysctls=["net.ipv4.tcp_syn_retries"])
            assert seen["interfaces"]["eth0"]["ipv4"][0].startswith("198.18.0.")
            assert seen["sysctls"]["net.ipv4.tcp_syn_retries"] == "6"
            one.ask("states.start", interval_ns=MILLISECOND)
        play: dict[str, Any] = {"family": family, "addresses": ADDRESSES[family]}
        server.play(
            step("listen", port=0), step("accept"), step("recv", bytes=None), step("close"), host="server", **play
        )
        connect = step("connect", host="server", port="free", await_="listening:server:free")
        goodbye = [step("send", payload={"text": "Hola"}), step("sleep", duration_ns=20 * MILLISECOND), step("close")]
        client.play(connect, *goodbye, host="client", **play)
        mark = server.until("mark", name="listening:server:free")
        client.ask("mark", name=mark["name"], value=mark["value"])
        for one in (client, server):
            assert one.until("played")["exit"] == 0
            assert one.ask("settled", timeout_ns=1000 * MILLISECOND)["settled"]
            one.ask("states.stop")
        port = mark["value"]
        assert {"ESTABLISHED", "TIME_WAIT"} <= set(walk(client, having=f":{port}"))
        assert {"LISTEN", "ESTABLISHED", "CLOSE"} <= set(walk(server, having=f":{port} "))


@needs_root
def test_every_state_is_seen_on_a_delayed_wire() -> None:
    """With 20 ms each way no state of the handshake and of both closes is too short (RFC 9293, figure 5)."""
    sources = {address: {"delay_ns": 20 * MILLISECOND} for address in ADDRESSES["ipv4"].values()}
    link = {"engine": "portable", "seed": 1, "faults": [], "phases": [{"at_ns": 0, "sources": sources}]}
    with Agent() as client, Agent() as server:
        join(client, server)
        play: dict[str, Any] = {"family": "ipv4", "addresses": ADDRESSES["ipv4"]}
        for one in (client, server):
            answer = one.ask("wire.apply", interface="eth0", address_families=["ipv4"], link=link)
            assert answer["filters"]
            one.ask("states.start", interval_ns=MILLISECOND)
        last = [step("recv", bytes=None), step("sleep", duration_ns=40 * MILLISECOND), step("close"), step("hold")]
        server.play(step("listen", port=7456), step("accept", as_="s"), *last, host="server", **play)
        server.until("mark", name="listening:server:7456")
        pause = step("sleep", duration_ns=40 * MILLISECOND)  # else ESTABLISHED lasts some 100 us at the client
        client.play(step("connect", host="server", port=7456), pause, step("close"), host="client", **play)
        for one in (client, server):
            one.until("played")
        # FIN_WAIT2 counts as settled: the server, which has yet to hear of its FIN, is to be asked first.
        for one in (server, client):
            assert one.ask("settled", timeout_ns=2000 * MILLISECOND)["settled"]
            one.ask("states.stop")
            wire = one.ask("wire.read", interface="eth0")
            assert (wire["up"], wire["dropped"]) == (True, 0)
        opened = ["SYN_SENT", "ESTABLISHED"]
        assert walk(client, having=":7456") == [*opened, "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"]
        accepted = walk(server, having="198.18.0.3:7456 198.18.0.2:")
        assert accepted == ["SYN_RECV", "ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"]
        assert walk(server, having="0.0.0.0:7456 ") == ["LISTEN"]


@needs_root
def test_unanswered_handshakes_are_not_settled() -> None:
    """SYN_SENT where the peer swallows packets, SYN_RECV where it swallows ours: both are seen, neither is settled."""
    with Agent() as client, Agent() as server:
        join(client, server)
        play: dict[str, Any] = {"family": "ipv4", "addresses": ADDRESSES["ipv4"]}
        for one in (client, server):
            macs = one.ask("hello")["interfaces"]["eth0"]
            assert macs["mtu"] == 1500
            one.ask("states.start", interval_ns=MILLISECOND)
        # The client's kernel is told a wrong MAC for its peer, or the server's for its: packets go nowhere.
        nowhere = "02:00:00:00:00:99"
        server_mac = server.ask("hello")["interfaces"]["eth0"]["mac"]
        client.ask("prepare", interface="eth0", neighbours=[{"address": "198.18.0.3", "mac": server_mac}])
        server.ask("prepare", interface="eth0", neighbours=[{"address": "198.18.0.2", "mac": nowhere}])
        server.play(step("listen", port=7456), step("hold"), host="server", **play)
        server.until("played")
        client.play(step("connect", host="server", port=7456, timeout_ns=300 * MILLISECOND), host="client", **play)
        server.until("state", to="SYN_RECV")
        client.until("state", to="SYN_SENT")
        answer = server.ask("settled", timeout_ns=0)
        assert (answer["settled"], answer["sockets"]) == (False, {"LISTEN": 1, "SYN_RECV": 1})
        assert client.ask("settled", timeout_ns=0)["sockets"] == {"SYN_SENT": 1}
        played = client.until("played")
        assert (played["exit"], client.until("step")["outcome"]) == (1, "timeout")
        assert client.ask("settled", timeout_ns=1000 * MILLISECOND)["settled"]
        client.ask("states.stop")
        assert walk(client, having=":7456") == ["SYN_SENT", "CLOSE"]


@needs_root
def test_prepare_switches_offloads_off_and_fixes_neighbours() -> None:
    """Offloads read back as off, neighbours as permanent, in the kernel's own words (`ip neigh`)."""
    with Agent() as one, Agent() as other:
        join(one, other)
        neighbours = [
            {"address": "198.18.0.3", "mac": "02:00:00:00:00:03"},
            {"address": "fd00::3", "mac": "02:00:00:00:00:03"},
        ]
        answer = one.ask("prepare", interface="eth0", neighbours=neighbours)
        assert answer["offloads"] == dict.fromkeys(("tso", "gso", "gro", "sg", "tx", "rx"), False)
        assert answer["neighbours"] == neighbours
        enter = ["nsenter", f"--net=/proc/{one.process.pid}/ns/net", "ip", "neigh"]
        shown = subprocess.run(enter, capture_output=True, text=True, check=True).stdout
        assert "198.18.0.3 dev eth0 lladdr 02:00:00:00:00:03 PERMANENT" in shown
        assert "fd00::3 dev eth0 lladdr 02:00:00:00:00:03 PERMANENT" in shown
        wrong = one.answer(one.send("prepare", interface="eth9", neighbours=[]))
        assert wrong["error"]["kind"] == "ENODEV"
