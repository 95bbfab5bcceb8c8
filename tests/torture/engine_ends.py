"""An engine that is stopped in the middle of a run and started again: of our own, beside the one of this machine.

    a network namespace, with a mount and a pid namespace
     |-- docker-init: all of it ends with this
     `-- dockerd, stopped with SIGTERM or SIGKILL and started again; its containers may outlive it meanwhile

SIGTERM is how a service manager stops an engine: it stops its containers first. SIGKILL leaves them running, and the
next dockerd finds them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from command_driver import PATIENCE_S, read_until, running, testbed
from kills import look
from meddling import children
from swarm_pair import _CHILDREN, Engine, _path, _run, why_not
from unknowns import write_scenario

SIGNALS = {"stopped": signal.SIGTERM, "killed": signal.SIGKILL}
INIT = "docker-init"
STOPPING_S = 60.0


def why_none() -> str:
    """Why there can be no further engine here; empty where there can."""
    return why_not() or ("" if shutil.which(INIT, path=_path()) else f"{INIT} is not installed")


class LoneEngine(Engine):
    """An engine whose daemon can be ended alone."""

    __slots__ = ("_daemon", "_init")

    def start(self, *, tied: bool = True) -> None:
        """Start what holds its namespaces, then its daemon; both end with this process."""
        self.folder.mkdir(parents=True)
        init = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--"),
                *("nsenter", f"--net=/run/netns/{self.namespace}", "--"),
                *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
                *(INIT, "--", "sleep", "infinity"),
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PATH": _path()},
        )
        (self.folder / "keeper").write_text(str(init.pid))
        _CHILDREN[init.pid] = init
        while not (found := [pid for pid in children(init.pid) if _name(pid) == INIT]):
            time.sleep(0.01)
        self._init = found[0]
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start dockerd; returns before it answers."""
        self._daemon = self.launch("nsenter", f"--target={self._init}", "--mount", "--pid", "--net", "--")

    def end_daemon(self, number: signal.Signals) -> None:
        """End dockerd alone, and wait for its end."""
        for pid in children(self._daemon.pid):
            os.kill(pid, number)
        self._daemon.wait(STOPPING_S)

    def kill(self) -> None:
        """End all of it."""
        Engine.kill(self)
        self._daemon.wait(STOPPING_S)


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


@contextmanager
def lone_engine() -> Iterator[LoneEngine]:
    """An engine with our image, while this lasts; nothing of it is left afterwards."""
    from testbed.lab.swarm.nodes import forget_engine, open_engine
    from testbed.lab.swarm.pictures import ensure_images

    folder = Path(tempfile.mkdtemp(prefix="tbeng-"))
    driver = _run("docker", "info", "--format", "{{.Driver}}", check=False) or "vfs"
    engine = LoneEngine("e", folder / "e", "", "", f"tbe-{folder.name[-8:]}", driver)
    _run("ip", "netns", "add", engine.namespace)
    try:
        _run("ip", "-n", engine.namespace, "link", "set", "lo", "up")
        engine.start()
        engine.await_up()
        ensure_images({engine.url: open_engine(engine.url)}, print)
        yield engine
    finally:
        forget_engine(engine.url)
        engine.kill()
        _run("ip", "netns", "delete", engine.namespace, check=False)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Restart:
    """One restart in the middle of a run: how, when, what the run was doing, how it ended, what is wrong."""

    how: str
    after_s: float
    during: str
    missed: bool
    exit_code: int
    verdict: str
    said: str
    wrong: tuple[str, ...]


def restart(engine: LoneEngine, how: str, after_s: float, scenario: Path, says: str = "") -> Restart:
    """Run a scenario on the engine, stop the engine so long after it says this and start it again, clean, and look."""
    out = Path(tempfile.mkdtemp(dir=scenario.parent))
    words = ("run", scenario, "--backend", "compose", "--engine", "portable", "--out", out)
    with running(*words, DOCKER_HOST=engine.url) as process:
        said = "".join(read_until(process, says))
        try:
            missed = process.wait(after_s) is not None
        except subprocess.TimeoutExpired:
            missed = False
        engine.end_daemon(SIGNALS[how])
        engine.start_daemon()
        engine.await_up()
        printed, rest = process.communicate(timeout=PATIENCE_S)
    said += rest
    verdict, wrong = look(out)
    wrong += ["a traceback"] * ("Traceback" in said + printed)
    wrong += [f"exit code {process.returncode}: {(said + printed)[-300:]}"] * (process.returncode not in (0, 3))
    cleaned = testbed("clean", DOCKER_HOST=engine.url)
    wrong += [f"`testbed clean` ended with {cleaned.returncode}: {cleaned.stderr}"] * (cleaned.returncode != 0)
    wrong += [f"left: {one}" for one in (*engine.containers(), *engine.networks())]
    during = [line.partition(": ")[2] for line in said.splitlines() if line.startswith(f"{scenario.stem}: ")]
    return Restart(how, after_s, (during or [""])[-1], missed, process.returncode, verdict, said, tuple(wrong))


def run(count: int, seed: int) -> list[Restart]:
    """So many restarts of each kind, at random moments of a run."""
    chance = Random(seed)
    with tempfile.TemporaryDirectory() as name, lone_engine() as engine:
        scenario = write_scenario(Path(name))
        started = time.monotonic()
        testbed("run", scenario, "--backend", "compose", "--out", Path(name) / "whole", DOCKER_HOST=engine.url)
        whole_s = time.monotonic() - started
        moments = [(how, chance.uniform(0, whole_s)) for how in SIGNALS for _ in range(count)]
        return [restart(engine, how, after_s, scenario) for how, after_s in moments]


def summary(restarts: Sequence[Restart]) -> str:
    """A line for each kind, then what is wrong."""
    lines = []
    for how in SIGNALS:
        mine = [one for one in restarts if one.how == how]
        ends = sorted({(one.verdict or "no verdict") for one in mine if not one.missed})
        lines.append(
            f"engine {how:8} {len(mine):4} runs, {sum(not one.missed for one in mine):4} hit ({', '.join(ends)}), "
            f"{sum(bool(one.wrong) for one in mine)} wrong"
        )
    return "\n".join([*lines, *(f"  WRONG: {one}" for one in restarts if one.wrong)])


if __name__ == "__main__":
    done = run(int(sys.argv[1]) if len(sys.argv) > 1 else 5, 1)
    print(summary(done))
    sys.exit(any(one.wrong for one in done))
