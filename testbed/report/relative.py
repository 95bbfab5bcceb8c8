"""Raw numbers of a segment as people read them: relative to the connection's start, windows scaled.

Follows what Wireshark shows: the sequence number of a SYN is 0; a side whose SYN was never seen starts at 1 with its
first segment (or with what its peer acknowledged first). Windows are shifted by the sender's offer when both sides
offered a scale (RFC 7323 section 2.2: never in a segment with SYN, and by 14 at most).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from testbed.packet import Flags, Packet, Protocol
from testbed.tcp.connection import Connection, HandshakeOutcome, OfferedOptions, Role

MODULUS = 1 << 32
LARGEST_SCALE = 14

# tcpdump's letters in tcpdump's order (print-tcp.c).
FLAG_LETTERS = {
    Flags.FIN: "F",
    Flags.SYN: "S",
    Flags.RST: "R",
    Flags.PSH: "P",
    Flags.ACK: ".",
    Flags.URG: "U",
    Flags.ECE: "E",
    Flags.CWR: "W",
    Flags.AE: "e",
}


def show_flags(flags: Flags) -> str:
    """Control bits in tcpdump's notation: `S.` is a SYN-ACK."""
    return "".join(letter for flag, letter in FLAG_LETTERS.items() if flags & flag) or "none"


@dataclass(frozen=True, slots=True)
class Segment:
    """What one row says of a packet. Numbers are relative to the connection; None where they mean nothing."""

    protocol: str  # TCP, UDP or ICMP
    flags: str = ""
    sequence: int | None = None
    acknowledgement: int | None = None
    length: int = 0
    window: int | None = None
    scaled: bool = True  # False: the capture does not tell the scale, `window` is as on the wire
    mss: int | None = None
    payload: bytes = b""
    says: str = ""  # ports of a datagram, type and code of an ICMP packet


@dataclass(frozen=True, slots=True)
class Scales:
    """What turns one connection's raw numbers into relative ones: a base and a window shift for each side."""

    connection: Connection
    bases: dict[Role, int]
    shifts: dict[Role, int] | None  # None: the handshake was not seen

    def role(self, packet: Packet) -> Role:
        """Which end of the connection sent the packet."""
        client = self.connection.client
        from_client = (packet.source, packet.source_port) == (client.address, client.port)
        return Role.CLIENT if from_client else Role.SERVER


def scale(connection: Connection, packets: Iterable[Packet]) -> Scales:
    """The bases and shifts of a connection, from its analysis and (where that has none) its first packets."""
    known = {Role.CLIENT: connection.client_isn, Role.SERVER: connection.server_isn}
    scales = Scales(connection, {role: isn for role, isn in known.items() if isn is not None}, _shifts(connection))
    for packet in packets:
        if len(scales.bases) == 2:
            break
        _learn(scales, packet)
    return scales


def _learn(scales: Scales, packet: Packet) -> None:
    role = scales.role(packet)
    scales.bases.setdefault(role, packet.sequence - (0 if packet.flags & Flags.SYN else 1))
    if packet.flags & Flags.ACK:
        scales.bases.setdefault(role.peer, packet.acknowledgement - 1)


def _shifts(connection: Connection) -> dict[Role, int] | None:
    handshake = connection.handshake
    if handshake.outcome is HandshakeOutcome.MID_STREAM:
        return None
    offers = {Role.CLIENT: handshake.client_options, Role.SERVER: handshake.server_options}
    agreed = all(offer.window_scale is not None for offer in offers.values())
    return {role: _shift(offer) if agreed else 0 for role, offer in offers.items()}


def _shift(offer: OfferedOptions) -> int:
    return min(offer.window_scale or 0, LARGEST_SCALE)


def segment(packet: Packet, scales: Scales | None) -> Segment:
    """What a row says of the packet; without a connection its numbers stay as they are on the wire."""
    if packet.protocol != Protocol.TCP:
        return _other(packet)
    role = scales.role(packet) if scales else None
    bases = {role: scales.bases.get(role, 0), role.peer: scales.bases.get(role.peer, 0)} if scales and role else {}
    shift = _window_shift(packet, scales, role)
    return Segment(
        "TCP",
        flags=show_flags(packet.flags),
        sequence=(packet.sequence - bases.get(role, 0)) % MODULUS if role else packet.sequence,
        acknowledgement=_acknowledgement(packet, bases.get(role.peer, 0) if role else 0),
        length=packet.payload_length,
        window=packet.window << (shift or 0),
        scaled=shift is not None,
        mss=packet.options.mss,
        payload=packet.payload,
    )


def _acknowledgement(packet: Packet, base: int) -> int | None:
    return (packet.acknowledgement - base) % MODULUS if packet.flags & Flags.ACK else None


def _window_shift(packet: Packet, scales: Scales | None, role: Role | None) -> int | None:
    if packet.flags & Flags.SYN or not packet.window:
        return 0
    return scales.shifts[role] if scales and role and scales.shifts is not None else None


def _other(packet: Packet) -> Segment:
    if packet.icmp:
        return Segment("ICMP", length=packet.payload_length, says=f"type {packet.icmp[0]} code {packet.icmp[1]}")
    protocol = "UDP" if packet.protocol == Protocol.UDP else f"IP protocol {int(packet.protocol)}"
    ports = f"{packet.source_port} > {packet.destination_port}" if packet.protocol == Protocol.UDP else ""
    return Segment(protocol, length=packet.payload_length, payload=packet.payload, says=ports)
