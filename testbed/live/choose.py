"""Who watches a run: what `--live`, `--wireshark` and `--pcap` ask for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed.errors import UsageError
from testbed.live.onlooker import Onlooker
from testbed.live.pump import Outlet, Pump
from testbed.terminal import unicode_output

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; `pcap` is a file, or `-` for standard output."""

    live: bool = False
    wireshark: bool = False
    pcap: str = ""
    as_json: bool = False


@contextmanager
def onlooker_of(wanted: Wanted, runs: int) -> Iterator[Onlooker | None]:
    """Who watches, while this lasts; None where nothing was asked for.

    With `--pcap -` what is printed meanwhile goes to standard error. Raises UsageError for what does not go together,
    LabError where there is no Wireshark.
    """
    if not (wanted.live or wanted.wireshark or wanted.pcap):
        yield None
        return
    _check(wanted, runs)
    with ExitStack() as opened:
        outlets: list[Outlet] = []
        if wanted.wireshark:
            from testbed.live.wireshark import wireshark

            outlets.append(opened.enter_context(wireshark()))
        if wanted.pcap:
            outlets.append(opened.enter_context(_pcap(wanted.pcap)))
        if wanted.live:
            outlets.append(_view(sys.stderr if wanted.as_json else sys.stdout))
        yield Pump(outlets)


def _check(wanted: Wanted, runs: int) -> None:
    if runs != 1:
        raise UsageError(
            f"--live, --wireshark and --pcap watch one run, and {runs} were asked for",
            remedy="name one scenario, without --repeat",
        )
    if wanted.pcap == STDOUT and wanted.as_json:
        raise UsageError("--json and --pcap - both write to standard output", remedy="give --pcap a file")
    if wanted.pcap == STDOUT and sys.stdout.isatty():
        raise UsageError(
            "--pcap - would write packets to a terminal",
            remedy="pipe them: testbed run SCENARIO --pcap - | wireshark -k -i -",
        )


def _view(stream: TextIO) -> Outlet:
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        from testbed.live.screen import Screen

        return Screen(stream, unicode=unicode_output())
    from testbed.live.lines import Lines

    return Lines(stream, unicode=unicode_output())


@contextmanager
def _pcap(name: str) -> Iterator[Outlet]:
    from testbed.live.pipe import Pipe

    if name == STDOUT:
        with _standard_output() as descriptor:
            yield Pipe(descriptor, lambda error: f"nobody reads the packets any more ({error.strerror})")
        return
    try:
        file = Path(name).open("wb", buffering=0)  # noqa: SIM115 (closed below)
    except OSError as error:
        raise UsageError(f"--pcap {name}: {error.strerror}", remedy="give a file that can be written") from error
    with file:
        yield Pipe(file.fileno(), lambda error: f"{name} cannot be written: {error.strerror}")


@contextmanager
def _standard_output() -> Iterator[int]:
    """The descriptor of standard output; what is printed while this lasts goes to standard error."""
    sys.stdout.flush()
    packets = os.dup(1)
    os.dup2(2, 1)
    try:
        yield packets
    finally:
        sys.stdout.flush()
        os.dup2(packets, 1)
        os.close(packets)
