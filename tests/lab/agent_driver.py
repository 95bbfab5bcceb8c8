"""Talks to a real agent process in a network namespace of its own, for the tests of this folder."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("TESTBED_AGENT_PYTHON", sys.executable)  # to try the agent on another Python
PATIENCE_S = 20.0

Message = dict[str, Any]


class Agent:
    """One agent: `ask` for an answer, `until` for an event; all events are kept in `events`."""

    def __init__(self, start: Sequence[str] = ("ip link set lo up",)) -> None:
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (closed in __exit__)
        script = "; ".join([*start, f"exec {PYTHON} -m testbed.agent"])
        self.process = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONPATH": str(ROOT)},
        )
        self.events: list[Message] = []
        self._answers: dict[int, Message] = {}
        self._number = 0
        self._rest = b""

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()
            self._complaints.seek(0)
            said = self._complaints.read().decode()
            self._complaints.close()
        assert not said, f"the agent complained:\n{said}"

    def send(self, do: str, **keys: Any) -> int:
        """Sends a request; its number."""
        assert self.process.stdin
        self._number += 1
        self.process.stdin.write(json.dumps({"id": self._number, "do": do, **keys}).encode() + b"\n")
        self.process.stdin.flush()
        return self._number

    def answer(self, number: int) -> Message:
        """The whole answer to a request."""
        self._read_until(lambda: number in self._answers, f"the answer to request {number}")
        return self._answers.pop(number)

    def ask(self, do: str, **keys: Any) -> Message:
        """Sends a request; its `ok`."""
        answer = self.answer(self.send(do, **keys))
        assert "ok" in answer, answer
        ok: Message = answer["ok"]
        return ok

    def play(self, *steps: Message, host: str = "a", family: str = "ipv4", **more: Any) -> None:
        """Starts a program; host `a` is this one."""
        here = {"a": "127.0.0.1" if family == "ipv4" else "::1"}
        self.ask("play", **{"steps": steps, "addresses": here, "host": host, "family": family, "seed": 1, **more})

    def run(self, *steps: Message, **more: Any) -> list[Message]:
        """Plays a program to its end; what it reported of its steps."""
        before = len(self.events)
        self.play(*steps, **more)
        self.until("played", since=before)
        return [event for event in self.events[before:] if event["event"] == "step"]

    def until(self, kind: str, since: int = 0, **having: Any) -> Message:
        """The first event of the kind that has these values, among those from number `since` on."""

        def found() -> Message | None:
            wanted = {"event": kind, **having}
            return next((event for event in self.events[since:] if wanted.items() <= event.items()), None)

        self._read_until(lambda: found() is not None, f"{kind} {having}")
        event = found()
        assert event
        return event

    def _read_until(self, done: Callable[[], bool], what: str) -> None:
        assert self.process.stdout
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            left = deadline - time.monotonic()
            assert left > 0, f"no {what} within {PATIENCE_S} s; events: {self.events[-5:]}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                assert data, f"the agent ended before {what}"
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._sort(json.loads(line))

    def _sort(self, message: Message) -> None:
        if "event" in message:
            self.events.append(message)
        else:
            self._answers[message["id"]] = message


def step(name: str, /, **keys: Any) -> Message:
    """A step as the agent gets it; `as_`, `from_` and `await_` for the keys that Python has words for."""
    return {"step": name, **{key.rstrip("_"): value for key, value in keys.items()}}


def join(one: Agent, other: Agent) -> None:
    """A veth between two agents' namespaces: 198.18.0.2 (and fd00::2) here, 198.18.0.3 (fd00::3) there."""
    for agent in (one, other):
        agent.ask("hello")  # it is in its namespace by now
    first, second = one.process.pid, other.process.pid
    _ip("link", "add", "eth0", "netns", str(first), "type", "veth", "peer", "name", "eth0", "netns", str(second))
    for pid, last in ((first, 2), (second, 3)):
        enter = ("nsenter", f"--net=/proc/{pid}/ns/net")
        subprocess.run([*enter, "ip", "address", "add", f"198.18.0.{last}/24", "dev", "eth0"], check=True)
        subprocess.run([*enter, "ip", "address", "add", f"fd00::{last}/64", "dev", "eth0"], check=True)
        subprocess.run([*enter, "ip", "link", "set", "eth0", "up"], check=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
