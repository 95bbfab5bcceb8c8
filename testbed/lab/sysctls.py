"""Which of a scenario's sysctls a lab must be made with, which can be set when a run begins, and which a lab has.

What TCP does with its sockets follows a sysctl at any time; what an interface was given when it came into being does
not. So one lab serves scenarios that differ only in the former: the agent sets them where hosts are network namespaces,
the engine where they are containers. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from testbed.lab.contract import LabShape, renamed

AT_ANY_TIME = ("net.ipv4.tcp_", "net.ipv4.udp_", "net.ipv4.icmp_", "net.ipv4.ip_", "net.core.")

Sysctls = Mapping[str, str]
ByHost = Mapping[str, Sysctls]


def without_later(shape: LabShape) -> LabShape:
    """The shape without the sysctls that are set when a run begins."""
    return replace(shape, hosts=tuple(replace(host, sysctls=_those(host.sysctls, later=False)) for host in shape.hosts))


def later(sysctls: Sysctls) -> dict[str, str]:
    """Those of a host's sysctls that are set when a run begins."""
    return _those(sysctls, later=True)


def _those(sysctls: Sysctls, *, later: bool) -> dict[str, str]:
    return {name: value for name, value in sysctls.items() if name.startswith(AT_ANY_TIME) is later}


class Held:
    """What the hosts of a lab have of the sysctls that can be set when a run begins, and what they had before."""

    def __init__(self, made_with: ByHost) -> None:
        self._now = {host: dict(sysctls) for host, sysctls in made_with.items()}
        self._before: dict[str, dict[str, str]] = {host: {} for host in made_with}

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts, in the order of their addresses."""
        return tuple(self._now)

    def rename(self, names: Mapping[str, str]) -> None:
        """Call hosts by other names."""
        self._now = renamed(self._now, names)
        self._before = renamed(self._before, names)

    def unknown(self, wanted: ByHost) -> dict[str, list[str]]:
        """Which sysctls must be read before they are set, by host."""
        found = {
            host: [name for name in sysctls if name not in self._now[host] and name not in self._before[host]]
            for host, sysctls in wanted.items()
        }
        return {host: names for host, names in found.items() if names}

    def learn(self, host: str, sysctls: Mapping[str, str | None]) -> None:
        """What a host had before anything was set; None where it has no such sysctl."""
        self._before[host].update({name: value for name, value in sysctls.items() if value is not None})

    def changes(self, wanted: ByHost) -> dict[str, dict[str, str]]:
        """What must be set for hosts to have what is wanted and, of all else, what they had before."""
        changes = {}
        for host, now in self._now.items():
            before = self._before[host]
            target = {**before, **wanted.get(host, {})}
            found = {name: value for name, value in target.items() if now.get(name, before.get(name)) != value}
            if found:
                changes[host] = found
        return changes

    def note(self, changes: ByHost) -> None:
        """That these have been set."""
        for host, sysctls in changes.items():
            self._now[host].update(sysctls)
