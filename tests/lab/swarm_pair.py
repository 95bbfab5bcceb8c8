"""Engines of a swarm on one machine, each as good as a machine of its own: for the tests, the benchmark and the demo.

    hub (a namespace with a bridge, 192.0.2.1: from here both are reached as from a third machine)
     |-- engine a: dockerd in network, mount and pid namespaces of its own, 192.0.2.11
     `-- engine b: the same, 192.0.2.12

An engine's process 1 takes everything with it when it is killed: its containers, its mounts, its sandboxes, as a
machine does whose power is cut. The default engine is never touched, but for its images, which are read from it.

    python -m tests.lab.swarm_pair up [FOLDER]      brings two engines up, and says how to use them
    python -m tests.lab.swarm_pair demo             brings them up, plays a scenario over both, takes them down
    python -m tests.lab.swarm_pair down [FOLDER]    takes them down, whatever state they are in
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNDERLAY = "192.0.2"  # RFC 5737: an address of no network anywhere
FIRST = 11
UP_TIMEOUT_S = 60.0
DEMO = Path(tempfile.gettempdir()) / "testbed-swarm-demo"
SYSTEM_PATHS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
CGROUPS = Path("/sys/fs/cgroup")
NEEDED = ("dockerd", "docker", "nsenter", "unshare", "ip", "setpriv")


def why_not() -> str:
    """Why there can be no further engines here; empty where there can."""
    if os.geteuid() != 0:
        return "further engines need root"
    missing = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{SYSTEM_PATHS}"


def _run(*words: str | Path, check: bool = True, timeout_s: float = 60.0) -> str:
    done = subprocess.run(
        [*map(str, words)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PATH": _path()},
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout.strip()


@dataclass(slots=True)
class Engine:
    """One engine: its name, where its files are, its address on the underlay."""

    name: str
    folder: Path
    address: str
    hub: str
    namespace: str
    driver: str
    more: tuple[str, ...] = ()  # words for dockerd

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self.folder / 'docker.sock'}"

    @property
    def cgroup(self) -> str:
        """The control group of all its containers."""
        return f"testbed-{self.namespace}"

    def wire(self) -> None:
        """Its network namespace, and the cable to the hub."""
        port = f"port-{self.name}"
        _run("ip", "netns", "add", self.namespace)
        link = f"link add uplink netns {self.namespace} type veth peer name {port} netns {self.hub}"
        _run("ip", *link.split())
        _run("ip", "-n", self.hub, "link", "set", port, "master", "hub", "up")
        _run("ip", "-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "uplink")
        _run("ip", "-n", self.namespace, "link", "set", "uplink", "up")
        _run("ip", "-n", self.namespace, "link", "set", "lo", "up")

    def start(self, *, tied: bool) -> None:
        """Start its daemon; `tied`: it ends with this process. Returns before it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # What a machine loses with its power: sockets, and pids, which are of a namespace that has gone.
        (self.folder / "docker.sock").unlink(missing_ok=True)
        (self.folder / "docker.pid").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "exec", ignore_errors=True)
        tie = ["setpriv", "--pdeathsig", "KILL", "--"] if tied else []
        process = self.launch(
            *tie,
            *("nsenter", f"--net=/run/netns/{self.namespace}", "--"),
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
        )
        (self.folder / "keeper").write_text(str(process.pid))
        _CHILDREN[process.pid] = process

    def launch(self, *around: str) -> subprocess.Popen[bytes]:
        """Start dockerd, within what is put around it; returns before it answers."""
        command = [
            *around,
            *("dockerd", "-H", self.url, "--storage-driver", self.driver, "--mtu", "1500"),
            *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
            *("--pidfile", str(self.folder / "docker.pid"), "--cgroup-parent", f"/{self.cgroup}"),
            *("--config-file", str(self.folder / "daemon.json"), "--log-level", "warn"),
            *self.more,
        ]
        (self.folder / "daemon.json").write_text("{}")
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PATH": _path()},
            )

    def docker(self, *words: str, check: bool = True) -> str:
        """What its docker command prints."""
        return _run("docker", "-H", self.url, *words, check=check)

    def await_up(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + UP_TIMEOUT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):
                self.docker("version", "--format", "{{.Server.Version}}")
                return
            time.sleep(0.1)
        raise RuntimeError(f"engine {self.name} does not answer; its log: {(self.folder / 'log').read_text()[-3000:]}")

    def kill(self) -> None:
        """Cut its power: everything that runs on it is gone at once."""
        try:
            pid = int((self.folder / "keeper").read_text())
        except (OSError, ValueError):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # of unshare(1), whose child, process 1 of the engine, it kills
        if (child := _CHILDREN.pop(pid, None)) is not None:
            child.wait()
        (self.folder / "keeper").unlink(missing_ok=True)
        _await_empty(self.cgroup)

    def cut(self) -> None:
        """Pull the cable."""
        _run("ip", "-n", self.hub, "link", "set", f"port-{self.name}", "down")

    def mend(self) -> None:
        """Plug the cable in again."""
        _run("ip", "-n", self.hub, "link", "set", f"port-{self.name}", "up")

    def containers(self) -> list[str]:
        """The names of its containers, running or not."""
        return self.docker("ps", "-a", "--format", "{{.Names}}").split()

    def networks(self) -> list[str]:
        """The names of the testbed's networks that it knows."""
        return self.docker("network", "ls", "--filter", "label=testbed.run", "--format", "{{.Name}}").split()


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(slots=True)
class Swarm:
    """Some engines that are one swarm, the first its manager."""

    folder: Path
    engines: tuple[Engine, ...] = field(default_factory=tuple)

    @classmethod
    def plan(cls, folder: Path, names: Sequence[str] = ("a", "b")) -> Swarm:
        """What would be brought up in a folder; nothing is made yet."""
        tag = folder.name[-8:]
        driver = _run("docker", "info", "--format", "{{.Driver}}", check=False) or "vfs"
        made = tuple(
            Engine(name, folder / name, f"{UNDERLAY}.{FIRST + place}", f"tbh-{tag}", f"tb{name}-{tag}", driver)
            for place, name in enumerate(names)
        )
        return cls(folder, made)

    def up(self, *, tied: bool) -> None:
        """Bring all up and make them a swarm."""
        hub = self.engines[0].hub
        _run("ip", "netns", "add", hub)
        _run("ip", "-n", hub, "link", "add", "hub", "up", "type", "bridge", "stp_state", "0")
        _run("ip", "-n", hub, "address", "add", f"{UNDERLAY}.1/24", "dev", "hub")
        for engine in self.engines:
            engine.wire()
            engine.start(tied=tied)
        for engine in self.engines:
            engine.await_up()
        first, *others = self.engines
        first.docker("swarm", "init", "--advertise-addr", first.address)
        token = first.docker("swarm", "join-token", "-q", "worker")
        for engine in others:
            engine.docker("swarm", "join", "--token", token, "--advertise-addr", engine.address, first.address)

    def await_ready(self) -> None:
        """Wait until the manager holds every engine for ready."""
        deadline = time.monotonic() + UP_TIMEOUT_S
        while (told := self.engines[0].docker("node", "ls", "--format", "{{.Status}}").split()) != ["Ready"] * len(
            self.engines
        ):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the engines are {told}")
            time.sleep(0.2)

    def down(self) -> None:
        """Take everything down, whatever state it is in; nothing is left."""
        for engine in self.engines:
            engine.kill()
            _run("ip", "netns", "delete", engine.namespace, check=False)
        if self.engines:
            _run("ip", "netns", "delete", self.engines[0].hub, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def placed(self) -> list[str]:
        """Words for the command line that put the server on the second engine, everybody else on the first."""
        return ["--place", f"client={self.engines[0].url}", "--place", f"server={self.engines[1].url}"]

    def left(self) -> list[str]:
        """What of the engines is still on this machine once they are down."""
        names = {engine.namespace for engine in self.engines} | {engine.hub for engine in self.engines}
        spaces = [name for name in sorted(names) if Path("/run/netns", name).exists()]
        groups = [str(path) for engine in self.engines for path in _cgroups(engine.cgroup)]
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.folder) in line]
        folders = [str(self.folder)] if self.folder.exists() else []
        return [*spaces, *groups, *mounts, *folders, *_processes(str(self.folder))]


def _processes(words: str) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words in said and int(entry.name) != os.getpid():
                found.append(f"{entry.name}: {said}")
    return found


def _cgroups(name: str) -> list[Path]:
    return [path for path in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")) if path.is_dir()]


def _await_empty(name: str) -> None:
    """Remove an engine's control groups once its processes have ended."""
    deadline = time.monotonic() + 10.0
    while groups := _cgroups(name):
        for group in groups:
            for inner in sorted(group.rglob("*/"), key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    inner.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of an engine that was killed are still there: {groups}")
        time.sleep(0.02)


@contextlib.contextmanager
def swarm(names: Sequence[str] = ("a", "b")) -> Iterator[Swarm]:
    """A swarm while this lasts; nothing of it is left afterwards."""
    made = Swarm.plan(Path(tempfile.mkdtemp(prefix="tbsw-")), names)
    try:
        made.up(tied=True)
        yield made
    finally:
        made.down()


def main(words: Sequence[str]) -> int:
    """The command."""
    if says := why_not():
        print(f"a swarm on one machine: {says}", file=sys.stderr)
        return 3
    doing, folder = (words[0] if words else "demo"), Path(words[1]) if len(words) > 1 else DEMO
    made = Swarm.plan(folder)
    if doing == "down":
        made.down()
        return 0
    if doing == "up":
        made.down()
        made.up(tied=False)
        print(f"testbed run hola --backend swarm {' '.join(made.placed())}")
        return 0
    with swarm() as demo:
        print("two engines are up, and a swarm:")
        print(demo.engines[0].docker("node", "ls"))
        command = [sys.executable, "-m", "testbed", "run", "hs-synack-lost-1", "--backend", "swarm", *demo.placed()]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
