"""A socket of ours that leads to the engine of another machine: one ssh(1) per engine, for all that is asked of it.

`ssh -L socket:/var/run/docker.sock` forwards connections inside one that stands; the docker command's own `ssh://`
logs in anew for each. Where the far end's socket is elsewhere the address says so: `ssh://user@machine/run/docker.sock`.
"""

from __future__ import annotations

import atexit
import contextlib
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from testbed.errors import LabError, UsageError

FAR_SOCKET = "/var/run/docker.sock"
CONNECT_TIMEOUT_S = 20.0
POLL_S = 0.02
# A process can ask to end with the thread that started it (PR_SET_PDEATHSIG of prctl(2)): this one lives as long as we.
_KEEPER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ssh")


def ssh_command(url: str, local: Path) -> list[str]:
    """The command that makes a local socket lead to the engine at an `ssh://` address. Raises UsageError."""
    parts = urlsplit(url)
    if parts.scheme != "ssh" or not parts.hostname or parts.password:
        raise UsageError(f"{url} is not ssh://[user@]machine[:port][/socket]", remedy="ssh asks for passwords itself")
    target = f"{parts.username}@{parts.hostname}" if parts.username else parts.hostname
    port = ["-p", str(parts.port)] if parts.port else []
    far = parts.path if parts.path not in ("", "/") else FAR_SOCKET
    options = ("BatchMode=yes", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "ServerAliveInterval=5")
    words = [word for option in options for word in ("-o", option)]
    return ["ssh", "-nNT", *words, *port, "-L", f"{local}:{far}", "--", target]


def _tied() -> list[str]:
    """What makes a command end with us, also where we are killed; nothing where there is no setpriv(1)."""
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


class Forward:
    """A forward that stands until this process ends, or it is closed."""

    def __init__(self, url: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="testbed-ssh-"))
        self.socket = self._folder / "engine"
        command = ssh_command(url, self.socket)
        try:
            self._ssh = _KEEPER.submit(
                subprocess.Popen[str],
                [*_tied(), *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,  # Ctrl-C at the terminal reaches only us
            ).result()
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise LabError(f"ssh cannot be started: {error}", remedy="install the OpenSSH client") from error
        atexit.register(self.close)
        try:
            self._await_socket(url)
        except BaseException:
            self.close()
            raise

    def _await_socket(self, url: str) -> None:
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while not self.socket.exists():
            if self._ssh.poll() is not None:
                said = (self._ssh.stderr.read() if self._ssh.stderr else "").strip() or "nothing"
                raise LabError(
                    f"ssh to {url} ended with exit code {self._ssh.returncode} and said:\n    {said}",
                    remedy=f"`{' '.join(ssh_command(url, Path('/tmp/engine')))}` must work without a question",
                )
            if time.monotonic() > deadline:
                raise LabError(f"ssh to {url} did not come up within {CONNECT_TIMEOUT_S:g} s")
            time.sleep(POLL_S)  # a socket file tells nobody that it has appeared

    @property
    def stands(self) -> bool:
        """Whether ssh still runs."""
        return self._ssh.poll() is None

    def close(self) -> None:
        """End it; again is no matter."""
        atexit.unregister(self.close)
        self._ssh.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.wait(2.0)
        if self._ssh.poll() is None:
            self._ssh.kill()
            self._ssh.wait()
        if self._ssh.stderr is not None:
            self._ssh.stderr.close()
        shutil.rmtree(self._folder, ignore_errors=True)
