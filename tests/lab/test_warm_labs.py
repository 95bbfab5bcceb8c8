"""Labs that serve one run after another, on both backends: what is reused, what is refused, and what is left.

Compose needs an engine; netns a kernel that lets us make namespaces. What is missing is a skip that says why.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from agent_driver import Agent, step
from command_driver import PATIENCE_S, leftovers, processes_of, read_until, running, seen, testbed
from interrupt_netns import await_ends, traces

from testbed.errors import LabError
from testbed.files import find_scenario, load_scenario
from testbed.lab.agents import Agents
from testbed.lab.compose import ComposeLab
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.netns.lab import NetnsLab, try_out
from testbed.lab.owner import RUN_LABEL
from testbed.lab.warm import Likeness, StandingLab, WarmLabs, reset
from testbed.session import new_run_id
from testbed.stop import Stop

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab

BACKENDS = ("netns", "compose")
# Without a wire, with one, without one again; refused, held open, datagrams.
STORIES = ("hola", "hs-synack-lost-1", "server-unavailable", "connection-table", "udp-hello", "got-connection")
OWN_SYSCTLS = ("server-unavailable",)
needs_unshare = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="enters a namespace: needs root and unshare(1)"
)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works here."""
    if request.param == "compose":
        request.getfixturevalue("image")
        return "compose"
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))
    return "netns"


def run(out: Path, *words: str) -> list[dict[str, Any]]:
    """Run scenarios; their results in the order in which they ended."""
    ended = seen(PATIENCE_S, "run", *words, "--json", "--out", out)
    assert ended.returncode in (0, 3), ended.stdout + ended.stderr
    results: list[dict[str, Any]] = json.loads(ended.stdout)["results"]
    return results


def served(results: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Which lab served each run: fresh or warm, and its id."""
    return [(result["environment"]["lab"], result["environment"]["lab_id"]) for result in results]


def gist(result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same however often a scenario is played, in whatever lab."""
    return {
        "verdict": result["verdict"],
        "checks": [(check["name"], check["verdict"], check["expected"]) for check in result["checks"]],
        "connections": [
            (
                each["handshake"]["outcome"],
                each["teardown"]["kind"],
                each["bytes"],
                [finding["rule"] for finding in each["audit"] if finding["kind"] == "protocol"],
            )
            for each in result["connections"]
        ],
        "steps": {
            name: sorted((one["path"], one["step"], one["outcome"], str(one["errno"])) for one in host["steps"])
            for name, host in result["hosts"].items()
        },
        "faults": [fault["rule"] for fault in result["faults"]],
        "problems": result["problems"],
    }


# --- whole commands ---


def test_stories_share_a_lab(backend: str, tmp_path: Path) -> None:
    """Scenarios of one shape are played one after another in one lab, and tell the same as in labs of their own.

    One that wants other sysctls is no exception: they are set, and put back. Each evidence says which lab served, and
    gives the same result again, byte for byte; beside it lies that lab's override, with this run's sysctls on compose.
    """
    words = (*STORIES, "--repeat", "2", "--backend", backend)
    warm = run(tmp_path / "warm", *words, "--jobs", "1")
    fresh = run(tmp_path / "fresh", *words, "--fresh", "--jobs", "3")
    assert served(warm) == [("fresh", warm[0]["run_id"]), *[("warm", warm[0]["run_id"])] * (len(warm) - 1)]
    asked = load_scenario(find_scenario(OWN_SYSCTLS[0])).scenario.sysctls
    for result in (*warm, *fresh):
        has = result["environment"]["sysctls"]
        assert (result["scenario"] in OWN_SYSCTLS) == all(has[name] == value for name, value in asked.items())
    assert [lab for lab, _ in served(fresh)] == ["fresh"] * len(fresh)
    assert len({lab_id for _, lab_id in served(fresh)}) == len(fresh)
    for story in STORIES:
        gists = [gist(result) for result in (*warm, *fresh) if result["scenario"] == story]
        assert gists == [gists[0]] * 4
    assert {one["verdict"] for one in warm} == {"passed"}
    folder = tmp_path / "warm" / "latest"
    assert sum(path.is_dir() for path in folder.iterdir()) == len(warm)
    first = (folder / STORIES[0] / "lab.yaml").read_bytes()
    for story in STORIES:
        lab_file = (folder / f"{story}-2" / "lab.yaml").read_bytes()
        if story not in OWN_SYSCTLS or backend == "netns":
            assert lab_file == first
        else:
            assert {name: read_lab_file(lab_file)["client"]["sysctls"][name] for name in asked} == asked
            assert read_lab_file(lab_file)["sniffer"] == read_lab_file(first)["sniffer"]
    checked = testbed("check", "--json", folder / f"{STORIES[1]}-2")
    assert checked.stdout == (folder / f"{STORIES[1]}-2" / "result.json").read_text()


def read_lab_file(lab_file: bytes) -> dict[str, Any]:
    """The services of a compose override."""
    services: dict[str, Any] = yaml.safe_load(lab_file)["services"]
    return services


def test_labs_are_shared_by_what_they_are_like(tmp_path: Path, image: str) -> None:
    """On compose neither hosts' names nor sysctls that can be set later keep runs apart; what is told is the run's."""
    stories = ("hs-tfo-data", "hs-half-open-scan", "hs-self-connect", "hola")
    results = run(tmp_path, *stories, "--backend", "compose", "--jobs", "1")
    told = {result["scenario"]: result for result in results}
    assert {result["verdict"] for result in results} == {"passed"}
    assert sorted(lab for lab, _ in served(results)) == ["fresh", "warm", "warm", "warm"]
    addresses = {name: [host["address"] for host in result["hosts"].values()] for name, result in told.items()}
    assert len({tuple(each) for each in addresses.values()}) == 1
    assert list(told["hs-half-open-scan"]["hosts"]) == ["server", "scanner", "sniffer"]
    assert list(told["hs-self-connect"]["hosts"]) == ["client", "server", "sniffer"]
    fast_open = {name: result["environment"]["sysctls"]["net.ipv4.tcp_fastopen"] for name, result in told.items()}
    assert fast_open == {"hs-tfo-data": "3", "hs-half-open-scan": "1", "hs-self-connect": "1", "hola": "1"}


def test_connections_are_new(backend: str, tmp_path: Path) -> None:
    """No run sees another's connection: each has its one, from the first packet on, and no state is told of another."""
    results = run(tmp_path, "hola", "--repeat", "6", "--jobs", "1", "--backend", backend)
    assert len({lab_id for _, lab_id in served(results)}) == 1
    for result in results:
        (connection,) = result["connections"]
        assert connection["handshake"]["outcome"] == "complete"
        port = connection["client"]["port"]
        told = {state["socket"] for state in result["hosts"]["client"]["states"]}
        assert told
        assert all(f":{port} " in socket for socket in told)


def test_one_run_is_fresh(backend: str, tmp_path: Path) -> None:
    """A single run has a lab of its own and resets nothing."""
    assert seen(PATIENCE_S, "run", "hola", "--backend", backend, "--out", tmp_path).returncode == 0
    environment = json.loads((tmp_path / "latest" / "hola" / "result.json").read_text())["environment"]
    assert environment["lab"] == "fresh"


def test_families_have_labs_of_their_own(tmp_path: Path, backend: str) -> None:
    """IPv6 runs share a lab too."""
    results = run(tmp_path, "hola", "--repeat", "3", "--jobs", "1", "--family", "ipv6", "--backend", backend)
    assert [lab for lab, _ in served(results)] == ["fresh", "warm", "warm"]
    assert {result["verdict"] for result in results} == {"passed"}


def test_several_at_a_time(backend: str, tmp_path: Path) -> None:
    """Runs that go on at the same time never share a lab; there are no more labs than there were runs at a time."""
    results = run(tmp_path, "hola", "--repeat", "8", "--jobs", "2", "--backend", backend)
    labs = served(results)
    assert len({lab_id for _, lab_id in labs}) == [lab for lab, _ in labs].count("fresh") <= 2
    assert {result["verdict"] for result in results} == {"passed"}


def test_no_lab_is_reused_after_a_problem(backend: str, tmp_path: Path) -> None:
    """A run with a problem, here one that is over before its play, takes its lab along."""
    words = ("hs-synack-lost-1", "--repeat", "2", "--timeout", "0.3", "--backend", backend)
    ended = testbed("run", *words, "--json", "--out", tmp_path)
    results = json.loads(ended.stdout)["results"]
    assert [lab for lab, _ in served(results)] == ["fresh", "fresh"]
    assert {result["verdict"] for result in results} == {"unknown"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_nothing_is_left(
    backend: str, number: signal.Signals, jobs: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """However a command with warm labs is ended, no lab is left: neither one that serves nor one that waits."""
    before = traces()
    words = ("run", "hola", "bind-only", "--repeat", "500", "--jobs", jobs, "--backend", backend, "--out", tmp_path)
    with running(*words) as process:
        read_until(process, "using the lab")
        process.send_signal(number)
        said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == (-number if number is signal.SIGKILL else 130), said
    assert "Traceback" not in said
    if backend == "compose" and number is signal.SIGKILL:
        assert testbed("clean").returncode == 0
    assert await_ends(processes_of(process.pid)) == []
    assert traces() <= before
    if backend == "compose":
        assert leftovers(request.getfixturevalue("engine"), process.pid) == []


# --- a lab that somebody has made dirty ---

LISTEN = "import socket, sys; s = socket.create_server(('', 7999)); print('ready', flush=True); sys.stdin.read()"
DATAGRAM = (
    "import socket, sys; s = socket.socket(2, 2); s.bind(('', 7999)); print('ready', flush=True); sys.stdin.read()"
)
PACKETS = "import socket, sys; s = socket.socket(17, 3); print('ready', flush=True); sys.stdin.read()"
QDISC = "import os; os.system('tc qdisc add dev eth0 clsact'); print('ready', flush=True)"
DIRT = {
    "listener": (LISTEN, "client still has a TCP socket in LISTEN (0.0.0.0:7999 0.0.0.0:0)"),
    "datagrams": (DATAGRAM, "client still has a UDP socket"),
    "packets": (PACKETS, "client still has a packet socket"),
    "qdisc": (QDISC, "client still has a qdisc clsact on eth0"),
}


@pytest.fixture
def standing(backend: str, tmp_path: Path) -> Iterator[StandingLab]:
    """A lab that is up, its agents too."""
    shape = LabShape(f"{new_run_id()}-dirt", "dirt", "ipv4", (LabHost("client", {}), LabHost("sniffer", {})))
    kind = NetnsLab if backend == "netns" else ComposeLab
    lab = kind.bring_up(shape, tmp_path / "lab.yaml", print, lambda: None)
    agents = Agents(lab, Stop())
    one = StandingLab(shape.run_id, Likeness.of(backend, shape), lab, agents, b"")
    try:
        agents.open(["client", "sniffer"])
        agents.wait([agents.ask(host, "hello") for host in agents.hosts])
        yield one
    finally:
        one.close()
        if isinstance(lab, ComposeLab):
            lab._client.close()


def is_up(standing: StandingLab) -> bool:
    """Whether anything of a lab is there."""
    if standing.likeness.backend == "netns":
        return bool(processes_of(os.getpid()))
    client: docker_module.DockerClient = standing.lab._client  # type: ignore[attr-defined]
    return bool(client.api.containers(all=True, filters={"label": f"{RUN_LABEL}={standing.id}"}))


@contextmanager
def somebody(standing: StandingLab, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is not the agent's, in the client's namespace, once it has said that it is ready."""
    process = subprocess.Popen([*_inside(standing), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdin
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.stdin.close()


def _inside(standing: StandingLab) -> list[str]:
    if standing.likeness.backend == "compose":
        containers: dict[str, str] = standing.lab._containers  # type: ignore[attr-defined]
        return ["docker", "exec", "-i", containers["client"], "python3", "-c"]
    if os.geteuid() != 0 or not shutil.which("nsenter"):
        pytest.skip("enters a namespace: needs root and nsenter(1)")
    pid = min(pid for pid in processes_of(os.getpid()) if Path(f"/proc/{pid}/comm").read_text() == "agent client\n")
    return ["nsenter", "--net", f"--target={pid}", sys.executable, "-c"]


def test_a_clean_lab_is_kept(standing: StandingLab) -> None:
    """A lab in which nothing is left waits, and whoever takes it gets the same one, again and again."""
    warm, said = WarmLabs(Stop()), list[str]()
    for _ in range(3):
        warm.give_back(standing, said.append)
        assert warm.take(standing.likeness, said.append) is standing
    assert said == []
    assert is_up(standing)


@pytest.mark.parametrize("dirt", DIRT)
def test_a_dirty_lab_is_refused(standing: StandingLab, dirt: str) -> None:
    """A lab that somebody else has left something in is not tidied: it is taken down, and the reason is said."""
    warm, said = WarmLabs(Stop()), list[str]()
    script, reason = DIRT[dirt]
    with somebody(standing, script) as process:
        assert reset(standing.agents, Stop()).startswith(reason)
        assert reset(standing.agents, Stop()).startswith(reason), "what is not the agent's was touched"
        assert dirt == "qdisc" or process.poll() is None
        warm.give_back(standing, said.append)
        assert len(said) == 1
        assert said[0].startswith(f"the lab is not reused: {reason}")
        assert warm.take(standing.likeness, said.append) is None
        assert not is_up(standing)


def test_a_lost_agent_is_refused(standing: StandingLab) -> None:
    """A lab one of whose agents has ended is taken down, and how the agent ended is said."""
    warm, said = WarmLabs(Stop()), list[str]()
    standing.agents.request("client", "bye")
    warm.give_back(standing, said.append)
    assert len(said) == 1
    assert "client ended with exit status 0" in said[0]
    assert not is_up(standing)


# --- the agent's part ---


def _in_namespace(agent: Agent, *command: str) -> str:
    entered = ["nsenter", "--net", f"--target={agent.process.pid}", *command]
    return subprocess.run(entered, capture_output=True, text=True, check=True).stdout


def _orphan(agent: Agent) -> None:
    """A connection that is closed on both sides while nothing comes through: it would stay for a quarter of an hour."""
    _in_namespace(agent, "ip", "link", "set", "lo", "up")
    agent.play(
        step("listen", port=7458),
        step("connect", host="a", port=7458, as_="c"),
        step("accept", as_="s"),
        step("mark", name="open"),
        step("wait", name="cut"),
        step("send", payload={"text": "never heard"}, on="c"),
        step("close", on="c"),
        step("close", on="s"),
    )
    agent.until("mark", name="open")
    _in_namespace(agent, "ip", "link", "set", "lo", "down")
    agent.ask("mark", name="cut")
    agent.until("played")


@needs_unshare
def test_reset_ends_everything() -> None:
    """After `reset` there is no process, no file, no socket in any state, no cache entry; and work can begin anew."""
    with Agent() as agent:
        for _ in range(2):
            agent.ask("capture.start", name="c", interface="lo", promiscuous=False, snap_length=65535)
            agent.ask("states.start", interval_ns=1_000_000)
            _orphan(agent)
            agent.play(step("listen", port=7456), step("wait", name="never"))
            agent.play(step("listen", port=7457), step("udp", port=7457), step("hold"))
            agent.until("played", held=True)
            assert set(_states(agent)) >= {"LISTEN", "FIN-WAIT-1"}
            assert agent.ask("reset") == {"clean": True, "left": []}
            assert _states(agent) == []
            assert _in_namespace(agent, "ip", "tcp_metrics") == ""
            children = Path(f"/proc/{agent.process.pid}/task/{agent.process.pid}/children").read_text().split()
            assert children == []
            assert list(Path("/tmp").glob(f"testbed-agent-{agent.process.pid}-*")) == []
            agent.events.clear()


def _states(agent: Agent) -> list[str]:
    return [line.split()[0] for line in _in_namespace(agent, "ss", "-Htan").splitlines()]


@needs_unshare
def test_marks_are_forgotten() -> None:
    """A mark of before is no mark after a `reset`."""
    with Agent() as agent:
        agent.ask("mark", name="ready")
        agent.ask("reset")
        agent.play(step("wait", name="ready", timeout_ns=50_000_000))
        agent.until("played")
        assert [event["outcome"] for event in agent.events if event["event"] == "step"] == ["timeout"]
