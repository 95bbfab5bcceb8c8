"""What stands in the headers of a crafted packet, as scenarios write it: its ends, its flags, its numbers.

A number is absolute, or a sum of numbers and of what the live connection shows: `rcv_nxt+100`. The names are those of
`testbed.agent.numbers`, and all are the receiver's.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.agent.numbers import NUMBERS
from testbed.scenario.units import shown

FLAGS = r"^((FIN|SYN|RST|PSH|ACK|URG|ECE|CWR|AE)(\+(FIN|SYN|RST|PSH|ACK|URG|ECE|CWR|AE)){0,8})?$"
_NAME = "|".join(NUMBERS)
LIVE = rf"^({_NAME})([+-]([0-9]{{1,10}}|{_NAME}))*$"
FREE = "free"
END = r"^[a-z][a-z0-9-]*(:([0-9]+|free))?$"

Flags = Annotated[str, Field(pattern=FLAGS)]


def _number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(LIVE[1:-1], value):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(
            f"{shown(value)} is not a sequence number; write 0 to 4294967295, or such as rcv_nxt+100: "
            f"{', '.join(NUMBERS)} of who gets the packet"
        )
    return value


def _end(value: object) -> object:
    host, colon, port = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", host):
        raise ValueError(f"{shown(value)} is not an end; write host or host:port, such as client or server:7456")
    if colon and port != FREE and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise ValueError(f"{shown(port)} is not a port; write a number from 1 to 65535, or free")
    return value


_WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
LiveNumber = Annotated[
    int | str,
    BeforeValidator(_number),
    WithJsonSchema({"anyOf": [_WHOLE, {"type": "string", "pattern": LIVE}], "examples": ["rcv_nxt+100", 0]}),
]
Endpoint = Annotated[
    str,
    BeforeValidator(_end),
    WithJsonSchema({"type": "string", "pattern": END, "examples": ["client", "server:7456", "client:free"]}),
]


def end_of(endpoint: str) -> tuple[str, str]:
    """Host and port of an end; the port is empty where it is that of the live connection."""
    host, _, port = endpoint.partition(":")
    return host, port
