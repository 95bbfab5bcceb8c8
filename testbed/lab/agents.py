"""Speaking with the agents of a lab: requests, answers and events, as docs/agent-protocol.md has them.

One thread per agent reads its lines into one inbox, so that everything is heard in one order and one place waits.

What an agent says has the shapes of `hearing`, or is told as a problem. One that says more than `hearing` allows is not
heard any more; one that talks faster than it is heard has to wait.
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
from testbed.lab import hearing
from testbed.lab.contract import Channel, Lab, renamed
from testbed.stop import Stop

Message = Mapping[str, Any]
LONGEST_LINE = 4 << 20  # an agent that sends more than this without a newline has lost its mind
ANSWER_TIMEOUT_S = 20.0
FETCH_TIMEOUT_S = 120.0
FETCH_CHUNK = 48 * 1024  # bytes of a file in one line
PAUSE_S = 0.005  # while more waits to be heard than may


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


@dataclass(slots=True)
class Told:
    """How much one agent has said: bytes read since it was started, and heard; events, and bytes of them, of this run.

    The reading thread alone writes `read`, and who hears alone the others.
    """

    read: int = 0
    heard: int = 0
    events: int = 0
    size: int = 0


class Agents:
    """The agents of a lab, for one run after another: each begins with `serve`."""

    def __init__(self, lab: Lab, stop: Stop, on_event: OnEvent = lambda host, message: None) -> None:
        self.lab = lab
        self._stop = stop
        self._on_event = on_event
        self._channels: dict[str, Channel] = {}
        self._inbox: queue.SimpleQueue[tuple[str, Message | None, int]] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._asked: dict[Ticket, str] = {}  # what, until its answer is taken
        self._answers: dict[Ticket, Message] = {}
        self._chunks: dict[Ticket, list[bytes]] = {}
        self._fetched: dict[Ticket, int] = {}  # bytes of those
        self._told: dict[str, Told] = {}
        self._called: dict[str, str] = {}  # the names of hosts by those that they had when their agents were started
        self._closing = threading.Event()
        self._followers: dict[Ticket, Callable[[bytes], None]] = {}
        self._lock = threading.Lock()
        self.lost: dict[str, str] = {}

    def open(self, hosts: Iterable[str]) -> None:
        """Start the agents, all at once; those that run already go on."""
        from concurrent.futures import ThreadPoolExecutor

        names = [name for name in hosts if name not in self._channels]
        with ThreadPoolExecutor(max_workers=max(1, min(len(names), 16))) as pool:
            for name, channel in zip(names, pool.map(self.lab.open, names), strict=True):
                self._channels[name], self._told[name], self._called[name] = channel, Told(), name
                threading.Thread(target=self._read, args=(name, channel), daemon=True, name=f"agent {name}").start()

    def _read(self, host: str, channel: Channel) -> None:
        rest, told = b"", self._told[host]
        while got := channel.receive():
            *lines, rest = (rest + got).split(b"\n")
            for line in lines:
                told.read += len(line)
                self._inbox.put((host, _parse(line), len(line)))
            if len(rest) > LONGEST_LINE:
                break
            while told.read - told.heard > hearing.MOST_WAITING and not self._closing.wait(PAUSE_S):
                pass
        self._inbox.put((host, None, 0))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Where agents were started."""
        return tuple(self._channels)

    def serve(self, on_event: OnEvent) -> None:
        """Work for another run from now on: its events go to `on_event`, and what came before is dropped."""
        self._on_event = lambda host, message: None
        while not self._inbox.empty():
            self._hear(*self._inbox.get())  # also that an agent has ended meanwhile
        for known in (self._asked, self._answers, self._chunks, self._fetched, self._followers):
            known.clear()
        for told in self._told.values():
            told.events = told.size = 0
        self._on_event = on_event

    def rename(self, names: Mapping[str, str]) -> None:
        """Call hosts by other names, between two runs."""
        self._channels = renamed(self._channels, names)
        self._told = renamed(self._told, names)
        self.lost = renamed(self.lost, names)
        self._called = {first: names.get(name, name) for first, name in self._called.items()}

    def wake(self) -> None:
        """Make whoever waits look at `stop`."""
        self._inbox.put(("", {}, 0))

    def ask(self, host: str, do: str, /, **arguments: Any) -> Ticket:
        """Send a request; `wait` for its answer."""
        ticket = Ticket(host, next(self._numbers))
        self._asked[ticket] = do
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
        answer, do = self._answers.pop(ticket), self._asked.pop(ticket, "")
        if isinstance(error := answer.get("error"), dict):
            return LabError(f"the agent on {ticket.host} says: {error.get('says', error)}")
        ok = answer.get("ok")
        if says := hearing.misfit(ok, hearing.ANSWERS.get(do, dict), "it"):
            return BlindError(f"the answer of the agent on {ticket.host} to {do} makes no sense: {says}")
        assert isinstance(ok, dict)
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
        self._fetched.pop(ticket, None)
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
                host, message, size = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return False
            self._hear(host, message, size)
        return True

    def _hear(self, started_as: str, message: Message | None, size: int) -> None:
        host = self._called.get(started_as, started_as)
        if host in self._told:
            self._told[host].heard += size
        if message is None:
            self._lose(host)
        elif "event" in message:
            if says := hearing.event_misfit(message):
                message = {"event": "problem", "says": f"the agent sent an event that makes no sense: {says}"}
            if message["event"] == "chunk":
                self._keep(Ticket(host, message["id"]), base64.b64decode(message["data"]))
            elif host not in self.lost:
                self._tell(host, message, size)
        elif isinstance(number := message.get("id"), int) and (ticket := Ticket(host, number)) in self._asked:
            self._answers.setdefault(ticket, message)

    def _keep(self, ticket: Ticket, chunk: bytes) -> None:
        """A piece of a file; one that nobody asked for is dropped."""
        if follower := self._followers.get(ticket):
            follower(chunk)
        elif self._asked.get(ticket) == "fetch" and ticket.host not in self.lost:
            self._fetched[ticket] = self._fetched.get(ticket, 0) + len(chunk)
            self._chunks.setdefault(ticket, []).append(chunk)
            if self._fetched[ticket] > hearing.MOST_FETCHED:
                self._silence(ticket.host, f"a file of more than {hearing.MOST_FETCHED} bytes")

    def _tell(self, host: str, message: Message, size: int) -> None:
        told = self._told.setdefault(host, Told())
        told.events, told.size = told.events + 1, told.size + size
        if told.events > hearing.MOST_EVENTS or told.size > hearing.MOST_TOLD:
            self._silence(host, f"more than {hearing.MOST_EVENTS} events, or {hearing.MOST_TOLD} bytes of them")
        else:
            self._on_event(host, message)

    def _silence(self, host: str, said: str) -> None:
        """An agent that says too much is as good as lost."""
        self.lost[host] = f"the agent on {host} sent {said}, and is not heard any more"
        self._chunks = {ticket: chunks for ticket, chunks in self._chunks.items() if ticket.host != host}
        self._channels[host].close()

    def _lose(self, host: str) -> None:
        if host not in self.lost:
            self.lost[host] = self.lab.ending(host)

    def close(self) -> None:
        """End the agents."""
        self._closing.set()
        for channel in self._channels.values():
            channel.close()


def _parse(line: bytes) -> Message:
    try:
        message = json.loads(line)
        if b"\\ud" in line or b"\\uD" in line or not line.isascii():
            json.dumps(message, ensure_ascii=False).encode()  # half of a surrogate pair can be written nowhere
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        return {"event": "problem", "says": f"the agent sent a line that is no message: {line[:200]!r}"}
    return message
