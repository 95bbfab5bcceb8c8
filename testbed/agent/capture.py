"""Captures every frame on an interface with the kernel's own times, from a process of its own.

Three rules hold:

* no lost start: the socket (`tap`) has its ring and is bound before `start` returns;
* no lost end: `stop` closes the tap with a filter that takes nothing, reads how many packets the kernel had put into
  the ring, and walks until it has them all;
* no silent loss: what the kernel dropped, and what did not fit on the disk, is counted in `dropped`.

Frames stand in the file in the kernel's order.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import time
from typing import Any

from testbed.agent import canary, child, spares, tap

TRADE = "capture"
WORDS = ("name", "interface", "promiscuous", "snap_length", "ring_bytes", "path")  # what its process is told of it
RECORD = struct.Struct("<QIIB")  # time_ns, length on the wire, captured length, direction


class Capture:
    """One capture. Its file holds `RECORD`s, each followed by the captured bytes."""

    def __init__(
        self,
        name: str,
        interface: str,
        directory: str,
        promiscuous: bool,
        snap_length: int,
        ring_bytes: int = tap.LARGEST_RING,
    ) -> None:
        if snap_length < 64:
            raise ValueError(f"capture {name}: snap_length is {snap_length}; headers need at least 64 bytes")
        self.name = name
        self.interface = interface
        self.promiscuous = promiscuous
        self.snap_length = snap_length
        self.ring_bytes = ring_bytes
        self.path = os.path.join(directory, f"{name.replace('/', '_')}.frames")  # noqa: PTH118 - pathlib is slow to load
        self._child: child.Child | None = None
        self._unread: list[dict[str, Any]] = []

    def start(self) -> None:
        """Start; the socket is bound and has its ring when this returns. Raises OSError and leaves nothing."""
        self.begin()
        self.ready()

    def begin(self) -> None:
        """Fork the process and go on: the kernel takes some 20 ms for a ring, and several can be made at once."""
        what = {key: getattr(self, key) for key in WORDS}
        self._child = spares.employ(TRADE, f"capture {self.name} on {self.interface}", work, what)

    def ready(self) -> None:
        """Wait until what was begun is bound. Raises OSError and leaves nothing."""
        try:
            self._running.hear()
        except OSError:
            self.kill()
            raise

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._running.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """`canary` (name, token, time_ns, direction) and `problem` events, without waiting.

        After `stop` once more: its last ones.
        """
        unread, self._unread = self._unread, []
        return unread + (self._child.read_events() if self._child else [])

    def stop(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Take the ring's last packets and end: `packets`, `dropped`, `bytes` and `path` of the file."""
        running = self._running
        try:
            answer = running.ask({"do": "stop"}, timeout_s)
        except OSError:
            self._unread = running.events.read()
            self.kill()
            raise
        self._unread = running.events.read()
        self._child = None
        spares.retire(TRADE, running)
        return answer

    def kill(self) -> None:
        """End the process at once; the file stays as it is. May be called again."""
        if self._child:
            self._child.end()
        self._child = None

    @property
    def _running(self) -> child.Child:
        if self._child is None:
            raise OSError(errno.EBADF, f"capture {self.name} does not run")
        return self._child


def work(parent: child.Parent, words: child.Message) -> None:
    """Be the process of one capture, until it is stopped; `words` are its `WORDS`."""
    name, interface = words["name"], words["interface"]
    ear = tap.open_tap(interface, words["promiscuous"], words["snap_length"], words["ring_bytes"])
    with contextlib.closing(ear):
        writer = Writer(words["path"], words["snap_length"])
        prefer()
        parent.answer({})
        if ear.excuse:
            parent.tell(child.problem(f"capture {name} on {interface}: {ear.excuse}"))
        Recorder(name, ear, writer, parent).run()


class Recorder:
    """The capturing process: from the tap into the file, until told to stop."""

    def __init__(self, name: str, ear: tap.Tap, writer: Writer, parent: child.Parent) -> None:
        self.name = name
        self.ear = ear
        self.writer = writer
        self.parent = parent

    def run(self) -> None:
        """Record until the agent says stop, then answer with the totals."""
        poll = select.poll()
        poll.register(self.ear.socket, select.POLLIN)
        poll.register(self.parent, select.POLLIN)
        while True:
            ready = dict(poll.poll(None if self.parent.flush() else tap.RETIRE_MS))
            if ready.get(self.ear.socket.fileno(), 0) & select.POLLERR:
                self._tell_trouble()
            self.take()
            if self.parent.fileno() in ready and self.parent.asked():
                self.finish(poll)
                return

    def take(self) -> None:
        """Write what the tap has."""
        for caught in self.ear.read():
            for frame in caught:
                token = canary.read_canary(frame.data) if frame.data[12:14] == canary.TYPE_FIELD else None
                if token is not None:
                    self._tell_canary(token, frame)
            trouble = self.writer.write(caught)
            if trouble:
                self.parent.tell(child.problem(f"capture {self.name}: {trouble}"))

    def finish(self, poll: select.poll) -> None:
        """Take what the kernel had put into the ring, and answer."""
        self.ear.deafen()
        deadline = time.monotonic() + 2.0
        while self.ear.behind() and time.monotonic() < deadline:
            poll.poll(tap.RETIRE_MS)
            self.take()
        missed = self.ear.behind()
        if missed:
            self.parent.tell(
                child.problem(f"capture {self.name}: the kernel never handed over its last {missed} packets")
            )
        self.parent.answer(self.writer.close(self.ear.dropped + missed))

    def _tell_canary(self, token: str, frame: tap.Caught) -> None:
        self.parent.tell(
            {
                "event": "canary",
                "name": self.name,
                "token": token,
                "time_ns": frame.time_ns,
                "direction": frame.direction,
            }
        )

    def _tell_trouble(self) -> None:
        number = self.ear.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # reading it also clears it
        if number:
            # An interface that is down, and still there, is heard again when it is up (packet(7)).
            down = number == errno.ENETDOWN and self.ear.is_bound()
            self.parent.tell({**child.problem(f"capture {self.name}: {os.strerror(number)}"), "down": down})


class Writer:
    """The file of records. On a full disk it ends with its last whole record, and what follows counts as dropped."""

    def __init__(self, path: str, snap_length: int) -> None:
        self.path = path
        self.snap_length = snap_length
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self.packets = self.bytes = self.unwritten = 0
        self.full = False

    def write(self, caught: list[tap.Caught]) -> str:
        """Append frames; returns what went wrong, once, or nothing."""
        if self.full:
            self.unwritten += len(caught)
            return ""
        parts: list[bytes] = []
        for time_ns, length, data, direction in caught:
            kept = data[: self.snap_length]
            parts += RECORD.pack(time_ns, length, len(kept), direction), kept
        block = b"".join(parts)
        try:
            _write_whole(self.file, block)
        except OSError as trouble:
            return self._give_up(len(caught), trouble)
        self.packets += len(caught)
        self.bytes += len(block)
        return ""

    def close(self, dropped: int) -> dict[str, Any]:
        """The totals, `dropped` of the kernel's included."""
        os.close(self.file)
        return {
            "packets": self.packets,
            "dropped": dropped + self.unwritten,
            "bytes": self.bytes,
            "path": self.path,
        }

    def _give_up(self, count: int, trouble: OSError) -> str:
        self.full = True
        self.unwritten += count
        os.ftruncate(self.file, self.bytes)
        return f"{self.path}: {trouble.strerror}; it ends here, and packets from now on count as dropped"


def prefer() -> None:
    """A little ahead of the programs that we watch, where we may: a ring read too late drops."""
    with contextlib.suppress(PermissionError):  # no CAP_SYS_NICE; the ring is large
        os.setpriority(os.PRIO_PROCESS, 0, -5)


def _write_whole(file: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(file, view) :]
