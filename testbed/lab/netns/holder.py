"""The process that holds a lab: it makes the namespaces, starts the agents in them, and takes all with it when it ends.

    testbed --starts--> waiter --forks--> holder --forks--> an agent per host --forks--> captures, players, links

The holder is process 1 of a pid namespace: when it ends, however that comes, the kernel kills every process of the lab
(pid_namespaces(7)). The network namespaces have no name anywhere: they are descriptors of the holder and end with it;
so does the mount namespace with the lab's own /tmp. And the holder ends when its socket to the testbed does, that is
with the testbed, even by SIGKILL. So nothing can be left, and nothing has to be looked for and removed.

Over that socket, which is its standard input, come requests as JSON lines, one at a time, each answered by a line:
first the lab as layout.py has it, then `open` (three descriptors come along, for the agent's standard input, output and
error) and `ending`.

An agent is forked, not executed: its modules are loaded here once, while `ip` works. That takes 2 ms instead of 40.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys

from testbed.lab.netns import kernel
from testbed.lab.netns.namespaces import Refused, attempt, await_end, bring_up, enter, own_scratch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    Message = dict[str, Any]

LONGEST_READ = 1 << 16
STANDARD = 3  # descriptors: input, output, error
ENDING_TIMEOUT_S = 2.0


def main() -> NoReturn:
    """Serve the testbed at the other end of standard input, until it is gone."""
    control = socket.socket(fileno=0)
    _leave_with(lambda: _wait(control))


def _wait(control: socket.socket) -> int:
    """Enter the namespaces, fork the holder, wait for its end."""
    user_namespace = not kernel.is_capable()
    try:
        enter(user_namespace)
    except Refused as refused:
        _send(control, {"refused": refused.plain})
        return 1
    pid = os.fork()
    if pid == 0:
        _leave_with(lambda: _hold(control, user_namespace))
    control.close()  # the testbed shall see the holder's end
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status if status >= 0 else 128 - status


def _hold(control: socket.socket, user_namespace: bool) -> int:
    kernel.die_with_parent(signal.SIGKILL)
    kernel.name_process("testbed holder")
    try:
        _serve(control, {"user_namespace": user_namespace})
    except Refused as refused:
        _send(control, {"refused": refused.plain})
        return 1
    except ConnectionError:
        pass  # the testbed is gone
    return 0


def _serve(control: socket.socket, about: Message) -> None:
    requests = _requests(control)
    lab, _ = next(requests)
    attempt("mount", own_scratch)
    hosts = bring_up(lab["switch"], lab["hosts"], _load_agent)
    gc.freeze()  # so that the agents do not copy what they could share
    _send(control, {"ok": about})
    agents: dict[str, Agent] = {}
    for request, descriptors in requests:
        host = request["host"]
        if request["do"] == "open":
            kernel.set_namespace(hosts[host])
            agents[host] = Agent(host, descriptors)
            _send(control, {"ok": {}})
        else:
            _send(control, {"ok": {"status": agents[host].ending()}})


class Agent:
    """An agent, forked into the current network namespace; the descriptors become its own."""

    def __init__(self, host: str, descriptors: list[int]) -> None:
        self._status: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _leave_with(lambda: _be_agent(host, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)

    def ending(self) -> int | None:
        """Its exit code, or minus the signal that killed it; None while it lives on."""
        if self._status is None:
            self._status = await_end(self._pid, ENDING_TIMEOUT_S)
        return self._status


def _be_agent(host: str, descriptors: list[int]) -> int:
    from testbed.agent.control import main as agent

    os.setsid()
    kernel.name_process(f"agent {host}")
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    # Nothing of the holder's: a copy of its socket would keep the testbed from seeing its end.
    os.closerange(STANDARD, 1 << 20)
    return agent()


def _load_agent() -> None:
    import testbed.agent

    for folder in testbed.agent.__path__:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 (pathlib is slow to load)
            if name.endswith(".py") and not name.startswith("__"):
                __import__(f"testbed.agent.{name[:-3]}")


def _leave_with(work: Callable[[], int]) -> NoReturn:
    """Do the work of this process and end it: never back into the code that it was forked from."""
    code = 1
    try:
        code = work()
    finally:
        if sys.exc_info()[1] is not None:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(code)


def _requests(control: socket.socket) -> Iterator[tuple[Message, list[int]]]:
    """The requests, each with the descriptors that came along. Raises ConnectionError when the testbed is gone."""
    buffer, held = b"", list[int]()
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, LONGEST_READ, STANDARD)
        if not data:
            raise ConnectionResetError
        buffer, held = buffer + data, held + descriptors
        if buffer.endswith(b"\n"):
            yield json.loads(buffer), held
            buffer, held = b"", []


def _send(control: socket.socket, message: Message) -> None:
    control.sendall(json.dumps(message).encode() + b"\n")
