"""This machine's own apt sources, as text that mmdebstrap takes: Debian's or Ubuntu's own archives and nothing else.

Reads both formats of sources.list(5): one-line entries and deb822 stanzas. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ONE_LINE = re.compile(r"^deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+?)\s*$")


def codename(os_release: str) -> str | None:
    """VERSION_CODENAME of os-release(5)."""
    match = re.search(r"^VERSION_CODENAME=\"?([\w-]+)\"?$", os_release, re.MULTILINE)
    return match[1] if match else None


def distribution_sources(texts: Iterable[str], release: str) -> str:
    """The entries of the distribution's own archive for a release, in one format: deb822 if any is, else one-line."""
    stanzas: list[str] = []
    lines: list[str] = []
    for text in texts:
        if re.search(r"^(Types|URIs):", text, re.MULTILINE):
            stanzas += [stanza for stanza in _stanzas(text) if _is_ours(_field(stanza, "Suites"), stanza, release)]
        else:
            lines += [line for line in text.splitlines() if _line_is_ours(line, release)]
    return "\n\n".join(stanzas) + "\n" if stanzas else "".join(f"{line}\n" for line in lines)


def _stanzas(text: str) -> list[str]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [stanza.strip() for stanza in re.split(r"\n\s*\n", kept) if stanza.strip()]


def _field(stanza: str, name: str) -> str:
    match = re.search(rf"^{name}:\s*(.+)$", stanza, re.MULTILINE)
    return match[1] if match else ""


def _is_ours(suites: str, stanza: str, release: str) -> bool:
    enabled = _field(stanza, "Enabled").lower() != "no"
    ours = any(suite == release or suite.startswith(f"{release}-") for suite in suites.split())
    return (
        enabled and ours and "deb" in _field(stanza, "Types").split() and "main" in _field(stanza, "Components").split()
    )


def _line_is_ours(line: str, release: str) -> bool:
    match = _ONE_LINE.match(line)
    if match is None:
        return False
    suite = match["suite"]
    return (suite == release or suite.startswith(f"{release}-")) and "main" in match["components"].split()
