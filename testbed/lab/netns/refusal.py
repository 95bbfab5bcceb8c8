"""Why a lab of namespaces cannot be had here, in one sentence, and what to do about it.

Each way of being refused is a row: what was tried and the switches that may forbid it, looked at in order. sysctl(8)
names: Documentation/admin-guide/sysctl/user.rst; kernel.unprivileged_userns_clone is Debian's, kernel.apparmor_* came
with Ubuntu 23.10.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from testbed.errors import LabError

AS_ROOT = "run it as root, in a container with `--privileged`, or use a Docker engine"
INSTALL_IP = "install iproute2: `apt-get install iproute2`, `dnf install iproute`"
OTHER_KERNEL = "use a Docker engine, or a Linux kernel with network namespaces, veth and bridges"
CONTAINER = "start the container with `--privileged`, or let the testbed reach a Docker engine"

Read = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Switch:
    """A file that forbids something when it holds a value; what to do."""

    path: str
    forbids: str
    remedy: str

    def sentence(self) -> str:
        """Which switch, by the name that people know."""
        return f"{self.path.removeprefix('/proc/sys/').replace('/', '.')} is {self.forbids}"


def _limit(kind: str) -> Switch:
    return Switch(f"/proc/sys/user/max_{kind}_namespaces", "0", f"`sudo sysctl user.max_{kind}_namespaces=10000`")


USER_SWITCHES = (
    Switch(
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "`sudo sysctl kernel.unprivileged_userns_clone=1`, or run it as root",
    ),
    Switch(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "`sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or run it as root",
    ),
    _limit("user"),
)
SWITCHES = {
    "user": USER_SWITCHES,
    "map": USER_SWITCHES,
    "namespaces": (*map(_limit, ("net", "pid", "mnt")), *USER_SWITCHES),
    "mount": USER_SWITCHES,
}
NAMES = {
    "user": "a user namespace",
    "map": "a user namespace with ourselves as its root",
    "namespaces": "network, pid and mount namespaces",
    "mount": "a /tmp of the lab's own",
}
SECCOMP = "\nSeccomp:\t2\n"


def explain(what: str, number: int, says: str, read: Read) -> LabError:
    """The error for a refusal; `read` gives the text of a file, None where there is none."""
    if what == "ip":
        return LabError("`ip` is not installed" if number == errno.ENOENT else f"`ip`: {says}", remedy=INSTALL_IP)
    if what == "sysctl":
        return _sysctl(number, says)
    if what == "batch":
        return _batch(says)
    lost = f"this machine does not let us make {NAMES[what]}"
    for switch in SWITCHES[what]:
        if (read(switch.path) or "").strip() == switch.forbids:
            return LabError(f"{lost}: {switch.sentence()}", remedy=switch.remedy)
    if number in (errno.EPERM, errno.EACCES) and SECCOMP in (read("/proc/self/status") or ""):
        return LabError(f"{lost}: a seccomp filter forbids it, as in a container", remedy=CONTAINER)
    if number in (errno.EINVAL, errno.ENOSYS):
        return LabError(f"{lost}: its kernel has none ({says})", remedy=OTHER_KERNEL)
    return LabError(f"{lost}: {says}", remedy=AS_ROOT)


def _sysctl(number: int, says: str) -> LabError:
    which, _, reason = says.rpartition(": ")
    if number == errno.EROFS:
        return LabError(f"{which} cannot be set: /proc/sys is read-only here", remedy=CONTAINER)
    if number == errno.ENOENT:
        return LabError(f"{which} cannot be set: the kernel has no sysctl of that name", remedy=OTHER_KERNEL)
    return LabError(f"{which} cannot be set: {reason}")


def _batch(says: str) -> LabError:
    lacking = any(words in says for words in ("Unknown device type", "not supported", "invalid option"))
    return LabError(f"the network of {says}", remedy=OTHER_KERNEL if lacking else "")
