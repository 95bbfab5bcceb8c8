"""One direction of a TCP connection, followed packet by packet: how far its handshake is, and what it has sent.

* A connection is one direction between two ports. Another SYN number, or a SYN-ACK that answers another SYN, begins it
  anew (RFC 9293 section 3.4.1).
* A retransmission takes sequence numbers below the highest that its connection has sent, modulo 2^32: SYN, data, FIN,
  alone or mixed with new data. What takes no number (a pure ACK, an RST, a keep-alive or window probe of Linux, which
  are bare ACKs) never is one; a keep-alive with a byte of garbage always is: from here nothing tells it from a byte
  sent again. A SYN-ACK with a fresh number for the same SYN is none, and the highest starts from there.
"""

from __future__ import annotations

from testbed.agent import frames

_MASK, _HALF = 0xFFFFFFFF, 0x80000000


class Connection:
    """One direction of a connection: how far its handshake is, what it has sent, what each rule has counted of it."""

    __slots__ = ("acked", "answered", "counts", "highest", "isn", "syn")

    def __init__(self) -> None:
        self.syn: int | None = None  # the sequence number of its SYN
        self.answered: int | None = None  # the acknowledgement of its SYN-ACK: which SYN it answers
        self.isn: int | None = None  # the number of its last SYN or SYN-ACK
        self.acked = False  # the SYN's sender has sent its first ACK
        self.highest: int | None = None  # the number behind all that it has sent
        self.counts: dict[int, int] = {}

    def begins_anew(self, segment: frames.Segment, kinds: frozenset[str]) -> bool:
        """Whether this opens another connection between the same ports.

        A SYN with another sequence number, or a SYN-ACK that answers another SYN. A SYN-ACK's own number would not
        do: a listener that forgot a half-open connection answers the repeated SYN with a fresh one.
        """
        if "SYN" in kinds:
            return self.syn is not None and self.syn != segment.sequence
        return "SYN-ACK" in kinds and self.answered is not None and self.answered != segment.acknowledgement

    def follow(self, segment: frames.Segment, kinds: frozenset[str]) -> frozenset[str]:
        """Take a packet in; its classes, with HANDSHAKE-ACK where it is the first ACK after the SYN."""
        if "SYN" in kinds:
            self.syn = segment.sequence
        elif "SYN-ACK" in kinds:
            self.answered = segment.acknowledgement
        elif self.syn is not None and not self.acked and "RST" not in kinds and segment.flags & frames.ACK:
            self.acked = True
            return kinds | {"HANDSHAKE-ACK"}
        return kinds

    def repeats(self, segment: frames.Segment) -> bool:
        """Take a packet's sequence numbers in; whether some of them were sent before."""
        length = sequence_length(segment)
        if not length:
            return False
        end = (segment.sequence + length) & _MASK
        if segment.flags & frames.SYN and self.isn != segment.sequence:
            self.isn, self.highest = segment.sequence, end
            return False
        before = self.highest
        if before is None or (before - end) & _MASK >= _HALF:
            self.highest = end
        return before is not None and 0 < (before - segment.sequence) & _MASK < _HALF

    def expected(self, segment: frames.Segment) -> int:
        """The number behind all that was sent, where the packet taken in last is this one."""
        if self.highest is None:
            return segment.sequence
        behind = (self.highest - segment.sequence) & _MASK
        return self.highest if behind < _HALF else segment.sequence


def sequence_length(segment: frames.Segment) -> int:
    """How many sequence numbers a segment takes: payload, SYN and FIN (RFC 9293 section 3.4); an RST none."""
    if segment.flags & frames.RST:
        return 0
    return segment.payload_length + bool(segment.flags & frames.SYN) + bool(segment.flags & frames.FIN)
