"""Every way in which the testbed cannot see, or cannot do, what a verdict rests on; each is provoked in a test.

A way that has a meddler is provoked in a real lab of namespaces by tests/lab/test_honest_unknowns.py, which plays
SCENARIO and meddles. `elsewhere` names the test of a way that takes other means: an engine, a full disk, evidence made
by hand. What must come out is an unknown verdict whose reasons have the words in `says`; or, where `raises`, no verdict
at all: the command ends with exit code 3 and those words. docs/reliability.md has this table for readers.
"""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meddling import Meddler, Message, change_chunks, edit, kill_agent, kill_child, once, refuse, within

PAUSE_MS = 500
SCENARIO: dict[str, Any] = {
    "summary": "A conversation with a pause in it, over a slow wire.",
    "hosts": {
        "server": {"steps": [{"listen": 7456}, "accept", {"recv": "eof"}, "close"]},
        "client": {
            "steps": [{"connect": "server:7456"}, {"send": "Hola"}, {"sleep": f"{PAUSE_MS}ms"}, {"send": "?"}, "close"]
        },
    },
    "wire": {"client->server": {"delay": "5ms"}},
    "expect": {"handshake": {"outcome": "complete"}, "payload": {"client->server": "Hola?"}},
    "timeout": "3s",
}
RECORD = struct.Struct("<QIIB")  # of a capture file (docs/agent-protocol.md)
TCP_FRAME = bytes(12) + b"\x08\x00" + b"\x45" + bytes(8) + b"\x06" + bytes(40)
EARLY = RECORD.pack(1, len(TCP_FRAME), len(TCP_FRAME), 1) + TCP_FRAME


@dataclass(frozen=True, slots=True)
class Way:
    """One way: a name for the table, how it is provoked, what the testbed must say."""

    name: str
    how: str
    says: str
    meddler: Callable[[], Meddler] | None = None
    elsewhere: str = ""  # file::test
    raises: bool = False
    refuses_to_close: str = ""


def ignore() -> None:
    """Nothing is done."""


def _clock_set(by_ns: int) -> Callable[[], Meddler]:
    def make() -> Meddler:
        looked: list[str] = []

        def meddle(who: str, asked: str, _: Message, said: Message) -> list[Message | bytes]:
            if asked == "clock.offset":
                looked.append(who)
                if len(looked) > 1:
                    said = {**said, "ok": {key: value + by_ns for key, value in said["ok"].items()}}
            return [said]

        return meddle

    return make


def _last_canary_unheard() -> Meddler:
    def meddle(_: str, asked: str, request: Message, said: Message) -> list[Message | bytes]:
        if asked == "canary.wait" and str(request["token"]).startswith("end"):
            said = {**said, "ok": {"heard": False}}
        return [said]

    return meddle


def _first_canary_unheard() -> Meddler:
    return edit("canary.wait", "sniffer", heard=False)


def _missing_chunk() -> Meddler:
    def meddle(who: str, _: str, __: Message, said: Message) -> list[Message | bytes]:
        return [] if who == "sniffer" and said.get("event") == "chunk" else [said]

    return meddle


def _longer(content: bytes) -> bytes:
    return EARLY + content


def _early_packets() -> Meddler:
    """One more record, before all others, and as many bytes more in the answer."""
    change = change_chunks("sniffer", _longer)

    def meddle(who: str, asked: str, request: Message, said: Message) -> list[Message | bytes]:
        if (who, asked) == ("sniffer", "fetch") and "ok" in said:
            said = {**said, "ok": {"bytes": said["ok"]["bytes"] + len(EARLY)}}
        return change(who, asked, request, said)

    return meddle


def _damaged(content: bytes) -> bytes:
    return content[: len(content) // 2] + b"\xff" * (len(content) - len(content) // 2)


STEP, PLAYED = "step", "played"
SNIFFER, CLIENT, SERVER = "sniffer", "client", "server"

WAYS: tuple[Way, ...] = (
    # seeing: the sniffer's capture
    Way(
        "kernel drops on the wire",
        "the sniffer's kernel says that it dropped 3 packets",
        "the capture on the wire missed 3 packets, which the kernel dropped",
        lambda: edit("capture.stop", SNIFFER, dropped=3),
    ),
    Way(
        "kernel drops at a host",
        "the kernel of the server says that it dropped 2 packets before its capture",
        "missed 2 packets, so the fates of packets are not known",
        lambda: edit("capture.stop", SERVER, dropped=2),
    ),
    Way(
        "ring overrun",
        "frames faster than a small ring takes them: every frame is in the file or counted",
        "the kernel dropped",
        elsewhere="tests/lab/test_capture.py::test_an_overrun_ring_is_counted",
    ),
    Way(
        "late start",
        "no canary is heard before the first step",
        "the sniffer does not hear what the hosts send to each other",
        _first_canary_unheard,
        raises=True,
    ),
    Way(
        "early end",
        "no canary is heard after the last step",
        "the sniffer did not hear the frame that ends the capture: its tail may be missing",
        _last_canary_unheard,
    ),
    Way(
        "capture cut on its way",
        "a piece of the sniffer's file does not come over",
        "bytes of a file came over from sniffer",
        _missing_chunk,
    ),
    Way(
        "capture shorter than counted",
        "the sniffer counted 5 packets more than its file has",
        "packets that it counted",
        lambda: edit("capture.stop", SNIFFER, packets=lambda count: count + 5),
    ),
    Way(
        "capture damaged",
        "the second half of the sniffer's file comes over as 0xff",
        "the file of its capture is damaged",
        lambda: change_chunks(SNIFFER, _damaged),
    ),
    Way(
        "capture file cut short",
        "the capture file of a run folder ends inside a block",
        "is not whole",
        elsewhere="tests/fast/test_verdict_checks.py::test_not_seen",
    ),
    Way(
        "payload not captured",
        "the wire's capture kept only the headers",
        "packets on the wire were cut",
        elsewhere="tests/fast/test_verdict_checks.py::test_cut_payload",
    ),
    Way(
        "capture process killed",
        "SIGKILL of the sniffer's capture while the client plays",
        "capture wire",
        lambda: once(STEP, CLIENT, kill_child(SNIFFER, 0)),
    ),
    Way(
        "no room for the capture",
        "the file system that a capture is written to is full",
        "No space left on device",
        elsewhere="tests/lab/test_capture.py::test_a_full_disk_is_said_and_counted",
    ),
    Way(
        "sniffer's interface down",
        "somebody sets the sniffer's interface down while the client plays",
        "down",
        lambda: once(STEP, CLIENT, within(SNIFFER, "ip", "link", "set", "dev", "eth0", "down")),
    ),
    Way(
        "packets of an earlier run",
        "the sniffer has captured a TCP packet before the first canary",
        "TCP packets were on the wire before the first step, of an earlier run: 1",
        _early_packets,
    ),
    # seeing: the clock, the sampler
    Way(
        "clock set forward",
        "the agent tells that CLOCK_REALTIME is 40 ms further ahead of CLOCK_MONOTONIC after the play than before it",
        "its clock was set forward by 40.",
        _clock_set(40_000_000),
    ),
    Way(
        "clock set back",
        "the same, 2 s back",
        "its clock was set back by 2000.",
        _clock_set(-2_000_000_000),
    ),
    Way(
        "socket states not sampled",
        "the client's sampler answers with an error at the end",
        "the agent on client says: the sampler is gone",
        lambda: refuse("states.stop", CLIENT, "the sampler is gone"),
    ),
    # doing: agents, programs
    Way(
        "agent killed",
        "SIGKILL of the client's agent while the client plays",
        "the agent on client was killed by SIGKILL",
        lambda: once(STEP, CLIENT, kill_agent(CLIENT)),
    ),
    Way(
        "sniffer's agent killed",
        "SIGKILL of the sniffer's agent while the client plays",
        "the agent on sniffer was killed by SIGKILL",
        lambda: once(STEP, CLIENT, kill_agent(SNIFFER)),
    ),
    Way(
        "agent never answers",
        "SIGSTOP of the client's agent while the client plays",
        "the play did not end within 3 s",
        lambda: once(STEP, CLIENT, kill_agent(CLIENT, signal.SIGSTOP)),
    ),
    Way(
        "program killed by somebody else",
        "SIGKILL of the client's program, as the kernel does when memory is short",
        "its program was killed by SIGKILL, which no step of it asks for",
        lambda: once(STEP, CLIENT, kill_child(CLIENT, -1)),
    ),
    Way(
        "program out of memory",
        "it takes more than its control group has, on netns and in its container: the kernel ends it",
        "its program was killed by SIGKILL; meanwhile the kernel's out-of-memory killer ended 1 process",
        elsewhere="tests/lab/test_honest_unknowns.py::test_out_of_memory",
    ),
    Way(
        "machine too busy",
        "SIGSTOP of the client's program for a second while it sleeps, and an expectation that is not met",
        "it may come of a busy machine, since step 3 of client (sleep)",
        elsewhere="tests/lab/test_honest_unknowns.py::test_a_program_that_is_held_up",
    ),
    Way(
        "container out of memory",
        "the same in a container, and the kernel chooses the agent, with which the container ends",
        "ended with exit status 137 (out of memory)",
        elsewhere="tests/lab/test_compose_bad_luck.py::test_container_out_of_memory",
    ),
    Way(
        "container killed (exit 137)",
        "`docker kill` of the client's container while it plays",
        "ended with exit status 137 (SIGKILL)",
        elsewhere="tests/lab/test_compose_hosts.py::test_killed_container",
    ),
    Way(
        "play too long",
        "steps that do not end within the scenario's limit",
        "the play did not end within",
        elsewhere="tests/lab/test_compose_bad_luck.py::test_whole_run_limit_is_unknown",
    ),
    Way(
        "agent talks rubbish",
        "a line that is no JSON between the client's events",
        "the agent sent a line that is no message",
        lambda: once(STEP, CLIENT, ignore, b"rubbish\xff\x1b[2J\n"),
    ),
    Way(
        "agent tells an event that makes no sense",
        "a step event whose time is a text",
        "the agent sent an event that makes no sense: step.start_ns is 'now'",
        lambda: once(
            STEP, CLIENT, ignore, {"event": STEP, "path": "0", "step": "x", "outcome": "ok", "start_ns": "now"}
        ),
    ),
    Way(
        "agent answers with less than is needed",
        "the answer to `capture.stop` has a text where the number of packets should be",
        "to capture.stop makes no sense: it.packets is 'many'",
        lambda: edit("capture.stop", SNIFFER, packets="many"),
    ),
    Way(
        "agent floods",
        "an agent sends more events than one run can have",
        "is not heard any more",
        elsewhere="tests/fast/test_hostile_agent.py::test_a_flood_ends",
    ),
    Way(
        "agent differs",
        "the client's agent says that it is made of other files",
        "the agent on client is not this testbed's",
        lambda: edit("hello", CLIENT, agent="00000000"),
        raises=True,
    ),
    Way(
        "image stale",
        "the tag of the host image names an image with another agent",
        "the image is stale",
        elsewhere="tests/lab/test_stale_image.py::test_an_image_with_another_agent_is_refused",
        raises=True,
    ),
    # doing: the wire
    Way(
        "wrong qdisc",
        "a qdisc removed, added, or changed while the client plays; the emulator killed; its device set down",
        "the impaired link of server",
        elsewhere="tests/lab/test_wire_spoiled.py::test_meddled_on_netns",
    ),
    Way(
        "emulator killed",
        "SIGKILL of the process that impairs the wire",
        "the impaired link of server",
        elsewhere="tests/lab/test_wire_spoiled.py::test_meddled_on_netns",
    ),
    Way(
        "emulator too slow",
        "packets that the emulator lost by itself",
        "it was too slow for this traffic",
        elsewhere="tests/thorough/test_verdict_wire.py::test_link_that_was_changed_behind_our_back",
    ),
    Way(
        "wire slower than asked",
        "half of the packets took 100 ms longer than the delay asked for",
        "were asked for from client to server",
        elsewhere="tests/thorough/test_verdict_wire.py::test_wire_that_did_something_else",
    ),
    Way(
        "wire not read back",
        "the server's link is not heard of at the end",
        "the agent on server says: gone",
        lambda: refuse("wire.read", SERVER, "gone"),
    ),
    # around the run
    Way(
        "lab not taken down",
        "the backend says that it could not",
        "the lab could not be taken down: a network is still in use",
        lambda: edit("none", CLIENT),
        refuses_to_close="a network is still in use",
    ),
    Way(
        "results folder gone",
        "the results are removed while the client plays",
        "cannot be written",
        elsewhere="tests/lab/test_honest_unknowns.py::test_results_gone",
        raises=True,
    ),
    Way(
        "disk full",
        "no room before the lab is up, or at one of the files of the results, on netns and on compose",
        "the disk is full",
        elsewhere="tests/lab/test_honest_unknowns.py::test_disk_full",
        raises=True,
    ),
    Way(
        "engine gone",
        "no engine answers, or it ends in the middle of a suite",
        "no Docker engine answers",
        elsewhere="tests/lab/test_compose_bad_luck.py::test_no_engine",
        raises=True,
    ),
    Way(
        "engine stopped in mid-run",
        "its daemon ends by SIGTERM, or by SIGKILL, while the client plays, and is started again",
        "the Docker engine does not answer any more",
        elsewhere="tests/lab/test_torture.py::test_engine_restarted",
        raises=True,
    ),
)

PROVOKED = tuple(way for way in WAYS if way.meddler is not None)


def write_scenario(folder: Path, scenario: Mapping[str, Any] = SCENARIO) -> Path:
    """The scenario that all of them are played with, as a file (JSON is YAML)."""
    path = folder / "paused.yaml"
    path.write_text(json.dumps(scenario))
    return path


def undisturbed() -> Way:
    """Nobody meddles: what the others find is not there by itself."""
    return replace(WAYS[0], name="undisturbed", says="", meddler=lambda: edit("none", CLIENT))
