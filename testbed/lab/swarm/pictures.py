"""The image on every engine: copied from one that has it, through us, in the form of `docker save`.

Where no engine of the lab has it, the engine of this machine is asked; where that has none either, the first engine of
the lab builds it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from testbed.errors import LabError
from testbed.lab.engine import connect, engine_errors
from testbed.lab.images import HOST, ensure_image, image_tag

if TYPE_CHECKING:
    import docker as docker_module

    from testbed.lab.contract import Say

CHUNK = 1 << 20
_COPYING = threading.Lock()  # runs side by side need the same image; the first one copies it


def has_image(client: docker_module.DockerClient, tag: str) -> bool:
    """Whether an engine has an image."""
    import docker

    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def ensure_images(clients: Mapping[str, docker_module.DockerClient], say: Say) -> str:
    """The tag of the host image, which every engine has then. Raises LabError where one cannot have it."""
    tag = image_tag()
    with _COPYING, engine_errors("looking for images"):
        lacking = {name: client for name, client in clients.items() if not has_image(client, tag)}
        if not lacking:
            return tag
        source = _source(clients, tag, say)
        wanting = {name: client for name, client in lacking.items() if not has_image(client, tag)}
        with ThreadPoolExecutor(max_workers=max(1, min(len(wanting), 4))) as pool:
            list(pool.map(lambda name: _copy(source, name, wanting[name], tag, say), wanting))
    return tag


def _source(clients: Mapping[str, docker_module.DockerClient], tag: str, say: Say) -> docker_module.DockerClient:
    for client in clients.values():
        if has_image(client, tag):
            return client
    try:
        here = connect()
    except LabError:
        here = next(iter(clients.values()))  # this machine has no engine: the lab's own makes the image
    ensure_image(here, say)
    return here


def _copy(
    source: docker_module.DockerClient, name: str, client: docker_module.DockerClient, tag: str, say: Say
) -> None:
    say(f"copying {tag} to {name}")
    with engine_errors(f"copying {tag} to {name}"):
        content: Any = source.images.get(tag).save(chunk_size=CHUNK, named=tag)
        loaded = client.images.load(content)  # piece by piece, as it comes
        loaded[0].tag(HOST, "latest")
        if not has_image(client, tag):
            raise LabError(f"{name} took {tag} and does not have it", remedy=f"`docker load` it on {name}")
