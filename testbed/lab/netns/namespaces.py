"""Making a lab's namespaces and what is in them. Runs in the holder, so it imports little.

network_namespaces(7), user_namespaces(7), ip-link(8). Whatever does not work is a `Refused`, which the testbed's side
turns into words (refusal.py).
"""

from __future__ import annotations

import errno
import os
import select
import sys

from testbed.lab.netns import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, TypeVar

    Result = TypeVar("Result")
    Message = dict[str, Any]

NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET
SCRATCH = "/tmp"
SCRATCH_LIMIT = "size=1g,mode=1777"  # of memory, taken only as it is used
SWITCH_DESCRIPTOR = 100  # under which `ip` finds the switch's namespace; behind all that the holder has open
IP_TIMEOUT_S = 20.0
MOST_OUTPUT = 1 << 16


class Refused(Exception):
    """A part of bringing the lab up did not work: `what` (a row of refusal.py's table), the errno, in words."""

    def __init__(self, what: str, number: int, says: str) -> None:
        super().__init__(what, number, says)
        self.plain = {"what": what, "errno": number, "says": says}


def enter(user_namespace: bool) -> None:
    """Go into namespaces of our own, by way of a user namespace if so asked. Raises Refused.

    Process 1 of the new pid namespace is the next process that is forked. The network namespace is the switch's.
    """
    if user_namespace:
        user, group = os.geteuid(), os.getegid()
        attempt("user", lambda: kernel.unshare(kernel.CLONE_NEWUSER))
        # Without privileges one may map oneself alone, and one's group only once setgroups is denied.
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            _attempt_write("map", f"/proc/self/{name}", text)
    attempt("namespaces", lambda: kernel.unshare(NAMESPACES))


def own_scratch() -> None:
    """A /tmp of the lab's own, which ends with it. Raises OSError."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    # Where Python or the testbed lie in the real /tmp, they must stay to be seen: agents load modules when needed.
    needed = {path for path in (*sys.path, sys.prefix, _package()) if os.path.isdir(path)}  # noqa: PTH112
    inside = [(path, os.open(path, os.O_PATH)) for path in sorted(needed) if path.startswith(SCRATCH + "/")]
    kernel.mount("tmpfs", SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, SCRATCH_LIMIT)
    for path, descriptor in inside:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103 (pathlib is slow to load)
        kernel.mount(f"/proc/self/fd/{descriptor}", path, flags=kernel.MS_BIND | kernel.MS_REC)
        os.close(descriptor)


def bring_up(switch: Message, hosts: Mapping[str, Message], meanwhile: Callable[[], None]) -> dict[str, int]:
    """Make the network namespaces and what is in them; gives a descriptor of each host's. Raises Refused.

    `meanwhile` is done while `ip` works.
    """
    os.dup2(_namespace(), SWITCH_DESCRIPTOR)  # inherited by `ip`
    set_sysctls("the switch", switch["sysctls"])
    made, commands = {}, []
    for name, host in hosts.items():
        kernel.set_namespace(SWITCH_DESCRIPTOR)  # a new namespace takes the size of its tables from where it is made
        attempt("namespaces", lambda: kernel.unshare(kernel.CLONE_NEWNET))
        made[name] = _namespace()
        set_sysctls(name, host["sysctls"])
        commands.append(Ip(name, host["batch"]))
    meanwhile()
    for command in commands:
        command.finish()
    kernel.set_namespace(SWITCH_DESCRIPTOR)
    Ip("the switch", switch["batch"]).finish()
    return made


def set_sysctls(host: str, sysctls: Mapping[str, str]) -> None:
    """Set sysctls of the current namespace. Raises Refused."""
    for name, value in sysctls.items():
        if value == "1" and name.endswith(".disable_ipv6") and not os.path.exists("/proc/sys/net/ipv6"):  # noqa: PTH110
            continue  # a kernel without IPv6 has nothing to switch off
        _attempt_write("sysctl", "/proc/sys/" + name.replace(".", "/"), value, f"{host}: {name} = {value}")


class Ip:
    """`ip -batch` in the current network namespace, running until `finish`. Raises Refused."""

    def __init__(self, host: str, batch: Sequence[str]) -> None:
        self.host = host
        self._said = os.memfd_create("said")
        given = os.memfd_create("batch")
        os.write(given, "".join(f"{line}\n" for line in batch).encode())
        os.lseek(given, 0, os.SEEK_SET)
        moves = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate((given, self._said, self._said))]
        command = ("ip", "-batch", "-")
        self._pid = attempt("ip", lambda: os.posix_spawnp("ip", command, os.environ, file_actions=moves))
        os.close(given)

    def finish(self) -> None:
        """Wait for its end. Raises Refused with what it said."""
        status = await_end(self._pid, IP_TIMEOUT_S)
        said = os.pread(self._said, MOST_OUTPUT, 0).decode(errors="replace").strip()
        os.close(self._said)
        if status is None:
            raise Refused("batch", errno.ETIMEDOUT, f"{self.host}: ip did not end within {IP_TIMEOUT_S:g} s")
        if status != 0:
            raise Refused("batch", 0, f"{self.host}: {said or f'ip ended with exit code {status}'}")


def await_end(pid: int, timeout_s: float) -> int | None:
    """The exit code of a child, or minus the signal that killed it; None when it outlives the time."""
    handle = os.pidfd_open(pid)
    try:
        if not select.select([handle], [], [], timeout_s)[0]:
            return None
    finally:
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def attempt(what: str, act: Callable[[], Result], doing: str = "") -> Result:
    """Do something that the kernel may refuse. Raises Refused."""
    try:
        return act()
    except OSError as trouble:
        says = trouble.strerror or str(trouble)
        raise Refused(what, trouble.errno or 0, f"{doing}: {says}" if doing else says) from trouble


def _attempt_write(what: str, path: str, text: str, doing: str = "") -> None:
    attempt(what, lambda: _write(path, text), doing or path)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 (pathlib is slow to load)
        file.write(text)


def _namespace() -> int:
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _package() -> str:
    import testbed

    return next(iter(testbed.__path__))
