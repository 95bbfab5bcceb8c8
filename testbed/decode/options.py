"""TCP options (RFC 9293 section 3.1, and the RFC at each row of the table).

A list that is damaged gives what could be read up to there and says `malformed`, also when an option that we know has
a length that it cannot have (MUST-7: no length is an error that stops anything).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any

from testbed.packet import NO_OPTIONS, Options

_END, _NO_OPERATION = 0, 1
_TIMESTAMPS_ALONE = b"\x01\x01\x08\x0a"  # how every stack sends them on data and ACKs (RFC 7323 appendix A)
_FAST_OPEN_EXPERIMENT = b"\xf9\x89"  # RFC 7413 section 4.1.1 note, RFC 6994
_PAIR = Struct(">II")


def _read_sack(value: bytes) -> tuple[tuple[int, int], ...]:
    return tuple((left, right) for left, right in _PAIR.iter_unpack(value))


def _read_number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _read_pair(value: bytes) -> tuple[int, int]:
    first, second = _PAIR.unpack(value)
    return first, second


def _is_there(value: bytes) -> bool:
    return True


# kind: (field of Options, lengths of the value that are legal, how to read it)
_KINDS: dict[int, tuple[str, range, Callable[[bytes], Any]]] = {
    2: ("mss", range(2, 3), _read_number),
    3: ("window_scale", range(1, 2), _read_number),
    4: ("sack_permitted", range(1), _is_there),
    5: ("sack", range(8, 33, 8), _read_sack),
    8: ("timestamps", range(8, 9), _read_pair),
    19: ("md5", range(16, 17), _is_there),
    30: ("mptcp", range(1, 39), _is_there),
    34: ("fast_open", range(17), bytes),
}
_EXPERIMENTS = frozenset({253, 254})


@lru_cache(maxsize=1024)
def read_options(data: bytes) -> Options:
    """Read an option list (the bytes between the fixed header and the payload)."""
    if not data:
        return NO_OPTIONS
    if len(data) == 12 and data[:4] == _TIMESTAMPS_ALONE:
        return Options(timestamps=_read_pair(data[4:]))
    return _read_list(data)


def _read_list(data: bytes) -> Options:
    known: dict[str, Any] = {}
    unknown: list[int] = []
    malformed = False
    at, end = 0, len(data)
    while at < end and data[at] != _END:
        kind = data[at]
        if kind == _NO_OPERATION:
            at += 1
            continue
        length = data[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            malformed = True
            break
        malformed |= not _read_option(kind, data[at + 2 : at + length], known, unknown)
        at += length
    return Options(**known, unknown=tuple(unknown), malformed=malformed)


def _read_option(kind: int, value: bytes, known: dict[str, Any], unknown: list[int]) -> bool:
    """Put one option where it belongs; False if it cannot have this length."""
    if kind in _EXPERIMENTS and value[:2] == _FAST_OPEN_EXPERIMENT:
        kind, value = 34, value[2:]
    if kind not in _KINDS:
        unknown.append(kind)
        return True
    name, lengths, read = _KINDS[kind]
    if len(value) not in lengths:
        return False
    known[name] = read(value)
    return True
