"""Running scenarios: one or many, several at a time, with signals heard and nothing left behind.

Runs go on in threads; the main thread waits and hears Ctrl-C and SIGTERM. A lab that breaks costs that scenario only.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from testbed.errors import Interrupted, TestbedError, UsageError
from testbed.files import find_scenario, load_scenario, scenario_files
from testbed.lab.warm import WarmLabs
from testbed.session import Done, Job, Options, run_scenario
from testbed.stop import Stop

EXIT_CODES = {"passed": 0, "failed": 1, "unknown": 3}  # by the verdict
INTERRUPTED = 130
# A failed check is certain, so it outweighs a run of which nothing is known; a wrong file outweighs both.
WORST_FIRST = (INTERRUPTED, 2, 1, 3, 0)


@dataclass(frozen=True, slots=True)
class Result:
    """How one job ended: with a verdict, or with the error that kept it from one."""

    job: Job
    done: Done | None = None
    error: TestbedError | None = None

    @property
    def exit_code(self) -> int:
        """The exit code of this job alone."""
        if self.done is not None:
            return EXIT_CODES[self.done.judgement.verdict]
        return self.error.exit_code if self.error else 3


def choose_jobs(names: Sequence[str], everything: bool, tag: str | None, repeat: int) -> tuple[Job, ...]:
    """The jobs that a command line asks for. Raises UsageError where it asks for none."""
    paths = [find_scenario(name) for name in names]
    if everything or tag:
        paths += [path for path in scenario_files() if everything or tag in load_scenario(path).scenario.tags]
    if not paths:
        what = f"no scenario has the tag {tag!r}" if tag else "no scenario is named"
        raise UsageError(what, remedy="name some, or use --all or --tag; `testbed list` shows them")
    unique = tuple(dict.fromkeys(paths))
    numbers = range(1, repeat + 1)
    return tuple(Job(path, _folder_name(path, number, unique)) for path in unique for number in numbers)


def _folder_name(path: Path, number: int, paths: Sequence[Path]) -> str:
    stem = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in path.stem.lower())
    twins = [other for other in paths if other.stem.lower() == path.stem.lower()]
    name = stem if twins[0] == path else f"{stem}.{twins.index(path) + 1}".replace(".", "-")
    return name if number == 1 else f"{name}-{number}"


def run_jobs(
    jobs: Sequence[Job],
    options: Options,
    run_id: str,
    workers: int,
    say: Callable[[Job, str], None],
    finished: Callable[[Result], None],
) -> int:
    """Run the jobs, tell of each as it ends, and give the exit code of all: the worst.

    Several jobs may use the same labs, unless fresh ones are asked for or each is to be kept.
    """
    stop = Stop()
    codes = {0}
    warm = WarmLabs(stop) if len(jobs) > 1 and not options.fresh and not options.keep else None
    with (
        _signals(stop, lambda words: say(jobs[0], words)),
        _closed(warm, codes, lambda words: say(jobs[-1], words)),
        ThreadPoolExecutor(max_workers=workers) as pool,
    ):
        waiting = iter(jobs)
        running: set[Future[Result]] = set()
        for job in waiting:
            running.add(pool.submit(_run, job, options, run_id, stop, say, warm))
            if len(running) >= workers:
                running = _await_one(running, finished, codes)
            if stop.reason is not None:
                break
        while running:
            running = _await_one(running, finished, codes)
    if stop.reason is not None:
        codes.add(INTERRUPTED)
    return next(code for code in WORST_FIRST if code in codes)


def _await_one(
    running: set[Future[Result]], finished: Callable[[Result], None], codes: set[int]
) -> set[Future[Result]]:
    done, rest = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        result = future.result()
        codes.add(result.exit_code)
        if not isinstance(result.error, Interrupted):
            finished(result)
    return rest


def _run(
    job: Job, options: Options, run_id: str, stop: Stop, say: Callable[[Job, str], None], warm: WarmLabs | None
) -> Result:
    try:
        return Result(job, done=run_scenario(job, options, run_id, stop, lambda words: say(job, words), warm))
    except TestbedError as error:
        return Result(job, error=error)


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
