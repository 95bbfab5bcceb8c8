"""A lab with somebody in the middle: what its agents say can be changed, kept back, or answered by a deed.

A meddler is told of every line of every agent and gives the lines that the testbed hears in its place. Everything else
is real: hosts, agents, captures, the wire.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.lab.contract import Channel, Lab

Message = dict[str, Any]
# The host, what it was asked (empty: it is an event), its arguments, and what it says; gives what is heard.
Meddler = Callable[[str, str, Message, Message], list[Message | bytes]]


@dataclass
class MeddledLab:
    """A lab whose agents are overheard."""

    lab: Lab
    meddler: Meddler
    refuses_to_close: str = ""
    backend: str = "meddled"
    versions: Mapping[str, str] = field(default_factory=dict)

    def open(self, host: str) -> Channel:
        """An agent with somebody between it and us."""
        return _Channel(self.lab.open(host), host, self.meddler)

    def ending(self, host: str) -> str:
        """As the lab has it."""
        return self.lab.ending(host)

    def close(self) -> None:
        """Takes the lab down, and says that it could not where it is to."""
        from testbed.errors import LabError

        self.lab.close()
        if self.refuses_to_close:
            raise LabError(self.refuses_to_close)


class _Channel:
    """What an agent says, line by line through the meddler."""

    def __init__(self, channel: Channel, host: str, meddler: Meddler) -> None:
        self._channel, self._host, self._meddler = channel, host, meddler
        self._asked: dict[int, Message] = {}
        self._rest = b""

    def send(self, line: bytes) -> None:
        """Notes what is asked."""
        request = json.loads(line)
        self._asked[request["id"]] = request
        self._channel.send(line)

    def receive(self) -> bytes:
        """What the testbed is to hear; b"" when the agent has ended."""
        while got := self._channel.receive():
            *lines, self._rest = (self._rest + got).split(b"\n")
            if said := b"".join(self._heard(line) for line in lines):
                return said
        return b""

    def _heard(self, line: bytes) -> bytes:
        message: Message = json.loads(line)
        request = self._asked.get(message.get("id", 0), {})
        given = self._meddler(self._host, str(request.get("do", "")), request, message)
        return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in given)

    def close(self) -> None:
        """Ends the agent."""
        self._channel.close()


def edit(do: str, host: str, **changed: Any) -> Meddler:
    """A host's answer to a request has other values; a function gets what was there."""

    def meddle(who: str, asked: str, _: Message, said: Message) -> list[Message | bytes]:
        if (who, asked) == (host, do) and "ok" in said:
            ok = said["ok"]
            new = {key: value(ok[key]) if callable(value) else value for key, value in changed.items()}
            said = {**said, "ok": {**ok, **new}}
        return [said]

    return meddle


def refuse(do: str, host: str, says: str) -> Meddler:
    """A host answers a request with an error."""

    def meddle(who: str, asked: str, _: Message, said: Message) -> list[Message | bytes]:
        if (who, asked) == (host, do):
            said = {"id": said["id"], "error": {"kind": "EIO", "says": says}}
        return [said]

    return meddle


def change_chunks(host: str, change: Callable[[bytes], bytes]) -> Meddler:
    """The files of a host come over as something else."""
    import base64

    def meddle(who: str, _: str, __: Message, said: Message) -> list[Message | bytes]:
        if who == host and said.get("event") == "chunk":
            said = {**said, "data": base64.b64encode(change(base64.b64decode(said["data"]))).decode()}
        return [said]

    return meddle


def once(event: str, host: str, act: Callable[[], None], *more: Message | bytes) -> Meddler:
    """When a host first tells of such an event, something is done, and more is heard."""
    done: list[str] = []

    def meddle(who: str, _: str, __: Message, said: Message) -> list[Message | bytes]:
        if who == host and said.get("event") == event and not done:
            done.append(event)
            act()
            return [said, *more]
        return [said]

    return meddle


# ---------------------------------------------------------------- the processes of a lab of namespaces


def agents_of(owner: int) -> dict[str, int]:
    """The agents that a testbed of this pid has on its hosts, by host."""
    found: dict[str, int] = {}
    for pid, name in family(owner):
        if name.startswith("agent "):
            found.setdefault(name.removeprefix("agent "), pid)
    return found


def family(pid: int) -> Iterator[tuple[int, str]]:
    """The processes below one, parents first, with their names."""
    for child in children(pid):
        try:
            yield child, Path(f"/proc/{child}/comm").read_text().strip()
        except OSError:
            continue  # it has ended meanwhile
        yield from family(child)


def children(pid: int) -> list[int]:
    """What a process, in whichever of its threads, has started."""
    found: list[int] = []
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []  # it has ended meanwhile
    for thread in threads:
        try:
            found += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # so has this thread
    return sorted(found)


def kill_agent(host: str, number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """The agent of a host is sent a signal."""
    return lambda: os.kill(agents_of(os.getpid())[host], number)


def kill_child(host: str, which: int, number: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """A process of an agent's is sent a signal: 0 is the one that it started first."""
    return lambda: os.kill(children(agents_of(os.getpid())[host])[which], number)


def within(host: str, *words: str) -> Callable[[], None]:
    """A command in the network namespace of a host."""

    def act() -> None:
        command = ["nsenter", f"--net=/proc/{agents_of(os.getpid())[host]}/ns/net", *words]
        subprocess.run(command, check=True, capture_output=True)

    return act
