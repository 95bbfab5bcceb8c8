"""The bytes that a payload stands for, and the account of bytes that a step has moved.

A payload is `{"text": ..}`, `{"hex": ..}`, `{"file": name}` of the files that came with `play`,
`{"random": n, "seed": s}`, or `{"numbered": n}`: so many bytes of which the first eight are the number of the round.
"""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PIECE = 1 << 20  # bytes
SHOWN = 64 * 1024  # so many bytes of what was read are reported; the digest is of all


class PayloadError(ValueError):
    """A payload that names none, or more than one, of its kinds; or a file that did not come along."""


class Given(NamedTuple):
    """What a payload may be made from, beside its own words."""

    files: dict[str, str]  # by name, base64
    seed: int
    round: int


def _file(value: str, given: Given) -> bytes:
    if value not in given.files:
        raise PayloadError(f"file {value!r} did not come with the program; it brought {sorted(given.files) or 'none'}")
    return base64.b64decode(given.files[value])


def _random(value: int, given: Given) -> bytes:
    from random import Random

    generator = Random(given.seed)  # which gives at most 2^31 bits at once; in pieces they are the same
    return b"".join(generator.randbytes(min(PIECE, value - at)) for at in range(0, value, PIECE))


def _numbered(value: int, given: Given) -> bytes:
    return (given.round.to_bytes(8, "big") + bytes(max(0, value - 8)))[:value]


KINDS: dict[str, Callable[[Any, Given], bytes]] = {
    "text": lambda value, _: bytes(value, "utf-8"),
    "hex": lambda value, _: bytes.fromhex(value),
    "file": _file,
    "random": _random,
    "numbered": _numbered,
}


def render(payload: dict[str, Any], files: dict[str, str], seed: int = 0, round_number: int = 0) -> bytes:
    """The bytes of a payload; `seed` is for random ones that carry none."""
    kinds = [kind for kind in KINDS if payload.get(kind) is not None]
    if len(kinds) != 1:
        raise PayloadError(f"a payload is exactly one of {', '.join(KINDS)}; this one is {payload}")
    own = payload.get("seed")
    return KINDS[kinds[0]](payload[kinds[0]], Given(files, seed if own is None else own, round_number))


class Tally:
    """Bytes as they are moved: how many, their SHA-256, the first 64 KiB, and where they leave what was expected."""

    def __init__(self, expected: bytes | None = None) -> None:
        self.bytes = 0
        self.head = bytearray()
        self._digest = hashlib.sha256()
        self._expected = expected
        self._differs: int | None = None

    def add(self, chunk: bytes | memoryview) -> None:
        """Accounts for the next bytes."""
        if self._expected is not None and self._differs is None:
            wanted = self._expected[self.bytes : self.bytes + len(chunk)]
            if wanted != chunk:
                same = next((i for i, pair in enumerate(zip(wanted, chunk)) if pair[0] != pair[1]), len(wanted))
                self._differs = self.bytes + same
        self.bytes += len(chunk)
        self._digest.update(chunk)
        self.head += chunk[: max(0, SHOWN - len(self.head))]

    @property
    def sha256(self) -> str:
        """The digest of all bytes, in hex."""
        return self._digest.hexdigest()

    @property
    def shown(self) -> str:
        """The first 64 KiB in base64."""
        return base64.b64encode(self.head).decode()

    def difference(self) -> str:
        """In plain words how the bytes differ from those expected; empty when they do not."""
        if self._expected is None:
            return ""
        if self._differs is None and self.bytes < len(self._expected):
            self._differs = self.bytes
        if self._differs is None:
            return ""
        at, wanted = self._differs, len(self._expected)
        there, seen = self._expected[at : at + 16], bytes(self.head[at : at + 16])
        return f"{self.bytes} bytes came, {wanted} were expected; they differ from byte {at}: {seen!r}, not {there!r}"
