"""Hears that TCP packets come to this host or leave it, and nothing of what is in them: packet(7), classic BPF.

Whatever a socket's state changes by, it is a packet, a timer that sends one, or a call that nearly always does: so the
sampler of states need not look often while nothing is heard.
"""

from __future__ import annotations

import socket

from testbed.agent.tap import ETH_P_ALL, NO_STRANGERS, attach_program

SMALLEST_BUFFER = 1  # the kernel makes its least of it: what does not fit tells nothing new
MOST_AT_ONCE = 64
PROTOCOL = 0xFFFFF000  # SKF_AD_OFF + SKF_AD_PROTOCOL: what a filter loads the EtherType from
OF_TCP = (
    *NO_STRANGERS,
    (0x28, 0, 0, PROTOCOL),  # ldh
    (0x15, 0, 3, 0x0800),  # IPv4, else three on
    (0x30, 0, 0, 9),  # ldb: its protocol
    (0x15, 3, 0, 6),  # TCP: three on
    (0x06, 0, 0, 0),  # ret #0
    (0x15, 0, 3, 0x86DD),  # IPv6, else three on
    (0x30, 0, 0, 6),  # ldb: its next header
    (0x15, 0, 1, 6),
    (0x06, 0, 0, 1),  # ret #1
    (0x06, 0, 0, 0),
)


class Activity:
    """Readable once a TCP packet has been heard on any interface, sent or received."""

    def __init__(self) -> None:
        self._heard = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        try:
            self._heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
            attach_program(self._heard, OF_TCP)
        except OSError:
            self._heard.close()
            raise

    def __enter__(self) -> Activity:
        return self

    def __exit__(self, *_: object) -> None:
        self._heard.close()

    def fileno(self) -> int:
        """Readable when something was heard."""
        return self._heard.fileno()

    def forget(self) -> bool:
        """Take what was heard; whether it was anything."""
        for number in range(MOST_AT_ONCE):
            try:
                self._heard.recv(1, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return number > 0
        return True
