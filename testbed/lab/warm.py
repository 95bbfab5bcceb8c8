"""Labs that stay up between runs, for runs of the same shape: backend, address family, hosts with their sysctls.

What hosts are called, and the sysctls that can be set when a run begins, are part of it only where a backend does not
give a lab that is up other ones (testbed/lab/tuning.py).

A lab goes back only when nothing has gone wrong in it and `reset` of every agent (testbed/agent/reset.py) has read back
that its host is clean: no socket, no process, no qdisc, no link, nothing in the metrics cache. Anything else, also an
agent that does not answer, and the lab is taken down, and one line says why. Its next run is then like a first one: no
connection of before can send, no port is taken. The run holds that against its captures (canaries.early_packets).

Only so many labs wait idle; beyond, the one that has waited longest is taken down.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from testbed.errors import Interrupted, LabError, TestbedError
from testbed.lab.agents import Agents, Message
from testbed.lab.contract import Lab, LabShape, Say
from testbed.lab.sysctls import without_later
from testbed.stop import Stop

RESET_TIMEOUT_S = 10.0
MOST_IDLE = 4
MOST_WORDS = 3  # of what is left on a host; the line shall stay one

Sysctls = tuple[tuple[str, str], ...]

TUNED = ("netns", "compose")  # backends whose hosts are given sysctls for each run
RENAMED = ("compose",)  # and names


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two runs must have in common to use one lab."""

    backend: str
    family: str
    hosts: tuple[tuple[str, Sysctls], ...]  # in order: it decides the addresses

    @classmethod
    def of(cls, backend: str, asked: LabShape, engine: str = "") -> Likeness:
        """That of what a run asks for, on a backend and, where it is not the default one, an engine."""
        shape = without_later(asked) if backend in TUNED else asked
        hosts = tuple(("" if backend in RENAMED else host.name, _sorted(host.sysctls)) for host in shape.hosts)
        return cls(f"{backend} {engine}".strip(), shape.family, hosts)


@dataclass(frozen=True, slots=True)
class StandingLab:
    """A lab that is up, and its agents; `id` is that of the run it was brought up for, `override` its lab.yaml."""

    id: str
    likeness: Likeness
    lab: Lab
    agents: Agents
    override: bytes

    def close(self) -> None:
        """End the agents and take the lab down."""
        self.agents.close()
        self.lab.close()


class WarmLabs:
    """The labs that wait for another run. Used by several threads at a time."""

    def __init__(self, stop: Stop, most_idle: int = MOST_IDLE) -> None:
        self._stop = stop
        self._most_idle = most_idle
        self._lock = threading.Lock()
        self._idle: list[StandingLab] = []  # the one that has waited longest first
        self._closed = False

    def take(self, likeness: Likeness, say: Say) -> StandingLab | None:
        """A lab of this likeness, the caller's from now on; None where none waits."""
        while (standing := self._pop(likeness)) is not None:
            standing.agents.serve(lambda host, message: None)
            if not standing.agents.lost:
                return standing
            self._refuse(standing, next(iter(standing.agents.lost.values())), say)
        return None

    def give_back(self, standing: StandingLab, say: Say) -> None:
        """Reset a lab and keep it; take it down where it is not clean then. Raises LabError when that fails."""
        try:
            why = reset(standing.agents, self._stop)
        except Interrupted:
            standing.close()
            return
        except BaseException:
            standing.close()
            raise
        if why:
            self._refuse(standing, why, say)
            return
        for surplus in self._keep(standing):
            surplus.close()

    def abandon(self, backend: str) -> None:
        """Let go of the labs of an engine that has died: nothing answers there that could take them down."""
        with self._lock:
            gone = [each for each in self._idle if each.likeness.backend == backend]
            self._idle = [each for each in self._idle if each.likeness.backend != backend]
        for each in gone:
            each.agents.close()

    def close(self, say: Say) -> tuple[TestbedError, ...]:
        """Take down all that wait, and from now on each that is given back; gives what could not be done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        if not idle:
            return ()
        say("taking the lab down")
        with ThreadPoolExecutor(max_workers=len(idle)) as pool:
            return tuple(error for error in pool.map(_close, idle) if error is not None)

    def _pop(self, likeness: Likeness) -> StandingLab | None:
        with self._lock:
            found = next((each for each in reversed(self._idle) if each.likeness == likeness), None)
            if found is not None:
                self._idle.remove(found)
            return found

    def _keep(self, standing: StandingLab) -> list[StandingLab]:
        """Let it wait; gives those that must go for that."""
        with self._lock:
            if self._closed:
                return [standing]
            self._idle.append(standing)
            surplus = len(self._idle) - self._most_idle
            gone, self._idle = self._idle[: max(0, surplus)], self._idle[max(0, surplus) :]
            return gone

    def _refuse(self, standing: StandingLab, why: str, say: Say) -> None:
        say(f"the lab is not reused: {why}")
        standing.close()


def reset(agents: Agents, stop: Stop) -> str:
    """Make every host as it was before the run; why a host is not, or nothing. Raises Interrupted."""
    troubles: list[str] = []

    def hear(host: str, message: Message) -> None:
        if message.get("event") == "problem":
            troubles.append(f"{host} says: {message.get('says')}")

    agents.serve(hear)
    if agents.lost:
        return next(iter(agents.lost.values()))
    with stop.waking(agents.wake):
        answers = agents.gather([agents.ask(host, "reset") for host in agents.hosts], RESET_TIMEOUT_S)
    agents.serve(lambda host, message: None)
    found = (_left(host, answer) for host, answer in zip(agents.hosts, answers, strict=True))
    return "; ".join([*filter(None, found), *troubles])


def _left(host: str, answer: Message | LabError) -> str:
    if isinstance(answer, LabError):
        return answer.message
    if answer.get("clean") is True:
        return ""
    left = [str(each) for each in answer.get("left") or ["something, and does not say what"]]
    more = f", and {len(left) - MOST_WORDS} more" if len(left) > MOST_WORDS else ""
    return f"{host} still has {', '.join(left[:MOST_WORDS])}{more}"


def _close(standing: StandingLab) -> TestbedError | None:
    try:
        standing.close()
    except TestbedError as error:
        return error
    return None


def _sorted(sysctls: Mapping[str, str]) -> Sysctls:
    return tuple(sorted(sysctls.items()))
