"""The table of steps, which socket a step means, and options by name; no socket is connected."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from testbed.agent import options
from testbed.agent.sockets import ANY, CONNECTION, FRESH, LISTENER, Stack, StepError, place
from testbed.agent.steps import NEEDS, ROUNDS, STEPS, fault
from testbed.scenario import steps as scenario_steps


@pytest.fixture
def raws() -> Iterator[list[socket.socket]]:
    made = [socket.socket() for _ in range(4)]
    yield made
    for one in made:
        one.close()


def test_every_step_of_a_scenario_can_be_played() -> None:
    """The agent's table has every step of the grammar, and no other."""
    assert {*STEPS, *ROUNDS} == set(scenario_steps.STEPS)
    assert {*STEPS, *ROUNDS} >= set(NEEDS)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"step": "accept"}], ""),
        ([{"step": "recv", "bytes": None}], ""),
        ([{"step": "recv"}], "steps 0: recv needs bytes"),
        ([{"step": "accept"}, {"step": "jump"}], "steps 1: there is no step 'jump'"),
        (["accept"], "steps 0: there is no step None"),
        ([{"step": "shutdown", "how": "all"}], "steps 0: shutdown is one of rd, wr, rdwr"),
        ([{"step": "repeat", "times": 2, "steps": [{"step": "mark"}]}], "steps 0.0: mark needs name"),
        ([{"step": "repeat", "times": 2}], "steps 0: repeat needs steps"),
    ],
)
def test_a_program_that_cannot_be_played_is_refused_with_the_place(steps: list[Any], says: str) -> None:
    """The first fault, with the step's path; nothing for a program that can be played."""
    assert fault(steps).startswith(says)
    assert bool(fault(steps)) == bool(says)


def test_the_newest_open_socket_that_fits(raws: list[socket.socket]) -> None:
    """Newest first, by kind, the earlier group of kinds first; closed ones never."""
    stack = Stack()
    listener = stack.add(raws[0], LISTENER, "l")
    first, second = stack.add(raws[1], CONNECTION, "one"), stack.add(raws[2], CONNECTION, "two")
    fresh = stack.add(raws[3], FRESH, None)
    assert stack.get(None, (CONNECTION,)) is second
    assert stack.get(None, (CONNECTION,), ANY) is second
    assert stack.get(None, ANY) is fresh
    assert stack.get("one", (LISTENER,)) is first  # a name says all
    raws[2].close()
    assert stack.get(None, (CONNECTION,)) is first
    assert stack.find("two", ANY) is None
    with pytest.raises(StepError, match="no open socket named 'two'"):
        stack.get("two", ANY)
    assert stack.get(None, (LISTENER,)) is listener


def test_a_round_sees_the_outer_sockets_and_not_the_other_way(raws: list[socket.socket]) -> None:
    """A round's own sockets are newer than those outside, and are nobody else's."""
    outer = Stack()
    listener = outer.add(raws[0], LISTENER, None)
    one, other = Stack(outer), Stack(outer)
    mine = one.add(raws[1], CONNECTION, None)
    assert one.get(None, ANY) is mine
    assert one.get(None, (LISTENER,)) is listener
    assert other.get(None, ANY) is listener
    assert outer.find(None, (CONNECTION,)) is None
    outer.forget()
    assert not outer.is_empty()
    for raw in raws:
        raw.close()
    assert outer.is_empty()


def test_addresses_are_written_with_brackets_for_ipv6() -> None:
    """`address:port`, `[address]:port`, and None for none."""
    assert place(("198.18.0.2", 1)) == "198.18.0.2:1"
    assert place(("fd00::2", 1, 0, 0)) == "[fd00::2]:1"
    assert place(None) is None


def test_options_by_name() -> None:
    """Names of Python's module and of the table, at the level of their prefix; SO_LINGER is packed; others unknown."""
    assert options.find("SO_LINGER") == (socket.SOL_SOCKET, socket.SO_LINGER)
    assert options.find("TCP_NODELAY") == (socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert options.find("TCP_FASTOPEN_CONNECT") == (socket.IPPROTO_TCP, 30)
    assert options.find("IPV6_V6ONLY") == (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    assert options.pack("SO_LINGER", 0) == struct.pack("@ii", 1, 0)
    assert (options.pack("TCP_NODELAY", True), options.pack("TCP_CONGESTION", "reno")) == (1, b"reno")
    for name in ("TCP_NO_SUCH", "AF_INET", "SO"):
        with pytest.raises(options.UnknownOption):
            options.find(name)
