"""One end of a connection while its packets pass: what it sent, acknowledged and granted.

Offsets count from this end's initial sequence number (see `sequence`): `next`, `fin` and the stream are in its own
space; `ack` and `edge` (acknowledged, and the right edge of the window granted) are in its peer's.
"""

from __future__ import annotations

from testbed.packet import Flags, Packet
from testbed.tcp.connection import Flow, OfferedOptions
from testbed.tcp.sequence import MASK
from testbed.tcp.states import State
from testbed.tcp.stream import Stream

COPY_NS = 100_000_000  # two frames with one IP id within this time are one packet that the path doubled
LARGEST_SHIFT = 14  # RFC 7323 section 2.3

_ECN_SETUP = int(Flags.ECE | Flags.CWR)


class End:
    """Mutable; one per side and connection."""

    __slots__ = (
        "ack",
        "asks",
        "bogus_acks",
        "data",
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
        "md5",
        "next",
        "offered",
        "options",
        "origin",
        "other_isns",
        "out_of_order",
        "probe",
        "repeated",
        "shift",
        "silent",
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
        "wants_scale",
        "window",
        "zero_windows",
    )

    def __init__(self) -> None:
        self.isn: int | None = None
        self.origin: int | None = None
        self.silent = True  # no segment of its own seen that tells where it is
        self.next = 1
        self.ack = 0
        self.asks = 0  # duplicate ACKs in a row
        self.edge = 0
        self.window = -1
        self.shift = LARGEST_SHIFT  # until a SYN says otherwise, so that nobody is blamed for a late capture
        self.stream = Stream()
        self.state = State.CLOSE
        self.syns: list[int] = []
        self.syn_acks: list[int] = []
        self.other_isns: list[int] = []
        self.syn_retransmits = self.synack_retransmits = 0
        self.syn_payload = b""
        self.syn_length = 0
        self.syn_fin = False
        self.syn_acked = False
        self.md5 = False
        self.wants_scale: int | None = None
        self.options = OfferedOptions()
        self.offered: set[str] = set()
        self.data: list[int] = []
        self.repeated: list[int] = []
        self.out_of_order = self.duplicates = self.duplicate_acks = self.zero_windows = 0
        self.probe: tuple[int, bytes] | None = None
        self.fin: int | None = None
        self.fin_packets: list[int] = []
        self.fin_retransmits = 0
        self.fin_ack: int | None = None  # the packet that acknowledged it
        self.fin_answers = False  # its first copy acknowledged the peer's FIN
        self.suspect_fin: int | None = None  # came with an acknowledgement of data never sent
        self.bogus_acks: list[tuple[int, int]] = []  # (packet, offset) that acknowledge more than this end had sent
        self.ids: dict[int, tuple[int, int]] = {}

    def begin(self, isn: int) -> None:
        """Its numbers start here: a SYN or SYN-ACK."""
        self.isn = self.origin = isn
        self.silent = False

    def adopt(self, raw: int) -> None:
        """Guess where its numbers start, in a capture that does not show its SYN: `raw` is the next byte."""
        self.origin = (raw - 1) & MASK

    def is_copy(self, packet: Packet) -> bool:
        """Whether this frame is one already seen, doubled by the path; remembers it otherwise."""
        if not packet.ip_id:
            return False
        before = self.ids.get(packet.ip_id)
        self.ids[packet.ip_id] = (packet.sequence, packet.time_ns)
        return before is not None and before[0] == packet.sequence and packet.time_ns - before[1] <= COPY_NS

    def offer(self, packet: Packet, flags: int) -> None:
        """Read the options of its SYN or SYN-ACK."""
        o = packet.options
        ecn = flags & _ECN_SETUP == _ECN_SETUP or bool(flags & Flags.ACK and flags & Flags.ECE)
        self.wants_scale = o.window_scale
        self.md5 = o.md5
        self.options = OfferedOptions(
            o.mss, o.window_scale, o.sack_permitted, o.timestamps is not None, o.fast_open is not None, o.mptcp, ecn
        )
        self.offered |= {name for name, there in self._named() if there}

    def flow(self) -> Flow:
        """The value of what it sent."""
        stream = self.stream
        misses_tail = self.misses_tail()
        return Flow(
            bytes=stream.unique,
            stream=stream.joined(),
            segments=len(self.data),
            retransmits=len(self.repeated),
            out_of_order=self.out_of_order,
            duplicate_acks=self.duplicate_acks,
            zero_windows=self.zero_windows,
            gaps=stream.holes() + (1 if misses_tail else 0),
            retransmitted_packets=tuple(self.repeated),
            data_packets=tuple(self.data),
            duplicates=self.duplicates,
        )

    def misses_tail(self) -> bool:
        """Whether its FIN lies beyond the bytes seen, so that some before it are missing."""
        return self.fin is not None and self.stream.highest < self.fin

    def _named(self) -> tuple[tuple[str, bool], ...]:
        o = self.options
        return (
            ("window-scale", o.window_scale is not None),
            ("sack", o.sack),
            ("timestamps", o.timestamps),
            ("fast-open", o.fast_open),
            ("ecn", o.ecn),
        )
