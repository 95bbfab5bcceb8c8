"""pydantic's errors in plain words: one complaint per place, at a path that the file's writer knows.

pydantic names union branches in its locations and speaks of inputs and validators; here its error types become
sentences by table, what the branches of one union say becomes one sentence, and unknown words get the nearest known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

from pydantic_core import ErrorDetails

from testbed.scenario.counters import COUNTER
from testbed.scenario.grammar import fields_of, model_at
from testbed.scenario.headers import FLAGS
from testbed.scenario.mistakes import MOST, Complaint, Path, listed, nearest
from testbed.scenario.model import FAULT_INDEX, SETTING
from testbed.scenario.names import DIRECTION, HOST_NAME, PORT
from testbed.scenario.steps import STEPS, step_name
from testbed.scenario.units import shown
from testbed.scenario.values import ERRORS, HEX, NAME, SOCKET_NAME
from testbed.scenario.wire import Directed

MOST_ERRORS = 10 * MOST
SHORT_LIST = 15  # so many words are listed in full; of more, only the nearest is named

# What a text must look like, by the pattern that it did not match.
PATTERN_WORDS = {
    HOST_NAME: "a host name: a lower-case letter, then at most 20 of a-z, 0-9 and -",
    SOCKET_NAME: "a socket's name: a lower-case letter, then at most 30 of a-z, 0-9, _ and -",
    NAME: "a name: a letter or digit, then at most 63 letters, digits, _, . and -",
    HEX: "hexadecimal bytes, such as 48 6f 6c 61",
    r"^net\.[a-z0-9_.-]+$": "a sysctl of the network namespace, such as net.ipv4.tcp_syn_retries",
    r"^(SO|TCP|IP|IPV6|UDP)_[A-Z0-9_]+$": "a socket option, such as TCP_NODELAY or SO_KEEPALIVE",
    SETTING: "the path of a key, such as wire.delay or hosts.client.steps.0.connect",
    COUNTER: "a counter's name as nstat(8) prints it, such as TcpExtSyncookiesSent or RetransSegs",
    r"^[A-Z0-9]{2,6}$": "a conn_state of Zeek, such as SF or S0",
    r"^\^?[A-Za-z]+$": "a history of Zeek, such as ShADadFf",
    DIRECTION: "a direction, such as client->server",
    PORT: "a port: a number from 1 to 65535",
    FAULT_INDEX: "the place of a fault: a number from 0 on",
    FLAGS: "TCP flags, such as SYN+ECE",
}
# What a value must be, by pydantic's error type.
KIND_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
}
# Whole sentences, by pydantic's error type; {ctx} is filled in.
SENTENCES: Mapping[str, str] = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
}
Places = dict[tuple[Path, bool], list[ErrorDetails]]  # (path, whether it is about the key there)
_QUOTED = re.compile(r"'([^']*)'")


def complaints(errors: Iterable[ErrorDetails], tree: Any) -> list[Complaint]:
    """The complaints that pydantic's errors about this tree amount to; of very many, the first."""
    places: Places = {}
    for error in islice(errors, MOST_ERRORS):
        place = _place(error, tree)
        places.setdefault(place, []).append(error)
    made = [_complaint(path, at_key, found, tree) for (path, at_key), found in places.items()]
    return _without_followers(made, places)


def _without_followers(made: list[Complaint], places: Places) -> list[Complaint]:
    """Not what follows from another: what an unknown key holds, and a missing key that an unknown one stands for."""
    unknown = {complaint.path for complaint in made if complaint.at_key and complaint.path[0] == "wire"}
    meant = {(*complaint.path[:-1], complaint.suggestion) for complaint in made if complaint.at_key}
    kept = []
    for complaint in made:
        inside = not complaint.at_key and any(complaint.path[:length] in unknown for length in range(2, 8))
        misspelt = complaint.path in meant and places[complaint.path, complaint.at_key][0]["type"] == "missing"
        if not (inside or misspelt):
            kept.append(complaint)
    return kept


def _place(error: ErrorDetails, tree: Any) -> tuple[Path, bool]:
    """The error's path without union branches, and whether it is about the key there."""
    path: list[str | int] = []
    value = tree
    parts = list(error["loc"])
    for index, part in enumerate(parts):
        if _is_step(path) and part in STEPS and isinstance(parts[index - 1], int):
            continue  # the branch of the union of steps
        if not _holds(value, part):
            return _outside(error, (*path,), part)
        value = value[part]
        path.append(part)
    return (*path,), error["type"] == "extra_forbidden" or _is_wire_key(error, path)


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def _outside(error: ErrorDetails, path: Path, part: str | int) -> tuple[Path, bool]:
    if error["type"] == "missing":
        return (*path, part), False
    return path, part == "[key]"


def _is_step(path: list[str | int]) -> bool:
    return len(path) >= 2 and path[-2] == "steps" and isinstance(path[-1], int)


def _is_wire_key(error: ErrorDetails, path: list[str | int]) -> bool:
    # The wire's directions are its extra keys: pydantic checks their pattern without saying [key].
    return path[:1] == ["wire"] and error.get("ctx", {}).get("pattern") == DIRECTION


def _complaint(path: Path, at_key: bool, errors: list[ErrorDetails], tree: Any) -> Complaint:
    kinds = {error["type"] for error in errors}
    if "missing" in kinds:
        return Complaint(path, _missing(path, tree))
    if "union_tag_not_found" in kinds:
        return _unknown_step(path, errors[0]["input"])
    if at_key and ("extra_forbidden" in kinds or (_is_wire_key(errors[0], [*path]) and "->" not in str(path[-1]))):
        return _unknown_key(path, tree)
    if "none_required" in kinds:
        return Complaint(path, f"the step {path[-1]} takes no value; leave what stands behind the colon empty")
    return _wrong_value(path, at_key, errors)


def _missing(path: Path, tree: Any) -> str:
    model = model_at(path[:-1], tree)
    field = fields_of(model).get(str(path[-1])) if model else None
    return "is missing" + (f" ({field.description.rstrip('.')})" if field and field.description else "")


def _unknown_key(path: Path, tree: Any) -> Complaint:
    key = str(path[-1])
    model = model_at(path[:-1], tree)
    known = list(fields_of(model)) if model else []
    suggestion = nearest(key, known)
    step = step_name(_at(tree, path[:-1])) if _is_step(list(path[:-1])) else None
    if key in STEPS and step:
        return Complaint(path, f"{key} is a step of its own, not a key of {step}; make it the next item", at_key=True)
    where = f"the step {step} has" if step else "here can stand"
    says = "unknown key"
    if model is not None and issubclass(model, Directed):
        known.append("directions such as client->server")
    if known and (not suggestion or len(known) <= SHORT_LIST):
        says += f"; {where} {listed(known, 'and')}"
    return Complaint(path, says, suggestion, at_key=True)


def _unknown_step(path: Path, value: Any) -> Complaint:
    written = value if isinstance(value, str) else next(iter(value), "") if isinstance(value, dict) else None
    if not isinstance(written, str) or not written:
        return Complaint(
            path, f"{shown(value)} is not a step; write its name, such as accept, or {{connect: server:7456}}"
        )
    suggestion = nearest(written, STEPS)
    says = f"unknown step {shown(written)}" + ("" if suggestion else f"; the steps are {listed(STEPS, 'and')}")
    return Complaint(path, says, suggestion)


def _wrong_value(path: Path, at_key: bool, errors: list[ErrorDetails]) -> Complaint:
    """One sentence of what all branches of a union say."""
    value = path[-1] if at_key else errors[0]["input"]
    words = [word for error in errors for word in _expected(error)]
    kinds = [kind for error in errors if (kind := _kind(error))]
    rules = [rule for error in errors if (rule := _rule(error, value))]
    suggestion = _guess(path, value, words)
    if rules:
        says = f"{rules[0]}, or {listed(words)}" if words else rules[0]
    elif len(words) > 2 and not kinds:
        says = f"{shown(value)} is not one of {', '.join(words)}"
    else:
        says = f"{shown(value)} is not {listed([*kinds, *words])}"
    return Complaint(path, says, suggestion, at_key)


def _expected(error: ErrorDetails) -> list[str]:
    return (
        _QUOTED.findall(str(error.get("ctx", {}).get("expected", "")))
        if error["type"] in ("literal_error", "enum")
        else []
    )


def _kind(error: ErrorDetails) -> str:
    if error["type"] == "string_pattern_mismatch":
        pattern = str(error.get("ctx", {}).get("pattern"))
        return PATTERN_WORDS.get(pattern, f"text that matches {pattern}")
    return KIND_WORDS.get(error["type"], "")


def _rule(error: ErrorDetails, value: Any) -> str:
    context: dict[str, Any] = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    if error["type"] in SENTENCES:
        quoted = "" if error["type"].endswith("too_short") else f"{shown(value)} "
        return quoted + SENTENCES[error["type"]].format(**context)
    known = error["type"] in ("literal_error", "enum") or _kind(error)
    return "" if known else error["msg"].removeprefix("Input should ").removeprefix("Value ")


_GUESSERS: dict[str, Callable[[], Iterable[str]]] = {"error": lambda: ERRORS}


def _guess(path: Path, value: Any, words: Iterable[str]) -> str:
    candidates = [*words, *_GUESSERS.get(str(path[-1]) if path else "", tuple)()]
    if isinstance(value, str) and value[:1].isdigit():
        return ""  # a number with a wrong unit resembles no word
    return nearest(value, candidates)


def _at(tree: Any, path: Path) -> Any:
    value = tree
    for part in path:
        value = value[part]
    return value
