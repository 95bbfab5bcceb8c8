"""The steps: a table from a step's name to the function that does it (docs/agent-protocol.md says what each takes).

A function gets the program (`player.Program`), the step as it came, and the turn: the stack of sockets, the deadline,
and the account of what happened, which it fills in (`local`, `peer`, `tally`). It ends by returning, by an OSError (the
kernel's word), by `StepError` (no errno says it), or by `StepTimeout`. See socket(7), tcp(7), udp(7).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct

from testbed.agent import host_steps, options, payload
from testbed.agent.sockets import (
    ANY,
    CONNECTION,
    DATAGRAM,
    FAILED,
    FRESH,
    LISTENER,
    STREAMS,
    OpenSocket,
    StepError,
    StepTimeout,
    await_ready,
    place,
)
from testbed.agent.turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from testbed.agent.player import Program

    Step = dict[str, Any]

HOW = {"rd": socket.SHUT_RD, "wr": socket.SHUT_WR, "rdwr": socket.SHUT_RDWR}
LARGEST_DATAGRAM = 65535


def open_socket(program: Program, step: Step, turn: Turn) -> None:
    """socket(2)."""
    _open(program, turn, step.get("type", "tcp"), step.get("as"))


def bind(program: Program, step: Step, turn: Turn) -> None:
    """bind(2) to the wildcard address; of the newest unbound socket, or of a new TCP one."""
    one = turn.about(_unbound(program, step, turn, (FRESH, DATAGRAM)))
    _bind(program, turn, one, step.get("port") or 0, step.get("reuse", True))


def listen(program: Program, step: Step, turn: Turn) -> None:
    """listen(2); with a port, bind(2) first."""
    if step.get("port") is None:
        one = turn.use(step.get("on"), (FRESH,))
    else:
        one = turn.about(_unbound(program, step, turn, (FRESH,)))
        _bind(program, turn, one, step["port"], step.get("reuse", True))
    if step.get("fastopen") is not None:
        one.raw.setsockopt(*options.find("TCP_FASTOPEN"), step["fastopen"])
    one.raw.listen(step.get("backlog", 128))
    one.kind = LISTENER
    one.name = step.get("as") or one.name
    turn.about(one)
    program.mark(f"listening:{program.host}:{one.port_name or 'free'}", one.local()[1])


def accept(_: Program, step: Step, turn: Turn) -> None:
    """accept(2): waits for a connection."""
    listener = turn.use(step.get("on"), (LISTENER,))
    while True:
        await_ready(listener.raw, select.POLLIN, turn.deadline_ns, "accept was waiting for a connection")
        try:
            raw, peer = listener.raw.accept()
            break
        except BlockingIOError:
            continue  # another round's accept was faster
    one = turn.stack.add(raw, CONNECTION, step.get("as"))
    one.peer = peer
    turn.about(one)


def connect(program: Program, step: Step, turn: Turn) -> None:
    """connect(2), after the mark that says the peer listens."""
    port = _await_peer(program, step, turn)
    if step.get("from") is not None:
        one = turn.about(_unbound(program, step, turn, (FRESH,)))
        _bind(program, turn, one, step["from"], True)
    else:
        found = turn.stack.find(step.get("on"), (FRESH,))
        one = found or (turn.use(step["on"]) if step.get("on") else _open(program, turn, "tcp", None))
    one.name = step.get("as") or one.name
    if step.get("fastopen"):
        one.raw.setsockopt(*options.find("TCP_FASTOPEN_CONNECT"), 1)
    turn.begin()
    _connect(turn, one, (program.address(step["host"]), port), waits=step.get("error") != "EINPROGRESS")


def send(program: Program, step: Step, turn: Turn) -> None:
    """send(2) until all is written."""
    one = turn.use(step.get("on"), (CONNECTION,), STREAMS)
    turn.tally = payload.Tally()
    left = memoryview(program.render(step["payload"], turn.counters))
    turn.begin()
    while left:
        try:
            sent = one.raw.send(left)
        except OSError as trouble:
            if trouble.errno not in (errno.EAGAIN, errno.EINPROGRESS):  # the latter: a fast open that has no cookie yet
                raise
            await_ready(one.raw, select.POLLOUT, turn.deadline_ns, f"send had {len(left)} bytes left to write")
            continue
        turn.tally.add(left[:sent])
        left = left[sent:]


def receive(program: Program, step: Step, turn: Turn) -> None:
    """recv(2) of so many bytes, or to the end of the stream."""
    one = turn.use(step.get("on"), (CONNECTION,), STREAMS)
    turn.tally, turn.read = _expecting(program, step, turn), True
    wanted, chunk = step.get("bytes"), step.get("chunk", 1024)
    while wanted is None or turn.tally.bytes < wanted:
        size = chunk if wanted is None else min(chunk, wanted - turn.tally.bytes)
        data = _recv(one, size, turn)
        if not data:
            break
        turn.tally.add(data)
    if wanted is not None and turn.tally.bytes < wanted:
        raise StepError(f"the stream ended after {turn.tally.bytes} of {wanted} bytes", "EOF")
    _compare(turn.tally)


def shutdown(_: Program, step: Step, turn: Turn) -> None:
    """shutdown(2)."""
    turn.use(step.get("on"), (CONNECTION,), STREAMS, ANY).raw.shutdown(HOW[step["how"]])


def close(_: Program, step: Step, turn: Turn) -> None:
    """close(2)."""
    turn.use(step.get("on"), ANY).raw.close()
    turn.stack.forget()


def abort(_: Program, step: Step, turn: Turn) -> None:
    """close(2) with a linger time of 0: a reset, whatever is queued."""
    one = turn.use(step.get("on"), ANY)
    one.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("@ii", 1, 0))
    one.raw.close()
    turn.stack.forget()


def set_options(_: Program, step: Step, turn: Turn) -> None:
    """setsockopt(2), once for each option."""
    one = turn.use(step.get("on"), ANY)
    for name, value in step["options"].items():
        try:
            level, number = options.find(name)
        except options.UnknownOption as trouble:
            raise StepError(str(trouble), "ENOPROTOOPT") from None
        try:
            one.raw.setsockopt(level, number, options.pack(name, value))
        except (OverflowError, TypeError, struct.error) as trouble:
            raise StepError(f"{name} cannot be {value!r}: {trouble}", "EINVAL") from None


def sign_segments(program: Program, step: Step, turn: Turn) -> None:
    """TCP_MD5SIG: the key for a host's address."""
    one = turn.use(step.get("on"), ANY)
    level, number = options.find("TCP_MD5SIG")
    try:
        packed = options.pack_md5(program.address(step["host"]), step["key"])
    except ValueError as trouble:
        raise StepError(str(trouble), "EINVAL") from None
    one.raw.setsockopt(level, number, packed)


def open_datagram(program: Program, step: Step, turn: Turn) -> None:
    """A UDP socket, bound to the port of the wildcard address."""
    one = _open(program, turn, "udp", step.get("as"))
    _bind(program, turn, one, step.get("port") or 0, False)


def send_to(program: Program, step: Step, turn: Turn) -> None:
    """sendto(2): one datagram to a host's port, or back to whom the last one came from."""
    one = turn.use(step.get("on"), (DATAGRAM,))
    if step.get("host") is None:
        if one.peer is None:
            raise StepError("there is nobody to reply to: no datagram has come to this socket")
        to = one.peer
    else:
        to = (program.address(step["host"]), _await_peer(program, step, turn))
    data = program.render(step["payload"], turn.counters)
    turn.begin()
    turn.peer = place(to)
    while True:
        try:
            one.raw.sendto(data, to)
            break
        except BlockingIOError:
            await_ready(one.raw, select.POLLOUT, turn.deadline_ns, "sendto was waiting for room in the queue")
    turn.local = place(one.local())
    turn.tally = payload.Tally()
    turn.tally.add(data)


def receive_from(program: Program, step: Step, turn: Turn) -> None:
    """recvfrom(2): waits for one datagram."""
    one = turn.use(step.get("on"), (DATAGRAM,))
    turn.tally, turn.read = _expecting(program, step, turn), True
    while True:
        await_ready(one.raw, select.POLLIN, turn.deadline_ns, "recvfrom was waiting for a datagram")
        try:
            data, one.peer = one.raw.recvfrom(min(step.get("bytes") or LARGEST_DATAGRAM, LARGEST_DATAGRAM))
            break
        except BlockingIOError:
            continue  # a bad checksum, or another round was faster
    turn.about(one)
    turn.tally.add(data)
    _compare(turn.tally)


STEPS: dict[str, Callable[[Program, Step, Turn], None]] = {
    "socket": open_socket,
    "bind": bind,
    "listen": listen,
    "accept": accept,
    "connect": connect,
    "send": send,
    "recv": receive,
    "shutdown": shutdown,
    "close": close,
    "abort": abort,
    "sockopt": set_options,
    "md5": sign_segments,
    "sleep": host_steps.sleep,
    "mark": host_steps.mark,
    "wait": host_steps.wait,
    "hold": host_steps.hold,
    "kill": host_steps.kill,
    "snapshot": host_steps.snapshot,
    "link": host_steps.set_link,
    "vanish": host_steps.vanish,
    "reboot": host_steps.reboot,
    "log": host_steps.log,
    "udp": open_datagram,
    "sendto": send_to,
    "recvfrom": receive_from,
    "inject": host_steps.inject,
}
ROUNDS = ("repeat", "parallel")  # played by player.Program itself
NEEDS = {  # the keys that a step cannot do without
    "connect": ("host", "port"),
    "send": ("payload",),
    "recv": ("bytes",),
    "shutdown": ("how",),
    "sockopt": ("options",),
    "sleep": ("duration_ns",),
    "mark": ("name",),
    "wait": ("name",),
    "snapshot": ("name",),
    "link": ("up",),
    "md5": ("host", "key"),
    "kill": ("signal",),
    "reboot": ("down_ns",),
    "log": ("line",),
    "sendto": ("payload",),
    "inject": ("frame", "from_port", "to_port"),
    "repeat": ("times", "steps"),
    "parallel": ("times", "steps"),
}


def injects(steps: list[Any]) -> bool:
    """Whether any of the steps sends a crafted frame."""
    return any(step["step"] == "inject" or injects(step.get("steps") or []) for step in steps)


def fault(steps: list[Any], path: str = "") -> str:
    """What is wrong with the first step that cannot be played, and where; empty when all can."""
    for number, step in enumerate(steps):
        name = step.get("step") if isinstance(step, dict) else None
        if name not in STEPS and name not in ROUNDS:
            return f"steps {path}{number}: there is no step {name!r}; there are {', '.join((*STEPS, *ROUNDS))}"
        missing = [key for key in NEEDS.get(name, ()) if key not in step]
        if missing:
            return f"steps {path}{number}: {name} needs {' and '.join(missing)}"
        if name == "shutdown" and step["how"] not in HOW:
            return f"steps {path}{number}: shutdown is one of {', '.join(HOW)}, not {step['how']!r}"
        inside = fault(step["steps"], f"{path}{number}.") if name in ROUNDS else ""
        if inside:
            return inside
    return ""


def _open(program: Program, turn: Turn, kind: str, name: str | None) -> OpenSocket:
    stream = kind == "tcp"
    raw = socket.socket(program.family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
    return turn.about(turn.stack.add(raw, FRESH if stream else DATAGRAM, name))


def _unbound(program: Program, step: Step, turn: Turn, kinds: tuple[str, ...]) -> OpenSocket:
    on, name = step.get("on"), step.get("as")
    if on:
        one = turn.use(on)
    else:
        found = turn.stack.find(None, kinds)
        one = found if found and found.port_name is None else _open(program, turn, "tcp", name)
    one.name = name or one.name
    return one


def _bind(program: Program, turn: Turn, one: OpenSocket, port: int, reuse: bool) -> None:
    if reuse:
        one.raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.raw.bind(("", port))
    one.port_name = str(port) if port else "free"
    turn.about(one)
    program.mark(f"bound:{program.host}:{one.port_name}", one.local()[1])


def _await_peer(program: Program, step: Step, turn: Turn) -> int:
    value = program.await_mark(step["await"], turn.ready_ns) if step.get("await") else None
    if step["port"] != "free":
        return int(step["port"])
    if value is None:
        raise StepError(f"which port {step['host']} has is told by a mark, and the step awaits none that has a value")
    return int(value)


def _connect(turn: Turn, one: OpenSocket, to: tuple[str, int], waits: bool) -> None:
    turn.about(one)
    turn.peer = place(to)
    try:
        trouble = one.raw.connect_ex(to)
        turn.local = place(one.local())  # the port is given back when the connect fails
        if trouble == errno.EINPROGRESS and not waits:
            one.kind, one.peer = CONNECTION, to  # what the steps behind act on
        elif trouble == errno.EINPROGRESS:
            await_ready(one.raw, select.POLLOUT, turn.deadline_ns, "connect was waiting for the peer")
            trouble = one.raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if trouble:
            raise OSError(trouble, os.strerror(trouble))
    except (OSError, StepTimeout):
        one.kind = FAILED if one.kind == FRESH else one.kind  # a listener or a connection stays what it is
        raise
    one.kind, one.peer = CONNECTION, _peer_of(one.raw) or to
    turn.about(one)


def _peer_of(raw: socket.socket) -> Any:
    try:
        return raw.getpeername()
    except OSError:  # a reset has come already, or a fast open has not begun
        return None


def _recv(one: OpenSocket, size: int, turn: Turn) -> bytes:
    while True:
        try:
            return one.raw.recv(size)
        except BlockingIOError:
            assert turn.tally
            doing = f"recv was waiting for more than the {turn.tally.bytes} bytes that had come"
            await_ready(one.raw, select.POLLIN, turn.deadline_ns, doing)


def _expecting(program: Program, step: Step, turn: Turn) -> payload.Tally:
    return payload.Tally(program.render(step["equals"], turn.counters) if step.get("equals") is not None else None)


def _compare(tally: payload.Tally) -> None:
    difference = tally.difference()
    if difference:
        raise StepError(difference)
