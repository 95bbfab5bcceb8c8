"""Which runs a suite has, in what order they begin, how many at a time, and which part of them a shard is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import UsageError
from testbed.files import scenario_files
from testbed.session import Job, Options
from testbed.suites.again import again
from testbed.suites.capacity import (
    MIB,
    MOST_IDLE,
    cores,
    free_bytes,
    lab_bytes,
    labs_that_fit,
    memory_limits,
    parse_size,
    plan_capacity,
)
from testbed.suites.choose import Turn, choose_turns, longest_first, seeded, spread_rare
from testbed.suites.durations import FILE, load_durations, save_durations
from testbed.suites.play import shape_of
from testbed.suites.shard import Shard, parse_shard

SCENARIO = """\
summary: A client says hello.
seed: 40
hosts:
  server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
  client: {replicas: 2, steps: [{connect: server:7456}, {send: "Hello!"}, close]}
"""
NAMES = st.lists(st.text(max_size=12), max_size=40)


def folders(turns: tuple[Turn, ...]) -> list[str]:
    """The names of the run folders."""
    return [turn.job.folder_name for turn in turns]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with some scenarios, some of them alike in name."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "a-2", "b", "deep/a", "deep/Über Alles"):
        path = tmp_path / "scenarios" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SCENARIO)
    return tmp_path


# --- choosing ---


def test_no_two_runs_share_a_folder(here: Path) -> None:
    """Twins in name, a repetition of `a` and the scenario `a-2`: each has a folder, scenarios keep their own names."""
    turns = choose_turns([], True, None, 3)
    assert len(set(folders(turns))) == len(turns) == 15
    by_file = {(str(turn.job.path), turn.seed_offset): turn.job.folder_name for turn in turns}
    assert by_file["scenarios/a.yaml", 0] == "a"
    assert by_file["scenarios/a-2.yaml", 0] == "a-2"
    assert by_file["scenarios/a.yaml", 1] not in ("a", "a-2")


@given(NAMES.map(lambda names: [name.replace("/", "-") for name in names]), st.integers(1, 4))
def test_any_names_have_folders_of_their_own(names: list[str], repeat: int) -> None:
    """Whatever files are called, folders differ, and hold no character that an engine or a shell minds."""
    turns = choose_turns([f"x/{name}.yaml" for name in names] or ["x/y.yaml"], False, None, repeat)
    told = folders(turns)
    assert len(set(told)) == len(told)
    assert all(letter.isascii() and (letter.isalnum() or letter in "-_") for name in told for letter in name)


def test_a_folder_is_all_that_is_in_it(here: Path) -> None:
    """A path of a folder means its scenarios; one without any is a mistake."""
    assert folders(choose_turns(["scenarios/deep"], False, None)) == ["a", "-ber-alles"]
    (here / "empty").mkdir()
    with pytest.raises(UsageError, match="no scenario is in the folder empty"):
        choose_turns(["empty"], False, None)


def test_repetitions_have_the_next_seeds(here: Path) -> None:
    """The first run has the seed that was asked for, or the scenario's; each next one the next."""
    turns = choose_turns(["b"], False, None, 3)
    assert [seeded(Options(), turn).seed for turn in turns] == [None, 41, 42]
    assert [seeded(Options(seed=7), turn).seed for turn in turns] == [7, 8, 9]


def test_the_command_to_play_a_run_again(here: Path) -> None:
    """All that was changed is in it, quoted; a name where it finds that file, else the path."""
    options = Options("netns", "portable", seed=9, family="ipv6", timeout_s=2.5, settings=(("summary", "it's"),))
    job = Job(Path("scenarios/b.yaml"), "b-3")
    assert again(job, options) == (
        "testbed run b --seed 9 --family ipv6 --backend netns --engine portable --timeout 2.5 "
        "--set 'summary=it'\"'\"'s'"
    )
    assert again(Job(Path("scenarios/deep/a.yaml"), "a-3"), Options()) == "testbed run scenarios/deep/a.yaml"


# --- shards ---


@given(NAMES, st.integers(1, 9))
def test_shards_are_a_partition(names: list[str], count: int) -> None:
    """Every scenario is in exactly one part."""
    parts = [Shard(number, count) for number in range(1, count + 1)]
    assert all(sum(part.has(name) for part in parts) == 1 for name in names)


def test_shards_go_by_name_alone(here: Path) -> None:
    """Another scenario moves none; this is what the parts are, here and everywhere, today and tomorrow."""
    before = {number: folders(choose_turns([], True, None, 1, Shard(number, 2))) for number in (1, 2)}
    (here / "scenarios" / "new.yaml").write_text(SCENARIO)
    after = {number: folders(choose_turns([], True, None, 1, Shard(number, 2))) for number in (1, 2)}
    for number in (1, 2):
        assert [name for name in after[number] if name != "new"] == before[number]
    frozen = [name for name in ("hola", "hello", "lifecycle", "bind-only", "udp-hello") if Shard(1, 2).has(name)]
    assert frozen == ["hola", "bind-only"]


def test_the_catalogue_is_spread() -> None:
    """No part of two or three holds more than twice its share of the scenarios that there are."""
    stems = [path.stem for path in scenario_files()]
    for count in (2, 3):
        sizes = [sum(Shard(number, count).has(stem) for stem in stems) for number in range(1, count + 1)]
        assert sum(sizes) == len(stems)
        assert max(sizes) <= 2 * len(stems) / count


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3", "1/1001", "١/٢"])
def test_what_is_no_shard(text: str) -> None:
    """Anything but the K-th of N is a mistake that says how to write it."""
    with pytest.raises(UsageError, match="is no part of a whole"):
        parse_shard(text)
    assert str(parse_shard("2/5")) == "2/5"


# --- order ---


def test_longest_first() -> None:
    """What nobody has timed begins first, then the longest; runs of about one length stay in their order."""
    turns = tuple(Turn(Job(Path(f"{name}.yaml"), name)) for name in ("short", "new", "long", "also-new", "also-short"))
    durations = {"short": 1.0, "also-short": 1.9, "long": 9.0}
    assert folders(longest_first(turns, durations)) == ["new", "also-new", "long", "short", "also-short"]


def test_alike_runs_follow_each_other() -> None:
    """Among runs of about one length those that can share a lab are together, the commonest likeness first."""
    turns = tuple(Turn(Job(Path(f"{name}.yaml"), name)) for name in ("x1", "a1", "b1", "a2", "b2", "a3", "a-long"))
    durations = {turn.job.name: 1.0 for turn in turns} | {"a-long": 8.0}
    order = folders(longest_first(turns, durations, lambda path: path.stem[0]))
    assert order == ["a-long", "a1", "a2", "a3", "b1", "b2", "x1"]


def test_labs_of_rare_kinds_are_used_one_at_a_time() -> None:
    """Runs that need a lab of another kind than the commonest are spread among the others; the order stays else."""
    turns = tuple(Turn(Job(Path(f"{name}.yaml"), name)) for name in ("b1", "c1", "d1", "a1", "b2", "a2", "a3", "a4"))
    order = folders(spread_rare(turns, lambda path: path.stem[0], 1))
    assert order == ["b1", "a1", "c1", "a2", "d1", "a3", "b2", "a4"]
    assert folders(spread_rare(turns[:3], lambda path: path.stem[0], 2)) == ["c1", "b1", "d1"]
    assert folders(spread_rare(turns, lambda path: "", 2)) == folders(turns)
    assert spread_rare((), lambda path: path.stem[0], 1) == ()


def test_durations_are_noted(tmp_path: Path) -> None:
    """By backend; a new one counts half; others stay."""
    save_durations(tmp_path, "netns", {"hola": 4.0, "hello": 1.0})
    save_durations(tmp_path, "netns", {"hola": 2.0})
    save_durations(tmp_path, "compose", {"hola": 9.0})
    assert load_durations(tmp_path, "netns") == {"hola": 3.0, "hello": 1.0}
    assert load_durations(tmp_path, "compose") == {"hola": 9.0}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"null",
        b'{"schema": 2, "seconds": {"netns": {"hola": 1}}}',
        b'{"schema": 1}',
        b'{"schema": 1, "seconds": []}',
        b'{"schema": 1, "seconds": {"netns": 3}}',
        b'{"schema": 1, "seconds": {"netns": {"hola": "long", "x": -1, "y": 1e99, "z": NaN, "w": null}}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_of_durations_costs_nothing(tmp_path: Path, content: bytes) -> None:
    """It says nothing, and is written anew."""
    (tmp_path / FILE).write_bytes(content)
    assert load_durations(tmp_path, "netns") == {}
    save_durations(tmp_path, "netns", {"hola": 1.5})
    assert load_durations(tmp_path, "netns") == {"hola": 1.5}


def test_durations_need_no_folder(tmp_path: Path) -> None:
    """Without a folder, or with one that cannot be written, nothing happens and nothing is made."""
    save_durations(tmp_path / "none", "netns", {"hola": 1.0})
    assert not (tmp_path / "none").exists()
    (tmp_path / FILE).mkdir()
    save_durations(tmp_path, "netns", {"hola": 1.0})
    assert load_durations(tmp_path, "netns") == {}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


# --- how many at a time ---


@given(
    st.none() | st.integers(1, 64),
    st.integers(1, 500),
    st.integers(1, 256),
    st.integers(0, 1000),
    st.integers(1, 8),
)
def test_never_more_labs_than_memory_allows(
    asked: int | None, runs: int, processors: int, labs: int, per_core: int
) -> None:
    """Busy and waiting labs together fit, whatever was asked for; one lab there always is."""
    plan = plan_capacity(asked=asked, runs=runs, cores=processors, labs=labs, per_core=per_core)
    assert 1 <= plan.jobs <= runs
    assert plan.jobs + plan.idle <= max(1, labs)
    assert 0 <= plan.idle <= MOST_IDLE
    if asked is not None:
        assert plan.jobs <= asked
        assert bool(plan.why) == (plan.jobs < min(asked, runs))


def test_more_jobs_than_cores() -> None:
    """Scenarios mostly wait, so there are several per core; memory is said when it is what counts."""
    assert plan_capacity(asked=None, runs=30, cores=2, labs=100, per_core=4).jobs == 8
    assert plan_capacity(asked=None, runs=3, cores=2, labs=100, per_core=4).jobs == 3
    short = plan_capacity(asked=None, runs=30, cores=2, labs=3, per_core=4)
    assert (short.jobs, short.idle, short.why) == (3, 0, "3 at a time and not 8: memory allows 3 labs")


def test_memory_of_a_lab() -> None:
    """What compose.yaml grants three hosts and the hub, or what hosts need; more hosts, more memory."""
    assert lab_bytes("compose", 3, granted=True) == 3 * 512 * MIB + 64 * MIB
    assert 3 * 30 * MIB < lab_bytes("compose", 3, granted=False) < 512 * MIB
    for granted in (True, False):
        assert lab_bytes("netns", 4, granted=granted) > lab_bytes("netns", 3, granted=granted) > 3 * 30 * MIB
    assert memory_limits("services: {a: {mem_limit: 1g}, b: {}}") == {"a": 1024 * MIB}
    assert [parse_size(text) for text in ("512m", "1G", "64k", "7b", "100", "1.5g", "2mb")] == [
        *(512 * MIB, 1024 * MIB, 64 * 1024, 7, 100, 1536 * MIB, 2 * MIB)
    ]


def test_labs_that_fit() -> None:
    """A share of what is free; where nobody knows what is free memory is no limit."""
    assert labs_that_fit(10 * 1024 * MIB, 1024 * MIB) == 8
    assert labs_that_fit(100 * MIB, 1024 * MIB) == 0
    assert labs_that_fit(None, 1024 * MIB) == 1000


def machine(root: Path, **files: str) -> Path:
    """A machine that says so."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_free_memory(tmp_path: Path) -> None:
    """The machine's, and on netns what our own container may still take; compose's containers are beside it."""
    root = machine(
        tmp_path,
        proc__meminfo="MemTotal:  9000 kB\nMemAvailable:   4000 kB\n",
        sys__fs__cgroup__memory_dot_max="3000000\n",
        sys__fs__cgroup__memory_dot_current="1000000\n",
    )
    assert free_bytes("netns", root) == 2_000_000
    assert free_bytes("compose", root) == 4_096_000
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert free_bytes("netns", root) == 4_096_000
    assert free_bytes("netns", tmp_path / "nowhere") is None


def test_processors_of_a_container(tmp_path: Path) -> None:
    """A quota counts where it is less than the machine has."""
    assert cores(machine(tmp_path / "a", sys__fs__cgroup__cpu_dot_max="100000 100000\n")) == 1
    assert cores(machine(tmp_path / "b", sys__fs__cgroup__cpu_dot_max="max 100000\n")) == cores(tmp_path / "none")


def test_the_shape_of_a_scenario(here: Path) -> None:
    """Replicas and the sniffer count, and so does what the command line changes; a wrong file has none."""
    shape = shape_of(Path("scenarios/a.yaml"), Options(family="ipv6"), "netns")
    assert shape is not None
    assert (len(shape.hosts), shape.family, shape.backend) == (4, "ipv6", "netns")
    assert shape_of(Path("scenarios/none.yaml"), Options(), "netns") is None


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    """Who finds it knows that it may go."""
    save_durations(tmp_path, "netns", {"hola": 1.0})
    assert "May be removed" in json.loads((tmp_path / FILE).read_text())["about"]
