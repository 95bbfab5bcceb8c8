"""What the writer does with captures that pcapng cannot hold as they are."""

from __future__ import annotations

import pytest

from testbed.errors import UsageError
from testbed.pcap.frame import Capture, Frame, Interface, InterfaceStatistics
from testbed.pcap.reader import read_capture
from testbed.pcap.writer import write_capture

_WIRE = Interface("wire")


def test_a_vantage_point_that_saw_nothing_is_written() -> None:
    """An interface without packets keeps its name and its statistics."""
    capture = Capture((_WIRE,), (), (InterfaceStatistics(0, 0, 0),))
    assert read_capture(write_capture(capture)) == capture


def test_the_application_is_named() -> None:
    """The section header names who wrote the file."""
    assert b"\x04\x00\x04\x00mine" in write_capture(Capture((), ()), application="mine")


def test_long_texts_end_where_an_option_ends() -> None:
    """A text of more than 65535 bytes is cut between characters."""
    capture = Capture((Interface("wire", filter="ü" * 40_000),), (), comments=("é" * 40_000,))
    back = read_capture(write_capture(capture))
    assert back.comments == ("é" * 32_767,)
    assert back.interfaces[0].filter == "ü" * 32_767


def test_zeros_in_texts_are_made_visible() -> None:
    """A zero byte would end the text in other tools."""
    assert read_capture(write_capture(Capture((), (), comments=("a\0b",)))).comments == ("a\ufffdb",)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (Frame(0, b"", 0, interface=1), "interface 1, but the capture has 1"),
        (Frame(-1, b"", 0), "time -1"),
        (Frame(1 << 64, b"", 0), "time 18446744073709551616"),
    ],
)
def test_what_pcapng_cannot_hold(frame: Frame, words: str) -> None:
    """An impossible frame is refused by its number."""
    with pytest.raises(UsageError, match=words) as caught:
        write_capture(Capture((_WIRE,), (Frame(0, b"", 0), frame)))
    assert "Frame 2" in caught.value.message
