"""Channels to an agent: attached to its container over the engine's API, and to a child process of our own."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import docker as docker_module

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
        self._socket: socket.socket = getattr(stream, "_sock", stream)
        self._socket.settimeout(None)
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


class ChildChannel:
    """An agent that is a child process of ours."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
            bufsize=0,
        )
        self._lock = threading.Lock()

    def send(self, line: bytes) -> None:
        """Write a whole line."""
        assert self.process.stdin is not None
        rest = memoryview(line)
        with self._lock:
            while rest:
                rest = rest[self.process.stdin.write(rest) :]

    def receive(self) -> bytes:
        """The next bytes of standard output; b"" at its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read(CHUNK)

    def close(self) -> None:
        """Close its standard input and wait for its end; after two seconds it is killed."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
