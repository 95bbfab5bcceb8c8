"""The report of a run as one HTML file: nothing loaded from elsewhere, no script, as good in a folder as in CI.

The template (report.html.j2) escapes what it is given; every text is also cleaned of characters that hide or reorder
it. The Content-Security-Policy allows the page's two style sheets, known by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.evidence import (
    CaptureCount,
    FaultFired,
    HostFacts,
    LinkCount,
    LogLine,
    ProgramEnd,
    StateSample,
    StepOutcome,
    TableSnapshot,
)
from testbed.report import facts
from testbed.report.analysis import say_teardown
from testbed.report.arrows import labels, notes
from testbed.report.escape import clean, quote
from testbed.report.ink import STYLE as DRAWING_STYLE
from testbed.report.ladder import PacketRow, climb, origin_ns
from testbed.report.svg import render_svg
from testbed.report.text import show_endpoint
from testbed.verdict.value import Judgement

LISTED_PACKETS = 2000
LISTED_RECORDS = 1000
PAYLOAD_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class _Listed:
    """The first records of a kind, and how many more there are."""

    rows: Sequence[Any]
    hidden: int


def render_html(judgement: Judgement) -> str:
    """The report of a run as one self-contained HTML document."""
    environment = Environment(
        loader=PackageLoader("testbed.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_clean_text,
    )
    environment.filters.update(endpoint=show_endpoint, teardown=say_teardown, hidden=_hidden, asked=_asked)
    page_style = environment.get_template("report.css").render()
    styles = {"page_style": Markup(page_style), "policy": Markup(policy(page_style, DRAWING_STYLE))}
    return environment.get_template("report.html.j2").render(_values(judgement) | styles)


def _clean_text(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hidden(listed: _Listed) -> str:
    return f"and {listed.hidden} more" if listed.hidden else ""


def _asked(asked: Mapping[str, Any]) -> str:
    """`{"198.18.0.3": {"delay": "10ms"}}` as `198.18.0.3: delay 10ms`."""
    return "; ".join(
        f"{source}: {', '.join(f'{name} {value}' for name, value in told.items())}"
        if isinstance(told, Mapping)
        else f"{source} {told}"
        for source, told in asked.items()
    )


def policy(*styles: str) -> str:
    """The page's Content-Security-Policy: its own style sheets, known by hash, and nothing from anywhere."""
    hashes = " ".join(f"'sha256-{_hash(style)}'" for style in styles)
    return f"default-src 'none'; style-src {hashes}; base-uri 'none'; form-action 'none'"


def _hash(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _values(judgement: Judgement) -> dict[str, object]:
    evidence, origin = judgement.evidence, origin_ns(judgement)
    packets = [_packet(row) for row in climb(judgement).rows if isinstance(row, PacketRow)]
    shown = _listed(packets, LISTED_PACKETS)
    return {
        "drawing": Markup(render_svg(judgement)),
        "run": evidence.run,
        "scenario": evidence.scenario,
        "verdict": str(judgement.verdict),
        "sentence": facts.verdict_sentence(judgement),
        "problems": facts.problems(judgement),
        "checks": [check for checks in facts.checks_by_verdict(judgement).values() for check in checks],
        "place": facts.place,
        "anchors": frozenset(number for packet in shown.rows for number in packet["numbers"]),
        "packets": shown,
        "connections": _listed(judgement.connections, LISTED_RECORDS),
        "hosts": [_host(judgement, facts.host) for facts in evidence.all(HostFacts)],
        "faults": _listed(evidence.all(FaultFired), LISTED_RECORDS),
        "links": evidence.all(LinkCount),
        "captures": evidence.all(CaptureCount),
        "filter": facts.display_filter(judgement),
        "once": facts.ONCE,
        "files": facts.FILES,
        "rerun": facts.rerun(evidence.run),
        "ms": lambda time_ns: f"{(time_ns - origin) / 1e6:.3f}",
    }


def _listed(rows: Sequence[Any], limit: int) -> _Listed:
    return _Listed(rows[:limit], max(len(rows) - limit, 0))


def _packet(row: PacketRow) -> dict[str, Any]:
    """One row of the table of packets, its texts ready."""
    trip = row.trip
    return {
        "at": f"{row.at_ns / 1e6:.3f}",
        "numbers": row.numbers,
        "vantages": (trip.sent, trip.wire, trip.arrived, trip.delivered),
        "source": trip.source,
        "destination": trip.destination,
        "connection": row.connection or "",
        "label": labels(row.segment)[0],
        "fate": f"lost {row.lost.where}: {row.lost.cause or 'no cause known'}" if row.lost else trip.fate,
        "lost": bool(row.lost),
        "notes": notes(row, between=", "),
        "payload": quote(row.segment.payload, limit=PAYLOAD_CHARACTERS) if row.segment.payload else "",
    }


def _host(judgement: Judgement, host: str) -> dict[str, Any]:
    """What one host was and did."""
    evidence = judgement.evidence

    def of(kind: type[Any]) -> _Listed:
        return _listed([record for record in evidence.all(kind) if record.host == host], LISTED_RECORDS)

    return {
        "facts": next(facts for facts in evidence.all(HostFacts) if facts.host == host),
        "steps": of(StepOutcome),
        "states": of(StateSample),
        "logs": of(LogLine),
        "snapshots": of(TableSnapshot),
        "ends": of(ProgramEnd),
    }
