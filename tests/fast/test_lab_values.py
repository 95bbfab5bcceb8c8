"""What labs are named, numbered and made of: subnets, owners, apt sources, the compose override, the image's tag."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.errors import CommandFailed, LabError
from testbed.lab import images
from testbed.lab.command import run_command
from testbed.lab.compose import bridge_name, compose_file, override, up_command
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, Owner, dead_runs, labels_of
from testbed.lab.sources import codename, distribution_sources
from testbed.lab.subnet import RANGE, address, choose_subnet, companion, prefix_length

Net = ipaddress.IPv4Network


# --- subnets ---


@pytest.mark.parametrize(("hosts", "length"), [(1, 28), (13, 28), (14, 27), (29, 27), (30, 26), (65, 25)])
def test_prefix_holds_the_hosts(hosts: int, length: int) -> None:
    """A subnet has room for the hosts, the gateway, its own address and the broadcast address, and little more."""
    assert prefix_length(hosts) == length


def test_first_free_subnet() -> None:
    """From the given place on the first subnet that overlaps none that is taken; other ranges are no matter."""
    taken = [Net("198.18.0.0/28"), Net("198.18.0.32/27"), Net("10.0.0.0/8")]
    assert choose_subnet([], 3, 0) == Net("198.18.0.0/28")
    assert choose_subnet(taken, 3, 0) == Net("198.18.0.16/28")
    assert choose_subnet(taken, 3, 2) == Net("198.18.0.64/28")


def test_around_the_range_and_full() -> None:
    """The search goes around the whole range once; None when all is taken."""
    last = RANGE.num_addresses // 16 - 1
    assert choose_subnet([Net("198.19.255.240/28")], 3, last) == Net("198.18.0.0/28")
    assert choose_subnet([Net("198.16.0.0/12")], 3, 0) is None


def test_addresses() -> None:
    """Hosts are numbered behind the gateway, in IPv6 in a /64 that is as unique as the IPv4 subnet."""
    one, other = Net("198.18.0.16/28"), Net("198.18.0.32/28")
    assert [address(one, "ipv4", index) for index in (0, 1)] == ["198.18.0.18", "198.18.0.19"]
    assert address(one, "ipv6", 0) == "fd00:198:18:1::2"
    assert not companion(one).overlaps(companion(other))


# --- owners ---


def test_owner_reads_back() -> None:
    """What stands in a label is the owner again; a label of another form is nobody's."""
    me = Owner.current()
    assert Owner.parse(str(me)) == me
    assert me.pid == os.getpid()
    for text in ("", "a/b/c/d/e", "1/2/3/4", f"{me}/6"):
        assert Owner.parse(text) is None


def test_dead_for_certain() -> None:
    """Dead is a process that is gone, or was before the boot; one that cannot be seen from here is not dead."""
    me = Owner.current()
    assert not me.is_dead()
    assert replace(me, start=me.start + 1).is_dead()
    assert replace(me, boot="another").is_dead()
    assert not replace(me, machine="another", start=0).is_dead()
    assert not replace(me, namespace="another", start=0).is_dead()


def test_of_a_run_only_what_a_dead_owner_made_is_dead() -> None:
    """What carries the same run with a living owner, or one that cannot be read, is not found by those labels."""
    me = Owner.current()
    dead, other = str(replace(me, start=me.start - 1)), str(replace(me, machine="another"))
    labels = [
        {RUN_LABEL: "b", OWNER_LABEL: owner} for owner in (dead, str(me), other, "machine/boot/namespace/pid/start")
    ]
    labels += [{RUN_LABEL: "a", OWNER_LABEL: dead}, {RUN_LABEL: "a", OWNER_LABEL: dead}, {RUN_LABEL: "c"}, {}]
    assert dead_runs(labels) == [("a", dead), ("b", dead)]
    assert labels_of("b", dead) == [f"{RUN_LABEL}=b", f"{OWNER_LABEL}={dead}"]
    assert labels_of("b") == [f"{RUN_LABEL}=b"]


# --- apt sources ---

ONE_LINE = """\
# deb http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm main contrib
deb [signed-by=/k.gpg] http://security.example bookworm-security main
deb https://third-party.example/linux/debian bookworm stable
deb http://mirror.example/debian trixie main
deb-src http://mirror.example/debian bookworm main
"""
STANZAS = """\
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: https://example.org/other
Suites: stable
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
"""


def test_one_line_sources() -> None:
    """Of the old format: the release's own suites with `main`; no comments, third parties, sources, other releases."""
    assert distribution_sources([ONE_LINE], "bookworm").splitlines() == [
        ONE_LINE.splitlines()[1],
        ONE_LINE.splitlines()[2],
    ]


def test_stanza_sources() -> None:
    """Of deb822: the stanzas of the release's own suites that are enabled; they win over one-line entries."""
    found = distribution_sources([ONE_LINE, STANZAS], "bookworm")
    assert found == STANZAS.split("\n\n")[0] + "\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [("VERSION_CODENAME=bookworm\n", "bookworm"), ('ID=x\nVERSION_CODENAME="noble"\n', "noble"), ("ID=arch\n", None)],
)
def test_codename(text: str, name: str | None) -> None:
    """os-release names the release, or does not."""
    assert codename(text) == name


# --- compose ---


def shape(*names: str, family: str = "ipv4") -> LabShape:
    """A lab of these hosts and the sniffer."""
    return LabShape("run-1", "hola", family, tuple(LabHost(name, {}) for name in (*names, "sniffer")))


def made(*names: str, family: str = "ipv4") -> dict[str, Any]:
    """The override of such a lab."""
    return override(shape(*names, family=family), Net("198.18.0.16/28"), "owner", (6, 1))


def test_override_gives_each_host_its_place() -> None:
    """Every host has an address in order, the profile's sysctls, and labels that say whose it is."""
    services = made("server", "client")["services"]
    assert [services[name]["networks"]["wire"]["ipv4_address"] for name in ("server", "client", "sniffer")] == [
        "198.18.0.18",
        "198.18.0.19",
        "198.18.0.20",
    ]
    for name in ("server", "client", "sniffer", "hub"):
        assert services[name]["labels"] == {RUN_LABEL: "run-1", OWNER_LABEL: "owner", "testbed.scenario": "hola"}
    assert services["client"]["sysctls"]["net.ipv4.tcp_syn_retries"] == "6"
    assert "extends" not in services["client"]


def test_override_of_other_hosts_extends_the_client() -> None:
    """A host that compose.yaml does not have is made like its client, so it is as hardened."""
    services = made("server", "client", "client-2")["services"]
    assert services["client-2"]["extends"] == {"file": str(compose_file()), "service": "client"}


def test_override_says_all_of_the_network() -> None:
    """docker-compose 1.29 takes the override's network for the whole: what compose.yaml says of it is said again."""
    network = made("server", "client")["networks"]["wire"]
    base = yaml.safe_load(compose_file().read_text())["networks"]["wire"]
    assert set(base) <= set(network)
    assert (network["driver"], network["internal"]) == (base["driver"], base["internal"])
    assert network["driver_opts"] == {"com.docker.network.bridge.name": bridge_name("run-1")}
    assert set(network["driver_opts"]) == set(base["driver_opts"])
    assert network["ipam"] == {"config": [{"subnet": "198.18.0.16/28"}]}


def test_override_for_ipv6() -> None:
    """IPv6 labs have a second subnet, and addresses in it."""
    told = made("server", "client", family="ipv6")
    assert told["networks"]["wire"]["enable_ipv6"] is True
    assert {"subnet": "fd00:198:18:1::/64"} in told["networks"]["wire"]["ipam"]["config"]
    assert told["services"]["server"]["networks"]["wire"] == {"ipv6_address": "fd00:198:18:1::2"}


def test_up_command() -> None:
    """One command, a list, brings up the hosts and the hub under the run's id as project."""
    command = up_command(["docker", "compose"], "run-1", Path("lab.yaml"), ["server", "client", "sniffer"])
    assert command[:4] == ["docker", "compose", "-p", "run-1"]
    assert command[-6:] == ["up", "-d", "server", "client", "sniffer", "hub"]


def test_bridge_name_is_short_and_its_own() -> None:
    """An interface's name has at most 15 characters (IFNAMSIZ less one); two runs have two."""
    names = {bridge_name(f"20260101-000000-abcdef-a-very-long-scenario-name-{number}") for number in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) <= 15


def test_compose_file_is_hardened() -> None:
    """As compose.yaml stands: no privilege, and none of what docker-compose 1.29 does not read."""
    told = yaml.safe_load(compose_file().read_text())
    assert "name" not in told
    for service in told["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert set(service["cap_add"]) <= {"NET_ADMIN", "NET_RAW"}
        assert service["read_only"] is True
        assert not {"privileged", "container_name", "volumes", "ports", "pid", "ipc"} & set(service)
        assert {"mem_limit", "pids_limit"} <= set(service)
    assert told["networks"]["wire"]["internal"] is True


# --- the image ---


def test_tag_follows_the_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tree gives the same tag; an agent that differs by one byte, another."""
    files = images.agent_files()
    tag = images.image_tag()
    assert images.image_tag() == tag
    name = "testbed/agent/__main__.py"
    monkeypatch.setattr(images, "agent_files", lambda: {**files, name: files[name] + b"\n"})
    assert images.image_tag() != tag
    assert images.image_tag().partition(":")[0] == images.HOST


def test_agent_files_are_the_agent() -> None:
    """The image gets the agent and nothing that needs more than the standard library."""
    assert all(name == "testbed/__init__.py" or name.startswith("testbed/agent/") for name in images.agent_files())


# --- commands ---


def test_failed_command_shows_all_it_said() -> None:
    """A command's failure has the command, its exit code, and what it said."""
    with pytest.raises(CommandFailed) as caught:
        run_command(["sh", "-c", "echo oops >&2; exit 7"], remedy="do better")
    assert (caught.value.command_exit_code, caught.value.stderr) == (7, "oops\n")
    for words in ("exit code 7", "oops", "do better"):
        assert words in str(caught.value)


def test_command_that_is_not_there() -> None:
    """A program that is not installed is said so, with the remedy."""
    with pytest.raises(LabError, match="no-such-program is not installed") as caught:
        run_command(["no-such-program"], remedy="install it")
    assert caught.value.remedy == "install it"


def test_override_is_json_too() -> None:
    """The override is written as JSON, which every YAML reader takes."""
    assert json.loads(json.dumps(made("server", "client")))
