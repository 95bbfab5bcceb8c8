"""Reports as a browser shows them: no error, nothing fetched, every packet by keyboard, in print and unscripted."""

from __future__ import annotations

import base64

import pytest

from testbed.report.html import render_html
from testbed.report.ladder import PacketRow, climb, fold
from testbed.verdict.value import Judgement

from .conftest import WIDTH, Browser
from .page_stories import SMALL, STORIES, STORM, failing, lost_synack, plain, storm

pytestmark = pytest.mark.browser

TAB, ENTER, DOWN, ESCAPE = "\ue004", "\ue007", "\ue015", "\ue00c"  # as WebDriver writes keys
MIB = 1024 * 1024
FOCUS = "return document.activeElement.getAttribute('href') || document.activeElement.tagName"
SHOWN = "return [...document.querySelectorAll('#ladder a.row')].filter(r => r.getClientRects().length).length"


def packets(judgement: Judgement) -> list[PacketRow]:
    return [row for row in climb(judgement).rows if isinstance(row, PacketRow)]


def show(browser: Browser, name: str) -> Judgement:
    judgement = STORIES[name]()
    browser.open(name, render_html(judgement))
    return judgement


@pytest.mark.parametrize("name", sorted(STORIES))
def test_nothing_is_wrong_and_nothing_is_fetched(browser: Browser, name: str) -> None:
    """The console is silent, the one request is for the file itself, and 1280 pixels are wide enough."""
    address = browser.open(name, render_html(STORIES[name]()))
    assert browser.complaints() == []
    assert browser.requests() == [address]
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH
    for scheme in ("light", "dark"):
        browser.theme(scheme)
        assert browser.screenshot(f"{name}-{scheme}", most=3000).stat().st_size > 20_000


def test_what_is_wrong_would_be_seen(browser: Browser) -> None:
    """A script that is not ours is refused, a picture from elsewhere is not fetched, and both are complained of."""
    added = '<script>document.title="owned"</script><img src="http://127.0.0.1:9/x.png">'
    browser.open("spoiled", render_html(plain()).replace("<main>", f"<main>{added}"))
    complaints = browser.complaints()
    assert len(complaints) == 2
    assert all("Content Security Policy" in complaint for complaint in complaints)
    assert browser.driver.title == "passed: story"


@pytest.mark.parametrize("name", SMALL)
def test_every_packet_by_keyboard(browser: Browser, name: str) -> None:
    """Tab comes by every packet of the ladder and every line of the list; Enter opens a line."""
    judgement = show(browser, name)
    wanted = {f"#p{row.number}" for row in packets(judgement)}
    browser.run("document.getElementById('in-raw').focus()")
    drawn, opened = set(), 0
    for _ in range(400):
        browser.press(TAB)
        focused = browser.run(FOCUS)
        if browser.run("return document.activeElement.matches('#ladder a.row')"):
            drawn.add(focused)
        if browser.run("return document.activeElement.matches('.packets summary')"):
            browser.press(ENTER)
            opened += browser.run("return document.activeElement.parentElement.open")
        if focused == "BODY":
            break
    assert drawn == wanted
    assert opened == len(wanted)
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH  # also with all of it open


def test_every_packet_of_a_storm_by_keyboard(browser: Browser) -> None:
    """Each of its packets has a line that the keyboard comes by, and Tab goes from one to the next."""
    rows = packets(show(browser, "storm"))
    assert len(rows) == 8 * STORM
    lines = "[...document.querySelectorAll('.packets details > summary')]"
    assert browser.run(f"return {lines}.filter(line => line.tabIndex === 0).length") == len(rows)
    missing = "return arguments[0].filter(number => !document.getElementById('p' + number)).length"
    assert browser.run(missing, [number for row in rows for number in row.numbers]) == 0
    browser.run(f"{lines}[4000].focus()")
    browser.press(TAB, TAB)
    assert browser.run(f"return {lines}.indexOf(document.activeElement)") == 4002


def test_a_storm_opens_at_once(browser: Browser, capsys: pytest.CaptureFixture[str]) -> None:
    """Its report has less than 5 MB; how long it takes to load is told."""
    html = render_html(storm())
    size = len(html.encode())
    assert size < 5_000_000
    browser.open("storm", html)
    took = browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd")
    with capsys.disabled():
        print(f"\nreport of {STORM} connections: {size / MIB:.2f} MiB, loaded in {took / 1000:.2f} s")


def test_the_inspector_follows_the_focus(browser: Browser) -> None:
    """A packet that has the focus is shown whole: layers, bytes; the arrow keys go on, Escape closes."""
    rows = packets(show(browser, "lost-synack"))
    browser.run("document.getElementById('in-raw').focus()")
    browser.press(TAB)
    text = "return document.getElementById('inspector').innerText"
    hidden = "return document.getElementById('inspector').hidden"
    assert browser.run(text).startswith(f"packet {rows[0].number}: S seq 0")
    browser.press(DOWN)
    second = browser.run(text)
    assert second.startswith(f"packet {rows[1].number}: S. seq 0 ack 1")
    for told in ("fault 0: drop SYN-ACK", "sequence 0 (5000)", "Sent again as packet", "sport", "7456", "0000 "):
        assert told in second
    browser.screenshot("inspector")
    browser.press(ESCAPE)
    assert browser.run(hidden) is True
    assert browser.complaints() == []


def test_the_switches(browser: Browser) -> None:
    """One drawing is seen at a time, and numbers in one notation."""
    judgement = show(browser, "lost-synack")
    drawn = [row for row in fold(climb(judgement).rows) if isinstance(row, PacketRow)]
    seen = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length > 0)"
        ".map(e => e.textContent)"
    )
    assert browser.run(SHOWN) == len(drawn)
    assert "S seq 0 win 65535" in browser.run(seen, ".time text.relative")
    assert browser.run(seen, ".even text") == browser.run(seen, "text.absolute") == []
    browser.run("document.getElementById('by-order').click(); document.getElementById('in-raw').click()")
    assert browser.run(SHOWN) == len(drawn)
    assert "S seq 1000 win 65535" in browser.run(seen, ".even text.absolute")
    assert browser.run(seen, ".time text") == browser.run(seen, "text.relative") == []
    browser.screenshot("lost-synack-even-absolute", most=2000)


def test_without_script(browser: Browser) -> None:
    """All is there: a packet of a check leads to its line, which opens; tools that need the script are not shown."""
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.open("unscripted", render_html(failing()))
    assert browser.complaints() == []
    link = browser.driver.find_element("css selector", ".trouble a")
    number = link.text
    link.click()
    target = browser.driver.find_element("css selector", f".packets details:has(#p{number})")
    assert target.get_attribute("open") is not None
    assert "sport" in target.text
    for tool in ("#tools", "#inspector"):
        assert not browser.driver.find_element("css selector", tool).is_displayed()
    browser.screenshot("unscripted", most=3000)


def test_in_print(browser: Browser) -> None:
    """A4 across: the ladder and the lines are on paper, the switches are not, and the dark is not."""
    browser.open("printed", render_html(lost_synack()))
    browser.theme("dark")
    printed = browser.command("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)
    path = browser.keep("printed.pdf", printed["data"])
    assert base64.b64decode(printed["data"])[:5] == b"%PDF-"
    assert path.stat().st_size > 20_000
    browser.command("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.run("return getComputedStyle(document.querySelector('.switches')).display") == "none"
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.command("Emulation.setEmulatedMedia", media="", features=[])


def test_the_list_is_filtered(browser: Browser) -> None:
    """Words leave the lines that have all of them."""
    rows = packets(show(browser, "lost-synack"))
    browser.driver.find_element("css selector", "#tools input").send_keys("lost server")
    shown = browser.run("return [...document.querySelectorAll('.packets details')].filter(e => !e.hidden).length")
    assert shown == sum(row.lost is not None for row in rows) == 1
    assert browser.run("return document.querySelector('#tools output').textContent") == f"1 of {len(rows)}"
