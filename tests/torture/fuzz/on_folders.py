"""The target `folder`: a run folder as anybody could write it, before `testbed check` and `testbed report`.

An input is a timeline; behind a line of equals signs the scenario, and behind another the capture on the wire. What is
not there is that of a good run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from random import Random
from zlib import crc32

from mutators import Mutator, Plain, capture_mutator, tree_mutator
from on_scenarios import scenario_words, trees
from targets import Target
from verdict_story import HOLA, Story

from testbed.errors import TestbedError
from testbed.evidence import RECORDS, Evidence, Made, TableRow, dump_records
from testbed.files import in_order, read_captures, read_timeline
from testbed.outputs import drawings
from testbed.pcap.frame import Capture
from testbed.pcap.writer import write_capture
from testbed.report.text import plain, render_text
from testbed.result import result_json
from testbed.scenario.model import Scenario, dump_scenario
from testbed.scenario.read import read_scenario
from testbed.verdict.judge import judge

PART = b"\n=====\n"  # between the parts of an input
DRAWN = 16  # of so many inputs, one is drawn too: which, its bytes tell


@cache
def _good() -> tuple[Scenario, dict[str, Capture]]:
    whole = evidence()
    return whole.scenario, dict(whole.captures)


def check_folder_of(data: bytes) -> None:
    """Read as `testbed check` does, judged, told; a run folder that is none is refused in words."""
    timeline, *more = data.split(PART, 2)
    scenario, captures = _good()
    try:
        if more:
            scenario = read_scenario(more[0], "scenario.yaml")
        if len(more) > 1:
            captures = in_order({**captures, **read_captures({"wire.pcapng": more[1]})})
        evidence = Evidence(scenario, read_timeline(timeline, "timeline.jsonl"), captures)
        judgement = judge(evidence)
        if crc32(data) % DRAWN == 0:
            drawings(judgement)
    except TestbedError:
        return
    result_json(judgement).encode()
    plain(render_text(judgement, width=80, unicode=True)).encode()


def folder_mutator() -> Mutator:
    """Mostly a record of the timeline changes; else the scenario, or the capture."""
    good = folder_parts()
    records = tree_mutator(record_words(), [json.loads(line) for line in good[0].split(b"\n")], typed=0.85)
    scenario = tree_mutator(scenario_words(), trees())

    def change(data: bytes, most: int, chance: Random, blindly: Plain) -> bytes:
        parts = data.split(PART, 2)
        at = chance.choice((0, 0, 0, 0, 0, 0, 1, 1, 2))
        parts += good[len(parts) : at + 1]
        parts[at] = (records, scenario, capture_mutator)[at](parts[at], most, chance, blindly)
        made = PART.join(parts)
        return made if len(made) <= most else data[:most]

    return change


@cache
def evidence() -> Evidence:
    """Of a run in which much happened."""
    story = Story(
        {
            "hosts": {
                "server": {"steps": [{"listen": 7456}, "accept", {"recv": "eof"}, {"log": "hello"}, "close"]},
                "client": {"steps": [{"connect": "server:7456"}, {"send": HOLA.decode()}, "close"]},
            },
            "wire": {"delay": "5ms"},
            "faults": [{"drop": "SYN", "from": "client", "nth": 1}],
            "expect": {
                "handshake": {"outcome": "complete", "syn_retransmits": 1},
                "teardown": {"kind": "fin", "closed_first": "client"},
                "payload": {"client->server": HOLA.decode()},
                "states": {"client": ["SYN_SENT", "ESTABLISHED"]},
                "logs": {"server": ["hello"]},
                "delay": {"client->server": "4ms..9ms"},
                "lost": {"client->server": 1},
            },
        }
    )
    story.tcp(0, "client", "S", fault=0)
    story.open(20)
    story.talk(40)
    story.play()
    story.state("client", 0, "CLOSE", "SYN_SENT")
    story.state("client", 22, "SYN_SENT", "ESTABLISHED")
    story.log("server", "hello")
    story.snapshot("server", "now", ("LISTEN", "198.18.0.3:7456", "0.0.0.0:0"))
    return story.evidence()


def folder_parts() -> tuple[bytes, bytes, bytes]:
    """A run folder: the timeline, the scenario as JSON, the capture on the wire."""
    whole = evidence()
    timeline = dump_records(whole.records).rstrip("\n").encode()
    return timeline, json.dumps(dump_scenario(whole.scenario)).encode(), write_capture(whole.captures["wire"])


def folders() -> Iterator[bytes]:
    """Run folders, whole and in part."""
    parts = folder_parts()
    yield from (PART.join(parts[:number]) for number in (1, 2, 3))


@cache
def record_words() -> tuple[str, ...]:
    """What a timeline's records say, and their fields."""
    names = {spec.name for kind in (*RECORDS.values(), TableRow, Made) for spec in fields(kind)}
    hosts = ("client", "server", "sniffer", "wire", "client:link0", "server:link0", "ok", "error", "timeout", "EPIPE")
    return tuple(sorted({*names, *RECORDS, *hosts, "drop", "icmp", "ipv6", "netem", "SIGKILL", "type", "0", "1.0"}))


TARGETS = {"folder": Target(check_folder_of, folders, 16384, folder_mutator)}
