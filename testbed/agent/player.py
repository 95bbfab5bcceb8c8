"""A program being played: a forked process that does the steps and reports each.

The process ends with code 0 when all steps ended as declared, else 1 at the first that did not, by `_exit`: what is
open is closed by the kernel, as for any program that ends. A thread reads what the agent relays (marks, the release of
a `hold`); each round of `parallel` is a thread with sockets of its own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
import time

from testbed.agent import child, payload, power
from testbed.agent.sockets import Stack, StepError, StepTimeout
from testbed.agent.steps import ROUNDS, STEPS
from testbed.agent.turn import DEFAULT_TIMEOUT_NS, Held, Killed, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from testbed.agent.inject import Ear

    Step = dict[str, Any]

AS_DECLARED, OTHERWISE, CRASHED = 0, 1, 70
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
STACK_BYTES = 512 * 1024  # of a round's thread: a thousand of them must fit


class Ended(Exception):
    """A step did not end as declared, and so the program is over."""


class Player:
    """The agent's view of a playing process."""

    def __init__(self, request: dict[str, Any], marks: dict[str, Any], ear: Ear | None = None) -> None:
        self.held = False
        kept = ear.descriptors() if ear else ()
        self._child = child.fork("player", lambda parent: _work(parent, request, marks, ear), kept)

    def fileno(self) -> int:
        """Readable when the process has something to tell, or has ended."""
        return self._child.fileno()

    def read(self) -> list[dict[str, Any]]:
        """What it has told."""
        return self._child.events.read()

    @property
    def silent(self) -> bool:
        """Whether it has told all and is ending."""
        return self._child.events.ended()

    def relay(self, message: dict[str, Any]) -> None:
        """Tells it of a mark, or of the release."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended, and that is told by `silent`
            self._child.control.write(message)

    def reap(self) -> tuple[int | None, str | None]:
        """Waits for its end; its exit code, or the name of the signal that ended it."""
        _, status = os.waitpid(self._child.pid, 0)
        self._child.closed = True  # nothing left to kill
        self._child.events.stream.close()
        self._child.control.stream.close()
        if os.WIFSIGNALED(status):
            return None, _signal_name(os.WTERMSIG(status))
        return os.WEXITSTATUS(status), None

    def short_of_memory(self) -> str:
        """Words to put behind its end where memory may have been the reason; else none."""
        return self._child.short_of_memory()

    def kill(self) -> None:
        """Ends the process at once."""
        self._child.end()


class Program:
    """What the steps of one program share: addresses, files, marks, and the way to report."""

    def __init__(
        self, parent: child.Parent, request: dict[str, Any], marks: dict[str, Any], ear: Ear | None = None
    ) -> None:
        self.host: str = request["host"]
        self.ear = ear
        self.family = FAMILIES[request["family"]]
        self._addresses: dict[str, str] = request["addresses"]
        self._files: dict[str, str] = request.get("files") or {}
        self._seed: int = request.get("seed") or 0
        self._marks = dict(marks)
        self._marked = threading.Condition()
        self._parent = parent
        self._telling = threading.Lock()

    def address(self, host: str) -> str:
        """The address of a host."""
        if host not in self._addresses:
            raise StepError(f"no address is known for host {host}; known are {', '.join(self._addresses) or 'none'}")
        return self._addresses[host]

    def render(self, what: dict[str, Any], counters: tuple[int, ...] = ()) -> bytes:
        """The bytes of a payload, in the round that the innermost counter tells."""
        try:
            return payload.render(what, self._files, self._seed, counters[-1] if counters else 0)
        except ValueError as trouble:
            raise StepError(str(trouble)) from None

    def tell(self, event: dict[str, Any]) -> None:
        """Reports an event, whole, whoever else reports."""
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        with self._telling:
            self._parent.events.sendall(line)

    def mark(self, name: str, value: int | None) -> None:
        """A mark of this program: for its own waits, and for all others'."""
        self.put_mark(name, value)
        self.tell({"event": "mark", "name": name, "value": value})

    def put_mark(self, name: str, value: int | None) -> None:
        """A mark that somebody made."""
        with self._marked:
            self._marks[name] = value
            self._marked.notify_all()

    def await_mark(self, name: str, deadline_ns: int) -> int | None:
        """The value of a mark, as soon as it is made."""
        with self._marked:
            left_ns = max(0, deadline_ns - time.monotonic_ns())
            if not self._marked.wait_for(lambda: name in self._marks, left_ns / 1e9):
                made = ", ".join(sorted(self._marks)) or "none"
                raise StepTimeout(f"its time was over while it waited for mark {name}; made so far: {made}")
            return self._marks[name]  # type: ignore[no-any-return]

    def switch_link(self, up: bool, turn: Turn, destroy: bool = False) -> str:
        """Has the agent set the interface up or down, and destroy all sockets; why it could not, if it could not."""
        name = f"link {up} {turn.path} {turn.counters} {turn.start_ns}"
        self.tell({"player": "link", "name": name, "up": up, "destroy": destroy})
        return str(self.await_mark(name, turn.deadline_ns) or "")

    def log(self, line: str, turn: Turn) -> None:
        """Reports a line of the program."""
        self.tell({"event": "log", "line": line, "time_ns": time.time_ns(), "path": turn.path})

    def die(self, number: int) -> None:
        """Ends the process by a signal, with whatever is open; what is being reported is finished first."""
        with self._telling:
            os.kill(os.getpid(), number)
            signal.pause()

    def exit(self, code: int) -> None:
        """Ends the process; whoever is in the middle of a report finishes it first."""
        with self._telling:
            os._exit(code)

    def play(self, steps: list[Step], stack: Stack, path: str = "", counters: tuple[int, ...] = ()) -> None:
        """The steps in order. Raises Ended or Held."""
        for number, step in enumerate(steps):
            self._do(step, stack, f"{path}{number}", counters)

    def _do(self, step: Step, stack: Stack, path: str, counters: tuple[int, ...]) -> None:
        timeout_ns = step.get("timeout_ns")
        turn = Turn(stack, DEFAULT_TIMEOUT_NS if timeout_ns is None else timeout_ns, path, counters)
        outcome, name, says, last = "ok", None, "", None
        try:
            if step["step"] in ROUNDS:
                self._do_rounds(step, stack, path, counters)
            else:
                STEPS[step["step"]](self, step, turn)
                says = turn.says
        except StepTimeout as trouble:
            outcome, says = "timeout", str(trouble)
            if step.get("error") == "EAGAIN":  # as with SO_RCVTIMEO, socket(7)
                outcome, name = "error", "EAGAIN"
        except StepError as trouble:
            outcome, name, says = "error", trouble.errno_name, trouble.says
        except OSError as trouble:
            outcome, name, says = "error", errno_name(trouble), os.strerror(trouble.errno or 0)
        except (Held, Killed) as reached:
            last = reached
        self._report(step, turn, outcome, name, says)
        if isinstance(last, Killed):
            self.die(last.number)
        if last:
            raise last
        if name != step.get("error") or outcome != ("error" if step.get("error") else "ok"):
            raise Ended

    def _report(self, step: Step, turn: Turn, outcome: str, name: str | None, says: str) -> None:
        event = {"event": "step", "path": turn.path, "round": list(turn.counters), "step": step["step"]}
        event.update(outcome=outcome, errno=name, says=says)
        event.update(due_ns=turn.due_ns, start_ns=turn.start_ns, end_ns=time.time_ns())
        event.update(local=turn.local, peer=turn.peer, bytes=None, sha256=None)
        if turn.tally:
            event.update(bytes=turn.tally.bytes, sha256=turn.tally.sha256)
            if turn.read:
                event["data"] = turn.tally.shown
        self.tell(event)

    def _do_rounds(self, step: Step, stack: Stack, path: str, counters: tuple[int, ...]) -> None:
        if step["step"] == "repeat":
            for number in range(step["times"]):
                self.play(step["steps"], Stack(stack), f"{path}.", (*counters, number))
                stack.forget()
            return
        rounds = [
            Round(self, step["steps"], Stack(stack), f"{path}.", (*counters, number)) for number in range(step["times"])
        ]
        for one in rounds:
            one.start()
        for one in rounds:
            one.join()
        stack.forget()
        if any(one.held for one in rounds):
            raise Held


class Round(threading.Thread):
    """One of the rounds of a `parallel`. A step that does not end as declared ends the program, at once."""

    def __init__(self, program: Program, steps: list[Step], stack: Stack, path: str, counters: tuple[int, ...]) -> None:
        super().__init__(daemon=True)
        self.held = False
        self._program = program
        self._play = (steps, stack, path, counters)

    def run(self) -> None:
        """Plays; another crash than a step's is the process's."""
        try:
            self._program.play(*self._play)
        except Held:
            self.held = True
        except Ended:
            self._program.exit(OTHERWISE)


def errno_name(trouble: OSError) -> str:
    """The name of an OSError's number, such as ECONNREFUSED."""
    return errno.errorcode.get(trouble.errno or 0, f"ERRNO_{trouble.errno}")


def _work(parent: child.Parent, request: dict[str, Any], marks: dict[str, Any], ear: Ear | None) -> None:
    threading.stack_size(STACK_BYTES)
    threading.excepthook = _crash
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    power.keep_only(power.needed(request["steps"]))
    program = Program(parent, request, marks, ear)
    if ear:
        ear.start()
    released = threading.Event()
    threading.Thread(target=_listen, args=(parent, program, released), daemon=True).start()
    code, stack = AS_DECLARED, Stack()  # ours until _exit: the kernel shall close what is open, not Python
    try:
        program.play(request["steps"], stack)
    except Ended:
        code = OTHERWISE
    except Held:
        program.tell({"player": "held"})
        released.wait()
    program.exit(code)


def _listen(parent: child.Parent, program: Program, released: threading.Event) -> None:
    while not parent.control.ended():
        select.select([parent], [], [])
        for message in parent.control.read():
            if message["do"] == "mark":
                program.put_mark(message["name"], message["value"])
            else:
                released.set()
    os._exit(CRASHED)  # the agent is gone


def _crash(arguments: Any) -> None:
    sys.excepthook(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
    os._exit(CRASHED)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
