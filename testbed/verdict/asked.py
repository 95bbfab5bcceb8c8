"""What was asked of each packet: by where it comes from, its ports, and the phase of the timeline that then held.

A phase holds from when the host read it back, not from when it was due: the records tell. What arrives while one phase
gives way to the next may have met either.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from testbed.agent.impairments import NONE, Impairment
from testbed.evidence import ClockFacts, Evidence, HostFacts, WireChanged
from testbed.plan import Plan

BETWEEN_NS = 5_000_000  # this near to a change of phase, either may have held


def addresses(evidence: Evidence) -> dict[str, str]:
    """Host names by address, as `ipaddress` prints it."""
    return {str(ip_address(facts.address)): facts.host for facts in evidence.all(HostFacts)}


def unsure_delays(evidence: Evidence) -> dict[tuple[str, str], int]:
    """By source and destination, how far a time under way may be off, in ns; empty where all hosts have one clock."""
    clocks = evidence.all(ClockFacts)
    sure = {clock.host: clock.sure_ns for clock in clocks}
    return {
        (a.host, b): a.between.get(b, a.sure_ns + sure[b])  # without packets both ways, each alone tells
        for a in clocks
        for b in sure
        if b != a.host
    }


@dataclass(frozen=True, slots=True)
class Asking:
    """The plan's wire over the time of a run."""

    plan: Plan
    changes: Mapping[
        str, tuple[tuple[int, int], ...]
    ]  # by host: when phase 1, 2, ... was begun, and since when it held

    @classmethod
    def of(cls, plan: Plan, changed: Iterable[WireChanged]) -> Asking:
        """From what the hosts told."""
        changes: dict[str, list[tuple[int, int]]] = {}
        for record in sorted(changed, key=lambda record: record.phase):
            changes.setdefault(record.host, []).append((record.began_ns or record.time_ns, record.time_ns))
        return cls(plan, {host: tuple(spans) for host, spans in changes.items()})

    def phase(self, host: str, time_ns: int) -> int:
        """The phase that held on a host's arrival side."""
        return bisect_right(self.changes.get(host, ()), time_ns, key=lambda span: span[1])

    def between(self, host: str, time_ns: int) -> bool:
        """Whether a packet came in so near to a change that either phase may have met it."""
        spans = self.changes.get(host, ())
        return any(began - BETWEEN_NS <= time_ns <= held + BETWEEN_NS for began, held in spans)

    def ever(self, source: str, destination: str) -> tuple[Impairment, ...]:
        """All impairments that a direction has at any time, for any port."""
        link = self.plan.link(destination)
        if link is None:
            return ()
        courses = [phase.sources[source] for phase in link.phases if source in phase.sources]
        return tuple(one for course in courses for one in (course.impairment, *course.ports.values()) if one != NONE)

    def of_packet(self, source: str, destination: str, time_ns: int, ports: tuple[int, int]) -> Impairment:
        """What was asked for a packet that came in at this time."""
        link = self.plan.link(destination)
        if link is None:
            return NONE
        # A host may have told of phases that the timeline has not: `shortfalls` says so, and the last one stands here.
        return link.asked(source, *ports, phase=min(self.phase(destination, time_ns), len(link.phases) - 1))
