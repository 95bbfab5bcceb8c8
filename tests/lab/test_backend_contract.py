"""What every backend promises, held against each: the same hosts, the same story of a scenario, nothing left behind.

Compose needs an engine; netns a kernel that lets us make namespaces. What is missing is a skip that says why.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from command_driver import PATIENCE_S, leftovers, processes_of, seen
from interrupt_netns import await_ends, traces

from testbed.errors import Interrupted, LabError
from testbed.lab.agents import Agents
from testbed.lab.compose import ComposeLab
from testbed.lab.contract import Lab, LabHost, LabShape
from testbed.lab.netns.lab import NetnsLab, try_out
from testbed.session import new_run_id
from testbed.stop import Stop

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

BACKENDS = ("netns", "compose")
STORIES = ("hola", "server-unavailable", "got-connection", "hs-synack-lost-1")
FIN_TIMEOUT = "net.ipv4.tcp_fin_timeout"
PLAYERS = ("server", "client", "client-2", "client-3", "far_host")
Up = Callable[[LabShape, Path, Callable[[], None]], Lab]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works here."""
    _require(request.param, request)
    return str(request.param)


def _require(backend: str, request: pytest.FixtureRequest) -> None:
    if backend == "compose":
        request.getfixturevalue("image")
        return
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes the connections to the engine that labs of this process have made."""
    from testbed.lab import compose
    from testbed.lab.engine import connect

    made: list[docker_module.DockerClient] = []

    def recorded() -> docker_module.DockerClient:
        made.append(connect())
        return made[-1]

    monkeypatch.setattr(compose, "connect", recorded)
    yield
    for client in made:
        client.close()


@pytest.fixture
def nothing_left(backend: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Proves when the test has ended that nothing of its labs is there any more."""
    before = traces()
    yield
    assert await_ends(processes_of(os.getpid())) == []
    assert traces() <= before
    if backend == "compose":
        engine: docker_module.DockerClient = request.getfixturevalue("engine")
        assert leftovers(engine, os.getpid()) == []


def bring_up(backend: str, shape: LabShape, folder: Path, stopped: Callable[[], None] = lambda: None) -> Lab:
    """A lab of a backend."""
    kind = NetnsLab if backend == "netns" else ComposeLab
    return kind.bring_up(shape, folder / "lab.yaml", print, stopped)


def shape(family: str) -> LabShape:
    """A lab with replicas and one more host, one of which wants a sysctl of its own."""
    hosts = (
        *(LabHost(name, {FIN_TIMEOUT: "7"} if name == "client-2" else {}) for name in PLAYERS),
        LabHost("sniffer", {}),
    )
    return LabShape(f"{new_run_id()}-contract", "contract", family, hosts)


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_hosts(backend: str, family: str, tmp_path: Path, nothing_left: None) -> None:
    """Each host has an eth0 with an address and MAC of its own, the pinned sysctls, and those it asked for itself."""
    lab = bring_up(backend, shape(family), tmp_path)
    agents = Agents(lab, Stop(), lambda host, event: None)
    try:
        names = (*PLAYERS, "sniffer")
        agents.open(names)
        answers = agents.wait([agents.ask(name, "hello", sysctls=[FIN_TIMEOUT, "net.ipv4.tcp_ecn"]) for name in names])
    finally:
        agents.close()
        lab.close()
    lab.close()  # again is no matter
    about = [answer["interfaces"]["eth0"] for answer in answers]
    assert len({one[family][0] for one in about}) == len({one["mac"] for one in about}) == len(names)
    assert {one["mtu"] for one in about} == {1500}
    assert bool(about[0]["ipv6"]) == (family == "ipv6")
    assert all(one["ipv4"] for one in about)
    assert [answer["sysctls"][FIN_TIMEOUT] for answer in answers] == ["60", "60", "7", "60", "60", "60"]
    assert {answer["sysctls"]["net.ipv4.tcp_ecn"] for answer in answers} == {"2"}
    assert (tmp_path / "lab.yaml").read_text().startswith("# ")


def test_ending(backend: str, tmp_path: Path, nothing_left: None) -> None:
    """An agent that has ended is told with its exit status, and its host's name."""
    lab = bring_up(backend, shape("ipv4"), tmp_path)
    try:
        channel = lab.open("client")
        channel.send(b'{"id": 1, "do": "bye"}\n')
        received = b""
        while got := channel.receive():
            received += got
        assert json.loads(received) == {"id": 1, "ok": {}}
        says = lab.ending("client")
    finally:
        lab.close()
    assert "client ended with exit status 0" in says


def test_stopped_while_coming_up(backend: str, tmp_path: Path, nothing_left: None) -> None:
    """Whenever the user stops us while a lab comes up, that is what is raised, and nothing is left."""
    for calls in range(1, 10):
        left = iter(range(calls))

        def stopped(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise Interrupted("stopped by a test")

        try:
            lab = bring_up(backend, shape("ipv4"), tmp_path, stopped)
        except Interrupted:
            continue
        lab.close()
        assert calls > 1, "nobody asked whether to stop"
        return
    raise AssertionError("the lab asks more often than this test expects")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, dict[str, Any]]]:
    """The results of the stories on a backend, by scenario; each backend plays them once."""
    results: dict[str, dict[str, dict[str, Any]]] = {}

    def tell(backend: str) -> dict[str, dict[str, Any]]:
        if backend not in results:
            out = tmp_path_factory.mktemp(backend)
            ended = seen(PATIENCE_S, "run", *STORIES, "--jobs", "2", "--json", "--backend", backend, "--out", out)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            results[backend] = {each["scenario"]: each for each in json.loads(ended.stdout)["results"]}
        return results[backend]

    return tell


def test_stories_pass(backend: str, told: Callable[[str], dict[str, dict[str, Any]]]) -> None:
    """Every story passes on every backend, and the result says which backend it was and why."""
    results = told(backend)
    assert {name: result["verdict"] for name, result in results.items()} == dict.fromkeys(STORIES, "passed")
    assert {result["backend"] for result in results.values()} == {backend}
    assert {result["backend_why"] for result in results.values()} == {"asked for"}


@pytest.mark.parametrize("story", STORIES)
def test_same_story(
    story: str, told: Callable[[str], dict[str, dict[str, Any]]], request: pytest.FixtureRequest
) -> None:
    """The backends tell the same story: the same steps and ends, the same connections, the same checks."""
    for backend in BACKENDS:
        _require(backend, request)
    one, other = (told(backend)[story] for backend in BACKENDS)
    assert _gist(one) == _gist(other)


def _gist(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "steps": {
            name: [(step["path"], step["step"], step["outcome"], step["errno"]) for step in host["steps"]]
            for name, host in result["hosts"].items()
        },
        "checks": [(check["name"], check["verdict"], check["expected"]) for check in result["checks"]],
        "connections": [
            (one["handshake"]["outcome"], one["teardown"]["kind"], one["conn_state"], one["completeness"], one["bytes"])
            for one in result["connections"]
        ],
        "vantages": sorted(capture["vantage"] for capture in result["captures"]),
        "faults": [fault["rule"] for fault in result["faults"]],
        "sysctls": result["environment"]["sysctls"],
    }
