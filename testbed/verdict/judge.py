"""Evidence in, verdict out: the same evidence gives the same judgement, anywhere.

Unknown when the lab had a problem, whatever the checks say; else failed when a check failed; else unknown when one is
unknown; else passed.
"""

from __future__ import annotations

from collections.abc import Iterable

from testbed.evidence import Evidence
from testbed.verdict.annotate import annotate
from testbed.verdict.checks import check_all
from testbed.verdict.value import Check, Judgement, Outcome
from testbed.verdict.view import look


def judge(evidence: Evidence) -> Judgement:
    """Judge a run by its evidence."""
    view = look(evidence)
    checks = tuple(check_all(view))
    verdict = Outcome.UNKNOWN if view.broken else sum_up(checks)
    trace = annotate(view, checks, verdict)
    return Judgement(
        verdict, checks, view.connections, view.trips, view.packets, trace, evidence, view.faults, view.traffic
    )


def sum_up(checks: Iterable[Check]) -> Outcome:
    """The verdict over several checks."""
    verdicts = {check.verdict for check in checks}
    return next((worst for worst in (Outcome.FAILED, Outcome.UNKNOWN) if worst in verdicts), Outcome.PASSED)
