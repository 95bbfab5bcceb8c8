"""Texts that come in one order and are wanted in another, without holding them in memory: they wait in a file.

Connections end in another order than they began; a table and JSON tell them as they began. Few of them stay in memory.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path

from testbed.files import disk_errors

IN_MEMORY = 1 << 23  # bytes
_AT_ONCE = 1 << 16  # bytes written


class Spool:
    """Texts with the number that they are sorted by; use in a `with` block."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 closed by `__exit__`
        self._keys = array("q")
        self._starts = array("q")
        self._end = 0
        self._ahead: list[bytes] = []  # not yet in the file
        self._bytes_ahead = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: int, text: str) -> None:
        """Put a text away."""
        data = text.encode()
        self._keys.append(key)
        self._starts.append(self._end)
        self._end += len(data)
        self._ahead.append(data)
        self._bytes_ahead += len(data)
        if self._bytes_ahead > _AT_ONCE:
            self._write()

    def _write(self) -> None:
        with disk_errors(Path(tempfile.gettempdir())):
            self._file.seek(0, os.SEEK_END)
            self._file.write(b"".join(self._ahead))
        self._ahead.clear()
        self._bytes_ahead = 0

    def sorted(self) -> Iterator[tuple[int, str]]:
        """Key and text of all, in order of their keys."""
        self._write()
        order = sorted(range(len(self._keys)), key=self._keys.__getitem__)
        ends = self._starts[1:]
        ends.append(self._end)
        for at in order:
            start = self._starts[at]
            self._file.seek(start)
            yield self._keys[at], self._file.read(ends[at] - start).decode()
