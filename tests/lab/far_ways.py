"""The two ways to an engine of another machine, for tests: a real sshd(8), and certificates for a dockerd behind TLS.

Everything is in a folder of the test's own: host key, user's key, configuration, certificates. Nothing of the machine's
own ssh or Docker is read or changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarm_pair import SYSTEM_PATHS

SSHD_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
"""
SSH_CONFIG = """\
Host *
  IdentityFile {folder}/user_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
"""
PORT = 2222
# sshd(8) wants /run/sshd, which is made in a mount namespace of its own; whatever it started ends with it.
PRIVATE = "mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec {sshd} -D -e -f {config}"
UP_TIMEOUT_S = 20.0
DAYS = ("-days", "2")


def _run(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, words))}: {done.stderr}"
    return done.stdout


def sshd_program() -> str | None:
    """Where sshd is; it wants to be started by its whole path."""
    return shutil.which("sshd", path=SYSTEM_PATHS)


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running sshd: where, and the folder of its keys."""

    folder: Path
    address: str

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(errors="replace")

    @property
    def logins(self) -> int:
        """How often somebody was let in."""
        return self.log.count("Accepted publickey for")

    def client(self, name: str, **changes: str) -> Path:
        """A folder for PATH in which `ssh` is the real one with the test's keys; `changes` are to its configuration."""
        path = self.folder / name
        path.mkdir()
        config = SSH_CONFIG.format(folder=self.folder)
        for key, value in changes.items():
            lines = [line for line in config.splitlines() if line.split()[0] != key]
            config = "\n".join([*lines, f"  {key} {value}", ""])
        (path / "config").write_text(config)
        program = path / "ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {path / "config"} "$@"\n')
        program.chmod(0o755)
        return path


@contextmanager
def sshd(folder: Path, namespace: str, address: str) -> Iterator[Sshd]:
    """An sshd in a network namespace while this lasts."""
    folder.mkdir(mode=0o700)
    for name in ("host_key", "user_key", "other_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
    kind, key, _ = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{address}]:{PORT} {kind} {key}\n")
    config = folder / "sshd_config"
    config.write_text(SSHD_CONFIG.format(folder=folder, address=address, port=PORT))
    private = PRIVATE.format(sshd=sshd_program(), config=config)
    command = [
        *("setpriv", "--pdeathsig", "KILL", "--", "nsenter", f"--net=/run/netns/{namespace}", "--"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", private),
    ]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "PATH": SYSTEM_PATHS}
        )
    made = Sshd(folder, address)
    try:
        deadline = time.monotonic() + UP_TIMEOUT_S
        while "Server listening on" not in made.log:
            assert process.poll() is None, made.log
            assert time.monotonic() < deadline, made.log
            time.sleep(0.05)
        yield made
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True, slots=True)
class Certificates:
    """Those of an engine and of its user, made by one authority; folders as DOCKER_CERT_PATH has them."""

    engine: Path
    user: Path
    stranger: Path  # made by an authority that the engine does not know

    def daemon_words(self, address: str, port: int = 2376) -> tuple[str, ...]:
        """What makes a dockerd answer over TLS, to those whom the authority vouches for."""
        files = [word for name in ("ca", "cert", "key") for word in (f"--tls{name}", str(self.engine / f"{name}.pem"))]
        files[0] = "--tlscacert"
        return ("-H", f"tcp://{address}:{port}", "--tlsverify", *files)


def certificates(folder: Path, address: str) -> Certificates:
    """Make them with openssl(1)."""
    made = Certificates(folder / "engine", folder / "user", folder / "stranger")
    for authority in ("ours", "theirs"):
        (folder / authority).mkdir(parents=True)
        where = ("-keyout", folder / authority / "ca-key.pem", "-out", folder / authority / "ca.pem")
        _run("openssl", "req", "-x509", *_key(), *DAYS, "-subj", f"/CN={authority}", *where)
    names = {
        "engine": f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth",
        "user": "extendedKeyUsage=clientAuth",
    }
    _sign(made.engine, folder / "ours", names["engine"])
    _sign(made.user, folder / "ours", names["user"])
    _sign(made.stranger, folder / "theirs", names["user"])
    shutil.copy(folder / "ours" / "ca.pem", made.stranger / "ca.pem")
    return made


def _key() -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _sign(folder: Path, authority: Path, extensions: str) -> None:
    folder.mkdir()
    request, told = folder / "request.pem", folder / "extensions"
    told.write_text(extensions + "\n")
    _run("openssl", "req", *_key(), "-subj", f"/CN={folder.name}", "-keyout", folder / "key.pem", "-out", request)
    by = ("-CA", authority / "ca.pem", "-CAkey", authority / "ca-key.pem", "-CAcreateserial")
    _run("openssl", "x509", "-req", "-in", request, *by, *DAYS, "-extfile", told, "-out", folder / "cert.pem")
    shutil.copy(authority / "ca.pem", folder / "ca.pem")
