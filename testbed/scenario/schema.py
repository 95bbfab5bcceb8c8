"""The JSON Schema (2020-12) of a scenario file, for editors and other tools: `testbed schema` prints it.

pydantic makes it from the models; what the models say in Python is put in here: a step is a bare word or a mapping that
has its name as a key, a payload is text or exactly one source of bytes, keys match their patterns and no others. What
the parts say about each other (consistency.py) is beyond a schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from testbed.scenario.faults import ACTIONS, MUST, OF_ACTIONS
from testbed.scenario.grammar import fields_of
from testbed.scenario.model import RESERVED_HOSTS, Scenario
from testbed.scenario.names import DIRECTION, HOST_NAME
from testbed.scenario.steps import BARE, STEPS, Payload

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDENTITY = "urn:tcp-testbed:scenario:1"
EDITOR_COMMENT = "# yaml-language-server: $schema={path}"  # line 1 of a scenario file; the path is relative to the file

Schema = dict[str, Any]


def scenario_schema() -> Schema:
    """The schema as plain data, ready for json.dumps."""
    made = Scenario.model_json_schema(by_alias=True, mode="validation")
    definitions: Schema = made.pop("$defs")
    for model in STEPS.values():
        _require_name(definitions[model.__name__], model.step)
    definitions["Payload"] = _payload(definitions["Payload"])
    definitions["Step"] = {"description": "A step of a host's program.", "oneOf": [_bare_word(), *_mappings()]}
    top = {"$schema": DIALECT, "$id": IDENTITY, **made, "title": "Scenario of the TCP testbed", "$defs": definitions}
    _point_to_steps(top)
    _name_hosts(top["properties"]["hosts"])
    for name in ("Wire", "Moment"):
        _name_directions(definitions[name])
    _name_actions(definitions["Fault"])
    tidied: Schema = _tidy(top)
    return tidied


def schema_text() -> str:
    """The schema as `testbed schema` prints it, and schema/scenario.schema.json holds it."""
    return json.dumps(scenario_schema(), indent=2) + "\n"


def editor_comment(path: str = "../../schema/scenario.schema.json") -> str:
    """Line 1 of a scenario file, by which an editor finds the schema; the path is relative to the file."""
    return EDITOR_COMMENT.format(path=path)


def _require_name(definition: Schema, name: str) -> None:
    definition["required"] = [name, *(key for key in definition.get("required", []) if key != name)]


def _bare_word() -> Schema:
    return {"enum": [name for name in STEPS if name in BARE]}


def _mappings() -> list[Schema]:
    return [{"$ref": f"#/$defs/{model.__name__}"} for model in STEPS.values()]


def _payload(definition: Schema) -> Schema:
    sources = [key for key in fields_of(Payload) if key != "seed"]
    for key in sources:
        definition["properties"][key] = _not_null(definition["properties"][key])
    definition["oneOf"] = [{"required": [key]} for key in sources]
    return {"description": definition["description"], "anyOf": [{"type": "string"}, definition]}


def _not_null(schema: Schema) -> Schema:
    kept = [branch for branch in schema["anyOf"] if branch != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**(kept[0] if len(kept) == 1 else {"anyOf": kept}), **rest}


def _point_to_steps(schema: Schema) -> None:
    """One definition of a step instead of the same long union at each list of steps."""
    for model in ("Host", "Repeat", "Parallel"):
        schema["$defs"][model]["properties"]["steps"]["items"] = {"$ref": "#/$defs/Step"}


def _name_hosts(schema: Schema) -> None:
    reserved = "|".join(sorted(RESERVED_HOSTS))
    host = schema["patternProperties"].pop(HOST_NAME)
    schema["patternProperties"] = {HOST_NAME.replace("^", f"^(?!({reserved})$)"): host}


def _name_directions(schema: Schema) -> None:
    impairment = schema["additionalProperties"]
    schema["patternProperties"] = {DIRECTION: impairment}
    schema["additionalProperties"] = False


def _name_actions(schema: Schema) -> None:
    """A fault has exactly one action, and no key of another."""
    for action in ACTIONS:
        schema["properties"][action] = _not_null(schema["properties"][action])
    schema["oneOf"] = [_action(action, keys) for action, keys in ACTIONS.items()]


def _action(action: str, keys: Mapping[str, Any]) -> Schema:
    foreign = [{"required": [key]} for key in OF_ACTIONS if key not in keys]
    needed = [key for key, default in keys.items() if default == MUST]
    return {"required": [action, *needed], "not": {"anyOf": foreign}}


def _tidy(value: Any, named: bool = False) -> Any:
    """Without titles and defaults that pydantic makes up (a default is a number of nanoseconds); mappings closed.

    `named`: the keys of this mapping are names of a scenario, not words of JSON Schema.
    """
    if isinstance(value, list):
        return [_tidy(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = ("properties", "patternProperties", "$defs")
    kept = {key: item for key, item in value.items() if named or not _noise(key, item)}
    kept = {key: _tidy(item, not named and key in names) for key, item in kept.items()}
    if not named and "patternProperties" in kept:
        kept.setdefault("additionalProperties", False)
    return kept


def _noise(key: str, item: Any) -> bool:
    return key == "default" or (key == "title" and item != "Scenario of the TCP testbed")
