"""From a scenario to a plan: hosts, what each agent is told, and which arrival sides are impaired."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.plan import STEP_TIMEOUT_NS, Plan, link_seed, link_settings, make_plan
from testbed.profile import PROFILE, kernel_version, profile_sysctls
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


def test_nothing_to_impair() -> None:
    """A wire that does nothing has no link and no engine."""
    made = plan()
    assert (made.links, made.engine) == ((), "none")
    assert made.link("client") is None


def test_both_directions_are_impaired_on_arrival() -> None:
    """What is said of the wire holds for both directions: each host's arrival side has a link."""
    made = plan(wire={"delay": "10ms"})
    assert made.engine == "portable"
    assert {link.host: {name: source.delay for name, source in link.sources.items()} for link in made.links} == {
        "server": {"client": 10_000_000},
        "client": {"server": 10_000_000},
    }


def test_one_direction_replaces_the_general() -> None:
    """A direction of its own replaces what is said in general, on the receiving host."""
    made = plan(wire={"delay": "10ms", "client->server": {"loss": "5%"}})
    at_server, at_client = made.link("server"), made.link("client")
    assert at_server is not None
    assert at_client is not None
    assert (at_server.sources["client"].delay, at_server.sources["client"].loss) == (0, 5.0)
    assert at_client.sources["server"].delay == 10_000_000


def test_faults_are_where_the_packet_arrives() -> None:
    """A packet that is lost from a host is lost at every other host, by the sender's address, counted from its nth."""
    made = plan(faults=[{"drop": "SYN-ACK", "from": "server", "nth": 1}, {"drop": "FIN", "from": "client"}])
    at_client, at_server = made.link("client"), made.link("server")
    assert at_client is not None
    assert at_server is not None
    assert [index for index, _ in at_client.faults] == [0]
    assert link_settings(at_client, made, ADDRESSES)["faults"] == [
        {"rule": 0, "drop": "SYN-ACK", "from": "198.18.0.2", "low": 1, "high": 1}
    ]
    assert link_settings(at_server, made, ADDRESSES)["faults"] == [
        {"rule": 1, "drop": "FIN", "from": "198.18.0.3", "low": 1, "high": None}
    ]


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
