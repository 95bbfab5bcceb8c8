"""Rules of what the terminal shows: golden ladders, never too wide, ASCII when asked, nothing raw from outside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_builder import STORIES, crowd, hola, hostile, lost_synack, udp_hello

from testbed.evidence import Problem, RunFacts
from testbed.report.analysis import render_connections
from testbed.report.escape import cells
from testbed.report.facts import display_filter, rerun
from testbed.report.style import STYLES
from testbed.report.text import plain, render_text
from testbed.suites.printing import print_judgement
from testbed.tcp.connection import Endpoint, Finding
from testbed.verdict.value import Check, Judgement, Outcome

GOLDEN = Path(__file__).parent / "golden_report"
EVERY = sorted(STORIES)


def shown(judgement: Judgement, width: int = 80, *, unicode: bool = True) -> str:
    return plain(render_text(judgement, width=width, unicode=unicode))


@pytest.mark.parametrize("name", ["hola", "lost-synack", "refused", "udp-hello", "crowd"])
def test_golden(name: str) -> None:
    """The whole text of a run, 80 columns wide. When a change is meant, write what is shown into the file."""
    assert shown(STORIES[name]()) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_golden_in_ascii() -> None:
    """The same in ASCII."""
    assert shown(lost_synack(), unicode=False) == (GOLDEN / "lost-synack.ascii.txt").read_text(encoding="ascii")


@pytest.mark.parametrize("unicode", [True, False])
@pytest.mark.parametrize("width", [40, 79, 80, 200])
@pytest.mark.parametrize("name", EVERY)
def test_no_line_is_wider_than_asked(name: str, width: int, unicode: bool) -> None:
    """Whatever the width and whatever the texts, the terminal never wraps."""
    lines = shown(STORIES[name](), width, unicode=unicode).splitlines()
    assert max(map(cells, lines)) <= width


@pytest.mark.parametrize("width", [40, 80])
def test_a_place_in_a_file_is_one_word_in_a_log(width: int) -> None:
    """A log wraps nothing: wherever a file's place stands, it can be searched for; on a terminal all of it is there."""
    folder = "/builds/group/project/" + "a-long-folder-name/" * 6
    place = f"{folder}hangs.yaml:13"
    why = f"the payload file of {place}, cannot be read; see also hangs-for-a-very-long-time-indeed-and-more.yaml:5"
    judgement = lost_synack()
    checks = tuple(replace(check, seen=place, why=why) for check in judgement.checks)
    run = replace(judgement.evidence.run, scenario_file=f"{folder}hangs.yaml")
    records = (run, *judgement.evidence.records[1:], Problem("play", f"see {place}"))
    changed = replace(judgement, checks=checks, evidence=replace(judgement.evidence, records=records))
    log = plain(render_text(changed, width=width, unicode=True, folder=folder, whole=True))
    failed = sum(check.verdict is not Outcome.PASSED for check in checks)
    assert f"failed  handshake.duration  {place}" in log.splitlines()
    assert log.count(place) == 2 * failed + 2  # seen and why of each, the place of the one that has a line, the problem
    assert log.count(" hangs-for-a-very-long-time-indeed-and-more.yaml:5\n") == failed
    assert f"{folder}/" in log
    terminal = shown(changed, width)
    assert max(map(cells, terminal.splitlines())) <= width
    assert place in "".join(terminal.split())


def test_what_is_printed_into_a_log_has_whole_places(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Standard output that is no terminal: the run folder and the scenario's line are there to be searched for."""
    monkeypatch.setenv("COLUMNS", "60")
    folder = tmp_path / ("a-long-folder-name" * 5) / "lost-synack"
    print_judgement(lost_synack(), folder)
    printed = capsys.readouterr().out
    assert f"{folder}/" in printed
    assert "lost-synack.yaml:13" in printed


@pytest.mark.parametrize("width", [40, 80])
def test_only_places_are_whole_in_a_log(width: int) -> None:
    """What a peer sends does not make a log wider, but where it looks like a place in a file."""
    log = plain(render_text(hostile(), width=width, unicode=True, whole=True)).splitlines()
    assert all(cells(line) <= width or "/" in line or ":3" in line for line in log)
    long = replace(hola(), checks=(Check("c", Outcome.FAILED, "x" * 500, "y" * 500, "z " * 300),))
    log = plain(render_text(long, width=width, unicode=True, whole=True)).splitlines()
    assert all(cells(line) <= width or "/" in line for line in log)


@pytest.mark.parametrize("name", EVERY)
def test_ascii_only_without_unicode(name: str) -> None:
    """Also texts from outside are escaped to ASCII then."""
    judgement = STORIES[name]()
    scenario = judgement.evidence.scenario.model_copy(update={"summary": "Grüße, 你好 — ▶"})
    changed = replace(judgement, evidence=replace(judgement.evidence, scenario=scenario))
    assert shown(changed, unicode=False).isascii()
    assert "Grüße, 你好" in shown(changed)


def test_wide_characters_count_twice() -> None:
    """A summary in Chinese still fits 80 columns, and none of it is lost; an accent takes no column."""
    assert (cells("你好"), cells("e\u0301")) == (4, 1)
    judgement = hola()
    scenario = judgement.evidence.scenario.model_copy(update={"summary": "你好世界" * 40})
    lines = shown(replace(judgement, evidence=replace(judgement.evidence, scenario=scenario))).splitlines()
    assert max(map(cells, lines)) <= 80
    assert sum(line.count("好") for line in lines) == 40


def test_nothing_from_outside_commands_the_terminal() -> None:
    """Escapes in payload, names, causes and checks are shown, not sent."""
    text = shown(hostile(), 200)
    assert "\\x1b[2J" in text
    assert not [char for char in text if char != "\n" and not char.isprintable()]
    table = plain(render_connections(hostile().connections, width=200))
    assert not [char for char in table if char != "\n" and not char.isprintable()]


def test_verdict_and_failures_stay_in_sight() -> None:
    """A failed check with all it says, and the verdict, are within the last 24 lines; the ladder is above them."""
    lines = shown(lost_synack()).splitlines()
    end = "\n".join(lines[-24:])
    for told in ("failed  handshake.duration", "lost-synack.yaml:13", "..500ms", "1054ms", "took longer", "6, 13"):
        assert told in end
    assert next(line for line in lines if "S seq 0" in line) in lines[:-22]
    assert end.index("handshake.duration") < end.index("unknown retransmits.client") < end.index("failed      1 failed")


def test_many_failures_are_told_in_one_line_each() -> None:
    """Beyond a dozen, failures still are all named."""
    bad = tuple(Check(f"check.{at}", Outcome.FAILED, "1", "2", "why not") for at in range(30))
    text = shown(replace(hola(), checks=bad, verdict=Outcome.FAILED))
    assert all(f"check.{at} " in text or f"check.{at}\n" in text for at in range(30))
    assert text.count("why not") == 12


def test_problems_that_no_check_names_are_told() -> None:
    """What the testbed could not see is said once."""
    judgement = hola()
    records = (*judgement.evidence.records, Problem("sniffer", "the capture ended early"))
    blind = replace(judgement, evidence=replace(judgement.evidence, records=records), verdict=Outcome.UNKNOWN)
    assert shown(blind).count("sniffer: the capture ended early") == 1
    named = replace(blind, checks=(Check("capture", Outcome.UNKNOWN, "", "", "the capture ended early"),))
    assert shown(named).count("the capture ended early") == 1


def test_a_run_without_packets_is_told() -> None:
    """Nothing seen is a sentence, not an empty ladder."""
    empty = replace(udp_hello(), trips=(), packets=(), checks=())
    assert "no packets and no changes of state were seen" in shown(empty)
    assert "no checks" in shown(empty)


def test_styles_are_those_of_the_table() -> None:
    """Who prints knows every style that a line can carry."""
    for build in STORIES.values():
        used = {style for line in render_text(build(), width=80, unicode=True) for _, style in line}
        assert used <= set(STYLES)


def test_display_filter_names_the_ports() -> None:
    """One port, several ports, datagrams."""
    assert display_filter(hola()) == "tcp.port == 7456"
    assert display_filter(udp_hello()) == "udp.port == 5353"
    both = crowd(2)
    other = replace(both.connections[1], server=Endpoint("198.18.0.3", 80))
    assert display_filter(replace(both, connections=(both.connections[0], other))) == "tcp.port in {80, 7456}"


def test_the_command_to_run_again_survives_a_shell() -> None:
    """A scenario of one's own is named by its file, quoted where a shell would stumble."""
    run: RunFacts = hola().evidence.run
    assert rerun(run) == "testbed run hola --seed 7 --family ipv4"
    assert rerun(replace(run, scenario_file="my files/it's.yaml")).startswith(
        "testbed run 'my files/it'\"'\"'s.yaml' --"
    )


def test_folder_is_where_the_files_are() -> None:
    """The default is the name of the run folder; another one can be told."""
    assert "results/20231114-221320-c0ffee/hola/" in shown(hola())
    text = plain(render_text(hola(), width=80, unicode=True, folder="/elsewhere/x"))
    assert "/elsewhere/x/" in text
    assert "results/" not in text


def test_table_of_connections() -> None:
    """One line per connection where it fits, ends on a line of their own where it does not; findings below."""
    first = hola().connections[0]
    wide = plain(render_connections([first], width=120)).splitlines()
    assert " ".join(wide[1].split()) == (
        "1 SF 198.18.0.2:40000 > 198.18.0.3:7456 complete fin, client first 27 0 0 0 0.000630"
    )
    long = replace(first, client=Endpoint("2001:db8:1111:2222:3333:4444:5555:6666", 40000))
    odd = replace(long, audit=(Finding("ack-beyond", "acknowledges data never sent", (3, 4), sure=False),))
    narrow = plain(render_connections([odd], width=80)).splitlines()
    assert narrow[2].split() == ["1", "[2001:db8:1111:2222:3333:4444:5555:6666]:40000", ">", "198.18.0.3:7456"]
    assert narrow[-1] == "    audit, perhaps: ack-beyond: acknowledges data never sent (packets 3, 4)"
    assert plain(render_connections([], width=80)) == "no TCP connections\n"
