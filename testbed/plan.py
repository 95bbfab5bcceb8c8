"""From a scenario to a plan: which hosts, what each agent is told, which links are impaired, by which engine. Pure.

What a host plays is in program.py, what its arrival side does to packets in links.py, and how the agent is told the
latter in link_settings.py; this puts them together, and chooses the engine once the hosts have said what they can do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.errors import LabError, UsageError
from testbed.link_settings import link_seed, link_settings
from testbed.links import Course, LinkPlan, LinkSwitch, Phase, plan_links, plan_switches
from testbed.program import (
    COMPILERS,
    STEP_TIMEOUT_NS,
    AgentStep,
    compile_step,
    marks_to_await,
    payload_files,
    replica_names,
)
from testbed.scenario.model import Scenario

SNIFFER = "sniffer"
LINK = "link0"


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host of the lab: `role` is its key in the scenario (client-2 is a client)."""

    name: str
    role: str
    steps: tuple[AgentStep, ...]
    sysctls: Mapping[str, str]
    silent: bool = False  # what its kernel would say by itself never leaves it


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run needs to know."""

    name: str
    scenario: Scenario
    hosts: tuple[HostPlan, ...]
    links: tuple[LinkPlan, ...]
    switches: tuple[LinkSwitch, ...]
    engine: str  # as asked for: auto, netem or portable; none: nothing is impaired

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the payload files that the steps send or compare with."""
        return tuple(sorted(set(payload_files(self.scenario))))

    def link(self, host: str) -> LinkPlan | None:
        """The impaired link of a host, if it has one."""
        return next((link for link in self.links if link.host == host), None)


def make_plan(name: str, scenario: Scenario, *, engine: str = "auto") -> Plan:
    """The plan of a scenario. `engine` is auto, netem or portable; without anything to impair there is none.

    Raises UsageError where the engine asked for cannot do what the scenario asks.
    """
    hosts = tuple(_expand(scenario))
    links = tuple(plan_links(scenario, hosts))
    switches = tuple(plan_switches(scenario.wire.timeline, hosts))
    plan = Plan(name, scenario, hosts, links, switches, engine if links else "none")
    _refuse_faults(plan)
    return plan


def choose_engine(plan: Plan, abilities: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Which engine runs, and why; `abilities` are the answers of the hosts' `wire.probe`, by host.

    Raises UsageError where the one asked for cannot do the scenario, LabError where a host lacks the one to run.
    """
    if plan.engine == "none":
        return "none", "the scenario impairs nothing"
    _refuse_faults(plan)
    chosen, why = (plan.engine, "asked for") if plan.engine != "auto" else _best(plan, abilities)
    for host, ability in abilities.items():
        if not ability[chosen]["ok"]:
            raise LabError(f"{host} has no engine {chosen}: {ability[chosen]['says']}", remedy=_REMEDIES[chosen])
    return chosen, why


def _best(plan: Plan, abilities: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    if any(link.faults for link in plan.links):
        return "portable", "the scenario has faults, and only the portable engine has them"
    lacking = next((host for host, ability in abilities.items() if not ability["netem"]["ok"]), None)
    if lacking is not None:
        return "portable", f"no netem on {lacking}: {abilities[lacking]['netem']['says']}"
    if not abilities:
        return "portable", "nobody asked the hosts for netem"
    many = [link.host for link in plan.links if _duplicates_beside(link)]
    unmixed = next((host for host in many if not abilities[host]["netem"].get("mixes")), None)
    if unmixed is not None:
        return "portable", f"netem on {unmixed} cannot duplicate where a link has several impairments"
    return "netem", "the kernel has it, and the scenario has no faults"


def _duplicates_beside(link: LinkPlan) -> bool:
    """Whether a link has more than one impairment, and one of them duplicates: some kernels' netem refuses that."""
    asked = [one for phase in link.phases for course in phase.sources.values() for one in course.all]
    return len(asked) > len(link.phases) and any(one.duplicate_percent for one in asked)


def _refuse_faults(plan: Plan) -> None:
    if plan.engine == "netem" and plan.scenario.faults:
        raise UsageError(
            f"{plan.name} has faults, and tc netem knows no single packets: the engine netem cannot run it",
            remedy="Leave --engine away, or say --engine portable.",
        )


_REMEDIES = {
    "netem": "Load the modules sch_netem and ifb, or run with --engine portable; testbed doctor says what is missing.",
    "portable": "The hosts need /dev/net/tun; testbed doctor says what is missing.",
}


def _expand(scenario: Scenario) -> Iterator[HostPlan]:
    awaited = marks_to_await(scenario)
    for role, host in scenario.hosts.items():
        steps = tuple(compile_step(step, awaited) for step in host.steps)
        for name in replica_names(role, host.replicas):
            yield HostPlan(name, role, steps, {**scenario.sysctls, **host.sysctls}, host.silent)


__all__ = [
    "COMPILERS",
    "LINK",
    "SNIFFER",
    "STEP_TIMEOUT_NS",
    "Course",
    "HostPlan",
    "LinkPlan",
    "LinkSwitch",
    "Phase",
    "Plan",
    "choose_engine",
    "compile_step",
    "link_seed",
    "link_settings",
    "make_plan",
    "replica_names",
]
