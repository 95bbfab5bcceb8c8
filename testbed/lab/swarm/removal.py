"""Taking a swarm lab down by its run's label, on every engine that answers.

The network is the swarm's and goes last, over a manager. Swarm does not let go of it while it holds a container of the
run for alive, and of an engine that has died it knows no better until that is back, or has been removed from the swarm.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.errors import LabError
from testbed.lab.contract import Say
from testbed.lab.engine import engine_errors
from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, Owner
from testbed.lab.swarm.nodes import open_engine

if TYPE_CHECKING:
    import docker as docker_module

NETWORK_TIMEOUT_S = 10.0
POLL_S = 0.1
SWARM_SCOPE = "swarm"


@dataclass(frozen=True, slots=True)
class Removed:
    """How many containers and networks were removed, and what could not be, by engine."""

    number: int
    troubles: tuple[str, ...] = ()


def remove_swarm_lab(
    engines: Mapping[str, docker_module.DockerClient], managers: Iterable[str], run_id: str
) -> Removed:
    """Remove a run's containers on all engines, then its network over the first manager that answers."""
    label = f"{RUN_LABEL}={run_id}"
    troubles: list[str] = []
    number = 0
    with ThreadPoolExecutor(max_workers=max(1, min(len(engines), 16))) as pool:
        asked = [(name, pool.submit(_remove_here, client, label)) for name, client in engines.items()]
        for name, future in asked:
            try:
                number += future.result()
            except LabError as error:
                troubles.append(f"{name}: {error.message}")
    made, says = _remove_networks({name: engines[name] for name in managers}, label)
    return Removed(number + made, (*troubles, *says))


def _remove_here(client: docker_module.DockerClient, label: str) -> int:
    """The containers on one engine, and the networks that are its own: a lab of compose has one."""
    import docker

    with engine_errors("removing containers"):
        found = [each["Id"] for each in client.api.containers(all=True, filters={"label": label})]
        for container in found:
            try:
                client.api.remove_container(container, force=True, v=True)
            except docker.errors.NotFound:
                continue
            except docker.errors.APIError as error:
                if error.status_code != 409 or "already in progress" not in str(error.explanation):
                    raise
        local = client.api.networks(filters={"label": label, "scope": "local"})
        for network in local:
            client.api.remove_network(network["Id"])
        return len(found) + len(local)


def _remove_networks(managers: Mapping[str, docker_module.DockerClient], label: str) -> tuple[int, list[str]]:
    troubles: list[str] = []
    for name, client in managers.items():
        try:
            with engine_errors("removing the overlay network"):
                found = [each["Id"] for each in client.api.networks(filters={"label": label, "scope": SWARM_SCOPE})]
                for network in found:
                    _let_go(client, network)
                return len(found), []
        except LabError as error:
            troubles.append(f"{name}: {error.message}")
    return 0, troubles


def _let_go(client: docker_module.DockerClient, network: str) -> None:
    """Remove a network, once swarm has seen that its containers are gone."""
    import docker

    deadline = time.monotonic() + NETWORK_TIMEOUT_S
    while True:
        try:
            client.api.remove_network(network)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if "in use" not in str(error.explanation) or time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)  # the swarm tells nobody when a task has gone
        else:
            return


def remove_dead_swarm_labs(words: Iterable[str], say: Say) -> Removed:
    """Remove what dead runs left on these engines; one that does not answer is told, and the others are cleaned."""
    engines: dict[str, docker_module.DockerClient] = {}
    troubles: list[str] = []
    for word in dict.fromkeys(words):
        try:
            engines[word] = open_engine(word)
        except LabError as error:
            troubles.append(str(error))
    managers, dead = [], set()
    for name, client in engines.items():
        with engine_errors(f"looking for what dead runs left on {name}"):
            if ((client.info().get("Swarm")) or {}).get("ControlAvailable"):
                managers.append(name)
            dead |= {labels[RUN_LABEL] for labels in _labels(client) if _is_dead(labels)}
    number = 0
    for run_id in sorted(dead):
        removed = remove_swarm_lab(engines, managers, run_id)
        number += removed.number
        troubles += removed.troubles
        say(f"removed what the dead run {run_id} had left")
    return Removed(number, tuple(troubles))


def _labels(client: docker_module.DockerClient) -> list[Mapping[str, Any]]:
    filters = {"label": [RUN_LABEL, OWNER_LABEL]}
    found = (*client.api.containers(all=True, filters=filters), *client.api.networks(filters=filters))
    return [each["Labels"] for each in found]


def _is_dead(labels: Mapping[str, str]) -> bool:
    owner = Owner.parse(labels.get(OWNER_LABEL, ""))
    return owner is not None and owner.is_dead()


def clean_engines(words: Iterable[str], say: Say) -> None:
    """Remove what dead runs left on these engines, and say how much. Raises LabError with what could not be removed."""
    removed = remove_dead_swarm_labs(words, say)
    say(f"removed {removed.number} containers and networks of dead runs")
    if removed.troubles:
        raise LabError("; ".join(removed.troubles), remedy="run it again once all of them answer")
