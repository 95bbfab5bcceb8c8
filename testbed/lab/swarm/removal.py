"""Taking a swarm lab down by its run's label, on every engine that answers.

The network is the swarm's and goes last, over a manager. Swarm does not let go of it while it holds a container of the
run for alive, and of an engine that has died it knows no better until that is back, or has been removed from the swarm.
Each engine that had a container on it has a copy, which goes a little later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.errors import LabError
from testbed.lab.compose import remove_lab
from testbed.lab.contract import Say
from testbed.lab.engine import engine_errors
from testbed.lab.owner import OWNER_LABEL, RUN_LABEL, dead_runs, labels_of
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
    engines: Mapping[str, docker_module.DockerClient], managers: Iterable[str], run_id: str, owner: str = ""
) -> Removed:
    """Remove what a run has on each engine, then its network over the first manager that answers."""
    troubles: list[str] = []
    number = 0
    with ThreadPoolExecutor(max_workers=max(1, min(len(engines), 16))) as pool:
        asked = [(name, pool.submit(remove_lab, client, run_id, owner)) for name, client in engines.items()]
        for name, future in asked:
            try:
                number += future.result()
            except LabError as error:
                troubles.append(f"{name}: {error.message}")
    made, says = _remove_networks(engines, managers, labels_of(run_id, owner))
    return Removed(number + made, (*troubles, *says))


def _remove_networks(
    engines: Mapping[str, docker_module.DockerClient], managers: Iterable[str], labels: list[str]
) -> tuple[int, list[str]]:
    """How many networks went, over the first manager that answers, and what went wrong before or still stands."""
    deadline = time.monotonic() + NETWORK_TIMEOUT_S
    filters = {"label": labels, "scope": SWARM_SCOPE}
    troubles: list[str] = []
    for name in managers:
        client = engines[name]
        try:
            with engine_errors("removing the overlay network"):
                _await_leader(client, deadline)
                found = [each["Id"] for each in client.api.networks(filters=filters)]
                for network in found:
                    _let_go(client, network, deadline)
        except LabError as error:
            troubles.append(f"{name}: {error.message}")
        else:
            return len(found), _await_copies(engines, filters, deadline) if found else []
    return 0, troubles


def _await_leader(client: docker_module.DockerClient, deadline: float) -> None:
    """Wait until the swarm has a leader: without one its networks are missing in a list, and no error says so."""
    _in_time(client.api.inspect_swarm, "", deadline)


def _let_go(client: docker_module.DockerClient, network: str, deadline: float) -> None:
    """Remove a network, once swarm has seen that its containers are gone; it tells nobody when it has."""
    import docker

    with suppress(docker.errors.NotFound):
        _in_time(lambda: client.api.remove_network(network), "in use", deadline)


def _in_time(ask: Callable[[], object], passes: str, deadline: float) -> None:
    """Ask again while the engine answers with such an error, until the deadline."""
    import docker

    while True:
        try:
            ask()
        except docker.errors.APIError as error:
            if passes not in str(error.explanation) or time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
        else:
            return


def _await_copies(
    engines: Mapping[str, docker_module.DockerClient], filters: Mapping[str, object], deadline: float
) -> list[str]:
    """Wait until each engine has dropped its copy of what the swarm has removed; says where one stays."""
    staying = [name for name, client in engines.items() if _has_copy(client, filters)]
    while staying and time.monotonic() <= deadline:
        time.sleep(POLL_S)
        staying = [name for name in staying if _has_copy(engines[name], filters)]
    return [f"{name}: a copy of the removed network stays until this engine is started again" for name in staying]


def _has_copy(client: docker_module.DockerClient, filters: Mapping[str, object]) -> bool:
    """Not of an engine that does not answer: why, is told where its containers were to go."""
    try:
        with engine_errors("looking for its copy of the network"):
            return bool(client.api.networks(filters=dict(filters)))
    except LabError:
        return False


def remove_dead_swarm_labs(words: Iterable[str], say: Say) -> Removed:
    """Remove what dead runs left on these engines; one that does not answer is told, and the others are cleaned."""
    engines: dict[str, docker_module.DockerClient] = {}
    troubles: list[str] = []
    for word in dict.fromkeys(words):
        try:
            engines[word] = open_engine(word)
        except LabError as error:
            troubles.append(str(error))
    managers, found = [], list[Mapping[str, str]]()
    for name, client in engines.items():
        with engine_errors(f"looking for what dead runs left on {name}"):
            if ((client.info().get("Swarm")) or {}).get("ControlAvailable"):
                managers.append(name)
            found += _labels(client)
    number = 0
    for run_id, owner in dead_runs(found):
        removed = remove_swarm_lab(engines, managers, run_id, owner)
        number += removed.number
        troubles += removed.troubles
        say(f"removed what the dead run {run_id} had left")
    return Removed(number, tuple(troubles))


def _labels(client: docker_module.DockerClient) -> list[Mapping[str, str]]:
    filters = {"label": [RUN_LABEL, OWNER_LABEL]}
    found = (*client.api.containers(all=True, filters=filters), *client.api.networks(filters=filters))
    return [each["Labels"] for each in found]


def clean_engines(words: Iterable[str], say: Say) -> None:
    """Remove what dead runs left on these engines, and say how much. Raises LabError with what could not be removed."""
    removed = remove_dead_swarm_labs(words, say)
    say(f"removed {removed.number} containers and networks of dead runs")
    if removed.troubles:
        raise LabError("; ".join(removed.troubles), remedy="run it again once all of them answer")
