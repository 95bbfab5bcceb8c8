"""`testbed rerun RUN_FOLDER`: the same run once more, by what its folder holds, and what is different today.

The scenario comes from the run folder, as it was played: resolved, with its seed, address family and all that a command
line had changed. Backend and engine are those that were used. A sysctl that the default profile pins otherwise today
gets the value that it had. What cannot be made the same (kernel, versions) is told.

The scenario and the payload files it names are laid beside the new run folder, so that line numbers in its report have
a file, and it can be run again in its turn.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from testbed.errors import LabError, UsageError
from testbed.evidence import RunFacts
from testbed.files import (
    NO_RUN_FOLDER,
    TIMELINE,
    disk_errors,
    find_scenario,
    load_payloads,
    load_scenario,
    read_file,
    read_timeline,
    write_whole,
)
from testbed.plan import make_plan
from testbed.profile import profile_sysctls
from testbed.report.escape import clean
from testbed.scenario.model import Scenario, dump_scenario
from testbed.scenario.write import write_scenario
from testbed.session import NEWEST_KERNEL, Job, Options, new_run_id
from testbed.suites.choose import Turn, folder_stem
from testbed.suites.play import Wish, play

ABOUT = "# Played again from {folder}, made by testbed"


@dataclass(frozen=True, slots=True)
class Former:
    """A run that was, as its folder tells."""

    folder: Path
    facts: RunFacts
    scenario: Scenario
    verdict: str  # as noted then; empty where no result was written


def load_former(folder: Path) -> Former:
    """Read a run folder. Raises UsageError where it is none."""
    scenario = load_scenario(folder / "scenario.yaml").scenario
    path = folder / TIMELINE
    records = read_timeline(read_file(path, "timeline"), str(path))
    (facts,) = (record for record in records if isinstance(record, RunFacts))
    return Former(folder, facts, scenario, _verdict(folder))


def _verdict(folder: Path) -> str:
    try:
        told = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    return str(told.get("verdict", "")) if isinstance(told, dict) else ""


def same_options(former: Former, options: Options) -> Options:
    """The options that make the new run like the old one; the scenario holds the rest."""
    facts = former.facts
    engine = facts.engine if facts.engine in ("netem", "portable") else "auto"
    return replace(
        options, backend=facts.backend, engine=engine, seed=facts.seed, family=facts.family, place=facts.place
    )


def lay_out(former: Former, folder: Path) -> Path:
    """Write the scenario, and the files it names, into a folder; gives the scenario's file."""
    scenario = with_former_sysctls(former.scenario, former.facts)
    name = re.sub(r"[^\w.-]", "-", former.facts.scenario).lstrip(".") or "scenario"
    path = folder / f"{name}.yaml"
    about = ABOUT.format(folder=former.folder)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, f"{about}\n{write_scenario(scenario)}".encode())
    for file, content in _payloads(former, scenario).items():
        with disk_errors(folder):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            write_whole(folder / file, content)
    return path


def _payloads(former: Former, scenario: Scenario) -> dict[str, bytes]:
    """The payload files, from beside the scenario's own file."""
    files = make_plan(former.facts.scenario, scenario).files
    outside = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise UsageError(
            f"{former.folder} names the payload file {outside[0]}, which is not beside its scenario",
            remedy=f"run {former.facts.scenario_file} instead",
        )
    return load_payloads(files, Path(former.facts.scenario_file))


def with_former_sysctls(scenario: Scenario, facts: RunFacts) -> Scenario:
    """The scenario with the sysctls that the profile pinned otherwise then, unless it sets them itself. Pure.

    Raises UsageError for sysctls that no run can have had.
    """
    own = set(scenario.sysctls).union(*(host.sysctls for host in scenario.hosts.values()))
    pinned = profile_sysctls(facts.family, NEWEST_KERNEL)
    other = {
        name: value
        for name, value in facts.sysctls.items()
        if name not in own and value not in ("", "None") and pinned.get(name, "").split() != value.split()
    }
    if not other:
        return scenario
    try:
        return Scenario.model_validate({**dump_scenario(scenario), "sysctls": {**scenario.sysctls, **other}})
    except ValidationError as error:
        wrong = "; ".join(one["msg"] for one in error.errors(include_url=False))
        raise UsageError(f"the sysctls that {TIMELINE} tells cannot be set: {wrong}", remedy=NO_RUN_FOLDER) from error


def play_again(folder: Path, out: Path, repeat: int, jobs: int | None, as_json: bool) -> int:
    """Play a run once more, or several times; gives the exit code."""
    former = load_former(folder)
    run_id = new_run_id()
    path = lay_out(former, out / run_id)
    stem = folder_stem(path)
    names = [stem if number == 1 else f"{stem}-{number}" for number in range(1, repeat + 1)]
    folders: list[str] = []
    options = same_options(former, Options(out=out))
    turns = [Turn(Job(path, name)) for name in names]
    wish = Wish(jobs=jobs, as_json=as_json)
    code = play(turns, options, wish, run_id, lambda result: folders.append(result.case.folder))
    for latter in [load_former(Path(each)) for each in folders if each][:1]:
        (sys.stderr if as_json else sys.stdout).writelines(f"{clean(line)}\n" for line in say_changes(former, latter))
    return code


def say_changes(former: Former, latter: Former) -> Iterator[str]:
    """How the machine differs, and the outcome, in lines."""
    yield from _file_changes(former)
    now = latter.facts
    changes = [*_differences(former.facts.versions, now.versions), *_differences(former.facts.sysctls, now.sysctls)]
    for name, before, after in changes:
        yield f"{name}: {before or 'none'} then, {after or 'none'} now"
    if not changes:
        yield "the environment is the same: versions, kernel, sysctls"
    if former.verdict:
        yield f"verdict: {former.verdict} then, {latter.verdict} now"


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in sorted({*before, *after}):
        then, now = before.get(name, ""), after.get(name, "")
        if then.split() != now.split():
            yield name, then, now


def _file_changes(former: Former) -> Iterator[str]:
    """Whether the scenario's own file still says what was played."""
    facts = former.facts
    try:
        path = Path(facts.scenario_file)
        path = path if path.is_file() else find_scenario(facts.scenario)
        today = load_scenario(path).scenario
    except (UsageError, LabError):
        yield f"{facts.scenario_file} is not there any more, or is wrong; the run folder's copy was played"
        return
    changes = {"seed": facts.seed, "family": facts.family}
    if dump_scenario(today) | changes != dump_scenario(former.scenario) | changes:
        yield f"{path} says something else now, or the command line had changed it; the run folder's copy was played"
