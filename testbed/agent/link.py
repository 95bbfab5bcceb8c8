"""The portable link: a TAP device and the process that carries frames through it, each in its time.

tc redirects what arrives on eth0 to the TAP (`wire`); the process reads it there, `impair` decides, and the frame is
written back when it is due, so that the kernel receives it as if it had arrived just then
(Documentation/networking/tuntap.rst). What a fault forges for a packet's sender leaves by the interface itself.

The process sleeps until shortly before a frame is due and polls the rest of the way: a timer alone wakes up some tens
of microseconds late. With nothing on its way it sleeps for good. It reads into one buffer: to let Python make one that
is as long as the longest frame, for each frame anew, costs ten times the reading.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

from testbed.agent import child, faults, hush, impair

TUN = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
LONGEST = 1 << 17  # more than any frame
BATCH = 32  # frames read before looking at what is due again
EARLY_S = 80e-6  # how long before a frame is due the process stops sleeping
LEFT_IN_TAP = 20_000  # frames that are still read before the process answers how it stands


class Link:
    """A TAP named `name`, down until somebody sets it up, and its process. `interface` is where packets arrive."""

    def __init__(self, name: str, link: Mapping[str, Any], interface: str) -> None:
        emulator = impair.Emulator(link)
        with contextlib.ExitStack() as held:  # only the process holds them: the device goes when the process goes
            tap = open_tap(name)
            held.callback(os.close, tap)
            back = held.enter_context(open_interface(interface)) if answers_senders(link) else None
            keep = {tap, back.fileno()} if back else {tap}
            self._child = child.fork(
                f"link {name}", lambda parent: Carrier(name, tap, back, emulator, parent).run(), keep
            )
        self.name = name

    def arm(self, mac: str) -> None:
        """Tell the process the device's address: frames from there are the host's own and not to be carried."""
        self._child.ask({"do": "arm", "mac": mac})

    def begin(self, start_ns: int) -> None:
        """The moments of the phases count from here, CLOCK_REALTIME."""
        self._child.ask({"do": "begin", "start_ns": start_ns})

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._child.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """`fault`, `wire` (another phase holds) and `problem` events, without waiting."""
        return self._child.read_events()

    def read(self) -> dict[str, Any]:
        """How it stands: counts, `ledger`, `phase` and `settings`.

        `in` + `duplicated` + `forged` are `out` + `dropped` + `waiting`. `duplicated` are copies that chance made,
        whatever became of them; `forged` what faults made for the receiver beside the packet. `dropped_by` says why.
        """
        return self._child.ask({"do": "read"})

    def close(self) -> None:
        """End the process; the TAP goes with it, and what was on its way is lost. May be called again."""
        self._child.end()


class Carrier:
    """The process: frames in, the emulator, frames out."""

    def __init__(
        self, name: str, tap: int, back: socket.socket | None, emulator: impair.Emulator, parent: child.Parent
    ) -> None:
        self.name = name
        self.tap = tap
        self.back = back
        self.emulator = emulator
        self.parent = parent
        self.own = b""
        self.buffer = memoryview(bytearray(LONGEST))
        self.taken = self.given = self.refused = self.unanswered = 0
        self.ledger: list[dict[str, Any]] = []

    def run(self) -> None:
        """Carry frames until the agent ends us."""
        hurry()
        while True:
            arrived, asked = self._sleep()
            if asked:
                for request in self.parent.asked():
                    self._answer(request)
            self._turn()
            if arrived:
                self._take()
            self._give()

    def _sleep(self) -> tuple[bool, bool]:
        """Until there is something to do; whether frames have arrived, and whether the agent asks something."""
        moments = [at_ns for at_ns in (self.emulator.way.next_ns(), self.emulator.turn_ns()) if at_ns is not None]
        timeout_s = max(0.0, (min(moments) - time.monotonic_ns()) / 1e9 - EARLY_S) if moments else None
        untold = [] if self.parent.flush() else [self.parent.events]
        asking = self.parent.fileno()
        readable = select.select([self.tap, asking], untold, [], timeout_s)[0]
        return self.tap in readable, asking in readable

    def _turn(self) -> None:
        for phase in self.emulator.turn(time.monotonic_ns()):
            self.parent.tell({"event": "wire", "time_ns": time.time_ns(), "phase": phase})

    def _take(self) -> None:
        tap, buffer, own, decide, now_ns = self.tap, self.buffer, self.own, self.emulator.decide, time.monotonic_ns
        for _ in range(BATCH):
            try:
                length = os.readv(tap, [buffer])
            except BlockingIOError:
                return
            except OSError as trouble:
                if trouble.errno != errno.EIO:  # the device is not up yet
                    raise
                return
            frame = bytes(buffer[:length])
            if frame[6:12] == own:
                continue
            self.taken += 1
            met = decide(frame, now_ns())
            if met:
                self._enter(met)

    def _give(self) -> None:
        take, write, tap, now_ns = self.emulator.way.take, os.write, self.tap, time.monotonic_ns
        frame = take(now_ns())
        while frame is not None:
            try:
                write(tap, frame)
                self.given += 1
            except OSError as trouble:
                self.refused += 1
                if self.refused == 1:
                    self._complain(f"the kernel refused a frame: {trouble.strerror}")
            frame = take(now_ns())

    def _enter(self, met: faults.Met) -> None:
        entry = {"event": "fault", "time_ns": time.time_ns(), **met.entry}
        for frame in met.to_sender:
            self._send_back(frame)
        self.ledger.append(entry)
        self.parent.tell(entry)

    def _send_back(self, frame: bytes) -> None:
        try:
            assert self.back
            self.back.send(frame)
        except OSError as trouble:
            self.unanswered += 1
            if self.unanswered == 1:
                self._complain(f"what a fault forged for the sender could not be sent: {trouble.strerror}")

    def _complain(self, says: str) -> None:
        self.parent.tell(child.problem(f"link {self.name}: {says}"))

    def _answer(self, request: dict[str, Any]) -> None:
        if request["do"] == "arm":
            self.own = bytes.fromhex(request["mac"].replace(":", ""))
            self.parent.answer({})
        elif request["do"] == "begin":
            self.emulator.begin(time.monotonic_ns() + request["start_ns"] - time.time_ns())
            self.parent.answer({})
        else:
            self._take_all()
            self.parent.answer(self._standing())

    def _standing(self) -> dict[str, Any]:
        emulator = self.emulator
        dropped_by = {**emulator.dropped, "refused": self.refused}
        return {
            "in": self.taken,
            "out": self.given,
            "dropped": sum(dropped_by.values()),
            "dropped_by": dropped_by,
            "duplicated": emulator.duplicated,
            "corrupted": emulator.corrupted,
            "forged": emulator.forged,
            "waiting": len(emulator.way),
            "phase": emulator.phase,
            "settings": emulator.settings(),
            "ledger": self.ledger,
        }

    def _take_all(self) -> None:
        # So that `in` holds all that tc had redirected when the agent asked; a flood shall not keep us here.
        for _ in range(LEFT_IN_TAP // BATCH):
            before = self.taken
            self._take()
            if self.taken == before:
                return
            self._give()


def answers_senders(link: Mapping[str, Any]) -> bool:
    """Whether a fault of the link may send something to a packet's sender."""
    sending = {"icmp": ("sender",), "reset": ("sender", "both")}
    return any(fault.get("to", "sender") in sending.get(fault["action"], ()) for fault in link.get("faults") or ())


def open_interface(name: str) -> socket.socket:
    """A packet socket that only sends (packet(7)), past a kernel that is kept silent (`hush`). Raises OSError."""
    back = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: hears nothing
    try:
        back.setsockopt(socket.SOL_SOCKET, hush.SO_MARK, hush.MARK)
        back.bind((name, 0))
        back.setblocking(False)
    except OSError as trouble:
        back.close()
        raise OSError(trouble.errno, f"cannot send on {name}: {trouble.strerror}") from None
    return back


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
