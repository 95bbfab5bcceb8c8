"""The engines of a lab, each asked once what it is: connected to, in one swarm, one of them a manager."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed.errors import LabError
from testbed.lab.engine import engine_errors, new_client
from testbed.lab.swarm.address import EngineAddress, find_engine
from testbed.lab.swarm.forward import Forward

if TYPE_CHECKING:
    import docker as docker_module

TIMEOUT_S = 60
PROBE_TIMEOUT_S = 5
WEB_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LOCK = threading.Lock()
_CLIENTS: dict[EngineAddress, docker_module.DockerClient] = {}
_FORWARDS: dict[EngineAddress, Forward] = {}


@dataclass(frozen=True, slots=True)
class Node:
    """An engine of a swarm: the word that named it, its client, and what it said of itself."""

    name: str
    client: docker_module.DockerClient
    node_id: str
    is_manager: bool
    version: str
    kernel: str
    address: str  # on the underlay


def open_engine(word: str) -> docker_module.DockerClient:
    """A client of the engine that a word means, after it has answered; one for all runs of a process.

    Raises UsageError for a word that means none, LabError where none answers.
    """
    import docker
    import requests

    engine = find_engine(word)
    with _LOCK:
        if engine not in _CLIENTS:
            _CLIENTS[engine] = _client(engine)
        client = _CLIENTS[engine]
    try:
        client.api.get(f"{client.api.base_url}/_ping", timeout=PROBE_TIMEOUT_S)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        forget_engine(word)
        raise LabError(
            f"no Docker engine answers at {engine.url} ({engine.name}): {error}".splitlines()[0],
            remedy=f"`docker -H {engine.url} version` must answer; start the engine there, or mend the way to it",
        ) from error
    return client


def answers(word: str) -> bool:
    """Whether an engine answers now."""
    try:
        open_engine(word)
    except LabError:
        return False
    return True


def docker_environment(word: str) -> dict[str, str]:
    """What makes the docker command speak with an engine that is open, over the way that stands already."""
    engine = find_engine(word)
    with _LOCK:
        forward = _FORWARDS.get(engine)
    if forward is not None:
        return {"DOCKER_HOST": f"unix://{forward.socket}", "DOCKER_CONTEXT": ""}
    found = {"DOCKER_HOST": engine.url, "DOCKER_CONTEXT": ""}
    if engine.tls is not None:
        folder = str(Path(engine.tls.authority or engine.tls.certificate).parent)
        found |= {"DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY": "1" if engine.tls.verify else ""}
        found |= dict.fromkeys(WEB_AUTHORITIES, "")  # which docker-compose 1.29 would believe, and not the engine's own
    return found


def forget_engine(word: str) -> None:
    """Close what leads to an engine; the next that wants it connects anew."""
    engine = find_engine(word)
    with _LOCK:
        client, forward = _CLIENTS.pop(engine, None), _FORWARDS.pop(engine, None)
    if client is not None:
        client.close()
    if forward is not None:
        forward.close()


def _client(engine: EngineAddress) -> docker_module.DockerClient:
    import docker
    import requests
    from docker.tls import TLSConfig

    url = engine.url
    if url.startswith("ssh://"):
        _FORWARDS[engine] = forward = Forward(url)
        url = f"unix://{forward.socket}"
    tls: Any = False
    try:
        if engine.tls is not None:
            pair = (engine.tls.certificate, engine.tls.key) if engine.tls.certificate else None
            tls = TLSConfig(client_cert=pair, ca_cert=engine.tls.authority or None, verify=engine.tls.verify)
        return new_client(url, TIMEOUT_S, tls)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        if (stale := _FORWARDS.pop(engine, None)) is not None:
            stale.close()
        raise LabError(
            f"no Docker engine answers at {engine.url} ({engine.name}): {error}".splitlines()[0],
            remedy=f"`docker -H {engine.url} version` must answer; start the engine there, or mend the way to it",
        ) from error


def find_nodes(words: Iterable[str]) -> dict[str, Node]:
    """The engines by the words that named them, all in one swarm. Raises LabError with what to run where not."""
    names = tuple(dict.fromkeys(words))
    with ThreadPoolExecutor(max_workers=max(1, min(len(names), 16))) as pool:
        nodes = dict(zip(names, pool.map(_look, names), strict=True))
    manager = manager_of(nodes)
    with engine_errors(f"asking {manager.name} who is in the swarm"):
        members = {str(member["ID"]): member for member in manager.client.api.nodes()}
    for node in nodes.values():
        if node.node_id not in members:
            raise LabError(
                f"{node.name} is in another swarm than {manager.name}",
                remedy=f"on {node.name}: `docker swarm leave --force`, then join: {join_words(manager)}",
            )
        if (state := members[node.node_id]["Status"]["State"]) != "ready":
            raise LabError(f"the swarm holds {node.name} for {state}", remedy=f"`docker node ls` on {manager.name}")
    return nodes


def manager_of(nodes: Mapping[str, Node]) -> Node:
    """The first engine that manages the swarm. Raises LabError where none does."""
    for node in nodes.values():
        if node.is_manager:
            return node
    raise LabError(
        f"none of the engines {', '.join(nodes)} manages its swarm, and only a manager makes networks",
        remedy="`docker node promote NODE` on a manager, or place a host on a manager",
    )


def join_words(manager: Node) -> str:
    """What to run on an engine that shall join."""
    return f"`docker swarm join --token $(docker swarm join-token -q worker, on {manager.name}) {manager.address}:2377`"


def _look(word: str) -> Node:
    client = open_engine(word)
    with engine_errors(f"asking the engine {word} what it is"):
        about: Mapping[str, Any] = client.api.info()
    swarm = about.get("Swarm") or {}
    if swarm.get("LocalNodeState") != "active":
        raise LabError(
            f"the engine {word} is in no swarm ({swarm.get('LocalNodeState') or 'inactive'})",
            remedy=f"on the first engine `docker swarm init --advertise-addr ADDRESS`, then on {word} what "
            "`docker swarm join-token worker` prints there",
        )
    return Node(
        word,
        client,
        str(swarm.get("NodeID", "")),
        bool(swarm.get("ControlAvailable")),
        str(about.get("ServerVersion", "")),
        str(about.get("KernelVersion", "")),
        str(swarm.get("NodeAddr", "")),
    )
