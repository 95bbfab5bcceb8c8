"""What payloads stand for, and the account of bytes moved."""

from __future__ import annotations

import base64
import hashlib
from random import Random
from typing import Any

import pytest

from testbed.agent.payload import SHOWN, PayloadError, Tally, render

FILES = {"x": base64.b64encode(b"\x00file").decode()}


@pytest.mark.parametrize(
    ("payload", "content"),
    [
        ({"text": "é"}, b"\xc3\xa9"),
        ({"text": ""}, b""),
        ({"text": "a", "hex": None}, b"a"),
        ({"hex": "00 fF"}, b"\x00\xff"),
        ({"file": "x"}, b"\x00file"),
        ({"random": 5, "seed": 3}, Random(3).randbytes(5)),
        ({"random": 5, "seed": 0}, Random(0).randbytes(5)),
        ({"random": 5}, Random(9).randbytes(5)),
        ({"random": 0, "seed": 3}, b""),
        ({"random": (1 << 20) + 3}, Random(9).randbytes((1 << 20) + 3)),
    ],
)
def test_each_kind_gives_its_bytes(payload: dict[str, Any], content: bytes) -> None:
    """Text is UTF-8, hex may hold blanks, random ones are of their seed, or the program's."""
    assert render(payload, FILES, 9) == content


@pytest.mark.parametrize("payload", [{}, {"text": "a", "hex": "00"}, {"file": "y"}, {"hex": "0g"}])
def test_what_is_no_payload_is_refused(payload: dict[str, Any]) -> None:
    """None, two, a file that did not come, and digits that are none are errors."""
    with pytest.raises(ValueError):
        render(payload, FILES)


def test_a_missing_file_is_named() -> None:
    """The error names the file, and those that came."""
    with pytest.raises(PayloadError, match=r"'y' did not come .* \['x'\]"):
        render({"file": "y"}, FILES)


def test_a_tally_shows_the_head_and_digests_all() -> None:
    """The digest and the count are of all bytes, what is shown is the first 64 KiB."""
    content = Random(1).randbytes(SHOWN + 5000)
    tally = Tally()
    for start in range(0, len(content), 999):
        tally.add(content[start : start + 999])
    assert (tally.bytes, tally.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert base64.b64decode(tally.shown) == content[:SHOWN]
    assert tally.difference() == ""


@pytest.mark.parametrize(
    ("chunks", "expected", "at"),
    [
        ([b"abc"], b"abc", None),
        ([b"a", b"", b"bc"], b"abc", None),
        ([], b"", None),
        ([b"ab", b"xd"], b"abcd", 2),
        ([b"ab"], b"abcd", 2),
        ([b"ab", b"cde"], b"abcd", 4),
        ([b"x"], b"", 0),
        ([], b"a", 0),
    ],
)
def test_a_tally_says_where_bytes_differ(chunks: list[bytes], expected: bytes, at: int | None) -> None:
    """The first place where what came is not what was expected, also when it is shorter or longer."""
    tally = Tally(expected)
    for chunk in chunks:
        tally.add(chunk)
    difference = tally.difference()
    assert (f"from byte {at}:" in difference) if at is not None else difference == ""
