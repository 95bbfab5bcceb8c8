"""Which host stands on which side of the ladder: who opens connections left, who answers them right.

Without connections (datagrams), the host called server stands right; else who spoke first stands left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from testbed.evidence import HostFacts
from testbed.verdict.value import Judgement


@dataclass(frozen=True, slots=True)
class Lanes:
    """The hosts in order from left to right, those of the right lane, and what the lanes are called."""

    order: dict[str, int]
    right: frozenset[str]
    left_title: str
    right_title: str

    def rightward(self, source: str, destination: str) -> bool:
        """Whether a packet between these hosts is drawn from left to right."""
        return self.order[source] < self.order[destination]

    def is_left(self, host: str) -> bool:
        """Whether the host's states are drawn beside the left lane."""
        return host not in self.right


def place_hosts(judgement: Judgement) -> Lanes:
    """The lanes of a run's ladder."""
    roles = {facts.host: facts.role for facts in judgement.evidence.all(HostFacts)}
    spoke = dict.fromkeys([*(trip.source for trip in judgement.trips), *(trip.destination for trip in judgement.trips)])
    answers = _answering(judgement, roles)
    hosts = sorted({**spoke, **roles}, key=answers)
    right = [host for host in hosts if answers(host)]
    right = right[1:] if len(right) == len(hosts) > 1 else right or hosts[1:]
    titled = [host for host in hosts if host in spoke] or hosts
    return Lanes(
        {host: at for at, host in enumerate(hosts)},
        frozenset(right),
        _title([host for host in titled if host not in right], roles) or "client",
        _title([host for host in titled if host in right], roles) or "server",
    )


def _answering(judgement: Judgement, roles: dict[str, str]) -> Callable[[str], bool]:
    """Whether a host answers connections more than it opens them; at a tie, whether it is called server."""
    names = {facts.address: facts.host for facts in judgement.evidence.all(HostFacts)}
    balance: Counter[str] = Counter()
    for connection in judgement.connections:
        balance[names.get(connection.server.address, "")] += 1
        balance[names.get(connection.client.address, "")] -= 1
    return lambda host: balance[host] > 0 or (balance[host] == 0 and roles.get(host) == "server")


def _title(hosts: Sequence[str], roles: dict[str, str]) -> str:
    if len(hosts) < 2:
        return "".join(hosts)
    shared = {roles.get(host, host) for host in hosts}
    return f"{shared.pop()} x{len(hosts)}" if len(shared) == 1 else f"{len(hosts)} hosts"
