"""Scenarios from Python: `run = Testbed().run("hola")`, then asserts on what was seen.

A run gives its verdict, its checks and its connections as values; nothing is raised because a check failed. What kept a
run from a verdict (a wrong file, no lab) is raised as a TestbedError. Runs of one Testbed share labs as those of one
command do; `close` takes down what waits, and so does leaving a `with`.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from testbed.errors import TestbedError
from testbed.files import find_scenario
from testbed.lab.warm import WarmLabs
from testbed.report.cases import Reason, ladder_of, reasons_of
from testbed.session import Done, Job, Options, new_run_id, run_scenario
from testbed.stop import Stop
from testbed.suites.choose import folder_stem
from testbed.tcp import connection as tcp
from testbed.verdict.value import Check, Judgement, Outcome

COMPLETED = frozenset(
    {tcp.HandshakeOutcome.COMPLETE, tcp.HandshakeOutcome.FAST_OPEN, tcp.HandshakeOutcome.SIMULTANEOUS}
)


class SeenHandshake:
    """How a connection opened: all that testbed.tcp.connection.Handshake has, and plain questions."""

    def __init__(self, handshake: tcp.Handshake) -> None:
        self.seen = handshake

    def __getattr__(self, name: str) -> Any:
        return getattr(self.seen, name)

    @property
    def completed(self) -> bool:
        """Whether both ends could send data from then on."""
        return self.seen.outcome in COMPLETED

    @property
    def refused(self) -> bool:
        """Whether the SYN was answered with an RST."""
        return self.seen.outcome is tcp.HandshakeOutcome.REFUSED

    def __repr__(self) -> str:
        return f"<handshake {self.seen.outcome}, packets {list(self.seen.packets)}>"


class SeenTeardown:
    """How a connection closed: all that testbed.tcp.connection.Teardown has, and plain questions."""

    def __init__(self, teardown: tcp.Teardown) -> None:
        self.seen = teardown

    def __getattr__(self, name: str) -> Any:
        return getattr(self.seen, name)

    @property
    def orderly(self) -> bool:
        """Whether both ends closed with FINs and nobody reset."""
        return self.seen.kind in (tcp.TeardownKind.FIN, tcp.TeardownKind.SIMULTANEOUS) and self.seen.reset_by is None

    @property
    def reset(self) -> bool:
        """Whether an RST ended the connection."""
        return self.seen.kind is tcp.TeardownKind.RST

    def __repr__(self) -> str:
        return f"<teardown {self.seen.kind}, packets {list(self.seen.packets)}>"


class SeenConnection:
    """A connection as the wire showed it: all that testbed.tcp.connection.Connection has."""

    def __init__(self, connection: tcp.Connection) -> None:
        self.seen = connection
        self.handshake = SeenHandshake(connection.handshake)
        self.teardown = SeenTeardown(connection.teardown)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.seen, name)

    def __repr__(self) -> str:
        ends = (
            f"{self.seen.client.address}:{self.seen.client.port} > {self.seen.server.address}:{self.seen.server.port}"
        )
        return f"<connection {ends}, {self.seen.conn_state}, {len(self.seen.packets)} packets>"


@dataclass(frozen=True, slots=True)
class Run:
    """A run that came to a verdict."""

    judgement: Judgement
    folder: Path

    @property
    def verdict(self) -> Outcome:
        """passed, failed or unknown; compares equal to these words."""
        return self.judgement.verdict

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return self.verdict is Outcome.PASSED

    @property
    def checks(self) -> tuple[Check, ...]:
        """What the scenario expects, held against what was seen."""
        return self.judgement.checks

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why it did not pass."""
        return reasons_of(self.judgement)

    @property
    def connections(self) -> tuple[SeenConnection, ...]:
        """Every TCP connection, in the order of their first packets."""
        return tuple(map(SeenConnection, self.judgement.connections))

    @property
    def connection(self) -> SeenConnection:
        """The only connection. Raises TestbedError where there is none, or several."""
        if len(self.judgement.connections) != 1:
            raise TestbedError(
                f"{self.name} had {len(self.judgement.connections)} connections and not one", remedy="use connections"
            )
        return self.connections[0]

    @property
    def name(self) -> str:
        """The scenario's name."""
        return self.judgement.evidence.run.scenario

    @property
    def ladder(self) -> str:
        """What a terminal shows of the run: ladder, checks with reasons, files."""
        return ladder_of(self.judgement, str(self.folder))

    def __repr__(self) -> str:
        why = f": {self.reasons[0]}" if self.reasons else ""
        return f"<run {self.name} {self.verdict}{why}>"


@dataclass(slots=True)
class Testbed:
    """Where runs are made: what they have in common, and the labs that they share."""

    __test__ = False  # the name starts with Test; pytest shall not collect it

    backend: str = "auto"
    engine: str = "auto"
    seed: int | None = None
    out: Path = Path("results")
    fresh: bool = False
    runs: list[Run] = field(default_factory=list)  # those made so far
    _stop: Stop = field(default_factory=Stop, repr=False)
    _warm: WarmLabs | None = field(default=None, repr=False)
    _taken: set[str] = field(default_factory=set, repr=False)
    _run_id: str = field(default_factory=new_run_id, repr=False)

    def run(
        self,
        scenario: str | Path,
        *,
        seed: int | None = None,
        family: str | None = None,
        timeout_s: float | None = None,
        changes: Mapping[str, str] | None = None,
    ) -> Run:
        """Play a scenario and judge it: a name as `testbed list` has, or a path.

        `changes` are what `--set` takes: `{"wire.delay": "20ms"}`. Raises TestbedError where no verdict came of it.
        """
        path = find_scenario(str(scenario))
        wanted = self.seed if seed is None else seed
        settings = tuple((changes or {}).items())
        options = Options(
            self.backend, self.engine, self.out, wanted, family, timeout_s, fresh=self.fresh, settings=settings
        )
        done = self._in_thread(Job(path, self._folder_name(path)), options)
        run = Run(done.judgement, done.folder)
        self.runs.append(run)
        return run

    def _folder_name(self, path: Path) -> str:
        stem = folder_stem(path)
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        free = next(name for name in names if name not in self._taken)
        self._taken.add(free)
        return free

    def _in_thread(self, job: Job, options: Options) -> Done:
        """Run it where no signal can strike; Ctrl-C ends the run, takes its lab down and goes on from there."""
        if self._warm is None and not self.fresh:
            self._warm = WarmLabs(self._stop)
        with ThreadPoolExecutor(max_workers=1) as pool:
            ended = pool.submit(run_scenario, job, options, self._run_id, self._stop, lambda words: None, self._warm)
            try:
                return ended.result()
            finally:
                if not ended.done():
                    self._stop.request("the caller")

    def close(self) -> None:
        """Take down the labs that wait. Raises TestbedError where one cannot be."""
        warm, self._warm = self._warm, None
        for error in warm.close(lambda words: None) if warm is not None else ():
            raise error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
