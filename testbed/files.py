"""Everything that is read from and written to disk: scenario files by name, and the folder that a run leaves.

A run folder holds `scenario.yaml`, `timeline.jsonl` and `captures/*.pcapng`, which together are the evidence, and what
was made of them: `result.json`, `trace.pcapng`, `report.html`, `ladder.svg`. Each file appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from testbed.errors import LabError, UsageError
from testbed.evidence import Evidence, Record, RunFacts, dump_records, load_records
from testbed.pcap.frame import Capture
from testbed.scenario.read import Located, read_located
from testbed.scenario.write import write_scenario

SCENARIOS = "scenarios"
MOST_PAYLOAD = 64 << 20  # bytes of a file that a scenario sends; it goes to the hosts in one message
MOST_CAPTURE = 1 << 28  # bytes of a run's capture once unpacked; the testbed itself packs none
LATEST = "latest"
TIMELINE = "timeline.jsonl"
NO_RUN_FOLDER = "it is not a run folder of this testbed"


def scenario_folder() -> Path:
    """The scenarios that SCENARIO names are looked up in: `scenarios/` here, else those that came with the testbed."""
    here = Path(SCENARIOS)
    if here.is_dir():
        return here
    package = Path(__file__).parent
    beside = package.parent / SCENARIOS
    return beside if beside.is_dir() else package / "data" / SCENARIOS


def scenario_files(folder: Path | None = None) -> tuple[Path, ...]:
    """All scenario files, in order of their names."""
    return tuple(sorted((folder or scenario_folder()).rglob("*.yaml")))


def find_scenario(wanted: str) -> Path:
    """The file of a scenario: a path, or the stem of a file anywhere below `scenarios/`.

    Raises UsageError with the nearest names.
    """
    if "/" in wanted or wanted.endswith((".yaml", ".yml")):
        return Path(wanted)
    found = [path for path in scenario_files() if path.stem == wanted]
    if len(found) > 1:
        raise UsageError(f"{wanted} names {len(found)} files: {', '.join(map(str, found))}", remedy="give the path")
    if not found:
        names = [path.stem for path in scenario_files()]
        near = get_close_matches(wanted, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"there is no scenario {wanted!r}", remedy=f"{hint}`testbed list` shows all {len(names)}")
    return found[0]


def load_scenario(path: Path) -> Located:
    """Read a scenario file. Raises UsageError for what is wrong in it, or with the file."""
    # A byte more than may be is enough to say that it is too large, of a device without end too.
    return _read(read_file(path, "scenario file", MOST_PAYLOAD), str(path))


@lru_cache(maxsize=256)
def _read(content: bytes, name: str) -> Located:
    """What a file says; a suite asks twice, first for the labs that it will need, and `--repeat` each time."""
    return read_located(content, name)


def load_payloads(names: Iterable[str], scenario_path: Path) -> dict[str, bytes]:
    """The payload files that a scenario names, from beside it or beneath.

    Raises UsageError also for one that is elsewhere (a symbolic link that leads out: what a scenario sends is in its
    results, and a scenario may be somebody else's), that is no ordinary file, or that is too large.
    """
    return {name: _load_payload(scenario_path, name) for name in names}


def _load_payload(scenario_path: Path, name: str) -> bytes:
    path, what = scenario_path.parent / name, f"payload file of {scenario_path}"
    if not path.resolve().is_relative_to(scenario_path.parent.resolve()):
        raise UsageError(f"the {what} {path} leads out of the scenario's folder", remedy="copy it to beside it")
    if path.exists() and not path.is_file():
        raise UsageError(f"the {what} {path} is no ordinary file", remedy="copy what it holds to a file")
    content = read_file(path, what, MOST_PAYLOAD + 1)
    if len(content) > MOST_PAYLOAD:
        raise UsageError(f"the {what} {path} has more than {MOST_PAYLOAD} bytes", remedy="send `random` bytes instead")
    return content


def read_file(path: Path, what: str, most: int = -1) -> bytes:
    """A file's bytes, at most so many. Raises UsageError where it cannot be read; `what` says what the file is for."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise UsageError(
            f"the {what} {path} cannot be read: {os.strerror(error.errno or 0)}",
            remedy="check its name and permissions",
        ) from error


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns a full or forbidden disk into a LabError that says so."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LabError(
                f"the disk is full: {folder} cannot be written", remedy="make room, or give --out"
            ) from error
        reason = os.strerror(error.errno or 0)
        raise LabError(
            f"{error.filename or folder} cannot be written: {reason}", remedy="give another --out"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def make_run_folder(out: Path, run_id: str, name: str) -> Path:
    """An empty folder for one scenario of a run."""
    folder = out / run_id / name
    with disk_errors(folder):
        folder.mkdir(parents=True)
    return folder


def write_lab_file(path: Path, content: bytes) -> None:
    """Write a lab.yaml: what a lab was brought up from."""
    with disk_errors(path.parent):
        write_whole(path, content)


def lab_text(about: str, content: Mapping[str, Any]) -> bytes:
    """A lab.yaml with a line on top that says what it is.

    JSON is YAML; it needs no library, and nothing in it is open to another reading.
    """
    return f"# {about} of this run, made by testbed\n{json.dumps(content, indent=1)}\n".encode()


def point_latest(run_folder: Path) -> None:
    """`latest` beside a run's folder points at it from now on."""
    link = run_folder.parent / f".{LATEST}.{run_folder.name}.{threading.get_ident()}"
    with disk_errors(link):
        link.symlink_to(run_folder.name)
        link.replace(run_folder.parent / LATEST)


def save_evidence(folder: Path, evidence: Evidence) -> None:
    """Write what a run found."""
    from testbed.pcap.writer import write_capture

    with disk_errors(folder):
        (folder / "captures").mkdir(exist_ok=True)
        for vantage, capture in evidence.captures.items():
            write_whole(folder / "captures" / f"{vantage.replace(':', '-')}.pcapng", write_capture(capture))
        write_whole(folder / "scenario.yaml", write_scenario(evidence.scenario).encode())
        write_whole(folder / TIMELINE, dump_records(evidence.records).encode())


def load_evidence(folder: Path) -> Evidence:
    """Read a run folder back. Raises UsageError where it is none, or is damaged."""
    located = load_scenario(folder / "scenario.yaml")
    timeline = folder / TIMELINE
    records = read_timeline(read_file(timeline, "timeline"), str(timeline))
    files = {str(path): read_file(path, "capture") for path in sorted((folder / "captures").glob("*.pcapng"))}
    return Evidence(located.scenario, records, read_captures(files))


def read_timeline(data: bytes, file: str) -> tuple[Record, ...]:
    """The records of a run's timeline. Raises UsageError where it is none, or does not say once what was run."""
    try:
        records = load_records(data.decode())
    except ValueError as error:
        raise UsageError(f"{file}: {error}", remedy=NO_RUN_FOLDER) from error
    if (told := sum(isinstance(record, RunFacts) for record in records)) != 1:
        raise UsageError(f"{file} says {told} times what was run; it must say so once", remedy=NO_RUN_FOLDER)
    return records


def read_captures(files: Mapping[str, bytes]) -> dict[str, Capture]:
    """Captures by their vantage points, from the bytes of their files. Raises UsageError."""
    from testbed.pcap.reader import read_capture

    captures: dict[str, Capture] = {}
    for file, data in files.items():
        try:
            capture = read_capture(data, limit=MOST_CAPTURE)
        except UsageError as error:
            raise UsageError(f"{file}: {error.message}", remedy=error.remedy) from error
        name = capture.interfaces[0].name if capture.interfaces else ""
        if not name or name in captures:
            why = f"is of {name}, as another file is" if name else "does not say at which vantage point it was captured"
            raise UsageError(f"{file} {why}", remedy=NO_RUN_FOLDER)
        captures[name] = capture
    return in_order(captures)


def save_outputs(folder: Path, outputs: Mapping[str, bytes]) -> None:
    """Write what was made of the evidence; result.json comes last, so that it is there only when all is."""
    with disk_errors(folder):
        for name in sorted(outputs, key=lambda name: name == "result.json"):
            write_whole(folder / name, outputs[name])


def in_order(captures: Mapping[str, Capture]) -> dict[str, Capture]:
    """Captures by their vantage points' names, so that evidence reads back equal in order too."""
    return {name: captures[name] for name in sorted(captures)}


TEMPLATE = """\
# yaml-language-server: $schema={schema}
# Why this scenario is worth a file: say it here.
summary: A client says hello, and closes first.
hosts:
  server:
    steps: [{{listen: 7456}}, accept, {{recv: eof}}, close]
  client:
    steps: [{{connect: server:7456}}, {{send: "Hello!"}}, close]
expect:
  handshake: {{outcome: complete}}
  teardown: {{kind: fin, closed_first: client}}
  payload: {{client->server: "Hello!"}}
"""


def new_scenario(name: str) -> Path:
    """Write a first scenario of one's own. Raises UsageError where the name is taken or cannot be a file's."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise UsageError(f"{name!r} cannot name a scenario", remedy="use small letters, digits and hyphens")
    if any(path.stem == name for path in scenario_files()):
        raise UsageError(f"there is a scenario {name} already: {find_scenario(name)}", remedy="take another name")
    path = Path(SCENARIOS) / f"{name}.yaml"
    with disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, TEMPLATE.format(schema="../schema/scenario.schema.json").encode())
    return path
