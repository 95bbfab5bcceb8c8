"""What the machine's root disk is made of, as values: packages, the commands that make it, and the hash of it all.

Debian's docker-compose needs an older `docker` package than the testbed, so the testbed's Python has an environment of
its own, /opt/testbed; the checkout is put into /checkout at every boot and is on that Python's path.
"""

from __future__ import annotations

import hashlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

STUB = Path(__file__).with_name("stub.sh")
PACKAGES = (
    "linux-image-cloud-amd64",
    "kmod",  # the kernel loads its modules with modprobe
    "mount",
    "busybox-static",  # poweroff
    "python3",
    "iproute2",
    "iputils-ping",
    "procps",
    "hostname",
    "docker.io",
    "docker-compose",
)
EXCLUDED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/boot/initrd*")
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}  # Debian's releases whose Python the testbed runs on
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
SIZE = "6G"  # the file is sparse


def key(parts: Mapping[str, bytes]) -> str:
    """A hash of what goes into a disk: other names, other contents, another key."""
    digest = hashlib.sha256()
    for name, content in sorted(parts.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def requirements(pyproject: str) -> list[str]:
    """What the testbed and its tests ask for."""
    project = tomllib.loads(pyproject)["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["test"]]


def pip_command(site: Path, version: str, wanted: Sequence[str]) -> list[str]:
    """Fetch wheels for the Python inside and unpack them."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    command += ["--target", str(site), "--python-version", version, "--implementation", "cp"]
    return [*command, *platforms, "--only-binary=:all:", *wanted]


def mmdebstrap_options(site: Path, version: str) -> list[str]:
    """Make a folder with the packages, the Python environment, byte code for it, and process 1."""
    packages = f"/opt/testbed/lib/python{version}/site-packages"
    hooks = (
        'chroot "$1" python3 -m venv --without-pip /opt/testbed',
        f'cp -r {site}/. "$1"{packages}/',
        f'echo /checkout > "$1"{packages}/checkout.pth',
        f'chroot "$1" python3 -m compileall -q -j 0 {packages}',
        f'install -m 755 {STUB} "$1"/vm-stub',
    )
    return [
        "--mode=root",
        "--format=directory",
        "--variant=essential",
        '--aptopt=Apt::Install-Recommends "false"',
        f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        *(f"--customize-hook={hook}" for hook in hooks),
    ]


def mke2fs_command(root: Path, disk: Path) -> list[str]:
    """Make a file system from a folder; a journal would be for a disk that outlives a crash."""
    return ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(disk), SIZE]
