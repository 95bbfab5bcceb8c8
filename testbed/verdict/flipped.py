"""Packets of which a bit was flipped on the link: found by comparing what came out with what went in and did not.

A flipped bit may stand anywhere behind the Ethernet header: in the payload, or in an address, so that the packet is
nobody's any more. What comes out differs from what went in by exactly that bit, and has the same length; netem flips
one bit of a packet (tc-netem(8), corrupt), and so does the portable engine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from testbed.pcap.frame import Capture, Frame
from testbed.verdict.merge import BEHIND
from testbed.verdict.ways import CLOCKS_NS, Stage, Way, is_delivery

ETHERNET = 14


def find_flipped(ways: Sequence[Way], trace: Capture, engine: str) -> list[Way]:
    """The ways, those whose packet came out with one bit changed now delivered; strays that they were are left out."""
    out = {way.seen[Stage.DELIVERED].number for way in ways if Stage.DELIVERED in way.seen and not _is_stray(way)}
    strays = {way.seen[Stage.DELIVERED].number: id(way) for way in ways if _is_stray(way)}
    lost = _Lost(ways, trace.frames)
    explained = set()
    for number, frame in enumerate(trace.frames, 1):
        vantage = trace.interfaces[frame.interface].name
        if number in out or not vantage.endswith(BEHIND) or not is_delivery(frame.direction, engine):
            continue
        if (way := lost.origin(frame, vantage.removesuffix(BEHIND))) is not None:
            arrived = way.seen[Stage.ARRIVED]
            way.seen[Stage.DELIVERED] = replace(arrived, number=number, time_ns=frame.time_ns)
            explained.add(strays.get(number))
    for way in ways:
        way.flipped = _came_out_otherwise(way, trace.frames)
    return [way for way in ways if id(way) not in explained]


def _came_out_otherwise(way: Way, frames: Sequence[Frame]) -> bool:
    """Where the bit stands in the payload, the packet is still known by its header."""
    before, after = way.seen.get(Stage.ARRIVED), way.seen.get(Stage.DELIVERED)
    if before is None or after is None or way.altered or way.forged:
        return False
    return frames[before.number - 1].data[ETHERNET:] != frames[after.number - 1].data[ETHERNET:]


def _is_stray(way: Way) -> bool:
    """Came out of a link, and nobody saw it go in."""
    return len(way.seen) == 1 and Stage.DELIVERED in way.seen and not way.forged


class _Lost:
    """Ways whose packet went into a link and did not come out, by host and length, in order of time."""

    def __init__(self, ways: Iterable[Way], frames: Sequence[Frame]) -> None:
        self.frames = frames
        self.ways: dict[tuple[str, int], list[Way]] = {}
        for way in ways:
            if Stage.ARRIVED in way.seen and Stage.DELIVERED not in way.seen and not way.taken:
                length = len(frames[way.seen[Stage.ARRIVED].number - 1].data)
                self.ways.setdefault((way.destination, length), []).append(way)
        for group in self.ways.values():
            group.sort(key=_arrival_ns)

    def origin(self, frame: Frame, host: str) -> Way | None:
        """The most recent one that differs from the frame by one bit."""
        group = self.ways.get((host, len(frame.data)), [])
        after = int.from_bytes(frame.data[ETHERNET:])
        for index in range(bisect_right(group, frame.time_ns + CLOCKS_NS, key=_arrival_ns) - 1, -1, -1):
            before = self.frames[group[index].seen[Stage.ARRIVED].number - 1].data
            if (int.from_bytes(before[ETHERNET:]) ^ after).bit_count() == 1:
                return group.pop(index)
        return None


def _arrival_ns(way: Way) -> int:
    return way.seen[Stage.ARRIVED].time_ns
