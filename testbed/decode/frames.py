"""A whole capture, decoded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from testbed.decode.fragments import Fragment, Reassembly
from testbed.decode.ip import Datagram, read_ip
from testbed.decode.link import find_ip
from testbed.decode.transport import decode_datagram
from testbed.packet import Packet
from testbed.pcap.frame import Capture, Frame


@dataclass(frozen=True, slots=True)
class Decoded:
    """The packets of a capture in file order, and why how many other frames were skipped.

    Every frame is either one of `packets` or counted in `skipped`.
    """

    packets: tuple[Packet, ...]
    skipped: tuple[tuple[str, int], ...] = ()  # (reason, frames), in the order of first appearance


def decode(capture: Capture) -> Decoded:
    """Decode all frames. Fragments are put together; the frame that completes a packet becomes it."""
    link_types = [interface.link_type for interface in capture.interfaces]
    packets: list[Packet] = []
    skipped: Counter[str] = Counter()
    reassembly = Reassembly()
    for number, frame in enumerate(capture.frames, 1):
        ip = _read_headers(frame, link_types[frame.interface])
        if isinstance(ip, str):
            result: Packet | str = ip
        elif ip.piece is None:
            result = decode_datagram(frame, number, frame.data, ip)
        else:
            result = _decode_fragment(Fragment(number, frame, ip), reassembly)
        if isinstance(result, str):
            skipped[result] += 1
        else:
            packets.append(result)
    return _add_leftovers(packets, skipped, reassembly)


def decode_frame(frame: Frame, number: int, link_type: int) -> Packet | str:
    """Decode one frame, which becomes packet `number`; or say in words why it is skipped."""
    ip = _read_headers(frame, link_type)
    return ip if isinstance(ip, str) else decode_datagram(frame, number, frame.data, ip)


def _read_headers(frame: Frame, link_type: int) -> Datagram | str:
    found = find_ip(frame.data, link_type)
    return found if isinstance(found, str) else read_ip(frame.data, *found, frame.length)


def _decode_fragment(fragment: Fragment, reassembly: Reassembly) -> Packet | str:
    whole = reassembly.add(fragment)
    return decode_datagram(fragment.frame, fragment.number, *whole) if whole else "fragment"


def _add_leftovers(packets: list[Packet], skipped: Counter[str], reassembly: Reassembly) -> Decoded:
    """Decode the first fragments of packets that never became whole; they were counted as skipped."""
    for fragment in reassembly.leftovers():
        packet = decode_datagram(fragment.frame, fragment.number, fragment.frame.data, fragment.ip)
        if isinstance(packet, Packet):
            packets.append(packet)
            skipped["fragment"] -= 1
    packets.sort(key=lambda packet: packet.number)
    return Decoded(tuple(packets), tuple((reason, count) for reason, count in skipped.items() if count))
