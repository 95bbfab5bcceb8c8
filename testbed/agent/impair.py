"""What the wire does to each packet, decided without a clock: a frame and the time go in, deliveries come out.

Order of the decisions: blackhole, packet faults, loss by chance, duplicate, delay. Each source address has its own
seeded streams of chance, one each for loss, duplicate and jitter, so that the same sequence of frames from a host meets
the same fate whatever the other hosts send, whatever the time is, and whether jitter was asked for or not. Sources go
by their place among `sources`, else by the order in which they first appear, never by address: another run of the same
scenario has other addresses.

Jitter is uniform around the delay; packets of one source keep their order (as on a path with one queue).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from testbed.agent import frames

FAULT, LOSS, BLACKHOLE = "fault", "loss", "blackhole"


class Impairment(NamedTuple):
    """What one direction does to packets, as `wire.apply` gives it."""

    delay_ns: int = 0
    jitter_ns: int = 0
    loss_percent: float = 0.0
    duplicate_percent: float = 0.0
    blackhole: bool = False


class Fault(NamedTuple):
    """The low-th to high-th packet of a class (high None: and all after), in each connection, is dropped."""

    rule: int
    drop: str
    source: bytes | None
    low: int
    high: int | None

    def hits(self, count: int) -> bool:
        """Whether the count-th packet of the class is one to drop."""
        return self.low <= count and (self.high is None or count <= self.high)


class Decision(NamedTuple):
    """When the frame is to be delivered (twice: a duplicate; never: `dropped` says why, `fault` and `says` by what)."""

    deliveries: tuple[tuple[int, bytes], ...] = ()
    dropped: str = ""
    fault: Fault | None = None
    says: str = ""


class Connection:
    """One direction of a connection: how far its handshake is, and how many packets each rule has seen of it."""

    def __init__(self) -> None:
        self.syn: int | None = None  # the sequence number of its SYN
        self.answered: int | None = None  # the acknowledgement of its SYN-ACK: which SYN it answers
        self.acked = False  # the SYN's sender has sent its first ACK
        self.counts: dict[int, int] = {}

    def begins_anew(self, segment: frames.Segment, kinds: frozenset[str]) -> bool:
        """Whether this opens another connection between the same ports.

        A SYN with another sequence number, or a SYN-ACK that answers another SYN. A SYN-ACK's own number would not
        do: a listener that forgot a half-open connection answers the repeated SYN with a fresh one.
        """
        if "SYN" in kinds:
            return self.syn is not None and self.syn != segment.sequence
        return "SYN-ACK" in kinds and self.answered is not None and self.answered != segment.acknowledgement

    def follow(self, segment: frames.Segment, kinds: frozenset[str]) -> frozenset[str]:
        """Take a packet in; its classes, with HANDSHAKE-ACK where it is the first ACK after the SYN."""
        if "SYN" in kinds:
            self.syn = segment.sequence
        elif "SYN-ACK" in kinds:
            self.answered = segment.acknowledgement
        elif self.syn is not None and not self.acked and "RST" not in kinds and segment.flags & frames.ACK:
            self.acked = True
            return kinds | {"HANDSHAKE-ACK"}
        return kinds


class Chance:
    """The seeded streams of one source, and when its last packet is delivered."""

    def __init__(self, seed: object, source: object) -> None:
        self.loss, self.duplicate, self.jitter = (
            random.Random(f"{seed} {source} {use}").random for use in ("loss", "duplicate", "jitter")
        )
        self.last_ns = 0


class Emulator:
    """The decisions of one host's arrival side. Raises ValueError for a link that makes no sense."""

    def __init__(self, link: Mapping[str, Any]) -> None:
        self.seed = link.get("seed", 0)
        self.default = _impairment("link", link)
        self.sources = {
            _address("link.sources", address): _impairment(f"link.sources.{address}", given)
            for address, given in (link.get("sources") or {}).items()
        }
        self.faults = tuple(_fault(number, given) for number, given in enumerate(link.get("faults") or ()))
        self.connections: dict[tuple[int, bytes, int, bytes, int], Connection] = {}
        self.chances = {address: Chance(self.seed, number) for number, address in enumerate(self.sources)}

    def decide(self, frame: bytes, now_ns: int) -> Decision:
        """What becomes of this frame, the next one in its sequence, that arrives now."""
        segment = frames.parse(frame)
        source = segment.source if segment else b""
        impairment = self.sources.get(source, self.default)
        if impairment.blackhole:
            return Decision(dropped=BLACKHOLE)
        if segment and self.faults:
            fault, says = self._fault(segment)
            if fault:
                return Decision(dropped=FAULT, fault=fault, says=says)
        chance = self.chances.get(source)
        if chance is None:
            chance = self.chances[source] = Chance(self.seed, f"new {len(self.chances)}")
        return _carry(frame, now_ns, impairment, chance)

    def _fault(self, segment: frames.Segment) -> tuple[Fault | None, str]:
        kinds = self._follow(segment)
        counts = self.connections[segment.flow].counts
        hit: Fault | None = None
        for number, fault in enumerate(self.faults):
            if fault.drop in kinds and fault.source in (None, segment.source):
                counts[number] = count = counts.get(number, 0) + 1  # also by the rules after the one that hits
                hit = hit or (fault if fault.hits(count) else None)
        return hit, frames.describe(segment, hit.drop) if hit else ""

    def _follow(self, segment: frames.Segment) -> frozenset[str]:
        kinds = frames.kinds(segment)
        connection = self.connections.get(segment.flow)
        if connection is None or connection.begins_anew(segment, kinds):
            connection = self.connections[segment.flow] = Connection()
        return connection.follow(segment, kinds)


def _carry(frame: bytes, now_ns: int, impairment: Impairment, chance: Chance) -> Decision:
    if impairment.loss_percent and chance.loss() * 100 < impairment.loss_percent:
        return Decision(dropped=LOSS)
    delay_ns = impairment.delay_ns
    if impairment.jitter_ns:
        delay_ns += round((chance.jitter() * 2 - 1) * impairment.jitter_ns)
    chance.last_ns = at_ns = max(now_ns + delay_ns, now_ns, chance.last_ns)
    once = (at_ns, frame)
    if impairment.duplicate_percent and chance.duplicate() * 100 < impairment.duplicate_percent:
        return Decision((once, once))
    return Decision((once,))


def _impairment(place: str, given: Mapping[str, Any]) -> Impairment:
    taken = Impairment(**{name: given[name] for name in Impairment._fields if given.get(name) is not None})
    for name in ("delay_ns", "jitter_ns"):
        if getattr(taken, name) < 0:
            raise ValueError(f"{place}.{name} is {getattr(taken, name)}; a time is 0 or more")
    for name in ("loss_percent", "duplicate_percent"):
        if not 0 <= getattr(taken, name) <= 100:
            raise ValueError(f"{place}.{name} is {getattr(taken, name)}; a percentage is 0 to 100")
    return taken


def _fault(number: int, given: Mapping[str, Any]) -> Fault:
    place = f"link.faults[{number}]"
    drop = given.get("drop")
    if drop not in frames.KINDS:
        raise ValueError(f"{place}.drop is {drop!r}; it is one of {', '.join(frames.KINDS)}")
    source = given.get("from")
    low, high = given.get("low", 1), given.get("high")
    if low < 1 or (high is not None and high < low):
        raise ValueError(f"{place} has low {low} and high {high}; packets are counted from 1, low to high")
    return Fault(given.get("rule", number), drop, _address(f"{place}.from", source) if source else None, low, high)


def _address(place: str, text: str) -> bytes:
    try:
        return frames.pack(text)
    except OSError:
        raise ValueError(f"{place} has {text!r}, which is no IPv4 or IPv6 address") from None
