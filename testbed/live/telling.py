"""What happened as a line of text: packets as the wire had them, states, steps, faults. Pure.

Sequence numbers are relative to each side's SYN, as Wireshark shows them; where that was not
seen, to its first segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from testbed import evidence as e
from testbed.decode.frames import Decoder
from testbed.packet import Flags, Packet, Protocol
from testbed.pcap.frame import Direction, Frame, LinkType
from testbed.report.arrows import labels
from testbed.report.escape import clean
from testbed.report.relative import MODULUS, segment
from testbed.report.style import Line
from testbed.verdict.merge import BEHIND, vantages

End = tuple[str, int]

STYLE_OF = {"packet": "", "state": "bold", "step": "dim", "fault": "lost", "problem": "unknown"}
KINDS = max(map(len, STYLE_OF))
_WITHOUT_WINDOW = 2  # among the labels of a segment, longest first


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one thing that happened."""

    time_ns: int | None  # None: when is not known
    kind: str  # of STYLE_OF
    where: str  # the host; empty of a packet, which is between two
    says: str


def told_once(so_far: e.Evidence) -> Callable[[Frame], bool]:
    """Which of a packet's frames is told: that of the wire or, where nobody hears the wire, the one its sender sent."""
    names = vantages(so_far)
    if e.WIRE in names:
        return lambda frame: frame.interface == names.index(e.WIRE)
    ends = {number for number, name in enumerate(names) if BEHIND not in name}
    return lambda frame: frame.interface in ends and frame.direction is Direction.OUT


class Teller:
    """Says what happened, with the hosts' names for their addresses."""

    def __init__(self, hosts: Mapping[str, str], *, unicode: bool = False) -> None:
        self._hosts = hosts  # names by address
        self._bases: dict[tuple[End, End], int] = {}  # (from, to) -> the sequence number that is shown as 0
        self._unicode = unicode
        self._decoder = Decoder()

    def frame(self, frame: Frame) -> Told | None:
        """A frame on the wire; None of one that carries no packet that we know."""
        packet = self._decoder.take(frame, 0, LinkType.ETHERNET)
        return self._packet(packet) if packet else None

    def _packet(self, packet: Packet) -> Told:
        said = labels(segment(self._relative(packet), None))
        shown = said[_WITHOUT_WINDOW] if len(said) > _WITHOUT_WINDOW and not packet.flags & Flags.SYN else said[0]
        source = self._end(packet.source, packet.source_port)
        destination = self._end(packet.destination, packet.destination_port)
        return self._told(packet.time_ns, "packet", "", f"{source} > {destination}  {shown}")

    def record(self, record: e.Record) -> Told | None:
        """What a host told; None of what is no event of its own."""
        match record:
            case e.StateSample():
                says = f"{record.before} > {record.after}  {record.socket}"
                return self._told(record.time_ns, "state", record.host, says)
            case e.StepOutcome():
                says = " ".join(filter(None, (record.step, record.outcome, record.errno, _amount(record))))
                return self._told(record.end_ns, "step", record.host, says)
            case e.FaultFired():
                return self._told(record.time_ns, "fault", record.host, f"{record.action}: {record.says}")
            case e.WireChanged():
                return self._told(record.time_ns, "fault", record.host, f"the wire is in phase {record.phase}")
            case e.LogLine():
                return self._told(record.time_ns, "step", record.host, f"log {record.line}")
            case e.ProgramEnd():
                return self._told(record.time_ns, "step", record.host, _ending(record))
            case e.Problem():
                return self._told(None, "problem", record.where, record.says)
            case _:
                return None

    def _told(self, time_ns: int | None, kind: str, where: str, says: str) -> Told:
        return Told(time_ns, kind, clean(where, unicode=self._unicode), clean(says, unicode=self._unicode))

    def _end(self, address: str, port: int) -> str:
        name = self._hosts.get(address) or (f"[{address}]" if ":" in address else address)
        return f"{name}:{port}" if port else name

    def _relative(self, packet: Packet) -> Packet:
        if packet.protocol != Protocol.TCP:
            return packet
        one, other = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
        syn, acks = packet.flags & Flags.SYN, packet.flags & Flags.ACK
        if syn:
            self._bases[one, other] = packet.sequence
        base = self._bases.setdefault((one, other), packet.sequence - 1)
        peer = self._bases.setdefault((other, one), packet.acknowledgement - 1) if acks else 0
        return replace(
            packet,
            sequence=(packet.sequence - base) % MODULUS,
            acknowledgement=(packet.acknowledgement - peer) % MODULUS if acks else 0,
        )


def _amount(step: e.StepOutcome) -> str:
    return f"{step.bytes} bytes" if step.bytes is not None else ""


def _ending(end: e.ProgramEnd) -> str:
    if end.held:
        return "holds its sockets"
    return f"ended by {end.signal}" if end.signal else f"ended with exit code {end.exit}"


def line_of(told: Told, origin_ns: int) -> Line:
    """`  0.010200  packet   client:40000 > server:7456  S seq 0`, with its time in seconds since the origin."""
    at = f"{(told.time_ns - origin_ns) / 1e9:10.6f}" if told.time_ns is not None else " " * 10
    where = f"{told.where}  " if told.where else ""
    style = STYLE_OF[told.kind]
    return ((at, "dim"), (f"  {told.kind:<{KINDS}}  ", style), (f"{where}{told.says}", style))
