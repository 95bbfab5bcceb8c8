"""A captured frame taken apart for a person: scapy's layers with their fields, and the bytes as a hex dump.

One of the two rooms where scapy is at home (the other crafts packets). It names every field of every header, which our
own decoder, made to follow connections, does not. What scapy makes of a payload beyond TCP, UDP and ICMP is left as
bytes. Nothing here is cleaned or escaped: who shows it does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, Ether
from scapy.packet import NoPayload, Raw
from scapy.packet import Packet as Layered

from testbed.pcap.frame import LinkType

HEX_BYTES = 512
FIELD_CHARACTERS = 120
_ROW = 16
_SHOWN = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(256))


@dataclass(frozen=True, slots=True)
class Layer:
    """One header: its name, and its fields in order with their values as text."""

    name: str
    fields: tuple[tuple[str, str], ...]


class _Frame(Layered):
    """What a frame is for scapy before its first layer: so it takes one that is cut or damaged for mere bytes."""

    name = "frame"
    fields_desc: ClassVar[list[Any]] = []
    first: type[Layered]

    def guess_payload_class(self, payload: bytes) -> type[Layered]:
        return self.first


class _Ethernet(_Frame):
    first = Ether


class _Cooked(_Frame):
    first = CookedLinux


class _IPv4(_Frame):
    first = IP


class _IPv6(_Frame):
    first = IPv6


_FRAMES: dict[int, type[_Frame]] = {LinkType.ETHERNET: _Ethernet, LinkType.LINUX_SLL: _Cooked}


def dissect(data: bytes, link_type: int = LinkType.ETHERNET) -> tuple[Layer, ...]:
    """The layers of a frame from the outside in; none for a link type that scapy is not asked about."""
    if link_type == LinkType.RAW:
        kind: type[_Frame] | None = _IPv6 if data[:1] and data[0] >> 4 == 6 else _IPv4
    else:
        kind = _FRAMES.get(link_type)
    return tuple(_layers(kind(data).payload)) if kind and data else ()


def _layers(layer: Layered) -> Iterator[Layer]:
    while not isinstance(layer, NoPayload):
        yield Layer(str(layer.name), tuple(_payload(layer) if isinstance(layer, Raw) else _fields(layer)))
        layer = layer.payload


def _fields(layer: Layered) -> Iterator[tuple[str, str]]:
    """What the packet has: for a field that it does not, scapy would make a value up, such as the time of day."""
    for field in layer.fields_desc:
        value = layer.fields.get(field.name)
        if value is not None:
            yield field.name, _short(str(field.i2repr(layer, value)))


def _payload(layer: Layered) -> Iterator[tuple[str, str]]:
    yield "bytes", str(len(layer.load))


def _short(text: str) -> str:
    return text if len(text) <= FIELD_CHARACTERS else f"{text[:FIELD_CHARACTERS]}..."


def hex_dump(data: bytes, *, limit: int = HEX_BYTES) -> str:
    """Offset, sixteen bytes and their ASCII on each line; what is beyond `limit` bytes is counted in the last one."""
    lines = [_line(at, data[at : at + _ROW]) for at in range(0, min(len(data), limit), _ROW)]
    if len(data) > limit:
        lines.append(f"and {len(data) - limit} more bytes")
    return "\n".join(lines)


def _line(at: int, row: bytes) -> str:
    halves = "  ".join(row[half : half + 8].hex(" ") for half in (0, 8))
    return f"{at:04x}  {halves:<48}  {row.translate(_SHOWN).decode('ascii')}"
