"""TCP headers rewritten on their way: options taken out, fields set, lengths and checksums made right again.

A stripped option leaves no trace: the options that stay are laid out as a stack lays them out that never had it, with
NOPs in front so that each ends on a 32-bit boundary (SACK-permitted and timestamps stand together, as Linux writes
them), and the header is so much shorter. Where nothing is taken out or added, the options stay where they are.

`seq` and `ack` count modulo 2^32; the other numbers stop at their ends. A number is absolute, a text such as "+100" or
"-1" is added to what is there. `mss` and `window_scale` that a packet lacks are added when absolute, if there is room.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from testbed.agent import forge

# name: the kinds of option it means (IANA's TCP parameters); SACK-permitted and SACK; fast open, and its experiment
STRIPPED = {"mss": (2,), "sack": (4, 5), "timestamps": (8,), "window-scale": (3,), "fast-open": (34,)}
_EXPERIMENT = b"\xf9\x89"  # RFC 6994, 7413: fast open under kind 254
_NOP, _END, _MSS, _SCALE, _SACK_PERMITTED, _TIMESTAMPS = 1, 0, 2, 3, 4, 8
_ROOM = 40

FLAGS = {name: 1 << bit for bit, name in enumerate(("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"))}


class Place(NamedTuple):
    """Where a number is: in the TCP header at an offset, in an option of a kind, or (neither) in the IP header."""

    largest: int
    layout: struct.Struct
    offset: int | None = None
    option: int | None = None


_BYTE, _SHORT, _LONG = struct.Struct("!B"), struct.Struct("!H"), struct.Struct("!I")
NUMBERS = {
    "window": Place(0xFFFF, _SHORT, offset=14),
    "window_scale": Place(0xFF, _BYTE, option=_SCALE),
    "mss": Place(0xFFFF, _SHORT, option=_MSS),
    "seq": Place(0xFFFFFFFF, _LONG, offset=4),
    "ack": Place(0xFFFFFFFF, _LONG, offset=8),
    "ttl": Place(0xFF, _BYTE),
}


class Change(NamedTuple):
    """What a number becomes: `by`, or `by` more."""

    by: int
    relative: bool = False

    def of(self, number: int, largest: int) -> int:
        """The number changed: what counts in 32 bits wraps, what is smaller stops at 0 and at the largest."""
        if not self.relative:
            return self.by
        changed = number + self.by
        return changed & largest if largest == 0xFFFFFFFF else min(max(changed, 0), largest)


class Rewriting(NamedTuple):
    """What is done to a packet: kinds of option taken out, numbers changed, flags set."""

    strip: frozenset[int] = frozenset()
    numbers: Mapping[str, Change] = {}
    flags: int | None = None


def read_strip(place: str, given: Any) -> frozenset[int]:
    """The kinds of option that these names mean. Raises ValueError."""
    if not isinstance(given, (list, tuple)) or any(name not in tuple(STRIPPED) for name in given):
        raise ValueError(f"{place} is {given!r}; it is a list of {', '.join(STRIPPED)}")
    return frozenset(kind for name in given for kind in STRIPPED[name])


def read_set(place: str, given: Any) -> tuple[Mapping[str, Change], int | None]:
    """Changed numbers, and flags, as a message holds them. Raises ValueError."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{place} is {given!r}; it has keys of {', '.join(NUMBERS)} and flags")
    for name in given:
        if name not in NUMBERS and name != "flags":
            raise ValueError(f"{place}.{name} is no field; there are {', '.join(NUMBERS)} and flags")
    flags = given.get("flags")
    numbers = {
        name: _read_number(f"{place}.{name}", value, NUMBERS[name].largest)
        for name, value in given.items()
        if name != "flags" and value is not None
    }
    return numbers, None if flags is None else _read_flags(f"{place}.flags", flags)


def _read_number(place: str, given: Any, largest: int) -> Change:
    if isinstance(given, str) and re.fullmatch(r"[+-]\d{1,10}", given):
        return Change(int(given), relative=True)
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given <= largest:
        raise ValueError(f"{place} is {given!r}; it is 0 to {largest}, or a text such as +1 or -1")
    return Change(given)


def _read_flags(place: str, given: Any) -> int:
    names = given.split("+") if isinstance(given, str) and given else [] if given == "" else [given]
    if any(name not in FLAGS for name in names):
        raise ValueError(f"{place} is {given!r}; it is names joined by +: {', '.join(FLAGS)}")
    return sum(FLAGS[name] for name in set(names))


def rewrite(frame: bytes, where: forge.Where, asked: Rewriting) -> bytes:
    """The frame with a TCP packet rewritten; the frame itself where nothing changes."""
    head, header = bytearray(frame[: where.start]), bytearray(frame[where.start : where.start + 20])
    for name, change in asked.numbers.items():
        place = NUMBERS[name]
        if place.offset is not None:
            _change(header, place.offset, place, change)
        elif place.option is None:
            _change(head, 22 if frame[12:14] == forge.IPV4 else 21, place, change)  # TTL, hop limit
    options = _rewrite_options(frame[where.start + 20 : where.body], asked)
    if asked.flags is not None:
        header[12:14] = _SHORT.pack(_SHORT.unpack_from(header, 12)[0] & 0xFE00 | asked.flags)
    header[12] = (5 + len(options) // 4) << 4 | header[12] & 0x0F
    if head + header + options == frame[: where.body]:
        return frame
    return forge.seal(bytes(head), bytes(header) + options + frame[where.body : where.end], 16)


def _change(data: bytearray, offset: int, place: Place, change: Change) -> None:
    place.layout.pack_into(data, offset, change.of(place.layout.unpack_from(data, offset)[0], place.largest))


def _rewrite_options(options: bytes, asked: Rewriting) -> bytes:
    changed = bytearray(options)
    missing = {NUMBERS[name].option: name for name in asked.numbers if NUMBERS[name].option is not None}
    for at, option in each_option(options):
        name = missing.get(option[0])
        if name and option[1:2] == bytes((len(option),)) == bytes((2 + NUMBERS[name].layout.size,)):
            _change(changed, at + 2, NUMBERS[name], asked.numbers[name])
            del missing[option[0]]
    found = [option for _, option in each_option(bytes(changed))]
    kept = [option for option in found if not _is_stripped(option, asked.strip)]
    added = [_make_option(name, asked.numbers[name]) for name in missing.values() if not asked.numbers[name].relative]
    if added and len(lay_out(added + kept)) <= _ROOM:
        return lay_out(added + kept)
    return lay_out(kept) if kept != found else bytes(changed)


def _make_option(name: str, change: Change) -> bytes:
    value = NUMBERS[name].layout.pack(change.by)
    return bytes((NUMBERS[name].option or 0, 2 + len(value))) + value


def _is_stripped(option: bytes, strip: frozenset[int]) -> bool:
    if option[1:2] != bytes((len(option),)):  # of no sensible length
        return False
    return option[0] in strip or (34 in strip and option[0] == 254 and option[2:4] == _EXPERIMENT)


def each_option(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Where each option is, and its bytes, without NOPs and what stands behind the end.

    What has no sensible length is given last, with all that follows; its kind then means nothing to anybody.
    """
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            yield at, options[at:]
            return
        yield at, options[at : at + length]
        at += length


def lay_out(options: list[bytes]) -> bytes:
    """Options padded as a stack writes them; packed tightly where that would be too long."""
    laid = b""
    for option, following in zip(options, [*options[1:], b"\0"]):
        together = option[0] == _SACK_PERMITTED and following[0] == _TIMESTAMPS
        padding = 0 if together else -(len(laid) + len(option)) % 4
        laid += bytes((_NOP,)) * padding + option
    if len(laid) > _ROOM:
        laid = b"".join(options)
    return laid + bytes(-len(laid) % 4)
