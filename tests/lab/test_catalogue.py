"""The whole catalogue, played once on netns: every scenario passes, and every one of its expectations can fail.

Expectations are made wrong on the recorded evidence: a value of each check of `expect`, and the errors that steps
expect, one after another until each has been wrong once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from command_driver import RETRIES, ROOT, last_try, testbed_within
from expectations import Place, leaves

from testbed.errors import LabError
from testbed.evidence import Evidence
from testbed.files import load_evidence
from testbed.lab.netns.lab import try_out
from testbed.scenario.model import Scenario, dump_scenario, expect_on
from testbed.verdict.judge import judge
from testbed.verdict.value import Judgement, Outcome
from testbed.verdict.view import kernel_of

pytestmark = pytest.mark.lab

NAMES = sorted(path.stem for path in (ROOT / "scenarios").glob("*/*.yaml"))
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class Played:
    """The run of the catalogue: what it said, results by scenario, why others were not run, and the run folders."""

    said: str
    results: dict[str, dict[str, Any]]
    not_run: dict[str, str]
    folder: Path

    def result(self, name: str) -> dict[str, Any]:
        """The result of a scenario; the test is skipped where this kernel cannot have it."""
        if name in self.not_run:
            pytest.skip(self.not_run[name])
        assert name in self.results, self.said
        return self.results[name]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One run of every scenario; fewer at a time than by default, since other tests go on beside it."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))
    out = tmp_path_factory.mktemp("catalogue")
    ended = testbed_within(
        PATIENCE_S, "run", "--all", "--backend", "netns", "--out", out, "--json", "--jobs", "8", *RETRIES
    )
    suite = json.loads(ended.stdout)
    results = {one["scenario"]: one for one in suite["results"]}
    not_run = {one["scenario"]: one["not_run"] for one in suite["cases"] if one["not_run"]}
    return Played(ended.stderr, results, not_run, out / "latest")


@pytest.mark.parametrize("name", NAMES)
def test_passes(played: Played, name: str) -> None:
    """Every check of the scenario passes."""
    result = played.result(name)
    wrong = [one for one in (*result["checks"], *result["problems"]) if one.get("verdict") != "passed"]
    assert (result["verdict"], wrong) == ("passed", [])


# --- wrong expectations ---


def check_of(path: Place) -> str:
    """The check that a leaf of `expect` belongs to: a section's key, or the section where it has one value only."""
    depth = 3 if path[0] == "counters" else 2
    return ".".join(map(str, path[:depth]))


def at(value: Any, path: Place) -> Any:
    """What stands at a path."""
    for part in path:
        value = value[part]
    return value


def wrong(value: Any, path: Place) -> Any:
    """A legal value for that place that is not what happened."""
    section = path[0]
    if isinstance(value, int):
        return value + 1
    if section in ("payload", "datagrams", "logs"):
        return 3 if path[-1] == "random" else f"{value}!"
    choices = {"outcome": ("complete", "refused"), "kind": ("fin", "rst"), "conn_state": ("SF", "S0")}
    if choice := choices.get(str(path[-1])):
        return choice[value == choice[0]]
    if path[-1] in ("closed_first", "reset_by"):
        return "server" if value == "client" else "client"
    if section == "history":
        return f"{value}Rr"
    return beyond(value)


def beyond(text: str) -> Any:
    """A range that has nothing in common with this one, above it."""
    if re.fullmatch(r"[0-9.]+m?s(\.\.([0-9.]+m?s)?)?", text):
        return "3000s..3001s"
    if place := re.fullmatch(r"(.*:)(\d+)", text):  # an address and its port
        return f"{place[1]}{int(place[2]) + 1}"
    low, _, high = text.partition("..")
    most = int(high or low) + (0 if high else 1_000_000)
    return f"{most + 1}..{most + 2}"


def each_wrong_once(expect: dict[str, Any]) -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Expectations in which one value of every check is wrong, until all have been; and which checks that were."""
    by_check: dict[str, list[Place]] = {}
    for path in leaves(expect):
        by_check.setdefault(check_of(path), []).append(path)
    for turn in count():
        if not (now := {check: paths[turn] for check, paths in by_check.items() if turn < len(paths)}):
            return
        changed = deepcopy(expect)
        for path in now.values():
            section = at(changed, path[:-1])
            # One closes in turn or at the same time: no socket does both.
            other = "LAST_ACK" if path[0] == "states" and "CLOSING" in section else "CLOSING"
            section[path[-1]] = other if path[0] == "states" else wrong(section[path[-1]], path)
        yield changed, set(now)


def judged(evidence: Evidence, **changed: Any) -> Judgement:
    """The judgement of recorded evidence by a changed scenario."""
    scenario = {**dump_scenario(evidence.scenario), **changed}
    return judge(replace(evidence, scenario=Scenario.model_validate(scenario)))


def on_this_kernel(evidence: Evidence) -> Scenario:
    """The scenario with what it expects of the kernel that it was played on."""
    expect, _ = expect_on(evidence.scenario.expect, kernel_of(evidence))
    return evidence.scenario.model_copy(update={"expect": expect.model_copy(update={"by_kernel": ()})})


def other_errors(hosts: Any) -> tuple[Any, int]:
    """The hosts with every error that a step expects made another, and how many there were."""
    changed, found = deepcopy(hosts), 0
    for path in leaves(hosts):
        if path[-1] == "error":
            found += 1
            at(changed, path[:-1])["error"] = "EDOM" if at(hosts, path) != "EDOM" else "ERANGE"
    return changed, found


@pytest.mark.parametrize("name", NAMES)
def test_every_expectation_can_fail(played: Played, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever value of `expect` is made wrong, its check is not passed; so with every error that a step expects."""
    played.result(name)
    monkeypatch.setattr("testbed.verdict.checks.find_late", lambda view: "")  # of a busy machine it would be unknown
    evidence = load_evidence(last_try(played.folder, name))
    told = dump_scenario(on_this_kernel(evidence))
    errors, changes = other_errors(told["hosts"])
    if changes:
        assert judged(evidence, hosts=errors).verdict is Outcome.FAILED
    for expect, checks in each_wrong_once(told.get("expect", {})):
        changes += len(checks)
        judgement = judged(evidence, expect=expect)
        assert judgement.verdict is not Outcome.PASSED
        passed = {one.name for one in judgement.checks if one.verdict is Outcome.PASSED}
        assert not passed & checks
        failed = {one.name for one in judgement.checks if one.verdict is Outcome.FAILED}
        # A state that may have been jumped over between two samples is unknown.
        assert {one for one in checks if not one.startswith("states.")} <= failed
    assert changes, "the scenario expects nothing"
