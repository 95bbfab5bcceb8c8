"""A judgement for a terminal: headline, ladder, checks, verdict, files, filter, environment.

The order is that of a terminal, where the end stays in sight: the ladder comes first, what failed and the verdict last.
No line is wider than asked for, unless places in files are to stay whole; without Unicode every character is ASCII.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from testbed.report import facts
from testbed.report.arrows import draw_packet, draw_state, wire_column
from testbed.report.escape import cells, clean, clip
from testbed.report.ladder import FoldRow, Ladder, PacketRow, Row, cited, climb, fold
from testbed.report.style import ASCII, UNICODE, Glyphs, Line, fit, labelled, plain, wrap
from testbed.tcp.connection import Connection, Endpoint
from testbed.verdict.value import Check, Judgement, Outcome

__all__ = ["Line", "plain", "render_text"]

NARROWEST = 60
LISTED_CONNECTIONS = 6
MANY_FAILURES = 12
FINE_BELOW_NS = 1_000_000_000


def render_text(
    judgement: Judgement, *, width: int, unicode: bool, folder: str = "", whole: bool = False
) -> list[Line]:
    """All that a terminal shows of a run, as lines of styled spans.

    `folder` is where the run's files are; without it the name the testbed gives a run folder. `whole`: for a log, in
    which a place in a file is never broken.
    """
    glyphs = replace(UNICODE if unicode else ASCII, whole=whole)
    sections = (
        _headline(judgement, width, glyphs),
        draw_ladder(judgement, width, glyphs),
        _checks(judgement, width, glyphs),
        _ending(judgement, width, glyphs, folder or facts.folder(judgement.evidence.run)),
    )
    lines: list[Line] = []
    for section in sections:
        lines += [(), *section] if lines and section else section
    return [fit(line, width, whole=whole) for line in lines]


def _headline(judgement: Judgement, width: int, glyphs: Glyphs) -> list[Line]:
    run, scenario = judgement.evidence.run, judgement.evidence.scenario
    name = clip(clean(run.scenario, unicode=glyphs.unicode), width // 2)
    summary = clean(scenario.summary, unicode=glyphs.unicode)
    title = wrap(summary, width=width, first=(f"{name}  ", "bold"), rest="  ", whole=glyphs.whole)
    engine = f"engine {run.engine}" if run.engine != "none" else "no engine"
    said = glyphs.between.join((run.backend, engine, run.family, f"seed {run.seed}"))
    return [*title, ((clean(said, unicode=glyphs.unicode), "dim"),)]


# --- the ladder ---


def draw_ladder(judgement: Judgement, width: int, glyphs: Glyphs) -> list[Line]:
    ladder = climb(judgement)
    if not ladder.rows:
        return [(("no packets and no changes of state were seen", "dim"),)]
    rows = fold(ladder.rows, keep=cited(judgement))
    gutter = _Gutter(ladder, rows)
    lanes = max(width, NARROWEST) - gutter.width
    legend = _legend(judgement.connections, width, glyphs)
    header = (*gutter.header(), *_lane_titles(ladder, lanes, glyphs))
    return [*legend, header, *(_row(row, gutter, lanes, glyphs) for row in rows)]


class _Gutter:
    """The columns left of the lanes: seconds since the first packet, packet number, connection if there are several."""

    def __init__(self, ladder: Ladder, rows: Sequence[Row]) -> None:
        shown = [row for row in rows if not isinstance(row, FoldRow)]
        fine = all(abs(row.at_ns) < FINE_BELOW_NS for row in shown)
        self.digits = 6 if fine else 3
        self.time = max(len("seconds"), *(len(self.seconds(row.at_ns)) for row in shown))
        self.number = max([len("no."), *(len(str(row.number)) for row in shown if isinstance(row, PacketRow))])
        self.connection = len(str(ladder.connections)) + 1 if ladder.connections > 1 else 0
        self.width = self.time + self.number + 3 + (self.connection + 1 if self.connection else 0)

    def seconds(self, at_ns: int) -> str:
        """A time as seconds, to the microsecond in a ladder shorter than a second."""
        return f"{at_ns / 1e9:.{self.digits}f}"

    def header(self) -> Line:
        """The columns' titles."""
        tag = f"{'#':<{self.connection}} " if self.connection else ""
        return ((f"{'seconds':>{self.time}} {'no.':>{self.number}}  {tag}", "dim"),)

    def show(self, row: Row) -> Line:
        """The columns of one row."""
        if isinstance(row, FoldRow):
            return ((" " * self.width, ""),)
        number = str(row.number) if isinstance(row, PacketRow) else ""
        tag = f"{f'#{row.connection}' if row.connection else '':<{self.connection}} " if self.connection else ""
        return ((f"{self.seconds(row.at_ns):>{self.time}}", ""), (f" {number:>{self.number}}  {tag}", "dim"))


def _lane_titles(ladder: Ladder, lanes: int, glyphs: Glyphs) -> Line:
    left, right = (clip(clean(name, unicode=glyphs.unicode), lanes // 2 - 5) for name in (ladder.left, ladder.right))
    wire = wire_column(lanes) - 1 - cells(left)
    gap = lanes - cells(left) - wire - len("wire") - cells(right)
    return ((left, "client"), (" " * wire, ""), ("wire", "dim"), (" " * gap, ""), (right, "server"))


def _row(row: Row, gutter: _Gutter, lanes: int, glyphs: Glyphs) -> Line:
    if isinstance(row, PacketRow):
        return (*gutter.show(row), *draw_packet(row, width=lanes, glyphs=glyphs))
    if isinstance(row, FoldRow):
        return (*gutter.show(row), (f"{glyphs.dots} {say_fold(row)} {glyphs.dots}", "dim"))
    return (*gutter.show(row), *draw_state(row, width=lanes, glyphs=glyphs))


def say_fold(row: FoldRow) -> str:
    """What is left out, counted in words."""
    lost = f" ({row.lost} lost)" if row.lost else ""
    parts = [f"{row.packets} more packets{lost}" if row.packets else "", f"{row.states} states" if row.states else ""]
    return " and ".join(part for part in parts if part)


def _legend(connections: Sequence[Connection], width: int, glyphs: Glyphs) -> list[Line]:
    if len(connections) < 2:
        return []
    shown = connections[: LISTED_CONNECTIONS if len(connections) > LISTED_CONNECTIONS + 1 else None]
    lines: list[Line] = [((_one_connection(at, connection), "dim"),) for at, connection in enumerate(shown, start=1)]
    hidden = len(connections) - len(shown)
    return [*lines, *([((f"{glyphs.dots} {hidden} more connections", "dim"),)] if hidden else []), ()]


def _one_connection(number: int, connection: Connection) -> str:
    ends = f"{show_endpoint(connection.client)} > {show_endpoint(connection.server)}"
    return f"#{number} {ends}  {connection.handshake.outcome.value}, {connection.teardown.kind.value}"


def show_endpoint(endpoint: Endpoint) -> str:
    """`10.0.0.2:7456`, `[fd00::2]:7456`."""
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return f"{address}:{endpoint.port}"


# --- the checks ---


def _checks(judgement: Judgement, width: int, glyphs: Glyphs) -> list[Line]:
    sorted_checks = facts.checks_by_verdict(judgement)
    passed = sorted_checks[Outcome.PASSED]
    bad = [*sorted_checks[Outcome.FAILED], *sorted_checks[Outcome.UNKNOWN]]
    lines = [line for check in bad[:MANY_FAILURES] for line in _bad_check(check, judgement, width, glyphs)]
    lines += short_checks(bad[MANY_FAILURES:], width, glyphs)
    if bad and passed:
        names = ", ".join(check.name for check in passed)
        lines += labelled(("passed", "passed"), names, width=width, glyphs=glyphs)
    elif passed:
        lines += short_checks(passed, width, glyphs)
    return lines


def short_checks(checks: Sequence[Check], width: int, glyphs: Glyphs) -> list[Line]:
    """Verdict, name and what was seen of each check, in three columns."""
    names = [clip(clean(check.name, unicode=glyphs.unicode), width // 2) for check in checks]
    column = max(map(cells, names), default=0)
    lines: list[Line] = []
    for check, name in zip(checks, names, strict=True):
        said = clean(check.seen, unicode=glyphs.unicode)
        seen = wrap(said, width=width, first=(" " * (8 + column + 2), ""), whole=glyphs.whole)
        head: Line = ((f"{check.verdict:<8}", check.verdict), (name + " " * (column - cells(name) + 2), ""))
        lines += [(*head, *seen[0][1:]), *seen[1:]]
    return lines


def _bad_check(check: Check, judgement: Judgement, width: int, glyphs: Glyphs) -> list[Line]:
    where = clean(facts.place(check, judgement.evidence.run), unicode=glyphs.unicode)
    name = clean(check.name, unicode=glyphs.unicode)
    head: Line = ((f"{check.verdict:<8}", check.verdict), (name, "bold"))
    beside: Line = (*head, ("  ", ""), (where, "place"))
    fits = glyphs.whole or fit(beside, width) == beside
    told = {
        "at": "" if fits else where,
        "expected": check.expected,
        "seen": check.seen,
        "why": check.why,
        "packets": facts.list_packets(check.packets),
    }
    return [
        beside if fits else head,
        *(line for label, text in told.items() for line in _told(label, text, width, glyphs)),
    ]


def _told(label: str, text: str, width: int, glyphs: Glyphs) -> list[Line]:
    return labelled((label, "dim"), text, width=width, glyphs=glyphs, indent=8)


# --- the end ---


def _ending(judgement: Judgement, width: int, glyphs: Glyphs, folder: str) -> list[Line]:
    run = judgement.evidence.run
    lines: list[Line] = []
    for problem in facts.problems(judgement):
        said = f"{problem.where}: {problem.says}"
        lines += labelled(("not seen", "unknown"), said, width=width, glyphs=glyphs)
    lines.append(((f"{judgement.verdict:<10}  ", judgement.verdict), (facts.verdict_sentence(judgement), "")))
    told = {
        "files": f"{folder}/",
        "": ", ".join(facts.FILES),
        "wireshark": facts.display_filter(judgement),
        " ": f"each packet once: add && {facts.ONCE}",
        "again": facts.rerun(run),
    }
    for label, text in told.items():
        lines += labelled(
            (label.strip(), "dim"), text, width=width, glyphs=glyphs, style="" if label.strip() else "dim"
        )
    said = clean(facts.environment(run), unicode=glyphs.unicode)
    return [*lines, *wrap(said, width=width, style="dim")]
