"""Running scenarios: one or many, several at a time, with signals heard and nothing left behind.

Runs go on in threads; the main thread waits and hears Ctrl-C and SIGTERM. A lab that breaks costs that scenario only,
and so does a mistake of ours. Which scenarios, in what order and how many at a time is decided before (testbed/suites).
"""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from types import FrameType

from testbed.errors import Interrupted, NotApplicable, TestbedError
from testbed.lab.warm import MOST_IDLE, WarmLabs
from testbed.report.cases import Case, case_of, error_reasons
from testbed.session import Done, Job, Options, run_scenario
from testbed.stop import Stop
from testbed.suites.again import again
from testbed.suites.choose import Turn, seeded
from testbed.suites.engines import Attempt, EnginePool, has_verdict
from testbed.verdict.value import Outcome

EXIT_CODES = {"passed": 0, "failed": 1, "unknown": 3}  # by the verdict
INTERRUPTED = 130
# A failed check is certain, so it outweighs a run of which nothing is known; a wrong file outweighs both.
WORST_FIRST = (INTERRUPTED, 2, 1, 3, 0)
NOT_APPLICABLE = "not applicable: "  # how the reason begins why such a scenario was not run
MAY_BE_TRIED_AGAIN = frozenset({EXIT_CODES["failed"], EXIT_CODES["unknown"]})

Say = Callable[[Turn, str], None]


class Crash(TestbedError):
    """A mistake of ours in one run of many; carries the traceback."""

    def __init__(self, error: BaseException) -> None:
        self.trace = "".join(traceback.format_exception(error))
        super().__init__(
            f"a mistake in the testbed itself, not in your scenario: {type(error).__name__}: {error}",
            remedy="please report it, with the traceback",
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """How a suite is run: so many at a time, so many labs that wait for another run, so many tries more."""

    jobs: int = 1
    idle: int = MOST_IDLE
    retries: int = 0
    fail_fast: bool = False
    pool: EnginePool | None = None  # the engines that the turns are spread over


@dataclass(frozen=True, slots=True)
class Result:
    """How one turn ended: as a case, and where it was alone with the whole verdict, or what kept it from one."""

    turn: Turn
    case: Case
    done: Done | None = None
    error: TestbedError | None = None


@dataclass(slots=True)
class Ended:
    """How a suite ended: its exit code, the worst of all; `why` not all turns were run, where that is so."""

    codes: set[int] = field(default_factory=lambda: {0})
    why: str = ""

    @property
    def exit_code(self) -> int:
        """The worst."""
        return next(code for code in WORST_FIRST if code in self.codes)


def run_suite(
    turns: Sequence[Turn],
    options: Options,
    run_id: str,
    policy: Policy,
    say: Say,
    finished: Callable[[Result], None],
) -> Ended:
    """Run all, tell of each as it ends, and say how it went.

    Several runs may use the same labs, unless fresh ones are asked for or each is to be kept.
    """
    stop, ended = Stop(), Ended()
    several = len(turns) > 1 or policy.retries > 0
    warm = WarmLabs(stop, policy.idle) if several and not options.fresh and not options.keep else None
    runner = Runner(options, run_id, policy, stop, say, warm, alone=len(turns) == 1)
    if policy.pool is not None and warm is not None:
        policy.pool.on_death = lambda engine: warm.abandon(f"{options.backend} {engine}")
    with (
        _signals(stop, lambda words: say(turns[0], words)),
        _closed(warm, ended.codes, lambda words: say(turns[-1], words)),
        ThreadPoolExecutor(max_workers=policy.jobs) as pool,
    ):
        running: dict[Future[Result], Turn] = {}
        for turn in turns:
            running[pool.submit(runner, turn)] = turn
            if len(running) >= policy.jobs:
                _await_one(running, finished, ended, runner)
            if stop.reason is not None or ended.why:
                break
        while running:
            _await_one(running, finished, ended, runner)
    if stop.reason is not None:
        ended.codes.add(INTERRUPTED)
        ended.why = f"interrupted by {stop.reason}"
    return ended


def _await_one(
    running: dict[Future[Result], Turn], finished: Callable[[Result], None], ended: Ended, runner: Runner
) -> None:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        turn = running.pop(future)
        result = _result(future, turn, runner)
        ended.codes.add(result.case.exit_code)
        if isinstance(result.error, Interrupted):
            continue
        finished(result)
        if runner.policy.fail_fast and result.case.exit_code and not ended.why:
            ended.why = f"--fail-fast, after {result.case.name}"


def _result(future: Future[Result], turn: Turn, runner: Runner) -> Result:
    """What a turn gave. A mistake of ours costs that turn only; where there is no other it is raised."""
    error = future.exception()
    if error is None or runner.alone or not isinstance(error, Exception):
        return future.result()
    crash = Crash(error)
    return Result(turn, _broken(turn, crash, runner.options, 0.0), error=crash)


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs one turn, in a thread of the suite."""

    options: Options
    run_id: str
    policy: Policy
    stop: Stop
    say: Say
    warm: WarmLabs | None
    alone: bool

    def __call__(self, turn: Turn) -> Result:
        """Run it; again where it did not pass, as often as asked for."""
        earlier: list[Case] = []
        while True:
            result = self._once(turn, len(earlier))
            if result.case.exit_code not in MAY_BE_TRIED_AGAIN or len(earlier) >= self.policy.retries:
                return replace(result, case=replace(result.case, earlier=tuple(earlier)))
            earlier.append(result.case)
            self.say(turn, f"{result.case.verdict}: tried again ({len(earlier)} of {self.policy.retries})")

    def _play(self, turn: Turn, job: Job, options: Options) -> Done:
        def on(job: Job, options: Options) -> Done:
            say = lambda words: self.say(turn, words)  # noqa: E731
            return run_scenario(job, options, self.run_id, self.stop, say, self.warm)

        if self.policy.pool is None:
            return on(job, options)
        return self.policy.pool.play(
            lambda attempt: on(_moved(job, attempt), replace(options, host_engine=attempt.engine)), has_verdict
        )

    def _once(self, turn: Turn, tries: int) -> Result:
        job = turn.job if not tries else Job(turn.job.path, f"{turn.job.folder_name}-retry-{tries}")
        options = self.options
        begun = time.monotonic()
        try:
            options = seeded(options, turn)
            done = self._play(turn, job, options)
        except TestbedError as error:
            return Result(turn, _broken(turn, error, options, time.monotonic() - begun), error=error)
        run = done.judgement.evidence.run
        case = case_of(
            turn.job.folder_name,
            done.judgement,
            folder=str(done.folder),
            again=again(job, replace(options, seed=run.seed, family=run.family, backend=run.backend)),
            seconds=time.monotonic() - begun,
            exit_code=EXIT_CODES[done.judgement.verdict],
        )
        return Result(turn, case, done=done if self.alone else None)


def _moved(job: Job, attempt: Attempt) -> Job:
    """A run that is begun again on another engine has a folder of its own."""
    return job if not attempt.moved else Job(job.path, f"{job.folder_name}-moved-{attempt.moved}")


def _broken(turn: Turn, error: TestbedError, options: Options, seconds: float) -> Case:
    """A turn that came to no verdict; one that is not applicable was not run, which is no bad news."""
    file = str(turn.job.path)
    not_applicable = error.why if isinstance(error, NotApplicable) else ""
    return Case(
        name=turn.job.folder_name,
        scenario=turn.job.name,
        file=file,
        verdict=Outcome.UNKNOWN,
        reasons=error_reasons(error, file),
        seconds=seconds,
        seed=options.seed,
        again=again(turn.job, options),
        exit_code=0 if not_applicable else error.exit_code,
        not_run=f"{NOT_APPLICABLE}{not_applicable}" if not_applicable else "",
    )


@contextmanager
def _closed(warm: WarmLabs | None, codes: set[int], say: Callable[[str], None]) -> Iterator[None]:
    """The labs that still wait when this ends are taken down; one that cannot be makes the exit code 3."""
    try:
        yield
    finally:
        for error in warm.close(say) if warm is not None else ():
            say(str(error))
            codes.add(error.exit_code)


@contextmanager
def _signals(stop: Stop, say: Callable[[str], None]) -> Iterator[None]:
    """While this lasts, Ctrl-C and SIGTERM ask the runs to end; a second one changes nothing.

    A handler interrupts whatever the main thread is doing, holding a lock or half way through a write: all that ours
    does is to put the number into a queue, which is safe there. A thread does the rest.
    """
    heard: SimpleQueue[int | None] = SimpleQueue()

    def heed() -> None:
        while (number := heard.get()) is not None:
            name, first = signal.Signals(number).name, stop.reason is None
            stop.request(name)
            say(f"{name}: taking the lab down" if first else f"{name}: still taking the lab down")

    def handle(number: int, frame: FrameType | None) -> None:
        heard.put(number)

    heeder = threading.Thread(target=heed, name="signals")
    heeder.start()
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        heard.put(None)
        heeder.join()
