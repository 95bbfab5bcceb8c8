"""What is impaired where and when: from a scenario's wire, timeline and faults to a plan of each host's arrival side.

A *link* is the arrival side of a host. From each *source* (the host that packets come from) there is a *course*: an
impairment, and others instead for some ports. A *phase* is what holds from a moment of the timeline on; it is complete
by itself. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from testbed.agent.impairments import NONE, Impairment
from testbed.scenario import wire as w
from testbed.scenario.faults import Fault
from testbed.scenario.wire import change

if TYPE_CHECKING:
    from testbed.plan import HostPlan
    from testbed.scenario.model import Scenario

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Course:
    """What one direction does to packets; `ports`: instead, to those from or to a port, the first that fits."""

    impairment: Impairment = NONE
    ports: Mapping[int, Impairment] = field(default_factory=dict)

    def on(self, *ports: int) -> Impairment:
        """The impairment of a packet with these ports."""
        return next((impairment for port, impairment in self.ports.items() if port in ports), self.impairment)

    @property
    def all(self) -> tuple[Impairment, ...]:
        """Every impairment, whatever the port."""
        return (self.impairment, *self.ports.values())


NO_COURSE = Course()


@dataclass(frozen=True, slots=True)
class Phase:
    """What holds from a moment on: the courses by the host that packets come from, of all that are impaired."""

    at_ns: int
    sources: Mapping[str, Course]


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """The impaired arrival side of a host; phase 0 holds from the start."""

    host: str
    phases: tuple[Phase, ...]
    faults: tuple[tuple[int, Fault], ...] = ()  # with their index in the scenario

    def course(self, source: str, phase: int = 0) -> Course:
        """What packets from a host meet."""
        return self.phases[phase].sources.get(source, NO_COURSE)

    def asked(self, source: str, *ports: int, phase: int = 0) -> Impairment:
        """What packets from a host, with these ports, meet."""
        return self.course(source, phase).on(*ports)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every host whose packets are impaired at some time, in the order of the plan's hosts."""
        return tuple(dict.fromkeys(source for phase in self.phases for source in phase.sources))


@dataclass(frozen=True, slots=True)
class LinkSwitch:
    """A host's interface goes down, or up, at a moment of the timeline."""

    at_ns: int
    host: str
    up: bool


def plan_links(scenario: Scenario, hosts: Sequence[HostPlan]) -> Iterator[LinkPlan]:
    """The links of all hosts on whose arrival side something is asked for."""
    for host in hosts:
        peers = [peer for peer in hosts if peer.name != host.name]
        phases = tuple(_phases(scenario.wire, peers, host))
        faults = tuple(_faults(scenario.faults, peers, host))
        if faults or any(phase.sources for phase in phases):
            yield LinkPlan(host.name, phases, faults)


def plan_switches(timeline: Iterable[w.Moment], hosts: Sequence[HostPlan]) -> Iterator[LinkSwitch]:
    """Each host's interface that the timeline takes down or up; a host with replicas stands for all of them."""
    for moment in timeline:
        for named, up in ((moment.down, False), (moment.up, True)):
            for host in hosts:
                if host.name in named or host.role in named:
                    yield LinkSwitch(moment.at, host.name, up)


def by_direction(directions: Mapping[str, T], source: Sequence[str], destination: Sequence[str]) -> T | None:
    """What is said of the direction between two hosts, each given by its names, a replica's own before its host's."""
    names = (f"{a}->{b}" for a in source for b in destination)
    return next((directions[name] for name in names if name in directions), None)


def _phases(wire: w.Wire, peers: Sequence[HostPlan], host: HostPlan) -> Iterator[Phase]:
    """A phase for each moment that changes something here."""
    begun: dict[int, Course] = {}
    courses = {peer.name: _begin(wire, peer, host, begun) for peer in peers}
    yield (last := Phase(0, _impaired(courses)))
    for moment in wire.timeline:
        made: dict[tuple[int, int], Course] = {}  # most directions are alike, and are reckoned once
        courses = {peer.name: _after(courses[peer.name], moment, peer, host, made) for peer in peers}
        if (sources := _impaired(courses)) != last.sources:
            yield (last := Phase(moment.at, sources))


def _impaired(courses: Mapping[str, Course]) -> dict[str, Course]:
    return {
        name: course
        for name, course in courses.items()
        if any(impairment != NONE for impairment in (course.impairment, *course.ports.values()))
    }


def _begin(wire: w.Wire, source: HostPlan, destination: HostPlan, made: dict[int, Course]) -> Course:
    said: w.Course = _own(wire, source, destination) or wire
    if id(said) not in made:
        ports = {int(port): change(NONE, impairment) for port, impairment in said.ports.items()}
        made[id(said)] = Course(change(NONE, said), ports)
    return made[id(said)]


def _after(
    before: Course, moment: w.Moment, source: HostPlan, destination: HostPlan, made: dict[tuple[int, int], Course]
) -> Course:
    own = _own(moment, source, destination)
    key = id(before), id(own)
    if key not in made:
        course = _changed(before, moment)
        made[key] = course if own is None else _changed(course, own)
    return made[key]


def _own(said: w.Directed, source: HostPlan, destination: HostPlan) -> w.Course | None:
    directions = said.directions
    if not directions:
        return None
    return by_direction(directions, (source.name, source.role), (destination.name, destination.role))


def _changed(before: Course, said: w.Course) -> Course:
    """A port of its own from now on starts from what its packets met so far."""
    impairment = change(before.impairment, said)
    ports = {int(port): change(before.on(int(port)), own) for port, own in said.ports.items()}
    return Course(impairment, {**before.ports, **ports})


def _faults(faults: Iterable[Fault], peers: Sequence[HostPlan], host: HostPlan) -> Iterator[tuple[int, Fault]]:
    for index, fault in enumerate(faults):
        own = fault.from_ in (host.name, host.role)
        if not own and any(fault.from_ in (peer.name, peer.role) for peer in peers):
            yield index, fault
