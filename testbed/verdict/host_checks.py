"""Checks of what a host's kernel and program showed: socket states, tables of connections, lines printed, counters.

The socket table is sampled about a thousand times a second, so a state may pass unseen. Linux moves along the edges of
`MOVES` (RFC 9293 figure 5); where a sample shows a jump over a state that was expected, we cannot tell.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeVar

from testbed.evidence import Counters, LogLine, StateSample, StepOutcome, TableSnapshot
from testbed.plan import HostPlan
from testbed.program import walk
from testbed.scenario.counters import full_name
from testbed.scenario.model import ExpectSnapshot
from testbed.scenario.steps import Snapshot, Step
from testbed.scenario.units import Range
from testbed.verdict.kind import Answer, Kind, Question, expected
from testbed.verdict.program_checks import find_trouble
from testbed.verdict.value import Outcome
from testbed.verdict.view import View

T = TypeVar("T")

MOVES: dict[str, tuple[str, ...]] = {
    "CLOSE": ("LISTEN", "SYN_SENT", "SYN_RECV"),
    "LISTEN": ("CLOSE", "SYN_RECV", "SYN_SENT"),
    "SYN_SENT": ("SYN_RECV", "ESTABLISHED", "CLOSE"),
    "SYN_RECV": ("ESTABLISHED", "FIN_WAIT1", "CLOSE", "LISTEN"),
    "ESTABLISHED": ("FIN_WAIT1", "CLOSE_WAIT", "CLOSE"),
    # Never TIME_WAIT: a FIN that acknowledges takes FIN_WAIT2 on its way.
    "FIN_WAIT1": ("FIN_WAIT2", "CLOSING", "CLOSE"),
    "FIN_WAIT2": ("TIME_WAIT", "CLOSE"),
    "CLOSING": ("TIME_WAIT", "CLOSE"),
    "CLOSE_WAIT": ("LAST_ACK", "CLOSE"),
    "LAST_ACK": ("CLOSE",),
    "TIME_WAIT": ("CLOSE",),
}
# Edges that RFC 9293 has, and a longer way that takes no longer: a program closes as soon as its connect returns.
ALSO_BY = {("SYN_RECV", "FIN_WAIT1"): "ESTABLISHED"}
_ENDS = frozenset({"CLOSE", "LISTEN"})  # a socket does not pass through these on its way elsewhere

ANY_IPV4, ANY_IPV6 = "0.0.0.0:", "[::]:"


def may_hide(before: str, after: str, state: str) -> bool:
    """Whether a socket that went from one state to another may have been in a third between."""
    if ALSO_BY.get((before, after)) == state:
        return True
    jumped = after not in MOVES.get(before, ()) and state not in _ENDS
    return jumped and state in _beyond(before) and after in _beyond(state)


def _beyond(state: str) -> set[str]:
    """The states that can come after one, in the same life of a socket."""
    found: set[str] = set()
    ahead = list(MOVES.get(state, ()))
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += () if one in _ENDS else MOVES[one]
    return found


def _hosts(view: View, name: str) -> list[HostPlan]:
    """The hosts that a name stands for: all replicas of a role, or the one host called so."""
    roles = [host for host in view.plan.hosts if host.role == name]
    return roles or [host for host in view.plan.hosts if host.name == name]


def _first_wrong(answers: Iterable[Answer]) -> Answer:
    """Of several hosts' answers the one that counts: the first failed, else the first unknown, else the first."""
    order = {Outcome.FAILED: 0, Outcome.UNKNOWN: 1, Outcome.PASSED: 2}
    return min(answers, key=lambda answer: order[answer.verdict])


def _list(words: Iterable[object]) -> str:
    return f"[{', '.join(str(word) for word in words)}]"


def find_in_order(wanted: Sequence[T], seen: Sequence[T]) -> tuple[int, int]:
    """How many of the wanted things occur in that order, and how many of those seen that took."""
    found = taken = 0
    for number, one in enumerate(seen, 1):
        if found < len(wanted) and one == wanted[found]:
            found, taken = found + 1, number
    return found, taken


def _states(view: View, question: Question) -> Answer:
    wanted = [name for name, _ in groupby(state.value for state in question.wanted)]
    return _first_wrong(_states_of(view, host.name, wanted) for host in _hosts(view, question.key))


def _states_of(view: View, host: str, wanted: list[str]) -> Answer:
    samples = sorted((s for s in view.evidence.all(StateSample) if s.host == host), key=lambda s: s.time_ns)
    seen = [name for name, _ in groupby(sample.after for sample in samples)]
    found, taken = find_in_order(wanted, [sample.after for sample in samples])
    if found == len(wanted):
        return Answer(Outcome.PASSED, _list(wanted), _list(seen))
    if not samples:
        return _no_evidence(view, host, _list(wanted), "[]", f"no socket of {host} was ever sampled")
    missing = wanted[found]
    after = f" after {', '.join(wanted[:found])}" if found else ""
    why = f"no socket of {host} was seen to enter {missing}{after}; {_last(view, samples)}"
    jump = next((sample for sample in samples[taken:] if may_hide(sample.before, sample.after, missing)), None)
    if jump is None:
        return Answer(Outcome.FAILED, _list(wanted), _list(seen), why)
    says = (
        f"{why}; but between two samples, at {view.seconds(jump.time_ns)}, {jump.socket} went from {jump.before} to "
        f"{jump.after}, and may have been in {missing} unseen: give the wire a delay of some milliseconds"
    )
    return Answer(Outcome.UNKNOWN, _list(wanted), _list(seen), says)


def _last(view: View, samples: Sequence[StateSample]) -> str:
    last = samples[-1]
    return f"the last change was {last.before} to {last.after} at {view.seconds(last.time_ns)} ({last.socket})"


def _no_evidence(view: View, host: str, wanted: str, seen: str, says: str) -> Answer:
    """The program failed before: then so did this. It did not: then we could not see."""
    trouble = find_trouble(view, host)
    if trouble is not None and not trouble.unseen:
        return Answer(Outcome.FAILED, wanted, seen, f"{says}: {trouble.says}", trouble.packets)
    return Answer(Outcome.UNKNOWN, wanted, seen, says)


def _snapshot(view: View, question: Question) -> Answer:
    name, wanted = question.key, question.wanted
    takers = [host for host in view.plan.hosts if name in _taken(view.evidence.scenario.hosts[host.role].steps)]
    if not takers:
        return Answer(Outcome.UNKNOWN, show(wanted), "no snapshot", f"no step takes a snapshot named {name}")
    return _first_wrong(_snapshot_of(view, host.name, name, wanted) for host in takers)


def _taken(steps: Iterable[Step]) -> set[str]:
    return {step.snapshot for step in walk(steps) if isinstance(step, Snapshot)}


def show(wanted: ExpectSnapshot) -> str:
    """An expected snapshot as a scenario writes it."""
    parts = []
    if wanted.states:
        parts.append(f"states: {{{', '.join(f'{state.value}: {n.show()}' for state, n in wanted.states.items())}}}")
    if wanted.listening:
        parts.append(f"listening: {_list(wanted.listening)}")
    return f"{{{', '.join(parts)}}}"


def _snapshot_of(view: View, host: str, name: str, wanted: ExpectSnapshot) -> Answer:
    tables = [table for table in view.evidence.all(TableSnapshot) if (table.host, table.name) == (host, name)]
    if not tables:
        return _no_evidence(view, host, show(wanted), "no snapshot", f"{host} took no snapshot named {name}")
    return _first_wrong(_table(view, table, wanted) for table in tables)


def _table(view: View, table: TableSnapshot, wanted: ExpectSnapshot) -> Answer:
    states = Counter(row.state for row in table.rows)
    listening = sorted({row.local for row in table.rows if row.state == "LISTEN"})
    shown = {state.value: states[state.value] for state in wanted.states} or dict(sorted(states.items()))
    seen = f"{{states: {{{', '.join(f'{state}: {count}' for state, count in shown.items())}}}"
    seen += f", listening: {_list(listening)}}}" if wanted.listening else "}"
    wrong = [f"{states[s.value]} sockets in {s.value}" for s, n in wanted.states.items() if states[s.value] not in n]
    wrong += [f"nobody listening on {local}" for local in wanted.listening if _place(view, local) not in listening]
    if not wrong:
        return Answer(Outcome.PASSED, show(wanted), seen)
    rows = "; ".join(f"{row.state} {row.local} {row.peer}" for row in table.rows[:8]) or "it is empty"
    why = f"the table of {table.host} at {view.seconds(table.time_ns)} has {', '.join(wrong)}; its rows: {rows}"
    return Answer(Outcome.FAILED, show(wanted), seen, why)


def _place(view: View, local: str) -> str:
    # A scenario runs over either family; the address that means "all of them" has another spelling in each.
    return local.replace(ANY_IPV4, ANY_IPV6) if view.evidence.run.family == "ipv6" else local


def _logs(view: View, question: Question) -> Answer:
    return _first_wrong(_logs_of(view, host.name, question.wanted) for host in _hosts(view, question.key))


def matches(pattern: str, line: str) -> bool:
    """Whether a line fits a pattern in which `*` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line, re.DOTALL) is not None


def _logs_of(view: View, host: str, wanted: Sequence[str]) -> Answer:
    lines = [line for line in view.evidence.all(LogLine) if line.host == host]
    left = list(wanted)
    for line in lines:
        if left and matches(left[0], line.line):
            left.pop(0)
    expected_text, seen = _list(map(repr, wanted)), _list(repr(line.line) for line in lines)
    if not left:
        return Answer(Outcome.PASSED, expected_text, seen)
    says = f"{host} did not print {left[0]!r}"
    if len(left) < len(wanted):
        says += f" after {wanted[-len(left) - 1]!r}"
    if not any(step.host == host for step in view.evidence.all(StepOutcome)):
        return Answer(Outcome.UNKNOWN, expected_text, seen, f"{says}, and nothing was heard of its program")
    last = (
        f"its last line, at {view.seconds(lines[-1].time_ns)}, is {lines[-1].line!r}" if lines else "it printed nothing"
    )
    trouble = find_trouble(view, host)
    told = f"; {trouble.says}" if trouble else ""
    verdict = Outcome.UNKNOWN if trouble is not None and trouble.unseen else Outcome.FAILED
    return Answer(verdict, expected_text, seen, f"{says}; {last}{told}")


def _counter(view: View, question: Question) -> Answer:
    host, _, name = question.key.rpartition(".")
    full = full_name(name, view.evidence.run.family)
    return _first_wrong(_counted(view, one.name, full, question.wanted) for one in _hosts(view, host))


def _counted(view: View, host: str, name: str, wanted: Range) -> Answer:
    counters = next((one for one in view.evidence.all(Counters) if one.host == host), None)
    if counters is None:
        return Answer(Outcome.UNKNOWN, wanted.show(), "nothing", f"the counters of {host} were not read")
    if name in counters.lacks:
        return Answer(Outcome.UNKNOWN, wanted.show(), "nothing", f"the kernel of {host} does not count {name}")
    seen = counters.changed.get(name, 0)
    if seen in wanted:
        return Answer(Outcome.PASSED, wanted.show(), str(seen))
    others = ", ".join(f"{other} {count}" for other, count in counters.changed.items() if other.startswith("Tcp"))
    why = f"{host} counted {name} {seen} times instead of {wanted.show()}; of TCP it counted {others or 'nothing'}"
    return Answer(Outcome.FAILED, wanted.show(), str(seen), why)


CHECKS = (
    Kind(expected("states.*"), _states),
    Kind(expected("counters.*.*"), _counter),
    Kind(expected("snapshots.*"), _snapshot),
    Kind(expected("logs.*"), _logs),
)
