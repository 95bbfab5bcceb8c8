"""Zeek's vocabulary: `conn_state` and the letters of `history`, each with what it means.

From scripts/base/protocols/conn/main.zeek and TCPSessionAdapter.cc. The ports are Zeek's `likely_server_ports` as its
default scripts fill it (TCP only).
"""

from __future__ import annotations

CONN_STATES: dict[str, str] = {
    "S0": "a connection attempt was seen, and no reply",
    "S1": "established, not terminated; also a SYN-ACK that was never acknowledged (history Sh)",
    "SF": "established and closed by a FIN of each side",
    "REJ": "the attempt was rejected by a RST of the responder",
    "S2": "established, and only the originator's FIN was seen",
    "S3": "established, and only the responder's FIN was seen",
    "RSTO": "established, and the originator reset it",
    "RSTR": "the responder reset it",
    "RSTOS0": "the originator sent a SYN and then a RST; no SYN-ACK was seen",
    "RSTRH": "the responder sent a SYN-ACK and then a RST; no SYN was seen",
    "SH": "the originator sent a SYN and then a FIN; no SYN-ACK was seen (half open)",
    "SHR": "the responder sent a SYN-ACK and then a FIN; no SYN was seen",
    "OTH": "no SYN was seen: midstream traffic, or what fits nowhere else",
}

# Upper case: by the originator; lower case: by the responder.
HISTORY_LETTERS: dict[str, str] = {
    "s": "a SYN without the ACK bit; again when its sequence number differs",
    "h": "a SYN with the ACK bit (the handshake); again when its sequence number differs",
    "a": "a pure ACK; once",
    "d": "a packet with payload and without SYN, FIN, RST; once",
    "f": "a FIN; again when its place differs",
    "r": "a RST; again when its sequence number differs",
    "c": "a packet with a bad checksum, ignored otherwise; at counts 1, 10, 100, ...",
    "g": "a content gap: acknowledged bytes that were never seen; at counts 1, 10, 100, ...",
    "t": "a retransmitted payload; at counts 1, 10, 100, ...",
    "w": "a window of zero; at counts 1, 10, 100, ...",
    "i": "an inconsistent packet: FIN and RST; once",
    "q": "a packet with SYN and FIN, or SYN and RST; once",
    "^": "the direction was flipped: the first packet seen was judged to be the responder's",
}

# fmt: off
SERVER_PORTS = frozenset({
    21, 22, 25, 53, 79, 80, 81, 88, 135, 139, 143, 389, 443, 445, 465, 502, 514, 563, 585, 587, 614, 631, 636, 989, 990,
    992, 993, 995, 1080, 1434, 1883, 2811, 3128, 3268, 3306, 3389, 5222, 5223, 5269, 5432, 6379, 6666, 6667, 6668, 6669,
    8000, 8080, 8888, 20000,
})
# fmt: on
