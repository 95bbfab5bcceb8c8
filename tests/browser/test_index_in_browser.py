"""The index of a suite as a browser shows it: filtered by words and verdicts, sorted by columns, links that lead on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.report.cases import Case, Reason, Suite
from testbed.report.index import render_index
from testbed.verdict.value import Outcome

from .conftest import WIDTH, Browser

pytestmark = pytest.mark.browser

RUN = "20261121-000000-abcdef"
NAMES = "return [...document.querySelectorAll('#runs tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].innerText)"
LONG = "the connection has handshake.outcome refused instead of complete: packet 5 at 0.010 s on wire is RST " * 4


def suite() -> Suite:
    """Runs of all kinds: passed, flaky, failed, unknown, not run."""

    def case(name: str, verdict: Outcome, seconds: float, *says: str, **more: object) -> Case:
        folder = "" if more.get("not_run") else f"results/{RUN}/{name}"
        reasons = tuple(Reason("handshake.outcome", one) for one in says)
        file, again = f"scenarios/seeds/{name}.yaml", f"testbed run {name} --seed 7"
        made = Case(name, name, file, verdict, reasons, seconds, 7, "netns", "portable", folder, again)
        return replace(made, **more)  # type: ignore[arg-type]

    earlier = (case("sometimes", Outcome.FAILED, 1.0, "no"),)
    return Suite(
        (
            case("alright", Outcome.PASSED, 0.5),
            case("sometimes", Outcome.PASSED, 2.25, earlier=earlier),
            case("broken", Outcome.FAILED, 10.5, LONG, "second", "third", "fourth"),
            case("unseen", Outcome.UNKNOWN, 1.5, "unknown: the capture dropped 3 packets"),
            case("skipped", Outcome.UNKNOWN, 0.0, not_run="not applicable: needs Linux 6.5"),
        ),
        run_id=RUN,
        started="2026-11-21T00:00:00",
        seconds=14.8,
        jobs=2,
    )


def names(browser: Browser) -> list[str]:
    return [text.split("\n")[0] for text in browser.run(NAMES)]


def test_the_index(browser: Browser) -> None:
    """Worst first; by seconds and back; by a word; without what passed. The console is silent, nothing is fetched."""
    address = browser.open("index", render_index(suite()))
    assert browser.complaints() == []
    assert browser.requests() == [address]
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH
    assert names(browser) == ["broken", "unseen", "sometimes", "alright", "skipped"]
    for scheme in ("light", "dark"):
        browser.theme(scheme)
        browser.screenshot(f"index-{scheme}")
    seconds = browser.driver.find_elements("css selector", "#runs th button")[2]
    seconds.click()
    assert names(browser) == ["skipped", "alright", "unseen", "sometimes", "broken"]
    seconds.click()
    assert names(browser) == ["broken", "sometimes", "unseen", "alright", "skipped"]
    find = browser.driver.find_element("css selector", "#tools input[type=search]")
    find.send_keys("dropped")
    assert names(browser) == ["unseen"]
    find.clear()
    find.send_keys("seeds")
    browser.driver.find_element("css selector", "#tools input[value=passed]").click()
    assert names(browser) == ["broken", "sometimes", "unseen", "skipped"]
    link = browser.driver.find_element("link text", "broken")
    assert (link.get_attribute("href") or "").endswith("/broken/report.html")


def test_the_index_without_script(browser: Browser) -> None:
    """It is a table of all runs then, and has no tools that do nothing."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.open("index-unscripted", render_index(suite()))
    rows = browser.driver.find_elements("css selector", "#runs tbody tr")
    assert [row.text.split()[0] for row in rows] == ["failed", "unknown", "flaky", "passed", "not"]
    assert not browser.driver.find_element("css selector", "#tools").is_displayed()
