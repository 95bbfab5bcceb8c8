"""What `testbed doctor` makes of what it finds: a row for each ability, a remedy for each that is missing."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.errors import LabError
from testbed.lab import abilities, doctor

FINE = {"ok": True, "says": "", "lacks": []}
NO_NETEM = {"ok": False, "says": "the kernel has no sch_netem (tc: ...)", "lacks": ["sch_netem"], "mixes": False}
NO_IFB = {"ok": False, "says": "the kernel has no ifb (ip: ...)", "lacks": ["ifb"], "mixes": False}
NO_TUN = {"ok": False, "says": "no tun: Permission denied", "lacks": ["tun"]}
NETEM = {**FINE, "mixes": True}
CHOICE = {"engine": False, "compose": False, "netns": True, "tun": True, "netem": True}


@pytest.mark.parametrize(
    ("probed", "missing", "remedy"),
    [
        ({"portable": FINE, "netem": NETEM}, [], ""),
        ({"portable": FINE, "netem": NO_NETEM}, ["netem"], "`modprobe -a sch_netem`"),
        ({"portable": FINE, "netem": NO_IFB}, ["ifb", "netem"], "`modprobe -a ifb`"),
        ({"portable": NO_TUN, "netem": NETEM}, ["tun"], "`chmod 666 /dev/net/tun`"),
    ],
)
def test_each_missing_piece_has_its_row_and_remedy(
    monkeypatch: pytest.MonkeyPatch, probed: dict[str, Any], missing: list[str], remedy: str
) -> None:
    """On another machine's engine the rows say so."""
    monkeypatch.setattr(abilities, "probe_wire", lambda: probed)
    rows = doctor._wire("; elsewhere")
    assert [row.name for row in rows] == ["tun", "ifb", "netem"]
    assert [row.name for row in rows if not row.ok] == missing
    assert all(row.says.endswith("; elsewhere") for row in rows)
    assert all((remedy in row.remedy) if not row.ok else not row.remedy for row in rows)


def test_where_there_are_no_namespaces_nothing_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the rows say why."""

    def refuse() -> Any:
        raise LabError("this machine does not let us make a user namespace")

    monkeypatch.setattr(abilities, "probe_wire", refuse)
    assert [(row.name, row.remedy) for row in doctor._wire("")[1:]] == [
        ("ifb", "mend netns above"),
        ("netem", "mend netns above"),
    ]


@pytest.mark.parametrize(
    ("there", "backend", "wire"),
    [
        ({}, "netns", "by netem, by portable where there are faults"),
        ({"netem": False}, "netns", "by the portable engine"),
        ({"tun": False}, "netns", "by netem, and faults cannot be had"),
        ({"netem": False, "tun": False}, "netns", "cannot be impaired"),
        ({"engine": True, "compose": True, "netns": False}, "compose", "by netem"),
        ({"engine": True}, "no backend", "by netem"),
        ({"netns": False}, "no backend", "by netem"),
    ],
)
def test_what_a_run_would_choose(there: dict[str, bool], backend: str, wire: str) -> None:
    """The backend by the engine, the wire's engine by the kernel."""
    assert backend in doctor._backend(CHOICE | there).says
    assert wire in doctor._impairing(CHOICE | there).says
