"""What Linux is asked for that Python 3.11 has no name for: unshare(2), setns(2), mount(2), prctl(2).

Runs in the holder, so it imports little.
"""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15

# capabilities(7): what making namespaces, setting them up and listening in them takes.
CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN = 12, 13, 21
NEEDED = 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW | 1 << CAP_SYS_ADMIN

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Go on in new namespaces. Raises OSError."""
    _checked(_libc.unshare(flags))


def set_namespace(descriptor: int) -> None:
    """Go on in the network namespace that a descriptor stands for. Raises OSError."""
    _checked(_libc.setns(descriptor, CLONE_NEWNET))


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount. Raises OSError."""
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()))


def die_with_parent(signal: int) -> None:
    """Have the kernel send us a signal when our parent ends."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0))


def name_process(name: str) -> None:
    """The name that ps and top show; its first 15 bytes."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0))


def is_capable() -> bool:
    """Whether this process may do all of it without a user namespace of its own."""
    return effective_capabilities() & NEEDED == NEEDED


def effective_capabilities() -> int:
    """The capabilities that are in effect, as a bit set (proc_pid_status(5))."""
    with open("/proc/self/status") as status:  # noqa: PTH123 (pathlib is slow to load)
        return next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))


def _checked(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
