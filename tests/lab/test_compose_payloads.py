"""Scenarios at the edges through a real lab: payload of every kind, replicas, hosts of other names, IPv6.

All are run once, a few at a time; each test looks at one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_driver import PATIENCE_S, seen

pytestmark = pytest.mark.lab

HEADER = "summary: An edge.\n"
ONE_WAY = """
hosts:
  server:
    steps: [{{listen: 7456}}, accept, {{recv: eof, equals: {payload}}}, close]
  client:
    steps: [{{connect: server:7456}}, {{send: {payload}}}, close]
expect:
  connections: 1
  handshake: {{outcome: complete}}
  teardown: {{kind: fin, closed_first: client}}
  payload: {{client->server: {payload}, server->client: ""}}
"""
PAYLOADS = {
    "text-utf-8": '"¿Hola, señor? 你好 🂡 ﷽ \\u202e"',
    "text-escapes": '"\\0\\x01\\t\\r\\n\\e[31m\\x7f\\\\\\"</script>&amp;"',
    "text-empty": '""',
    "hex-all": f'{{hex: "{bytes(range(256)).hex()}"}}',
    "file-blob": "{file: blob.bin}",
    "random-1": "{random: 1, seed: 3}",
}
SCENARIOS = {
    **{name: ONE_WAY.format(payload=payload) for name, payload in PAYLOADS.items()},
    "random-both-ways": """
hosts:
  server:
    steps:
      - {listen: 7456}
      - accept
      - {recv: eof, equals: {random: 1MiB, seed: 1}}
      - {send: {random: 1MiB, seed: 2}}
      - close
  client:
    steps:
      - {connect: server:7456}
      - {send: {random: 1MiB, seed: 1}}
      - {shutdown: wr}
      - {recv: eof, equals: {random: 1MiB, seed: 2}}
      - close
expect:
  connections: 1
  bytes: {client->server: 1048576, server->client: 1048576}
  payload: {client->server: {random: 1MiB, seed: 1}, server->client: {random: 1MiB, seed: 2}}
""",
    "replicas": """
hosts:
  server:
    steps: [{listen: 7456}, {repeat: 2, steps: [accept, {recv: eof, equals: "Hola"}, close]}]
  client:
    replicas: 2
    steps: [{connect: server:7456}, {send: "Hola"}, close]
expect:
  connections: 2
  handshake: {outcome: complete}
""",
    "other-names": """
hosts:
  alice:
    steps: [{listen: 7456}, accept, {recv: eof, equals: "Hola"}, close]
  bob-2nd:
    steps: [{connect: alice:7456}, {send: "Hola"}, close]
  eve: {}
expect:
  connections: 1
  payload: {client->server: "Hola"}
""",
}


@pytest.fixture(scope="module")
def results(image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """result.json of each scenario, by its name."""
    folder = tmp_path_factory.mktemp("edges")
    (folder / "blob.bin").write_bytes(os.urandom(5000))
    paths = []
    for name, text in SCENARIOS.items():
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(HEADER + text)
    ended = seen(PATIENCE_S, "run", *paths, "--backend", "compose", "--jobs", "4", "--json", "--out", folder / "out")
    told = {result["scenario"]: result for result in json.loads(ended.stdout)["results"]}
    assert set(told) == set(SCENARIOS), ended.stderr
    return told


def failed(result: dict[str, Any]) -> list[Any]:
    """What keeps a result from being passed."""
    problems: list[Any] = result.get("problems", [])
    bad = [check for check in result.get("checks", []) if check["verdict"] != "passed"]
    return [*problems, *bad] or ([] if result.get("verdict") == "passed" else [result])


@pytest.mark.parametrize("name", PAYLOADS)
def test_payload_of_every_kind(results: dict[str, Any], name: str) -> None:
    """What one program sends the other receives, and the wire carries, byte for byte, whatever the bytes are."""
    assert failed(results[name]) == []


def test_a_mebibyte_each_way(results: dict[str, Any]) -> None:
    """1 MiB of seeded random bytes each way: both programs and the wire have the same, and no frame was missed."""
    result = results["random-both-ways"]
    assert failed(result) == []
    assert {capture["dropped"] for capture in result["captures"]} == {0}
    sums = {name: [s["sha256"] for s in result["hosts"][name]["steps"] if s["sha256"]] for name in ("client", "server")}
    assert sums["client"] == sums["server"]
    assert len(set(sums["client"])) == 2


def test_replicas_are_hosts_of_their_own(results: dict[str, Any]) -> None:
    """`replicas: 2` gives client and client-2, each with an address and a vantage point, each connected."""
    result = results["replicas"]
    assert failed(result) == []
    assert {name: host["role"] for name, host in result["hosts"].items()} == {
        "server": "server",
        "client": "client",
        "client-2": "client",
        "sniffer": "sniffer",
    }
    assert {connection["client"]["host"] for connection in result["connections"]} == {"client", "client-2"}
    assert {"client", "client-2"} <= {capture["vantage"] for capture in result["captures"]}


def test_hosts_of_other_names(results: dict[str, Any]) -> None:
    """Hosts need not be called client and server; one that does nothing is there all the same."""
    result = results["other-names"]
    assert failed(result) == []
    assert set(result["hosts"]) == {"alice", "bob-2nd", "eve", "sniffer"}
    (connection,) = result["connections"]
    assert (connection["client"]["host"], connection["server"]["host"]) == ("bob-2nd", "alice")


def test_ipv6(image: str, tmp_path: Path) -> None:
    """`--family ipv6` plays the same scenario over IPv6, and only that."""
    words = ("run", "hola", "--backend", "compose", "--family", "ipv6", "--json", "--out", tmp_path)
    ended = seen(PATIENCE_S, *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(ended.stdout)
    assert result["family"] == "ipv6"
    (connection,) = result["connections"]
    assert connection["client"]["address"].startswith("fd00:198:18:")
    assert connection["server"]["address"].startswith("fd00:198:18:")
