"""The values that a scenario's keys hold: ports, peers, errors, names; and what every frozen value of a scenario is."""

from __future__ import annotations

import errno as errno_names
import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema

from testbed.scenario.units import shown

SOCKET_NAME = r"^[a-z][a-z0-9_-]{0,30}$"
HEX = r"^([0-9A-Fa-f]{2}\s*)*$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
FREE = "free"
ERRORS = frozenset(errno_names.errorcode.values()) | {"EOF"}


def _port(value: object) -> object:
    if value == FREE:
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is not a port; write a number from 1 to 65535, or free")
    if not 1 <= value <= 65535:
        raise ValueError(f"port {shown(value)} is not between 1 and 65535")
    return value


def _peer(value: object) -> object:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not re.fullmatch(r"[a-z][a-z0-9-]*", host):
        raise ValueError(f"{shown(value)} is not a peer; write host:port, such as server:7456")
    _port(int(port) if re.fullmatch(r"[0-9]{1,19}", port) else port)
    return value


def _errno(value: object) -> object:
    if not isinstance(value, str) or value not in ERRORS:
        raise ValueError(f"{shown(value)} is not an error's name; write such as ECONNREFUSED, ETIMEDOUT or EPIPE")
    return value


_PORT_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"const": FREE}]}
Port = Annotated[int | Literal["free"], BeforeValidator(_port), WithJsonSchema(_PORT_SCHEMA)]
PEER = r"^[a-z][a-z0-9-]*:([0-9]+|free)$"
ERROR_NAME = "^E[A-Z0-9]+$"
Peer = Annotated[
    str,
    BeforeValidator(_peer),
    WithJsonSchema({"type": "string", "pattern": PEER, "examples": ["server:7456"]}),
]
ErrnoName = Annotated[
    str,
    BeforeValidator(_errno),
    WithJsonSchema({"type": "string", "pattern": ERROR_NAME, "examples": ["ECONNREFUSED"]}),
]
WholeNumber = Annotated[int, Strict()]  # pydantic would take "3" and 3.0 too
Flag = Annotated[bool, Strict()]  # pydantic would take "on", "yes" and 1 too
SocketName = Annotated[str, Field(pattern=SOCKET_NAME)]
Name = Annotated[str, Field(pattern=NAME)]


class Value(BaseModel):
    """A frozen value of a scenario: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
