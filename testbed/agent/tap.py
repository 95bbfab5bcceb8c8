"""Hears every frame on an interface: a packet socket, with a ring where the kernel has one.

packet(7) and the kernel's Documentation/networking/packet_mmap.rst: a TPACKET_V3 ring of blocks, mapped, that the
kernel fills while we are busy and hands over block by block, at the latest after `RETIRE_MS`. Where there is none (an
old kernel, a sandbox) the frames are read one by one. Times are the kernel's, CLOCK_REALTIME in nanoseconds; a VLAN tag
that the kernel took off is put back.
"""

from __future__ import annotations

import array
import contextlib
import errno
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

IN, OUT = 1, 2

# A block is handed over after RETIRE_MS however full it is, so their number is how long we may be kept from reading.
# Of these (block's size, number) the first that is allowed: 8, 4, 2, 1 MiB; 16 MiB took 10 to 40 ms longer to map.
RINGS = ((1 << 16, 128), (1 << 16, 64), (1 << 14, 128), (1 << 16, 16))
LARGEST_RING = RINGS[0][0] * RINGS[0][1]
FRAME_SIZE = 1 << 11  # only a measure of the ring's size in version 3
RETIRE_MS = 5
RECEIVE_BUFFER = 1 << 26  # where there is no ring

SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_RX_RING, PACKET_STATISTICS = 1, 5, 6
PACKET_AUXDATA, PACKET_VERSION = 8, 10
PACKET_MR_PROMISC = 1
TPACKET_V3 = 2
SO_ATTACH_FILTER, SO_TIMESTAMPNS, SO_RCVBUFFORCE = 26, 35, 33
ETH_P_ALL = 0x0003
PACKET_OTHERHOST, PACKET_OUTGOING = 3, 4
PACKET_TYPE = 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PKTTYPE: what a filter loads the type of a packet from
NO_STRANGERS = ((0x20, 0, 0, PACKET_TYPE), (0x15, 0, 1, PACKET_OTHERHOST), (0x06, 0, 0, 0))  # ld; jeq; ret #0

_STATUS_USER = 1  # a block is ours
_STATUS_VLAN, _STATUS_VLAN_TPID = 1 << 4, 1 << 6
_BLOCK = struct.Struct("=III")  # at 8 of a block: status, packets, offset of the first
_FRAME = struct.Struct("=IIIIIIHHIIH")  # next, s, ns, captured, length, status, mac, net, rxhash, VLAN TCI, VLAN TPID
_LINK_ADDRESS = 48  # sockaddr_ll follows the frame's header
_AUXDATA = struct.Struct("=IIIHHHH")  # status, length, captured, mac, net, VLAN TCI, VLAN TPID
_TIMESPEC = struct.Struct("@ll")


class Caught(NamedTuple):
    """A frame as the kernel gave it."""

    time_ns: int
    length: int
    data: bytes
    direction: int


class Tap:
    """A packet socket that hears an interface; `excuse` says why it is less than it could be."""

    excuse = ""

    def __init__(self, packets: socket.socket) -> None:
        self.socket = packets
        self.heard = 0  # by the kernel, drops left out
        self.dropped = 0
        self.taken = 0  # by us

    def read(self) -> Iterator[list[Caught]]:
        """Lists of frames that are there now."""
        raise NotImplementedError

    def close(self) -> None:
        """Hear no more, and give back what the kernel holds for us."""
        self.socket.close()

    def deafen(self) -> None:
        """Let nothing in from now on; what is in the ring stays."""
        attach_filter(self.socket, 0)

    def is_bound(self) -> bool:
        """Whether the interface is still there, up or down: a socket whose interface is gone hears nothing any more."""
        return bool(self.socket.getsockname()[0])

    def behind(self) -> int:
        """How many packets the kernel has for us that we have not taken yet."""
        said = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)  # and sets its counters to 0
        heard, dropped = struct.unpack_from("=II", said)
        self.heard += heard - dropped
        self.dropped += dropped
        return max(0, self.heard - self.taken)


class Ring(Tap):
    """A tap with a ring. Who reads it maps it: a fork that inherits the mapping keeps the socket alive."""

    def __init__(self, packets: socket.socket, block_size: int, blocks: int) -> None:
        super().__init__(packets)
        self.block_size = block_size
        self.blocks = blocks
        self.next = 0

    @cached_property
    def ring(self) -> mmap.mmap:
        """The kernel's blocks."""
        return mmap.mmap(self.socket.fileno(), self.blocks * self.block_size)

    def close(self) -> None:
        """The mapping too, if there is one: the ring is the kernel's until both are gone."""
        if "ring" in self.__dict__:
            self.ring.close()
        super().close()

    def read(self) -> Iterator[list[Caught]]:
        """One list for each block that the kernel has handed over."""
        while True:
            at = self.next * self.block_size
            status, packets, first = _BLOCK.unpack_from(self.ring, at + 8)
            if not status & _STATUS_USER:
                return
            caught = list(_walk(self.ring, at + first, packets))
            struct.pack_into("=I", self.ring, at + 8, 0)  # the kernel's again
            self.next = (self.next + 1) % self.blocks
            self.taken += packets
            yield caught


class Mailbox(Tap):
    """A tap that reads packet by packet: where the kernel has no ring of version 3."""

    def __init__(self, packets: socket.socket, why: OSError) -> None:
        super().__init__(packets)
        self.excuse = f"no packet ring ({why.strerror}); reading packet by packet, which drops sooner under load"
        packets.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        packets.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        packets.setblocking(False)
        for option in (SO_RCVBUFFORCE, socket.SO_RCVBUF):  # the first needs CAP_NET_ADMIN over the whole machine
            try:
                packets.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER)
                break
            except PermissionError:
                continue

    def read(self) -> Iterator[list[Caught]]:
        """Lists of up to 256 frames."""
        while True:
            caught: list[Caught] = []
            while len(caught) < 256:
                try:
                    caught.append(self._receive())
                except BlockingIOError:
                    break
                except OSError as trouble:
                    if trouble.errno != errno.ENETDOWN:  # told once when the interface is taken down (packet(7))
                        raise
            if not caught:
                return
            self.taken += len(caught)
            yield caught

    def deafen(self) -> None:
        """Let nothing in from now on, where the kernel has filters for it."""
        with contextlib.suppress(OSError):  # a kernel without rings may lack filters too; we then stop a little later
            super().deafen()

    def behind(self) -> int:
        """How many packets the kernel has for us; 0 where it does not say: `read` has emptied the socket."""
        try:
            return super().behind()
        except OSError:
            return 0

    def _receive(self) -> Caught:
        data, ancillary, _, address = self.socket.recvmsg(1 << 17, 256)
        time_ns, length = 0, len(data)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                time_ns = seconds * 1_000_000_000 + nanoseconds
            elif (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                status, length, _, _, _, tci, tpid = _AUXDATA.unpack_from(value)
                data, length = put_tag_back(data, length, status, tci, tpid)
        return Caught(time_ns or time.time_ns(), length, data, OUT if address[2] == PACKET_OUTGOING else IN)


def open_tap(interface: str, promiscuous: bool, snap_length: int, ring_bytes: int) -> Tap:
    """A socket bound to the interface, with a ring of at most so many bytes where the kernel has one."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: hears nothing before bind
    tap: Tap
    try:
        attach_filter(packets, snap_length, strangers=promiscuous)
        tap = Ring(packets, *map_ring(packets, ring_bytes))
    except OSError as why:
        packets.close()
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        tap = Mailbox(packets, why)
    packets.bind((interface, ETH_P_ALL))
    if promiscuous:
        index = socket.if_nametoindex(interface)
        packets.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("@iHH8s", index, PACKET_MR_PROMISC, 0, b""))
    return tap


def map_ring(packets: socket.socket, ring_bytes: int) -> tuple[int, int]:
    """Ask the kernel for a ring, a smaller one where memory is short; returns a block's size and their number."""
    packets.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
    for size, blocks in (ring for ring in RINGS if ring[0] * ring[1] <= ring_bytes or ring is RINGS[-1]):
        request = struct.pack("@7I", size, blocks, FRAME_SIZE, blocks * size // FRAME_SIZE, RETIRE_MS, 0, 0)
        try:
            packets.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
            return size, blocks
        except OSError as trouble:
            if trouble.errno != errno.ENOMEM:
                raise
    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def attach_filter(packets: socket.socket, length: int, strangers: bool = True) -> None:
    """A filter that takes so many bytes of each packet, or (0) none at all.

    Without `strangers` it takes no packet that is for another host. The wire is a hub: every host would capture what
    all others say, and of twenty hosts that is twenty times all packets.
    """
    attach_program(packets, [*([] if strangers else NO_STRANGERS), (0x06, 0, 0, length)])  # ret #length


def attach_program(packets: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """A filter as instructions of the classic BPF: code, jump if true, jump if false, value (linux/filter.h)."""
    code = array.array("B", b"".join(struct.pack("@HBBI", *one) for one in program))
    packets.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(program), code.buffer_info()[0]))


def put_tag_back(data: bytes, length: int, status: int, tci: int, tpid: int) -> tuple[bytes, int]:
    """The frame with the VLAN tag (IEEE 802.1Q) that the kernel keeps beside it, and its length."""
    if not status & _STATUS_VLAN:
        return data, length
    kind = tpid if status & _STATUS_VLAN_TPID else 0x8100
    return data[:12] + struct.pack("!HH", kind, tci) + data[12:], length + 4


def _walk(ring: mmap.mmap, at: int, packets: int) -> Iterator[Caught]:
    for _ in range(packets):
        following, seconds, ns, captured, length, status, mac, _, _, tci, tpid = _FRAME.unpack_from(ring, at)
        data = ring[at + mac : at + mac + captured]
        if status & _STATUS_VLAN:
            data, length = put_tag_back(data, length, status, tci, tpid)
        direction = OUT if ring[at + _LINK_ADDRESS + 10] == PACKET_OUTGOING else IN
        yield Caught(seconds * 1_000_000_000 + ns, length, data, direction)
        at += following
