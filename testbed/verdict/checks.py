"""The table of all kinds of checks, and how one is held against the evidence.

A kind is a row in the module that is about its subject; nothing else names it. Whatever a check would say, it is
unknown where the lab broke, where the wire was not seen, or where its payload was cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from testbed.verdict import connection_checks, host_checks, program_checks, stream_checks, wire_checks, witness
from testbed.verdict.kind import Answer, Kind, Question
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
    for kind in KINDS:
        for question in kind.ask(view):
            yield hold(view, kind, question)


def hold(view: View, kind: Kind, question: Question) -> Check:
    answer = kind.answer(view, question)
    line = view.line(answer.path or question.path)
    verdict, why = _doubt(view, kind, answer)
    return Check(question.name, verdict, answer.expected, answer.seen, why, answer.packets, line)


def _doubt(view: View, kind: Kind, answer: Answer) -> tuple[Outcome, str]:
    """The answer's verdict and reason, or why it does not count."""
    doubts = list(view.broken)
    if kind.rests_on_packets:
        doubts += view.blind
    if kind.rests_on_payload:
        doubts += view.cut
    if not doubts:
        return answer.verdict, answer.why
    return Outcome.UNKNOWN, "; ".join(dict.fromkeys(doubts))
