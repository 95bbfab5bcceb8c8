"""A scenario as a value: hosts and their programs, the wire between them, faults, and what must be seen.

The grammar of the files is a contract (docs/scenario-files.md); these models, with those of the steps (steps.py), the
wire (wire.py) and the faults (faults.py), are its one definition: the reader
validates with them, `testbed schema` prints them as JSON Schema, and what is behind the reader takes them as they are.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from testbed.scenario.counters import COUNTER
from testbed.scenario.faults import Fault, PacketClass
from testbed.scenario.names import Direction, HostName
from testbed.scenario.requires import Requires, merge, places
from testbed.scenario.steps import AnyStep, Payload
from testbed.scenario.units import CountRange, Duration, DurationRange, Kernels
from testbed.scenario.values import Flag, Name, Value, WholeNumber
from testbed.scenario.wire import Impairment, Wire
from testbed.tcp.connection import HandshakeOutcome, Role, TeardownKind
from testbed.tcp.states import State

RESERVED_HOSTS = frozenset({"sniffer", "hub", "wire"})
MOST_KERNELS = 16  # ranges of kernels that one scenario tells apart
SETTING = r"^[a-z][A-Za-z0-9_.>-]*$"
Scalar = WholeNumber | Flag | str
CounterName = Annotated[str, Field(pattern=COUNTER)]


def _text(value: object) -> object:
    # `{tcp_syn_retries: 1}` is what people write; the kernel takes text.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


SysctlValue = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
]
Sysctls = dict[Annotated[str, Field(pattern=r"^net\.[a-z0-9_.-]+$")], SysctlValue]


class Host(Value):
    """One host, or several alike: what its program does, and the sysctls of its network namespace."""

    replicas: WholeNumber = Field(1, ge=1, le=64, description="So many hosts alike: client, client-2, client-3 ...")
    sysctls: Sysctls = Field(default_factory=dict, description="On top of the default profile and the scenario's.")
    silent: Flag = Field(False, description="Its kernel's RSTs and ICMP unreachables never leave it.")
    steps: tuple[AnyStep, ...] = Field((), description="What the host's program does, one step after the other.")


class ExpectHandshake(Value):
    """How every connection must have opened."""

    outcome: HandshakeOutcome | None = Field(None, description="How it ended.")
    duration: DurationRange | None = Field(None, description="First SYN to the ACK that completes the handshake.")
    syns: CountRange | None = Field(None, description="SYNs that the client sent.")
    syn_acks: CountRange | None = Field(None, description="SYN-ACKs that the server sent.")
    syn_retransmits: CountRange | None = Field(None, description="SYNs sent again.")
    synack_retransmits: CountRange | None = Field(None, description="SYN-ACKs sent again.")


class ExpectTeardown(Value):
    """How every connection must have closed."""

    kind: TeardownKind | None = Field(None, description="How it ended.")
    closed_first: Role | None = Field(None, description="Who sent the first FIN.")
    fin_retransmits: CountRange | None = Field(None, description="FINs sent again.")
    reset_by: Role | None = Field(None, description="Who sent the RST that ended it.")


class ExpectSnapshot(Value):
    """What a host's table of connections must have held when the step took it."""

    states: dict[State, CountRange] = Field(default_factory=dict, description="How many sockets in each state.")
    listening: tuple[str, ...] = Field(
        (), description="Local addresses with ports, such as 0.0.0.0:7456 (over IPv6 [::]:7456)."
    )


FAULT_INDEX = r"^(0|[1-9][0-9]{0,3})$"
FlowDirection = Literal["client->server", "server->client"]


class Expectations(Value):
    """What must be seen; what is not named is not checked."""

    connections: CountRange | None = Field(None, description="How many TCP connections the wire saw.")
    handshake: ExpectHandshake | None = Field(None, description="How every connection must have opened.")
    teardown: ExpectTeardown | None = Field(None, description="How every connection must have closed.")
    payload: dict[FlowDirection, Payload] = Field(default_factory=dict, description="The whole stream, each way.")
    bytes: dict[FlowDirection, CountRange] = Field(default_factory=dict, description="Bytes of payload, each way.")
    retransmits: dict[Role, CountRange] = Field(default_factory=dict, description="Data segments sent again.")
    conn_state: str | None = Field(None, pattern=r"^[A-Z0-9]{2,6}$", description="Zeek's conn_state.")
    history: str | None = Field(None, pattern=r"^\^?[A-Za-z]+$", description="Zeek's history.")
    completeness: WholeNumber | None = Field(None, ge=0, le=63, description="Wireshark's tcp.completeness.")
    states: dict[HostName, tuple[State, ...]] = Field(
        default_factory=dict, description="States that a host's kernel went through, in this order."
    )
    snapshots: dict[Name, ExpectSnapshot] = Field(
        default_factory=dict, description="What the tables taken by `snapshot` steps must hold."
    )
    logs: dict[HostName, tuple[str, ...]] = Field(
        default_factory=dict, description="Lines the program must have printed; * stands for anything."
    )
    datagrams: dict[Direction, tuple[Payload, ...]] = Field(
        default_factory=dict, description="UDP payloads that the wire carried, in order."
    )
    lost: dict[Direction, CountRange] = Field(default_factory=dict, description="Packets sent that never arrived.")
    delay: dict[Direction, DurationRange] = Field(
        default_factory=dict, description="The time that each delivered packet was under way; if only late, unknown."
    )
    duplicated: dict[Direction, CountRange] = Field(
        default_factory=dict, description="Packets that arrived a second time."
    )
    corrupted: dict[Direction, CountRange] = Field(
        default_factory=dict, description="Packets that arrived otherwise than they were sent."
    )
    faults: dict[Annotated[str, Field(pattern=FAULT_INDEX)], CountRange] = Field(
        default_factory=dict, description="How often each fault fired, by its place in `faults:`, from 0."
    )
    counters: dict[HostName, dict[CounterName, CountRange]] = Field(
        default_factory=dict, description="How often a host's kernel counted something while the scenario was played."
    )


class OfKernels(Value):
    """Something that holds on some kernels only."""

    kernel: Kernels = Field(description="The Linux versions of the hosts on which it holds.")


class ExpectOfKernels(Expectations, OfKernels):
    """What must be seen on some kernels, laid over the rest: mappings key by key, all else in its place."""


class Expect(Expectations):
    """What must be seen; what is not named is not checked."""

    by_kernel: tuple[ExpectOfKernels, ...] = Field(
        (), max_length=MOST_KERNELS, description="What differs from one kernel to another."
    )


class Scenario(Value):
    """One behaviour of TCP, and what must be seen of it."""

    summary: str = Field(min_length=1, description="One sentence: what happens.")
    source: str = Field("", description="Where it is written: RFC section, man page, program.")
    tags: tuple[Name, ...] = Field((), description="Words to choose scenarios by, `--tag`.")
    family: Literal["ipv4", "ipv6"] = Field("ipv4", description="The hosts' addresses.")
    seed: WholeNumber = Field(0, ge=0, description="Of everything random: loss, jitter, generated payload.")
    timeout: Duration = Field(60_000_000_000, gt=0, description="Time limit of the whole play.")
    settle: Duration = Field(3_000_000_000, description="How long connections may take to end after the last step.")
    requires: Requires = Field(default_factory=Requires, description="What it needs to be applicable.")
    sysctls: Sysctls = Field(default_factory=dict, description="On every host, on top of the default profile.")
    hosts: dict[HostName, Host] = Field(min_length=1, description="The machines, by name.")
    wire: Wire = Field(default_factory=Wire, description="What lies between the hosts.")
    faults: tuple[Fault, ...] = Field((), description="What happens to single packets.")
    matrix: dict[Annotated[str, Field(pattern=SETTING)], Annotated[tuple[Scalar, ...], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Values of other keys, by their path as `--set` has it; run is every combination.",
    )
    expect: Expect = Field(default_factory=Expect, description="What must be seen.")


def dump_scenario(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain data, defaults left out; reads back as the same scenario."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def expect_on(expect: Expect, version: tuple[int, int]) -> tuple[Expect, dict[str, str]]:
    """What is expected on a kernel, and where it stands in the file, by path, what a range of kernels says."""
    found: dict[str, str] = {}
    whole = expect
    for index, part in enumerate(expect.by_kernel):
        if version in part.kernel:
            whole = merge(whole, part, without=frozenset({"kernel"}))
            found.update(places(part, "expect", f"expect.by_kernel.{index}"))
    return whole, found


__all__ = [
    "RESERVED_HOSTS",
    "Expect",
    "ExpectHandshake",
    "ExpectOfKernels",
    "ExpectSnapshot",
    "ExpectTeardown",
    "Fault",
    "Host",
    "Impairment",
    "PacketClass",
    "Requires",
    "Scenario",
    "Wire",
    "dump_scenario",
    "expect_on",
]
