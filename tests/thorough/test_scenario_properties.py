"""Properties: any bytes give a Scenario or located mistakes; what is written reads back as the same scenario."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.agent.impair import Emulator
from testbed.agent.impairments import KEYS, Key
from testbed.plan import link_settings, make_plan, replica_names
from testbed.scenario.consistency import contradictions
from testbed.scenario.faults import ACTIONS, PacketClass
from testbed.scenario.mistakes import Mistake
from testbed.scenario.model import Scenario, dump_scenario
from testbed.scenario.read import ScenarioErrors, read_scenario
from testbed.scenario.steps import STEPS
from testbed.scenario.wire_consistency import NEEDS
from testbed.scenario.write import write_scenario

quick = settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
GOOD = (Path(__file__).parents[1] / "errors" / "five-mistakes.yaml").read_bytes()

WIRE_WORDS = ("ports", "timeline", "at", "down", "80", "1s", "1%", "10mbit", "jitter", "delay", "loss", "p", "DATA")
WORDS = ("server", "client", "client->server", "on", "as", "from", "nth", "error", "[key]", "int")
keys = st.sampled_from([*STEPS, *Scenario.model_fields, *ACTIONS, *WIRE_WORDS, *WORDS])
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | keys
trees = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys | st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


def read_or_refuse(data: bytes) -> None:
    """Read; a refusal must be whole, in the file, and in plain words."""
    mistakes = mistakes_of(data)
    lines = data.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for mistake in mistakes:
        assert 1 <= mistake.line <= len(lines) + 1
        assert mistake.column >= 1
        assert "Input should" not in mistake.says
        assert "Value error" not in mistake.says
        assert str(mistake).startswith("x.yaml:")


def mistakes_of(data: bytes) -> tuple[Mistake, ...]:
    """The mistakes of a file; none when it is a scenario."""
    try:
        read_scenario(data, "x.yaml")
    except ScenarioErrors as error:
        return error.mistakes
    return ()


@quick
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a scenario or located mistakes, nothing else."""
    read_or_refuse(data)


@quick
@given(st.text(max_size=80, alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#,? \n\t0189.~<\\u")))
def test_any_punctuation(text: str) -> None:
    """YAML's own characters in any order are a scenario or located mistakes."""
    read_or_refuse(text.encode())


@quick
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_any_changed_byte(place: int, byte: int) -> None:
    """A file with one byte changed is a scenario or located mistakes."""
    read_or_refuse(GOOD[:place] + bytes([byte]) + GOOD[place + 1 :])


@quick
@given(trees, trees, trees, st.lists(trees, max_size=4))
def test_any_tree(wire: Any, faults: Any, expect: Any, steps: list[Any]) -> None:
    """Any values in the places of a scenario's are a scenario or located mistakes."""
    tree = {"summary": "x", "hosts": {"server": {"steps": steps}}, "wire": wire, "faults": faults, "expect": expect}
    read_or_refuse(json.dumps(tree).encode())
    contradictions(tree)


words = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
durations = st.integers(0, 10**12).map(lambda number: f"{number}ns") | st.sampled_from(["10ms", "1.5s", "0s", "2min"])
counts = st.sampled_from([0, 1, "0..2", "1..", "..3", "5"])
percents = st.floats(0, 100).map(lambda number: f"{number:.6f}%")
texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["on", "1e3", "0o17", "0777", "null", "22:22", "=", "<<", "a: b", "\u2028", "\x85", "\ufeff", "~", "1_000", "- a"]
)
payloads = texts | st.fixed_dictionaries({"hex": st.binary(max_size=6).map(bytes.hex)})
common = {"error": st.sampled_from(["ECONNREFUSED", "EPIPE"]), "timeout": durations}
names_socket = {"as": words}


def step(name: str, value: st.SearchStrategy[Any], **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A step with its own value and some of its further keys."""
    return st.fixed_dictionaries({name: value}, optional={**common, **more})


steps = st.lists(
    st.one_of(
        st.sampled_from(["socket", "listen"]),
        step("socket", st.sampled_from(["tcp", "udp"]), **names_socket),
        step("bind", st.integers(1, 65535) | st.just("free"), reuse=st.booleans(), **names_socket),
        step("listen", st.none() | st.just("free"), backlog=st.integers(0, 9), **names_socket),
        step("connect", st.sampled_from(["server:7456", "client-2:free"]), **{"from": st.integers(1, 65535)}),
        step("sleep", durations),
        step("mark", words),
        step("snapshot", words),
        step("log", texts),
        step("udp", st.just("free")),
        step("sendto", st.sampled_from(["reply", "server:53"]), when=st.just("now")).flatmap(
            lambda made: payloads.map(lambda payload: {**made, "data": payload})
        ),
        step("recvfrom", st.sampled_from([9999, "64KiB"]), equals=payloads),
        step("repeat", st.integers(1, 9)).map(
            lambda made: {**made, "steps": ["socket", {"send": "x"}, {"close": None}]}
        ),
    ),
    max_size=4,
).map(lambda made: ["listen", {"listen": "free"}, *made])
rates = st.integers(8, 10**10).map(lambda number: f"{number}bit") | st.sampled_from(["1.5mbit", "64 kbit", "unlimited"])
some = st.integers(1, 99)
UNITS = {
    "duration": st.sampled_from(["0", "1ms", "10ms", "1.5s"]),
    "percent": percents,
    "rate": rates,
    "count": some,
    "flag": st.booleans(),
}


def key_values(key: Key) -> st.SearchStrategy[Any]:
    """Values of a key of the wire."""
    if key.unit == "word":
        return st.sampled_from(key.words)
    if key.unit == "chances":
        half = st.floats(0, 50).map(lambda number: f"{number:.6f}%")  # two of them are never above 100%
        given = [word for word, default in zip(key.words, key.defaults, strict=True) if default is None]
        return st.fixed_dictionaries(
            dict.fromkeys(given, half), optional={word: half for word in key.words if word not in given}
        )
    return UNITS[key.unit]


KEY_VALUES = {key.name: key_values(key) for key in KEYS}
any_keys = st.fixed_dictionaries({}, optional=KEY_VALUES)


def whole(tree: dict[str, Any]) -> dict[str, Any]:
    """The keys without contradictions: what one of them needs is there, of several loss models the first."""
    told = dict(tree)
    models = [name for name in ("loss", "gilbert_elliott", "loss_states") if name in told]
    for model in models[1:]:
        del told[model]
    if "loss_correlation" in told and "loss" not in told:
        del told["loss_correlation"]
    for name, needed in NEEDS.items():
        if name in told:
            told.setdefault(needed, "1%" if needed != "jitter" else "1ms")
    if told.keys() & {"jitter", "reorder"}:
        told["delay"] = "1.5s"
    return told


courses = any_keys.map(whole)
ports = st.dictionaries(st.integers(1, 65535).map(str), courses, max_size=2)
# What comes later than the general delay cannot contradict it.
later = st.fixed_dictionaries(
    {}, optional={name: KEY_VALUES[name] for name in ("duplicate", "rate", "limit", "blackhole")}
)
moments = st.lists(st.tuples(some, later, later), max_size=3, unique_by=lambda moment: moment[0]).map(
    lambda made: [
        {"at": f"{at}ms", "down": ["server"], **general, "client-2->server": one_way}
        for at, general, one_way in sorted(made, key=lambda moment: moment[0])
    ]
)
wires = st.tuples(courses, courses, ports, moments).map(
    lambda made: {**made[0], "client->server": made[1], "ports": made[2], "timeline": made[3]}
)
kinds = st.sampled_from([kind.value for kind in PacketClass if kind is not PacketClass.ACK])
counted = st.one_of(
    st.fixed_dictionaries({}, optional={"nth": st.sampled_from([1, "1..2", "2..", "..3", "all"])}),
    st.fixed_dictionaries({"every": some}),
)
OWN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "drop": st.just({}),
    "delay": st.fixed_dictionaries({"by": durations}),
    "duplicate": st.fixed_dictionaries({}, optional={"by": durations, "copies": some}),
    "corrupt": st.fixed_dictionaries({}, optional={"bits": some}),
    "rewrite": st.fixed_dictionaries(
        {"strip": st.just(["timestamps", "sack"])},
        optional={
            "set": st.fixed_dictionaries(
                {"window": some},
                optional={"seq": st.sampled_from([0, "+100", "-1"]), "flags": st.sampled_from(["SYN+ECE", ""])},
            )
        },
    ),
    "reset": st.fixed_dictionaries({}, optional={"to": st.just("both"), "passes": st.booleans()}),
    "icmp": st.one_of(
        st.fixed_dictionaries({"unreachable": st.sampled_from(["port", "host", "net", "admin"])}),
        st.fixed_dictionaries({"unreachable": st.just("frag-needed"), "mtu": st.integers(68, 1500)}),
    ),
}
ways = st.fixed_dictionaries(
    {"from": st.sampled_from(["client", "client-2", "server"])},
    optional={
        "retransmissions": st.sampled_from(["too", "never", "only"]),
        "per": st.just("scenario"),
        "contains": payloads.filter(lambda payload: payload not in ("", {"hex": ""})),
    },
)


def doing(action: str) -> st.SearchStrategy[dict[str, Any]]:
    """Faults of an action."""
    parts = st.tuples(st.fixed_dictionaries({action: kinds}), OWN[action], ways, counted)
    return parts.map(lambda made: {key: value for part in made for key, value in part.items()})


fault = st.one_of([doing(action) for action in OWN])
expectations: dict[Any, st.SearchStrategy[Any]] = {
    "handshake": st.fixed_dictionaries({}, optional={"outcome": st.just("complete"), "syns": counts}),
    "payload": st.fixed_dictionaries({}, optional={"client->server": payloads}),
    "states": st.just({"server": ["LISTEN", "CLOSE"]}),
    "datagrams": st.fixed_dictionaries({}, optional={"client-2->server": st.lists(payloads, max_size=2)}),
    "lost": st.fixed_dictionaries({}, optional={"client-2->server": counts}),
    "delay": st.just({"server->client": "40ms..45ms"}),
}
hosts = st.fixed_dictionaries(
    {
        "server": st.fixed_dictionaries({"steps": steps}),
        "client": st.fixed_dictionaries({"replicas": st.integers(2, 9), "steps": steps}),
    }
)
further: dict[Any, st.SearchStrategy[Any]] = {
    "source": texts,
    "tags": st.lists(words, max_size=2),
    "seed": st.integers(0, 2**63 - 1),
    "settle": durations,
    "sysctls": st.just({"net.ipv4.tcp_sack": 1}),
    "wire": wires,
    "faults": st.lists(fault, max_size=2),
    "expect": st.fixed_dictionaries({}, optional=expectations),
}
scenarios = st.fixed_dictionaries({"summary": texts.filter(bool), "hosts": hosts}, optional=further)


@quick
@given(scenarios)
def test_written_reads_back(tree: dict[str, Any]) -> None:
    """parse(dump(x)) == x, through the testbed's own YAML writer and through a plain JSON one."""
    scenario = read_scenario(json.dumps(tree).encode(), "x.json")
    assert read_scenario(write_scenario(scenario).encode(), "x.yaml") == scenario
    assert read_scenario(json.dumps(dump_scenario(scenario)).encode(), "x.json") == scenario


ADDRESSES = {name: f"198.18.0.{number}" for number, name in enumerate(["server", *replica_names("client", 9)], 2)}


@quick
@given(scenarios)
def test_the_agent_takes_what_the_reader_takes(tree: dict[str, Any]) -> None:
    """Whatever wire and faults a file may hold, the message made of it is one that the agent takes, phase by phase."""
    plan = make_plan("x", read_scenario(json.dumps(tree).encode(), "x.json"))
    for link in plan.links:
        message = link_settings(link, plan, ADDRESSES, "portable")
        emulator = Emulator(message)
        assert len(emulator.phases) == len(link.phases)
        assert (emulator.faults is not None) == bool(link.faults)


@quick
@given(st.lists(any_keys, min_size=1, max_size=3), ports)
def test_any_wire_is_taken_or_refused(made: list[dict[str, Any]], lanes: dict[str, Any]) -> None:
    """Any keys at any moments are refused in plain words by the reader, or taken by the agent: never by neither."""
    first, *more = made
    timeline = [{"at": f"{at}s", "down": [], **keys} for at, keys in enumerate(more, 1)]
    wire = {**first, "ports": lanes, "timeline": timeline}
    tree = {"summary": "x", "hosts": {"server": {"steps": ["hold"]}, "client": {}}, "wire": wire}
    try:
        scenario = read_scenario(json.dumps(tree).encode(), "x.json")
    except ScenarioErrors:
        return
    plan = make_plan("x", scenario)
    for link in plan.links:
        assert Emulator(link_settings(link, plan, ADDRESSES, "portable")).phases


@quick
@given(texts)
def test_text_means_text_to_every_reader(text: str) -> None:
    """A text is written so that a reader of YAML 1.1 takes it for the same text."""
    scenario = Scenario.model_validate({"summary": "x" + text, "source": text, "hosts": {"a": {"steps": ["hold"]}}})
    assert yaml.safe_load(write_scenario(scenario)).get("source", "") == text
