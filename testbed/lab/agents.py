"""Speaking with the agents of a lab: requests, answers and events, as docs/agent-protocol.md has them.

One thread per agent reads its lines into one inbox, so that everything is heard in one order and one place waits.
"""

from __future__ import annotations

import base64
import itertools
import json
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from testbed.errors import BlindError, LabError
from testbed.lab.contract import Channel, Lab
from testbed.stop import Stop

Message = Mapping[str, Any]
LONGEST_LINE = 4 << 20  # an agent that sends more than this without a newline has lost its mind
ANSWER_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 120.0
FETCH_CHUNK = 48 * 1024  # bytes of a file in one line


class AgentLost(LabError):
    """An agent, or the host under it, came to an end while we needed it."""

    def __init__(self, host: str, says: str) -> None:
        super().__init__(says)
        self.host = host


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request on its way."""

    host: str
    number: int


OnEvent = Callable[[str, Message], None]


class Agents:
    """The agents of a lab, for one run after another: each begins with `serve`."""

    def __init__(self, lab: Lab, stop: Stop, on_event: OnEvent = lambda host, message: None) -> None:
        self.lab = lab
        self._stop = stop
        self._on_event = on_event
        self._channels: dict[str, Channel] = {}
        self._inbox: queue.SimpleQueue[tuple[str, Message | None]] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._answers: dict[Ticket, Message] = {}
        self._chunks: dict[Ticket, list[bytes]] = {}
        self._followers: dict[Ticket, Callable[[bytes], None]] = {}
        self._lock = threading.Lock()
        self.lost: dict[str, str] = {}

    def open(self, hosts: Iterable[str]) -> None:
        """Start the agents, all at once; those that run already go on."""
        from concurrent.futures import ThreadPoolExecutor

        names = [name for name in hosts if name not in self._channels]
        with ThreadPoolExecutor(max_workers=max(1, min(len(names), 16))) as pool:
            for name, channel in zip(names, pool.map(self.lab.open, names), strict=True):
                self._channels[name] = channel
                threading.Thread(target=self._read, args=(name, channel), daemon=True, name=f"agent {name}").start()

    def _read(self, host: str, channel: Channel) -> None:
        rest = b""
        while got := channel.receive():
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                self._inbox.put((host, _parse(line)))
            if len(rest) > LONGEST_LINE:
                break
        self._inbox.put((host, None))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where agents were started."""
        return tuple(self._channels)

    def serve(self, on_event: OnEvent) -> None:
        """Work for another run from now on: its events go to `on_event`, and what came before is dropped."""
        self._on_event = lambda host, message: None
        while not self._inbox.empty():
            self._hear(*self._inbox.get())  # also that an agent has ended meanwhile
        self._answers.clear()
        self._chunks.clear()
        self._followers.clear()
        self._on_event = on_event

    def wake(self) -> None:
        """Make whoever waits look at `stop`."""
        self._inbox.put(("", {}))

    def ask(self, host: str, do: str, /, **arguments: Any) -> Ticket:
        """Send a request; `wait` for its answer."""
        ticket = Ticket(host, next(self._numbers))
        line = json.dumps({"id": ticket.number, "do": do, **arguments}, separators=(",", ":")) + "\n"
        try:
            self._channels[host].send(line.encode())
        except OSError:
            self._lose(host)
        return ticket

    def wait(self, tickets: Iterable[Ticket], timeout_s: float = ANSWER_TIMEOUT_S) -> list[Message]:
        """The answers, in order. Raises AgentLost, LabError for a refusal, BlindError for silence."""
        answers = self.gather(tickets, timeout_s)
        for answer in answers:
            if isinstance(answer, LabError):
                raise answer
        return [answer for answer in answers if not isinstance(answer, LabError)]

    def gather(self, tickets: Iterable[Ticket], timeout_s: float = ANSWER_TIMEOUT_S) -> list[Message | LabError]:
        """The answers, in order, or in an answer's place the error that `wait` would raise."""
        asked = list(tickets)
        self.run_until(lambda: all(ticket in self._answers or ticket.host in self.lost for ticket in asked), timeout_s)
        return [self._answer(ticket, timeout_s) for ticket in asked]

    def _answer(self, ticket: Ticket, timeout_s: float) -> Message | LabError:
        if ticket not in self._answers:
            if ticket.host in self.lost:
                return AgentLost(ticket.host, self.lost[ticket.host])
            return BlindError(f"the agent on {ticket.host} did not answer within {timeout_s:g} s")
        answer = self._answers.pop(ticket)
        if "error" in answer:
            return LabError(f"the agent on {ticket.host} says: {answer['error'].get('says', answer['error'])}")
        ok: Message = answer["ok"]
        return ok

    def request(self, host: str, do: str, /, *, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Message:
        """Ask one agent and wait for its answer."""
        return self.wait([self.ask(host, do, **arguments)], timeout_s)[0]

    def fetch(self, files: Iterable[tuple[str, str]]) -> list[bytes | LabError]:
        """Files by (host, path), whole, or in a file's place why it could not be had."""
        wanted = list(files)
        tickets = [self.ask(host, "fetch", path=path, chunk=FETCH_CHUNK) for host, path in wanted]
        answers = self.gather(tickets, FETCH_TIMEOUT_S)
        return [self._file(ticket, answer) for ticket, answer in zip(tickets, answers, strict=True)]

    def follow(self, host: str, capture: str, on_piece: Callable[[bytes], None]) -> Ticket:
        """Give pieces of a capture's file as it grows; the answer comes when the capture has ended and all is given."""
        ticket = self.ask(host, "capture.follow", name=capture, chunk=FETCH_CHUNK)
        self._followers[ticket] = on_piece
        return ticket

    def _file(self, ticket: Ticket, answer: Message | LabError) -> bytes | LabError:
        content = b"".join(self._chunks.pop(ticket, []))
        if isinstance(answer, LabError):
            return answer
        if len(content) != answer["bytes"]:
            return BlindError(f"only {len(content)} of {answer['bytes']} bytes of a file came over from {ticket.host}")
        return content

    def run_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Hear messages until `done`; False when the time is over first. Raises Interrupted when asked to stop."""
        deadline = time.monotonic() + timeout_s
        while not done():
            self._stop.check()
            try:
                host, message = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return False
            self._hear(host, message)
        return True

    def _hear(self, host: str, message: Message | None) -> None:
        if message is None:
            self._lose(host)
        elif message.get("event") == "chunk":
            ticket, chunk = Ticket(host, message["id"]), base64.b64decode(message["data"])
            keep = self._followers.get(ticket) or self._chunks.setdefault(ticket, []).append
            keep(chunk)
        elif "event" in message:
            self._on_event(host, message)
        elif "id" in message:
            self._answers[Ticket(host, message["id"])] = message

    def _lose(self, host: str) -> None:
        if host not in self.lost:
            self.lost[host] = self.lab.ending(host)

    def close(self) -> None:
        """End the agents."""
        for channel in self._channels.values():
            channel.close()


def _parse(line: bytes) -> Message:
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        return {"event": "problem", "says": f"the agent sent a line that is no message: {line[:200]!r}"}
    return message
