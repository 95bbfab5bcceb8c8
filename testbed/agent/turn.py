"""One step being done: its sockets, its time, the account of it; and how a program can end in a step."""

from __future__ import annotations

import time

from testbed.agent.sockets import OpenSocket, Stack, place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from testbed.agent import payload


DEFAULT_TIMEOUT_NS = 30_000_000_000


class Held(Exception):
    """The program has reached a `hold`."""


class Killed(Exception):
    """The program has reached a `kill`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Turn:
    """One step being done: its sockets and its deadline, and what is to be reported of it."""

    def __init__(self, stack: Stack, timeout_ns: int, path: str, counters: tuple[int, ...]) -> None:
        self.stack = stack
        self.path = path
        self.counters = counters
        now_ns = time.monotonic_ns()
        self._timeout_ns = timeout_ns
        self.deadline_ns = now_ns + timeout_ns
        self.ready_ns = now_ns + max(timeout_ns, DEFAULT_TIMEOUT_NS)  # until when what the step needs must have come
        self.due_ns = self.start_ns = time.time_ns()
        self.local: str | None = None
        self.peer: str | None = None
        self.tally: payload.Tally | None = None
        self.read = False
        self.says = ""  # of a step that ended well

    def use(self, on: str | None, *preferred: tuple[str, ...]) -> OpenSocket:
        """The socket that the step acts on."""
        return self.about(self.stack.get(on, *preferred))

    def about(self, one: OpenSocket) -> OpenSocket:
        """Takes down the addresses of the socket that the step acts on."""
        self.local, self.peer = place(one.local()), place(one.peer)
        return one

    def begin(self) -> None:
        """The step begins only now, and its time limit counts from here: what it had to wait for has come."""
        self.deadline_ns = time.monotonic_ns() + self._timeout_ns
        self.start_ns = time.time_ns()
