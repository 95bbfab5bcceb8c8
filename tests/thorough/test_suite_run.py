"""A whole suite without a lab: exit codes one by one, what is tried again, what is not begun, and what is written."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from report_builder import hola, lost_synack
from typer.testing import CliRunner, Result

from testbed.cli import app
from testbed.errors import Interrupted, LabError, UsageError
from testbed.files import save_evidence, save_outputs
from testbed.outputs import result_file
from testbed.session import Done, Job, Options
from testbed.suites.rerun import load_former, same_options, say_changes, with_former_sysctls
from testbed.verdict.value import Judgement, Outcome

SCENARIO = """\
summary: A client says hello.
seed: {seed}
hosts:
  server: {{steps: [{{listen: 7456}}, accept, {{recv: eof}}, close]}}
  client: {{steps: [{{connect: server:7456}}, {{send: "Hello!"}}, close]}}
"""
Ending = Judgement | BaseException
PASSED, FAILED = hola(), lost_synack()
UNKNOWN = replace(lost_synack(), verdict=Outcome.UNKNOWN)


class Labs:
    """Stands where scenarios are run: how each ends, try by try, and what was asked of it."""

    def __init__(self) -> None:
        self.endings: dict[str, list[Ending]] = {}
        self.ran: list[str] = []
        self.seeds: list[int | None] = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.together: threading.Barrier | None = None

    def __call__(self, job: Job, options: Options, run_id: str, *_: object) -> Done:
        with self.lock:
            self.ran.append(job.folder_name)
            self.seeds.append(options.seed)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            left = self.endings.get(job.name, [PASSED])
            ending = left.pop(0) if len(left) > 1 else left[0]
        if self.together is not None:
            self.together.wait(20)
        with self.lock:
            self.at_once -= 1
        if isinstance(ending, BaseException):
            raise ending
        return written(ending, job, options, run_id)


def written(judgement: Judgement, job: Job, options: Options, run_id: str) -> Done:
    """A run folder with what a run leaves there."""
    run = replace(
        judgement.evidence.run,
        scenario=job.name,
        scenario_file=str(job.path),
        seed=options.seed or 0,
        backend="netns",
    )
    records = tuple(run if record is judgement.evidence.run else record for record in judgement.evidence.records)
    judgement = replace(judgement, evidence=replace(judgement.evidence, records=records))
    folder = options.out / run_id / job.folder_name
    folder.mkdir(parents=True)
    save_evidence(folder, judgement.evidence)
    (folder / "scenario.yaml").write_bytes(job.path.read_bytes())
    save_outputs(folder, {**result_file(judgement), "report.html": b"<html>", "trace.pcapng": bytes(3_000_000)})
    return Done(judgement, folder)


@pytest.fixture
def labs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Labs:
    """No lab is brought up; scenarios a, b, c and d are there."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "scenarios").mkdir()
    for seed, name in enumerate("abcd", start=40):
        (tmp_path / "scenarios" / f"{name}.yaml").write_text(SCENARIO.format(seed=seed))
    fake = Labs()
    monkeypatch.setattr("testbed.suite.run_scenario", fake)
    return fake


def call(*words: object) -> Result:
    """`testbed run` on netns with these words."""
    return CliRunner().invoke(app, ["run", "--backend", "netns", *map(str, words)])


# --- exit codes, one by one ---

ALONE: Mapping[str, tuple[Callable[[], Ending], int]] = {
    "passed": (lambda: PASSED, 0),
    "failed": (lambda: FAILED, 1),
    "wrong file": (lambda: UsageError("there is no such step"), 2),
    "unknown": (lambda: UNKNOWN, 3),
    "no lab": (lambda: LabError("the engine refused"), 3),
    "interrupted": (lambda: Interrupted("stopped by SIGINT"), 130),
}


@pytest.mark.parametrize("how", ALONE)
def test_exit_code_of_one_run(labs: Labs, how: str) -> None:
    """0 passed, 1 a check failed, 2 usage or a wrong scenario, 3 unknown or no lab, 130 interrupted."""
    ending, code = ALONE[how]
    labs.endings["a"] = [ending()]
    assert call("a").exit_code == code


@pytest.mark.parametrize("how", ALONE)
def test_exit_code_of_a_suite_of_one_sort(labs: Labs, how: str) -> None:
    """The same beside runs that passed."""
    ending, code = ALONE[how]
    labs.endings["b"] = [ending()]
    assert call("--all", "--jobs", 1).exit_code == code


@pytest.mark.parametrize(
    ("hows", "code"),
    [
        (("passed", "failed", "unknown"), 1),
        (("unknown", "wrong file", "failed"), 2),
        (("failed", "interrupted", "wrong file"), 130),
        (("unknown", "no lab", "passed"), 3),
    ],
)
def test_exit_code_of_a_suite_is_the_worst(labs: Labs, hows: tuple[str, ...], code: int) -> None:
    """Interrupted outweighs a wrong file, that a failed check, that an unknown verdict."""
    labs.endings = {name: [ALONE[how][0]()] for name, how in zip("abc", hows, strict=True)}
    assert call("a", "b", "c", "--jobs", 1).exit_code == code


def test_a_mistake_of_ours_costs_one_scenario(labs: Labs) -> None:
    """Its traceback is shown and it counts as unknown; the others come to their verdicts."""
    labs.endings["b"] = [ZeroDivisionError("oh")]
    ended = call("--all", "--jobs", 1)
    assert ended.exit_code == 3
    assert "ZeroDivisionError: oh" in ended.stderr
    assert "Traceback" in ended.stderr
    assert ended.stdout.splitlines()[-1] == "3 passed, 1 unknown"
    assert labs.ran == ["a", "b", "c", "d"]


def test_a_mistake_of_ours_alone_is_raised(labs: Labs) -> None:
    """A single run leaves it to the command, which ends with 3 and the traceback."""
    labs.endings["a"] = [ZeroDivisionError("oh")]
    assert isinstance(call("a").exception, ZeroDivisionError)


# --- several at a time ---


def test_so_many_at_a_time(labs: Labs) -> None:
    """`--jobs 2`: two go on together and never more."""
    labs.together = threading.Barrier(2)
    assert call("--all", "--jobs", 2).exit_code == 0
    assert labs.most_at_once == 2


def test_more_than_fit_are_not_begun(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory allows one lab there is one, whatever was asked for, and that is said."""
    monkeypatch.setattr("testbed.suites.capacity.free_bytes", lambda backend: 1)
    ended = call("--all", "--jobs", 4)
    assert (ended.exit_code, labs.most_at_once) == (0, 1)
    assert "1 at a time and not 4: memory allows 1 labs" in ended.stderr


def test_the_longest_begin_first(labs: Labs) -> None:
    """A suite notes how long runs took, and the next one begins with the longest."""
    (Path("results")).mkdir()
    Path("results/durations.json").write_text('{"schema": 1, "seconds": {"netns": {"a": 1, "b": 9, "c": 5}}}')
    assert call("--all", "--jobs", 1).exit_code == 0
    assert labs.ran == ["d", "b", "c", "a"]
    noted = json.loads(Path("results/durations.json").read_text())["seconds"]["netns"]
    assert set(noted) == set("abcd")
    assert 4 < noted["b"] < 9


def test_results_come_in_order_of_names(labs: Labs) -> None:
    """However they were played, reports list them in the order in which they were asked for."""
    Path("results").mkdir()
    Path("results/durations.json").write_text('{"schema": 1, "seconds": {"netns": {"a": 1, "b": 9, "c": 5}}}')
    told = json.loads(call("--all", "--jobs", 1, "--json").stdout)
    assert [case["name"] for case in told["cases"]] == ["a", "b", "c", "d"]


# --- fail-fast, retries, repetitions, shards ---


def test_fail_fast(labs: Labs) -> None:
    """Nothing is begun after the first that does not pass; what was not run is said, and skipped in JUnit."""
    labs.endings["b"] = [FAILED]
    ended = call("--all", "--jobs", 1, "--fail-fast", "--junit", "j.xml")
    assert (ended.exit_code, labs.ran) == (1, ["a", "b"])
    assert ended.stdout.splitlines()[-1] == "1 passed, 1 failed, 2 not run"
    skipped = ElementTree.parse("j.xml").getroot().findall(".//skipped")
    assert [each.attrib["message"] for each in skipped] == ["not run: --fail-fast, after b"] * 2


def test_without_fail_fast_all_are_run(labs: Labs) -> None:
    """It is an option."""
    labs.endings["b"] = [FAILED]
    call("--all", "--jobs", 1)
    assert labs.ran == ["a", "b", "c", "d"]


def test_retries_are_told(labs: Labs) -> None:
    """A pass after a retry passes and is called flaky everywhere; tries have folders of their own, and one seed."""
    labs.endings["b"] = [FAILED, UNKNOWN, PASSED]
    ended = call("--all", "--jobs", 1, "--retries", 3, "--summary", "s.json", "--seed", 5)
    assert ended.exit_code == 0
    assert labs.ran == ["a", "b", "b-retry-1", "b-retry-2", "c", "d"]
    assert set(labs.seeds) == {5}
    assert ended.stdout.splitlines()[-1] == "4 passed (1 flaky)"
    assert "[2/4] passed   b (flaky: try 3)" in ended.stdout
    told = json.loads(Path("s.json").read_text())
    (flaky,) = [case for case in told["cases"] if case["flaky"]]
    assert (flaky["name"], [each["verdict"] for each in flaky["earlier"]]) == ("b", ["failed", "unknown"])
    assert told["flaky"] == 1


def test_retries_come_to_an_end(labs: Labs) -> None:
    """What fails every time failed; a wrong file is not tried again; without --retries nothing is."""
    labs.endings = {"b": [FAILED], "c": [UsageError("no such step")]}
    assert call("--all", "--jobs", 1, "--retries", 2).exit_code == 2
    assert labs.ran == ["a", "b", "b-retry-1", "b-retry-2", "c", "d"]
    labs.ran.clear()
    call("b")
    assert labs.ran == ["b"]


def test_a_single_run_may_be_tried_again(labs: Labs) -> None:
    """Also where it is the only one."""
    labs.endings["a"] = [FAILED, PASSED]
    assert call("a", "--retries", 1).exit_code == 0
    assert labs.ran == ["a", "a-retry-1"]


def test_repetitions(labs: Labs) -> None:
    """Each has the next seed; how many passed, the interval and the first failing seed are told, with the command."""
    labs.endings["b"] = [PASSED, FAILED, FAILED, PASSED]
    ended = call("b", "--repeat", 4, "--jobs", 1)
    assert ended.exit_code == 1
    assert labs.seeds == [None, 42, 43, 44]
    assert "passed 2 of 4: 50.0 %, at 95 % between 15.0 and 85.0 %; first failing seed 42" in ended.stdout
    assert "again: testbed run b --seed 42 --family ipv4 --backend netns" in ended.stdout


def test_shards_run_all_once(labs: Labs) -> None:
    """Together they run every scenario once; one without any is fine, says so, and writes its files."""
    for number in (1, 2, 3):
        ended = call("--all", "--shard", f"{number}/3", "--junit", f"{number}.xml", "--jobs", 1)
        assert ended.exit_code == 0
    assert sorted(labs.ran) == ["a", "b", "c", "d"]
    assert sum(int(ElementTree.parse(f"{number}.xml").getroot().attrib["tests"]) for number in (1, 2, 3)) == 4
    labs.ran.clear()
    empty = next(number for number in range(1, 100) if not shard_has_a(number))
    ended = call("a", "--shard", f"{empty}/99")
    assert (ended.exit_code, labs.ran) == (0, [])
    assert f"shard {empty}/99 has none of the scenarios" in ended.stderr


def shard_has_a(number: int) -> bool:
    """Whether `a` is in that part of 99."""
    from testbed.suites.shard import Shard

    return Shard(number, 99).has("a")


# --- what is written ---


def test_every_report_of_one_suite(labs: Labs) -> None:
    """JUnit, TAP, JSON and artefacts say the same; in folders that are made; standard output is one JSON."""
    labs.endings = {"b": [FAILED], "c": [UNKNOWN], "d": [LabError("the engine refused", remedy="start it")]}
    words = ("--junit", "out/j.xml", "--tap", "out/t.tap", "--summary", "out/s.json", "--artifacts", "out/kept")
    ended = call("--all", "--json", "--jobs", 1, *words)
    assert ended.exit_code == 1
    told = json.loads(ended.stdout)
    counts = {"schema": 1, "passed": 1, "failed": 1, "unknown": 2, "total": 4}
    assert {key: told[key] for key in counts} == counts
    assert [result.get("verdict", result.get("error")) for result in told["results"]] == [
        *("passed", "failed", "unknown", "the engine refused; start it")
    ]
    summary = json.loads(Path("out/s.json").read_text())
    assert summary["cases"] == told["cases"]
    root = ElementTree.parse("out/j.xml").getroot()
    assert (root.attrib["failures"], root.attrib["errors"]) == ("1", "2")
    assert Path("out/t.tap").read_text().count("\nnot ok ") == 3
    kept = {path.relative_to("out/kept").as_posix() for path in Path("out/kept").rglob("*") if path.is_file()}
    assert kept == {"index.txt", *(f"{name}/{file}" for name in "bc" for file in FILES)}


FILES = (
    *("result.json", "report.html", "timeline.jsonl", "scenario.yaml", "trace.pcapng"),
    *(f"captures/{vantage.replace(':', '-')}.pcapng" for vantage in FAILED.evidence.captures),
)


def test_artefacts_keep_their_limit(labs: Labs) -> None:
    """The most telling files first, worst runs first; what is left out is named; passed runs are not there."""
    labs.endings = {"a": [UNKNOWN], "b": [FAILED], "c": [FAILED, PASSED]}
    call("--all", "--jobs", 1, "--retries", 1, "--artifacts", "kept", "--artifacts-mib", 4)
    files = {path.relative_to("kept").as_posix(): path.stat().st_size for path in Path("kept").rglob("*.*")}
    assert sum(size for name, size in files.items() if name != "index.txt") <= 4 * 1024 * 1024
    assert "b-retry-1/trace.pcapng" in files
    assert {"a-retry-1/report.html", "b/report.html", "c/report.html"} <= set(files)
    assert not any(name.startswith("d/") for name in files)
    index = Path("kept/index.txt").read_text()
    assert "left out for want of room: a-retry-1/trace.pcapng (3000000 bytes)" in index
    assert index.index("failed  b") < index.index("unknown  a")


def test_a_file_that_cannot_be_written(labs: Labs) -> None:
    """A report that the disk refuses is an error with its reason, after the verdicts."""
    Path("out").write_text("")
    ended = call("a", "b", "--junit", "out/j.xml")
    assert ended.exit_code == 3
    assert ended.stdout.splitlines()[-1] == "2 passed"
    assert "cannot be written" in ended.stderr
    labs.endings["a"] = [FAILED]
    assert call("a", "b", "--junit", "out/j.xml").exit_code == 1


def test_in_githubs_actions(labs: Labs, monkeypatch: pytest.MonkeyPatch) -> None:
    """There annotations go to standard error and the summary to its file, behind what others wrote; elsewhere not."""
    labs.endings["b"] = [FAILED]
    assert "::error" not in call("--all").stderr
    summary = Path("summary.md")
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(Path.cwd().parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    ended = call("--all", "--json")
    json.loads(ended.stdout)
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("::")]
    assert line.startswith(f"::error file={Path.cwd().name}/scenarios/b.yaml,line=13,title=b failed::")
    assert summary.read_text().startswith("before\n## ❌ testbed: 3 passed, 1 failed\n")
    assert "::error" not in call("--all", "--no-github").stderr


def test_one_run_is_told_too(labs: Labs) -> None:
    """Files are written of a single run as well, and a wrong one."""
    labs.endings["a"] = [FAILED]
    assert call("a", "--junit", "j.xml").exit_code == 1
    assert ElementTree.parse("j.xml").getroot().attrib["failures"] == "1"
    labs.endings["a"] = [UsageError("no such step")]
    assert call("a", "--junit", "j.xml").exit_code == 2
    assert ElementTree.parse("j.xml").getroot().attrib["errors"] == "1"


# --- again ---


@pytest.fixture
def former(tmp_path: Path) -> Path:
    """A run folder of a run that was."""
    folder = tmp_path / "results" / "then" / "hola"
    folder.mkdir(parents=True)
    save_evidence(folder, PASSED.evidence)
    save_outputs(folder, result_file(PASSED))
    (folder / "scenario.yaml").write_text(SCENARIO.format(seed=77))  # the story has hosts without steps
    return folder


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite what a run folder says was run."""
    path = folder / "timeline.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    told = json.loads(first)
    change(told)
    path.write_text(json.dumps(told) + "\n" + "".join(rest))


def test_rerun_asks_for_the_same(former: Path) -> None:
    """Backend, engine, seed and family are those that were."""
    changed(former, lambda told: told.update(backend="netns", engine="portable", seed=77, family="ipv6"))
    options = same_options(load_former(former), Options())
    assert (options.backend, options.engine, options.seed, options.family) == ("netns", "portable", 77, "ipv6")


def test_rerun_pins_what_was_pinned(former: Path) -> None:
    """A sysctl that the profile sets otherwise today gets its former value, unless the scenario has its own."""
    before = {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "2", "net.ipv4.tcp_fin_timeout": "7"}
    changed(former, lambda told: told.update(sysctls=before))
    told = load_former(former)
    scenario = type(told.scenario).model_validate(
        {**told.scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True), "sysctls": OWN}
    )
    assert with_former_sysctls(scenario, told.facts).sysctls == {**OWN, "net.ipv4.tcp_sack": "0"}


OWN = {"net.ipv4.tcp_fin_timeout": "60"}


def test_rerun_says_what_differs(former: Path, tmp_path: Path) -> None:
    """Versions, kernel, sysctls, the verdict, and a scenario file that is gone; or that all is the same."""
    then = load_former(former)
    facts = replace(then.facts, versions={**then.facts.versions, "kernel": "7.1"}, sysctls={"net.ipv4.tcp_sack": "0"})
    lines = list(say_changes(then, replace(then, facts=facts, verdict="failed")))
    assert any(line.startswith("kernel: ") and line.endswith(" then, 7.1 now") for line in lines)
    assert "verdict: passed then, failed now" in lines
    assert "net.ipv4.tcp_sack: none then, 0 now" in lines or any("tcp_sack" in line for line in lines)
    same = list(say_changes(then, then))
    assert "the environment is the same: versions, kernel, sysctls" in same


def test_rerun_of_what_is_no_run(labs: Labs, tmp_path: Path) -> None:
    """A folder without a run is a mistake that says so."""
    ended = CliRunner().invoke(app, ["rerun", str(tmp_path)])
    assert ended.exit_code == 2
    assert "scenario.yaml cannot be read" in ended.stderr


def test_rerun_plays_the_copy(labs: Labs, former: Path) -> None:
    """The scenario is that of the run folder, several times with the same seed; the old folder stays as it is."""
    changed(former, lambda told: told.update(backend="netns", engine="none", seed=77))
    before = {path.name: path.read_bytes() for path in former.iterdir() if path.is_file()}
    ended = CliRunner().invoke(app, ["rerun", str(former), "--repeat", "2", "--jobs", "1"])
    assert (labs.ran, labs.seeds) == (["hola", "hola-2"], [77, 77])
    assert {path.name: path.read_bytes() for path in former.iterdir() if path.is_file()} == before
    lines = ended.stdout.splitlines()
    assert "2 passed" in lines
    assert lines[-1] == "verdict: passed then, passed now"
