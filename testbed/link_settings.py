"""The message that sets up one host's link: the `link` of the agent's `wire.apply` (docs/agent-protocol.md). Pure.

Hosts become addresses here, and a scenario's fault becomes what the agent counts packets by.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from testbed.agent.impairments import to_message
from testbed.links import Course, LinkPlan
from testbed.scenario.faults import ACTIONS, Fault, FaultFields
from testbed.scenario.steps import Payload

if TYPE_CHECKING:
    from testbed.plan import Plan

FAULT_FIELDS = {"by": "by_ns"}  # the agent's name of a key where it is another


def link_settings(link: LinkPlan, plan: Plan, addresses: Mapping[str, str], engine: str) -> dict[str, Any]:
    """The `link` of the agent's `wire.apply`, with addresses for hosts (docs/agent-protocol.md).

    Each phase names every source that is impaired at some time, in one order: chances are drawn by a source's place.
    """
    faults = [
        _fault(index, fault, addresses[host.name])
        for index, fault in link.faults
        for host in plan.hosts
        if fault.from_ in (host.name, host.role)
    ]
    order = [host.name for host in plan.hosts if host.name in link.sources]
    phases = [
        {
            "at_ns": phase.at_ns,
            "sources": {addresses[name]: _course(link.course(name, number)) for name in order},
        }
        for number, phase in enumerate(link.phases)
    ]
    return {"engine": engine, "seed": link_seed(plan, link.host), "faults": faults, "phases": phases}


def link_seed(plan: Plan, host: str) -> int:
    """A seed of each link's own: with one seed for all, both directions would lose the same packets."""
    return int.from_bytes(sha256(f"{plan.scenario.seed} {host}".encode()).digest()[:6])


def _course(course: Course) -> dict[str, Any]:
    ports = {str(port): to_message(impairment) for port, impairment in course.ports.items()}
    return {**to_message(course.impairment), **({"ports": ports} if ports else {})}


def _fault(index: int, fault: Fault, address: str) -> dict[str, Any]:
    every = fault.every
    low, high = (1, None) if fault.nth == "all" else (fault.nth.low or 1, fault.nth.high)
    own = {FAULT_FIELDS.get(key, key): _plain(fault.told(key)) for key in ACTIONS[fault.action]}
    return {
        "rule": index,
        "action": fault.action,
        "kind": fault.kind.value,
        "from": address,
        "low": low,
        "high": high,
        "every": every,
        "retransmissions": fault.retransmissions,
        "per": fault.per,
        "contains": None if fault.contains is None else _hex(fault.contains),
        **own,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, FaultFields):
        return value.model_dump(exclude_none=True)
    return list(value) if isinstance(value, tuple) else value


def _hex(payload: Payload) -> str:
    return "".join((payload.hex or "").split()) if payload.text is None else payload.text.encode().hex()
