"""The catalogue as a page to read: what each scenario is about, a ladder of a run, states, where it is written.

Pure: texts in, Markdown out. What comes from a scenario's file is made anew each time; what comes from a run (times,
the order in which samples fell) differs a little from run to run, so times are rounded, and a run's part stays as it
is on the page until there is a newer run: it stands between two marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from testbed.evidence import RunFacts, StateSample
from testbed.report.arrows import draw_packet, draw_state
from testbed.report.ladder import FoldRow, PacketRow, Row, climb, fold
from testbed.report.style import UNICODE, plain
from testbed.report.text import say_fold
from testbed.scenario.model import Requires, Scenario
from testbed.scenario.requires import say_kernels
from testbed.verdict.value import Judgement

WIDTH = 104
MOST_ROWS = 36
MOST_SOCKETS = 6
GROUPS: Mapping[str, tuple[str, str]] = {
    "seeds": ("Seeds", "The small programs that this testbed grew from, each as they behave."),
    "handshake": ("Handshake", "How a connection opens, and how it does not."),
    "data": ("Data", "What happens to bytes between the two: losses, windows, timers, sizes."),
    "teardown": ("Teardown", "How a connection ends, in order and otherwise."),
    "broken-path": ("Broken paths and attacks", "What nobody should send, and what paths do that should carry."),
    "udp": ("UDP", "Datagrams beside connections."),
}
HEAD = """\
# Scenarios

Every scenario of the testbed: what happens, where it is written, a ladder of a real run, and the states that both
kernels went through. Times are rounded. `testbed run NAME` plays one; the files are in `scenarios/`.

This page is made by `make docs` from the files and from runs of them.
"""
BEGIN, END = "<!-- run of {name} -->", "<!-- end of run -->"
NO_RUN = "No run of it is recorded here."


@dataclass(frozen=True, slots=True)
class Entry:
    """A scenario of the catalogue: its folder, its name, the comment on top of its file, and what it says."""

    group: str
    name: str
    path: str  # as the page's links have it
    comment: str
    scenario: Scenario


def comment_of(text: str) -> str:
    """The comment on top of a file, as one paragraph; what editors read there is no part of it."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        if "yaml-language-server" not in line:
            lines.append(line.lstrip("# ").strip())
    return " ".join(filter(None, lines))


def page(entries: Sequence[Entry], runs: Mapping[str, str]) -> str:
    """The whole page; `runs` are the parts that come from a run, by name."""
    groups = [name for name in GROUPS if any(entry.group == name for entry in entries)]
    groups += sorted({entry.group for entry in entries} - set(groups))
    parts = [HEAD, *(_contents(name, entries) for name in groups)]
    for name in groups:
        title, about = GROUPS.get(name, (name, ""))
        parts.append(f"## {title}\n\n{about}".rstrip() + "\n")
        parts += [section(entry, runs.get(entry.name, NO_RUN)) for entry in entries if entry.group == name]
    return "\n".join(parts)


def _contents(group: str, entries: Iterable[Entry]) -> str:
    title, _ = GROUPS.get(group, (group, ""))
    links = ", ".join(f"[{entry.name}](#{entry.name})" for entry in entries if entry.group == group)
    return f"**{title}**: {links}\n"


def section(entry: Entry, run: str) -> str:
    """What the page says of one scenario."""
    return f"{about(entry)}\n{BEGIN.format(name=entry.name)}\n\n{run.strip()}\n\n{END}\n"


def about(entry: Entry) -> str:
    """The part that is made of the scenario's file."""
    scenario = entry.scenario
    lines = [f"### {entry.name}", "", _escaped(scenario.summary)]
    if entry.comment:
        lines += ["", _escaped(entry.comment)]
    facts = [f"[{entry.name}.yaml]({entry.path})"]
    facts += [_escaped(scenario.source)] if scenario.source else []
    facts += [f"needs {needs}"] if (needs := _needs(scenario.requires)) else []
    return "\n".join([*lines, "", " · ".join(facts), ""])


def _needs(requires: Requires) -> str:
    kernel = [f"Linux {say_kernels(requires.kernel)}"] if requires.kernel is not None else []
    return ", ".join([*kernel, *(f"`{name}`" for name in (*requires.sysctls, *requires.abilities))])


def _escaped(text: str) -> str:
    return re.sub(r"([<>*_`\[\]])", r"\\\1", " ".join(text.split()))


def recorded(page_text: str) -> dict[str, str]:
    """The parts of a page that come from runs, by name."""
    pattern = re.escape(BEGIN).replace(r"\{name\}", "(?P<name>[^ ]+)") + r"\n(?P<run>.*?)\n" + re.escape(END)
    return {match["name"]: match["run"].strip() for match in re.finditer(pattern, page_text, re.DOTALL)}


def run_part(judgement: Judgement) -> str:
    """What a run adds: the ladder, and the states of each socket."""
    run = judgement.evidence.run
    return "\n".join(["```text", *_ladder(judgement), "```", "", *_states(judgement), "", _played(run)]).strip()


def _played(run: RunFacts) -> str:
    kernel = ".".join(re.findall(r"\d+", run.versions.get("kernel", ""))[:2])
    return f"Played on Linux {kernel}, {run.backend}, {run.family}, seed {run.seed}."


def _ladder(judgement: Judgement) -> list[str]:
    ladder = climb(judgement)
    rows = fold(ladder.rows, limit=MOST_ROWS)
    times = ["" if isinstance(row, FoldRow) else show_time(row.at_ns) for row in rows]
    gutter = max([4, *map(len, times)]) + 2
    lanes = WIDTH - gutter
    lines = [" " * gutter + ladder.left.ljust(lanes - len(ladder.right)) + ladder.right]
    lines += [time.rjust(gutter - 2) + "  " + _row(row, lanes) for time, row in zip(times, rows, strict=True)]
    return [line.rstrip() for line in lines]


def _row(row: Row, width: int) -> str:
    if isinstance(row, FoldRow):
        return f"{UNICODE.dots} {say_fold(row)} {UNICODE.dots}"
    if isinstance(row, PacketRow):
        return plain([draw_packet(_rounded(row), width=width, glyphs=UNICODE)]).rstrip("\n")
    return plain([draw_state(row, width=width, glyphs=UNICODE)]).rstrip("\n")


def _rounded(row: PacketRow) -> PacketRow:
    if row.delay_ns is None:
        return row
    return replace(row, delay_ns=round(row.delay_ns / 1e6) * 1_000_000)


def show_time(at_ns: int) -> str:
    """A time, rounded: to the millisecond below 100 ms, to the hundredth of a second below 10 s."""
    ms = at_ns / 1e6
    if abs(ms) < 99.5:
        return f"{round(ms)} ms"
    return f"{ms / 1000:.2f} s" if abs(ms) < 9995 else f"{ms / 1000:.1f} s"


def _states(judgement: Judgement) -> list[str]:
    """The way of each socket through its states, by host; sockets that went the same way are told once."""
    lines: dict[str, int] = {}
    samples = sorted(judgement.evidence.all(StateSample), key=lambda sample: sample.time_ns)
    for host in dict.fromkeys(sample.host for sample in samples):
        mine = [sample for sample in samples if sample.host == host]
        for socket in dict.fromkeys(sample.socket for sample in mine):
            way = [state for state, _ in groupby(one.after for one in mine if one.socket == socket)]
            told = f"{host}: {' → '.join(way)}"
            lines[told] = lines.get(told, 0) + 1
    shown = [f"- {told}" + (f" ({times} sockets)" if times > 1 else "") for told, times in lines.items()]
    hidden = len(shown) - MOST_SOCKETS
    return shown if hidden <= 0 else [*shown[:MOST_SOCKETS], f"- and {hidden} other ways"]
