"""What the options of a SYN or SYN-ACK offer, and what was agreed on (RFC 9293 section 3.2, RFC 7323, 3168, 9768).

ECN: ECE and CWR on the SYN ask for it, ECE alone on the SYN-ACK agrees; both on the SYN-ACK are the SYN's bits sent
back by a stack that knows nothing of ECN. AccECN asks with AE, CWR and ECE, and is agreed on by one of four patterns on
the SYN-ACK (RFC 9768 table 2), which elsewhere mean something else: so the answer is read with the question in hand.
"""

from __future__ import annotations

from testbed.packet import NO_OPTIONS, Options
from testbed.tcp.connection import OfferedOptions

ECE, CWR, AE = 0x040, 0x080, 0x100
_ECN_BITS = ECE | CWR | AE
# Answers of an AccECN server: the ECN field of the SYN arrived as Not-ECT, ECT(1), ECT(0), CE.
_ACCECN_ANSWERS = frozenset({CWR, CWR | ECE, AE, AE | CWR})

NOTHING_OFFERED = OfferedOptions()


def offer(options: Options, flags: int, answers: OfferedOptions | None) -> OfferedOptions:
    """What a SYN (`answers` is None) or a SYN-ACK in answer to these options offers."""
    bits = flags & _ECN_BITS
    ecn = accecn = False
    if bits:
        if answers is None:
            ecn, accecn = bits & (ECE | CWR) == ECE | CWR, bits == _ECN_BITS
        elif answers.accecn:
            accecn = bits in _ACCECN_ANSWERS
            ecn = accecn or bits & (ECE | CWR) == ECE
        else:
            ecn = bits & (ECE | CWR) == ECE
    if options is NO_OPTIONS:
        return NOTHING_OFFERED if not bits else OfferedOptions(ecn=ecn, accecn=accecn)
    return OfferedOptions(
        options.mss,
        options.window_scale,
        options.sack_permitted,
        options.timestamps is not None,
        options.fast_open is not None,
        options.mptcp,
        ecn,
        accecn,
    )


def reflects_ecn(flags: int, answers: OfferedOptions) -> bool:
    """Whether a SYN-ACK only sends the SYN's ECN bits back."""
    return answers.ecn and not answers.accecn and flags & _ECN_BITS == ECE | CWR


def unoffered(answer: OfferedOptions, offered: OfferedOptions) -> list[str]:
    """Options in the answer that the question did not have, by the audit's names."""
    pairs = (
        ("ecn", answer.ecn, offered.ecn),
        ("fast-open", answer.fast_open, offered.fast_open),
        ("mptcp", answer.mptcp, offered.mptcp),
        ("sack", answer.sack, offered.sack),
        ("timestamps", answer.timestamps, offered.timestamps),
        ("window-scale", answer.window_scale is not None, offered.window_scale is not None),
    )
    return [name for name, there, asked in pairs if there and not asked]
