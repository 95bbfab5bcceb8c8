"""Contradictions of the wire: keys that mean nothing without others, numbers that cannot be together, moments.

What holds in a direction at a moment is the file's keys laid one over the other: general, the direction's own, those of
the timeline so far. Every pair of hosts that has a direction of its own is followed through the timeline, and so is
everybody else's; a complaint stands at the key that brings the contradiction about, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from testbed.agent.impairments import KEYS, LOSS_MODELS, MOST_JITTER_NS
from testbed.scenario.deeds import Facts, items, parsed
from testbed.scenario.mistakes import MOST, Complaint, Path, listed
from testbed.scenario.units import format_duration, parse_duration, parse_percent

Said = Mapping[str, tuple[Any, Path]]  # the value of each key of a course, and where it is said

NAMES = frozenset(key.name for key in KEYS)
LOSSES = tuple(key.name for key in KEYS if key.field in LOSS_MODELS)
LOSS_KEYS = (*LOSSES, "loss_correlation")
# A key that means nothing without another.
NEEDS = {
    "jitter_distribution": "jitter",
    "jitter_correlation": "jitter",
    "loss_correlation": "loss",
    "duplicate_correlation": "duplicate",
    "reorder_correlation": "reorder",
    "reorder_gap": "reorder",
    "corrupt_correlation": "corrupt",
}
# Chances out of one state: together at most all.
SUMS = (("loss_states", "p13", "p14"), ("loss_states", "p31", "p32"))
TOO_MUCH_JITTER = "is more than the delay: packets cannot arrive before they were sent"
TOO_LITTLE_DELAY = "is less than the jitter ({}): packets cannot arrive before they were sent"


def courses(facts: Facts) -> Iterator[Complaint]:
    """What can never be at once in one direction, or for one port."""
    told: set[tuple[Path, str]] = set()
    for said in _states(facts):
        for check in _CHECKS:
            for complaint in check(said):
                if (complaint.path, complaint.says) not in told:
                    told.add((complaint.path, complaint.says))
                    yield complaint


def loss_models(facts: Facts) -> Iterator[Complaint]:
    """One place asks for one model of loss."""
    for path, keys in _mappings(facts):
        models = [name for name in LOSSES if name in keys]
        for name in models[1:]:
            says = f"a second model of loss: {listed(models, 'and')} cannot be at once; choose one"
            yield Complaint((*path, name), says, at_key=True)


def moments(facts: Facts) -> Iterator[Complaint]:
    """The timeline goes on in time, ends before the play does, and each moment changes something."""
    last = None
    timeout = parsed(parse_duration, facts.tree.get("timeout", "60s"))
    for index, moment in enumerate(facts.moments()):
        path: Path = ("wire", "timeline", index)
        at = parsed(parse_duration, moment.get("at"))
        if moment and not moment.keys() - {"at"}:
            yield Complaint(path, "nothing changes at this moment")
        if at is not None and last is not None and at <= last:
            says = f"is not after the moment before it ({format_duration(last)}); moments stand in order of time"
            yield Complaint((*path, "at"), says)
        if at is not None and timeout is not None and at >= timeout:
            says = f"never comes: the play ends after {format_duration(timeout)} at the latest (timeout)"
            yield Complaint((*path, "at"), says)
        last = last if at is None else at
        for place, name in enumerate(items(moment.get("up"))):
            if name in items(moment.get("down")):
                yield Complaint((*path, "up", place), f"{name} cannot go down and up at the same moment")


# ---------------------------------------------------------------- one course


def _needs(said: Said) -> Iterator[Complaint]:
    for name, needed in NEEDS.items():
        if name in said and needed not in said:
            yield Complaint(said[name][1], f"means nothing without {needed}", at_key=True)


def _jitter(said: Said) -> Iterator[Complaint]:
    jitter, path = _quantity(said, "jitter")
    delay, delay_path = _quantity(said, "delay")
    if jitter is None or delay is None:
        return
    if jitter > MOST_JITTER_NS:
        yield Complaint(path, f"is more than {format_duration(MOST_JITTER_NS)}, the most that tc netem has")
    elif jitter <= delay:
        return
    elif len(delay_path) > 2 and delay_path[:2] == ("wire", "timeline") and _later(delay_path, path):
        yield Complaint(delay_path, TOO_LITTLE_DELAY.format(format_duration(jitter)))
    else:
        yield Complaint(path, TOO_MUCH_JITTER)


def _reorder(said: Said) -> Iterator[Complaint]:
    if "reorder" not in said or not parsed(parse_percent, said["reorder"][0]):
        return
    delay, path = _quantity(said, "delay")
    if delay == 0:
        brought = path if path and _later(path, said["reorder"][1]) else said["reorder"][1]
        yield Complaint(brought, "without a delay no packet can overtake another (reorder)", at_key=True)


def _sums(said: Said) -> Iterator[Complaint]:
    for name, *words in SUMS:
        value, path = said.get(name, (None, ()))
        chances = [parsed(parse_percent, value.get(word, "0%")) for word in words] if isinstance(value, dict) else []
        known = [chance for chance in chances if chance is not None]
        if len(known) == len(words) and sum(known) > 100:
            yield Complaint(path, f"{' and '.join(words)} are chances out of one state: together at most 100%")


_CHECKS: tuple[Callable[[Said], Iterator[Complaint]], ...] = (_needs, _jitter, _reorder, _sums)


def _quantity(said: Said, name: str) -> tuple[int | None, Path]:
    value, path = said.get(name, ("0", ()))
    return parsed(parse_duration, value), path


def _later(path: Path, than: Path) -> bool:
    """Whether what is said at the path is said at a later moment."""
    return _moment(path) > _moment(than)


def _moment(path: Path) -> int:
    return path[2] if path[:2] == ("wire", "timeline") and isinstance(path[2], int) else -1


# ---------------------------------------------------------------- what holds where, and when


def _mappings(facts: Facts) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Every mapping of the wire that holds keys of impairments."""
    moments = ((("wire", "timeline", index), moment) for index, moment in enumerate(facts.moments()))
    for path, keys in ((("wire",), facts.section("wire")), *moments):
        directions = (((*path, key), course) for key, course in keys.items() if "->" in key)
        for place, course in ((path, keys), *directions):
            if isinstance(course, dict):
                yield place, course
                yield from ((((*place, "ports", port)), own) for port, own in _ports(course))


def _ports(course: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    ports = course.get("ports")
    pairs = ports.items() if isinstance(ports, dict) else ()
    return ((port, own) for port, own in pairs if isinstance(own, dict))


def _states(facts: Facts) -> Iterator[Said]:
    """What holds for each pair of hosts and each port, from each moment on."""
    wire, timeline = facts.section("wire"), facts.moments()
    named = dict.fromkeys(key for keys in (wire, *timeline) for key in keys if "->" in key)
    for pair in ("", *islice(named, MOST)):
        names = _names(pair, facts)
        lanes: dict[str, Said | None] = {}
        own = _own(wire, names)
        touched = _lay(lanes, ("wire", own), wire[own]) if own else _lay(lanes, ("wire",), wire)
        yield from _known(lanes, touched)
        for index, moment in enumerate(timeline):
            path: Path = ("wire", "timeline", index)
            touched = _lay(lanes, path, moment)
            if own := _own(moment, names):
                touched |= _lay(lanes, (*path, own), moment[own])
            yield from _known(lanes, touched)


def _own(keys: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if isinstance(keys.get(name), dict)), "")


def _known(lanes: Mapping[str, Said | None], touched: set[str]) -> Iterator[Said]:
    return (said for lane in sorted(touched) if (said := lanes[lane]) is not None)


def _names(pair: str, facts: Facts) -> tuple[str, ...]:
    """What a direction may be called: by the replicas' own names first, then by those of their hosts."""
    source, _, target = pair.partition("->")
    ends = [dict.fromkeys((name, facts.owner.get(name, name))) for name in (source, target)]
    return tuple(f"{a}->{b}" for a in ends[0] for b in ends[1]) if pair else ()


def _lay(lanes: dict[str, Said | None], path: Path, course: Mapping[str, Any]) -> set[str]:
    """Lay a course's keys over what is said so far; the lanes ("" and the ports) that it touches."""
    ports = dict(_ports(course))
    begun = {port: lanes.get(port, lanes.get("", {})) for port in ports}
    lanes[""] = _over(lanes.get("", {}), path, course)
    for port, own in ports.items():
        lanes[port] = _over(begun[port], (*path, "ports", port), own)
    return {"", *ports}


def _over(before: Said | None, path: Path, course: Mapping[str, Any]) -> Said | None:
    """None: not known, since an unknown key may be the one that another needs."""
    if before is None or _misspelt(course):
        return None
    told = {name: (course[name], (*path, name)) for name in NAMES if name in course}
    ended = {name for name in LOSS_KEYS if name != "loss_correlation" or "loss" not in told}
    kept = before if not told.keys() & set(LOSSES) else {k: v for k, v in before.items() if k not in ended}
    return {**kept, **told}


def _misspelt(course: Mapping[str, Any]) -> bool:
    return any(key not in NAMES and key not in _OTHERS and "->" not in key for key in course)


_OTHERS = frozenset({"ports", "timeline", "at", "down", "up"})

CHECKS: tuple[Callable[[Facts], Iterator[Complaint]], ...] = (courses, loss_models, moments)
