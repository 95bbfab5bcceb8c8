"""Sweeps: which runs a `matrix:` or a `--set path=a,b` asks for, and the report on them once they have ended.

A point is a turn of the suite like any other, with settings of its own; so jobs, repetitions, retries and JUnit work as
they always do. What came of each is read from its run folder, and the report lies beside the folders: `sweep.json` and
`sweep.svg`. Every point is resolved before the first is run, so that a wrong value costs no lab.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.files import load_scenario, read_file, write_whole
from testbed.plan import make_plan
from testbed.report.cases import Case, Suite
from testbed.report.sweep import render_sweep, sweep_json, sweep_lines
from testbed.scenario.model import Scenario
from testbed.session import Job, Options, resolve
from testbed.suites.choose import Turn, seeded
from testbed.sweep import Axis, Row, Run, Setting, Sweep, find_axes, points, say_point
from testbed.theory import Opening, opening
from testbed.theory import Path as Way

LONGEST_LABEL = 40  # letters of a point in its folder's name
LINEAR = "net.ipv4.tcp_syn_linear_timeouts"
RETRIES = "net.ipv4.tcp_syn_retries"
ANSWERS = "net.ipv4.tcp_synack_retries"
PORTION = 100.0  # percent


@dataclass(frozen=True, slots=True)
class Spread:
    """The turns of a command with its sweeps spread out; `axes` by scenario, of those that are swept."""

    turns: tuple[Turn, ...]
    options: Options
    axes: dict[Path, tuple[Axis, ...]]

    def tell(self, suite: Suite) -> None:
        """Write the report on what was swept, and say it to who is not a program."""
        for line in report(self, suite.cases, self.options.out):
            sys.stderr.write(f"{line}\n")


def spread(turns: Sequence[Turn], options: Options) -> Spread:
    """Each turn as often as its scenario has points. Raises what a point that cannot be raises."""
    made: list[Turn] = []
    swept: dict[Path, tuple[Axis, ...]] = {}
    fixed: list[Setting] = []
    for turn in turns:
        path = turn.job.path
        axes, fixed = find_axes(_matrix(path), options.settings)
        if not axes:
            made.append(turn)
            continue
        swept[path] = axes
        made += _points(turn, axes, replace(options, settings=tuple(fixed)))
    return Spread(tuple(made), replace(options, settings=tuple(fixed)) if swept else options, swept)


def _matrix(path: Path) -> dict[str, tuple[str, ...]]:
    """The scenario's own axes, as text that reads back as the value; a wrong file is told of when it is run."""
    try:
        if b"matrix" not in read_file(path, "scenario file"):
            return {}  # most have none, and reading one whole takes a while
        scenario = load_scenario(path).scenario
    except TestbedError:
        return {}
    return {name: tuple(_text(value) for value in values) for name, values in scenario.matrix.items()}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) and value[:1].isalnum() and ": " not in value else json.dumps(value)


def _points(turn: Turn, axes: Sequence[Axis], options: Options) -> Iterable[Turn]:
    located = load_scenario(turn.job.path)
    every = points(axes)
    digits = len(str(len(every)))
    for number, settings in enumerate(every, 1):
        resolve(located, replace(options, settings=(*options.settings, *settings)))
        folder = f"{turn.job.folder_name}-p{number:0{digits}}{_label(settings)}"
        yield replace(turn, job=Job(turn.job.path, folder), settings=settings)


def _label(settings: Iterable[Setting]) -> str:
    """`-delay-20ms-loss-1`: what a folder's name says of its point."""
    words = say_point(settings).lower()
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in words)
    return "-" + "-".join(filter(None, letters.split("-")))[:LONGEST_LABEL].rstrip("-")


def report(spread_out: Spread, cases: Sequence[Case], out: Path) -> list[str]:
    """Write `sweep.json` and `sweep.svg` for each scenario that was swept; the tables and where the files are."""
    by_name = {case.name: case for case in cases}
    lines: list[str] = []
    for path, axes in spread_out.axes.items():
        mine = [turn for turn in spread_out.turns if turn.job.path == path]
        sweep = Sweep(path.stem, axes, tuple(_rows(mine, by_name, spread_out.options)))
        folder = next((Path(case.folder).parent for case in by_name.values() if case.folder), out)
        stem = "sweep" if len(spread_out.axes) == 1 else f"sweep-{path.stem}"
        write_whole(folder / f"{stem}.json", sweep_json(sweep).encode())
        write_whole(folder / f"{stem}.svg", render_sweep(sweep).encode())
        lines += [*sweep_lines(sweep), f"sweep     {folder / stem}.svg, {stem}.json"]
    return lines


def _rows(turns: Sequence[Turn], cases: dict[str, Case], options: Options) -> Iterable[Row]:
    for settings in dict.fromkeys(turn.settings for turn in turns):
        mine = [turn for turn in turns if turn.settings == settings]
        results = [(cases[turn.job.folder_name], turn) for turn in mine if turn.job.folder_name in cases]
        runs = tuple(_run(case) for case, _ in results if case.folder)
        yield Row(settings, runs, _theory(mine[0], options))


def _run(case: Case) -> Run:
    told = json.loads(read_file(Path(case.folder) / "result.json", "result"))
    handshakes: list[dict[str, Any]] = [connection["handshake"] for connection in told["connections"]]
    durations = [one["duration_ms"] for one in handshakes if one["duration_ms"] is not None]
    return Run(told["verdict"], tuple(one["outcome"] for one in handshakes), tuple(durations))


def _theory(turn: Turn, options: Options) -> Opening | None:
    """When the handshake of the first two hosts that connect completes; None where the wire does more than lose."""
    scenario = resolve(load_scenario(turn.job.path), seeded(options, turn))
    ends = _ends(scenario)
    plan = make_plan(turn.job.name, scenario)
    if ends is None or scenario.faults or len(scenario.wire.timeline):
        return None
    client, server = ends
    there, back = (_asked(plan.link(to), of) for of, to in ((client, server), (server, client)))
    if there is None or back is None:
        return None
    sysctls = {**scenario.sysctls, **scenario.hosts[client].sysctls}
    return opening(
        Way(
            there_ms=there[0],
            back_ms=back[0],
            loss_there=there[1],
            loss_back=back[1],
            syn_retries=int(sysctls.get(RETRIES, 6)),
            linear_timeouts=int(sysctls.get(LINEAR, 0)),
            synack_retries=int({**scenario.sysctls, **scenario.hosts[server].sysctls}.get(ANSWERS, 5)),
        )
    )


def _ends(scenario: Scenario) -> tuple[str, str] | None:
    from testbed.program import walk
    from testbed.scenario.steps import Connect

    for name, host in scenario.hosts.items():
        for step in walk(host.steps):
            if isinstance(step, Connect) and (server := step.connect.partition(":")[0]) in scenario.hosts:
                return name, server
    return None


def _asked(link: Any, source: str) -> tuple[float, float] | None:
    """Delay in ms and chance of loss of one direction; None where it does something else too."""
    if link is None:
        return 0.0, 0.0
    asked = link.asked(source)
    plain = replace(asked, delay_ns=0, loss_percent=0.0, jitter_ns=0, jitter_distribution="uniform")
    if plain != type(asked)() or link.course(source).ports:
        return None
    return asked.delay_ns / 1e6, asked.loss_percent / PORTION
