"""What a scenario's plain tree says of hosts and their steps, gathered once for the checks of consistency.py.

The tree may hold mistakes of any kind: what is not of the expected shape is passed over here, the schema speaks of it.
All questions are answered from tables, so that a file of many thousand steps takes no longer than its reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from testbed.scenario.mistakes import Path
from testbed.scenario.steps import step_name

T = TypeVar("T")

MOST_REPLICAS = 64
DIRECTED_EXPECTATIONS = ("datagrams", "lost", "delay", "duplicated", "corrupted")  # any two hosts' directions
PAYLOAD_KEYS = ("send", "data", "equals")
NEVER = 1 << 62  # an order after all others


@dataclass(frozen=True, slots=True)
class Deed:
    """One step as the file has it; `order` counts a host's steps with the inner ones, `inner`: it is such a one."""

    host: str
    path: Path
    name: str
    keys: Mapping[str, Any]
    order: int
    inner: bool

    @property
    def value(self) -> Any:
        """What stands behind the step's own name."""
        return self.keys.get(self.name)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the checks ask of a scenario."""

    tree: Mapping[str, Any]
    hosts: Mapping[str, Any]
    owner: Mapping[str, str]  # of each host's name, replicas' too: the host of the file
    deeds: tuple[Deed, ...]
    first_step: dict[tuple[str, str], int] = field(default_factory=dict)  # (host, step): order of the first of them
    first_name: dict[tuple[str, str], int] = field(default_factory=dict)  # (host, socket): order of who makes it first
    marks: dict[str, list[Deed]] = field(default_factory=dict)

    def section(self, *path: str) -> Mapping[str, Any]:
        """The mapping at the path; empty when there is none."""
        value: Any = self.tree
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}

    def moments(self) -> list[Mapping[str, Any]]:
        """The mappings of the wire's timeline; an empty one for what is none."""
        return [moment if isinstance(moment, dict) else {} for moment in items(self.section("wire").get("timeline"))]

    def named(self, host: str, before: int = NEVER) -> list[str]:
        """The socket names that a host's steps make before this order."""
        return [name for (maker, name), order in self.first_name.items() if maker == host and order < before]


def gather(tree: Mapping[str, Any]) -> Facts:
    """The facts of a plain tree."""
    hosts = tree.get("hosts")
    hosts = hosts if isinstance(hosts, dict) else {}
    owner = {name: host for host, keys in hosts.items() for name in replicas_of(host, replica_count(keys))}
    facts = Facts(tree, hosts, owner | {host: host for host in hosts}, tuple(_deeds(hosts)))
    for deed in facts.deeds:
        facts.first_step.setdefault((deed.host, deed.name), deed.order)
        if name := text(deed.keys.get("as")):
            facts.first_name.setdefault((deed.host, name), deed.order)
        if deed.name == "mark" and (name := text(deed.value)):
            facts.marks.setdefault(name, []).append(deed)
    return facts


def replicas_of(host: str, replicas: int) -> tuple[str, ...]:
    """The names of a host and its replicas: client, client-2, client-3 ..."""
    return (host, *(f"{host}-{number}" for number in range(2, replicas + 1)))


def replica_count(host: Any) -> int:
    """How many hosts alike a host of the file stands for."""
    replicas = host.get("replicas", 1) if isinstance(host, dict) else 1
    return min(replicas, MOST_REPLICAS) if isinstance(replicas, int) else 1


def _deeds(hosts: Mapping[str, Any]) -> Iterator[Deed]:
    for name, host in hosts.items():
        steps = host.get("steps") if isinstance(host, dict) else None
        yield from _deeds_in(name, ("hosts", name, "steps"), steps, False, count())


def _deeds_in(host: str, path: Path, steps: Any, inner: bool, orders: Iterator[int]) -> Iterator[Deed]:
    for index, step in enumerate(items(steps)):
        keys = step if isinstance(step, dict) else {}
        here = (*path, index)
        yield Deed(host, here, step_name(step) or "", keys, next(orders), inner)
        yield from _deeds_in(host, (*here, "steps"), keys.get("steps"), True, orders)


def mentions(facts: Facts) -> Iterator[tuple[Path, str, bool]]:
    """Every place that names a host: path, name, and whether the name is the key there."""
    for deed in facts.deeds:
        if deed.name in ("connect", "sendto") and (peer := peer_of(deed.value)):
            yield (*deed.path, deed.name), peer[0], False
        if deed.name == "md5" and (name := text(deed.value)):
            yield (*deed.path, "md5"), name, False
        crafted = deed.value if deed.name == "inject" and isinstance(deed.value, dict) else {}
        for key in ("to", "from"):
            if host := text(crafted.get(key)).partition(":")[0]:
                yield (*deed.path, "inject", key), host, False
    for index, fault in enumerate(items(facts.tree.get("faults"))):
        if isinstance(fault, dict) and isinstance(fault.get("from"), str):
            yield ("faults", index, "from"), fault["from"], False
    for index, moment in enumerate(facts.moments()):
        for key in ("down", "up"):
            for place, name in enumerate(items(moment.get(key))):
                if isinstance(name, str):
                    yield ("wire", "timeline", index, key, place), name, False
    for section in (("expect", "states"), ("expect", "logs"), ("expect", "counters")):
        yield from (((*section, host), host, True) for host in facts.section(*section))
    for path, ends in directions(facts):
        yield from ((path, host, True) for host in dict.fromkeys(ends))


def directions(facts: Facts) -> Iterator[tuple[Path, tuple[str, str]]]:
    """Every `client->server` that may name any two hosts."""
    moments = [(("wire", "timeline", index), moment) for index, moment in enumerate(facts.moments())]
    expected = [(("expect", key), facts.section("expect", key)) for key in DIRECTED_EXPECTATIONS]
    for path, keys in ((("wire",), facts.section("wire")), *moments, *expected):
        for key in keys:
            source, arrow, target = key.partition("->")
            if arrow and source and target:
                yield (*path, key), (source, target)


def payloads(facts: Facts) -> Iterator[tuple[Path, Any]]:
    """Every payload, of steps and of expectations."""
    for deed in facts.deeds:
        yield from (((*deed.path, key), deed.keys[key]) for key in PAYLOAD_KEYS if key in deed.keys)
        if deed.name == "inject" and isinstance(deed.value, dict) and "payload" in deed.value:
            yield (*deed.path, "inject", "payload"), deed.value["payload"]
    for key, payload in facts.section("expect", "payload").items():
        yield ("expect", "payload", key), payload
    for key, datagrams in facts.section("expect", "datagrams").items():
        yield from ((("expect", "datagrams", key, index), one) for index, one in enumerate(items(datagrams)))


def peer_of(value: Any) -> tuple[str, str] | None:
    """Host and port of `host:port`."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    return (host, port) if colon and host else None


def items(value: Any) -> Sequence[Any]:
    """The items of a list; none of what is no list."""
    return value if isinstance(value, list) else ()


def text(value: Any) -> str:
    """The text; empty for what is none."""
    return value if isinstance(value, str) else ""


def parsed(parse: Callable[[object], T], value: Any) -> T | None:
    """The quantity, or None where it is not one, of which the schema speaks."""
    try:
        return parse(value)
    except ValueError:
        return None
