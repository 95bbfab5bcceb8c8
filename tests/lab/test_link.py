"""The portable link under a real kernel: what is asked is what TCP gets, and nothing is left of it afterwards."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from namespaces import inside, run

from testbed.agent import capture, link, tap, wire

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="the link is a TAP device: needs /dev/net/tun"),
]

MS = 1_000_000
CLIENT, SERVER = "198.18.0.2", "198.18.0.3"
CLIENT6, SERVER6 = "fd00::2", "fd00::3"
BOTH = ("ipv4", "ipv6")
UNTIL_LOST_S = 0.2  # on a wire of microseconds, what has not come by now is lost


class Hosts:
    """A client and a server in namespaces of their own, and the wires that were applied to them."""

    def __init__(self, client: str, server: str) -> None:
        self.client = client
        self.server = server
        self.undo = contextlib.ExitStack()

    def apply(self, namespace: str, families: tuple[str, ...] = BOTH, **asked: Any) -> wire.Wire:
        """Impair what arrives at a host from the other one: like this, or in these `phases`, and with `faults`."""
        with inside(namespace):
            applied = wire.apply("eth0", families, message(**asked))
        self.undo.callback(self.close, namespace, applied)
        return applied

    def close(self, namespace: str, applied: wire.Wire) -> None:
        """Close a wire in its namespace."""
        with inside(namespace):
            applied.close()

    def read(self, namespace: str, applied: wire.Wire) -> dict[str, Any]:
        """Read a wire in its namespace."""
        with inside(namespace):
            return applied.read()

    def listen(self, address: str = SERVER, port: int = 7456) -> socket.socket:
        """A listening socket on the server."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with inside(self.server):
            return self.undo.enter_context(socket.create_server((address, port), family=family))

    def connect(self, address: str = SERVER, port: int = 7456, limit_s: float = 5.0) -> float:
        """Connect from the client; how many seconds that took."""
        with inside(self.client):
            started = time.monotonic()
            connected = self.undo.enter_context(socket.create_connection((address, port), limit_s))
            took = time.monotonic() - started
        connected.settimeout(limit_s)
        return took

    def ends(self, kind: int = socket.SOCK_DGRAM) -> tuple[socket.socket, socket.socket]:
        """A UDP socket on the client, connected to one on the server."""
        with inside(self.server):
            receiver = self.undo.enter_context(socket.socket(socket.AF_INET, kind))
            receiver.bind((SERVER, 9))
            receiver.setsockopt(socket.SOL_SOCKET, tap.SO_RCVBUFFORCE, 1 << 24)
        with inside(self.client):
            sender = self.undo.enter_context(socket.socket(socket.AF_INET, kind))
            sender.connect((SERVER, 9))
        return sender, receiver


def await_carrier(namespace: str) -> None:
    """Wait until the kernel has noticed that the other end is up: it may take its time, and IPv6 waits for that."""
    deadline = time.monotonic() + 5
    while "state UP" not in run("ip", "-n", namespace, "link", "show", "eth0"):
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts on a veth pair, both called eth0, with both families."""
    made = Hosts(f"tblink-{os.getpid()}-c", f"tblink-{os.getpid()}-s")
    with made.undo:
        for name in (made.client, made.server):
            run("ip", "netns", "add", name)
            made.undo.callback(run, "ip", "netns", "del", name)
        run(
            "ip",
            "link",
            "add",
            "eth0",
            "netns",
            made.client,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            made.server,
        )
        for name, ipv4, ipv6 in ((made.client, CLIENT, CLIENT6), (made.server, SERVER, SERVER6)):
            with inside(name):
                for setting in ("ipv4.conf.all.rp_filter=0", "ipv4.conf.default.rp_filter=0"):
                    run("sysctl", "-qw", f"net.{setting}")
                run("ip", "addr", "add", f"{ipv4}/24", "dev", "eth0")
                run("ip", "addr", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
                run("ip", "link", "set", "lo", "up")
                run("ip", "link", "set", "eth0", "up")
        for name in (made.client, made.server):
            await_carrier(name)
        yield made


def message(
    *phases: tuple[int, dict[str, Any]], seed: int = 7, faults: Sequence[dict[str, Any]] = (), **impairment: Any
) -> dict[str, Any]:
    """The link of `wire.apply`: an impairment for all addresses, or (at_ns, impairment) for each phase."""
    everyone = (CLIENT, SERVER, CLIENT6, SERVER6)
    moments = phases or ((0, impairment),)
    told = [{"at_ns": at_ns, "sources": dict.fromkeys(everyone, asked)} for at_ns, asked in moments]
    return {"engine": "portable", "seed": seed, "faults": list(faults), "phases": told}


def drop(kind: str, source: str | None, **more: Any) -> dict[str, Any]:
    """A fault that drops the first packet of a class."""
    return {"rule": 0, "action": "drop", "kind": kind, "from": source, "low": 1, "high": 1, **more}


def pid_of(applied: wire.Wire) -> int:
    """The process that carries the frames."""
    carrier = applied._link
    assert isinstance(carrier, link.Link)
    return carrier._child.pid


def numbers_heard(receiver: socket.socket) -> list[int]:
    """The numbers of the datagrams that came, until none comes any more."""
    receiver.settimeout(UNTIL_LOST_S)
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(struct.unpack("!I", receiver.recv(100)[:4])[0])
    return found


def send_numbers(sender: socket.socket, count: int, every_s: float = 0.0) -> None:
    """Send numbered datagrams, evenly."""
    for number in range(count):
        sender.send(struct.pack("!I", number))
        time.sleep(every_s)


def arrivals(path: str) -> dict[int, int]:
    """Number of each arriving datagram to port 9 in a capture file, and its time."""
    content, at, found = Path(path).read_bytes(), 0, {}
    while at < len(content):
        time_ns, _, captured, direction = capture.RECORD.unpack_from(content, at)
        at += capture.RECORD.size
        frame = content[at : at + captured]
        at += captured
        if direction == tap.IN and frame[12:14] == b"\x08\x00" and frame[23] == 17 and frame[36:38] == b"\0\x09":
            found[struct.unpack_from("!I", frame, 42)[0]] = time_ns
    return found


def test_a_delay_is_had_as_asked(hosts: Hosts, tmp_path: Path) -> None:
    """50 ms asked: between arrival on eth0 and delivery on link0 the median is 50 to 50.5 ms, and none is early."""
    applied = hosts.apply(hosts.server, delay_ns=50 * MS)
    with inside(hosts.server):
        captures = [capture.Capture(name, name, str(tmp_path), False, 128) for name in ("eth0", "link0")]
        for one in captures:
            one.start()
    sender, receiver = hosts.ends()
    send_numbers(sender, 200, every_s=0.002)
    assert numbers_heard(receiver) == list(range(200))
    arrived, delivered = (arrivals(one.stop()["path"]) for one in captures)
    delays_ms = [(delivered[number] - arrived[number]) / MS for number in range(200)]
    assert min(delays_ms) >= 50
    assert 50 <= statistics.median(delays_ms) < 50.5
    said = hosts.read(hosts.server, applied)
    assert (said["up"], said["in"], said["out"], said["dropped"], said["ledger"]) == (True, 200, 200, 0, [])


def test_a_delay_each_way_is_the_round_trip_of_a_connect(hosts: Hosts) -> None:
    """20 ms on arrival at each host: connect takes a round trip, 40 ms; never less, and more on a busy machine only."""
    hosts.apply(hosts.server, delay_ns=20 * MS)
    hosts.apply(hosts.client, delay_ns=20 * MS)
    hosts.listen()
    assert 0.040 <= min(hosts.connect() for _ in range(5)) < 0.050


def test_no_impairment_carries_a_stream_whole(hosts: Hosts) -> None:
    """Megabytes over TCP arrive as they were sent, with whatever offloads the interface has on."""
    applied = hosts.apply(hosts.server, delay_ns=0)
    content = os.urandom(1 << 16) * 64
    listener = hosts.listen()
    with inside(hosts.client), socket.create_connection((SERVER, 7456), 5) as sender:
        served, _ = listener.accept()
        sender.setblocking(False)
        with served:
            received, sent = b"", 0
            while len(received) < len(content):
                readable, writable, _ = select.select([served], [sender] if sent < len(content) else [], [], 5)
                assert readable or writable, f"the stream stands still at {len(received)} bytes"
                if writable:
                    sent += sender.send(content[sent : sent + (1 << 16)])
                if readable:
                    received += served.recv(1 << 20)
    assert received == content
    said = hosts.read(hosts.server, applied)
    assert said["dropped"] == 0
    assert said["in"] == said["out"] + said["waiting"]


def test_a_burst_into_the_link_is_carried_or_counted(hosts: Hosts) -> None:
    """Every packet that arrived is delivered or counted as dropped; a burst of 5000 fits."""
    applied = hosts.apply(hosts.server, delay_ns=10 * MS)
    sender, receiver = hosts.ends()
    send_numbers(sender, 5000)
    heard = numbers_heard(receiver)
    said = hosts.read(hosts.server, applied)
    assert said["out"] == len(heard)
    assert said["out"] + said["dropped"] == 5000
    assert said["dropped"] == 0
    assert heard == sorted(heard)


def test_chance_with_a_seed_is_the_same_again(hosts: Hosts) -> None:
    """Twice the same seed: the same packets lost and doubled, in the shares asked for; the counters agree."""
    sender, receiver = hosts.ends()
    heard = []
    for seed in (7, 7, 8):
        applied = hosts.apply(hosts.server, loss_percent=20, duplicate_percent=10, seed=seed)
        send_numbers(sender, 500)
        heard.append(numbers_heard(receiver))
        said = hosts.read(hosts.server, applied)
        hosts.close(hosts.server, applied)
        assert (said["in"], said["out"]) == (500, len(heard[-1]))
        assert said["dropped"] == said["dropped_by"]["loss"] >= 500 - len(set(heard[-1]))
        assert 500 + said["duplicated"] == len(heard[-1]) + said["dropped"]
    assert heard[0] == heard[1]
    assert heard[0] != heard[2]
    assert 60 <= said["dropped"] <= 160  # a copy may be lost too
    assert 20 <= said["duplicated"] <= 85


def test_the_first_syn_ack_lost_costs_a_second(hosts: Hosts) -> None:
    """Exactly one packet is dropped; the connection opens when a SYN or a SYN-ACK is sent again; the ledger says it."""
    applied = hosts.apply(hosts.client, faults=[drop("SYN-ACK", SERVER, rule=3)])
    hosts.listen()
    assert 0.9 <= hosts.connect() < 1.5
    assert select.select([applied], [], [], 1)[0]
    (event,) = applied.read_events()
    assert (event["event"], event["rule"], event["action"]) == ("fault", 3, "drop")
    assert event["says"].startswith(f"SYN-ACK {SERVER}:7456 > {CLIENT}:")
    said = hosts.read(hosts.client, applied)
    assert said["ledger"] == [event]
    assert said["dropped"] == said["dropped_by"]["fault"] == 1


def test_the_sender_of_a_lost_packet_cannot_tell(hosts: Hosts) -> None:
    """The loss is on arrival, so TCP retransmits by its timer: the client is in SYN_SENT, and sends SYN 2 after 1 s."""
    hosts.apply(hosts.server, faults=[drop("SYN", CLIENT)])
    hosts.listen()
    assert 0.9 <= hosts.connect() < 1.5


def test_a_blackhole_times_out(hosts: Hosts) -> None:
    """With one SYN retry the kernel gives up after about 3 s (tcp(7) tcp_syn_retries): ETIMEDOUT."""
    applied = hosts.apply(hosts.server, blackhole=True)
    hosts.listen()
    with inside(hosts.client), socket.socket() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        with pytest.raises(TimeoutError):
            client.connect((SERVER, 7456))
    said = hosts.read(hosts.server, applied)
    assert said["dropped"] == said["dropped_by"]["blackhole"] == said["in"]
    assert said["in"] in (2, 3)  # since Linux 6.5 retries at a steady 1 s come first (tcp_syn_linear_timeouts)


def test_ipv6_is_impaired_and_neighbour_discovery_is_not(hosts: Hosts) -> None:
    """With an empty neighbour table a connect takes one round trip: solicitation and advertisement were not delayed."""
    for name in (hosts.client, hosts.server):
        hosts.apply(name, delay_ns=30 * MS)
        run("ip", "-n", name, "-6", "neigh", "flush", "dev", "eth0")
    hosts.listen(SERVER6)
    assert 0.060 <= hosts.connect(SERVER6) < 0.080


def test_neighbour_discovery_passes_a_blackhole(hosts: Hosts) -> None:
    """The client learns the server's address although nothing else arrives there."""
    applied = hosts.apply(hosts.server, blackhole=True)
    hosts.listen(SERVER6)
    with pytest.raises(TimeoutError):
        hosts.connect(SERVER6, limit_s=0.2)
    assert "lladdr" in run("ip", "-n", hosts.client, "-6", "neigh", "show", SERVER6)
    assert hosts.read(hosts.server, applied)["in"] == 1


def test_one_family_leaves_the_other_alone(hosts: Hosts) -> None:
    """Only what was asked is redirected."""
    applied = hosts.apply(hosts.server, ("ipv6",), blackhole=True)
    hosts.listen()
    assert hosts.connect() < 0.05
    assert [found["family"] for found in applied.answer["filters"]] == ["ipv6"]


def test_many_faults_wait_for_a_slow_reader(hosts: Hosts) -> None:
    """The link neither stops nor forgets while nobody reads its events, and answers meanwhile."""
    applied = hosts.apply(hosts.server, faults=[drop("ANY", None, high=None)])
    sender, _ = hosts.ends()
    send_numbers(sender, 4000)
    ledger = hosts.read(hosts.server, applied)["ledger"]
    events: list[dict[str, Any]] = []
    while len(events) < 4000:
        assert select.select([applied], [], [], 2)[0], f"only {len(events)} events came"
        events += applied.read_events()
    assert len(ledger) == 4000
    assert events == ledger


def test_an_idle_link_is_silent_and_sleeps(hosts: Hosts, tmp_path: Path) -> None:
    """The device sends nothing of its own and the process uses no time: neither shows in a trace."""
    applied = hosts.apply(hosts.server, delay_ns=MS)
    with inside(hosts.server):
        listening = capture.Capture("link0", "link0", str(tmp_path), False, 128)
        listening.start()
    stat = Path(f"/proc/{pid_of(applied)}/stat")
    before = stat.read_text().split()[13:15]
    time.sleep(0.5)
    assert stat.read_text().split()[13:15] == before
    assert listening.stop()["packets"] == 0
    assert "inet" not in run("ip", "-n", hosts.server, "addr", "show", "link0")


def left(namespace: str) -> list[str]:
    """What of a wire is still there."""
    with inside(namespace):
        shown = run("tc", "qdisc", "show") + run("tc", "filter", "show", "dev", "eth0", "ingress") + run("ip", "link")
    return [word for word in ("clsact", "u32", "mirred", "link0") if word in shown]


def test_close_restores(hosts: Hosts) -> None:
    """Filters, qdisc, device and process are gone when close returns, and packets flow again; twice is legal."""
    applied = hosts.apply(hosts.server, blackhole=True)
    pid = pid_of(applied)
    assert left(hosts.server) == ["clsact", "u32", "mirred", "link0"]
    hosts.close(hosts.server, applied)
    hosts.close(hosts.server, applied)
    assert left(hosts.server) == []
    assert not Path(f"/proc/{pid}").exists()
    hosts.listen()
    assert hosts.connect() < 0.05


def test_the_answer_is_what_tc_and_ip_show(hosts: Hosts) -> None:
    """Read back, not repeated: a filter per family, and a device with eth0's address and MTU."""
    run("ip", "-n", hosts.server, "link", "set", "eth0", "mtu", "1400")
    applied = hosts.apply(hosts.server, delay_ns=MS)
    mac = run("ip", "netns", "exec", hosts.server, "cat", "/sys/class/net/eth0/address").strip()
    assert {(found["family"], found["to"]) for found in applied.answer["filters"]} == {
        ("ipv4", "link0"),
        ("ipv6", "link0"),
    }
    assert applied.answer["link"] == {"name": "link0", "address": mac, "mtu": 1400}


def test_what_tc_refuses_is_said_and_undone(hosts: Hosts) -> None:
    """A qdisc of somebody else's is in the way: the error has command, exit code and output; theirs stays."""
    run("tc", "-n", hosts.server, "qdisc", "add", "dev", "eth0", "clsact")
    with pytest.raises(wire.CommandRefused) as refused:
        hosts.apply(hosts.server, delay_ns=MS)
    assert (refused.value.command, refused.value.line) == (("tc", "-batch", "-"), 1)
    assert "`qdisc add dev eth0 clsact" in str(refused.value)
    assert refused.value.exit_code == 1
    assert "Exclusivity flag on" in str(refused.value)
    assert left(hosts.server) == ["clsact"]


def test_a_refused_filter_leaves_nothing(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without the classifier: all is undone, the qdisc too."""
    monkeypatch.setitem(wire.FILTERS, "ipv6", ("protocol ipv6 pref 20 nosuchfilter",))
    with pytest.raises(wire.CommandRefused, match="nosuchfilter"):
        hosts.apply(hosts.server, delay_ns=MS)
    assert left(hosts.server) == []


def test_a_missing_interface_leaves_nothing(hosts: Hosts) -> None:
    """The error names it, and the TAP is gone."""
    with inside(hosts.server), pytest.raises(OSError, match="eth7"):
        wire.apply("eth7", BOTH, message())
    assert left(hosts.server) == []


def test_reverse_path_filtering_is_cleared_or_named(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc/sys can be written it is; where not, the error names the sysctl to start the host with."""
    run("ip", "netns", "exec", hosts.server, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1")
    hosts.close(hosts.server, hosts.apply(hosts.server))
    assert run("ip", "netns", "exec", hosts.server, "sysctl", "-n", "net.ipv4.conf.all.rp_filter").strip() == "0"

    def refuse(path: str, mode: str = "r", **_: str) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(wire, "_read", lambda path: "1")
    monkeypatch.setattr(wire, "open", refuse, raising=False)
    with pytest.raises(OSError, match=r"start the host with net\.ipv4\.conf\.all\.rp_filter=0"):
        hosts.apply(hosts.server)
    assert left(hosts.server) == []


def test_a_dead_process_is_seen(hosts: Hosts) -> None:
    """`up` is false, the counters are the last ones known, an event says it, and close still restores."""
    applied = hosts.apply(hosts.server, delay_ns=MS)
    hosts.listen()
    hosts.connect()
    before = hosts.read(hosts.server, applied)
    os.kill(pid_of(applied), 9)
    assert select.select([applied], [], [], 1)[0]
    assert "ended unexpectedly" in applied.read_events()[0]["says"]
    after = hosts.read(hosts.server, applied)
    assert after == {**before, "up": False, "why": after["why"], "qdiscs": after["qdiscs"]}
    assert after["why"]
    hosts.close(hosts.server, applied)
    assert left(hosts.server) == []


def test_a_removed_filter_is_seen(hosts: Hosts) -> None:
    """A wire that somebody else took down does not say it is up."""
    applied = hosts.apply(hosts.server, delay_ns=MS)
    run("tc", "-n", hosts.server, "filter", "del", "dev", "eth0", "ingress", "pref", "10")
    assert hosts.read(hosts.server, applied)["up"] is False


@pytest.mark.parametrize("families", [(), ("ipv5",)])
def test_unknown_families_make_no_sense(families: tuple[str, ...]) -> None:
    """The request is refused before anything is made."""
    with pytest.raises(ValueError, match="it holds ipv4, ipv6, or both"):
        wire.apply("eth0", families, message())


def test_a_missing_tun_device_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to give the container is in the message."""
    monkeypatch.setattr(link, "TUN", "/dev/net/no-such-tun")
    with pytest.raises(OSError, match="is missing: give the host the device /dev/net/tun"):
        link.open_tap("link0")


def send_now(sender: socket.socket, count: int, size: int = 100) -> None:
    """Send numbered datagrams of a size, as fast as it goes."""
    for number in range(count):
        sender.send(struct.pack("!I", number) + bytes(size - 4))


def test_a_rate_is_had_as_asked(hosts: Hosts) -> None:
    """8 Mbit/s: 100 frames of 1,000 bytes, sent at once, take 100 ms, one after the other, in order."""
    hosts.apply(hosts.server, rate_bit=8_000_000)
    sender, receiver = hosts.ends()
    began = time.monotonic()
    send_now(sender, 100, size=1000 - 42)
    receiver.settimeout(UNTIL_LOST_S)
    heard = [struct.unpack("!I", receiver.recv(1000)[:4])[0] for _ in range(100)]
    assert 0.100 <= time.monotonic() - began < 0.120
    assert heard == list(range(100))


def test_what_does_not_fit_into_the_queue_is_dropped(hosts: Hosts) -> None:
    """10 may wait: of 100 at once in 50 ms of delay, the first 10 arrive, and the rest is counted."""
    applied = hosts.apply(hosts.server, delay_ns=50 * MS, limit_packets=10)
    sender, receiver = hosts.ends()
    send_now(sender, 100)
    assert numbers_heard(receiver) == list(range(10))
    said = hosts.read(hosts.server, applied)
    assert (said["in"], said["out"], said["dropped_by"]["queue"]) == (100, 10, 90)


def test_reordered_packets_overtake(hosts: Hosts) -> None:
    """Each fifth skips the delay, and arrives before all that had been sent less than 50 ms before."""
    hosts.apply(hosts.server, delay_ns=50 * MS, reorder_percent=100, reorder_gap=5)
    sender, receiver = hosts.ends()
    send_now(sender, 20)
    heard = numbers_heard(receiver)
    early = [4, 9, 14, 19]
    assert heard == early + [number for number in range(20) if number not in early]


def test_jitter_overtakes_and_loses_nothing(hosts: Hosts) -> None:
    """Datagrams sent at once arrive in another order, all of them."""
    hosts.apply(hosts.server, delay_ns=20 * MS, jitter_ns=10 * MS)
    sender, receiver = hosts.ends()
    send_now(sender, 200)
    heard = numbers_heard(receiver)
    assert heard != sorted(heard)
    assert sorted(heard) == list(range(200))


def test_corrupt_packets_fail_their_checksums(hosts: Hosts) -> None:
    """One bit flipped anywhere in the packet: none reaches a program, and each is counted as delivered."""
    applied = hosts.apply(hosts.server, corrupt_percent=100)
    sender, receiver = hosts.ends()
    send_now(sender, 200)
    assert numbers_heard(receiver) == []
    said = hosts.read(hosts.server, applied)
    assert (said["in"], said["out"], said["corrupted"]) == (200, 200, 200)


def test_a_port_is_impaired_by_itself(hosts: Hosts) -> None:
    """A blackhole for port 9 leaves port 7456 alone, both ways."""
    hosts.apply(hosts.server, ports={"9": {"blackhole": True}})
    sender, receiver = hosts.ends()
    send_now(sender, 3)
    assert numbers_heard(receiver) == []
    hosts.listen()
    assert hosts.connect() < 0.05


def test_phases_hold_in_their_time(hosts: Hosts) -> None:
    """A phase begins so long after `begin`, is told when it holds, and what is read then is what it asks for."""
    phases: tuple[tuple[int, dict[str, Any]], ...] = (
        (0, {}),
        (200 * MS, {"blackhole": True}),
        (400 * MS, {"delay_ns": 7 * MS}),
    )
    with inside(hosts.server):
        applied = wire.apply("eth0", BOTH, message(*phases))
    hosts.undo.callback(hosts.close, hosts.server, applied)
    sender, receiver = hosts.ends()
    time.sleep(0.3)
    assert applied.read_events() == []  # nobody has said begin
    start_ns = time.time_ns()
    with inside(hosts.server):
        applied.begin(start_ns)
    events: list[dict[str, Any]] = []
    for number in range(3):
        sender.send(struct.pack("!I", number))
        if number < 2:
            assert select.select([applied], [], [], 1)[0]
            events += applied.read_events()
    assert numbers_heard(receiver) == [0, 2]
    assert [(event["event"], event["phase"]) for event in events] == [("wire", 1), ("wire", 2)]
    for event, at_ns in zip(events, (200 * MS, 400 * MS), strict=True):
        assert 0 <= event["time_ns"] - start_ns - at_ns < 20 * MS
    said = hosts.read(hosts.server, applied)
    assert said["phase"] == 2
    assert {"from": CLIENT, "port": None, "delay_ns": 7 * MS} in said["settings"]
    assert said["dropped_by"]["blackhole"] == 1


def test_what_is_forged_for_the_sender_leaves_by_the_interface(hosts: Hosts) -> None:
    """A SYN answered by a forged RST: the client is refused; the server never saw a packet."""
    fault = {**drop("SYN", CLIENT), "action": "reset", "to": "sender", "passes": False, "per": "scenario"}
    applied = hosts.apply(hosts.server, faults=[fault])
    hosts.listen()
    with pytest.raises(ConnectionRefusedError):
        hosts.connect()
    said = hosts.read(hosts.server, applied)
    assert (said["in"], said["out"], said["dropped_by"]["fault"]) == (1, 0, 1)
    assert said["ledger"][0]["action"] == "reset"
    assert hosts.connect() < 0.05


def test_large_frames_are_carried_whole(hosts: Hosts) -> None:
    """As long as a TAP takes: its MTU may be 65,521."""
    for name in (hosts.client, hosts.server):
        run("ip", "-n", name, "link", "set", "eth0", "mtu", "65521")
    hosts.apply(hosts.server, delay_ns=MS)
    sender, receiver = hosts.ends()
    content = os.urandom(65_000)
    sender.send(content)
    receiver.settimeout(1)
    assert receiver.recv(1 << 17) == content
