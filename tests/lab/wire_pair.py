"""Two hosts on a veth pair, for tests of the wire: wires applied to them, and datagrams that say when they left.

Taking a namespace away takes a second on an emulated machine, so the two live as long as a test module.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from typing import Any

from namespaces import inside, run

from testbed.agent import probe, tap, wire

MS = 1_000_000
CLIENT, SERVER, OTHER = "198.18.0.2", "198.18.0.3", "198.18.0.4"  # OTHER: a second address of the client
CLIENT6, SERVER6 = "fd00::2", "fd00::3"
BOTH = ("ipv4", "ipv6")
UNTIL_HERE_S = 10.0  # what is certain to come
UNTIL_LOST_S = 0.5  # on a wire of microseconds, what has not come by now is lost
SO_TIMESTAMPNS = 35
STAMP = struct.Struct("!IQ")


class Pair:
    """A client and a server in namespaces of their own."""

    def __init__(self) -> None:
        self.client, self.server = (f"tbwire-{os.getpid()}-{end}" for end in "cs")
        self.lab = contextlib.ExitStack()
        self.undo = contextlib.ExitStack()  # of one test

    def make(self) -> None:
        """Bring both up."""
        for name in (self.client, self.server):
            run("ip", "netns", "add", name)
            self.lab.callback(run, "ip", "netns", "del", name)
        ends = ("netns", self.client, "type", "veth", "peer", "name", "eth0", "netns", self.server)
        run("ip", "link", "add", "eth0", *ends)
        for name, ipv4, ipv6 in ((self.client, (CLIENT, OTHER), CLIENT6), (self.server, (SERVER,), SERVER6)):
            with inside(name):
                run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0")
                for address in ipv4:
                    run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
                run("ip", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
                run("ip", "link", "set", "lo", "up")
                run("ip", "link", "set", "eth0", "up")

    def apply(self, engine: str, *phases: dict[str, Any], seed: int = 7, **more: Any) -> wire.Wire:
        """Impair what arrives at the server: the `sources` of each phase, 300 ms apart."""
        timeline = [{"at_ns": index * 300 * MS, "sources": sources} for index, sources in enumerate(phases)]
        link = {"engine": engine, "seed": seed, "faults": [], "phases": timeline, **more}
        with inside(self.server):
            applied = wire.apply("eth0", BOTH, link)
        self.undo.callback(self.close, applied)
        return applied

    def close(self, applied: wire.Wire) -> None:
        """Close a wire in its namespace."""
        with inside(self.server):
            applied.close()

    def read(self, applied: wire.Wire) -> dict[str, Any]:
        """Read a wire in its namespace."""
        with inside(self.server):
            return applied.read()

    def events(self, applied: wire.Wire) -> list[dict[str, Any]]:
        """Its events; a phase begins in the namespace where it is read."""
        with inside(self.server):
            return applied.read_events()

    def ends(self, source: str = CLIENT, port: int = 9) -> tuple[socket.socket, socket.socket]:
        """A UDP socket of the client, connected to one of the server."""
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        to = SERVER6 if ":" in source else SERVER
        with inside(self.server):
            receiver = self.undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            receiver.bind((to, port))
            receiver.setsockopt(socket.SOL_SOCKET, tap.SO_RCVBUFFORCE, 1 << 24)
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with inside(self.client):
            sender = self.undo.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            sender.bind((source, 0))
            sender.connect((to, port))
        return sender, receiver


def send(sender: socket.socket, count: int, every_s: float = 0.0, size: int = STAMP.size) -> None:
    """Send numbered datagrams, evenly, each with the time when it left."""
    for number in range(count):
        sender.send(STAMP.pack(number, time.time_ns()).ljust(size, b"."))
        if every_s:
            time.sleep(every_s)


def heard(receiver: socket.socket, count: int = 0) -> list[tuple[int, float]]:
    """Of each datagram that came: its number, and how many ms it took; so many, else until none comes any more."""
    receiver.settimeout(UNTIL_HERE_S if count else UNTIL_LOST_S)
    found: list[tuple[int, float]] = []
    with contextlib.suppress(TimeoutError):
        while not count or len(found) < count:
            data, ancillary, _, _ = receiver.recvmsg(2000, 256)
            number, left_ns = STAMP.unpack_from(data)
            seconds, ns = struct.unpack("@ll", ancillary[0][2])
            found.append((number, (seconds * 1_000_000_000 + ns - left_ns) / MS))
    return found


def lacking(engine: str) -> str:
    """Why this machine cannot run an engine, or nothing. Tried in a namespace of its own."""
    name = f"tbwire-{os.getpid()}-p"
    run("ip", "netns", "add", name)
    try:
        with inside(name):
            return str(probe.probe()[engine]["says"])
    finally:
        run("ip", "netns", "del", name)


def left(namespace: str) -> list[str]:
    """What of a wire is still there."""
    with inside(namespace):
        shown = run("tc", "qdisc", "show") + run("tc", "filter", "show", "dev", "eth0", "ingress") + run("ip", "link")
    return [word for word in ("clsact", "netem", "u32", "mirred", "link0") if word in shown]
