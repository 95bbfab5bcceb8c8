"""Gives the hosts of a lab that is up the sysctls of a run: set by the agent, or by the engine.

In a container /proc/sys is read-only, and stays so. The engine sets sysctls of a network namespace for a container that
it starts: one that joins the network of a host is started with them, does nothing, and is removed again
(docs/decisions/0015-sysctls-of-a-running-host.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from testbed.errors import LabError
from testbed.lab.agents import Agents
from testbed.lab.contract import LabShape
from testbed.lab.engine import engine_errors
from testbed.lab.sysctls import ByHost, Held, Sysctls

if TYPE_CHECKING:
    import docker as docker_module

HOST_CONFIG: Mapping[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "read_only": True,
    "log_config": {"Type": "none", "Config": {}},
    "mem_limit": "64m",
    "pids_limit": 16,
}
OWN_LABS = "`--fresh` gives every run a lab of its own, which is made with its sysctls"


@runtime_checkable
class Tunable(Protocol):
    """A lab that can be made to fit a run while it is up."""

    held: Held

    def lab_file(self, shape: LabShape) -> bytes:
        """The lab.yaml of a run that it serves."""

    def rename(self, names: Mapping[str, str]) -> None:
        """Call hosts by other names from now on."""

    def set_sysctls(self, sysctls: ByHost) -> None:
        """Set sysctls of some hosts. Raises LabError."""


def fit(agents: Agents, shape: LabShape) -> bytes:
    """Call the hosts of a lab as a run does, which has as many; gives the run's lab.yaml."""
    lab = agents.lab
    assert isinstance(lab, Tunable)
    names = {now: host.name for now, host in zip(lab.held.hosts, shape.hosts, strict=True)}
    lab.rename(names)
    agents.rename(names)
    return lab.lab_file(shape)


def tune(agents: Agents, wanted: ByHost) -> None:
    """Set what is wanted by host, of the sysctls that can be set when a run begins. Raises LabError."""
    lab = agents.lab
    if lab.backend == "netns":  # whose agents put back, at a reset, what they have set
        agents.wait([agents.ask(host, "sysctls.set", values=dict(values)) for host, values in wanted.items() if values])
    elif isinstance(lab, Tunable):
        _tune(agents, lab, wanted)


def _tune(agents: Agents, lab: Tunable, wanted: ByHost) -> None:
    held = lab.held
    for host, values in _read(agents, held.unknown(wanted)).items():
        held.learn(host, values)
    if not (changes := held.changes(wanted)):
        return
    lab.set_sysctls(changes)
    held.note(changes)
    back = {host: [name for name in values if name not in wanted.get(host, {})] for host, values in changes.items()}
    for host, values in _read(agents, {host: names for host, names in back.items() if names}).items():
        for name, value in values.items():
            if value != changes[host][name]:
                raise LabError(f"{host} has {name} = {value}, and not {changes[host][name]} as before", remedy=OWN_LABS)


def _read(agents: Agents, names: Mapping[str, list[str]]) -> dict[str, Mapping[str, str | None]]:
    answers = agents.wait([agents.ask(host, "hello", sysctls=asked) for host, asked in names.items()])
    return {host: answer.get("sysctls") or {} for host, answer in zip(names, answers, strict=True)}


def set_in_container(
    client: docker_module.DockerClient, container: str, image: str, labels: Sysctls, sysctls: Sysctls
) -> None:
    """Set sysctls in the network namespace of a container that runs. Raises LabError."""
    api = client.api
    try:
        with engine_errors(f"setting {', '.join(sysctls)}"):
            made = api.create_container(
                image,
                entrypoint=["true"],
                labels=dict(labels),
                host_config=api.create_host_config(
                    network_mode=f"container:{container}", sysctls=dict(sysctls), **HOST_CONFIG
                ),
            )["Id"]
            try:
                api.start(made)
            finally:
                api.remove_container(made, force=True, v=True)
    except LabError as error:
        raise LabError(error.message, remedy=OWN_LABS) from error
