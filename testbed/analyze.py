"""Any capture, from bytes to what is known of its connections. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from testbed.decode import decode
from testbed.pcap.reader import read_capture
from testbed.result import describe_connection
from testbed.tcp.connection import Connection
from testbed.tcp.trace import trace_connections


@dataclass(frozen=True, slots=True)
class Analysis:
    """A capture's connections, what was passed over and why, and what could not be read."""

    file: str
    packets: int
    skipped: Mapping[str, int]
    warnings: tuple[str, ...]
    connections: tuple[Connection, ...]


def analyze_capture(data: bytes, file: str) -> Analysis:
    """Analyse a pcap or pcapng file. Raises UsageError where it is neither."""
    capture = read_capture(data)
    decoded = decode(capture)
    packets = sorted(decoded.packets, key=lambda packet: packet.time_ns)
    return Analysis(file, len(capture.frames), dict(decoded.skipped), capture.warnings, trace_connections(packets))


def analysis_json(analysis: Analysis) -> str:
    """The analysis as the JSON of `testbed analyze --json`."""
    content = {
        "schema": 1,
        "file": analysis.file,
        "packets": analysis.packets,
        "skipped": analysis.skipped,
        "warnings": list(analysis.warnings),
        "connections": [describe_connection(connection, {}) for connection in analysis.connections],
    }
    return json.dumps(content, indent=1) + "\n"
