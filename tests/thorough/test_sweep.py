"""Sweeps: the grid of settings, its names, what theory says of a handshake, and the report."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest

from testbed.errors import UsageError
from testbed.files import load_scenario
from testbed.report.sweep import render_sweep, sweep_json, sweep_lines
from testbed.scenario.read import ScenarioErrors
from testbed.session import Job, Options, resolve
from testbed.suites.choose import Turn, seeded
from testbed.suites.sweeping import spread
from testbed.sweep import Axis, Row, Run, Sweep, find_axes, points, split_values
from testbed.theory import Path as Way
from testbed.theory import opening, syn_times_ms

TEXT = """\
summary: A handshake over a wire that loses SYNs.
hosts:
  server: {steps: [{listen: 7456}, accept, close]}
  client: {steps: [{connect: server:7456}, close]}
wire: {delay: 10ms}
"""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("20ms", ("20ms",)),
        ("0ms, 20ms,200ms", ("0ms", "20ms", "200ms")),
        ("[1, 2]", ("[1, 2]",)),
        ("{p: 1%, r: 2%},{p: 3%, r: 4%}", ("{p: 1%, r: 2%}", "{p: 3%, r: 4%}")),
        ('"a, b","c"', ('"a, b"', '"c"')),
        ("'[', x", ("'['", "x")),
    ],
)
def test_commas_outside_brackets_and_quotes_separate(text: str, values: tuple[str, ...]) -> None:
    """Values are separated by commas, but for those that belong to one."""
    assert split_values(text) == values


def test_the_command_line_takes_the_place_of_the_matrix() -> None:
    """A path has one axis; one value alone is a setting of all points, and the product has the last axis fastest."""
    matrix = {"wire.delay": ("1ms", "2ms"), "wire.loss": ("1%", "2%")}
    axes, fixed = find_axes(matrix, [("wire.delay", "5ms"), ("seed", "1,2"), ("family", "ipv6")])
    assert axes == (Axis("wire.loss", ("1%", "2%")), Axis("seed", ("1", "2")))
    assert fixed == [("wire.delay", "5ms"), ("family", "ipv6")]
    assert [tuple(value for _, value in point) for point in points(axes)] == [
        ("1%", "1"),
        ("1%", "2"),
        ("2%", "1"),
        ("2%", "2"),
    ]


def test_what_is_no_sweep_is_refused() -> None:
    """An empty value and a grid without end are told before anything is run."""
    with pytest.raises(UsageError, match="between two commas is empty"):
        find_axes({}, [("wire.delay", "1ms,")])
    axis = Axis("seed", tuple(map(str, range(200))))
    with pytest.raises(UsageError, match="40000 points"):
        points((axis, axis))


def test_each_point_is_a_turn_with_its_settings(tmp_path: Path) -> None:
    """Every point of the matrix, of each repetition, has a folder of its own, and its settings reach the scenario."""
    path = tmp_path / "told.yaml"
    path.write_text(TEXT + "matrix: {wire.delay: [1ms, 20ms], sysctls.net.ipv4.tcp_syn_retries: [1, 2]}\n")
    turns = (Turn(Job(path, "told")), Turn(Job(path, "told-2"), 1))
    out = spread(turns, Options(settings=(("family", "ipv6"),)))
    names = [turn.job.folder_name for turn in out.turns]
    assert names[:2] == ["told-p1-delay-1ms-tcp-syn-retries-1", "told-p2-delay-1ms-tcp-syn-retries-2"]
    assert len(set(names)) == len(names) == 8
    scenario = resolve(load_scenario(path), seeded(out.options, out.turns[7]))
    assert (scenario.wire.delay, scenario.family, scenario.seed) == (20_000_000, "ipv6", 1)
    assert scenario.sysctls == {"net.ipv4.tcp_syn_retries": "2"}
    assert scenario.matrix == {}


def test_a_wrong_value_costs_no_run(tmp_path: Path) -> None:
    """Every point is a scenario that can be read, or none is run; without an axis nothing changes."""
    path = tmp_path / "told.yaml"
    path.write_text(TEXT)
    turn = Turn(Job(path, "told"))
    with pytest.raises(ScenarioErrors, match="is not a duration"):
        spread((turn,), Options(settings=(("wire.delay", "1ms,2"),)))
    options = Options(settings=(("wire.delay", "1ms"),))
    assert spread((turn,), options).turns == (turn,)
    assert spread((turn,), options).options == options


def test_linux_sends_its_syn_again() -> None:
    """Doubling timeouts, and since 6.5 some of a second before (tcp_syn_linear_timeouts, ip-sysctl.rst)."""
    assert syn_times_ms(Way(syn_retries=4)) == (0, 1000, 3000, 7000, 15000)
    assert syn_times_ms(Way(syn_retries=3, linear_timeouts=4)) == (0, 1000, 2000, 3000, 4000, 5000, 7000, 11000)
    assert [len(syn_times_ms(Way(syn_retries=n, linear_timeouts=4))) for n in (1, 2, 3, 6)] == [3, 6, 8, 11]


def test_losses_of_syns_are_a_geometric_mix() -> None:
    """With a chance of p that a SYN is lost, (1-p) p^n of the handshakes end at the n-th step."""
    steps = opening(Way(10, 15, loss_there=0.2)).steps
    assert [at_ms for at_ms, _ in steps[:4]] == [25, 1025, 3025, 7025]
    assert [share for _, share in steps[:4]] == pytest.approx([0.8, 0.16, 0.032, 0.0064])
    assert opening(Way(10, 15)).steps == ((25, 1.0),)


def simulate(path: Way, random: Random) -> float | None:
    """One handshake, played out event by event; when it completes."""
    due_ms, retries = float("inf"), 0
    ahead = list(syn_times_ms(path))
    while ahead or (due_ms < float("inf") and retries < path.synack_retries):
        arrives_ms = ahead[0] + path.there_ms if ahead else float("inf")
        if due_ms < arrives_ms and retries < path.synack_retries:
            at_ms, retries = due_ms, retries + 1
        elif not ahead:
            return None
        else:
            at_ms, _ = arrives_ms, ahead.pop(0)
            if random.random() < path.loss_there:
                continue
        due_ms = at_ms + 1000 * 2**retries
        if random.random() >= path.loss_back:
            return at_ms + path.back_ms
    return None


@pytest.mark.parametrize(("there", "back"), [(0.3, 0.0), (0.0, 0.3), (0.2, 0.2)])
def test_theory_is_what_a_simulation_gives(there: float, back: float) -> None:
    """Played many times, each step has its share, whichever way packets are lost."""
    path, random, number = Way(10, 20, there, back), Random(7), 20_000
    seen = [simulate(path, random) for _ in range(number)]
    for at_ms, share in opening(path).steps:
        if share > 0.005:
            had = sum(1 for one in seen if one is not None and abs(one - at_ms) < 1) / number
            assert had == pytest.approx(share, abs=4 * (share / number) ** 0.5)
    assert opening(path).completes == pytest.approx(sum(one is not None for one in seen) / number, abs=0.01)


SWEEP = Sweep(
    "told",
    (Axis("wire.delay", ("1ms", "<20ms>")),),
    (
        Row((("wire.delay", "1ms"),), (Run("passed", ("complete",) * 3, (2.0, 2.1, 1003.0)),), opening(Way(1, 1, 0.3))),
        Row((("wire.delay", "<20ms>"),), (Run("failed", ("unanswered",), ()),)),
    ),
)


def test_the_table_says_what_was_seen_of_what_is_due() -> None:
    """A line for each point, with the steps of theory and the share of handshakes that ended there."""
    head, first, second = sweep_lines(SWEEP)
    assert head.split() == ["point", "runs", "verdicts", "handshakes", "median", "max", "theory"]
    assert first.startswith("delay 1ms")
    assert "2 ms 70% (seen 67%), 1002 ms 21% (seen 33%)" in first
    assert second.split() == ["delay", "<20ms>", "1", "1", "failed", "1", "unanswered", "never", "never"]


def test_the_report_for_programs() -> None:
    """JSON has every duration, and each step with its share and its count."""
    told = json.loads(sweep_json(SWEEP))
    assert [axis["path"] for axis in told["axes"]] == ["wire.delay"]
    assert told["points"][0]["durations_ms"] == [2.0, 2.1, 1003.0]
    assert [step["seen"] for step in told["points"][0]["theory"]["steps"][:2]] == [2, 1]
    assert told["points"][1]["theory"] is None


def test_the_drawing_is_xml() -> None:
    """Whatever values are called, the drawing can be read; a dot for each handshake."""
    root = ElementTree.fromstring(render_sweep(SWEEP))
    tags = [element.tag.rpartition("}")[2] for element in root.iter()]
    assert tags.count("circle") == 3
    assert "1 never" in "".join(root.itertext())
