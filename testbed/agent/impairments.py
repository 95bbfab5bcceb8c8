"""The table of impairments: what a wire can do to packets, once for all who speak of it.

Each row of KEYS is a key of a scenario's `wire:`, its unit, and its words. From the table come the scenario's model and
its schema, the messages to the agent, and what a run reports; EFFECTS gives for each what tc-netem(8) is told and what
the portable engine does. The portable engine draws its chances by netem's own formulas (`chance`), and in netem's
order, so that a scenario means the same on both; jitter may reorder (docs/decisions/0009-jitter-may-reorder.md).

Standard library only: the agent, the scenario reader and the verdict all read this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from testbed.agent import chance
from testbed.agent.chance import Streams

LIMIT = 20_000  # packets that may wait in one direction; netem's own 1,000 would lose packets of any fast, long path
ETHERNET = 14  # octets of a frame before its packet
MOST_JITTER_NS = (1 << 31) - 1  # netem's
MOST = 1 << 63  # of any number here
MOST_SAID = 200  # characters of what is wrong with a setting
DISTRIBUTIONS = ("uniform", "normal", "pareto", "paretonormal")


@dataclass(frozen=True)
class Impairment:
    """What one direction of the wire does to packets. Chances are percent, times ns, the rate bit per second."""

    delay_ns: int = 0
    jitter_ns: int = 0
    jitter_distribution: str = "uniform"
    jitter_correlation_percent: float = 0.0
    loss_percent: float = 0.0
    loss_correlation_percent: float = 0.0
    gilbert_elliott_percent: tuple[float, ...] = ()  # p, r, 1-h, 1-k
    loss_states_percent: tuple[float, ...] = ()  # p13, p31, p32, p23, p14
    duplicate_percent: float = 0.0
    duplicate_correlation_percent: float = 0.0
    reorder_percent: float = 0.0
    reorder_correlation_percent: float = 0.0
    reorder_gap: int = 1
    corrupt_percent: float = 0.0
    corrupt_correlation_percent: float = 0.0
    rate_bit: int = 0  # 0: as fast as it goes
    limit_packets: int = LIMIT
    blackhole: bool = False


class Key(NamedTuple):
    """A key of a scenario's `wire:`: its name there, the field it sets, its unit, and what it means.

    `unit` is duration, percent, rate, count, flag, word (one of `words`) or chances: a mapping of percentages with the
    names in `words`, `defaults` for those left out (None: must be given).
    """

    name: str
    field: str
    unit: str
    says: str
    words: tuple[str, ...] = ()
    defaults: tuple[float | None, ...] = ()


KEYS = (
    Key("delay", "delay_ns", "duration", "Added to each packet's way."),
    Key("jitter", "jitter_ns", "duration", "How far the delay varies around its middle; packets may overtake."),
    Key("jitter_distribution", "jitter_distribution", "word", "How the delay varies.", DISTRIBUTIONS),
    Key("jitter_correlation", "jitter_correlation_percent", "percent", "How much each delay follows the last one."),
    Key("loss", "loss_percent", "percent", "Each packet is lost with this probability."),
    Key("loss_correlation", "loss_correlation_percent", "percent", "How much each draw follows the last one."),
    Key(
        "gilbert_elliott",
        "gilbert_elliott_percent",
        "chances",
        "Loss in bursts: a good and a bad state, the chances to go to bad (p) and back (r), and of loss in each.",
        ("p", "r", "loss_bad", "loss_good"),
        (None, None, 100.0, 0.0),
    ),
    Key(
        "loss_states",
        "loss_states_percent",
        "chances",
        "Loss by a chain of four states: 1 good, 2 good within a burst, 3 lost within a burst, 4 lost alone.",
        ("p13", "p31", "p32", "p23", "p14"),
        (None, None, 0.0, 100.0, 0.0),
    ),
    Key("duplicate", "duplicate_percent", "percent", "Each packet arrives twice with this probability."),
    Key("duplicate_correlation", "duplicate_correlation_percent", "percent", "How much each draw follows the last."),
    Key(
        "reorder", "reorder_percent", "percent", "Each packet skips the delay, and so overtakes, with this probability."
    ),
    Key("reorder_correlation", "reorder_correlation_percent", "percent", "How much each draw follows the last one."),
    Key("reorder_gap", "reorder_gap", "count", "Of each so many packets only the last may overtake."),
    Key("corrupt", "corrupt_percent", "percent", "Each packet has one bit flipped with this probability."),
    Key("corrupt_correlation", "corrupt_correlation_percent", "percent", "How much each draw follows the last one."),
    Key("rate", "rate_bit", "rate", "Packets go one after the other at this rate."),
    Key("limit", "limit_packets", "count", "So many packets may wait; one more is dropped."),
    Key("blackhole", "blackhole", "flag", "Nothing arrives."),
)
BY_NAME = {key.name: key for key in KEYS}
NONE = Impairment()
LOSS_MODELS = ("loss_percent", "gilbert_elliott_percent", "loss_states_percent")


def to_message(impairment: Impairment) -> dict[str, Any]:
    """What differs from no impairment at all, as the agent's protocol and `result.json` carry it."""
    values = {spec.name: getattr(impairment, spec.name) for spec in fields(Impairment)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value != getattr(NONE, name)
    }


def from_message(place: str, given: Mapping[str, Any]) -> Impairment:
    """The impairment that a message holds. Raises ValueError that names the place of what makes no sense."""
    known = {spec.name: getattr(NONE, spec.name) for spec in fields(Impairment)}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"{place} has {name!r}, which is no impairment; there are {', '.join(known)}")
        values[name] = _checked(f"{place}.{name}", name, value, known[name])
    return Impairment(**values)


def no_setting(value: object) -> str:
    """What is wrong with what a link is told to hold, for a source and a port: `{"from": ..., "port": ..., ...}`."""
    if not isinstance(value, Mapping):
        return "is no object"
    held = dict(value)
    source, port = held.pop("from", None), held.pop("port", None)
    if not isinstance(source, str) or not (port is None or (type(port) is int and 0 < port < 1 << 16)):
        return "is of no source or of no port"
    try:
        from_message("setting", held)
    except ValueError as error:
        return f"is no setting of a link: {str(error)[:MOST_SAID]}"
    return ""


def contradictions(asked: Impairment) -> list[str]:
    """What does not go together, in words; tc refuses it too, or takes it for something else."""
    p13, p31, p32, _, p14 = asked.loss_states_percent or (0.0,) * 5
    holds = {
        "only one of loss, gilbert_elliott and loss_states can be": sum(bool(getattr(asked, n)) for n in LOSS_MODELS)
        > 1,
        "reorder needs a delay to skip": asked.reorder_percent > 0 and not asked.delay_ns,
        "reorder_gap must be 1 or more": asked.reorder_gap < 1,
        "p13 and p14 of loss_states are more than 100% together": p13 + p14 > 100,
        "p31 and p32 of loss_states are more than 100% together": p31 + p32 > 100,
        f"jitter can be {MOST_JITTER_NS / 1e9:.3f} s at most": asked.jitter_ns > MOST_JITTER_NS,
    }
    return [says for says, wrong in holds.items() if wrong]


def _checked(place: str, name: str, value: Any, default: Any) -> Any:
    if isinstance(default, tuple):
        return _chances(place, name, value)
    if isinstance(default, (bool, str)):
        if type(value) is not type(default):
            raise ValueError(f"{place} is {value!r}; it must be of type {type(default).__name__}")
        if isinstance(default, str) and value not in DISTRIBUTIONS:
            raise ValueError(f"{place} is {value!r}; it is one of {', '.join(DISTRIBUTIONS)}")
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST:
        raise ValueError(f"{place} is {value!r}; it is a number, 0 or more, of less than 64 bits")
    if name.endswith("_percent"):
        if value > 100:
            raise ValueError(f"{place} is {value}; a percentage is 0 to 100")
        return float(value)
    if not isinstance(value, int):
        raise ValueError(f"{place} is {value!r}; it is a whole number")
    return value


def _chances(place: str, name: str, value: Any) -> tuple[float, ...]:
    words = next(key.words for key in KEYS if key.field == name)
    if not isinstance(value, Sequence) or len(value) not in (0, len(words)):
        raise ValueError(f"{place} is {value!r}; it holds {', '.join(words)}")
    return tuple(_checked(place, name, part, 0.0) for part in value)


# ---------------------------------------------------------------- what each does, on either engine


class Packet:
    """A packet on its way through the effects of its lane; each may change it."""

    __slots__ = ("corrupted", "count", "dropped", "due_ns", "frame", "last_ns", "skips", "waiting")

    def __init__(self, frame: bytes, now_ns: int, waiting: int, last_ns: int) -> None:
        self.frame = frame
        self.due_ns = now_ns
        self.waiting = waiting  # packets that wait in its lane
        self.last_ns = last_ns  # when the last of them is due
        self.count = 1  # how often it arrives
        self.dropped: list[str] = []
        self.skips = False  # it overtakes: no delay, no rate
        self.corrupted = False

    def drop(self, reason: str) -> None:
        """Let it arrive once less."""
        self.count -= 1
        self.dropped.append(reason)


Stage = Callable[[Packet], None]


class Effect(NamedTuple):
    """One thing a wire does: what tc is told, and what the portable engine does; nothing where it is not asked for."""

    name: str
    tc: Callable[[Impairment], list[str]]
    portable: Callable[[Impairment, Streams], Stage | None]


def _blackhole(asked: Impairment, streams: Streams) -> Stage | None:
    return (lambda packet: packet.drop("blackhole")) if asked.blackhole else None


def _duplicate(asked: Impairment, streams: Streams) -> Stage | None:
    if not asked.duplicate_percent:
        return None
    twice = chance.event(streams("duplicate"), asked.duplicate_percent, asked.duplicate_correlation_percent)

    def stage(packet: Packet) -> None:
        packet.count += twice()

    return stage


def _loss(asked: Impairment, streams: Streams) -> Stage | None:
    if asked.gilbert_elliott_percent:
        lost = chance.gilbert_elliott(streams("loss"), asked.gilbert_elliott_percent)
    elif asked.loss_states_percent:
        lost = chance.loss_states(streams("loss"), asked.loss_states_percent)
    elif asked.loss_percent:
        lost = chance.event(streams("loss"), asked.loss_percent, asked.loss_correlation_percent)
    else:
        return None

    def stage(packet: Packet) -> None:
        if lost():
            packet.drop("loss")

    return stage


def _tell_loss(asked: Impairment) -> list[str]:
    if asked.gilbert_elliott_percent:
        return ["loss", "gemodel", *map(_percent, asked.gilbert_elliott_percent)]
    if asked.loss_states_percent:
        return ["loss", "state", *map(_percent, asked.loss_states_percent)]
    return _chance("loss", asked.loss_percent, asked.loss_correlation_percent, "random")


def _corrupt(asked: Impairment, streams: Streams) -> Stage | None:
    if not asked.corrupt_percent:
        return None
    hit = chance.event(streams("corrupt"), asked.corrupt_percent, asked.corrupt_correlation_percent)
    where = streams("corrupt where")

    def stage(packet: Packet) -> None:
        if hit():
            octet, bit = divmod(int(where() * (len(packet.frame) - ETHERNET) * 8), 8)
            changed = bytearray(packet.frame)
            changed[ETHERNET + octet] ^= 1 << bit
            packet.frame, packet.corrupted = bytes(changed), True

    return stage


def _limit(asked: Impairment, streams: Streams) -> Stage | None:
    def stage(packet: Packet) -> None:
        if packet.waiting >= asked.limit_packets:
            while packet.count:
                packet.drop("queue")

    return stage


def _reorder(asked: Impairment, streams: Streams) -> Stage | None:
    if not asked.reorder_percent:
        return None
    jumps = chance.event(streams("reorder"), asked.reorder_percent, asked.reorder_correlation_percent)
    since = 0

    def stage(packet: Packet) -> None:
        nonlocal since
        packet.skips = since >= asked.reorder_gap - 1 and jumps()
        since = 0 if packet.skips else since + 1

    return stage


def _tell_reorder(asked: Impairment) -> list[str]:
    said = _chance("reorder", asked.reorder_percent, asked.reorder_correlation_percent)
    return [*said, "gap", str(asked.reorder_gap)] if said and asked.reorder_gap > 1 else said


def _delay(asked: Impairment, streams: Streams) -> Stage | None:
    delay_ns = asked.delay_ns
    if not asked.jitter_ns:
        return (lambda packet: _later(packet, delay_ns)) if delay_ns else None
    value = chance.correlated(streams("jitter"), asked.jitter_correlation_percent)
    deviation = chance.deviation(asked.jitter_distribution, asked.jitter_ns)
    return lambda packet: _later(packet, delay_ns + round(deviation(value()))) if not packet.skips else None


def _later(packet: Packet, delay_ns: int) -> None:
    if delay_ns > 0 and not packet.skips:
        packet.due_ns += delay_ns


def _tell_delay(asked: Impairment) -> list[str]:
    if not (asked.delay_ns or asked.jitter_ns):
        return []
    said = ["delay", f"{asked.delay_ns}ns"]
    if asked.jitter_ns:
        said += [f"{asked.jitter_ns}ns", _percent(asked.jitter_correlation_percent)]
        if asked.jitter_distribution != "uniform":  # netem's own without a table
            said += ["distribution", asked.jitter_distribution]
    return said


def _rate(asked: Impairment, streams: Streams) -> Stage | None:
    rate_bit = asked.rate_bit
    if not rate_bit:
        return None

    def stage(packet: Packet) -> None:
        if not packet.skips:
            packet.due_ns = max(packet.due_ns, packet.last_ns) + len(packet.frame) * 8_000_000_000 // rate_bit

    return stage


def _chance(word: str, percent: float, correlation: float, kind: str = "") -> list[str]:
    if not percent:
        return []
    return [word, *([kind] if kind else []), _percent(percent), *([_percent(correlation)] if correlation else [])]


def _percent(percent: float) -> str:
    return f"{percent:.10f}".rstrip("0").rstrip(".") + "%"


# In the order in which a packet meets them, which is netem's.
EFFECTS = (
    Effect("blackhole", lambda a: ["loss", "random", "100%"] if a.blackhole else [], _blackhole),
    Effect(
        "duplicate", lambda a: _chance("duplicate", a.duplicate_percent, a.duplicate_correlation_percent), _duplicate
    ),
    Effect("loss", _tell_loss, _loss),
    Effect("corrupt", lambda a: _chance("corrupt", a.corrupt_percent, a.corrupt_correlation_percent), _corrupt),
    Effect("limit", lambda a: ["limit", str(a.limit_packets)], _limit),
    Effect("reorder", _tell_reorder, _reorder),
    Effect("delay", _tell_delay, _delay),
    Effect("rate", lambda a: ["rate", f"{a.rate_bit}bit"] if a.rate_bit else [], _rate),
)


def netem_arguments(asked: Impairment) -> list[str]:
    """What stands behind `tc qdisc add ... netem`."""
    if asked.blackhole:  # alone: a duplicate of a lost packet would arrive
        asked = Impairment(blackhole=True, limit_packets=asked.limit_packets)
    return [word for effect in EFFECTS for word in effect.tc(asked)]
