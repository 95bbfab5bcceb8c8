"""Which scenarios of the catalogue the lane plays: those whose wire is all that happens to their packets."""

from __future__ import annotations

from collections.abc import Iterable

from testbed.files import load_scenario, scenario_files
from testbed.scenario.model import Scenario, Wire
from testbed.scenario.steps import Inject, Parallel, Repeat, Step


def wire_only() -> tuple[str, ...]:
    """The names of the scenarios that ask for a wire and neither for faults nor for crafted packets."""
    return tuple(path.stem for path in scenario_files() if _is_wire_only(load_scenario(path).scenario))


def _is_wire_only(scenario: Scenario) -> bool:
    crafts = any(_crafts(host.steps) for host in scenario.hosts.values())
    return scenario.wire != Wire() and not scenario.faults and not crafts


def _crafts(steps: Iterable[Step]) -> bool:
    return any(
        isinstance(step, Inject) or (isinstance(step, Repeat | Parallel) and _crafts(step.steps)) for step in steps
    )
