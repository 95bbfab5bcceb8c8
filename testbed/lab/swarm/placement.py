"""Which host runs on which engine: from `--place` words, some of which may name a lab file. Pure but for that file.

A lab file is small YAML: `place: {client: ENGINE, server: ENGINE}`, and, where the engines shall have short names
there, `engines: {left: ssh://machine-1, right: ssh://machine-2}`. A scenario's host stands for all its replicas; one
that nothing is said of runs on the engine that was named first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import UsageError
from testbed.files import read_file

EXAMPLE = "write --place client=ENGINE --place server=ENGINE, or --place LAB_FILE.yaml"
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
                f"--place: no host is called {' or '.join(self.places)}; there is {', '.join(names)}", remedy=EXAMPLE
            )
        return {name: self.engine(name) for name in names}


def read_placement(words: Iterable[str]) -> Placement:
    """The placement that a command line asks for. Raises UsageError."""
    places: dict[str, str] = {}
    for word in words:
        host, equals, engine = word.partition("=")
        if equals and host and engine:
            places[host] = engine
        elif equals:
            raise UsageError(f"--place {word} is not HOST=ENGINE", remedy=EXAMPLE)
        else:
            places.update(_lab_file(Path(word)))
    if not places:
        raise UsageError("--backend swarm does not know which engines to use", remedy=EXAMPLE)
    return Placement(places)


def _lab_file(path: Path) -> dict[str, str]:
    import yaml

    try:
        told = yaml.safe_load(read_file(path, "lab file"))
    except yaml.YAMLError as error:
        raise UsageError(f"the lab file {path} is not YAML: {error}", remedy=EXAMPLE) from error
    if not isinstance(told, dict) or set(told) - {"place", "engines"} or not told.get("place"):
        raise UsageError(f"the lab file {path} has `place:` and `engines:`, and nothing else", remedy=EXAMPLE)
    names = _words(path, "engines", told.get("engines") or {})
    return {host: names.get(engine, engine) for host, engine in _words(path, "place", told["place"]).items()}


def _words(path: Path, key: str, told: Any) -> dict[str, str]:
    if not isinstance(told, dict) or not all(isinstance(word, str) for pair in told.items() for word in pair):
        raise UsageError(f"the lab file {path}: {key} is not a mapping of names to names", remedy=EXAMPLE)
    return dict(told)
