"""Socket options by name, as setsockopt(2) wants them; see socket(7), tcp(7), ip(7), ipv6(7), udp(7).

Python's socket module lacks some names, or has them in later versions only; those are in NUMBERS (include/uapi/linux).
"""

from __future__ import annotations

import socket
import struct

LEVELS = {
    "SO_": socket.SOL_SOCKET,
    "TCP_": socket.IPPROTO_TCP,
    "IP_": socket.IPPROTO_IP,
    "IPV6_": socket.IPPROTO_IPV6,
    "UDP_": socket.IPPROTO_UDP,
}
NUMBERS = {
    "SO_SNDBUFFORCE": 32,
    "SO_RCVBUFFORCE": 33,
    "SO_TIMESTAMP": 29,
    "SO_RXQ_OVFL": 40,
    "SO_BUSY_POLL": 46,
    "SO_MAX_PACING_RATE": 47,
    "SO_TXREHASH": 74,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
    "TCP_THIN_DUPACK": 17,
    "TCP_REPAIR": 19,
    "TCP_MD5SIG": 14,
    "TCP_TIMESTAMP": 24,
    "TCP_SAVE_SYN": 27,
    "TCP_FASTOPEN_CONNECT": 30,
    "TCP_ULP": 31,
    "TCP_FASTOPEN_KEY": 33,
    "TCP_FASTOPEN_NO_COOKIE": 34,
    "TCP_INQ": 36,
    "TCP_TX_DELAY": 37,
    "TCP_RTO_MAX_MS": 44,
    "TCP_RTO_MIN_US": 45,
    "TCP_DELACK_MAX_US": 46,
    "IP_MTU_DISCOVER": 10,
    "IP_RECVERR": 11,
    "IP_FREEBIND": 15,
    "IP_BIND_ADDRESS_NO_PORT": 24,
    "IPV6_MTU_DISCOVER": 23,
    "IPV6_RECVERR": 25,
    "UDP_CORK": 1,
    "UDP_SEGMENT": 103,
    "UDP_GRO": 104,
}
PACKED = {  # options that are no int: how the number is packed
    "SO_LINGER": lambda seconds: struct.pack("@ii", seconds is not False, seconds),
    "SO_RCVTIMEO": lambda seconds: struct.pack("@ll", seconds, 0),
    "SO_SNDTIMEO": lambda seconds: struct.pack("@ll", seconds, 0),
}


MD5 = struct.Struct("@128sBBHi80s")  # tcp_md5sig: address, flags, prefix length, key's length, interface, key
MD5_KEY_BYTES = 80


class UnknownOption(ValueError):
    """A name that neither Python nor the table has."""


def find(name: str) -> tuple[int, int]:
    """Level and number of an option."""
    level = next((level for prefix, level in LEVELS.items() if name.startswith(prefix)), None)
    number = getattr(socket, name, NUMBERS.get(name))
    if level is None or not isinstance(number, int):
        raise UnknownOption(f"no socket option is called {name}")
    return level, number


def pack(name: str, value: int | bool | str) -> int | bytes:
    """The value as setsockopt(2) wants it: text as its bytes, a bool as 0 or 1; `SO_LINGER: false` is no lingering."""
    if isinstance(value, str):
        return value.encode()
    return PACKED[name](value) if name in PACKED else int(value)


def pack_md5(address: str, key: str) -> bytes:
    """`struct tcp_md5sig`: the key for segments to and from an address (include/uapi/linux/tcp.h)."""
    if ":" in address:
        peer = struct.pack("@HxxI", socket.AF_INET6, 0) + socket.inet_pton(socket.AF_INET6, address)
    else:
        peer = struct.pack("@Hxx", socket.AF_INET) + socket.inet_pton(socket.AF_INET, address)
    text = key.encode()
    if len(text) > MD5_KEY_BYTES:
        raise ValueError(f"a key has at most {MD5_KEY_BYTES} bytes, and this one {len(text)}")
    return MD5.pack(peer, 0, 0, len(text), 0, text)
