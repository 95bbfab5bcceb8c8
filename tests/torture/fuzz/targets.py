"""What is fuzzed: each target takes any bytes, and nothing but a typed error may come of them.

A target is a row of TARGETS: its function, and where the inputs come from that the fuzzer starts with.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
for folder in ("tests/fast", "tests/thorough", "tests/torture"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))

from testbed.analyze import analyze_capture  # noqa: E402
from testbed.decode import decode  # noqa: E402
from testbed.errors import TestbedError  # noqa: E402
from testbed.lab import hearing  # noqa: E402
from testbed.lab.agents import _parse  # noqa: E402
from testbed.pcap.frame import Capture, Frame, Interface, LinkType  # noqa: E402
from testbed.scenario.read import read_scenario  # noqa: E402
from testbed.scenario.write import write_scenario  # noqa: E402

IN_FULL = 499  # every so many lines of an agent a whole run is played with them, which takes a thousand times as long
_lines = 0


def read_yaml(data: bytes) -> None:
    """A scenario file; one that is read is written, and reads back equal."""
    try:
        scenario = read_scenario(data, "fuzz.yaml")
    except TestbedError:
        return
    assert read_scenario(write_scenario(scenario).encode(), "again.yaml") == scenario


def read_capture_file(data: bytes) -> None:
    """A pcap or pcapng file, plain or gzipped: read, decoded, its connections followed, in both ways that we have."""
    try:
        analysis = analyze_capture(data, "x", columns=False)
    except TestbedError:
        return
    fast = analyze_capture(data, "x", columns=True)
    assert (fast.packets, fast.warnings) == (analysis.packets, analysis.warnings)
    assert len(fast.connections) == len(analysis.connections)


def decode_frames(data: bytes) -> None:
    """Frames of any link type: the first byte chooses it, each frame has its length in front."""
    kinds = list(LinkType)
    kind = kinds[data[0] % len(kinds)] if data else kinds[0]
    frames, rest = list[Frame](), data[1:]
    while rest:
        frame, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        frames.append(Frame(len(frames), frame, len(frame)))
    decoded = decode(Capture((Interface("x", link_type=kind),), tuple(frames)))
    assert len(decoded.packets) + sum(count for _, count in decoded.skipped) == len(frames)


def hear_agent(data: bytes) -> None:
    """Lines of an agent: messages or problems; now and then a whole run in which they are said."""
    global _lines
    for line in data.split(b"\n"):
        message = _parse(line)
        says = hearing.event_misfit(message) if "event" in message else ""
        assert says.isprintable() or not says.isascii()
        for shape in hearing.ANSWERS.values():
            hearing.misfit(message.get("ok"), shape, "it")
    _lines += 1
    if _lines % IN_FULL == 0:
        from saying import listen_to

        listen_to(data + b"\n")


def _scenarios() -> Iterator[bytes]:
    for path in sorted([*(ROOT / "scenarios").rglob("*.yaml"), *(ROOT / "tests" / "errors").glob("*.yaml")]):
        yield path.read_bytes()


def _captures() -> Iterator[bytes]:
    from mutations import make_seeds

    yield from make_seeds()


def _frames() -> Iterator[bytes]:
    from conversations import make_frames

    for seed in range(8):
        short = [data for _, data, _ in make_frames(seed, talks=2, bad_luck=0.1)[:12] if len(data) < 256]
        yield b"\0" + b"".join(bytes([len(data)]) + data for data in short)


def _messages() -> Iterator[bytes]:
    from saying import MESSAGES

    yield from (json.dumps(message).encode() for message in MESSAGES)


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that is fuzzed."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]
    longest: int  # bytes of an input


TARGETS: Mapping[str, Target] = {
    "yaml": Target(read_yaml, _scenarios, 4096),
    "capture": Target(read_capture_file, _captures, 16384),
    "decode": Target(decode_frames, _frames, 2048),
    "agent": Target(hear_agent, _messages, 2048),
}


def kept(target: str) -> Iterator[tuple[str, bytes]]:
    """The inputs that are kept of a target, by name: its corpus, and what once broke it."""
    for folder in ("corpus", "crashers"):
        for path in sorted((HERE / folder / target).glob("*")):
            yield f"{folder}/{target}/{path.name}", path.read_bytes()
