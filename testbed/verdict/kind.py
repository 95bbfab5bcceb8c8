"""What a kind of check is made of: the question that a scenario asks, and the answer that the evidence gives.

A kind is a row: how its questions are found, and the function that answers one. An answer tells what was expected and
seen in the scenario's own notation, and, where it is not passed, why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.verdict.value import Outcome
from testbed.verdict.view import View


@dataclass(frozen=True, slots=True)
class Question:
    """One expectation: its name, its path in the scenario file, and the value there."""

    name: str  # "handshake.outcome", "states.client"
    path: str  # "expect.handshake.outcome"
    wanted: Any

    @property
    def key(self) -> str:
        """What stands behind the first dot of the name: a host, a direction, a snapshot's name."""
        return self.name.partition(".")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the evidence says to a question."""

    verdict: Outcome
    expected: str
    seen: str
    why: str = ""
    packets: tuple[int, ...] = ()
    path: str = ""  # a better place in the scenario file than the question's


Ask = Callable[[View], Iterable[Question]]


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table of checks."""

    ask: Ask
    answer: Callable[[View, Question], Answer]
    rests_on_packets: bool = False
    rests_on_payload: bool = False


def expected(path: str) -> Ask:
    """The questions that stand under `expect:` at this path; `*` is any key of a mapping."""

    def ask(view: View) -> Iterator[Question]:
        for name, wanted in _find(view.expect, path.split(".")):
            yield Question(name, f"expect.{name}", wanted)

    return ask


def _find(value: Any, parts: list[str], name: str = "") -> Iterator[tuple[str, Any]]:
    if value is None:
        return
    if not parts:
        yield name, value
    elif parts[0] == "*":
        for key, item in value.items():
            yield from _find(item, parts[1:], f"{name}.{_text(key)}")
    else:
        item = value.get(parts[0]) if isinstance(value, Mapping) else getattr(value, parts[0])
        yield from _find(item, parts[1:], f"{name}.{parts[0]}" if name else parts[0])


def _text(key: object) -> str:
    return str(getattr(key, "value", key))
