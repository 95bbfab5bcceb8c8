"""Targets: what agents say, what they send of captures, and what they read of the kernel."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from zlib import crc32

from conversations import make_frames
from mutators import Mutator, tree_mutator
from saying import MESSAGES, listen_to
from targets import Target

from testbed.agent import counters, diag, netlink
from testbed.capture_file import Growing, read_records
from testbed.lab import hearing
from testbed.lab.agents import _parse


def hear_agent(data: bytes) -> None:
    """Lines of an agent: messages or problems."""
    for line in data.split(b"\n"):
        message = _parse(line)
        says = hearing.event_misfit(message) if "event" in message else ""
        assert says.isprintable() or not says.isascii()
        for shape in hearing.ANSWERS.values() if "ok" in message else ():
            hearing.misfit(message["ok"], shape, "it")


def play_with_agent(data: bytes) -> None:
    """A whole run in which an agent says these lines: judged, and written down."""
    listen_to(data + b"\n")


class _Socket:
    """A netlink socket with one answer."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def recv_into(self, buffer: bytearray) -> int:
        size = min(len(self.data), len(buffer))
        buffer[:size] = self.data[:size]
        return size


def read_kernel(data: bytes) -> None:
    """What an agent reads of the kernel, netlink messages, sockets, counters: taken, or an OSError or ValueError."""
    link = netlink.Netlink.__new__(netlink.Netlink)
    link._socket, link._sequence, link._buffer = _Socket(data), 1, bytearray(4096)  # type: ignore[assignment]
    with suppress(OSError):
        for _, body in link._receive():
            netlink.attributes(body[16:])
            if len(body) >= diag.MESSAGE.size:
                diag.decode(body)
    text = data.decode("latin-1")
    for parse in (counters.parse_table, counters.parse_list):
        try:
            parse(text)
        except ValueError:
            continue


def read_agent_file(data: bytes) -> None:
    """An agent's capture file, whole, and in pieces: the same frames, or the same refusal."""
    growing, size = Growing(), 1 + crc32(data) % 40
    try:
        pieces = [frame for at in range(0, len(data), size) for frame in growing.take(data[at : at + size])]
    except ValueError:
        pieces = None
    try:
        whole = list(read_records(data))
    except ValueError:
        return
    assert pieces == whole


def kernel_answers() -> Iterator[bytes]:
    """Two sockets, and the tables of counters."""
    body = diag.MESSAGE.pack(2, 1, 0, 0, b"\x1d\x20", b"\x9c\x40", bytes(16), bytes(16), 0, 7, 0, 0, 0, 0, 0)
    message = netlink.HEADER.pack(16 + len(body), 20, 2, 1, 0) + body
    yield message * 2 + netlink.HEADER.pack(20, 3, 2, 1, 0) + bytes(4)
    yield b"Tcp: RtoMin RetransSegs\nTcp: 200 3\nTcpExt: SyncookiesSent\nTcpExt: 1\n"
    yield b"Ip6InReceives  3\nUdp6InErrors 0\n"


def agent_files() -> Iterator[bytes]:
    """Capture files as an agent writes them."""
    for seed in range(12):
        made = [data for _, data, _ in make_frames(seed, talks=2, bad_luck=0.1) if len(data) < 200][:4]
        yield b"".join(struct.pack("<QIIB", n, len(data), len(data), n % 3) + data for n, data in enumerate(made))


def messages() -> Iterator[bytes]:
    """What agents say."""
    yield from (json.dumps(message).encode() for message in MESSAGES)
    yield b"\n".join(json.dumps(message).encode() for message in MESSAGES[:9])


@cache
def message_words() -> tuple[str, ...]:
    """Keys and kinds of what agents say."""
    shapes = (*hearing.EVENTS.values(), *hearing.ANSWERS.values(), hearing.MADE, hearing.ROW, hearing.ENGINE)
    keys = {key.removesuffix("?") for shape in shapes for key in shape}
    return tuple(sorted({*keys, *hearing.EVENTS, *hearing.ANSWERS, "event", "id", "error", "ok", "timeout"}))


def message_mutator() -> Mutator:
    """Of JSON lines."""
    return tree_mutator(message_words(), MESSAGES)


TARGETS = {
    "agent": Target(hear_agent, messages, 384, message_mutator, message_words),
    "play": Target(play_with_agent, messages, 2048, message_mutator, message_words),
    "agent-file": Target(read_agent_file, agent_files, 512),
    "kernel": Target(read_kernel, kernel_answers, 512),
}
