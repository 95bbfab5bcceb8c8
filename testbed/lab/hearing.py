"""What an agent may say: the shapes of its answers and events (docs/agent-protocol.md), and how much of it is heard.

An agent runs on a host where others may have had their hands in, so nothing that it says is believed unread: what has
not its shape is told as a problem, which makes the verdict unknown, and goes no further.

A shape is a type; a list of one shape; a dict of shapes by key, where `key?` may be missing or null, and ANY stands for
every key; or a function that gives what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from testbed.agent.impairments import no_setting
from testbed.fields import LARGEST, SHOWN, SMALLEST, no_address, no_base64, no_outcome, no_place, no_socket

ANY = "*"
MOST_WAITING = 32 << 20  # bytes of an agent's that wait to be heard before it is not read any more
MOST_EVENTS = 500_000  # of one host in one run
MOST_TOLD = 256 << 20  # bytes of them
MOST_FETCHED = 1 << 30  # bytes of one file

Shape = Any

MADE = {"to": str, "packet": str, "says?": str}
ROW = {"state": str, "local": str, "peer": str, "recv_queue?": int, "send_queue?": int}
STEP = {
    "path": no_place,
    "step": str,
    "outcome": no_outcome,
    "due_ns?": int,
    "start_ns": int,
    "end_ns": int,
    "round?": [int],
    "errno?": str,
    "says?": str,
    "local?": str,
    "peer?": str,
    "bytes?": int,
    "sha256?": str,
    "data?": no_base64,
}
FAULT = {
    "time_ns": int,
    "rule": int,
    "action": str,
    "says?": str,
    "packet?": str,
    "passed?": bool,
    "made?": [MADE],
}

EVENTS: Mapping[str, Shape] = {
    "chunk": {"id": int, "data": no_base64},
    "fault": FAULT,
    "log": {"time_ns": int, "line": str},
    "mark": {"name": str, "time_ns?": int},
    "played": {"time_ns": int, "exit?": int, "signal?": str, "held?": bool},
    "problem": {"says": str},
    "snapshot": {"name": str, "time_ns": int, "rows": [ROW]},
    "state": {"time_ns": int, "socket": no_socket, "from": str, "to": str},
    "step": STEP,
    "wire": {"time_ns": int, "phase": int, "began_ns?": int},
}

ENGINE = {"ok": bool, "says?": str, "lacks?": [str], "mixes?": bool}
WIRE = {
    "in": int,
    "out": int,
    "dropped": int,
    "duplicated": int,
    "corrupted?": int,
    "dropped_by?": {ANY: int},
    "phase?": int,
    "settings?": [no_setting],
    "qdiscs?": list,
    "up?": bool,
    "why?": str,
    "engine?": str,
}
# Answers that are not named here hold nothing that anybody reads.
ANSWERS: Mapping[str, Shape] = {
    "abilities": {"lacks?": {ANY: str}},
    "canary.send": {"sent?": bool},
    "canary.wait": {"heard?": bool},
    "capture.stop": {"packets": int, "dropped": int, "path": str},
    "clock": {"time_ns": int},
    "clock.offset": {"low_ns?": int, "high_ns?": int},
    "counters.stop": {"changed?": {ANY: int}, "lacks?": [str]},
    "fetch": {"bytes": int},
    "hello": {
        "kernel": str,
        "agent?": str,
        "interfaces": {ANY: {"mac?": str, "ipv4?": [no_address], "ipv6?": [no_address]}},
        "sysctls?": {ANY: lambda value: "" if value is None or isinstance(value, str) else "is no text"},
    },
    "hush.read": {"up?": bool, "why?": str},
    "reset": {"clean?": bool, "left?": [str]},
    "states.stop": {"samples?": int, "longest_gap_ns?": int, "last_ns?": int},
    "wire.probe": {"portable": ENGINE, "netem": ENGINE},
    "wire.read": WIRE,
}


def misfit(value: object, shape: Shape, place: str) -> str:
    """What of a value has not its shape, in words; nothing where all has."""
    return next(_misfits(value, shape, place), "")


def event_misfit(message: Mapping[str, Any]) -> str:
    """What is wrong with an event; an unknown one is told by who knows what to do with each."""
    kind = message.get("event")
    return misfit(message, EVENTS[kind], kind) if isinstance(kind, str) and kind in EVENTS else ""


def _misfits(value: object, shape: Shape, place: str) -> Iterator[str]:
    if isinstance(shape, dict):
        yield from _of_dict(value, shape, place)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield f"{place} is {_show(value)}; it must be a list"
            return
        for index, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{place}[{index}]")
    elif isinstance(shape, type):
        if not _is_a(value, shape):
            yield f"{place} is {_show(value)}; it must be of type {shape.__name__}"
    else:
        judge: Callable[[object], str] = shape
        if says := judge(value):
            yield f"{place} is {_show(value)}; it {says}"


def _of_dict(value: object, shape: Mapping[str, Shape], place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} is {_show(value)}; it must be an object"
    elif ANY in shape:
        for key, item in value.items():
            yield from _misfits(item, shape[ANY], f"{place}.{key[:SHOWN]}")
    else:
        for key, wanted in shape.items():
            name = key.removesuffix("?")
            if value.get(name) is not None:
                yield from _misfits(value[name], wanted, f"{place}.{name}")
            elif name == key:
                yield f"{place} has no {name}"


def _is_a(value: object, kind: type) -> bool:
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and SMALLEST <= value <= LARGEST
    return isinstance(value, kind)


def _show(value: object) -> str:
    text = ascii(value) if isinstance(value, str | bool | None) else f"of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
