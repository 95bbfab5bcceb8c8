"""One conversation while its packets pass: two ends and what lies between them. The state; the rules are elsewhere.

* `opening` and `handshake`: SYN, SYN-ACK, the ACK that completes;
* `segments`: acknowledgements, windows, data;
* `closing` and `teardown`: FIN;
* `reset`: RST, and whether it ended anything;
* `tracker`: which of them a packet concerns; `conclude`: the value made of it in the end.

What an end has *received* is taken from what it acknowledges, not from what was sent to it: between two vantage points
a packet may be lost. Only what draws no answer (the last ACK, a RST) counts as received when seen.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from testbed.packet import Packet
from testbed.tcp.audit import Audit
from testbed.tcp.end import End
from testbed.tcp.handshake import Opening
from testbed.tcp.states import NEXT
from testbed.tcp.teardown import Reset
from testbed.tcp.zeek import Zeek

if TYPE_CHECKING:
    from testbed.tcp.rival import Rival

FIN, SYN, RST, ACK = 1, 2, 4, 16


class Talk:
    """The state of one connection; `a` is the sender of the first packet (for a self-connect, `b` is the same end)."""

    __slots__ = (
        "a",
        "audit",
        "b",
        "calm",
        "client",
        "completeness",
        "destination",
        "destination_port",
        "fins",
        "first_flags",
        "first_ns",
        "first_number",
        "first_syn_ns",
        "last_ns",
        "late_data",
        "opening",
        "packets",
        "queued",
        "reset",
        "rival",
        "snapped",
        "source",
        "source_port",
        "states",
        "zeek",
    )

    def __init__(self, first: Packet, keep_stream: bool) -> None:
        self.source = source = first.source
        self.source_port = port = first.source_port
        self.destination = destination = first.destination
        self.destination_port = to_port = first.destination_port
        self.first_number = first.number
        self.first_flags = int(first.flags)
        self.first_ns = self.last_ns = self.first_syn_ns = first.time_ns
        self.a = End(keep_stream)
        self.b = self.a if port == to_port and source == destination else End(keep_stream)
        self.client: End | None = None
        self.opening = Opening()
        self.audit: Audit | None = None
        self.zeek = Zeek(first)
        self.completeness = 0
        self.packets: list[int] | array[int] = [] if keep_stream else array("Q")
        self.fins: list[End] = []
        self.late_data = False
        self.reset: Reset | None = None
        self.snapped: list[int] | None = None  # packets of which the capture kept less than there was
        self.states: list[tuple[int, bool, int, int, int]] = []  # time, whether `a`, before, after, packet
        self.calm = False  # plain segments in order need no closer look
        self.rival: Rival | None = None  # a SYN that may begin the next connection of these endpoints
        self.queued = False  # it waits to be given out

    def enter(self, end: End, event: int, time_ns: int, number: int) -> None:
        """Follow the table of states; a case that it does not have changes nothing."""
        before = end.state
        after = NEXT[event][before]
        if after >= 0:
            self.states.append((time_ns, end is self.a, before, after, number))
            end.state = after

    def note(self, rule: str, *packets: int, proven: bool = False) -> None:
        """Something for the audit."""
        if self.audit is None:
            self.audit = Audit()
        self.audit.note(rule, *packets, proven=proven)

    def peer_of(self, end: End) -> End:
        """The other end."""
        return self.b if end is self.a else self.a

    @property
    def is_over(self) -> bool:
        """Whether it is closed for good, as far as its packets tell: both FINs, or a reset that nothing contradicts."""
        if len(self.fins) > 1:
            return True
        return self.reset is not None and not self.reset.doubted
