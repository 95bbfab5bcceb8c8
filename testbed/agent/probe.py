"""What this host's kernel has for a wire: each engine is tried on a device of its own, and nothing is left of it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from testbed.agent.command import CommandRefused, batch, run

TAP, IFB = "probe0", "probe1"
REDIRECTION = (
    ("sch_ingress", "qdisc add dev {0} clsact"),
    ("cls_u32", "filter add dev {0} ingress protocol ip pref 10 u32 match u32 0 0 flowid 1:1"),
    (
        "act_mirred",
        "filter add dev {0} ingress protocol ip pref 10 u32 match u32 0 0 action mirred egress redirect dev {0}",
    ),
)
LANES = (
    ("sch_netem", "qdisc add dev {0} root handle 9: netem delay 1ms"),
    ("sch_prio", "qdisc replace dev {0} root handle 1: prio bands 3"),
    ("sch_netem", "qdisc add dev {0} parent 1:1 handle 11: netem delay 1ms"),
)
BESIDE = "qdisc add dev {0} parent 1:2 handle 12: netem duplicate 1%"
UNKNOWN = ("kind is unknown", "Unknown device type", "not supported", "Unknown qdisc", "No such file or directory")


def probe() -> dict[str, Any]:
    """For each engine `ok`, and `says` why not; `lacks` names what is missing of the kernel.

    `mixes`: whether netem may duplicate in one of several lanes, which some kernels refuse.
    """
    return {"portable": _portable(), "netem": _netem()}


def _portable() -> dict[str, Any]:
    from testbed.agent.link import open_tap

    try:
        tap = open_tap(TAP)
    except OSError as trouble:
        return _judge([("tun", str(trouble.strerror))])
    try:
        return _judge(list(_missing(TAP, REDIRECTION)))
    finally:
        os.close(tap)


def _netem() -> dict[str, Any]:
    with _device() as (name, lacking):
        if lacking and not name:
            return {**_judge(lacking), "mixes": False}
        missing = [*lacking, *_missing(name, LANES), *_missing(name, REDIRECTION)]
        return {**_judge(missing), "mixes": not missing and not list(_missing(name, (("", BESIDE),)))}


@contextlib.contextmanager
def _device() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """An IFB; where there is none, what says so, and a TAP instead if there is one: netem is tried all the same."""
    from testbed.agent.link import open_tap

    try:
        run(["ip", "link", "add", "name", IFB, "type", "ifb"])
    except OSError as refused:
        lacking = [("ifb", _said("ip", refused))]
        try:
            tap = open_tap(TAP)
        except OSError:
            yield "", lacking
            return
        try:
            yield TAP, lacking
        finally:
            os.close(tap)
        return
    try:
        yield IFB, []
    finally:
        run(["ip", "link", "del", "dev", IFB])


def _missing(device: str, pieces: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    """The first piece that tc cannot put there, and what it said."""
    try:
        batch("tc", [line.format(device) for _, line in pieces])
    except CommandRefused as refused:
        yield pieces[max(refused.line - 1, 0)][0], _said("tc", refused)
    except OSError as trouble:
        yield pieces[0][0], _said("tc", trouble)


def _said(program: str, trouble: OSError) -> str:
    if isinstance(trouble, FileNotFoundError):
        return f"{program} is not installed"
    said = trouble.output if isinstance(trouble, CommandRefused) else str(trouble.strerror)
    return f"{program}: {re.sub(r'Command failed -:[0-9]+', '', said).strip()}"


def _judge(missing: list[tuple[str, str]]) -> dict[str, Any]:
    says = "; ".join(
        f"the kernel has no {piece} ({said})" if any(words in said for words in UNKNOWN) else f"no {piece}: {said}"
        for piece, said in missing
    )
    return {"ok": not missing, "says": says, "lacks": [piece for piece, _ in missing]}
