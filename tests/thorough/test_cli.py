"""The command line where no lab is needed: exit codes, and what is printed where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from testbed.cli import app
from testbed.suite import WORST_FIRST

SCENARIO = """\
summary: A client says hello.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {send: "Hello!"}, close]
"""


def call(*words: str | Path) -> Result:
    """The command's exit code and output, with standard error apart."""
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, name: str, text: str) -> Path:
    """A scenario file."""
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


# --- what is wrong with a command line or a file is found before anything is brought up ---


def test_unknown_name_gives_the_nearest() -> None:
    """A scenario that is not there: exit code 2, the nearest names, and how to see all."""
    ended = call("run", "holla")
    assert ended.exit_code == 2
    assert "there is no scenario 'holla'" in ended.stderr
    assert "did you mean hola" in ended.stderr
    assert "testbed list" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("listen: 7456", "listen: 70000", "70000"),
        ("accept", "acept", "did you mean accept?"),
        ('send: "Hello!"', "send: {file: nowhere.bin}", "nowhere.bin cannot be read: No such file or directory"),
    ],
)
def test_wrong_scenario_is_exit_2(here: Path, right: str, wrong: str, says: str) -> None:
    """A port that cannot be, a step that is none, a payload file that is missing: exit code 2 and the place."""
    path = written(here, "mine", SCENARIO.replace(right, wrong))
    ended = call("run", path)
    assert ended.exit_code == 2, ended.output
    assert "mine.yaml" in ended.stderr
    assert says in ended.stderr
    assert not (here / "results").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("run",), "no scenario is named"),
        (("run", "--tag", "nothing-has-this"), "no scenario has the tag"),
        (("run", "hola", "--engine", "magic"), "--engine"),
        (("run", "hola", "--family", "ipv5"), "--family"),
        (("run", "hola", "--set", "wire.delay"), "has no value"),
        (("run", "hola", "--set", "wire.delay=soon"), "wire.delay"),
        (("run", "hola", "--set", "wire.delay=["), "is not a YAML value"),
        (("run", "hola", "--set", "summary.x=1"), "nothing can be set in it"),
        (("run", "hola", "--set", "hosts.client.steps.9=close"), "no such item"),
        (("run", "hola", "--set", "hosts.client.steps.x=close"), "no such item"),
        (("run", "hola", "--backend", "moon"), "moon"),
        (("check", "nowhere"), "cannot be read"),
        (("analyze", "nowhere.pcap"), "cannot be read"),
    ],
)
def test_wrong_usage_is_exit_2(words: tuple[str, ...], says: str) -> None:
    """What cannot be asked for: exit code 2, a sentence on standard error, nothing on standard output."""
    ended = call(*words)
    assert ended.exit_code == 2, ended.output
    assert says in ended.stderr
    assert ended.stdout == ""


def test_exit_codes_of_a_suite() -> None:
    """The worst counts: interrupted, a wrong file, a failed check, unknown, passed."""
    assert WORST_FIRST == (130, 2, 1, 3, 0)


# --- commands that only read ---


def test_list_names_the_seeds() -> None:
    """`list` has a line for each scenario, with its tags and its summary."""
    lines = {line.split()[0]: line for line in call("list").stdout.splitlines()}
    assert "seed" in lines["hola"]
    assert "A client greets a server" in lines["hola"]
    entries = json.loads(call("list", "--json").stdout)
    assert [entry["name"] for entry in entries] == list(lines)
    assert sum("seed" in entry["tags"] for entry in entries) == 9


def test_show_has_every_command() -> None:
    """`show` gives the scenario resolved, then what would be run: compose, sysctls, tc, each step."""
    shown = call("show", "server-unavailable", "--seed", "7")
    assert shown.exit_code == 0
    for words in ("seed: 7", "docker compose -p", "tc qdisc add dev eth0 clsact", "net.ipv4.tcp_syn_retries='1'"):
        assert words in shown.stdout
    assert 'client: {"step": "connect"' in shown.stdout


def test_validate_takes_several_files(here: Path) -> None:
    """Right files are told of on standard output, mistakes on standard error; one wrong file is exit code 2."""
    good, bad = written(here, "good", SCENARIO), written(here, "bad", SCENARIO.replace("accept", "acept"))
    ended = call("validate", good, bad, here / "none.yaml")
    assert ended.exit_code == 2
    assert ended.stdout == f"{good}: ok\n"
    assert "bad.yaml:4:" in ended.stderr
    assert "none.yaml cannot be read" in ended.stderr
    assert call("validate", good).exit_code == 0


def test_schema_is_json() -> None:
    """`schema` prints the JSON Schema that editors use."""
    assert json.loads(call("schema").stdout)["properties"]["hosts"]


def test_new_writes_a_scenario_that_is_right(here: Path) -> None:
    """`new` writes a first scenario; it is valid, and a name that is taken or cannot be a file's is refused."""
    made = call("new", "mine")
    assert made.exit_code == 0, made.output
    assert call("validate", "scenarios/mine.yaml").exit_code == 0
    assert call("show", "mine").exit_code == 0
    again = call("new", "mine")
    assert again.exit_code == 2
    assert "there is a scenario mine already" in again.stderr
    assert call("new", "No Name").exit_code == 2


def test_version() -> None:
    """`--version` prints it."""
    assert call("--version").stdout.startswith("testbed ")


PROBE = """
import sys
sys.argv = ["testbed", "--help"]
from testbed.__main__ import main
try:
    main()
finally:
    heavy = {"docker", "scapy", "jinja2", "yaml", "pydantic", "requests"} & set(sys.modules)
    print("imported:", sorted(heavy))
"""


def test_help_is_light() -> None:
    """`--help` imports neither docker nor scapy, nor what else takes its time."""
    ended = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Usage" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "imported: []"
