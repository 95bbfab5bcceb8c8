"""Scenario files that mean harm: each is refused in words, soon, with little memory; nothing in it is run or obeyed."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_driver import ROOT

from testbed.errors import UsageError
from testbed.files import MOST_PAYLOAD, load_payloads, load_scenario
from testbed.scenario.mistakes import ScenarioErrors
from testbed.scenario.read import read_scenario
from testbed.scenario.yaml12 import MOST_BYTES

MOST_CPU_S = 15.0  # of this process; it is less than two
MOST_SAID = 40_000  # characters: of very many mistakes the first hundred are told
GOOD = 'summary: x\nhosts: {a: {steps: [{listen: 7456}, accept, close]}, b: {steps: [{connect: "a:7456"}, close]}}\n'
CYRILLIC_A = "\u0430"


def said_of(text: str | bytes) -> str:
    """What is said of a file that is refused."""
    with pytest.raises(ScenarioErrors) as caught:
        read_scenario(text if isinstance(text, bytes) else text.encode(), "x.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch /tmp/testbed-was-here']",
        "!!python/object/new:os.system ['id']",
        "!!python/name:os.system",
        "!!python/module:os",
        "!!binary aGk=",
        "!!set {a, b}",
        "!!timestamp 2026-01-01",
        "!local x",
        "!<tag:example.org,2000:x> x",
    ],
)
def test_tags_are_refused(tag: str) -> None:
    """No tag makes an object, runs anything, or is silently dropped."""
    said = said_of(GOOD.replace("summary: x", f"summary: {tag}"))
    assert "x.yaml:1:" in said
    assert not Path("/tmp/testbed-was-here").exists()


@pytest.mark.parametrize(
    "text",
    [
        "summary: &a [*a]\n",
        "summary: &a {b: *a}\n",
        "&a a: *a\n",
        "summary: &a\n  - &b [*a, *b]\n",
        "hosts: &h {a: {steps: *h}}\n",
    ],
)
def test_cycles_are_refused(text: str) -> None:
    """A value that holds itself is a mistake at its line."""
    assert "x.yaml:" in said_of(text)


HUGE = {
    "summary": f"summary: {'x' * (MOST_BYTES - 200)}\n" + GOOD.partition("\n")[2],
    "key": f"{'x' * (MOST_BYTES - 200)}: 1\n",
    "number": f"summary: x\nseed: {'9' * (MOST_BYTES - 200)}\n",
    "digits": f"summary: x\nseed: {'9' * 5000}\n",
    "exponent": "summary: x\nseed: 1e999999999\n",
    "hexadecimal": f"summary: x\nseed: 0x{'f' * (MOST_BYTES - 200)}\n",
    "duration": f"summary: x\ntimeout: {'9' * 5000}s\n",
    "rate": f"summary: x\nhosts: {{}}\nwire: {{rate: {'9' * 5000}gbit}}\n",
    "list": f"summary: x\ntags: [{'a,' * (MOST_BYTES // 2 - 200)}]\n",
    "mapping": "summary: x\nhosts: {" + ", ".join(f"a{n}: {{}}" for n in range(60_000)) + "}\n",
    "same key": "summary: x\n" * 80_000,
    "steps": f"summary: x\nhosts: {{a: {{steps: [{'accept, ' * 40_000}]}}}}\n",
    "wrong steps": f"summary: x\nhosts: {{a: {{steps: [{'acept, ' * 40_000}]}}}}\n",
    "escapes": 'summary: "' + "\\u00e9" * 170_000 + '"\n',
    "quotes": "summary: '" + "''" * 500_000 + "'\n",
    "comment": "#" * (MOST_BYTES - 200) + "\n",
    "anchors": "".join(f"a{n}: &a{n} x\n" for n in range(50_000)),
    "block": "summary: |\n" + "  x\n" * 250_000,
    "folded": "summary: >\n" + "  x\n\n" * 200_000,
    "breaks": "\n" * (MOST_BYTES - 200),
    "documents": "---\n" * 250_000,
    "directives": "%TAG ! tag:x,2000:\n" * 50_000,
    "repeat": "summary: x\nhosts: {a: {steps: [{repeat: 1000000000, steps: [{sleep: 1s}]}]}}\n",
    "parallel": "summary: x\nhosts: {a: {steps: [{parallel: 1000000000, steps: [{sleep: 1s}]}]}}\n",
    "replicas": "summary: x\nhosts: {a: {replicas: 1000000000, steps: [{sleep: 1s}]}}\n",
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_huge_parts_are_bounded(text: str) -> None:
    """A file of up to 1 MiB, whatever is huge in it, takes bounded time; what is said of it is short."""
    started = time.process_time()
    try:
        read_scenario(text.encode(), "x.yaml")
        said = ""
    except ScenarioErrors as error:
        said = str(error)
    assert time.process_time() - started < MOST_CPU_S
    assert len(said) < MOST_SAID


NAMES = {
    "up": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "newline": "a\\nb",
    "shell": "$(id)",
    "semicolon": "a;reboot",
    "backquote": "`id`",
    "option": "--privileged",
    "nul": "a\\0b",
    "escape": "\\e[31ma",
    "right-to-left": "a\\u202eb",
    "zero width": "a\\u200bb",
    "homoglyph": f"serv{CYRILLIC_A}r",
    "full width": "\\uff41",
    "capital": "Server",
    "long": "a" * 300,
    "empty": "",
    "dots": "..",
    "blank": "a b",
    "trailing newline": "a\\n",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_hosts_are_plain(name: str) -> None:
    """A host's name becomes a container's, an interface's, a file's: letters, digits and hyphens, or it is refused."""
    said = said_of(f'summary: x\nhosts: {{"{name}": {{steps: [{{sleep: 1s}}]}}}}\n')
    assert "x.yaml:2:" in said
    assert all(line.isprintable() for line in said.splitlines())


@pytest.mark.parametrize(
    "name",
    [
        "net.ipv4/../../kernel/core_pattern",
        "kernel.core_pattern",
        "net.ipv4.x\\n",
        "/proc/sys/net",
        "net..\\u2024",
        "net.$x",
    ],
)
def test_names_of_sysctls_are_plain(name: str) -> None:
    """A sysctl's name becomes a path: only names below net, and no slash."""
    assert "x.yaml:" in said_of(GOOD + f'sysctls: {{"{name}": "1"}}\n')


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\\\b", "a\\0b"])
def test_payload_files_are_beside_the_scenario(name: str) -> None:
    """A scenario names no file elsewhere on the machine."""
    text = GOOD.replace("b: {steps: [{", f'b: {{steps: [{{send: {{file: "{name}"}}}}, {{')
    assert "x.yaml:2:" in said_of(text)


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    """Nor does a symbolic link beside the scenario; one that stays there is followed."""
    (tmp_path / "secret").write_text("hers")
    folder = tmp_path / "scenarios"
    folder.mkdir()
    (folder / "out").symlink_to("../secret")
    (folder / "kept").write_text("his")
    (folder / "in").symlink_to("kept")
    assert load_payloads(["in"], folder / "x.yaml") == {"in": b"his"}
    with pytest.raises(UsageError, match="leads out of the scenario's folder"):
        load_payloads(["out"], folder / "x.yaml")


def test_a_payload_that_is_no_file(tmp_path: Path) -> None:
    """A folder, and a pipe that nobody writes to, are refused and not waited for."""
    import os

    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match="is no ordinary file"):
            load_payloads([name], tmp_path / "x.yaml")


def test_a_payload_that_is_too_large(tmp_path: Path) -> None:
    """It is refused before it is sent to anybody."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MOST_PAYLOAD + 1)
    with pytest.raises(UsageError, match=f"has more than {MOST_PAYLOAD} bytes"):
        load_payloads(["large"], tmp_path / "x.yaml")


def test_a_file_without_end() -> None:
    """A device that never ends is read as far as is needed to refuse it."""
    with pytest.raises(ScenarioErrors, match="a scenario file has at most 1048576"):
        load_scenario(Path("/dev/zero"))


def test_the_command_within_little_memory(tmp_path: Path) -> None:
    """`testbed validate` of the worst of these, with 1 GiB of address space: exit code 2, in words, no traceback."""
    paths = []
    for name in ("steps", "wrong steps", "mapping", "list", "anchors"):
        paths.append(tmp_path / f"{name.replace(' ', '-')}.yaml")
        paths[-1].write_text(HUGE[name])
    ended = subprocess.run(
        [sys.executable, "-m", "testbed", "validate", *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
        env={"PATH": "/usr/bin", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert len(ended.stdout + ended.stderr) < MOST_SAID * len(paths)


@pytest.mark.parametrize("command", ["list", "validate", "show"])
def test_what_a_file_says_moves_no_cursor(command: str, tmp_path: Path) -> None:
    """A summary and a file's name hold escapes, a newline, a mark of direction: they are shown, and not obeyed."""
    (tmp_path / "scenarios").mkdir()
    named = tmp_path / "scenarios" / "a\x1b[2Jb\nc\u202e.yaml"
    named.write_text(GOOD.replace("summary: x", r'summary: "\e[31m\e]0;owned\a\u202e\x9b2J"'))
    words = [] if command == "list" else [str(named)]
    ended = subprocess.run(
        [sys.executable, "-m", "testbed", command, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 0, ended.stderr
    assert r"a\x1b[2Jb\nc\u202e" in ended.stdout
    assert all(line.isprintable() for line in ended.stdout.split("\n"))
