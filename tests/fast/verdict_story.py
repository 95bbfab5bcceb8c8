"""Evidence told by hand: what two hosts send, and what each vantage point of a lab would have captured of it.

A packet leaves the sender's interface, is on the wire 10 us later and at the receiver's interface another 10 us later;
where the receiver has an impaired link it goes into that, and comes out of it after the link's delay, unless lost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from testbed.agent.impairments import to_message
from testbed.evidence import (
    WIRE,
    CaptureCount,
    Evidence,
    FaultFired,
    HostFacts,
    LinkCount,
    LogLine,
    Problem,
    ProgramEnd,
    Record,
    RunFacts,
    StateSample,
    StepOutcome,
    TableRow,
    TableSnapshot,
    Timing,
)
from testbed.links import LinkPlan
from testbed.pcap.frame import Capture, Direction, Frame, Interface
from testbed.plan import make_plan
from testbed.scenario.model import Scenario
from testbed.scenario.steps import Parallel, Repeat, Step
from testbed.verdict.judge import judge
from testbed.verdict.ledger import digest
from testbed.verdict.value import Check, Judgement

START_NS = 1_700_000_000_000_000_000
MS, US = 1_000_000, 1_000
CLIENT, SERVER, SECOND = "198.18.0.2", "198.18.0.3", "198.18.0.4"
ADDRESSES = {"client": CLIENT, "server": SERVER, "client-2": SECOND}
BITS = {"F": 1, "S": 2, "R": 4, "P": 8, ".": 16}
CLIENT_ISN, SERVER_ISN = 1000, 5000
HOLA = b"Hola server, are you bored?"
STEPS = {
    "server": {"steps": [{"listen": 7456}, "accept", {"recv": "eof"}, "close"]},
    "client": {"steps": [{"connect": "server:7456"}, {"send": HOLA.decode()}, "close"]},
}


def ip_frame(protocol: int, body: bytes, source: str, destination: str, ip_id: int = 0) -> bytes:
    """An IP packet in an Ethernet frame, checksums left 0 where a reader may take that for offloaded."""
    here, there = ip_address(source).packed, ip_address(destination).packed
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ip_id, 0x4000, 64, protocol, 0) + here + there
    return bytes(6) + bytes(6) + b"\x08\x00" + header[:10] + struct.pack("!H", _sum(header)) + header[12:] + body


def _sum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(protocol: int, body: bytes, at: int, source: str, destination: str) -> bytes:
    """A segment with its checksum, which stands at this offset."""
    pseudo = ip_address(source).packed + ip_address(destination).packed + struct.pack("!BBH", 0, protocol, len(body))
    total = _sum(pseudo + body + bytes(len(body) % 2))
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]


def lines_of(value: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of all parts of a scenario, in order."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        here = f"{path}.{key}" if path else str(key)
        yield here
        yield from lines_of(item, here)


@dataclass
class Story:
    """A run of a scenario (`told` as in its file) while it is being told."""

    told: dict[str, Any]
    frames: dict[str, list[Frame]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    delay_ns: dict[str, int] = field(default_factory=dict)  # of each host's link, what it really does

    def __post_init__(self) -> None:
        self.told = {"summary": "A story.", "hosts": STEPS, **self.told}
        self.scenario = Scenario.model_validate(self.told)
        self.plan = make_plan("story", self.scenario)
        self.lines = {path: number for number, path in enumerate(lines_of(self.told), 1)}
        for host in self.plan.hosts:
            self.frames[host.name] = []
            if (link := self.plan.link(host.name)) is not None:
                self.frames[f"{host.name}:link0"] = []
                some = next(iter(link.phases[0].sources.values()), None)
                self.delay_ns[host.name] = some.impairment.delay_ns if some else 0
        self.frames[WIRE] = []

    def see(self, vantage: str, at_ns: int, data: bytes, direction: Direction, cut: int | None = None) -> None:
        """A vantage point captures a frame."""
        self.frames[vantage].append(Frame(START_NS + at_ns, data[:cut], len(data), 0, direction))

    def carry(self, data: bytes, source: str, to: str, at_ms: float, lost: bool = False, twice: bool = False) -> int:
        """A frame goes all its way; the time at which it came in, for the ledger."""
        at = round(at_ms * MS)
        self.see(source, at, data, Direction.OUT)
        self.see(WIRE, at + 10 * US, data, Direction.IN)
        self.see(to, at + 20 * US, data, Direction.IN)
        if (link := f"{to}:link0") in self.frames:
            self.see(link, at + 21 * US, data, Direction.OUT)
            for _ in range(0 if lost else 2 if twice else 1):
                self.see(link, at + 25 * US + self.delay_ns[to], data, Direction.IN)
        return START_NS + at + 30 * US

    def tcp(
        self,
        at_ms: float,
        source: str,
        flags: str,
        seq: int = 0,
        ack: int | None = None,
        payload: bytes = b"",
        *,
        port: int = 40000,
        client: str = "client",
        lost: bool = False,
        twice: bool = False,
        fault: int | None = None,
    ) -> None:
        """A segment, numbers relative to the initial ones; `fault`: the rule that takes it."""
        to, ports = ("server", (port, 7456)) if source == client else (client, (7456, port))
        mine, theirs = (CLIENT_ISN, SERVER_ISN) if source == client else (SERVER_ISN, CLIENT_ISN)
        bits = sum(BITS[flag] for flag in flags)
        acknowledged = 0 if ack is None else theirs + ack
        header = struct.pack("!HHIIBBHHH", *ports, mine + seq, acknowledged, 5 << 4, bits, 65535, 0, 0)
        body = transport(6, header + payload, 16, ADDRESSES[source], ADDRESSES[to])
        frame = ip_frame(6, body, ADDRESSES[source], ADDRESSES[to])
        time_ns = self.carry(frame, source, to, at_ms, lost or fault is not None, twice)
        if fault is not None:
            self.records.append(FaultFired(to, time_ns, fault, "drop", "as told", digest(frame)))

    def udp(self, at_ms: float, source: str, payload: bytes, ports: tuple[int, int] = (40000, 7456)) -> None:
        """A datagram to the other host."""
        to = "server" if source == "client" else "client"
        body = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
        body = transport(17, body, 6, ADDRESSES[source], ADDRESSES[to])
        self.carry(ip_frame(17, body, ADDRESSES[source], ADDRESSES[to]), source, to, at_ms)

    def open(self, at_ms: float = 0, **which: Any) -> None:
        """A handshake, a millisecond between its packets."""
        client = which.get("client", "client")
        self.tcp(at_ms, client, "S", **which)
        self.tcp(at_ms + 1, "server", "S.", 0, 1, **which)
        self.tcp(at_ms + 2, client, ".", 1, 1, **which)

    def talk(self, at_ms: float = 10, data: bytes = HOLA, **which: Any) -> None:
        """The client says something, and closes first."""
        client, end = which.get("client", "client"), 1 + len(data)
        self.tcp(at_ms, client, "P.", 1, 1, data, **which)
        self.tcp(at_ms + 1, "server", ".", 1, end, **which)
        self.tcp(at_ms + 2, client, "F.", end, 1, **which)
        self.tcp(at_ms + 3, "server", "F.", 1, end + 1, **which)
        self.tcp(at_ms + 4, client, ".", end + 1, 2, **which)

    def do_steps(self, host: str, only: int | None = None, **last: Any) -> None:
        """The steps of a host end well, at most so many; `last` changes the last of them."""
        steps = list(_play(next(plan.role for plan in self.plan.hosts if plan.name == host), self.scenario))[:only]
        for number, (path, rounds, step) in enumerate(steps):
            at = START_NS + number * MS
            ended = ("error", step.error) if step.error else ("ok", None)
            outcome = StepOutcome(host, path, step.step, ended[0], at, at + MS, rounds, ended[1])
            self.records.append(replace(outcome, **last) if number == len(steps) - 1 else outcome)

    def end(self, host: str, code: int | None = 0, held: bool = False) -> None:
        """The program of a host ends."""
        self.records.append(ProgramEnd(host, START_NS + 500 * MS, code, None, held))

    def play(self) -> None:
        """All programs end as declared."""
        for host in self.plan.hosts:
            if host.steps:
                self.do_steps(host.name)
                self.end(host.name)

    def state(self, host: str, at_ms: float, before: str, after: str) -> None:
        """A socket changes its state."""
        socket = "198.18.0.2:40000 198.18.0.3:7456"
        self.records.append(StateSample(host, START_NS + round(at_ms * MS), socket, before, after))

    def log(self, host: str, line: str) -> None:
        """A program prints a line."""
        self.records.append(LogLine(host, START_NS + 5 * MS, line))

    def snapshot(self, host: str, name: str, *rows: tuple[str, str, str]) -> None:
        """A table of connections is taken."""
        table = tuple(TableRow(*row) for row in rows)
        self.records.append(TableSnapshot(host, name, START_NS + 7 * MS, table))

    def evidence(self) -> Evidence:
        """What the run leaves."""
        captures = {name: Capture((Interface(name),), tuple(frames)) for name, frames in self.frames.items()}
        records: list[Record] = [self._run(), *self._hosts(), *self.records, *self._links()]
        records += [CaptureCount(name, name, "eth0", len(frames), 0) for name, frames in self.frames.items()]
        return Evidence(self.scenario, (*records, Timing({"play": 12.5, "total": 20.0})), captures)

    def judge(self) -> Judgement:
        """The judgement of this run."""
        return judge(self.evidence())

    def _run(self) -> RunFacts:
        engine = "portable" if self.plan.links else "none"
        versions = {"testbed": "1", "kernel": "6.18", "python": "3.11"}
        sysctls = {"net.ipv4.tcp_sack": "1"}
        return RunFacts("run-1", "story", "story.yaml", "netns", "asked for", engine, "", "ipv4", 7, START_NS, versions,
                        sysctls, self.lines)  # fmt: skip

    def _hosts(self) -> Iterator[HostFacts]:
        for host in self.plan.hosts:
            yield HostFacts(host.name, host.role, ADDRESSES[host.name], "02:00:00:00:00:01", "6.18", "eth0")

    def _links(self) -> Iterator[LinkCount]:
        for link in self.plan.links:
            frames = self.frames.get(f"{link.host}:link0", [])
            taken = sum(frame.direction is Direction.OUT for frame in frames)
            yield LinkCount(link.host, "portable", taken, len(frames) - taken, 0, 0, settings=settings_of(link))


def settings_of(link: LinkPlan) -> tuple[dict[str, Any], ...]:
    """What an engine that does as asked holds."""
    return tuple(
        {"from": ADDRESSES[source], "port": port, **to_message(impairment)}
        for source, course in link.phases[-1].sources.items()
        for port, impairment in ((None, course.impairment), *course.ports.items())
    )


def _play(role: str, scenario: Scenario) -> Iterator[tuple[str, tuple[int, ...], Step]]:
    def walk(
        steps: Iterable[Step], prefix: str, rounds: tuple[int, ...]
    ) -> Iterator[tuple[str, tuple[int, ...], Step]]:
        for index, step in enumerate(steps):
            if isinstance(step, Repeat | Parallel):
                times = step.repeat if isinstance(step, Repeat) else step.parallel
                for number in range(times):
                    yield from walk(step.steps, f"{prefix}{index}.", (*rounds, number))
            yield f"{prefix}{index}", rounds, step

    return walk(scenario.hosts[role].steps, "", ())


def hola(expect: dict[str, Any] | None = None, **told: Any) -> Story:
    """One connection as it should be: opened, 27 bytes from the client, closed by the client."""
    story = Story({"expect": expect or {}, **told})
    story.open()
    story.talk()
    story.play()
    return story


def find(judgement: Judgement, name: str) -> Check:
    """A check by its name."""
    return next(check for check in judgement.checks if check.name == name)


def with_records(evidence: Evidence, *records: Record) -> Evidence:
    """The evidence with more records."""
    return replace(evidence, records=(*evidence.records, *records))


def without(evidence: Evidence, kind: type[Record]) -> Evidence:
    """The evidence without the records of a kind."""
    return replace(evidence, records=tuple(record for record in evidence.records if not isinstance(record, kind)))


def deaf(evidence: Evidence) -> Evidence:
    """The kernel dropped packets before the sniffer saw them."""
    return with_records(evidence, CaptureCount(WIRE, "sniffer", "eth0", 1, 3))


def short(evidence: Evidence) -> Evidence:
    """The sniffer counted more packets than its capture holds."""
    return with_records(evidence, CaptureCount(WIRE, "sniffer", "eth0", 1, 0))


def uncaptured(evidence: Evidence, vantage: str = WIRE) -> Evidence:
    """Nothing is left of what a vantage point captured."""
    captures = {name: capture for name, capture in evidence.captures.items() if name != vantage}
    return replace(evidence, captures=captures)


def shortened(evidence: Evidence, octets: int) -> Evidence:
    """The wire's capture kept only so much of each frame."""
    wire = evidence.captures[WIRE]
    frames = tuple(replace(frame, data=frame.data[:octets]) for frame in wire.frames)
    return replace(evidence, captures={**evidence.captures, WIRE: replace(wire, frames=frames)})


def torn(evidence: Evidence) -> Evidence:
    """The wire's capture file breaks off."""
    wire = replace(evidence.captures[WIRE], warnings=("the file ends inside a block",))
    return replace(evidence, captures={**evidence.captures, WIRE: wire})


def troubled(evidence: Evidence) -> Evidence:
    """The lab broke."""
    return with_records(evidence, Problem("server", "the agent is gone"))
