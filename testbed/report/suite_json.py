"""A suite for other programs: `testbed run --summary FILE`, and the head of `--json`. Schema 1; keys are only added."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from testbed.report.cases import Case, Reason, Suite
from testbed.report.repeats import Repeats

SCHEMA = 1

Json = dict[str, Any]


def suite_json(suite: Suite, repeats: Iterable[Repeats] = ()) -> str:
    """The suite as JSON."""
    return json.dumps(suite_plain(suite, repeats), indent=1) + "\n"


def suite_plain(suite: Suite, repeats: Iterable[Repeats] = ()) -> Json:
    """The suite as plain data."""
    return {
        "schema": SCHEMA,
        **suite.counts(),
        "run_id": suite.run_id,
        "started": suite.started,
        "seconds": round(suite.seconds, 3),
        "jobs": suite.jobs,
        "shard": suite.shard or None,
        "interrupted": suite.interrupted,
        "repeats": [_repeats(each) for each in repeats],
        "cases": [_case(case) for case in suite.cases],
    }


def _case(case: Case) -> Json:
    return {
        "name": case.name,
        "scenario": case.scenario,
        "file": case.file,
        "verdict": None if case.not_run else case.verdict.value,
        "exit_code": None if case.not_run else case.exit_code,
        "flaky": case.flaky,
        "not_run": case.not_run or None,
        "reasons": [_reason(reason) for reason in case.reasons],
        "seconds": round(case.seconds, 3),
        "seed": case.seed,
        "backend": case.backend or None,
        "engine": case.engine or None,
        "folder": case.folder or None,
        "again": case.again or None,
        "earlier": [_case(earlier) for earlier in case.earlier],
    }


def _reason(reason: Reason) -> Json:
    return {
        "name": reason.name or None,
        "says": reason.says,
        "file": reason.file or None,
        "line": reason.line,
        "packets": list(reason.packets),
    }


def _repeats(repeats: Repeats) -> Json:
    bounds = repeats.interval
    return {
        "scenario": repeats.scenario,
        "file": repeats.file,
        "runs": repeats.judged + repeats.unknown,
        "passed": repeats.passed,
        "failed": repeats.failed,
        "unknown": repeats.unknown,
        "rate": repeats.rate,
        "interval": None if bounds is None else [round(bound, 6) for bound in bounds],
        "first_failing_seed": repeats.first_failing_seed,
        "again": repeats.again or None,
    }
