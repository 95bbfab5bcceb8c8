"""The machine's root disk and kernel: made once, found again by a hash of all that goes into them.

A disk is Debian's cloud kernel and a few packages from this machine's own apt sources (mmdebstrap, then `mke2fs -d`: no
loop device, no mount), a Python environment with what pyproject.toml asks for, and the image that hosts run in on
Docker, loaded by booting the new disk once. So nothing is fetched inside, where there is no network.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import LabError
from testbed.lab import images
from testbed.lab.command import run_command

from . import recipe
from .freight import pack, room, unpack, whole_blocks
from .machine import Disk, Show, boot
from .rows import Row

BUILD_TIMEOUT_S = 1200.0
LOAD_TIMEOUT_S = 600.0
KEPT = 2  # disks in the cache: this checkout's, and another's


@dataclass(frozen=True, slots=True)
class Built:
    """A disk with its kernel, in a folder of the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        """The root disk."""
        return self.folder / "disk"

    @property
    def kernel(self) -> Path:
        """The kernel, as qemu takes it."""
        return self.folder / "vmlinuz"

    @property
    def kvm_hangs(self) -> Path:
        """The note that no guest comes up on KVM here; one for all disks."""
        return self.folder.parent / "kvm-hangs"


def ensure_disk(checkout: Path, say: images.Say, show: Show) -> Built:
    """The disk, made first where there is none of this recipe. One process makes it, others wait for it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tcp-testbed" / "vm"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = recipe.requirements((checkout / "pyproject.toml").read_text())
    built = Built(cache / recipe.key(_parts(wanted)))
    with _alone(cache / "lock", say):
        for left in cache.glob("making-*"):  # by one that was killed: we are alone here
            shutil.rmtree(left)
        if not built.folder.is_dir():
            _make(built, checkout, wanted, say, show)
        os.utime(built.folder)
        for old in sorted(cache.glob("*/disk"), key=lambda disk: -disk.parent.stat().st_mtime)[KEPT:]:
            shutil.rmtree(old.parent)
    return built


def _parts(wanted: Sequence[str]) -> dict[str, bytes]:
    return {
        "recipe": Path(recipe.__file__).read_bytes(),
        "stub": recipe.STUB.read_bytes(),
        "requirements": "\n".join(wanted).encode(),
        "base": images.base_tag().encode(),
        "release": images._machine_sources()[0].encode(),
    }


@contextmanager
def _alone(lock: Path, say: images.Say) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process makes the disk; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(built: Built, checkout: Path, wanted: Sequence[str], say: images.Say, show: Show) -> None:
    release, sources = _debian()
    with tempfile.TemporaryDirectory(prefix="making-", dir=built.folder.parent) as name:
        folder = Path(name)
        new = Built(folder / "new")
        new.folder.mkdir()
        root = _root(folder, release, sources, wanted, say)
        shutil.copyfile(root / "vmlinuz", new.kernel)
        run_command(
            recipe.mke2fs_command(root, new.disk),
            environment={"PATH": images._path()},
            timeout_s=BUILD_TIMEOUT_S,
            remedy="on Debian: apt-get install e2fsprogs",
        )
        _load_image(new, built.kvm_hangs, checkout, folder, say, show)
        new.folder.rename(built.folder)


def _debian() -> tuple[str, str]:
    release, sources = images._machine_sources()
    if release not in recipe.PYTHONS or platform.machine() != "x86_64":
        raise LabError(
            f"the machine's disk is made from Debian's packages for x86-64; this is {release} on {platform.machine()}",
            remedy=f"run it on Debian ({', '.join(recipe.PYTHONS)}) on x86-64, also in a container",
        )
    if os.geteuid() != 0:
        raise LabError("the machine's disk is made by root (mmdebstrap)", remedy="run `make test-vm` as root")
    return release, sources


def _root(folder: Path, release: str, sources: str, wanted: Sequence[str], say: images.Say) -> Path:
    site, root, apt_sources = folder / "site", folder / "root", folder / "apt.sources"
    say("fetching the tests' Python packages")
    run_command(recipe.pip_command(site, recipe.PYTHONS[release], wanted), timeout_s=BUILD_TIMEOUT_S)
    apt_sources.write_text(sources)
    tool = images._mmdebstrap(folder, say)
    say(f"making a root of Debian {release} (about a minute, once)")
    run_command(
        [*tool, *recipe.mmdebstrap_options(site, recipe.PYTHONS[release]), release, str(root), str(apt_sources)],
        timeout_s=BUILD_TIMEOUT_S,
        environment={"TMPDIR": str(folder), "DEBIAN_FRONTEND": "noninteractive", "PATH": images._path()},
        remedy="see what apt says: `apt-get update` must work on this machine",
    )
    return root


def _load_image(new: Built, kvm_hangs: Path, checkout: Path, folder: Path, say: images.Say, show: Show) -> None:
    """Boot the new disk once to load the base of the hosts' image into its Docker engine."""
    image, load = _image_tar(folder, say)
    whole_blocks(image)
    say("loading the hosts' image into the machine's Docker engine (a boot)")
    row = Row("load", ("sh", "-c", f"{load} < /dev/nvme0n4"), LOAD_TIMEOUT_S, docker=True)
    goods, results, out = folder / "goods", folder / "results", folder / "out"
    pack(checkout, [row], goods)
    room(results)
    out.mkdir()
    disks = [Disk(new.disk, kept=True), Disk(goods), Disk(results, kept=True), Disk(image)]
    went = boot(new.kernel, disks, LOAD_TIMEOUT_S + 120, show, kvm_hangs)
    ended = unpack(results, out).get(row.name)
    if not went.powered_off or ended is None or ended.exit_code != 0:
        raise LabError("the hosts' image could not be loaded in the machine; its console is above")


def _image_tar(folder: Path, say: images.Say) -> tuple[Path, str]:
    """The base image as a tar, and the command that takes it: from an engine here, else from Debian packages."""
    from testbed.lab.engine import connect

    target = folder / "image"
    try:
        client = connect()
    except LabError:
        with images._root_file_system(say) as tar:
            shutil.copyfile(tar, target)
        return target, f"docker import - {images.base_tag()}"
    if not images._present(client, images.base_tag()):
        images._make_base(client, say)
    with target.open("wb") as file:
        for piece in client.images.get(images.base_tag()).save(named=images.base_tag()):
            file.write(piece)
    return target, "docker load"
