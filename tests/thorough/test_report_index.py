"""Rules of the index of a suite: every run has its row and its link, and nothing from outside becomes markup."""

from __future__ import annotations

from pathlib import Path

from report_builder import HOSTILE
from test_report_pages import Seen, hashes, sources

from testbed.report.cases import Case, Reason, Suite
from testbed.report.index import render_index
from testbed.suites.outlets import save_index
from testbed.verdict.value import Outcome


def case(name: str, verdict: Outcome = Outcome.PASSED, folder: str | None = None, says: str = "") -> Case:
    reasons = (Reason("check", says),) if says else ()
    place = f"results/run-1/{name}" if folder is None else folder
    return Case(name, name, f"{name}.yaml", verdict, reasons, 1.0, 7, "netns", "none", place)


def test_rows_are_worst_first_and_lead_to_reports() -> None:
    """Failed before unknown before passed; links are relative to the index, and survive odd names."""
    suite = Suite((case("a"), case("b c#d"), case("e", Outcome.UNKNOWN), case("f", Outcome.FAILED)), run_id="run-1")
    text = render_index(suite)
    assert Seen(text).all("href") == ["f/report.html", "e/report.html", "a/report.html", "b%20c%23d/report.html"]
    assert "2 passed, 1 failed, 1 unknown" in text
    assert '<p class="verdict failed">' in text


def test_what_was_not_run_has_a_row_and_no_link() -> None:
    """It tells why, and leads nowhere."""
    text = render_index(Suite((Case("a", "a", "a.yaml", Outcome.UNKNOWN, not_run="not applicable: no TFO"), case("b"))))
    assert "not applicable: no TFO" in text
    assert Seen(text).all("href") == ["b/report.html"]


def test_nothing_from_outside_becomes_markup() -> None:
    """Names and reasons are text, whatever is in them; the policy allows the page's own style and script."""
    text = render_index(Suite((case(HOSTILE, Outcome.FAILED, says=HOSTILE), case("b")), run_id=HOSTILE))
    seen = Seen(text)
    policy = next(a["content"] for tag, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert text.lower().count("<script") == 1
    assert not [char for char in text if char != "\n" and not char.isprintable()]
    assert sources(policy, "style-src") == hashes(seen.styles)
    assert sources(policy, "script-src") == hashes(seen.scripts)


def test_the_index_stands_beside_the_runs(tmp_path: Path) -> None:
    """Where a command played several runs, it is in the folder of the run's id; where none left a folder, nowhere."""
    folders = [tmp_path / "run-1" / name for name in ("a", "b")]
    save_index(Suite(tuple(case(folder.name, folder=str(folder)) for folder in folders)))
    assert "a/report.html" in (tmp_path / "run-1" / "index.html").read_text()
    save_index(Suite((case("a", Outcome.UNKNOWN, folder=""), case("b", Outcome.UNKNOWN, folder=""))))
    assert [path.name for path in tmp_path.iterdir()] == ["run-1"]
