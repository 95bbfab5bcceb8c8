"""The examples for CI systems: every file is read as its system reads it, every command in them is one that we have.

Where check-jsonschema is installed, its copies of the published schemas judge them too.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from testbed.cli import app

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "examples/ci/github-actions.yml"
GITLAB = ROOT / "examples/ci/gitlab-ci.yml"
MAKEFILE = ROOT / "examples/ci/Makefile"
ACTION = ROOT / "action.yml"
DOCS = ROOT / "docs/ci.md"

STEP_KEYS = {"id", "if", "name", "uses", "run", "with", "env", "shell", "working-directory", "continue-on-error"}
JOB_KEYS = {"runs-on", "timeout-minutes", "strategy", "steps", "needs", "if", "env", "permissions", "name"}
CONTEXTS = {"github", "matrix", "steps", "inputs", "runner", "env"}
GITLAB_JOB_KEYS = {
    *("stage", "image", "parallel", "timeout", "cache", "before_script", "script", "artifacts", "tags", "variables"),
}
SCHEMAS = {WORKFLOW: "vendor.github-workflows", ACTION: "vendor.github-actions", GITLAB: "vendor.gitlab-ci"}


def load(path: Path) -> dict[str, Any]:
    """A YAML file."""
    told: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # every scalar a text: `on` is no boolean
    return told


def texts(value: object) -> Iterator[str]:
    """Every text in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for each in value.values() for text in texts(each))
    elif isinstance(value, list):
        yield from (text for each in value for text in texts(each))


def check_steps(steps: list[dict[str, Any]], *, composite: bool) -> None:
    """Steps have the keys that there are; each runs or uses something, and in a composite action names its shell."""
    for step in steps:
        assert set(step) <= STEP_KEYS, step
        assert ("run" in step) != ("uses" in step), step
        assert not composite or "uses" in step or step.get("shell"), step
        if "uses" in step:
            assert re.fullmatch(r"\./|[\w.-]+/[\w./-]+@v[\d.]+", step["uses"]), step
        assert "${{" not in step.get("run", ""), "an expression in a script is run as the script"
    ids = [step["id"] for step in steps if "id" in step]
    assert len(set(ids)) == len(ids)


def check_expressions(told: object, steps: list[dict[str, Any]]) -> None:
    """Expressions speak of contexts and steps that there are."""
    ids = {step.get("id") for step in steps}
    for text in texts(told):
        for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
            for context, name in re.findall(r"(?<![\w.])([a-z]+)\.([\w-]+)", expression):
                assert context in CONTEXTS, expression
                assert context != "steps" or name in ids, expression


def test_the_action() -> None:
    """A composite action: described inputs that are used, outputs that a step writes."""
    told = load(ACTION)
    steps = told["runs"]["steps"]
    assert told["runs"]["using"] == "composite"
    check_steps(steps, composite=True)
    check_expressions(told, steps)
    assert all(entry["description"] for entry in (*told["inputs"].values(), *told["outputs"].values()))
    used = set(re.findall(r"inputs\.([\w-]+)", ACTION.read_text()))
    assert used == set(told["inputs"])
    written = set(re.findall(r'echo "(\w+)=', ACTION.read_text()))
    assert written == set(told["outputs"])


def test_the_workflow() -> None:
    """Jobs with a machine, a limit and steps; the action gets inputs that it has, and only its outputs are read."""
    told, action = load(WORKFLOW), load(ACTION)
    assert {"name", "on", "jobs"} <= set(told) <= {"name", "on", "jobs", "permissions", "concurrency", "env"}
    for job in told["jobs"].values():
        assert {"runs-on", "steps", "timeout-minutes"} <= set(job) <= JOB_KEYS
        check_steps(job["steps"], composite=False)
        check_expressions(job, job["steps"])
        (ours,) = [step for step in job["steps"] if step.get("uses") == "./"]
        assert set(ours["with"]) <= set(action["inputs"])
    assert set(re.findall(r"outputs\.(\w+)", WORKFLOW.read_text())) <= set(action["outputs"])


def test_gitlab() -> None:
    """A job with a script, whose JUnit file is the one that is written, and kept when the job fails."""
    told = load(GITLAB)
    job = told["scenarios"]
    assert job["stage"] in told["stages"]
    assert set(job) <= GITLAB_JOB_KEYS
    report = job["artifacts"]["reports"]["junit"]
    assert job["artifacts"]["when"] == "always"
    assert f"--junit {report}" in " ".join(job["script"])
    assert report in job["artifacts"]["paths"]


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_published_schemas(path: Path) -> None:
    """The schemas that GitHub's and GitLab's editors use accept the examples."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[path], str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


# --- the commands in them ---


def commands(text: str) -> Iterator[list[str]]:
    """Every `testbed ...` of a text, as words without the program's name."""
    joined = re.sub(r"\\\n\s*", "", text)
    for line in re.findall(r"(?:^\$ |- |^\s*|/bin/)\"?(?:testbed|\$\(TESTBED\))\"? (\S.*)", joined, re.MULTILINE):
        yield shlex.split(line.split(" #")[0].split(" || ")[0])


def scripts(path: Path) -> str:
    """What a file lets a shell run."""
    if path.suffix == ".yml":
        return "\n".join(text for text in texts(load(path)) if "testbed" in text)
    if path.suffix == ".md":
        return "\n".join(line for line in path.read_text().splitlines() if line.startswith("$ "))
    return path.read_text()


@pytest.mark.parametrize("path", [ACTION, GITLAB, MAKEFILE, DOCS], ids=lambda path: path.name)
def test_commands_are_ours(path: Path) -> None:
    """Every command and every option in an example is one that the command line takes."""
    group: Any = typer.main.get_command(app)
    found = list(commands(scripts(path)))
    assert found
    for name, *words in found:
        options = {option for parameter in group.commands[name].params for option in parameter.opts}
        unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in options]
        assert unknown == [], f"testbed {name} in {path.name}"


def test_make_reads_the_makefile() -> None:
    """Plain Make knows its targets, and what it would run has the options."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "-n", "-f", str(MAKEFILE), "scenarios", "flaky", "again", "RUN=results/latest/hola"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "testbed rerun results/latest/hola --out results" in ended.stdout
    assert "--junit results/junit.xml" in ended.stdout
