"""A lab file: which host runs on which engine, with short names for the engines (docs/multi-machine.md).

    engines: {left: here, right: ssh://lab@far}
    place: {client: left, server: right}

It is read like a scenario file: strictly, with YAML 1.2 meaning, and all mistakes at once, each with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.files import read_file
from testbed.lab.swarm.address import find_engine
from testbed.scenario.mistakes import Complaint, ScenarioErrors, listed, nearest
from testbed.scenario.names import HOST_NAME
from testbed.scenario.schema import DIALECT
from testbed.scenario.units import shown
from testbed.scenario.values import NAME
from testbed.scenario.yaml12 import compose

IDENTITY = "urn:tcp-testbed:lab:1"
REMEDY = "The grammar is in docs/multi-machine.md."
MOST_BYTES = 1 << 16
# The keys, with what their own keys must look like, that in words, and what they are for.
KEYS: Mapping[str, tuple[str, str, str]] = {
    "engines": (
        NAME,
        "a name for an engine",
        "Names for engines: Docker contexts, or unix://, tcp:// and ssh:// URLs.",
    ),
    "place": (HOST_NAME, "the name of a host", "The engine of each host: a name of `engines`, a context, or a URL."),
}

EXAMPLES = {"engines": "{far: ssh://lab@machine}", "place": "{client: here, server: far}"}


@dataclass(frozen=True, slots=True)
class LabFile:
    """Names for engines, and the engine of each host, by such a name or as the command line would have it."""

    engines: Mapping[str, str]
    places: Mapping[str, str]


def load_lab_file(path: Path) -> LabFile:
    """Read a lab file. Raises UsageError for what is wrong in it, or with the file."""
    return read_lab_file(read_file(path, "lab file", MOST_BYTES), str(path), _why_no_engine)


def read_lab_file(data: bytes, file: str, why_no_engine: Callable[[str], str]) -> LabFile:
    """The lab that a file's bytes describe. Raises ScenarioErrors.

    `why_no_engine` says why a word means no engine; empty where it means one.
    """
    document = compose(data, file)
    mistakes = list(document.mistakes)
    root = document.root
    told: Any = root.value if root else {}
    if root is None and not mistakes:
        mistakes = [document.source.mistake(1, 1, (), "the file is empty; a lab file has engines: and place:")]
    if root is not None and not root.broken:
        for complaint in _complaints(told, why_no_engine):
            if not any(node.broken for node in root.walk(complaint.path)):
                line, column = root.place(complaint.path, complaint.at_key)
                found = document.source.mistake(line, column, complaint.path, complaint.says, complaint.suggestion)
                mistakes.append(found)
    if mistakes:
        raise ScenarioErrors(sorted(mistakes, key=lambda one: (one.line, one.column, one.path)), remedy=REMEDY)
    return LabFile(dict(told.get("engines") or {}), dict(told["place"]))


def _complaints(told: Any, why_no_engine: Callable[[str], str]) -> Iterator[Complaint]:
    if not isinstance(told, dict):
        yield Complaint((), "a lab file is a mapping: its keys are engines: and place:")
        return
    for key in told.keys() - KEYS.keys():
        yield Complaint((key,), f"unknown key; here can stand {listed(KEYS, 'and')}", nearest(key, KEYS), at_key=True)
    if "place" not in told and not any(nearest(key, KEYS) == "place" for key in told):
        yield Complaint(("place",), "is missing (which host runs on which engine)")
    named = told.get("engines")
    names = named if isinstance(named, dict) else {}
    for key in KEYS:
        if key in told:
            yield from _pairs(key, told[key], {} if key == "engines" else names, why_no_engine)


def _pairs(key: str, told: Any, names: Mapping[str, Any], why_no_engine: Callable[[str], str]) -> Iterator[Complaint]:
    pattern, what, _ = KEYS[key]
    if not isinstance(told, dict) or not told:
        says = "names nobody" if told == {} else f"{shown(told)} is not a mapping"
        yield Complaint((key,), f"{says}; write such as {key}: {EXAMPLES[key]}")
        return
    for name, word in told.items():
        if not re.fullmatch(pattern, name):
            yield Complaint((key, name), f"{shown(name)} is not {what}", at_key=True)
        if not isinstance(word, str):
            yield Complaint((key, name), f"{shown(word)} is not an engine: a Docker context, or its address")
        elif word not in names and (why := why_no_engine(word)):
            yield Complaint((key, name), why, nearest(word, names))


def _why_no_engine(word: str) -> str:
    try:
        find_engine(word)
    except UsageError as error:
        return error.message
    return ""


def lab_schema_text() -> str:
    """The JSON Schema (2020-12) of a lab file, as `testbed schema --lab` prints it."""
    parts = {
        key: {
            "description": purpose,
            "type": "object",
            "propertyNames": {"pattern": pattern},
            "additionalProperties": {"type": "string", "minLength": 1},
            "minProperties": 1,
        }
        for key, (pattern, _, purpose) in KEYS.items()
    }
    about = {"$schema": DIALECT, "$id": IDENTITY, "title": "Lab file of the TCP testbed", "type": "object"}
    schema = {**about, "properties": parts, "required": ["place"], "additionalProperties": False}
    return json.dumps(schema, indent=2) + "\n"
