"""Judgements told by hand: a story of packets between two hosts, and what judging would have made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache

from testbed.agent.impairments import Impairment
from testbed.evidence import (
    CaptureCount,
    Evidence,
    FaultFired,
    HostFacts,
    LinkCount,
    LogLine,
    Problem,
    Record,
    RunFacts,
    StateSample,
    StepOutcome,
    TableRow,
    TableSnapshot,
)
from testbed.packet import Flags, Options, Packet, Protocol
from testbed.pcap.frame import Capture
from testbed.scenario.model import Host, Scenario
from testbed.tcp.connection import (
    Connection,
    Endpoint,
    Finding,
    Flow,
    Handshake,
    HandshakeOutcome,
    OfferedOptions,
    Role,
    Teardown,
    TeardownKind,
)
from testbed.verdict.value import Check, Judgement, Outcome, Trip
from testbed.verdict.wire import Share, Traffic

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
ADDRESSES = {"client": "198.18.0.2", "server": "198.18.0.3"}
ISNS = {"client": 4_294_967_290, "server": 77_000}  # the client's wraps within the first packets
LETTERS = {"F": Flags.FIN, "S": Flags.SYN, "R": Flags.RST, "P": Flags.PSH, ".": Flags.ACK}
SYN_OPTIONS = Options(mss=1460, window_scale=7, sack_permitted=True)
OFFER = OfferedOptions(mss=1460, window_scale=7, sack=True)


@dataclass
class Story:
    """Packets in the order they are sent; every vantage point that sees one numbers it."""

    links: bool = False  # hosts have an impaired link: delivery is behind arrival
    packets: list[Packet] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    def send(
        self,
        at_ms: float,
        source: str,
        flags: str = "",
        seq: int = 0,
        ack: int | None = None,
        *,
        payload: bytes = b"",
        window: int = 502,
        ports: tuple[int, int] = (40000, 7456),
        took_ms: float = 0.05,
        lost: str = "",
        cause: str = "",
        forged: bool = False,
        protocol: int = Protocol.TCP,
    ) -> int:
        """Send one packet; `lost` is before, behind or arrival. Gives its number on the wire."""
        destination = "server" if source == "client" else "client"
        template = self._packet(source, destination, flags, seq, ack, payload, window, ports, protocol)
        sent_ns = START_NS + round(at_ms * MS)
        ended_ns = sent_ns + round(took_ms * MS)
        sent = None if forged else self._see(template, sent_ns, 0)
        wire = None if lost == "before" else self._see(template, sent_ns + 10_000, 1)
        arrived = None if lost in {"before", "behind"} else self._see(template, sent_ns + 20_000, 2)
        delivered = self._see(template, ended_ns, 3) if self.links and not lost else None
        fate = "lost" if lost else "delivered"
        times = (None if forged else sent_ns, None if lost else ended_ns)
        self.trips.append(Trip(source, destination, sent, wire, arrived, delivered, *times, fate, cause))
        seen = [number for number in (wire, sent, arrived) if number is not None]
        return seen[0]

    def _packet(
        self,
        source: str,
        destination: str,
        flags: str,
        seq: int,
        ack: int | None,
        payload: bytes,
        window: int,
        ports: tuple[int, int],
        protocol: int,
    ) -> Packet:
        bits = Flags.NONE
        for letter in flags:
            bits |= LETTERS[letter]
        there = ports if source == "client" else ports[::-1]
        return Packet(
            number=0,
            time_ns=0,
            source=ADDRESSES[source],
            source_port=there[0],
            destination=ADDRESSES[destination],
            destination_port=there[1],
            protocol=protocol,
            sequence=(ISNS[source] + seq) % 2**32 if flags else 0,
            acknowledgement=0 if ack is None else (ISNS[destination] + ack) % 2**32,
            flags=bits,
            window=window,
            options=SYN_OPTIONS if "S" in flags else Options(),
            payload=payload,
            payload_length=len(payload),
        )

    def _see(self, template: Packet, time_ns: int, interface: int) -> int:
        number = len(self.packets) + 1
        self.packets.append(replace(template, number=number, time_ns=time_ns, interface=interface))
        return number

    def state(self, at_ms: float, host: str, before: str, after: str, socket: str = "198.18.0.2:40000") -> None:
        """A kernel socket changes its state."""
        self.records.append(StateSample(host, START_NS + round(at_ms * MS), socket, before, after))

    def wire_numbers(self, port: int = 40000) -> tuple[int, ...]:
        """The numbers of one connection's packets at the wire."""
        wire = {trip.wire for trip in self.trips if trip.wire}
        return tuple(p.number for p in self.packets if p.number in wire and port in (p.source_port, p.destination_port))

    def connection(
        self,
        outcome: HandshakeOutcome,
        teardown: Teardown,
        *,
        client_bytes: int = 0,
        port: int = 40000,
        history: str = "",
        conn_state: str = "",
        retransmitted: tuple[int, ...] = (),
        isns: bool = True,
    ) -> Connection:
        """What the analysis would say of the packets from one client port."""
        numbers = self.wire_numbers(port)
        times = [self.packets[number - 1].time_ns for number in numbers]
        answered = outcome not in {HandshakeOutcome.REFUSED, HandshakeOutcome.MID_STREAM}
        offers = (OFFER, OFFER if answered else OfferedOptions())
        return Connection(
            Endpoint(ADDRESSES["client"], port),
            Endpoint(ADDRESSES["server"], 7456),
            Handshake(outcome, client_options=offers[0], server_options=offers[1]),
            teardown,
            Flow(bytes=client_bytes, retransmits=len(retransmitted), retransmitted_packets=retransmitted),
            Flow(),
            conn_state,
            history,
            31,
            numbers,
            min(times),
            max(times),
            client_isn=ISNS["client"] if isns else None,
            server_isn=ISNS["server"] if isns and answered else None,
        )


def judge_by_hand(
    story: Story,
    *,
    name: str = "hola",
    summary: str = "The client says hello and closes; the server reads it to the end.",
    connections: Iterable[Connection] = (),
    checks: Iterable[Check] = (),
    verdict: Outcome = Outcome.PASSED,
    traffic: Iterable[Traffic] = (),
) -> Judgement:
    """The story as a judgement."""
    scenario = Scenario(summary=summary, hosts={"client": Host(), "server": Host()})
    run = RunFacts(
        run_id="20231114-221320-c0ffee",
        scenario=name,
        scenario_file=f"scenarios/seeds/{name}.yaml",
        backend="netns",
        backend_why="no Docker engine answers",
        engine="portable" if story.links else "none",
        engine_why="the scenario has packet faults" if story.links else "nothing to impair",
        family="ipv4",
        seed=7,
        started_ns=START_NS - 100 * MS,
        versions={"testbed": "0.1.0", "python": "3.11.2", "kernel": "6.18.0"},
        sysctls={"net.ipv4.tcp_syn_retries": "3"},
        lines={},
    )
    hosts = [
        HostFacts(host, host, address, "02:00:00:00:00:01", "6.18.0", "eth0") for host, address in ADDRESSES.items()
    ]
    counts = [
        CaptureCount("wire", "sniffer", "eth0", len(story.trips), 0),
        *(CaptureCount(f"{host}-eth0", host, "eth0", len(story.trips), 0) for host in ADDRESSES),
    ]
    evidence = Evidence(scenario, (run, *hosts, *counts, *story.records))
    return Judgement(
        verdict,
        tuple(checks),
        tuple(connections),
        tuple(story.trips),
        tuple(story.packets),
        Capture((), ()),
        evidence,
        traffic=tuple(traffic),
    )


def passed(name: str, seen: str, *packets: int, line: int | None = None) -> Check:
    """A check that passed."""
    return Check(name, Outcome.PASSED, seen, seen, packets=packets, line=line)


GREETING = b"Hola server, are you bored?"


def tell_hola(story: Story, *, port: int = 40000, at_ms: float = 0.0, states: bool = True) -> None:
    """The seed: three packets to open, 27 bytes, four to close, and the states of both kernels."""
    ports = (port, 7456)
    socket = f"198.18.0.2:{port} 198.18.0.3:7456"
    if states and not story.trips:
        story.state(at_ms - 30, "server", "CLOSE", "LISTEN", "0.0.0.0:7456")
    if states:
        story.state(at_ms + 0.02, "client", "CLOSE", "SYN_SENT", socket)
        story.state(at_ms + 0.09, "server", "LISTEN", "SYN_RECV", socket)
        story.state(at_ms + 0.14, "client", "SYN_SENT", "ESTABLISHED", socket)
        story.state(at_ms + 0.21, "server", "SYN_RECV", "ESTABLISHED", socket)
        story.state(at_ms + 0.42, "client", "ESTABLISHED", "FIN_WAIT1", socket)
        story.state(at_ms + 0.47, "server", "ESTABLISHED", "CLOSE_WAIT", socket)
        story.state(at_ms + 0.57, "server", "CLOSE_WAIT", "LAST_ACK", socket)
        story.state(at_ms + 0.62, "client", "FIN_WAIT2", "TIME_WAIT", socket)
        story.state(at_ms + 0.71, "server", "LAST_ACK", "CLOSE", socket)
    story.send(at_ms, "client", "S", 0, window=64240, ports=ports)
    story.send(at_ms + 0.08, "server", "S.", 0, 1, window=65160, ports=ports)
    story.send(at_ms + 0.15, "client", ".", 1, 1, ports=ports)
    story.send(at_ms + 0.25, "client", "P.", 1, 1, payload=GREETING, ports=ports)
    story.send(at_ms + 0.32, "server", ".", 1, 28, window=509, ports=ports)
    story.send(at_ms + 0.41, "client", "F.", 28, 1, ports=ports)
    story.send(at_ms + 0.48, "server", ".", 1, 29, window=509, ports=ports)
    story.send(at_ms + 0.56, "server", "F.", 1, 29, window=509, ports=ports)
    story.send(at_ms + 0.63, "client", ".", 29, 2, ports=ports)


def hola() -> Judgement:
    """Everything as it should be."""
    story = Story()
    tell_hola(story)
    steps = (
        ("server", "0", "listen", -30.0, -29.0),
        ("client", "0", "connect", -0.1, 0.14),
        ("client", "1", "send", 0.2, 0.26),
    )
    for host, path, step, start, end in steps:
        story.records.append(
            StepOutcome(host, path, step, "ok", START_NS + round(start * MS), START_NS + round(end * MS))
        )
    story.records.append(LogLine("server", START_NS + MS, "Got connection from ('198.18.0.2', 40000)"))
    rows = (TableRow("LISTEN", "0.0.0.0:7456", "0.0.0.0:*"),)
    story.records.append(TableSnapshot("server", "after", START_NS + MS, rows))
    connection = story.connection(
        HandshakeOutcome.COMPLETE,
        Teardown(TeardownKind.FIN, Role.CLIENT),
        client_bytes=27,
        history="ShADadFf",
        conn_state="SF",
    )
    checks = (
        passed("handshake.outcome", "complete", 2, 5, 8, line=12),
        passed("teardown.kind", "fin", 17, 23, line=13),
        passed("payload.client->server", '"Hola server, are you bored?"', 11, line=14),
    )
    return judge_by_hand(story, connections=[connection], checks=checks)


def lost_synack() -> Judgement:
    """The first SYN-ACK is dropped on arrival; both timers fire; one check fails and one cannot be told."""
    story = Story(links=True)
    story.state(0.02, "client", "CLOSE", "SYN_SENT")
    story.send(0, "client", "S", 0, window=64240, took_ms=10.2)
    gone = story.send(10.3, "server", "S.", 0, 1, window=65160, lost="arrival", cause="fault 0: drop SYN-ACK")
    story.records.append(FaultFired("client", START_NS + 11 * MS, 0, "drop", "drop SYN-ACK from server"))
    story.records.append(LinkCount("client", "portable", 4, 3, 1, 0))
    share = Share("server", "client", 0, Impairment(delay_ns=10 * MS), (), 4, 3, 1, 1, 0, 0, 0, 0, (10 * MS, 11 * MS))
    story.send(1024, "client", "S", 0, window=64240, took_ms=10.1)
    again = story.send(1034.2, "server", "S.", 0, 1, window=65160, took_ms=10.1)
    story.state(1044.4, "client", "SYN_SENT", "ESTABLISHED")
    story.send(1044.5, "client", ".", 1, 1, took_ms=10.1)
    data = story.send(1045.0, "client", "P.", 1, 1, payload=GREETING, lost="behind", cause="chance")
    resent = story.send(1250.0, "client", "P.", 1, 1, payload=GREETING, took_ms=10.1)
    story.send(1251.0, "client", "F.", 28, 1, lost="before", cause="link down")
    story.send(1290.0, "server", "R", 1, forged=True, window=0)
    connection = story.connection(
        HandshakeOutcome.COMPLETE, Teardown(TeardownKind.RST, reset_by=Role.SERVER), retransmitted=(resent,)
    )
    checks = (
        passed("handshake.outcome", "complete", again, line=12),
        Check(
            "handshake.duration",
            Outcome.FAILED,
            "..500ms",
            "1054ms",
            "the handshake took longer than allowed: its first SYN-ACK was lost on arrival at client (fault 0), and "
            "the next one came only when the client's timer had sent the SYN again",
            (gone, again),
            13,
        ),
        Check(
            "retransmits.client", Outcome.UNKNOWN, "0", "1", "the capture client-eth0 dropped 3 packets", (data, resent)
        ),
        passed("teardown.kind", "rst", line=15),
    )
    return judge_by_hand(
        story,
        name="lost-synack",
        summary="The server's first SYN-ACK is lost; the connection still opens about a second later.",
        connections=[connection],
        checks=checks,
        verdict=Outcome.FAILED,
        traffic=[Traffic(share, (share,))],
    )


def refused() -> Judgement:
    """Nobody listens: SYN, RST+ACK with sequence number 0."""
    story = Story()
    story.state(0.01, "client", "CLOSE", "SYN_SENT")
    story.send(0, "client", "S", 0, window=64240)
    answer = story.send(0.07, "server", "R.", -ISNS["server"], 1, window=0)
    story.state(0.12, "client", "SYN_SENT", "CLOSE")
    connection = story.connection(
        HandshakeOutcome.REFUSED, Teardown(TeardownKind.RST, reset_by=Role.SERVER), conn_state="REJ"
    )
    checks = (passed("handshake.outcome", "refused", answer, line=9),)
    return judge_by_hand(story, name="refused", summary="Nobody listens.", connections=[connection], checks=checks)


def udp_hello() -> Judgement:
    """One datagram each way, no connection."""
    story = Story()
    ports = (40000, 5353)
    there = story.send(0, "client", payload=b"hello", ports=ports, protocol=Protocol.UDP, window=0)
    story.send(0.2, "server", payload=b"and to you", ports=ports, protocol=Protocol.UDP, window=0)
    checks = (passed("datagrams.client->server", '"hello"', there, line=8),)
    return judge_by_hand(story, name="udp-hello", summary="One datagram each way.", checks=checks)


@cache
def crowd(count: int = 100) -> Judgement:
    """Many connections at nearly the same time; one check of the 50th fails."""
    story = Story()
    for at in range(count):
        tell_hola(story, port=40000 + at, at_ms=at * 0.3, states=at < 3)
    teardown = Teardown(TeardownKind.FIN, Role.CLIENT)
    connections = [
        story.connection(
            HandshakeOutcome.COMPLETE, teardown, port=40000 + at, client_bytes=27, conn_state="SF", history="ShADadFf"
        )
        for at in range(count)
    ]
    cited = connections[count // 2].packets[:2]
    checks = (
        Check("connections", Outcome.FAILED, f"{count + 1}", f"{count}", "one client never connected", cited, 20),
    )
    return judge_by_hand(
        story,
        name="crowd",
        summary="A hundred clients at once.",
        connections=connections,
        checks=checks,
        verdict=Outcome.FAILED,
    )


HOSTILE = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>&\u202e\x9b31m"


def hostile() -> Judgement:
    """A peer, a program and a file that try to get escapes and markup out to the reader."""
    story = Story()
    payload = HOSTILE.encode()
    story.send(0, "client", "S", 0, window=64240)
    story.send(0.1, "server", "S.", 0, 1, lost="behind", cause=HOSTILE)
    story.send(0.2, "client", "P.", 1, 1, payload=payload)
    story.state(0.3, "server", HOSTILE, HOSTILE, HOSTILE)
    story.records.append(LogLine("server", START_NS, HOSTILE))
    story.records.append(FaultFired("server", START_NS, 0, HOSTILE, HOSTILE))
    story.records.append(Problem(HOSTILE, HOSTILE))
    story.records.append(StepOutcome("client", "0", HOSTILE, "error", START_NS, START_NS, says=HOSTILE, errno=HOSTILE))
    story.records.append(TableSnapshot("server", HOSTILE, START_NS, (TableRow(HOSTILE, HOSTILE, HOSTILE),)))
    finding = Finding(HOSTILE, HOSTILE, (1,))
    connection = replace(
        story.connection(HandshakeOutcome.HALF_OPEN, Teardown(TeardownKind.NONE), history=HOSTILE, conn_state=HOSTILE),
        audit=(finding,),
    )
    checks = (Check(HOSTILE, Outcome.FAILED, HOSTILE, HOSTILE, HOSTILE, (1,), 3),)
    return judge_by_hand(
        story, name=HOSTILE, summary=HOSTILE, connections=[connection], checks=checks, verdict=Outcome.FAILED
    )


STORIES: dict[str, Callable[[], Judgement]] = {
    "hola": hola,
    "lost-synack": lost_synack,
    "refused": refused,
    "udp-hello": udp_hello,
    "crowd": crowd,
    "hostile": hostile,
}
