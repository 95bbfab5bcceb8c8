"""What README and the tutorial tell people to type is typed here, and does what the pages say.

Each page is played from top to bottom in a scratch copy of the checkout, by the Makefile as it is. Labs are of network
namespaces, but for the lab by hand, of Compose. `make test` would play this test: its command is only looked at.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_driver import PATIENCE_S, ROOT

from testbed.errors import LabError
from testbed.lab.netns.lab import try_out

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

PAGES = ("README.md", "docs/tutorial.md")
BLOCK = re.compile(r"^```(console|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COPIED = ("scenarios", "schema", "images", "tests/errors", "compose.yaml", "Makefile", "pyproject.toml")
EXIT_CODES = {"testbed validate tests/errors/five-mistakes.yaml": 2}
TOLD = ("passed ", "failed ", "unknown ", "exit code ", "scenarios/")  # how the lines of output begin that are held
BY_HAND = "docker compose up"
TYPING_S = 3.0  # before the next command of a person who has left one in the background


@dataclass(frozen=True, slots=True)
class Command:
    """Something to type, and what the page shows of its output."""

    text: str
    output: str


def commands(block: tuple[str, str]) -> list[Command]:
    """What a block has: a `sh` block is one script, in a `console` block each `$ ` begins a command."""
    kind, text = block
    if kind == "sh":
        return [Command(text, "")]
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [Command(*(part.split("\n", 1))) for part in parts]


def blocks(page: str) -> list[tuple[str, str]]:
    """The blocks of a page that are to be typed."""
    found = [(kind, text) for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))]
    assert found
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A copy of what the commands touch, with an environment that is this one."""
    for name in COPIED:
        source, copy = ROOT / name, tmp_path / "checkout" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    checkout = tmp_path / "checkout"
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    script(programs / "testbed", f'PYTHONPATH={ROOT} exec {sys.executable} -m testbed "$@"')
    (programs / "python").symlink_to(sys.executable)
    for stamp in (".run", ".dev"):
        (checkout / ".venv" / stamp).touch()
    (tmp_path / "bin").mkdir()
    # A window would wait for somebody to close it; tshark reads the same files and the same filters.
    script(tmp_path / "bin" / "wireshark", '[ "$1" = -Y ] && exec tshark -r "$3" -Y "$2"; exec tshark -r "$1"')
    return checkout


def script(path: Path, text: str) -> None:
    """A program of the shell."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def typed(text: str, checkout: Path, **environment: str) -> tuple[int, str]:
    """The exit code of what was typed, and all that it printed."""
    paths = (checkout.parent / "bin", checkout / ".venv" / "bin", os.environ["PATH"])
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        cwd=checkout,
        env={**os.environ, "PATH": ":".join(map(str, paths)), "COLUMNS": "100", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ended.returncode, ended.stdout


def masked(text: str) -> list[str]:
    """The lines without what differs from run to run: numbers, and how wide columns are."""
    return [" ".join(re.sub(r"\d+(\.\d+)?", "#", line).split()) for line in text.splitlines()]


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed; the pages pipe packets into it")
@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_tells_to_type(page: str, scratch: Path) -> None:
    """Every command ends with the exit code that the page lets expect, and prints what the page shows."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(f"no lab of network namespaces here: {error}")
    for block in blocks(page):
        if BY_HAND in block[1]:
            continue  # below: it needs an engine
        for command in commands(block):
            follow(command, scratch)


def follow(command: Command, checkout: Path) -> None:
    """Type a command, and hold what it does against the page."""
    text = command.text.partition("  #")[0].strip() if command.text.startswith(("make ", "testbed ")) else command.text
    if text == "make test":
        code, printed = typed("make -n test", checkout)
        assert (code, "-m pytest" in printed) == (0, True), printed
        return
    code, printed = typed(text, checkout, DOCKER_HOST="unix:///nowhere/docker.sock")
    assert code == EXIT_CODES.get(text, 0), f"{text}\n{printed}"
    if text in EXIT_CODES:
        assert printed == command.output
        return
    there = masked(printed)
    wanted = [line for line in masked(command.output) if line.startswith(TOLD)]
    missing = [line for line in wanted if not any(one.startswith(line) for one in there)]
    assert not missing, f"{text}\n{printed}"


def test_the_lab_by_hand(scratch: Path, image: str, engine: docker_module.DockerClient) -> None:
    """README's own lab with plain Compose commands: the sniffer hears the two others open a connection."""
    from testbed.lab.compose import compose_command

    (block,) = [block for block in blocks("README.md") if BY_HAND in block[1]]
    environment = {"COMPOSE_PROJECT_NAME": f"testbed-by-hand-{os.getpid()}"}
    compose = " ".join(compose_command())
    heard = scratch.parent / "heard"
    lines = [command.text.replace("docker compose", compose) for command in commands(block)]
    assert lines[-1].endswith(" down")
    try:
        for line in lines[:-1]:
            in_background = line.endswith("&")
            text = f"({line[:-1]}) >>{heard} 2>&1 &" if in_background else line
            code, printed = typed(text, scratch, **environment)
            assert code == 0, f"{line}\n{printed}\n{heard.read_text() if heard.exists() else ''}"
            time.sleep(TYPING_S if in_background else 0)
        time.sleep(TYPING_S)
        said = heard.read_text()
    finally:
        code, printed = typed(lines[-1], scratch, **environment)
    assert code == 0, printed
    assert "7456" in said
    project = f"com.docker.compose.project={environment['COMPOSE_PROJECT_NAME']}"
    assert not engine.api.containers(all=True, filters={"label": project})
