"""Whether a wire stands as it was left: what tc and ip show of it now, against what they showed when it was put up.

Anybody on the host may take a qdisc away, put another there, or set a device down; a test that went on then would prove
nothing. So all that carries the wire is looked at and compared, but for what counts packets. What differs is said in
words, with the command that shows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from testbed.agent.command import show_all
from testbed.agent.device import describe

OF_ACTIONS = {"stats", "installed", "last_used", "first_used", "expires", "rule_hit", "success_hit", "success"}
OF_QDISCS = {"packets", "bytes", "drops", "overlimits", "requeues", "backlog", "qlen", "refcnt"}
COUNTERS = frozenset(OF_ACTIONS | OF_QDISCS)
LINK_TRAITS = ("ifindex", "address", "mtu", "link_type")
CLSACT = "clsact"


class Sight(NamedTuple):
    """What is there: all qdiscs of the two devices with their counters, the redirecting filters, and link0 itself."""

    qdiscs: list[dict[str, Any]]  # of the interface, then of the link's device
    filters: list[dict[str, Any]]
    filters_whole: Any  # the filters with every key, also those that tc repeats
    device: dict[str, Any]  # empty: there is none


def look(interface: str, device: str) -> Sight:
    """Look at everything. Raises OSError where the interface is gone."""
    # First the filters: all that they have counted has then come to the device.
    said, every = show_all("tc", "-s", lines=[f"filter show dev {interface} ingress", "qdisc show"])
    qdiscs = [found for name in (interface, device) for found in json.loads(every) if found.get("dev") == name]
    return Sight(qdiscs, json.loads(said), json.loads(said, object_pairs_hook=list), describe(device))


def differences(interface: str, device: str, left: Sight, now: Sight, *, judged: bool) -> Iterator[str]:
    """What is not as it was left, in words; `judged`: the engine itself looks after the qdiscs of the device."""
    kinds = [qdisc["kind"] for qdisc in _of(now.qdiscs, interface)]
    if CLSACT not in kinds:
        yield (
            f"the qdisc clsact of {interface} is gone, so nothing that arrives goes to {device}; "
            f"see `tc qdisc show dev {interface}`"
        )
    elif without_counters(now.filters_whole) != without_counters(left.filters_whole):
        yield (
            f"the filters that redirect what arrives at {interface} to {device} are not as they were left; "
            f"see `tc filter show dev {interface} ingress`"
        )
    yield from _strangers(interface, left, now)
    if now.device and not judged:
        yield from _strangers(device, left, now)
    if not now.device:
        yield f"the interface {device} is gone; see `ip link show`"
    elif not now.device["up"]:
        yield f"the interface {device} is down; see `ip link show dev {device}`"
    elif any(now.device.get(trait) != left.device.get(trait) for trait in LINK_TRAITS):
        yield f"the interface {device} is another one than was put up; see `ip link show dev {device}`"


def _strangers(name: str, left: Sight, now: Sight) -> Iterator[str]:
    """Qdiscs that somebody else put on a device, or took away."""
    before, found = (without_counters(_of(sight.qdiscs, name)) for sight in (left, now))
    others = [qdisc for qdisc in found if qdisc not in before and qdisc["kind"] != CLSACT]
    gone = [qdisc for qdisc in before if qdisc not in found and qdisc["kind"] != CLSACT]
    if others or gone:
        yield (
            f"{name} has {_names(others)} where it had {_names(gone)}, put there by somebody else; "
            f"see `tc qdisc show dev {name}`"
        )


def _of(qdiscs: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [found for found in qdiscs if found.get("dev") == name]


def without_counters(shown: Any) -> Any:
    """What tc shows, without what counts packets: a change of it is a change of what was set up."""
    if isinstance(shown, dict):
        return {name: without_counters(value) for name, value in shown.items() if name not in COUNTERS}
    if isinstance(shown, list):
        return [without_counters(one) for one in shown if not _is_counter(one)]
    if isinstance(shown, tuple):
        return tuple(without_counters(one) for one in shown)
    return shown


def _is_counter(one: Any) -> bool:
    return isinstance(one, tuple) and len(one) == 2 and one[0] in COUNTERS


def _names(qdiscs: Sequence[dict[str, Any]]) -> str:
    named = [f"the qdisc {found['kind']} {found.get('handle', '')}".strip() for found in qdiscs]
    return " and ".join(named) or "none"
