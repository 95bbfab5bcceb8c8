"""Faults: what happens to single packets, chosen by their meaning in a connection.

A fault does one thing (`drop: SYN-ACK`), to packets of one class from one host, and of these to the nth, a range, one
in so many, or all. ACTIONS says which further keys go with which action, and what holds where such a key is left out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from testbed.scenario.headers import Flags
from testbed.scenario.names import HostName
from testbed.scenario.steps import Payload
from testbed.scenario.units import CountRange, Duration, shown
from testbed.scenario.values import Flag, Value, WholeNumber

RELATIVE = r"^[+-][0-9]{1,10}$"
MUST: Final = "must be there"


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


MEANINGS: dict[PacketClass, str] = {
    PacketClass.SYN: "a SYN without ACK",
    PacketClass.SYN_ACK: "a SYN with ACK",
    PacketClass.HANDSHAKE_ACK: "the first ACK of who sent the SYN",
    PacketClass.DATA: "a packet with payload, without SYN and RST",
    PacketClass.ACK: "an ACK without payload, SYN, FIN or RST",
    PacketClass.FIN: "a packet with FIN, without SYN and RST",
    PacketClass.RST: "a packet with RST",
    PacketClass.ANY: "any packet, of UDP too",
}
# The keys of each action, with what holds unless told.
ACTIONS: dict[str, dict[str, Any]] = {
    "drop": {},
    "delay": {"by": MUST},
    "duplicate": {"copies": 1, "by": 0},
    "corrupt": {"bits": 1},
    "rewrite": {"strip": (), "set": None},
    "reset": {"to": "receiver", "passes": True},
    "icmp": {"unreachable": MUST, "mtu": None, "passes": False},
}
OF_ACTIONS = tuple(dict.fromkeys(key for keys in ACTIONS.values() for key in keys))
PYTHON_NAMES = {"from": "from_", "set": "set_"}  # keys that are words of Python's own, or of pydantic's


def _sequence(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and value < 0:
        return str(value)  # a negative number can only be meant relative
    if isinstance(value, str):
        number = value[1:] if value[:1] in ("+", "-") else ""
        if not (number.isascii() and number.isdigit() and int(number) < 1 << 32):
            raise ValueError(f"{shown(value)} is not a sequence number; write a number, or +100 for 100 more")
    elif isinstance(value, bool) or not isinstance(value, int) or value >= 1 << 32:
        raise ValueError(f"{shown(value)} is not a sequence number; write 0 to 4294967295, or +100 for 100 more")
    return value


SequenceNumber = Annotated[
    int | str,
    BeforeValidator(_sequence),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": -(1 << 32) + 1, "maximum": (1 << 32) - 1},
                {"type": "string", "pattern": RELATIVE},
            ],
            "examples": [0, "+100", "-1"],
        }
    ),
]


class FaultFields(Value):
    """What `rewrite` sets in a packet's headers."""

    window: WholeNumber | None = Field(None, ge=0, le=65535, description="The window, as the header has it.")
    window_scale: WholeNumber | None = Field(None, ge=0, le=255, description="The shift of the window scale option.")
    mss: WholeNumber | None = Field(None, ge=0, le=65535, description="The maximum segment size option.")
    flags: Flags | None = Field(None, description='All flags, such as SYN+ECE; "" for none.')
    seq: SequenceNumber | None = Field(None, description="The sequence number; with a sign: so much more or less.")
    ack: SequenceNumber | None = Field(
        None, description="The acknowledgment number; with a sign: so much more or less."
    )
    ttl: WholeNumber | None = Field(None, ge=0, le=255, description="Time to live; over IPv6 the hop limit.")


TcpOption = Literal["mss", "sack", "timestamps", "window-scale", "fast-open"]


class Fault(Value):
    """What happens to single packets of one class: one of drop, delay, duplicate, corrupt, rewrite, reset and icmp."""

    drop: PacketClass | None = Field(None, description="The packet is lost.")
    delay: PacketClass | None = Field(None, description="The packet is held back, later ones overtake it.")
    duplicate: PacketClass | None = Field(None, description="The packet arrives more than once.")
    corrupt: PacketClass | None = Field(None, description="Bits of the payload, or of the TCP header, are flipped.")
    rewrite: PacketClass | None = Field(None, description="The packet's header is changed; its checksum is right.")
    reset: PacketClass | None = Field(None, description="The packet brings about a forged RST.")
    icmp: PacketClass | None = Field(None, description="The packet is answered by a forged ICMP unreachable.")
    from_: HostName = Field(alias="from", description="The host that sends it.")
    nth: CountRange | Literal["all"] = Field("all", description="Which of them, counted from 1.")
    every: WholeNumber | None = Field(None, ge=1, description="Instead of nth: one in so many of them.")
    retransmissions: Literal["too", "never", "only"] = Field("too", description="Whether what is sent again counts.")
    per: Literal["connection", "scenario"] = Field("connection", description="Where the count begins anew.")
    contains: Payload | None = Field(None, description="Only packets whose payload holds this text, or hex.")
    by: Duration | None = Field(None, description="delay: how long; duplicate: how much later the copies come (0).")
    copies: WholeNumber | None = Field(None, ge=1, le=100, description="duplicate: how many besides the packet (1).")
    bits: WholeNumber | None = Field(None, ge=1, le=1000, description="corrupt: how many are flipped (1).")
    strip: tuple[TcpOption, ...] = Field((), description="rewrite: options taken out.")
    set_: FaultFields | None = Field(None, alias="set", description="rewrite: fields changed.")
    to: Literal["receiver", "sender", "both"] | None = Field(
        None, description="reset: who gets the RST (the receiver)."
    )
    unreachable: Literal["port", "host", "net", "admin", "frag-needed"] | None = Field(
        None, description="icmp: what is said to be unreachable."
    )
    mtu: WholeNumber | None = Field(None, ge=0, le=65535, description="icmp, frag-needed: the next hop's MTU.")
    passes: Flag | None = Field(None, description="reset (true), icmp (false): whether the packet itself goes on.")

    @model_validator(mode="after")
    def _one(self) -> Fault:
        done = [action for action in ACTIONS if getattr(self, action) is not None]
        if len(done) != 1:
            raise ValueError(says_one_action(done))
        return self

    @property
    def action(self) -> str:
        """What the fault does: a key of ACTIONS."""
        return next(action for action in ACTIONS if getattr(self, action) is not None)

    @property
    def kind(self) -> PacketClass:
        """The class of packets that it is about."""
        kind: PacketClass = getattr(self, self.action)
        return kind

    def told(self, key: str) -> Any:
        """The value of one of the action's keys, or what holds unless told."""
        value = getattr(self, PYTHON_NAMES.get(key, key))
        return ACTIONS[self.action][key] if value is None else value


def says_one_action(done: list[str]) -> str:
    """The complaint about a fault that does nothing, or more than one thing."""
    if not done:
        return f"does nothing; give it one of {', '.join(ACTIONS)} with a kind of packet, such as drop: SYN"
    return f"does more than one thing ({', '.join(done)}); make a fault of each"
