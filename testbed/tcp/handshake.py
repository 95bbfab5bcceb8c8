"""The opening of a connection: how far it came, and what to call it (RFC 9293 section 3.5).

* Refused is a RST+ACK that acknowledges the SYN before any SYN-ACK; any other RST that counts is a reset.
* The first acceptable ACK of the SYN-ACK completes, whatever rides on it; crossing SYNs need both acknowledged.
* With data accepted on the SYN it is a fast open (RFC 7413), although the server may speak before the third ACK.
"""

from __future__ import annotations

from testbed.tcp.connection import Handshake, HandshakeOutcome
from testbed.tcp.end import End
from testbed.tcp.teardown import Reset


class Opening:
    """The handshake while packets pass."""

    __slots__ = ("answered", "completed_by", "completed_ns", "crossed", "late", "mid_stream", "syn_data_taken")

    def __init__(self) -> None:
        self.answered = False  # a SYN-ACK was seen
        self.crossed = False  # both sides sent a SYN
        self.mid_stream = False  # the capture starts after the first SYN
        self.completed_by: int | None = None
        self.completed_ns: int | None = None
        self.late: tuple[int, int] | None = None  # an ACK after a RST: completes only if the RST turns out void
        self.syn_data_taken = False

    @property
    def open(self) -> bool:
        """Whether data may flow both ways."""
        return self.completed_by is not None or (self.mid_stream and not self.answered)

    def complete(self, packet: int, time_ns: int) -> None:
        """This packet completes it."""
        self.completed_by, self.completed_ns = packet, time_ns


def judge_handshake(opening: Opening, client: End, server: End, reset: Reset | None, first_syn_ns: int) -> Handshake:
    """The value of a handshake."""
    one = client is server
    ends = (client,) if one else (client, server)
    complete = opening.completed_by is not None
    shown = {number for end in ends for numbers in (end.syns, end.syn_acks) for number in numbers}
    if opening.completed_by is not None:
        shown.add(opening.completed_by)
    elif reset is not None:
        shown.add(reset.packet)
    return Handshake(
        outcome=_outcome(opening, reset, complete),
        duration_ns=None if opening.completed_ns is None or opening.mid_stream else opening.completed_ns - first_syn_ns,
        syns=sum(len(end.syns) for end in ends),
        syn_acks=sum(len(end.syn_acks) for end in ends),
        syn_retransmits=sum(end.syn_retransmits for end in ends),
        synack_retransmits=sum(end.synack_retransmits for end in ends),
        client_options=client.options,
        server_options=server.options,
        packets=tuple(sorted(shown)),
    )


def _outcome(opening: Opening, reset: Reset | None, complete: bool) -> HandshakeOutcome:
    if complete and not opening.mid_stream:
        if opening.crossed:
            return HandshakeOutcome.SIMULTANEOUS
        return HandshakeOutcome.FAST_OPEN if opening.syn_data_taken else HandshakeOutcome.COMPLETE
    if complete or (opening.mid_stream and not opening.answered):
        return HandshakeOutcome.MID_STREAM
    if reset is not None:
        return HandshakeOutcome.REFUSED if reset.refusal else HandshakeOutcome.RESET
    return HandshakeOutcome.HALF_OPEN if opening.answered else HandshakeOutcome.UNANSWERED
