"""Hosts on machines of their own: captures proved at each end, clocks read, and the evidence put together from both.

On one machine a sniffer hears the wire and there is one clock. Where a lab has `places` there is neither, and `run`
does here what that takes: the same evidence comes out, on our clock, with the wire's capture in it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from testbed import clocks as c
from testbed import evidence as e
from testbed.canaries import CANARY_TIMEOUT_NS
from testbed.ends import join_ends, lost_between
from testbed.errors import BlindError, LabError, NotApplicable
from testbed.lab.agents import Agents
from testbed.merged import unmerge
from testbed.pcap.frame import Capture
from testbed.plan import Plan
from testbed.program import AgentStep

if TYPE_CHECKING:
    from testbed.canaries import Host
    from testbed.recording import Recorder

QUESTIONS = 24  # after the time of an engine: bounds narrow quickly, and each takes a round trip
PROOF_TIMEOUT_S = 20.0  # swarm may tell an engine late where the others' containers are
NOBODY = "02:00:00:00:00:01"  # to whom a lone host sends its canary
DOWN_STEPS = frozenset({"vanish", "reboot", "link"})  # after which a host hears nothing, as was asked


def check_hearing(plan: Plan) -> None:
    """Raises NotApplicable where a host must hear what two others say to each other: no hub brings it there."""
    for host in plan.hosts:
        if any(_overhears(host.name, step) for step in _flat(host.steps)):
            raise NotApplicable(plan.name, f"{host.name} must hear the packets of others, and hosts on a swarm do not")


@dataclass(slots=True)
class Apart:
    """One run on several engines; `places` names the engine of each host."""

    agents: Agents
    places: Mapping[str, str]
    snap_length: int
    interface: str
    before: dict[str, c.Bounds] = field(default_factory=dict)

    # ------------------------------------------------------------ clocks

    def read_clocks(self) -> dict[str, c.Bounds]:
        """How far each engine's clock is ahead of ours now. Raises BlindError where one is being set."""
        found = {}
        for engine in dict.fromkeys(self.places.values()):
            host = next((name for name, its in self.places.items() if its == engine and self._lives(name)), None)
            if host is not None:
                found[engine] = self._read(engine, host)
        return found

    def _lives(self, host: str) -> bool:
        return host not in self.agents.lost

    def _read(self, engine: str, host: str) -> c.Bounds:
        readings = []
        for _ in range(QUESTIONS):
            asked_ns = time.time_ns()
            told_ns = self.agents.request(host, "clock")["time_ns"]
            readings.append(c.Reading(asked_ns, told_ns, time.time_ns()))
        bounds = c.bound(readings)
        if bounds is None:
            raise BlindError(
                f"the clock of {engine}, or ours, was set while it was being read",
                remedy="let chrony or ntpd settle on both machines, and run again",
            )
        return bounds

    def shown(self, host: str, time_ns: int) -> int:
        """What a host's clock shows at a moment of ours."""
        return time_ns + self.before[self.places[host]].middle_ns

    def clocks(self) -> tuple[e.ClockFacts, ...]:
        """The hosts' clocks by what is known of them before the play: good enough to watch it."""
        known = self.before
        return tuple(c.facts_of(host, its, known[its], known[its]) for host, its in self.places.items())

    # ------------------------------------------------------------ proof

    def prove(self, hosts: Mapping[str, Host]) -> None:
        """Wait until each host's capture has seen what that host sent, and what its neighbour sent to it."""
        deadline = time.monotonic() + PROOF_TIMEOUT_S
        for attempt in itertools.count():
            silent = self.silent(hosts, f"start {attempt}")
            if not silent:
                break
            if time.monotonic() > deadline:
                raise BlindError(
                    f"the overlay does not carry frames: {'; '.join(silent)}",
                    remedy="`testbed doctor --engines ...` tries UDP port 4789 and TCP and UDP port 7946 between them",
                )
        self.before = self.read_clocks()

    def silent(self, hosts: Mapping[str, Host], label: str) -> list[str]:
        """Send a frame around the hosts; in words, who did not hear what.

        A host whose interface a step has taken down sends none, and hears none of its neighbour's.
        """
        ring = _ring(list(hosts.values()))
        asked = [
            self.agents.ask(one.name, "canary.send", interface=self.interface, to=mac, token=f"{label} {one.name}")
            for one, mac, _ in ring
        ]
        answers = self.agents.wait(asked)
        up = {one.name for (one, _, _), answer in zip(ring, answers, strict=True) if answer.get("sent", True)}
        wanted = [(one.name, ear) for one, _, peer in ring if one.name in up for ear in (one.name, peer) if ear in up]
        heard = self.agents.wait(
            [
                self.agents.ask(ear, "canary.wait", name=ear, token=f"{label} {who}", timeout_ns=CANARY_TIMEOUT_NS)
                for who, ear in wanted
            ]
        )
        return [
            f"{ear} did not hear {who}" for (who, ear), answer in zip(wanted, heard, strict=True) if not answer["heard"]
        ] or ([] if up else ["every host's interface is down"])

    def prove_end(self, hosts: Mapping[str, Host], problem: Recorder) -> None:
        """Each end has heard the frame that ends its capture; where not is a problem."""
        if self.silent(hosts, "end 0") and (silent := self.silent(hosts, "end 1")):
            problem.problem(e.WIRE, f"the tail of the captures may be missing: {'; '.join(silent)}")

    # ------------------------------------------------------------ evidence

    def put_together(
        self, plan: Plan, recorder: Recorder, seen: Mapping[str, Capture], counts: Sequence[e.Record]
    ) -> tuple[dict[str, Capture], list[e.Record]]:
        """Captures, with that of the wire, and records on our clock, with those of the clocks."""
        clocks = self._clocks(recorder)
        records = tuple(recorder.records)
        seen = {**seen, **unmerge({host: seen[host] for host in self.places if host in seen})}
        captures, moved = c.align_captures(seen, clocks), c.align_records(records, clocks)
        clocks = self._refined(clocks, captures, recorder)
        captures, moved = c.align_captures(seen, clocks), c.align_records(records, clocks)
        recorder.records[: len(moved)] = moved
        ends = {host: captures[host] for host in self.places if host in captures}
        self._tell_losses(plan, ends, recorder)
        wire = join_ends(ends, self.snap_length)
        dropped = sum(count.dropped for count in counts if isinstance(count, e.CaptureCount) and count.vantage in ends)
        counted = e.CaptureCount(e.WIRE, ", ".join(sorted(ends)), self.interface, len(wire.frames), dropped)
        whole = {**captures, e.WIRE: wire} if ends else captures
        return (
            {name: whole[name] for name in sorted(whole)},
            [*c.align_records(counts, clocks), *([counted] if ends else []), *clocks],
        )

    def _clocks(self, recorder: Recorder) -> tuple[e.ClockFacts, ...]:
        after: Mapping[str, c.Bounds] = {}
        try:
            after = self.read_clocks()
        except LabError as error:
            recorder.problem("clocks", error.message)
        lost = sorted(set(self.before) - set(after))
        if lost:
            recorder.problem("clocks", f"after the play the clock of {', '.join(lost)} could not be read")
        return tuple(
            c.facts_of(host, engine, self.before[engine], after.get(engine, self.before[engine]))
            for host, engine in self.places.items()
        )

    def _refined(
        self, clocks: tuple[e.ClockFacts, ...], captures: Mapping[str, Capture], recorder: Recorder
    ) -> tuple[e.ClockFacts, ...]:
        refined, against = c.refine(clocks, c.sights(captures, self.places))
        if against is not None:
            ends = [clock for clock in clocks if clock.host in (against.source, against.destination)]
            recorder.problem(
                "clocks",
                f"packets contradict the clocks: one from {against.source} to {against.destination} seems to have "
                f"taken {against.took_ns / 1e6:.3f} ms, and by the control channel the clocks of "
                f"{' and '.join(clock.engine for clock in ends)} are known within "
                f"{sum(clock.error_ns for clock in ends) / 1e6:.3f} ms",
            )
        return refined

    def _tell_losses(self, plan: Plan, ends: Mapping[str, Capture], recorder: Recorder) -> None:
        facts = [record for record in recorder.records if isinstance(record, e.HostFacts)]
        down = {switch.host for switch in plan.switches} | {host.name for host in plan.hosts if _goes_down(host.steps)}
        missed = {name for name, capture in ends.items() if any(s.dropped for s in capture.statistics)}
        for (source, destination), number in lost_between(ends, {one.mac: one.host for one in facts}).items():
            if destination not in down | missed and source not in down:
                recorder.problem(
                    "overlay",
                    f"{number} packets left {source} for {destination} and never came there: "
                    f"the network between {self.places[source]} and {self.places[destination]} lost them",
                )


def _ring(players: Sequence[Host]) -> list[tuple[Host, str, str]]:
    """Who sends a canary, to which MAC address, and whose that is."""
    if len(players) == 1:
        return [(players[0], NOBODY, "")]
    after = [*players[1:], players[0]]
    return [(one, peer.mac, peer.name) for one, peer in zip(players, after, strict=True)]


def _flat(steps: Iterable[AgentStep]) -> Iterator[AgentStep]:
    for step in steps:
        yield step
        yield from _flat(step.get("steps") or ())


def _goes_down(steps: Iterable[AgentStep]) -> bool:
    return any(step["step"] in DOWN_STEPS for step in _flat(steps))


def _overhears(host: str, step: AgentStep) -> bool:
    """Whether a step crafts a packet between two other hosts by what their connection has come to."""
    if step["step"] != "inject":
        return False
    source, destination = str(step.get("from") or host), str(step["to"])
    if host in (source.partition(":")[0], destination.partition(":")[0]):
        return False
    numbers = step.get("seq"), step.get("ack")
    live = numbers[0] is None or any(isinstance(number, str) for number in numbers)
    return live or ":" not in source or ":" not in destination
