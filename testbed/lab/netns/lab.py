"""The netns backend's lab, as the testbed sees it: a holder process to ask, and agents behind pipes.

What a host is made of stands in layout.py, how it is made in namespaces.py, and why nothing is ever left in holder.py.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import testbed
from testbed.errors import LabError
from testbed.files import lab_text, write_lab_file
from testbed.lab.contract import LabHost, LabShape, Say
from testbed.lab.netns.layout import Layout, lay_out
from testbed.lab.netns.refusal import explain
from testbed.lab.owner import OWNER_VARIABLE, RUN_VARIABLE, Owner
from testbed.lab.stdio import PipeChannel
from testbed.profile import kernel_version

START = "import sys; sys.path.append(sys.argv[1]); from testbed.lab.netns.holder import main; main()"
SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin")  # ip and tc; not on everybody's PATH
ANSWER_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 10.0
LONGEST_ANSWER = 1 << 16
MOST_WORDS = 4000


class NetnsLab:
    """A lab of network namespaces. Made by `bring_up`."""

    backend = "netns"

    def __init__(self, run_id: str) -> None:
        self.in_user_namespace = False
        self.versions: Mapping[str, str] = {"kernel": platform.release()}
        self._channels: dict[str, PipeChannel] = {}  # of each host the newest
        self._opened: list[PipeChannel] = []
        self._lock = threading.Lock()
        self._complaints = os.memfd_create("complaints")
        self._control, theirs = socket.socketpair()
        self._control.settimeout(ANSWER_TIMEOUT_S)
        try:
            self._holder = _start_holder(run_id, theirs.fileno(), self._complaints)
        except OSError as error:
            self._control.close()
            os.close(self._complaints)
            raise LabError(f"the process that holds a lab cannot be started: {error}") from error
        finally:
            theirs.close()

    @classmethod
    def bring_up(cls, shape: LabShape, lab_file: Path, say: Say, stopped: Callable[[], None]) -> NetnsLab:
        """Bring a lab up and give it; nothing is left when that fails.

        `stopped` raises when the user wants us to end. What was made is written to `lab_file`.
        """
        if platform.system() != "Linux":
            raise LabError("the netns backend is made of Linux network namespaces", remedy="use a Docker engine")
        stopped()
        layout = lay_out(shape, kernel_version(platform.release()))
        write_lab_file(lab_file, lab_text("namespaces", layout.plain()))
        lab = cls(shape.run_id)
        try:
            lab.make(layout)
            stopped()
        except BaseException:
            lab.close()
            raise
        return lab

    def make(self, layout: Layout) -> None:
        """Make what a layout says; once. Raises LabError with what the machine does not allow and the remedy."""
        self.in_user_namespace = self._ask(layout.plain())["user_namespace"]

    def open(self, host: str) -> PipeChannel:
        """Start an agent in a host's namespace."""
        channel, theirs = PipeChannel.open()
        try:
            self._ask({"do": "open", "host": host}, theirs)
        except BaseException:
            channel.discard()
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._channels[host] = channel
        self._opened.append(channel)
        return channel

    def ending(self, host: str) -> str:
        """How the agent on a host came to its end."""
        try:
            status = self._ask({"do": "ending", "host": host})["status"]
        except LabError as error:
            return f"the agent on {host} ended with its lab: {error.message}"
        if status is None:
            return f"the connection to the agent on {host} was lost; it still runs"
        how = f"ended with exit status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"
        said = self._channels[host].complaints()
        return f"the agent on {host} {how}" + (f"; it said:\n{said}" if said else "")

    def close(self) -> None:
        """Take the lab down: the holder ends, and everything with it."""
        with self._lock:
            self._control.close()
        self._end()
        for channel in self._opened:
            channel.discard()
        if self._complaints >= 0:
            os.close(self._complaints)
            self._complaints = -1

    def _end(self) -> None:
        try:
            self._holder.wait(CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._holder.kill()  # the kernel kills the rest
            self._holder.wait()

    def _ask(self, request: Mapping[str, Any], descriptors: Sequence[int] = ()) -> Mapping[str, Any]:
        with self._lock:
            answer = self._exchange(json.dumps(request).encode() + b"\n", descriptors)
        if "refused" in answer:
            refused = answer["refused"]
            raise explain(refused["what"], refused["errno"], refused["says"], _read)
        ok: Mapping[str, Any] = answer["ok"]
        return ok

    def _exchange(self, line: bytes, descriptors: Sequence[int]) -> Mapping[str, Any]:
        try:
            sent = socket.send_fds(self._control, [line], descriptors) if descriptors else 0
            self._control.sendall(line[sent:])
            answer = self._control.recv(LONGEST_ANSWER)
            while answer and not answer.endswith(b"\n"):
                answer += self._control.recv(LONGEST_ANSWER)
        except TimeoutError as error:
            raise LabError(f"the process that holds the lab did not answer within {ANSWER_TIMEOUT_S:g} s") from error
        except OSError:
            answer = b""
        if not answer:
            raise LabError(self._epitaph())
        message: Mapping[str, Any] = json.loads(answer)
        return message

    def _epitaph(self) -> str:
        self._end()
        status = self._holder.returncode
        said = (
            "" if self._complaints < 0 else os.pread(self._complaints, MOST_WORDS, 0).decode(errors="replace").strip()
        )
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        return f"the process that holds the lab has ended ({how})" + (f" and said:\n{said}" if said else "")


def try_out() -> str:
    """Make a lab and take it down; how it is made here. Raises LabError with the reason where it cannot be."""
    host = LabHost("host", {})
    lab = NetnsLab("try-out")
    try:
        lab.make(lay_out(LabShape("try-out", "try-out", "ipv4", (host,)), kernel_version(platform.release())))
    finally:
        lab.close()
    return "in an unprivileged user namespace" if lab.in_user_namespace else "with the privileges that we have"


def _start_holder(run_id: str, control: int, complaints: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        holder_command(run_id),
        stdin=control,
        stdout=subprocess.DEVNULL,
        stderr=complaints,
        env=holder_environment(run_id),
        start_new_session=True,  # Ctrl-C at the terminal reaches only us
    )


def holder_command(run_id: str) -> list[str]:
    """The command of a run's holder: isolated from the user's Python settings; the run id is for the eyes of `ps`."""
    root = Path(testbed.__file__).resolve().parents[1]
    return [sys.executable, "-I", "-S", "-c", START, str(root), run_id]


def holder_environment(run_id: str) -> dict[str, str]:
    """What the holder and the agents find in their environment."""
    path = os.pathsep.join(dict.fromkeys([*os.environ.get("PATH", "").split(os.pathsep), *SYSTEM_PATHS]))
    return {"PATH": path, "LC_ALL": "C.UTF-8", RUN_VARIABLE: run_id, OWNER_VARIABLE: str(Owner.current())}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None
