"""One scenario, from its file to its verdict: the only place that knows the whole way.

read -> plan -> lab up -> play -> collect -> lab down -> judge -> write. What was opened is closed in reverse, whatever
happens between.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import testbed
from testbed.apart import check_hearing
from testbed.errors import LabError, TestbedError, UsageError
from testbed.evidence import Evidence, Problem, RunFacts, Timing
from testbed.files import (
    load_evidence,
    load_payloads,
    load_scenario,
    make_run_folder,
    point_latest,
    read_file,
    save_evidence,
    save_outputs,
    write_lab_file,
)
from testbed.injecting import injects
from testbed.lab.agents import Agents
from testbed.lab.contract import Lab, LabHost, LabShape, Say, places_of
from testbed.lab.sysctls import without_later
from testbed.lab.tuning import fit
from testbed.lab.warm import Likeness, StandingLab, WarmLabs
from testbed.live.onlooker import Onlooker
from testbed.needs import check_kernel
from testbed.plan import SNIFFER, Plan, make_plan
from testbed.profile import profile_sysctls
from testbed.run import Clock, run_plan
from testbed.scenario.model import Scenario, dump_scenario
from testbed.scenario.read import Located
from testbed.stop import Stop

if TYPE_CHECKING:
    from testbed.verdict.value import Judgement

NEWEST_KERNEL = (99, 0)
_CHOOSING = threading.Lock()
BACKENDS = ("auto", "compose", "netns", "swarm")


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line changes about a run."""

    backend: str = "auto"
    engine: str = "auto"
    out: Path = Path("results")
    seed: int | None = None
    family: str | None = None
    timeout_s: float | None = None
    keep: bool = False
    fresh: bool = False
    settings: tuple[tuple[str, str], ...] = ()
    place: tuple[str, ...] = ()  # the words of --place: which host runs on which engine
    host_engine: str = ""  # of all hosts (compose): a context or an address; else the one that `docker` would use
    onlooker: Onlooker | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A scenario to run: its file, and the name of its folder (differs from the stem when it is repeated)."""

    path: Path
    folder_name: str

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Done:
    """A run that came to a verdict."""

    judgement: Judgement
    folder: Path


def new_run_id() -> str:
    """A run's id: the time, so that folders sort by it, and a few random digits."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(3).hex()}"


def resolve(located: Located, options: Options) -> Scenario:
    """The scenario with what the command line changes."""
    changes: dict[str, Any] = {}
    if options.seed is not None:
        changes["seed"] = options.seed
    if options.family is not None:
        changes["family"] = options.family
    if not changes and not options.settings:
        return located.scenario
    data = dump_scenario(located.scenario)
    data |= changes
    data.pop("matrix", None)  # this is one point of it
    for path, text in options.settings:
        _set(data, path, text)
    return _validated(data)


def _set(data: dict[str, Any], path: str, text: str) -> None:
    import yaml

    before, inside, name = path.partition("sysctls.")  # whose names have dots of their own
    *parents, last = [*before.split(".")[:-1], "sysctls", name] if inside and name else path.split(".")
    place: Any = data
    try:
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
            if not isinstance(place, dict | list):
                raise UsageError(f"--set {path}: {part} holds a value, nothing can be set in it")
        place[int(last) if isinstance(place, list) else last] = yaml.safe_load(text)
    except (ValueError, IndexError) as error:
        raise UsageError(f"--set {path}: a list has no such item", remedy="items are numbered from 0") from error
    except yaml.YAMLError as error:
        raise UsageError(f"--set {path}: {text!r} is not a YAML value") from error


def _validated(data: Mapping[str, Any]) -> Scenario:
    import yaml

    from testbed.scenario.read import read_scenario

    return read_scenario(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True).encode(), "(command line)")


def lab_shape(plan: Plan, run_id: str) -> LabShape:
    """What the backend shall bring up for a plan."""
    hosts = [LabHost(host.name, host.sysctls) for host in plan.hosts]
    return LabShape(run_id, plan.name, plan.scenario.family, (*hosts, LabHost(SNIFFER, {})))


def choose_backend(asked: str) -> tuple[str, str]:
    """The backend and why."""
    if asked not in BACKENDS:
        raise UsageError(f"backend {asked!r} is not there", remedy=f"backends: {', '.join(BACKENDS)}")
    if asked != "auto":
        return asked, "asked for"
    from testbed.lab.engine import engine_address

    with _CHOOSING:
        return _look_for_engine(engine_address())


@cache
def _look_for_engine(address: str) -> tuple[str, str]:
    """Looked for once, so that all runs of a command use the same backend."""
    if address.startswith("unix://") and not Path(address.removeprefix("unix://")).exists():
        return "netns", f"no Docker engine answers at {address}"  # told without loading what speaks with one
    from testbed.lab.engine import connect

    try:
        connect()
    except LabError as error:
        return "netns", error.message
    return "compose", f"a Docker engine answers at {address}"


def _bring_up(
    backend: str, shape: LabShape, folder: Path, say: Say, stopped: Callable[[], None], options: Options
) -> Lab:
    if backend == "swarm":
        from testbed.lab.swarm.lab import SwarmLab
        from testbed.lab.swarm.placement import read_placement

        return SwarmLab.bring_up(shape, read_placement(options.place), folder / "lab.yaml", say, stopped)
    if backend == "netns":
        from testbed.lab.netns.lab import NetnsLab

        return NetnsLab.bring_up(shape, folder / "lab.yaml", say, stopped)
    from testbed.lab.compose import ComposeLab

    return ComposeLab.bring_up(shape, folder / "lab.yaml", say, stopped, options.host_engine)


def run_scenario(job: Job, options: Options, run_id: str, stop: Stop, say: Say, warm: WarmLabs | None = None) -> Done:
    """Run one scenario and leave its folder. Raises what keeps it from coming to a verdict.

    With `warm`, its lab may be one of those, and goes there when it is clean.
    """
    clock = Clock()
    located = load_scenario(job.path)
    scenario = resolve(located, options)
    plan = make_plan(job.name, scenario, engine=options.engine)
    files = load_payloads(plan.files, job.path)
    backend, why = choose_backend(options.backend)
    if options.keep and backend == "netns":
        raise UsageError(
            "--keep needs --backend compose: a lab of network namespaces lives as long as the command that made it"
        )
    say(f"backend {backend}: {why}")
    if backend == "swarm":
        check_hearing(plan)
    check_kernel(plan, backend, options.place, options.host_engine)
    folder = make_run_folder(options.out, run_id, job.folder_name)
    lab_id = f"{run_id}-{job.folder_name}"
    facts = _facts(plan, located, lab_id, backend, why)
    try:
        standing = _start(plan, facts, folder, stop, say, warm, options)
        facts = replace(
            facts, place=options.place, lab="fresh" if standing.id == lab_id else "warm", lab_id=standing.id
        )
        evidence = _in_lab(plan, facts, standing, files, options, stop, say, clock)
    except BaseException:
        _remove_if_empty(folder)
        raise
    return conclude(evidence, folder, clock, _put_away(standing, evidence, options, stop, say, warm))


def _start(
    plan: Plan, facts: RunFacts, folder: Path, stop: Stop, say: Say, warm: WarmLabs | None, options: Options
) -> StandingLab:
    """A lab of the plan's shape, warm or fresh; its lab.yaml is in the folder."""
    stop.check()
    threading.Thread(target=_preload, args=(plan,), daemon=True, name="preload").start()
    asked = lab_shape(plan, facts.run_id)
    shared = facts.backend == "compose" and warm is not None  # its hosts are given names and sysctls for each run
    likeness = Likeness.of(facts.backend, asked, options.host_engine)
    lab_file = folder / "lab.yaml"
    if warm is not None and (standing := warm.take(likeness, say)) is not None:
        say(f"using the lab {standing.id} again")
    else:
        say("bringing the lab up")
        shape = without_later(asked) if shared or facts.backend == "netns" else asked
        lab = _bring_up(facts.backend, shape, folder, say, stop.check, options)
        with closed_on_error(lab.close, say):
            text = read_file(lab_file, "lab file")
            standing = StandingLab(shape.run_id, likeness, lab, Agents(lab, stop), text)
        if not shared:
            return standing  # which has just written it
    with closed_on_error(standing.close, say):
        write_lab_file(lab_file, fit(standing.agents, asked) if shared else standing.override)
    return standing


@contextmanager
def closed_on_error(close: Callable[[], None], say: Say) -> Iterator[None]:
    """Whatever is raised meanwhile, `close` is called first."""
    try:
        yield
    except BaseException:
        _close(close, say)
        raise


def _close(close: Callable[[], None], say: Say) -> None:
    """Take a lab down on account of an error, which is what is raised: what went wrong meanwhile is only told."""
    try:
        close()
    except TestbedError as error:
        say(str(error))


def _in_lab(
    plan: Plan,
    facts: RunFacts,
    standing: StandingLab,
    files: Mapping[str, bytes],
    options: Options,
    stop: Stop,
    say: Say,
    clock: Clock,
) -> Evidence:
    """Play in a lab that is up; it is down when this raises."""
    timeout_s = options.timeout_s or plan.scenario.timeout / 1e9
    try:
        say("playing")
        return run_plan(plan, standing.agents, facts, files, stop, clock, timeout_s, options.onlooker)
    except BaseException:
        say("taking the lab down")
        _close(standing.close, say)
        raise


def _put_away(
    standing: StandingLab, evidence: Evidence, options: Options, stop: Stop, say: Say, warm: WarmLabs | None
) -> Closing:
    """A lab that has served is kept, goes to the warm ones, or is taken down: after any problem, always the last."""
    if options.keep and stop.reason is None:
        standing.agents.close()
        engines = ",".join(dict.fromkeys(places_of(standing.lab).values()))
        clean = f"testbed clean --engines {engines}" if engines else "testbed clean"
        say(f"the lab {standing.id} is kept; `{clean}` removes it once this command has ended")
        return Closing(lambda: None)
    if warm is not None and stop.reason is None and not evidence.all(Problem):
        return Closing(lambda: warm.give_back(standing, say))
    say("taking the lab down")
    standing.agents.close()
    return Closing(standing.close)


class Closing:
    """Takes a lab down in the background: judging needs nothing of it, and the engine needs its time."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._started = time.monotonic()
        self._took_ms = 0.0
        self._error: TestbedError | None = None
        self._thread = threading.Thread(target=self._run, args=(close,), name="taking down")
        self._thread.start()

    def _run(self, close: Callable[[], None]) -> None:
        try:
            close()
        except TestbedError as error:
            self._error = error
        self._took_ms = round((time.monotonic() - self._started) * 1000, 3)

    def wait(self) -> tuple[float, TestbedError | None]:
        """Wait until the lab is down; gives how long that took in ms, and why it could not be done."""
        self._thread.join()
        return self._took_ms, self._error


def _preload(plan: Plan) -> None:
    """Import what is needed once the lab is up; while it comes up this process has nothing to do."""
    crafting = ("testbed.craft",) if any(injects(host.steps) for host in plan.hosts) else ()
    for name in (*crafting, "testbed.outputs", "testbed.report.text"):
        importlib.import_module(name)


def _remove_if_empty(folder: Path) -> None:
    """A run that came to nothing leaves no folder; one that left something keeps it."""
    (folder / "lab.yaml").unlink(missing_ok=True)
    try:
        folder.rmdir()
        folder.parent.rmdir()
    except OSError:
        return


def conclude(evidence: Evidence, folder: Path, clock: Clock, closing: Closing) -> Done:
    """Judge what a run found while its lab is taken down, and write it all down once it is."""
    from testbed.outputs import drawings, result_file
    from testbed.verdict.judge import judge

    judgement = judge(evidence)
    made = drawings(judgement)
    clock.lap("judge")
    lab_down_ms, error = closing.wait()
    if error is not None:
        problem = Problem("lab", f"the lab could not be taken down: {error.message}")
        evidence = replace(evidence, records=(*evidence.records, problem))
        judgement = judge(evidence)
        made = drawings(judgement)
    timing = Timing({**clock.phases, "lab_down": lab_down_ms, "total": clock.total()})
    evidence = replace(evidence, records=(*evidence.records, timing))
    judgement = replace(judgement, evidence=evidence)
    save_evidence(folder, evidence)
    save_outputs(folder, {**made, **result_file(judgement)})
    point_latest(folder.parent)
    return Done(judgement, folder)


def check_folder(folder: Path) -> Judgement:
    """The verdict of a run folder, made again from its evidence."""
    from testbed.verdict.judge import judge

    return judge(load_evidence(folder))


def _facts(plan: Plan, located: Located, lab_id: str, backend: str, why: str) -> RunFacts:
    scenario = plan.scenario
    pinned = profile_sysctls(scenario.family, NEWEST_KERNEL)
    return RunFacts(
        run_id=lab_id,
        scenario=plan.name,
        scenario_file=located.file,
        backend=backend,
        backend_why=why,
        engine=plan.engine,
        engine_why="",  # known once the hosts have been asked
        family=scenario.family,
        seed=scenario.seed,
        started_ns=time.time_ns(),
        versions={"testbed": testbed.__version__, "python": _python()},
        sysctls=pinned,
        lines={".".join(map(str, path)): line for path, line in located.lines.items()},
    )


def _python() -> str:
    import platform

    return platform.python_version()
