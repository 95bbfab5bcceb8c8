"""Quantities as people write them in a scenario: durations, sizes, percentages, ranges.

Each is an annotated type for pydantic: text in, an exact number out (nanoseconds, bytes, percent), and text again that
reads back as the same number. A bare number is refused where a unit is due, since `delay: 10` means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}

_LARGEST = 2**63 - 1  # what the kernel's and the agent's 64-bit numbers hold
_EXACT = Context(prec=64)
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,19})?) *(?P<unit>[A-Za-zµ%]*)")
_NUMBER = r"[0-9]{1,19}"
_DECIMAL = rf"{_NUMBER}(\.{_NUMBER})?"
_TIME = rf"({_DECIMAL} *(ns|us|µs|ms|s|min)|0)"
_DURATION_PATTERN = rf"^{_TIME}$"
_SIZE_PATTERN = rf"^{_DECIMAL} *(B|KiB|MiB|GiB|kB|MB|GB)$"
_PERCENT_PATTERN = rf"^{_DECIMAL} *%$"
_COUNTS_PATTERN = rf"^({_NUMBER}|{_NUMBER} *\.\. *({_NUMBER})?|\.\. *{_NUMBER})$"
_DURATIONS_PATTERN = rf"^({_TIME}|{_TIME} *\.\. *({_TIME})?|\.\. *{_TIME})$"

# What a text that matches the pattern is called.
KIND_OF = {
    _DURATION_PATTERN: "duration",
    _SIZE_PATTERN: "size",
    _PERCENT_PATTERN: "percentage",
    _COUNTS_PATTERN: "counts",
    _DURATIONS_PATTERN: "durations",
}


def shown(value: object) -> str:
    """A value as a message quotes it: YAML's words for nothing, true and false, and never more than one line of it."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value if not isinstance(value, str) else value[:60])
    return text if len(str(value)) <= 60 else f"{text[:-1]}...'"


def _quantity(text: object, units: dict[str, int], what: str, example: str) -> int:
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    unit = match["unit"].replace("µs", "us") if match else ""
    if match is None or unit not in units:
        raise ValueError(
            f"{shown(text)} is not a {what}; write a number with a unit ({', '.join(units)}), such as {example}"
        )
    exact = _EXACT.multiply(Decimal(match["number"]), Decimal(units[unit]))
    if exact != int(exact):
        raise ValueError(f"{shown(text)} is finer than 1 {next(iter(units))}")
    if exact > _LARGEST:
        raise ValueError(f"{shown(text)} is too large a {what}")
    return int(exact)


def parse_duration(text: object) -> int:
    """`"10ms"` as nanoseconds; a number without a unit is refused, save 0."""
    return (
        0
        if text == "0" or (type(text) is int and text == 0)
        else _quantity(text, NANOSECONDS, "duration", "40ms or 1.5s")
    )


def format_duration(duration_ns: int) -> str:
    """Nanoseconds as text in the largest unit that keeps them whole."""
    for unit in ("s", "ms", "us"):
        if duration_ns % NANOSECONDS[unit] == 0:
            return f"{duration_ns // NANOSECONDS[unit]}{unit}"
    return f"{duration_ns}ns"


def parse_size(text: object) -> int:
    """`"64KiB"` as bytes; a whole number without a unit counts bytes."""
    if isinstance(text, int) and not isinstance(text, bool) and 0 <= text <= _LARGEST:
        return text
    return _quantity(text, BYTES, "size", "64KiB or 1500")


def parse_percent(text: object) -> float:
    """`"0.01%"` as 0.01; a number without the sign is refused, since 0.5 could mean either."""
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["unit"] != "%":
        raise ValueError(f"{shown(text)} is not a percentage; write it with its sign, such as 1% or 0.01%")
    if not 0 <= (percent := float(match["number"])) <= 100:
        raise ValueError(f"{shown(text)} is not between 0% and 100%")
    return percent


def format_percent(percent: float) -> str:
    """A percentage as text."""
    return f"{Decimal(repr(percent)):f}%"


Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"const": 0}], "examples": ["40ms", "1.5s"]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE_PATTERN}],
            "examples": [27, "64KiB"],
        }
    ),
]
Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    PlainSerializer(format_percent),
    WithJsonSchema({"type": "string", "pattern": _PERCENT_PATTERN, "examples": ["1%", "0.01%"]}),
]


@dataclass(frozen=True, slots=True)
class Range:
    """A closed range of whole numbers; None leaves that end open. `1` is 1..1."""

    low: int | None
    high: int | None

    def __contains__(self, number: int) -> bool:
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)

    def show(self, one: Callable[[int], str] = str) -> str:
        """The range as a scenario writes it."""
        if self.low == self.high and self.low is not None:
            return one(self.low)
        return f"{'' if self.low is None else one(self.low)}..{'' if self.high is None else one(self.high)}"


def _parse_range(value: object, one: Callable[[object], int], such_as: str) -> Range:
    if isinstance(value, Range):
        return value
    if not isinstance(value, str) or ".." not in value or len(value) > 99:
        number = one(value)
        return Range(number, number)
    low_text, _, high_text = value.partition("..")
    low = one(low_text.strip()) if low_text.strip() else None
    high = one(high_text.strip()) if high_text.strip() else None
    if low is None and high is None:
        raise ValueError(f"{shown(value)} has no end at all; write such as {such_as}")
    if low is not None and high is not None and low > high:
        raise ValueError(f"{shown(value)} is empty: its low end is above its high end")
    return Range(low, high)


def _count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST:
        return value
    if isinstance(value, str) and re.fullmatch(_NUMBER, value) and int(value) <= _LARGEST:
        return int(value)
    raise ValueError(f"{shown(value)} is not a count; write a whole number or a range such as 0..2")


def parse_count_range(value: object) -> Range:
    """`2`, `"0..2"`, `"1.."` or `"..3"` as a range of counts."""
    return _parse_range(value, _count, "0..2, 1.. or ..3")


def parse_duration_range(value: object) -> Range:
    """`"0.9s..1.4s"` and its kin as a range of nanoseconds."""
    return _parse_range(value, parse_duration, "0.9s..1.4s or ..50ms")


@dataclass(frozen=True, slots=True, eq=False)
class _RangeSchema:
    """Teaches pydantic to read and write a `Range` of one kind of number."""

    parse: Callable[[object], Range]
    one: Callable[[int], str]
    json_schema: dict[str, Any]

    def write(self, value: Range) -> int | str:
        """The range as data: a single count stays a number."""
        return (
            value.low if value.low == value.high and value.low is not None and self.one is str else value.show(self.one)
        )

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.json_schema)


CountRange = Annotated[
    Range,
    _RangeSchema(
        parse_count_range,
        str,
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": _COUNTS_PATTERN},
            ],
            "examples": [1, "0..2", "1.."],
        },
    ),
]
DurationRange = Annotated[
    Range,
    _RangeSchema(
        parse_duration_range,
        format_duration,
        {
            "anyOf": [
                {"type": "string", "pattern": _DURATIONS_PATTERN},
                {"const": 0},
            ],
            "examples": ["0.9s..1.4s", "..50ms"],
        },
    ),
]
