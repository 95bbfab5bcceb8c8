"""A whole capture, decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from testbed.decode.fragments import Fragment, Reassembly
from testbed.decode.ip import Datagram, read_ip
from testbed.decode.link import find_ip
from testbed.decode.transport import decode_datagram
from testbed.packet import Packet
from testbed.pcap.frame import Capture, Frame

_FRAGMENT = "fragment"


@dataclass(frozen=True, slots=True)
class Decoded:
    """The packets of a capture in file order, and why how many other frames were skipped.

    Every frame is either one of `packets` or counted in `skipped`.
    """

    packets: tuple[Packet, ...]
    skipped: tuple[tuple[str, int], ...] = ()  # (reason, frames), in the order of first appearance


class Decoder:
    """Decodes frames one by one; every frame is a packet, or counted in `skipped`.

    Fragments are put together; the frame that completes a packet becomes it. First fragments of packets that never
    become whole are decoded by `leftovers`, as far as they go, where they are wanted.
    """

    def __init__(self, *, keep_leftovers: bool = False) -> None:
        self.skipped: Counter[str] = Counter()
        self._reassembly = Reassembly()
        self._keep_leftovers = keep_leftovers

    def take(self, frame: Frame, number: int, link_type: int) -> Packet | None:
        """Decode one frame, which becomes packet `number`."""
        ip = _read_headers(frame, link_type)
        if isinstance(ip, str):
            result: Packet | str = ip
        elif ip.piece is None:
            result = decode_datagram(frame, number, frame.data, ip)
        else:
            result = self._take_fragment(Fragment(number, frame, ip))
        if isinstance(result, str):
            self.skipped[result] += 1
            return None
        return result

    def leftovers(self) -> Iterator[Packet]:
        """No more frames come: the first fragments of what never became whole, which were counted as skipped."""
        self._reassembly.give_up()
        for fragment in self._reassembly.given_up:
            packet = decode_datagram(fragment.frame, fragment.number, fragment.frame.data, fragment.ip)
            if isinstance(packet, Packet):
                self.skipped[_FRAGMENT] -= 1
                yield packet

    def _take_fragment(self, fragment: Fragment) -> Packet | str:
        whole = self._reassembly.add(fragment)
        if not self._keep_leftovers:
            self._reassembly.given_up.clear()
        return decode_datagram(fragment.frame, fragment.number, *whole) if whole else _FRAGMENT


def decode(capture: Capture) -> Decoded:
    """Decode all frames."""
    link_types = [interface.link_type for interface in capture.interfaces]
    decoder = Decoder(keep_leftovers=True)
    taken = (decoder.take(frame, n, link_types[frame.interface]) for n, frame in enumerate(capture.frames, 1))
    packets = [packet for packet in taken if packet is not None]
    if leftovers := list(decoder.leftovers()):
        packets = sorted([*packets, *leftovers], key=lambda packet: packet.number)
    return Decoded(tuple(packets), tuple((reason, count) for reason, count in decoder.skipped.items() if count))


def decode_frame(frame: Frame, number: int, link_type: int) -> Packet | str:
    """Decode one frame, which becomes packet `number`; or say in words why it is skipped."""
    ip = _read_headers(frame, link_type)
    return ip if isinstance(ip, str) else decode_datagram(frame, number, frame.data, ip)


def _read_headers(frame: Frame, link_type: int) -> Datagram | str:
    found = find_ip(frame.data, link_type)
    return found if isinstance(found, str) else read_ip(frame.data, *found, frame.length)
