"""Every word that the analysis uses, with what it means: for whoever prints or documents them.

One table for each vocabulary, word -> meaning, and all of them by title in VOCABULARIES. Words come from the types and
tables that the code itself uses; a word without a meaning, or the other way round, fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping

from testbed.tcp.audit import KINDS, RULES
from testbed.tcp.connection import HandshakeOutcome, TeardownKind
from testbed.tcp.states import State
from testbed.tcp.wireshark import BITS
from testbed.tcp.zeek_cuts import CUTS
from testbed.tcp.zeek_words import CONN_STATES, HISTORY_LETTERS

OUTCOMES: dict[HandshakeOutcome, str] = {
    HandshakeOutcome.COMPLETE: "SYN, SYN-ACK and an acceptable ACK of it, on which data or a FIN may ride",
    HandshakeOutcome.UNANSWERED: "SYNs, and nothing came back that counts",
    HandshakeOutcome.REFUSED: "a RST+ACK that acknowledges the SYN, before any SYN-ACK",
    HandshakeOutcome.RESET: "any other RST that ended the handshake before it was complete",
    HandshakeOutcome.HALF_OPEN: "a SYN-ACK that was never acknowledged",
    HandshakeOutcome.SIMULTANEOUS: "both sides sent a SYN, and each was acknowledged (RFC 9293 figure 7)",
    HandshakeOutcome.FAST_OPEN: "complete, and data on the SYN was accepted (RFC 7413)",
    HandshakeOutcome.MID_STREAM: "the capture begins after the SYN",
}

TEARDOWNS: dict[TeardownKind, str] = {
    TeardownKind.FIN: "a FIN of each side, the second in answer to the first",
    TeardownKind.SIMULTANEOUS: "a FIN of each side, and the second does not acknowledge the first",
    TeardownKind.HALF_CLOSE: "one side's FIN only, or data of the other side after it had acknowledged the first FIN",
    TeardownKind.RST: "a reset that ended it",
    TeardownKind.NONE: "still open when the capture ended, or never opened",
}

STATES: dict[State, str] = {
    State.CLOSE: "no connection (RFC: CLOSED)",
    State.LISTEN: "waits for a SYN",
    State.SYN_SENT: "sent a SYN, waits for the answer (RFC: SYN-SENT)",
    State.SYN_RECV: "sent a SYN-ACK, waits for its acknowledgement (RFC: SYN-RECEIVED)",
    State.ESTABLISHED: "open; data flows",
    State.FIN_WAIT1: "sent a FIN, which is not acknowledged yet (RFC: FIN-WAIT-1)",
    State.FIN_WAIT2: "its FIN was acknowledged; waits for the other's (RFC: FIN-WAIT-2)",
    State.CLOSE_WAIT: "received a FIN and has not closed yet (RFC: CLOSE-WAIT)",
    State.CLOSING: "both sent a FIN at once; waits for the acknowledgement of its own",
    State.LAST_ACK: "closed second; waits for the acknowledgement of its FIN (RFC: LAST-ACK)",
    State.TIME_WAIT: "closed first; waits until nothing old can arrive any more (RFC: TIME-WAIT)",
}

VOCABULARIES: dict[str, Mapping[str, str]] = {
    "How it opened": {word.value: says for word, says in OUTCOMES.items()},
    "How it closed": {word.value: says for word, says in TEARDOWNS.items()},
    "States of an end": {word.value: says for word, says in STATES.items()},
    "Kinds of finding": {word.value: says for word, says in KINDS.items()},
    "Rules of the audit": {name: f"{rule.kind.value}: {rule.says}" for name, rule in RULES.items()},
    "Zeek's conn_state": CONN_STATES,
    "Zeek's history": HISTORY_LETTERS,
    "Where Zeek cuts": {name: f"{after_ns // 10**9} s: {says}" for name, (after_ns, says) in CUTS.items()},
    "Wireshark's tcp.completeness": {str(bit): says for bit, says in BITS.items()},
}
