"""Whether a scenario is applicable to the hosts' kernel, and what it wants that kernel to count.

The kernel and its sysctls are looked at before the lab is brought up, since a lab cannot be made with a sysctl that the
kernel lacks; what has to be tried is asked of the hosts. See testbed/scenario/requires.py for the words.
"""

from __future__ import annotations

import platform
from pathlib import Path

from testbed.errors import NotApplicable
from testbed.lab.agents import Agents
from testbed.plan import HostPlan, Plan
from testbed.profile import kernel_version
from testbed.scenario.counters import full_name
from testbed.scenario.requires import ABILITIES, Requires, unmet


def check_kernel(plan: Plan, backend: str, place: tuple[str, ...] = (), engine: str = "") -> None:
    """Hold what the scenario requires against the kernel that the hosts will have. Raises NotApplicable."""
    requires, here = plan.scenario.requires, platform.release()
    if requires == Requires():
        return
    release = here if backend == "netns" else _swarms_kernel(place) if backend == "swarm" else _engines_kernel(engine)
    # Of another machine's kernel only the version is known: a sysctl that it lacks is told when the lab cannot be made.
    lacking = list(unmet(requires, release, kernel_version(release), lambda name: release != here or _is_there(name)))
    if lacking:
        raise NotApplicable(plan.name, "; ".join(lacking))


def _engines_kernel(engine: str) -> str:
    from testbed.lab.engine import connect
    from testbed.lab.swarm.nodes import open_engine

    return str((open_engine(engine) if engine else connect()).version().get("KernelVersion", ""))


def _swarms_kernel(place: tuple[str, ...]) -> str:
    """Where the engines' kernels differ, the oldest."""
    from testbed.lab.swarm.nodes import find_nodes
    from testbed.lab.swarm.placement import read_placement

    return min((node.kernel for node in find_nodes(read_placement(place).engines).values()), key=kernel_version)


def _is_there(sysctl: str) -> bool:
    return Path("/proc/sys", *sysctl.split(".")).exists()


def check_hosts(agents: Agents, plan: Plan) -> None:
    """Have the hosts try what the scenario requires, where it requires something. Raises NotApplicable."""
    wanted = list(plan.scenario.requires.abilities)
    if not wanted:
        return
    answers = agents.wait([agents.ask(host.name, "abilities", abilities=wanted) for host in plan.hosts])
    for host, answer in zip(plan.hosts, answers, strict=True):
        for word, says in (answer.get("lacks") or {}).items():
            raise NotApplicable(plan.name, f"{host.name} lacks {word} ({ABILITIES[word]}): {says}")


def counters_of(plan: Plan, host: HostPlan) -> list[str]:
    """The names of the counters of which the scenario expects something on a host."""
    expect = plan.scenario.expect
    named = [part.counters.get(key) or {} for part in (expect, *expect.by_kernel) for key in (host.name, host.role)]
    return sorted({full_name(name, plan.scenario.family) for counters in named for name in counters})
