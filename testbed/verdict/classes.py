"""Packets by their meaning (RFC 9293 section 3.5 and 3.6): the words of scenarios, checks and comments."""

from __future__ import annotations

from collections.abc import Callable

from testbed.packet import Flags, Packet, Protocol
from testbed.scenario.model import PacketClass

_SYNCHRONIZING = Flags.SYN | Flags.ACK | Flags.RST
_CONTROL = _SYNCHRONIZING | Flags.FIN


def _opens(packet: Packet, wanted: Flags) -> bool:
    return packet.flags & _SYNCHRONIZING == wanted


CLASSES: dict[PacketClass, Callable[[Packet], bool]] = {
    PacketClass.SYN: lambda packet: _opens(packet, Flags.SYN),
    PacketClass.SYN_ACK: lambda packet: _opens(packet, Flags.SYN | Flags.ACK),
    PacketClass.HANDSHAKE_ACK: lambda packet: _opens(packet, Flags.ACK),  # which one of them, a connection tells
    PacketClass.DATA: lambda packet: packet.payload_length > 0 and not packet.flags & (Flags.SYN | Flags.RST),
    PacketClass.ACK: lambda packet: packet.flags & _CONTROL == Flags.ACK and packet.payload_length == 0,
    PacketClass.FIN: lambda packet: bool(packet.flags & Flags.FIN) and not packet.flags & (Flags.SYN | Flags.RST),
    PacketClass.RST: lambda packet: bool(packet.flags & Flags.RST),
}
_NAMED = (PacketClass.RST, PacketClass.SYN_ACK, PacketClass.SYN, PacketClass.FIN, PacketClass.DATA, PacketClass.ACK)


def is_a(packet: Packet, kind: PacketClass) -> bool:
    """Whether a packet is of that class."""
    if kind is PacketClass.ANY:
        return True
    return packet.protocol == Protocol.TCP and CLASSES[kind](packet)


def name(packet: Packet) -> str:
    """What a packet is, in a word or two: `SYN-ACK`, `DATA of 27 bytes`."""
    if packet.icmp is not None:
        return f"ICMP type {packet.icmp[0]} code {packet.icmp[1]}"
    if packet.protocol == Protocol.UDP:
        return f"a UDP datagram of {packet.payload_length} bytes"
    kind = next((kind for kind in _NAMED if is_a(packet, kind)), None)
    word = kind.value if kind else "a segment without flags"
    return f"{word} of {packet.payload_length} bytes" if packet.payload_length else word
