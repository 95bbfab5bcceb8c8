"""What every report says of a run beside its packets: where the files are, how to look, how to run it again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from testbed.evidence import Problem, RunFacts
from testbed.packet import Packet, Protocol
from testbed.report.escape import clean
from testbed.verdict.value import Check, Judgement, Outcome

# Worst first: what a person looks for is on top.
ORDER = (Outcome.FAILED, Outcome.UNKNOWN, Outcome.PASSED)

ONCE = 'frame.interface_name == "wire"'
_SHELL_SAFE = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")


def display_filter(judgement: Judgement) -> str:
    """The Wireshark display filter that shows the run's packets: `tcp.port == 7456`."""
    tcp = {connection.server.port for connection in judgement.connections}
    parts = [("tcp", tcp or _first_port(judgement.packets, Protocol.TCP))]
    parts.append(("udp", _first_port(judgement.packets, Protocol.UDP)))
    return " || ".join(_port_filter(name, ports) for name, ports in parts if ports) or "ip || ipv6"


def _first_port(packets: Iterable[Packet], protocol: Protocol) -> set[int]:
    return next(({packet.destination_port} for packet in packets if packet.protocol == protocol), set())


def _port_filter(name: str, ports: set[int]) -> str:
    listed = ", ".join(map(str, sorted(ports)))
    return f"{name}.port == {listed}" if len(ports) == 1 else f"{name}.port in {{{listed}}}"


def rerun(run: RunFacts) -> str:
    """The command that plays the run again with the same seed."""
    command = ["testbed", "run", _target(run), "--seed", str(run.seed), "--family", run.family]
    command += [word for place in run.place for word in ("--place", place)]
    return " ".join(map(_quoted, command))


def _target(run: RunFacts) -> str:
    # A file outside scenarios/ is not found by its name.
    known = "scenarios" in run.scenario_file.split("/")[:-1] or not run.scenario_file
    return run.scenario if known else run.scenario_file


def _quoted(word: str) -> str:
    word = clean(word)
    return word if _SHELL_SAFE.fullmatch(word) else "'" + word.replace("'", "'\"'\"'") + "'"


def folder(run: RunFacts) -> str:
    """The run folder as the testbed names it unless told otherwise."""
    return f"results/{run.run_id}/{run.scenario}"


# What is in a run folder, the most telling first.
FILES = ("report.html", "ladder.svg", "trace.pcapng", "result.json", "timeline.jsonl", "captures/")


def checks_by_verdict(judgement: Judgement) -> dict[Outcome, tuple[Check, ...]]:
    """The checks, worst first, in each verdict as judged."""
    return {verdict: tuple(check for check in judgement.checks if check.verdict is verdict) for verdict in ORDER}


def verdict_sentence(judgement: Judgement) -> str:
    """How many checks went which way: `1 of 8 checks failed, 2 unknown`."""
    counts = {verdict: len(checks) for verdict, checks in checks_by_verdict(judgement).items()}
    total = len(judgement.checks)
    if counts[Outcome.PASSED] == total:
        return "no checks" if not total else "the one check passed" if total == 1 else f"all {total} checks passed"
    said = ", ".join(f"{count} {verdict}" for verdict in ORDER if (count := counts[verdict]))
    return f"{said} of {total} {'check' if total == 1 else 'checks'}"


def problems(judgement: Judgement) -> tuple[Problem, ...]:
    """What the testbed could not do or see and no check says already."""
    told = "\n".join(f"{check.seen}\n{check.why}" for check in judgement.checks)
    return tuple(problem for problem in judgement.evidence.all(Problem) if problem.says not in told)


def environment(run: RunFacts) -> str:
    """Versions, in one line."""
    return ", ".join(f"{name} {version}" for name, version in run.versions.items() if version)


def place(check: Check, run: RunFacts) -> str:
    """Where the scenario asks for it: `scenarios/seeds/hola.yaml:21`."""
    return "" if check.line is None else f"{run.scenario_file}:{check.line}"


def list_packets(numbers: Sequence[int], *, limit: int = 16) -> str:
    """Packet numbers as text, the first of many."""
    listed = ", ".join(map(str, numbers[:limit]))
    return listed if len(numbers) <= limit else f"{listed} and {len(numbers) - limit} more"
