"""Packet faults by meaning: which packet a rule means, and what the ledger says of it. No clock; frames in, frames out.

A rule means packets of a class (SYN, SYN-ACK, HANDSHAKE-ACK, DATA, ACK, FIN, RST, ANY) from an address, with certain
bytes in their payload where it says so; of those it counts, from 1, in each connection or over all of the host's, and
hits the low-th to the high-th, or every n-th. A packet that is no whole TCP packet right behind its IP header
(UDP, fragments, IPv6 extension headers) is of class ANY alone.

A fault of a role with several hosts is a rule for each with the same number; over all connections they count together.
All rules count a packet; the first that hits it acts, the others do nothing to it. What a connection and what a
retransmission is: see `following`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from testbed.agent import forge, frames
from testbed.agent.fault_actions import ACTIONS, Action, Case, Outcome, read_settings
from testbed.agent.following import Connection

RETRANSMISSIONS = ("too", "never", "only")
PER = ("connection", "scenario")
_COMMON = frozenset(("rule", "action", "kind", "from", "low", "high", "every", "retransmissions", "per", "contains"))
_ANY = frozenset({"ANY"})


class Rule(NamedTuple):
    """A fault, read: which packets it means, which of them it hits, and what it then does."""

    number: int  # in the scenario
    action: str
    kind: str
    source: bytes | None
    low: int
    high: int | None
    every: int | None
    retransmissions: str
    per: str
    contains: bytes
    settings: Mapping[str, Any]

    def hits(self, count: int) -> bool:
        """Whether the count-th packet that the rule means is one to act on."""
        if self.every:
            return count % self.every == 0
        return self.low <= count and (self.high is None or count <= self.high)


class Met(NamedTuple):
    """What comes of a packet that a fault hit."""

    deliveries: tuple[tuple[int, bytes, bool], ...]  # how much later, the frame, whether chance spares it
    to_sender: tuple[bytes, ...]  # frames to leave by the interface that the packet came in by
    entry: dict[str, Any]  # for the ledger, without event and time
    dropped: bool  # neither the packet nor another in its place goes on


class Faults:
    """The faults of one host's arrival side. Raises ValueError for what makes no sense, with its place."""

    def __init__(self, given: Sequence[Mapping[str, Any]]) -> None:
        self.rules = tuple(_read(f"link.faults[{number}]", number, fault) for number, fault in enumerate(given))
        self.sources = frozenset(rule.source for rule in self.rules)
        self.connections: dict[tuple[int, bytes, int, bytes, int], Connection] = {}
        self.counts: dict[int, int] = {}  # of rules that count over all connections, by the scenario's number
        self.meant: dict[tuple[bytes, frozenset[str]], tuple[tuple[int, Rule, Action], ...]] = {}
        if self.rules:
            forge.digest(b"")  # loads what it needs before packets wait for it

    def meet(self, segment: frames.Segment, frame: bytes) -> Met | None:
        """What comes of the next packet that arrives; None: no fault hits it."""
        if segment.source not in self.sources and None not in self.sources:
            return None
        where = forge.find(frame, segment.protocol) if segment.protocol in forge.SMALLEST else None
        kinds = frames.kinds(segment) if where else _ANY
        connection = self.connections.get(segment.flow)
        if connection is None or connection.begins_anew(segment, kinds):
            connection = self.connections[segment.flow] = Connection()
        again = False
        if where and segment.protocol == frames.TCP:
            kinds = connection.follow(segment, kinds)
            again = connection.repeats(segment)
        meant = self.meant.get((segment.source, kinds))
        if meant is None:
            meant = self._remember(segment.source, kinds)
        hit: Rule | None = None
        for number, rule, action in meant:
            if _means(rule, action, segment, frame, where, again):
                counts, key = (self.counts, rule.number) if rule.per == "scenario" else (connection.counts, number)
                counts[key] = count = counts.get(key, 0) + 1  # also by the rules after the one that hits
                hit = hit or (rule if rule.hits(count) else None)
        return _act(hit, Case(segment, frame, where, connection.expected(segment))) if hit else None

    def _remember(self, source: bytes, kinds: frozenset[str]) -> tuple[tuple[int, Rule, Action], ...]:
        meant = tuple(
            (number, rule, ACTIONS[rule.action])
            for number, rule in enumerate(self.rules)
            if rule.kind in kinds and rule.source in (None, source)
        )
        self.meant[(source, kinds)] = meant
        return meant


def _means(
    rule: Rule, action: Action, segment: frames.Segment, frame: bytes, where: forge.Where | None, again: bool
) -> bool:
    """Whether a packet of the rule's class and address is one that it counts."""
    if rule.retransmissions != "too" and again != (rule.retransmissions == "only"):
        return False
    if rule.contains and (where is None or frame.find(rule.contains, where.body, where.end) < 0):
        return False
    return action.means(segment, frame, where)


def _act(rule: Rule, case: Case) -> Met:
    outcome = ACTIONS[rule.action].does(rule.settings, case)
    entry = {
        "rule": rule.number,
        "action": rule.action,
        "says": frames.describe(case.segment, rule.kind),
        "packet": forge.digest(case.frame),
        "passed": outcome.passes,
        "made": [*_made(rule, case, outcome)],
    }
    going = case.frame if outcome.passes else outcome.instead
    deliveries = [] if going is None else [(outcome.delayed_ns, going, False)]
    deliveries += [(later_ns, frame, True) for later_ns, frame in outcome.added]
    return Met(tuple(deliveries), outcome.to_sender, entry, going is None)


def _made(rule: Rule, case: Case, outcome: Outcome) -> list[dict[str, str]]:
    onward = [outcome.instead] if outcome.instead is not None else []
    onward += [frame for _, frame in outcome.added]
    there = [("receiver", frame) for frame in onward] + [("sender", frame) for frame in outcome.to_sender]
    return [{"to": to, "packet": forge.digest(frame), "says": _says(rule, case.segment, frame)} for to, frame in there]


def _says(rule: Rule, came: frames.Segment, frame: bytes) -> str:
    """A made packet in words; where its flags are those of the packet that came, it is of the rule's class as that."""
    made = frames.parse(frame)
    assert made is not None
    if rule.action == "icmp":
        return f"ICMP {rule.settings['unreachable']} {frames.unpack(made.source)} > {frames.unpack(made.destination)}"
    kinds = frames.kinds(made)
    same = made.flow == came.flow and made.flags == came.flags
    return frames.describe(made, rule.kind if same else next(kind for kind in frames.KINDS if kind in kinds))


# ---------------------------------------------------------------- a message, read


def _read(place: str, number: int, message: Any) -> Rule:
    if not isinstance(message, Mapping):
        raise ValueError(f"{place} is {message!r}; it is a fault's message")
    given = {key: value for key, value in message.items() if value is not None}
    action = _one_of(f"{place}.action", given.get("action"), tuple(ACTIONS))
    low, high, every = (
        _count(f"{place}.{key}", given[key]) if key in given else None for key in ("low", "high", "every")
    )
    if high is not None and high < (low or 1):
        raise ValueError(f"{place}.high is {high}; it is low, which is {low}, or more, or null")
    return Rule(
        given.get("rule", number),
        action,
        _one_of(f"{place}.kind", given.get("kind"), frames.KINDS),
        _packed(f"{place}.from", given["from"]) if "from" in given else None,
        low or 1,
        high,
        every,
        _one_of(f"{place}.retransmissions", given.get("retransmissions", "too"), RETRANSMISSIONS),
        _one_of(f"{place}.per", given.get("per", "connection"), PER),
        _octets(f"{place}.contains", given["contains"]) if "contains" in given else b"",
        read_settings(place, action, {key: value for key, value in given.items() if key not in _COMMON}),
    )


def _one_of(place: str, given: Any, words: Sequence[str]) -> str:
    if given not in words:
        raise ValueError(f"{place} is {given!r}; it is one of {', '.join(words)}")
    return str(given)


def _count(place: str, given: Any) -> int:
    if type(given) is not int or given < 1:
        raise ValueError(f"{place} is {given!r}; packets are counted from 1")
    return given


def _packed(place: str, given: Any) -> bytes:
    try:
        return frames.pack(given)
    except (OSError, TypeError):
        raise ValueError(f"{place} has {given!r}, which is no IPv4 or IPv6 address") from None


def _octets(place: str, given: Any) -> bytes:
    try:
        octets = bytes.fromhex(given)
    except (ValueError, TypeError):
        octets = b""
    if not octets:
        raise ValueError(f"{place} is {given!r}; it is bytes in hex, such as 486f6c61")
    return octets
