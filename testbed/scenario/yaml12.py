"""YAML text to a tree of plain values that know their lines: YAML 1.2's core schema, and none of YAML's traps.

PyYAML scans and parses; what its events mean is decided here, by the YAML 1.2.2 specification, section 10.3 (`on`,
`yes` and `22:22` are text, `0777` is decimal), and more strictly than there: keys are text and stand once, there is one
document, no tag but the core ones, no merge key, no alias inside what it names. Nesting and the number of values
(aliases expanded) are bounded, so that no file takes long. Reading goes on after a mistake where the rest has meaning.

Two places of a scenario are read as people write them: ports and faults are named by number, so that a number may be
a key there (NUMBERED); and a sequence number with a sign is relative, so that the sign stays (SIGNED).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from testbed.scenario.mistakes import MOST, Mistake, Path, Source

MOST_BYTES = 1 << 20
MOST_VALUES = 50_000  # aliases expanded
MOST_DEPTH = 40
NUMBERED = frozenset({"ports", "faults"})  # mappings whose keys may be whole numbers
SIGNED = frozenset({"seq", "ack"})  # values in which +100 is not 100
_LARGEST_NUMBER = 2**63

_CORE_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"null|Null|NULL|~|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")

# YAML 1.2.2 section 10.3.2, in its order: pattern, core tag, meaning.
CORE: tuple[tuple[re.Pattern[str], str, Callable[[str], Any]], ...] = (
    (_NULL, "null", lambda text: None),
    (_TRUE, "bool", lambda text: True),
    (_FALSE, "bool", lambda text: False),
    (_DECIMAL, "int", int),
    (_OCTAL, "int", lambda text: int(text[2:], 8)),
    (_HEXADECIMAL, "int", lambda text: int(text, 16)),
    (_FLOAT, "float", float),
    (_INFINITE, "float", lambda text: float(text.replace(".", ""))),
    (_NAN, "float", lambda text: float("nan")),
)

_BREAK = re.compile(r"\r\n|\r|\n")
# Not printable in YAML; or a line break (next line, line and paragraph separator) or nothing (byte order mark) in 1.1.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SURROGATE_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")

# What PyYAML says, by its beginning, and what it means to who wrote the file.
_PARSER_WORDS = (
    (r"found character '\\t'", "a tab; YAML is indented with spaces"),
    (r"found character (?P<what>'.') that", "text cannot begin with {what}; put it in quotes"),
    (
        r"mapping values are not allowed",
        "a `key: value` cannot stand here; check the indentation, and put text that has a colon in quotes",
    ),
    (r"could not find expected ':'", "this line should be `key: value`, and has no colon"),
    (r"found unexpected end of stream|found unexpected document separator", "this quote is never closed"),
    (r"expected ',' or '(?P<what>[\]}])'", "a comma or the closing {what} should be here"),
    (r"expected <block end>", "this line's indentation fits none above it"),
    (
        r"found unknown escape character (?P<what>.*)",
        "{what} is no escape in double quotes; write \\\\ for a backslash",
    ),
    (r"found undefined tag handle|expected .*tag|found unexpected ':'", "no tag belongs here; put the text in quotes"),
    (r"found a (tab character|duplicate|YAML)|found incompatible", "{problem}"),
)
_QUOTED_CONTEXT = "while scanning a quoted scalar"
_UNCLOSED = ("found unexpected end of stream", "found unexpected document separator")


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place (line and column from 1), and those of its keys and of what it holds.

    `broken`: the value could not be read, so nothing can be said of it.
    `incomplete`: a key of the mapping could not be read.
    """

    value: Any
    line: int
    column: int
    items: Mapping[str | int, Node] = field(default_factory=dict)
    keys: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    height: int = 1
    broken: bool = False
    incomplete: bool = False

    def walk(self, path: Path) -> Iterator[Node]:
        """This node and those along the path, as far as there are any."""
        node = self
        yield node
        for part in path:
            if part not in node.items:
                return
            node = node.items[part]
            yield node

    def place(self, path: Path, at_key: bool = False) -> tuple[int, int]:
        """Line and column of the value at the path, or of its key; where there is none, of the key above."""
        nodes = list(self.walk(path))
        depth = len(nodes) - 1
        key = path[depth - 1] if depth and (at_key or depth < len(path)) else None
        return nodes[-2].keys[key] if isinstance(key, str) else (nodes[-1].line, nodes[-1].column)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds: its lines, the tree (None where it is empty, or no YAML), and the mistakes in its YAML."""

    source: Source
    root: Node | None
    mistakes: tuple[Mistake, ...] = ()


class _Events(Reader, Scanner, Parser):
    """PyYAML's parser of text, without its composer, resolver and constructor."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


class _Stop(Exception):
    """The rest of the file has no meaning."""


@dataclass(slots=True)
class _Composer:
    """Makes nodes of events, and collects mistakes on the way."""

    source: Source
    events: Any
    mistakes: list[Mistake] = field(default_factory=list)
    anchors: dict[str, Node | None] = field(default_factory=dict)  # None: not closed yet
    values: int = 0

    def complain(self, event: Event, path: Path, says: str, suggestion: str = "") -> None:
        line, column = _mark(event)
        self.mistakes.append(self.source.mistake(line, column, path, says, suggestion))

    def document(self) -> Node | None:
        self.events.get_event()  # the stream's start
        if self.events.check_event(StreamEndEvent):
            return None
        self.start()
        root = self.node((), 1)
        self.events.get_event()
        if not self.events.check_event(StreamEndEvent):
            self.complain(self.events.peek_event(), (), "a second document begins here; a scenario file holds one")
        return root

    def start(self) -> None:
        event: DocumentStartEvent = self.events.get_event()
        if event.version not in (None, (1, 2)):
            self.complain(event, (), "scenario files are YAML 1.2; leave the %YAML line out")

    def node(self, path: Path, depth: int) -> Node:
        event: Event = self.events.get_event()
        self.count(event, path, 1, depth)
        if isinstance(event, AliasEvent):
            return self.alias(event, path, depth)
        if anchor := getattr(event, "anchor", None):
            self.anchors[anchor] = None
        node = self.tagged(event, path, depth)
        if anchor:
            self.anchors[anchor] = node
        return node

    def count(self, event: Event, path: Path, values: int, depth: int) -> None:
        self.values += values
        if self.values > MOST_VALUES:
            self.complain(event, path, f"the file holds more than {MOST_VALUES} values, aliases expanded")
            raise _Stop
        if depth > MOST_DEPTH:
            self.complain(event, (), f"nested more than {MOST_DEPTH} deep")
            raise _Stop

    def alias(self, event: AliasEvent, path: Path, depth: int) -> Node:
        name = event.anchor or ""
        node = self.anchors.get(name)
        if node is None:
            open_ = name in self.anchors
            says = f"the alias *{name} stands inside what it names" if open_ else f"no anchor &{name} before this alias"
            self.complain(event, path, says)
            return Node(None, *_mark(event), broken=True)
        self.count(event, path, node.size - 1, depth + node.height - 1)
        return node

    def tagged(self, event: Event, path: Path, depth: int) -> Node:
        tag = getattr(event, "tag", None)
        kind = _KINDS[type(event)]
        if isinstance(event, ScalarEvent):
            node = self.scalar(event, path)
        else:
            node = self.sequence(event, path, depth) if kind == "seq" else self.mapping(event, path, depth)
        if tag is None or (kind and tag == _CORE_TAG + kind) or (not kind and tag.removeprefix(_CORE_TAG) in _SCALARS):
            return node
        self.complain(event, path, f"the tag {_show_tag(tag)} is refused; a scenario holds plain values")
        return Node(None, node.line, node.column, broken=True)

    def scalar(self, event: ScalarEvent, path: Path) -> Node:
        place = _mark(event)
        event.value = _SURROGATE_PAIR.sub(_joined, event.value)  # JSON writes one character as two escapes
        if _SURROGATE.search(event.value):
            self.complain(event, path, "half of a surrogate pair; write the character itself, or as \\U and 8 digits")
            return Node(None, *place, broken=True)
        name = (event.tag or "").removeprefix(_CORE_TAG)
        if name == "str" or (event.tag is None and event.style is not None):
            return Node(event.value, *place)
        return self.plain(event, path, name)

    def plain(self, event: ScalarEvent, path: Path, tag: str) -> Node:
        place = _mark(event)
        kind, value = resolve(event.value)
        if kind == "int" and (value is None or abs(value) >= _LARGEST_NUMBER):
            self.complain(event, path, "this number is too large")
            return Node(None, *place, broken=True)
        if tag in _SCALARS and tag != kind:
            self.complain(event, path, f"its tag says {tag}, and it is none")
            return Node(None, *place, broken=True)
        if kind == "int" and event.value[0] in "+-" and path and path[-1] in SIGNED:
            return Node(event.value, *place)
        return Node(value, *place)

    def sequence(self, event: Event, path: Path, depth: int) -> Node:
        items: dict[str | int, Node] = {}
        while not self.events.check_event(SequenceEndEvent):
            index = len(items)
            items[index] = self.node((*path, index), depth + 1)
        self.events.get_event()
        return _collection(event, [item.value for item in items.values()], items, {}, incomplete=False)

    def mapping(self, event: Event, path: Path, depth: int) -> Node:
        items: dict[str | int, Node] = {}
        keys: dict[str, tuple[int, int]] = {}
        incomplete = False
        while not self.events.check_event(MappingEndEvent):
            key = self.key(path, depth, keys)
            value = self.node(path if key is None else (*path, key), depth + 1)
            if key is None:
                incomplete = True
            elif key not in items:
                items[key] = value
        self.events.get_event()
        return _collection(event, {k: n.value for k, n in items.items()}, items, keys, incomplete=incomplete)

    def key(self, path: Path, depth: int, keys: dict[str, tuple[int, int]]) -> str | None:
        """The next key as text; None, and a mistake, when it is none."""
        event: Event = self.events.peek_event()
        node = self.node(path, depth + 1)
        key = node.value
        if node.broken:
            return None
        if key == "<<" and isinstance(event, ScalarEvent) and event.style is None:
            self.complain(event, path, "merge keys (<<) are not YAML 1.2; write the keys out")
            return None
        if type(key) is int and path and path[-1] in NUMBERED:
            key = str(key)
        if not isinstance(key, str):
            self.complain(event, path, f"{_what(key)} cannot be a key; put it in quotes if it is text")
            return None
        if key in keys:
            self.complain(event, (*path, key), f"this key is here twice; the first is on line {keys[key][0]}")
        keys.setdefault(key, _mark(event))
        return key


_KINDS: dict[type[Event], str] = {
    ScalarEvent: "",
    SequenceStartEvent: "seq",
    MappingStartEvent: "map",
}
_SCALARS = ("str", "null", "bool", "int", "float")


def resolve(text: str) -> tuple[str, Any]:
    """The core tag and value of a plain scalar; an int of more digits than any number here has comes back as None."""
    for pattern, tag, meaning in CORE:
        if pattern.fullmatch(text):
            return tag, None if tag == "int" and len(text) > 30 else meaning(text)
    return "str", text


def compose(data: bytes, file: str) -> Document:
    """The tree of a scenario file's bytes, and every mistake in its YAML."""
    if len(data) > MOST_BYTES:
        says = f"the file has {len(data)} bytes; a scenario file has at most {MOST_BYTES} (1 MiB)"
        return Document(Source(file, ()), None, (Source(file, ()).mistake(1, 1, (), says),))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        return _not_utf8(data, error, file)
    text = text.removeprefix("\ufeff")
    source = Source(file, tuple(_BREAK.split(text)))
    bad = list(islice(_forbidden(source, text), MOST))
    return _compose(source, _FORBIDDEN.sub("\ufffd", text), bad)


def _compose(source: Source, text: str, bad: list[Mistake]) -> Document:
    composer = _Composer(source, _Events(text))
    root = None
    try:
        root = composer.document()
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        composer.mistakes.append(_parse_mistake(source, error))
    except (
        ValueError,
        OverflowError,
    ):  # PyYAML's scanner in chr() of an escape such as \UFFFFFFFF, int() of %YAML's version
        mark = composer.events.get_mark()
        says = "an escape or a number here is out of range"
        composer.mistakes.append(source.mistake(mark.line + 1, mark.column + 1, (), says))
    return Document(source, root, (*bad, *composer.mistakes))


def _forbidden(source: Source, text: str) -> Iterator[Mistake]:
    if not _FORBIDDEN.search(text):
        return
    for number, line in enumerate(source.lines, 1):
        for match in _FORBIDDEN.finditer(line):
            says = f"the control character U+{ord(match[0]):04X}; write it as an escape in double quotes"
            yield source.mistake(number, match.start() + 1, (), says)


def _not_utf8(data: bytes, error: UnicodeDecodeError, file: str) -> Document:
    before = _BREAK.split(data[: error.start].decode("utf-8"))
    lines = tuple(_BREAK.split(data.decode("utf-8", errors="replace")))
    says = f"byte 0x{data[error.start]:02X} is not UTF-8 text; scenario files are UTF-8"
    source = Source(file, lines)
    return Document(source, None, (source.mistake(len(before), len(before[-1]) + 1, (), says),))


def _parse_mistake(source: Source, error: yaml.MarkedYAMLError) -> Mistake:
    problem = error.problem or error.context or ""
    in_quotes = error.context == _QUOTED_CONTEXT and problem.startswith(_UNCLOSED)
    mark = error.context_mark if in_quotes else error.problem_mark or error.context_mark
    says = f"this is not YAML: {problem}"
    for pattern, words in _PARSER_WORDS:
        if match := re.match(pattern, problem):
            says = words.format(problem=problem, **match.groupdict())
            break
    opened = error.context_mark
    if problem.startswith("expected ',' or") and opened is not None:
        says += f", of what opens on line {opened.line + 1}, column {opened.column + 1}"
    return source.mistake(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, (), says)


def _mark(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _collection(
    event: Event, value: Any, items: dict[str | int, Node], keys: dict[str, tuple[int, int]], *, incomplete: bool
) -> Node:
    size = 1 + sum(item.size for item in items.values())
    height = 1 + max((item.height for item in items.values()), default=0)
    line, column = _mark(event)
    return Node(value, line, column, items, keys, size, height, incomplete=incomplete)


def _joined(pair: re.Match[str]) -> str:
    return pair[0].encode("utf-16", "surrogatepass").decode("utf-16")


def _show_tag(tag: str) -> str:
    return tag.replace(_CORE_TAG, "!!")[:60]


def _what(value: object) -> str:
    if isinstance(value, (dict, list)):
        return "a mapping" if isinstance(value, dict) else "a list"
    words = {None: "nothing", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else f"the number {value}"
