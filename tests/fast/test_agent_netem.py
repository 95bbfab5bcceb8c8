"""netem as tc is told it and as tc shows it: commands as text, and settings from output recorded on Debian's kernels.

Recorded with iproute2 6.1 on Linux 6.1.0-50-cloud-amd64, and 6.15 on 6.12.107+deb13-cloud-amd64 where it differs.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from testbed.agent import lanes, netem, standing
from testbed.agent.impairments import NONE, Impairment, to_message

MS = 1_000_000
EVERYTHING = Impairment(
    delay_ns=40 * MS,
    jitter_ns=1_234_567,
    jitter_correlation_percent=25.0,
    jitter_distribution="normal",
    loss_percent=5.0,
    loss_correlation_percent=10.0,
    reorder_percent=25.0,
    reorder_correlation_percent=50.0,
    reorder_gap=5,
    corrupt_percent=0.01,
    corrupt_correlation_percent=3.0,
    rate_bit=10_000_000,
)
RECORDED: dict[str, tuple[Impairment, str]] = {
    "nothing": (NONE, '{"limit":20000,"ecn":false,"gap":0}'),
    "everything": (
        EVERYTHING,
        '{"limit":20000,"delay":{"delay":0.04,"jitter":0.001233,"correlation":0.25},'
        '"loss-random":{"loss":0.05,"correlation":0.1},"reorder":{"reorder":0.25,"correlation":0.5},'
        '"corrupt":{"corrupt":0.0001,"correlation":0.03},'
        '"rate":{"rate":1250000,"packetoverhead":0,"cellsize":0,"celloverhead":0},"ecn":false,"gap":5}',
    ),
    "everything, 6.15": (
        EVERYTHING,
        '{"limit":20000,"delay":{"delay":0.04,"jitter":0.00123457,"correlation":0.25},'
        '"loss-random":{"loss":0.05,"correlation":0.1},"reorder":{"reorder":0.25,"correlation":0.5},'
        '"corrupt":{"corrupt":0.0001,"correlation":0.03},'
        '"rate":{"rate":1250000,"packetoverhead":0,"cellsize":0,"celloverhead":0},'
        '"seed":15144366125087830401,"ecn":false,"gap":5}',
    ),
    "a small queue and bursts": (
        Impairment(limit_packets=10, gilbert_elliott_percent=(1.0, 10.0, 90.0, 0.1)),
        '{"limit":10,"loss-gemodel":{"p":0.01,"r":0.1,"1-h":0.9,"1-k":0.001},"ecn":false,"gap":0}',
    ),
    "a chain of states": (
        Impairment(limit_packets=10, loss_states_percent=(1.0, 10.0, 3.0, 100.0, 0.1)),
        '{"limit":10,"loss-state":{"p13":0.01,"p31":0.1,"p32":0.03,"p23":1,"p14":0.001},"ecn":false,"gap":0}',
    ),
    "jitter alone has the least delay": (
        Impairment(jitter_ns=5 * MS),
        '{"limit":20000,"delay":{"delay":1e-06,"jitter":0.005,"correlation":0},"ecn":false,"gap":0}',
    ),
    "a blackhole": (
        Impairment(blackhole=True, delay_ns=MS, duplicate_percent=3.0),
        '{"limit":20000,"loss-random":{"loss":1,"correlation":0},"ecn":false,"gap":0}',
    ),
}


@pytest.mark.parametrize("name", RECORDED)
def test_what_tc_shows_is_what_was_asked(name: str) -> None:
    """Six digits, fractions for percent, bytes for bits: all of it is rounding."""
    asked, options = RECORDED[name]
    assert netem.read_back(json.loads(options), asked) == asked


@pytest.mark.parametrize(
    ("asked", "shown", "had"),
    [
        (EVERYTHING, {"delay": {"delay": 0.05, "jitter": 0.001233, "correlation": 0.25}}, {"delay_ns": 50 * MS}),
        (EVERYTHING, {"rate": {"rate": 1250100}}, {"rate_bit": 10_000_800}),
        (EVERYTHING, {"loss-random": {"loss": 0.0501, "correlation": 0.1}}, {"loss_percent": 5.01}),
        (EVERYTHING, {"gap": 4}, {"reorder_gap": 4}),
        (EVERYTHING, {"limit": 1000}, {"limit_packets": 1000}),
        (
            EVERYTHING,
            {"loss-random": {}, "loss-gemodel": {"p": 0.01, "r": 0.1, "1-h": 1, "1-k": 0}},
            {
                "loss_percent": 0.0,
                "loss_correlation_percent": 0.0,
                "gilbert_elliott_percent": (1.0, 10.0, 100.0, 0.0),
            },
        ),
    ],
)
def test_what_differs_by_more_is_what_is_there(asked: Impairment, shown: dict[str, Any], had: dict[str, Any]) -> None:
    """Only that; the rest is as asked."""
    found = netem.read_back({**json.loads(RECORDED["everything"][1]), **shown}, asked)
    different = {name for name in had if getattr(found, name) != getattr(asked, name)}
    assert different == set(had)
    assert {name: getattr(found, name) for name in had} == had
    assert to_message(found).keys() - had.keys() == to_message(asked).keys() - had.keys()


def test_a_blackhole_that_leaks_is_none() -> None:
    """A loss of 90 % is not a blackhole."""
    shown = {"limit": 20000, "loss-random": {"loss": 0.9, "correlation": 0}, "gap": 0}
    assert netem.read_back(shown, Impairment(blackhole=True)) == Impairment(loss_percent=90.0)


def test_every_command_says_everything() -> None:
    """`tc qdisc change` keeps what it is not told, so zeros are told; times in a unit that every tc knows."""
    off = "limit 20000 delay 0us 0us 0% loss random 0% 0% duplicate 0% 0% reorder 0% 0% corrupt 0% 0% rate 0bit"
    assert " ".join(netem.netem_words(NONE)) == off
    said = " ".join(netem.netem_words(EVERYTHING))
    assert said == (
        "limit 20000 delay 40000us 1234.567us 25% distribution normal loss random 5% 10% duplicate 0% 0% "
        "reorder 25% 50% gap 5 corrupt 0.01% 3% rate 10000000bit"
    )
    assert "delay 1us 5000us 0% loss" in " ".join(netem.netem_words(Impairment(jitter_ns=5 * MS)))
    assert "loss gemodel 1% 2% 100% 0% dup" in " ".join(
        netem.netem_words(Impairment(gilbert_elliott_percent=(1.0, 2.0, 100.0, 0.0)))
    )


def test_the_table_of_the_uniform_distribution_is_uniform() -> None:
    """From one jitter below to one above, in even steps, around nothing."""
    table = [int(line) for line in netem.uniform_table().split()]
    assert len(table) == 4096
    assert {b - a for a, b in itertools.pairwise(table)} == {4}
    assert -table[0] == table[-1] == 8190


def link(*phases: dict[str, Any]) -> dict[str, Any]:
    """A link with phases a second apart."""
    return {"phases": [{"at_ns": at * 10**9, "sources": sources} for at, sources in enumerate(phases)]}


def test_lanes_of_sources_and_ports() -> None:
    """A lane for each way that is impaired, filters by source, ports before the rest of their source."""
    course = {"delay_ns": MS, "ports": {"7456": {"blackhole": True}, "9": {}}}
    ways = lanes.read_ways(link({"198.18.0.2": course, "fd00::2": {"loss_percent": 1.0}}))
    laid = lanes.lay_lanes(ways)
    assert [(lane.classid, lane.handle) for lane in laid] == [("1:2", "102:"), ("1:3", "103:"), ("1:4", "104:")]
    lines = lanes.put_up("link0", laid, ways, [4, 5, 6], "")
    assert lines[0] == "qdisc add dev link0 root handle 1: prio bands 4 priomap " + " ".join("0" * 16)
    assert [line.split("netem")[0].rstrip() for line in lines[1:4]] == [
        "qdisc add dev link0 parent 1:2 handle 102:",
        "qdisc add dev link0 parent 1:3 handle 103:",
        "qdisc add dev link0 parent 1:4 handle 104:",
    ]
    assert lines[3].endswith(" seed 6")
    rules = [line.removeprefix("filter add dev link0 parent 1: protocol ") for line in lines[4:]]
    v4, first = "match ip src 198.18.0.2/32", "match u16 0 0x1fff at 6"
    assert rules == [
        "ip pref 10 handle 10: u32 divisor 1",
        f"ip pref 10 u32 {v4} match ip protocol 6 0xff {first} link 10: offset at 0 mask 0x0f00 shift 6",
        f"ip pref 10 u32 {v4} match ip protocol 17 0xff {first} link 10: offset at 0 mask 0x0f00 shift 6",
        "ip pref 10 u32 ht 10: match u16 7456 0xffff at nexthdr+0 flowid 1:2",
        "ip pref 10 u32 ht 10: match u16 7456 0xffff at nexthdr+2 flowid 1:2",
        "ip pref 10 u32 ht 10: match u16 9 0xffff at nexthdr+0 flowid 1:1",
        "ip pref 10 u32 ht 10: match u16 9 0xffff at nexthdr+2 flowid 1:1",
        f"ip pref 10 u32 {v4} flowid 1:3",
        "ipv6 pref 20 u32 match ip6 src fd00::2/128 flowid 1:4",
    ]


def test_a_phase_changes_only_its_lanes() -> None:
    """In place, so that what is under way stays; a source that a phase does not name is untouched in it."""
    timeline = link({"a": {"delay_ns": MS}}, {"a": {"delay_ns": MS}, "b": {"delay_ns": MS}}, {"b": {"delay_ns": MS}})
    laid = lanes.lay_lanes(lanes.read_ways(timeline))
    assert [[line.split()[5] for line in lanes.change("link0", laid, phase, "")] for phase in (1, 2)] == [
        ["1:3"],
        ["1:2"],
    ]
    assert "delay 0us" in lanes.change("link0", laid, 2, "")[0]


def test_a_table_is_taken_back_with_another() -> None:
    """Only in a lane that ever has one."""
    jitter = {"delay_ns": MS, "jitter_ns": MS}
    both = lanes.lay_lanes(
        lanes.read_ways(link({"a": {**jitter, "jitter_distribution": "normal"}, "b": jitter}, {"a": jitter}))
    )
    assert "distribution ../uniform" in lanes.change("link0", both, 1, "../uniform")[0]
    assert "distribution" not in lanes.put_up("link0", both, (), (), "../uniform")[2]


def test_too_many_lanes_are_shared_then_refused() -> None:
    """Lanes of which the same is asked share one; those with a rate would share the rate."""
    same = lanes.lay_lanes(lanes.read_ways(link({f"10.0.0.{n}": {"delay_ns": MS} for n in range(40)})))
    assert [len(lane.ways) for lane in same] == [40]
    rates = lanes.read_ways(link({f"10.0.0.{n}": {"rate_bit": 1000} for n in range(16)}))
    with pytest.raises(ValueError, match=r"16 lanes .* netem has room for 15, the portable engine for all"):
        lanes.lay_lanes(rates)


@pytest.mark.parametrize(
    ("timeline", "says"),
    [
        ({}, "link.phases begin at"),
        ({"phases": [{"at_ns": 5}]}, "link.phases begin at"),
        ({"phases": [{"at_ns": 0}, {"at_ns": 9}, {"at_ns": 3}]}, "link.phases begin at"),
    ],
)
def test_phases_begin_at_0_and_go_on(timeline: dict[str, Any], says: str) -> None:
    """Else the message makes no sense."""
    with pytest.raises(ValueError, match=says):
        lanes.read_phases(timeline)


def test_the_place_of_what_makes_no_sense_is_named() -> None:
    """Phase, source and port."""
    with pytest.raises(ValueError, match=r"link\.phases\.1\.sources\.a\.ports\.80\.delay_ns is -1"):
        lanes.read_ways(link({}, {"a": {"ports": {"80": {"delay_ns": -1}}}}))
    ports = [{"a": {"ports": {one: {"delay_ns": 1} for one in order}}} for order in (("1", "2"), ("2", "1"))]
    with pytest.raises(ValueError, match="stand in another order"):
        lanes.read_ways(link(*ports))


# ---------------------------------------------------------------- as it was left

ETH0 = [
    {"kind": "noqueue", "handle": "0:", "dev": "eth0", "root": True, "refcnt": 2, "options": {}},
    {
        "kind": "clsact",
        "handle": "ffff:",
        "dev": "eth0",
        "parent": "ffff:fff1",
        "options": {},
        "packets": 0,
        "drops": 0,
    },
]
LINK0 = {"ifname": "link0", "ifindex": 4, "up": True, "mtu": 1500, "address": "02:00:00:00:00:01"}
FILTERS = [[("pref", 10), ("options", [("match", [("off", 0)]), ("match", [("off", 4)]), ("stats", [("packets", 0)])])]]
LEFT = standing.Sight(ETH0, [], FILTERS, LINK0)


def why(**now: Any) -> str:
    """What is said of a sight where this is otherwise."""
    return "; ".join(standing.differences("eth0", "link0", LEFT, LEFT._replace(**now), judged=True))


def test_counters_are_no_change() -> None:
    """Traffic alone changes nothing of how a wire stands."""
    counted = [{**ETH0[0], "packets": 9, "backlog": 3}, {**ETH0[1], "packets": 9, "drops": 1}]
    filters = [
        [("pref", 10), ("options", [("match", [("off", 0)]), ("match", [("off", 4)]), ("stats", [("packets", 7)])])]
    ]
    assert why(qdiscs=counted, filters_whole=filters) == ""


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (
            {"qdiscs": ETH0[:1]},
            "the qdisc clsact of eth0 is gone, so nothing that arrives goes to link0; see `tc qdisc",
        ),
        (
            {"filters_whole": []},
            "the filters that redirect what arrives at eth0 to link0 are not as they were left; see",
        ),
        (
            {"filters_whole": [[("pref", 10), ("options", [("match", [("off", 1)]), ("match", [("off", 4)])])]]},
            "the filters that redirect",
        ),
        (
            {"qdiscs": [{"kind": "netem", "handle": "8001:", "dev": "eth0", "root": True}, ETH0[1]]},
            "eth0 has the qdisc netem 8001: where it had the qdisc noqueue 0:, put there by somebody else",
        ),
        ({"device": {}}, "the interface link0 is gone"),
        ({"device": {**LINK0, "up": False}}, "the interface link0 is down"),
        ({"device": {**LINK0, "ifindex": 5}}, "the interface link0 is another one than was put up"),
    ],
)
def test_what_is_not_as_it_was_left_is_said(now: dict[str, Any], says: str) -> None:
    """Each with where to look."""
    assert says in why(**now)
    assert "see `" in why(**now)
