"""Putting fragments together again (RFC 791 section 3.2, RFC 8200 section 4.5).

The whole packet stands where its last missing fragment was captured, as in Wireshark. Each vantage point is put
together by itself: in a merged capture every fragment is there several times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from testbed.decode.ip import Datagram
from testbed.pcap.frame import Frame

PATIENCE_NS = 60_000_000_000  # RFC 8200: 60 s; after that an identification means another packet
MOST_BYTES = 1 << 24  # of frames that wait; then the packet begun first is given up
MOST_FRAGMENTS = 2048  # of one packet; MTUs begin at 68 bytes (RFC 791)
_COST = 512  # bytes that a held fragment takes beside its frame
_Key = tuple[int, str, str, int | None, int]


@dataclass(frozen=True, slots=True)
class Fragment:
    """A frame with a fragment in it."""

    number: int
    frame: Frame
    ip: Datagram


@dataclass(slots=True)
class _Puzzle:
    """The fragments of one packet so far, by offset; of two at the same place the first counts."""

    begun_ns: int
    parts: dict[int, Fragment] = field(default_factory=dict)
    bytes: int = 0  # of the payload, those of overlaps twice
    held: int = 0  # of the frames
    total: int | None = None  # known once the last fragment is there


class Reassembly:
    """Takes fragments one by one and gives whole packets; `given_up` has the first fragments of those not completed."""

    def __init__(self) -> None:
        self._puzzles: dict[_Key, _Puzzle] = {}
        self._held = 0
        self.given_up: list[Fragment] = []

    def add(self, fragment: Fragment) -> tuple[bytes, Datagram] | None:
        """Take a fragment; give the payload and the header of the packet when it is complete."""
        ip, piece = fragment.ip, fragment.ip.piece
        if piece is None:
            return None
        protocol = ip.protocol if ip.ip_id is not None else None  # IPv6 does not compare it
        key = (fragment.frame.interface, ip.source, ip.destination, protocol, piece.identification)
        puzzle = self._find(key, fragment.frame.time_ns)
        if piece.offset not in puzzle.parts:
            self._put(puzzle, piece.offset, fragment)
        if not piece.more:
            puzzle.total = piece.offset + ip.end - ip.start
        payload = _join(puzzle)
        if payload is None:
            self._make_room()
            return None
        self._drop(key)
        head = puzzle.parts[0].ip
        header = head.length - (head.end - head.start)
        return payload, head._replace(start=0, end=len(payload), length=header + len(payload), piece=None)

    def give_up(self) -> None:
        """No more fragments come."""
        for key in tuple(self._puzzles):
            self._give_up(key)

    def _find(self, key: _Key, now_ns: int) -> _Puzzle:
        puzzle = self._puzzles.get(key)
        if puzzle is not None and (now_ns - puzzle.begun_ns > PATIENCE_NS or len(puzzle.parts) >= MOST_FRAGMENTS):
            self._give_up(key)
            puzzle = None
        if puzzle is None:
            puzzle = self._puzzles[key] = _Puzzle(now_ns)
        return puzzle

    def _put(self, puzzle: _Puzzle, offset: int, fragment: Fragment) -> None:
        puzzle.parts[offset] = fragment
        puzzle.bytes += fragment.ip.end - fragment.ip.start
        size = len(fragment.frame.data) + _COST
        puzzle.held += size
        self._held += size

    def _make_room(self) -> None:
        while self._held > MOST_BYTES:
            self._give_up(next(iter(self._puzzles)))

    def _give_up(self, key: _Key) -> None:
        puzzle = self._drop(key)
        if 0 in puzzle.parts:
            self.given_up.append(puzzle.parts[0])

    def _drop(self, key: _Key) -> _Puzzle:
        puzzle = self._puzzles.pop(key)
        self._held -= puzzle.held
        return puzzle


def _join(puzzle: _Puzzle) -> bytes | None:
    """Give the whole payload, or None while anything is missing (also when it was not captured)."""
    if puzzle.total is None or 0 not in puzzle.parts or puzzle.bytes < puzzle.total:
        return None
    payload = b""
    for offset, fragment in sorted(puzzle.parts.items()):
        if offset > len(payload):
            return None
        start, end = fragment.ip.start, fragment.ip.end
        if end > len(fragment.frame.data) or not fragment.ip.sound:
            return None
        known = len(payload) - offset  # bytes of this fragment that others gave already
        payload += fragment.frame.data[min(start + known, end) : end]
    return payload if len(payload) == puzzle.total else None
