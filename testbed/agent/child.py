"""A child process of the agent: it works on its own, talks JSON lines, and dies when the agent does.

Two socket pairs join the two: on one the child tells events whenever they happen, on the other the agent asks and
the child answers. So the descriptor of the events is readable exactly when there is something to read.

The child takes nothing of the agent along but these two sockets and what it is told to keep: an inherited copy of
a pipe would hide its end from somebody else. prctl(2) PR_SET_PDEATHSIG ends it even after a SIGKILL of the agent.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from testbed.agent import memory

Message = dict[str, Any]

PR_SET_PDEATHSIG = 1
PR_SET_TIMERSLACK = 29


class Lines:
    """JSON objects, one a line, over a stream socket."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.rest = b""
        self._ended = False

    def read(self) -> list[Message]:
        """What has come so far, without waiting."""
        chunks = [self.rest]
        while not self._ended:
            try:
                chunk = self.stream.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                chunk = b""
            self._ended = not chunk
            chunks.append(chunk)
        *lines, self.rest = b"".join(chunks).split(b"\n")
        return [json.loads(line) for line in lines]

    def ended(self) -> bool:
        """Whether the other side is gone, and all it said has been read."""
        return self._ended

    def write(self, message: Message) -> None:
        """Send one object and wait until it is away."""
        self.stream.sendall(_line(message))


class Parent:
    """The child's view of the agent: events to tell, requests to answer."""

    def __init__(self, events: socket.socket, control: socket.socket) -> None:
        self.events = events
        self.control = Lines(control)
        self.untold = bytearray()

    def fileno(self) -> int:
        """Readable when the agent asks something, or is gone."""
        return self.control.stream.fileno()

    def tell(self, event: Message) -> None:
        """Tell an event; what the agent is too busy to take now is kept for `flush`."""
        self.untold += _line(event)
        self.flush()

    def flush(self) -> bool:
        """Send what could not be sent before; true when nothing is left."""
        while self.untold:
            try:
                sent = self.events.send(self.untold, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            del self.untold[:sent]
        return True

    def asked(self) -> list[Message]:
        """Requests that have come. Ends the process when the agent is gone: there is nobody left to work for."""
        requests = self.control.read()
        if self.control.ended():
            raise SystemExit(0)
        return requests

    def answer(self, message: Message) -> None:
        """Answer the request. The agent waits for this, so it must not wait for the agent to read events first."""
        self.flush()
        self.control.write(message)


class Child:
    """The agent's view of a child process."""

    def __init__(self, name: str, pid: int, events: socket.socket, control: socket.socket) -> None:
        self.name = name
        self.pid = pid
        self.events = Lines(events)
        self.control = Lines(control)
        self.closed = False
        self.idle = False  # it has done its work, and holds nothing of it (spares.py)
        self._hushed: socket.socket | None = None
        self._kills = memory.count_kills()

    def begin_again(self, name: str) -> None:
        """It is given other work: from now on it has this name, and what happened before is no matter."""
        self.name, self.idle, self._kills = name, False, memory.count_kills()

    def fileno(self) -> int:
        """Readable when there are events to read."""
        return self.events.stream.fileno()

    def read_events(self) -> list[Message]:
        """Events that have come; the child's unexpected end is one of them, once."""
        if self.closed or self.events.ended():
            return []
        events = self.events.read()
        if self.events.ended():
            self._hush()
            events.append(problem(f"{self.name}: its process {self.pid} ended unexpectedly{self.short_of_memory()}"))
        return events

    def short_of_memory(self) -> str:
        """Words to put behind its end where the kernel has been ending processes since it began; else none."""
        return memory.kills_since(self._kills)

    def ask(self, request: Message, timeout_s: float = 10.0) -> Message:
        """Ask and wait for the answer. Raises what the child says went wrong, TimeoutError, or ConnectionError."""
        try:
            self.control.write(request)
        except BrokenPipeError:
            raise ConnectionError(f"{self.name}: its process {self.pid} is gone") from None
        return self.hear(timeout_s)

    def hear(self, timeout_s: float = 10.0) -> Message:
        """Wait for the next answer."""
        deadline = time.monotonic() + timeout_s
        while True:
            answers = self.control.read()
            if answers:
                return self._judge(answers[0])
            if self.control.ended():
                raise ConnectionError(f"{self.name}: its process {self.pid} ended without an answer")
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{self.name}: no answer from its process {self.pid} within {timeout_s:g} s")
            select.select([self.control.stream], [], [], left)

    def end(self) -> None:
        """End the process, whatever it does, and wait until it and what it held are gone. May be called again."""
        if self.closed:
            return
        self.closed = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.events.stream.close()
        self.control.stream.close()
        if self._hushed:
            self._hushed.close()
        with contextlib.suppress(ChildProcessError):  # somebody has reaped it
            os.waitpid(self.pid, 0)

    def _judge(self, answer: Message) -> Message:
        if "error" in answer:
            number, says = answer["error"]
            raise OSError(number, f"{self.name}: {says}")
        return answer

    def _hush(self) -> None:
        # A socket at its end stays readable for ever, and the agent's loop would spin on it: put a silent one under
        # the same number. Its other end is kept so that it stays silent.
        silent, self._hushed = socket.socketpair()
        with silent:
            os.dup2(silent.fileno(), self.fileno())


def fork(name: str, work: Callable[[Parent], None], keep: Iterable[int] = ()) -> Child:
    """Fork a process that does `work` and then ends; `keep` are the descriptors it needs.

    An OSError that it raises is answered to the agent, which raises it from `ask` or `hear`.
    """
    events, told = socket.socketpair()
    control, asked = socket.socketpair()
    libc = ctypes.CDLL(None)
    agent = os.getpid()
    pid = os.fork()
    if pid:
        told.close()
        asked.close()
        return Child(name, pid, events, control)
    code = 1
    try:
        _settle_in(libc, agent, {told.fileno(), asked.fileno(), *keep})
        _do(work, Parent(told, asked))
        code = 0
    finally:  # never back into the agent's code, and never its exit handlers
        if code and not isinstance(sys.exc_info()[1], SystemExit):
            sys.excepthook(*sys.exc_info())
            sys.stderr.flush()
        os._exit(code)


def problem(says: str) -> Message:
    """The event of something that the agent could not do or see."""
    return {"event": "problem", "says": says}


def _settle_in(libc: ctypes.CDLL, agent: int, keep: set[int]) -> None:
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)  # ns; the default of 50 us would be added to each packet's way
    if os.getppid() != agent:
        raise SystemExit(0)  # it died before the prctl
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the agent says when to stop
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    low = 3
    for number in sorted(keep):
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, max(low, 4096))
    gc.disable()  # no cycles are made here, and a pause would show in the packets' times


def _do(work: Callable[[Parent], None], parent: Parent) -> None:
    try:
        work(parent)
    except OSError as trouble:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the agent is gone: nobody asks any more
            parent.answer({"error": [trouble.errno or 0, trouble.strerror or str(trouble)]})
        raise SystemExit(0) from None


def _line(message: Message) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
