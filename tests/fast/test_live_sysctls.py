"""Which sysctls a lab is made with, and which are set when a run begins."""

from __future__ import annotations

from dataclasses import replace

from testbed.lab.contract import LabHost, LabShape
from testbed.lab.sysctls import later, without_later
from testbed.lab.warm import Likeness


def shape(**sysctls: str) -> LabShape:
    """Two hosts, of which the client has sysctls."""
    told = {name.replace("__", "."): value for name, value in sysctls.items()}
    return LabShape("run", "told", "ipv4", (LabHost("server", {}), LabHost("client", told)))


def test_what_an_interface_is_given_stays_with_the_lab() -> None:
    """What TCP heeds at any time is taken out; what an interface got when it was made is not."""
    lasting = "net.ipv6.conf.default.accept_dad"
    sysctls = {"net.ipv4.tcp_syn_retries": "1", lasting: "0"}
    kept = without_later(LabShape("run", "told", "ipv4", (LabHost("client", sysctls),)))
    assert [dict(host.sysctls) for host in kept.hosts] == [{lasting: "0"}]
    assert later(sysctls) == {"net.ipv4.tcp_syn_retries": "1"}


def test_labs_that_differ_in_nothing_else_are_alike() -> None:
    """Two scenarios with other TCP sysctls may use one lab; with another rp_filter they may not."""
    one, other = (shape(net__ipv4__tcp_sack=value) for value in "01")
    assert Likeness.of("netns", one) == Likeness.of("netns", other)
    assert Likeness.of("compose", one, "a") == Likeness.of("compose", other, "a") != Likeness.of("compose", other)
    assert Likeness.of("swarm", one) != Likeness.of("swarm", other)  # nobody sets them there
    one, other = (shape(net__ipv4__conf__all__rp_filter=value) for value in "01")
    assert Likeness.of("netns", one) != Likeness.of("netns", other)


def test_names_that_a_run_gives() -> None:
    """On compose hosts are called as the run does, elsewhere as they were when they came up."""
    one = shape()
    other = replace(one, hosts=tuple(replace(host, name=host.name[::-1]) for host in one.hosts))
    assert Likeness.of("compose", one) == Likeness.of("compose", other)
    assert Likeness.of("netns", one) != Likeness.of("netns", other)
