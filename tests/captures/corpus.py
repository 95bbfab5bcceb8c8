"""The corpus as a list of cases, and what of an analysis differs from what a case expects.

`expected.json` is compared key by key with what `testbed analyze --json` says; a key that it does not name may be
anything. Lists of rules stand for findings: `audit` are the rules that an end broke for sure, `doubts` those where it
only seems so, `artefacts` what the capture fails to show, `notes` what is allowed and out of the ordinary.

* `connections`: as in the analysis, in order, all of them
* `skipped`: frames passed over, by reason; none where it is missing
* `warned`: whether the file could not be read to its end
"""

from __future__ import annotations

import json
import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.analyze import analysis_json, analyze_capture

FOLDER = Path(__file__).parent
FORMS = ("capture.pcap", "capture.pcapng")

Json = dict[str, Any]

_LISTS = {"capture": "artefacts", "note": "notes"}  # by a finding's kind; a breach is known for sure, or doubted


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        """What happened."""
        return self.folder.name

    @property
    def capture(self) -> Path:
        """The committed capture."""
        (path,) = (self.folder / form for form in FORMS if (self.folder / form).exists())
        return path

    @property
    def expected(self) -> Json:
        """What is right to say of it."""
        content: Json = json.loads((self.folder / "expected.json").read_text())
        return content

    def make(self) -> bytes:
        """The capture, made anew."""
        made: bytes = runpy.run_path(str(self.folder / "make.py"))["capture"]
        return made

    def told(self, *, columns: bool = False) -> Json:
        """What `testbed analyze --json` says of the committed capture, the careful or the fast way."""
        analysis = analyze_capture(self.capture.read_bytes(), self.name, columns=columns)
        content: Json = json.loads(analysis_json(analysis))
        for told, connection in zip(content["connections"], analysis.connections, strict=True):
            for finding, value in zip(told["audit"], connection.audit, strict=True):
                finding.setdefault("kind", value.kind.value)  # in case that the JSON does not say it
        return content


CASES = [Case(path.parent) for path in sorted(FOLDER.glob("*/make.py"))]


def differences(expected: Json, told: Json) -> list[str]:
    """Each key that differs, as `path: expected x, told y`."""
    ours = {
        "skipped": told["skipped"],
        "warned": bool(told["warnings"]),
        "connections": [_with_rules(connection) for connection in told["connections"]],
    }
    return list(_differ("", {"skipped": {}, "warned": False, **expected}, ours))


def _with_rules(connection: Json) -> Json:
    """A connection with rules instead of findings."""
    rules: dict[str, set[str]] = {"audit": set(), "doubts": set(), "artefacts": set(), "notes": set()}
    for finding in connection["audit"]:
        rules[_LISTS.get(finding["kind"], "audit" if finding["sure"] else "doubts")].add(finding["rule"])
    return {**connection, **{name: sorted(found) for name, found in rules.items()}}


def _differ(path: str, expected: Any, told: Any) -> list[str]:
    if isinstance(expected, dict) and isinstance(told, dict) and path != "skipped":
        below = [(key, value, told.get(key, "nothing")) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(told, list) and len(expected) == len(told) and path == "connections":
        below = [(str(index), one, other) for index, (one, other) in enumerate(zip(expected, told, strict=True))]
    elif expected == told:
        return []
    else:
        return [f"{path}: expected {_short(expected)}, told {_short(told)}"]
    return [line for key, one, other in below for line in _differ(f"{path}.{key}".lstrip("."), one, other)]


def _short(value: Any) -> str:
    return f"{len(value)} of them" if isinstance(value, list) and value and isinstance(value[0], dict) else repr(value)
