"""The JSON of `testbed analyze --json`: schema 1 (DESIGN section 8), one connection on each line. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from testbed.result import describe_connection
from testbed.tcp.connection import Connection

if TYPE_CHECKING:
    from testbed.analyze import Analysis


def analysis_json(analysis: Analysis) -> str:
    """The whole analysis."""
    texts = (numbered(connection_facts(connection), at) for at, connection in enumerate(analysis.connections, start=1))
    return "".join(json_parts(head_json(analysis.file, analysis.packets, analysis.skipped, analysis.warnings), texts))


def head_json(file: str, packets: int, skipped: Mapping[str, int], warnings: Iterable[str]) -> dict[str, object]:
    """What the JSON says before the connections."""
    return {"schema": 1, "file": file, "packets": packets, "skipped": dict(skipped), "warnings": list(warnings)}


def json_parts(head: Mapping[str, object], connections: Iterable[str]) -> Iterator[str]:
    """The whole JSON in parts, one connection on each line."""
    yield json.dumps(head, indent=1)[: -len("\n}")] + ',\n "connections": ['
    between = "\n  "
    for text in connections:
        yield between + text
        between = ",\n  "
    yield "]\n}\n" if between == "\n  " else "\n ]\n}\n"


def numbered(facts: str, number: int) -> str:
    """A connection as one line of JSON, from its facts and its number."""
    return f'{{"number": {number}, {facts}'


def connection_facts(connection: Connection) -> str:
    """A connection as JSON but for its number, which may not be known yet, and for the bracket before it."""
    length = {"start_ns": connection.first_ns, "duration_ms": say_ms(connection.last_ns - connection.first_ns)}
    return json.dumps({**describe_connection(connection, {}), **length})[1:]


def say_ms(time_ns: int) -> float:
    """Milliseconds, to the microsecond."""
    return round(time_ns / 1e6, 3)
