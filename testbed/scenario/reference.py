"""The tables of docs/scenario-files.md, made from the models and units: a new key documents itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from testbed.scenario.grammar import fields_of
from testbed.scenario.model import (
    HOST_NAME,
    Expect,
    ExpectHandshake,
    ExpectSnapshot,
    ExpectTeardown,
    Fault,
    Host,
    Impairment,
    PacketClass,
    Scenario,
)
from testbed.scenario.schema import scenario_schema
from testbed.scenario.steps import BARE, ERROR_NAME, HEX, NAME, PEER, SOCKET_NAME, STEPS, Payload, Step
from testbed.scenario.units import BYTES, KIND_OF, NANOSECONDS
from testbed.tcp.connection import HandshakeOutcome, Role, TeardownKind
from testbed.tcp.states import State

Row = Sequence[str]

# What a text that matches the pattern is called.
KINDS = {
    **KIND_OF,
    PEER: "host:port",
    ERROR_NAME: "error name",
    SOCKET_NAME: "socket name",
    NAME: "name",
    HOST_NAME: "host name",
    HEX: "hexadecimal digits",
}
ENUMS: Mapping[str, Iterable[str]] = {
    "PacketClass": [member.value for member in PacketClass],
    "HandshakeOutcome": [member.value for member in HandshakeOutcome],
    "TeardownKind": [member.value for member in TeardownKind],
    "Role": [member.value for member in Role],
    "State": [member.value for member in State],
}
LINKED = {
    "Host": "host",
    "Wire": "wire",
    "Fault": "fault",
    "Step": "step",
    "Payload": "payload",
    "Impairment": "impairment",
    "Expect": "expectations",
    "ExpectHandshake": "handshake",
    "ExpectTeardown": "teardown",
    "ExpectSnapshot": "snapshot",
    "State": "state",
}
# Keys that hold mappings and lists, in the order of the page: heading, model.
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", Scenario),
    ("A host", Host),
    ("An impairment (`wire:`, and each direction in it)", Impairment),
    ("A fault", Fault),
    ("A payload", Payload),
    ("Expectations (`expect:`)", Expect),
    ("`expect.handshake`", ExpectHandshake),
    ("`expect.teardown`", ExpectTeardown),
    ("`expect.snapshots.NAME`", ExpectSnapshot),
)


def scenario_reference() -> str:
    """Every key, step and unit as Markdown tables."""
    schema = scenario_schema()
    parts = [_units()]
    for heading, model in SECTIONS:
        parts.append(f"### {heading}\n\n{_plain(model.__doc__)}\n\n{_keys(model, schema, fields_of(model))}")
    parts.append(_steps(schema))
    return "\n\n".join(parts) + "\n"


def _units() -> str:
    rows = [
        ("duration", "`40ms`, `1.5s`, `0`", f"a number with {_or(NANOSECONDS)}"),
        ("size", "`27`, `64KiB`", f"bytes: a whole number, or a number with {_or(BYTES)}"),
        ("percentage", "`1%`, `0.01%`", "from `0%` to `100%`, with its sign"),
        ("counts", "`1`, `0..2`, `1..`, `..3`", "a whole number, or a range with both its ends in it"),
        ("durations", "`0.9s..1.4s`, `..50ms`", "a range of durations"),
    ]
    return "### Quantities\n\n" + _table(("kind", "such as", "is"), rows)


def _steps(schema: Mapping[str, Any]) -> str:
    common = {key: field for key, field in fields_of(STEPS["close"]).items() if key in Step.model_fields}
    rows = [row for name, model in STEPS.items() for row in _step_rows(name, model, schema)]
    words = ", ".join(f"`{name}`" for name in STEPS if name in BARE)
    return (
        f"### Steps\n\n{words} may be written as a bare word; every other step is a mapping with its name as a key.\n\n"
        + _table(("step", "key", "value", "unless told", "meaning"), rows)
        + "\n\nEvery step may also have:\n\n"
        + _keys(STEPS["close"], schema, common)
    )


def _step_rows(name: str, model: type[Step], schema: Mapping[str, Any]) -> list[Row]:
    properties = schema["$defs"][model.__name__]["properties"]
    first = (f"`{name}`", "", _value(properties[name], schema), "", _plain(model.__doc__))
    fields = {key: field for key, field in fields_of(model).items() if key != name and key not in Step.model_fields}
    return [first, *(("", *_key_row(key, field, properties[key], schema)) for key, field in fields.items())]


def _keys(model: type[BaseModel], schema: Mapping[str, Any], fields: Mapping[str, FieldInfo]) -> str:
    properties = _properties(model, schema)
    rows = [_key_row(key, field, properties[key], schema) for key, field in fields.items()]
    return _table(("key", "value", "unless told", "meaning"), rows)


def _properties(model: type[BaseModel], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schema if model is Scenario else schema["$defs"][model.__name__]
    if "properties" not in found:  # text or a mapping
        found = found["anyOf"][1]
    properties: Mapping[str, Any] = found["properties"]
    return properties


def _key_row(key: str, field: FieldInfo, prop: Mapping[str, Any], schema: Mapping[str, Any]) -> Row:
    return (f"`{key}`", _value(prop, schema), _default(field, prop), _plain(field.description))


def _default(field: FieldInfo, prop: Mapping[str, Any]) -> str:
    if field.is_required():
        return "must be there"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if not isinstance(value, int | float | str) or value == "":
        return ""
    return f"`{_quantity(value, prop)}`"


def _quantity(value: float | str, prop: Mapping[str, Any]) -> str:
    kind = _kind(prop)
    if kind == "duration" and isinstance(value, int):
        return f"{value // NANOSECONDS['s']}s"
    return f"{value:g}%" if kind == "percentage" and isinstance(value, float) else str(value)


def _value(prop: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if kind := _kind(prop):
        return kind
    if "$ref" in prop:
        name = str(prop["$ref"]).rsplit("/", 1)[1]
        return LINKED.get(name) or ", ".join(f"`{word}`" for word in ENUMS[name])
    if "anyOf" in prop:
        return " or ".join(_value(branch, schema) for branch in _branches(prop))
    if "enum" in prop or "const" in prop:
        return ", ".join(f"`{word}`" for word in prop.get("enum", [prop.get("const")]))
    if prop["type"] in ("array", "object"):
        return _holding(prop, schema)
    if (prop.get("minimum"), prop.get("maximum")) == (1, 65535):
        return "port"
    words = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`", "null": "nothing"}
    return words[prop["type"]] + _bounds(prop)


def _holding(prop: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if prop["type"] == "array":
        return f"list of {_value(prop['items'], schema)}"
    held = prop.get("additionalProperties") or next(iter(prop["patternProperties"].values()))
    keys = prop.get("propertyNames", {})
    words = keys.get("enum") or ENUMS.get(str(keys.get("$ref", "")).rsplit("/", 1)[-1])
    name = "state" if words and len(list(words)) > 4 else "/".join(f"`{word}`" for word in words) if words else "name"
    return f"mapping of {name} to {_value(held, schema)}"


def _bounds(prop: Mapping[str, Any]) -> str:
    low, high = prop.get("minimum"), prop.get("maximum")
    if low is None:
        return ""
    return f", {low} or more" if high is None else f", {low} to {high}"


def _branches(prop: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [branch for branch in prop.get("anyOf", [prop]) if branch != {"type": "null"}]


def _kind(prop: Mapping[str, Any]) -> str:
    """The name of a kind of value; a quantity that may also be a bare number is still that quantity."""
    branches = _branches(prop)
    if len(branches) == 1 and branches[0] is not prop:
        return _kind(branches[0])
    kinds = [KINDS.get(branch.get("pattern", ""), "") for branch in branches]
    bare = [branch for branch in branches if branch.get("pattern") not in KINDS]
    numbers = all("minimum" in branch or branch.get("const") == 0 for branch in bare)
    return next(filter(None, kinds), "") if numbers else ""


def _or(words: Iterable[str]) -> str:
    *head, tail = (f"`{word}`" for word in words)
    return f"{', '.join(head)} or {tail}"


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
