"""What a program keeps of the agent's power while it plays: next to nothing.

The agent needs CAP_NET_ADMIN and CAP_NET_RAW, and in a lab of namespaces it has whatever its user has. A program opens
ordinary sockets. It keeps CAP_NET_BIND_SERVICE for ports below 1024, and the two of the network only where a step sets
socket options, of which some need them. Frames that it injects go out of sockets that the agent has opened.

capabilities(7), capset(2), linux/capability.h. A thread's capabilities are its own, so this comes before any other
thread is started. Giving up alone leaves the parent's death signal as it is (prctl(2)).
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 1 << 10, 1 << 12, 1 << 13
PR_SET_NO_NEW_PRIVS = 38
VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def needed(steps: list[dict[str, Any]]) -> int:
    """The capabilities that the steps of a program may need, as a mask."""
    wanted = NET_BIND_SERVICE
    for step in steps:
        if step["step"] == "sockopt":
            wanted |= NET_ADMIN | NET_RAW
        wanted |= needed(step.get("steps") or [])
    return wanted


def keep_only(wanted: int) -> None:
    """This thread, and those it starts, give up all capabilities but these, for good. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(VERSION_3, 0), (_Data * 2)()
    _check(libc.capget(ctypes.byref(header), data))
    for number, part in enumerate(data):
        kept = part.permitted & (wanted >> 32 * number) & 0xFFFFFFFF
        part.effective = part.permitted = kept
        part.inheritable = 0
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))))
    _check(libc.capset(ctypes.byref(header), data))


def _check(answer: int) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capabilities cannot be given up: {os.strerror(number)}")
