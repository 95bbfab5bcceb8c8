"""Rules of the drawing and the page: well-formed, self-contained, nothing from outside becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from report_builder import HOSTILE, STORIES, Story, crowd, hola, hostile, judge_by_hand, lost_synack

from testbed.evidence import Timing
from testbed.report import cards
from testbed.report import html as page
from testbed.report.html import render_html
from testbed.report.ink import element, write
from testbed.report.svg import render_svg
from testbed.verdict.value import Check, Outcome

EVERY = sorted(STORIES)
SVG = "{http://www.w3.org/2000/svg}"


class Seen(HTMLParser):
    """What a browser would find in a page: elements with attributes, texts of style sheets and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.styles: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "style" and data.strip():
            self.styles.append(data)
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", EVERY)
def test_the_drawing_is_xml(name: str) -> None:
    """Any judgement gives a well-formed SVG whose parts are all on the paper."""
    root = ElementTree.fromstring(render_svg(STORIES[name]()))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert root.tag == f"{SVG}svg"
    for rect in root.iter(f"{SVG}rect"):
        if rect.attrib["width"] != "100%":
            assert 0 <= float(rect.attrib["x"]) <= width - float(rect.attrib["width"])
            assert 0 <= float(rect.attrib["y"]) <= height - float(rect.attrib["height"])
    for line in root.iter(f"{SVG}line"):
        assert all(0 <= float(line.attrib[place]) <= width for place in ("x1", "x2"))
        assert all(0 <= float(line.attrib[place]) <= height for place in ("y1", "y2"))


def test_the_drawing_shows_every_state_of_both_kernels() -> None:
    """Each state that a socket was in has its bar with its name."""
    said = texts(render_svg(hola()))
    for state in ("LISTEN", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "TIME_WAIT", "CLOSE_WAIT", "LAST_ACK", "CLOSE"):
        assert said.count(state) == 1
    assert said.count("ESTABLISHED") == 2


def test_a_closed_socket_has_no_bar_any_more() -> None:
    """The bar of a socket ends shortly after CLOSE; that of a state it is still in goes on to the end."""
    story = Story()
    story.state(0, "client", "LAST_ACK", "CLOSE")
    story.state(0, "server", "CLOSE", "LISTEN", "listener")
    for at in range(5):
        story.send(1 + at, "client", ".", 1, 1)
    rects = list(ElementTree.fromstring(render_svg(judge_by_hand(story))).iter(f"{SVG}rect"))
    heights = {rect.attrib["class"].split()[0]: float(rect.attrib["height"]) for rect in rects[1:]}
    assert heights["CLOSE"] == 19
    assert heights["LISTEN"] > 100


def test_payload_gives_way_to_packets_that_cross() -> None:
    """The payload stands at the far end of its arrow, unless the other side sends something there meanwhile."""
    assert '"Hola server, are you bored?"' in texts(render_svg(hola()))
    story = Story(links=True)
    story.send(0, "client", "P.", 1, 1, payload=b"crossed", took_ms=10)
    story.send(1, "server", ".", 1, 1, took_ms=10)
    assert '"crossed"' not in texts(render_svg(judge_by_hand(story)))


def test_every_arrow_comes_down() -> None:
    """Time goes downwards: also the fastest packet arrives visibly below where it was sent."""
    for line in ElementTree.fromstring(render_svg(hola())).iter(f"{SVG}line"):
        if line.attrib["class"] in {"client", "server"}:
            assert float(line.attrib["y2"]) >= float(line.attrib["y1"]) + 12


def test_parts_of_a_drawing_are_escaped_where_they_are_made() -> None:
    """Texts and attributes are clean XML whoever asks for them."""
    assert ">\\x1b&lt;b&gt;<" in write(0, 0, "\x1b<b>", "dim")
    assert element("g", fill='"\x1b<') == '<g fill="&quot;\\x1b&lt;"/>'


def test_the_drawing_tells_losses_and_waits() -> None:
    """Each lost packet has its cross and its cause; a wait of a second is a marked break."""
    svg = render_svg(lost_synack())
    assert svg.count('class="lost" stroke-width') == 3
    assert {"fault 0: drop SYN-ACK", "behind the wire: chance", "before the wire: link down", "1.014 s later"} <= set(
        texts(svg)
    )


def test_packets_that_crossed_cross_in_the_drawing() -> None:
    """Two SYNs under way at the same time: each leaves above the other's arrival."""
    story = Story(links=True)
    story.send(0, "client", "S", 0, took_ms=10)
    story.send(1, "server", "S", 0, took_ms=10)
    root = ElementTree.fromstring(render_svg(judge_by_hand(story)))
    first, second = (
        (float(line.attrib["y1"]), float(line.attrib["y2"]))
        for line in root.iter(f"{SVG}line")
        if line.attrib["class"] in {"client", "server"}
    )
    assert first[0] < second[0] < first[1] < second[1]


def test_many_rows_are_folded_in_the_drawing() -> None:
    """A hundred connections give a drawing of the usual size that says what it leaves out."""
    svg = render_svg(crowd())
    assert svg.count("<polygon") <= 60
    assert any("more packets" in said for said in texts(svg))


def test_nothing_from_outside_becomes_markup() -> None:
    """Payload, logs, names and causes with markup, escapes and right-to-left marks are shown as text."""
    for text, scripts in ((render_svg(hostile()), 0), (render_html(hostile()), 1)):
        assert text.lower().count("<script") == scripts
        assert "&lt;script&gt;" in text
        assert not [char for char in text if char != "\n" and not char.isprintable()]
    assert HOSTILE not in render_html(hostile())


def sources(policy: str, kind: str) -> set[str]:
    """The hashes that a policy allows for a kind of source."""
    directive = next(part for part in policy.split("; ") if part.startswith(kind))
    return set(re.findall(r"'sha256-([^']+)'", directive))


def hashes(texts: list[str]) -> set[str]:
    return {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}


@pytest.mark.parametrize("name", EVERY)
def test_the_page_allows_its_own_styles_and_script_and_nothing_else(name: str) -> None:
    """The policy lists the hash of each style sheet and of the script; no handler, no inline style, no address."""
    seen = Seen(render_html(STORIES[name]()))
    policy = next(
        attributes["content"]
        for tag, attributes in seen.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert (len(seen.styles), len(seen.scripts)) == (2, 1)
    assert sources(policy, "style-src") == hashes(seen.styles)
    assert sources(policy, "script-src") == hashes(seen.scripts)
    assert "unsafe" not in policy
    assert not {"iframe", "object", "link", "img", "base", "form"} & {tag for tag, _ in seen.elements}
    assert not [name for _, attributes in seen.elements for name in attributes if name == "style" or name[:2] == "on"]
    assert all(target.startswith("#") for target in seen.all("href"))
    assert not seen.all("src")


@pytest.mark.parametrize("name", EVERY)
def test_every_link_has_its_target(name: str) -> None:
    """A check's packets lead to their rows in the table; ids are unique."""
    seen = Seen(render_html(STORIES[name]()))
    ids = seen.all("id")
    assert len(ids) == len(set(ids))
    assert {target[1:] for target in seen.all("href")} <= set(ids)
    assert seen.all("href")


def test_the_page_tells_the_run() -> None:
    """Verdict, checks with their lines, filter, command to run again, logs, table of connections, ledger, link."""
    text = render_html(hola())
    for told in (
        "all 3 checks passed",
        "hola.yaml:12",
        "tcp.port == 7456",
        "testbed run hola --seed 7 --family ipv4",
        "testbed rerun . --out ../..",
    ):
        assert told in text
    for told in ("Got connection from", "0.0.0.0:7456", "LISTEN", "net.ipv4.tcp_syn_retries", "ShADadFf", "6.18.0"):
        assert told in text
    text = render_html(lost_synack())
    assert "drop SYN-ACK from server" in text
    assert "server-&gt;client" in text
    assert "{delay: 10ms}" in text
    assert "lost on arrival: fault 0: drop SYN-ACK" in text


def test_a_long_list_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit only packets that are drawn or pointed at are listed, so that no link leads to nowhere."""
    monkeypatch.setattr(page, "LISTED_PACKETS", 10)
    monkeypatch.setattr(cards, "DISSECTED", 5)
    text = render_html(crowd(40))
    listed = text.count("<details><summary><i>")
    assert 10 < listed <= 10 + 60
    assert f"and {360 - listed} more; all of them are in the run folder." in text
    seen = Seen(text)
    assert {target[1:] for target in seen.all("href")} <= set(seen.all("id"))


def test_long_texts_are_cut_and_say_so() -> None:
    """A text of a million characters does not fill the page."""
    check = Check("c", Outcome.FAILED, "x", "y" * 1_000_000, "z")
    text = render_html(replace(hola(), checks=(check,)))
    assert "... (1000000 characters)" in text
    assert len(text) < 200_000


def test_the_page_is_the_same_when_it_is_made_again() -> None:
    """How long a run took, which is known once the page is written, is not in it: made again it is the same."""
    judgement = lost_synack()
    timed = (*judgement.evidence.records, Timing({"lab_up": 12.5, "total": 20.0}))
    assert render_html(replace(judgement, evidence=replace(judgement.evidence, records=timed))) == render_html(
        judgement
    )
