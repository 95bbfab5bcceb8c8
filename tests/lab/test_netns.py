"""The netns backend: what its labs are made of, how they die, and what is said where they cannot be had."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_driver import PATIENCE_S, ROOT, processes_of, seen, testbed
from interrupt_netns import await_ends, strike, traces

from testbed.errors import LabError
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.netns.lab import NetnsLab, try_out
from testbed.lab.stdio import PipeChannel

pytestmark = pytest.mark.lab

NOWHERE = "unix:///nonexistent/docker.sock"
AS_USER = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "env",
)  # what env runs has lost every privilege


@pytest.fixture(scope="module", autouse=True)
def possible() -> None:
    """Skips with the reason where the kernel lets us make no namespaces."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[NetnsLab]:
    """A lab with a client and a sniffer."""
    shape = LabShape("20260101-000000-abcdef-test", "test", "ipv4", (LabHost("client", {}), LabHost("sniffer", {})))
    made = NetnsLab.bring_up(shape, tmp_path / "lab.yaml", print, lambda: None)
    yield made
    made.close()
    assert await_ends(processes_of(os.getpid())) == []


def named(name: str) -> int:
    """The process of this test's labs that has this name, the first of them: what it forks is called the same."""
    return min(pid for pid in processes_of(os.getpid()) if Path(f"/proc/{pid}/comm").read_text().strip() == name)


def start(lab: NetnsLab, host: str) -> PipeChannel:
    """Start an agent that has said hello."""
    channel = lab.open(host)
    channel.send(b'{"id":0,"do":"hello"}\n')
    assert b"198.18.0." in channel.receive()
    return channel


def send_much(channel: PipeChannel) -> None:
    """Send more than a pipe holds: the kernel may close the ends of a dead process one after the other."""
    for _ in range(100):
        channel.send(bytes(4096))


def open_descriptors() -> int:
    """How many this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def hear_end(lab: NetnsLab, host: str) -> None:
    """Receive what the agent on a host still says, to the end."""
    channel = lab._channels[host]
    while channel.receive():
        pass


def test_nothing_in_the_root_namespace(lab: NetnsLab) -> None:
    """A lab that is up has no interface and no named namespace on the machine, and its files are not in its /tmp."""
    before = traces()
    channel = start(lab, "client")
    channel.send(
        b'{"id":1,"do":"capture.start","name":"c","interface":"eth0","promiscuous":false,"snap_length":1500}\n'
    )
    assert json.loads(channel.receive()) == {"id": 1, "ok": {}}
    assert traces() <= before
    pid = named("agent client")
    assert Path(f"/proc/{pid}/ns/net").stat().st_ino != Path("/proc/self/ns/net").stat().st_ino
    assert list(Path(f"/proc/{pid}/root/tmp").glob("testbed-agent-*"))


def test_processes_carry_the_run(lab: NetnsLab) -> None:
    """Every process of a lab names its run and its owner in its environment."""
    start(lab, "client")
    for name in ("testbed holder", "agent client"):
        variables = Path(f"/proc/{named(name)}/environ").read_bytes().split(b"\0")
        assert b"TESTBED_RUN=20260101-000000-abcdef-test" in variables


def test_killed_agent(lab: NetnsLab) -> None:
    """An agent that is killed is told with the signal; the host lives on, and another agent can be started there."""
    start(lab, "client")
    os.kill(named("agent client"), signal.SIGKILL)
    hear_end(lab, "client")
    assert lab.ending("client") == "the agent on client was killed by SIGKILL"
    start(lab, "client")


@pytest.mark.parametrize("victim", ["testbed holder", "python"])
def test_killed_holder(lab: NetnsLab, victim: str) -> None:
    """When the holder is killed, or who waits for it, the kernel ends the whole lab, and that is said."""
    start(lab, "client")
    start(lab, "sniffer")
    pid = lab._holder.pid if victim == "python" else named(victim)
    os.kill(pid, signal.SIGKILL)
    hear_end(lab, "client")
    hear_end(lab, "sniffer")
    assert lab.ending("client").startswith("the agent on client ended with its lab: the process that holds the lab")
    assert await_ends(processes_of(os.getpid())) == []
    with pytest.raises(BrokenPipeError):
        send_much(lab._channels["client"])


def test_stubborn_agents_end(lab: NetnsLab) -> None:
    """A stopped agent, which hears nothing, ends with its lab all the same."""
    start(lab, "client")
    os.kill(named("agent client"), signal.SIGSTOP)
    lab.close()
    assert processes_of(os.getpid()) == []


def test_no_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the holder cannot even be started, that is a LabError, and nothing stays open."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    before = open_descriptors()
    with pytest.raises(LabError, match="cannot be started"):
        try_out()
    assert open_descriptors() == before


def test_nothing_stays_open(lab: NetnsLab) -> None:
    """A lab that is closed leaves no descriptor open in the testbed."""
    lab.close()
    before = open_descriptors()
    assert try_out()
    assert open_descriptors() == before


def test_foreign_sysctl_is_refused(tmp_path: Path) -> None:
    """A sysctl of the whole machine is never set; one that the kernel has not is named."""
    for name, says in (("vm.swappiness", "the whole machine's"), ("net.ipv4.tcp_nonsense", "no sysctl of that name")):
        shape = LabShape("run", "test", "ipv4", (LabHost("client", {name: "1"}),))
        with pytest.raises(LabError, match=says) as raised:
            NetnsLab.bring_up(shape, tmp_path / "lab.yaml", print, lambda: None)
        assert name in raised.value.message
    assert await_ends(processes_of(os.getpid())) == []


def test_auto_without_an_engine(tmp_path: Path) -> None:
    """Where no engine answers, auto takes netns, says so on one line, and the result says why."""
    ended = seen(PATIENCE_S, "run", "hola", "--out", tmp_path, DOCKER_HOST=NOWHERE)
    assert ended.returncode == 0, ended.stderr
    why = f"no Docker engine answers at {NOWHERE}"
    assert ended.stderr.splitlines()[0] == f"hola: backend netns: {why}"
    result = json.loads((tmp_path / "latest" / "hola" / "result.json").read_text())
    assert (result["backend"], result["backend_why"]) == ("netns", why)


def test_compose_is_not_replaced(tmp_path: Path) -> None:
    """Who asks for compose gets it or an error; never netns."""
    ended = testbed("run", "hola", "--backend", "compose", "--out", tmp_path, DOCKER_HOST=NOWHERE)
    assert ended.returncode == 3
    assert "no Docker engine answers" in ended.stderr
    assert not list(tmp_path.rglob("result.json"))


def test_keep_is_refused(tmp_path: Path) -> None:
    """A netns lab cannot outlive its command, and --keep says so instead of doing nothing."""
    ended = testbed("run", "hola", "--backend", "netns", "--keep", "--out", tmp_path)
    assert ended.returncode == 2
    assert "--keep needs --backend compose" in ended.stderr


def test_many_at_once(tmp_path: Path) -> None:
    """Twenty labs in one process do not get in each other's way, though all have the same addresses."""
    before = traces()
    words = ("run", "hola", "--repeat", "20", "--jobs", "20", "--backend", "netns", "--out", tmp_path)
    ended = seen(PATIENCE_S, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "20 passed" in ended.stdout
    assert traces() <= before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.12, 0.25])
def test_nothing_is_left(tmp_path: Path, number: signal.Signals, after_s: float) -> None:
    """Whenever a run is hit, by SIGKILL too, nothing of it is left, and nobody has to clean."""
    struck = strike(number, after_s, tmp_path)
    assert struck.left == ()
    assert struck.clean, struck


@pytest.fixture
def readable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the testbed that everybody may read, with a folder `out` that everybody may write to."""
    folder = Path("/tmp") / f"testbed-copy-{os.getpid()}"
    folder.mkdir()
    try:
        for name in ("testbed", "scenarios"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "out").mkdir()
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        (folder / "out").chmod(0o777)
        yield folder
    finally:
        shutil.rmtree(folder)


def a_python() -> str:
    """A Python that an ordinary user may run and that has what the testbed needs, or a skip."""
    packages = next(path for path in sys.path if path.endswith("-packages"))
    script = f"import sys; sys.path.append({packages!r}); import pydantic, yaml, typer, docker"
    for python in (sys.executable, "/usr/bin/python3"):
        done = subprocess.run([*AS_USER, python, "-c", script], cwd="/", capture_output=True, check=False)
        if done.returncode == 0:
            return python
    pytest.skip("no Python here that an ordinary user may run with the packages of the testbed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_ordinary_user(readable: Path) -> None:
    """Without any privilege the same scenarios pass, impaired wire and IPv6 included, from a checkout in /tmp too.

    Where only root may open /dev/net/tun, the impaired one is unknown, and says so.
    """
    packages = next(path for path in sys.path if path.endswith("-packages"))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": packages, "DOCKER_HOST": NOWHERE, "HOME": str(readable)}
    for words in (("hola", "connection-table"), ("hola", "--family", "ipv6"), ("hs-synack-lost-1",)):
        ended = subprocess.run(
            [*AS_USER, a_python(), "-m", "testbed", "run", *words, "--out", "out"],
            cwd=readable,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = ended.stdout + ended.stderr
        if words == ("hs-synack-lost-1",) and not os.stat("/dev/net/tun").st_mode & stat.S_IWOTH:  # noqa: PTH116
            assert ended.returncode == 3, said
            assert "Permission denied: '/dev/net/tun'" in said
        else:
            assert ended.returncode == 0, said


@pytest.mark.skipif(os.geteuid() != 0, reason="sets a limit in a user namespace of root's")
@pytest.mark.parametrize(
    ("limit", "drop"), [("max_user_namespaces", ("--bounding-set=-all",)), ("max_net_namespaces", ())]
)
def test_forbidden(limit: str, drop: tuple[str, ...], tmp_path: Path) -> None:
    """Where a switch forbids namespaces: one sentence that names it, what to do, exit code 3, and no run folder."""
    run = [sys.executable, "-m", "testbed", "run", "hola", "--backend", "netns", "--out", str(tmp_path)]
    script = f'echo 0 > /proc/sys/user/{limit} && exec setpriv {" ".join(drop)} --inh-caps=-all -- "$@"'
    ended = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *run],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3, ended.stderr
    assert f"user.{limit} is 0" in ended.stderr
    assert f"`sudo sysctl user.{limit}=10000`" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not any(path.is_dir() for path in tmp_path.iterdir())
