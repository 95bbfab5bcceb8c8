"""The sockets that a program has open, which of them a step means, and waiting for one with a time limit.

A step acts on the socket that `on` names, else on the newest one still open that fits it. Each round of `repeat` and
`parallel` has a stack of its own on top of the outer one: it sees the outer sockets, the others do not see its own.
What a round leaves open stays open until the program ends: the testbed closes nothing that no step closes.
All sockets are non-blocking; a step waits in poll(2) until its deadline.
"""

from __future__ import annotations

import select
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FRESH, FAILED, LISTENER, CONNECTION, DATAGRAM = "fresh", "failed", "listener", "connection", "datagram"
STREAMS = (FRESH, FAILED, LISTENER, CONNECTION)
ANY = (*STREAMS, DATAGRAM)


class StepError(Exception):
    """A step that cannot be done, for a reason that is no errno; or EOF."""

    def __init__(self, says: str, errno_name: str | None = None) -> None:
        super().__init__(says)
        self.says = says
        self.errno_name = errno_name


class StepTimeout(Exception):
    """The step's time limit has passed."""


class OpenSocket:
    """One open socket: its name, what kind it is by now, and what was learned of its addresses."""

    def __init__(self, raw: socket.socket, kind: str, name: str | None) -> None:
        self.raw = raw
        self.kind = kind
        self.name = name
        self.port_name: str | None = None  # as bound: "7456", or "free" where the kernel chose; None when not bound
        self.peer: Any = None  # the address that getpeername(2) gave while it could, or the last datagram's sender
        raw.setblocking(False)

    def local(self) -> Any:
        """The local address as Python has it; None when there is none."""
        try:
            return self.raw.getsockname() if self.raw.fileno() >= 0 else None
        except OSError:
            return None

    def fits(self, kinds: tuple[str, ...]) -> bool:
        """Whether it is open and of one of the kinds."""
        return self.kind in kinds and self.raw.fileno() >= 0


class Stack:
    """The sockets of one round, newest last, above those of the rounds outside."""

    def __init__(self, outer: Stack | None = None) -> None:
        self._outer = outer
        self._own: list[OpenSocket] = []
        self._rounds: list[Stack] = []  # keeps alive what rounds leave open
        if outer:
            outer._rounds.append(self)

    def add(self, raw: socket.socket, kind: str, name: str | None) -> OpenSocket:
        """A new socket, the newest from now on."""
        self._own.append(OpenSocket(raw, kind, name))
        return self._own[-1]

    def find(self, on: str | None, *preferred: tuple[str, ...]) -> OpenSocket | None:
        """The socket named; else the newest open one of the first group of kinds that has any."""
        sockets = [one for one in self._all() if one.raw.fileno() >= 0]
        if on is not None:
            return next((one for one in sockets if one.name == on), None)
        return next((one for kinds in preferred for one in sockets if one.fits(kinds)), None)

    def get(self, on: str | None, *preferred: tuple[str, ...]) -> OpenSocket:
        """As `find`, but there must be one."""
        found = self.find(on, *preferred)
        if found:
            return found
        what = f"socket named {on!r}" if on else " or ".join(dict.fromkeys(k for kinds in preferred for k in kinds))
        raise StepError(f"no open {what} to act on; open: {self.describe()}")

    def describe(self) -> str:
        """The open sockets in words, newest first."""
        return ", ".join(f"{s.name or 'unnamed'} ({s.kind})" for s in self._all() if s.raw.fileno() >= 0) or "none"

    def forget(self) -> None:
        """Leaves out the sockets that are closed, so that long programs do not grow; a round with none open too."""
        self._own = [one for one in self._own if one.raw.fileno() >= 0]
        self._rounds = [below for below in self._rounds if not below.is_empty()]

    def close_all(self) -> None:
        """Closes every socket of the program, of the rounds outside and beside this one too."""
        if self._outer:
            self._outer.close_all()
            return
        for stack in self._tree():
            for one in stack._own:
                one.raw.close()
            stack.forget()

    def _tree(self) -> list[Stack]:
        return [self, *(inner for below in self._rounds for inner in below._tree())]

    def is_empty(self) -> bool:
        """Whether nothing is open here or in the rounds inside."""
        self.forget()
        return not self._own and not self._rounds

    def _all(self) -> list[OpenSocket]:
        return [*reversed(self._own), *(self._outer._all() if self._outer else [])]


def await_ready(raw: socket.socket, events: int, deadline_ns: int, doing: str) -> None:
    """Waits until poll(2) shows one of the events, or an error; StepTimeout when the deadline passes."""
    poll = select.poll()
    poll.register(raw, events)
    left_ns = deadline_ns - time.monotonic_ns()
    if not poll.poll(max(0, -(-left_ns // 1_000_000))):
        raise StepTimeout(f"its time was over while {doing}")


def place(address: Any) -> str | None:
    """`address:port` of an address as Python has it, an IPv6 one in brackets."""
    if not address:
        return None
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
