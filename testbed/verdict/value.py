"""What judging gives: checks with three-valued verdicts, and the view of the packets that they rest on.

Packet numbers are those of the merged trace (`trace.pcapng`), as Wireshark counts them, starting at 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from testbed.evidence import Evidence
from testbed.packet import Packet
from testbed.pcap.frame import Capture
from testbed.tcp.connection import Connection

if TYPE_CHECKING:
    from testbed.verdict.wire import Traffic


class Outcome(StrEnum):
    """A verdict: unknown where we could not see well enough to say passed or failed."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


# Causes of a loss that are neither a fault nor a blackhole, besides "chance".
NEVER_CAPTURED = "never captured"  # nothing explains it
FULL = "queue full"
EITHER = "chance or a full queue"


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation held against the evidence."""

    name: str  # "handshake.outcome"
    verdict: Outcome
    expected: str  # in the scenario's notation
    seen: str  # in the same notation
    why: str = ""  # empty when passed
    packets: tuple[int, ...] = ()
    line: int | None = None  # of the scenario file


class Change(StrEnum):
    """What the wire made of a packet that it did not just carry."""

    NONE = ""
    DELAYED = "delayed"  # by a fault, longer than its direction asks
    REWRITTEN = "rewritten"
    CORRUPTED = "corrupted"
    DUPLICATED = "duplicated"
    FORGED = "forged"  # nobody sent it


@dataclass(frozen=True, slots=True)
class Trip:
    """One packet's way: where it was seen (numbers in the trace), and how it ended.

    `sent` at the sender's interface, `wire` at the sniffer, `arrived` at the receiver's interface, `delivered` behind
    the receiver's impaired link (None where there is no link: then arrival is delivery). Of a packet that was rewritten
    or corrupted on the link, `delivered` is what came out of it.
    """

    source: str  # host name
    destination: str
    sent: int | None
    wire: int | None
    arrived: int | None
    delivered: int | None
    sent_ns: int | None
    ended_ns: int | None  # when it arrived, or was delivered behind a link
    fate: str  # "delivered", "lost", "duplicate"
    cause: str = ""  # of a loss: "fault 0: drop SYN-ACK", "chance", "blackhole", "queue full", "never captured"
    change: Change = Change.NONE
    by: str = ""  # what changed or made it: "fault 0: rewrite SYN", "chance"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The packet at each place that saw it, along its way."""
        return tuple(n for n in (self.sent, self.wire, self.arrived, self.delivered) if n is not None)

    @property
    def number(self) -> int:
        """The packet as the wire saw it, or else the first place that did."""
        return self.numbers[0] if self.wire is None else self.wire


@dataclass(frozen=True, slots=True)
class FaultHit:
    """An entry of the wire's ledger, and the packet of the trace that it speaks of (as the wire saw it)."""

    time_ns: int
    host: str  # on whose arrival side
    rule: int  # index among the scenario's faults
    says: str  # "fault 0: drop SYN-ACK"
    packet: int | None  # the one that came
    made: tuple[int, ...] = ()  # what the fault made of it, or beside it


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict of a run, its checks, and the view of the packets that report and terminal draw."""

    verdict: Outcome
    checks: tuple[Check, ...]
    connections: tuple[Connection, ...]  # as the wire's vantage point shows them; packet numbers of the trace
    trips: tuple[Trip, ...]
    packets: tuple[Packet, ...]  # every decoded packet of the trace, all vantage points
    trace: Capture  # all vantage points merged in order of time, comments on packets
    evidence: Evidence
    faults: tuple[FaultHit, ...] = ()
    traffic: tuple[Traffic, ...] = ()  # each direction of the wire, measured
