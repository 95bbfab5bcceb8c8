"""A storm: many client hosts open connections to one port at once, over a wire that loses some packets.

Usage: python -m benchmarks.storm [--clients 20] [--each 500] [--loss 1%] [--keep FILE]

One run of a scenario on the netns backend (root, or an unprivileged user namespace). What must hold: no capture has
dropped a packet, every connection that was opened has been followed and has an outcome, and all processes of the run
together never took more than a gigabyte. Memory is the sum of the proportional set sizes (smaps_rollup of proc(5)) of
the command and all its descendants, looked at ten times a second. The exit code is 0 when all of it held.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT_MIB = 1024.0
EVERY_S = 0.1
SCENARIO = """\
summary: A storm of {total} connections of {clients} hosts to one port, {loss} of all packets lost.
timeout: 300s
settle: 60s
sysctls: {{net.core.somaxconn: 65535, net.ipv4.tcp_max_syn_backlog: 65535}}
hosts:
  server:
    steps:
      - {{listen: 7456, backlog: 65535}}
      - {{repeat: {total}, steps: [{{accept: , timeout: 120s}}, {{recv: 2, timeout: 120s}}, close]}}
  client:
    replicas: {clients}
    steps:
      - parallel: {each}
        steps: [{{connect: server:7456, timeout: 120s}}, {{send: hi}}, {{recv: eof, timeout: 120s}}, close]
wire: {{loss: {loss}, delay: 10ms}}
expect:
  connections: {total}
  counters: {{server: {{ListenDrops: 0}}}}
"""


@dataclass(frozen=True, slots=True)
class Memory:
    """The most that was taken at once, in MiB: by the command, and by all its descendants too."""

    command: float
    all: float


def main() -> int:
    """Run it, and say what held."""
    options = _options()
    total = options.clients * options.each
    with tempfile.TemporaryDirectory(prefix="storm-") as folder:
        scenario = Path(folder) / "storm.yaml"
        told = {"total": total, "clients": options.clients, "each": options.each, "loss": options.loss}
        scenario.write_text(SCENARIO.format(**told))
        command = [sys.executable, "-m", "testbed", "run", str(scenario), "--backend", "netns", "--out", folder]
        started = time.monotonic()
        memory = watch(command)
        seconds = time.monotonic() - started
        found = next(Path(folder).glob("*/storm/result.json"), None)
        if found is None:
            print("the run left no result")
            return 3
        result = json.loads(found.read_text())
        if options.keep:
            options.keep.write_text(json.dumps(result))
    return report(result, total, memory, seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--loss", default="1%")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="Keep the run's result.json there.")
    return parser.parse_args()


def watch(command: list[str]) -> Memory:
    """Run a command to its end, and watch what it takes."""
    most_command = most_all = 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            taken = {pid: pss_mib(pid) for pid in tree(process.pid)}
            most_command, most_all = max(most_command, taken.get(process.pid, 0.0)), max(most_all, sum(taken.values()))
            time.sleep(EVERY_S)
    return Memory(most_command, most_all)


def tree(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from tree(child)


def pss_mib(pid: int) -> float:
    """The proportional set size of a process; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("Pss:")), 0.0)


def report(result: dict[str, Any], total: int, memory: Memory, seconds: float) -> int:
    """Print the figures; the exit code."""
    connections = result["connections"]
    captures = result["captures"]
    dropped = sum(capture["dropped"] for capture in captures)
    outcomes = Counter(one["handshake"]["outcome"] for one in connections)
    ways = Counter(one["teardown"]["kind"] for one in connections)
    states = Counter(one["conn_state"] for one in connections)
    timing = result["timing_ms"]
    print(f"connections    {len(connections)} of {total}")
    print(f"handshakes     {_counts(outcomes)}")
    print(f"teardowns      {_counts(ways)}")
    print(f"conn_state     {_counts(states)}")
    print(f"packets        {sum(capture['packets'] for capture in captures)} captured, {dropped} dropped")
    print(f"memory         {memory.all:.0f} MiB of all processes, {memory.command:.0f} MiB of the command")
    print(f"time           {seconds:.1f} s: " + ", ".join(f"{k} {v / 1000:.1f}" for k, v in timing.items() if v))
    print(f"verdict        {result['verdict']}")
    for check in result["checks"]:
        if check["verdict"] != "passed":
            print(f"  {check['name']}: {check['verdict']}: {check['why'][:300]}")
    for problem in result["problems"][:5]:
        print(f"  {problem['where']}: {problem['says'][:300]}")
    held = {
        "every connection is followed": len(connections) == total == sum(outcomes.values()),
        "no capture drop": dropped == 0,
        f"under {LIMIT_MIB:.0f} MiB": memory.all < LIMIT_MIB,
        "passed": result["verdict"] == "passed",
    }
    for what, holds in held.items():
        print(f"{'ok ' if holds else 'no '} {what}")
    return 0 if all(held.values()) else 1


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
