"""The steps that act on the host or the program rather than on one socket: time, marks, ends, the link, what is told.

A function gets the program, the step and the turn, as in `steps`.
"""

from __future__ import annotations

import signal
import time

from testbed.agent.diag import SocketTable
from testbed.agent.sockets import ANY, CONNECTION, DATAGRAM, StepError
from testbed.agent.turn import Held, Killed, Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from testbed.agent.player import Program

    Step = dict[str, Any]


def sleep(_: Program, step: Step, _turn: Turn) -> None:
    """Nothing for a while, whatever the time limit."""
    time.sleep(step["duration_ns"] / 1e9)


def mark(program: Program, step: Step, _: Turn) -> None:
    """Tells all hosts that this point was reached."""
    program.mark(step["name"], None)


def wait(program: Program, step: Step, turn: Turn) -> None:
    """Waits for a mark of any host, also one that was made before."""
    program.await_mark(step["name"], turn.deadline_ns)


def hold(_: Program, _step: Step, _turn: Turn) -> None:
    """Leaves everything as it is until `release`."""
    raise Held


def kill(_: Program, step: Step, _turn: Turn) -> None:
    """The program ends by a signal, once this step is reported."""
    raise Killed(signal.Signals[step["signal"]])


def snapshot(program: Program, step: Step, _: Turn) -> None:
    """The kernel's table of TCP sockets now."""
    with SocketTable() as table:
        time_ns, rows = time.time_ns(), [row._asdict() for row in table.rows()]
    for row in rows:
        del row["cookie"]
    program.tell({"event": "snapshot", "name": step["name"], "time_ns": time_ns, "rows": rows})


def log(program: Program, step: Step, turn: Turn) -> None:
    """A line, with the addresses of a socket as Python prints them."""
    line = step["line"]
    if step.get("on") or "{peer}" in line or "{local}" in line:
        one = turn.use(step.get("on"), (CONNECTION,), (DATAGRAM,), ANY)
        line = line.replace("{peer}", str(one.peer)).replace("{local}", str(one.local()))
    program.log(line.replace("{host}", program.host), turn)


def set_link(program: Program, step: Step, turn: Turn) -> None:
    """The host's interface goes down, or up; the agent does it, since it must bring it up when this program is gone."""
    refused = program.switch_link(step["up"], turn)
    if refused:
        raise StepError(refused)


def vanish(program: Program, _: Step, turn: Turn) -> None:
    """The interface goes down, then all sockets are destroyed: nothing that they would say leaves the host."""
    _power_off(program, turn)


def reboot(program: Program, step: Step, turn: Turn) -> None:
    """As `vanish`; a while later the interface is up again, and nobody remembers a connection."""
    _power_off(program, turn)
    time.sleep(step["down_ns"] / 1e9)
    refused = program.switch_link(True, turn)
    if refused:
        raise StepError(refused)


def _power_off(program: Program, turn: Turn) -> None:
    refused = program.switch_link(False, turn, destroy=True)
    if refused:
        raise StepError(refused)
    turn.stack.close_all()


def inject(program: Program, step: Step, turn: Turn) -> None:
    """Sends a crafted frame, with the numbers of the live connection."""
    from testbed.agent import inject as crafted  # what it needs is on no other program's way

    crafted.inject(program, step, turn)
