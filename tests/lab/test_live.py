"""Watching a run while it goes on, in a lab of network namespaces: lines, a terminal, packets for another program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_driver import COMMAND, PATIENCE_S, ROOT, processes_of, testbed
from interrupt_netns import await_ends
from terminal_driver import on_terminal

from testbed.decode import decode
from testbed.errors import LabError
from testbed.lab.netns.lab import try_out
from testbed.packet import Flags
from testbed.pcap.reader import read_capture

pytestmark = pytest.mark.lab

SLOW = """\
summary: A SYN-ACK is lost; once open, the client says nothing for a while.
hosts:
  server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
  client: {steps: [{connect: server:7456}, {sleep: 2s}, {send: "Hola server, are you bored?"}, close]}
faults:
  - {drop: SYN-ACK, from: server, nth: 1}
expect:
  handshake: {outcome: complete}
"""
MUCH = """\
summary: A megabyte.
hosts:
  server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
  client: {steps: [{connect: server:7456}, {send: {random: 1MiB}}, close]}
"""
FIELDS = ("frame.time_epoch", "frame.interface_name", "frame.len", "ip.id", "tcp.seq_raw", "tcp.flags", "udp.length")


@pytest.fixture(autouse=True)
def namespaces() -> None:
    """Network namespaces must work here."""
    try:
        try_out()
    except LabError as error:
        pytest.skip(f"no lab of network namespaces here: {error}")


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A scenario that is open for two seconds."""
    path = tmp_path / "slow.yaml"
    path.write_text(SLOW)
    return path


@contextmanager
def bytes_of(*words: str | Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it runs, its output as it is."""
    with subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run(scenario: str | Path, out: Path) -> tuple[str | Path, ...]:
    """The words of a run in namespaces."""
    return "run", scenario, "--backend", "netns", "--out", out


def tshark(source: Path | None, content: bytes = b"") -> list[str]:
    """What tshark says of each packet of a file, or of a capture on its standard input."""
    command = ["tshark", "-r", str(source or "-"), "-T", "fields", *(word for name in FIELDS for word in ("-e", name))]
    return subprocess.run(command, input=content, capture_output=True, check=True).stdout.decode().splitlines()


def test_lines_come_while_the_run_goes_on(slow: Path, tmp_path: Path) -> None:
    """Not on a terminal: the handshake, the fault and the states are told before the client has said anything."""
    with bytes_of(*run(slow, tmp_path), "--live") as process:
        assert process.stdout
        seen = [process.stdout.readline().decode()]
        while "ESTABLISHED" not in seen[-1] or "client" not in seen[-1]:
            seen.append(process.stdout.readline().decode())
            assert seen[-1], "".join(seen)
        assert process.poll() is None
        rest, _ = process.communicate(timeout=PATIENCE_S)
    told = [line.split()[1:] for line in seen]
    kinds = [(words[0], next((word for word in words if word in ("S", "S.", ".")), "")) for words in told]
    packets = [flags for kind, flags in kinds if kind == "packet"]
    assert packets[:2] == ["S", "S."]
    assert packets.count("S.") >= 2
    assert any(words[:3] == ["fault", "client", "drop:"] and "SYN-ACK" in words for words in told)
    assert not any("P." in line for line in seen)
    times = [float(line.split()[0]) for line in seen if line.split()[1] == "packet"]
    assert times == sorted(times)
    assert "len 27" in rest.decode()
    assert process.returncode == 0, rest.decode()
    assert "\x1b" not in rest.decode()


def test_on_a_terminal_it_draws(slow: Path, tmp_path: Path) -> None:
    """Hosts with their sockets' states are drawn again and again; the report follows, and nothing of it stays."""
    printed = on_terminal(*map(str, run(slow, tmp_path)), "--live", columns=100)
    drawn, _, report = printed.rpartition("all 4 checks passed")[0].rpartition("\x1b[2K")
    assert drawn.count("packets on the wire") >= 3
    assert "\x1b[1A" in drawn  # the cursor goes up, to draw anew
    assert "connect ok, ESTABLISHED" in drawn
    assert "drop: SYN-ACK" in drawn
    assert "packets on the wire," not in report
    assert "S seq 0 win" in report


def test_ctrl_c_leaves_the_terminal_as_it_was(slow: Path, tmp_path: Path) -> None:
    """The view goes away, the cursor is there again, and the run ends with exit code 130."""
    words = (*map(str, run(slow, tmp_path)), "--live")
    printed = on_terminal(*words, columns=100, exit_code=130, interrupt_at="ESTABLISHED")
    assert printed.rfind("\x1b[?25h") > printed.rfind("\x1b[?25l") >= 0
    assert "Traceback" not in printed


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
@pytest.mark.parametrize("scenario", ["hola", "hs-synack-lost-1", "much"])
def test_another_program_gets_the_packets_of_the_trace(scenario: str, tmp_path: Path) -> None:
    """`--pcap -`: what tshark reads from the pipe is what it reads from trace.pcapng; people read standard error."""
    (tmp_path / "much.yaml").write_text(MUCH)
    wanted = tmp_path / "much.yaml" if scenario == "much" else scenario
    with bytes_of(*run(wanted, tmp_path), "--pcap", "-") as process:
        packets, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said.decode()
    assert "checks passed" in said.decode()
    piped = tshark(None, packets)
    assert len(piped) >= 24
    assert sorted(piped) == sorted(tshark(tmp_path / "latest" / scenario / "trace.pcapng"))
    for vantage in {line.split("\t")[1] for line in piped}:  # between them, what a busy machine tells late is late
        times = [line.split("\t")[0] for line in piped if line.split("\t")[1] == vantage]
        assert times == sorted(times)


def test_packets_come_while_the_run_goes_on(slow: Path, tmp_path: Path) -> None:
    """Each packet is written at once: the third ACK can be read two seconds before the end."""
    with bytes_of(*run(slow, tmp_path), "--pcap", "-") as process:
        assert process.stdout
        content = os.read(process.stdout.fileno(), 1 << 16)
        while not any(packet.flags == Flags.ACK for packet in decode(read_capture(content)).packets):
            piece = os.read(process.stdout.fileno(), 1 << 16)
            assert piece
            content += piece
        assert process.poll() is None
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0


def test_a_reader_that_goes_away_changes_no_verdict(slow: Path, tmp_path: Path) -> None:
    """Who closed the pipe is told of on standard error; the run goes on to its verdict."""
    with bytes_of(*run(slow, tmp_path), "--pcap", "-") as process:
        assert process.stdout
        assert process.stderr
        os.read(process.stdout.fileno(), 24)
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait(PATIENCE_S)
    assert process.returncode == 0, said
    assert said.count("nobody reads the packets any more (Broken pipe); the run goes on without it") == 1
    assert "checks passed" in said
    assert "Traceback" not in said


def test_ctrl_c_ends_a_run_whose_reader_sleeps(tmp_path: Path) -> None:
    """A pipe that is full and that nobody reads holds nothing up: the lab is taken down, exit code 130."""
    (tmp_path / "much.yaml").write_text(MUCH)
    with bytes_of(*run(tmp_path / "much.yaml", tmp_path), "--pcap", "-") as process:
        assert process.stderr
        while b"playing" not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(2)  # it has played, and waits for the reader
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().decode()
        process.wait(PATIENCE_S)
    assert process.returncode == 130, said
    assert not await_ends(processes_of(process.pid))


def test_wireshark_is_given_the_packets(slow: Path, tmp_path: Path) -> None:
    """It is started with `-k -i -` and reads the merged capture; what it says does not disturb."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "wireshark"
    program.write_text(f'#!/bin/sh\necho noise\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/packets\n')
    program.chmod(0o755)
    ended = testbed(*run(slow, tmp_path), "--wireshark", PATH=f"{place}:{os.environ['PATH']}")
    assert ended.returncode == 0, ended.stderr
    assert "noise" not in ended.stdout + ended.stderr
    assert (tmp_path / "words").read_text() == "-k -i -\n"
    trace = read_capture((tmp_path / "latest" / "slow" / "trace.pcapng").read_bytes())
    deadline = time.monotonic() + 10
    while len(frames := read_capture((tmp_path / "packets").read_bytes()).frames) < len(trace.frames):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = sorted((frame.time_ns, frame.interface, frame.data) for frame in frames)
    assert told == sorted((frame.time_ns, frame.interface, frame.data) for frame in trace.frames)


def test_wireshark_that_cannot_start_is_told_in_its_own_words(slow: Path, tmp_path: Path) -> None:
    """No display, for instance; the verdict is what it is without."""
    place = tmp_path / "bin"
    place.mkdir()
    program = place / "wireshark"
    program.write_text("#!/bin/sh\necho could not connect to display >&2\nexit 1\n")
    program.chmod(0o755)
    ended = testbed(*run(slow, tmp_path), "--wireshark", PATH=f"{place}:{os.environ['PATH']}")
    assert ended.returncode == 0, ended.stderr
    assert "wireshark has ended (could not connect to display); the run goes on without it" in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("hola", "--wireshark"), 3, "apt-get install wireshark"),
        (("hola", "--repeat", "2", "--live"), 2, "watch one run, and 2 were asked for"),
        (("hola", "--pcap", "-", "--json"), 2, "--json and --pcap - both write to standard output"),
        (("hola", "--pcap", "/nowhere/x.pcapng"), 2, "--pcap /nowhere/x.pcapng: No such file or directory"),
    ],
)
def test_what_cannot_be_watched_is_told_before_a_lab_is_up(
    words: tuple[str, ...], code: int, says: str, tmp_path: Path
) -> None:
    """With what to do about it, and nothing is left."""
    (tmp_path / "empty").mkdir()
    ended = testbed("run", *words, "--out", tmp_path / "out", PATH=str(tmp_path / "empty"))
    assert (ended.returncode, says in ended.stderr) == (code, True), ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_terminal_is_given_no_packets(tmp_path: Path) -> None:
    """`--pcap -` without a pipe behind it says how to write one."""
    printed = on_terminal("run", "hola", "--pcap", "-", "--out", str(tmp_path / "out"), exit_code=2)
    assert "--pcap - would write packets to a terminal" in printed
    assert "| wireshark -k -i -" in printed


def test_json_stays_alone_on_standard_output(tmp_path: Path) -> None:
    """With `--json` the lines go to standard error."""
    ended = testbed(*run("hola", tmp_path), "--live", "--json")
    assert json.loads(ended.stdout)["verdict"] == "passed"
    assert "S. seq 0 ack 1" in ended.stderr
