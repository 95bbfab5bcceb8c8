"""The wire's ledger laid to packets: which packet seen did each fault meet, and which did it make?

An entry names the host on whose arrival side it happened, and packets by the digest of their bytes. The one that came
is the most recent of those bytes that had come in by then; one that was made is the first of its bytes that came out of
the link after it, or went out of the host's interface as an answer to the sender.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b

from testbed.evidence import FaultFired, Made
from testbed.packet import Packet
from testbed.pcap.frame import Frame
from testbed.plan import Plan
from testbed.scenario.faults import Fault
from testbed.verdict.ways import CLOCKS_NS, Copies, Key, Stage, Way

ALTERING = frozenset({"rewrite", "corrupt"})  # what they make takes the place of the packet that came

Digest = Callable[[Packet], str]


def digest(frame: bytes) -> str:
    """A packet's name in the ledger: BLAKE2b of its bytes from the IP header to the end that the header tells."""
    header, at = (40, 18) if frame[12:14] == b"\x86\xdd" else (0, 16)
    end = 14 + header + int.from_bytes(frame[at : at + 2])
    return blake2b(frame[14:end], digest_size=8).hexdigest()


def lay(fired: Iterable[FaultFired], copies: Mapping[Key, Copies], frames: tuple[Frame, ...]) -> list[Way]:
    """Set `fault` of each way that an entry met, and what came of it; gives the ways of packets forged to receivers."""
    entries = sorted(fired, key=lambda entry: entry.time_ns)
    if not entries:
        return []
    seen = _Seen({entry.host for entry in entries}, copies, lambda packet: digest(frames[packet.number - 1].data))
    return [way for entry in entries for way in _lay(entry, seen)]


class _Seen:
    """Ways and deliveries of the hosts that the ledger speaks of, by digest."""

    def __init__(self, hosts: set[str], copies: Mapping[Key, Copies], name: Digest) -> None:
        self.arrivals: dict[tuple[str, str], list[Way]] = {}
        self.answers: dict[tuple[str, str], list[Way]] = {}
        self.deliveries: dict[tuple[str, str], list[tuple[Copies, Packet]]] = {}
        self.copies = copies
        for group in copies.values():
            for way in group.ways if group.destination in hosts else ():
                self.arrivals.setdefault((group.destination, name(way.last)), []).append(way)
            for way in group.ways if group.source in hosts else ():
                self.answers.setdefault((group.source, name(way.first)), []).append(way)
            for packet in group.deliveries if group.destination in hosts else ():
                self.deliveries.setdefault((group.destination, name(packet)), []).append((group, packet))

    def take_delivery(self, entry: FaultFired, made: Made) -> tuple[Copies, Packet] | None:
        """The first delivery of a made packet that is left, after the fault."""
        left = self.deliveries.get((entry.host, made.packet), [])
        found = next((one for one in left if one[1].time_ns >= entry.time_ns - CLOCKS_NS), None)
        if found is not None:
            left.remove(found)
            found[0].deliveries.remove(found[1])
        return found


def _lay(entry: FaultFired, seen: _Seen) -> Iterator[Way]:
    arrivals = seen.arrivals.get((entry.host, entry.packet), [])
    before = [way for way in arrivals if way.fault is None and way.last.time_ns <= entry.time_ns + CLOCKS_NS]
    met = max(before, key=lambda way: way.last.time_ns) if before else None
    if met is not None:
        met.fault, met.taken = entry, not entry.passed
    for made in entry.made:
        if made.to == "sender":
            _lay_answer(entry, seen, made)
        elif made.packet == entry.packet:
            if met is not None:
                seen.copies[met.key].copied_by.append(entry)
        elif (found := seen.take_delivery(entry, made)) is not None:
            group, packet = found
            if entry.action in ALTERING and met is not None:
                met.seen[Stage.DELIVERED], met.altered = packet, True
            else:
                yield Way(group.key, group.source, group.destination, {Stage.DELIVERED: packet}, entry, forged=True)


def _lay_answer(entry: FaultFired, seen: _Seen, made: Made) -> None:
    answers = seen.answers.get((entry.host, made.packet), [])
    after = (way for way in answers if not way.forged and way.first.time_ns >= entry.time_ns - CLOCKS_NS)
    if (found := min(after, key=lambda way: way.first.time_ns, default=None)) is not None:
        found.fault, found.forged = entry, True


def endpoint(address: str, port: int) -> str:
    """`198.18.0.2:80` or `[fd00::2]:80`."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def sent_by(rule: Fault, host: str, plan: Plan) -> bool:
    """Whether a fault is about packets that this host sends."""
    return any(rule.from_ in (peer.name, peer.role) for peer in plan.hosts if peer.name == host)


def title(entry: FaultFired, plan: Plan) -> str:
    """What a fault did, for people: `fault 0: drop SYN-ACK`."""
    rules = plan.scenario.faults
    what = rules[entry.rule].kind.value if 0 <= entry.rule < len(rules) else entry.says
    return f"fault {entry.rule}: {entry.action} {what}"
