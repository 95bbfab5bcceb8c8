"""Inside the machine: runs the job's rows one after the other and writes what came of them to the third disk.

Standard library alone, as it is started by path. Each row's output goes to the console as it comes and to a file;
`ended.json` says how each ended. A row that takes longer than its limit is killed with all it has started. The Docker
engine is started for the first row that needs it, and has told that it is ready (sd_notify(3)) before that row starts.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

OUT = Path("/out")
RESULTS = Path("/dev/nvme0n3")
READY_WITHIN_S = 120.0
ENGINE = ("dockerd", "--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs")


def start_engine() -> subprocess.Popen[bytes]:
    """Start dockerd and wait until it says that it is ready."""
    started = time.monotonic()
    path = "/run/engine-ready"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, (OUT / "dockerd.log").open("wb") as log:
        ready.bind(path)
        ready.settimeout(READY_WITHIN_S)
        engine = subprocess.Popen(ENGINE, stdout=log, stderr=log, env={**os.environ, "NOTIFY_SOCKET": path})
        while b"READY=1" not in ready.recv(4096):
            pass
    print(f"vm: the Docker engine was ready after {time.monotonic() - started:.1f} s", flush=True)
    return engine


def run_row(row: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    """Run one row's command; how it ended."""
    started = time.monotonic()
    process = subprocess.Popen(
        row["command"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **environment},
        start_new_session=True,
    )
    with (OUT / f"{row['name']}.txt").open("wb") as file:
        in_time = relay(process, started + row["limit_s"], file.fileno())
    if not in_time:
        print(f"vm: {row['name']} is ended at its limit of {row['limit_s']:g} s", flush=True)
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return {"exit_code": code if in_time else None, "seconds": round(time.monotonic() - started, 1)}


def relay(process: subprocess.Popen[bytes], deadline: float, file: int) -> bool:
    """Copy what a process says to the console and to a file until it ends; False when the deadline comes first.

    The end is the process's own, by its pidfd: a grandchild that holds the pipe open does not keep us.
    """
    assert process.stdout is not None
    pidfd = os.pidfd_open(process.pid)
    os.set_blocking(process.stdout.fileno(), False)
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(pidfd, selectors.EVENT_READ)
        ended = False
        while not ended and (left := deadline - time.monotonic()) > 0:
            ready = {key.fd for key, _ in selector.select(left)}
            if not copy(process.stdout.fileno(), (file, 1)) and process.stdout.fileno() in ready:
                selector.unregister(process.stdout)
            ended = pidfd in ready
    os.close(pidfd)
    return ended


def copy(source: int, targets: tuple[int, ...]) -> bool:
    """Copy all there is; False at the end of the stream."""
    while True:
        try:
            piece = os.read(source, 65536)
        except BlockingIOError:
            return True
        if not piece:
            return False
        for target in targets:
            os.write(target, piece)


def main() -> None:
    """Run the job whose path is given."""
    job = json.loads(Path(sys.argv[1]).read_text())
    engine: subprocess.Popen[bytes] | None = None
    ended: dict[str, dict[str, Any]] = {}
    try:
        for row in job["rows"]:
            environment = dict(job["environment"])
            if row["docker"]:
                environment["TESTBED_REQUIRE_ENGINE"] = "1"
                engine = engine or start_engine()
            print(f"vm: {row['name']}: {' '.join(row['command'])}", flush=True)
            ended[row["name"]] = run_row(row, environment)
            print(f"vm: {row['name']} ended: {ended[row['name']]}", flush=True)
    finally:
        about = {"kernel": os.uname().release, "up_s": float(Path("/proc/uptime").read_text().split()[0])}
        (OUT / "ended.json").write_text(json.dumps({"rows": ended, **about}, indent=1))
        with tarfile.open(RESULTS, "w") as tar:
            tar.add(OUT, ".")
        if engine is not None:
            engine.terminate()
            engine.wait(READY_WITHIN_S)


if __name__ == "__main__":
    main()
