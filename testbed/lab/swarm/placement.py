"""Which host runs on which engine: from `--place HOST=ENGINE` words, and a lab file's. Pure but for that file.

A scenario's host stands for all its replicas; one that nothing is said of runs on the engine that was named first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import UsageError

EXAMPLE = "write --place client=ENGINE --place server=ENGINE, or --lab FILE.yaml"
_REPLICA = re.compile(r"^(?P<role>.+)-[0-9]+$")


@dataclass(frozen=True, slots=True)
class Placement:
    """Engines by host, in the order in which they were named."""

    places: Mapping[str, str]

    @property
    def engines(self) -> tuple[str, ...]:
        """Every engine once; the first is that of all who are not named."""
        return tuple(dict.fromkeys(self.places.values()))

    def engine(self, host: str) -> str:
        """Where a host runs."""
        match = _REPLICA.match(host)
        role = match["role"] if match else host
        return self.places.get(host) or self.places.get(role) or self.engines[0]

    def of(self, hosts: Iterable[str]) -> dict[str, str]:
        """The engine of each host. Raises UsageError where none of those that are placed is there.

        One placement serves a suite, whose scenarios have hosts of their own beside client and server.
        """
        names = tuple(hosts)
        roles = {match["role"] for name in names if (match := _REPLICA.match(name))}
        if not self.places.keys() & {*names, *roles}:
            raise UsageError(
                f"none of the hosts that are placed is there: no host is called {' or '.join(self.places)}; "
                f"there is {', '.join(names)}",
                remedy=EXAMPLE,
            )
        return {name: self.engine(name) for name in names}


def placed_words(lab_file: Path | None, words: Iterable[str]) -> tuple[str, ...]:
    """`HOST=ENGINE` for every host that a lab file places, or the command line, which has the last word.

    The engines' short names are replaced by what they stand for: a run can be played again without the file.
    Raises UsageError.
    """
    told = tuple(words)
    if lab_file is None:
        return told
    from testbed.lab.swarm.lab_file import load_lab_file

    lab = load_lab_file(lab_file)
    places = {**lab.places, **read_placement(told).places} if told else lab.places
    return tuple(f"{host}={lab.engines.get(engine, engine)}" for host, engine in places.items())


def read_placement(words: Iterable[str]) -> Placement:
    """The placement that `HOST=ENGINE` words tell. Raises UsageError."""
    places: dict[str, str] = {}
    for word in words:
        host, equals, engine = word.partition("=")
        if not (equals and host and engine):
            raise UsageError(f"--place {word} is not HOST=ENGINE", remedy=EXAMPLE)
        places[host] = engine
    if not places:
        raise UsageError("--backend swarm does not know which engines to use", remedy=EXAMPLE)
    return Placement(places)
