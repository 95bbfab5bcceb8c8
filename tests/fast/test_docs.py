"""The pages that people read: their links lead somewhere, and the error texts they quote are those that are printed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted((ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md"))))
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
ELSEWHERE = ("https:", "http:", "mailto:")
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"


def name(path: Path) -> str:
    """A page's name in the checkout."""
    return str(path.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its code."""
    return re.sub(r"`[^`\n]*`", "``", FENCE.sub("", page.read_text(encoding="utf-8")))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What headings can be linked to by: small letters, hyphens for spaces, without punctuation."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+?) *#*$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles)
    found: list[str] = []
    for title in plain:
        slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{sum(one.startswith(slug) for one in found)}")
    return frozenset(found) | frozenset(re.findall(r'<a (?:id|name)="([^"]+)"', text))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link inside the project is a file that is there, and its anchor one of that page's headings."""
    broken = []
    for link in LINK.findall(prose(page)):
        if link.startswith(ELSEWHERE):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and (file.suffix != ".md" or anchor not in anchors(file))):
            broken.append(link)
    assert not broken


def test_every_page_can_be_found() -> None:
    """Who begins at README comes to every page of docs/ by links; decisions are found as a folder."""
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(prose(page)) if not link.startswith(ELSEWHERE))
        ahead += [file for link in links if link and (file := (page.parent / link).resolve()).is_file()]
    lost = {name(page) for page in (ROOT / "docs").glob("*.md")} - {name(page) for page in seen}
    assert not lost


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.svg")), ids=name)
def test_drawings_can_be_read_by_day_and_by_night(page: Path) -> None:
    """A drawing is XML, has a title for those who cannot see it, and colours for a dark page."""
    text = page.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert "prefers-color-scheme: dark" in text or "prefers-color-scheme:dark" in text


# --- quoted errors ---


@cache
def sources() -> tuple[str, ...]:
    """The modules of the testbed, with each text on one line: what Python joins is joined."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "testbed").rglob("*.py"))
    return tuple(re.sub(r'"\s*\n\s*f?"', "", text) for text in texts)


def quotes() -> list[str]:
    """What docs/troubleshooting.md quotes, line by line."""
    text = TROUBLESHOOTING.read_text(encoding="utf-8")
    blocks = re.findall(r"^```text\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines()]


def is_printed(quote: str) -> bool:
    """Whether the quote's words, in order and with anything for each <...>, stand in one text of the code."""
    words = [part for part in re.split(r"<[^<>]+>", quote) if part.strip()]
    pattern = re.compile("[^\n]*".join(map(re.escape, words)))
    return any(words[0] in text and pattern.search(text) for text in sources())


@pytest.mark.parametrize("quote", quotes(), ids=lambda quote: str(quote)[:40])
def test_quoted_errors_are_those_of_the_code(quote: str) -> None:
    """Who searches for what was printed finds the page."""
    assert is_printed(quote)


def test_there_are_quotes_and_wrong_ones_are_noticed() -> None:
    """The page is read as it is meant."""
    assert len(quotes()) >= 20
    assert not is_printed("no Docker motor answers at <address>")
    assert not is_printed("answers at <address> no Docker engine")
