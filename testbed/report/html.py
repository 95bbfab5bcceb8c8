"""The report of a run as one HTML file: nothing loaded from elsewhere, no script, as good in a folder as in CI.

The template (report.html.j2) escapes what it is given; every text is also cleaned of characters that hide or reorder
it. The Content-Security-Policy allows the page's two style sheets, known by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from testbed.evidence import (
    CaptureCount,
    FaultFired,
    HostFacts,
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
from testbed.verdict.wire import Share, show_ms
from testbed.verdict.wire_checks import show_asked

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
    environment.filters.update(endpoint=show_endpoint, teardown=say_teardown, hidden=_hidden)
    page_style = environment.get_template("report.css").render()
    styles = {"page_style": Markup(page_style), "policy": Markup(policy(page_style, DRAWING_STYLE))}
    return environment.get_template("report.html.j2").render(_values(judgement) | styles)


def _clean_text(value: object) -> object:
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hidden(listed: _Listed) -> str:
    return f"and {listed.hidden} more" if listed.hidden else ""


def _way(name: str, share: Share) -> dict[str, Any]:
    """One direction of the wire, or a share of it, its texts ready."""
    times = (share.quantile_ns(part) for part in (0.5, 0.95, 1.0))
    return {
        "name": name,
        "asked": show_asked(share.asked),
        "packets": share.packets,
        "delivered": share.delivered,
        "lost": share.lost,
        "duplicates": share.duplicates,
        "corrupted": share.corrupted,
        "times": ["" if time is None else show_ms(time) for time in times],
    }


def _ways(judgement: Judgement) -> list[dict[str, Any]]:
    """Each direction of the wire; where several things were asked of it, each for itself."""
    return [
        _way(traffic.name if len(traffic.shares) == 1 else f"{traffic.name} ({number})", share)
        for traffic in judgement.traffic
        for number, share in enumerate(traffic.shares, 1)
    ]


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
        "ways": _ways(judgement),
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
