"""Client and server on two engines: the same stories as on one machine, and what goes wrong between machines.

Two further engines are brought up in namespaces of their own (swarm_pair.py). CI plays a representative dozen of
scenarios; with TESTBED_SWARM=all, as `make test-swarm` sets it, all seeds and all of handshake and teardown.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_driver import ROOT, SEEDS, read_until, running, testbed, testbed_within
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
    ),
)
LATENESS_S = 900.0 if WHOLE else 120.0
UNDER_WAY_S = 2.5  # after `playing`, the connection of this one is open and in use:
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
    told = [
        path.stem for kind in ("handshake", "teardown") for path in sorted((ROOT / "scenarios" / kind).glob("*.yaml"))
    ]
    return [*SEEDS, *told]


@pytest.fixture(scope="module")
def told(pair: Swarm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results over two engines, by scenario."""
    out = tmp_path_factory.mktemp("swarm")
    options = ("--json", "--jobs", "2", "--retries", "1", *pair.placed())
    ended = testbed_within(LATENESS_S, "run", *names(), *options, "--out", out)
    results = {each["scenario"]: each for each in json.loads(ended.stdout)["results"]}
    return {name: {**result, "folder": str(out / "latest" / name)} for name, result in results.items()}


@pytest.fixture(scope="module")
def alone(told: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The results of the same scenarios on one machine."""
    options = ("--json", "--jobs", "2", "--retries", "1", "--backend", "netns")
    ended = testbed_within(LATENESS_S, "run", *told, *options, "--out", tmp_path_factory.mktemp("alone"))
    return {each["scenario"]: each for each in json.loads(ended.stdout)["results"]}


def test_stories_pass(told: dict[str, dict[str, Any]]) -> None:
    """Every story passes with client and server on different engines; what needs other ears is not applicable."""
    wrong = {
        name: [c["why"] for c in r["checks"] if c["verdict"] != "passed"]
        for name, r in told.items()
        if r["verdict"] != "passed"
    }
    assert wrong == {}
    assert len(told) >= (60 if WHOLE else len(FEW))
    two = [result for result in told.values() if len(result["hosts"]) > 1]
    assert all(len({clock["engine"] for clock in result["clocks"]}) == 2 for result in two)


def test_same_stories_as_on_one_machine(told: dict[str, dict[str, Any]], alone: dict[str, dict[str, Any]]) -> None:
    """But for addresses, MSS and times, the results are those of one machine."""
    assert {name: gist(result) for name, result in told.items()} == {name: gist(alone[name]) for name in told}


def gist(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on where the hosts are."""
    return {
        "verdict": result["verdict"],
        "steps": {
            name: [(step["path"], step["step"], step["outcome"], step["errno"]) for step in host["steps"]]
            for name, host in result["hosts"].items()
            if name != "sniffer"
        },
        "checks": [(check["name"], check["verdict"], check["expected"]) for check in result["checks"]],
        "connections": sorted(
            (one["handshake"]["outcome"], one["teardown"]["kind"], one["conn_state"], one["completeness"])
            for one in result["connections"]
        ),
        "vantages": sorted(capture["vantage"] for capture in result["captures"]),
        "faults": [fault["index"] for fault in result["faults"]],
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


def test_overlay_cut(pair: Swarm, clean: None, tmp_path: Path) -> None:
    """The cable of one engine is pulled while a connection goes on: unknown, since the overlay lost packets.

    Over the cable swarm would have heard that the containers are gone; `clean` removes the network once it hears again.
    """
    with running("run", slow(tmp_path), *pair.placed(), "--timeout", "7", "--out", tmp_path) as process:
        read_until(process, "playing")
        time.sleep(UNDER_WAY_S)
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
    with running("run", slow(tmp_path), *pair.placed(), "--out", tmp_path) as process:
        read_until(process, "playing")
        time.sleep(UNDER_WAY_S)
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
