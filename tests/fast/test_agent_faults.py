"""Packet faults: which packet a rule means, and what comes of it. The whole is in tests/thorough/test_faults.py."""

from __future__ import annotations

from typing import Any

import pytest
from ether import CLIENT, SERVER, tcp

from testbed.agent import forge, frames
from testbed.agent.faults import Faults, Met

SYN, ACK, DATA = tcp("S", 100), tcp("A", 101, 501), tcp("PA", 101, 501, b"Hola")


def meet(faults: Faults, frame: bytes) -> Met | None:
    """What comes of a frame, as the emulator asks for it."""
    segment = frames.parse(frame)
    assert segment is not None
    return faults.meet(segment, frame)


def fault(action: str, kind: str, **more: Any) -> Faults:
    """One fault, of the first such packet from the client."""
    return Faults([{"rule": 3, "action": action, "kind": kind, "from": CLIENT, "low": 1, "high": 1, **more}])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("SYN", [1, 2]), ("HANDSHAKE-ACK", [3]), ("ACK", [3]), ("DATA", [4, 5]), ("ANY", [1, 2, 3, 4, 5])],
)
def test_a_fault_means_its_class_only(kind: str, expected: list[int]) -> None:
    """Of a connection as it arrives at the server, exactly the packets of the class."""
    faults = fault("drop", kind, high=None)
    assert [number for number, frame in enumerate((SYN, SYN, ACK, DATA, DATA), 1) if meet(faults, frame)] == expected


@pytest.mark.parametrize(("retransmissions", "expected"), [("too", 3), ("never", 2), ("only", 1)])
def test_retransmissions_are_told_by_their_numbers(retransmissions: str, expected: int) -> None:
    """What takes numbers already sent is sent again (RFC 9293 section 3.4)."""
    faults = fault("drop", "DATA", high=None, retransmissions=retransmissions)
    assert len([1 for frame in (SYN, DATA, tcp("PA", 105, 501, b"x"), DATA) if meet(faults, frame)]) == expected


def test_a_dropped_packet_leaves_its_entry_alone() -> None:
    """Nothing goes on; the ledger names the packet by its bytes and in words."""
    met = meet(fault("drop", "SYN"), SYN)
    assert met is not None
    assert (met.deliveries, met.to_sender, met.dropped) == ((), (), True)
    assert met.entry == {
        "rule": 3,
        "action": "drop",
        "says": "SYN 198.18.0.2:40000 > 198.18.0.3:7456 seq 100 ack 0 len 0",
        "packet": forge.digest(SYN),
        "passed": False,
        "made": [],
    }


def test_a_reset_to_both_sides_is_one_each_side_takes() -> None:
    """To the receiver in sequence behind the packet, to the sender as a closed port answers (RFC 9293 3.10.7.1)."""
    met = meet(fault("reset", "DATA", to="both"), DATA)
    assert met is not None
    onward, back = frames.parse(met.deliveries[1][1]), frames.parse(met.to_sender[0])
    assert onward is not None
    assert back is not None
    assert met.deliveries[0] == (0, DATA, False)
    assert (onward.source, onward.sequence, onward.flags) == (frames.pack(CLIENT), 105, 0x14)
    assert (back.source, back.sequence, back.flags) == (frames.pack(SERVER), 501, 0x04)


def test_a_stripped_option_leaves_no_trace() -> None:
    """The header is what a stack without that option sends, and so much shorter."""
    linux = bytes.fromhex("020405b4 0402080a0000000100000000 01030307")
    met = meet(fault("rewrite", "SYN", strip=["timestamps"]), tcp("S", 100, options=linux))
    assert met is not None
    assert met.deliveries[0][1][54:] == bytes.fromhex("020405b4 01010402 01030307")
    assert met.deliveries[0][1][46] >> 4 == 8


def test_a_fault_that_makes_no_sense_is_refused() -> None:
    """With the place and what would be right."""
    with pytest.raises(ValueError, match=r"link\.faults\[0\]\.kind is 'SYNACK'; it is one of SYN, SYN-ACK"):
        fault("drop", "SYNACK")
