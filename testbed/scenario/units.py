"""Quantities as people write them in a scenario: durations, sizes, percentages, rates, ranges.

Each is an annotated type for pydantic: text in, an exact number out (nanoseconds, bytes, percent, bit per second), and
text again that reads back as the same number. A bare number is refused where a unit is due, since `delay: 10` means
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

NANOSECONDS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
BITS = {"bit": 1, "kbit": 1000, "mbit": 1000**2, "gbit": 1000**3}  # per second, as tc(8) writes them
UNLIMITED = "unlimited"
SLOWEST_BIT = 8  # the kernel counts whole bytes

_LARGEST = 2**63 - 1  # what the kernel's and the agent's 64-bit numbers hold
_EXACT = Context(prec=64)
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,19}(?:\.[0-9]{1,19})?) *(?P<unit>[A-Za-zµ%]*)")
_NUMBER = r"[0-9]{1,19}"
_DECIMAL = rf"{_NUMBER}(\.{_NUMBER})?"
_TIME = rf"({_DECIMAL} *(ns|us|µs|ms|s|min)|0)"
_DURATION_PATTERN = rf"^{_TIME}$"
_SIZE_PATTERN = rf"^{_DECIMAL} *(B|KiB|MiB|GiB|kB|MB|GB)$"
_RATE_PATTERN = rf"^{_DECIMAL} *(bit|kbit|mbit|gbit)$"
_PERCENT_PATTERN = rf"^{_DECIMAL} *%$"
_COUNTS_PATTERN = rf"^({_NUMBER}|{_NUMBER} *\.\. *({_NUMBER})?|\.\. *{_NUMBER})$"
_DURATIONS_PATTERN = rf"^({_TIME}|{_TIME} *\.\. *({_TIME})?|\.\. *{_TIME})$"
_VERSION = r"[0-9]{1,3}\.[0-9]{1,4}"
_KERNELS_PATTERN = rf"^({_VERSION}|{_VERSION} *\.\. *({_VERSION})?|\.\. *{_VERSION})$"

# What a text that matches the pattern is called.
KIND_OF = {
    _DURATION_PATTERN: "duration",
    _SIZE_PATTERN: "size",
    _PERCENT_PATTERN: "percentage",
    _RATE_PATTERN: "rate",
    _COUNTS_PATTERN: "counts",
    _DURATIONS_PATTERN: "durations",
    _KERNELS_PATTERN: "kernels",
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


def parse_rate(text: object) -> int:
    """`"10mbit"` as bit per second; `unlimited` is 0, as tc and the kernel have it."""
    if text == UNLIMITED:
        return 0
    rate_bit = _quantity(text, BITS, "rate", "10mbit or 64kbit")
    if rate_bit < SLOWEST_BIT:
        raise ValueError(f"{shown(text)} is slower than {SLOWEST_BIT}bit; write unlimited for none, or use blackhole")
    return rate_bit


def format_rate(rate_bit: int) -> str:
    """Bit per second as text in the largest unit that keeps them whole."""
    if not rate_bit:
        return UNLIMITED
    unit = next(unit for unit in reversed(BITS) if rate_bit % BITS[unit] == 0)
    return f"{rate_bit // BITS[unit]}{unit}"


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


@dataclass(frozen=True, slots=True)
class KernelRange:
    """Linux versions from one to another, both in it, as (major, minor); None leaves that end open."""

    low: tuple[int, int] | None
    high: tuple[int, int] | None

    def __contains__(self, version: tuple[int, int]) -> bool:
        return (self.low is None or version >= self.low) and (self.high is None or version <= self.high)

    def show(self) -> str:
        """The range as a scenario writes it."""
        low, high = ("" if end is None else f"{end[0]}.{end[1]}" for end in (self.low, self.high))
        return low if low == high else f"{low}..{high}"


def parse_kernel_range(value: object) -> KernelRange:
    """`6.5..`, `..6.4`, `5.15..6.4` or `"6.1"` as a range of Linux versions."""
    if isinstance(value, KernelRange):
        return value
    if isinstance(value, float):
        raise ValueError(f'{shown(value)} is a number, which loses the 0 of 6.10; put it in quotes: "{value}"')
    if not isinstance(value, str) or not re.fullmatch(_KERNELS_PATTERN, value):
        raise ValueError(f"{shown(value)} is no range of kernels; write such as 6.5.., ..6.4 or 5.15..6.4")
    low_text, dots, high_text = value.partition("..")
    low, high = (tuple(map(int, text.split("."))) if text.strip() else None for text in (low_text, high_text))
    kernels = KernelRange(low, high if dots else low)  # type: ignore[arg-type]
    if kernels.low is not None and kernels.high is not None and kernels.low > kernels.high:
        raise ValueError(f"{shown(value)} is empty: its low end is above its high end")
    return kernels


@dataclass(frozen=True, slots=True, eq=False)
class _Unit:
    """Teaches pydantic to read and write one kind of quantity; in one piece, since every run waits for it."""

    parse: Callable[[object], Any]
    write: Callable[[Any], Any]
    json_schema: dict[str, Any]
    bounded: bool = True  # whether a field may bound what is read: a number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write)
        if self.bounded:
            return core_schema.no_info_before_validator_function(self.parse, handler(source), serialization=written)
        return core_schema.no_info_plain_validator_function(self.parse, serialization=written)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return dict(self.json_schema)


def _write_counts(counts: Range) -> int | str:
    """The range as data: a single count stays a number."""
    return counts.low if counts.low == counts.high and counts.low is not None else counts.show()


def _write_size(size: int) -> int:
    return size


Duration = Annotated[
    int,
    _Unit(
        parse_duration,
        format_duration,
        {"anyOf": [{"type": "string", "pattern": _DURATION_PATTERN}, {"const": 0}], "examples": ["40ms", "1.5s"]},
    ),
]
Size = Annotated[
    int,
    _Unit(
        parse_size,
        _write_size,
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE_PATTERN}],
            "examples": [27, "64KiB"],
        },
    ),
]
Percent = Annotated[
    float,
    _Unit(
        parse_percent,
        format_percent,
        {"type": "string", "pattern": _PERCENT_PATTERN, "examples": ["1%", "0.01%"]},
    ),
]
Rate = Annotated[
    int,
    _Unit(
        parse_rate,
        format_rate,
        {
            "anyOf": [{"type": "string", "pattern": _RATE_PATTERN}, {"const": UNLIMITED}],
            "examples": ["10mbit", "64kbit"],
        },
    ),
]
CountRange = Annotated[
    Range,
    _Unit(
        parse_count_range,
        _write_counts,
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": _COUNTS_PATTERN},
            ],
            "examples": [1, "0..2", "1.."],
        },
        bounded=False,
    ),
]
DurationRange = Annotated[
    Range,
    _Unit(
        parse_duration_range,
        lambda durations: durations.show(format_duration),
        {
            "anyOf": [
                {"type": "string", "pattern": _DURATIONS_PATTERN},
                {"const": 0},
            ],
            "examples": ["0.9s..1.4s", "..50ms"],
        },
        bounded=False,
    ),
]
Kernels = Annotated[
    KernelRange,
    _Unit(
        parse_kernel_range,
        lambda kernels: kernels.show(),
        {"type": "string", "pattern": _KERNELS_PATTERN, "examples": ["6.5..", "..6.4"]},
        bounded=False,
    ),
]
