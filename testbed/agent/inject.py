"""The `inject` step: a crafted frame is given the numbers of a live connection and sent as it is.

The frame comes made (`testbed.craft`) but for what only the wire tells, ports and numbers by name (`live`), and for its
payload, which each round has of its own. Lengths and checksums are made right last. It leaves through a packet socket,
past the host's TCP and IP, with the mark that a silent kernel's filter lets pass (`hush`).

The ear is a packet socket that hears all of the wire, opened before the first step of any host so that no connection
begins unheard. What a program injects is not taken for what its host's kernel says, but where it opened the connection
itself, from a free port: then nobody else speaks.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import Counter

from testbed.agent import forge, frames, link, live, numbers, payload, tap
from testbed.agent.rewrite import each_option
from testbed.agent.sockets import StepError, StepTimeout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from testbed.agent.player import Program
    from testbed.agent.turn import Turn

    Step = dict[str, Any]
    Found = TypeVar("Found")

HEADERS = 256  # bytes heard of each frame: all headers fit
FIRST_FREE, LAST_FREE = 61000, 65535  # above what the default profile gives a kernel to choose from
_FIELDS = {"seq": 4, "ack": 8}  # where they are in the TCP header
_STAMPS = {"tsval": 2, "tsecr": 6}  # and in its timestamps option


class Ear:
    """Hears an interface, and sends on it. `hosts`: the MAC of each address of the lab."""

    def __init__(self, interface: str, hosts: Mapping[str, str]) -> None:
        macs = {frames.pack(address): bytes.fromhex(mac.replace(":", "")) for address, mac in hosts.items()}
        self.connections = live.Connections(macs)
        self._tap = tap.open_tap(interface, True, HEADERS, tap.LARGEST_RING)
        try:
            self._sender = link.open_interface(interface)
        except OSError:
            self._tap.close()
            raise
        self._sender.setblocking(True)
        self._changed = threading.Condition()
        self._own: Counter[bytes] = Counter()  # injected, and not heard yet
        self._opened: set[live.Place] = set()  # the free ports that we took
        self._free = FIRST_FREE

    def descriptors(self) -> set[int]:
        """What a process that takes it over must keep."""
        return {self._tap.socket.fileno(), self._sender.fileno()}

    def close(self) -> None:
        """Hear no more; in a process that took it over it goes on."""
        self._tap.close()
        self._sender.close()

    def start(self) -> None:
        """Listen in a thread, so that the ring never runs full."""
        threading.Thread(target=self._listen, daemon=True).start()

    def await_known(self, ask: Callable[[], Found], deadline_ns: int) -> Found:
        """What `ask` gives once it raises `numbers.Unknown` no more; what the kernel heard up to now is heard first.

        Raises what it raised last when the deadline passes, and StepError when packets were missed.
        """
        with self._changed:
            while True:
                self._hear_all()
                if self._tap.dropped:
                    raise StepError(f"{self._tap.dropped} packets were not heard: the connection's numbers are unsure")
                try:
                    return ask()
                except numbers.Unknown:
                    left_ns = deadline_ns - time.monotonic_ns()
                    if left_ns <= 0:
                        raise
                self._changed.wait(left_ns / 1e9)

    def free_port(self, address: bytes) -> int:
        """A port that nothing has used."""
        with self._changed:
            port, self._free = self._free, self._free + 1
            if port > LAST_FREE:
                raise StepError(f"no port is free any more: {port - FIRST_FREE} were used", "EADDRNOTAVAIL")
            self._opened.add((address, port))
            return port

    def send(self, frame: bytes) -> None:
        """Send a frame as it is. Raises OSError."""
        segment = frames.parse(frame)
        opened = segment and self._opened & {
            (segment.source, segment.source_port),
            (segment.destination, segment.destination_port),
        }
        if not opened:
            with self._changed:
                self._own[frame[:HEADERS]] += 1
        self._sender.send(frame)

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._tap.socket, select.POLLIN)
        while True:
            for _, ready in poll.poll():
                if ready & select.POLLERR:  # the interface is down; reading the error clears it
                    self._tap.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            with self._changed:
                self._take()
                self._changed.notify_all()

    def _hear_all(self) -> None:
        poll = select.poll()
        poll.register(self._tap.socket, select.POLLIN)
        for _ in range(20):
            self._take()
            if not self._tap.behind():
                return
            poll.poll(tap.RETIRE_MS)

    def _take(self) -> None:
        for caught in self._tap.read():
            for one in caught:
                if self._own.get(one.data, 0):
                    self._own[one.data] -= 1
                else:
                    self.connections.take(one.data)


def inject(program: Program, step: Step, turn: Turn) -> None:
    """Sends a crafted frame so many times, with the numbers of the live connection as they are now."""
    ear = program.ear
    if ear is None:
        raise StepError("nobody opened an ear for this program")
    if step.get("await"):
        program.await_mark(step["await"], turn.ready_ns)
        turn.begin()
    template = bytes.fromhex(step["frame"])
    data = program.render(step["payload"], turn.counters) if step.get("payload") else b""
    turn.tally = payload.Tally() if data else None
    sent: list[str] = []
    for _ in range(step.get("count", 1)):
        frame = _fill(ear, template, data, step, turn)
        segment = frames.parse(frame)
        assert segment
        turn.local = frames.endpoint(segment.source, segment.source_port)
        turn.peer = frames.endpoint(segment.destination, segment.destination_port)
        if not sent:
            turn.begin()  # what it had to wait for has been seen
        ear.send(frame)
        sent.append(f"{frames.describe(segment, _flags(segment))}, packet {forge.digest(frame)}")
        if turn.tally:
            turn.tally.add(data)
    times = f"{len(sent)} times " if len(sent) > 1 else ""
    turn.says = f"injected {times}{sent[0]}"


def _fill(ear: Ear, template: bytes, data: bytes, step: Step, turn: Turn) -> bytes:
    segment = frames.parse(template)
    assert segment
    ports = _ports(ear, segment, step)
    names: Mapping[str, str] = step.get("fill") or {}
    if ports[0] is not None and ports[1] is not None and not names:
        return _write(template, data, (ports[0], ports[1]), {})

    def known() -> tuple[tuple[int, int], dict[str, int]]:
        found = ear.connections.find((segment.source, ports[0]), (segment.destination, ports[1]))
        if found is None:
            raise numbers.Unknown("")
        receiver, connection = found
        sender = next((place for place in connection.ends if place != receiver), receiver)
        shown = connection.numbers(receiver)
        return (sender[1], receiver[1]), {name: numbers.evaluate(text, shown) for name, text in names.items()}

    try:
        return _write(template, data, *ear.await_known(known, turn.deadline_ns))
    except numbers.Unknown as lacking:
        raise StepTimeout(_says_unknown(str(lacking), segment, ports)) from None


def _ports(ear: Ear, segment: frames.Segment, step: Step) -> tuple[int | None, int | None]:
    source = ear.free_port(segment.source) if step["from_port"] == "free" else step["from_port"]
    return source, step["to_port"]


def _says_unknown(name: str, segment: frames.Segment, ports: tuple[int | None, int | None]) -> str:
    source, target = (
        f"{frames.unpack(address)}{'' if port is None else f' port {port}'}"
        for address, port in zip((segment.source, segment.destination), ports)
    )
    if not name:
        return f"its time was over before the wire showed a connection between {source} and {target}"
    return f"its time was over before the wire showed {name} of {target}, in its connection with {source}"


def _write(template: bytes, data: bytes, ports: tuple[int, int], values: Mapping[str, int]) -> bytes:
    """The frame with these ports, numbers and payload, sealed."""
    where = forge.find(template, frames.TCP)
    assert where
    header = bytearray(template[where.start : where.body])
    struct.pack_into("!HH", header, 0, *ports)
    for name, at in _FIELDS.items():
        if name in values:
            struct.pack_into("!I", header, at, values[name])
    for at, option in each_option(bytes(header[20:])):
        if option[:2] == b"\x08\x0a":
            for name, inside in _STAMPS.items():
                if name in values:
                    struct.pack_into("!I", header, 20 + at + inside, values[name])
    return forge.seal(template[: where.start], bytes(header) + data, 16)


_NAMES = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")


def _flags(segment: frames.Segment) -> str:
    """The flags as scenarios write them."""
    return "+".join(name for bit, name in enumerate(_NAMES) if segment.flags >> bit & 1) or "no flags"
