"""The Docker engine: finding it, saying plainly why it cannot be used, and what it is.

The engine is the one that `docker` itself would use: DOCKER_HOST, else the current context's socket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from testbed.errors import LabError

if TYPE_CHECKING:
    import docker as docker_module
    from docker.tls import TLSConfig

PROBE_TIMEOUT_S = 1
DEFAULT_SOCKET = "unix:///var/run/docker.sock"

NO_ENGINE = "start Docker (`systemctl start docker`, or Docker Desktop), or set DOCKER_HOST to an engine that runs"
NO_PERMISSION = "add yourself to the docker group (`sudo usermod -aG docker $USER`, then log in again), or use sudo"


def engine_address() -> str:
    """Where the engine is: DOCKER_HOST, else the current context of the docker command, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or _context_address() or DEFAULT_SOCKET


def _context_address() -> str | None:
    folder = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker"))
    name = os.environ.get("DOCKER_CONTEXT") or _json(folder / "config.json").get("currentContext")
    if not name or name == "default":
        return None
    for meta in (folder / "contexts" / "meta").glob("*/meta.json"):
        content = _json(meta)
        if content.get("Name") == name:
            host = content.get("Endpoints", {}).get("docker", {}).get("Host")
            return str(host) if host else None
    return None


def _json(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_absent() -> bool:
    """Whether there is certainly no engine: none was asked for, and the usual socket is not there."""
    address = engine_address()
    return address == DEFAULT_SOCKET and not Path(address.removeprefix("unix://")).exists()


@cache
def connect(timeout_s: int = 60) -> docker_module.DockerClient:
    """A client of the engine, after the engine has answered within a second; one for all runs of a process.

    Raises LabError with the remedy when there is no engine, or none that we may use.
    """
    import docker
    import requests
    from docker.utils import kwargs_from_env

    address = engine_address()
    try:
        client = new_client(address, timeout_s, kwargs_from_env().get("tls", False))
        client.api.timeout = PROBE_TIMEOUT_S
        client.ping()
        client.api.timeout = timeout_s
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise _explain(address, error) from error
    return client


def new_client(address: str, timeout_s: int, tls: TLSConfig | bool = False) -> docker_module.DockerClient:
    """A client of the engine at an address, in the words that this engine speaks. Raises what docker-py raises.

    The environment has proxies, and authorities to trust, for the web; requests would prefer them to the engine's own.
    """
    import docker
    from docker.constants import MINIMUM_DOCKER_API_VERSION

    def made(version: str) -> docker_module.DockerClient:
        client = docker.DockerClient(base_url=address, version=version, timeout=timeout_s, tls=tls)
        client.api.trust_env = False
        return client

    asking = made(MINIMUM_DOCKER_API_VERSION)
    try:
        return made(asking.version(api_version=False)["ApiVersion"])
    finally:
        asking.close()


def _explain(address: str, error: Exception) -> LabError:
    if "PermissionError" in str(error) or "Permission denied" in str(error):
        return LabError(f"the Docker engine at {address} refuses us: permission denied", remedy=NO_PERMISSION)
    return LabError(f"no Docker engine answers at {address}", remedy=NO_ENGINE)


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turns what the engine answers with into a LabError that says what we were doing."""
    import docker
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise LabError(f"{doing}: the Docker engine says: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise LabError(f"{doing}: the Docker engine does not answer any more: {error}", remedy=NO_ENGINE) from error
