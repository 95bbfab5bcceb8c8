"""A sniffer for the hand: prints every TCP packet that eth0 hears, or writes all that it hears as pcap.

`docker compose exec -T sniffer python3 -m testbed.agent.listen` prints a line per packet;
`... listen --pcap | wireshark -k -i -` shows them as they come. Standard library only; packet(7).
"""

from __future__ import annotations

import socket
import struct
import sys
import time

from testbed.agent.frames import TCP, Segment, describe, kinds, parse

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_OUTGOING = 4
SNAP_LENGTH = 262144
PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP_LENGTH, 1)  # nanoseconds, Ethernet


def hear(interface: str) -> socket.socket:
    """A promiscuous packet socket on an interface."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    tap.bind((interface, ETH_P_ALL))
    index = socket.if_nametoindex(interface)
    tap.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b""))
    return tap


def _kind(segment: Segment) -> str:
    # A packet may be several things at once (DATA with a FIN): the rarer one is the one to name.
    found = kinds(segment)
    return next(name for name in ("SYN-ACK", "SYN", "RST", "FIN", "DATA", "ACK", "ANY") if name in found)


def main() -> None:
    """Print or write what is heard, until interrupted."""
    as_pcap = "--pcap" in sys.argv[1:]
    names = [word for word in sys.argv[1:] if not word.startswith("-")]
    tap = hear(names[0] if names else "eth0")
    out = sys.stdout.buffer
    if as_pcap:
        out.write(PCAP_HEADER)
        out.flush()
    try:
        while True:
            frame, about = tap.recvfrom(SNAP_LENGTH)
            now_ns = time.time_ns()
            if as_pcap:
                seconds, nanoseconds = divmod(now_ns, 10**9)
                out.write(struct.pack("<IIII", seconds, nanoseconds, len(frame), len(frame)) + frame)
            elif about[2] != PACKET_OUTGOING and (segment := parse(frame)) is not None and segment.protocol == TCP:
                stamp = time.strftime("%H:%M:%S", time.localtime(now_ns // 10**9))
                out.write(f"{stamp}.{now_ns // 1000 % 10**6:06d} {describe(segment, _kind(segment))}\n".encode())
            out.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        pass


if __name__ == "__main__":
    main()
