"""What agents tell, as records of the evidence: one for each of their events, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from testbed import evidence as e
from testbed.lab.agents import Message
from testbed.wiring import fault_fired

DOCKER_DNS = "127.0.0.11:"  # the engine's own resolver listens in every container; no program of a scenario's does


@dataclass
class Recorder:
    """Turns the agents' events into records, and passes marks on."""

    records: list[e.Record] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    relay: Callable[[str, str, Any], None] = lambda host, name, value: None
    watch: Callable[[e.Record], None] = lambda record: None
    closed: bool = False  # the run is over: what hosts still say is no part of it

    def listen(self, watch: Callable[[e.Record], None]) -> None:
        """Tell of each record from now on, as it comes."""
        self.watch = watch

    def __call__(self, host: str, message: Message) -> None:
        """Hear one event of a host."""
        kind = message.get("event")
        if self.closed and kind != "problem":
            return
        if kind == "state" and message["socket"].startswith(DOCKER_DNS):
            return
        if handler := HANDLERS.get(str(kind)):
            self._add(handler(host, message))
        else:
            self.problem(host, f"the agent sent an event that nobody knows: {kind!r}")
        if kind == "mark":
            self.relay(host, message["name"], message.get("value"))
        elif kind == "played":
            self.ended.add(host)

    def problem(self, where: str, says: str) -> None:
        """Note what could not be done or seen."""
        self._add(e.Problem(where, says))

    def _add(self, record: e.Record) -> None:
        self.records.append(record)
        self.watch(record)


def _step(host: str, m: Message) -> e.StepOutcome:
    return e.StepOutcome(
        host=host,
        path=m["path"],
        step=m["step"],
        outcome=m["outcome"],
        start_ns=m["start_ns"],
        end_ns=m["end_ns"],
        round=tuple(m.get("round") or ()),
        errno=m.get("errno"),
        says=m.get("says") or "",
        local=m.get("local"),
        peer=m.get("peer"),
        bytes=m.get("bytes"),
        sha256=m.get("sha256"),
        data=m.get("data"),
        due_ns=m.get("due_ns") or 0,
    )


def _snapshot(host: str, m: Message) -> e.TableSnapshot:
    rows = tuple(
        e.TableRow(r["state"], r["local"], r["peer"], r.get("recv_queue") or 0, r.get("send_queue") or 0)
        for r in m["rows"]
        if not r["local"].startswith(DOCKER_DNS)
    )
    return e.TableSnapshot(host, m["name"], m["time_ns"], rows)


HANDLERS: dict[str, Callable[[str, Message], e.Record]] = {
    "step": _step,
    "snapshot": _snapshot,
    "played": lambda h, m: e.ProgramEnd(h, m["time_ns"], m.get("exit"), m.get("signal"), bool(m.get("held"))),
    "state": lambda h, m: e.StateSample(h, m["time_ns"], m["socket"], m["from"], m["to"]),
    "log": lambda h, m: e.LogLine(h, m["time_ns"], m["line"]),
    "mark": lambda h, m: e.MarkMade(h, m.get("time_ns") or 0, m["name"]),
    "fault": fault_fired,
    "wire": lambda h, m: e.WireChanged(h, m["time_ns"], m["phase"], m.get("began_ns") or m["time_ns"]),
    "problem": lambda h, m: e.Problem(h, m["says"]),
}
