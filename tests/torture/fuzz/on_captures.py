"""Targets: capture files."""

from __future__ import annotations

from collections.abc import Iterator

from mutations import make_seeds
from mutators import capture_mutator
from targets import Target

from testbed.analyze import Analysis, analyze_capture
from testbed.columns.shapes import is_same
from testbed.errors import TestbedError
from testbed.pcap.reader import read_capture
from testbed.pcap.writer import write_capture


def _analyze(data: bytes, columns: bool) -> Analysis | None:
    try:
        return analyze_capture(data, "x", columns=columns)
    except TestbedError:
        return None


def read_capture_file(data: bytes) -> None:
    """A pcap or pcapng file, plain or gzipped: read, decoded, its connections followed."""
    analysis = _analyze(data, columns=False)
    if analysis is not None:
        assert all(connection.packets for connection in analysis.connections)


def compare_ways(data: bytes) -> None:
    """The same in both ways that we have, packet by packet and in columns: the results are equal."""
    analysis = _analyze(data, columns=False)
    fast = _analyze(data, columns=True)
    if analysis is None or fast is None:
        assert analysis is fast
        return
    assert (fast.packets, fast.warnings, fast.skipped) == (analysis.packets, analysis.warnings, analysis.skipped)
    assert len(fast.connections) == len(analysis.connections)
    assert all(map(is_same, fast.connections, analysis.connections))


def write_again(data: bytes) -> None:
    """A capture file read, written as pcapng, and read again: the same frames."""
    try:
        capture = read_capture(data, limit=1 << 20)
        written = write_capture(capture)
    except TestbedError:
        return
    again = read_capture(written)
    assert not again.warnings
    assert again.frames == capture.frames or "\0" in str(capture) or any(one.comments for one in capture.frames)
    assert write_capture(again) == written


def captures() -> Iterator[bytes]:
    """Files of every format, each with a few packets."""
    yield from make_seeds(packets=3)


TARGETS = {
    "capture": Target(read_capture_file, captures, 384, lambda: capture_mutator),
    "columns": Target(compare_ways, captures, 768, lambda: capture_mutator),
    "rewrite": Target(write_again, captures, 512, lambda: capture_mutator),
}
