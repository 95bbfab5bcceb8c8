"""The kernel's messages taken apart, and transitions between two dumps."""

from __future__ import annotations

import socket

from testbed.agent.diag import MESSAGE, STATES, UNSETTLED, Row, count, decode
from testbed.agent.netlink import attribute, attributes
from testbed.agent.states import Transitions

NUMBERS = {name: number for number, name in sorted(STATES.items(), reverse=True)}


def message(state: str, cookie: int, port: int = 40000, family: int = socket.AF_INET) -> bytes:
    """A `struct inet_diag_msg` as the kernel packs it."""
    local, peer = ("198.18.0.2", "198.18.0.3") if family == socket.AF_INET else ("fd00::2", "fd00::3")
    ports = (port.to_bytes(2, "big"), (7456).to_bytes(2, "big"))
    addresses = (socket.inet_pton(family, local), socket.inet_pton(family, peer))
    return MESSAGE.pack(family, NUMBERS[state], 0, 0, *ports, *addresses, 0, cookie, 0, 3, 5, 0, 0)


def test_a_message_is_taken_apart() -> None:
    """State, both ends, queues and cookie, for both families; the struct is 72 octets long."""
    assert MESSAGE.size == 72
    assert decode(message("CLOSE_WAIT", 9)) == Row("CLOSE_WAIT", "198.18.0.2:40000", "198.18.0.3:7456", 3, 5, 9)
    seen = decode(message("LISTEN", 9, family=socket.AF_INET6))
    assert (seen.local, seen.peer) == ("[fd00::2]:40000", "[fd00::3]:7456")


def test_states_are_counted() -> None:
    """How many of each; every unsettled state is one that the kernel has."""
    rows = [decode(message(state, 1)) for state in ("LISTEN", "ESTABLISHED", "ESTABLISHED")]
    assert count(rows) == {"LISTEN": 1, "ESTABLISHED": 2}
    assert set(STATES.values()) > UNSETTLED


def test_a_life_is_told_from_close_to_close() -> None:
    """New sockets come from CLOSE, gone ones go to CLOSE, what stays is not told."""
    transitions = Transitions()
    told = []
    for now, states in enumerate((["SYN_SENT"], ["ESTABLISHED"], ["ESTABLISHED"], ["TIME_WAIT"], [], [])):
        told += transitions.compare([message(state, 7) for state in states], now)
    assert [(event["time_ns"], event["from"], event["to"]) for event in told] == [
        (0, "CLOSE", "SYN_SENT"),
        (1, "SYN_SENT", "ESTABLISHED"),
        (3, "ESTABLISHED", "TIME_WAIT"),
        (4, "TIME_WAIT", "CLOSE"),
    ]
    assert {event["socket"] for event in told} == {"198.18.0.2:40000 198.18.0.3:7456"}


def test_two_lives_of_one_address_pair_are_told_apart() -> None:
    """A new cookie is a new socket, though addresses and state are those of the old one."""
    transitions = Transitions()
    transitions.compare([message("ESTABLISHED", 1)], 0)
    told = transitions.compare([message("ESTABLISHED", 2)], 1)
    assert sorted((event["from"], event["to"]) for event in told) == [
        ("CLOSE", "ESTABLISHED"),
        ("ESTABLISHED", "CLOSE"),
    ]


def test_a_request_and_the_kernel_s_two_numbers_of_it() -> None:
    """SYN_RECV has two numbers (TCP_SYN_RECV, TCP_NEW_SYN_RECV): going from one to the other is no transition."""
    transitions = Transitions()
    other = bytearray(message("SYN_RECV", 1))
    other[1] = 12
    assert len(transitions.compare([message("SYN_RECV", 1)], 0)) == 1
    assert transitions.compare([bytes(other)], 1) == []


def test_attributes_survive_the_way_there_and_back() -> None:
    """Padding is not part of the value."""
    packed = attribute(1, b"abcde") + attribute(2, b"") + attribute(3, b"wxyz")
    assert len(packed) == 12 + 4 + 8
    assert attributes(packed) == {1: b"abcde", 2: b"", 3: b"wxyz"}
    assert attributes(b"\x01\x00\x01\x00") == {}  # a length that cannot be: nothing, and no endless loop
