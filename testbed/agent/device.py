"""What a network device is like, by the ioctls of netdevice(7): a fraction of what starting ip(8) costs."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIOCGIFFLAGS, SIOCGIFMTU, SIOCGIFHWADDR, SIOCGIFINDEX = 0x8913, 0x8921, 0x8927, 0x8933
IFF_UP = 1
REQUEST = struct.Struct("@16s24s")  # struct ifreq: the name, a union
ADDRESS = struct.Struct("@H14s")  # struct sockaddr: the ARPHRD number, the address


def describe(name: str) -> dict[str, Any]:
    """`ifname`, `ifindex`, `address`, `mtu`, `link_type` (ARPHRD) and whether it is `up`; empty where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def ask(what: int) -> bytes:
            answer: bytes = REQUEST.unpack(fcntl.ioctl(control, what, REQUEST.pack(name.encode(), b"")))[1]
            return answer

        try:
            kind, address = ADDRESS.unpack_from(ask(SIOCGIFHWADDR))
            return {
                "ifname": name,
                "ifindex": struct.unpack_from("@i", ask(SIOCGIFINDEX))[0],
                "address": address[:6].hex(":"),
                "mtu": struct.unpack_from("@i", ask(SIOCGIFMTU))[0],
                "link_type": kind,
                "up": bool(struct.unpack_from("@H", ask(SIOCGIFFLAGS))[0] & IFF_UP),
            }
        except OSError as trouble:
            if trouble.errno == errno.ENODEV:
                return {}
            raise
