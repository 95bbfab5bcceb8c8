"""The pure half takes values and gives values: walked by its imports, it reaches no socket, process, clock or file.

Every module of the pure half is parsed, and so is every module of the testbed that those import, down to the last. What
other packages do inside is theirs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = (
    "agent.chance",
    "agent.impairments",
    "analysis_json",
    "analyze",
    "capture_file",
    "choose",
    "clocks",
    "columns",
    "decode",
    "ends",
    "errors",
    "evidence",
    "foreign",
    "lab.sources",
    "lab.subnet",
    "link_settings",
    "links",
    "live.merging",
    "live.telling",
    "merged",
    "outputs",
    "packet",
    "pcap",
    "plan",
    "profile",
    "program",
    "report",
    "result",
    "scenario",
    "show",
    "summary",
    "tcp",
    "verdict",
)
FORBIDDEN = frozenset(
    {
        *("asyncio", "concurrent", "contextvars", "multiprocessing", "queue", "sched", "selectors", "threading"),
        *("docker", "fcntl", "http", "io", "os", "requests", "select", "shutil", "signal", "socket", "subprocess"),
        *("glob", "mmap", "platform", "secrets", "sys", "tempfile", "time", "urllib", "uuid"),
    }
)
RANDOM_WITH_A_SEED = "from random import Random"
CALLS = frozenset({"open", "input", "print", "exec", "eval", "__import__"})
METHODS = frozenset(
    {
        *("read_text", "write_text", "read_bytes", "write_bytes", "mkdir", "unlink", "rename", "replace_file", "touch"),
        *("iterdir", "rglob", "exists", "is_file", "is_dir", "resolve", "expanduser", "cwd", "home", "chmod", "rmdir"),
        *("now", "utcnow", "today"),
    }
)


def files_of(module: str) -> tuple[Path, ...]:
    """The files of a module, or of a package with all that is in it."""
    place = ROOT / "testbed" / Path(*module.split("."))
    return tuple(sorted(place.rglob("*.py"))) if place.is_dir() else (place.with_suffix(".py"),)


PURE_FILES = sorted({path for module in PURE for path in files_of(module)})


@cache
def parsed(path: Path) -> tuple[ast.AST, ...]:
    """The imports and calls in a file, but for what only type checkers read."""
    found: list[ast.AST] = []
    ahead: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call):
            found.append(node)
        ahead += ast.iter_child_nodes(node)
    return tuple(found)


@cache
def imports(path: Path) -> tuple[tuple[str, str, int], ...]:
    """What a file imports: module, name in it (or nothing), line."""
    found: list[tuple[str, str, int]] = []
    for node in parsed(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found += [(node.module or "", alias.name, node.lineno) for alias in node.names]
    return tuple(found)


def impure_imports(path: Path) -> Iterator[str]:
    """The imports of a file that the pure half must not have."""
    for module, name, line in imports(path):
        top = module.partition(".")[0]
        if top == "random" and name != "Random":
            yield f"{path}:{line}: {module} {name}: only `{RANDOM_WITH_A_SEED}`"
        elif top in FORBIDDEN or module in FORBIDDEN:
            yield f"{path}:{line}: {module}"
        elif top == "pathlib" and name not in ("PurePath", "PurePosixPath"):
            yield f"{path}:{line}: pathlib {name}: only pure paths"


def impure_calls(path: Path) -> Iterator[str]:
    """The calls in a file that read or write something."""
    for node in parsed(path):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in CALLS:
            yield f"{path}:{node.lineno}: {called.id}()"
        elif isinstance(called, ast.Attribute) and called.attr in METHODS:
            yield f"{path}:{node.lineno}: .{called.attr}()"


@cache
def ours(path: Path) -> frozenset[Path]:
    """The testbed's own files that a file imports, with the packages that they are in."""
    found: set[Path] = set()
    for module, name, _ in imports(path):
        parts = module.split(".")
        if parts[0] != "testbed":
            continue
        for whole in (parts, [*parts, name]):
            place = ROOT.joinpath(*whole)
            found |= {path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()}
    return frozenset(found)


@cache
def impurities(path: Path) -> tuple[str, ...]:
    """All that is not pure in one file."""
    return (*impure_imports(path), *impure_calls(path))


def reached(start: Path) -> set[Path]:
    """All files of the testbed that are imported when one is."""
    found: set[Path] = set()
    ahead = [start]
    while ahead:
        path = ahead.pop()
        if path not in found:
            found.add(path)
            ahead += ours(path)
    return found


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_file(path: Path) -> None:
    """A file of the pure half, and all of ours that it reaches, imports nothing of the edge and opens nothing."""
    wrong = [says for each in sorted(reached(path)) for says in impurities(each)]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("import os", "os"),
        ("from os import path", "os"),
        ("import random", "random"),
        ("from random import randint", "random"),
        ("from pathlib import Path", "pathlib"),
        ("import concurrent.futures", "concurrent"),
        ("from testbed.files import load_scenario", "os"),
        ("def late():\n    import time", "time"),
        ("open('x')", "open()"),
        ("place.read_text()", ".read_text()"),
        ("datetime.now()", ".now()"),
    ],
)
def test_the_walk_finds_what_is_not_pure(tmp_path: Path, line: str, says: str) -> None:
    """Each way out of the pure half is noticed, also at second hand."""
    path = tmp_path / "module.py"
    path.write_text(f"{line}\n")
    wrong = [found for each in reached(path) for found in impurities(each)]
    assert any(says in found for found in wrong)


def test_the_walk_lets_what_is_pure(tmp_path: Path) -> None:
    """A generator with its seed, pure paths, and imports for type checkers alone are no way out."""
    path = tmp_path / "module.py"
    path.write_text(
        f"{RANDOM_WITH_A_SEED}\nfrom pathlib import PurePosixPath\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import os\n"
    )
    assert impurities(path) == ()


def test_the_walk_sees_the_edge() -> None:
    """The files that are the edge do not pass for pure: the walk really reads them."""
    for name in ("files", "run", "session", "suite", "cli", "stop", "lab.compose", "lab.agents"):
        (path,) = files_of(name)
        assert impurities(path), name
