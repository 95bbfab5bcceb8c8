"""A scenario file's bytes to a Scenario, or to every mistake in it at once.

Three readings of one text: YAML (yaml12.py), the schema (the models, worded by wording.py), and what the parts say
about each other (consistency.py). Each speaks also when an earlier one found mistakes, of all that could be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pydantic import ValidationError

from testbed.scenario.consistency import contradictions
from testbed.scenario.mistakes import Complaint, Mistake, Path, ScenarioErrors, show_path
from testbed.scenario.model import Scenario
from testbed.scenario.wording import complaints
from testbed.scenario.yaml12 import Document, Node, compose


@dataclass(frozen=True, slots=True)
class Located:
    """A scenario, and the line (from 1) of each of its parts: of a mapping's key, of a list's item."""

    scenario: Scenario
    file: str
    text: str
    lines: Mapping[Path, int]


def read_scenario(data: bytes, file: str) -> Scenario:
    """The scenario that a file's bytes describe; `file` is its name as mistakes show it. Raises ScenarioErrors."""
    return read_located(data, file).scenario


def read_located(data: bytes, file: str) -> Located:
    """The scenario with the lines of its parts. Raises ScenarioErrors."""
    document = compose(data, file)
    scenario, found = _validate(document.root)
    mistakes = [*document.mistakes, *_located(found, document)]
    if document.root is None and not mistakes:
        mistakes = [document.source.mistake(1, 1, (), "the file is empty; a scenario has summary: and hosts:")]
    if mistakes or scenario is None or document.root is None:
        mistakes.sort(key=lambda mistake: (mistake.line, mistake.column, mistake.path))
        raise ScenarioErrors(mistakes)
    lines = MappingProxyType(dict(_lines(document.root, ())))
    return Located(scenario, file, "\n".join(document.source.lines), lines)


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of the part at the path, or of the nearest part above it that the file has."""
    return next((lines[path[:length]] for length in range(len(path), -1, -1) if path[:length] in lines), 1)


def _validate(root: Node | None) -> tuple[Scenario | None, list[Complaint]]:
    if root is None or root.broken:
        return None, []
    if not isinstance(root.value, dict):
        return None, [Complaint((), "a scenario is a mapping: its first keys are summary: and hosts:")]
    found = contradictions(root.value)
    try:
        return Scenario.model_validate(root.value, by_alias=True, by_name=False), found
    except ValidationError as error:
        return None, _together(complaints(error.errors(include_url=False), root.value), found)


def _together(schema: list[Complaint], found: list[Complaint]) -> list[Complaint]:
    """The schema's complaints, and the contradictions of what the schema does not complain of."""
    spoken = {complaint.path for complaint in schema}
    return schema + [c for c in found if not any(c.path[:length] in spoken for length in range(1, len(c.path) + 1))]


def _merged(found: list[Complaint]) -> Iterator[Complaint]:
    """One complaint for each place, with all that is said of it."""
    places: dict[tuple[Path, bool], list[Complaint]] = {}
    for complaint in found:
        places.setdefault((complaint.path, complaint.at_key), []).append(complaint)
    for (path, at_key), complaints_there in places.items():
        says = "; ".join(complaint.says for complaint in complaints_there)
        yield Complaint(path, says, next(filter(None, (c.suggestion for c in complaints_there)), ""), at_key)


def _located(found: list[Complaint], document: Document) -> Iterator[Mistake]:
    root = document.root
    for complaint in _merged(found):
        if root is None or _follows(root, complaint):
            continue
        line, column = root.place(complaint.path, complaint.at_key)
        yield document.source.mistake(line, column, complaint.path, complaint.says, complaint.suggestion)


def _follows(root: Node, complaint: Complaint) -> bool:
    """Whether it only follows from what YAML could not read: an unreadable value, a key left out."""
    nodes = list(root.walk(complaint.path))
    return any(node.broken for node in nodes) or (len(nodes) == len(complaint.path) and nodes[-1].incomplete)


def _lines(node: Node, path: Path) -> Iterator[tuple[Path, int]]:
    if not path:
        yield (), node.line
    for part, item in node.items.items():
        here = (*path, part)
        yield here, node.keys[part][0] if isinstance(part, str) else item.line
        yield from _lines(item, here)


__all__ = ["Located", "ScenarioErrors", "line_of", "read_located", "read_scenario", "show_path"]
