"""The files that are made of a judgement, as bytes by name. Pure."""

from __future__ import annotations

from testbed.pcap.writer import write_capture
from testbed.report.html import render_html
from testbed.report.svg import render_svg
from testbed.result import result_json
from testbed.verdict.value import Judgement


def drawings(judgement: Judgement) -> dict[str, bytes]:
    """What a person looks at: the annotated trace, the report and the ladder."""
    return {
        "trace.pcapng": write_capture(judgement.trace),
        "report.html": render_html(judgement).encode(),
        "ladder.svg": render_svg(judgement).encode(),
    }


def result_file(judgement: Judgement) -> dict[str, bytes]:
    """What a program reads."""
    return {"result.json": result_json(judgement).encode()}
