"""Whether the clocks of a run's hosts were set while it was going on: then its times do not compare.

Each engine's clock is looked at before the play and after it (testbed/agent/offset.py says at what). A clock that was
set forth and back again between the two looks is not noticed by this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from testbed.errors import LabError
from testbed.lab.agents import Agents, Message, Ticket

SLACK_NS = 10_000  # the kernel rounds the two clocks each for itself

Look = tuple[int, int]  # the least and the most that the difference of the two clocks can be, in nanoseconds


@dataclass(frozen=True, slots=True)
class Asked:
    """A look that was asked for, on one host of each engine."""

    tickets: tuple[Ticket, ...]


def ask_offsets(agents: Agents, hosts: Iterable[str], places: Mapping[str, str]) -> Asked:
    """Ask one living host of each engine how its two clocks stand."""
    chosen: dict[str, str] = {}
    for host in hosts:
        if host not in agents.lost:
            chosen.setdefault(places.get(host, ""), host)
    return Asked(tuple(agents.ask(host, "clock.offset") for host in chosen.values()))


def looks(asked: Asked, answers: Sequence[Message | LabError]) -> dict[str, Look]:
    """What was answered, by host; of a host that gave no answer nothing is known."""
    found = {}
    for ticket, answer in zip(asked.tickets, answers, strict=True):
        if not isinstance(answer, LabError) and "low_ns" in answer and "high_ns" in answer:
            found[ticket.host] = (answer["low_ns"], answer["high_ns"])
    return found


def judge_clocks(before: Mapping[str, Look], after: Mapping[str, Look], problem: Callable[[str, str], None]) -> None:
    """A clock that was set is a problem of its host."""
    for host in before.keys() & after.keys():
        if moved_ns := moved(before[host], after[host]):
            way = "forward" if moved_ns > 0 else "back"
            problem(
                host, f"its clock was set {way} by {abs(moved_ns) / 1e6:.3f} ms during the run: times do not compare"
            )


def moved(before: Look, after: Look) -> int:
    """By how much at least a clock was set between two looks, in nanoseconds; 0 where nothing says that it was."""
    forward, back = after[0] - before[1], before[0] - after[1]
    if forward > SLACK_NS:
        return forward
    return -back if back > SLACK_NS else 0
