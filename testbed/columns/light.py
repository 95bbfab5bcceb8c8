"""Rows of segments as packets, for who follows them one by one: cheap to make, with all that `testbed.packet` names.

Payload is not kept in rows. As many zeros as were captured stand for it, so use these packets only where the bytes do
not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, cast

from testbed.columns.options import OptionTable
from testbed.columns.table import Pairs, Rows
from testbed.packet import NO_OPTIONS, Options, Packet, Protocol


class LightPacket(NamedTuple):
    """A TCP packet; every name is one of `testbed.packet.Packet`'s."""

    number: int
    time_ns: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int
    interface: int
    length: int
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    urgent: int
    options: Options
    payload: bytes
    payload_length: int
    checksum_ok: bool | None
    ip_id: int | None
    ttl: int
    ecn: int
    icmp: None
    ip_checksum_ok: bool


_NONE = NO_OPTIONS
_AT_ONCE = 4096  # rows that are lists of numbers at one time
_CHECKSUM_OK = (False, True, False, None)  # the last one is -1
_BAD_HEADER = 2


class Zeros(dict[int, bytes]):
    """So many zeros, made once."""

    def __missing__(self, size: int) -> bytes:
        return self.setdefault(size, bytes(size))


_FIELDS = (
    "number", "time_ns", "interface", "ip_length", "sequence", "acknowledgement", "flags", "window",
    "urgent", "options", "tsval", "tsecr", "captured", "length", "checksum_ok", "ip_id", "ttl", "ecn",
)  # fmt: skip


def packets_of(rows: Rows, pairs: Pairs, options: OptionTable) -> Iterator[Packet]:
    """The rows as packets, in their order."""
    return chain.from_iterable(
        _packets_of(rows[start : start + _AT_ONCE], pairs, options) for start in range(0, len(rows), _AT_ONCE)
    )


def _packets_of(rows: Rows, pairs: Pairs, options: OptionTable) -> Iterator[Packet]:
    zeros, listed, new = Zeros(), options.options, tuple.__new__
    ends = pairs.name(pairs.ends(rows["pair"], rows["side"]))
    columns = (rows[name].tolist() for name in _FIELDS)
    for (
        (source, destination), number, time_ns, interface, ip_length, sequence, acknowledgement, flags, window, urgent,
        option, tsval, tsecr, captured, length, checksum_ok, ip_id, ttl, ecn,
    ) in zip(ends, *columns, strict=True):  # fmt: skip
        yield cast(
            Packet,
            new(
                LightPacket,
                (
                    number, time_ns, *source, *destination, Protocol.TCP, interface, ip_length, sequence,
                    acknowledgement, flags, window, urgent, listed(option, tsval, tsecr) if option else _NONE,
                    zeros[captured], length, _CHECKSUM_OK[checksum_ok], ip_id if ip_id >= 0 else None, ttl, ecn, None,
                    checksum_ok != _BAD_HEADER,
                ),
            ),
        )  # fmt: skip
