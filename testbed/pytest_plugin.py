"""pytest: scenario files as tests, and the `testbed` fixture. Other people's suites are left alone.

Nothing of the testbed but this module is imported before a scenario is run or the fixture is used. YAML files are
collected only where they look like scenarios and were asked for: below a folder `scenarios`, or a file, that the
command line names; and everywhere below what it names with `--testbed`, where files of a folder `scenarios` need not
even look like one (so that a broken one is a failure, and not forgotten).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from testbed.api import Run, Testbed

SCENARIOS = "scenarios"
SUFFIXES = (".yaml", ".yml")
MODELINE = b"scenario.schema.json"
TOP_KEYS = (rb"^hosts[ \t]*:", rb"^(summary|expect)[ \t]*:", rb"\bsteps[ \t]*:")
LOOKED_AT = 1 << 16  # bytes of a file
SHARED = pytest.StashKey["Testbed"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, in a group of their own."""
    group = parser.getgroup("testbed", "TCP scenarios (testbed)")
    group.addoption("--testbed", action="store_true", help="collect scenario files below the given paths")
    group.addoption("--testbed-backend", default="auto", help="auto, compose or netns", metavar="NAME")
    group.addoption("--testbed-engine", default="auto", help="auto, netem or portable", metavar="NAME")
    group.addoption("--testbed-seed", type=int, default=None, help="of everything random", metavar="N")
    group.addoption("--testbed-out", default="results", help="where run folders go", metavar="DIR")


# --- scenario files as tests ---


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> ScenarioFile | None:
    """A scenario file that was asked for."""
    if file_path.suffix in SUFFIXES and asked_for(file_path, parent.config):
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def asked_for(path: Path, config: pytest.Config) -> bool:
    """Whether a YAML file is a scenario that the command line asks for."""
    named = [given for given in _given(config) if given == path or given in path.parents]
    if config.getoption("testbed"):
        return bool(named) and (SCENARIOS in path.parts or looks_like_scenario(path))
    wanted = any(given == path or SCENARIOS in _inside(given, config).parts for given in named)
    return wanted and looks_like_scenario(path)


def _given(config: pytest.Config) -> list[Path]:
    base = config.invocation_params.dir
    return [(base / argument.partition("::")[0]).resolve() for argument in config.args]


def _inside(path: Path, config: pytest.Config) -> Path:
    """A path from the root of the project: what lies above says nothing about it."""
    return path.relative_to(config.rootpath) if path.is_relative_to(config.rootpath) else Path(path.name)


def looks_like_scenario(path: Path) -> bool:
    """Whether a file names our schema, or has the top keys of a scenario; mistakes elsewhere do not matter."""
    try:
        with path.open("rb") as file:
            text = file.read(LOOKED_AT)
    except OSError:
        return False
    return MODELINE in text or all(re.search(key, text, re.MULTILINE) for key in TOP_KEYS)


class ScenarioFile(pytest.File):
    """A scenario file; one test."""

    def collect(self) -> Iterator[ScenarioItem]:
        """The test, named like the scenario."""
        yield ScenarioItem.from_parent(self, name=self.path.stem)


class ScenarioNotPassed(Exception):
    """A scenario came to another verdict than passed; carries the run."""

    def __init__(self, run: Run) -> None:
        super().__init__(f"{run.name} {run.verdict}")
        self.run = run


class ScenarioItem(pytest.Item):
    """A scenario as a test."""

    def runtest(self) -> None:
        """Play it; anything but passed is a failure, but for what this kernel cannot have."""
        from testbed.errors import NotApplicable

        shared = shared_testbed(self.config)
        try:
            run = shared.run(self._path_here())
        except NotApplicable as error:
            pytest.skip(str(error))
        shared.runs.clear()  # nobody asks for it any more, and it holds every packet
        if not run.passed:
            raise ScenarioNotPassed(run)

    def _path_here(self) -> Path:
        """The file as a person here would name it."""
        here = Path.cwd()
        return self.path.relative_to(here) if self.path.is_relative_to(here) else self.path

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], *args: Any, **kwargs: Any) -> Any:
        """The ladder and the reasons; of a wrong file its mistakes; a traceback only for mistakes of ours."""
        from testbed.errors import TestbedError

        if isinstance(excinfo.value, ScenarioNotPassed):
            return tell(excinfo.value.run)
        if isinstance(excinfo.value, TestbedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, *args, **kwargs)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it stands."""
        return self.path, 0, f"scenario {self.name}"


def tell(run: Run) -> str:
    """What a person needs of a run that did not pass."""
    return "\n".join([*(f"{run.verdict}: {reason}" for reason in run.reasons), "", run.ladder])


# --- the fixture ---


@pytest.fixture
def testbed(request: pytest.FixtureRequest) -> Testbed:
    """Plays scenarios: `run = testbed.run("hola")`, then `run.verdict`, `run.connection.handshake.completed`, ..."""
    shared = shared_testbed(request.config)
    shared.runs.clear()
    return shared


def shared_testbed(config: pytest.Config) -> Testbed:
    """The Testbed of this process, made when it is first needed; its runs share labs."""
    from testbed.api import Testbed

    if SHARED not in config.stash:
        config.stash[SHARED] = Testbed(
            backend=config.getoption("testbed_backend"),
            engine=config.getoption("testbed_engine"),
            seed=config.getoption("testbed_seed"),
            out=Path(config.getoption("testbed_out")),
        )
    return config.stash[SHARED]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside the traceback of a failed test, show the ladders of the runs that it made."""
    report = yield
    shared = item.config.stash.get(SHARED, None)
    if shared is not None and report.failed and "testbed" in getattr(item, "fixturenames", ()):
        report.sections += [(f"testbed {run.name}", tell(run)) for run in shared.runs]
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take down the labs that wait."""
    shared = config.stash.get(SHARED, None)
    if shared is not None:
        shared.close()
