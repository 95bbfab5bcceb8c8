"""What can be said of one TCP connection once its packets are seen: the values that `testbed.tcp` gives.

Times are nanoseconds since the epoch, durations nanoseconds; packet numbers are those of the capture. "Client" is the
originator (the sender of the first SYN, or who looks like it in a capture that starts in the middle), "server" the
responder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

Payload = bytes  # a field called `bytes` hides the type


class Role(StrEnum):
    """One end of a connection."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def peer(self) -> Role:
        """The other end."""
        return Role.SERVER if self is Role.CLIENT else Role.CLIENT


class HandshakeOutcome(StrEnum):
    """How a connection opened, or did not (RFC 9293 section 3.5)."""

    COMPLETE = "complete"  # SYN, SYN-ACK and an acceptable ACK of it (data or FIN may ride on it)
    UNANSWERED = "unanswered"  # SYNs, and nothing came back
    REFUSED = "refused"  # RST+ACK that acknowledges the SYN, before any SYN-ACK
    RESET = "reset"  # any other RST that ended the handshake before it was complete
    HALF_OPEN = "half-open"  # SYN-ACK seen, never acknowledged
    SIMULTANEOUS = "simultaneous"  # both sides sent a SYN (figure 7), and it completed
    FAST_OPEN = "fast-open"  # complete, and data on the SYN was accepted (RFC 7413)
    MID_STREAM = "mid-stream"  # the capture starts after the handshake


class TeardownKind(StrEnum):
    """How a connection closed (RFC 9293 section 3.6)."""

    FIN = "fin"  # both FINs, each acknowledged or its ack legitimately lost; one side closed first
    SIMULTANEOUS = "simultaneous"  # both FINs, and the second does not acknowledge the first
    HALF_CLOSE = (
        "half-close"  # one side's FIN only, or data flowed on after the first FIN was acknowledged -- see Teardown
    )
    RST = "rst"  # a reset ended it
    NONE = "none"  # still open when the capture ended, or never opened


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address and port of one end."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class OfferedOptions:
    """What one side's SYN or SYN-ACK offered."""

    mss: int | None = None
    window_scale: int | None = None
    sack: bool = False
    timestamps: bool = False
    fast_open: bool = False
    mptcp: bool = False
    ecn: bool = False  # RFC 3168: ECE and CWR on the SYN, ECE on the SYN-ACK
    accecn: bool = False  # RFC 9768: AE, CWR and ECE on the SYN, one of its four answers on the SYN-ACK


@dataclass(frozen=True, slots=True)
class Handshake:
    """The opening: outcome, counts, times, options, and the packets that show it.

    These are SYNs, SYN-ACKs and the completing ACK, or the RST that ended it.
    """

    outcome: HandshakeOutcome
    duration_ns: int | None = None  # first SYN to the ACK that completes it; None when it never completed
    syns: int = 0
    syn_acks: int = 0
    syn_retransmits: int = 0
    synack_retransmits: int = 0
    client_options: OfferedOptions = OfferedOptions()
    server_options: OfferedOptions = OfferedOptions()
    packets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Teardown:
    """The closing: kind, who closed first, retransmits, who reset and in which state, and the packets that show it.

    `half-close` is a FIN-by-both close in which the side that had not yet closed sent data after the other's FIN was
    acknowledged, or a close of which only one FIN was ever seen.
    """

    kind: TeardownKind
    closed_first: Role | None = None  # sender of the first FIN; None for a reset without FIN, and simultaneous
    fin_retransmits: int = 0
    reset_by: Role | None = None
    reset_state: str | None = None  # the resetting side's state as inferred, e.g. "ESTABLISHED"
    packets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """What one side sent: unique bytes, the stream put together, and what was not in order."""

    bytes: int = 0  # unique payload bytes by sequence number
    stream: Payload = b""  # reassembled, up to the first gap
    segments: int = 0  # packets with payload
    retransmits: int = 0  # packets that carry sequence space (data) already sent; SYN and FIN copies not counted here
    out_of_order: int = 0
    duplicate_acks: int = 0
    zero_windows: int = 0
    gaps: int = 0  # holes in the sequence space that the capture never showed
    retransmitted_packets: tuple[int, ...] = ()
    data_packets: tuple[int, ...] = ()
    duplicates: int = 0  # frames that the path doubled (same IP id at nearly the same time); not retransmissions
    keep_alives: int = 0  # of a byte already acknowledged or of none at all (RFC 9293 section 3.8.4)
    window_probes: int = 0  # of one byte into a closed window (RFC 9293 section 3.8.6.1)
    largest_segment: int = 0  # payload bytes in one packet


class FindingKind(StrEnum):
    """What sort of thing the audit found."""

    PROTOCOL = "protocol"  # an end, or somebody in between, broke a rule
    CAPTURE = "capture"  # the capture does not show what was on the wire, or not as it was
    NOTE = "note"  # allowed, yet out of the ordinary; explains what other tools make of it


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that packets break (or seem to): rule, words, packets, how sure, where it is written, what kind."""

    rule: str
    says: str
    packets: tuple[int, ...]
    sure: bool = True
    section: str = ""  # e.g. "RFC 5961 section 3.2"
    kind: FindingKind = FindingKind.PROTOCOL


@dataclass(frozen=True, slots=True)
class StateChange:
    """A state that one end entered, as inferred from the wire (RFC 9293 section 3.3.2)."""

    time_ns: int
    role: Role
    before: str
    after: str
    packet: int


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection as its packets show it."""

    client: Endpoint
    server: Endpoint
    handshake: Handshake
    teardown: Teardown
    client_flow: Flow
    server_flow: Flow
    conn_state: str  # Zeek's conn_state
    history: str  # Zeek's history
    completeness: int  # Wireshark's tcp.completeness
    packets: tuple[int, ...]
    first_ns: int
    last_ns: int
    client_isn: int | None = None
    server_isn: int | None = None
    states: Sequence[StateChange] = ()
    audit: tuple[Finding, ...] = ()

    def flow(self, role: Role) -> Flow:
        """What that end sent."""
        return self.client_flow if role is Role.CLIENT else self.server_flow
