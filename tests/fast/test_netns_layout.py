"""The netns backend's pure parts: what a lab is made of, and which words a refusal becomes."""

from __future__ import annotations

import errno

import pytest

from testbed.errors import LabError
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.netns.layout import lay_out, mac
from testbed.lab.netns.refusal import SWITCHES, Switch, explain

KERNEL = (6, 8)
QUIET = "net.ipv6.conf.all.disable_ipv6"


def shape(*hosts: LabHost, family: str = "ipv4") -> LabShape:
    """A lab of these hosts."""
    return LabShape("run", "scenario", family, hosts)


def test_hub() -> None:
    """The switch is a bridge that forgets every address at once, with a port for each host."""
    switch = lay_out(shape(LabHost("a", {}), LabHost("b", {})), KERNEL).switch
    assert switch.batch == (
        "link add name hub mtu 1500 type bridge ageing_time 0 stp_state 0 mcast_snooping 0",
        "link set dev port0 master hub up",
        "link set dev port1 master hub up",
        "link set dev hub up",
    )


def test_host() -> None:
    """A host has lo and an eth0 whose peer, with another index than its own, is made in the switch's namespace."""
    host = lay_out(shape(LabHost("a", {}), LabHost("b", {})), KERNEL).hosts["b"]
    assert host.batch == (
        "link set dev lo up",
        "link add name eth0 index 2 address 02:42:c6:12:00:03 mtu 1500 type veth"
        " peer name port1 index 101 mtu 1500 netns /proc/self/fd/100",
        "address add 198.18.0.3/28 broadcast + dev eth0",
        "link set dev eth0 up",
    )


def test_ipv6_host() -> None:
    """An IPv6 address is added without duplicate address detection, beside the IPv4 one, as on compose."""
    host = lay_out(shape(LabHost("a", {}), family="ipv6"), KERNEL).hosts["a"]
    assert "address add fd00:198:18::2/64 dev eth0 nodad" in host.batch
    assert any("198.18.0.2/28" in line for line in host.batch)
    assert host.sysctls[QUIET] == "0"


def test_many_hosts_have_room() -> None:
    """A hundred hosts get a subnet that holds them, and a MAC address each."""
    layout = lay_out(shape(*(LabHost(f"h{number}", {}) for number in range(100))), KERNEL)
    assert "address add 198.18.0.101/25 broadcast + dev eth0" in layout.hosts["h99"].batch
    assert len({line.split()[7] for host in layout.hosts.values() for line in host.batch if "veth" in line}) == 100


def test_sysctls() -> None:
    """The profile is pinned, IPv6 is off on an IPv4 lab, and what a host asks for itself comes last."""
    layout = lay_out(shape(LabHost("a", {"net.ipv4.tcp_ecn": "1", QUIET: "0"}), LabHost("b", {})), KERNEL)
    assert (layout.hosts["a"].sysctls["net.ipv4.tcp_ecn"], layout.hosts["b"].sysctls["net.ipv4.tcp_ecn"]) == ("1", "2")
    assert (layout.hosts["a"].sysctls[QUIET], layout.hosts["b"].sysctls[QUIET]) == ("0", "1")


@pytest.mark.parametrize("name", ["kernel.hostname", "vm.swappiness", "network.x"])
def test_sysctls_of_the_machine_are_refused(name: str) -> None:
    """Root's run must not change the whole machine: only sysctls of a network namespace are set."""
    with pytest.raises(LabError, match=f"a: the sysctl {name} is the whole machine's"):
        lay_out(shape(LabHost("a", {name: "1"})), KERNEL)


def test_mac() -> None:
    """MAC addresses are those that Docker gives."""
    assert mac("198.18.0.2") == "02:42:c6:12:00:02"


@pytest.mark.parametrize(("what", "switch"), [(what, switch) for what in SWITCHES for switch in SWITCHES[what]])
def test_switch_is_named(what: str, switch: Switch) -> None:
    """Each switch that forbids is named by its sysctl, with the command that turns it."""
    error = explain(what, errno.EPERM, "Operation not permitted", {switch.path: f"{switch.forbids}\n"}.get)
    name = switch.path.removeprefix("/proc/sys/").replace("/", ".")
    assert error.message.startswith("this machine does not let us make ")
    assert error.message.endswith(f": {name} is {switch.forbids}")
    assert f"`sudo sysctl {name}=" in error.remedy
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("what", "number", "says", "status", "message", "remedy"),
    [
        ("user", errno.EPERM, "no", "Seccomp:\t2", "a seccomp filter forbids it", "--privileged"),
        ("user", errno.EPERM, "not permitted", "Seccomp:\t0", "not permitted", "run it as root"),
        ("user", errno.EINVAL, "Invalid argument", "", "its kernel has none", "network namespaces"),
        ("namespaces", errno.ENOSYS, "not implemented", "", "its kernel has none", "network namespaces"),
        ("namespaces", errno.ENOSPC, "No space left on device", "", "No space left on device", "run it as root"),
        ("ip", errno.ENOENT, "No such file", "", "`ip` is not installed", "install iproute2"),
        ("batch", 0, 'a: Error: Unknown device type "bridge".', "", "Unknown device type", "a Linux kernel with"),
        ("batch", 0, "a: RTNETLINK answers: Operation not supported", "", "not supported", "a Linux kernel with"),
        ("batch", 0, "a: RTNETLINK answers: File exists", "", "the network of a: RTNETLINK", ""),
        (
            "sysctl",
            errno.EROFS,
            "a: net.x = 1: Read-only",
            "",
            "a: net.x = 1 cannot be set: /proc/sys is",
            "--privileged",
        ),
        ("sysctl", errno.ENOENT, "a: net.x = 1: No such", "", "no sysctl of that name", "a Linux kernel with"),
        ("sysctl", errno.EINVAL, "a: net.x = y: Invalid argument", "", "net.x = y cannot be set: Invalid", ""),
    ],
)
def test_words(what: str, number: int, says: str, status: str, message: str, remedy: str) -> None:
    """Every refusal says what cannot be done and why, and what to do where something can be."""
    error = explain(what, number, says, {"/proc/self/status": f"Name:\tx\n{status}\nThreads:\t1\n"}.get)
    assert message in error.message
    assert remedy in error.remedy
    assert bool(error.remedy) == bool(remedy)
    assert "\n" not in error.message
