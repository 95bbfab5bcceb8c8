"""What the wire itself costs: the error of its delays, the packets it carries without loss, and TCP goodput.

Usage: python -m benchmarks.wire [--engine portable|netem] [--runs 3] [--seconds 2]   (root; /dev/net/tun for portable)

Two network namespaces on a veth pair of their own, offloads off as in a lab, the wire on the server's arrival side. The
bare pair and each engine that is possible here are measured in turn, in the same minute, so that all meet the same
machine; each figure is the median of the runs. Times are the kernel's, of arrival in the server's socket, less the
sender's own when it sent; so the error holds the bare pair's delay too, which is in the first row.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from statistics import median
from typing import Any

from testbed.agent import host, probe, spares, wire

CLIENT, SERVER, PORT = "198.18.0.2", "198.18.0.3", 7456
MS = 1_000_000
DELAY_NS = 10 * MS
SIZE = 100  # bytes of UDP payload
STEADY = 1_000  # packets/s at which delays are measured
RATES = (10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 100_000, 125_000, 150_000, 200_000)
BARE = "bare veth"
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
BUFFER = 1 << 28
STUCK_S = 10.0  # a stream that stands still for so long is an error
STAMP = struct.Struct("!IQ")  # number, time_ns
TIMESPEC = struct.Struct("@ll")
FORK = multiprocessing.get_context("fork")  # sockets go along


@dataclass(frozen=True, slots=True)
class Figures:
    """What one engine did in one run. Errors are ns, rates packets/s, goodput bit/s."""

    error_median: float
    error_p99: float
    sustained: int
    goodput_at_once: float
    goodput_delayed: float


class Pair:
    """A client and a server in namespaces of their own, joined by a veth pair; gone when closed."""

    def __init__(self) -> None:
        self.client, self.server = f"tbwire-{os.getpid()}-c", f"tbwire-{os.getpid()}-s"
        self.undo = contextlib.ExitStack()

    def __enter__(self) -> Pair:
        with contextlib.ExitStack() as undo:
            for name in (self.client, self.server):
                run("ip", "netns", "add", name)
                undo.callback(run, "ip", "netns", "del", name)
            veth = ["ip", "link", "add", "eth0", "netns", self.client, "type", "veth"]
            run(*veth, "peer", "name", "eth0", "netns", self.server)
            for name, address in ((self.client, CLIENT), (self.server, SERVER)):
                with inside(name):
                    run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
                    run("ip", "link", "set", "lo", "up")
                    run("ip", "link", "set", "eth0", "up")
                    host.switch_off("eth0")
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.undo.close()

    def engines(self) -> dict[str, str]:
        """The engines, and why one is not possible here (empty: it is)."""
        with inside(self.server):
            return {name: "" if said["ok"] else said["says"] for name, said in probe.probe().items()}

    @contextlib.contextmanager
    def wired(self, engine: str, delay_ns: int) -> Iterator[Callable[[], dict[str, Any]]]:
        """The engine in force on the server's arrival side; gives what reads it."""
        if engine == BARE:
            yield lambda: {"dropped": 0}
            return
        sources = {CLIENT: {"delay_ns": delay_ns}}
        link = {"engine": engine, "seed": 1, "faults": [], "phases": [{"at_ns": 0, "sources": sources}]}
        with inside(self.server):
            applied = wire.apply("eth0", ("ipv4",), link)

        def read() -> dict[str, Any]:
            with inside(self.server):
                return applied.read()

        try:
            yield read
        finally:
            with inside(self.server):
                applied.close()

    @contextlib.contextmanager
    def datagrams(self) -> Iterator[tuple[socket.socket, socket.socket]]:
        """A UDP socket on the client, connected to one on the server."""
        with contextlib.ExitStack() as opened:
            with inside(self.server):
                receiver = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                receiver.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
                receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
                receiver.bind((SERVER, PORT))
            with inside(self.client):
                sender = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sender.connect((SERVER, PORT))
            yield sender, receiver


def run(*command: str) -> None:
    """Run a command; it must succeed."""
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Do what follows in a network namespace: sockets and processes made there stay there."""
    spares.end()  # they are of another
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as away:  # noqa: PTH123
        assert libc.setns(away.fileno(), 0) == 0
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0


@contextlib.contextmanager
def beside(work: Callable[..., None], *given: Any) -> Iterator[ForkProcess]:
    """Another process that does this meanwhile; it must end well."""
    process = FORK.Process(target=work, args=given)
    process.start()
    try:
        yield process
        process.join()
        assert process.exitcode == 0, f"{work.__name__} ended with {process.exitcode}"
    finally:
        process.kill()
        process.join()


# ---------------------------------------------------------------- what is measured


def errors(pair: Pair, engine: str, seconds: float) -> list[int]:
    """How much later than asked each of a steady stream of datagrams came, in ns, sorted."""
    count = round(STEADY * seconds)
    with pair.wired(engine, DELAY_NS), pair.datagrams() as (sender, receiver):
        with beside(send_stamped, sender, count, STEADY):
            pass
        time.sleep(0.1)
        delays = sorted(heard_ns - sent_ns for sent_ns, heard_ns in stamps(receiver))
    assert len(delays) == count, f"{count - len(delays)} of {count} datagrams were lost at {STEADY} packets/s"
    return [delay - (0 if engine == BARE else DELAY_NS) for delay in delays]


def sustained(pair: Pair, engine: str, seconds: float) -> int:
    """The highest of RATES that the sender reaches and of which every datagram arrives."""
    best = 0
    for rate in RATES:
        count = round(rate * seconds)
        with pair.wired(engine, DELAY_NS) as read, pair.datagrams() as (sender, receiver):
            began = time.monotonic()
            with beside(send_stamped, sender, count, rate) as sending:
                heard = 0
                while sending.is_alive():
                    heard += sum(1 for _ in stamps(receiver))
                    time.sleep(0.02)
                took = time.monotonic() - began
            time.sleep(0.1)
            heard += sum(1 for _ in stamps(receiver))
            if heard < count or read()["dropped"] or took > 1.05 * seconds + 0.1:
                return best
        best = rate
    return best


def goodput(pair: Pair, engine: str, delay_ns: int, seconds: float) -> float:
    """Bits per second that a TCP stream brings to its reader."""
    with contextlib.ExitStack() as opened:
        opened.enter_context(pair.wired(engine, delay_ns))
        with inside(pair.server):
            listener = opened.enter_context(socket.create_server((SERVER, PORT)))
        with inside(pair.client):
            sender = opened.enter_context(socket.create_connection((SERVER, PORT)))
        receiver = opened.enter_context(listener.accept()[0])
        receiver.settimeout(STUCK_S)
        buffer, received = bytearray(1 << 20), 0
        with beside(send_stream, sender, receiver):
            began = time.monotonic()
            while (now := time.monotonic()) < began + seconds:
                received += receiver.recv_into(buffer)
            receiver.close()  # with a reset, since there is more to read: the sender ends
    return received * 8 / (now - began)


def send_stamped(sender: socket.socket, count: int, rate: int) -> None:
    """Send numbered datagrams with their times, evenly; at high rates some at once, 2000 times a second at most."""
    burst = max(1, rate // 2000)
    rest = bytes(SIZE - STAMP.size)
    began = time.monotonic_ns()
    for number in range(count):
        if number % burst == 0:
            left_ns = began + number * 1_000_000_000 // rate - time.monotonic_ns()
            if left_ns > 0:
                time.sleep(left_ns / 1e9)
        sender.send(STAMP.pack(number, time.time_ns()) + rest)


def send_stream(sender: socket.socket, receiver: socket.socket) -> None:
    """Send as much as goes, until the receiver has had enough."""
    receiver.close()  # it came along in the fork, and would outlive the one that counts
    sender.settimeout(STUCK_S)
    content = bytes(1 << 18)
    with contextlib.suppress(ConnectionError):
        while True:
            sender.send(content)


def stamps(receiver: socket.socket) -> Iterator[tuple[int, int]]:
    """When each datagram that is there was sent, and when it arrived, by the kernel."""
    with contextlib.suppress(BlockingIOError):
        while True:
            data, ancillary, _, _ = receiver.recvmsg(SIZE, 64, socket.MSG_DONTWAIT)
            second, ns = TIMESPEC.unpack(ancillary[0][2])
            yield STAMP.unpack_from(data)[1], second * 1_000_000_000 + ns


def measure(pair: Pair, engine: str, seconds: float) -> Figures:
    """One engine, one run."""
    late = errors(pair, engine, seconds)
    return Figures(
        median(late),
        late[len(late) * 99 // 100],
        sustained(pair, engine, seconds),
        goodput(pair, engine, 0, seconds),
        0.0 if engine == BARE else goodput(pair, engine, DELAY_NS, seconds),
    )


def main() -> None:
    """Run the benchmark and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("portable", "netem"), help="only this one, beside the bare pair")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement takes")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the namespaces go then too
    with Pair() as pair:
        lacks = {name: why for name, why in pair.engines().items() if given.engine in (None, name)}
        engines = [BARE, *(name for name, why in lacks.items() if not why)]
        found: dict[str, list[Figures]] = {engine: [] for engine in engines}
        for _ in range(given.runs):
            for engine in engines:
                found[engine].append(measure(pair, engine, given.seconds))
    report(found, {name: why for name, why in lacks.items() if why}, given.seconds)


def report(found: dict[str, list[Figures]], lacking: dict[str, str], seconds: float) -> None:
    """Print the medians."""
    runs = len(found[BARE])
    print(f"{os.uname().release}, {os.cpu_count()} processors; medians of {runs} runs of {seconds:g} s each")
    print(f"delay error: {STEADY} packets/s, {DELAY_NS / MS:g} ms asked; packets/s: {SIZE} bytes of UDP, none lost")
    print(f"{'':12} {'delay error, ms':^19} {'packets/s':>10} {'TCP goodput, Mbit/s':^23}")
    print(f"{'':12} {'median':>9} {'p99':>9} {'':>10} {'no delay':>11} {f'{DELAY_NS / MS:g} ms':>11}")
    for engine, each in found.items():
        late = [median(figures.error_median for figures in each), median(figures.error_p99 for figures in each)]
        put = [median(figures.goodput_at_once for figures in each), median(figures.goodput_delayed for figures in each)]
        rate = median(figures.sustained for figures in each)
        times = " ".join(f"{one / MS:9.3f}" for one in late)
        print(f"{engine:12} {times} {rate:10.0f} {put[0] / 1e6:11.0f} {f'{put[1] / 1e6:.0f}' if put[1] else '-':>11}")
    for name, why in lacking.items():
        print(f"{name}: not here: {why}")


if __name__ == "__main__":
    main()
