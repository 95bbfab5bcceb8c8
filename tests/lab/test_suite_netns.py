"""Suites in labs of network namespaces: an agent that is killed, pytest with several workers, a run played again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command_driver import PATIENCE_S, ROOT, TRIES, processes_of, running, seen
from interrupt_netns import await_ends, traces

from testbed.errors import LabError
from testbed.lab.netns.lab import try_out
from testbed.lab.owner import RUN_VARIABLE

pytestmark = pytest.mark.lab

GREETING = """\
summary: A client says hello{late}.
hosts:
  server: {{steps: [{{listen: 7456}}, accept, {{recv: eof}}, close]}}
  client: {{steps: [{{connect: server:7456}}, {{sleep: {sleep}}}, {{send: {payload}}}, close]}}
expect:
  handshake: {{outcome: {outcome}}}
"""


def greeting(
    folder: Path, name: str, *, sleep: str = "1ms", payload: str = '"Hello!"', outcome: str = "complete"
) -> Path:
    """A scenario file of one greeting."""
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GREETING.format(late=", late", sleep=sleep, payload=payload, outcome=outcome))
    return path


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """A kernel that lets us make namespaces."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))


def agents_of(run: str, owner: int, host: str) -> list[int]:
    """The processes of one host's agent in the lab of one run."""
    found = []
    for pid in processes_of(owner):
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        if name == f"agent {host}" and any(
            one.startswith(f"{RUN_VARIABLE}=".encode()) and one.endswith(run.encode()) for one in variables
        ):
            found.append(pid)
    return sorted(found)


def test_a_killed_agent_costs_its_scenario(tmp_path: Path) -> None:
    """Kill -9 of one lab's agent: that scenario is unknown and says why, the others pass, nothing is left."""
    before = traces()
    slow = greeting(tmp_path, "slow", sleep="30s")
    others = [greeting(tmp_path, f"quick-{number}") for number in range(4)]
    words = (
        "--backend",
        "netns",
        "--jobs",
        "3",
        "--json",
        "--junit",
        tmp_path / "junit.xml",
        "--out",
        tmp_path / "out",
    )
    with running("run", slow, *others, *words) as process:
        deadline = time.monotonic() + PATIENCE_S
        while len(agents := agents_of("-slow", process.pid, "client")) < 2:  # the agent, and the program that it plays
            assert time.monotonic() < deadline
            assert process.poll() is None
        os.kill(agents[0], signal.SIGKILL)
        told, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, said
    assert "mistake in the testbed" not in said
    cases = {case["name"]: case for case in json.loads(told)["cases"]}
    assert {name: case["verdict"] for name, case in cases.items()} == {
        "slow": "unknown",
        **{path.stem: "passed" for path in others},
    }
    assert any("the agent on client was killed by SIGKILL" in reason["says"] for reason in cases["slow"]["reasons"])
    (error,) = ElementTree.parse(tmp_path / "junit.xml").getroot().iter("error")
    assert "killed by SIGKILL" in error.attrib["message"]
    assert await_ends(processes_of(process.pid)) == []
    assert traces() <= before


def test_pytest_with_workers(tmp_path: Path) -> None:
    """`pytest scenarios/ -n 2`: each file a test; a wrong check shows its packets, a broken file its mistakes, once."""
    pytest.importorskip("xdist")
    folder = tmp_path / "scenarios"
    for number in range(4):
        greeting(folder, f"right-{number}")
    greeting(folder, "wrong", outcome="refused")
    greeting(folder, "broken", sleep="soon")
    plugins = ("-p", "testbed.pytest_plugin", "-p", "xdist.plugin", "-n", "2")
    for _ in range(TRIES):
        ended = subprocess.run(
            [sys.executable, "-m", "pytest", *plugins, "--testbed-backend", "netns", "scenarios"],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if "unknown: " not in ended.stdout:  # a busy machine kept something from being seen
            break
    assert "2 failed, 4 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "failed: handshake.outcome: expected refused, seen complete" in ended.stdout
    assert re.search(r"^ *\d\.\d+ +\d+  │─ S seq 0 ", ended.stdout, re.MULTILINE)
    assert re.search(r"scenarios/broken\.yaml:4:\d+: .*'soon' is not a duration", ended.stdout)
    assert "Traceback" not in ended.stdout


def test_what_github_is_told(tmp_path: Path) -> None:
    """Annotations and the step's summary of a real run: the line of the scenario, the packets, the ladder."""
    wrong, right = greeting(tmp_path, "wrong", outcome="refused"), greeting(tmp_path, "right")
    summary = tmp_path / "summary.md"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_STEP_SUMMARY": str(summary)}
    ended = seen(PATIENCE_S, "run", wrong, right, "--backend", "netns", "--out", tmp_path / "out", **github)
    assert ended.returncode == 1
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("::")]
    assert re.match(r"::error file=wrong\.yaml,line=6,title=wrong failed::handshake\.outcome: expected refused, ", line)
    assert re.search(r"\(packets \d+, \d+, \d+ of trace\.pcapng\)", line)
    text = summary.read_text()
    assert text.startswith("## ❌ testbed: 1 passed, 1 failed\n")
    assert "| ✅ passed | right |" in text
    assert "│─ S seq 0 " in text


def test_a_run_played_again(tmp_path: Path) -> None:
    """What the run folder holds is played: seed, changes of the command line, payload file, backend; also once more."""
    (tmp_path / "greeting.txt").write_text("from a file")
    file = greeting(tmp_path, "mine", payload="{file: greeting.txt}")
    words = ("--backend", "netns", "--out", tmp_path / "out")
    changes = ("--seed", "17", "--set", "wire.delay=15ms", "--set", "sysctls={net.ipv4.tcp_sack: 0}")
    assert seen(PATIENCE_S, "run", file, *changes, *words).returncode == 0
    former = (tmp_path / "out" / "latest" / "mine").resolve()
    for _ in range(2):
        ended = seen(PATIENCE_S, "rerun", former, "--out", tmp_path / "out")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "the environment is the same: versions, kernel, sysctls" in ended.stdout
        assert "verdict: passed then, passed now" in ended.stdout
        latter = (tmp_path / "out" / "latest" / "mine").resolve()
        assert latter != former
        then, now = (json.loads((folder / "result.json").read_text()) for folder in (former, latter))
        for key in ("scenario", "seed", "family", "backend", "engine"):
            assert now[key] == then[key]
        assert now["environment"]["sysctls"] == then["environment"]["sysctls"]
        assert now["wire"]["client->server"]["asked"] == then["wire"]["client->server"]["asked"] == {"delay_ms": 15.0}
        assert now["connections"][0]["bytes"]["client_to_server"] == len("from a file")
        former = latter
    file.write_text(file.read_text().replace("Hello", "Goodbye").replace("1ms", "2ms"))
    (tmp_path / "greeting.txt").unlink()
    gone = seen(PATIENCE_S, "rerun", tmp_path / "out" / "latest" / "mine", "--out", tmp_path / "out")
    assert gone.returncode == 0, gone.stderr  # the copy beside the run folder is complete
