"""Always checked: every step of every program ended as the scenario declares, and every program reached its end.

A step is declared to end with `ok`, or with the error that it names. What a step ended with is the agent's word; what
was wished is judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from testbed.evidence import ProgramEnd, StepOutcome
from testbed.scenario.model import Host
from testbed.scenario.steps import Hold, Kill, Parallel, Repeat, Step
from testbed.verdict.kind import Answer, Kind, Question
from testbed.verdict.ledger import endpoint
from testbed.verdict.value import Outcome
from testbed.verdict.view import View


@dataclass(frozen=True, slots=True)
class Trouble:
    """The first thing that did not go as declared in a program."""

    path: str  # in the scenario
    expected: str
    seen: str
    says: str
    packets: tuple[int, ...] = ()
    unseen: bool = False  # we do not know whether it did


def find_step(host: Host, path: str) -> Step | None:
    """The step at a place such as `3.1`: the second inside the fourth."""
    steps: tuple[Step, ...] = host.steps
    found: Step | None = None
    for part in path.split("."):
        if not part.isdigit() or int(part) >= len(steps):
            return None
        found = steps[int(part)]
        steps = found.steps if isinstance(found, Repeat | Parallel) else ()
    return found


def steps_path(role: str, path: str) -> str:
    """A step's place in the scenario file: `hosts.client.steps.3.steps.1`."""
    return f"hosts.{role}.steps.{'.steps.'.join(path.split('.'))}"


def program(view: View, host: str) -> tuple[str, Host]:
    """A host's role, and its program."""
    role = next(plan.role for plan in view.plan.hosts if plan.name == host)
    return role, view.evidence.scenario.hosts[role]


def outcomes(view: View, host: str) -> list[StepOutcome]:
    """How the steps of a host went, in the order in which they ended."""
    return sorted((step for step in view.evidence.all(StepOutcome) if step.host == host), key=lambda s: s.end_ns)


def declared(step: Step | None) -> str:
    """What a step is to end with."""
    return step.error if step is not None and step.error else "ok"


def ended(outcome: StepOutcome) -> str:
    """What a step ended with, in the same notation."""
    return outcome.errno or outcome.outcome if outcome.outcome == "error" else outcome.outcome


def find_trouble(view: View, host: str) -> Trouble | None:
    """The first thing that did not go as declared in a host's program, if any."""
    role, its = program(view, host)
    done = outcomes(view, host)
    for outcome in done:
        if ended(outcome) != declared(find_step(its, outcome.path)):
            return _wrong_end(view, role, its, outcome)
    ends = [end for end in view.evidence.all(ProgramEnd) if end.host == host]
    if not ends:
        says = f"nothing was heard of the end of the program on {host}"
        return Trouble(f"hosts.{role}.steps", "the end of the program", "no end", says, unseen=True)
    held, killed = any(end.held for end in ends), _killed(its, done, ends)
    if not held and not killed and all(end.exit != 0 for end in ends):
        return _died(role, host, ends[-1])
    return next(_not_reached(role, host, its, done, held or killed), None)


def _killed(its: Host, done: list[StepOutcome], ends: list[ProgramEnd]) -> bool:
    """Whether the program came to a `kill` of its own, and ended by that signal."""
    kills = [step for outcome in done if isinstance(step := find_step(its, outcome.path), Kill)]
    return any(end.signal == step.kill for end in ends for step in kills)


def _wrong_end(view: View, role: str, its: Host, outcome: StepOutcome) -> Trouble:
    wanted, seen = declared(find_step(its, outcome.path)), ended(outcome)
    place = steps_path(role, outcome.path)
    packets = _last_packets(view, outcome)
    says = f"{name_step(outcome)} ended with {seen} at {view.seconds(outcome.end_ns)}, and {wanted} is declared"
    if outcome.says:
        says += f": {outcome.says}"
    if packets:
        says += f"; of its connection the last is: {view.say(packets[-1])}"
    return Trouble(place, f"{outcome.step}: {wanted}", f"{outcome.step}: {seen}", says, packets)


def name_step(outcome: StepOutcome) -> str:
    """A step as reasons name it: `step 3 of client (send, round 2)`."""
    return f"step {_human(outcome.path)} of {outcome.host} ({outcome.step}{_round(outcome)})"


def _human(path: str) -> str:
    return ".".join(str(int(part) + 1) for part in path.split(".") if part.isdigit())


def _round(outcome: StepOutcome) -> str:
    return f", round {'.'.join(str(number + 1) for number in outcome.round)}" if outcome.round else ""


def _last_packets(view: View, outcome: StepOutcome) -> tuple[int, ...]:
    """The first and last packet of the connection that a step was about."""
    for connection in view.connections:
        ends = {endpoint(end.address, end.port) for end in (connection.client, connection.server)}
        if outcome.local in ends and outcome.peer in {None, *ends}:
            return tuple(sorted({connection.packets[0], connection.packets[-1]}))
    return ()


def _died(role: str, host: str, end: ProgramEnd) -> Trouble:
    how = f"was killed by signal {end.signal}" if end.signal is not None else f"ended with exit code {end.exit}"
    seen = f"signal {end.signal}" if end.signal is not None else f"exit {end.exit}"
    # No step of it went wrong, so it was somebody else's doing, or a mistake of the agent's own.
    return Trouble(f"hosts.{role}.steps", "exit 0", seen, f"the program on {host} {how}", unseen=True)


def _not_reached(role: str, host: str, its: Host, done: list[StepOutcome], stopped: bool) -> Iterator[Trouble]:
    times: dict[str, int] = {}
    for outcome in done:
        times[outcome.path] = times.get(outcome.path, 0) + 1
    for path, step, wanted in _to_run(its.steps):
        if stopped and isinstance(step, Hold | Kill):
            return
        if (ran := times.get(path, 0)) < wanted:
            seen = "not reached" if not ran else f"{ran} times"
            says = f"step {_human(path)} of {host} ({step.step}) ran {ran} of {wanted} times before the program ended"
            yield Trouble(steps_path(role, path), f"{step.step}: {declared(step)}", f"{step.step}: {seen}", says)


def _to_run(steps: Iterable[Step], prefix: str = "", times: int = 1) -> Iterator[tuple[str, Step, int]]:
    """Every step with its place and how often it is to run; of a loop, the steps inside."""
    for index, step in enumerate(steps):
        path = f"{prefix}{index}"
        if isinstance(step, Repeat | Parallel):
            rounds = step.repeat if isinstance(step, Repeat) else step.parallel
            yield from _to_run(step.steps, f"{path}.", times * rounds)
        else:
            yield path, step, times


def _ask(view: View) -> Iterator[Question]:
    for host in view.plan.hosts:
        if host.steps:
            yield Question(f"steps.{host.name}", f"hosts.{host.role}.steps", host.name)


def _answer(view: View, question: Question) -> Answer:
    host = question.wanted
    trouble = find_trouble(view, host)
    if trouble is None:
        said = f"all {len(program(view, host)[1].steps)} steps as declared"
        return Answer(Outcome.PASSED, said, _summary(view, host, said))
    verdict = Outcome.UNKNOWN if trouble.unseen else Outcome.FAILED
    return Answer(verdict, trouble.expected, trouble.seen, trouble.says, trouble.packets, trouble.path)


def _summary(view: View, host: str, said: str) -> str:
    wished = [f"{step.step}: {ended(step)}" for step in outcomes(view, host) if ended(step) != "ok"]
    return f"{said} ({', '.join(dict.fromkeys(wished))})" if wished else said


CHECKS = (Kind(_ask, _answer),)
