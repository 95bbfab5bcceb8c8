"""The sampler: a process that looks at the kernel's socket table, and tells transitions.

It looks when a TCP packet has been heard, and about a thousand times a second as long as there are packets and for a
few milliseconds more; else fifty times a second.

A transition is told with the time of the sample that first shows it, so it may be as late as the time between two
samples (`longest_gap_ns` says how late at worst), and a state that passes between two samples is not seen: a handshake
on an undelayed wire spends some 50 us in SYN_RECV. A socket begins in CLOSE, and one that has left the table is there.
"""

from __future__ import annotations

import select
import time

from testbed.agent import child, spares
from testbed.agent.activity import Activity
from testbed.agent.diag import SocketTable, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRADE = "states"
SELDOM = 20  # while nothing happens the interval is so many times as long
SOON = 4  # so many intervals after a packet it still is short
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
        self._child = spares.employ(TRADE, TRADE, work, {"interval_ns": self.interval_ns})
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
        except OSError:
            self.kill()
            raise
        spares.retire(TRADE, self._child)
        self._child = None
        return events, answer

    def kill(self) -> None:
        """Ends the process at once."""
        if self._child:
            self._child.end()
            self._child = None


def work(parent: child.Parent, words: child.Message) -> None:
    """Be the sampling process, until the agent asks for the end."""
    with SocketTable() as table, Activity() as activity:
        Sampling(table, activity, words["interval_ns"], parent).go_on()


class Sampling:
    """The work of the sampling process."""

    def __init__(self, table: SocketTable, activity: Activity, interval_ns: int, parent: child.Parent) -> None:
        self.table = table
        self.activity = activity
        self.interval_ns = interval_ns
        self.parent = parent
        self.transitions = Transitions()
        self.samples = self.gap_ns = self.last_ns = 0

    def go_on(self) -> None:
        """Samples until the agent asks for the end."""
        soon_until_ns = 0
        while True:
            earliest_ns = self._sample()
            if self.samples == 1:
                self.parent.answer({})
            self.parent.flush()
            soon = earliest_ns < soon_until_ns
            if self._rest(earliest_ns if soon else earliest_ns + (SELDOM - 1) * self.interval_ns, soon):
                break
            if self.activity.forget():
                soon_until_ns = time.monotonic_ns() + SOON * self.interval_ns
                if not soon and self._rest(earliest_ns, True):
                    break
        begun_ns = time.time_ns()
        self._sample()
        self.parent.answer({"samples": self.samples, "longest_gap_ns": self.gap_ns, "last_ns": begun_ns})

    def _sample(self) -> int:
        """Looks once; gives the time of the earliest next look."""
        begun_ns, spent_ns = time.monotonic_ns(), time.thread_time_ns()
        bodies = self.table.raw()
        # Of a large table: what is left of the processor is for who plays.
        spent_ns = time.thread_time_ns() - spent_ns
        now_ns = time.monotonic_ns()
        for event in self.transitions.compare(bodies, time.time_ns()):
            self.parent.tell(event)
        self.samples += 1
        self.gap_ns, self.last_ns = max(self.gap_ns, now_ns - self.last_ns if self.last_ns else 0), now_ns
        return max(begun_ns + self.interval_ns, now_ns + REST * spent_ns)

    def _rest(self, until_ns: int, deaf: bool) -> bool:
        """Waits until then, or for a packet unless deaf to them; whether the agent asks for the end."""
        heed = [self.parent.fileno(), *([] if deaf else [self.activity.fileno()])]
        ready = select.select(heed, [], [], max(0, until_ns - time.monotonic_ns()) / 1e9)[0]
        return self.parent.fileno() in ready and bool(self.parent.asked())


def _event(time_ns: int, label: str, before: str, after: str) -> dict[str, Any]:
    return {"event": "state", "time_ns": time_ns, "socket": label, "from": before, "to": after}
