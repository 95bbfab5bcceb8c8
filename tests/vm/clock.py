"""Inside the machine: CLOCK_REALTIME is set, forward and back, while a scenario plays; the verdict must be unknown.

Nowhere else can this be tried: the clock is the whole machine's, and no namespace has one of its own.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = """\
summary: A conversation with a pause in it.
hosts:
  server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
  client: {steps: [{connect: "server:7456"}, {send: Hola}, {sleep: 3s}, {send: "?"}, close]}
expect: {handshake: {outcome: complete}, payload: {"client->server": "Hola?"}}
timeout: 60s
"""
STEPS_S = (5.0, -5.0)
ABOUT_MS = 100.0
UNKNOWN = 3


def play(folder: Path, step_s: float) -> tuple[int, str]:
    """Play the scenario and set the clock in its pause; the exit code, and the problems of the run."""
    (folder / "paused.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "testbed", "run", str(folder / "paused.yaml"), "--backend", "netns", "--live"]
    out = folder / f"out{step_s:g}"
    with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as run:
        assert run.stdout is not None
        is_set = False
        for line in run.stdout:
            if b" send ok" in line and not is_set:
                time.clock_settime(time.CLOCK_REALTIME, time.time() + step_s)
                is_set = True
    result = json.loads((out / "latest" / "paused" / "result.json").read_text())
    return run.returncode, "; ".join(problem["says"] for problem in result["problems"])


def main() -> None:
    """Set forward or back, and the verdict is unknown, and the reason says by how much."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for step_s in STEPS_S:
            code, problems = play(folder, step_s)
            print(f"exit code {code}: {problems}")
            assert code == UNKNOWN
            told = re.search(r"its clock was set (forward|back) by ([0-9.]+) ms", problems)
            assert told
            assert told[1] == ("forward" if step_s > 0 else "back")
            assert abs(float(told[2]) - 1000 * abs(step_s)) < ABOUT_MS
    print("a clock that is set makes the verdict unknown")


if __name__ == "__main__":
    main()
