"""A canary: a frame that proves a capture hears the wire before the first packet that matters is sent.

EtherType 0x88B5 is IEEE 802's "local experimental EtherType 1": no stack answers it, no filter of the link
redirects it, and no analysis of IP packets counts it.
"""

from __future__ import annotations

import socket

ETHERTYPE = 0x88B5
TYPE_FIELD = ETHERTYPE.to_bytes(2, "big")
GREETING = b"testbed canary "
SHORTEST = 60  # octets of an Ethernet frame without its check sequence (IEEE 802.3)


def send_canary(interface: str, mac: str, token: str) -> None:
    """Send a canary from `interface` to `mac`; returns once the kernel has taken it. Raises OSError, or ValueError."""
    if not token or not token.isascii() or not token.isprintable() or len(token) > 256:
        raise ValueError(f"a canary's token is 1 to 256 printable ASCII characters, not {token!r}")
    try:
        to = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        to = b""
    if len(to) != 6:
        raise ValueError(f"a canary goes to a MAC address such as 02:00:00:00:00:01, not {mac!r}")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind((interface, 0))
        sender.send((to + sender.getsockname()[4] + TYPE_FIELD + GREETING + token.encode()).ljust(SHORTEST, b"\0"))


def read_canary(frame: bytes) -> str | None:
    """The token of a canary frame; None for any other frame."""
    if frame[12:14] != TYPE_FIELD or not frame.startswith(GREETING, 14):
        return None
    return frame[14 + len(GREETING) :].rstrip(b"\0").decode("ascii", "replace")
