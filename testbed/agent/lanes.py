"""A link's lanes: a netem for each way that packets come, and the filters that lead them there.

    link0, an IFB --root prio--> 1:1  what nobody asked anything of: untouched
                  \\-u32 filters-> 1:2  netem, 1:3 netem, ...

A *way* is a source, or one port of a source. The root is tc-prio(8), also where there is one lane only, since netem
alone would impair everybody who sends to this host. Of the qdiscs with classes it alone fits netem: htb shapes too, and
drr and the like stand still before a qdisc that holds packets back. It has 16 bands, so 15 lanes; ways of which the
same is asked then share one, unless it has a rate, which would be shared with it.

Kernels between mid-2025 and early 2026 (Debian's 6.1.0-50 for one) refuse a netem that duplicates beside any other: one
lane may duplicate there, two may not, and the kernel's own words are what the user sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from testbed.agent.impairments import NONE, Impairment, from_message
from testbed.agent.netem import netem_words

ROOT, UNTOUCHED = "1:", "1:1"
BANDS = 16  # TCQ_PRIO_BANDS


class Way(NamedTuple):
    """A source, or one of its ports, and what is asked of it in each phase; None where a phase does not name it."""

    source: str
    port: int | None
    asked: tuple[Impairment | None, ...]
    phases: tuple[Impairment, ...]  # what holds in each phase, named or not


class Lane(NamedTuple):
    """A band of the root with a netem of its own, and what that does in each phase."""

    classid: str
    handle: str
    phases: tuple[Impairment, ...]
    ways: tuple[Way, ...]

    @property
    def by_table(self) -> bool:
        """Whether it ever draws its delays from a table."""
        return any(one.jitter_ns and one.jitter_distribution != "uniform" for one in self.phases)


# ---------------------------------------------------------------- from the message


def read_phases(link: Mapping[str, Any]) -> list[int]:
    """When each phase begins, in ns of the timeline. Raises ValueError."""
    times = [phase.get("at_ns") for phase in link.get("phases") or ()]
    if not times or times[0] != 0 or times != sorted(times):
        raise ValueError(f"link.phases begin at {times}; the first at 0, each other later")
    return times


def read_ways(link: Mapping[str, Any]) -> list[Way]:
    """All ways that some phase names, ports before their source, as filters look. Raises ValueError."""
    phases = [
        {source: _read_course(f"link.phases.{index}.sources.{source}", course) for source, course in sources.items()}
        for index, sources in enumerate(phase.get("sources") or {} for phase in link["phases"])
    ]
    ways = []
    for source in _merged(list(phase) for phase in phases):
        courses = [phase.get(source, {}) for phase in phases]
        ports = _merged([port for port in course if port is not None] for course in courses)
        for course in courses:
            named = [port for port in course if port is not None]
            if named != [port for port in ports if port in named]:
                raise ValueError(f"link.phases: the ports of {source} stand in another order; netem keeps one for all")
        for port in [*ports, None]:
            asked = tuple(course.get(port) for course in courses)
            ways.append(Way(source, port, asked, tuple(c.get(port, c.get(None, NONE)) for c in courses)))
    return ways


def lay_lanes(ways: Iterable[Way]) -> list[Lane]:
    """A lane for each way that is ever impaired. Raises ValueError where even shared ones are too many."""
    impaired = [way for way in ways if any(one != NONE for one in way.phases)]
    groups = [[way] for way in impaired]
    if len(groups) >= BANDS:
        groups = list(_share(impaired))
    if len(groups) >= BANDS:
        raise ValueError(
            f"the link has {len(groups)} lanes (sources and ports with an impairment or a rate of their own); "
            f"netem has room for {BANDS - 1}, the portable engine for all"
        )
    return [
        Lane(f"1:{band:x}", f"{0x100 + band:x}:", group[0].phases, tuple(group)) for band, group in enumerate(groups, 2)
    ]


def _read_course(place: str, course: Mapping[str, Any]) -> dict[int | None, Impairment]:
    own = {name: value for name, value in course.items() if name != "ports"}
    ports: dict[int | None, Impairment] = {
        int(port): from_message(f"{place}.ports.{port}", one) for port, one in (course.get("ports") or {}).items()
    }
    return {**ports, None: from_message(place, own)}


def _merged(lists: Iterable[list[Any]]) -> list[Any]:
    return list(dict.fromkeys(one for each in lists for one in each))


def _share(ways: Iterable[Way]) -> Iterator[list[Way]]:
    groups: dict[tuple[Impairment, ...], list[Way]] = {}
    for way in ways:
        if any(one.rate_bit for one in way.phases):
            yield [way]
        else:
            groups.setdefault(way.phases, []).append(way)
    yield from groups.values()


# ---------------------------------------------------------------- to tc


def put_up(device: str, lanes: Sequence[Lane], ways: Sequence[Way], seeds: Sequence[int], table: str) -> list[str]:
    """The lines for `tc -batch` that put a link up; `seeds` of each lane, or none; `table` as for `netem_words`."""
    bands = max(2, len(lanes) + 1)
    lines = [f"qdisc add dev {device} root handle {ROOT} prio bands {bands} priomap {'0 ' * 16}".strip()]
    for index, lane in enumerate(lanes):
        seed = f" seed {seeds[index]}" if seeds else ""
        lines.append(f"qdisc add {_netem(device, lane, 0, table)}{seed}")
    return [*lines, *_filters(device, lanes, ways)]


def change(device: str, lanes: Iterable[Lane], phase: int, table: str) -> list[str]:
    """The lines for `tc -batch` with which a phase begins: of the lanes that it changes."""
    return [
        f"qdisc change {_netem(device, lane, phase, table)}"
        for lane in lanes
        if lane.phases[phase] != lane.phases[phase - 1]
    ]


def _netem(device: str, lane: Lane, phase: int, table: str) -> str:
    words = netem_words(lane.phases[phase], table if lane.by_table else "")
    return f"dev {device} parent {lane.classid} handle {lane.handle} netem {' '.join(words)}"


def _filters(device: str, lanes: Iterable[Lane], ways: Iterable[Way]) -> Iterator[str]:
    classes = {(way.source, way.port): lane.classid for lane in lanes for way in lane.ways}
    tables: dict[str, str] = {}
    rules = f"filter add dev {device} parent {ROOT} protocol"
    for way in ways:
        flow = f"flowid {classes.get((way.source, way.port), UNTOUCHED)}"
        if ":" in way.source:
            for more in _ports6(way.port):
                yield f"{rules} ipv6 pref 20 u32 match ip6 src {way.source}/128{more} {flow}"
            continue
        v4 = f"{rules} ip pref 10"
        if way.port is None:
            yield f"{v4} u32 match ip src {way.source}/32 {flow}"
            continue
        # A header with options has its ports further behind: a table of its own, reached over the header's length.
        if way.source not in tables:
            table = tables[way.source] = f"{0x10 + len(tables):x}:"
            yield f"{v4} handle {table} u32 divisor 1"
            for protocol in (6, 17):
                first = f"match ip src {way.source}/32 match ip protocol {protocol} 0xff match u16 0 0x1fff at 6"
                yield f"{v4} u32 {first} link {table} offset at 0 mask 0x0f00 shift 6"
        for at in (0, 2):
            yield f"{v4} u32 ht {tables[way.source]} match u16 {way.port} 0xffff at nexthdr+{at} {flow}"


def _ports6(port: int | None) -> list[str]:
    if port is None:
        return [""]
    return [f" match u8 {next_} 0xff at 6 match u16 {port} 0xffff at {at}" for next_ in (6, 17) for at in (40, 42)]
