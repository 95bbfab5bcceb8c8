"""A scenario as a value: hosts and their programs, the wire between them, faults, and what must be seen.

The grammar of the files is a contract (docs/scenario-files.md); these models are its one definition: the reader
validates with them, `testbed schema` prints them as JSON Schema, and what is behind the reader takes them as they are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from testbed.scenario.steps import AnyStep, Flag, Name, Payload, Value, WholeNumber
from testbed.scenario.units import CountRange, Duration, DurationRange, Percent
from testbed.tcp.connection import HandshakeOutcome, Role, TeardownKind
from testbed.tcp.states import State

HOST_NAME = r"^[a-z][a-z0-9-]{0,20}$"
RESERVED_HOSTS = frozenset({"sniffer", "hub", "wire"})

HostName = Annotated[str, Field(pattern=HOST_NAME)]


class PacketClass(StrEnum):
    """Packets by their meaning in a connection."""

    SYN = "SYN"
    SYN_ACK = "SYN-ACK"
    HANDSHAKE_ACK = "HANDSHAKE-ACK"  # the first ACK of the SYN sender
    DATA = "DATA"
    ACK = "ACK"  # no payload, no SYN, FIN or RST
    FIN = "FIN"
    RST = "RST"
    ANY = "ANY"


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
    steps: tuple[AnyStep, ...] = Field((), description="What the host's program does, one step after the other.")


class Impairment(Value):
    """What one direction of the wire does to packets on their arrival (tc-netem(8)'s words)."""

    delay: Duration = Field(0, description="Added to each packet's way.")
    jitter: Duration = Field(0, description="Uniform around the delay, plus or minus this; packets keep their order.")
    loss: Percent = Field(0.0, description="Each packet is lost with this probability.")
    duplicate: Percent = Field(0.0, description="Each packet arrives twice with this probability.")
    blackhole: Flag = Field(False, description="Nothing arrives.")


_DIRECTION = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*->[a-z][a-z0-9-]*$")]


class Wire(Impairment):
    """Impairments of both directions, and under `client->server` those of one."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
    __pydantic_extra__: dict[_DIRECTION, Impairment] = Field(init=False)

    @property
    def directions(self) -> dict[str, Impairment]:
        """Impairments by direction, such as `client->server`; they replace the general ones there."""
        return dict(self.__pydantic_extra__ or {})


class Fault(Value):
    """A packet, named by its meaning, that the wire loses."""

    drop: PacketClass = Field(description="Which kind of packet is lost.")
    from_: HostName = Field(alias="from", description="The host that sends it.")
    nth: CountRange | Literal["all"] = Field("all", description="Which of them, counted from 1 in each connection.")


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


FlowDirection = Literal["client->server", "server->client"]


class Expect(Value):
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
    datagrams: dict[_DIRECTION, tuple[Payload, ...]] = Field(
        default_factory=dict, description="UDP payloads that the wire carried, in order."
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
    sysctls: Sysctls = Field(default_factory=dict, description="On every host, on top of the default profile.")
    hosts: dict[HostName, Host] = Field(min_length=1, description="The machines, by name.")
    wire: Wire = Field(default_factory=Wire, description="What lies between the hosts.")
    faults: tuple[Fault, ...] = Field((), description="Single packets that the wire loses.")
    expect: Expect = Field(default_factory=Expect, description="What must be seen.")


def dump_scenario(scenario: Scenario) -> dict[str, Any]:
    """The scenario as plain data, defaults left out; reads back as the same scenario."""
    return scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
