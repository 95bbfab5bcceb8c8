"""The table of what a fault can do to a packet: each action with the keys of its message, and its function.

An action gets the packet and says what comes of it: whether the packet goes on as it came (`passes`), what goes on in
its place, what is added for its receiver, and what is sent back to its sender. What is in its place still meets the
impairments of its course; what is added is exact: chance neither loses nor changes it.

`means` says which packets an action can be done to at all; a fault neither counts nor hits any other. An RST or a
rewrite needs a whole TCP packet. ICMP errors answer TCP and UDP alone, never a packet to many and never a later
fragment (RFC 1122 section 3.2.2). Which bits are flipped: see `forge.flip`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from testbed.agent import forge, frames, rewrite
from testbed.agent.following import sequence_length

REQUIRED = object()


class Case(NamedTuple):
    """A packet that a fault hits. `expected`: the number behind all that its sender has sent, this packet included."""

    segment: frames.Segment
    frame: bytes
    where: forge.Where | None
    expected: int


class Outcome(NamedTuple):
    """What comes of a packet. `added` and what is `delayed_ns` come so much later than the packet would."""

    passes: bool
    instead: bytes | None = None
    added: tuple[tuple[int, bytes], ...] = ()
    to_sender: tuple[bytes, ...] = ()
    delayed_ns: int = 0


class Key(NamedTuple):
    """A key of an action's message: what its value must be (ValueError in words), and what holds without it."""

    check: Callable[[str, Any], Any]
    default: Any = REQUIRED


class Action(NamedTuple):
    """What a fault does: `does` with the settings and the packet; `lacks` complains of settings that do not fit."""

    does: Callable[[Mapping[str, Any], Case], Outcome]
    keys: Mapping[str, Key]
    means: Callable[[frames.Segment, bytes, forge.Where | None], bool]
    lacks: Callable[[Mapping[str, Any]], str] = lambda settings: ""


def read_settings(place: str, action: str, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """An action's settings, checked, from what its message holds (no nulls) beside the keys of every fault.

    Raises ValueError.
    """
    keys = ACTIONS[action].keys
    for name in given:
        if name not in keys:
            known = f"{action} has {', '.join(keys)}" if keys else f"{action} has no keys of its own"
            raise ValueError(f"{place}.{name} is no key of this action; {known}")
    settings = {}
    for name, key in keys.items():
        if name not in given and key.default is REQUIRED:
            raise ValueError(f"{place}.{name} is missing; {action} needs it")
        settings[name] = key.check(f"{place}.{name}", given[name]) if name in given else key.default
    lack = ACTIONS[action].lacks(settings)
    if lack:
        raise ValueError(f"{place}.{lack}")
    return settings


def _number(low: int, high: int | None = None) -> Callable[[str, Any], int]:
    most = "or more" if high is None else f"to {high}"

    def check(place: str, given: Any) -> int:
        if type(given) is not int or given < low or (high is not None and given > high):
            raise ValueError(f"{place} is {given!r}; it is a whole number, {low} {most}")
        return given

    return check


def _word(*words: str) -> Callable[[str, Any], str]:
    def check(place: str, given: Any) -> str:
        if given not in words:
            raise ValueError(f"{place} is {given!r}; it is one of {', '.join(words)}")
        return str(given)

    return check


def _flag(place: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise ValueError(f"{place} is {given!r}; it is true or false")
    return given


# ---------------------------------------------------------------- which packets


def _any(segment: frames.Segment, frame: bytes, where: forge.Where | None) -> bool:
    return True


def _tcp(segment: frames.Segment, frame: bytes, where: forge.Where | None) -> bool:
    return where is not None and segment.protocol == frames.TCP


def _flippable(segment: frames.Segment, frame: bytes, where: forge.Where | None) -> bool:
    return where is not None and (segment.protocol == frames.TCP or where.body < where.end)


def _answerable(segment: frames.Segment, frame: bytes, where: forge.Where | None) -> bool:
    first = bool(segment.source_port or segment.destination_port)  # a later fragment shows no ports
    return segment.protocol in (frames.TCP, frames.UDP) and first and not frame[0] & 1


# ---------------------------------------------------------------- what is done


def _drop(settings: Mapping[str, Any], case: Case) -> Outcome:
    return Outcome(passes=False)


def _delay(settings: Mapping[str, Any], case: Case) -> Outcome:
    return Outcome(passes=True, delayed_ns=settings["by_ns"])


def _duplicate(settings: Mapping[str, Any], case: Case) -> Outcome:
    """Each copy `by_ns` behind the one before."""
    copies = range(1, settings["copies"] + 1)
    return Outcome(passes=True, added=tuple((number * settings["by_ns"], case.frame) for number in copies))


def _corrupt(settings: Mapping[str, Any], case: Case) -> Outcome:
    assert case.where is not None  # `means`
    return Outcome(passes=False, instead=forge.flip(case.frame, case.where, settings["bits"]))


def _rewrite(settings: Mapping[str, Any], case: Case) -> Outcome:
    assert case.where is not None  # `means`
    numbers, flags = settings["set"]
    rewritten = rewrite.rewrite(case.frame, case.where, rewrite.Rewriting(settings["strip"], numbers, flags))
    if rewritten == case.frame:  # nothing of it was in the packet
        return Outcome(passes=True)
    return Outcome(passes=False, instead=rewritten)


def _reset(settings: Mapping[str, Any], case: Case) -> Outcome:
    """The receiver expects what is behind all that was sent, or this packet where it does not get it.

    So an RST behind a packet that fills a hole is in sequence; where an earlier packet is missing still, it is not, and
    the receiver answers with a challenge ACK (RFC 5961 section 3.2).
    """
    expected = case.expected
    if not settings["passes"] and sequence_length(case.segment):
        expected = case.segment.sequence
    onward = settings["to"] != "sender"
    back = settings["to"] != "receiver"
    return Outcome(
        settings["passes"],
        added=((0, forge.reset_onward(case.frame, case.segment, expected)),) if onward else (),
        to_sender=(forge.reset_back(case.frame, case.segment),) if back else (),
    )


def _icmp(settings: Mapping[str, Any], case: Case) -> Outcome:
    error = forge.unreachable(case.frame, settings["unreachable"], settings["mtu"] or 0)
    return Outcome(settings["passes"], to_sender=(error,))


def _lacks_change(settings: Mapping[str, Any]) -> str:
    numbers, flags = settings["set"]
    return "" if settings["strip"] or numbers or flags is not None else "set is missing; rewrite needs strip or set"


def _lacks_mtu(settings: Mapping[str, Any]) -> str:
    needs, has = settings["unreachable"] == "frag-needed", settings["mtu"] is not None
    if needs and not has:
        return "mtu is missing; frag-needed tells one"
    return "mtu is given; only frag-needed tells one" if has and not needs else ""


ACTIONS = {
    "drop": Action(_drop, {}, _any),
    "delay": Action(_delay, {"by_ns": Key(_number(0))}, _any),
    "duplicate": Action(_duplicate, {"copies": Key(_number(1, 1000), 1), "by_ns": Key(_number(0), 0)}, _any),
    "corrupt": Action(_corrupt, {"bits": Key(_number(1), 1)}, _flippable),
    "rewrite": Action(
        _rewrite,
        {"strip": Key(rewrite.read_strip, frozenset()), "set": Key(rewrite.read_set, ({}, None))},
        _tcp,
        _lacks_change,
    ),
    "reset": Action(
        _reset, {"to": Key(_word("receiver", "sender", "both"), "receiver"), "passes": Key(_flag, True)}, _tcp
    ),
    "icmp": Action(
        _icmp,
        {
            "unreachable": Key(_word(*forge.UNREACHABLE)),
            "mtu": Key(_number(0, 0xFFFF), None),
            "passes": Key(_flag, False),
        },
        _answerable,
        _lacks_mtu,
    ),
}
