"""Tries mutants: forks of a process with the tests in it, so that each pays only for the tests that could notice.

See `mutants` for the rules.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("docker", "hypothesis", "jinja2", "numpy", "pydantic", "rich.console", "scapy.all", "typer", "yaml")
PYTEST = (
    "-q",
    "-x",
    "--no-header",
    "-pno:randomly",
    "-pno:xdist",
    "-pno:cacheprovider",
    "--assert=plain",  # nothing of ours is imported but by Python itself, or by Changed
    "-Wignore::pytest.PytestAssertRewriteWarning",
)
FIRST = 3  # files of tests, those of the quickest tests, that a changed module meets before the others are read
LIMIT = 5  # times the processor time of its tests, and as many seconds more
MEMORY = 6 << 30  # bytes, for a mutant that never stops to collect
SURVIVED, KILLED, ERROR = 0, 1, 2

Line = tuple[str, int]


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, what it looks like, and the code of the module that has it."""

    path: str
    lines: range
    name: str
    deferred: bool
    make: Callable[[], CodeType]


@dataclass
class Ran:
    """What the tests ran: seconds of each, lines of each, and the lines that ran while they were collected."""

    seconds: dict[str, float] = field(default_factory=dict)
    tests: dict[Line, set[str]] = field(default_factory=lambda: defaultdict(set))
    on_import: set[Line] = field(default_factory=set)

    def chosen(self, mutant: Mutant, *, whole: bool) -> list[str]:
        """The tests that could notice, the quickest first; `whole`: all that could look at its package."""
        if not whole:
            return self._sorted({test for line in mutant.lines for test in self.tests.get((mutant.path, line), ())})
        package, _, _ = mutant.path.rpartition("/")
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for (path, _), tests in self.tests.items():
            if path.startswith(package):
                found[path == mutant.path] |= tests
        mine, others = found[True], found[False] - found[True]
        return self._sorted(mine | self._beside(mine | others)) + self._sorted(others)

    def _beside(self, tests: set[str]) -> set[str]:
        """Tests of the same files that ran no line: they may look at tables."""
        files = {test.partition("::")[0] for test in tests}
        loud = {test for found in self.tests.values() for test in found}
        return {test for test in self.seconds if test not in loud and test.partition("::")[0] in files}

    def _sorted(self, tests: set[str]) -> list[str]:
        return sorted(tests, key=lambda test: (self.seconds[test], test))


class Tracer:
    """Which lines of the modules in question run."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._names = {str(ROOT / path): path for path in paths}
        self.lines: set[Line] = set()

    def on(self) -> None:
        """Trace from now on, in every thread."""
        threading.settrace(self._call)
        sys.settrace(self._call)

    def off(self) -> None:
        """Trace no more."""
        sys.settrace(None)
        threading.settrace(None)

    def _call(self, frame: FrameType, event: str, arg: Any) -> Any:
        path = self._names.get(frame.f_code.co_filename)
        if path is None:
            return None
        lines = self.lines
        lines.add((path, frame.f_lineno))

        def local(frame: FrameType, event: str, arg: Any) -> Any:
            lines.add((path, frame.f_lineno))
            return local

        return local


class Pool:
    """Tries mutants in forks, so many at a time."""

    def __init__(self, jobs: int, log: Path, shas: dict[str, str]) -> None:
        self._jobs = jobs
        self._log = log
        self._shas = shas
        self._running: dict[int, tuple[Mutant, int]] = {}
        self.tried = 0

    def run(self, mutant: Mutant, seconds: float, tests: Sequence[str], trial: Callable[[], NoReturn]) -> None:
        """Begin with this one; without a test that could notice, it has survived."""
        if not tests:
            self._write(mutant, "untested", 0)
            return
        while len(self._running) >= self._jobs:
            self._wait()
        pid = os.fork()
        if not pid:
            _in_fork(seconds, trial)
        self._running[pid] = mutant, len(tests)

    def finish(self) -> None:
        """Wait for all."""
        while self._running:
            self._wait()

    def _wait(self) -> None:
        pid, status = os.wait()
        mutant, tests = self._running.pop(pid)
        words = {SURVIVED: "survived", KILLED: "killed", -signal.SIGXCPU: "timed out", -signal.SIGALRM: "timed out"}
        self._write(mutant, words.get(os.waitstatus_to_exitcode(status), "error"), tests)

    def _write(self, mutant: Mutant, outcome: str, tests: int) -> None:
        row = {"mutant": mutant.name, "sha": self._shas[mutant.path], "outcome": outcome, "tests": tests}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.tried += 1
        if not self.tried % 100:
            print(f"{self.tried} tried, {time.process_time():.0f} s", file=sys.__stderr__, flush=True)


def _in_fork(seconds: float, trial: Callable[[], NoReturn]) -> NoReturn:
    limit = int(LIMIT * seconds) + LIMIT
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.alarm(60 + 10 * limit)  # for one that waits for what never comes
    try:
        trial()
    finally:
        os._exit(ERROR)


class Session:
    """A plugin: the tests are collected and run once, and the mutants of functions tried on them."""

    def __init__(self, tracer: Tracer, pool: Pool, mutants: Sequence[Mutant], keep: Path) -> None:
        self._tracer = tracer
        self._pool = pool
        self._mutants = mutants
        self._keep = keep
        self._forked = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first failure tells."""
        if report.failed:
            if not self._forked:
                print(f"a test fails without any mutant: {report.nodeid}\n{report.longrepr}", file=sys.__stderr__)
            os._exit(KILLED)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Measure, then mutate."""
        self._tracer.off()
        items = {item.nodeid: item for item in session.items}
        if not (pid := os.fork()):
            self._measure(session.items)
        if os.waitpid(pid, 0)[1]:
            sys.exit("the tests do not pass")
        ran: Ran = pickle.loads(self._keep.read_bytes())
        self._forked = True
        functions: dict[tuple[str, int, str], list[FunctionType]] = defaultdict(list)
        for function in gc.get_objects():
            if isinstance(function, FunctionType):
                functions[_key(function.__code__)].append(function)
        gc.collect()
        gc.freeze()
        for mutant in self._mutants:
            if is_deferred(mutant, ran):
                tests = ran.chosen(mutant, whole=False)
                trial = _Swap(mutant, functions, [items[test] for test in tests])
                self._pool.run(mutant, sum(ran.seconds[test] for test in tests), tests, trial)
        self._pool.finish()
        return True

    def _measure(self, items: list[pytest.Item]) -> None:
        ran = Ran(on_import=set(self._tracer.lines))
        for item, after in zip(items, [*items[1:], None], strict=True):
            lines: set[Line] = set()
            self._tracer.lines = lines
            began = time.process_time()
            self._tracer.on()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            self._tracer.off()
            ran.seconds[item.nodeid] = time.process_time() - began
            for line in lines:
                ran.tests[line].add(item.nodeid)
        self._keep.write_bytes(pickle.dumps(ran))
        os._exit(0)


def is_deferred(mutant: Mutant, ran: Ran) -> bool:
    """Whether the change is in a function that nothing calls before the tests run."""
    return mutant.deferred and not any((mutant.path, line) in ran.on_import for line in mutant.lines)


def _key(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_qualname


@dataclass(frozen=True)
class _Swap:
    """Give the functions their changed code, and run these tests."""

    mutant: Mutant
    functions: dict[tuple[str, int, str], list[FunctionType]]
    items: list[pytest.Item]

    def __call__(self) -> NoReturn:
        self._swap(self.mutant.make())
        ended = KILLED
        try:
            for item, after in zip(self.items, [*self.items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            ended = SURVIVED
        finally:
            os._exit(ended)

    def _swap(self, code: CodeType) -> None:
        for function in self.functions.get(_key(code), ()):
            if function.__code__ != code:
                function.__code__ = code
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                self._swap(inner)


class Changed(importlib.abc.MetaPathFinder):
    """Imports the changed module in place of the one in the file."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        self._path = str(ROOT / mutant.path)
        self._code = mutant.make()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """This one only."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=_Loader(self._code))


class _Loader(importlib.abc.Loader):
    """Loads a module of which the code is there."""

    def __init__(self, code: CodeType) -> None:
        self._code = code

    def exec_module(self, module: ModuleType) -> None:
        """Run the code."""
        exec(self._code, module.__dict__)


class Chosen:
    """A plugin: of the tests of some files only these, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and sort."""
        items[:] = sorted((item for item in items if item.nodeid in self._place), key=lambda i: self._place[i.nodeid])


def _anew(mutant: Mutant, tests: Sequence[str]) -> Callable[[], NoReturn]:
    def trial() -> NoReturn:
        _hush(1, 2)
        sys.meta_path.insert(0, Changed(mutant))
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        ended = KILLED
        try:
            if all(_passes(some, tests) for some in (files[:FIRST], files[FIRST:])):
                ended = SURVIVED
        finally:
            os._exit(ended)

    return trial


def _passes(files: Sequence[str], tests: Sequence[str]) -> bool:
    return not files or pytest.main([*PYTEST, *files], plugins=[Chosen(tests)]) == pytest.ExitCode.OK


def _hush(*outputs: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    for output in outputs:
        os.dup2(null, output)


def settle() -> None:
    """What every run of the tests here has: heavy imports done once, and failures of properties not made small."""
    for name in HEAVY:
        importlib.import_module(name)
    from hypothesis import Phase, settings

    settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate))
    settings.load_profile("mutants")


def try_all(mutants: Sequence[Mutant], paths: Sequence[str], tests: Sequence[str], pool: Pool) -> None:
    """Try these: changes of functions on tests that are collected once, the others anew."""
    sys.path.insert(0, str(ROOT))
    settle()
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(folder) / "ran"
        if not (pid := os.fork()):
            _hush(1)
            tracer = Tracer(paths)
            tracer.on()
            os._exit(int(pytest.main([*PYTEST, *tests], plugins=[Session(tracer, pool, mutants, keep)])))
        if os.waitpid(pid, 0)[1]:
            sys.exit("the tests do not pass without any mutant")
        ran: Ran = pickle.loads(keep.read_bytes())
    for mutant in mutants:
        if not is_deferred(mutant, ran):
            chosen = ran.chosen(mutant, whole=True)
            pool.run(mutant, sum(ran.seconds[test] for test in chosen), chosen, _anew(mutant, chosen))
    pool.finish()
