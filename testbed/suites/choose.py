"""Which runs a command line asks for, and in what order they begin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, inf, log2
from pathlib import Path

from testbed.errors import UsageError
from testbed.files import find_scenario, load_scenario, scenario_files
from testbed.session import Job, Options
from testbed.suites.shard import Shard

FOLDER_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


@dataclass(frozen=True, slots=True)
class Turn:
    """A run that is asked for: a scenario, which repetition (each has the next seed), which point of a sweep."""

    job: Job
    seed_offset: int = 0
    settings: tuple[tuple[str, str], ...] = ()  # of that point, on top of the command's


def choose_turns(
    names: Sequence[str], everything: bool, tag: str | None, repeat: int = 1, shard: Shard | None = None
) -> tuple[Turn, ...]:
    """The runs that a command line asks for, in order of names. Raises UsageError where it asks for none.

    With a shard there may be none that are this machine's.
    """
    paths = [path for name in names for path in _named(name)]
    if everything or tag:
        paths += [path for path in scenario_files() if everything or tag in load_scenario(path).scenario.tags]
    if not paths:
        what = f"no scenario has the tag {tag!r}" if tag else "no scenario is named"
        raise UsageError(what, remedy="name some, or use --all or --tag; `testbed list` shows them")
    unique = [path for path in dict.fromkeys(paths) if shard is None or shard.has(path.stem)]
    numbers = range(1, repeat + 1)
    wanted = [(path, number) for path in unique for number in numbers]
    folders = _folder_names(wanted)
    return tuple(Turn(Job(path, folder), number - 1) for (path, number), folder in zip(wanted, folders, strict=True))


def _named(name: str) -> tuple[Path, ...]:
    if not Path(name).is_dir() or any(path.stem == name for path in scenario_files()):
        return (find_scenario(name),)
    found = scenario_files(Path(name))
    if not found:
        raise UsageError(f"no scenario is in the folder {name}", remedy="scenario files end in .yaml")
    return found


def _folder_names(wanted: Sequence[tuple[Path, int]]) -> list[str]:
    """A name for each run's folder; first those of first runs, so that a repetition never takes a scenario's name."""
    taken: set[str] = set()
    names: dict[tuple[Path, int], str] = {}
    for path, number in sorted(wanted, key=lambda each: each[1] > 1):
        names[path, number] = _free(folder_stem(path), number, taken)
    return [names[each] for each in wanted]


def folder_stem(path: Path) -> str:
    """A scenario's name in small ASCII letters, digits and hyphens: engines name projects by it."""
    return "".join(letter if letter in FOLDER_LETTERS else "-" for letter in path.stem.lower())


def _free(stem: str, number: int, taken: set[str]) -> str:
    name = stem if number == 1 else f"{stem}-{number}"
    twin = 2
    while name in taken:
        name = f"{stem}-{twin}" if number == 1 else f"{stem}-{number}-{twin}"
        twin += 1
    taken.add(name)
    return name


def longest_first(
    turns: Sequence[Turn], durations: Mapping[str, float], likeness: Callable[[Path], object] = lambda path: ""
) -> tuple[Turn, ...]:
    """The runs in the order in which they begin: those of unknown length, then the longest.

    Among those that take about as long (a factor of two), runs of one likeness follow each other, the commonest first,
    so that they can use each other's labs; else the order of names stays.
    """
    alike = {path: likeness(path) for path in {turn.job.path for turn in turns}}
    common = Counter(alike[turn.job.path] for turn in turns)
    first = {shape: place for place, shape in reversed(list(enumerate(alike[turn.job.path] for turn in turns)))}

    def place(turn: Turn) -> tuple[float, int, int]:
        shape = alike[turn.job.path]
        return -_length(durations.get(turn.job.name)), -common[shape], first[shape]

    return tuple(sorted(turns, key=place))


def spread_rare(turns: Sequence[Turn], likeness: Callable[[Path], object], beside: int) -> tuple[Turn, ...]:
    """The same runs, those that need a lab of another kind than the commonest one at a time, between the others.

    Where bringing a lab up is much work, several at once delay each other and the runs beside them, and two runs of a
    rare kind at once need two of its labs. `beside` others begin after each; the order is else as it was.
    """
    common = Counter(likeness(turn.job.path) for turn in turns).most_common(1)
    usual = [turn for turn in turns if likeness(turn.job.path) == common[0][0]]
    rare = [turn for turn in turns if likeness(turn.job.path) != common[0][0]]
    spread: list[Turn] = []
    while rare or usual:
        spread += [*rare[:1], *usual[:beside]]
        del rare[:1], usual[:beside]
    return tuple(spread)


def _length(seconds: float | None) -> float:
    """How long, in powers of two; under a quarter of a second all are alike."""
    return inf if seconds is None else floor(log2(max(seconds, 0.25)))


def seeded(options: Options, turn: Turn) -> Options:
    """The options of one turn: the seed is that of the command or the scenario, plus the repetition's number."""
    if turn.settings:
        options = replace(options, settings=(*options.settings, *turn.settings))
    if not turn.seed_offset:
        return options
    first = options.seed if options.seed is not None else load_scenario(turn.job.path).scenario.seed
    return replace(options, seed=first + turn.seed_offset)
