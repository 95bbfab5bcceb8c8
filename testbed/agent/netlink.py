"""Requests to the kernel over netlink(7): a dump that gives its messages, and a change that the kernel acknowledges.

The kernel answers for the network namespace of this process, whatever /sys and /proc happen to be mounted.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x001, 0x004, 0x300
NLM_F_REPLACE, NLM_F_CREATE = 0x100, 0x400
READ = 1 << 14  # the kernel makes its messages no longer than what is asked to be read


class Netlink:
    """A netlink socket of one family: NETLINK_ROUTE (0) or NETLINK_SOCK_DIAG (4)."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        self._sequence = 0
        self._buffer = bytearray(READ)

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The bodies of all messages that the kernel gives for this request; OSError when it refuses."""
        self._send(kind, NLM_F_REQUEST | NLM_F_DUMP, body)
        bodies: list[bytes] = []
        while True:
            for answer, content in self._receive():
                if answer == NLMSG_DONE:
                    return bodies
                if answer == NLMSG_ERROR:
                    _raise(content)
                bodies.append(content)

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Asks for a change and waits for the kernel's word; OSError when it refuses."""
        self._send(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body)
        for answer, content in self._receive():
            if answer == NLMSG_ERROR:
                _raise(content)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._socket.send(HEADER.pack(HEADER.size + len(body), kind, flags, self._sequence, 0) + body)

    def _receive(self) -> list[tuple[int, bytes]]:
        data = bytes(memoryview(self._buffer)[: self._socket.recv_into(self._buffer)])
        messages, offset = [], 0
        while offset + HEADER.size <= len(data):
            length, kind, _, sequence, _ = HEADER.unpack_from(data, offset)
            if length < HEADER.size:  # which would never come to an end
                raise OSError(errno.EBADMSG, f"a netlink message of {length} bytes")
            if sequence == self._sequence:  # what is left of an earlier, refused request is not for us
                messages.append((kind, data[offset + HEADER.size : offset + length]))
            offset += aligned(length)
        return messages


def aligned(length: int) -> int:
    """The length up to the next multiple of 4 (NLMSG_ALIGN, RTA_ALIGN)."""
    return (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded (rtnetlink(7), RTA_*)."""
    return (ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value).ljust(
        aligned(ATTRIBUTE.size + len(value)), b"\0"
    )


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes behind a message's fixed part, by type."""
    found, offset = {}, 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + ATTRIBUTE.size : offset + length]
        offset += aligned(length)
    return found


def _raise(content: bytes) -> None:
    (code,) = struct.unpack_from("=i", content)
    if code:
        raise OSError(-code, os.strerror(-code))
