"""The steps that a host's program is made of: one model each, and the union that a scenario's `steps:` holds.

A step is written as its name (`accept`), or as a mapping whose first key is the name (`{connect: server:7456}`);
further keys modify it. Which socket a step acts on: the one named by `on:`, else the newest socket still open that
fits the step (`accept` takes a listener, `send` and `recv` a connection, `close` any). Semantics follow socket(7),
tcp(7) and udp(7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Union

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from testbed.scenario.headers import Endpoint, Flags, LiveNumber
from testbed.scenario.names import HostName
from testbed.scenario.units import Duration, Size
from testbed.scenario.values import HEX, ErrnoName, Flag, Name, Peer, Port, SocketName, Value, WholeNumber

# Steps that need no value.
BARE = frozenset({"socket", "listen", "accept", "close", "abort", "hold", "kill", "vanish", "reboot"})


class Step(Value):
    """What every step may carry: the errors it is expected to end with, and its time limit."""

    step: ClassVar[str]

    error: ErrnoName | None = Field(None, description="The step is expected to fail with this error (errno(3)).")
    timeout: Duration | None = Field(
        None, description="Time limit of this step, once its peer is ready; 30s unless told."
    )

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in BARE:
            raise ValueError(f"step {value} needs a value: write {{{value}: ...}}")
        return {value: cls.model_fields[value].default}

    @model_serializer(mode="wrap")
    def _spell(self, dump: SerializerFunctionWrapHandler) -> Any:
        # Defaults are left out of a dump; the step's own name must stay in it.
        values: dict[str, Any] = dump(self)
        if self.step in values:
            return {self.step: values.pop(self.step), **values}
        default = type(self).model_fields[self.step].default
        return {self.step: default, **values} if values or self.step not in BARE else self.step


class Names(Step):
    """A step that makes a socket."""

    as_: SocketName | None = Field(None, alias="as", description="A name for the new socket.")


class Acts(Step):
    """A step that acts on a socket."""

    on: SocketName | None = Field(None, description="The socket; the newest open one that fits unless told.")


class OpenSocket(Names):
    """socket(2): a socket that is neither bound nor connected."""

    step: ClassVar[str] = "socket"
    socket: Literal["tcp", "udp"] = "tcp"


class Bind(Names):
    """bind(2) on all local addresses; makes a TCP socket, or with `on:` takes an open one."""

    step: ClassVar[str] = "bind"
    bind: Port
    on: SocketName | None = Field(None, description="An open socket to bind.")
    reuse: Flag = Field(True, description="SO_REUSEADDR, as servers set it.")


class Listen(Names):
    """listen(2); makes and binds the socket when given a port."""

    step: ClassVar[str] = "listen"
    listen: Port | None = None
    on: SocketName | None = Field(None, description="An open socket to listen on.")
    backlog: WholeNumber = Field(128, ge=0, le=65535, description="How many connections may wait to be accepted.")
    reuse: Flag = Field(True, description="SO_REUSEADDR, as servers set it.")
    fastopen: WholeNumber | None = Field(
        None, ge=0, le=65535, description="TCP_FASTOPEN: how many opened by a SYN with data may wait for its ACK."
    )


class Accept(Names):
    """accept(2): waits for a connection."""

    step: ClassVar[str] = "accept"
    accept: None = None
    on: SocketName | None = Field(None, description="The listener; the newest unless told.")


class Connect(Names):
    """connect(2); waits first until the peer listens there, when its steps say that it will.

    With `error: EINPROGRESS` it does not wait for its end, as of a non-blocking socket.
    """

    step: ClassVar[str] = "connect"
    connect: Peer
    from_: WholeNumber | None = Field(None, alias="from", ge=1, le=65535, description="The local port.")
    on: SocketName | None = Field(None, description="An open socket to connect.")
    when: Literal["ready", "now"] = Field("ready", description="`now` does not wait for the peer.")
    fastopen: Flag = Field(
        False, description="TCP_FASTOPEN_CONNECT: ends at once, and the next `send` opens, its data in the SYN."
    )


class Payload(Value):
    """Bytes to send: exactly one of text, hex, file, so many random bytes from a seed, or so many numbered ones."""

    text: str | None = Field(None, description="The text in UTF-8; a payload that is a text alone means the same.")
    hex: Annotated[str, Field(pattern=HEX)] | None = Field(None, description="Pairs of hexadecimal digits.")
    file: str | None = Field(None, description="A file beside the scenario.")
    random: Size | None = Field(None, description="So many bytes from a seeded generator.")
    seed: WholeNumber = Field(0, ge=0, description="Of the generator of `random`.")
    numbered: Size | None = Field(
        None, description="So many bytes, of which the first eight are the number of the `repeat` or `parallel` round."
    )

    @model_validator(mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one(self) -> Payload:
        if sum(part is not None for part in (self.text, self.hex, self.file, self.random, self.numbered)) != 1:
            raise ValueError("give exactly one of text, hex, file, random and numbered")
        return self


class Send(Acts):
    """send(2) until all is written."""

    step: ClassVar[str] = "send"
    send: Payload


class Receive(Acts):
    """recv(2): `eof` reads to the end of the stream, a number reads exactly that many bytes."""

    step: ClassVar[str] = "recv"
    recv: Literal["eof"] | Size
    equals: Payload | None = Field(None, description="What must have been read.")
    chunk: WholeNumber = Field(1024, ge=1, le=1 << 20, description="The size asked of each recv(2).")


class Shutdown(Acts):
    """shutdown(2)."""

    step: ClassVar[str] = "shutdown"
    shutdown: Literal["rd", "wr", "rdwr"]


class Close(Acts):
    """close(2) of the newest open socket, or of the one named."""

    step: ClassVar[str] = "close"
    close: SocketName | None = None


class Abort(Acts):
    """close(2) with SO_LINGER 0: a reset instead of a FIN."""

    step: ClassVar[str] = "abort"
    abort: SocketName | None = None


class SetOption(Acts):
    """setsockopt(2): names as in socket(7), tcp(7) and ip(7), such as TCP_NODELAY."""

    step: ClassVar[str] = "sockopt"
    sockopt: dict[Annotated[str, Field(pattern=r"^(SO|TCP|IP|IPV6|UDP)_[A-Z0-9_]+$")], WholeNumber | Flag | str]


class SignSegments(Acts):
    """TCP_MD5SIG: segments to and from this host are signed, and others of it are dropped (RFC 2385)."""

    step: ClassVar[str] = "md5"
    md5: HostName
    key: Annotated[str, Field(min_length=1, max_length=80)] = Field(description="What both ends know.")


class Sleep(Step):
    """Does nothing for a while."""

    step: ClassVar[str] = "sleep"
    sleep: Duration


class Mark(Step):
    """Says to all hosts that this point was reached."""

    step: ClassVar[str] = "mark"
    mark: Name


class Wait(Step):
    """Waits until some host has marked this point."""

    step: ClassVar[str] = "wait"
    wait: Name


class Hold(Step):
    """Keeps the process and its sockets as they are until the captures have ended."""

    step: ClassVar[str] = "hold"
    hold: None = None


class Kill(Step):
    """The playing process ends by a signal of its own; the kernel closes its sockets. No step comes after it."""

    step: ClassVar[str] = "kill"
    kill: Literal["SIGKILL", "SIGTERM"] = "SIGKILL"


class Vanish(Step):
    """The host is gone as by a power cut: the interface goes down, then every socket, and no packet leaves."""

    step: ClassVar[str] = "vanish"
    vanish: None = None


class Reboot(Step):
    """As `vanish`, and the interface is up again after so long; the steps go on, with no socket."""

    step: ClassVar[str] = "reboot"
    reboot: Duration = 0


class SetLink(Step):
    """Takes the host's interface down, or up again, as pulling its cable would."""

    step: ClassVar[str] = "link"
    link: Literal["down", "up"]


class Snapshot(Step):
    """Takes the kernel's table of connections, as `ss -tan` would show it."""

    step: ClassVar[str] = "snapshot"
    snapshot: Name


class Log(Step):
    """Prints a line; `{peer}`, `{local}` and `{host}` are filled in, addresses as Python prints them."""

    step: ClassVar[str] = "log"
    log: str
    on: SocketName | None = Field(None, description="The connection of which {peer} and {local} speak.")


class OpenDatagram(Names):
    """A UDP socket, bound to the port."""

    step: ClassVar[str] = "udp"
    udp: Port


class SendTo(Acts):
    """sendto(2): one datagram to a host's port, or with `reply` to whom the last datagram came from."""

    step: ClassVar[str] = "sendto"
    sendto: Annotated[Peer, Field()] | Literal["reply"]
    data: Payload = Field(description="What the datagram holds.")
    when: Literal["ready", "now"] = Field("ready", description="`now` does not wait for the peer.")


class ReceiveFrom(Acts):
    """recvfrom(2): waits for one datagram of at most so many bytes."""

    step: ClassVar[str] = "recvfrom"
    recvfrom: Size
    equals: Payload | None = Field(None, description="What must have been read.")


class CraftedOptions(Value):
    """TCP options of a crafted packet, laid out in this order, as Linux does."""

    mss: WholeNumber | None = Field(None, ge=0, le=65535, description="Maximum segment size.")
    sack_permitted: Flag = Field(False, description="Selective acknowledgements are permitted.")
    tsval: LiveNumber | None = Field(None, description="Timestamp; `ts_recent` when only tsecr is told.")
    tsecr: LiveNumber | None = Field(None, description="Timestamp echoed; `ts_val` when only tsval is told.")
    window_scale: WholeNumber | None = Field(None, ge=0, le=255, description="The shift of the window.")


class Crafted(Value):
    """A TCP packet that no kernel sends; its checksums and lengths are right."""

    to: Endpoint = Field(description="Who gets it; without a port that of the live connection.")
    from_: Endpoint | None = Field(
        None,
        alias="from",
        description="In whose name; this host unless told, at a `free` port, which nothing else has.",
    )
    flags: Flags = Field(description='All flags, such as SYN+ACK; "" for none.')
    seq: LiveNumber | None = Field(None, description="Sequence number: `rcv_nxt` unless told, 0 from a free port.")
    ack: LiveNumber | None = Field(
        None, description="Acknowledgment number: `snd_nxt` unless told, 0 without ACK or from a free port."
    )
    window: WholeNumber | None = Field(
        None, ge=0, le=65535, description="The window, as the header has it: 64240 unless told, with RST 0."
    )
    options: CraftedOptions = Field(default_factory=CraftedOptions, description="TCP options; none unless told.")
    payload: Payload | None = Field(None, description="What it carries.")
    ttl: WholeNumber = Field(64, ge=0, le=255, description="Time to live; over IPv6 the hop limit.")


class Inject(Step):
    """Sends a crafted packet past the kernel; waits first for the peer, as connect does, and for its numbers."""

    step: ClassVar[str] = "inject"
    inject: Crafted
    when: Literal["ready", "now"] = Field("ready", description="`now` does not wait for the peer.")
    count: WholeNumber = Field(1, ge=1, le=100_000, description="So many times, from a free port each of its own.")


class Repeat(Step):
    """The steps so many times, one round after the other; each round starts with sockets of its own."""

    step: ClassVar[str] = "repeat"
    repeat: WholeNumber = Field(ge=1, le=100_000)
    steps: tuple[AnyStep, ...] = Field(min_length=1, description="The steps of one round.")


class Parallel(Step):
    """The steps so many times at once."""

    step: ClassVar[str] = "parallel"
    parallel: WholeNumber = Field(ge=1, le=1000)
    steps: tuple[AnyStep, ...] = Field(min_length=1, description="The steps of one round.")


STEPS: dict[str, type[Step]] = {
    model.step: model
    for model in (
        OpenSocket,
        Bind,
        Listen,
        Accept,
        Connect,
        Send,
        Receive,
        Shutdown,
        Close,
        Abort,
        SetOption,
        SignSegments,
        Sleep,
        Mark,
        Wait,
        Hold,
        Kill,
        Vanish,
        Reboot,
        SetLink,
        Snapshot,
        Log,
        OpenDatagram,
        SendTo,
        ReceiveFrom,
        Inject,
        Repeat,
        Parallel,
    )
}


def step_name(value: Any) -> str | None:
    """Which step a raw value is: the bare word, or the first key of the mapping that names one."""
    if isinstance(value, str):
        return value if value in STEPS else None
    if isinstance(value, dict):
        return next((key for key in value if key in STEPS), None)
    return value.step if isinstance(value, Step) else None


if TYPE_CHECKING:
    AnyStep = Step
else:
    AnyStep = Annotated[
        Union[tuple(Annotated[model, Tag(name)] for name, model in STEPS.items())],  # noqa: UP007
        Discriminator(step_name),
    ]
Repeat.model_rebuild()
Parallel.model_rebuild()
