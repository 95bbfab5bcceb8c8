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
    """One ability: whether it is there, what was found, what to do; `needed` where no run can be without it."""

    name: str
    ok: bool
    says: str
    remedy: str = ""
    needed: bool = False

    def plain(self) -> dict[str, str | bool]:
        """As data."""
        return {"name": self.name, "ok": self.ok, "says": self.says, "remedy": self.remedy, "needed": self.needed}


def examine() -> list[Finding]:
    """Look at everything; last, what a run would choose."""
    found = [look() for look in (_kernel, _engine, _compose, _image, _netns, _tun, _tshark)]
    return [*found, _choice({finding.name: finding.ok for finding in found})]


def _choice(there: dict[str, bool]) -> Finding:
    on_engine = there["engine"] and there["compose"]
    backend = "compose" if there["engine"] else "netns"
    impairs = "wires are impaired by the portable engine" if there["tun"] else "wires cannot be impaired"
    if on_engine or (not there["engine"] and there["netns"]):
        return Finding("backend", True, f"a run takes {backend}; {impairs}")
    return Finding("backend", False, "no backend can bring a lab up", "mend one of engine and netns above", needed=True)


def _try(name: str, look: Callable[[], str], needed: bool = False) -> Finding:
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

    return _try("image", look)


def _netns() -> Finding:
    def look() -> str:
        from testbed.lab.netns.lab import try_out

        return try_out()

    return _try("netns", look)


def _tun() -> Finding:
    there = Path("/dev/net/tun").exists()
    says = "/dev/net/tun is there" if there else "/dev/net/tun is missing: wires cannot be impaired on this machine"
    return Finding("tun", there, says, "" if there else "load the tun module: `modprobe tun`")


def _tshark() -> Finding:
    path = shutil.which("tshark")
    remedy = "" if path else "only tests use it: `apt-get install tshark`"
    return Finding("tshark", path is not None, path or "not installed", remedy)


def _kernel() -> Finding:
    return Finding("kernel", True, f"{platform.system()} {platform.release()} ({platform.machine()})")
