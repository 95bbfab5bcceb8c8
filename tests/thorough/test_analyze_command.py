"""`testbed analyze`: what it prints where, what may be asked of it, and what is refused in which words."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

import pytest
from conversations import Segment, Talk, frame_bytes, make_frames, pcap_bytes
from typer.testing import CliRunner, Result

from testbed.analyze import analyze_capture
from testbed.choose import parse_filter
from testbed.cli import app
from testbed.errors import UsageError
from testbed.spool import Spool
from testbed.summary import summarize

CLIENT, SERVER = "10.0.0.2", "192.0.2.80"
SCENARIO = """\
summary: A client says hello.
hosts:
  server:
    steps: [{listen: 7456}, accept, {recv: eof}, close]
  client:
    steps: [{connect: server:7456}, {send: "Hello!"}, close]
expect:
  connections: 1
  handshake: {outcome: complete}
  teardown: {kind: fin, closed_first: client}
  payload: {client->server: "Hello!"}
  states: {client: [ESTABLISHED]}
"""


def call(*words: str | Path, given: bytes | None = None) -> Result:
    """The command's exit code and output, with standard error apart."""
    return CliRunner().invoke(app, ["analyze", *map(str, words)], input=given)


def hello(*, lose: int = -1) -> bytes:
    """A capture of a client that says hello; one of its packets may be missing."""
    talk = Talk(Random(1), 0)
    talk.ends, talk.ports = (CLIENT, SERVER), (40000, 7456)
    said: list[Segment] = [
        talk.say(0, 2), talk.say(1, 18), talk.say(0, 16), talk.say(0, 24, b"Hello!"), talk.say(1, 16),
        talk.say(0, 17), talk.say(1, 17), talk.say(0, 16),
    ]  # fmt: skip
    kept = [frame_bytes(segment) for at, segment in enumerate(said) if at != lose]
    return pcap_bytes([(number * 1_000_000, data, len(data)) for number, data in enumerate(kept)])


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """That capture as a file."""
    path = tmp_path / "hello.pcap"
    path.write_bytes(hello())
    return path


@pytest.fixture
def busy(tmp_path: Path) -> Path:
    """A capture with many connections, some of them odd, and packets that are none of ours."""
    path = tmp_path / "busy.pcap"
    path.write_bytes(pcap_bytes(make_frames(21, talks=40, bad_luck=0.03)))
    return path


def test_table(capture: Path) -> None:
    """State, who, how opened, how closed, bytes, retransmits and duration on one line."""
    done = call(capture)
    assert done.exit_code == 0
    words = done.stdout.splitlines()[-1].split()
    assert words[:2] == ["SF", "complete"] or words[:2] == ["1", "SF"]
    for part in (f"{CLIENT}:40000 > {SERVER}:7456", "complete", "fin, client first", "6 0", "0.007000"):
        assert part in done.stdout


def test_json_is_one_line_for_each_connection(busy: Path) -> None:
    """The same connections as the library gives, in order, each on a line; contract of DESIGN section 8."""
    done = call(busy, "--json")
    told = json.loads(done.stdout)
    expected = analyze_capture(busy.read_bytes(), str(busy))
    assert list(told) == ["schema", "file", "packets", "skipped", "warnings", "connections"]
    assert (told["schema"], told["packets"], told["skipped"]) == (1, expected.packets, dict(expected.skipped))
    assert [one["number"] for one in told["connections"]] == list(range(1, len(expected.connections) + 1))
    assert [one["history"] for one in told["connections"]] == [one.history for one in expected.connections]
    assert len(done.stdout.splitlines()) < len(expected.connections) + 30 + len(told["skipped"])


def test_standard_input_and_gzip(capture: Path, tmp_path: Path) -> None:
    """A capture is read from a pipe, and packed, as from a file."""
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(hello(), mtime=0))
    expected = call(capture).stdout
    assert call("-", given=hello()).stdout == expected
    assert call(packed).stdout == expected


def test_what_was_not_read_is_said(busy: Path, capture: Path) -> None:
    """Packets that were skipped, and where a file is cut, on standard error; the rest is there."""
    done = call(busy)
    assert "skipped packets: " in done.stderr
    assert "ARP" in done.stderr
    capture.write_bytes(hello()[:-3])
    done = call(capture)
    assert done.exit_code == 0
    assert "cut short in a packet" in done.stderr
    assert f"{CLIENT}:40000" in done.stdout


def test_filter_keeps_the_numbers(busy: Path) -> None:
    """Only what was asked for is shown, under the number that it has in the whole table."""
    connections = analyze_capture(busy.read_bytes(), "x").connections
    wanted = [number for number, one in enumerate(connections, 1) if one.conn_state == "SF" and one.server.port == 443]
    assert wanted
    told = json.loads(call(busy, "--json", "--filter", "state=SF,port=443").stdout)
    assert [one["number"] for one in told["connections"]] == wanted
    assert f"{len(wanted)} of {len(connections)} connections" in call(busy, "--filter", "state=SF,port=443").stderr


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (f"host={CLIENT}", True),
        ("host=10.0.0.0/8", True),
        ("host=10.1.0.0/16", False),
        ("host=2001:db8::1", False),
        ("port=7456", True),
        ("port=7457|40000", True),
        ("state=sf, outcome=complete ,closed=fin", True),
        ("state=SF,port=1", False),
        ("closed=rst|none", False),
    ],
)
def test_filters(text: str, holds: bool) -> None:
    """A comma means and, a bar means or; hosts and ports are those of either end."""
    (connection,) = analyze_capture(hello(), "x").connections
    assert parse_filter(text)(summarize(connection)) is holds


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        ("443", "'443' is not KEY=VALUE", "a comma means and"),
        ("", "'' is not KEY=VALUE", "a comma means and"),
        ("port=", "'port=' is not KEY=VALUE", "write such as"),
        ("sport=1", "there is no key 'sport'", "did you mean port?"),
        ("port=http", "port 'http' is no port", "0 to 65535"),
        ("host=server", "host 'server' is no address", "write an address"),
        ("outcome=completed", "there is no outcome 'completed'", "did you mean complete?"),
        ("state=XX", "there is no state 'XX'", "S0, S1, SF"),
        ("closed=maybe", "there is no way to close 'maybe'", "half-close"),
    ],
)
def test_wrong_filters(text: str, says: str, remedy: str) -> None:
    """A filter that cannot be is told with the part that is wrong, and what would be right."""
    with pytest.raises(UsageError) as caught:
        parse_filter(text)
    assert says in caught.value.message
    assert remedy in caught.value.remedy


def test_ladder(capture: Path) -> None:
    """One connection as its packets: both ends, every packet, payload."""
    done = call(capture, "--connection", "1")
    assert done.exit_code == 0
    assert f"{CLIENT}:40000" in done.stdout
    assert '"Hello!"' in done.stdout
    assert len([line for line in done.stdout.splitlines() if "seq" in line]) == 8


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--connection", "2"), "has 1 connection"),
        (("--connection", "0"), "has 1 connection"),
        (("--connection", "1", "--json"), "goes with neither"),
        (("--filter", "x=1"), "there is no key"),
        (("--expect", "no-such-scenario"), "there is no scenario"),
    ],
)
def test_wrong_usage(capture: Path, words: tuple[str, ...], says: str) -> None:
    """What cannot be asked for: exit code 2, and a sentence."""
    done = call(capture, *words)
    assert done.exit_code == 2
    assert says in done.stderr


def test_no_capture(tmp_path: Path) -> None:
    """A file that is none, and one that is not there: exit code 2."""
    path = tmp_path / "x"
    path.write_bytes(b"hello")
    assert call(path).exit_code == 2
    assert "begins with 68 65" in call(path).stderr
    assert call(tmp_path / "nowhere").exit_code == 2
    assert call(tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("data", "code", "verdict"),
    [(hello(), 0, "passed"), (hello(lose=3), 3, "unknown"), (hello(lose=6), 1, "failed"), (hello()[:-3], 3, "unknown")],
)
def test_expect(tmp_path: Path, data: bytes, code: int, verdict: str) -> None:
    """A foreign capture judged by a scenario: what packets tell is checked, the rest is said to be not applicable."""
    capture, scenario = tmp_path / "x.pcap", tmp_path / "mine.yaml"
    capture.write_bytes(data)
    scenario.write_text(SCENARIO)
    done = call(capture, "--expect", scenario)
    assert done.exit_code == code, done.output
    assert done.stdout.splitlines()[-1].split()[0] == verdict
    assert "states.client: not applicable" in done.stdout
    told = json.loads(call(capture, "--expect", scenario, "--json").stdout)
    assert (told["verdict"], told["not_applicable"]) == (verdict, ["states.client"])
    assert {check["name"] for check in told["checks"]} >= {"connections", "handshake.outcome", "payload.client->server"}


def test_expect_looks_at_what_the_filter_leaves(tmp_path: Path) -> None:
    """With a filter only the connections that it names are judged."""
    capture, scenario = tmp_path / "x.pcap", tmp_path / "mine.yaml"
    capture.write_bytes(hello() + pcap_bytes(make_frames(3))[24:])
    scenario.write_text(SCENARIO)
    assert call(capture, "--expect", scenario).exit_code == 1
    assert call(capture, "--expect", scenario, "--filter", f"host={CLIENT},port=40000").exit_code == 0


def test_large_captures_are_told_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In columns and with a file on disk the output is what it is for a small capture."""
    pytest.importorskip("numpy")
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_bytes(make_frames(8, talks=60)))
    expected = [call(path, *words).stdout for words in ((), ("--json",), ("--filter", "state=SF"))]
    monkeypatch.setattr("testbed.analyze.LARGE", 1)
    monkeypatch.setattr("testbed.spool.IN_MEMORY", 1)
    assert [call(path, *words).stdout for words in ((), ("--json",), ("--filter", "state=SF"))] == expected


def test_spool_sorts() -> None:
    """Texts come back in the order of their keys, however large they are together."""
    chance = Random(4)
    texts = [(key, "ü" * chance.randrange(2000)) for key in chance.sample(range(10_000), 500)]
    with Spool() as spool:
        for key, text in texts:
            spool.add(key, text)
        assert list(spool.sorted()) == sorted(texts)
        assert len(spool) == 500
