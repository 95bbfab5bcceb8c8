"""The captures that run on this host, by their names, and the canaries that each has heard."""

from __future__ import annotations

import time
from functools import partial

from testbed.agent.loop import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.agent.capture import Capture
    from testbed.agent.loop import Answer, Message, Slow


class Captures:
    """What is asked of captures; what they have to tell goes to `tell`."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        self._tell = tell
        self._running: dict[str, Capture] = {}
        self._heard: dict[str, set[str]] = {}  # capture's name -> tokens of the canaries it has seen
        self._excused: list[str] = []  # a capture's name for each time that we took its interface down

    def readers(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """The descriptors to watch, and what reads each."""
        for name, capture in self._running.items():
            yield capture.fileno(), partial(self._hear, name)

    def start(self, request: Message, directory: str) -> Answer:
        """A capture that hears from now on; its file is in the directory."""
        from testbed.agent.capture import Capture

        name = request["name"]
        if name in self._running:
            raise UsageError(f"a capture called {name} runs already")
        size = {"ring_bytes": request["ring_bytes"]} if "ring_bytes" in request else {}
        place = (name, request["interface"], directory)
        capture = Capture(*place, request["promiscuous"], request["snap_length"], **size)
        capture.start()
        self._running[name], self._heard[name] = capture, set()
        return {}

    def wait_canary(self, request: Message) -> Slow:
        """Whether a capture has seen a canary, as soon as it has."""
        name, deadline_ns = request["name"], time.monotonic_ns() + request["timeout_ns"]
        self._capture(name)
        while request["token"] not in self._heard.get(name, ()):
            left_ns = deadline_ns - time.monotonic_ns()
            if left_ns <= 0 or name not in self._running:
                return {"heard": False}
            yield left_ns / 1e9
        return {"heard": True}

    def follow(self, request: Message) -> Slow:
        """What a capture has caught and catches, in chunks, until it is stopped."""
        from testbed.agent.bringing import follow

        capture = self._capture(request["name"])
        return follow(request, capture.path, lambda: self._running.get(capture.name) is not capture, self._tell)

    def stop(self, request: Message) -> Answer:
        """Ends a capture once its tail is drained."""
        answer = self._capture(request["name"]).stop()
        self._hear(request["name"])  # its last events: a full disk is told only now
        del self._running[request["name"]]
        return answer

    def excuse(self, interface: str) -> None:
        """That this interface goes down now is no problem of its captures."""
        self._excused += [name for name, capture in self._running.items() if capture.interface == interface]

    def kill(self) -> None:
        """Ends all, and forgets them."""
        for capture in self._running.values():
            capture.kill()
        for known in (self._running, self._heard, self._excused):
            known.clear()

    def _capture(self, name: str) -> Capture:
        if name not in self._running:
            raise UsageError(f"no capture called {name} runs; running: {', '.join(self._running) or 'none'}")
        return self._running[name]

    def _hear(self, name: str) -> None:
        for event in self._running[name].read_events():
            if event.get("event") == "canary":
                self._heard[name].add(event["token"])
            elif event.pop("down", False) and name in self._excused:
                self._excused.remove(name)
            else:
                self._tell(event)
