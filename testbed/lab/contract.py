"""What a backend gives: hosts that are up, and a way to speak with an agent on each. Nothing else.

What happens on a host is the agent's business, so backends stay small and give the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

Say = Callable[[str], None]
T = TypeVar("T")


class Channel(Protocol):
    """An agent's standard input and output."""

    def send(self, line: bytes) -> None:
        """Write a whole line. Raises OSError when the agent is gone."""

    def receive(self) -> bytes:
        """Wait for some bytes of the agent's output; b"" when it has ended."""

    def close(self) -> None:
        """Close both ways; the agent ends."""


class Lab(Protocol):
    """Hosts that are up."""

    backend: str
    versions: Mapping[str, str]

    def open(self, host: str) -> Channel:
        """Start an agent on a host."""

    def ending(self, host: str) -> str:
        """In words, how a host or its agent came to its end: `container killed: exit status 137 (SIGKILL)`."""

    def close(self) -> None:
        """Take everything down; safe to call at any moment, and again."""


def places_of(lab: Lab) -> Mapping[str, str]:
    """The engine of each host, where a lab spans several: a backend that does has `places`. Else empty: one machine."""
    places: Mapping[str, str] = getattr(lab, "places", {})
    return places


def renamed(by_host: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    """What is kept by host, where hosts are called otherwise now."""
    return {names.get(host, host): kept for host, kept in by_host.items()}


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host that a lab shall have."""

    name: str
    sysctls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LabShape:
    """What a lab shall look like; two runs of equal shape could share one."""

    run_id: str
    scenario: str
    family: str
    hosts: tuple[LabHost, ...]  # the sniffer last
