"""The pytest plugin without a lab: what is collected, what is shown; and other people's suites stay as they are."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from report_builder import crowd, hola, lost_synack

import testbed.api  # before pytester notes which modules there are, and forgets later ones
from testbed.errors import LabError
from testbed.session import Done, Job, Options
from testbed.verdict.value import Judgement, Outcome

if TYPE_CHECKING:
    from _pytest.pytester import Pytester, RunResult

pytest_plugins = ["pytester"]

SCENARIO = """\
# yaml-language-server: $schema=../schema/scenario.schema.json
summary: A client says hello.
hosts:
  server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
  client: {steps: [{connect: server:7456}, {send: "Hello!"}, close]}
"""
THEIRS = {
    "compose.yaml": "services: {web: {image: web}}\n",
    "data.yml": "a: [1\n",
    "playbook.yaml": "hosts: all\ntasks: []\n",
    "pipeline.yaml": "steps: [{run: make}]\n",
    "summary.yaml": "summary: minutes of the meeting\n",
}


@pytest.fixture
def project(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> Pytester:
    """Somebody's project; scenarios end as their names say, without any lab."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(testbed.api, "run_scenario", played)
    for name in ("passes", "fails", "crowd"):
        write(pytester, f"scenarios/deep/{name}.yaml", SCENARIO)
    return pytester


def write(pytester: Pytester, name: str, text: str) -> Path:
    """A file of the project."""
    path: Path = pytester.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


STORIES: dict[str, Callable[[], Judgement]] = {"fails": lost_synack, "crowd": crowd}
ASKED: list[tuple[Job, Options]] = []


def played(job: Job, options: Options, *_: object) -> Done:
    """A run as its name says; of a wrong file its mistakes."""
    from testbed.files import load_scenario

    ASKED.append((job, options))
    load_scenario(job.path)
    if job.name == "nolab":
        raise LabError("there is no engine", remedy="start it")
    judgement = STORIES.get(job.name, hola)()
    if job.name == "blind":
        judgement = replace(lost_synack(), verdict=Outcome.UNKNOWN)
    return Done(judgement, options.out / "run" / job.folder_name)


def call(project: Pytester, *words: str) -> RunResult:
    """Run pytest with the plugin."""
    ASKED.clear()
    return project.runpytest_inprocess("-p", "testbed.pytest_plugin", "-p", "no:cacheprovider", *words)


def collected(project: Pytester, *words: str) -> list[str]:
    """The tests that there are."""
    lines: list[str] = call(project, "--collect-only", "-q", *words).outlines
    return [line for line in lines if "::" in line]


# --- scenarios as tests ---


def test_a_folder_of_scenarios(project: Pytester) -> None:
    """`pytest scenarios/`: each file is a test with the scenario's name."""
    assert collected(project, "scenarios") == [
        f"scenarios/deep/{name}.yaml::{name}" for name in ("crowd", "fails", "passes")
    ]
    call(project, "scenarios/deep/passes.yaml").assert_outcomes(passed=1)
    call(project, "scenarios/deep/passes.yaml::passes").assert_outcomes(passed=1)
    call(project, "scenarios", "-k", "passes").assert_outcomes(passed=1, deselected=2)


def test_a_failure_shows_the_packet(project: Pytester) -> None:
    """The reasons, the ladder and where to look; never a traceback."""
    ended = call(project, "scenarios", "-k", "fails")
    ended.assert_outcomes(failed=1, deselected=2)
    ended.stdout.fnmatch_lines(
        [
            "*scenario fails*",
            "failed: handshake.duration: expected ..500ms, seen 1054ms: *",
            "*fault 0: drop SYN-ACK*S. seq 0 ack 1*",
            "*packets *",
            "failed      1 failed, 1 unknown, 2 passed of 4 checks",
        ]
    )
    ended.stdout.no_fnmatch_line("*Traceback*")
    ended.stdout.no_fnmatch_line("*pytest_plugin.py*")


@pytest.mark.parametrize(
    ("name", "says"),
    [("blind", "unknown: handshake.duration*"), ("nolab", "there is no engine")],
)
def test_what_is_unknown_fails(project: Pytester, name: str, says: str) -> None:
    """A test that nobody knows about has not passed; why is all that is shown."""
    write(project, f"scenarios/{name}.yaml", SCENARIO)
    ended = call(project, f"scenarios/{name}.yaml")
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines([says])
    ended.stdout.no_fnmatch_line("*Traceback*")


def test_a_broken_file_is_one_failure(project: Pytester) -> None:
    """All its mistakes with their places, once; the others are run."""
    write(project, "scenarios/broken.yaml", SCENARIO.replace("accept", "acept").replace("7456}, {send", "7.5}, {send"))
    ended = call(project, "scenarios")
    ended.assert_outcomes(passed=1, failed=3)
    ended.stdout.fnmatch_lines(
        [
            "scenarios/broken.yaml:4:36: hosts.server.steps*1*: unknown step 'acept' (did you mean accept?)",
            "2 mistakes in scenarios/broken.yaml",
        ]
    )
    ended.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize("text", ["", "hosts: [", "\x00", "summary: x\n\thosts: 1"])
def test_a_file_that_is_no_yaml(project: Pytester, text: str) -> None:
    """With `--testbed` whatever stands in a folder `scenarios` is a test, so a broken one is not forgotten."""
    write(project, "scenarios/hopeless.yaml", text)
    assert "scenarios/hopeless.yaml::hopeless" in collected(project, "--testbed", "scenarios")
    call(project, "--testbed", "scenarios/hopeless.yaml").assert_outcomes(failed=1)


# --- other people's suites ---


def test_their_files_are_theirs(project: Pytester) -> None:
    """YAML that is no scenario is never collected, wherever it lies and whatever is named."""
    for folder in ("", "tests/", "scenarios/", "scenarios/deep/"):
        for name, text in THEIRS.items():
            write(project, folder + name, text)
    write(project, "tests/test_theirs.py", "def test_it():\n    pass\n")
    theirs = ["tests/test_theirs.py::test_it"]
    assert collected(project) == theirs
    assert collected(project, ".") == theirs
    assert collected(project, "tests") == theirs
    assert collected(project, "tests", "scenarios/deep") == [
        *theirs,
        *(f"scenarios/deep/{name}.yaml::{name}" for name in ("crowd", "fails", "passes")),
    ]
    call(project).assert_outcomes(passed=1)


def test_scenarios_are_collected_only_when_asked(project: Pytester) -> None:
    """A scenario elsewhere counts when its file is named, or with `--testbed`; a folder's name above the project does
    not count."""
    write(project, "tests/mine.yaml", SCENARIO)
    assert collected(project, "tests") == []
    assert collected(project, "tests/mine.yaml") == ["tests/mine.yaml::mine"]
    assert collected(project, "--testbed", "tests") == ["tests/mine.yaml::mine"]
    inner = project.path / "scenarios" / "inner"
    write(project, "scenarios/inner/tests/mine.yaml", SCENARIO)
    write(project, "scenarios/inner/pytest.ini", "[pytest]\n")
    project.chdir()
    assert collected(project, f"--rootdir={inner}", str(inner / "tests")) == []


def test_nothing_is_imported_for_them(project: Pytester) -> None:
    """A suite that uses nothing of ours imports this one module, and no library for it."""
    write(
        project,
        "test_theirs.py",
        "import sys\n"
        "def test_it():\n"
        "    assert sorted(name for name in sys.modules if name.split('.')[0] == 'testbed') == "
        "['testbed', 'testbed.pytest_plugin']\n"
        "    assert not {'docker', 'pydantic', 'yaml', 'scapy', 'typer', 'rich'} & set(sys.modules)\n",
    )
    ended = project.runpytest_subprocess("-p", "testbed.pytest_plugin")
    ended.assert_outcomes(passed=1)


def test_their_fixture_wins(project: Pytester) -> None:
    """Who has a fixture of that name keeps it; reports of failures are as they were."""
    write(
        project,
        "test_theirs.py",
        "import pytest\n@pytest.fixture\ndef testbed():\n    return 7\n"
        "def test_it(testbed):\n    assert testbed == 8\n",
    )
    ended = call(project)
    ended.assert_outcomes(failed=1)
    ended.stdout.no_fnmatch_line("*testbed hola*")


# --- the fixture ---


def test_the_fixture(project: Pytester) -> None:
    """A run has its verdict, its only connection with plain questions, its checks and its folder."""
    write(
        project,
        "test_mine.py",
        "def test_it(testbed):\n"
        "    run = testbed.run('scenarios/deep/passes.yaml', seed=5, changes={'wire.delay': '20ms'})\n"
        "    assert run.verdict == 'passed' and run.passed and not run.reasons\n"
        "    assert run.connection.handshake.completed and not run.connection.handshake.refused\n"
        "    assert run.connection.handshake.outcome == 'complete'\n"
        "    assert run.connection.teardown.orderly and not run.connection.teardown.reset\n"
        "    assert run.connection.client_flow.bytes == 27\n"
        "    assert [check.name for check in run.checks][0] == 'handshake.outcome'\n"
        "    assert run.folder.name == 'passes'\n"
        "    assert testbed.run('scenarios/deep/passes.yaml').folder.name == 'passes-2'\n",
    )
    call(project, "--testbed-backend", "netns", "--testbed-engine", "portable", "--testbed-seed", "9").assert_outcomes(
        passed=1
    )
    (_, first), (_, second) = ASKED
    assert (first.backend, first.engine, first.seed, second.seed) == ("netns", "portable", 5, 9)
    assert first.settings == (("wire.delay", "20ms"),)


def test_a_failed_test_shows_its_runs(project: Pytester) -> None:
    """Beside pytest's own words stands the ladder of each run that this test made, and of no other."""
    write(
        project,
        "test_mine.py",
        "def test_one(testbed):\n"
        "    testbed.run('scenarios/deep/passes.yaml')\n"
        "def test_two(testbed):\n"
        "    assert testbed.run('scenarios/deep/fails.yaml').connection.handshake.refused\n",
    )
    ended = call(project)
    ended.assert_outcomes(passed=1, failed=1)
    ended.stdout.fnmatch_lines(["*where False = <handshake complete*", "*testbed lost-synack*", "*drop SYN-ACK*"])
    ended.stdout.no_fnmatch_line("*testbed hola*")


def test_several_connections(project: Pytester) -> None:
    """Where there is not one connection, asking for it says so."""
    write(
        project,
        "test_mine.py",
        "def test_it(testbed):\n"
        "    run = testbed.run('scenarios/deep/crowd.yaml')\n"
        "    assert len(run.connections) == 100\n"
        "    run.connection\n",
    )
    ended = call(project)
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines(["*crowd had 100 connections and not one*"])


def test_a_wrong_name_says_what_is_near(project: Pytester) -> None:
    """As on the command line."""
    write(project, "test_mine.py", "def test_it(testbed):\n    testbed.run('pases')\n")
    ended = call(project)
    ended.assert_outcomes(failed=1)
    ended.stdout.fnmatch_lines(["*did you mean passes?*"])


def test_the_entry_point() -> None:
    """Installing the package is enough."""
    told = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert told["project"]["entry-points"]["pytest11"] == {"testbed": "testbed.pytest_plugin"}
