"""Frames that prove that the sniffer hears: sent from host to host before the first step and after the last one.

They have an EtherType of their own (docs/agent-protocol.md), and no scenario's verdict looks at them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testbed import evidence as e
from testbed.agent.canary import TYPE_FIELD
from testbed.errors import BlindError
from testbed.lab.agents import Agents, Ticket
from testbed.pcap.frame import Frame
from testbed.plan import SNIFFER
from testbed.recording import Recorder
from testbed.wiring import INTERFACE

HUB_TIMEOUT_S = 10.0
CANARY_TIMEOUT_NS = 300_000_000
PROTOCOL_AT = {b"\x08\x00": 23, b"\x86\xdd": 20}  # by EtherType: where in the frame the protocol's number stands
TCP = b"\x06"


@dataclass(frozen=True, slots=True)
class Host:
    """A host that has said hello."""

    name: str
    role: str
    address: str
    mac: str
    kernel: str


def _ring(hosts: Mapping[str, Host]) -> list[tuple[Host, Host]]:
    """Who sends a canary to whom: around all hosts, or of a lone host to the sniffer."""
    players = [host for host in hosts.values() if host.role != SNIFFER]
    if len(players) == 1:
        return [(players[0], hosts[SNIFFER])]
    return [(one, players[(index + 1) % len(players)]) for index, one in enumerate(players)]


def _send_canaries(agents: Agents, hosts: Mapping[str, Host], label: str) -> list[Ticket]:
    return [
        agents.ask(a.name, "canary.send", interface=INTERFACE, to=b.mac, token=f"{label} {a.name}")
        for a, b in _ring(hosts)
    ]


def _canaries(agents: Agents, hosts: Mapping[str, Host], label: str) -> bool:
    """Send a unicast frame around the hosts; whether the sniffer has heard every one.

    A host whose interface a step has taken down sends none; some host must.
    """
    sent = agents.wait(_send_canaries(agents, hosts, label))
    sources = [source.name for (source, _), answer in zip(_ring(hosts), sent, strict=True) if answer.get("sent", True)]
    wanted = {"name": e.WIRE, "timeout_ns": CANARY_TIMEOUT_NS}
    tickets = [agents.ask(SNIFFER, "canary.wait", token=f"{label} {source}", **wanted) for source in sources]
    return bool(sources) and all(answer.get("heard", True) for answer in agents.wait(tickets))


def prove_hub(agents: Agents, hosts: Mapping[str, Host]) -> None:
    """Wait until the sniffer hears what the others say to each other.

    The first round teaches a learning bridge every address; only what is heard after it proves a hub.
    """
    deadline = time.monotonic() + HUB_TIMEOUT_S
    agents.wait(_send_canaries(agents, hosts, "start 0"))
    for attempt in itertools.count(1):
        if _canaries(agents, hosts, f"start {attempt}"):
            return
        if time.monotonic() > deadline:
            break
    raise BlindError(
        "the sniffer does not hear what the hosts send to each other: the bridge still learns addresses",
        remedy="look at the log of the `hub` service, which must set the bridge's ageing time to 0",
    )


def prove_end(agents: Agents, hosts: Mapping[str, Host], recorder: Recorder) -> None:
    if not _canaries(agents, hosts, "end 0") and not _canaries(agents, hosts, "end 1"):
        recorder.problem(e.WIRE, "the sniffer did not hear the frame that ends the capture: its tail may be missing")


def early_packets(frames: Iterable[Frame]) -> int:
    """How many TCP packets were captured before the first canary, and so before the first step: of an earlier run."""
    early = 0
    for frame in frames:
        if (kind := frame.data[12:14]) == TYPE_FIELD:
            return early
        protocol = PROTOCOL_AT.get(kind, len(frame.data))
        early += frame.data[protocol : protocol + 1] == TCP
    return early
