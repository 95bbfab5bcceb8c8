"""The short form of tests/torture: one kill of each kind with decoys beside it, and a few runs in one process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cut
import engine_ends
import kills
import pytest
import soak
from command_driver import PATIENCE_S, running, testbed
from decoys import put_up

from testbed.errors import LabError
from testbed.lab.netns.lab import try_out

if TYPE_CHECKING:
    import docker as docker_module

pytestmark = pytest.mark.lab


SLEEPY = """
summary: The client sleeps for a long time with its connection open.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {sleep: 20s}, close]
"""


def _try_netns() -> None:
    try:
        try_out()
    except LabError as error:
        pytest.skip(str(error))


def test_kills_on_netns() -> None:
    """Whatever is killed: nothing is left, no file is half written, no verdict is false, no decoy is touched."""
    _try_netns()
    blows = kills.run("netns", kills.KINDS["netns"], 1, seed=7, jobs=2)
    assert [blow.kind for blow in blows] == list(kills.KINDS["netns"])
    assert not any(blow.wrong for blow in blows), kills.summary(blows)


def test_kills_on_compose(engine: docker_module.DockerClient, image: str) -> None:
    """The same with containers."""
    blows = kills.run("compose", kills.KINDS["compose"], 1, seed=7)
    assert not any(blow.wrong for blow in blows), kills.summary(blows)


def test_cut_while_it_writes() -> None:
    """The process ends where it writes: each file is whole or not there, and the next run is none the wiser."""
    _try_netns()
    points, cuts = cut.cut_everywhere(every=9, jobs=2)
    assert points > 30, "the points are not found any more"
    assert [one.hit for one in cuts] == [True] * len(cuts)
    assert not any(one.wrong for one in cuts), cut.summary(points, cuts)


def test_half_a_file_is_told(tmp_path: Path) -> None:
    """What ends early is not taken for whole: else the cuts would prove nothing."""
    testbed("run", "hola", "--backend", "netns", "--out", tmp_path)
    files = [path for path in (tmp_path / "latest" / "hola").rglob("*") if path.is_file()]
    assert len(files) >= 8
    for path in files:
        assert kills.is_whole(path), path
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert not kills.is_whole(path), path


@pytest.fixture(scope="module")
def lone(image: str) -> Iterator[engine_ends.LoneEngine]:
    """An engine that may be stopped."""
    if says := engine_ends.why_none():
        pytest.skip(says)
    with engine_ends.lone_engine() as made:
        yield made


@pytest.mark.parametrize("how", engine_ends.SIGNALS)
def test_engine_restarted(lone: engine_ends.LoneEngine, tmp_path: Path, how: str) -> None:
    """The engine ends while the client plays, and starts again: no verdict or unknown; `clean` finds what is left.

    Unknown is a run that saw its containers end, and found the engine there again when it took its lab down.
    """
    scenario = tmp_path / "sleepy.yaml"
    scenario.write_text(SLEEPY)
    one = engine_ends.restart(lone, how, 0.5, scenario, says="playing")
    assert (one.exit_code, one.wrong) == (3, ()), one
    assert one.verdict in ("", "unknown"), one
    assert one.verdict or "the Docker engine does not answer any more" in one.said


def test_two_at_once(tmp_path: Path) -> None:
    """Two runs with the same seed and folder: each has a folder of its own, both whole, and `latest` is one of them."""
    words = ("run", "hola", "--backend", "netns", "--seed", "7", "--out", tmp_path)
    with running(*words) as one, running(*words) as other:
        codes = [process.wait(PATIENCE_S) for process in (one, other)]
    results = sorted(tmp_path.glob("2*/hola/result.json"))
    assert codes == [0, 0]
    assert [json.loads(path.read_text())["verdict"] for path in results] == ["passed", "passed"]
    assert (tmp_path / "latest").resolve() in {path.parents[1].resolve() for path in results}


def test_decoys_are_missed() -> None:
    """A decoy that is gone is told: else the others would prove nothing."""
    with put_up() as decoys:
        assert decoys.missing() == []
        assert decoys.process
        assert decoys.folder
        decoys.process.kill()
        decoys.process.wait()
        (decoys.folder / "kept").unlink()
        assert len(decoys.missing()) == 2


def test_soak(tmp_path: Path) -> None:
    """Ten runs in this process leave it as it was after the first of them."""
    _try_netns()
    soaked = soak.soak("netns", 10, fresh=True, out=tmp_path / "out")
    grown = [says for says in soaked.complaints() if not says.startswith(("memory", "1 runs"))]
    assert grown == []


def test_growth_is_told() -> None:
    """What grows, and a run that did not pass, is complained of."""
    first = soak.Census(files=10, threads=2, memory=100 << 20, processes=0, namespaces=0, engine=0)
    last = soak.Census(files=11, threads=3, memory=120 << 20, processes=1, namespaces=1, engine=1)
    told = " ".join(soak.Soaked(("passed", "unknown: x"), (first, last)).complaints())
    for words in (
        "files grew from 10 to 11",
        "threads",
        "memory",
        "processes",
        "namespaces",
        "engine",
        "1 runs were unknown",
    ):
        assert words in told
    assert soak.Soaked(("passed", "passed"), (first, first)).complaints() == []
