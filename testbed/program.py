"""What each host's agent plays: a scenario's steps as those of the agent's protocol (docs/agent-protocol.md). Pure.

Here a `connect` learns to wait until its peer listens: where the peer's own steps say that it will, the agent awaits
the mark that `listen` makes. A new step is a row of COMPILERS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from testbed.scenario import steps as s
from testbed.scenario.model import Host, Scenario
from testbed.scenario.values import FREE

STEP_TIMEOUT_NS = 30_000_000_000
AgentStep = Mapping[str, Any]


def replica_names(role: str, replicas: int) -> tuple[str, ...]:
    """`client`, `client-2`, `client-3` ..."""
    return (role, *(f"{role}-{number}" for number in range(2, replicas + 1)))


def marks_to_await(scenario: Scenario) -> dict[str, str]:
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


def walk(steps: Iterable[s.Step]) -> Iterator[s.Step]:
    """Every step, those inside `repeat` and `parallel` behind theirs."""
    for step in steps:
        yield step
        if isinstance(step, s.Repeat | s.Parallel):
            yield from walk(step.steps)


def _bound(host: Host) -> Iterator[int | str]:
    for step in walk(host.steps):
        if isinstance(step, s.Bind) and step.error is None:
            yield step.bind
        elif isinstance(step, s.OpenDatagram):
            yield step.udp


def _listening(host: Host) -> Iterator[int | str]:
    ports: int | str | None = None
    for step in walk(host.steps):
        if isinstance(step, s.Bind) and step.error is None:
            ports = step.bind
        elif isinstance(step, s.Listen) and (port := step.listen if step.listen is not None else ports) is not None:
            yield port


def payload_files(scenario: Scenario) -> Iterator[str]:
    """Names of the files that steps send or compare with, and expectations hold."""
    payloads = [*scenario.expect.payload.values(), *(p for ps in scenario.expect.datagrams.values() for p in ps)]
    for host in scenario.hosts.values():
        for step in walk(host.steps):
            payloads += [value for _, value in step if isinstance(value, s.Payload)]
            if isinstance(step, s.Inject) and step.inject.payload is not None:
                payloads.append(step.inject.payload)
    return (payload.file for payload in payloads if payload.file is not None)


def _payload(payload: s.Payload | None) -> dict[str, Any] | None:
    if payload is None:
        return None
    if payload.random is not None:
        return {"random": payload.random, "seed": payload.seed}
    kinds = (("text", payload.text), ("hex", payload.hex), ("file", payload.file), ("numbered", payload.numbered))
    return {key: value for key, value in kinds if value is not None}


def _port(port: int | str | None) -> int | None:
    return 0 if port == FREE else None if port is None else int(port)


def _peer(peer: str, when: str, awaited: Mapping[str, str]) -> dict[str, Any]:
    host, _, port = peer.rpartition(":")
    return {
        "host": host,
        "port": port if port == FREE else int(port),
        "await": awaited.get(peer) if when == "ready" else None,
    }


def _send_to(step: s.SendTo, awaited: Mapping[str, str]) -> dict[str, Any]:
    whom = (
        {"host": None, "port": None, "await": None}
        if step.sendto == "reply"
        else _peer(step.sendto, step.when, awaited)
    )
    return {**whom, "payload": _payload(step.data), "on": step.on}


def _inject(step: s.Inject, awaited: Mapping[str, str]) -> dict[str, Any]:
    """What `testbed.craft` makes a frame of once the addresses are known."""
    crafted = step.inject
    return {
        "to": crafted.to,
        "from": crafted.from_,
        "flags": crafted.flags,
        "seq": crafted.seq,
        "ack": crafted.ack,
        "window": crafted.window,
        "options": {name: value for name, value in crafted.options if value is not None and value is not False},
        "payload": _payload(crafted.payload),
        "ttl": crafted.ttl,
        "count": step.count,
        "await": awaited.get(crafted.to) if step.when == "ready" else None,
    }


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
        "fastopen": x.fastopen,
    },
    s.Accept: lambda x, _: {"as": x.as_, "on": x.on},
    s.Connect: lambda x, awaited: {
        **_peer(x.connect, x.when, awaited),
        "from": x.from_,
        "on": x.on,
        "as": x.as_,
        "fastopen": x.fastopen,
    },
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
    s.SignSegments: lambda x, _: {"host": x.md5, "key": x.key, "on": x.on},
    s.Kill: lambda x, _: {"signal": x.kill},
    s.Vanish: lambda x, _: {},
    s.Reboot: lambda x, _: {"down_ns": x.reboot},
    s.SetLink: lambda x, _: {"up": x.link == "up"},
    s.Snapshot: lambda x, _: {"name": x.snapshot},
    s.Log: lambda x, _: {"line": x.log, "on": x.on},
    s.OpenDatagram: lambda x, _: {"port": _port(x.udp), "as": x.as_},
    s.SendTo: _send_to,
    s.ReceiveFrom: lambda x, _: {"bytes": x.recvfrom, "equals": _payload(x.equals), "on": x.on},
    s.Inject: _inject,
    s.Repeat: lambda x, awaited: {"times": x.repeat, "steps": [compile_step(step, awaited) for step in x.steps]},
    s.Parallel: lambda x, awaited: {"times": x.parallel, "steps": [compile_step(step, awaited) for step in x.steps]},
}


def compile_step(step: s.Step, awaited: Mapping[str, str]) -> AgentStep:
    """A step as the agent gets it; `awaited` gives the mark to wait for before connecting to a peer."""
    timeout = step.timeout if step.timeout is not None else STEP_TIMEOUT_NS
    return {"step": step.step, "error": step.error, "timeout_ns": timeout, **COMPILERS[type(step)](step, awaited)}
