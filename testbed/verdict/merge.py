"""All captures of a run merged into one: the trace that a person opens and that every packet number refers to.

One interface per vantage point, named after it. Frames stand in order of time; where times are equal, in the order of
a packet's way: sender's interface, wire, receiver's interface, behind the receiver's link. Only the canary frames, by
which the lab made sure that the sniffer hears (IEEE 802 local experimental EtherType 1), are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from testbed.evidence import WIRE, CaptureCount, Evidence, HostFacts
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics, LinkType
from testbed.plan import LINK

CANARY = b"\x88\xb5"
BEHIND = f":{LINK}"  # "client:link0" is behind the impaired link of client


def merge(evidence: Evidence) -> Capture:
    """The captures of all vantage points as one, in order of time."""
    interfaces: list[Interface] = []
    statistics: list[InterfaceStatistics] = []
    frames: list[tuple[tuple[int, int, int], Frame]] = []
    for vantage in vantages(evidence):
        capture = evidence.captures[vantage]
        first = len(interfaces)
        interfaces += _interfaces(evidence, vantage, capture)
        statistics += _statistics(evidence, vantage, capture, first)
        frames += [
            ((frame.time_ns, rank(vantage, frame), first), replace(frame, interface=first + frame.interface))
            for frame in capture.frames
            if not is_canary(frame, capture.interfaces)
        ]
    frames.sort(key=lambda entry: entry[0])
    warnings = tuple(f"{vantage}: {says}" for vantage in vantages(evidence) for says in _warnings(evidence, vantage))
    return Capture(tuple(interfaces), tuple(frame for _, frame in frames), tuple(statistics), (), warnings)


def vantages(evidence: Evidence) -> tuple[str, ...]:
    """The vantage points that were captured: the wire, then each host and what is behind its link."""
    named = [WIRE]
    for facts in evidence.all(HostFacts):
        named += [facts.host, facts.host + BEHIND]
    named += sorted(set(evidence.captures) - set(named))
    return tuple(name for name in named if name in evidence.captures)


def _interfaces(evidence: Evidence, vantage: str, capture: Capture) -> Iterator[Interface]:
    for interface in capture.interfaces or (Interface(vantage),):
        yield replace(interface, name=vantage, description=describe(evidence, vantage))


def describe(evidence: Evidence, vantage: str) -> str:
    """Where a vantage point is, in words."""
    if vantage == WIRE:
        return "the wire, as the sniffer hears it"
    host, behind, _ = vantage.partition(":")
    if behind:
        return f"behind the impaired link of {host}: what was delivered"
    facts = next((facts for facts in evidence.all(HostFacts) if facts.host == host), None)
    return f"{facts.interface} of {host}, {facts.address}" if facts else f"host {host}"


def _statistics(evidence: Evidence, vantage: str, capture: Capture, first: int) -> Iterator[InterfaceStatistics]:
    if capture.statistics:
        yield from (replace(counts, interface=first + counts.interface) for counts in capture.statistics)
        return
    for count in evidence.all(CaptureCount):
        if count.vantage == vantage:
            yield InterfaceStatistics(first, count.packets + count.dropped, count.dropped)


def _warnings(evidence: Evidence, vantage: str) -> tuple[str, ...]:
    return evidence.captures[vantage].warnings


def rank(vantage: str, frame: Frame) -> int:
    """Where on a packet's way it was captured: the order of frames whose times are equal."""
    if vantage == WIRE:
        return 1
    if BEHIND in vantage:
        return 3
    return 0 if frame.direction is Direction.OUT else 2


def is_canary(frame: Frame, interfaces: tuple[Interface, ...]) -> bool:
    """Whether the lab sent it to see whether it is heard."""
    link_type = interfaces[frame.interface].link_type if interfaces else LinkType.ETHERNET
    return link_type == LinkType.ETHERNET and frame.data[12:14] == CANARY


def dropped(evidence: Evidence) -> Mapping[str, int]:
    """How many packets the kernel dropped before a capture saw them, by vantage point; both sources are asked."""
    counted = {count.vantage: count.dropped for count in evidence.all(CaptureCount)}
    stored = {
        vantage: sum(counts.dropped or 0 for counts in capture.statistics)
        for vantage, capture in evidence.captures.items()
    }
    return {name: max(counted.get(name, 0), stored.get(name, 0)) for name in sorted({*counted, *stored})}
