"""A TLS connection that one thread reads while another writes.

Of one connection OpenSSL allows one call at a time (openssl-threads(7)), and a read that waits is such a call. So
nothing waits inside it: what cannot go on is tried again once the socket below can.
"""

from __future__ import annotations

import errno
import os
import select
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar

LOOK_MS = 1000  # what is waited for may have been used up by the other thread
T = TypeVar("T")


class TlsSocket:
    """The part of a socket that a channel needs, of a connection whose handshake is over."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._turn = threading.Lock()

    def sendall(self, data: bytes) -> None:
        """Write everything. Raises OSError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._until_done(lambda rest=rest: self._connection.send(rest)) :]  # type: ignore[misc]

    def recv(self, size: int) -> bytes:
        """Some bytes; b"" at the end. Raises OSError."""
        return self._until_done(lambda: self._connection.recv(size))

    def _until_done(self, attempt: Callable[[], T]) -> T:
        while True:
            try:
                with self._turn:
                    return attempt()
            except ssl.SSLWantReadError:
                wanted = select.POLLIN
            except ssl.SSLWantWriteError:
                wanted = select.POLLOUT
            self._wait(wanted)

    def _wait(self, wanted: int) -> None:
        number = self._connection.fileno()
        if number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        poll = select.poll()
        poll.register(number, wanted)
        poll.poll(LOOK_MS)

    def shutdown(self, how: int) -> None:
        """End it as shutdown(2) does; who reads comes to the end. Raises OSError."""
        with self._turn:
            self._connection.shutdown(how)

    def close(self) -> None:
        """Close it."""
        with self._turn:
            self._connection.close()
