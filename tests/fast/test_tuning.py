"""The sysctls of a lab that serves runs which want different ones: what is set, what is put back, and who does it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any, cast

import pytest
from test_run_fake_lab import FakeLab

from testbed.errors import LabError
from testbed.lab.agents import Agents
from testbed.lab.compose import ComposeLab
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.sysctls import ByHost, Held, later, without_later
from testbed.lab.tuning import Tunable, fit, set_in_container, tune
from testbed.stop import Stop

ECN, RETRIES, ROUTE = "net.ipv4.tcp_ecn", "net.ipv4.tcp_syn_retries", "net.ipv4.route.mtu_expires"


class Hosts:
    """A lab of two hosts whose sysctls the engine sets; `stuck`: one that it says to have set, and has not."""

    backend = "compose"

    def __init__(self, stuck: str = "") -> None:
        self.held = Held({"server": {}, "client": {}})
        self.kernel = {host: {ECN: "2", RETRIES: "6"} for host in ("server", "client")}
        self.stuck = stuck
        self.set: list[ByHost] = []

    def lab_file(self, shape: LabShape) -> bytes:
        """Nobody asks for it here."""
        return b""

    def rename(self, names: Mapping[str, str]) -> None:
        """Nor for this."""

    def set_sysctls(self, sysctls: ByHost) -> None:
        """What the engine does."""
        self.set.append(sysctls)
        for host, values in sysctls.items():
            self.kernel[host].update({name: value for name, value in values.items() if name != self.stuck})


class Asked:
    """The agents of a lab, as far as they are asked here."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.asked: list[tuple[str, str, dict[str, Any]]] = []

    def ask(self, host: str, do: str, **told: Any) -> int:
        """A request."""
        self.asked.append((host, do, told))
        return len(self.asked) - 1

    def wait(self, tickets: list[int]) -> list[dict[str, Any]]:
        """Its answers."""
        return [self._answer(*self.asked[ticket]) for ticket in tickets]

    def _answer(self, host: str, do: str, told: dict[str, Any]) -> dict[str, Any]:
        return {"sysctls": {name: self.lab.kernel[host].get(name) for name in told["sysctls"]}} if do == "hello" else {}


def tuned(lab: Any, *runs: ByHost) -> Asked:
    """Runs one after the other in a lab."""
    agents = Asked(lab)
    for wanted in runs:
        tune(cast(Any, agents), wanted)
    return agents


def test_only_what_differs_is_set() -> None:
    """On the hosts where it does; the next run that wants the same costs nothing."""
    lab = Hosts()
    wanted = {"server": {}, "client": {ECN: "1"}}
    tuned(lab, wanted, wanted)
    assert lab.set == [{"client": {ECN: "1"}}]


def test_what_the_next_run_does_not_want_is_put_back() -> None:
    """Together with what it wants, to what it was before any run."""
    lab = Hosts()
    tuned(lab, {"client": {ECN: "1"}}, {"client": {ECN: "0"}}, {"client": {RETRIES: "1"}}, {})
    assert lab.set == [
        {"client": {ECN: "1"}},
        {"client": {ECN: "0"}},
        {"client": {ECN: "2", RETRIES: "1"}},
        {"client": {RETRIES: "6"}},
    ]
    assert lab.kernel["client"] == {ECN: "2", RETRIES: "6"}


def test_what_is_as_wanted_is_not_set() -> None:
    """It is read before."""
    lab = Hosts()
    agents = tuned(lab, {"server": {ECN: "2"}})
    assert (lab.set, [do for _, do, _ in agents.asked]) == ([], ["hello"])


def test_what_cannot_be_put_back_is_told() -> None:
    """The run is not played; the error names host and sysctl, and says what to do."""
    lab = Hosts()
    tuned(lab, {"server": {ECN: "1"}})
    lab.stuck = ECN
    with pytest.raises(LabError, match=r"server has net\.ipv4\.tcp_ecn = 1, and not 2 as before") as caught:
        tuned(lab, {})
    assert "--fresh" in caught.value.remedy


def test_a_sysctl_that_the_kernel_lacks_is_asked_of_the_engine() -> None:
    """Which says so."""
    lab = Hosts()
    tuned(lab, {"server": {"net.ipv4.tcp_new": "1"}})
    assert lab.set == [{"server": {"net.ipv4.tcp_new": "1"}}]


def test_a_lab_that_was_made_with_them_has_them() -> None:
    """As that of a single run: nobody is asked for anything."""
    lab = Hosts()
    lab.held = Held({"server": {}, "client": {ECN: "1"}})
    agents = tuned(lab, {"server": {}, "client": {ECN: "1"}})
    assert (lab.set, agents.asked) == ([], [])


def test_on_netns_the_agents_set_them() -> None:
    """And put them back at their reset."""

    class Netns:
        backend = "netns"

    agents = tuned(Netns(), {"server": {}, "client": {ECN: "1"}})
    assert agents.asked == [("client", "sysctls.set", {"values": {ECN: "1"}})]


def test_a_lab_that_sets_none() -> None:
    """Its hosts came up with theirs."""

    class Other:
        backend = "swarm"

    assert not isinstance(Other(), Tunable)
    assert tuned(Other(), {"client": {ECN: "1"}}).asked == []


def test_which_ones_can_wait() -> None:
    """What an interface was given when it came into being does not follow later."""
    host = LabHost("server", {ECN: "1", ROUTE: "3"})
    shape = LabShape("run", "story", "ipv4", (host,))
    assert later(host.sysctls) == {ECN: "1"}
    assert without_later(shape).hosts[0].sysctls == {ROUTE: "3"}


def test_a_lab_file_tells_what_the_run_has() -> None:
    """Hosts are called as this run's, in the order of their addresses, with its sysctls; the lab is the other's."""
    lab = ComposeLab(cast(Any, None), "first", {}, held=Held({"server": {}, "client": {}, "sniffer": {}}))
    lab._made_as = LabShape("first", "story", "ipv4", ()), IPv4Network("198.18.0.0/28"), "owner", (6, 1)
    agents = Agents(lab, Stop())
    hosts = (LabHost("client", {ECN: "1"}), LabHost("scanner", {RETRIES: "1"}), LabHost("sniffer", {}))
    told = fit(agents, LabShape("second", "story", "ipv4", hosts))
    first, _, content = told.partition(b"\n")
    assert first == b"# compose override of this run, made by testbed"
    services = json.loads(content)["services"]
    addresses = {name: each["networks"]["wire"]["ipv4_address"] for name, each in services.items() if name != "hub"}
    assert addresses == {"client": "198.18.0.2", "scanner": "198.18.0.3", "sniffer": "198.18.0.4"}
    assert [services[name]["sysctls"].get(ECN) for name in addresses] == ["1", "2", "2"]
    assert [services[name]["sysctls"].get(RETRIES) for name in addresses] == ["6", "1", "6"]
    assert {each["labels"]["testbed.run"] for each in services.values()} == {"first"}
    assert lab.held.hosts == ("client", "scanner", "sniffer")


def test_hosts_are_called_otherwise() -> None:
    """What an agent says is heard under the name that its host has now, though two have changed theirs at once."""
    lab, heard = FakeLab(hosts=("server", "client", "late")), list[tuple[str, str]]()
    agents = Agents(lab, Stop())
    agents.open(lab.hosts)
    agents.rename({"server": "server", "client": "flooder", "late": "client"})
    agents.serve(lambda host, message: heard.append((host, str(message["event"]))))
    agents.wait([agents.ask(host, "play") for host in agents.hosts])
    agents.run_until(lambda: len(heard) == 3, 20.0)
    assert agents.hosts == ("server", "flooder", "client")
    assert [host for host, do, _ in lab.asked if do == "play"] == ["server", "client", "late"]
    assert sorted(heard) == [("client", "played"), ("flooder", "played"), ("server", "played")]
    agents.rename({"flooder": "scanner"})
    (answer,) = agents.wait([agents.ask("scanner", "hello")])
    assert answer["kernel"]
    agents.close()


class Api:
    """An engine that starts nothing."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.made: dict[str, Any] = {}

    def create_host_config(self, **told: Any) -> dict[str, Any]:
        return told

    def create_container(self, image: str, **told: Any) -> dict[str, str]:
        self.made = {"image": image, **told}
        return {"Id": "helper"}

    def start(self, container: str) -> None:
        import docker

        self.done.append(f"start {container}")
        raise docker.errors.APIError("500", explanation="no such sysctl")

    def remove_container(self, container: str, **told: Any) -> None:
        self.done.append(f"remove {container}")


class Client:
    """That engine."""

    def __init__(self) -> None:
        self.api = Api()


def test_the_container_that_sets_them_can_do_nothing_else() -> None:
    """No capability, no writable file, no program but true(1); it goes whatever happens; the error has a remedy."""
    client = Client()
    with pytest.raises(LabError, match=rf"setting {ECN}: .*no such sysctl") as caught:
        set_in_container(cast(Any, client), "host", "image", {"testbed.run": "run"}, {ECN: "1"})
    assert "--fresh" in caught.value.remedy
    assert client.api.done == ["start helper", "remove helper"]
    config = client.api.made["host_config"]
    assert config["network_mode"] == "container:host"
    assert config["sysctls"] == {ECN: "1"}
    assert config["cap_drop"] == ["ALL"]
    assert config["read_only"] is True
    assert config["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "binds", "devices"} & config.keys()
    assert client.api.made["entrypoint"] == ["true"]
    assert client.api.made["labels"] == {"testbed.run": "run"}
