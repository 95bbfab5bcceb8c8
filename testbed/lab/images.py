"""The image that hosts run: found by its content's hash, or built.

The base (Python 3 and iproute2) is built once from a small official image where a registry answers, else made from
Debian packages with mmdebstrap(1) and this machine's own apt sources. The agent goes on top; both are tagged by a
hash of what is in them, so an unchanged tree builds nothing.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import testbed
from testbed.errors import LabError
from testbed.lab.command import run_command
from testbed.lab.engine import engine_errors
from testbed.lab.sources import codename, distribution_sources

if TYPE_CHECKING:
    import docker as docker_module

HOST = "testbed-host"
BASE = "testbed-base"
PACKAGES = ("python3", "iproute2")
# No host needs these, and every layer built on the base walks all its files. They are removed at the end: packages'
# own scripts want some of them while they are being set up.
UNWANTED = (
    "/usr/share/doc",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/locale",
    "/usr/share/perl",
    "/usr/share/perl5",
    "/usr/share/zoneinfo",
    "/usr/share/lintian",
    "/usr/share/bash-completion",
    "/usr/lib/*/perl",
    "/usr/lib/*/gconv",
    "/usr/lib/python3*/pydoc_data",
    "/usr/lib/python3*/lib2to3",
    "/usr/lib/python3*/idlelib",
    "/var/lib/dpkg/info",
    "/var/cache",
)
MMDEBSTRAP_TIMEOUT_S = 600.0
PULL_TIMEOUT_S = 20.0

Say = Callable[[str], None]
_BUILDING = threading.Lock()  # runs side by side need the same image; the first one builds it


def data_folder() -> Path:
    """Where compose.yaml and images/ are: the checkout, or what the wheel carries of it."""
    package = Path(testbed.__file__).parent
    return package.parent if (package.parent / "compose.yaml").is_file() else package / "data"


def agent_files() -> dict[str, bytes]:
    """What goes into the image, by name inside the build context."""
    package = Path(testbed.__file__).parent
    files = [package / "__init__.py", *sorted((package / "agent").glob("*.py"))]
    return {f"testbed/{path.relative_to(package)}": path.read_bytes() for path in files}


def _hash(parts: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def base_tag() -> str:
    """The base's tag: it changes with its recipe."""
    recipe = (data_folder() / "images" / "base.Dockerfile").read_bytes()
    return f"{BASE}:{_hash({'recipe': recipe, 'debian': ' '.join(PACKAGES + UNWANTED).encode()})}"


def image_tag() -> str:
    """The host image's tag: it changes with the agent, the Dockerfile and the base."""
    dockerfile = (data_folder() / "images" / "Dockerfile").read_bytes()
    return f"{HOST}:{_hash({**agent_files(), 'Dockerfile': dockerfile, 'base': base_tag().encode()})}"


def ensure_image(client: docker_module.DockerClient, say: Say) -> str:
    """The tag of the host image, built first where it is missing.

    Raises LabError when there is no image and no way to build one, with each way that was tried.
    """
    tag = image_tag()
    with _BUILDING, engine_errors("looking for images"):
        if _present(client, tag):
            return tag
        if not _present(client, base_tag()):
            _make_base(client, say)
        say(f"building {tag}")
        context = {**agent_files(), "Dockerfile": (data_folder() / "images" / "Dockerfile").read_bytes()}
        _build(client, context, "Dockerfile", tag, {"BASE": base_tag()})
        client.images.get(tag).tag(HOST, "latest")
    return tag


def _present(client: docker_module.DockerClient, tag: str) -> bool:
    import docker

    try:
        client.images.get(tag)
    except docker.errors.ImageNotFound:
        return False
    return True


def _build(
    client: docker_module.DockerClient, context: dict[str, bytes], dockerfile: str, tag: str, arguments: dict[str, str]
) -> None:
    import docker

    try:
        client.images.build(
            fileobj=_tar(context),
            custom_context=True,
            dockerfile=dockerfile,
            tag=tag,
            buildargs=arguments,
            rm=True,
            forcerm=True,
        )
    except docker.errors.BuildError as error:
        said = "".join(str(line.get("stream", "")) for line in error.build_log)[-2000:]
        raise LabError(f"{tag} could not be built: {error.msg}\n{said}") from error


def _tar(files: dict[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(content))
    buffer.seek(0)
    return buffer


def _make_base(client: docker_module.DockerClient, say: Say) -> None:
    recipe = (data_folder() / "images" / "base.Dockerfile").read_bytes()
    try:
        _pull(client, recipe.split()[1].decode(), say)
        _build(client, {"base.Dockerfile": recipe}, "base.Dockerfile", base_tag(), {})
        return
    except LabError as error:
        by_registry = error.message
    try:
        with _root_file_system(say) as tar:
            say(f"importing {base_tag()}")
            repository, _, tag = base_tag().partition(":")
            client.api.import_image_from_file(str(tar), repository=repository, tag=tag)
    except LabError as error:
        raise LabError(
            f"there is no image to run hosts in, and none can be made:\n"
            f"  from a registry: {by_registry}\n  from Debian packages: {error}",
            remedy=f"`docker load` an image with python3 and iproute2 and tag it {base_tag()}, or use --backend netns",
        ) from error


def _pull(client: docker_module.DockerClient, name: str, say: Say) -> None:
    import docker
    import requests

    if _present(client, name):
        return
    say(f"pulling {name}")
    try:
        client.images.pull(name)
    except (docker.errors.APIError, requests.exceptions.RequestException) as error:
        raise LabError(f"no registry gives {name}: {error}".splitlines()[0]) from error


@contextmanager
def _root_file_system(say: Say) -> Iterator[Path]:
    """A tar of Debian's essential packages with python3 and iproute2."""
    with tempfile.TemporaryDirectory(prefix="testbed-image-") as name:
        folder = Path(name)
        release, sources = _machine_sources()
        (folder / "apt.sources").write_text(sources)
        program = _mmdebstrap(folder, say)
        tar = folder / "root.tar"
        say("making a base image from Debian packages with mmdebstrap (about 20 s, once)")
        run_command(
            [
                *program,
                "--variant=essential",
                f"--include={','.join(PACKAGES)}",
                f'--customize-hook=cd "$1" && rm -rf {" ".join(f".{path}" for path in UNWANTED)}',
                release,
                str(tar),
                str(folder / "apt.sources"),
            ],
            timeout_s=MMDEBSTRAP_TIMEOUT_S,
            # mmdebstrap makes its root below TMPDIR; /tmp may be mounted noexec or nodev.
            environment={"TMPDIR": name, "DEBIAN_FRONTEND": "noninteractive", "PATH": _path()},
            remedy="see what apt says: `apt-get update` must work on this machine",
        )
        yield tar


def _path() -> str:
    import os

    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def _machine_sources() -> tuple[str, str]:
    os_release = Path("/etc/os-release")
    release = codename(os_release.read_text()) if os_release.is_file() else None
    folder = Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    texts = [path.read_text() for path in files if path.suffix in (".list", ".sources") and path.is_file()]
    sources = distribution_sources(texts, release) if release else ""
    if not release or not sources:
        raise LabError("this machine has no apt sources of Debian or Ubuntu to make a base image from")
    return release, sources


def _mmdebstrap(folder: Path, say: Say) -> list[str]:
    """mmdebstrap as installed, else its package fetched and unpacked aside: nothing is installed on the machine."""
    if installed := shutil.which("mmdebstrap"):
        return [installed]
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise LabError("neither mmdebstrap nor apt-get is on this machine")
    say("fetching mmdebstrap (it is not installed; it is used from a temporary folder)")
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache").mkdir()
    (folder / "tool").mkdir()
    private = ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
    apt = [
        "apt-get",
        "-qq",
        *private,
        "-o",
        "APT::Sandbox::User=",
        "-o",
        f"Dir::Etc::sourcelist={folder / 'apt.sources'}",
    ]
    apt += ["-o", "Dir::Etc::sourceparts=-"]
    run_command([*apt, "update"], timeout_s=MMDEBSTRAP_TIMEOUT_S)
    run_command([*apt, "download", "mmdebstrap"], directory=folder / "tool", timeout_s=MMDEBSTRAP_TIMEOUT_S)
    package = next((folder / "tool").glob("mmdebstrap_*.deb"))
    run_command(["dpkg-deb", "-x", str(package), str(folder / "tool")])
    return ["perl", str(folder / "tool" / "usr" / "bin" / "mmdebstrap")]
