"""Contradictions of crafted packets: such as never leave the host, and numbers that no connection can have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from testbed.scenario.deeds import Deed, Facts, text
from testbed.scenario.headers import FREE, end_of
from testbed.scenario.mistakes import Complaint, Path

NUMBERS = ("seq", "ack")
STAMPS = ("tsval", "tsecr")
REMEDY = "; write a number, or from: and the host of the live connection"


def _crafted(facts: Facts) -> Iterator[tuple[Deed, Path, Mapping[str, Any]]]:
    for deed in facts.deeds:
        if deed.name == "inject" and isinstance(deed.value, dict):
            yield deed, (*deed.path, "inject"), deed.value


def _to_itself(facts: Facts) -> Iterator[Complaint]:
    for deed, path, crafted in _crafted(facts):
        host, port = end_of(text(crafted.get("to")))
        if facts.owner.get(host) == deed.host:
            yield Complaint((*path, "to"), f"what {deed.host} sends to itself never goes over the wire")
        elif port == FREE:
            yield Complaint((*path, "to"), "nobody listens at a port that nothing has; free is for from:")


def _unknown_numbers(facts: Facts) -> Iterator[Complaint]:
    """From a free port there is no connection yet, so there is nothing that the wire could show."""
    for _, path, crafted in _crafted(facts):
        if "from" in crafted and end_of(text(crafted["from"]))[1] != FREE:
            continue
        if end_of(text(crafted.get("to")))[1] == "" and "to" in crafted:
            says = "needs a port: there is no live connection from a free port"
            yield Complaint((*path, "to"), says)
        for key in NUMBERS:
            if isinstance(crafted.get(key), str):
                yield Complaint((*path, key), f"no connection has a free port yet{REMEDY}")
        options = crafted.get("options")
        told = options if isinstance(options, dict) else {}
        for key, other in (STAMPS, STAMPS[::-1]):
            if isinstance(told.get(key), str):
                yield Complaint((*path, "options", key), f"no connection has a free port yet{REMEDY}")
            elif key in told and other not in told:
                yield Complaint((*path, "options", key), f"needs {other} too, as a number: the port is free")


CHECKS: tuple[Callable[[Facts], Iterator[Complaint]], ...] = (_to_itself, _unknown_numbers)
