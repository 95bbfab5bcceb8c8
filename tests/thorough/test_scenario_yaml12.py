"""YAML 1.2 meaning, the refusals, and the bounds of the reader of scenario files."""

from __future__ import annotations

import math
from typing import Any

import pytest

from testbed.scenario.yaml12 import compose


def value_of(text: str) -> Any:
    """The value of `x:` in a file without mistakes."""
    document = compose(f"x: {text}\n".encode(), "f")
    assert document.mistakes == ()
    assert document.root is not None
    return document.root.value["x"]


def says(text: str | bytes) -> list[str]:
    """What the mistakes of a file say."""
    data = text.encode() if isinstance(text, str) else text
    return [mistake.says for mistake in compose(data, "f").mistakes]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, word) for word in ("on", "off", "yes", "no", "y", "n", "On", "YES", "tRUE")],
        *[
            (word, word)
            for word in ("22:22", "1_000", "0b11", "2024-01-01", "1:30:00", "0..2", "1..", "..3", "<<", "=")
        ],
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        *[(word, None) for word in ("null", "Null", "NULL", "~", "")],
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("-5", -5),
        ("+5", 5),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("9223372036854775807", 2**63 - 1),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("!!seq [1]", [1]),
        ('"\\u2028"', "\u2028"),
        ('"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    """Plain scalars mean what section 10.3.2 of YAML 1.2.2 says, and nothing of what YAML 1.1 made of them."""
    found = value_of(text)
    assert (found, type(found)) == (value, type(value))


def test_ports_and_faults_are_named_by_number() -> None:
    """A port is a whole number, and a key: there, and nowhere else, a number may be one."""
    document = compose(b"ports: {80: 1, '81': 2}\nfaults: {0: 1}\nother: {7: 1}\n", "f")
    assert [mistake.says.split(";")[0] for mistake in document.mistakes] == ["the number 7 cannot be a key"]
    assert document.root is not None
    assert document.root.value == {"ports": {"80": 1, "81": 2}, "faults": {"0": 1}, "other": {}}
    assert "here twice" in says("ports: {80: 1, '80': 2}")[0]


def test_a_signed_sequence_number_keeps_its_sign() -> None:
    """`seq: +100` is 100 more, and no number: as one it would be absolute."""
    document = compose(b"set: {seq: +100, ack: -1, window: +5}\nseq: 7\n", "f")
    assert document.root is not None
    assert document.root.value == {"set": {"seq": "+100", "ack": "-1", "window": 5}, "seq": 7}


def test_not_a_number() -> None:
    """`.nan` is the float that is no number."""
    assert math.isnan(value_of(".nan"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "here twice; the first is on line 1"),
        ("a: &a [*a]", "stands inside what it names"),
        ("a: *b", "no anchor &b"),
        ("a: !!python/name:os.system x", "the tag !!python/name:os.system is refused"),
        ("a: !!binary aGk=", "the tag !!binary is refused"),
        ("a: !!timestamp 2024-01-01", "the tag !!timestamp is refused"),
        ("a: !local x", "the tag !local is refused"),
        ("a: !!map [1]", "the tag !!map is refused"),
        ("a: !!int x", "its tag says int"),
        ("<<: {a: 1}", "merge keys"),
        ("7: x", "the number 7 cannot be a key"),
        ("null: x", "nothing cannot be a key"),
        ("{a: 1}: x", "a mapping cannot be a key"),
        ("a: 1\n---\nb: 2", "a second document"),
        ("a:\n\t- b", "a tab"),
        ("a: @b", "cannot begin with '@'"),
        ("a: 'b", "this quote is never closed"),
        ("a: b: c", "cannot stand here"),
        ("a\nb: 1", "cannot stand here"),
        ("a: [1, 2", "the closing ] should be here"),
        ('a: "\\q"', "'q' is no escape"),
        ('a: "\\U00110000"', "out of range"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ("a: 99999999999999999999", "too large"),
        ("a: " + "9" * 5000, "too large"),
        ("a: 0x" + "f" * 5000, "too large"),
        ("%YAML 1.1\n---\na: 1", "YAML 1.2"),
        ("%YAML " + "9" * 5000 + ".1\n---\na: 1", "out of range"),
        ("a: \x00", "U+0000"),
        ("a: \x85", "U+0085"),
        ("a: \u2028", "U+2028"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """Each trap of YAML is refused in plain words."""
    found = says(text)
    assert len(found) == 1
    assert said in found[0]


def test_not_utf8() -> None:
    """The first byte that is not UTF-8 is named, with its line and column; a byte order mark is passed over."""
    (mistake,) = compose(b"a: 1\nb: caf\xe9\n", "f").mistakes
    assert (mistake.line, mistake.column, mistake.says.split(" is")[0]) == (2, 7, "byte 0xE9")
    assert says("a: 1".encode("utf-16")) != []
    assert says(b"\xef\xbb\xbfa: 1") == []


def test_aliases_are_values() -> None:
    """An alias is the value it names; the newest anchor of a name counts."""
    document = compose(b"a: &x [1]\nb: *x\nc: &x 2\nd: *x\n", "f")
    assert document.root is not None
    assert document.root.value == {"a": [1], "b": [1], "c": 2, "d": 2}


def test_goes_on() -> None:
    """Reading goes on after a mistake: what can be read is there, what cannot is marked as broken."""
    document = compose(b"a: !x 1\nb: 2\n3: 4\nb: 5\n", "f")
    assert [mistake.line for mistake in document.mistakes] == [1, 3, 4]
    assert document.root is not None
    assert document.root.value == {"a": None, "b": 2}
    assert document.root.items["a"].broken
    assert document.root.incomplete
