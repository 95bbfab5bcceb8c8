"""How large the rings of a run's captures need to be: the kernel clears every page of one before it is there. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from testbed.plan import SNIFFER, Plan
from testbed.program import AgentStep

MANY_REPLICAS, RING_OF_MANY = 4, 4 << 20  # bytes; two rings each are most of the memory of a lab of twenty
LIGHT_BYTES, RING_OF_LIGHT = 8 << 10, 2 << 20  # so few bytes of payload make no frame that is larger than a block
LIGHT_STEPS = 256  # that are played, all rounds counted: each brings about a handful of packets


def small_rings(plan: Plan) -> Mapping[str, int]:
    """By host, the sniffer included, the bytes of a ring that is enough; those who are not in it want the largest."""
    played = [_weigh(host.steps) for host in plan.hosts]
    if sum(steps for steps, _ in played) <= LIGHT_STEPS and sum(size for _, size in played) <= LIGHT_BYTES:
        return dict.fromkeys([*(host.name for host in plan.hosts), SNIFFER], RING_OF_LIGHT)
    of_role = Counter(host.role for host in plan.hosts)
    return {host.name: RING_OF_MANY for host in plan.hosts if of_role[host.role] > MANY_REPLICAS}


def _weigh(steps: Iterable[AgentStep]) -> tuple[int, int]:
    """How many steps are played, and the bytes of payload that they send; a file counts as more than light."""
    number = size = 0
    for step in steps:
        rounds = step.get("times", step.get("count", 1))
        inner = _weigh(step["steps"]) if "steps" in step else (1, _size(step.get("payload")))
        number, size = number + rounds * inner[0], size + rounds * inner[1]
    return number, size


def _size(payload: Mapping[str, Any] | None) -> int:
    for kind, value in (payload or {}).items():
        if kind in ("random", "numbered"):
            return int(value)
        if kind == "file":
            return LIGHT_BYTES + 1
        if kind in ("text", "hex"):
            return len(value.encode())
    return 0
