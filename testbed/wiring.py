"""The wire's part of a run: which engine, links up before the first step, the timeline, and how it stood at the end.

`run` walks the whole plan; what it does about links is here. The agents do the work (docs/agent-protocol.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from testbed import evidence as e
from testbed.lab.agents import Agents, Message, Ticket
from testbed.plan import Plan, choose_engine, link_settings

INTERFACE = "eth0"


def find_engine(agents: Agents, plan: Plan) -> tuple[str, str]:
    """The engine of this run and why; hosts are asked what they have only where it matters."""
    undecided = plan.engine == "netem" or (plan.engine == "auto" and not plan.scenario.faults)
    hosts = [link.host for link in plan.links] if undecided else []
    answers = agents.wait([agents.ask(host, "wire.probe") for host in hosts])
    return choose_engine(plan, dict(zip(hosts, answers, strict=True)))


def apply_links(agents: Agents, plan: Plan, addresses: Mapping[str, str], engine: str) -> list[Ticket]:
    """Ask for every impaired link."""
    families = [plan.scenario.family]
    return [
        agents.ask(
            link.host,
            "wire.apply",
            interface=INTERFACE,
            address_families=families,
            link=link_settings(link, plan, addresses, engine),
        )
        for link in plan.links
    ]


class Timeline:
    """What the scenario changes while it is played: phases, which the hosts keep time of, and interfaces."""

    def __init__(self, agents: Agents, plan: Plan, shown: Callable[[str, int], int] = lambda host, ns: ns) -> None:
        self._agents = agents
        self._shown = shown  # what a host's clock shows at a moment of ours
        self._phased = [link.host for link in plan.links if len(link.phases) > 1]
        self._switches = sorted(plan.switches, key=lambda switch: switch.at_ns)
        self._started = 0.0

    def begin(self) -> None:
        """The play begins now."""
        self._started = time.monotonic()
        start_ns = time.time_ns()
        self._agents.wait(
            [self._agents.ask(host, "wire.begin", start_ns=self._shown(host, start_ns)) for host in self._phased]
        )

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Hear the hosts until `done`, and switch interfaces when their time comes; False when time is over first."""
        deadline = time.monotonic() + timeout_s
        while self._switches:
            due = self._started + self._switches[0].at_ns / 1e9
            if due >= deadline:
                break
            if self._agents.run_until(done, max(0.0, due - time.monotonic())):
                return True
            switch = self._switches.pop(0)
            self._agents.wait([self._agents.ask(switch.host, "link.set", interface=INTERFACE, up=switch.up)])
        return self._agents.run_until(done, max(0.0, deadline - time.monotonic()))


def count_link(host: str, answer: Message, problem: Callable[[str, str], None]) -> e.LinkCount:
    """How a link stood at the end, as a record; one that was not as it was left is a problem too."""
    why = str(answer.get("why") or "") or ("" if answer.get("up") else "it was down at the end")
    if why:
        problem(host, f"the impaired link of {host}: {why}")
    return e.LinkCount(
        host,
        str(answer.get("engine") or "portable"),
        answer["in"],
        answer["out"],
        answer["dropped"],
        answer["duplicated"],
        answer.get("corrupted") or 0,
        dict(answer.get("dropped_by") or {}),
        answer.get("phase") or 0,
        _maps(answer.get("settings")),
        why,
        tuple(answer.get("qdiscs") or ()),
    )


def _maps(given: Any) -> tuple[Mapping[str, Any], ...]:
    return tuple(dict(one) for one in given or ())


def fault_fired(host: str, message: Message) -> e.FaultFired:
    """An entry of the ledger, as a record."""
    made = tuple(e.Made(one["to"], one["packet"], one.get("says") or "") for one in message.get("made") or ())
    return e.FaultFired(
        host,
        message["time_ns"],
        message["rule"],
        message["action"],
        message.get("says") or "",
        message.get("packet") or "",
        bool(message.get("passed")),
        made,
    )
