"""A suite on several engines: each run wholly on one of them, in a lab of its own there (backend compose).

A turn goes to the engine that has most room. When one dies, the turns that it held are played again on the others,
and it gets no more. What its labs have left there stays until it is back: `testbed clean --engines` removes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from testbed.errors import Interrupted, LabError, UsageError
from testbed.suites import capacity

if TYPE_CHECKING:
    from testbed.session import Done

R = TypeVar("R")
Alive = Callable[[str], bool]


def parse_engines(text: str) -> tuple[str, ...]:
    """`a,b,c`: contexts or addresses. Raises UsageError for one that is named twice."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    twice = next((word for word in words if words.count(word) > 1), None)
    if not words or twice:
        raise UsageError(f"--engines {text}: " + (f"{twice} is named twice" if twice else "no engine is named"))
    return words


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a turn: on which engine, and how many engines died under it before."""

    engine: str
    moved: int


class EnginePool:
    """Engines, and how many turns each may have at a time. Used by several threads."""

    def __init__(self, slots: Mapping[str, int], alive: Alive, say: Callable[[str], None]) -> None:
        self._slots = dict(slots)
        self._busy = dict.fromkeys(slots, 0)
        self._alive = alive
        self._say = say
        self._room = threading.Condition()
        self.on_death: Callable[[str], None] = lambda engine: None

    @property
    def jobs(self) -> int:
        """How many turns may go on at a time."""
        with self._room:
            return sum(self._slots.values())

    def play(self, attempt: Callable[[Attempt], R], is_certain: Callable[[R], bool]) -> R:
        """Make an attempt on the engine that has most room; again on another where that one has died meanwhile.

        What `is_certain` is kept, whatever became of the engine since. Raises what the attempt raises; LabError when no
        engine is left.
        """
        moved = 0
        while True:
            engine = self._take()
            try:
                made = attempt(Attempt(engine, moved))
                if is_certain(made) or self._alive(engine):
                    return made
            except Interrupted:
                raise
            except LabError:
                if self._alive(engine):
                    raise
            finally:
                self._give_back(engine)
            self._drop(engine)
            moved += 1

    def _take(self) -> str:
        with self._room:
            while True:
                if not self._slots:
                    raise LabError(
                        "no engine is left: all of them have died", remedy="`testbed doctor --engines ...` tells why"
                    )
                free = {engine: slots - self._busy[engine] for engine, slots in self._slots.items()}
                engine = max(free, key=lambda name: free[name])
                if free[engine] > 0:
                    self._busy[engine] += 1
                    return engine
                self._room.wait()

    def _give_back(self, engine: str) -> None:
        with self._room:
            self._busy[engine] -= 1
            self._room.notify_all()

    def _drop(self, engine: str) -> None:
        with self._room:
            gone = self._slots.pop(engine, None) is not None
            self._room.notify_all()
        if gone:
            self.on_death(engine)
            self._say(f"the engine {engine} has died; its runs are moved to the others")


def open_pool(words: tuple[str, ...], jobs: int | None, hosts: int, say: Callable[[str], None]) -> EnginePool:
    """The engines of a command line, each with as many turns at a time as its cores and memory allow, or as asked for.

    Every engine has the image then. Raises LabError where one does not answer at the start: that is no death.
    """
    from testbed.lab.engine import engine_errors
    from testbed.lab.swarm.nodes import answers, open_engine
    from testbed.lab.swarm.pictures import ensure_images

    clients = {word: open_engine(word) for word in words}
    ensure_images(clients, say)
    slots = {}
    for word, client in clients.items():
        with engine_errors(f"asking the engine {word} what it has"):
            about = client.info()
        each = capacity.lab_bytes("compose", hosts, granted=jobs is None)
        plan = capacity.plan_capacity(
            asked=jobs,
            runs=capacity.MOST_JOBS,
            cores=int(about.get("NCPU") or 1),
            labs=capacity.labs_that_fit(int(about.get("MemTotal") or 0) or None, each),
            per_core=capacity.JOBS_PER_CORE["compose"],
        )
        slots[word] = plan.jobs
    return EnginePool(slots, answers, say)


def has_verdict(done: Done) -> bool:
    """Whether a run's verdict is certain: one that is unknown may be so because its engine has died."""
    return done.judgement.verdict.value != "unknown"
