"""What a run would do, as text: the commands and the requests that a plan leads to. Pure.

Addresses, the run's id and the classes of a qdisc are chosen when the lab comes up: words in capitals stand for them.
`--engine auto` is decided then, too: where it could be either, both are shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from testbed.agent.impairments import Impairment, netem_arguments
from testbed.links import LinkPlan
from testbed.plan import LINK, SNIFFER, Plan, link_settings
from testbed.profile import profile_sysctls
from testbed.scenario.faults import Fault, FaultFields
from testbed.scenario.units import format_duration


def commands(plan: Plan) -> Iterator[str]:
    """The lines of `testbed show`: how the lab comes up, what each host is set to, what each agent is asked."""
    names = [*(host.name for host in plan.hosts), SNIFFER]
    yield "# the lab (docker compose, or docker-compose 1.29)"
    yield f"docker compose -p RUN_ID -f compose.yaml -f lab.yaml up -d {' '.join(names)} hub"
    yield "ip link set dev BRIDGE type bridge ageing_time 0   # the hub service, once"
    yield "# on every host"
    for name, value in {**profile_sysctls(plan.scenario.family, (99, 0))}.items():
        yield f"sysctl {name}={value!r}"
    for host in plan.hosts:
        for name, value in host.sysctls.items():
            yield f"sysctl {name}={value!r}   # {host.name}"
    yield "ethtool -K eth0 tso off gso off gro off tx off rx off"
    yield "ip neigh replace ADDRESS lladdr MAC dev eth0 nud permanent   # for every other host"
    for link in plan.links:
        yield from _link(link, plan)
    for host in plan.hosts:
        if host.silent:
            yield "tc qdisc add dev eth0 clsact   # where no wire has put it there"
            yield f"tc filter add dev eth0 egress bpf da bytecode NO_RST_NO_UNREACHABLE   # {host.name} is silent"
    if plan.switches:
        yield "# interfaces on the timeline"
    for switch in plan.switches:
        yield f"ip link set dev eth0 {'up' if switch.up else 'down'}   # {switch.host}, {_after(switch.at_ns)}"
    yield "# the steps that each agent plays"
    for host in plan.hosts:
        for step in host.steps:
            yield f"{host.name}: {json.dumps({key: value for key, value in step.items() if value is not None})}"
    yield "# taking down: every container and network with the label testbed.run=RUN_ID is removed"


def _link(link: LinkPlan, plan: Plan) -> Iterator[str]:
    engines = _engines(plan)
    yield f"# the wire on its arrival at {link.host}: engine {plan.engine}"
    for index, fault in link.faults:
        yield f"# fault {index}: {show_fault(fault)}"
    yield "tc qdisc add dev eth0 clsact"
    protocol = "ipv6" if plan.scenario.family == "ipv6" else "ip"
    match = f"protocol {protocol} u32 match u32 0 0"
    for engine in engines:
        if len(engines) > 1:
            yield _EITHER[engine]
        yield from _netem(link) if engine == "netem" else _portable(link, plan)
    yield f"tc filter add dev eth0 ingress {match} action mirred egress redirect dev {LINK}"


_EITHER = {"netem": "# where the kernel of every host has netem:", "portable": "# and where not:"}


def _engines(plan: Plan) -> tuple[str, ...]:
    """Which engines the run may take (plan.choose_engine)."""
    if plan.engine != "auto":
        return (plan.engine,)
    return ("portable",) if plan.scenario.faults else ("netem", "portable")


def _netem(link: LinkPlan) -> Iterator[str]:
    yield f"ip link add {LINK} type ifb"
    for number, phase in enumerate(link.phases):
        verb = "change" if number else "add"
        when = f", {_after(phase.at_ns)}" if number else ""
        for source in link.sources:
            course = link.course(source, number)
            yield f"{_qdisc(verb, course.impairment)}   # from {source}{when}"
            for port, impairment in course.ports.items():
                yield f"{_qdisc(verb, impairment)}   # from {source}, port {port}{when}"


def _qdisc(verb: str, impairment: Impairment) -> str:
    return f"tc qdisc {verb} dev {LINK} parent CLASS netem {' '.join(netem_arguments(impairment))}"


def _portable(link: LinkPlan, plan: Plan) -> Iterator[str]:
    addresses = {host.name: f"ADDRESS_OF_{host.name}" for host in plan.hosts}
    yield f"ip tuntap add dev {LINK} mode tap"
    yield f"link {json.dumps(link_settings(link, plan, addresses, 'portable'))}"


def _after(at_ns: int) -> str:
    return f"{format_duration(at_ns)} after the first step"


# ---------------------------------------------------------------- faults in words


def show_fault(fault: Fault) -> str:
    """A fault in words: which packets, and what happens to them."""
    where = "of each connection" if fault.per == "connection" else "of the scenario"
    which = f"every {fault.kind.value}"
    if fault.every is not None:
        which = f"one {fault.kind.value} in {fault.every} {where}"
    elif not isinstance(fault.nth, str):
        which = f"{fault.kind.value} {fault.nth.show()} {where}"
    held = "" if fault.contains is None else f" that holds {fault.contains.text or fault.contains.hex!r}"
    return f"{which} from {fault.from_}{_AGAIN[fault.retransmissions]}{held} {_DEEDS[fault.action](fault)}"


_AGAIN = {"too": "", "never": " (sent for the first time)", "only": " (sent again)"}


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _later(fault: Fault) -> str:
    return f", {format_duration(fault.by)} later" if fault.by else ""


def _goes(fault: Fault) -> str:
    return "and goes on" if fault.told("passes") else "and goes no further"


def _rewritten(fault: Fault) -> str:
    fields: FaultFields | None = fault.told("set")
    said = [f"loses {', '.join(fault.strip)}"] if fault.strip else []
    said += [f"gets {name} {value}" for name, value in fields or () if value is not None]
    return ", ".join(said)


def _unreachable(fault: Fault) -> str:
    mtu = "" if fault.mtu is None else f", MTU {fault.mtu}"
    return f"is answered by a forged ICMP unreachable ({fault.unreachable}{mtu}) {_goes(fault)}"


_DEEDS: dict[str, Callable[[Fault], str]] = {
    "drop": lambda fault: "is lost",
    "delay": lambda fault: f"is held back for {format_duration(fault.told('by'))}",
    "duplicate": lambda fault: f"arrives {_many(fault.told('copies'), 'time')} more{_later(fault)}",
    "corrupt": lambda fault: f"gets {_many(fault.told('bits'), 'bit')} flipped",
    "rewrite": _rewritten,
    "reset": lambda fault: f"brings a forged RST to {_whom(fault)} {_goes(fault)}",
    "icmp": _unreachable,
}


def _whom(fault: Fault) -> str:
    return "both ends" if fault.told("to") == "both" else f"its {fault.told('to')}"
