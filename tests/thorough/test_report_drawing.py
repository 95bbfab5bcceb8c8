"""Rules of the ladder in a page: heights to scale, silences broken, steps on the axis, repeats tied to originals."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_builder import GREETING, START_NS, STORIES, Story, crowd, hola, judge_by_hand, lost_synack
from verdict_story import Story as Told

from testbed.evidence import StepOutcome
from testbed.pcap.frame import LinkType
from testbed.report.cards import cards
from testbed.report.dissect import dissect, hex_dump
from testbed.report.ladder import PacketRow, climb, fold
from testbed.report.originals import originals
from testbed.report.plot import BREAK_HEIGHT, Plot, place
from testbed.report.scaled import LONGEST, place_to_scale
from testbed.report.spark import WIDTH, plot_share
from testbed.report.steplane import MOST_STEPS, step_lanes
from testbed.report.svg import draw_ladder, render_svg
from testbed.verdict.value import Judgement

SVG = "{http://www.w3.org/2000/svg}"
MS = 1_000_000


def rows_of(judgement: Judgement) -> list[PacketRow]:
    return [row for row in climb(judgement).rows if isinstance(row, PacketRow)]


def told(times_us: list[int], took_us: int) -> Judgement:
    """Packets at these microseconds, from the client and from the server in turn."""
    story = Story(links=True)
    for number, at in enumerate(sorted(times_us)):
        story.send(at / 1000, ("client", "server")[number % 2], ".", 1, 1, took_ms=took_us / 1000)
    return judge_by_hand(story)


# --- to scale ---


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3_000_000), min_size=2, max_size=12, unique=True), st.integers(0, 50_000))
def test_heights_are_to_scale_or_broken(times_us: list[int], took_us: int) -> None:
    """Between any two moments the height is the time at one scale, unless a marked break stands there."""
    ladder = climb(told(times_us, took_us))
    plot = place_to_scale(ladder.rows, ladder.rows, top=100)
    assert plot.px_per_ns is not None
    for (before, top), (after, below) in pairwise(plot.moments):
        exact = (after - before) * plot.px_per_ns
        if exact > LONGEST:
            assert below - top == pytest.approx(BREAK_HEIGHT)
            assert any(top < wait.y < below and wait.wait_ns == after - before for wait in plot.breaks)
        else:
            assert below - top == pytest.approx(exact, abs=1e-6)
    assert len(plot.breaks) == sum((b[0] - a[0]) * plot.px_per_ns > LONGEST for a, b in pairwise(plot.moments))


@pytest.mark.parametrize("placing", [place, place_to_scale])
@pytest.mark.parametrize("name", sorted(STORIES))
def test_time_goes_down(placing: object, name: str) -> None:
    """Also between events: a moment has its y, and a later one is never above it."""
    assert placing in (place, place_to_scale)
    ladder = climb(STORIES[name]())
    rows = fold(ladder.rows)
    plot: Plot = (place if placing is place else place_to_scale)(rows, ladder.rows, top=100)
    first, last = plot.moments[0][0], plot.moments[-1][0]
    heights = [plot.height(first + (last - first) * part // 50) for part in range(-5, 56)]
    assert heights == sorted(heights)
    assert heights[0] == plot.moments[0][1]
    assert heights[-1] == plot.moments[-1][1] <= plot.bottom


def test_labels_without_room_wait_for_the_pointer() -> None:
    """Of packets at one height only the first has its label in sight; spread out all have."""
    ladder = climb(told([0, 1, 2, 3, 4, 500_000], 0))
    assert place_to_scale(ladder.rows, ladder.rows, top=0).crowded == frozenset()
    same = Story()
    for _ in range(3):
        same.send(0, "client", ".", 1, 1)
    ladder = climb(judge_by_hand(same))
    assert place_to_scale(ladder.rows, ladder.rows, top=0).crowded == {1, 2}
    drawn = ElementTree.fromstring(draw_ladder(judge_by_hand(same), ladder, to_scale=True))
    assert [link.attrib["class"] for link in drawn.iter(f"{SVG}a")] == ["row", "row crowded", "row crowded"]


# --- packets ---


def test_every_packet_of_a_page_is_a_link() -> None:
    """To its place in the list, with a name that says what it is; the file that stands alone has none."""
    judgement = lost_synack()
    links = list(ElementTree.fromstring(draw_ladder(judgement, climb(judgement), to_scale=True)).iter(f"{SVG}a"))
    assert [link.attrib["href"] for link in links] == [f"#p{row.number}" for row in rows_of(judgement)]
    assert "fault 0: drop SYN-ACK" in links[1].attrib["aria-label"]
    assert "<a " not in render_svg(judgement)


def test_a_copy_has_a_place_of_its_own() -> None:
    """A packet that the wire doubled is listed twice; each leads to itself, and no two have the same name."""
    story = Told({"wire": {"client->server": {"delay": "1ms", "duplicate": "50%"}}})
    story.open()
    story.tcp(10, "client", "P.", 1, 1, b"twice", twice=True)
    judgement = story.judge()
    rows = rows_of(judgement)
    assert len(rows) == 5
    assert len({row.number for row in rows}) == 4
    assert len({row.own for row in rows}) == 5
    made = cards(judgement, climb(judgement), 100, ())
    names = [number for card in made for number in card.anchors]
    assert len(names) == len(set(names))
    assert {row.own for row in rows} <= set(names)
    assert draw_ladder(judgement, climb(judgement), to_scale=False).count(" copy") == 1


def test_packets_of_checks_that_did_not_pass_stand_out() -> None:
    """Their clock has the colour of a failure, those of others have not."""
    judgement = lost_synack()
    root = ElementTree.fromstring(draw_ladder(judgement, climb(judgement), to_scale=False))
    bad = [
        link.attrib["href"]
        for link in root.iter(f"{SVG}a")
        if 'class="failed clock' in ElementTree.tostring(link).decode()
    ]
    wanted = {number for check in judgement.checks[1:3] for number in check.packets}
    assert bad == [f"#p{row.number}" for row in rows_of(judgement) if wanted & set(row.numbers)]
    assert len(bad) == 4
    assert "failed clock" not in render_svg(hola())


def test_numbers_in_both_notations() -> None:
    """A label with relative numbers has a twin with those of the wire; the client's wrap at 2^32."""
    judgement = hola()
    texts = list(ElementTree.fromstring(draw_ladder(judgement, climb(judgement), to_scale=False)).iter(f"{SVG}text"))
    by_class = {
        kind: ["".join(text.itertext()) for text in texts if text.attrib["class"].endswith(kind)]
        for kind in ("relative", "absolute")
    }
    assert len(by_class["relative"]) == len(by_class["absolute"]) == 9
    assert by_class["relative"][0].startswith("S seq 0 ")
    assert by_class["absolute"][0].startswith("S seq 4294967290 ")
    assert by_class["absolute"][5].startswith("F. seq 22 ack 77001")


def test_repeats_are_tied_to_what_they_repeat() -> None:
    """SYN to SYN, SYN-ACK to SYN-ACK, data to the data; the drawing has a bow for each."""
    judgement = lost_synack()
    found = {number: first.number for number, first in originals(rows_of(judgement)).items()}
    rows = {row.number: row.segment.flags for row in rows_of(judgement)}
    assert [(rows[again], rows[first]) for again, first in found.items()] == [("S", "S"), ("S.", "S."), ("P.", "P.")]
    assert all(first < again for again, first in found.items())
    assert render_svg(judgement).count('class="client tie"') == 2
    assert render_svg(judgement).count('class="server tie"') == 1
    assert "tie" not in re.findall(r'class="([^"]*)"', render_svg(hola()))


def test_a_repeat_of_parts_is_tied_to_the_last_that_had_them() -> None:
    """A segment sent in two, then again in one: the latest that overlaps it counts."""
    story = Told({})
    story.open()
    story.tcp(10, "client", "P.", 1, 1, b"one")
    story.tcp(11, "client", "P.", 4, 1, b"two")
    story.tcp(300, "client", "P.", 1, 1, b"onetwo")
    rows = rows_of(story.judge())
    assert {again: first.segment.payload for again, first in originals(rows).items()} == {rows[-1].number: b"two"}


# --- beside the lanes ---


def test_steps_stand_on_the_axis() -> None:
    """A step begins and ends where its moments are; one that failed unexpectedly is coloured so."""
    judgement = hola()
    late = StepOutcome("client", "2", "recv", "timeout", START_NS, START_NS + MS // 2)
    evidence = replace(judgement.evidence, records=(*judgement.evidence.records, late))
    judgement = replace(judgement, evidence=evidence)
    ladder = climb(judgement)
    plot = place(ladder.rows, ladder.rows, top=100)
    lanes = step_lanes(judgement, plot)
    assert [step.name for step in lanes[True].steps] == ["connect", "recv timeout", "send"]
    assert [step.name for step in lanes[False].steps] == ["listen"]
    send = lanes[True].steps[2]
    assert (send.top, send.bottom) == (plot.height(MS // 5), plot.height(round(0.26 * MS)))
    assert [step.ok for step in lanes[True].steps] == [True, False, True]
    assert render_svg(judgement).count('class="step late"') == 1
    names = [step.name_y for step in lanes[True].steps]
    assert all(below - above >= 12 for above, below in pairwise(names))


def test_many_steps_are_counted() -> None:
    """Only the first are drawn, and the drawing says how many are not."""
    steps = tuple(StepOutcome("client", str(n), "send", "ok", START_NS + n, START_NS + n) for n in range(100))
    judgement = hola()
    judgement = replace(judgement, evidence=replace(judgement.evidence, records=(*judgement.evidence.records, *steps)))
    assert f"steps, {102 - MOST_STEPS} more not shown" in render_svg(judgement)


def test_states_tell_how_long() -> None:
    """Who points at a bar reads since when, for how long, and of which socket."""
    assert "ESTABLISHED from 0.140 ms, for 0.280 ms: 198.18.0.2:40000 198.18.0.3:7456" in render_svg(hola())
    assert "TIME_WAIT from 0.620 ms, to the end" in render_svg(hola())


# --- the list, and the wire ---


def test_a_packet_is_taken_apart() -> None:
    """Every field of every header by scapy, and the bytes; a rewritten packet also as it came out of the link."""
    story = Told({})
    story.open()
    story.talk()
    judgement = story.judge()
    card = cards(judgement, climb(judgement), 100, ())[3]
    assert [layer.name for layer in card.opened[0].layers] == ["Ethernet", "IP", "TCP", "Raw"]
    fields = dict(card.opened[0].layers[2].fields)
    assert (fields["dport"], fields["seq"], fields["flags"]) == ("7456", "1001", "PA")
    assert dict(card.facts)["sequence"] == "1 (1001)"
    assert "48 6f  6c 61 20" in card.opened[0].hex
    assert len(card.opened) == 1


def test_a_storm_is_listed_in_brief() -> None:
    """Beyond the limit of those that are taken apart a packet has its numbers, not its bytes."""
    judgement = crowd(40)
    made = cards(judgement, climb(judgement), 10_000, ())
    assert len(made) == 360
    assert made[-1].brief.startswith("sent ")
    assert "sequence 29 (23)" in made[-1].brief


HEADS = (b"", bytes(12) + b"\x08\x00\x45", bytes(12) + b"\x86\xdd\x60", bytes(12) + b"\x81\x00\x00\x01\x08\x00\x4f")
LINKS = (LinkType.ETHERNET, LinkType.RAW, LinkType.LINUX_SLL, LinkType.PPP)


@given(st.sampled_from(HEADS), st.binary(max_size=200), st.sampled_from(LINKS))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_taken_apart(head: bytes, tail: bytes, link_type: LinkType) -> None:
    """Whatever a frame holds, there are layers and a dump with every byte, and no exception."""
    data = head + tail
    assert bool(dissect(data, link_type)) == (bool(data) and link_type is not LinkType.PPP)
    dump = hex_dump(data)
    assert bytes.fromhex("".join(line[6:54] for line in dump.splitlines()).replace(" ", "")) == data


def test_a_field_that_the_packet_does_not_have_is_not_shown() -> None:
    """Scapy has a value for each: for the times of an ICMP timestamp the time of day, in any other ICMP message too."""
    unreachable = bytes.fromhex("0304fcfb00000000")
    ip = bytes.fromhex("4500001c000000004001f6cd0a0000010a000002")
    layers = dissect(bytes(12) + b"\x08\x00" + ip + unreachable)
    (icmp,) = (layer for layer in layers if layer.name == "ICMP")
    names = {name for name, _ in icmp.fields}
    assert {"type", "code", "chksum", "nexthopmtu"} <= names
    assert not names & {"ts_ori", "ts_rx", "ts_tx", "gw", "id", "seq"}


def test_a_dump_is_cut() -> None:
    """Of a mebibyte the first bytes are shown, and the rest is counted."""
    assert hex_dump(bytes(1 << 20)).endswith(f"and {(1 << 20) - 512} more bytes")


def test_the_wire_is_plotted() -> None:
    """A point for each delivered packet, a cross for each lost one, a band where a delay was asked; however many."""
    story = Told({"wire": {"delay": "10ms"}})
    for number in range(2000):
        story.tcp(number, "client", ".", 1, 1, lost=number % 100 == 50)
    share = next(traffic.whole for traffic in story.judge().traffic if traffic.name == "client->server")
    drawn = ElementTree.fromstring(plot_share(share).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))
    points = list(drawn.iter(f"{SVG}circle"))
    assert 200 < len(points) <= 2 * WIDTH
    assert len(list(drawn.iter(f"{SVG}path"))) == 20
    assert len(list(drawn.iter(f"{SVG}rect"))) == 1
    assert plot_share(replace(share, crossings=())) == ""


def test_greeting_is_quoted() -> None:
    """The list shows the start of what was said."""
    made = cards(hola(), climb(hola()), 100, ())
    assert GREETING.decode() in made[3].payload
