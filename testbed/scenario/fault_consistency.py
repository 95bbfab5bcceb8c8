"""Contradictions of faults: actions and their keys, packets that cannot be as asked, and places that are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from testbed.scenario.deeds import Facts, items, parsed, replica_count, text
from testbed.scenario.faults import ACTIONS, MUST, OF_ACTIONS, Fault, says_one_action
from testbed.scenario.mistakes import Complaint, Path, listed
from testbed.scenario.units import parse_count_range

WITHOUT_PAYLOAD = frozenset({"ACK"})  # by its very meaning
WITHOUT_SYN = frozenset({"HANDSHAKE-ACK", "DATA", "ACK", "FIN", "RST"})
ONLY_ON_SYN = frozenset({"mss", "window-scale", "window_scale", "fast-open"})  # options; keys of set:, too
NEEDED = {
    "by": "for how long, such as by: 200ms",
    "unreachable": "what, such as unreachable: port",
}


def _faults(facts: Facts) -> Iterator[tuple[Path, Mapping[str, Any], list[str]]]:
    """Each fault with its place and its actions."""
    for index, fault in enumerate(items(facts.tree.get("faults"))):
        if isinstance(fault, dict):
            yield ("faults", index), fault, [action for action in ACTIONS if action in fault]


def _one_action(facts: Facts) -> Iterator[Complaint]:
    """The model says this too, but only of a fault that is right in all else."""
    for path, fault, actions in _faults(facts):
        if len(actions) != 1 and not fault.keys() - _KEYS:
            yield Complaint(path, says_one_action(actions))


def _keys_of_actions(facts: Facts) -> Iterator[Complaint]:
    """A key that belongs to another action; one that the action cannot be without."""
    for path, fault, actions in _faults(facts):
        if len(actions) != 1:
            continue
        (action,) = actions
        own = ACTIONS[action]
        for key in OF_ACTIONS:
            if key in fault and key not in own:
                belongs = listed([other for other, keys in ACTIONS.items() if key in keys], "and")
                yield Complaint((*path, key), f"belongs to {belongs}, and this fault is a {action}", at_key=True)
        for key, default in own.items():
            if default == MUST and fault.get(key) is None and not fault.keys() - _KEYS:
                yield Complaint((*path, key), f"is missing ({NEEDED[key]})")


def _rewrites(facts: Facts) -> Iterator[Complaint]:
    """A rewrite changes something, and something that such a packet has."""
    for path, fault, _ in _faults(facts):
        if "rewrite" not in fault:
            continue
        stripped, changed = fault.get("strip"), fault.get("set")
        if not stripped and not changed and not fault.keys() - _KEYS:
            yield Complaint((*path, "rewrite"), "changes nothing: give it strip or set", at_key=True)
        if text(fault["rewrite"]) not in WITHOUT_SYN:
            continue
        says = f"only SYN and SYN-ACK have this option, and this fault is about {fault['rewrite']}"
        for place, option in enumerate(items(stripped)):
            if text(option) in ONLY_ON_SYN:
                yield Complaint((*path, "strip", place), says)
        for key in changed if isinstance(changed, dict) else ():
            if key in ONLY_ON_SYN:
                yield Complaint((*path, "set", key), says, at_key=True)


def _mtu(facts: Facts) -> Iterator[Complaint]:
    for path, fault, actions in _faults(facts):
        if actions != ["icmp"]:
            continue
        wanted = fault.get("unreachable")
        if wanted == "frag-needed" and fault.get("mtu") is None:
            yield Complaint((*path, "mtu"), "is missing (frag-needed says how large packets may be, such as mtu: 1200)")
        elif wanted is not None and wanted != "frag-needed" and "mtu" in fault:
            yield Complaint((*path, "mtu"), "goes with unreachable: frag-needed only", at_key=True)


def _counts(facts: Facts) -> Iterator[Complaint]:
    for path, fault, _ in _faults(facts):
        nth = fault.get("nth", "all")
        wanted = None if nth == "all" else parsed(parse_count_range, nth)
        if wanted is not None and 0 in (wanted.low, wanted.high):
            yield Complaint((*path, "nth"), "packets are counted from 1")
        if fault.get("every") is not None and nth != "all":
            yield Complaint((*path, "every"), "every and nth cannot be at once; choose one", at_key=True)


def _contains(facts: Facts) -> Iterator[Complaint]:
    for path, fault, actions in _faults(facts):
        wanted = fault.get("contains")
        kind = text(fault.get(actions[0])) if len(actions) == 1 else None
        if wanted is not None and kind in WITHOUT_PAYLOAD:
            says = f"such a packet has no payload: this fault is about {kind}"
            yield Complaint((*path, "contains"), says, at_key=True)
        if wanted in ("", {"text": ""}, {"hex": ""}):
            yield Complaint((*path, "contains"), "every payload holds nothing; give it text or hex")
        for key in ("file", "random", "seed", "numbered"):
            if isinstance(wanted, dict) and key in wanted:
                says = "what a payload must hold is given as text or hex"
                yield Complaint((*path, "contains", key), says, at_key=True)


def _peers(facts: Facts) -> Iterator[Complaint]:
    """A fault is about packets that go somewhere."""
    alone = len(facts.hosts) == 1 and all(replica_count(host) == 1 for host in facts.hosts.values())
    for path, fault, _ in _faults(facts):
        if alone and text(fault.get("from")) in facts.hosts:
            yield Complaint((*path, "from"), f"{fault['from']} is the only host: nothing it sends goes over the wire")


def _expected(facts: Facts) -> Iterator[Complaint]:
    """`expect.faults` names faults by their place."""
    there = len(items(facts.tree.get("faults")))
    for key in facts.section("expect", "faults"):
        if key.isascii() and key.isdigit() and int(key[:9]) >= there:
            what = f"the last is {there - 1}" if there else "there are none"
            yield Complaint(("expect", "faults", key), f"there is no fault {key[:9]}: {what}", at_key=True)


_KEYS = {field.alias or name for name, field in Fault.model_fields.items()}

CHECKS: tuple[Callable[[Facts], Iterator[Complaint]], ...] = (
    _one_action,
    _keys_of_actions,
    _rewrites,
    _mtu,
    _counts,
    _contains,
    _peers,
    _expected,
)
