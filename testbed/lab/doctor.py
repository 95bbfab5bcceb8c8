"""What this machine can do: each ability looked at for itself, with one line of remedy where it is missing."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import LabError, TestbedError

EXTRA = "in Ubuntu's linux-modules-extra, Fedora's kernel-modules-extra"  # what their small kernels leave out


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
    found = [look() for look in (_kernel, _engine, _compose, _image, _netns, _user_namespaces, _sock_diag)]
    wire = [*_wire(_elsewhere()), _tshark()]
    there = {finding.name: finding.ok for finding in (*found, *wire)}
    return [*found, *wire, _backend(there), _impairing(there)]


def _backend(there: Mapping[str, bool]) -> Finding:
    on_engine = there["engine"] and there["compose"]
    if on_engine or (not there["engine"] and there["netns"]):
        return Finding("backend", True, f"a run takes {'compose' if on_engine else 'netns'}")
    return Finding("backend", False, "no backend can bring a lab up", "mend one of engine and netns above", needed=True)


def _impairing(there: Mapping[str, bool]) -> Finding:
    """Which engine impairs wires; it does not matter to scenarios that leave the wire alone."""
    if there["netem"]:
        faults = "by portable where there are faults" if there["tun"] else "and faults cannot be had"
        return Finding("wire", True, f"wires are impaired by netem, {faults}")
    if there["tun"]:
        return Finding("wire", True, "wires are impaired by the portable engine")
    return Finding("wire", False, "wires cannot be impaired", "mend one of tun and netem above")


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


def _user_namespaces() -> Finding:
    def look() -> str:
        from testbed.lab.abilities import try_user_namespace

        return try_user_namespace()

    return _try("user-ns", look)


def _sock_diag() -> Finding:
    def look() -> str:
        from testbed.lab.abilities import try_sock_diag

        return try_sock_diag()

    return _try("sock-diag", look)


def _elsewhere() -> str:
    """What to add to what was found of the kernel: hosts run on the engine's, which may be another machine's."""
    from testbed.lab.engine import connect

    try:
        kernel = str(connect().version()["KernelVersion"])
    except TestbedError:
        return ""
    if kernel == platform.release():
        return ""
    return f"; this machine's kernel was tried, hosts run on the engine's, {kernel}, and each run asks them"


def _wire(elsewhere: str) -> list[Finding]:
    """What the wire's engines need: each piece that the probe misses, by the row that it belongs to."""
    from testbed.lab.abilities import probe_wire

    try:
        probed = probe_wire()
    except TestbedError as error:
        says = f"cannot be tried: {error.message}"
        return [_tun_device(), *(Finding(name, False, says, "mend netns above") for name in ("ifb", "netem"))]
    portable, netem = probed["portable"], probed["netem"]
    no_ifb = [piece for piece in netem["lacks"] if piece == "ifb"]
    others = [piece for piece in netem["lacks"] if piece != "ifb"]
    rows = {
        "tun": (portable["ok"], portable["says"] or "a TAP can be made", portable["lacks"]),
        "ifb": (not no_ifb, netem["says"] if no_ifb else "an IFB can be made", no_ifb),
        "netem": (netem["ok"], netem["says"] or _netem_words(netem), others or no_ifb),
    }
    return [Finding(name, ok, says + elsewhere, _remedy(lacks, says)) for name, (ok, says, lacks) in rows.items()]


def _netem_words(netem: Mapping[str, Any]) -> str:
    mixes = "" if netem["mixes"] else "; it refuses `duplicate` where a link has more than one lane"
    return f"tc and the kernel have it{mixes}"


def _remedy(lacks: Sequence[str], says: str = "") -> str:
    if "Permission denied" in says:
        return "let people open it: `chmod 666 /dev/net/tun`, or run as root"
    return f"load the modules: `modprobe -a {' '.join(lacks)}` ({EXTRA})" if lacks else ""


def _tun_device() -> Finding:
    there = Path("/dev/net/tun").exists()
    return Finding(
        "tun", there, f"/dev/net/tun is {'there' if there else 'missing'}", "" if there else _remedy(["tun"])
    )


def _tshark() -> Finding:
    path = shutil.which("tshark")
    remedy = "" if path else "only tests use it: `apt-get install tshark`"
    return Finding("tshark", path is not None, path or "not installed", remedy)


def _kernel() -> Finding:
    return Finding("kernel", True, f"{platform.system()} {platform.release()} ({platform.machine()})")
