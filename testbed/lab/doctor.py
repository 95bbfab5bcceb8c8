"""What this machine can do: each ability looked at for itself, with one line of remedy where it is missing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import LabError, TestbedError


@dataclass(frozen=True, slots=True)
class Finding:
    """One ability: whether it is there, what was found, what to do; `needed` for the main job."""

    name: str
    ok: bool
    says: str
    remedy: str = ""
    needed: bool = True

    def plain(self) -> dict[str, str | bool]:
        """As data."""
        return {"name": self.name, "ok": self.ok, "says": self.says, "remedy": self.remedy, "needed": self.needed}


def examine() -> list[Finding]:
    """Look at everything."""
    return [finding() for finding in (_engine, _compose, _image, _tun, _tshark, _kernel)]


def _try(name: str, look: Callable[[], str], needed: bool = True) -> Finding:
    try:
        return Finding(name, True, look(), needed=needed)
    except TestbedError as error:
        return Finding(name, False, error.message, error.remedy, needed)


def _engine() -> Finding:
    def look() -> str:
        from testbed.lab.engine import connect, engine_address

        version = connect().version()
        return f"Docker {version['Version']} at {engine_address()}, kernel {version['KernelVersion']}"

    return _try("engine", look)


def _compose() -> Finding:
    def look() -> str:
        from testbed.lab.command import run_command
        from testbed.lab.compose import compose_command

        command = compose_command()
        return f"{' '.join(command)} {run_command([*command, 'version', '--short']).strip()}"

    return _try("compose", look)


def _image() -> Finding:
    def look() -> str:
        from testbed.lab.engine import connect
        from testbed.lab.images import image_tag

        tag = image_tag()
        if not connect().images.list(name=tag):
            raise LabError(f"{tag} is not built yet", remedy="`make images` builds it; so does the first run")
        return tag

    return _try("image", look, needed=False)


def _tun() -> Finding:
    there = Path("/dev/net/tun").exists()
    says = "/dev/net/tun is there" if there else "/dev/net/tun is missing: wires cannot be impaired on this machine"
    return Finding("tun", there, says, "" if there else "load the tun module: `modprobe tun`", needed=False)


def _tshark() -> Finding:
    path = shutil.which("tshark")
    remedy = "" if path else "only tests use it: `apt-get install tshark`"
    return Finding("tshark", path is not None, path or "not installed", remedy, needed=False)


def _kernel() -> Finding:
    return Finding("kernel", True, f"{platform.system()} {platform.release()} ({platform.machine()})")
