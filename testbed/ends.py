"""The wire put together from both of its ends, where no third host can listen: on an overlay between engines. Pure.

A sniffer on a hub hears every frame as it was sent. The same frames stand in the captures of those who sent them, going
out; a frame that came in and that no host has sent was heard by the receiver alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from testbed.evidence import WIRE
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics

OVERTAKING_NS = 50_000_000  # a frame sent this long before the end of a capture must stand in it


def join_ends(captures: Mapping[str, Capture], snap_length: int) -> Capture:
    """The wire as a sniffer would have heard it; `captures` are those of the hosts' own interfaces, on one clock."""
    frames = sorted(_frames(captures), key=lambda frame: frame.time_ns)
    missed = sum(counts.dropped or 0 for capture in captures.values() for counts in capture.statistics)
    about = Interface(WIRE, snap_length=snap_length, description=f"put together from {', '.join(sorted(captures))}")
    statistics = InterfaceStatistics(0, received=len(frames) + missed, dropped=missed)
    return Capture((about,), tuple(frames), (statistics,))


def _frames(captures: Mapping[str, Capture]) -> Iterator[Frame]:
    sent = {frame.data for capture in captures.values() for frame in capture.frames if frame.direction is Direction.OUT}
    heard: dict[bytes, str] = {}
    for host, capture in captures.items():
        for frame in capture.frames:
            ours = frame.direction is Direction.OUT
            # A frame that goes to all comes in at several hosts, and counts once.
            if ours or (frame.data not in sent and heard.setdefault(frame.data, host) == host):
                yield Frame(frame.time_ns, frame.data, frame.length, 0, Direction.IN)


def lost_between(captures: Mapping[str, Capture], host_of: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """How many frames left one host for another and never came there, by (source, destination).

    `host_of` gives the hosts by MAC address. What was sent when the receiver's capture was about to end is left out.
    """
    came = {host: Counter(_bytes(capture, Direction.IN)) for host, capture in captures.items()}
    ends = {host: max((frame.time_ns for frame in one.frames), default=0) for host, one in captures.items()}
    lost: Counter[tuple[str, str]] = Counter()
    for source, capture in captures.items():
        for frame in capture.frames:
            destination = host_of.get(frame.data[:6].hex(":"), source)
            if frame.direction is not Direction.OUT or destination == source or destination not in captures:
                continue
            if came[destination][frame.data]:
                came[destination][frame.data] -= 1
            elif frame.time_ns < ends[destination] - OVERTAKING_NS:
                lost[source, destination] += 1
    return dict(lost)


def _bytes(capture: Capture, direction: Direction) -> Iterator[bytes]:
    return (frame.data for frame in capture.frames if frame.direction is direction)
