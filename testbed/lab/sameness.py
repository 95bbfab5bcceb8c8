"""Whether the agents of a lab are this testbed's: an image can be older than the checkout, or of somebody else."""

from __future__ import annotations

from pathlib import Path

from testbed import agent
from testbed.agent.own_files import sum_files
from testbed.errors import LabError


def own_agent() -> str:
    """The sum of the agent's files that this testbed has, as they are now."""
    return sum_files(str(Path(agent.__file__).parent))


def check_agent(host: str, told: object, ours: str) -> None:
    """Raises LabError where the agent on a host has told another sum of its files than ours."""
    if told == ours:
        return
    raise LabError(
        f"the agent on {host} is not this testbed's: its files sum to {ascii(told)[:40]}, and ours to {ours!r}",
        remedy="the image is stale: `docker image rm` it, and `testbed images` makes it again",
    )
