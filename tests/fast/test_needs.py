"""Requirements of a scenario, what only some kernels do, and the kernel's counters."""

from __future__ import annotations

import pytest

from testbed.agent.counters import differences, parse_list, parse_table
from testbed.scenario.counters import full_name, is_counter
from testbed.scenario.model import Expect, expect_on
from testbed.scenario.requires import ABILITIES, Requires, unmet
from testbed.scenario.units import KernelRange, Range, parse_kernel_range

SNMP = """\
Ip: Forwarding InReceives
Ip: 1 40
Tcp: RtoMin CurrEstab RetransSegs
Tcp: 200 3 2
IcmpMsg: InType3
IcmpMsg: 1
"""


def test_counters_have_the_names_of_nstat() -> None:
    """Group and word make the name; what is no count of events is left out."""
    assert parse_table(SNMP) == {"IpInReceives": 40, "TcpRetransSegs": 2}
    assert parse_list("Ip6InReceives   \t5\nUdpLite6NoPorts\t1\nUdp6NoPorts\t2\n") == {
        "Ip6InReceives": 5,
        "Udp6NoPorts": 2,
    }


def test_only_what_changed_is_told() -> None:
    """A counter that was not there before has counted from 0."""
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 5, "c": 7}) == {"b": 3, "c": 7}


@pytest.mark.parametrize(
    ("written", "ipv4", "ipv6"),
    [
        ("SyncookiesSent", "TcpExtSyncookiesSent", "TcpExtSyncookiesSent"),
        ("TcpExtTCPTimeouts", "TcpExtTCPTimeouts", "TcpExtTCPTimeouts"),
        ("RetransSegs", "TcpRetransSegs", "TcpRetransSegs"),
        ("InCsumErrors", "TcpInCsumErrors", "TcpInCsumErrors"),
        ("UdpNoPorts", "UdpNoPorts", "Udp6NoPorts"),
    ],
)
def test_a_counter_may_be_written_without_its_group(written: str, ipv4: str, ipv6: str) -> None:
    """The first group that has the word is meant; IPv6 counts by itself what is not TCP's."""
    assert (full_name(written, "ipv4"), full_name(written, "ipv6")) == (ipv4, ipv6)
    assert not is_counter("TCPSyncookies")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("6.5..", [(6, 5), (6, 10), (7, 0)], [(6, 4), (5, 19)]),
        ("..6.4", [(6, 4), (4, 15)], [(6, 5)]),
        ("5.15..6.4", [(5, 15), (6, 0), (6, 4)], [(5, 14), (6, 5)]),
        ("6.10", [(6, 10)], [(6, 1), (6, 11)]),
    ],
)
def test_ranges_of_kernels(text: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]]) -> None:
    """Both ends are in the range, versions compare by number, and a range is written as it was read."""
    kernels = parse_kernel_range(text)
    assert [version in kernels for version in (*inside, *outside)] == [True] * len(inside) + [False] * len(outside)
    assert kernels.show() == text


def test_what_a_kernel_lacks_is_told() -> None:
    """Each requirement that is not met is named with the kernel that has it not."""
    wanted = Requires(kernel=KernelRange((6, 15), None), sysctls=("net.ipv4.tcp_rto_max_ms", "net.ipv4.tcp_sack"))
    told = list(unmet(wanted, "6.1.0-cloud", (6, 1), lambda name: name == "net.ipv4.tcp_sack"))
    assert told == [
        "it is about Linux from 6.15 on, and the hosts' is 6.1.0-cloud",
        "the hosts' kernel, 6.1.0-cloud, has no net.ipv4.tcp_rto_max_ms",
    ]
    assert list(unmet(wanted, "6.18.4", (6, 18), lambda _: True)) == []


def test_abilities_that_scenarios_name_can_be_tried() -> None:
    """The words of scenarios and those of the agent are the same."""
    from testbed.agent import abilities

    assert set(ABILITIES) == set(abilities.ABILITIES)
    assert abilities.try_each(["frobnicate"]) == {"frobnicate": "the agent does not know how to try it"}


def test_a_range_is_laid_over_the_rest() -> None:
    """Mappings are laid over each other key by key, all else is replaced, and other kernels' ranges say nothing."""
    expect = Expect.model_validate(
        {
            "handshake": {"outcome": "complete", "syns": 1},
            "states": {"client": ["SYN_SENT"], "server": ["LISTEN"]},
            "by_kernel": [
                {"kernel": "..6.4", "handshake": {"syns": 2}, "states": {"client": ["CLOSE"]}},
                {"kernel": "6.5..", "handshake": {"syns": 3}},
            ],
        }
    )
    whole, places = expect_on(expect, (6, 1))
    assert whole.handshake is not None
    assert (whole.handshake.outcome, whole.handshake.syns) == ("complete", Range(2, 2))
    assert {host: list(map(str, states)) for host, states in whole.states.items()} == {
        "client": ["CLOSE"],
        "server": ["LISTEN"],
    }
    assert places["expect.states.client"] == "expect.by_kernel.0.states.client"
    assert "expect.states.server" not in places
