"""Wireshark's `tcp.completeness`: which kinds of packet a conversation has shown (packet-tcp.c; User's Guide 7.5).

The value that `tshark -2` ends with: a sum of bits, one per kind of packet ever seen in either direction. Tried on
tshark 4.0 with every combination of flags: a segment with ACK and without SYN counts as data when it has payload and
as ACK when it has none, never as both; data on a SYN counts on the very first SYN only; FIN counts only with ACK. A SYN
counts only as the first packet of its conversation, and a single packet counts for nothing but that.
"""

from __future__ import annotations

from testbed.packet import Flags

SYN_SENT = 1
SYN_ACK = 2
ACK = 4
DATA = 8
FIN = 16
RST = 32

BITS: dict[int, str] = {
    SYN_SENT: "a SYN without ACK, as the first packet",
    SYN_ACK: "a SYN with ACK",
    ACK: "an ACK without SYN and without payload, in either direction; also a RST+ACK or FIN+ACK",
    DATA: "payload",
    FIN: "a FIN with ACK",
    RST: "a RST",
}

CONTROL = int(Flags.FIN | Flags.SYN | Flags.RST | Flags.ACK)


def _bits(flags: int, filled: int) -> int:
    syn, ack = flags & Flags.SYN, flags & Flags.ACK
    opening = (SYN_ACK if ack else SYN_SENT) if syn else (filled if ack else 0)
    return opening | (FIN if flags & Flags.FIN and ack else 0) | (RST if flags & Flags.RST else 0)


# Indexed by a packet's flags & CONTROL, without and with payload.
EMPTY: tuple[int, ...] = tuple(_bits(flags, ACK) for flags in range(CONTROL + 1))
FILLED: tuple[int, ...] = tuple(_bits(flags, DATA) for flags in range(CONTROL + 1))


def settle(bits: int, first_flags: int, packets: int) -> int:
    """What is left of the bits of a conversation in the end; `packets` is their number."""
    opens = first_flags & (Flags.SYN | Flags.ACK) == Flags.SYN
    if packets == 1:
        return bits & (SYN_SENT | DATA) if opens else 0
    return bits if opens else bits & ~SYN_SENT
