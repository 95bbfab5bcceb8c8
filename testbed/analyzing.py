"""The command `testbed analyze`: reads a capture, and prints a table, JSON, a ladder, or a scenario's verdict of it.

Results go to standard output, progress and what could not be read to standard error. However large the capture is, it
is read a stretch at a time; connections wait on disk to be told in the order in which they began. Only a ladder and a
scenario's expectations need packets themselves: then those of a whole capture are held in memory.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from testbed.analysis_json import connection_facts, head_json, json_parts, numbered
from testbed.analyze import Analyzer
from testbed.choose import Wanted, parse_filter
from testbed.errors import UsageError
from testbed.files import find_scenario, load_scenario
from testbed.foreign import Opinion, Seen, judge_foreign, render_ladder, render_opinion
from testbed.report.analysis import Table, render_connections
from testbed.spool import Spool
from testbed.suite import EXIT_CODES
from testbed.summary import Summary, summarize
from testbed.tcp.connection import Connection, Finding, FindingKind
from testbed.terminal import CLEAR_LINE, print_lines, unicode_output, width

CHUNK = 1 << 22  # bytes read at a time
LINES_AT_ONCE = 1000
LARGE = 1 << 26  # bytes of a capture from which on progress is shown
STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    as_json: bool = False
    chosen: str = ""  # --filter
    connection: int | None = None
    zeek: bool = False
    expect: str = ""


def analyze_file(file: Path, wish: Wish) -> int:
    """Do what was asked; gives the exit code. Raises UsageError for what cannot be."""
    if wish.connection is not None and (wish.as_json or wish.expect):
        raise UsageError("--connection draws a ladder; it goes with neither --json nor --expect")
    wanted = parse_filter(wish.chosen) if wish.chosen else None
    if wish.expect:
        return _judge(file, wish, wanted)
    if wish.connection is not None:
        return _draw_ladder(file, wish, wish.connection)
    analyzer = Analyzer(read_chunks(file), zeek_cuts=wish.zeek)
    (_print_json if wish.as_json else _print_table)(file, analyzer, wanted)
    return 0


# Reading


def read_chunks(file: Path) -> Iterator[bytes]:
    """A file's bytes, or standard input's, a chunk at a time. Raises UsageError where it cannot be read."""
    try:
        if str(file) == STANDARD_INPUT:
            yield from _chunks(sys.stdin.buffer, 0)
        else:
            with file.open("rb") as stream:
                yield from _chunks(stream, os.fstat(stream.fileno()).st_size)
    except OSError as error:
        raise UsageError(
            f"the capture {file} cannot be read: {os.strerror(error.errno or 0)}",
            remedy="check its name and permissions",
        ) from error


def _chunks(stream: BinaryIO, size: int) -> Iterator[bytes]:
    shown = size >= LARGE and sys.stderr.isatty()
    done = 0
    while chunk := stream.read(CHUNK):
        yield chunk
        done += len(chunk)
        if shown:
            sys.stderr.write(f"{CLEAR_LINE}{done / size:4.0%} of {size >> 20} MiB")
            sys.stderr.flush()
    if shown:
        sys.stderr.write(CLEAR_LINE)


# Table and JSON


def _print_json(file: Path, analyzer: Analyzer, wanted: Wanted | None) -> None:
    with Spool() as spool:
        for result in analyzer.results():
            told = (
                _one(result) if isinstance(result, Connection) else zip(result.summaries(), result.facts(), strict=True)
            )
            for summary, facts in told:
                spool.add(summary.number, facts if wanted is None or wanted(summary) else "")
        head = head_json(str(file), analyzer.packets, analyzer.skipped, analyzer.warnings())
        for part in json_parts(head, (numbered(facts, number) for number, facts in _numbered(spool))):
            sys.stdout.write(part)


def _one(connection: Connection) -> Iterator[tuple[Summary, str]]:
    yield summarize(connection), connection_facts(connection)


def _print_table(file: Path, analyzer: Analyzer, wanted: Wanted | None) -> None:
    table = Table(width(), unicode=unicode_output())
    with Spool() as spool:
        for result in analyzer.results():
            for summary in (summarize(result),) if isinstance(result, Connection) else result.summaries():
                shown = wanted is None or wanted(summary)
                row = (table.measure(summary), [asdict(finding) for finding in summary.audit]) if shown else ""
                spool.add(summary.number, json.dumps(row) if row else "")
        lines = table.draw(((number, *_row(text)) for number, text in _numbered(spool)), len(spool))
        while some := list(islice(lines, LINES_AT_ONCE)):
            print_lines(some)
        if wanted is not None:
            sys.stderr.write(f"{file}: {sum(1 for _ in _numbered(spool))} of {len(spool)} connections\n")
    _say_skipped(file, analyzer)
    _say_warnings(file, analyzer)


def _row(text: str) -> tuple[tuple[str, ...], list[Finding]]:
    cells, findings = json.loads(text)
    return tuple(cells), [
        Finding(**{**one, "packets": tuple(one["packets"]), "kind": FindingKind(one["kind"])}) for one in findings
    ]


def _numbered(spool: Spool) -> Iterator[tuple[int, str]]:
    """What is shown, with its number: 1 is the connection whose first packet came first, whether it is shown or not."""
    return ((number, text) for number, (_, text) in enumerate(spool.sorted(), start=1) if text)


# A ladder, and a verdict


def _see(file: Path, zeek: bool) -> Seen:
    """The whole capture in memory: connections with their bytes, and packets."""
    analyzer = Analyzer(read_chunks(file), keep_stream=True, keep_packets=True, zeek_cuts=zeek)
    connections = sorted(analyzer.connections(), key=lambda connection: connection.packets[0])
    _say_warnings(file, analyzer)
    return Seen(str(file), tuple(connections), tuple(analyzer.kept), tuple(analyzer.interfaces), analyzer.missing())


def _draw_ladder(file: Path, wish: Wish, number: int) -> int:
    seen = _see(file, wish.zeek)
    if not 1 <= number <= len(seen.connections):
        there = len(seen.connections)
        raise UsageError(
            f"--connection {number}: {file} has {there} connection{'' if there == 1 else 's'}",
            remedy=f"give a number from 1 to {there}, as the table shows" if there else "there is none to draw",
        )
    one = seen.connections[number - 1]
    print_lines(render_connections([one], width=width(), unicode=unicode_output(), first=number))
    print_lines([(), *render_ladder(seen, number, width=width(), unicode=unicode_output())])
    return 0


def _judge(file: Path, wish: Wish, wanted: Wanted | None) -> int:
    path = find_scenario(wish.expect)
    located = load_scenario(path)
    seen = _see(file, wish.zeek)
    if wanted is not None:
        seen = replace(seen, connections=tuple(c for c in seen.connections if wanted(summarize(c))))
    opinion = judge_foreign(seen, located, path.stem)
    if wish.as_json:
        sys.stdout.write(json.dumps(_opinion_json(file, path, opinion), indent=1) + "\n")
    else:
        print_lines(render_opinion(opinion, path.stem, located.file, width=width(), unicode=unicode_output()))
    return EXIT_CODES[opinion.verdict]


def _opinion_json(file: Path, path: Path, opinion: Opinion) -> dict[str, object]:
    checks = [{**asdict(check), "packets": list(check.packets)} for check in opinion.checks]
    return {
        "schema": 1,
        "file": str(file),
        "scenario": path.stem,
        "verdict": opinion.verdict,
        "checks": checks,
        "not_applicable": list(opinion.not_applicable),
    }


def _say_warnings(file: Path, analyzer: Analyzer) -> None:
    for warning in analyzer.warnings():
        sys.stderr.write(f"{file}: {warning}\n")


def _say_skipped(file: Path, analyzer: Analyzer) -> None:
    skipped = ", ".join(f"{count} {reason}" for reason, count in analyzer.skipped.items())
    if skipped:
        sys.stderr.write(f"{file}: skipped packets: {skipped}\n")
