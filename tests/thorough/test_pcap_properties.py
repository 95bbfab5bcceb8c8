"""What holds of every capture and of any bytes: reading undoes writing, and nothing but `UsageError` is raised."""

from __future__ import annotations

import gzip
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics, LinkType
from testbed.pcap.reader import read_capture
from testbed.pcap.writer import write_capture

_EXAMPLES = settings(max_examples=60, deadline=None)
_words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
_u64 = st.integers(0, 2**64 - 1)
_interfaces = st.builds(
    Interface, name=_words, link_type=st.sampled_from(LinkType), snap_length=st.integers(0, 2**32 - 1),
    description=_words, filter=_words,
)  # fmt: skip


@st.composite
def _captures(draw: st.DrawFn) -> Capture:
    interfaces = draw(st.lists(_interfaces, min_size=1, max_size=4))
    index = st.integers(0, len(interfaces) - 1)
    frame = st.builds(
        lambda data, more, **rest: Frame(data=data, length=len(data) + more, **rest),
        data=st.binary(max_size=70), more=st.integers(0, 2**20), time_ns=_u64, interface=index,
        direction=st.sampled_from(Direction), comments=st.lists(_words, max_size=3).map(tuple),
    )  # fmt: skip
    statistics = st.builds(InterfaceStatistics, index, st.none() | _u64, st.none() | _u64)
    return Capture(
        interfaces=tuple(interfaces),
        frames=tuple(draw(st.lists(frame, max_size=5))),
        statistics=tuple(draw(st.lists(statistics, max_size=4))),
        comments=tuple(draw(st.lists(_words, max_size=3))),
    )


def _classic() -> bytes:
    header = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    return header + b"".join(struct.pack("<IIII", second, 0, 40, 40) + bytes(40) for second in range(3))


def _pcapng() -> bytes:
    frames = tuple(Frame(time, b"hola" * 5, 20, time % 2, Direction.IN, ("why",)) for time in range(3))
    interfaces = (Interface("client", description="left"), Interface("wire", filter="tcp"))
    return write_capture(Capture(interfaces, frames, (InterfaceStatistics(0, 1, 2),), ("all",))) * 2


_SEEDS = {"pcap": _classic(), "pcapng": _pcapng(), "gzip": gzip.compress(_pcapng(), mtime=0)}


def _read_or_refuse(data: bytes) -> Capture | None:
    try:
        capture = read_capture(data, limit=1 << 20)
    except UsageError:
        return None
    assert all(frame.interface < len(capture.interfaces) for frame in capture.frames)
    assert all(len(frame.data) <= frame.length for frame in capture.frames)
    assert all(one.interface < len(capture.interfaces) for one in capture.statistics)
    return capture


@_EXAMPLES
@given(_captures())
def test_reading_undoes_writing(capture: Capture) -> None:
    """What was written is read back exactly."""
    assert read_capture(write_capture(capture)) == capture


@_EXAMPLES
@given(st.binary(max_size=200), st.sampled_from([b"", *(seed[:28] for seed in _SEEDS.values())]))
def test_any_bytes(data: bytes, beginning: bytes) -> None:
    """Any bytes give a capture or a `UsageError`."""
    _read_or_refuse(beginning + data)


@_EXAMPLES
@given(st.sampled_from(sorted(_SEEDS)), st.data())
def test_mutated_files(kind: str, data: st.DataObject) -> None:
    """Files with some bytes changed, inserted or lost give a capture or a `UsageError`."""
    file = bytearray(_SEEDS[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(file)))
        file[start : start + data.draw(st.integers(0, 6))] = data.draw(st.binary(max_size=6))
    _read_or_refuse(bytes(file))


@pytest.mark.parametrize("kind", sorted(_SEEDS))
def test_every_cut(kind: str) -> None:
    """However a file is cut, what is read is the beginning of the whole, and a cut is never silent."""
    data = _SEEDS[kind]
    whole = read_capture(data)
    assert whole.warnings == ()
    silent = 0
    for size in range(len(data)):
        capture = _read_or_refuse(data[:size])
        if capture is not None:
            assert capture.frames == whole.frames[: len(capture.frames)]
            silent += not capture.warnings
    boundaries = {"pcap": 3, "pcapng": 13, "gzip": 0}  # cuts between records or blocks cannot be seen
    assert silent == boundaries[kind]
