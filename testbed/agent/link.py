"""The portable link: a TAP device and the process that carries frames through it, each in its time.

tc redirects what arrives on eth0 to the TAP (`wire`); the process reads it there, `impair` decides, and the frame is
written back when it is due, so that the kernel receives it as if it had arrived just then
(Documentation/networking/tuntap.rst).

The process sleeps until shortly before a frame is due and polls the rest of the way: a timer alone wakes up some tens
of microseconds late. With nothing on its way it sleeps for good.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import os
import select
import struct
import time
from collections.abc import Mapping
from typing import Any

from testbed.agent import child, impair

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST = 1 << 17  # more than any frame
BATCH = 64  # frames read before looking at the clock again
EARLY_S = 80e-6  # how long before a frame is due the process stops sleeping
QUEUE_LIMIT = 20_000  # frames on their way; about 30 MB
DROPS = (impair.FAULT, impair.LOSS, impair.BLACKHOLE, "queue", "refused")


class Link:
    """A TAP named `name`, down until somebody sets it up, and its process."""

    def __init__(self, name: str, link: Mapping[str, Any]) -> None:
        emulator = impair.Emulator(link)
        tap = open_tap(name)
        try:
            self._child = child.fork(f"link {name}", lambda parent: Carrier(name, tap, emulator, parent).run(), {tap})
        finally:
            os.close(tap)  # only the process holds it: the device goes when the process goes
        self.name = name

    def arm(self, mac: str) -> None:
        """Tell the process the device's address: frames from there are the host's own and not to be carried."""
        self._child.ask({"do": "arm", "mac": mac})

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._child.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """`fault` and `problem` events, without waiting."""
        return self._child.read_events()

    def read(self) -> dict[str, Any]:
        """`in`, `out`, `dropped`, `duplicated`, `dropped_by` (reason: count), `waiting`, `ledger` so far."""
        return self._child.ask({"do": "read"})

    def close(self) -> None:
        """End the process; the TAP goes with it, and what was on its way is lost. May be called again."""
        self._child.end()


class Carrier:
    """The process: frames in, a queue ordered by time, frames out."""

    def __init__(self, name: str, tap: int, emulator: impair.Emulator, parent: child.Parent) -> None:
        self.name = name
        self.tap = tap
        self.emulator = emulator
        self.parent = parent
        self.own = b""
        self.queue: list[tuple[int, int, bytes]] = []  # due, order, frame
        self.taken = self.given = self.duplicated = 0
        self.dropped = dict.fromkeys(DROPS, 0)
        self.ledger: list[dict[str, Any]] = []

    def run(self) -> None:
        """Carry frames until the agent ends us."""
        hurry()
        while True:
            for request in self.parent.asked() if self._sleep() else ():
                self._answer(request)
            self._take()
            self._give()

    def _sleep(self) -> bool:
        """Until there is something to do; true when the agent asks something."""
        left_s = (self.queue[0][0] - time.monotonic_ns()) / 1e9 - EARLY_S if self.queue else None
        untold = [] if self.parent.flush() else [self.parent.events]
        timeout_s = None if left_s is None else max(0.0, left_s)
        asking = self.parent.fileno()
        return asking in select.select([self.tap, asking], untold, [], timeout_s)[0]

    def _take(self) -> None:
        for _ in range(BATCH):
            try:
                frame = os.read(self.tap, LONGEST)
            except BlockingIOError:
                return
            except OSError as trouble:
                if trouble.errno != errno.EIO:  # the device is not up yet
                    raise
                return
            if frame[6:12] != self.own:
                self._decide(frame)

    def _decide(self, frame: bytes) -> None:
        self.taken += 1
        decision = self.emulator.decide(frame, time.monotonic_ns())
        if decision.dropped:
            self.dropped[decision.dropped] += 1
        elif len(self.queue) >= QUEUE_LIMIT:
            self._trouble("queue", f"more than {QUEUE_LIMIT} frames on their way; more are dropped")
        else:
            for due, copy in decision.deliveries:
                heapq.heappush(self.queue, (due, self.taken, copy))
            self.duplicated += len(decision.deliveries) - 1
        if decision.fault:
            self._enter(decision.fault, decision.says)

    def _give(self) -> None:
        while self.queue and self.queue[0][0] <= time.monotonic_ns():
            frame = heapq.heappop(self.queue)[2]
            try:
                os.write(self.tap, frame)
                self.given += 1
            except OSError as trouble:
                self._trouble("refused", f"the kernel refused a frame: {trouble.strerror}")

    def _enter(self, fault: impair.Fault, says: str) -> None:
        entry = {"event": "fault", "time_ns": time.time_ns(), "rule": fault.rule, "action": "drop", "says": says}
        self.ledger.append(entry)
        self.parent.tell(entry)

    def _trouble(self, reason: str, says: str) -> None:
        self.dropped[reason] += 1
        if self.dropped[reason] == 1:
            self.parent.tell(child.problem(f"link {self.name}: {says}"))

    def _answer(self, request: dict[str, Any]) -> None:
        if request["do"] == "arm":
            self.own = bytes.fromhex(request["mac"].replace(":", ""))
            self.parent.answer({})
            return
        self._take_all()
        self.parent.answer(
            {
                "in": self.taken,
                "out": self.given,
                "dropped": sum(self.dropped.values()),
                "duplicated": self.duplicated,
                "dropped_by": self.dropped,
                "waiting": len(self.queue),
                "ledger": self.ledger,
            }
        )

    def _take_all(self) -> None:
        # So that `in` holds all that tc had redirected when the agent asked; a flood shall not keep us here.
        for _ in range(QUEUE_LIMIT // BATCH):
            before = self.taken
            self._take()
            if self.taken == before:
                return
            self._give()


def open_tap(name: str) -> int:
    """Make the TAP device; it lives as long as somebody holds the descriptor. Raises OSError."""
    try:
        tap = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"{TUN} is missing: give the host the device /dev/net/tun") from None
    try:
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    except OSError as trouble:
        os.close(tap)
        raise OSError(trouble.errno, f"cannot make the TAP device {name}: {trouble.strerror}") from None
    return tap


def hurry() -> None:
    """Real-time scheduling where we may: each microsecond that we wait for a processor shows in a packet's delay."""
    with contextlib.suppress(PermissionError):  # no CAP_SYS_NICE; times are worse only when the machine is busy
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
