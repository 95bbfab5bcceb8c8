"""Walking a plan against a lab: set the hosts up, prove that we see, play the steps, collect what was captured.

The order is the point. Captures run, and a canary frame has been heard by the sniffer, before the first step; another
one ends them, so neither a start nor an end is lost. What goes wrong in here is a `Problem` in the evidence (the
verdict becomes unknown, and what was collected is kept), unless there is no lab at all: that raises.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from testbed import evidence as e
from testbed.apart import Apart
from testbed.canaries import Host, early_packets, prove_end, prove_hub
from testbed.capture_file import read_records
from testbed.errors import LabError
from testbed.injecting import ask_silence, judge_silence, set_up, steps_for
from testbed.lab.agents import AgentLost, Agents, Message, Ticket
from testbed.lab.contract import places_of
from testbed.lab.sameness import check_agent, own_agent
from testbed.lab.sysctls import later
from testbed.lab.tuning import tune
from testbed.live.onlooker import Onlooker, watched
from testbed.needs import check_hosts, counters_of
from testbed.pcap.frame import Capture, Interface, InterfaceStatistics
from testbed.plan import LINK, SNIFFER, HostPlan, Plan
from testbed.recording import Recorder
from testbed.rings import small_rings
from testbed.steady import ask_offsets, judge_clocks, looks
from testbed.stop import Stop
from testbed.wiring import INTERFACE, Timeline, apply_links, count_link, find_engine

SNAP_LENGTH = 262144
STATES_INTERVAL_NS = 1_000_000


class Clock:
    """Milliseconds that each phase of a run took."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self._start = self._last = time.monotonic()

    def lap(self, phase: str) -> None:
        """What has passed since the last lap belongs to this phase."""
        now = time.monotonic()
        self.phases[phase] = round(self.phases.get(phase, 0.0) + (now - self._last) * 1000, 3)
        self._last = now

    def total(self) -> float:
        """Since the beginning."""
        return round((time.monotonic() - self._start) * 1000, 3)


@dataclass(frozen=True, slots=True)
class Vantage:
    """Where packets are captured: the vantage point's name, the host, its interface."""

    name: str
    host: str
    interface: str


def run_plan(
    plan: Plan,
    agents: Agents,
    facts: e.RunFacts,
    files: Mapping[str, bytes],
    stop: Stop,
    clock: Clock,
    timeout_s: float,
    onlooker: Onlooker | None = None,
) -> e.Evidence:
    """Play a plan in a lab that is up, and give the evidence.

    `agents` are the lab's: started where they do not run yet, and left running, for the lab's owner to reset or to
    close. `files` holds the payload files by name. Raises Interrupted when asked to stop, LabError or BlindError where
    the lab cannot be made ready; after the first step nothing is raised but Interrupted, and problems are records.
    """
    recorder = Recorder()
    agents.serve(recorder)
    recorder.relay = lambda host, name, value: _relay(agents, plan, recorder, host, name, value)
    with stop.waking(agents.wake):
        places = places_of(agents.lab)
        apart = Apart(agents, places, SNAP_LENGTH, INTERFACE) if places else None
        agents.open([*(host.name for host in plan.hosts), *([] if apart else [SNIFFER])])
        tune(agents, {host.name: later(host.sysctls) for host in plan.hosts})
        hosts, sysctls = _greet(agents, plan, facts, {} if apart else {SNIFFER: SNIFFER})
        check_hosts(agents, plan)
        engine, engine_why = find_engine(agents, plan)
        captures = _set_up(agents, plan, hosts, engine)
        apart.prove(hosts) if apart else prove_hub(agents, hosts)
        offsets = looks(asked := ask_offsets(agents, hosts, places), agents.gather(asked.tickets))
        clock.lap("lab_up")
        recorder.records += [_facts(host) for host in hosts.values()]
        told = (facts, *recorder.records, *(apart.clocks() if apart else ()))
        so_far = e.Evidence(plan.scenario, told, {v.name: Capture((), ()) for v in captures})
        followed = [(vantage.name, vantage.host) for vantage in captures]
        with watched(onlooker, agents, so_far, followed, recorder.listen, stop):
            _play(agents, plan, hosts, files, recorder, timeout_s, apart)
            clock.lap("play")
            seen, counts = _collect(agents, plan, hosts, captures, recorder, apart)
            asked = ask_offsets(agents, offsets, places)
            judge_clocks(offsets, looks(asked, agents.gather(asked.tickets)), recorder.problem)
            clock.lap("collect")
    run = replace(
        facts,
        engine=engine,
        engine_why=engine_why,
        sysctls=sysctls,
        versions={**facts.versions, **agents.lab.versions},
    )
    return e.Evidence(plan.scenario, (run, *recorder.records, *counts), seen)


def _facts(host: Host) -> e.HostFacts:
    return e.HostFacts(host.name, host.role, host.address, host.mac, host.kernel, INTERFACE)


def _greet(
    agents: Agents, plan: Plan, facts: e.RunFacts, others: Mapping[str, str]
) -> tuple[dict[str, Host], dict[str, str]]:
    roles = {**{host.name: host.role for host in plan.hosts}, **others}
    names = sorted({name for host in plan.hosts for name in host.sysctls} | set(facts.sysctls))
    answers = agents.wait([agents.ask(name, "hello", sysctls=names) for name in roles])
    hosts, ours = {}, own_agent()
    for (name, role), answer in zip(roles.items(), answers, strict=True):
        check_agent(name, answer.get("agent"), ours)
        about = answer["interfaces"].get(INTERFACE, {})
        addresses = about.get(facts.family) or [""]
        hosts[name] = Host(name, role, addresses[0], about.get("mac") or "", answer["kernel"])
        if not hosts[name].address or not hosts[name].mac:
            raise LabError(f"{name} has no {facts.family} address on {INTERFACE}")
    first = answers[0]
    return hosts, {str(name): str(value) for name, value in (first.get("sysctls") or {}).items()}


def _set_up(agents: Agents, plan: Plan, hosts: Mapping[str, Host], engine: str) -> tuple[Vantage, ...]:
    """Offloads off, neighbours known, links impaired, captures running; gives where."""
    tickets = []
    for host in hosts.values():
        neighbours = [{"address": peer.address, "mac": peer.mac} for peer in hosts.values() if peer is not host]
        tickets.append(agents.ask(host.name, "prepare", interface=INTERFACE, neighbours=neighbours))
    tickets += apply_links(agents, plan, {host.name: host.address for host in hosts.values()}, engine)
    tickets += set_up(agents, plan, hosts)
    captures, rings = (*_vantages(plan, SNIFFER in hosts),), small_rings(plan)
    for vantage in captures:
        how = {"name": vantage.name, "interface": vantage.interface, "promiscuous": vantage.host == SNIFFER}
        if vantage.host in rings:
            how["ring_bytes"] = rings[vantage.host]
        tickets.append(agents.ask(vantage.host, "capture.start", snap_length=SNAP_LENGTH, **how))
    tickets += [agents.ask(host.name, "states.start", interval_ns=STATES_INTERVAL_NS) for host in plan.hosts]
    tickets += [agents.ask(host.name, "counters.start") for host in plan.hosts]
    agents.wait(tickets)
    return captures


def _vantages(plan: Plan, sniffed: bool) -> Iterator[Vantage]:
    for host in plan.hosts:
        yield Vantage(host.name, host.name, INTERFACE)
        if plan.link(host.name):
            yield Vantage(f"{host.name}:{LINK}", host.name, LINK)
    if sniffed:
        yield Vantage(e.WIRE, SNIFFER, INTERFACE)


def _relay(agents: Agents, plan: Plan, recorder: Recorder, host: str, name: str, value: Any) -> None:
    for peer in plan.hosts:
        if peer.name != host and peer.name not in recorder.ended and peer.name not in agents.lost:
            agents.ask(peer.name, "mark", name=name, value=value)


def _play(
    agents: Agents,
    plan: Plan,
    hosts: Mapping[str, Host],
    files: Mapping[str, bytes],
    recorder: Recorder,
    timeout_s: float,
    apart: Apart | None,
) -> None:
    addresses = {host.name: host.address for host in hosts.values()}
    encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
    scenario = plan.scenario
    players = [host for host in plan.hosts if host.steps]
    timeline = Timeline(agents, plan, apart.shown) if apart else Timeline(agents, plan)
    tickets = [
        agents.ask(
            host.name,
            "play",
            steps=steps_for(host, hosts),
            addresses=addresses,
            host=host.name,
            family=scenario.family,
            seed=scenario.seed,
            files=encoded,
        )
        for host in players
    ]
    try:
        timeline.begin()
        agents.wait(tickets)
        ended = timeline.run_until(lambda: bool(agents.lost) or recorder.ended >= {p.name for p in players}, timeout_s)
        if not ended:
            still = ", ".join(_standing(p.name, recorder) for p in players if p.name not in recorder.ended)
            recorder.problem("play", f"the play did not end within {timeout_s:g} s: {still}")
        elif not agents.lost:
            settle_s = scenario.settle / 1e9
            names = [host.name for host in plan.hosts]
            agents.wait([agents.ask(n, "settled", timeout_ns=scenario.settle) for n in names], settle_s + 5)
    except AgentLost:
        pass  # told below, with the others
    except LabError as error:
        recorder.problem("play", error.message)
    for host, says in agents.lost.items():
        recorder.problem(host, says)


def _standing(host: str, recorder: Recorder) -> str:
    paths = [record.path for record in recorder.records if isinstance(record, e.StepOutcome) and record.host == host]
    return f"{host} has ended no step" if not paths else f"{host} has not ended the step behind steps[{paths[-1]}]"


def _collect(
    agents: Agents,
    plan: Plan,
    hosts: Mapping[str, Host],
    captures: Iterable[Vantage],
    recorder: Recorder,
    apart: Apart | None,
) -> tuple[dict[str, Capture], list[e.Record]]:
    """Stop everything and bring it over. What cannot be had is a problem, and the rest is still collected."""
    if not agents.lost:
        try:
            apart.prove_end(hosts, recorder) if apart else prove_end(agents, hosts, recorder)
        except LabError as error:
            recorder.problem(e.WIRE, error.message)
    vantages = [vantage for vantage in captures if vantage.host not in agents.lost]
    living = [host for host in plan.hosts if host.name not in agents.lost]
    links = [link for link in plan.links if link.host not in agents.lost]
    stopped = [(v.name, agents.ask(v.host, "capture.stop", name=v.name)) for v in vantages]
    stopped += [(host.name, agents.ask(host.name, "states.stop")) for host in living]
    stopped += [(link.host, agents.ask(link.host, "wire.read")) for link in links]
    silence = ask_silence(agents, plan)
    counted = [(host.name, agents.ask(host.name, "counters.stop", names=counters_of(plan, host))) for host in living]
    answers = agents.gather(ticket for _, ticket in stopped)
    for (where, _), answer in zip(stopped, answers, strict=True):
        if isinstance(answer, LabError):
            recorder.problem(where, answer.message)
    seen, counts = _fetch(agents, list(zip(vantages, answers, strict=False)), recorder)
    for link, answer in zip(links, answers[len(vantages) + len(living) :], strict=True):
        if not isinstance(answer, LabError):
            counts.append(count_link(link.host, answer, recorder.problem))
    counts += _samplings(living, answers[len(vantages) :])
    judge_silence(silence, agents.gather(ticket for _, ticket in silence), recorder.problem)
    counts += _counters(counted, agents.gather(ticket for _, ticket in counted), recorder)
    recorder.closed = True  # what is let go sends once more, and faults may meet it: no part of the run
    held = {r.host for r in recorder.records if isinstance(r, e.ProgramEnd) and r.held}
    agents.gather([agents.ask(name, "release") for name in sorted(held - set(agents.lost))])
    if apart:
        return apart.put_together(plan, recorder, seen, counts)
    return {vantage: seen[vantage] for vantage in sorted(seen)}, counts


def _samplings(hosts: Iterable[HostPlan], answers: Iterable[Message | LabError]) -> Iterator[e.Sampling]:
    for host, answer in zip(hosts, answers, strict=False):
        if not isinstance(answer, LabError) and "last_ns" in answer:
            yield e.Sampling(host.name, answer["samples"], answer["longest_gap_ns"], answer["last_ns"])


def _counters(
    asked: Iterable[tuple[str, Ticket]], answers: Iterable[Message | LabError], recorder: Recorder
) -> Iterator[e.Counters]:
    for (host, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, LabError):
            recorder.problem(host, answer.message)
        else:
            changed = dict(sorted((answer.get("changed") or {}).items()))
            yield e.Counters(host, changed, tuple(answer.get("lacks") or ()))


def _fetch(
    agents: Agents, stopped: Iterable[tuple[Vantage, Message | LabError]], recorder: Recorder
) -> tuple[dict[str, Capture], list[e.Record]]:
    seen: dict[str, Capture] = {}
    counts: list[e.Record] = []
    there = [(vantage, answer) for vantage, answer in stopped if not isinstance(answer, LabError)]
    contents = agents.fetch((vantage.host, answer["path"]) for vantage, answer in there)
    for (vantage, answer), content in zip(there, contents, strict=True):
        if isinstance(content, LabError):
            recorder.problem(vantage.name, content.message)
            continue
        packets, dropped = answer["packets"], answer["dropped"]
        about = Interface(vantage.name, snap_length=SNAP_LENGTH, description=f"{vantage.interface} of {vantage.host}")
        statistics = InterfaceStatistics(0, received=packets + dropped, dropped=dropped)
        try:
            frames = tuple(read_records(content))
        except ValueError as error:
            recorder.problem(vantage.name, f"the file of its capture is damaged: {error}")
            continue
        seen[vantage.name] = capture = Capture((about,), frames, (statistics,))
        if vantage.interface == INTERFACE and (early := early_packets(capture.frames)):
            recorder.problem(
                vantage.name, f"TCP packets were on the wire before the first step, of an earlier run: {early}"
            )
        counts.append(e.CaptureCount(vantage.name, vantage.host, vantage.interface, packets, dropped))
    return seen, counts
