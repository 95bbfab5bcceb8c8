"""A suite as TAP, the Test Anything Protocol, version 14 (which readers of version 13 understand). Pure.

TAP has two verdicts; what is unknown is `not ok`, and its block of YAML says so and gives the reasons.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from testbed.report.cases import Case, Suite, place, told
from testbed.report.escape import clean
from testbed.verdict.value import Outcome


def tap_text(suite: Suite) -> str:
    """The suite as TAP."""
    lines = ["TAP version 14", f"1..{len(suite.cases)}"]
    for number, case in enumerate(suite.cases, start=1):
        lines += _case(number, case)
    if suite.interrupted:
        lines.append("Bail out! interrupted")
    return "\n".join(lines) + "\n"


def _case(number: int, case: Case) -> Iterator[str]:
    name = _escaped(case.name)
    if case.not_run:
        yield f"ok {number} - {name} # SKIP {_escaped(case.not_run)}"
        return
    yield f"{'ok' if case.verdict is Outcome.PASSED else 'not ok'} {number} - {name}"
    if case.verdict is Outcome.PASSED and not case.flaky:
        return
    where = next((place(reason) for reason in case.reasons if reason.file), case.file)
    # JSON is YAML, and quotes whatever stands in a text.
    block = {"severity": "flaky" if case.flaky else case.verdict.value, "at": clean(where), "message": list(told(case))}
    yield "  ---"
    yield from (f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in block.items())
    yield "  ..."


def _escaped(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace("#", "\\#")
