"""What a peer sends is shown, and obeyed by nothing: markup, escapes, a mebibyte, every byte; in every output."""

from __future__ import annotations

import json
from functools import cache
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from verdict_story import HOLA, Story

from testbed.outputs import drawings, result_file
from testbed.pcap.reader import read_capture
from testbed.report.cases import Suite, case_of
from testbed.report.escape import clean
from testbed.report.html import render_html
from testbed.report.junit import junit_xml
from testbed.report.text import plain, render_text
from testbed.verdict.value import Judgement, Outcome

SEGMENT = 1024
PAYLOADS = {
    "markup": b"<script>alert(1)</script><img src=x onerror=alert(1)>]]>&amp;",
    "escapes": b"\x1b[2J\x1b]0;owned\x07\x9b31m\r\n\x00",
    "every byte": bytes(range(256)),
    "1 MiB": bytes(range(256)) * 4096,
}


@cache
def judged(name: str) -> Judgement:
    """The client sends it, and logs it; a check that expects something else fails and quotes what came."""
    payload = PAYLOADS[name]
    story = Story({"expect": {"payload": {"client->server": HOLA.decode()}}})
    story.open()
    for at, start in enumerate(range(0, len(payload), SEGMENT)):
        story.tcp(10 + at / 10, "client", "P.", 1 + start, 1, payload[start : start + SEGMENT])
    story.play()
    story.log("server", payload[:4096].decode("latin-1"))
    return story.judge()


def harmless(text: str) -> bool:
    """Whether no line of a text has a character that a terminal or a page obeys."""
    return all(line == clean(line) for line in text.split("\n"))


class Tags(HTMLParser):
    """The elements of a page and their attributes' names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize("name", PAYLOADS)
def test_html(name: str) -> None:
    """One script, ours; no picture, no handler; nothing invisible; of a mebibyte a page of bearable size."""
    text = render_html(judged(name))
    seen = Tags(text).seen
    assert [tag for tag, _ in seen].count("script") == 1
    assert not [tag for tag, names in seen if tag == "img" or any(one.startswith("on") for one in names)]
    assert harmless(text)
    assert len(text) < 3_000_000
    if name == "markup":
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "3c 73  63 72 69 70 74 3e" in text  # and in the bytes of the frame


@pytest.mark.parametrize("name", PAYLOADS)
def test_terminal(name: str) -> None:
    """No line moves the cursor."""
    assert harmless(plain(render_text(judged(name), width=100, unicode=True)))


@pytest.mark.parametrize("name", PAYLOADS)
def test_json(name: str) -> None:
    """The result is JSON, and its text has no control character, since JSON escapes them."""
    text = result_file(judged(name))["result.json"].decode()
    told = json.loads(text)
    check = next(check for check in told["checks"] if check["name"] == "payload.client->server")
    assert check["verdict"] == Outcome.FAILED
    assert not [char for char in text if char < " " and char != "\n"]
    assert len(text) < 100_000


@pytest.mark.parametrize("name", PAYLOADS)
def test_junit(name: str) -> None:
    """The document is XML with one failure, its texts harmless."""
    judgement = judged(name)
    case = case_of("x", judgement, folder="f", again="testbed run x", seconds=1.0, exit_code=1)
    root = ElementTree.fromstring(junit_xml(Suite((case,))))
    assert len(list(root.iter("failure"))) == 1
    assert all(harmless(text) for text in root.itertext())


@pytest.mark.parametrize("name", PAYLOADS)
def test_pcapng(name: str) -> None:
    """Comments are harmless, and the packets hold every byte as it was."""
    capture = read_capture(drawings(judged(name))["trace.pcapng"])
    comments = [comment for frame in capture.frames for comment in frame.comments]
    assert any("payload.client->server failed" in comment for comment in comments)
    assert all(harmless(comment) and "\n" not in comment for comment in comments)
    wire = [one.name for one in capture.interfaces].index("wire")
    assert b"".join(frame.data[54:] for frame in capture.frames if frame.interface == wire) == PAYLOADS[name]
