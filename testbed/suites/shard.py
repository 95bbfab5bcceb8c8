"""`--shard 2/5`: this machine's part of a suite, so that five machines share it and none runs what another does. Pure.

A scenario's part follows from its name alone: not from what else there is, how long it takes or where it is run. So all
machines agree without talking, and a scenario that is added or renamed moves no other.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from testbed.errors import UsageError

MOST = 1000


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts, from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, name: str) -> bool:
        """Whether a scenario belongs to this part."""
        digest = hashlib.blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1


def parse_shard(text: str) -> Shard:
    """`2/5` as a shard. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= MOST:
        raise UsageError(
            f"--shard {text} is no part of a whole", remedy="write such as --shard 2/5: the second of five parts"
        )
    return Shard(number, count)
