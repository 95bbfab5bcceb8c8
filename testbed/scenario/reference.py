"""The tables of docs/scenario-files.md, made from the models and units: a new key documents itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from testbed.agent.impairments import BY_NAME, KEYS, NONE
from testbed.scenario.counters import COUNTER
from testbed.scenario.faults import MEANINGS, RELATIVE, FaultFields
from testbed.scenario.grammar import fields_of
from testbed.scenario.headers import END, FLAGS, LIVE
from testbed.scenario.model import (
    FAULT_INDEX,
    SETTING,
    Expect,
    ExpectHandshake,
    ExpectOfKernels,
    ExpectSnapshot,
    ExpectTeardown,
    Fault,
    Host,
    Impairment,
    Requires,
    Scenario,
    Wire,
)
from testbed.scenario.names import DIRECTION, HOST_NAME, PORT
from testbed.scenario.requires import SYSCTL
from testbed.scenario.schema import scenario_schema
from testbed.scenario.steps import (
    BARE,
    STEPS,
    Crafted,
    CraftedOptions,
    Payload,
    Step,
)
from testbed.scenario.units import BITS, BYTES, KIND_OF, NANOSECONDS, format_duration, format_rate
from testbed.scenario.values import ERROR_NAME, HEX, NAME, PEER, SOCKET_NAME
from testbed.scenario.wire import CHANCES, Course, Directed, Moment
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
    PORT: "port",
    DIRECTION: "direction",
    FAULT_INDEX: "fault's place",
    FLAGS: "TCP flags",
    SYSCTL: "sysctl",
    COUNTER: "counter",
    SETTING: "path",
    END: "host or host:port",
    LIVE: "sequence number",
    RELATIVE: "signed number",
}
ENUMS: Mapping[str, Iterable[str]] = {
    "HandshakeOutcome": [member.value for member in HandshakeOutcome],
    "TeardownKind": [member.value for member in TeardownKind],
    "Role": [member.value for member in Role],
    "State": [member.value for member in State],
}
LINKED = {
    "Host": "host",
    "Wire": "wire",
    "Course": "direction",
    "Moment": "moment",
    "Fault": "fault",
    "FaultFields": "fields",
    "PacketClass": "kind of packet",
    "Step": "step",
    "Payload": "payload",
    "Crafted": "crafted packet",
    "CraftedOptions": "options",
    "Impairment": "impairment",
    "Expect": "expectations",
    "ExpectHandshake": "handshake",
    "ExpectTeardown": "teardown",
    "ExpectSnapshot": "snapshot",
    "ExpectOfKernels": "expectations of a range of kernels",
    "Requires": "requirements",
    "State": "state",
}
CHANCE_WORDS = {
    CHANCES[key.name].__name__: ", ".join(
        f"`{word}`" if default is None else f"`{word}` (unless told {default:g}%)"
        for word, default in zip(key.words, key.defaults, strict=True)
    )
    for key in KEYS
    if key.name in CHANCES
}
# Keys that hold mappings and lists, in the order of the page: heading, model.
SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", Scenario),
    ("A host", Host),
    ("An impairment", Impairment),
    ("A direction", Course),
    ("The wire (`wire:`)", Wire),
    ("A moment (of `wire.timeline`)", Moment),
    ("A fault", Fault),
    ("Fields (of `rewrite`)", FaultFields),
    ("A payload", Payload),
    ("A crafted packet (of `inject`)", Crafted),
    ("Its options", CraftedOptions),
    ("Expectations (`expect:`)", Expect),
    ("`expect.handshake`", ExpectHandshake),
    ("`expect.teardown`", ExpectTeardown),
    ("`expect.snapshots.NAME`", ExpectSnapshot),
    ("One of `expect.by_kernel`", ExpectOfKernels),
    ("Requirements (`requires:`)", Requires),
)


def scenario_reference() -> str:
    """Every key, step and unit as Markdown tables."""
    schema = scenario_schema()
    parts = [_units()]
    for heading, model in SECTIONS:
        parts.append(f"### {heading}\n\n{_about(model)}\n\n{_keys(model, schema, _own(model))}")
        if model is Fault:
            parts.append(_kinds())
    parts.append(_steps(schema))
    return "\n\n".join(parts) + "\n"


def _about(model: type[BaseModel]) -> str:
    if model is ExpectOfKernels:
        return f"{_plain(model.__doc__)} Here may stand all expectations and:"
    if not _is_course(model):
        return _plain(model.__doc__)
    directions = ", directions such as `client->server`," if issubclass(model, Directed) else ""
    return f"{_plain(model.__doc__)} Here may stand the keys of an impairment{directions or ','} and:"


def _is_course(model: type[BaseModel]) -> bool:
    return issubclass(model, Impairment) and model is not Impairment


def _own(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a model; of one that has an impairment's too, only the others."""
    fields = fields_of(model)
    if model is ExpectOfKernels:
        return {key: fields[key] for key in fields if key not in Expect.model_fields}
    return {key: fields[key] for key in fields if not (_is_course(model) and key in Impairment.model_fields)}


def _units() -> str:
    rows = [
        ("duration", "`40ms`, `1.5s`, `0`", f"a number with {_or(NANOSECONDS)}"),
        ("size", "`27`, `64KiB`", f"bytes: a whole number, or a number with {_or(BYTES)}"),
        ("percentage", "`1%`, `0.01%`", "from `0%` to `100%`, with its sign"),
        ("rate", "`10mbit`, `64kbit`", f"bit per second: a number with {_or(BITS)}"),
        ("counts", "`1`, `0..2`, `1..`, `..3`", "a whole number, or a range with both its ends in it"),
        ("durations", "`0.9s..1.4s`, `..50ms`", "a range of durations"),
        ("kernels", '`6.5..`, `..6.4`, `5.15..6.4`, `"6.1"`', "a range of Linux versions with both its ends in it"),
    ]
    return "### Quantities\n\n" + _table(("kind", "such as", "is"), rows)


def _kinds() -> str:
    rows = [(f"`{kind.value}`", says) for kind, says in MEANINGS.items()]
    return (
        "### Kinds of packets\n\nA packet may be of several kinds: a FIN that carries payload is DATA too.\n\n"
        + _table(("kind", "is"), rows)
    )


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
    return (f"`{key}`", _value(prop, schema), _default(key, field, prop), _plain(field.description))


def _default(key: str, field: FieldInfo, prop: Mapping[str, Any]) -> str:
    if field.is_required():
        return "must be there"
    value = field.default
    if value is None and key in BY_NAME and field is Impairment.model_fields[key]:
        value = getattr(NONE, BY_NAME[key].field)
        value = format_rate(value) if BY_NAME[key].unit == "rate" else value
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if not isinstance(value, int | float | str) or value == "":
        return ""
    return f"`{_quantity(value, prop)}`"


def _quantity(value: float | str, prop: Mapping[str, Any]) -> str:
    kind = _kind(prop)
    if kind == "duration" and isinstance(value, int):
        return format_duration(value)
    return f"{value:g}%" if kind == "percentage" and isinstance(value, float) else str(value)


def _value(prop: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a value may be, in a few words."""
    if kind := _kind(prop):
        return kind
    if "$ref" in prop:
        name = str(prop["$ref"]).rsplit("/", 1)[1]
        if name in CHANCE_WORDS:
            return f"mapping of {CHANCE_WORDS[name]} to percentage"
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
    if kind := KINDS.get(next(iter(prop.get("patternProperties", ())), "")):
        return f"mapping of {kind} to {_value(held, schema)}"
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
