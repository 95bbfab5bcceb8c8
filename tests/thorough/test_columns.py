"""Columns and the careful way give equal results, whatever the traffic is."""

from __future__ import annotations

import struct

import pytest
from conversations import make_frames, pcap_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

np = pytest.importorskip("numpy")

from testbed.analyze import Analysis, Analyzer, analyze_capture  # noqa: E402
from testbed.columns.block import PlainBlock  # noqa: E402
from testbed.columns.checksum import MODULUS, add_words  # noqa: E402
from testbed.columns.follow import Following  # noqa: E402
from testbed.columns.records import gather  # noqa: E402
from testbed.columns.shapes import forgotten_fields, is_same  # noqa: E402
from testbed.decode import checksum  # noqa: E402
from testbed.pcap.frame import Capture, Frame, Interface, LinkType  # noqa: E402
from testbed.pcap.writer import write_capture  # noqa: E402
from testbed.summary import summarize  # noqa: E402


def both_ways(data: bytes) -> tuple[Analysis, Analysis]:
    """The same capture, in columns and carefully; they must be equal."""
    fast, careful = (analyze_capture(data, "x", columns=columns) for columns in (True, False))
    assert (fast.packets, fast.warnings) == (careful.packets, careful.warnings)
    assert sorted(fast.skipped.items()) == sorted(careful.skipped.items())
    assert [connection.packets[0] for connection in fast.connections] == [
        connection.packets[0] for connection in careful.connections
    ]
    for one, other in zip(fast.connections, careful.connections, strict=True):
        assert is_same(one, other), (one, other)
    return fast, careful


def plain_share(data: bytes) -> tuple[int, int]:
    """How many connections are plain, and how many there are."""
    results = list(Analyzer((data,), columns=True).results())
    plain = sum(len(result) for result in results if isinstance(result, PlainBlock))
    return plain, plain + sum(1 for result in results if not isinstance(result, PlainBlock))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.01, 0.05, 0.3]))
def test_columns_equal_the_careful_way(seed: int, bad_luck: float) -> None:
    """Every connection is the same, with or without bad luck."""
    both_ways(pcap_bytes(make_frames(seed, bad_luck=bad_luck)))


def test_most_traffic_is_plain() -> None:
    """The fast way is gone: without bad luck nearly all connections that begin in the capture are plain."""
    shares = [plain_share(pcap_bytes(make_frames(seed, bad_luck=0.0))) for seed in range(1, 9)]
    plain, total = (sum(column) for column in zip(*shares, strict=True))
    assert plain > total * 0.6


def test_no_field_is_forgotten() -> None:
    """Each field of a connection is either filled in, or the same for all connections of a shape."""
    assert forgotten_fields() == []


@pytest.mark.parametrize("seed", range(4))
def test_summaries_are_those_of_the_connections(seed: int) -> None:
    """A plain connection is told on one line as it would be if it were made first."""
    for result in Analyzer((pcap_bytes(make_frames(seed, talks=30)),), columns=True).results():
        if isinstance(result, PlainBlock):
            assert list(result.summaries()) == [summarize(connection) for connection in result.connections()]


@pytest.mark.parametrize("seed", range(6))
def test_looking_often_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the stretches, and however often finished connections are looked for, the result is the same."""
    data = pcap_bytes(make_frames(seed, talks=40))
    whole = analyze_capture(data, "x", columns=True)
    monkeypatch.setattr("testbed.columns.follow.ENOUGH", 16)
    monkeypatch.setattr(Following.__init__, "__kwdefaults__", {"keep_closed": None, "enough": 16, "most": 1 << 18})
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    often = sorted(Analyzer(pieces, columns=True).connections(), key=lambda connection: connection.packets[0])
    assert len(often) == len(whole.connections)
    for one, other in zip(often, whole.connections, strict=True):
        assert is_same(one, other)


def test_too_many_that_wait_are_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rows must be given away, every packet is still in some connection."""
    data = pcap_bytes(make_frames(5, talks=40, bad_luck=0.0))
    monkeypatch.setattr(Following.__init__, "__kwdefaults__", {"keep_closed": 8, "enough": 16, "most": 32})
    pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    analyzer = Analyzer(pieces, columns=True)
    numbers = sorted(number for connection in analyzer.connections() for number in connection.packets)
    assert numbers == list(range(1, analyzer.packets + 1))


@pytest.mark.parametrize(
    ("link_type", "header", "tail"),
    [
        (LinkType.RAW, b"", 14),
        (LinkType.LINUX_SLL, bytes(14) + b"\x08\0", 14),
        (LinkType.LINUX_SLL2, b"\x08\0" + bytes(18), 14),
        (LinkType.NULL, struct.pack("<I", 2), 14),
        (LinkType.LOOP, struct.pack(">I", 2), 14),
        (LinkType.PPP, b"\xff\3\0\x21", 14),
    ],
)
def test_link_types(link_type: LinkType, header: bytes, tail: int) -> None:
    """The same conversations on other links, also where columns leave the link to the careful way."""
    plain = [frame for frame in make_frames(11, bad_luck=0.0) if frame[1][12:14] == b"\x08\0"]
    other = [(time, header + data[tail:], len(header) + length - tail) for time, data, length in plain]
    fast, _ = both_ways(pcap_bytes(other, link_type))
    expected = analyze_capture(pcap_bytes(plain), "x", columns=False)
    assert all(map(is_same, fast.connections, expected.connections))


@pytest.mark.parametrize("options", [False, True])
def test_pcapng(options: bool) -> None:
    """Enhanced packets of several interfaces and sections, with options or without."""
    frames = [
        Frame(time, data, length, number % 2, comments=("why",) if options and number % 3 == 0 else ())
        for number, (time, data, length) in enumerate(make_frames(12))
    ]
    half = len(frames) // 2
    sections = [Capture((Interface("a"), Interface("b")), tuple(part)) for part in (frames[:half], frames[half:])]
    fast, _ = both_ways(b"".join(map(write_capture, sections)))
    expected = analyze_capture(write_capture(Capture((Interface("a"), Interface("b")), tuple(frames))), "x")
    assert all(map(is_same, fast.connections, expected.connections))


@given(st.lists(st.binary(min_size=2, max_size=90), min_size=1, max_size=20), st.integers(0, 1), st.booleans())
def test_sums_of_words(parts: list[bytes], before: int, cut: bool) -> None:
    """The sum over many stretches is, modulo 65535, that of each."""
    data, places = b"\7" * before, []
    for part in parts:
        places.append((len(data), len(data) + len(part)))
        data += part + b"\7\7"
    data = data[: len(data) - 2 * cut]
    start, end = (np.array(column, np.int64) for column in zip(*places, strict=True))
    found = (add_words(data, start, end) % MODULUS).tolist()
    assert found == [checksum.add_words(part) % MODULUS for part in parts]


@given(st.binary(max_size=40), st.lists(st.integers(0, 60), max_size=9), st.integers(1, 30))
def test_gathering_reaches_beyond_the_end(data: bytes, offsets: list[int], size: int) -> None:
    """Behind the end of the data there are zeros."""
    found = gather(data, np.array(offsets, np.int64), size)
    assert [bytes(one) for one in found.tolist()] == [data[at : at + size].ljust(size, b"\0") for at in offsets]
