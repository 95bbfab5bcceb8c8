"""Engines that are reached as those of other machines are: one behind a real sshd, one behind TLS.

Both are in namespaces of their own (swarm_pair.py), and the command runs in a third one, from where nothing of them is
reached but what is said here: TCP 2376 of the first and TCP 2222 of the second.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_driver import COMMAND, RETRIES, ROOT, WIDE
from far_ways import PORT, Certificates, Sshd, certificates, sshd, sshd_program
from swarm_pair import Swarm, why_not
from test_swarm import SLOW, await_open

from testbed.lab.tls import TlsSocket

pytestmark = [pytest.mark.lab, pytest.mark.xdist_group("swarm")]

LOCAL = "unix:///var/run/docker.sock"  # from which the image comes; a socket file is there for every network namespace
PATIENCE_S = 180.0


@dataclass(frozen=True, slots=True)
class Far:
    """The two engines, and the ways to them."""

    pair: Swarm
    keys: Certificates
    door: Sshd

    @property
    def tls(self) -> str:
        """The engine behind TLS."""
        return f"tcp://{self.pair.engines[0].address}:2376"

    @property
    def ssh(self) -> str:
        """The engine behind ssh."""
        b = self.pair.engines[1]
        return f"ssh://root@{b.address}:{PORT}{b.folder}/docker.sock"

    @property
    def placed(self) -> tuple[str, ...]:
        """The client behind TLS, the server behind ssh."""
        return ("--place", f"client={self.tls}", "--place", f"server={self.ssh}")

    def start(self, ssh: str, *words: str | Path, **environment: str) -> subprocess.Popen[str]:
        """The command on a third machine; `ssh` names the folder of the ssh that it finds."""
        path = f"{self.door.folder / ssh}:{os.environ['PATH']}"
        certificates = {"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(self.keys.user), "DOCKER_HOST": LOCAL}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.pair.engines[0].hub}", "--", *COMMAND, *map(str, words)],
            cwd=ROOT,
            env={**os.environ, **WIDE, **certificates, "PATH": path, **environment},
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def run(self, *words: str | Path, ssh: str = "known", **environment: str) -> tuple[int, str, str]:
        """The command until it has ended: exit code, standard output, standard error."""
        with self.start(ssh, *words, **environment) as process:
            said, complaints = process.communicate(timeout=PATIENCE_S)
        return process.returncode, said, complaints

    def left(self) -> list[list[str]]:
        """What is on the engines."""
        return [[*engine.containers(), *engine.networks()] for engine in self.pair.engines]


@pytest.fixture(scope="module")
def far(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    """Two engines that are one swarm, reached over the network; nothing of them is left when the module has ended."""
    if says := why_not():
        pytest.skip(says)
    missing = [name for name in ("ssh", "ssh-keygen", "openssl") if shutil.which(name) is None]
    if missing or not sshd_program():
        pytest.skip(f"not installed: {', '.join([*missing, 'sshd'])}")
    pair = Swarm.plan(Path(tempfile.mkdtemp(prefix="tbfar-")))
    a, b = pair.engines
    keys = certificates(tmp_path_factory.mktemp("tls"), a.address)
    a.more = keys.daemon_words(a.address)
    try:
        pair.up(tied=True)
        with sshd(pair.folder / "ssh", b.namespace, b.address) as door:
            door.client("known")
            door.client("stranger", UserKnownHostsFile="/dev/null")
            door.client("keyless", IdentityFile=str(door.folder / "other_key"))
            yield Far(pair, keys, door)
    finally:
        pair.down()
    assert pair.left() == []


def test_tls_both_ways_at_once(tmp_path: Path) -> None:
    """Of one TLS connection a thread reads while another writes: all arrives, and who reads hears the end."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    keys = certificates(tmp_path / "keys", "192.0.2.11")
    serving, calling = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    serving.load_cert_chain(keys.engine / "cert.pem", keys.engine / "key.pem")
    calling.load_verify_locations(keys.engine / "ca.pem")
    ends = socket.socketpair()
    with ThreadPoolExecutor() as pool:
        served = pool.submit(serving.wrap_socket, ends[0], server_side=True)
        called = calling.wrap_socket(ends[1], server_hostname="192.0.2.11")
        both = (TlsSocket(served.result()), TlsSocket(called))
        sent = (random.Random(1).randbytes(3_000_000), random.Random(2).randbytes(3_000_000))
        heard = [pool.submit(everything, end, len(sent[0])) for end in both]
        for write in [pool.submit(end.sendall, data) for end, data in zip(both, sent, strict=True)]:
            write.result()
        assert [each.result() for each in heard] == [sent[1], sent[0]]
        last = pool.submit(both[0].recv, 1)
        both[1].shutdown(socket.SHUT_RDWR)
        assert last.result() == b""
        for end in both:
            end.close()
        with pytest.raises(OSError, match="descriptor"):
            both[0].recv(1)


def everything(end: TlsSocket, length: int) -> bytes:
    """So many bytes."""
    heard = bytearray()
    while len(heard) < length:
        piece = end.recv(65536)
        assert piece
        heard += piece
    return bytes(heard)


FORWARDING = """\
import threading, time
from testbed.lab.swarm.forward import Forward
opening = threading.Thread(target=Forward, args=("ssh://far",))
opening.start()
opening.join()
print("stands", flush=True)
time.sleep(60)
"""
SILENT_SSH = """\
#!/bin/sh
while [ "$1" != -L ]; do shift; done
echo $$ > {notes}
touch "${{2%%:*}}"
exec sleep 60
"""


def test_forward_ends_with_us(tmp_path: Path) -> None:
    """Of a command that is killed no ssh is left; one opened by a thread that has ended stands all the same."""
    program, notes = tmp_path / "ssh", tmp_path / "notes"
    program.write_text(SILENT_SSH.format(notes=notes))
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = [sys.executable, "-c", FORWARDING]
    with subprocess.Popen(command, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "stands\n"
        ssh = os.pidfd_open(int(notes.read_text()))
        assert select.select([ssh], [], [], 0) == ([], [], [])
        process.kill()
        assert select.select([ssh], [], [], PATIENCE_S) == ([ssh], [], [])
        os.close(ssh)


def test_a_run_over_ssh_and_tls(far: Far, tmp_path: Path) -> None:
    """A whole run logs in once, over which also the image goes; the forward ends with the command."""
    before = far.door.logins
    code, said, complaints = far.run("run", "hola", *far.placed, "--out", tmp_path)
    assert code == 0, said + complaints
    assert far.door.logins == before + 1
    (path,) = tmp_path.glob("2*/hola/result.json")
    clocks = {clock["host"]: clock["engine"] for clock in json.loads(path.read_text())["clocks"]}
    assert clocks == {"client": far.tls, "server": far.ssh}
    assert far.left() == [[], []]
    await_logout(far)


LOGOUT = re.compile(
    r"^(Disconnected from user|Read error from remote host|Timeout, client not responding)", re.MULTILINE
)


def await_logout(far: Far) -> None:
    """Every session of sshd has ended."""
    deadline = time.monotonic() + 10
    while len(LOGOUT.findall(far.door.log)) < far.door.logins:
        assert time.monotonic() < deadline, far.door.log
        time.sleep(0.05)


def test_contexts_and_a_lab_file(far: Far, tmp_path: Path) -> None:
    """Docker contexts bring their TLS and their ssh; a lab file names them; the run can be played again without it."""
    told = {"DOCKER_CONFIG": str(tmp_path / "docker"), "DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": ""}
    files = [f"{key}={far.keys.user / name}.pem" for key, name in (("ca", "ca"), ("cert", "cert"), ("key", "key"))]
    for name, docker in (("near", ",".join([f"host={far.tls}", *files])), ("away", f"host={far.ssh}")):
        words = ["docker", "context", "create", name, "--docker", docker]
        subprocess.run(words, env={**os.environ, **told}, check=True, capture_output=True)
    lab = tmp_path / "lab.yaml"
    lab.write_text("engines: {left: near, right: away}\nplace: {client: left, server: right}\n")
    code, said, complaints = far.run("run", "hola", "--lab", lab, "--out", tmp_path, **told)
    assert code == 0, said + complaints
    lab.unlink()
    (folder,) = tmp_path.glob("2*/hola")
    code, said, complaints = far.run("rerun", folder, "--out", tmp_path / "again", **told)
    assert code == 0, said + complaints
    assert far.left() == [[], []]


def test_suite_over_ssh_and_tls(far: Far, tmp_path: Path) -> None:
    """A suite is spread over both, each run wholly on one of them, by Docker Compose; each way is opened once."""
    before = far.door.logins
    words = ("run", "hola", "hello", "server-unavailable", "hs-refused", "--engines", f"{far.tls},{far.ssh}")
    code, said, complaints = far.run(*words, "--jobs", "1", *RETRIES, "--out", tmp_path)
    assert code == 0, said + complaints
    assert said.splitlines()[-1].startswith("4 passed")
    assert far.door.logins == before + 1
    assert far.left() == [[], []]


def test_doctor_over_ssh_and_tls(far: Far, tmp_path: Path) -> None:
    """Everything is well, after a run has brought the image."""
    code, said, complaints = far.run("run", "hola", *far.placed, "--out", tmp_path)
    assert code == 0, said + complaints
    code, said, complaints = far.run("doctor", "--engines", f"{far.tls},{far.ssh}", "--json")
    assert (code, [one for one in json.loads(said) if not one["ok"]]) == (0, []), complaints


@pytest.mark.parametrize(
    ("ssh", "certificates", "says"),
    [
        ("stranger", "user", "Host key verification failed"),
        ("keyless", "user", "Permission denied"),
        ("known", "stranger", "no Docker engine answers at tcp://"),
        ("known", "none", "no Docker engine answers at tcp://"),
    ],
)
def test_no_way_in(far: Far, tmp_path: Path, ssh: str, certificates: str, says: str) -> None:
    """A host or a user that is not known, over either way: no trace, no question, but the reason and what to run."""
    told = {"DOCKER_CERT_PATH": str(far.keys.user.parent / certificates)}
    code, _, complaints = far.run("run", "hola", *far.placed, "--out", tmp_path, ssh=ssh, **told)
    assert code == 3, complaints
    assert says in complaints
    assert "must work without a question" in complaints or "must answer" in complaints
    assert "Traceback" not in complaints
    assert far.left() == [[], []]


def test_the_way_is_cut(far: Far, tmp_path: Path) -> None:
    """The cable to the engine behind ssh is pulled, control and overlay both: unknown, and the other is clean at once.

    Once it is back `testbed clean --engines` removes what it has.
    """
    scenario = tmp_path / "slow.yaml"
    scenario.write_text(SLOW)
    b = far.pair.engines[1]
    with far.start("known", "run", scenario, "--live", *far.placed, "--out", tmp_path) as process:
        await_open(process)
        b.cut()
        try:
            said, complaints = process.communicate(timeout=PATIENCE_S)
        finally:
            b.mend()
    assert process.returncode == 3, said + complaints
    assert "unknown" in said, complaints
    assert far.pair.engines[0].containers() == []
    far.pair.await_ready()
    code, said, complaints = far.run("clean", "--engines", f"{far.tls},{far.ssh}")
    assert code == 0, said + complaints
    deadline = time.monotonic() + 10
    while far.left() != [[], []]:
        assert time.monotonic() < deadline, far.left()
        time.sleep(0.1)
