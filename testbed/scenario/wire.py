"""The wire of a scenario: its impairments, one direction's, one port's, and what changes when.

The keys come from the table of impairments (testbed/agent/impairments.py), so a new row there is a new key here, in
the schema and in the reference. A key that is not given is None, unlike one that is given as 0: on a timeline the first
leaves things as they are, and the second ends an impairment. `change` gives the values that plans and engines use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, create_model

from testbed.agent import impairments
from testbed.agent.impairments import BY_NAME, KEYS, LOSS_MODELS, Key
from testbed.scenario.names import Direction, HostName, PortName
from testbed.scenario.units import Duration, Percent, Rate
from testbed.scenario.values import Flag, Value, WholeNumber

MOST_COUNT = 1_000_000
MOST_MOMENTS = 1000

# The loss models, with the fields that end with each.
_LOSS = {model: (model, "loss_correlation_percent") if model == "loss_percent" else (model,) for model in LOSS_MODELS}
_TYPES: dict[str, Any] = {
    "duration": Duration,
    "percent": Percent,
    "rate": Rate,
    "count": Annotated[WholeNumber, Field(ge=1, le=MOST_COUNT)],
    "flag": Flag,
}


def _chances(key: Key) -> Any:
    """The model of a key that is a mapping of percentages; where there is no default, one must be given."""
    defaults = dict(zip(key.words, key.defaults, strict=True))
    parts: dict[str, Any] = {
        word: (Percent, Field(... if default is None else default)) for word, default in defaults.items()
    }
    return create_model(key.name.title().replace("_", ""), __base__=Value, __doc__=key.says, **parts)


def _type(key: Key) -> Any:
    if key.unit == "word":
        return Literal[key.words]
    return CHANCES[key.name] if key.unit == "chances" else _TYPES[key.unit]


CHANCES: dict[str, Any] = {key.name: _chances(key) for key in KEYS if key.unit == "chances"}

if TYPE_CHECKING:

    class Impairment(Value):
        """What one direction of the wire does to packets on their arrival: a field for each row of KEYS."""

        def __init__(self, **said: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...
else:
    Impairment = create_model(
        "Impairment",
        __base__=Value,
        __module__=__name__,
        __doc__="What one direction of the wire does to packets on their arrival (tc-netem(8)'s words).",
        **{key.name: (_type(key), Field(None, description=key.says)) for key in KEYS},
    )


class Course(Impairment):
    """What one direction does to packets, and what it does instead to those from or to some ports."""

    ports: dict[PortName, Impairment] = Field(
        default_factory=dict, description="Instead, for packets from or to this port."
    )


class Directed(Course):
    """What is said of every direction, and under `client->server` what is said of one."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    __pydantic_extra__: dict[Direction, Course] = Field(init=False)

    @property
    def directions(self) -> dict[str, Course]:
        """What is said of one direction, by its name, such as `client->server`."""
        return dict(self.__pydantic_extra__ or {})


class _Timed(Value):
    at: Duration = Field(gt=0, description="So long after the first step.")


class Moment(Directed, _Timed):
    """From this moment on the keys named change, others stay; a direction's keys change that direction alone."""

    model_config = Directed.model_config  # of several bases the last one's would hold
    down: tuple[HostName, ...] = Field((), description="Hosts whose interface goes down.")
    up: tuple[HostName, ...] = Field((), description="Hosts whose interface comes up again.")


class Wire(Directed):
    """Impairments of both directions; under `client->server` those of one, instead; and what changes when."""

    timeline: tuple[Moment, ...] = Field(
        (), max_length=MOST_MOMENTS, description="What changes while the steps are played, in order of time."
    )


def change(before: impairments.Impairment, said: Impairment) -> impairments.Impairment:
    """The impairment with the keys that are said; one loss model takes the place of another."""
    told = dict(_told(said))
    if models := told.keys() & _LOSS.keys():
        ended = {name for model, names in _LOSS.items() if model not in models for name in names}
        before = replace(before, **{name: getattr(impairments.NONE, name) for name in ended})
    return replace(before, **told)


def _told(said: Impairment) -> Iterator[tuple[str, Any]]:
    """The fields that are said, as the agent's value has them."""
    for name, key in BY_NAME.items():
        if (value := getattr(said, name)) is not None:
            yield key.field, tuple(getattr(value, word) for word in key.words) if key.unit == "chances" else value
