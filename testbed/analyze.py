"""Any capture, from chunks of its bytes to what is known of its connections. Pure.

There are two ways with equal results. The careful one decodes and follows packet by packet. The fast one does whole
blocks in columns (`testbed.columns`) and gives only what is not plain to the careful one; it needs numpy, is taken for
captures that are large enough to be worth its import, and keeps no payload. Either way packets are taken in the order
of the file, as Zeek and Wireshark take them, and memory grows with what is open, not with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from testbed.analysis_json import analysis_json
from testbed.decode import Decoder
from testbed.decode.transport import UDP_TUNNELS
from testbed.packet import Packet, Protocol
from testbed.pcap import classic
from testbed.pcap.frame import Frame, Interface
from testbed.pcap.notes import Notes
from testbed.pcap.reader import open_capture
from testbed.tcp.connection import Connection
from testbed.tcp.follower import Follower

if TYPE_CHECKING:
    from testbed.columns.block import PlainBlock
    from testbed.columns.follow import Following
    from testbed.columns.records import Records

__all__ = ["Analysis", "Analyzer", "analysis_json", "analyze_capture"]

LARGE = 1 << 18  # bytes of a file from which on numpy is worth its import
KEEP_CLOSED = 1 << 14  # connections that are over and may still see packets


@dataclass(frozen=True, slots=True)
class Analysis:
    """A capture's connections, what was passed over and why, and what could not be read."""

    file: str
    packets: int
    skipped: Mapping[str, int]
    warnings: tuple[str, ...]
    connections: tuple[Connection, ...]


class Analyzer:
    """Takes a capture in chunks and gives its connections as they end; counts are whole once all were given.

    With `zeek_cuts` connections are cut in two where Zeek's timers would. `keep_packets` keeps every TCP packet.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        keep_stream: bool = False,
        keep_packets: bool = False,
        zeek_cuts: bool = False,
        columns: bool | None = None,
    ) -> None:
        self.notes = Notes()
        self.packets = 0
        self.kept: list[Packet] = []
        self._cut = 0  # packets that were not captured whole
        self._earlier = 0  # packets that are earlier than the one before
        self._latest_ns = 0
        self._decoder = Decoder()
        self._keep_packets = keep_packets
        self._follower = Follower(
            keep_stream=keep_stream, keep_closed=None if keep_stream else KEEP_CLOSED, zeek_cuts=zeek_cuts
        )
        chunks, large = _peek(chunks, LARGE)
        self._reader = open_capture(chunks, self.notes)
        plain = not (keep_stream or keep_packets or zeek_cuts)
        self._following = _columns() if plain and (large if columns is None else columns) else None

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why how many packets were passed over."""
        return {reason: count for reason, count in self._decoder.skipped.items() if count}

    @property
    def interfaces(self) -> list[Interface]:
        """Where packets were captured."""
        return self.notes.interfaces

    def missing(self) -> tuple[str, ...]:
        """What could not be read, and what the file says it does not hold."""
        dropped = sum(counts.dropped or 0 for counts in self.notes.statistics)
        return (*self.notes.all_warnings(), *_count(dropped, "dropped while capturing, as the file says"))

    def warnings(self) -> tuple[str, ...]:
        """What is missing, and what else makes the result less sure."""
        return (
            *self.missing(),
            *_count(self._cut, "not captured whole"),
            *_count(self._earlier, "earlier than the one before; they were taken in the order of the file"),
        )

    def results(self) -> Iterator[Connection | PlainBlock]:
        """The connections, some of them in blocks, in the order in which they end."""
        return self._fast(self._following) if self._following is not None else self._carefully()

    def connections(self) -> Iterator[Connection]:
        """The connections in the order in which they end."""
        for result in self.results():
            if isinstance(result, Connection):
                yield result
            else:
                yield from result.connections()

    def _carefully(self) -> Iterator[Connection]:
        yield from self._follower.follow(self._tcp_packets())
        yield from self._follower.finish()

    def _tcp_packets(self) -> Iterator[Packet]:
        for frame in self._reader.frames():
            packet = self._take_frame(frame)
            if packet is not None and packet.protocol == Protocol.TCP:
                if self._keep_packets:
                    self.kept.append(packet)
                yield packet

    def _take_frame(self, frame: Frame) -> Packet | None:
        """Count and decode the next frame."""
        self.packets += 1
        self._cut += frame.length > len(frame.data)
        self._earlier += frame.time_ns < self._latest_ns
        self._latest_ns = frame.time_ns
        return self._decode(frame, self.packets)

    def _decode(self, frame: Frame, number: int) -> Packet | None:
        packet = self._decoder.take(frame, number, self.interfaces[frame.interface].link_type)
        if packet is not None and packet.protocol == Protocol.UDP and packet.destination_port in UDP_TUNNELS:
            self._decoder.skipped[f"{UDP_TUNNELS[packet.destination_port]} (UDP port {packet.destination_port})"] += 1
        return packet

    # In columns

    def _fast(self, following: Following) -> Iterator[Connection | PlainBlock]:
        for stretch in self._stretches():
            if isinstance(stretch, list):
                for frame in stretch:
                    self._follow_packet(following, self._take_frame(frame))
            else:
                self._follow_block(following, stretch)
            yield from following.look()
        yield from following.finish()

    def _stretches(self) -> Iterator[Records | list[Frame]]:
        """The capture as records where they can be read in columns, else as frames."""
        from testbed.columns.records import classic_records, enhanced_records

        if isinstance(self._reader, classic.Reader):
            for data, offsets in self._reader.runs():
                yield classic_records(self._reader, data, offsets) or list(self._reader.read_run(data, offsets))
            return
        for run in self._reader.runs():
            if isinstance(run, Frame):
                yield [run]
            else:
                yield enhanced_records(self._reader, *run) or list(self._reader.read_run(*run))

    def _follow_block(self, following: Following, records: Records) -> None:
        first = self.packets + 1
        self.packets += len(records.start)
        self._cut += int((records.length > records.captured).sum())
        times = records.time_ns
        self._earlier += int((times[1:] < times[:-1]).sum()) + int(times[0] < self._latest_ns)
        self._latest_ns = int(times[-1])
        link_types = [interface.link_type for interface in self.interfaces]
        for row in following.take_block(records, first, link_types).tolist():
            self._follow_packet(following, self._decode(records.frame(row), first + row))

    @staticmethod
    def _follow_packet(following: Following, packet: Packet | None) -> None:
        if packet is not None and packet.protocol == Protocol.TCP:
            following.take_packet(packet)


def _count(packets: int, says: str) -> Iterator[str]:
    if packets:
        yield f"{packets} packet{'s were' if packets > 1 else ' was'} {says}"


def _peek(chunks: Iterable[bytes], size: int) -> tuple[Iterator[bytes], bool]:
    """The same chunks, and whether they are together at least so large."""
    rest = iter(chunks)
    ahead: list[bytes] = []
    have = 0
    while have < size and (chunk := next(rest, None)) is not None:
        ahead.append(chunk)
        have += len(chunk)
    return chain(ahead, rest), have >= size


def _columns() -> Following | None:
    try:
        from testbed.columns.follow import Following
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        return None
    return Following(keep_closed=KEEP_CLOSED)


def analyze_capture(data: bytes, file: str, *, keep_stream: bool = False, columns: bool | None = None) -> Analysis:
    """Analyse a pcap or pcapng file. Raises UsageError where it is neither."""
    analyzer = Analyzer((data,), keep_stream=keep_stream, columns=columns)
    connections = sorted(analyzer.connections(), key=lambda connection: connection.packets[0])
    return Analysis(file, analyzer.packets, dict(analyzer.skipped), analyzer.warnings(), tuple(connections))
