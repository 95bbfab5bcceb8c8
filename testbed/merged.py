"""Frames that a receiver's machine merged before its host saw them, put apart again by what their sender sent. Pure.

Between engines a segment comes out of a tunnel, and the tunnel's device may join segments that follow each other (GRO,
Linux Documentation/networking/segmentation-offloads): the host's own interface, whose offloads are off, then sees one
frame longer than any that was sent. Joining loses nothing but the edges, and those stand in the sender's capture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

from testbed.decode import decode
from testbed.packet import Packet, Protocol
from testbed.pcap.frame import Capture, Direction, Frame

Place = tuple[str, int, str, int, int]  # a flow, and a sequence number in it
Sent = Mapping[Place, list[tuple[Packet, Frame]]]


def unmerge(captures: Mapping[str, Capture]) -> dict[str, Capture]:
    """The captures of the hosts' own interfaces with every merged frame in the parts that it was sent in.

    The parts have the time at which the whole came in. A frame that cannot be told apart to the last byte stays.
    """
    outgoing = {name: _only(capture, Direction.OUT) for name, capture in captures.items()}
    known = {frame.data for capture in outgoing.values() for frame in capture.frames}
    strange = {
        name: {f.data for f in capture.frames if f.direction is Direction.IN and f.data not in known}
        for name, capture in captures.items()
    }
    if not any(strange.values()):
        return dict(captures)
    came = {frame.data for capture in captures.values() for frame in capture.frames if frame.direction is Direction.IN}
    sent: dict[Place, list[tuple[Packet, Frame]]] = defaultdict(list)
    for capture in outgoing.values():
        for packet in decode(capture).packets:
            frame = capture.frames[packet.number - 1]
            if packet.protocol == Protocol.TCP and packet.payload_length and frame.data not in came:
                sent[_place(packet, packet.sequence)].append((packet, frame))
    return {name: _unmerged(capture, strange[name], sent) for name, capture in captures.items()}


def _only(capture: Capture, direction: Direction) -> Capture:
    return replace(capture, frames=tuple(frame for frame in capture.frames if frame.direction is direction))


def _place(packet: Packet, sequence: int) -> Place:
    return packet.source, packet.source_port, packet.destination, packet.destination_port, sequence % 2**32


def _unmerged(capture: Capture, strange: set[bytes], sent: Sent) -> Capture:
    if not strange:
        return capture
    packets = {packet.number: packet for packet in decode(capture).packets}
    frames: list[Frame] = []
    for number, frame in enumerate(capture.frames, start=1):
        packet = packets.get(number) if frame.direction is Direction.IN and frame.data in strange else None
        parts = list(_parts(packet, sent)) if packet is not None and packet.protocol == Protocol.TCP else []
        # What was sent as two or more, and no other way: one part would be a frame that was changed on the way.
        frames += [replace(part, time_ns=frame.time_ns, direction=Direction.IN) for part in parts[1:] and parts] or [
            frame
        ]
    return replace(capture, frames=tuple(frames))


def _parts(merged: Packet, sent: Sent) -> Iterator[Frame]:
    """The frames that a merged one is made of, in order; nothing where they do not make up all of it.

    The whole has the IP identification of its first part; that of each further part is the next, or the same.
    """
    found: list[Frame] = []
    offset, ids = 0, {merged.ip_id}
    while offset < merged.payload_length:
        rest = merged.payload[offset:]
        fitting = (
            (packet, frame)
            for packet, frame in sent.get(_place(merged, merged.sequence + offset), ())
            if rest.startswith(packet.payload)
            and packet.ip_id in ids
            and (packet.acknowledgement, packet.options) == (merged.acknowledgement, merged.options)
        )
        packet, frame = next(fitting, (None, None))
        if packet is None or frame is None:
            return
        found.append(frame)
        offset += packet.payload_length
        ids = {packet.ip_id, None if packet.ip_id is None else (packet.ip_id + 1) % 2**16}
    yield from found
