"""Client and server on two engines: the same stories as on one machine, and what goes wrong between machines.

Two further engines are brought up in namespaces of their own (swarm_pair.py). CI plays a representative dozen of
scenarios; with TESTBED_SWARM=all, as `make test-swarm` sets it, the whole catalogue.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_driver import RETRIES, ROOT, read_until, running, testbed, testbed_within
from swarm_pair import Swarm, swarm, why_not

from testbed.lab.stdio import AttachedChannel
from testbed.lab.swarm.lab import SwarmLab
from testbed.lab.swarm.nodes import forget_engine
from testbed.session import Done, Job, Options, new_run_id, run_scenario
from testbed.stop import Stop

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("swarm")]

WHOLE = os.environ.get("TESTBED_SWARM") == "all"
FEW = (
    *("hola", "lifecycle", "server-unavailable", "udp-hello", "bind-only", "hs-synack-lost-1", "hs-refused"),
    *(
        "hs-ipv6",
        "hs-options",
        "hs-reject-rst",
        "td-half-close",
        "td-linger0",
        "data-lost-middle",
        "data-outage-recover",
        "hs-old-dup-synack",
    ),
)
LATENESS_S = 1800.0 if WHOLE else 400.0
SLOW = """\
summary: A connection that lasts.
hosts:
  server:
    steps: [{listen: 7456}, accept, {mark: open}, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {wait: open}, {repeat: 20, steps: [{send: "tick"}, {sleep: 200ms}]}, close]
timeout: 20s
expect:
  handshake: {outcome: complete}
  teardown: {kind: fin, closed_first: client}
"""


@pytest.fixture(scope="module")
def pair(image: str) -> Iterator[Swarm]:
    """Two engines that are one swarm; nothing of them is left when the module has ended."""
    if says := why_not():
        pytest.skip(says)
    with swarm() as made:
        yield made
        for engine in made.engines:
            forget_engine(engine.url)
    assert made.left() == []


@pytest.fixture
def clean(pair: Swarm) -> Iterator[None]:
    """Both engines ready; proves when a test has ended that neither has anything of its labs."""
    pair.await_ready()
    yield
    deadline = time.monotonic() + 10  # swarm's engines forget a network that was removed a moment later
    while (left := [(one.name, one.containers(), one.networks()) for one in pair.engines]) != [
        (one.name, [], []) for one in pair.engines
    ]:
        assert time.monotonic() < deadline, left


def names() -> list[str]:
    """The scenarios that are played."""
    if not WHOLE:
        return list(FEW)
    return sorted(path.stem for path in (ROOT / "scenarios").glob("*/*.yaml"))


@pytest.fixture(scope="module")
def suite(pair: Swarm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All of them over two engines, as `--json` tells it."""
    options = ("--json", "--jobs", "2", *RETRIES, *pair.placed())
    ended = testbed_within(LATENESS_S, "run", *names(), *options, "--out", tmp_path_factory.mktemp("swarm"))
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


@pytest.fixture(scope="module")
def told(suite: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results by scenario; nothing was left out without a word."""
    results = {each["scenario"]: each for each in suite["results"]}
    folders = {case["scenario"]: case["folder"] for case in suite["cases"] if not case["not_run"]}
    assert results.keys() == folders.keys()
    return {name: {**result, "folder": folders[name]} for name, result in results.items()}


@pytest.fixture(scope="module")
def deaf() -> dict[str, str]:
    """The scenarios that no overlay can play, and who would have to hear others there: those of the page, no others."""
    page = (ROOT / "docs" / "multi-machine.md").read_text()
    return dict(re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z-]+)` \|", page, re.MULTILINE))


@pytest.fixture(scope="module")
def alone(told: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of the same scenarios on one machine."""
    options = ("--json", "--jobs", "2", *RETRIES, "--backend", "netns")
    ended = testbed_within(LATENESS_S, "run", *told, *options, "--out", tmp_path_factory.mktemp("alone"))
    return {each["scenario"]: each for each in json.loads(ended.stdout)["results"]}


def test_stories_pass(told: dict[str, dict[str, Any]], deaf: dict[str, str]) -> None:
    """Every story passes with client and server on different engines, but for those that need other ears."""
    wrong = {
        name: [c["why"] for c in r["checks"] if c["verdict"] != "passed"]
        for name, r in told.items()
        if r["verdict"] != "passed"
    }
    assert wrong == {}
    assert told.keys() == set(names()) - deaf.keys()
    two = [result for result in told.values() if len(result["hosts"]) > 1]
    assert all(len({clock["engine"] for clock in result["clocks"]}) == 2 for result in two)


def test_what_was_not_played(suite: dict[str, Any], deaf: dict[str, str]) -> None:
    """What is not applicable is so for the reason that the page gives, and told with it."""
    why = {case["scenario"]: case["not_run"] for case in suite["cases"] if case["not_run"]}
    assert why == {
        name: f"not applicable: {host} must hear the packets of others, and hosts on a swarm do not"
        for name, host in deaf.items()
        if name in names()
    }


def test_same_stories_as_on_one_machine(told: dict[str, dict[str, Any]], alone: dict[str, dict[str, Any]]) -> None:
    """But for addresses, MSS and times, the results are those of one machine."""
    assert {name: gist(result) for name, result in told.items()} == {name: gist(alone[name]) for name in told}


def gist(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on where the hosts are.

    Times are, and so are the order in which parallel steps end, and how often a fault met what was sent again.
    """
    return {
        "verdict": result["verdict"],
        "steps": {
            name: sorted((step["path"], step["step"], step["outcome"], step["errno"] or "") for step in host["steps"])
            for name, host in result["hosts"].items()
            if name != "sniffer"
        },
        "checks": [(check["name"], check["verdict"], check["expected"]) for check in result["checks"]],
        "connections": sorted(
            (one["handshake"]["outcome"], one["teardown"]["kind"], one["conn_state"], one["completeness"])
            for one in result["connections"]
        ),
        "vantages": sorted(capture["vantage"] for capture in result["captures"]),
        "faults": sorted({fault["index"] for fault in result["faults"]}),
    }


def test_overlay_is_told_as_it_is(told: dict[str, dict[str, Any]]) -> None:
    """The MSS is that of the overlay's MTU, and one-way delays say how sure they are."""
    (connection,) = told["hola"]["connections"]
    assert connection["handshake"]["options"]["client"]["mss"] == 1450 - 40
    for way in told["hs-synack-lost-1"]["wire"].values():
        assert 0 < way["had"]["delay_unsure_ms"] < 5
    assert all(abs(ahead) < 50 for clock in told["hola"]["clocks"] for ahead in clock["ahead_ms"]), (
        "one machine's clock"
    )


def test_check_needs_no_engine(told: dict[str, dict[str, Any]]) -> None:
    """The same verdict is made again from the run folder, clocks and all."""
    for name in ("hola", "hs-synack-lost-1"):
        folder = Path(told[name]["folder"])
        again = testbed("check", folder, "--json", DOCKER_HOST="tcp://127.0.0.1:9")
        assert again.stdout == (folder / "result.json").read_text()


# ---------------------------------------------------------------- as on one machine


def test_played_again(told: dict[str, dict[str, Any]], clean: None, tmp_path: Path) -> None:
    """`testbed rerun` plays a run folder's scenario with its hosts where they were."""
    before = told["hs-synack-lost-1"]
    ended = testbed("rerun", before["folder"], "--out", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "verdict: passed then, passed now" in ended.stdout
    (path,) = tmp_path.glob("2*/hs-synack-lost-1/result.json")
    after = json.loads(path.read_text())
    places = [{clock["host"]: clock["engine"] for clock in result["clocks"]} for result in (before, after)]
    assert places[0] == places[1]
    assert gist(before) == gist(after)


def test_lab_that_is_kept(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """With --keep the hosts still run on their engines, and the command that is told removes them."""
    ended = testbed("run", "hola", "--keep", *pair.placed(), "--out", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for engine, host in zip(pair.engines, ("client", "server"), strict=True):
        (name,) = engine.containers()
        assert engine.docker("exec", name, "hostname") == host
    told = re.search(r"`testbed (clean --engines \S+)`", ended.stderr)
    assert told, ended.stderr
    assert testbed(*told[1].split()).returncode == 0


def test_watched(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """--live tells each packet once, as its sender sent it, though nobody hears the wire: also the one that is lost."""
    ended = testbed("run", "hs-synack-lost-1", "--live", *pair.placed(), *RETRIES, "--out", tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    live = [
        line.split("packet", 1)[1].strip()
        for line in ended.stdout.splitlines()
        if re.match(r" +\d+\.\d+ +packet", line)
    ]
    (result,) = sorted(tmp_path.glob("2*/hs-synack-lost-1*/result.json"))[-1:]
    sent = sum(way["packets"] for way in json.loads(result.read_text())["wire"].values())
    assert len([says for says in live if "server:7456" in says]) == sent
    assert len([says for says in live if says.startswith("server:7456") and " S. " in says]) >= 2


# ---------------------------------------------------------------- what goes wrong between machines


class LyingChannel(AttachedChannel):
    """A channel whose agent tells a time 5 s ahead when it is asked for its clock, and at no other time."""

    def receive(self) -> bytes:
        """The agent's words."""
        line = re.compile(rb'("ok":\s*\{"time_ns":\s*)([0-9]{19})(\})')
        return line.sub(lambda m: m[1] + str(int(m[2]) + 5_000_000_000).encode() + m[3], super().receive())


def play(path: Path, pair: Swarm, out: Path) -> Done:
    """One run in this process."""
    options = Options(backend="swarm", out=out, place=tuple(pair.placed()[1::2]))
    return run_scenario(Job(path, path.stem), options, new_run_id(), Stop(), lambda words: None)


def test_clock_that_lies(pair: Swarm, clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine whose clock is told 5 s wrong over the control channel: the packets contradict that: unknown."""
    honest = SwarmLab.open

    def lying(lab: SwarmLab, host: str) -> AttachedChannel:
        channel = honest(lab, host)
        if host == "server":
            channel.__class__ = LyingChannel
        return channel

    monkeypatch.setattr(SwarmLab, "open", lying)
    done = play(ROOT / "scenarios" / "seeds" / "hola.yaml", pair, tmp_path)
    assert done.judgement.verdict == "unknown"
    assert "packets contradict the clocks" in done.judgement.checks[0].why


def slow(folder: Path) -> Path:
    """The scenario that lasts, as a file."""
    path = folder / "slow.yaml"
    path.write_text(SLOW)
    return path


def await_open(process: subprocess.Popen[str]) -> None:
    """Until a run that is watched with --live tells that data is on its way."""
    assert process.stdout
    assert process.stderr
    for line in process.stdout:
        if "send ok" in line:
            return
    raise AssertionError(f"it ended before its connection was open: {process.stderr.read()}")


def test_overlay_cut(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """The cable of one engine is pulled while a connection goes on: unknown, since the overlay lost packets.

    Over the cable swarm would have heard that the containers are gone; `clean` removes the network once it hears again.
    """
    with running("run", slow(tmp_path), "--live", *pair.placed(), "--timeout", "7", "--out", tmp_path) as process:
        await_open(process)
        pair.engines[1].cut()
        try:
            said, complaints = process.communicate(timeout=60)
        finally:
            pair.engines[1].mend()
    assert process.returncode == 3, said
    assert "unknown" in said, complaints
    (result,) = tmp_path.glob("2*/slow/result.json")
    problems = " ".join(problem["says"] for problem in json.loads(result.read_text())["problems"])
    assert "never came there" in problems or "did not hear" in problems
    assert [engine.containers() for engine in pair.engines] == [[], []]
    pair.await_ready()
    assert testbed("clean", "--engines", ",".join(engine.url for engine in pair.engines)).returncode == 0


def test_engine_killed(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """The server's engine loses its power: unknown; no container is left on the other; `clean` does the rest later."""
    a, b = pair.engines
    with running("run", slow(tmp_path), "--live", *pair.placed(), "--out", tmp_path) as process:
        await_open(process)
        b.kill()
        said, complaints = process.communicate(timeout=90)
    assert process.returncode == 3, said + complaints
    assert a.containers() == []
    b.start(tied=True)
    b.await_up()
    assert b.containers() != [], "what was there when the power went"
    pair.await_ready()
    ended = testbed("clean", "--engines", f"{a.url},{b.url}")
    assert ended.returncode == 0, ended.stdout + ended.stderr


# ---------------------------------------------------------------- the way to an engine

# A stand-in for ssh(1), which is tested elsewhere: it forwards a socket as `-L` says, and notes that it was called.
STAND_IN = """\
#!{python}
import socket, sys, threading
open({notes!r}, "a").write(" ".join(sys.argv[1:]) + "\\n")
here, _, there = sys.argv[sys.argv.index("-L") + 1].partition(":")

def carry(source, sink):
    while piece := source.recv(65536):
        sink.sendall(piece)
    sink.shutdown(socket.SHUT_WR)

listener = socket.socket(socket.AF_UNIX)
listener.bind(here)
listener.listen()
while True:
    one, other = listener.accept()[0], socket.socket(socket.AF_UNIX)
    other.connect(there)
    for pair in ((one, other), (other, one)):
        threading.Thread(target=carry, args=pair, daemon=True).start()
"""


def test_engine_behind_ssh(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """A whole run over ssh logs in once, and the forward ends with the command."""
    notes, program = tmp_path / "notes", tmp_path / "ssh"
    program.write_text(STAND_IN.format(python=sys.executable, notes=str(notes)))
    program.chmod(0o755)
    a, b = pair.engines
    far = f"ssh://lab@far{b.folder}/docker.sock"
    path = f"{tmp_path}:{os.environ['PATH']}"
    ended = testbed(
        "run", "hola", "--place", f"client={a.url}", "--place", f"server={far}", "--out", tmp_path, PATH=path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (call,) = notes.read_text().splitlines()
    assert call.endswith("lab@far")
    assert far in ended.stdout, "how to play it again"
    forwards = [words for words in Path("/proc").glob("[0-9]*/cmdline") if is_of(words, str(program))]
    assert forwards == []


def is_of(cmdline: Path, program: str) -> bool:
    """Whether a process was started from this program."""
    try:
        return program.encode() in cmdline.read_bytes()
    except OSError:
        return False


# ---------------------------------------------------------------- suites on several engines, doctor


def test_suite_outlives_an_engine(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """A suite is spread over engines; those of one that dies are played on the other, and all have a verdict."""
    a, b = pair.engines
    chosen = (
        "hola",
        "hello",
        "got-connection",
        "who-shook-hands",
        "hs-synack-lost-1",
        "server-unavailable",
        "hs-syn-lost-1",
    )
    words = ("run", *chosen, "--engines", f"{a.url},{b.url}", "--jobs", "1", "--out", tmp_path)
    with running(*words) as process:
        read_until(process, "using the lab")
        b.kill()
        said, complaints = process.communicate(timeout=120)
    b.start(tied=True)
    b.await_up()
    pair.await_ready()
    assert process.returncode == 0, said + complaints
    assert said.splitlines()[-1] == "7 passed"
    assert "has died; its runs are moved" in complaints
    assert testbed("clean", "--engines", f"{a.url},{b.url}").returncode == 0


def test_doctor(pair: Swarm, told: dict[str, dict[str, Any]], clean: None) -> None:
    """Of two engines that have worked together everything is well; of one that is not there, it says what to run."""
    a, b = pair.engines
    ended = testbed("doctor", "--engines", f"{a.url},{b.url}", "--json")
    found = {each["name"]: each for each in json.loads(ended.stdout)}
    assert (ended.returncode, [name for name, each in found.items() if not each["ok"]]) == (0, [])
    assert "1450" in found["overlay"]["says"]
    ended = testbed("doctor", "--engines", f"{a.url},unix:///nowhere/docker.sock", "--json")
    missing = [each for each in json.loads(ended.stdout) if not each["ok"]]
    assert ended.returncode == 3
    assert missing
    assert all(each["remedy"] for each in missing)
