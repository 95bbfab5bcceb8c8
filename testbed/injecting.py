"""A run's part in crafted packets: ears open before the first step, frames made, kernels kept silent and looked after.

`run` walks the whole plan; what it does about hosts that inject, or are silent, is here. The agents do the work
(docs/agent-protocol.md). scapy is loaded (testbed.craft) only where a host injects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from testbed.errors import LabError
from testbed.lab.agents import Agents, Message, Ticket
from testbed.plan import HostPlan, Plan
from testbed.program import AgentStep
from testbed.wiring import INTERFACE


class Placed(Protocol):
    """A host that has said hello."""

    @property
    def address(self) -> str:
        """Its address."""

    @property
    def mac(self) -> str:
        """Its interface's."""


def injects(steps: Iterable[AgentStep]) -> bool:
    """Whether any of the steps sends a crafted packet."""
    return any(step["step"] == "inject" or injects(step.get("steps", ())) for step in steps)


def set_up(agents: Agents, plan: Plan, hosts: Mapping[str, Placed]) -> list[Ticket]:
    """Ask for silence and for ears; behind the links, whose qdisc the silence uses."""
    macs = {host.address: host.mac for host in hosts.values()}
    silent = [agents.ask(host.name, "hush.apply", interface=INTERFACE) for host in plan.hosts if host.silent]
    ears = [host for host in plan.hosts if injects(host.steps)]
    return silent + [agents.ask(host.name, "inject.open", interface=INTERFACE, hosts=macs) for host in ears]


def steps_for(host: HostPlan, hosts: Mapping[str, Placed]) -> Sequence[AgentStep]:
    """The steps as the host's agent gets them: with a frame in each `inject`."""
    if not injects(host.steps):
        return host.steps
    from testbed.craft import Place, craft_steps

    return craft_steps(host.steps, host.name, {name: Place(one.address, one.mac) for name, one in hosts.items()})


def ask_silence(agents: Agents, plan: Plan) -> list[tuple[str, Ticket]]:
    """Ask the silent hosts how their silence stands."""
    return [(h.name, agents.ask(h.name, "hush.read")) for h in plan.hosts if h.silent and h.name not in agents.lost]


def judge_silence(
    asked: Iterable[tuple[str, Ticket]], answers: Iterable[Message | LabError], problem: Callable[[str, str], None]
) -> None:
    """A kernel that may have spoken is a problem."""
    for (host, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, LabError):
            problem(host, answer.message)
        elif not answer.get("up"):
            problem(host, f"the kernel of {host} may have spoken: {answer.get('why') or 'nothing kept it silent'}")
