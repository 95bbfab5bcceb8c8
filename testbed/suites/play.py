"""A whole command: decide order and number, run all, tell of each as it ends, then report on the suite."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testbed.errors import TestbedError
from testbed.files import load_scenario
from testbed.lab.warm import Likeness
from testbed.plan import make_plan
from testbed.report.cases import Case, Suite
from testbed.report.repeats import Repeats, repeats_of
from testbed.session import Options, choose_backend, lab_shape, new_run_id, resolve
from testbed.suite import Ended, Policy, Result, run_suite
from testbed.suites import capacity
from testbed.suites.choose import Turn, longest_first, spread_rare
from testbed.suites.durations import load_durations, save_durations
from testbed.suites.engines import EnginePool, open_pool
from testbed.suites.outlets import Outlets, save_index
from testbed.suites.printing import print_json, print_summary, watcher
from testbed.terminal import Progress, print_error
from testbed.verdict.value import Outcome

USUAL_HOSTS = 3
NOTHING_RAN = 3  # the exit code where all that was asked for is not applicable to this kernel
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a command line wants of a suite, beside which runs."""

    jobs: int | None = None
    retries: int = 0
    fail_fast: bool = False
    shard: str = ""
    as_json: bool = False
    engines: tuple[str, ...] = ()  # that the runs are spread over
    outlets: Outlets = field(default_factory=Outlets)


def play(
    turns: Sequence[Turn],
    options: Options,
    wish: Wish,
    run_id: str = "",
    on_result: Callable[[Result], None] = lambda result: None,
    on_suite: Callable[[Suite], None] = lambda suite: None,
) -> int:
    """Run all and report; gives the exit code. Where there is no turn at all (an empty shard), all is well."""
    progress = Progress(quiet=wish.as_json and not sys.stderr.isatty(), total=len(turns))
    run_id = run_id or new_run_id()
    started, begun = time.strftime(TIME_FORMAT, time.gmtime()), time.monotonic()
    show = watcher(progress, wish.as_json, len(turns))
    cases: dict[str, Case] = {}

    def finished(result: Result) -> None:
        cases[result.case.name] = result.case
        show(result)
        on_result(result)

    policy, ended = Policy(), Ended()
    if turns:
        ordered, policy = prepare(turns, options, wish, progress)
        ended = run_suite(
            ordered, options, run_id, policy, lambda turn, words: progress(turn.job.folder_name, words), finished
        )
    elif not wish.as_json:
        sys.stderr.write(f"shard {wish.shard} has none of the scenarios\n")
    progress.clear()
    suite = Suite(
        cases=tuple(cases.get(turn.job.folder_name) or _not_run(turn, ended.why) for turn in turns),
        run_id=run_id,
        started=started,
        seconds=time.monotonic() - begun,
        jobs=policy.jobs,
        shard=wish.shard,
        interrupted=ended.why.startswith("interrupted"),
    )
    if turns and not suite.ran:
        ended.codes.add(NOTHING_RAN)
    try:
        report(suite, options, wish)
        on_suite(suite)
    except TestbedError as error:
        print_error(error)
        ended.codes.add(error.exit_code)
    return ended.exit_code


def _not_run(turn: Turn, why: str) -> Case:
    job = turn.job
    return Case(job.folder_name, job.name, str(job.path), Outcome.UNKNOWN, not_run=f"not run: {why or 'interrupted'}")


def report(suite: Suite, options: Options, wish: Wish) -> None:
    """Print the summary of many, note how long they took, and write what was asked for."""
    repeats: tuple[Repeats, ...] = repeats_of(suite.cases)
    if len(suite.cases) != 1:
        print_json(suite, repeats) if wish.as_json else print_summary(suite, repeats)
        for backend in {case.backend for case in suite.ran if case.backend}:
            save_durations(options.out, backend, _measured(suite, backend))
        save_index(suite)
    wish.outlets.write(suite, repeats)


def _measured(suite: Suite, backend: str) -> dict[str, float]:
    return {case.scenario: case.seconds for case in suite.ran if case.backend == backend}


def prepare(turns: Sequence[Turn], options: Options, wish: Wish, progress: Progress) -> tuple[tuple[Turn, ...], Policy]:
    """The order in which the turns begin, and how many go on at a time."""
    if len(turns) == 1:
        pool = _pool(wish, USUAL_HOSTS, progress, turns)
        return tuple(turns), Policy(retries=wish.retries, pool=pool)
    backend, _ = choose_backend(options.backend)
    shapes = {path: shape_of(path, options, backend) for path in {turn.job.path for turn in turns}}
    hosts = max(len(shape.hosts) if shape else USUAL_HOSTS for shape in shapes.values())
    each = capacity.lab_bytes(backend, hosts, granted=wish.jobs is None)
    fits = capacity.labs_that_fit(capacity.free_bytes(backend), each)
    plan = capacity.plan_capacity(
        asked=wish.jobs,
        runs=len(turns),
        cores=capacity.cores(),
        labs=fits,
        per_core=capacity.JOBS_PER_CORE.get(backend, 1),
    )
    if plan.why:
        progress(turns[0].job.folder_name, plan.why)
    pool = _pool(wish, hosts, progress, turns)
    jobs, idle = (pool.jobs, min(capacity.MOST_IDLE, pool.jobs)) if pool else (plan.jobs, plan.idle)
    ordered = longest_first(turns, load_durations(options.out, backend), shapes.__getitem__)
    if backend == "compose":
        ordered = spread_rare(ordered, shapes.__getitem__, max(1, jobs - 1))
    return ordered, Policy(jobs, idle, wish.retries, wish.fail_fast, pool)


def _pool(wish: Wish, hosts: int, progress: Progress, turns: Sequence[Turn]) -> EnginePool | None:
    if not wish.engines:
        return None
    return open_pool(wish.engines, wish.jobs, hosts, lambda words: progress(turns[0].job.folder_name, words))


def shape_of(path: Path, options: Options, backend: str) -> Likeness | None:
    """What the lab of a scenario must be like; None of a wrong file, which brings up none."""
    try:
        plan = make_plan(path.stem, resolve(load_scenario(path), options))
    except TestbedError:
        return None
    return Likeness.of(backend, lab_shape(plan, ""))
