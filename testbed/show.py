"""What a run would do, as text: the commands and the requests that a plan leads to. Pure.

Addresses and the run's id are chosen when the lab comes up; examples stand for them here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from testbed.plan import LINK, SNIFFER, Plan, link_settings
from testbed.profile import profile_sysctls


def commands(plan: Plan) -> Iterator[str]:
    """The lines of `testbed show`: how the lab comes up, what each host is set to, what each agent is asked."""
    names = [*(host.name for host in plan.hosts), SNIFFER]
    addresses = {name: f"ADDRESS_OF_{name}" for name in names}
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
        yield f"# the wire on its arrival at {link.host}: engine {plan.engine} ({plan.engine_why})"
        yield f"ip tuntap add dev {LINK} mode tap"
        yield "tc qdisc add dev eth0 clsact"
        protocol = "ipv6" if plan.scenario.family == "ipv6" else "ip"
        match = f"protocol {protocol} u32 match u32 0 0"
        yield f"tc filter add dev eth0 ingress {match} action mirred egress redirect dev {LINK}"
        yield f"link {json.dumps(link_settings(link, plan, addresses))}"
    yield "# the steps that each agent plays"
    for host in plan.hosts:
        for step in host.steps:
            yield f"{host.name}: {json.dumps({key: value for key, value in step.items() if value is not None})}"
    yield "# taking down: every container and network with the label testbed.run=RUN_ID is removed"
