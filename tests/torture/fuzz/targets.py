"""What is fuzzed: each target takes any bytes, and nothing but a typed error may come of them.

WHERE names the targets; the module of each is imported when it is wanted, and its table TARGETS has the row.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mutators import Mutator

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is fuzzed: its function, what the fuzzer starts with, and how it changes that."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int  # bytes of an input
    mutate: Callable[[], Mutator] | None = None
    words: Callable[[], tuple[str, ...]] = tuple


class Home(NamedTuple):
    """The module of a target here, and what of the testbed the fuzzer watches: all else only costs its time."""

    module: str
    watched: tuple[str, ...]


_PACKETS = ("testbed.decode", "testbed.tcp", "testbed.agent")

WHERE: Mapping[str, Home] = {
    "yaml": Home("on_scenarios", ("testbed.scenario",)),
    "plan": Home("on_scenarios", ("testbed.scenario", "testbed.plan", "testbed.program", "testbed.links")),
    "quantity": Home("on_scenarios", ("testbed.scenario.units",)),
    "capture": Home("on_captures", ("testbed.pcap", "testbed.decode", "testbed.tcp")),
    "columns": Home("on_captures", ("testbed.pcap", "testbed.decode", "testbed.tcp", "testbed.columns")),
    "rewrite": Home("on_captures", ("testbed.pcap",)),
    "decode": Home("on_packets", _PACKETS),
    "frame": Home("on_packets", _PACKETS),
    "options": Home("on_packets", _PACKETS),
    "tcp": Home("on_packets", _PACKETS),
    "faults": Home("on_packets", _PACKETS),
    "agent": Home("on_agents", ("testbed.lab", "testbed.fields")),
    "play": Home("on_agents", ("testbed.lab", "testbed.run", "testbed.evidence", "testbed.verdict")),
    "agent-file": Home("on_agents", ("testbed.capture_file",)),
    "kernel": Home("on_agents", ("testbed.agent",)),
    "folder": Home("on_folders", ("testbed.fields", "testbed.evidence", "testbed.files", "testbed.verdict")),
}


def find_target(name: str) -> Target:
    """A row of the tables."""
    for folder in ("tests/fast", "tests/thorough", "tests/torture", "tests/torture/fuzz"):
        if str(ROOT / folder) not in sys.path:
            sys.path.append(str(ROOT / folder))
    target: Target = importlib.import_module(WHERE[name].module).TARGETS[name]
    return target


def kept(target: str) -> Iterator[tuple[str, bytes]]:
    """The inputs that are kept of a target, by name: its corpus, and what once broke it."""
    for folder in ("corpus", "crashers"):
        for path in sorted((HERE / folder / target).glob("*")):
            yield f"{folder}/{target}/{path.name}", path.read_bytes()
