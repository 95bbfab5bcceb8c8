"""Bringing a file over to the orchestrator in chunks: one that is whole, or a capture's while it grows.

Both are slow requests of the loop, which pauses them while its output is not read.
"""

from __future__ import annotations

import os
from base64 import b64encode

from testbed.agent.loop import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from testbed.agent.loop import Message, Slow

FOLLOW_S = 0.02  # between two looks at a file that grows


def fetch(request: Message, tell: Callable[[Message], None]) -> Slow:
    """A file, in chunks, no faster than they are read."""
    _check_chunk(request)
    sent = 0
    with open(request["path"], "rb") as file:  # noqa: PTH123 (pathlib is slow to load)
        while True:
            yield 0.0
            chunk = file.read(request["chunk"])
            if not chunk:
                return {"bytes": sent}
            sent += len(chunk)
            tell(_chunk(request, chunk))


def follow(request: Message, path: str, ended: Callable[[], bool], tell: Callable[[Message], None]) -> Slow:
    """A file from its start, then what is added, until nobody adds any more; of one that is removed nothing more."""
    _check_chunk(request)
    sent = 0
    with open(path, "rb") as file:  # noqa: PTH123
        while True:
            last = ended()  # asked before the file is read: what was written until now is brought over
            while not _is_removed(file):
                chunk = file.read(request["chunk"])
                if not chunk:
                    break
                sent += len(chunk)
                tell(_chunk(request, chunk))
                yield 0.0
            if last or _is_removed(file):
                return {"bytes": sent}
            yield FOLLOW_S


def _is_removed(file: BinaryIO) -> bool:
    return not os.fstat(file.fileno()).st_nlink


def _check_chunk(request: Message) -> None:
    if request["chunk"] < 1:
        raise UsageError(f"{request['do']}: chunk is {request['chunk']}; it is at least 1 byte")


def _chunk(request: Message, chunk: bytes) -> Message:
    return {"event": "chunk", "id": request["id"], "data": b64encode(chunk).decode()}
