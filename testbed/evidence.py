"""What a run leaves to be judged: every step, state, log line and captured packet, as one value.

`Evidence` is all that `testbed.verdict` looks at. It is stored in a run folder as `scenario.yaml`, `timeline.jsonl`
(the records of this module, one JSON object per line) and `captures/*.pcapng`; reading these back gives an equal value,
so the verdict can be made again anywhere. Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

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
class FaultFired:
    """An entry of the wire's ledger: which rule did what to which packet."""

    host: str  # on whose arrival side
    time_ns: int
    rule: int
    action: str
    says: str


@dataclass(frozen=True, slots=True)
class LinkCount:
    """What a host's link did in all, as it counted itself."""

    host: str
    asked: Mapping[str, Any]  # impairments by the address they come from
    taken: int
    delivered: int
    dropped: int
    duplicated: int


@dataclass(frozen=True, slots=True)
class CaptureCount:
    """What one capture counted: packets written, and packets the kernel dropped before we saw them."""

    vantage: str
    host: str
    interface: str
    packets: int
    dropped: int


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
    | TableSnapshot
    | LogLine
    | MarkMade
    | FaultFired
    | LinkCount
    | CaptureCount
    | Problem
    | Timing
)

RECORDS: dict[str, type[Record]] = {
    "run": RunFacts,
    "host": HostFacts,
    "step": StepOutcome,
    "end": ProgramEnd,
    "state": StateSample,
    "snapshot": TableSnapshot,
    "log": LogLine,
    "mark": MarkMade,
    "fault": FaultFired,
    "link": LinkCount,
    "capture": CaptureCount,
    "problem": Problem,
    "timing": Timing,
}
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
    if isinstance(record, TableSnapshot):
        values["rows"] = [{spec.name: getattr(row, spec.name) for spec in fields(TableRow)} for row in record.rows]
    return {"type": _NAMES[type(record)], **values}


def load_records(text: str) -> tuple[Record, ...]:
    """The records of a timeline.

    Raises ValueError with the line number where a line is not a record.
    """
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            records.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"line {number} is not a record of a timeline: {error}") from error
    return tuple(records)


def _record(values: dict[str, Any]) -> Record:
    kind = RECORDS[values.pop("type")]
    if kind is TableSnapshot:
        values["rows"] = tuple(TableRow(**row) for row in values["rows"])
    if "round" in values:
        values["round"] = tuple(values["round"])
    return kind(**values)


def received(step: StepOutcome) -> bytes:
    """The bytes that a step received (at most the first 64 KiB of them)."""
    return base64.b64decode(step.data) if step.data else b""
