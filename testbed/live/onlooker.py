"""What a run tells whoever watches it while it goes on.

Watching changes nothing: the evidence is collected as ever, and when the watching fails the verdict is what it is
without. A run that nobody watches asks the agents for nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from testbed.errors import LabError
from testbed.evidence import Evidence, Problem, Record
from testbed.lab.agents import Agents
from testbed.stop import Stop


class Onlooker(Protocol):
    """Who watches runs, one after another. It takes everything at once and keeps nobody waiting but in `end`."""

    def begin(self, so_far: Evidence) -> None:
        """The lab stands and the captures run: the hosts are told, and each vantage point with a capture of nothing."""

    def heard(self, record: Record) -> None:
        """A host has told something."""

    def captured(self, vantage: str, piece: bytes) -> None:
        """A capture's file has grown by this piece (docs/agent-protocol.md, Capture files)."""

    def end(self, stop: Stop) -> None:
        """All is told; wait until it is shown. Raises Interrupted when asked to stop."""

    def abandon(self) -> None:
        """The run was broken off; what is not shown yet need not be."""


@contextmanager
def watched(
    onlooker: Onlooker | None,
    agents: Agents,
    so_far: Evidence,
    captures: Sequence[tuple[str, str]],
    listen: Callable[[Callable[[Record], None]], None],
    stop: Stop,
) -> Iterator[None]:
    """While this lasts, what the hosts tell and what is captured goes to the onlooker as well.

    `captures` are vantage points with their hosts. `listen` is given what shall be told of each record.
    """
    if onlooker is None:
        yield
        return
    onlooker.begin(so_far)
    listen(onlooker.heard)
    try:
        followed = [agents.follow(host, name, _to(onlooker, name)) for name, host in captures]
        yield
        for (name, _), answer in zip(captures, agents.gather(followed), strict=True):
            if isinstance(answer, LabError):
                onlooker.heard(Problem(name, f"its packets were not all seen while the run went on: {answer.message}"))
        onlooker.end(stop)
    except BaseException:
        onlooker.abandon()
        raise


def _to(onlooker: Onlooker, vantage: str) -> Callable[[bytes], None]:
    return lambda piece: onlooker.captured(vantage, piece)
