"""What the audit looks for: one row of RULES for each, with its words, its section and its kind.

Three kinds: an end broke the PROTOCOL, the CAPTURE shows less or other than was on the wire, or a NOTE of something
allowed that explains what other tools make of it. A rule whose breach a lossy or late capture could also explain is
`blind`: its findings are sure only when the capture shows the connection from its SYN on without a hole, or when no
missing packet could be the reason (`proven`). A rule that is `never` sure is a hint. Packets that break the same rule
make one finding. What is found in passing is noted by whoever reads the packet; what only the whole shows (holes, one
side missing, segments larger than agreed) is in `conclude`.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.tcp.connection import Finding, FindingKind

PROTOCOL, CAPTURE, NOTE = FindingKind.PROTOCOL, FindingKind.CAPTURE, FindingKind.NOTE

KINDS: dict[FindingKind, str] = {
    PROTOCOL: "an end, or somebody on the way, broke a rule",
    CAPTURE: "the capture shows less than was on the wire, or shows it otherwise; nobody on the wire is to blame",
    NOTE: "allowed, yet out of the ordinary; says why other tools may tell another story",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to look for: what to say of it, where it is written, its kind, and when to be sure."""

    words: str
    section: str
    kind: FindingKind = PROTOCOL
    blind: bool = False
    never: bool = False

    @property
    def says(self) -> str:
        """The words with their source."""
        return f"{self.words} ({self.section})" if self.section else self.words


def _unoffered(what: str, section: str) -> Rule:
    return Rule(f"{what} answered, not offered", section)


RULES: dict[str, Rule] = {
    "ack-of-unsent": Rule("acknowledges data that the other end never sent", "RFC 9293 section 3.10.7.4", blind=True),
    "bad-checksum": Rule("wrong TCP checksum; a receiver drops it, and so did we", "RFC 9293 section 3.1"),
    "bad-flags": Rule("SYN together with RST", "RFC 9293 section 3.10.7"),
    "data-beyond-fin": Rule("sequence space beyond its own FIN", "RFC 9293 section 3.6", blind=True),
    "ecn-not-agreed": Rule("ECE or CWR on a connection that did not agree on ECN", "RFC 3168 section 6.1.1"),
    "fin-outside-window": Rule("FIN outside the receiver's window, ignored", "RFC 9293 section 3.10.7.4", blind=True),
    "md5-mismatch": Rule("MD5 signature without agreement, dropped by the receiver", "RFC 2385 section 2"),
    "no-ack-flag": Rule("no ACK flag after the SYN; dropped by the receiver", "RFC 9293 section 3.10.7.4"),
    "option-malformed": Rule("a list of options that cannot be read to its end", "RFC 9293 section 3.1"),
    "option-not-offered:ecn": _unoffered("ECN", "RFC 3168 section 6.1.1"),
    "option-not-offered:fast-open": _unoffered("fast open cookie", "RFC 7413 section 4.1"),
    "option-not-offered:mptcp": _unoffered("multipath", "RFC 8684 section 3.1"),
    "option-not-offered:sack": _unoffered("SACK permitted", "RFC 2018 section 2"),
    "option-not-offered:timestamps": _unoffered("timestamps", "RFC 7323 section 3.2"),
    "option-not-offered:window-scale": _unoffered("window scale", "RFC 7323 section 1.3"),
    "option-outside-syn": Rule(
        "MSS, window scale or SACK permitted on a segment without SYN; ignored", "RFC 9293 section 3.7.1"
    ),
    "rst-ignored": Rule("RST that cannot end this handshake, ignored", "RFC 9293 section 3.10.7.3"),
    "rst-in-window": Rule(
        "RST inside the window but not the next byte; challenged, not obeyed", "RFC 5961 section 3.2", blind=True
    ),
    "rst-outside-window": Rule("RST outside the receiver's window, ignored", "RFC 9293 section 3.10.7.4", blind=True),
    "sack-of-unsent": Rule("SACK block for data that the other end never sent", "RFC 2018 section 4", blind=True),
    "syn-ack-changed": Rule("SYN-ACK with another number on an open connection", "RFC 5961 section 4"),
    "syn-in-connection": Rule("SYN with another sequence number inside a connection; challenged", "RFC 5961 section 4"),
    "timestamp-missing": Rule("no timestamp although both sides agreed on it", "RFC 7323 section 3.2"),
    "timestamp-old": Rule(
        "timestamp older than one seen before; dropped as an old duplicate (PAWS)", "RFC 7323 section 5.3", blind=True
    ),
    "window-overrun": Rule("data beyond the window that the receiver granted", "RFC 9293 section 3.8.6", blind=True),
    "window-scale-too-large": Rule("a window scale above 14, taken as 14", "RFC 7323 section 2.3"),
    "one-sided": Rule("the capture shows only one side's packets", "", CAPTURE, blind=True),
    "packets-missing": Rule("acknowledged by the receiver, yet the capture does not show it", "", CAPTURE),
    "snapped": Rule("the capture kept less than the packet carried", "", CAPTURE),
    "super-segment": Rule(
        "more payload than the other side's MSS: the capture saw it before the card cut it, or after it was joined",
        "RFC 9293 section 3.7.1",
        CAPTURE,
        never=True,
    ),
    "syn-ack-not-captured": Rule("an ACK of a SYN-ACK that the capture does not show", "", CAPTURE, blind=True),
    "ecn-reflected": Rule(
        "the SYN's ECE and CWR sent back by a stack that knows no ECN", "RFC 3168 section 6.1.1", NOTE
    ),
    "rst-other-ttl": Rule(
        "RST with a TTL unlike its sender's: perhaps from somebody in between", "RFC 5961 section 1.2", NOTE, never=True
    ),
    "rst-sender-went-on": Rule(
        "the end that this RST claims to be from went on: forged, or sent in between", "RFC 5961 section 1.2", NOTE
    ),
    "rst-without-effect": Rule(
        "RST where its receiver expects it, yet the connection went on: lost after here, or never believed",
        "RFC 5961 section 3.2",
        NOTE,
    ),
    "rto-shrinks": Rule(
        "sent again sooner than the time before; the timer should back off", "RFC 6298 section 5.5", NOTE, blind=True
    ),
    "syn-again-too-soon": Rule(
        "sent again less than a second after the first; the initial timer should be 1 s", "RFC 6298 section 2.1", NOTE
    ),
    "syn-and-fin": Rule("SYN together with FIN: legal, and used by scanners", "RFC 9293 section 3.10.7.4", NOTE),
}


class Audit:
    """Collects breaches while packets pass; `findings` makes the values."""

    __slots__ = ("_packets", "_proven")

    def __init__(self) -> None:
        self._packets: dict[str, list[int]] = {}
        self._proven: set[str] = set()

    def note(self, rule: str, *packets: int, proven: bool = False) -> None:
        """Remember that `packets` break `rule`; `proven` when no missing packet could explain it."""
        self._packets.setdefault(rule, []).extend(packets)
        if proven:
            self._proven.add(rule)

    def has(self, rule: str) -> bool:
        """Whether something was noted for this rule."""
        return rule in self._packets

    def findings(self, *, complete: bool) -> tuple[Finding, ...]:
        """All findings; `complete` when the capture shows the connection from its SYN on, without a hole."""
        return tuple(self._finding(rule, packets, complete) for rule, packets in self._packets.items())

    def _finding(self, rule: str, packets: list[int], complete: bool) -> Finding:
        row = RULES[rule]
        sure = not row.never and (complete or not row.blind or rule in self._proven)
        return Finding(rule, row.says, tuple(dict.fromkeys(packets)), sure, row.section, row.kind)
