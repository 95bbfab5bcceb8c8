"""Processes that have done their work and wait for more of the same: a warm lab needs a capture again in a moment.

To fork the agent, and to copy the pages that both write from then on, costs more than a short run's capture does. A
spare holds nothing of the work that it has done, which it says itself; before that it is given no other.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import select
import time
from collections.abc import Callable

from testbed.agent.child import Child, Message, Parent, fork

Work = Callable[[Parent, Message], None]

PR_SET_NAME = 15
IDLE = {"idle": True}
PATIENCE_S = 2.0  # giving a ring back takes the kernel 30 ms

_retired: dict[str, list[Child]] = {}  # by trade: these are about to be idle, or are


def employ(trade: str, name: str, work: Work, words: Message) -> Child:
    """A process that does `work(parent, words)`: an idle one of that trade, or a new one.

    An OSError that it raises is answered to the agent, which raises it from `ask` or `hear`.
    """
    for child in list(_retired.get(trade, ())):
        if _is_idle(child, 0.0):
            _retired[trade].remove(child)
            child.begin_again(name)
            with contextlib.suppress(BrokenPipeError):  # it has died this moment, which `hear` will find
                child.control.write(words)
            return child
        if child.control.ended():
            _end(trade, child)
    child = fork(name, lambda parent: _serve(parent, trade, work))
    child.control.write(words)
    return child


def retire(trade: str, child: Child) -> None:
    """A process has answered for the last time, and all that it told before has been read."""
    _retired.setdefault(trade, []).append(child)


def settle() -> int:
    """Wait until no spare holds anything, ending those that do not say so; how many spares there are."""
    for trade, children in _retired.items():
        for child in list(children):
            if not _is_idle(child, PATIENCE_S):
                _end(trade, child)
    return sum(map(len, _retired.values()))


def end() -> None:
    """End all spares."""
    for trade, children in _retired.items():
        for child in list(children):
            _end(trade, child)


def _end(trade: str, child: Child) -> None:
    _retired[trade].remove(child)
    child.end()


def _is_idle(child: Child, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        child.idle |= IDLE in child.control.read()
        child.events.read()  # nobody needs them any more, but it cannot go on before it is rid of them
        if child.control.ended():
            return False
        left_s = deadline - time.monotonic()
        if child.idle or left_s <= 0:
            return child.idle
        select.select([child.control.stream, child.events.stream], [], [], left_s)


def _serve(parent: Parent, trade: str, work: Work) -> None:
    """The life of such a process."""
    gc.freeze()
    while True:
        for words in _await(parent):
            _name(trade)
            work(parent, words)
            _name(f"spare {trade}")
            _tell_rest(parent)
            gc.collect()  # it is switched off while there is work
            parent.control.write(IDLE)


def _await(parent: Parent) -> list[Message]:
    select.select([parent], [], [])
    return parent.asked()


def _tell_rest(parent: Parent) -> None:
    while not parent.flush():
        select.select([parent], [parent.events], [])
        parent.asked()  # ends us when the agent is gone


def _name(name: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
