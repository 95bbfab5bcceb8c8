"""Channels to an agent: attached to its container over the engine's API, and through pipes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
from io import FileIO
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import docker as docker_module

    from testbed.lab.tls import TlsSocket

CHUNK = 1 << 16
_HEADER = struct.Struct(">BxxxL")  # the engine's multiplexed stream: 1 stdout, 2 stderr; length
_STDOUT = 1
STDERR_KEPT = 4000


class AttachedChannel:
    """The agent that is a container's main process; standard output and error come multiplexed over one connection."""

    def __init__(self, client: docker_module.DockerClient, container: str) -> None:
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        stream: Any = client.api.attach_socket(container, params=wanted)
        self._stream = stream
        connection: Any = getattr(stream, "_sock", stream)
        connection.settimeout(None)
        self._socket: socket.socket | TlsSocket = _in_turns(connection) if _is_secured(client) else connection
        self._buffer = bytearray()
        self._lock = threading.Lock()
        self.stderr = b""

    def send(self, line: bytes) -> None:
        """Write a whole line."""
        with self._lock:
            self._socket.sendall(line)

    def receive(self) -> bytes:
        """The next bytes of standard output; b"" at its end. What stands on standard error is kept aside."""
        while True:
            if (frame := self._frame()) is not None:
                stream, content = frame
                if stream == _STDOUT:
                    return content
                self.stderr = (self.stderr + content)[-STDERR_KEPT:]
                continue
            try:
                got = self._socket.recv(CHUNK)
            except OSError:
                got = b""
            if not got:
                return b""
            self._buffer += got

    def _frame(self) -> tuple[int, bytes] | None:
        if len(self._buffer) < _HEADER.size:
            return None
        stream, length = _HEADER.unpack_from(self._buffer)
        end = _HEADER.size + length
        if len(self._buffer) < end:
            return None
        content = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return stream, content

    def close(self) -> None:
        """Close the connection; the agent ends with its container."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._socket.close()  # which the stream, a view of it, leaves open


def _is_secured(client: docker_module.DockerClient) -> bool:
    return client.api.base_url.startswith("https:")


def _in_turns(connection: Any) -> TlsSocket:
    from testbed.lab.tls import TlsSocket

    return TlsSocket(connection)


class PipeChannel:
    """An agent behind pipes, which somebody else starts with the other ends."""

    def __init__(self, given: FileIO, told: FileIO, complaints: int) -> None:
        self._given = given
        self._told = told
        self._complaints = complaints
        self._sending = threading.Lock()
        self._receiving = threading.Lock()

    @classmethod
    def open(cls) -> tuple[Self, tuple[int, int, int]]:
        """A channel, and the descriptors that are to be the agent's standard input, output and error."""
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # What stands on standard error is read when the agent has ended, so it needs no thread: it is in memory.
        complaints = os.memfd_create("complaints")
        channel = cls(os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb", 0), complaints)
        return channel, (theirs_in, theirs_out, os.dup(complaints))

    def send(self, line: bytes) -> None:
        """Write a whole line."""
        rest = memoryview(line)
        with self._sending:
            if self._given.closed:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            while rest:
                rest = rest[self._given.write(rest) :]

    def receive(self) -> bytes:
        """The next bytes of standard output; b"" at its end."""
        with self._receiving:
            return b"" if self._told.closed else self._told.read(CHUNK)

    def complaints(self) -> str:
        """The end of what the agent has written to standard error."""
        if self._complaints < 0:
            return ""
        size = os.fstat(self._complaints).st_size
        return os.pread(self._complaints, STDERR_KEPT, max(0, size - STDERR_KEPT)).decode(errors="replace").strip()

    def close(self) -> None:
        """Close the agent's standard input; the agent ends."""
        with self._sending, contextlib.suppress(OSError):
            self._given.close()

    def discard(self) -> None:
        """Close everything, once the agent has ended: whoever receives has come to the end of its output."""
        self.close()
        with self._receiving:
            self._told.close()
        if self._complaints >= 0:
            os.close(self._complaints)
            self._complaints = -1
