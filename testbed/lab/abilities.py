"""What this machine's kernel has for a lab, each ability tried for real in namespaces that are gone afterwards."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import testbed
from testbed.errors import LabError

HOST = "host"
ENTER = """
import json, sys
sys.path.append(sys.argv[1])
from testbed.lab.netns.namespaces import Refused, enter
try:
    enter(user_namespace=True)
except Refused as refused:
    print(json.dumps(refused.plain))
"""
TIMEOUT_S = 20.0


def probe_wire() -> Mapping[str, Any]:
    """The answer of an agent's `wire.probe` in a lab of one host. Raises LabError where there can be none."""
    from testbed.lab.agents import Agents
    from testbed.lab.contract import LabHost, LabShape
    from testbed.lab.netns.lab import NetnsLab
    from testbed.lab.netns.layout import lay_out
    from testbed.profile import kernel_version
    from testbed.stop import Stop

    lab = NetnsLab("doctor")
    try:
        shape = LabShape("doctor", "doctor", "ipv4", (LabHost(HOST, {}),))
        lab.make(lay_out(shape, kernel_version(platform.release())))
        agents = Agents(lab, Stop())
        try:
            agents.open([HOST])
            return agents.request(HOST, "wire.probe")
        finally:
            agents.close()
    finally:
        lab.close()


def try_user_namespace() -> str:
    """Make a user namespace with network namespaces in it. Raises LabError with the reason where it cannot be."""
    from testbed.lab.netns.refusal import explain

    root = Path(testbed.__file__).resolve().parents[1]
    command = [sys.executable, "-I", "-S", "-c", ENTER, str(root)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.SubprocessError) as trouble:
        raise LabError(f"a user namespace cannot be tried: {trouble}") from trouble
    if done.stdout:
        refused = json.loads(done.stdout)
        raise explain(refused["what"], refused["errno"], refused["says"], _read)
    return "without privileges a lab of namespaces can be had"


def try_sock_diag() -> str:
    """Read the table of TCP sockets. Raises LabError where the kernel does not show it."""
    from testbed.agent.diag import SocketTable

    try:
        with SocketTable() as table:
            rows = sum(1 for _ in table.rows())
    except OSError as trouble:
        raise LabError(
            f"the kernel does not show its TCP sockets ({trouble.strerror})",
            remedy="load the modules: `modprobe -a inet_diag tcp_diag`",
        ) from trouble
    return f"the kernel shows its TCP sockets; {rows} here now"


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
