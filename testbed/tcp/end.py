"""One end of a connection while its packets pass: what it sent, acknowledged and granted.

Offsets count from this end's initial sequence number (see `sequence`): `next`, `fin` and the stream are in its own
space; `ack` and `edge` (acknowledged, and the right edge of the window granted) are in its peer's. `base` is what to
take from a number on the wire to have its offset, as long as the number has not wrapped since the last packet that was
looked at closely. What few connections need is None until it is needed.
"""

from __future__ import annotations

from array import array

from testbed.packet import Packet
from testbed.tcp.connection import Flow, OfferedOptions
from testbed.tcp.options import NOTHING_OFFERED
from testbed.tcp.sequence import MASK, unwrap
from testbed.tcp.states import CLOSE
from testbed.tcp.stream import Stream

COPY_NS = 100_000_000  # two frames with one IP id within this time are one packet that the path doubled
LARGEST_SHIFT = 14  # RFC 7323 section 2.3
UNKNOWN_MSS = 1 << 32


class End:
    """Mutable; one per side and connection."""

    __slots__ = (
        "ack",
        "ack_letter",
        "aside",
        "asked",
        "asks",
        "base",
        "bogus_acks",
        "data",
        "data_letter",
        "duplicate_acks",
        "duplicates",
        "edge",
        "fin",
        "fin_ack",
        "fin_answers",
        "fin_packets",
        "fin_retransmits",
        "ids",
        "isn",
        "jumps",
        "keep_alives",
        "largest",
        "largest_packet",
        "md5",
        "mss",
        "next",
        "opened_ns",
        "options",
        "origin",
        "other_isns",
        "out_of_order",
        "repeated",
        "rto_ns",
        "shift",
        "silent",
        "spoke",
        "stamp",
        "stamped",
        "state",
        "stream",
        "suspect_fin",
        "syn_acked",
        "syn_acks",
        "syn_fin",
        "syn_length",
        "syn_payload",
        "syn_retransmits",
        "synack_retransmits",
        "syns",
        "ttl",
        "wants_scale",
        "window",
        "window_probes",
        "zero_windows",
    )

    def __init__(self, keep_stream: bool) -> None:
        self.isn: int | None = None
        self.origin: int | None = None
        self.base = 0
        self.silent = True  # no segment of its own seen that tells where it is
        self.spoke = 0  # the number of its first segment with ACK that is no SYN and no RST
        self.next = 1
        self.ack = 0
        self.asks = 0  # duplicate ACKs in a row
        self.edge = 0
        self.window = -1
        self.shift = LARGEST_SHIFT  # until a SYN says otherwise, so that nobody is blamed for a late capture
        self.stream = Stream(keep_stream)
        self.state = CLOSE
        self.syns: list[int] = []
        self.syn_acks: list[int] = []
        self.other_isns: list[int] | None = None
        self.syn_retransmits = self.synack_retransmits = 0
        self.opened_ns = self.rto_ns = 0  # its last SYN or SYN-ACK, and how long the one before that waited
        self.syn_payload = b""
        self.syn_length = 0
        self.syn_fin = self.syn_acked = self.md5 = False
        self.wants_scale: int | None = None
        self.mss = UNKNOWN_MSS  # that it can take
        self.options = NOTHING_OFFERED
        self.asked: OfferedOptions | None = None  # by its first SYN; copies may offer less
        self.stamped = False  # both agreed on timestamps
        self.stamp = -1  # TS.Recent of its peer: the last timestamp that counts
        self.ttl = 0
        self.data: list[int] | array[int] = [] if keep_stream else array("Q")
        self.repeated: list[int] | None = None
        self.largest = self.largest_packet = 0
        self.out_of_order = self.duplicates = self.duplicate_acks = self.zero_windows = 0
        self.keep_alives = self.window_probes = 0
        self.data_letter = self.ack_letter = ""  # what Zeek writes at its next plain segment
        self.aside: list[tuple[int, int, bytes, int]] | None = None  # (start, end, payload, packet), should it be acked
        self.jumps: list[tuple[int, int]] | None = None  # (start, packet) of what came after a hole
        self.fin: int | None = None
        self.fin_packets: list[int] | None = None
        self.fin_retransmits = 0
        self.fin_ack: int | None = None  # the packet that acknowledged it
        self.fin_answers = False  # its first copy acknowledged the peer's FIN
        self.suspect_fin: int | None = None  # came with an acknowledgement of data never sent
        self.bogus_acks: list[tuple[int, int, int]] | None = None  # (packet, offset, time) beyond what it had sent
        self.ids: dict[int, int] = {}

    def begin(self, isn: int) -> None:
        """Its numbers start here: a SYN or SYN-ACK."""
        self.isn = self.origin = self.base = isn
        self.silent = False

    def adopt(self, raw: int) -> None:
        """Guess where its numbers start, in a capture that does not show its SYN: `raw` is the next byte."""
        self.origin = self.base = (raw - 1) & MASK

    def offset(self, raw: int) -> int:
        """The offset that a number on the wire stands for: the one closest to its next byte."""
        return unwrap(raw, self.base, self.next)

    def is_copy(self, packet: Packet) -> bool:
        """Whether this frame is one already seen, doubled by the path; remembers it otherwise.

        A sender that gives all its packets one id tells nothing by it.
        """
        ip_id = packet.ip_id
        if not ip_id:
            return False
        ids, time_ns = self.ids, packet.time_ns
        before = ids.get(ip_id)
        ids[ip_id] = time_ns
        if before is None or time_ns - before > COPY_NS:
            return False
        return len(ids) > 1 or len({*self.data, *self.syns, *self.syn_acks, *(self.fin_packets or ())}) <= 1

    def add_repeated(self, packet: int) -> None:
        """File a retransmission of data."""
        if self.repeated is None:
            self.repeated = []
        self.repeated.append(packet)

    def flow(self, holes: int) -> Flow:
        """The value of what it sent."""
        stream = self.stream
        return Flow(
            bytes=stream.unique,
            stream=stream.joined(),
            segments=len(self.data),
            retransmits=len(self.repeated or ()),
            out_of_order=self.out_of_order,
            duplicate_acks=self.duplicate_acks,
            zero_windows=self.zero_windows,
            gaps=holes + self.misses_tail(),
            retransmitted_packets=tuple(self.repeated or ()),
            data_packets=tuple(self.data),
            duplicates=self.duplicates,
            keep_alives=self.keep_alives,
            window_probes=self.window_probes,
            largest_segment=self.largest,
        )

    def misses_tail(self) -> bool:
        """Whether its FIN lies beyond the bytes seen, so that some before it are missing."""
        return self.fin is not None and self.stream.highest < self.fin

    def offers(self, options: OfferedOptions) -> None:
        """It says what it can do (again)."""
        self.options = options
        if self.asked is None:
            self.asked = options
        if options.mss:
            self.mss = options.mss
