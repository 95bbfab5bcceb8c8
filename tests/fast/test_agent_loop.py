"""The agent's loop: a request that pauses for its reader goes on once the reader has taken what there was."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from testbed.agent.loop import ENOUGH_OUTPUT, Loop, Output

PATIENCE_S = 20.0
PIECES = 5


class Moody(Output):
    """A reader that now takes nothing, and then everything at once."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor)
        self.answered = threading.Event()
        self.takes = True

    def write(self) -> None:
        """Nothing, or all."""
        self.takes = not self.takes
        if self.takes:
            if b'"ok"' in self._left:
                self.answered.set()
            self._left.clear()


class Talkative:
    """Answers after more pieces than wait for a reader at a time."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def serve(self, request: Any) -> Any:
        """A slow request."""
        return self.talk()

    def talk(self) -> Iterator[float]:
        """Each piece is more than enough."""
        for _ in range(PIECES):
            self.output.put({"event": "x" * ENOUGH_OUTPUT})
            yield 0.0
        return {}  # type: ignore[return-value]  # as a generator's value

    def readers(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """None."""
        return iter(())


def test_a_reader_that_takes_all_at_once_is_told_the_rest() -> None:
    """Whatever waited is gone before the loop looks: it must not wait for a reader that has nothing to take."""
    requests, feed = os.pipe()
    told, telling = os.pipe()
    output = Moody(telling)
    loop = threading.Thread(target=lambda: _until_end(Loop(requests, output, Talkative(output))))
    loop.start()
    os.write(feed, b'{"id": 1, "do": "talk"}\n')
    answered = output.answered.wait(PATIENCE_S)
    os.close(feed)
    loop.join(PATIENCE_S)
    for descriptor in (requests, told, telling):
        os.close(descriptor)
    assert answered


def _until_end(loop: Loop) -> None:
    from testbed.agent.loop import Bye

    try:
        loop.run()
    except Bye:
        return
