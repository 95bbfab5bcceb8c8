"""The agent's loop: order of answers, slow readers, captures, and that nothing outlives it."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from pathlib import Path

import pytest
from agent_driver import Agent, join, step

pytestmark = [pytest.mark.lab, pytest.mark.skipif(not shutil.which("unshare"), reason="unshare(1) is not here")]
MILLISECOND = 1_000_000
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="joins two namespaces by a veth: needs root")


def children(pid: int) -> list[int]:
    """The processes that a process has begun, and theirs."""
    own = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*own, *(below for one in own for below in children(one))]


def await_end(pid: int) -> None:
    """Until a process has ended; fails when it has not within 20 s."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([descriptor], [], [], 20)[0], f"process {pid} still runs"
    os.close(descriptor)


def busy(agent: Agent) -> tuple[list[int], list[Path]]:
    """An agent with a capture, a sampler and two programs at work; its children and its directories."""
    agent.ask("capture.start", name="c", interface="lo", promiscuous=False, snap_length=65535)
    agent.ask("states.start", interval_ns=MILLISECOND)
    agent.play(step("listen", port=7456), step("parallel", times=5, steps=[step("wait", name="never")]))
    agent.play(step("listen", port=7457), step("hold"))
    agent.until("played")
    pids = children(agent.process.pid)
    assert len(pids) == 4
    return pids, list(Path("/tmp").glob(f"testbed-agent-{agent.process.pid}-*"))


def test_the_end_of_input_ends_all() -> None:
    """When standard input ends, the agent ends with code 0; no child and no file is left."""
    with Agent() as agent:
        pids, directories = busy(agent)
        assert directories
        assert agent.process.stdin
        agent.process.stdin.close()
        assert agent.process.wait(20) == 0
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        assert not [path for path in directories if path.exists()]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_end_of_the_agent_ends_its_children(number: int) -> None:
    """Even a SIGKILL of the agent leaves no child."""
    with Agent() as agent:
        pids, directories = busy(agent)
        agent.process.send_signal(number)
        for pid in pids:
            await_end(pid)
        agent.process.wait(20)
        for path in directories if number == signal.SIGKILL else []:
            shutil.rmtree(path)  # that one cannot clean up


def test_bye_is_answered() -> None:
    """bye: the answer, then the end."""
    with Agent() as agent:
        agent.ask("bye")
        assert agent.process.wait(20) == 0


def test_slow_requests_do_not_hold_up_others() -> None:
    """A canary.wait that lasts does not delay the answers to later requests."""
    with Agent() as agent:
        agent.ask("capture.start", name="c", interface="lo", promiscuous=False, snap_length=65535)
        slow = agent.send("canary.wait", name="c", token="never", timeout_ns=200 * MILLISECOND)
        agent.ask("hello")
        assert not agent._answers
        assert agent.answer(slow)["ok"] == {"heard": False}


@needs_root
def test_a_canary_is_heard_and_the_capture_fetched() -> None:
    """A canary sent by one host is heard by the other's capture; the file comes over in chunks, byte for byte."""
    with Agent() as one, Agent() as other:
        join(one, other)
        mac = other.ask("hello")["interfaces"]["eth0"]["mac"]
        other.ask("capture.start", name="eth0", interface="eth0", promiscuous=True, snap_length=65535)
        slow = other.send("canary.wait", name="eth0", token="t1", timeout_ns=10_000 * MILLISECOND)
        one.ask("canary.send", interface="eth0", to=mac, token="t1")
        assert other.answer(slow)["ok"] == {"heard": True}
        assert other.ask("canary.wait", name="eth0", token="t1", timeout_ns=0) == {"heard": True}
        stopped = other.ask("capture.stop", name="eth0")
        content = Path(stopped["path"]).read_bytes()
        number = other.send("fetch", path=stopped["path"], chunk=16)
        assert other.answer(number)["ok"] == {"bytes": len(content)}
        chunks = [event for event in other.events if event["event"] == "chunk"]
        assert {event["id"] for event in chunks} == {number}
        assert b"".join(base64.b64decode(event["data"]) for event in chunks) == content


def test_a_slow_reader_loses_no_line() -> None:
    """Twenty thousand events and a large file, while nobody reads: all lines come, whole and in order."""
    with Agent() as agent:
        content = os.urandom(3_000_000)
        agent.ask("capture.start", name="c", interface="lo", promiscuous=False, snap_length=64)
        path = Path(agent.ask("capture.stop", name="c")["path"]).with_name("large")
        path.write_bytes(content)
        fetch = agent.send("fetch", path=str(path), chunk=10_000)
        agent.play(step("repeat", times=20_000, steps=[step("log", line="x")]))
        agent.until("played")
        answer = agent.answer(fetch)["ok"]
        assert answer == {"bytes": len(content)}
        data = b"".join(base64.b64decode(event["data"]) for event in agent.events if event["event"] == "chunk")
        assert data == content
        rounds = [event["round"][0] for event in agent.events if event.get("step") == "log"]
        assert rounds == list(range(20_000))


def test_a_program_killed_by_a_signal_is_told_with_it() -> None:
    """A player that a signal ends has played, with no exit code and the signal's name."""
    with Agent() as agent:
        agent.play(step("mark", name="here"), step("wait", name="never"))
        agent.until("mark", name="here")
        (pid,) = children(agent.process.pid)
        os.kill(pid, signal.SIGKILL)
        played = agent.until("played")
        assert (played["exit"], played["signal"]) == (None, "SIGKILL")


def test_requests_that_make_no_sense() -> None:
    """Each is answered with kind usage and what is wrong; the agent goes on."""
    with Agent() as agent:
        for request, says in (
            ({"do": "dance"}, "there is no request 'dance'"),
            ({"do": "fetch", "path": 7, "chunk": 1}, "path is 7; it must be of type str"),
            ({"do": "capture.stop", "name": "x"}, "no capture called x runs"),
            ({"do": "states.stop"}, "the sampler does not run"),
            ({"do": "wire.read"}, "no wire is applied"),
            ({"do": "play", "steps": [{"step": "jump"}]}, "addresses is None"),
        ):
            answer = agent.answer(agent.send(**request))
            assert answer["error"]["kind"] == "usage"
            assert says in answer["error"]["says"]
        steps = [step("repeat", times=2, steps=[step("accept"), step("jump")])]
        wrong = agent.answer(agent.send("play", steps=steps, addresses={}, host="a", family="ipv4"))
        assert "steps 0.1: there is no step 'jump'" in wrong["error"]["says"]
        missing = agent.answer(agent.send("fetch", path="/no/such/file", chunk=10))
        assert missing["error"]["kind"] == "ENOENT"
        assert agent.ask("hello")["version"]


A_HELLO = (10, 20)  # packets of a connection that is opened and closed, each captured as it leaves and as it comes


def observe(agent: Agent, name: str) -> dict[str, object]:
    """A capture and a sampler while a program says hello on the loopback; what the capture counted."""
    agent.ask("capture.start", name=name, interface="lo", promiscuous=False, snap_length=65535)
    agent.ask("states.start", interval_ns=MILLISECOND)
    agent.run(step("listen", port=7456), step("connect", host="a", port=7456), step("close"))
    agent.ask("states.stop")
    stopped: dict[str, object] = agent.ask("capture.stop", name=name)
    return stopped


def test_processes_are_kept_from_run_to_run() -> None:
    """The same two processes work again after a reset, which finds the host clean; each capture has its own file."""
    with Agent() as agent:
        seen = []
        for name in ("first", "second", "third"):
            stopped = observe(agent, name)
            assert stopped["packets"] in range(*A_HELLO)
            assert stopped["dropped"] == 0
            assert str(stopped["path"]).endswith(f"/{name}.frames")
            assert agent.ask("reset") == {"clean": True, "left": []}
            seen.append(children(agent.process.pid))
        assert len(seen[0]) == 2
        assert seen[0] == seen[1] == seen[2]


def test_a_kept_process_that_died_is_replaced() -> None:
    """Somebody kills those that wait: the next run has new ones, and misses nothing."""
    with Agent() as agent:
        observe(agent, "first")
        before = children(agent.process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
            await_end(pid)
        assert observe(agent, "second")["dropped"] == 0
        assert agent.ask("reset") == {"clean": True, "left": []}
        assert not set(before) & set(children(agent.process.pid))


def test_what_is_kept_holds_nothing_of_a_program_that_injects() -> None:
    """A capture that began while the wire was heard for a program: after a reset no packet socket is left."""
    with Agent() as agent:
        agent.ask("inject.open", interface="lo", hosts={})
        observe(agent, "first")
        assert agent.ask("reset") == {"clean": True, "left": []}
