"""A conversation over scapy that keeps sequence numbers, so that a capture is made by saying who sends what.

    talk = Conversation()
    client, server = talk.ends
    talk.open()                 # S, S., .
    client.data(27)
    server.ack()
    talk.close(client)          # F., F., .

Numbers are relative to each end's initial sequence number, as in packetdrill: 0 is the SYN, 1 the first byte. `seq`
defaults to the next one to send, `ack` to all that the other end has sent. Packets come 10 ms apart; `wait` adds
to that. `unseen` packets are sent and not captured. Payload is a function of its place, so that copies are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from scapy.layers.inet import IP, TCP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Packet as Layer

from captures.files import Record, write_pcap
from captures.links import ETHERNET, Link

Options = Sequence[tuple[Any, Any]]

_cut: Any = fragment  # scapy says nothing of its types
_cut6: Any = fragment6
_tcp: Any = TCP

START_NS = 1_700_000_000_000_000_000
STEP_NS = 10_000_000
WINDOW = 64240


class Tape:
    """What the capture holds so far, and what time it is."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self.records: list[Record] = []

    def record(self, data: bytes, length: int | None = None, interface: int = 0) -> None:
        """Add a frame and let 10 ms pass."""
        self.records.append(Record(self.now_ns, data, length or len(data), interface))
        self.now_ns += STEP_NS

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += round(seconds * 1e9)

    def double(self) -> None:
        """Record each frame twice, 3 us apart and bit for bit the same, as a mirror port of both directions does."""
        pairs = [(record, replace(record, time_ns=record.time_ns + 3000)) for record in self.records]
        self.records = [copy for pair in pairs for copy in pair]

    def swap(self, one: int, other: int) -> None:
        """Exchange two frames' places (by number) in the capture; the times stay in order."""
        a, b = self.records[one - 1], self.records[other - 1]
        self.records[one - 1] = replace(b, time_ns=a.time_ns)
        self.records[other - 1] = replace(a, time_ns=b.time_ns)


class End:
    """One end: its address, what it sends next, and how its packets look."""

    def __init__(self, talk: Conversation, address: str, port: int, isn: int, first_id: int) -> None:
        self.talk, self.address, self.port, self.isn = talk, address, port, isn
        self.next = 0
        self.ip_id = first_id
        self.window = WINDOW
        self.options: Options = ()  # on every segment that says nothing else
        self.interface = 0
        self.snap: int | None = None

    @property
    def peer(self) -> End:
        """The other end."""
        return self.talk.server if self is self.talk.client else self.talk.client

    def send(
        self,
        flags: str,
        size: int = 0,
        *,
        seq: int | None = None,
        ack: int | None = None,
        raw_seq: int | None = None,
        payload: bytes | None = None,
        window: int | None = None,
        options: Options | None = None,
        unseen: bool = False,
        fragment_size: int = 0,
        ip_length: int | None = None,
        **fields: int,
    ) -> None:
        """Send a segment; `flags` as scapy writes them (FSRPAUECN), `fields` as scapy names those of TCP."""
        place = self.next if seq is None else seq
        body = bytes((place + i) % 251 for i in range(size)) if payload is None else payload
        if "R" not in flags:
            self.next = max(self.next, place + len(body) + ("S" in flags) + ("F" in flags))
        self.ip_id += 1
        if unseen:
            return
        said = (self.peer.next if ack is None else ack) if "A" in flags or ack is not None else None
        segment = _tcp(
            sport=self.port,
            dport=self.peer.port,
            flags=flags,
            seq=(self.isn + place if raw_seq is None else raw_seq) % 2**32,
            ack=0 if said is None else (self.peer.isn + said) % 2**32,
            window=self.window if window is None else window,
            options=list(self.options if options is None else options),
            **fields,
        )
        for data in self._datagrams(segment / body, fragment_size, ip_length):
            frame = self.talk.link.wrap(data, self is self.talk.client)
            kept = frame if self.snap is None else frame[: self.snap]
            self.talk.tape.record(kept, len(frame), self.interface)

    def syn(self, size: int = 0, **how: Any) -> None:
        """A SYN, with the same number each time."""
        self.send("S", size, seq=0, **how)

    def syn_ack(self, size: int = 0, **how: Any) -> None:
        """A SYN-ACK, with the same number each time."""
        self.send("SA", size, seq=0, **how)

    def ack(self, ack: int | None = None, **how: Any) -> None:
        """A bare ACK."""
        self.send("A", ack=ack, **how)

    def data(self, size: int, **how: Any) -> None:
        """Bytes, pushed."""
        self.send("PA", size, **how)

    def fin(self, size: int = 0, **how: Any) -> None:
        """A FIN, perhaps on the last bytes."""
        self.send("FA", size, **how)

    def reset(self, **how: Any) -> None:
        """A RST without ACK."""
        self.send("R", **how)

    def reset_ack(self, **how: Any) -> None:
        """A RST with ACK."""
        self.send("RA", **how)

    def _datagrams(self, body: Layer, fragment_size: int, ip_length: int | None) -> list[Layer]:
        talk = self.talk
        header: Layer
        if ":" not in self.address:
            flags = "" if fragment_size else "DF"
            header = IP(src=self.address, dst=self.peer.address, id=self.ip_id, flags=flags, options=talk.ip_options)
            header.chksum, header.len = talk.ip_checksum, ip_length
            return [*_cut(header / body, fragment_size)] if fragment_size else [header / body]
        header = IPv6(src=self.address, dst=self.peer.address)
        for extension in talk.extensions:
            header = header / extension.copy()
        if fragment_size:
            return [*_cut6(header / IPv6ExtHdrFragment(id=self.ip_id) / body, fragment_size)]
        return [header / body]


class Conversation:
    """Two ends on a tape. A second conversation on the same `tape` shares its clock and its capture."""

    def __init__(
        self,
        *,
        tape: Tape | None = None,
        client: tuple[str, int] = ("198.18.0.1", 40000),
        server: tuple[str, int] = ("198.18.0.2", 7456),
        isns: tuple[int, int] = (1000, 5000),
        link: Link = ETHERNET,
        ip_options: bytes = b"",
        extensions: Sequence[Layer] = (),
    ) -> None:
        self.tape = tape or Tape()
        self.link, self.ip_options, self.extensions = link, ip_options, extensions
        self.ip_checksum: int | None = None  # what scapy computes
        used = len(self.tape.records)
        self.client = End(self, *client, isns[0], 100 + used)
        self.server = End(self, *server, isns[1], 9000 + used)

    @property
    def ends(self) -> tuple[End, End]:
        """Client and server."""
        return self.client, self.server

    def open(self) -> None:
        """The three-way handshake."""
        self.client.syn()
        self.server.syn_ack()
        self.client.ack()

    def close(self, first: End) -> None:
        """An orderly close in three segments."""
        first.fin()
        first.peer.fin()
        first.ack()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.tape.wait(seconds)

    def again(self, isns: tuple[int, int]) -> Conversation:
        """A new conversation between the same ports, on the same tape."""
        client, server = self.ends
        return Conversation(
            tape=self.tape,
            client=(client.address, client.port),
            server=(server.address, server.port),
            isns=isns,
            link=self.link,
        )

    def pcap(self, **form: Any) -> bytes:
        """The capture as a pcap file (see `files.write_pcap`)."""
        return write_pcap(self.tape.records, self.link.number, **form)
