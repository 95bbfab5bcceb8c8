"""docs/vocabulary.md, made from the tables: every word of the analysis, its meaning, and where a rule is written."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.tcp.audit import RULES
from testbed.tcp.vocabulary import VOCABULARIES

AUDIT = "Rules of the audit"
INTRODUCTION = """\
# What the words mean

`testbed analyze`, checks and reports use these words. This page is made from the tables in `testbed/tcp`; a test holds
them together. Our own words say what really happened; Zeek's and Wireshark's are what those tools would print, also
where a forged or stray packet misleads them, and then the audit says why.
"""


def vocabulary_page() -> str:
    """The page as Markdown."""
    return "\n".join([INTRODUCTION, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    for title, words in VOCABULARIES.items():
        written = title == AUDIT
        yield f"## {title}\n"
        yield "| word | meaning | written in |" if written else "| word | meaning |"
        yield "|---|---|---|" if written else "|---|---|"
        for word, says in words.items():
            row = f"| `{word}` | {_cell(says)} |"
            yield f"{row} {_cell(RULES[word].section)} |" if written else row
        yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
