"""Changes that know what an input is made of, so that what comes of them is read beyond its first byte.

Each mutator takes an input, the most bytes that may come out, chance, and `plain`, which changes bytes blindly
(libFuzzer's own, with its dictionary). What has lost its shape is left to `plain`.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Plain = Callable[[bytes, int], bytes]
Mutator = Callable[[bytes, int, Random, Plain], bytes]
Tree = Any  # what JSON holds

NUMBERS = (-1, 0, 1, 2, 3, 7, 64, 255, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63, 2**64 - 1)
SCALARS: tuple[Tree, ...] = (
    None,
    True,
    False,
    "",
    "x",
    [],
    {},
    0.5,
    -0.0,
    1e300,
    *NUMBERS,
    "\u202e",
    "\x1b[2J",
    "-",
    "*",
)
BYTES = (0, 1, 2, 5, 6, 8, 15, 17, 0x40, 0x45, 0x4F, 0x5F, 0x60, 0x7F, 0x80, 0xFE, 0xFF)
DEEPEST = 12

# ---------------------------------------------------------------- text


def text_mutator(words: Sequence[str]) -> Mutator:
    """Text of lines and words, such as YAML: a word of the grammar for a word of the text, a line moved or indented."""
    parts = re.compile(rb"[\w.+-]+|[^\w\s]")

    def change(data: bytes, most: int, chance: Random, plain: Plain) -> bytes:
        kind = chance.randrange(8)
        found = list(parts.finditer(data))
        if kind < 2 or not found:
            return plain(data, most)
        word = chance.choice(found)
        if kind < 6:
            new = chance.choice(words).encode() if kind < 5 else chance.choice(found)[0]
            data = data[: word.start()] + new + data[word.end() if kind > 2 else word.start() :]
        else:
            lines = data.split(b"\n")
            at = chance.randrange(len(lines))
            if kind == 6:
                lines.insert(chance.randrange(len(lines)), lines[at] if chance.random() < 0.5 else lines.pop(at))
            else:
                lines[at] = b" " * chance.randrange(6) + lines[at].lstrip()
            data = b"\n".join(lines)
        return data[:most]

    return change


# ---------------------------------------------------------------- JSON


def tree_mutator(words: Sequence[str], others: Sequence[Tree], typed: float = 0.0) -> Mutator:
    """Lines of JSON: values changed, keys renamed, parts taken out, doubled, moved, or brought in from other inputs.

    `typed`: how often a number stays a number, and a text a text.
    """

    def change(data: bytes, most: int, chance: Random, plain: Plain) -> bytes:
        if chance.randrange(16) == 0:
            return plain(data, most)
        lines = data.split(b"\n")
        at = chance.randrange(len(lines))
        kind = chance.randrange(10) if len(lines) > 1 else 9
        if kind == 0:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif kind == 1:
            del lines[at]
        else:
            try:
                tree = json.loads(lines[at])
            except (ValueError, RecursionError):
                tree = chance.choice(others)
            for _ in range(chance.choice((1, 1, 2, 3))):
                tree = change_tree(tree, words, others, chance, chance.random() < typed)
            lines[at] = json.dumps(tree).encode()
        made = b"\n".join(lines)
        return made if len(made) <= most else data[:most]

    return change


def change_tree(tree: Tree, words: Sequence[str], others: Sequence[Tree], chance: Random, typed: bool = False) -> Tree:
    """A tree with one change, somewhere; parts that do not change may be shared with the given one."""
    places: list[tuple[Any, ...]] = [()]
    _walk(tree, (), places)
    path = chance.choice(places)
    if typed:
        return _put(tree, path, lambda part: _change_value(part, words, chance))
    return _put(tree, path, lambda part: _change_part(part, tree, places, words, others, chance))


def _walk(tree: Tree, path: tuple[Any, ...], places: list[tuple[Any, ...]]) -> None:
    if len(path) > DEEPEST:
        return
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        places.append((*path, key))
        _walk(tree[key], (*path, key), places)


def _put(tree: Tree, path: tuple[Any, ...], change: Callable[[Tree], Tree]) -> Tree:
    if not path:
        return change(tree)
    copy = tree.copy()
    copy[path[0]] = _put(tree[path[0]], path[1:], change)
    return copy


def _part(tree: Tree, path: tuple[Any, ...]) -> Tree:
    for key in path:
        tree = tree[key]
    return tree


def _change_part(
    part: Tree,
    tree: Tree,
    places: Sequence[tuple[Any, ...]],
    words: Sequence[str],
    others: Sequence[Tree],
    chance: Random,
) -> Tree:
    kind = chance.randrange(12)
    if isinstance(part, dict) and part and kind < 6:
        key = chance.choice(list(part))
        if kind < 2:
            return {name: value for name, value in part.items() if name != key}
        if kind == 2:
            return {(chance.choice(words) if name == key else name): value for name, value in part.items()}
        return {**part, chance.choice(words): chance.choice((*part.values(), *SCALARS))}
    if isinstance(part, list) and part and kind < 6:
        at = chance.randrange(len(part))
        return part[:at] + part[at + 1 :] if kind < 2 else [*part[:at], part[chance.randrange(len(part))], *part[at:]]
    if type(part) is int and kind < 7:
        return part + chance.choice((-1, 1, -1000, 1000, 10**9, -(10**9), part, -2 * part))
    if isinstance(part, str) and kind < 7:
        return _change_text(part, words, chance)
    if kind < 9:
        return chance.choice((*SCALARS, chance.choice(words)))
    if kind == 9:
        return [part] if chance.random() < 0.5 else {chance.choice(words): part}
    source = chance.choice(others) if kind == 10 and others else tree
    found: list[tuple[Any, ...]] = [()]
    _walk(source, (), found)
    return _part(source, chance.choice(found if source is not tree else places))


def _change_value(part: Tree, words: Sequence[str], chance: Random) -> Tree:
    if type(part) is int:
        return chance.choice((part + 1, part - 1, part + 10**9, part - 10**9, part * 1000, *NUMBERS))
    if isinstance(part, bool | float):
        return not part if isinstance(part, bool) else chance.choice((0.0, -1.0, 1e300, part * 2))
    if isinstance(part, list) and part:
        at = chance.randrange(len(part))
        return part[:at] + part[at + 1 :] if chance.random() < 0.5 else [*part, part[at]]
    if isinstance(part, str):
        return _change_text(part, words, chance) if chance.random() < 0.6 else chance.choice(words)
    return part


def _change_text(text: str, words: Sequence[str], chance: Random) -> str:
    numbers = list(re.finditer(r"\d+", text))
    if numbers and chance.random() < 0.6:
        number = chance.choice(numbers)
        return text[: number.start()] + str(chance.choice(NUMBERS)) + text[number.end() :]
    at = chance.randrange(len(text) + 1)
    return (
        text[:at] + chance.choice((*words, "\0", "\u202e", "\u2028", ":", "..", "")) + text[at + chance.randrange(3) :]
    )


# ---------------------------------------------------------------- frames and packets


def change_frame(frame: bytes, chance: Random) -> bytes:
    """A frame with a byte or a number of its headers changed, cut, or grown; mostly within the first 80 bytes."""
    data = bytearray(frame)
    if not data:
        return bytes(chance.choice((14, 34, 54)))
    at, kind = chance.randrange(min(len(data), 80)), chance.randrange(10)
    if kind < 3:
        data[at] = chance.choice(BYTES)
    elif kind < 5:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 5:
        data[at] = (data[at] + chance.choice((-1, 1, 4, 16))) & 255
    elif kind == 6:
        data[at : at + 2] = struct.pack(">H", chance.choice(NUMBERS) & 0xFFFF)
    elif kind == 7:
        data[at : at + 4] = struct.pack(">I", chance.choice(NUMBERS) & 0xFFFFFFFF)
    elif kind == 8:
        del data[at : at + chance.choice((1, 2, 4, 8, 200))]
    else:
        size = chance.choice((1, 2, 4, 8))
        data[at:at] = data[at : at + size] if chance.random() < 0.5 else bytes(size)
    return bytes(data)


def frames_mutator(data: bytes, most: int, chance: Random, plain: Plain) -> bytes:
    """A byte that chooses, and frames with a byte of length before each: a frame changed, doubled, moved, taken out."""
    if chance.randrange(10) == 0 or len(data) < 3:
        return plain(data, most)
    head, frames = data[:1], split_frames(data[1:])
    at, kind = chance.randrange(len(frames)), chance.randrange(12)
    if kind == 0:
        head = bytes((chance.randrange(256),))
    elif kind == 1:
        frames.insert(chance.randrange(len(frames) + 1), frames[at])
    elif kind == 2:
        frames.insert(chance.randrange(len(frames)), frames.pop(at))
    elif kind == 3:
        del frames[at]
    elif kind == 4:
        frames[at] = plain(frames[at], 255)
    else:
        for _ in range(chance.choice((1, 1, 2, 4))):
            frames[at] = change_frame(frames[at], chance)[:255]
    return (head + b"".join(bytes((len(frame),)) + frame for frame in frames))[:most]


def split_frames(data: bytes) -> list[bytes]:
    """Frames, each with a byte of length before it; the last may be cut."""
    frames = []
    while data:
        frames.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return frames


# ---------------------------------------------------------------- capture files

_PACKETS = {6: 28, 2: 28, 3: 12}  # pcapng's kinds of packet block, and where the frame begins


def capture_mutator(data: bytes, most: int, chance: Random, plain: Plain) -> bytes:
    """A pcap or pcapng file: its blocks or records changed, doubled, moved, taken out; lengths stay right, mostly."""
    parts = _parts(data)
    kind = chance.randrange(16)
    if len(parts) < 2 or kind == 0:
        return plain(data, most)
    at = chance.randrange(len(parts))
    if kind == 1:
        parts.insert(chance.randrange(1, len(parts) + 1), parts[at])
    elif kind == 2:
        parts.insert(chance.randrange(len(parts)), parts.pop(at))
    elif kind == 3:
        del parts[at]
    elif kind == 4:
        parts[at] = plain(parts[at], len(parts[at]) + 8)
    else:
        change = _change_block if data[:4] == b"\x0a\x0d\x0d\x0a" else _change_record
        parts[at] = change(parts[at], _order(data), at, chance)
    return b"".join(parts)[:most]


def _order(data: bytes) -> str:
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return "<" if data[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
    return ">" if data[:1] in (b"\xa1", b"\x1c") else "<"


def _parts(data: bytes) -> list[bytes]:
    """The file's header and records, or its blocks; what follows damage is one part."""
    order, parts = _order(data), list[bytes]()
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        while len(data) >= 12:
            size = struct.unpack_from(order + "I", data, 4)[0] + 3 & ~3
            if not 12 <= size <= len(data):
                break
            parts.append(data[:size])
            data = data[size:]
    elif len(data) >= 24:
        parts, data = [data[:24]], data[24:]
        while len(data) >= 16:
            size = 16 + struct.unpack_from(order + "I", data, 8)[0]
            if size > len(data):
                break
            parts.append(data[:size])
            data = data[size:]
    return [*parts, data] if data else parts


def _change_record(record: bytes, order: str, at: int, chance: Random) -> bytes:
    if at == 0 or len(record) < 16 or chance.randrange(4) == 0:
        return _change_number(record, order, 24 if at == 0 else 16, chance)
    seconds, fraction, _, length = struct.unpack_from(order + "IIII", record)
    frame = change_frame(record[16:], chance)
    return struct.pack(order + "IIII", seconds, fraction, len(frame), max(length, len(frame))) + frame


def _change_block(block: bytes, order: str, at: int, chance: Random) -> bytes:
    if len(block) < 12 or chance.randrange(6) == 0:
        return _change_number(block, order, len(block), chance)
    (kind,) = struct.unpack_from(order + "I", block)
    body, start = block[8:-4], _PACKETS.get(kind, 0) - 8
    if start > 0 and len(body) >= start and chance.randrange(5):
        here = start - 8 if kind != 3 else 0  # where the length that was captured stands
        (captured,) = struct.unpack_from(order + "I", body, here)
        frame, options = body[start : start + captured], body[start + (captured + 3 & ~3) :]
        frame = change_frame(frame, chance)
        head = body[:here] + struct.pack(order + "I", len(frame)) + body[here + 4 : start]
        body = head + frame + bytes(-len(frame) % 4) + options
    elif chance.randrange(3):
        body = _change_number(body, order, len(body), chance)
    else:
        value = chance.choice((b"", b"x", b"\x06", b"\x80", bytes(8), b"\xff" * 8, b"\xed\xa0\x80", b"a" * 40))
        option = struct.pack(order + "HH", chance.choice((0, 1, 2, 3, 4, 5, 7, 9, 11, 14)), len(value)) + value
        body += option + bytes(-len(value) % 4)
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def _change_number(data: bytes, order: str, within: int, chance: Random) -> bytes:
    room = min(within, len(data)) // 2
    if not room:
        return data + bytes(4)
    at, width = chance.randrange(room) * 2, chance.choice((2, 4))
    number = chance.choice(NUMBERS) & ((1 << 8 * width) - 1)
    packed = number.to_bytes(width, "little" if order == "<" else "big")
    return data[:at] + packed + data[at + width :]
