"""The agent's requests, as far as they need no network: parsing, order, output over a pipe."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testbed.agent.control import REQUESTS, Agent
from testbed.agent.loop import Bye, Loop, Output, UsageError, describe

PROTOCOL = Path(__file__).parents[2] / "docs" / "agent-protocol.md"


class Pipes:
    """A loop with both its ends in our hands."""

    def __init__(self) -> None:
        self.input, self._ask = os.pipe()
        self._told, self.output = os.pipe()
        os.set_blocking(self._told, False)
        self.sink = Output(self.output)
        self.agent = Agent(self.sink)

    def ask(self, *requests: Any) -> list[dict[str, Any]]:
        """Plays the loop on these requests (bytes go as they are) until its input ends; what it wrote."""
        for request in requests:
            os.write(self._ask, request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n")
        os.close(self._ask)
        with pytest.raises(Bye):
            Loop(self.input, self.sink, self.agent).run()
        self.sink.finish()
        return [json.loads(line) for line in self.read().splitlines()]

    def read(self) -> bytes:
        """What is in the output's pipe now."""
        return os.read(self._told, 1 << 20)

    def leave(self) -> None:
        """As a reader that goes away."""
        os.close(self._told)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    made = Pipes()
    yield made
    for one in (made.input, made.output):
        os.close(one)


def test_every_request_of_the_protocol_is_there() -> None:
    """docs/agent-protocol.md and the table name the same requests."""
    table = PROTOCOL.read_text().split("## Requests")[1].split("## Events")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`([a-z.]+)`", row)} == set(REQUESTS)


def test_answers_carry_the_number_and_keep_the_order(pipes: Pipes) -> None:
    """Requests that come at once, one of them split between two writes, are answered in order."""
    answers = pipes.ask(
        {"id": 1, "do": "mark", "name": "m"}, b'{"id": 2, "do": "rel', b'ease"}\n\n', {"id": 3, "do": "x"}
    )
    assert answers[:2] == [{"id": 1, "ok": {}}, {"id": 2, "ok": {}}]
    assert (answers[2]["id"], answers[2]["error"]["kind"]) == (3, "usage")


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"{no json\n", "Expecting property name"),
        (b"[]\n", "a request is an object"),
        ({"id": 1}, "there is no request None"),
        ({"id": 1, "do": "settled", "timeout_ns": True}, "timeout_ns is True; it must be of type int"),
        ({"id": 1, "do": "capture.start", "name": "x"}, "interface is None; it must be of type str"),
        ({"id": 1, "do": "states.start", "interval_ns": 0}, "interval_ns is 0"),
        ({"id": 1, "do": "prepare", "interface": "lo", "neighbours": [{}]}, "each has an address and a mac"),
        ({"id": 1, "do": "wire.begin", "start_ns": 1}, "no wire is applied to any interface"),
        ({"id": 1, "do": "wire.read"}, "no wire is applied to any interface"),
        ({"id": 1, "do": "link.set", "interface": "lo", "up": 1}, "up is 1; it must be of type bool"),
    ],
)
def test_what_makes_no_sense_is_answered_so(pipes: Pipes, request_: Any, says: str) -> None:
    """Kind usage, and what is wrong; the loop goes on."""
    wrong, right = pipes.ask(request_, {"id": 2, "do": "mark", "name": "m"})
    assert wrong["error"]["kind"] == "usage"
    assert says in wrong["error"]["says"]
    assert right == {"id": 2, "ok": {}}


def test_bye_is_the_last_answer(pipes: Pipes) -> None:
    """What comes behind it is not answered."""
    assert pipes.ask({"id": 1, "do": "bye"}, {"id": 2, "do": "mark", "name": "m"}) == [{"id": 1, "ok": {}}]


def test_a_file_comes_in_chunks(pipes: Pipes, tmp_path: Path) -> None:
    """Each chunk names the request; an empty file has none; the answer comes last."""
    (tmp_path / "full").write_bytes(b"abcde")
    (tmp_path / "empty").touch()
    loop = Loop(pipes.input, pipes.sink, pipes.agent)
    for number, name in ((1, "full"), (2, "empty")):
        loop._take(json.dumps({"id": number, "do": "fetch", "path": str(tmp_path / name), "chunk": 3}).encode())
    while loop._advance() is not None:
        pass
    pipes.sink.write()
    told = [json.loads(line) for line in pipes.read().splitlines()]
    assert [message for message in told if message.get("id") == 1] == [
        {"event": "chunk", "id": 1, "data": "YWJj"},
        {"event": "chunk", "id": 1, "data": "ZGU="},
        {"id": 1, "ok": {"bytes": 5}},
    ]
    assert [message for message in told if message.get("id") == 2] == [{"id": 2, "ok": {"bytes": 0}}]


def test_output_waits_for_a_slow_reader(pipes: Pipes) -> None:
    """What the pipe does not take is kept, and every line comes whole and in order."""
    for number in range(300):
        pipes.sink.put({"number": number, "filling": "x" * 1000})
        pipes.sink.write()
    assert len(pipes.sink) > 100_000
    data = b""
    while pipes.sink:
        data += pipes.read()
        pipes.sink.write()
    data += pipes.read()
    assert [json.loads(line)["number"] for line in data.splitlines()] == list(range(300))


def test_a_reader_that_is_gone_ends_the_agent(pipes: Pipes) -> None:
    """EPIPE on the output is the end, as the end of the input is."""
    pipes.leave()
    pipes.sink.put({})
    with pytest.raises(Bye):
        pipes.sink.write()
    assert not pipes.sink


def test_errors_are_described_by_errno_or_usage() -> None:
    """An OSError by its errno's name, one without number by its class, all else as usage."""
    assert describe(OSError(errno.EPERM, "no")) == {"kind": "EPERM", "says": "no"}
    assert describe(FileNotFoundError(errno.ENOENT, "no", "/x"))["says"] == "[Errno 2] no: '/x'"
    assert describe(ConnectionError("gone")) == {"kind": "ConnectionError", "says": "gone"}
    assert describe(UsageError("what")) == {"kind": "usage", "says": "what"}
