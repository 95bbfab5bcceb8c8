"""The live connections as the wire shows them, by which a crafted packet is told its numbers. Pure: frames go in.

The numbers are the variables of RFC 9293 section 3.3.1, of the crafted packet's *receiver*, since it is the receiver
that judges the packet by them (section 3.10.7.4):

* `rcv_nxt`: the highest acknowledgement that the receiver has sent; `rcv_wnd`: its last window, scaled
* `snd_nxt`: one past the highest sequence number that the receiver has sent
* `snd_una`: the highest acknowledgement that the other end has sent, of what the receiver had sent; `snd_wnd`: the
  other end's last window, scaled
* `iss`, `irs`: the sequence numbers of the receiver's SYN and of the other end's
* `ts_recent`, `ts_val`: the last timestamp that the other end sent, and the last that the receiver sent (RFC 7323)

A packet counts as soon as the wire shows it, whether or not it arrives. It is believed only when it comes from the MAC
that its address belongs to: what a third host sends in another's name says nothing of what that other has sent. An RST
changes no number.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from testbed.agent import frames
from testbed.agent.following import sequence_length
from testbed.agent.numbers import NUMBERS, later
from testbed.agent.rewrite import each_option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Place = tuple[bytes, int]  # address and port
    Wanted = tuple[bytes, int | None]  # any port, or this one

_SCALE, _TIMESTAMPS, _LARGEST_SHIFT = 3, 8, 14


class Header(NamedTuple):
    """What a packet's TCP header says beside what `frames` reads."""

    window: int
    shift: int | None = None
    timestamp: int | None = None


class End:
    """One end of a connection: what it has sent."""

    def __init__(self) -> None:
        self.iss: int | None = None
        self.nxt: int | None = None  # one past the highest number sent
        self.acked: int | None = None  # its highest acknowledgement of what the other end had sent
        self.window: int | None = None
        self.shift: int | None = None  # of its SYN
        self.timestamp: int | None = None

    def take(self, segment: frames.Segment, header: Header, other: End) -> None:
        """Its next packet."""
        syn = bool(segment.flags & frames.SYN)
        length = sequence_length(segment)
        if syn and self.iss == segment.sequence:
            return  # sent again: nothing in it is news
        if syn:
            self.iss, self.nxt, self.shift = segment.sequence, None, header.shift
        if length or self.nxt is None:
            self.nxt = later(self.nxt, segment.sequence + length)
        if segment.flags & frames.ACK:
            sent = other.nxt is None or later(other.nxt, segment.acknowledgement) == other.nxt
            if sent or self.acked is None:
                self.acked = later(self.acked, segment.acknowledgement)
        scaled = not syn and self.shift is not None and other.shift is not None
        self.window = header.window << min(self.shift or 0, _LARGEST_SHIFT) if scaled else header.window
        if header.timestamp is not None:
            self.timestamp = later(self.timestamp, header.timestamp)


class Live:
    """A connection: its two ends by address and port."""

    def __init__(self, one: Place, other: Place) -> None:
        self.ends = {one: End(), other: End()}

    def numbers(self, receiver: Place) -> Mapping[str, int | None]:
        """What is known, by name, for packets to this end."""
        mine = self.ends[receiver]
        others = next((end for place, end in self.ends.items() if place != receiver), mine)
        values = (mine.acked, mine.window, mine.nxt, others.acked, others.window, mine.iss, others.iss)
        return dict(zip(NUMBERS, (*values, others.timestamp, mine.timestamp)))


class Connections:
    """All connections that the wire has shown, the newest last; `macs`: whose each address is."""

    def __init__(self, macs: Mapping[bytes, bytes]) -> None:
        self._macs = macs
        self._all: dict[frozenset[Place], Live] = {}

    def take(self, frame: bytes) -> None:
        """The next frame on the wire, at least its headers."""
        segment = frames.parse(frame)
        if segment is None or segment.protocol != frames.TCP or segment.flags & frames.RST:
            return
        if self._macs.get(segment.source) != frame[6:12] or (header := read_header(frame)) is None:
            return
        source = segment.source, segment.source_port
        destination = segment.destination, segment.destination_port
        key = frozenset((source, destination))
        if key not in self._all or self._begins_anew(self._all[key].ends[source], segment):
            self._all.pop(key, None)
            self._all[key] = Live(source, destination)
        ends = self._all[key].ends
        ends[source].take(segment, header, ends[destination])

    def find(self, source: Wanted, destination: Wanted) -> tuple[Place, Live] | None:
        """The newest connection between two ends, whose ports may be left open: where its second end is, and it."""
        for key, connection in reversed(list(self._all.items())):
            for one in key:
                for other in key - {one} or key:
                    if _fits(one, source) and _fits(other, destination):
                        return other, connection
        return None

    @staticmethod
    def _begins_anew(end: End, segment: frames.Segment) -> bool:
        syn = segment.flags & (frames.SYN | frames.ACK) == frames.SYN
        return syn and end.iss is not None and end.iss != segment.sequence


def read_header(frame: bytes) -> Header | None:
    """Window, window scale and timestamp of a TCP packet; None where its header is cut, or not behind the IP header."""
    start = 14 + (frame[14] & 15) * 4 if frame[12:14] == b"\x08\x00" else 54
    if start == 54 and frame[12:14] != b"\x08\x00" and frame[20] != frames.TCP:
        return None
    end = start + (frame[start + 12] >> 4) * 4
    if end > len(frame):
        return None
    shift = timestamp = None
    for _, option in each_option(frame[start + 20 : end]):
        if option[:2] == bytes((_SCALE, 3)):
            shift = option[2]
        elif option[:2] == bytes((_TIMESTAMPS, 10)):
            (timestamp,) = struct.unpack_from("!I", option, 2)
    return Header(int.from_bytes(frame[start + 14 : start + 16], "big"), shift, timestamp)


def _fits(place: Place, wanted: Wanted) -> bool:
    return place[0] == wanted[0] and wanted[1] in (None, place[1])
