"""The table of all kinds of checks, and how one is held against the evidence.

A kind is a row in the module that is about its subject; nothing else names it. Whatever a check would say, it is
unknown where the lab broke, where the wire was not seen, or where its payload was cut; and what has failed is, where
the machine did not keep pace.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.verdict import connection_checks, host_checks, program_checks, stream_checks, wire_checks, witness
from testbed.verdict.kind import Answer, Kind, Question
from testbed.verdict.pace import find_late
from testbed.verdict.value import Check, Outcome
from testbed.verdict.view import View

KINDS: tuple[Kind, ...] = (
    *program_checks.CHECKS,
    *wire_checks.CHECKS,
    *connection_checks.CHECKS,
    *stream_checks.CHECKS,
    *host_checks.CHECKS,
    *witness.CHECKS,
)


def check_all(view: View) -> Iterator[Check]:
    """Every check that the scenario asks for, and those that are always made."""
    answered = [(kind, question, kind.answer(view, question)) for kind in KINDS for question in kind.ask(view)]
    has_failed = any(answer.verdict is Outcome.FAILED for _, _, answer in answered)
    late = find_late(view) if has_failed else ""
    for kind, question, answer in answered:
        yield conclude(view, kind, question, answer, late)


def conclude(view: View, kind: Kind, question: Question, answer: Answer, late: str) -> Check:
    """The check that an answer makes; `late`: what a busy machine did too late for a failure to count."""
    line = view.line(answer.path or question.path)
    verdict, why = _doubt(view, kind, answer, late)
    return Check(question.name, verdict, answer.expected, answer.seen, why, answer.packets, line)


def _doubt(view: View, kind: Kind, answer: Answer, late: str) -> tuple[Outcome, str]:
    """The answer's verdict and reason, or why it does not count."""
    doubts = list(view.broken)
    if kind.rests_on_packets:
        doubts += view.blind
    if kind.rests_on_payload:
        doubts += view.cut
    if not doubts:
        if answer.verdict is Outcome.FAILED and late:
            return Outcome.UNKNOWN, f"{answer.why}; it may come of a busy machine, since {late}"
        return answer.verdict, answer.why
    return Outcome.UNKNOWN, "; ".join(dict.fromkeys(doubts))
