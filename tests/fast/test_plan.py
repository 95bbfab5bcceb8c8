"""From a scenario to a plan: hosts, what each agent is told, and which arrival sides are impaired."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.agent.impair import Emulator
from testbed.agent.impairments import NONE, Impairment, netem_arguments
from testbed.errors import LabError, UsageError
from testbed.plan import (
    STEP_TIMEOUT_NS,
    Course,
    LinkPlan,
    LinkSwitch,
    Plan,
    choose_engine,
    link_seed,
    link_settings,
    make_plan,
)
from testbed.profile import PROFILE, kernel_version, profile_sysctls
from testbed.rings import LIGHT_BYTES, LIGHT_STEPS, RING_OF_LIGHT, RING_OF_MANY, small_rings
from testbed.scenario.faults import OF_ACTIONS
from testbed.scenario.model import Scenario
from testbed.show import commands

SERVER = {"steps": [{"listen": 7456}, "accept", {"recv": "eof"}, "close"]}
CLIENT = {"steps": [{"connect": "server:7456"}, {"send": "Hola"}, "close"]}
ADDRESSES = {"server": "198.18.0.2", "client": "198.18.0.3", "client-2": "198.18.0.4", "sniffer": "198.18.0.5"}


def plan(**told: Any) -> Plan:
    """The plan of a scenario that says hello, with what is told besides."""
    hosts = {"server": SERVER, "client": CLIENT, **told.pop("hosts", {})}
    return make_plan("story", Scenario.model_validate({"summary": "A story.", "hosts": hosts, **told}))


def steps(made: Plan, host: str) -> list[Any]:
    """What a host's agent is told."""
    return [dict(step) for each in made.hosts if each.name == host for step in each.steps]


def test_replicas() -> None:
    """A host with replicas is several of the same role, with the same steps."""
    made = plan(hosts={"client": {**CLIENT, "replicas": 3}})
    assert [(host.name, host.role) for host in made.hosts] == [
        ("server", "server"),
        ("client", "client"),
        ("client-2", "client"),
        ("client-3", "client"),
    ]
    assert steps(made, "client-3") == steps(made, "client")


def test_steps_are_told_whole() -> None:
    """Every step carries its name, the error that is declared, a limit, and the keys of the protocol."""
    connect, send, close = steps(plan(), "client")
    assert (connect["host"], connect["port"]) == ("server", 7456)
    assert send["payload"] == {"text": "Hola"}
    assert {"step", "error", "timeout_ns"} <= set(close)
    assert close["timeout_ns"] == STEP_TIMEOUT_NS
    told = {"steps": [{"connect": "server:7456", "error": "ECONNREFUSED", "timeout": "2s"}]}
    (refused,) = steps(plan(hosts={"client": told}), "client")
    assert (refused["error"], refused["timeout_ns"]) == ("ECONNREFUSED", 2_000_000_000)


@pytest.mark.parametrize(
    ("server", "awaited"),
    [
        ([{"listen": 7456}, "accept"], "listening:server:7456"),
        ([{"bind": 7456}, "listen", "accept"], "listening:server:7456"),
        ([{"bind": 7456}, {"sleep": "1s"}], "bound:server:7456"),
        ([{"listen": 1}], None),
        ([{"sleep": "1s"}], None),
    ],
)
def test_connect_awaits_what_the_peer_will_do(server: list[Any], awaited: str | None) -> None:
    """A connect waits until its peer listens, or is bound, if the peer's steps say that it will; else it goes."""
    made = plan(hosts={"server": {"steps": server}})
    assert steps(made, "client")[0]["await"] == awaited


def test_connect_to_a_replica_awaits_that_one() -> None:
    """Of several servers alike, each makes a mark of its own."""
    client = {"steps": [{"connect": "server-2:7456"}]}
    made = plan(hosts={"server": {**SERVER, "replicas": 2}, "client": client})
    assert steps(made, "client")[0]["await"] == "listening:server-2:7456"


def link_of(made: Plan, host: str) -> LinkPlan:
    """The link of a host that must have one."""
    link = made.link(host)
    assert link is not None
    return link


def test_nothing_to_impair() -> None:
    """A wire that does nothing has no link and no engine."""
    made = plan(wire={"delay": "0", "ports": {"80": {}}})
    assert (made.links, made.engine, made.switches) == ((), "none", ())
    assert made.link("client") is None
    assert choose_engine(made, {}) == ("none", "the scenario impairs nothing")


def test_both_directions_are_impaired_on_arrival() -> None:
    """What is said of the wire holds for both directions: each host's arrival side has a link."""
    made = plan(wire={"delay": "10ms"})
    assert made.engine == "auto"
    assert {link.host: [(phase.at_ns, dict(phase.sources)) for phase in link.phases] for link in made.links} == {
        "server": [(0, {"client": Course(Impairment(delay_ns=10_000_000))})],
        "client": [(0, {"server": Course(Impairment(delay_ns=10_000_000))})],
    }


def test_one_direction_replaces_the_general() -> None:
    """A direction of its own replaces what is said in general, on the receiving host."""
    made = plan(wire={"delay": "10ms", "ports": {"80": {"loss": "1%"}}, "client->server": {"loss": "5%"}})
    assert link_of(made, "server").course("client") == Course(Impairment(loss_percent=5.0))
    assert link_of(made, "client").asked("server") == Impairment(delay_ns=10_000_000)


def test_a_port_has_its_own() -> None:
    """What is said of a port holds instead for packets from or to it; of two ports the first that is said."""
    link = link_of(plan(wire={"delay": "10ms", "ports": {"80": {"loss": "1%"}, "7456": {}}}), "server")
    assert link.asked("client", 40000, 9) == Impairment(delay_ns=10_000_000)
    assert link.asked("client", 40000, 80) == link.asked("client", 7456, 80) == Impairment(loss_percent=1.0)
    assert link.asked("client", 7456, 9) == NONE
    assert link.asked("sniffer", 80) == NONE


def test_timeline() -> None:
    """Keys named change from a moment on, others stay; a link has a phase where something changes for it."""
    timeline = [
        {"at": "1s", "client->server": {"loss": "5%"}},
        {"at": "2s", "delay": "0"},
        {"at": "3s", "down": ["server"]},
        {"at": "4s", "up": ["server"], "loss_states": {"p13": "1%", "p31": "50%"}},
    ]
    made = plan(wire={"delay": "10ms", "timeline": timeline})
    states = Impairment(loss_states_percent=(1.0, 50.0, 0.0, 100.0, 0.0))
    assert [(phase.at_ns // 10**9, phase.sources.get("client")) for phase in link_of(made, "server").phases] == [
        (0, Course(Impairment(delay_ns=10_000_000))),
        (1, Course(Impairment(delay_ns=10_000_000, loss_percent=5.0))),
        (2, Course(Impairment(loss_percent=5.0))),
        (4, Course(states)),
    ]
    assert [phase.at_ns // 10**9 for phase in link_of(made, "client").phases] == [0, 2, 4]
    assert link_of(made, "client").asked("server", phase=1) == NONE
    assert made.switches == (LinkSwitch(3_000_000_000, "server", False), LinkSwitch(4_000_000_000, "server", True))


def test_a_port_on_the_timeline() -> None:
    """A port that is first named at a moment starts from what its packets met; what is general passes it by then."""
    timeline = [{"at": "1s", "ports": {"80": {"loss": "1%"}}}, {"at": "2s", "delay": "0"}]
    link = link_of(plan(wire={"delay": "10ms", "timeline": timeline}), "server")
    assert [link.asked("client", 80, phase=phase) for phase in range(3)] == [
        Impairment(delay_ns=10_000_000),
        Impairment(delay_ns=10_000_000, loss_percent=1.0),
        Impairment(delay_ns=10_000_000, loss_percent=1.0),
    ]
    assert link.asked("client", phase=2) == NONE


@pytest.mark.parametrize(
    ("said", "had"),
    [
        ({"loss": "2%"}, Impairment(loss_percent=2.0, loss_correlation_percent=9.0)),
        ({"gilbert_elliott": {"p": "1%", "r": "2%"}}, Impairment(gilbert_elliott_percent=(1.0, 2.0, 100.0, 0.0))),
        ({"duplicate": "3%"}, Impairment(loss_percent=1.0, loss_correlation_percent=9.0, duplicate_percent=3.0)),
    ],
)
def test_one_loss_model_replaces_another(said: dict[str, Any], had: Impairment) -> None:
    """Another model of loss ends the one before with all that belongs to it; the same one keeps its correlation."""
    timeline = [{"at": "1s", **said}]
    link = link_of(plan(wire={"loss": "1%", "loss_correlation": "9%", "timeline": timeline}), "server")
    assert link.asked("client", phase=1) == had


def test_faults_are_where_the_packet_arrives() -> None:
    """A packet that is lost from a host is lost at every other host, by the sender's address, counted from its nth."""
    made = plan(faults=[{"drop": "SYN-ACK", "from": "server", "nth": 1}, {"drop": "FIN", "from": "client"}])
    assert [index for index, _ in link_of(made, "client").faults] == [0]
    common = {"action": "drop", "every": None, "retransmissions": "too", "per": "connection", "contains": None}
    assert link_settings(link_of(made, "client"), made, ADDRESSES, "portable")["faults"] == [
        {"rule": 0, "kind": "SYN-ACK", "from": "198.18.0.2", "low": 1, "high": 1, **common}
    ]
    assert link_settings(link_of(made, "server"), made, ADDRESSES, "portable")["faults"] == [
        {"rule": 1, "kind": "FIN", "from": "198.18.0.3", "low": 1, "high": None, **common}
    ]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"delay": "DATA", "by": "200ms"}, {"by_ns": 200_000_000}),
        ({"duplicate": "DATA"}, {"copies": 1, "by_ns": 0}),
        ({"corrupt": "DATA", "bits": 3}, {"bits": 3}),
        ({"rewrite": "SYN", "strip": ["sack"], "set": {"seq": "+1"}}, {"strip": ["sack"], "set": {"seq": "+1"}}),
        ({"reset": "DATA"}, {"to": "receiver", "passes": True}),
        ({"reset": "DATA", "to": "both", "passes": False}, {"to": "both", "passes": False}),
        ({"icmp": "SYN", "unreachable": "host"}, {"unreachable": "host", "mtu": None, "passes": False}),
    ],
)
def test_a_fault_is_told_whole(fault: dict[str, Any], told: dict[str, Any]) -> None:
    """Each action's keys are in its message, and no other's; the agent takes it."""
    made = plan(faults=[{**fault, "from": "client", "contains": "Hola"}])
    link = link_settings(link_of(made, "server"), made, ADDRESSES, "portable")
    (message,) = link["faults"]
    assert message["contains"] == "486f6c61"
    assert {key: message[key] for key in (*OF_ACTIONS, "by_ns") if key in message} == told
    assert Emulator(link).faults is not None


def test_link_message() -> None:
    """Every phase names all sources in one order, by address, with what differs from no impairment."""
    timeline = [{"at": "1s", "client->server": {"loss": "5%"}}]
    wire = {"client-2->server": {"rate": "8kbit", "ports": {"80": {"loss": "1%"}}}, "timeline": timeline}
    made = plan(hosts={"client": {**CLIENT, "replicas": 2}}, wire=wire)
    message = link_settings(link_of(made, "server"), made, ADDRESSES, "netem")
    assert (message["engine"], message["seed"], message["faults"]) == ("netem", link_seed(made, "server"), [])
    own = {"rate_bit": 8000, "ports": {"80": {"loss_percent": 1.0}}}
    assert message["phases"] == [
        {"at_ns": 0, "sources": {"198.18.0.3": {}, "198.18.0.4": own}},
        {
            "at_ns": 1_000_000_000,
            "sources": {"198.18.0.3": {"loss_percent": 5.0}, "198.18.0.4": {**own, "loss_percent": 5.0}},
        },
    ]


# --- the engine ---

GOOD, BAD = {"ok": True, "says": ""}, {"ok": False, "says": "the kernel has no sch_netem"}
FAULTS = [{"drop": "SYN", "from": "client"}]


@pytest.mark.parametrize(
    ("asked", "faults", "netem", "engine", "why"),
    [
        ("auto", [], GOOD, "netem", "the kernel has it"),
        ("auto", [], BAD, "portable", "no netem on server: the kernel has no sch_netem"),
        ("auto", FAULTS, GOOD, "portable", "only the portable engine has them"),
        ("portable", [], GOOD, "portable", "asked for"),
        ("netem", [], GOOD, "netem", "asked for"),
    ],
)
def test_engine(asked: str, faults: list[Any], netem: dict[str, Any], engine: str, why: str) -> None:
    """netem where every host has it and no fault needs the other, unless told; the reason says which it was."""
    made = make_plan("story", plan(wire={"delay": "10ms"}, faults=faults).scenario, engine=asked)
    abilities = {"client": {"portable": GOOD, "netem": GOOD}, "server": {"portable": GOOD, "netem": netem}}
    chosen, reason = choose_engine(made, abilities)
    assert chosen == engine
    assert why in reason


def test_kernel_that_cannot_duplicate_beside_another_netem() -> None:
    """Some kernels refuse `duplicate` where a link has several lanes: auto takes the other engine just there."""
    wire = {"duplicate": "1%", "ports": {"80": {"delay": "10ms"}}}
    for mixes, engine in ((False, "portable"), (True, "netem")):
        ability = {"portable": GOOD, "netem": {**GOOD, "mixes": mixes}}
        chosen, why = choose_engine(plan(wire=wire), {"client": ability, "server": ability})
        assert chosen == engine
        assert ("cannot duplicate" in why) == (engine == "portable")
    alone = {"portable": GOOD, "netem": {**GOOD, "mixes": False}}
    assert choose_engine(plan(wire={"duplicate": "1%"}), {"client": alone, "server": alone})[0] == "netem"


def test_engine_that_cannot() -> None:
    """netem with faults is the user's to mend; an engine that a host lacks is never replaced in silence."""
    with pytest.raises(UsageError, match="story has faults"):
        make_plan("story", plan(faults=FAULTS).scenario, engine="netem")
    made = make_plan("story", plan(wire={"delay": "10ms"}).scenario, engine="netem")
    with pytest.raises(LabError, match="client has no engine netem: the kernel has no sch_netem"):
        choose_engine(made, {"client": {"portable": GOOD, "netem": BAD}})
    with pytest.raises(LabError, match="client has no engine portable"):
        choose_engine(plan(faults=FAULTS), {"client": {"portable": BAD, "netem": GOOD}})


def test_each_link_has_a_seed_of_its_own() -> None:
    """The same scenario and seed give the same links; two links, and two seeds, give different ones."""
    made, again, other = plan(seed=1), plan(seed=1), plan(seed=2)
    assert link_seed(made, "client") == link_seed(again, "client")
    assert len({link_seed(made, "client"), link_seed(made, "server"), link_seed(other, "client")}) == 3


def test_sysctls_of_a_host() -> None:
    """A host's sysctls come on top of the scenario's."""
    made = plan(
        sysctls={"net.ipv4.tcp_sack": 0, "net.ipv4.tcp_ecn": 0},
        hosts={"client": {**CLIENT, "sysctls": {"net.ipv4.tcp_ecn": 1}}},
    )
    assert {host.name: dict(host.sysctls) for host in made.hosts} == {
        "server": {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "0"},
        "client": {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "1"},
    }


def test_payload_files_are_named_once() -> None:
    """The files that steps and expectations name, so that they can be read before anything is brought up."""
    told = {"steps": [{"connect": "server:7456"}, {"send": {"file": "b.bin"}}, {"send": {"file": "a.bin"}}]}
    made = plan(hosts={"client": told}, expect={"payload": {"client->server": {"file": "a.bin"}}})
    assert made.files == ("a.bin", "b.bin")


def test_show_is_what_would_run() -> None:
    """What `testbed show` prints has the compose command, each link, and each step as the agent gets it."""
    lines = list(commands(plan(wire={"client->server": {"delay": "10ms"}})))
    assert any(line.startswith("docker compose -p") and line.endswith("server client sniffer hub") for line in lines)
    assert sum("action mirred egress redirect dev link0" in line for line in lines) == 1
    assert sum(line.startswith("client: ") for line in lines) == 3


def test_show_has_both_engines_where_it_could_be_either() -> None:
    """netem's command and portable's request, with the timeline; a fault leaves only portable, and is in words."""
    wire = {"client->server": {"delay": "10ms"}, "timeline": [{"at": "2s", "loss": "5%", "down": ["server"]}]}
    text = "\n".join(commands(plan(wire=wire)))
    told = " ".join(netem_arguments(Impairment(delay_ns=10_000_000, loss_percent=5.0)))
    assert f"netem {told}   # from client, 2s after the first step" in text
    assert '"delay_ns": 10000000, "loss_percent": 5.0' in text
    assert "ip link set dev eth0 down   # server, 2s after the first step" in text
    text = "\n".join(commands(plan(wire=wire, faults=[{"reset": "DATA", "from": "client", "nth": 2}])))
    assert "netem" not in text
    assert "# fault 0: DATA 2 of each connection from client brings a forged RST to its receiver and goes on" in text


def test_link_step() -> None:
    """`link: down` and `link: up` are steps like others."""
    told = {"steps": [{"link": "down"}, {"link": "up"}]}
    assert [(step["step"], step["up"]) for step in steps(plan(hosts={"client": told}), "client")] == [
        ("link", False),
        ("link", True),
    ]


# --- the profile ---


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-cloud", (6, 18)), ("4.19", (4, 19)), ("5.10.0-28-amd64", (5, 10)), ("strange", (0, 0))],
)
def test_kernel_version(release: str, version: tuple[int, int]) -> None:
    """A release names its version first; one that says nothing counts as old."""
    assert kernel_version(release) == version


def test_profile_has_only_what_the_kernel_has() -> None:
    """A sysctl that a kernel lacks would keep a container from starting, so it is left out there."""
    new, old = profile_sysctls("ipv4", (6, 18)), profile_sysctls("ipv4", (5, 10))
    assert set(new) == {pin.name for pin in PROFILE}
    assert set(new) - set(old) == {"net.ipv4.tcp_syn_linear_timeouts"}


def test_profile_of_ipv6_has_no_duplicate_address_detection() -> None:
    """IPv6 hosts have their addresses at once."""
    extra = profile_sysctls("ipv6", (6, 18)).items() - profile_sysctls("ipv4", (6, 18)).items()
    assert ("net.ipv6.conf.all.accept_dad", "0") in extra


def ring_of(*sends: Any, **told: Any) -> set[int]:
    """The sizes of ring in a story where the client sends this; 0 is the largest."""
    client = {**CLIENT, "steps": [{"connect": "server:7456"}, *sends, "close"], **told}
    made = plan(hosts={"client": client})
    return {small_rings(made).get(host, 0) for host in (*(each.name for each in made.hosts), "sniffer")}


@pytest.mark.parametrize(
    ("sends", "ring"),
    [
        ([{"send": "Hola"}], RING_OF_LIGHT),
        ([{"send": {"random": LIGHT_BYTES}}], RING_OF_LIGHT),
        ([{"send": {"random": LIGHT_BYTES}}, {"send": {"hex": "00"}}], 0),
        ([{"send": {"file": "some.bin"}}], 0),
        ([{"repeat": 9, "steps": [{"send": {"numbered": LIGHT_BYTES // 8}}]}], 0),
        ([{"repeat": 9, "steps": [{"repeat": LIGHT_STEPS // 8, "steps": [{"send": ""}]}]}], 0),
    ],
)
def test_a_ring_is_as_large_as_the_traffic_needs(sends: list[Any], ring: int) -> None:
    """Little payload in few steps makes small rings for all; what cannot be counted, or is much, the largest."""
    assert ring_of(*sends) == {ring}


def test_many_of_a_role_have_smaller_rings() -> None:
    """Whatever they send; the others of the lab and the sniffer keep the largest."""
    rings = small_rings(plan(hosts={"client": {"replicas": 5, "steps": [{"sleep": "1ms"}, {"send": {"file": "x"}}]}}))
    assert set(rings.values()) == {RING_OF_MANY}
    assert set(rings) == {"client", *(f"client-{number}" for number in range(2, 6))}
