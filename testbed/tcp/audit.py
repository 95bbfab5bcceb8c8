"""What a conversation may not do: invariants of RFC 9293 and the RFCs around it, each a row of RULES.

A rule whose breach a lossy or late capture could also explain is `blind`: its findings are sure only when the
capture shows the connection from its SYN on without a hole. Packets that break the same rule make one finding.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.tcp.connection import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    """One invariant: what to say when it is broken, and whether a bad capture looks the same."""

    says: str
    blind: bool


RULES: dict[str, Rule] = {
    "ack-of-unsent": Rule("acknowledges data that the other end never sent (RFC 9293 section 3.10.7.4)", blind=True),
    "bad-checksum": Rule("wrong TCP checksum; a receiver drops it, and so did we (RFC 9293 section 3.1)", blind=False),
    "bad-flags": Rule("SYN together with RST (RFC 9293 section 3.10.7)", blind=False),
    "data-beyond-fin": Rule("sequence space beyond its own FIN (RFC 9293 section 3.6)", blind=True),
    "fin-outside-window": Rule("FIN outside the receiver's window, ignored (RFC 9293 section 3.10.7.4)", blind=True),
    "md5-mismatch": Rule("MD5 signature without agreement, dropped by the receiver (RFC 2385 section 2)", blind=False),
    "no-ack-flag": Rule("no ACK flag after the SYN; dropped by the receiver (RFC 9293 section 3.10.7.4)", blind=False),
    "option-not-offered:window-scale": Rule("window scale answered, not offered (RFC 7323 section 1.3)", blind=False),
    "option-not-offered:sack": Rule("SACK permitted answered, not offered (RFC 2018 section 2)", blind=False),
    "option-not-offered:timestamps": Rule("timestamps answered, not offered (RFC 7323 section 3.2)", blind=False),
    "option-not-offered:fast-open": Rule(
        "fast open cookie answered, not asked for (RFC 7413 section 4.1)", blind=False
    ),
    "option-not-offered:ecn": Rule("ECN answered, not offered (RFC 3168 section 6.1.1)", blind=False),
    "rst-ignored": Rule("RST that cannot end this handshake, ignored (RFC 9293 section 3.10.7.3)", blind=False),
    "rst-in-window": Rule("RST inside the window but not the next byte; challenged (RFC 5961 section 3.2)", blind=True),
    "rst-outside-window": Rule("RST outside the receiver's window, ignored (RFC 9293 section 3.10.7.4)", blind=True),
    "sack-of-unsent": Rule("SACK block for data that the other end never sent (RFC 2018 section 4)", blind=True),
    "syn-ack-not-captured": Rule("an ACK of a SYN-ACK that the capture does not show", blind=True),
    "syn-ack-changed": Rule("SYN-ACK with another number on an open connection (RFC 5961 section 4)", blind=False),
    "syn-in-connection": Rule("SYN with another sequence number inside a connection (RFC 5961 section 4)", blind=False),
    "window-overrun": Rule("data beyond the window that the receiver granted (RFC 9293 section 3.8.6)", blind=True),
}


class Audit:
    """Collects breaches while packets pass; `findings` makes the values."""

    __slots__ = ("_packets", "_proven")

    def __init__(self) -> None:
        self._packets: dict[str, list[int]] = {}
        self._proven: set[str] = set()

    def note(self, rule: str, packet: int, *, proven: bool = False) -> None:
        """Remember that `packet` breaks `rule`; `proven` when no missing packet could explain it."""
        self._packets.setdefault(rule, []).append(packet)
        if proven:
            self._proven.add(rule)

    def findings(self, *, complete: bool) -> tuple[Finding, ...]:
        """All findings; `complete` when the capture shows the connection from its SYN on, without a hole."""
        return tuple(
            Finding(rule, RULES[rule].says, tuple(packets), complete or not RULES[rule].blind or rule in self._proven)
            for rule, packets in self._packets.items()
        )
