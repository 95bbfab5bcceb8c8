"""A run on a terminal: hosts with their steps and sockets on top, below them what happened last. Gone when it ends."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from testbed.evidence import Evidence, FaultFired, HostFacts, ProgramEnd, Record, StateSample, StepOutcome
from testbed.live.telling import Teller, Told, line_of, told_once
from testbed.pcap.frame import Frame
from testbed.plan import SNIFFER
from testbed.report.escape import cells, clean, clip
from testbed.report.style import STYLES, Line, fit
from testbed.terminal import CLEAR_LINE

REFRESH_S = 0.1
SOCKETS = 3  # of each host, the ones that changed last
REMEMBERED = 200


@dataclass(slots=True)
class HostView:
    """What is known of a host now."""

    address: str
    step: str = "playing"
    sockets: dict[str, str] = field(default_factory=dict)  # the state of each, the last that changed at the end

    def changed(self, sample: StateSample) -> None:
        """A socket is in another state."""
        self.sockets.pop(sample.socket, None)
        self.sockets[sample.socket] = sample.after

    def words(self) -> str:
        """`connect ok, ESTABLISHED`."""
        return ", ".join([self.step, *list(self.sockets.values())[-SOCKETS:]])


class Screen:
    """Draws on a terminal, ten times a second at most."""

    def __init__(self, stream: TextIO, *, unicode: bool) -> None:
        self._console = Console(file=stream, highlight=False)
        self._unicode = unicode
        self._live: Live | None = None
        self._title = ""
        self._hosts: dict[str, HostView] = {}
        self._teller = Teller({})
        self._last: deque[Told] = deque(maxlen=REMEMBERED)
        self._origin_ns: int | None = None
        self._is_told: Callable[[Frame], bool] = lambda frame: False
        self._packets = self._faults = 0
        self._drawn_s = 0.0
        self._changed = True

    def begin(self, so_far: Evidence) -> None:
        """A run: its hosts, and nothing that happened."""
        facts = [one for one in so_far.all(HostFacts) if one.role != SNIFFER]
        self._hosts = {one.host: HostView(one.address) for one in facts}
        self._teller = Teller({one.address: one.host for one in facts}, unicode=self._unicode)
        self._title = clean(so_far.run.scenario, unicode=self._unicode)
        self._is_told = told_once(so_far)
        self._last.clear()
        self._origin_ns, self._packets, self._faults, self._changed = None, 0, 0, True
        self._console.file.write(CLEAR_LINE)  # where the progress stood
        self._live = Live(
            console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._live.start()
        self._draw()

    def frame(self, frame: Frame) -> None:
        """A packet, once."""
        if self._is_told(frame) and (told := self._teller.frame(frame)):
            self._packets += 1
            self._tell(told)

    def record(self, record: Record) -> None:
        """What a host told."""
        match record:
            case StateSample() if record.host in self._hosts:
                self._hosts[record.host].changed(record)
            case StepOutcome() if record.host in self._hosts:
                self._hosts[record.host].step = " ".join(filter(None, (record.step, record.outcome, record.errno)))
            case ProgramEnd() if record.host in self._hosts:
                self._hosts[record.host].step = "holds its sockets" if record.held else "ended"
            case FaultFired():
                self._faults += 1
        if told := self._teller.record(record):
            self._tell(told)

    def _tell(self, told: Told) -> None:
        if self._origin_ns is None:
            self._origin_ns = told.time_ns
        self._last.append(told)
        self._changed = True

    def refresh(self) -> None:
        """Draw what changed, unless that was done just now."""
        if self._changed and time.monotonic() - self._drawn_s >= REFRESH_S:
            self._draw()

    def end(self) -> None:
        """A last look, and away: the report follows."""
        if self._live:
            self._draw()
            self._live.stop()
        self._live = None

    def abandon(self) -> None:
        """Nobody is waited for."""

    def _draw(self) -> None:
        if self._live:
            wide = self._console.width
            lines = [fit(line, wide) for line in self._lines(wide, self._console.height - 1)]
            texts = [Text.assemble(*((text, STYLES[style]) for text, style in line)) for line in lines]
            self._live.update(Group(*texts), refresh=True)
        self._drawn_s, self._changed = time.monotonic(), False

    def _lines(self, wide: int, high: int) -> list[Line]:
        faults = f"{self._faults} fault{'s' * (self._faults != 1)}"
        counted = f"{self._packets} packets on the wire, {faults}"
        top: list[Line] = [((self._title, "bold"), (f"  {counted}", "dim"))]
        column = max((cells(name) for name in self._hosts), default=0)
        for name, host in self._hosts.items():
            words = clip(clean(host.words(), unicode=self._unicode), wide - column - len(host.address) - 4)
            top.append(((f"{name:<{column}}  ", "bold"), (f"{host.address}  ", "dim"), (words, "")))
        room = max(high - len(top) - 1, 0)
        told = list(self._last)[-room:] if room else []
        return [*top, (), *(line_of(one, self._origin_ns or 0) for one in told)]
