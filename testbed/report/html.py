"""The report of a run as one HTML file: nothing loaded from elsewhere, as good in a folder as in CI.

The template (report.html.j2) escapes what it is given; every text is also cleaned of characters that hide or reorder
it. The Content-Security-Policy allows the page's own style sheets and script, known by their hashes, and nothing else.
All is there without the script: it shows what is known of a packet beside the ladder, and filters the list of packets.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

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
from testbed.joining import join
from testbed.report import facts
from testbed.report.analysis import say_teardown
from testbed.report.cards import cards
from testbed.report.dissect import Layer
from testbed.report.escape import clean
from testbed.report.ink import STYLE as DRAWING_STYLE
from testbed.report.ladder import FoldRow, PacketRow, cited, climb, fold, origin_ns
from testbed.report.spark import plot_share
from testbed.report.svg import draw_ladder
from testbed.report.text import say_fold, show_endpoint
from testbed.verdict.value import Judgement, Outcome
from testbed.verdict.wire import Share
from testbed.verdict.wire_checks import show_asked, show_had

LISTED_PACKETS = 10_000
LISTED_RECORDS = 1000
LONGEST_TEXT = 2000  # characters of one text in the page


@dataclass(frozen=True, slots=True)
class _Listed:
    """The first records of a kind, and how many more there are."""

    rows: Sequence[Any]
    hidden: int


def render_html(judgement: Judgement) -> str:
    """The report of a run as one self-contained HTML document."""
    return render_page("report", _values(judgement), (DRAWING_STYLE,))


def render_page(name: str, values: Mapping[str, object], styles: Sequence[str] = ()) -> str:
    """A page from its template, with the sheets of style and the script `name`.js that its policy names."""
    environment = _templates()
    sheets = [environment.get_template("report.css").render(), *styles]
    script = environment.get_template(f"{name}.js").render()
    parts = {
        "styles": [Markup(sheet) for sheet in sheets],
        "script": Markup(script),
        "policy": Markup(policy(sheets, [script])),
    }
    return join(environment.get_template(f"{name}.html.j2").generate({**values, **parts}))


@cache
def _templates() -> Environment:
    """Where templates come from; each is compiled once for all reports of a suite."""
    made = Environment(
        loader=PackageLoader("testbed.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_clean_text,
    )
    made.filters.update(endpoint=show_endpoint, teardown=say_teardown, hidden=_hidden, layers=_layers)
    return made


def _clean_text(value: object) -> object:
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if len(value) > LONGEST_TEXT:
        return f"{clean(value[:LONGEST_TEXT])}... ({len(value)} characters)"
    return clean(value)


def _layers(layers: Iterable[Layer]) -> Markup:
    """A packet's headers with their fields: so many small texts that a template takes three times as long over them."""
    return Markup("".join(map(_layer, layers)))


def _layer(layer: Layer) -> str:
    fields = "".join(f"<dt>{_field_name(name)}</dt><dd>{_escaped(value)}</dd>" for name, value in layer.fields)
    return f"<dl><b>{_field_name(layer.name)}</b>{fields}</dl>"


def _escaped(text: str) -> Markup:
    return escape(_clean_text(text))


_field_name = lru_cache(maxsize=1000)(_escaped)  # there are few


def _hidden(listed: _Listed) -> str:
    return f"and {listed.hidden} more" if listed.hidden else ""


def policy(styles: Iterable[str], scripts: Iterable[str]) -> str:
    """A page's Content-Security-Policy: its own styles and scripts, known by hash, and nothing from anywhere."""
    return (
        f"default-src 'none'; style-src {_hashes(styles)}; script-src {_hashes(scripts)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: Iterable[str]) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def _values(judgement: Judgement) -> dict[str, object]:
    evidence, origin, ladder = judgement.evidence, origin_ns(judgement), climb(judgement)
    shown = fold(ladder.rows, keep=cited(judgement))
    drawn = {row.number for row in shown if isinstance(row, PacketRow)}
    listed = cards(judgement, ladder, LISTED_PACKETS, drawn)
    every = sum(isinstance(row, PacketRow) for row in ladder.rows)
    by_verdict = facts.checks_by_verdict(judgement)
    return {
        "drawings": {
            "time": Markup(draw_ladder(judgement, ladder, to_scale=True)),
            "even": Markup(draw_ladder(judgement, ladder, to_scale=False)),
        },
        "left_out": ", ".join(say_fold(row) for row in shown if isinstance(row, FoldRow)),
        "run": evidence.run,
        "scenario": evidence.scenario,
        "verdict": str(judgement.verdict),
        "sentence": facts.verdict_sentence(judgement),
        "problems": facts.problems(judgement),
        "troubles": [*by_verdict[Outcome.FAILED], *by_verdict[Outcome.UNKNOWN]],
        "checks": [check for checks in by_verdict.values() for check in checks],
        "place": lambda check: facts.place(check, evidence.run).rpartition("/")[2],
        "anchors": frozenset(number for card in listed for number in card.anchors),
        "packets": _Listed(listed, every - len(listed)),
        "connections": _listed(judgement.connections, LISTED_RECORDS),
        "hosts": [_host(judgement, facts.host) for facts in evidence.all(HostFacts)],
        "faults": _listed(evidence.all(FaultFired), LISTED_RECORDS),
        "hit": {(hit.host, hit.time_ns, hit.rule): hit.packet for hit in judgement.faults},
        "ways": _ways(judgement),
        "captures": evidence.all(CaptureCount),
        "filter": facts.display_filter(judgement),
        "once": facts.ONCE,
        "files": facts.FILES,
        "rerun": facts.rerun(evidence.run),
        "about": _about(judgement),
        "ms": lambda time_ns: f"{(time_ns - origin) / 1e6:.3f}",
    }


def _about(judgement: Judgement) -> tuple[str, ...]:
    """The run in few words."""
    run = judgement.evidence.run
    started = datetime.fromtimestamp(run.started_ns // 1_000_000_000, UTC)
    engine = f"engine {run.engine}" if run.engine != "none" else "no engine"
    return (run.backend, engine, run.family, f"seed {run.seed}", started.strftime("%Y-%m-%d %H:%M:%S UTC"))


def _listed(rows: Sequence[Any], limit: int) -> _Listed:
    return _Listed(rows[:limit], max(len(rows) - limit, 0))


def _ways(judgement: Judgement) -> list[dict[str, Any]]:
    """Each direction of the wire; where several things were asked of it, each for itself."""
    return [
        _way(traffic.name if len(traffic.shares) == 1 else f"{traffic.name} ({number})", share)
        for traffic in judgement.traffic
        for number, share in enumerate(traffic.shares, 1)
    ]


def _way(name: str, share: Share) -> dict[str, Any]:
    """One direction of the wire, or a share of it, its texts ready."""
    asked = show_asked(share.asked)
    return {
        "name": name,
        "asked": "nothing" if asked == "{}" else asked,
        "had": show_had(share),
        "lost": share.lost,
        "by_fault": share.by_fault,
        "plot": Markup(plot_share(share)),
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
