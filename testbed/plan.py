"""From a scenario to a plan: which hosts, what each one's agent is told, which links are impaired. Pure.

Here the steps of a scenario become the steps of the agent's protocol (docs/agent-protocol.md), and here a `connect`
learns to wait until its peer listens: where the peer's own steps say that it will, the agent awaits the mark that
`listen` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from testbed.scenario import steps as s
from testbed.scenario.model import Fault, Host, Impairment, Scenario

STEP_TIMEOUT_NS = 30_000_000_000
SNIFFER = "sniffer"
LINK = "link0"
AgentStep = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host of the lab: `role` is its key in the scenario (client-2 is a client)."""

    name: str
    role: str
    steps: tuple[AgentStep, ...]
    sysctls: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The impaired arrival side of a host: impairments by the host they come from, and faults."""

    host: str
    sources: Mapping[str, Impairment]
    faults: tuple[tuple[int, Fault], ...]  # with their index in the scenario


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a run needs to know."""

    name: str
    scenario: Scenario
    hosts: tuple[HostPlan, ...]
    links: tuple[LinkPlan, ...]
    engine: str  # none or portable
    engine_why: str

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the payload files that the steps send or compare with."""
        return tuple(sorted(set(_files(self.scenario))))

    def link(self, host: str) -> LinkPlan | None:
        """The impaired link of a host, if it has one."""
        return next((link for link in self.links if link.host == host), None)


def make_plan(name: str, scenario: Scenario, *, engine: str = "auto") -> Plan:
    """The plan of a scenario. `engine` is auto or portable; without anything to impair there is none."""
    hosts = tuple(_expand(scenario))
    links = tuple(link for host in hosts if (link := _link(scenario, hosts, host)) is not None)
    why = "the scenario impairs nothing" if not links else "asked for" if engine == "portable" else "always there"
    return Plan(name, scenario, hosts, links, "portable" if links else "none", why)


def replica_names(role: str, replicas: int) -> tuple[str, ...]:
    """`client`, `client-2`, `client-3` ..."""
    return (role, *(f"{role}-{number}" for number in range(2, replicas + 1)))


def _expand(scenario: Scenario) -> Iterator[HostPlan]:
    awaited = _marks_to_await(scenario)
    for role, host in scenario.hosts.items():
        steps = tuple(compile_step(step, awaited) for step in host.steps)
        for name in replica_names(role, host.replicas):
            yield HostPlan(name, role, steps, {**scenario.sysctls, **host.sysctls})


def _marks_to_await(scenario: Scenario) -> dict[str, str]:
    """By peer ("server:7456"): the automatic mark that says the peer is ready there. Listening beats being bound."""
    marks: dict[str, str] = {}
    for role, host in scenario.hosts.items():
        bound = {f"{role}:{port}": f"bound:{role}:{port}" for port in _bound(host)}
        listening = {f"{role}:{port}": f"listening:{role}:{port}" for port in _listening(host)}
        for name in replica_names(role, host.replicas):
            marks |= {key.replace(role, name, 1): mark.replace(f":{role}:", f":{name}:") for key, mark in bound.items()}
            marks |= {
                key.replace(role, name, 1): mark.replace(f":{role}:", f":{name}:") for key, mark in listening.items()
            }
    return marks


def _walk(steps: Iterable[s.Step]) -> Iterator[s.Step]:
    for step in steps:
        yield step
        if isinstance(step, s.Repeat | s.Parallel):
            yield from _walk(step.steps)


def _bound(host: Host) -> Iterator[int | str]:
    for step in _walk(host.steps):
        if isinstance(step, s.Bind) and step.error is None:
            yield step.bind
        elif isinstance(step, s.OpenDatagram):
            yield step.udp


def _listening(host: Host) -> Iterator[int | str]:
    ports: int | str | None = None
    for step in _walk(host.steps):
        if isinstance(step, s.Bind) and step.error is None:
            ports = step.bind
        elif isinstance(step, s.Listen) and (port := step.listen if step.listen is not None else ports) is not None:
            yield port


def _files(scenario: Scenario) -> Iterator[str]:
    payloads = [*scenario.expect.payload.values(), *(p for ps in scenario.expect.datagrams.values() for p in ps)]
    for host in scenario.hosts.values():
        for step in _walk(host.steps):
            payloads += [value for _, value in step if isinstance(value, s.Payload)]
    return (payload.file for payload in payloads if payload.file is not None)


def _payload(payload: s.Payload | None) -> dict[str, Any] | None:
    if payload is None:
        return None
    if payload.random is not None:
        return {"random": payload.random, "seed": payload.seed}
    kinds = (("text", payload.text), ("hex", payload.hex), ("file", payload.file))
    return {key: value for key, value in kinds if value is not None}


def _port(port: int | str | None) -> int | None:
    return 0 if port == s.FREE else None if port is None else int(port)


def _peer(peer: str, when: str, awaited: Mapping[str, str]) -> dict[str, Any]:
    host, _, port = peer.rpartition(":")
    return {
        "host": host,
        "port": port if port == s.FREE else int(port),
        "await": awaited.get(peer) if when == "ready" else None,
    }


def _send_to(step: s.SendTo, awaited: Mapping[str, str]) -> dict[str, Any]:
    whom = (
        {"host": None, "port": None, "await": None}
        if step.sendto == "reply"
        else _peer(step.sendto, step.when, awaited)
    )
    return {**whom, "payload": _payload(step.data), "on": step.on}


Compiler = Callable[[Any, Mapping[str, str]], dict[str, Any]]
COMPILERS: dict[type[s.Step], Compiler] = {
    s.OpenSocket: lambda x, _: {"type": x.socket, "as": x.as_},
    s.Bind: lambda x, _: {"port": _port(x.bind), "as": x.as_, "on": x.on, "reuse": x.reuse},
    s.Listen: lambda x, _: {
        "port": _port(x.listen),
        "as": x.as_,
        "on": x.on,
        "backlog": x.backlog,
        "reuse": x.reuse,
    },
    s.Accept: lambda x, _: {"as": x.as_, "on": x.on},
    s.Connect: lambda x, awaited: {**_peer(x.connect, x.when, awaited), "from": x.from_, "on": x.on, "as": x.as_},
    s.Send: lambda x, _: {"payload": _payload(x.send), "on": x.on},
    s.Receive: lambda x, _: {
        "bytes": None if x.recv == "eof" else x.recv,
        "chunk": x.chunk,
        "equals": _payload(x.equals),
        "on": x.on,
    },
    s.Shutdown: lambda x, _: {"how": x.shutdown, "on": x.on},
    s.Close: lambda x, _: {"on": x.close or x.on},
    s.Abort: lambda x, _: {"on": x.abort or x.on},
    s.SetOption: lambda x, _: {"options": dict(x.sockopt), "on": x.on},
    s.Sleep: lambda x, _: {"duration_ns": x.sleep},
    s.Mark: lambda x, _: {"name": x.mark},
    s.Wait: lambda x, _: {"name": x.wait},
    s.Hold: lambda x, _: {},
    s.Snapshot: lambda x, _: {"name": x.snapshot},
    s.Log: lambda x, _: {"line": x.log, "on": x.on},
    s.OpenDatagram: lambda x, _: {"port": _port(x.udp), "as": x.as_},
    s.SendTo: _send_to,
    s.ReceiveFrom: lambda x, _: {"bytes": x.recvfrom, "equals": _payload(x.equals), "on": x.on},
    s.Repeat: lambda x, awaited: {"times": x.repeat, "steps": [compile_step(step, awaited) for step in x.steps]},
    s.Parallel: lambda x, awaited: {"times": x.parallel, "steps": [compile_step(step, awaited) for step in x.steps]},
}


def compile_step(step: s.Step, awaited: Mapping[str, str]) -> AgentStep:
    """A step as the agent gets it; `awaited` gives the mark to wait for before connecting to a peer."""
    timeout = step.timeout if step.timeout is not None else STEP_TIMEOUT_NS
    return {"step": step.step, "error": step.error, "timeout_ns": timeout, **COMPILERS[type(step)](step, awaited)}


def _link(scenario: Scenario, hosts: Iterable[HostPlan], host: HostPlan) -> LinkPlan | None:
    sources = {
        peer.name: impairment
        for peer in hosts
        if peer.name != host.name and (impairment := _impairment(scenario, peer, host)) != Impairment()
    }
    faults = tuple(
        (index, fault)
        for index, fault in enumerate(scenario.faults)
        if any(fault.from_ in (peer.name, peer.role) for peer in hosts if peer.name != host.name)
        and fault.from_ not in (host.name, host.role)
    )
    return LinkPlan(host.name, sources, faults) if sources or faults else None


def _impairment(scenario: Scenario, source: HostPlan, destination: HostPlan) -> Impairment:
    wire = scenario.wire
    for a in (source.name, source.role):
        for b in (destination.name, destination.role):
            if (impairment := wire.directions.get(f"{a}->{b}")) is not None:
                return impairment
    return Impairment.model_construct(**{name: getattr(wire, name) for name in Impairment.model_fields})


def link_settings(link: LinkPlan, plan: Plan, addresses: Mapping[str, str]) -> dict[str, Any]:
    """The `link` of the agent's `wire.apply`, with addresses for hosts (docs/agent-protocol.md)."""
    sources = {addresses[name]: _settings(impairment) for name, impairment in link.sources.items()}
    faults = [
        {"rule": index, "drop": fault.drop.value, "from": addresses[host.name], **_nth(fault)}
        for index, fault in link.faults
        for host in plan.hosts
        if fault.from_ in (host.name, host.role)
    ]
    return {**_settings(Impairment()), "seed": link_seed(plan, link.host), "faults": faults, "sources": sources}


def link_seed(plan: Plan, host: str) -> int:
    """A seed of each link's own: with one seed for all, both directions would lose the same packets."""
    return int.from_bytes(sha256(f"{plan.scenario.seed} {host}".encode()).digest()[:6])


def _nth(fault: Fault) -> dict[str, int | None]:
    if fault.nth == "all":
        return {"low": 1, "high": None}
    return {"low": fault.nth.low or 1, "high": fault.nth.high}


def _settings(impairment: Impairment) -> dict[str, Any]:
    return {
        "delay_ns": impairment.delay,
        "jitter_ns": impairment.jitter,
        "loss_percent": impairment.loss,
        "duplicate_percent": impairment.duplicate,
        "blackhole": impairment.blackhole,
    }
