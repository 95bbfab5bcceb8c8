"""The sampler: a process that looks at the kernel's socket table about a thousand times a second; tells transitions.

A transition is told with the time of the sample that first shows it, so it may be as late as the time between two
samples (`longest_gap_ns` says how late at worst), and a state that passes between two samples is not seen: a handshake
on an undelayed wire spends some 50 us in SYN_RECV. A socket begins in CLOSE, and one that has left the table is there.
"""

from __future__ import annotations

import select
import time

from testbed.agent import child
from testbed.agent.diag import SocketTable, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REST = 3  # a look is followed by so many times its length without one
STATE_BYTE = 1  # of struct inet_diag_msg
COOKIE = slice(44, 52)  # of struct inet_diag_msg: idiag_cookie


class Transitions:
    """What has changed from one dump of the table to the next."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[str, str]] = {}  # cookie -> socket's label, state's name
        self._seen: dict[bytes, int] = {}  # cookie -> state's number

    def compare(self, bodies: list[bytes], time_ns: int) -> list[dict[str, Any]]:
        """The `state` events since the last dump: those of sockets that are there, then those that are gone."""
        seen = {body[COOKIE]: body[STATE_BYTE] for body in bodies}
        if seen == self._seen:
            return []
        events = []
        for body in bodies:
            cookie = body[COOKIE]
            if self._seen.get(cookie) != body[STATE_BYTE]:
                events += self._move(cookie, body, time_ns)
        for cookie in self._seen.keys() - seen.keys():
            label, state = self._known.pop(cookie)
            events.append(_event(time_ns, label, state, "CLOSE"))
        self._seen = seen
        return [event for event in events if event["from"] != event["to"]]

    def _move(self, cookie: bytes, body: bytes, time_ns: int) -> list[dict[str, Any]]:
        row = decode(body)
        label, before = f"{row.local} {row.peer}", self._known.get(cookie, ("", "CLOSE"))[1]
        self._known[cookie] = (label, row.state)
        return [_event(time_ns, label, before, row.state)]


class Sampler:
    """The agent's view of the sampling process."""

    def __init__(self, interval_ns: int) -> None:
        self.interval_ns = interval_ns
        self._child: child.Child | None = None

    def start(self) -> None:
        """Starts sampling; returns once the first sample is taken."""
        self._child = child.fork("states", self._work)
        try:
            self._child.hear()
        except OSError:
            self.kill()
            raise

    def fileno(self) -> int:
        """Readable when there are events to read."""
        assert self._child
        return self._child.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """Transitions that have come."""
        return self._child.read_events() if self._child else []

    def stop(self) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Takes a last sample and ends; the last events, and `samples`, `longest_gap_ns` and `last_ns`."""
        assert self._child
        events: list[dict[str, Any]] = []
        try:
            self._child.control.write({"do": "stop"})
            while not select.select([self._child.control.stream], [], [], 0.01)[0]:
                events += self._child.events.read()  # it may have more to tell than the socket holds
            answer = self._child.hear()
            events += self._child.events.read()
            return events, answer
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends the process at once."""
        if self._child:
            self._child.end()
            self._child = None

    def _work(self, parent: child.Parent) -> None:
        interval_ns, transitions, samples, gap_ns, last_ns = self.interval_ns, Transitions(), 0, 0, 0
        with SocketTable() as table:
            while True:
                due_ns, spent_ns = time.monotonic_ns() + interval_ns, time.thread_time_ns()
                bodies = table.raw()
                # Of a large table: what is left of the processor is for who plays.
                spent_ns = time.thread_time_ns() - spent_ns
                due_ns = max(due_ns, time.monotonic_ns() + REST * spent_ns)
                for event in transitions.compare(bodies, time.time_ns()):
                    parent.tell(event)
                samples += 1
                now_ns = time.monotonic_ns()
                gap_ns, last_ns = max(gap_ns, now_ns - last_ns if last_ns else 0), now_ns
                if samples == 1:
                    parent.answer({})
                if select.select([parent], [], [], max(0, due_ns - now_ns) / 1e9)[0] and parent.asked():
                    break
                parent.flush()
            begun_ns = time.time_ns()
            for event in transitions.compare(table.raw(), time.time_ns()):
                parent.tell(event)
            gap_ns = max(gap_ns, time.monotonic_ns() - last_ns)
            parent.answer({"samples": samples + 1, "longest_gap_ns": gap_ns, "last_ns": begun_ns})


def _event(time_ns: int, label: str, before: str, after: str) -> dict[str, Any]:
    return {"event": "state", "time_ns": time_ns, "socket": label, "from": before, "to": after}
