"""Packets in, connections out as soon as they are over: for captures that do not fit into memory.

`Follower` sorts the packets of one vantage point, in order of time, into connections. A connection is given out when

* a new one took its endpoints (see `rival`), or
* it is closed (both FINs, or a reset) and silent for longer than LINGER_NS, twice the maximum segment lifetime of RFC
  9293 section 3.4.2: nothing of it can still be under way. A packet that comes later begins another connection. This is
  so whether or not connections are given out early, so the result is the same;
* it is closed and more than `keep_closed` others closed since (only if that is set, so that memory does not grow with
  the rate of connections): a straggler begins another connection then.

Connections that never close are kept until the end: an unanswered SYN sent again an hour later with the same number is
the same attempt.

The loop in `follow` is the hot path of `testbed analyze`. A plain segment (ACK, perhaps PSH, in order, within the
window, acknowledging what was sent) of a *calm* connection changes nothing but where the two ends are, and is dealt
with on the spot; every other packet goes to `Tracker.feed`. Each attribute of a packet is read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from testbed.packet import NO_OPTIONS, Packet, Protocol
from testbed.tcp.conclude import conclude
from testbed.tcp.connection import Connection
from testbed.tcp.lane import Key, Lane, is_fresh, is_whole
from testbed.tcp.rival import Rival
from testbed.tcp.talk import ACK, RST, SYN
from testbed.tcp.tracker import Tracker
from testbed.tcp.wireshark import ACK as ACK_BIT
from testbed.tcp.wireshark import DATA as DATA_BIT
from testbed.tcp.zeek_cuts import Timers

LINGER_NS = 240_000_000_000
KEEP_CLOSED = 4096  # for those who want memory bounded
_PLAIN, _PUSHED = ACK, ACK | 8
_TCP = int(Protocol.TCP)


class Follower:
    """Follows all connections of a capture; `take` packets in order of time, then `finish`."""

    def __init__(
        self, *, keep_stream: bool = False, keep_closed: int | None = KEEP_CLOSED, zeek_cuts: bool = False
    ) -> None:
        self._keep_stream = keep_stream
        self._keep_closed = keep_closed
        self._zeek_cuts = zeek_cuts
        self._lanes: dict[Key, Lane] = {}
        self._closed: deque[tuple[Tracker, Lane]] = deque()  # over, the longest first
        self._done: list[Tracker] = []

    def take(self, packet: Packet) -> tuple[Connection, ...]:
        """The next packet; gives the connections that are over by now."""
        return tuple(self.follow((packet,)))

    def finish(self) -> tuple[Connection, ...]:
        """No more packets: all that is left, in order of first packets."""
        for lane in self._lanes.values():
            if lane.first:
                self._finish(lane)
        self._lanes.clear()
        self._closed.clear()
        done, self._done = self._done, []
        done.sort(key=lambda talk: talk.first_number)
        return tuple(conclude(talk) for talk in done)

    def follow(self, packets: Iterable[Packet]) -> Iterator[Connection]:
        """Take many packets; gives connections once they are over."""
        lanes = self._lanes
        find = lanes.get
        done = self._done
        slow = self._take_cut if self._zeek_cuts else self._take
        for packet in packets:
            if packet.protocol != _TCP:
                continue
            key = (packet.source, packet.source_port, packet.destination, packet.destination_port)
            lane = find(key)
            if lane is None:
                self._open(key, packet)
                if done:
                    yield from self._give()
                continue
            talk = lane.talk
            if talk.calm and ((flags := packet.flags) == _PLAIN or flags == _PUSHED):
                me, peer = lane.me, lane.peer
                start = packet.sequence - me.base
                ack = packet.acknowledgement - peer.base
                window = packet.window
                if (
                    start == me.next
                    and me.ack <= ack <= peer.next
                    and window
                    and peer.window
                    and packet.checksum_ok is not False
                ):
                    length = packet.payload_length
                    number = packet.number
                    options = packet.options
                    if length:
                        end = start + length
                        if (
                            end > peer.edge
                            or (me.stamped if options is NO_OPTIONS else not is_fresh(me, peer, options, start))
                            or (length > me.largest and not is_whole(me, packet, length))
                        ):
                            slow(lane, packet)
                            continue
                        sink = me.stream.sink
                        if sink is not None:
                            payload = packet.payload
                            if len(payload) != length:
                                slow(lane, packet)
                                continue
                            sink.append(payload)
                        if ip_id := packet.ip_id:
                            me.ids[ip_id] = packet.time_ns
                        me.data.append(number)
                        me.next = end
                        if me.data_letter:
                            talk.completeness |= DATA_BIT
                            talk.zeek.letters.append(me.data_letter)
                            me.data_letter = ""
                    else:
                        asks = ack == me.ack and window == me.window and peer.next > ack
                        if asks or (options is not NO_OPTIONS and not is_fresh(me, peer, options, start)):
                            slow(lane, packet)
                            continue
                        if me.ack_letter:
                            talk.completeness |= ACK_BIT
                            talk.zeek.letters.append(me.ack_letter)
                            me.ack_letter = ""
                    talk.packets.append(number)
                    talk.last_ns = packet.time_ns
                    if ack > me.ack:
                        me.ack = ack
                        me.asks = 0
                    me.window = window
                    edge = ack + (window << me.shift)
                    if edge > me.edge:
                        me.edge = edge
                    continue
            slow(lane, packet)
            if done:
                yield from self._give()

    def _give(self) -> Iterator[Connection]:
        done = self._done[:]
        self._done.clear()
        return map(conclude, done)

    # Odd packets

    def _open(self, key: Key, packet: Packet) -> None:
        """The first packet between two endpoints."""
        talk = Tracker(packet, self._keep_stream)
        lane = self._lanes[key] = Lane(key, talk, True)
        if talk.a is not talk.b:
            back = (key[2], key[3], key[0], key[1])
            lane.back = self._lanes[back] = Lane(back, talk, False)
            lane.back.back = lane
        flags = int(packet.flags)
        if self._zeek_cuts:
            lane.timers = lane.back.timers = Timers(packet)
        talk.feed(packet, talk.a, talk.b, flags)
        if talk.reset is not None or talk.fins:
            self._see_whether_over(lane, packet)

    def _take(self, lane: Lane, packet: Packet) -> None:
        talk = lane.talk
        flags = int(packet.flags)
        if packet.time_ns - talk.last_ns > LINGER_NS and talk.is_over and talk.rival is None:
            self._renew(lane, packet)
            talk = lane.talk
        rival = talk.rival
        if flags & (SYN | ACK | RST) == SYN and packet.checksum_ok is not False:
            self._take_syn(lane, packet, flags)
        elif rival is None:
            talk.feed(packet, lane.me, lane.peer, flags)
        else:
            from_a = lane.me is talk.a
            against = from_a != rival.from_a or talk.a is talk.b
            if against and rival.talk.answers(packet, rival.talk.a, flags):
                self._promote(lane)
            else:
                rival.watch(packet, from_a, flags)
            lane.talk.feed(packet, lane.me, lane.peer, flags)
        talk = lane.talk
        if (talk.reset is not None or talk.fins) and not talk.queued:
            self._see_whether_over(lane, packet)

    def _take_syn(self, lane: Lane, packet: Packet, flags: int) -> None:
        talk = lane.talk
        rival = talk.rival
        from_a = lane.me is talk.a
        if rival is not None:
            same_way = from_a == rival.from_a
            me, peer = (rival.talk.a, rival.talk.b) if same_way else (rival.talk.b, rival.talk.a)
            if rival.talk.takes_syn(packet, me, peer):
                rival.talk.feed(packet, me, peer, flags)
                if same_way:
                    rival.held.append(packet.number)
                else:
                    self._promote(lane)
                return
        if talk.takes_syn(packet, lane.me, lane.peer):
            talk.feed(packet, lane.me, lane.peer, flags)
            return
        if rival is not None:
            self._settle(lane, last=False)
        if lane.talk.calm:
            lane.talk.grow_alert()
        fresh = Rival(Tracker(packet, self._keep_stream), lane.me is lane.talk.a)
        fresh.held.append(packet.number)
        fresh.talk.feed(packet, fresh.talk.a, fresh.talk.b, flags)
        lane.talk.rival = fresh

    def _settle(self, lane: Lane, *, last: bool) -> None:
        """The rival gets no answer any more: a stray, or a connection of its own."""
        talk = lane.talk
        rival = talk.rival
        if rival is None:
            return
        if rival.is_stray(talk, last=last):
            rival.fold(talk)
            talk.rival = None
        else:
            self._promote(lane)

    def _promote(self, lane: Lane) -> None:
        """The rival is the connection now."""
        talk = lane.talk
        rival = talk.rival
        if rival is None:
            return
        self._done.append(talk)
        forward = (lane.me is talk.a) == rival.from_a
        lane.set(rival.talk, forward)
        lane.back.set(rival.talk, forward if lane.back is lane else not forward)

    def _finish(self, lane: Lane) -> None:
        self._settle(lane, last=True)
        self._done.append(lane.talk)

    def _renew(self, lane: Lane, packet: Packet) -> None:
        """The old connection is long over: this packet begins another."""
        self._done.append(lane.talk)
        talk = Tracker(packet, self._keep_stream)
        lane.set(talk, True)
        if lane.back is not lane:
            lane.back.set(talk, False)

    # Giving out

    def _see_whether_over(self, lane: Lane, packet: Packet) -> None:
        talk = lane.talk
        if talk.queued or not talk.is_over:
            return
        talk.queued = True
        closed = self._closed
        closed.append((talk, lane))
        now, limit = packet.time_ns, self._keep_closed
        while closed:
            crowded = limit is not None and len(closed) > limit
            waiting, lane = closed[0]
            if not crowded and now - waiting.last_ns <= LINGER_NS and waiting is lane.talk:
                break
            closed.popleft()
            if waiting is lane.talk:
                self._give_out(waiting, lane)

    def _give_out(self, talk: Tracker, lane: Lane) -> None:
        talk.queued = False
        if talk.rival is not None or not talk.is_over:
            return  # it looked over, and is not; or its end is open to question
        self._done.append(talk)
        del self._lanes[lane.key]
        self._lanes.pop(lane.back.key, None)  # the same for a self-connect

    # Zeek's cuts

    def _take_cut(self, lane: Lane, packet: Packet) -> None:
        timers = lane.timers
        flags = int(packet.flags)
        if timers is not None and timers.cut(packet, flags):
            self._renew(lane, packet)
            timers = lane.timers = lane.back.timers = Timers(packet)
        elif timers is not None:
            timers.take(packet, flags)
        talk = lane.talk
        talk.feed(packet, lane.me, lane.peer, flags)
        if talk.calm:
            talk.grow_alert()  # the timers want to see every packet


def follow(
    packets: Iterable[Packet],
    *,
    keep_stream: bool = False,
    keep_closed: int | None = KEEP_CLOSED,
    zeek_cuts: bool = False,
) -> Iterator[Connection]:
    """The TCP connections in `packets`, each as soon as it is over, the rest at the end."""
    follower = Follower(keep_stream=keep_stream, keep_closed=keep_closed, zeek_cuts=zeek_cuts)
    yield from follower.follow(packets)
    yield from follower.finish()
