"""The capture files of the agents (docs/agent-protocol.md, Capture files), whole or as they grow. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from testbed.pcap.frame import Direction, Frame

_RECORD = struct.Struct("<QIIB")  # time_ns, length on the wire, captured length, direction


def read_records(content: bytes) -> Iterator[Frame]:
    """The frames of an agent's capture file. Raises ValueError where it is none, or ends inside a record."""
    offset = 0
    while offset < len(content):
        if len(content) - offset < _RECORD.size:
            raise ValueError(f"it ends inside a record, at byte {offset}")
        time_ns, length, captured, direction = _RECORD.unpack_from(content, offset)
        offset += _RECORD.size
        if captured > len(content) - offset:
            raise ValueError(f"the record at byte {offset - _RECORD.size} does not fit into it")
        yield Frame(time_ns, content[offset : offset + captured], length, 0, Direction(direction))
        offset += captured


class Growing:
    """A capture file that comes in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> list[Frame]:
        """The frames that are whole with this piece."""
        content = self._rest + piece
        end = _end_of_whole(content)
        self._rest = content[end:]
        return list(read_records(content[:end]))


def _end_of_whole(content: bytes) -> int:
    offset = 0
    while offset + _RECORD.size <= len(content):
        _, _, captured, _ = _RECORD.unpack_from(content, offset)
        if offset + _RECORD.size + captured > len(content):
            break
        offset += _RECORD.size + captured
    return offset
