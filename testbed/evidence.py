"""What a run leaves to be judged: every step, state, log line and captured packet, as one value.

`Evidence` is all that `testbed.verdict` looks at. It is stored in a run folder as `scenario.yaml`, `timeline.jsonl`
(the records of this module, one JSON object per line) and `captures/*.pcapng`; reading these back gives an equal value,
so the verdict can be made again anywhere. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from testbed.agent.impairments import no_setting
from testbed.fields import SHOWN, no_address, no_base64, no_family, no_outcome, no_place, reader
from testbed.pcap.frame import Capture
from testbed.scenario.model import Scenario

R = TypeVar("R")

WIRE = "wire"  # the sniffer's vantage point


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What was run, by what, and where."""

    run_id: str
    scenario: str  # the name
    scenario_file: str
    backend: str
    backend_why: str
    engine: str  # none, netem or portable
    engine_why: str
    family: str
    seed: int
    started_ns: int
    versions: Mapping[str, str]  # testbed, python, kernel, docker, compose
    sysctls: Mapping[str, str]
    lines: Mapping[str, int]  # "expect.handshake.outcome" -> line in scenario_file
    lab: str = "fresh"  # or warm: earlier runs were played in it, and it was clean again
    lab_id: str = ""  # of the lab that served: the id of the run that it was brought up for
    place: tuple[str, ...] = ()  # which host ran on which engine, as `--place` has it


@dataclass(frozen=True, slots=True)
class HostFacts:
    """A host as it was brought up: its name in the lab, its role in the scenario, its addresses."""

    host: str
    role: str  # the scenario's key: client-2 is a client
    address: str
    mac: str
    kernel: str
    interface: str


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step of a host's program went: ok, error (with its errno's name) or timeout."""

    host: str
    path: str  # place among the steps: "3.1" is the second step inside the fourth
    step: str
    outcome: str
    start_ns: int
    end_ns: int
    round: tuple[int, ...] = ()
    errno: str | None = None
    says: str = ""
    local: str | None = None
    peer: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    data: str | None = None  # base64 of what was received, at most 64 KiB
    due_ns: int = 0  # when the program came to it; it began once what it needs had come. 0: nobody told


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a host's program ended: exit code or signal; `held` when it was kept until the captures had ended."""

    host: str
    time_ns: int
    exit: int | None
    signal: str | None = None  # its name, such as SIGKILL
    held: bool = False


@dataclass(frozen=True, slots=True)
class StateSample:
    """A kernel socket's change of state, as sock_diag(7) showed it."""

    host: str
    time_ns: int
    socket: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How well a host's socket table was watched: the longest time between two samples, and when the last was."""

    host: str
    samples: int
    longest_gap_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What a host's kernel counted during the play: the counters that changed, by the names that nstat(8) prints."""

    host: str
    changed: Mapping[str, int]
    lacks: tuple[str, ...] = ()  # of those that the scenario expects something of


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a host's table of connections."""

    state: str
    local: str
    peer: str
    recv_queue: int = 0
    send_queue: int = 0


@dataclass(frozen=True, slots=True)
class TableSnapshot:
    """A host's table of connections at one moment."""

    host: str
    name: str
    time_ns: int
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that a program printed."""

    host: str
    time_ns: int
    line: str


@dataclass(frozen=True, slots=True)
class MarkMade:
    """A point that a program reached."""

    host: str
    time_ns: int
    name: str


@dataclass(frozen=True, slots=True)
class Made:
    """A packet that a fault made: in place of the one that came, beside it, or in answer to it."""

    to: str  # receiver or sender
    packet: str  # its digest
    says: str


@dataclass(frozen=True, slots=True)
class FaultFired:
    """An entry of the wire's ledger: which rule did what to which packet.

    A packet is named by the digest of its bytes from the IP header to its end (`testbed.verdict.ledger.digest`).
    """

    host: str  # on whose arrival side
    time_ns: int
    rule: int
    action: str
    says: str
    packet: str = ""  # the digest of the one that came
    passed: bool = False  # whether it went on as it was
    made: tuple[Made, ...] = ()


@dataclass(frozen=True, slots=True)
class WireChanged:
    """From when on a phase of the wire's timeline held on a host's arrival side, as that host read it back.

    Since `began_ns` it was being put up: until it was read back, a packet may have met it or the one before.
    """

    host: str
    time_ns: int
    phase: int
    began_ns: int = 0


@dataclass(frozen=True, slots=True)
class LinkCount:
    """How a host's link stood at the end: what it counted, and what it was set to (docs/agent-protocol.md)."""

    host: str
    engine: str
    taken: int
    delivered: int
    dropped: int
    duplicated: int
    corrupted: int = 0
    dropped_by: Mapping[str, int] = field(default_factory=dict)
    phase: int = 0
    settings: tuple[Mapping[str, Any], ...] = ()  # one per source and port
    why: str = ""  # what was not as the testbed had left it
    qdiscs: tuple[Any, ...] = ()  # as `tc -s -j` shows them


@dataclass(frozen=True, slots=True)
class CaptureCount:
    """What one capture counted: packets written, and packets the kernel dropped before we saw them."""

    vantage: str
    host: str
    interface: str
    packets: int
    dropped: int


@dataclass(frozen=True, slots=True)
class ClockFacts:
    """The clock of a host on another machine, against ours; without any, all hosts have one clock.

    The times of all other records, and of the captures, have been put on our clock: on a straight line from `before_ns`
    at `from_ns` to `after_ns` at `until_ns`, that much was taken off what the host told (testbed/clocks.py).
    """

    host: str
    engine: str
    before_ns: int  # so far ahead of ours, before the play
    from_ns: int
    after_ns: int
    until_ns: int
    error_ns: int  # so far off may that be, by the control channel alone
    sure_ns: int  # and so far, by the packets too
    between: Mapping[str, int] = field(default_factory=dict)  # and the time under way to or from another host


@dataclass(frozen=True, slots=True)
class Problem:
    """Something the testbed could not do or see; it makes the verdict unknown."""

    where: str
    says: str


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time went, in milliseconds, by phase."""

    phases: Mapping[str, float]


Record = (
    RunFacts
    | HostFacts
    | StepOutcome
    | ProgramEnd
    | StateSample
    | Sampling
    | Counters
    | TableSnapshot
    | LogLine
    | MarkMade
    | FaultFired
    | WireChanged
    | LinkCount
    | CaptureCount
    | ClockFacts
    | Problem
    | Timing
)

RECORDS: dict[str, type[Record]] = {
    "run": RunFacts,
    "host": HostFacts,
    "step": StepOutcome,
    "end": ProgramEnd,
    "state": StateSample,
    "sampling": Sampling,
    "counters": Counters,
    "snapshot": TableSnapshot,
    "log": LogLine,
    "mark": MarkMade,
    "fault": FaultFired,
    "wire": WireChanged,
    "link": LinkCount,
    "capture": CaptureCount,
    "clock": ClockFacts,
    "problem": Problem,
    "timing": Timing,
}
PARTS: dict[str, type[Any]] = {"rows": TableRow, "made": Made}  # fields that hold values of their own


def _of_each(held: Any, judge: Callable[[object], str]) -> str:
    """What is wrong with the first of some values that is no good."""
    return next((says for one in held if (says := judge(one))), "")


SENSE: tuple[tuple[type[Record], str, Callable[[object], str]], ...] = (  # what a field must be beside its type
    (RunFacts, "family", no_family),
    (HostFacts, "address", no_address),
    (StepOutcome, "path", no_place),
    (StepOutcome, "outcome", no_outcome),
    (StepOutcome, "data", lambda value: "" if value is None else no_base64(value)),
    (LinkCount, "settings", lambda held: _of_each(held, no_setting)),
)
_SENSE = {kind: [(name, judge) for one, name, judge in SENSE if one is kind] for kind in RECORDS.values()}
_NAMES = {record: name for name, record in RECORDS.items()}


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one run. `captures` maps a vantage point's name to what was captured there."""

    scenario: Scenario
    records: tuple[Record, ...]
    captures: Mapping[str, Capture] = field(default_factory=dict)

    @property
    def run(self) -> RunFacts:
        """What was run."""
        return next(record for record in self.records if isinstance(record, RunFacts))

    def all(self, kind: type[R]) -> tuple[R, ...]:
        """The records of one kind, in order."""
        return tuple(record for record in self.records if isinstance(record, kind))


def dump_records(records: Iterable[Record]) -> str:
    """The records as JSON lines, each with its `type` first."""
    return "".join(json.dumps(_plain(record), separators=(", ", ": "), ensure_ascii=False) + "\n" for record in records)


def _plain(record: Record) -> dict[str, Any]:
    values = {spec.name: getattr(record, spec.name) for spec in fields(record)}
    for name, part in PARTS.items():
        if name in values:
            values[name] = [{spec.name: getattr(one, spec.name) for spec in fields(part)} for one in values[name]]
    return {"type": _NAMES[type(record)], **values}


def load_records(text: str) -> tuple[Record, ...]:
    """The records of a timeline.

    Raises ValueError with the line number where a line is not a record.
    """
    records = []
    lines = text.removesuffix("\n").split("\n") if text else []  # a log may hold U+2028, at which splitlines parts
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_record(line))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is not a record of a timeline: {error}") from error
    return tuple(records)


def _record(line: str) -> Record:
    values = json.loads(line)
    if "\\u" in line:
        json.dumps(values, ensure_ascii=False).encode()  # half of a surrogate pair can be written nowhere
    kind: Any = RECORDS.get(str(values.pop("type", ""))) if isinstance(values, dict) else None
    if kind is None:
        raise ValueError(f"its type is none of {', '.join(RECORDS)}")
    record: Record = reader(kind)(values)
    for name, judge in _SENSE[kind]:
        if says := judge(getattr(record, name)):
            raise ValueError(f"{name} {says}: {ascii(getattr(record, name))[:SHOWN]}")
    return record


def received(step: StepOutcome) -> bytes:
    """The bytes that a step received (at most the first 64 KiB of them)."""
    return base64.b64decode(step.data) if step.data else b""
