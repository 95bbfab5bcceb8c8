"""JSON read as frozen dataclasses, by the types that their fields declare; and what a text must be in some of them.

A timeline may have been written by anybody: what has another type than its field, a number that no clock or counter
gives, and a field too many or too few are refused in words, with their place. Lists become tuples.
"""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from ipaddress import ip_address
from types import NoneType, UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

SMALLEST, LARGEST = -(2**63), 2**64 - 1  # of a whole number
SHOWN = 60  # characters of a value that is no good

Read = Callable[[Any], Any]


class Misfit(ValueError):
    """A value that is not what its place is for."""

    def __init__(self, says: str, *place: str) -> None:
        self.says = says
        self.place = place
        super().__init__(f"{'.'.join(place)} {says}" if place else says)


@cache
def reader(kind: Any) -> Read:
    """What reads a value of a type: a dataclass, `str`, `int`, `bool`, `float`, tuples and mappings of them, or None.

    It raises Misfit.
    """
    if is_dataclass(kind):
        return _dataclass(kind)
    if get_origin(kind) is tuple:
        return _tuple(reader(get_args(kind)[0]))
    if get_origin(kind) is Mapping:
        return _mapping(reader(get_args(kind)[1]))
    if isinstance(kind, UnionType):
        (some,) = (one for one in get_args(kind) if one is not NoneType)
        return _optional(reader(some))
    return _PLAIN[kind]


def _dataclass(kind: Any) -> Read:
    hints = get_type_hints(kind)
    parts = {spec.name: reader(hints[spec.name]) for spec in fields(kind)}
    needed = [spec.name for spec in fields(kind) if spec.default is MISSING and spec.default_factory is MISSING]

    def read(value: Any) -> Any:
        given = _object(value)
        for name in given.keys() - parts.keys():
            raise Misfit(f"has {_show(name)}, which is no field of it")
        for name in needed:
            if name not in given:
                raise Misfit(f"has no {name}")
        return kind(**{name: _part(parts[name], item, name) for name, item in given.items()})

    return read


def _tuple(one: Read) -> Read:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            _refuse(value, "a list")
        return tuple(_part(one, item, str(index)) for index, item in enumerate(value))

    return read


def _mapping(one: Read) -> Read:
    return lambda value: {name: _part(one, item, name) for name, item in _object(value).items()}


def _optional(some: Read) -> Read:
    return lambda value: None if value is None else some(value)


def _part(read: Read, value: Any, name: str) -> Any:
    try:
        return read(value)
    except Misfit as misfit:
        raise Misfit(misfit.says, name[:SHOWN], *misfit.place) from None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else _refuse(value, "an object")


def _number(value: Any) -> int:
    if type(value) is not int or not SMALLEST <= value <= LARGEST:
        _refuse(value, "a whole number of at most 64 bits")
    return value


def _measure(value: Any) -> float:
    if type(value) is int:
        return _number(value)
    if type(value) is not float or not math.isfinite(value):
        _refuse(value, "a number")
    return value


def _of(kind: type, what: str) -> Read:
    return lambda value: value if type(value) is kind else _refuse(value, what)


_PLAIN: Mapping[Any, Read] = {
    str: _of(str, "text"),
    bool: _of(bool, "true or false"),
    int: _number,
    float: _measure,
    Any: lambda value: value,
}


def _refuse(value: Any, what: str) -> NoReturn:
    raise Misfit(f"is {_show(value)}, not {what}")


def _show(value: Any) -> str:
    text = ascii(value) if isinstance(value, str | bool | NoneType) else f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


# ---------------------------------------------------------------- texts: what is wrong with one, in words

_PLACE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})*")
_SOCKET = re.compile(r"\S{1,80} \S{1,80}")


def no_place(value: object) -> str:
    """A step's path."""
    return "" if isinstance(value, str) and _PLACE.fullmatch(value) else "is no place among the steps"


def no_socket(value: object) -> str:
    """A socket, named by its two ends."""
    return "" if isinstance(value, str) and _SOCKET.fullmatch(value) else "does not name a socket by two addresses"


def no_base64(value: object) -> str:
    """Bytes."""
    try:
        binascii.a2b_base64(value if isinstance(value, str) else "?", strict_mode=True)
    except ValueError:
        return "is not base64"
    return ""


def no_outcome(value: object) -> str:
    """How a step ended."""
    return "" if value in ("ok", "error", "timeout") else "is not one of ok, error, timeout"


def no_address(value: object) -> str:
    """A host's address."""
    try:
        ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return "is no IP address"
    return ""


def no_family(value: object) -> str:
    """An address family."""
    return "" if value in ("ipv4", "ipv6") else "is not one of ipv4, ipv6"
