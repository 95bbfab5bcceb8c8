"""What the wire does to each packet, decided without a clock: frames and times go in, frames come out when due.

A source is an address that packets come from. It has a lane, and one more for each port of its own; each lane has an
impairment, which changes with the phase, and streams of chance, which go on over all phases. They are seeded by the
link's seed, the source's place among all sources, the port and the use, never by address or time: the same sequence of
packets in a lane meets the same fate whatever the others send, whatever else is asked for, and in whatever subnet.

Order of the decisions: faults, then the effects in their order (`impairments`). A copy that a duplicate makes is drawn
loss and delay anew, as netem does, but its losses from a stream of its own: what is lost of the packets themselves
does not depend on duplicates. Sources not named pass untouched.

What is on its way is in one queue. Nearly all frames are due behind the last one, so that a deque holds them; only
what overtakes goes into a heap.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from testbed.agent import frames
from testbed.agent.chance import Streams
from testbed.agent.faults import Faults, Met
from testbed.agent.impairments import EFFECTS, NONE, Impairment, Packet, Stage, contradictions, from_message, to_message

FAULT = "fault"
DROPS = (FAULT, "loss", "blackhole", "queue")  # why a packet does not arrive; what the effects say, and this
IPV4 = b"\x08\x00"
SIMPLE = frozenset({"limit", "delay"})  # effects that a lane can have without looking at the packet


class Lane:
    """What holds for the packets of one source, or of one of its ports: the impairment, its chances, who waits."""

    __slots__ = ("asked", "copy_stages", "fixed_ns", "last_ns", "limit", "stages", "streams", "waiting")

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self.waiting = 0  # packets on their way
        self.last_ns = 0  # when the last of them is due
        self.ask(NONE)

    def ask(self, asked: Impairment) -> None:
        """Impair like this from now on. Chances go on where they were; a loss machine begins in its good state."""
        made = {effect.name: effect.portable(asked, self.streams) for effect in EFFECTS}
        self.asked = asked
        self.stages = tuple(stage for stage in made.values() if stage)
        self.copy_stages = self._stages_of_copies(made)
        self.limit = asked.limit_packets
        simple = not asked.jitter_ns and all(name in SIMPLE for name, stage in made.items() if stage)
        self.fixed_ns = asked.delay_ns if simple else None

    def _stages_of_copies(self, made: Mapping[str, Stage | None]) -> tuple[Stage, ...]:
        if not made["duplicate"]:
            return ()
        copies = Streams(self.streams.name, "copy")
        own = {effect.name: effect.portable(self.asked, copies) for effect in EFFECTS if effect.name == "loss"}
        return tuple(stage for stage in {**made, **own, "duplicate": None}.values() if stage)


class Course(NamedTuple):
    """The lanes of one source in one phase."""

    lane: Lane
    ports: tuple[tuple[int, Lane], ...]

    def lane_of(self, segment: frames.Segment | None) -> Lane:
        """The lane of a packet: the first whose port is its source or destination port."""
        if segment and segment.protocol in (frames.TCP, frames.UDP):
            for port, lane in self.ports:
                if port in (segment.source_port, segment.destination_port):
                    return lane
        return self.lane


class Way:
    """The frames on their way, by the time they are due."""

    def __init__(self) -> None:
        self.ordered: deque[tuple[int, int, bytes, Lane]] = deque()  # due, order, frame, lane
        self.overtaking: list[tuple[int, int, bytes, Lane]] = []
        self.put_in = 0
        self.last_ns = 0

    def __len__(self) -> int:
        return len(self.ordered) + len(self.overtaking)

    def put(self, due_ns: int, frame: bytes, lane: Lane) -> None:
        """Let a frame be due then."""
        lane.waiting += 1
        if due_ns > lane.last_ns:
            lane.last_ns = due_ns
        self.put_in = order = self.put_in + 1
        if due_ns >= self.last_ns or not self.ordered:
            self.last_ns = due_ns
            self.ordered.append((due_ns, order, frame, lane))
        else:
            heapq.heappush(self.overtaking, (due_ns, order, frame, lane))

    def next_ns(self) -> int | None:
        """When the next frame is due."""
        if self.overtaking and (not self.ordered or self.overtaking[0] < self.ordered[0]):
            return self.overtaking[0][0]
        return self.ordered[0][0] if self.ordered else None

    def take(self, now_ns: int) -> bytes | None:
        """The next frame that is due by now, off its way."""
        ordered, overtaking = self.ordered, self.overtaking
        if overtaking and (not ordered or overtaking[0] < ordered[0]):
            if overtaking[0][0] > now_ns:
                return None
            entry = heapq.heappop(overtaking)
        elif ordered and ordered[0][0] <= now_ns:
            entry = ordered.popleft()
        else:
            return None
        entry[3].waiting -= 1
        return entry[2]


class Phase(NamedTuple):
    """What holds from a moment on."""

    at_ns: int
    asked: tuple[tuple[Lane, Impairment], ...]
    courses: Mapping[bytes, Course]  # by address


class Emulator:
    """The decisions of one host's arrival side. Raises ValueError for a link that makes no sense."""

    def __init__(self, link: Mapping[str, Any]) -> None:
        self.seed = link.get("seed", 0)
        self.lanes: dict[tuple[int, int], Lane] = {}  # by the source's place and the port; 0: of all other ports
        self.places: dict[bytes, int] = {}
        self.free = Course(Lane(Streams(self.seed, "free")), ())
        self.phases = self._read(link.get("phases") or ({"at_ns": 0},))
        self.faults = Faults(link["faults"]) if link.get("faults") else None
        self.way = Way()
        self.dropped = dict.fromkeys(DROPS, 0)
        self.duplicated = self.corrupted = self.forged = 0
        self.start_ns: int | None = None
        self._turn_to(0)

    # ------------------------------------------------------------ phases

    def begin(self, start_ns: int) -> None:
        """The phases' moments count from here, on the clock of `decide`."""
        self.start_ns = start_ns

    def turn_ns(self) -> int | None:
        """When the next phase begins; None: never, or nobody has said `begin`."""
        if self.start_ns is None or self.phase + 1 == len(self.phases):
            return None
        return self.start_ns + self.phases[self.phase + 1].at_ns

    def turn(self, now_ns: int) -> list[int]:
        """The phases that have begun by now and had not; the last of them holds."""
        turned = []
        while (at_ns := self.turn_ns()) is not None and at_ns <= now_ns:
            self._turn_to(self.phase + 1)
            turned.append(self.phase)
        return turned

    def settings(self) -> list[dict[str, Any]]:
        """The impairment of each source and port as it is now."""
        return [
            {"from": frames.unpack(address), "port": port or None, **to_message(lane.asked)}
            for address, course in self.courses.items()
            for port, lane in ((0, course.lane), *course.ports)
        ]

    def _turn_to(self, number: int) -> None:
        self.phase = number
        self.courses = self.phases[number].courses
        for lane, asked in self.phases[number].asked:
            if asked != lane.asked:
                lane.ask(asked)

    # ------------------------------------------------------------ packets

    def decide(self, frame: bytes, now_ns: int) -> Met | None:
        """Put this frame, the next in its sequence, that arrives now, on its way, or drop it; the fault that it met."""
        source = frame[26:30] if frame[12:14] == IPV4 else frame[22:38]
        course = self.courses.get(source, self.free)
        if self.faults is None and not course.ports:
            lane = course.lane
            if lane.fixed_ns is not None and lane.waiting < lane.limit:
                self.way.put(now_ns + lane.fixed_ns, frame, lane)
            else:
                self._carry(lane, frame, now_ns, 0)
            return None
        segment = frames.parse(frame)
        lane = course.lane_of(segment)
        met = self.faults.meet(segment, frame) if self.faults and segment else None
        if met is None:
            self._carry(lane, frame, now_ns, 0)
        else:
            self._meet(met, lane, now_ns)
        return met

    def _meet(self, met: Met, lane: Lane, now_ns: int) -> None:
        """What a fault lets go on; what it made is spared by chance and comes behind the packet itself."""
        self.dropped[FAULT] += met.dropped
        behind_ns = now_ns + lane.asked.delay_ns
        for later_ns, frame, spared in met.deliveries:
            if spared:
                self.forged += 1
                self.way.put(behind_ns + later_ns, frame, lane)
            else:
                behind_ns = max(behind_ns, self._carry(lane, frame, now_ns, later_ns))

    def _carry(self, lane: Lane, frame: bytes, now_ns: int, later_ns: int) -> int:
        """A packet, and its copy where there is one, through their lane; when it is due, 0 where it is dropped."""
        packet = self._pass(lane, lane.stages, frame, now_ns, later_ns)
        if packet.count + len(packet.dropped) > 1:  # a duplicate
            self.duplicated += 1
            if packet.count > 1:
                self._pass(lane, lane.copy_stages, frame, now_ns, later_ns)
        return packet.due_ns if packet.count else 0

    def _pass(self, lane: Lane, stages: Sequence[Stage], frame: bytes, now_ns: int, later_ns: int) -> Packet:
        packet = Packet(frame, now_ns, lane.waiting, lane.last_ns)
        for stage in stages:
            stage(packet)
            if not packet.count:
                break
        for reason in packet.dropped:
            self.dropped[reason] += 1
        if packet.count:
            self.corrupted += packet.corrupted
            self.way.put(packet.due_ns + later_ns, packet.frame, lane)
        return packet

    # ------------------------------------------------------------ a message, read

    def _read(self, given: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
        phases: list[Phase] = []
        for number, phase in enumerate(given):
            place, at_ns = f"link.phases[{number}]", phase.get("at_ns")
            earliest = phases[-1].at_ns if phases else 0
            if type(at_ns) is not int or at_ns < earliest or (not number and at_ns):
                raise ValueError(
                    f"{place}.at_ns is {at_ns!r}; the first phase is at 0, and each other not before the last"
                )
            phases.append(self._phase(place, at_ns, phase.get("sources") or {}))
        return tuple(phases)

    def _phase(self, place: str, at_ns: int, sources: Mapping[str, Mapping[str, Any]]) -> Phase:
        asked: list[tuple[Lane, Impairment]] = []
        courses = {}
        for text, given in sources.items():
            where = f"{place}.sources.{text}"
            address = _address(where, text)
            number = self.places.setdefault(address, len(self.places))
            general = {name: value for name, value in given.items() if name != "ports"}
            asked.append((self._lane(number, 0), _impairment(where, general)))
            ports = []
            for port, own in (given.get("ports") or {}).items():
                ports.append((_port(where, port), self._lane(number, _port(where, port))))
                asked.append((ports[-1][1], _impairment(f"{where}.ports.{port}", own)))
            courses[address] = Course(asked[-1 - len(ports)][0], tuple(ports))
        return Phase(at_ns, tuple(asked), courses)

    def _lane(self, place: int, port: int) -> Lane:
        if (place, port) not in self.lanes:
            self.lanes[place, port] = Lane(Streams(self.seed, place, port))
        return self.lanes[place, port]


def _impairment(place: str, given: Mapping[str, Any]) -> Impairment:
    asked = from_message(place, given)
    for mistake in contradictions(asked):
        raise ValueError(f"{place}: {mistake}")
    return asked


def _address(place: str, text: str) -> bytes:
    try:
        return frames.pack(text)
    except OSError:
        raise ValueError(f"{place} is no IPv4 or IPv6 address") from None


def _port(place: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 1 << 16:
        raise ValueError(f"{place}.ports has {text!r}; a port is 1 to 65535")
    return int(text)
