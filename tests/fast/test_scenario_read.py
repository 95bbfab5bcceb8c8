"""Reading a scenario: the values and lines of a good one, quantities, and contradictions that are none."""

from __future__ import annotations

import pytest

from testbed.scenario.model import PacketClass, Scenario
from testbed.scenario.read import ScenarioErrors, line_of, read_located, read_scenario
from testbed.scenario.steps import Connect, Listen, Receive
from testbed.scenario.units import (
    Range,
    format_duration,
    format_percent,
    format_rate,
    parse_duration,
    parse_percent,
    parse_rate,
    parse_size,
)
from testbed.scenario.write import write_scenario
from testbed.tcp.connection import HandshakeOutcome

EXAMPLE = b"""\
summary: The server's first SYN-ACK is lost; the connection still opens about a second later.
source: RFC 9293 section 3.8.1; either end's timer may fire first
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {send: "Hola server, are you bored?"}, close]
wire: {delay: 10ms}
faults:
  - {drop: SYN-ACK, from: server, nth: 1}
expect:
  handshake: {outcome: complete, syn_retransmits: 0..2, synack_retransmits: 1..2, duration: 0.9s..1.4s}
  teardown: {kind: fin, closed_first: client}
  payload: {client->server: "Hola server, are you bored?"}
"""


def scenario(client: str = "hold", server: str = "hold", rest: str = "") -> Scenario:
    """A scenario of two hosts with these steps."""
    text = f"summary: x\nhosts:\n  server: {{steps: [{server}]}}\n  client: {{steps: [{client}]}}\n{rest}\n"
    return read_scenario(text.encode(), "x.yaml")


def said(client: str = "hold", server: str = "hold", rest: str = "") -> list[str]:
    """What the mistakes of such a scenario say."""
    with pytest.raises(ScenarioErrors) as caught:
        scenario(client, server, rest)
    return [f"{mistake.path}: {mistake.says}" for mistake in caught.value.mistakes]


def test_example() -> None:
    """The example of the grammar reads as the values it shows."""
    read = read_scenario(EXAMPLE, "x.yaml")
    listen, _, recv, _ = read.hosts["server"].steps
    connect = read.hosts["client"].steps[0]
    assert isinstance(listen, Listen)
    assert isinstance(recv, Receive)
    assert isinstance(connect, Connect)
    assert (listen.listen, recv.recv, connect.connect) == (7456, "eof", "server:7456")
    assert read.wire.delay == 10_000_000
    assert (read.faults[0].kind, read.faults[0].from_, read.faults[0].nth) == (
        PacketClass.SYN_ACK,
        "server",
        Range(1, 1),
    )
    assert read.expect.handshake is not None
    assert read.expect.handshake.outcome is HandshakeOutcome.COMPLETE
    assert read.expect.handshake.duration == Range(900_000_000, 1_400_000_000)


def test_lines() -> None:
    """Each part has the line of its key or item; what a file leaves out has that of the nearest part above."""
    located = read_located(EXAMPLE, "x.yaml")
    assert located.lines["expect", "teardown", "kind"] == 13
    assert located.lines["faults", 0] == 10
    assert located.lines["hosts", "client", "steps", 1, "send"] == 7
    assert line_of(located.lines, ("expect", "handshake", "syns")) == 12
    assert line_of(located.lines, ("settle",)) == 1
    assert located.text == EXAMPLE.decode()


def test_strict_types() -> None:
    """Text is no number and no truth value, also where Python could make one of it."""
    assert said(server='{listen: 1, backlog: "5"}, hold') == [
        "hosts.server.steps[0].backlog: '5' is not a whole number"
    ]
    assert said(server="{listen: 1, reuse: on}, hold") == ["hosts.server.steps[0].reuse: 'on' is not true or false"]
    assert said(server="{listen: 1, backlog: 5.0}, hold") == [
        "hosts.server.steps[0].backlog: 5.0 is not a whole number"
    ]
    assert said(rest="wire: {blackhole: 1}") == ["wire.blackhole: 1 is not true or false"]
    assert said(rest="wire: {delay: false}")[0].startswith("wire.delay: false is not a duration")


def test_python_names_are_no_keys() -> None:
    """`from_` and `as_` are names in Python, not keys of a file."""
    assert said("{connect: server:1, from_: 2}")[0].startswith("hosts.client.steps[0].from_: unknown key")
    assert said("{socket: tcp, as_: a}")[0].startswith("hosts.client.steps[0].as_: unknown key")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("10ms", 10_000_000), ("1.5s", 1_500_000_000), ("0.25us", 250), ("2 min", 120_000_000_000), ("3µs", 3000), (0, 0)],
)
def test_durations(text: object, nanoseconds: int) -> None:
    """Durations are exact nanoseconds, and their text reads back."""
    assert parse_duration(text) == nanoseconds
    assert parse_duration(format_duration(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    "bad", ["10", 10, "ms", "-1ms", "1 h", "0.1ns", "1e3s", None, True, False, 0.0, "9" * 99 + "s"]
)
def test_no_durations(bad: object) -> None:
    """What has no unit, an unknown one, or is finer than a nanosecond, is no duration."""
    with pytest.raises(ValueError):
        parse_duration(bad)


def test_sizes_and_percentages() -> None:
    """Sizes are bytes, percentages keep their smallest value through text."""
    assert (parse_size("64KiB"), parse_size("1.5kB"), parse_size(27)) == (65536, 1500, 27)
    assert parse_percent("0.01%") == 0.01
    assert parse_percent(format_percent(1e-9)) == 1e-9


@pytest.mark.parametrize(
    ("text", "rate_bit"),
    [("10mbit", 10_000_000), ("1.5 mbit", 1_500_000), ("64kbit", 64_000), ("2gbit", 2_000_000_000), ("9bit", 9)],
)
def test_rates(text: str, rate_bit: int) -> None:
    """Rates are bit per second, in tc's units of a thousand, and their text reads back; none at all has a word."""
    assert parse_rate(text) == rate_bit
    assert parse_rate(format_rate(rate_bit)) == rate_bit
    assert (parse_rate("unlimited"), format_rate(0)) == (0, "unlimited")


@pytest.mark.parametrize("bad", [0, 10, "10", "0bit", "7bit", "10Mbit", "10mbps", "1.5bit", None, True])
def test_no_rates(bad: object) -> None:
    """What has no unit of tc's, or is slower than the kernel can count, is no rate."""
    with pytest.raises(ValueError):
        parse_rate(bad)


@pytest.mark.parametrize(
    ("client", "server"),
    [
        ("{connect: server:free}, close", "{listen: free}, accept, close"),
        ("{connect: client:7}, hold", "hold"),  # to itself
        (
            "{repeat: 3, steps: [{connect: server:7}, close]}",
            "{listen: 7, as: l}, {repeat: 3, steps: [{accept: , on: l}]}",
        ),
        ("{bind: 10000}, {bind: 10000, error: EADDRINUSE}", "{socket: tcp, as: s}, {connect: client:1, on: s}"),
        ("{wait: go}, {connect: server:7}", "{listen: 7}, {mark: go}, hold"),
        ("{mark: own}, {wait: own}", "hold"),
        (
            "{sendto: server:free, data: x}",
            "{udp: free}, {recvfrom: 5, equals: x}, {sendto: reply, data: {file: a/b.bin}}",
        ),
        ("{connect: server:7}, {recv: 2, equals: {hex: 00 ff}}", "{parallel: 2, steps: [{listen: 7}, hold]}"),
    ],
)
def test_no_contradiction(client: str, server: str) -> None:
    """What can work is not refused."""
    assert scenario(client, server).summary == "x"


WIRE = """\
wire:
  delay: 10ms
  rate: 1.5mbit
  ports: {7456: {loss: 5%}}
  client->server: {gilbert_elliott: {p: 1%, r: 10%}}
  timeline:
    - {at: 2s, delay: 0, rate: unlimited, client->server: {loss: 0.01%, ports: {"80": {jitter: 0}}}}
    - {at: 3s, down: [server]}
    - {at: 4s, up: [server]}
faults:
  - {rewrite: SYN, from: client, set: {seq: +100, ack: -1, window: 1000}}
  - {delay: DATA, from: client, every: 2, by: 200ms, contains: {hex: 00 ff}}
expect:
  faults: {0: 1..2}
"""


def test_wire() -> None:
    """A wire's keys, directions, ports and moments are the values they show; what is not said is no value."""
    wire = scenario(rest=WIRE).wire
    assert (wire.delay, wire.rate, wire.loss, wire.ports["7456"].loss) == (10_000_000, 1_500_000, None, 5.0)
    assert wire.directions["client->server"].gilbert_elliott.loss_bad == 100.0
    first, second, third = wire.timeline
    assert (first.at, first.delay, first.rate, first.loss) == (2_000_000_000, 0, 0, None)
    assert first.directions["client->server"].ports["80"].jitter == 0
    assert (second.down, second.up, third.down, third.up) == (("server",), (), (), ("server",))


def test_wire_reads_back() -> None:
    """A wire that is written reads back, with what is said to be 0: on a timeline it ends an impairment."""
    read = scenario(rest=WIRE)
    assert read_scenario(write_scenario(read).encode(), "x.yaml") == read


def test_faults() -> None:
    """A fault is one action on one kind of packet; a signed sequence number keeps its sign."""
    rewrite, delay = scenario(rest=WIRE).faults
    assert (rewrite.action, rewrite.kind, delay.action, delay.kind) == ("rewrite", "SYN", "delay", "DATA")
    assert rewrite.set_ is not None
    assert (rewrite.set_.seq, rewrite.set_.ack, rewrite.set_.window) == ("+100", "-1", 1000)
    assert (delay.every, delay.told("by"), delay.nth, delay.per) == (2, 200_000_000, "all", "connection")


@pytest.mark.parametrize(
    "wire",
    [
        "{delay: 10ms, timeline: [{at: 1s, jitter: 10ms}]}",
        "{client->server: {delay: 10ms}, timeline: [{at: 1s, client->server: {reorder: 1%}}]}",
        "{loss: 1%, loss_correlation: 5%, timeline: [{at: 1s, loss: 2%}, {at: 2s, loss_correlation: 9%}]}",
        "{loss: 1%, timeline: [{at: 1s, loss_states: {p13: 1%, p31: 50%}}]}",
        "{delay: 5ms, timeline: [{at: 1s, ports: {80: {jitter: 5ms}}}]}",
        "{delay: 0, jitter: 0, jitter_distribution: pareto, reorder: 0%, reorder_gap: 3, loss: 0%}",
    ],
)
def test_no_contradiction_on_the_wire(wire: str) -> None:
    """What is said earlier, of everybody or of the direction, holds for what is said later."""
    assert scenario(rest=f"wire: {wire}")


def test_replicas_are_hosts() -> None:
    """client with three replicas is client, client-2 and client-3, and no more."""
    text = b"summary: x\nhosts:\n  client: {replicas: 3, steps: [hold]}\nwire: {client->client-3: {delay: 1ms}}\n"
    assert read_scenario(text, "x").hosts["client"].replicas == 3
    with pytest.raises(ScenarioErrors, match="no host is called client-4"):
        read_scenario(text.replace(b"client-3", b"client-4"), "x")


def test_contradictions_beside_the_schema() -> None:
    """Contradictions are told in the same breath as the schema's mistakes, save those that follow from them."""
    found = said("{connect: sever:7456}, {wait: nothing}, acept", rest="wire: {dleay: 5ms, jitter: 1ms}")
    assert [place.split(":")[0] for place in found] == [
        "hosts.client.steps[0].connect",
        "hosts.client.steps[1].wait",
        "hosts.client.steps[2]",
        "wire.dleay",
    ]


def test_steps_after_an_unknown_step() -> None:
    """After an unknown step, which may have been the one that makes the socket, nothing is said of a missing socket."""
    assert len(said("lisen, accept, {send: x}")) == 1
