"""Which keys may stand where: the models of a scenario, asked by a path.

The models (model.py, steps.py) are the one definition; this walks their annotations, so that a new key, step or
expectation is known here without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from testbed.scenario.mistakes import Path
from testbed.scenario.model import Scenario
from testbed.scenario.steps import STEPS, Step, step_name
from testbed.scenario.wire import Course, Directed


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a mapping as a file writes them (`from`, not `from_`), each with its field."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if issubclass(model, Step):  # its own name first, what all steps may carry last
        common = Step.model_fields
        own = (key for key in fields if key != model.step and key not in common)
        return {key: fields[key] for key in (model.step, *own, *common)}
    return fields


def model_at(path: Path, tree: Any) -> type[BaseModel] | None:
    """The model of the mapping at the path; None where there is a plain value, a list or a mapping of any keys."""
    annotation: Any = Scenario
    value = tree
    for part in path:
        annotation = _inside(_pick(annotation, value), part)
        value = _child(value, part)
    picked = _pick(annotation, value)
    return picked if _is_model(picked) else None


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def _inside(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        field = fields_of(annotation).get(str(part))
        return field.annotation if field else Course if issubclass(annotation, Directed) else None
    arguments = get_args(annotation)
    held = {dict: arguments[1:2], tuple: arguments[:1]}
    origin: Any = get_origin(annotation)
    return held.get(origin, (None,))[0]


def _pick(annotation: Any, value: Any) -> Any:
    """The member of a union that holds other values: a model, a mapping or a list; a step by its name."""
    members = list(_members(annotation))
    if len(members) >= len(STEPS):
        return STEPS.get(step_name(value) or "")
    holders = [member for member in members if get_origin(member) in (dict, tuple) or _is_model(member)]
    return holders[0] if holders else None


def _members(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin is Union or str(origin) == "<class 'types.UnionType'>":
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation
