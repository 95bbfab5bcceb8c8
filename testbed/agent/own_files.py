"""Which agent this is: a sum over its source files, so that an image that was made from others is noticed.

A version says less: it stays the same while the files change. CRC-32 is enough against oversight, is at hand
everywhere, and costs nothing at the start.
"""

from __future__ import annotations

import os
import zlib


def sum_files(folder: str) -> str:
    """Eight hexadecimal digits over names and contents of a folder's Python files."""
    total = 0
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 (pathlib is slow to load)
        if name.endswith(".py"):
            with open(f"{folder}/{name}", "rb") as file:  # noqa: PTH123
                content = file.read()
            total = zlib.crc32(content, zlib.crc32(f"{name}\0{len(content)}\0".encode(), total))
    return f"{total:08x}"


OWN = sum_files(os.path.dirname(__file__))  # noqa: PTH120 (as of when it is loaded)
