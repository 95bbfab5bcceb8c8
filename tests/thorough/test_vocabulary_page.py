"""docs/vocabulary.md is what the tables say. TESTBED_REWRITE=1 writes it anew."""

from __future__ import annotations

import os
from pathlib import Path

from testbed.tcp.connection import HandshakeOutcome
from testbed.tcp.page import vocabulary_page
from testbed.tcp.vocabulary import VOCABULARIES

PAGE = Path(__file__).parents[2] / "docs" / "vocabulary.md"


def test_page_is_current() -> None:
    """The committed page is the one that the tables make."""
    if os.environ.get("TESTBED_REWRITE"):
        PAGE.write_text(vocabulary_page())
    how = "run: TESTBED_REWRITE=1 python -m pytest tests/thorough/test_vocabulary_page.py"
    assert PAGE.read_text() == vocabulary_page(), how


def test_every_word_is_on_the_page() -> None:
    """No word of any table is left out, and none is without a meaning."""
    page = vocabulary_page()
    for title, words in VOCABULARIES.items():
        assert f"## {title}\n" in page
        for word, says in words.items():
            assert f"| `{word}` | " in page
            assert says
    assert {outcome.value for outcome in HandshakeOutcome} == set(VOCABULARIES["How it opened"])
