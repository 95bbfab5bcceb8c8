"""Whatever comes in, what comes out is a value or a mistake in words: properties, and bounds on large inputs."""

from __future__ import annotations

import pytest
from ether import MACS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decode import _SEGMENT4, _SEGMENT6, _ipv6
from test_scenario_errors import errors_of

from testbed.agent import frames
from testbed.decode import Decoded, decode
from testbed.pcap.frame import Capture, Frame, Interface, LinkType
from testbed.report.escape import cells, clean, clip, quote
from testbed.scenario.read import read_scenario
from testbed.scenario.yaml12 import MOST_BYTES, MOST_DEPTH, MOST_VALUES, compose
from testbed.tcp.sequence import unwrap


@given(st.sampled_from([b"\x08\x00", b"\x86\xdd"]), st.binary(max_size=120))
def test_any_bytes_give_a_segment_or_none(kind: bytes, body: bytes) -> None:
    """No frame from the wire can end the emulator."""
    segment = frames.parse(MACS + kind + body)
    if segment is not None:
        assert "ANY" in frames.kinds(segment)
        assert segment.payload_length >= 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=6), st.sampled_from(LinkType), st.integers(0, 200))
def test_any_bytes(datas: list[bytes], link_type: LinkType, more: int) -> None:
    """Any bytes, on any link type, give packets or reasons, and every frame is one of the two."""
    given_frames = tuple(Frame(0, data, len(data) + more) for data in datas)
    _account(decode(Capture((Interface("x", link_type),), given_frames)), given_frames)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([_SEGMENT4, _SEGMENT6, _ipv6(b"\x3c\0" + bytes(6) + _SEGMENT6[40:], 0)]), st.data())
def test_mutated_packets(packet: bytes, data: st.DataObject) -> None:
    """Packets with some bytes changed or cut give packets or reasons."""
    mutated = bytearray(packet)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(mutated)))
        mutated[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    given_frames = (Frame(0, bytes(mutated), len(mutated)),) * 2
    _account(decode(Capture((Interface("x", LinkType.RAW),), given_frames)), given_frames)


@given(st.text())
def test_clean_text_has_only_what_prints(text: str) -> None:
    """Whatever comes in, no control, invisible or unassigned character comes out; ASCII when asked."""
    assert all(char.isprintable() or char.isspace() for char in clean(text))
    assert "\n" not in clean(text)
    assert clean(text, unicode=False).isascii()


@given(st.text(), st.integers(min_value=0, max_value=100))
def test_clipped_text_fits(text: str, width: int) -> None:
    """Also with characters that are two columns wide."""
    assert cells(clip(clean(text), width)) <= width


@given(st.binary(), st.integers(min_value=1, max_value=60))
def test_quoted_payload_is_clean_and_short(payload: bytes, limit: int) -> None:
    """Any bytes give printable text in quotes, at most the limit and its dots long."""
    quoted = quote(payload, limit=limit)
    assert quoted.isprintable() or all(char.isprintable() or char.isspace() for char in quoted)
    assert len(quoted) <= limit + len('"..."')


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**40), st.integers(-(2**31) + 1, 2**31 - 1))
def test_unwrap_finds_the_offset(origin: int, near: int, distance: int) -> None:
    """Any offset within half the space of what is known comes back from its number on the wire."""
    assert unwrap((origin + near + distance) % 2**32, origin, near) == near + distance


def test_too_large() -> None:
    """A file over 1 MiB is refused before it is parsed, one of exactly 1 MiB is read."""
    good = b"summary: x\nhosts: {a: {steps: [{sleep: 1s}]}}\n#"
    fill = MOST_BYTES - len(good)
    assert read_scenario(good + b"#" * fill, "x.yaml").summary == "x"
    found = errors_of(good + b"#" * (fill + 1)).mistakes
    assert [mistake.says for mistake in found] == [
        "the file has 1048577 bytes; a scenario file has at most 1048576 (1 MiB)"
    ]


def bomb(levels: int, width: int) -> str:
    """Aliases of aliases: width to the power of levels values."""
    first = f"a0: &a0 [{', '.join(['x'] * width)}]\n"
    rest = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]\n" for n in range(1, levels))
    return first + "".join(rest)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bomb(30, 10), f"more than {MOST_VALUES} values"),
        (bomb(MOST_DEPTH + 5, 1), f"nested more than {MOST_DEPTH} deep"),
        ("[" * 100_000, f"nested more than {MOST_DEPTH} deep"),
        ("{a: " * 100_000, f"nested more than {MOST_DEPTH} deep"),
        ("- " * 100_000, f"nested more than {MOST_DEPTH} deep"),
        ("? " * 100_000, f"nested more than {MOST_DEPTH} deep"),
    ],
    ids=["aliases", "deep aliases", "brackets", "braces", "dashes", "keys"],
)
def test_bombs(text: str, said: str) -> None:
    """Values, aliases expanded, and nesting are bounded: reading stops where the bound is passed."""
    document = compose(text.encode(), "f")
    assert document.root is None
    assert said in document.mistakes[-1].says


def _account(decoded: Decoded, given_frames: tuple[Frame, ...]) -> None:
    assert len(decoded.packets) + sum(count for _, count in decoded.skipped) == len(given_frames)
    for packet in decoded.packets:
        assert len(packet.payload) <= max(packet.payload_length, 0)
