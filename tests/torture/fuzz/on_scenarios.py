"""Targets: scenario files, and the values in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unicodedata import category
from zlib import crc32

import yaml
from mutators import Mutator, Tree, text_mutator, tree_mutator
from targets import ROOT, Target

from testbed.errors import TestbedError
from testbed.plan import make_plan
from testbed.scenario.model import dump_scenario
from testbed.scenario.read import _merged, _validate, read_scenario
from testbed.scenario.schema import schema_text
from testbed.scenario.units import (
    format_duration,
    format_percent,
    format_rate,
    parse_count_range,
    parse_duration,
    parse_duration_range,
    parse_kernel_range,
    parse_percent,
    parse_rate,
    parse_size,
)
from testbed.scenario.write import write_scenario
from testbed.scenario.yaml12 import Node
from testbed.show import commands

WRITTEN = 4  # of so many scenarios one is written; which, its bytes tell


def read_yaml(data: bytes) -> None:
    """A scenario file; of those that are read, some are written, and read back equal."""
    try:
        scenario = read_scenario(data, "fuzz.yaml")
    except TestbedError as refused:
        said = str(refused)
    else:
        said = ""
        if crc32(data) % WRITTEN == 0:
            assert read_scenario(write_scenario(scenario).encode(), "again.yaml") == scenario
    assert all(char.isprintable() or category(char) == "Zs" for char in said.replace("\n", ""))


def plan_scenario(data: bytes) -> None:
    """A scenario's values, as YAML would give them: judged, and what is good is planned, as far as every command."""
    try:
        tree = json.loads(data, parse_int=_whole, parse_constant=_whole)
    except (ValueError, RecursionError):
        return
    scenario, found = _validate(Node(tree, 1, 1))
    assert all(complaint.says for complaint in _merged(found))
    if scenario is None or found:
        assert found or not isinstance(tree, dict)
        return
    try:
        plan = make_plan("fuzz", scenario)
    except TestbedError:
        return
    assert list(commands(plan))


def _whole(text: str) -> int:
    if len(text) > 19:
        raise ValueError("YAML refuses it")
    return int(text)


QUANTITIES: tuple[tuple[Callable[[object], Any], Callable[[Any], str] | None], ...] = (
    (parse_duration, format_duration),
    (parse_rate, format_rate),
    (parse_percent, format_percent),
    (parse_size, None),
    (parse_count_range, None),
    (parse_duration_range, None),
    (parse_kernel_range, None),
)


def read_quantity(data: bytes) -> None:
    """A value of a scenario, as each kind of quantity; one that is taken is written and read back equal."""
    text = data.decode("latin-1")
    for parse, write in QUANTITIES:
        try:
            value = parse(text)
        except ValueError:
            continue
        if write is not None:
            assert parse(write(value)) == value


def quantities() -> Iterator[bytes]:
    """Of each kind."""
    yield from b"40ms 1.5s 0.5us 3min 10mbit 1.5gbit 2% 0.01% 64KiB 0..2 3.. ..5 0.9s..1.4s 5.4.. 4.19..6.1".split()


SMALL = 1024  # bytes of a scenario that is small enough to start from
_COMMENT = re.compile(rb"^\s*#.*\n|\s+#[^\"'\n]*$", re.MULTILINE)


def scenarios() -> Iterator[bytes]:
    """The small ones, without comments, and the wrong ones of the tests."""
    paths = [*(ROOT / "scenarios").rglob("*.yaml"), *(ROOT / "tests" / "errors").glob("*.yaml")]
    texts = (_COMMENT.sub(b"", path.read_bytes()) for path in sorted(paths))
    yield from (text for text in texts if len(text) <= SMALL)


@cache
def trees() -> tuple[Tree, ...]:
    """The scenarios as plain values."""
    return tuple(tree for text in scenarios() if (tree := _tree(text)) is not None)


def _tree(text: bytes) -> Tree:
    try:
        return json.loads(json.dumps(dump_scenario(read_scenario(text, "seed.yaml"))))
    except TestbedError:
        return None


def pieces() -> Iterator[Tree]:
    """Least scenarios that hold each one part of a scenario."""
    least = {"summary": "x", "hosts": {"server": {"steps": [{"listen": 1}]}, "client": {"steps": [{"sleep": "1s"}]}}}
    seen = set()
    for tree in trees():
        for key in tree.keys() - {"summary", "source", "tags"}:
            piece = {**least, key: tree[key]}
            text = json.dumps(piece)
            if len(text) < 400 and text not in seen:
                seen.add(text)
                yield piece


def json_scenarios() -> Iterator[bytes]:
    """The scenarios as JSON, and parts of them."""
    yield from (json.dumps(tree).encode() for tree in (*pieces(), *trees()) if len(json.dumps(tree)) < 768)


def small_scenarios() -> Iterator[bytes]:
    """As YAML, of at most 256 bytes."""
    texts = (yaml.dump(piece, default_flow_style=None, sort_keys=False, width=200).encode() for piece in pieces())
    yield from (text for text in (*texts, *scenarios()) if len(text) <= 256)


@cache
def scenario_words() -> tuple[str, ...]:
    """Keys, names and values that a scenario file can have."""
    found = set(re.findall(r'"([\w>.+-]{1,24})"', schema_text()))
    for text in scenarios():
        found |= {word.decode() for word in re.findall(rb"[\w>.+-]{1,24}", text) if word.isascii()}
    return tuple(sorted(found))


YAML_WORDS = (
    *("- ", ": ", "? ", "&a ", "*a", "!!str ", "!", "|", ">-", "<<"),
    *("[", "]", "{", "}", "---", '"\\', "\t"),
)


def yaml_words() -> tuple[str, ...]:
    """Those, and the marks of YAML."""
    return (*scenario_words(), *YAML_WORDS)


def json_mutator() -> Mutator:
    """Of scenarios as JSON."""
    return tree_mutator(scenario_words(), trees())


TARGETS = {
    "yaml": Target(read_yaml, small_scenarios, 256, lambda: text_mutator(yaml_words()), yaml_words),
    "plan": Target(plan_scenario, json_scenarios, 768, json_mutator),
    "quantity": Target(read_quantity, quantities, 32),
}
