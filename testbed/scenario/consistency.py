"""What a scenario's parts say about each other, and the schema alone cannot know: contradictions, each at its place.

Works on the plain tree of a file (or of `dump_scenario`), since a file with other mistakes has no Scenario yet, and its
contradictions shall be told in the same breath. Only what can never work is refused: a scenario may well be about a
socket call that fails. A new check is a function and a row of CHECKS; those of the wire and of faults are in modules of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from testbed.scenario import fault_consistency, inject_consistency, wire_consistency
from testbed.scenario.counters import is_counter, spellings
from testbed.scenario.deeds import (
    NEVER,
    Deed,
    Facts,
    directions,
    gather,
    items,
    mentions,
    parsed,
    payloads,
    peer_of,
    replica_count,
    replicas_of,
    text,
)
from testbed.scenario.mistakes import MOST, Complaint, Path, listed, nearest
from testbed.scenario.model import MOST_KERNELS, RESERVED_HOSTS
from testbed.scenario.units import parse_count_range, parse_size
from testbed.scenario.values import FREE

MAKES_SOCKET = ("socket", "bind", "listen", "accept", "connect", "udp")
NEEDS_SOCKET = frozenset({"send", "recv", "shutdown", "close", "abort", "sockopt", "md5"})
LAST = {"hold": "holds until the captures have ended", "kill": "ends the program"}  # no step comes after these
GIVES_PORT = {"connect": ("listen", "bind"), "sendto": ("udp", "bind")}  # the steps that `server:free` may be about
NEVER_COMPLETE = frozenset({"unanswered", "refused", "reset", "half-open", "mid-stream"})  # their duration_ns is None


def contradictions(tree: Any) -> list[Complaint]:
    """Every place where the scenario's parts contradict each other, up to MOST of a kind."""
    if not isinstance(tree, dict):
        return []
    facts = gather(tree)
    return [complaint for check in CHECKS for complaint in islice(check(facts), MOST)]


# ---------------------------------------------------------------- hosts


def _host_names(facts: Facts) -> Iterator[Complaint]:
    for name, host in facts.hosts.items():
        if name in RESERVED_HOSTS:
            yield Complaint(("hosts", name), f"{name} is a name of the lab's own; call the host otherwise", at_key=True)
        for other in replicas_of(name, replica_count(host))[1:]:
            if other in facts.hosts:
                says = f"{other} is also the name of a replica of {name}; call the host otherwise"
                yield Complaint(("hosts", other), says, at_key=True)


def _some_steps(facts: Facts) -> Iterator[Complaint]:
    idle = all(isinstance(host, dict) and not host.get("steps") for host in facts.hosts.values())
    if facts.hosts and idle:
        yield Complaint(("hosts",), "no host has steps, so nothing would happen", at_key=True)


def _host_references(facts: Facts) -> Iterator[Complaint]:
    hosts = f"; there is {listed(facts.owner, 'and')}" if 0 < len(facts.owner) <= 6 else ""
    for path, name, at_key in mentions(facts):
        if facts.hosts and name not in facts.owner:
            yield Complaint(path, f"no host is called {name[:40]}{hosts}", nearest(name, facts.owner), at_key)


def _two_ends(facts: Facts) -> Iterator[Complaint]:
    for path, (source, target) in directions(facts):
        if source == target:
            yield Complaint(path, f"what {source} sends to itself never goes over the wire", at_key=True)


# ---------------------------------------------------------------- steps


def _socket_names(facts: Facts) -> Iterator[Complaint]:
    """`on:` (and the value of close and abort) names a socket that the same host made before."""
    for deed in facts.deeds:
        for key in ("on", deed.name) if deed.name in ("close", "abort") else ("on",):
            wanted = deed.keys.get(key)
            if isinstance(wanted, str) and facts.first_name.get((deed.host, wanted), NEVER) >= deed.order:
                near = nearest(wanted, facts.named(deed.host, deed.order))
                yield Complaint((*deed.path, key), _no_socket(wanted, facts, deed), near)


def _no_socket(wanted: str, facts: Facts, deed: Deed) -> str:
    if facts.first_name.get((deed.host, wanted)) == deed.order:
        return f"no socket is called {wanted[:40]} before this step makes it"
    later = (deed.host, wanted) in facts.first_name
    why = "only a later step makes it" if later else f"no step of {deed.host} says `as: {wanted[:40]}`"
    return f"no socket is called {wanted[:40]} here: {why}"


def _sockets(facts: Facts) -> Iterator[Complaint]:
    """A step on the newest socket comes after a step that makes one."""
    for deed in facts.deeds:
        named = deed.keys.get("on") is not None or (deed.name in ("close", "abort") and deed.value is not None)
        if named or _came_before(facts, deed, ""):
            continue  # after an unknown step nothing is sure
        if deed.name == "accept" and not _came_before(facts, deed, "listen"):
            yield Complaint(deed.path, f"nothing to accept from: no earlier step of {deed.host} listens")
        if deed.name in NEEDS_SOCKET and not any(_came_before(facts, deed, maker) for maker in MAKES_SOCKET):
            yield Complaint(deed.path, f"no socket to {deed.name}: no earlier step of {deed.host} makes one")


def _came_before(facts: Facts, deed: Deed, step: str) -> bool:
    return facts.first_step.get((deed.host, step), NEVER) < deed.order


def _free_ports(facts: Facts) -> Iterator[Complaint]:
    """`server:free` is the port that one of the server's own steps was given."""
    given = {(deed.host, deed.name) for deed in facts.deeds if deed.value == FREE}
    for deed in facts.deeds:
        peer = peer_of(deed.value)
        if deed.name not in GIVES_PORT or not peer or peer[1] != FREE or peer[0] not in facts.owner:
            continue
        host = facts.owner[peer[0]]
        if not any((host, giver) in given for giver in GIVES_PORT[deed.name]):
            says = f"{host} has no free port: none of its steps is `{GIVES_PORT[deed.name][0]}: free`"
            yield Complaint((*deed.path, deed.name), says)


def _marks(facts: Facts) -> Iterator[Complaint]:
    for deed in facts.deeds:
        if deed.name != "wait" or not isinstance(deed.value, str):
            continue
        marks = facts.marks.get(deed.value, [])
        path = (*deed.path, "wait")
        if not marks:
            yield Complaint(path, f"no step marks {deed.value[:40]}", nearest(deed.value, facts.marks))
        elif _own_and_later(deed, marks, facts):
            yield Complaint(path, f"waits for ever: only {deed.host} itself marks {deed.value[:40]}, and later")


def _own_and_later(wait: Deed, marks: list[Deed], facts: Facts) -> bool:
    """Whether only the waiting program itself could make the mark, and after the wait."""
    alone = replica_count(facts.hosts[wait.host]) == 1 and not wait.inner
    return alone and marks[0].order > wait.order and all(mark.host == wait.host for mark in marks)


def _after_the_last(facts: Facts) -> Iterator[Complaint]:
    held: dict[Path, str] = {}
    for deed in facts.deeds:
        if deed.name in LAST:
            held.update((deed.path[:length], deed.name) for length in range(4, len(deed.path) + 1, 2))
    for deed in facts.deeds:
        *above, index = deed.path
        if isinstance(index, int) and (last := held.get((*above, index - 1))):
            yield Complaint(deed.path, f"never happens: the step before it {LAST[last]}")


def _equals(facts: Facts) -> Iterator[Complaint]:
    """What must have been read is as long as what is read."""
    for deed in facts.deeds:
        wanted = _length(deed.keys.get("equals"))
        asked = parsed(parse_size, deed.value) if deed.name in ("recv", "recvfrom") else None
        if wanted is None or asked is None:
            continue
        path = (*deed.path, "equals")
        if deed.name == "recv" and wanted != asked:
            yield Complaint(path, f"can never be: recv reads {asked} bytes, and these are {wanted}")
        if deed.name == "recvfrom" and wanted > asked:
            yield Complaint(path, f"can never be: recvfrom reads at most {asked} bytes, and these are {wanted}")


def _length(payload: Any) -> int | None:
    keys = {"text": payload} if isinstance(payload, str) else payload if isinstance(payload, dict) else {}
    if len({"text", "hex", "file", "random", "numbered"} & keys.keys()) != 1:
        return None
    if isinstance(words := keys.get("text"), str):
        return len(words.encode("utf-8"))
    if isinstance(digits := keys.get("hex"), str):
        return len("".join(digits.split())) // 2
    size = keys.get("random", keys.get("numbered"))
    return None if size is None else parsed(parse_size, size)


def _files(facts: Facts) -> Iterator[Complaint]:
    """A payload's file lies beside the scenario or beneath."""
    for path, payload in payloads(facts):
        name = payload.get("file") if isinstance(payload, dict) else None
        if isinstance(name, str) and not _beside(name):
            says = "must be a file beside the scenario: no / in front, no .., no backslash"
            yield Complaint((*path, "file"), says)


def _numbered(facts: Facts) -> Iterator[Complaint]:
    """What is expected is the same in every round."""
    for path, payload in payloads(facts):
        if path[0] == "expect" and isinstance(payload, dict) and "numbered" in payload:
            yield Complaint((*path, "numbered"), "a numbered payload is another in each round: expect its bytes as hex")


def _beside(name: str) -> bool:
    path = PurePosixPath(name)
    odd = "\0" in name or "\\" in name
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and not odd


# ---------------------------------------------------------------- expectations


def _snapshots(facts: Facts) -> Iterator[Complaint]:
    taken = dict.fromkeys(text(deed.value) for deed in facts.deeds if deed.name == "snapshot")
    for name in facts.section("expect", "snapshots"):
        if name not in taken:
            path = ("expect", "snapshots", name)
            yield Complaint(path, "no step takes this snapshot", nearest(name, taken), at_key=True)


def _logs(facts: Facts) -> Iterator[Complaint]:
    loud = {deed.host for deed in facts.deeds if deed.name in ("log", "")}
    for name, lines in facts.section("expect", "logs").items():
        if items(lines) and name in facts.owner and facts.owner[name] not in loud:
            yield Complaint(("expect", "logs", name), f"{name} prints nothing: none of its steps is a log", at_key=True)


def _opening(facts: Facts) -> Iterator[Complaint]:
    handshake = facts.section("expect", "handshake")
    outcome = text(handshake.get("outcome"))
    if outcome in NEVER_COMPLETE and handshake.get("duration") is not None:
        says = f"a handshake that is {outcome} has no duration: that is from the first SYN to the ACK that completes it"
        yield Complaint(("expect", "handshake", "duration"), says)


def _closing(facts: Facts) -> Iterator[Complaint]:
    teardown = facts.section("expect", "teardown")
    kind = text(teardown.get("kind"))
    if kind in ("simultaneous", "none") and teardown.get("closed_first") is not None:
        path = ("expect", "teardown", "closed_first")
        yield Complaint(path, f"nobody closes first in a teardown of kind {kind}")


def _no_connection(facts: Facts) -> Iterator[Complaint]:
    expect = facts.section("expect")
    wanted = parsed(parse_count_range, expect.get("connections"))
    for key in ("handshake", "teardown"):
        if wanted is not None and wanted.high == 0 and expect.get(key):
            yield Complaint(("expect", key), "nothing to look at: connections is 0", at_key=True)


def _counters(facts: Facts) -> Iterator[Complaint]:
    for host in facts.section("expect", "counters"):
        for name in facts.section("expect", "counters", host):
            if not is_counter(name):
                says = "the kernel has no such counter; nstat(8) prints those that it has"
                yield Complaint(("expect", "counters", host, name), says, nearest(name, spellings()), at_key=True)


def _by_kernel(facts: Facts) -> Iterator[Complaint]:
    """What is expected of some kernels is held against the rest of the file as if it stood there."""
    for index, part in enumerate(islice(items(facts.section("expect").get("by_kernel")), MOST_KERNELS)):
        if isinstance(part, dict):
            expect = {key: value for key, value in part.items() if key not in ("kernel", "by_kernel")}
            alone = replace(facts, tree={**facts.tree, "expect": expect})
            for complaint in (complaint for check in CHECKS for complaint in islice(check(alone), MOST)):
                if complaint.path[0] == "expect":
                    yield replace(complaint, path=("expect", "by_kernel", index, *complaint.path[1:]))


CHECKS: tuple[Callable[[Facts], Iterator[Complaint]], ...] = (
    _host_names,
    _some_steps,
    _host_references,
    _two_ends,
    _socket_names,
    _sockets,
    _free_ports,
    _marks,
    _after_the_last,
    _equals,
    _files,
    _numbered,
    *wire_consistency.CHECKS,
    *fault_consistency.CHECKS,
    *inject_consistency.CHECKS,
    _snapshots,
    _logs,
    _opening,
    _closing,
    _no_connection,
    _counters,
    _by_kernel,
)
