"""What a swarm lab is made of, and where: placements, addresses, containers, engines that die. No engine is needed."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from testbed.apart import check_hearing
from testbed.errors import LabError, NotApplicable, UsageError
from testbed.files import load_scenario, scenario_files
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.swarm.address import find_engine
from testbed.lab.swarm.forward import ssh_command
from testbed.lab.swarm.lab_file import lab_schema_text, read_lab_file
from testbed.lab.swarm.layout import lay_out, network_options
from testbed.lab.swarm.placement import Placement, placed_words, read_placement
from testbed.merged import unmerge
from testbed.pcap.frame import Capture, Direction, Frame, Interface
from testbed.plan import make_plan
from testbed.scenario.mistakes import ScenarioErrors
from testbed.suites.engines import Attempt, EnginePool, parse_engines

ROOT = Path(__file__).parents[2]
LAB_MISTAKES = ROOT / "tests" / "lab_files" / "mistakes.yaml"
LAB_SCHEMA = ROOT / "schema" / "lab.schema.json"
SUBNET = ipaddress.IPv4Network("198.18.0.0/28")
SERVICE = {
    "command": ["python3", "-m", "testbed.agent"],
    "init": True,
    "stdin_open": True,
    "logging": {"driver": "none"},
    "cap_drop": ["ALL"],
    "cap_add": ["NET_ADMIN", "NET_RAW"],
    "security_opt": ["no-new-privileges:true"],
    "read_only": True,
    "tmpfs": ["/tmp:size=256m,mode=1777"],
    "devices": ["/dev/net/tun:/dev/net/tun"],
    "mem_limit": "512m",
    "pids_limit": 1200,
}


# ---------------------------------------------------------------- placement


def test_placement_of_replicas_and_of_those_not_named() -> None:
    """A host stands for its replicas, a replica may be placed for itself, and the first engine has the rest."""
    placement = read_placement(["client=left", "server=right", "client-3=right"])
    assert placement.of(["server", "client", "client-2", "client-3", "ghost"]) == {
        "server": "right",
        "client": "left",
        "client-2": "left",
        "client-3": "right",
        "ghost": "left",
    }


def test_lab_file(tmp_path: Path) -> None:
    """A lab file places hosts, and may name the engines; the command line has the last word, in those names too."""
    path = tmp_path / "lab.yaml"
    path.write_text("engines: {left: ssh://one}\nplace: {client: left, server: unix:///two}\n")
    assert placed_words(path, ()) == ("client=ssh://one", "server=unix:///two")
    assert placed_words(path, ("server=left",)) == ("client=ssh://one", "server=ssh://one")
    assert placed_words(None, ("server=left",)) == ("server=left",)
    with pytest.raises(UsageError, match="cannot be read"):
        placed_words(tmp_path / "none.yaml", ())


def test_lab_file_mistakes() -> None:
    """All mistakes of a lab file are told at once, each with its place, and a name that was probably meant."""
    text = LAB_MISTAKES.read_bytes()
    with pytest.raises(ScenarioErrors) as caught:
        read_lab_file(text, LAB_MISTAKES.name, lambda word: "" if word == "here" else f"no engine is called {word}")
    assert f"{caught.value}\n" == LAB_MISTAKES.with_suffix(".txt").read_text()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "the file is empty"),
        (b"[]", "a lab file is a mapping"),
        (b"engines: {a: here}", "place: is missing"),
        (b"place: {}", "place: names nobody"),
        (b"place: here", "place: 'here' is not a mapping"),
        (b"place: {client: here\n", "the closing } should be here"),
    ],
)
def test_lab_file_of_the_wrong_shape(text: bytes, says: str) -> None:
    """What is no lab file at all is told as that."""
    with pytest.raises(ScenarioErrors, match=says) as caught:
        read_lab_file(text, "lab.yaml", lambda word: "")
    assert len(caught.value.mistakes) == 1


def test_schema_of_lab_files() -> None:
    """schema/lab.schema.json is what `testbed schema --lab` prints, and agrees with what is read."""
    assert LAB_SCHEMA.read_text() == lab_schema_text()
    check = jsonschema.Draft202012Validator(json.loads(lab_schema_text())).is_valid
    assert check({"engines": {"far": "ssh://far"}, "place": {"client": "far"}})
    wrong: tuple[object, ...] = (
        {"engines": {}},
        {"place": {}},
        {"place": {"Client": "far"}},
        {"place": {"client": 7}},
        {"plase": {"a": "b"}},
    )
    assert not any(map(check, wrong))


@pytest.mark.parametrize("words", [[], ["client="], ["=left"], ["lab.yaml"]])
def test_placement_mistakes(words: list[str]) -> None:
    """What cannot be understood is said, with what to write."""
    with pytest.raises(UsageError) as caught:
        read_placement(words)
    assert caught.value.remedy


def test_placement_of_nobody_there() -> None:
    """A placement that fits no host of a scenario is a mistake."""
    with pytest.raises(UsageError, match="no host is called clinet"):
        Placement({"clinet": "left"}).of(["client", "server"])


# ---------------------------------------------------------------- engines


def test_engines_by_address_and_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address is taken as it is; a context by its name, with its TLS files; another word is a mistake."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
    meta = tmp_path / "contexts" / "meta" / "1"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text('{"Name": "far", "Endpoints": {"docker": {"Host": "tcp://far:2376"}}}')
    files = tmp_path / "contexts/tls/3a8eeb8c0cdd1ae3a0bfbbe9c7ed29bf9d83e4ed5f6f0bba9ee0d8c3ab2e3a9a"
    assert not files.exists()
    assert find_engine("unix:///run/docker.sock").url == "unix:///run/docker.sock"
    assert (find_engine("far").url, find_engine("far").tls) == ("tcp://far:2376", None)
    with pytest.raises(UsageError, match="there are: far"):
        find_engine("fra")
    with pytest.raises(UsageError, match="gopher"):
        find_engine("gopher://far")


def test_one_ssh_for_an_engine() -> None:
    """The forward leads to the far engine's socket, asks nothing, and takes no password from an address."""
    command = ssh_command("ssh://lab@far:2222/run/docker.sock", Path("/tmp/here"))
    assert command[-4:] == ["-L", "/tmp/here:/run/docker.sock", "--", "lab@far"]
    assert "BatchMode=yes" in command
    assert command[command.index("-p") + 1] == "2222"
    assert ssh_command("ssh://far", Path("/x"))[-3] == "/x:/var/run/docker.sock"
    with pytest.raises(UsageError):
        ssh_command("ssh://lab:secret@far", Path("/x"))


def test_engines_are_named_once() -> None:
    """A list of engines has each once, and at least one."""
    assert parse_engines("a, b,c") == ("a", "b", "c")
    for text in (",", "a,b,a"):
        with pytest.raises(UsageError):
            parse_engines(text)


# ---------------------------------------------------------------- the lab


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_containers_are_those_of_compose(family: str) -> None:
    """A host has what compose.yaml grants, no more; addresses are from the top; over IPv6 it takes its own first."""
    hosts = (LabHost("server", {"net.ipv4.tcp_fin_timeout": "7"}), LabHost("client", {}))
    shape = LabShape("run", "hola", family, hosts)
    server, client = lay_out(
        shape,
        hosts,
        {"server": "right", "client": "left"},
        SUBNET,
        SERVICE,
        "image:tag",
        {"testbed.run": "run"},
        (6, 1),
    )
    assert [server.address, client.address] == ["198.18.0.14", "198.18.0.13"]
    assert (server.engine, client.engine) == ("right", "left")
    assert server.host_config["cap_drop"] == ["ALL"]
    assert server.host_config["cap_add"] == ["NET_ADMIN", "NET_RAW"]
    assert "privileged" not in server.host_config
    assert server.host_config["sysctls"]["net.ipv4.tcp_fin_timeout"] == "7"
    assert "net.ipv4.tcp_fin_timeout" not in client.host_config["sysctls"] or (
        client.host_config["sysctls"]["net.ipv4.tcp_fin_timeout"] != "7"
    )
    assert client.told["command"][-3:] == SERVICE["command"]
    assert ("nodad" in " ".join(client.told["command"])) == (family == "ipv6")


def test_network_has_no_way_out_and_no_service() -> None:
    """An overlay of the run's own: internal, and open to plain containers."""
    told = network_options(SUBNET, {"testbed.run": "run"})
    assert (told["driver"], told["internal"], told["attachable"]) == ("overlay", True, True)


def test_what_cannot_be_played_is_on_the_page() -> None:
    """Every scenario in which a host must hear others is on the page of several machines, and no other."""
    deaf = {}
    for path in scenario_files():
        try:
            check_hearing(make_plan(path.stem, load_scenario(path).scenario))
        except NotApplicable as error:
            deaf[path.stem] = error.why.split()[0]
    page = (ROOT / "docs" / "multi-machine.md").read_text()
    assert deaf == dict(re.findall(r"^\| `([a-z0-9-]+)` \| `([a-z-]+)` \|", page, re.MULTILINE))


# ---------------------------------------------------------------- a pool of engines


def pool(slots: dict[str, int], dead: set[str], said: list[str]) -> EnginePool:
    """Engines of which some are dead, as soon as somebody asks."""
    return EnginePool(slots, lambda engine: engine not in dead, said.append)


def test_turns_of_a_dead_engine_are_moved() -> None:
    """What an engine had when it died is tried on another, as a further try; the dead one gets no more."""
    said: list[str] = []
    tried: list[Attempt] = []

    def attempt(at: Attempt) -> str:
        tried.append(at)
        if at.engine == "a":
            raise LabError("the engine does not answer")
        return "passed"

    engines = pool({"a": 2, "b": 1}, {"a"}, said)
    assert engines.play(attempt, lambda made: True) == "passed"
    assert engines.play(attempt, lambda made: True) == "passed"
    assert tried == [Attempt("a", 0), Attempt("b", 1), Attempt("b", 0)]
    assert len(said) == 1
    assert engines.jobs == 1


def test_uncertain_verdict_of_a_dead_engine_is_tried_again() -> None:
    """An unknown verdict may be the death's; one of a living engine, and a certain one, is kept."""
    outcomes = {"a": "unknown", "b": "unknown"}
    is_certain: Callable[[str], bool] = lambda made: made != "unknown"  # noqa: E731
    tried: list[str] = []

    def attempt(at: Attempt) -> str:
        tried.append(at.engine)
        return outcomes[at.engine]

    assert pool({"a": 2, "b": 1}, {"a"}, []).play(attempt, is_certain) == "unknown"
    assert tried == ["a", "b"]
    outcomes["a"] = "passed"
    assert pool({"a": 2, "b": 1}, {"a"}, []).play(attempt, is_certain) == "passed"


def test_errors_of_a_living_engine_and_the_last_death() -> None:
    """An error that is no death is raised; when all are dead, that is what is said."""

    def attempt(at: Attempt) -> str:
        raise LabError("no image")

    with pytest.raises(LabError, match="no image"):
        pool({"a": 1}, set(), []).play(attempt, lambda made: True)
    with pytest.raises(LabError, match="no engine is left"):
        pool({"a": 1, "b": 1}, {"a", "b"}, []).play(attempt, lambda made: True)


# ---------------------------------------------------------------- merged segments


def segment(sequence: int, payload: bytes, ip_id: int, direction: Direction, time_ns: int) -> Frame:
    """A TCP segment from one host to another."""
    tcp = (1000).to_bytes(2) + (2000).to_bytes(2) + sequence.to_bytes(4) + (7).to_bytes(4) + b"\x50\x10\x20\x00\0\0\0\0"
    length = 20 + len(tcp) + len(payload)
    ip = b"\x45\0" + length.to_bytes(2) + ip_id.to_bytes(2) + b"\x40\0\x40\x06\0\0" + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    data = b"\x02" * 12 + b"\x08\x00" + ip + tcp + payload
    return Frame(time_ns, data, len(data), 0, direction)


def test_merged_segments_are_put_apart() -> None:
    """What came in as one frame is what was sent as two, at the time at which it came; a resent one by its own id."""
    sent = [
        segment(100, b"abcd", 1, Direction.OUT, 1),
        segment(104, b"ef", 2, Direction.OUT, 2),
        segment(100, b"abc", 3, Direction.OUT, 3),
        segment(103, b"def", 4, Direction.OUT, 4),
        segment(106, b"alone", 5, Direction.OUT, 5),
    ]
    came = [
        segment(100, b"abcdef", 1, Direction.IN, 10),
        segment(100, b"abcdef", 3, Direction.IN, 11),
        segment(106, b"alone", 5, Direction.IN, 12),
        segment(500, b"never sent", 6, Direction.IN, 13),
    ]
    captures = {"client": Capture((Interface("x"),), tuple(sent)), "server": Capture((Interface("x"),), tuple(came))}
    found = [(frame.time_ns, frame.data) for frame in unmerge(captures)["server"].frames]
    wanted = [(10, sent[0]), (10, sent[1]), (11, sent[2]), (11, sent[3]), (12, sent[4]), (13, came[3])]
    assert found == [(time_ns, frame.data) for time_ns, frame in wanted]
