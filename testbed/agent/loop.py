"""The agent's loop: lines in, lines out, in one thread around poll(2).

Requests come from one descriptor, answers and events go to another. A request's function that is a generator may take
its time: it yields for how many seconds it has nothing to do, and what it returns is the answer. Output is kept in
memory until the reader takes it, and written whole line after whole line; a slow reader delays nothing but its reading.
"""

from __future__ import annotations

import errno
import json
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Any, Protocol

    Message = dict[str, Any]
    Answer = dict[str, Any]
    Slow = Generator[float, None, Answer]

    class Serves(Protocol):
        """What the loop works for."""

        def serve(self, request: Any) -> Answer | Slow:
            """Does what a request asks."""

        def readers(self) -> Iterator[tuple[int, Callable[[], None]]]:
            """The descriptors to watch, and what reads each."""


READ = 1 << 18
ENOUGH_OUTPUT = 1 << 20  # bytes that wait to be written before a slow request pauses
LAST_WORDS_NS = 2_000_000_000  # how long a reader may take for the last lines


class UsageError(Exception):
    """A request that makes no sense: what is wrong with it."""


class Bye(Exception):
    """The agent is to end."""


class Output:
    """Lines to a descriptor that may be slow: kept until it takes them."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._left = bytearray()
        os.set_blocking(descriptor, False)

    def __len__(self) -> int:
        return len(self._left)

    def put(self, message: Message) -> None:
        """One more line."""
        self._left += json.dumps(message, separators=(",", ":")).encode() + b"\n"

    def write(self) -> None:
        """As much as the reader takes now. Raises Bye when there is no reader any more."""
        try:
            while self._left:
                del self._left[: os.write(self.descriptor, self._left[:READ])]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            self._left.clear()
            raise Bye from None

    def finish(self) -> None:
        """Writes what is left, as long as the reader keeps reading at all."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        while self._left and poll.poll(LAST_WORDS_NS // 1_000_000):
            self.write()


class Loop:
    """Requests in, answers and events out, until there are no more."""

    def __init__(self, descriptor: int, output: Output, agent: Serves) -> None:
        self._input = descriptor
        self._output = output
        self._agent = agent
        self._rest = b""
        self._slow: list[tuple[Any, Slow]] = []
        self._pausing = False  # whether a slow request waits for the output to be taken

    def run(self) -> None:
        """Until Bye."""
        while True:
            wait_s = self._advance()
            self._output.write()
            if self._pausing and len(self._output) <= ENOUGH_OUTPUT:
                wait_s = 0.0  # the reader took it all at once: nothing else would wake the request that pauses
            readers = {self._input: self._read, **dict(self._agent.readers())}
            for descriptor in self._poll(readers, wait_s):
                readers[descriptor]()

    def _poll(self, descriptors: dict[int, Callable[[], None]], wait_s: float | None) -> list[int]:
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        if self._output:
            poll.register(self._output.descriptor, select.POLLOUT)
        ready = poll.poll(None if wait_s is None else -(-wait_s * 1000 // 1))
        # Requests last: what children told before one came is told before its answer, and it may close what is ready.
        numbers = [descriptor for descriptor, _ in ready if descriptor in descriptors]
        return sorted(numbers, key=lambda number: number == self._input)

    def _read(self) -> None:
        data = os.read(self._input, READ)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.strip():
                self._take(line)
        if not data:
            raise Bye

    def _take(self, line: bytes) -> None:
        number = None
        try:
            request = json.loads(line)
            number = request.get("id") if isinstance(request, dict) else None
            answer = self._agent.serve(request)
        except Bye:
            self._output.put({"id": number, "ok": {}})
            raise
        except (UsageError, ValueError, OSError) as trouble:
            self._output.put({"id": number, "error": describe(trouble)})
            return
        if isinstance(answer, dict):
            self._output.put({"id": number, "ok": answer})
        else:
            self._slow.append((number, answer))

    def _advance(self) -> float | None:
        """Takes every slow request a step further; for how long there is nothing to do."""
        waits: list[float] = []
        self._pausing = False
        for number, work in list(self._slow):
            if len(self._output) > ENOUGH_OUTPUT:
                self._pausing = True
                break  # woken when the output can be written
            try:
                waits.append(next(work))
                continue
            except StopIteration as end:
                self._output.put({"id": number, "ok": end.value})
            except (UsageError, ValueError, OSError) as trouble:
                self._output.put({"id": number, "error": describe(trouble)})
            self._slow.remove((number, work))
        return min(waits, default=None)


def describe(trouble: Exception) -> dict[str, str]:
    """The `error` of an answer."""
    if not isinstance(trouble, OSError):
        return {"kind": "usage", "says": str(trouble)}
    kind = errno.errorcode.get(trouble.errno or 0) or type(trouble).__name__
    return {"kind": kind, "says": str(trouble) if trouble.filename else trouble.strerror or str(trouble)}
