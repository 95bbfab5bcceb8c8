"""The merged trace: all vantage points in order of time, nothing left out but the canaries; and the judgement on it."""

from __future__ import annotations

from dataclasses import replace

from verdict_story import START_NS, Story, deaf, hola, troubled, with_records

from testbed.evidence import WIRE, CaptureCount, Evidence, HostFacts, Problem, dump_records, load_records
from testbed.pcap.frame import Capture, Direction, Frame, Interface, InterfaceStatistics
from testbed.pcap.reader import read_capture
from testbed.pcap.writer import write_capture
from testbed.result import result_json
from testbed.verdict.judge import judge, sum_up
from testbed.verdict.merge import merge
from testbed.verdict.value import Check, Outcome

CANARY = bytes(12) + b"\x88\xb5" + b"testbed canary start 1"


def losing() -> Story:
    """A story with a link, a fault and a retransmission."""
    story = Story(
        {
            "wire": {"delay": "10ms"},
            "faults": [{"drop": "SYN", "from": "client", "nth": 1}],
            "expect": {"handshake": {"outcome": "complete", "syn_retransmits": 1}},
        }
    )
    story.tcp(0, "client", "S", fault=0)
    story.tcp(1000, "client", "S")
    story.tcp(1020, "server", "S.", 0, 1)
    story.tcp(1040, "client", ".", 1, 1)
    story.talk(1050)
    story.play()
    return story


def test_one_interface_per_vantage_point() -> None:
    """The wire comes first, then each host and what is behind its link; names and places are told."""
    trace = merge(losing().evidence())
    assert [interface.name for interface in trace.interfaces] == [
        "wire",
        "server",
        "server:link0",
        "client",
        "client:link0",
    ]
    assert trace.interfaces[1].description == "eth0 of server, 198.18.0.3"
    assert trace.interfaces[2].description == "behind the impaired link of server: what was delivered"
    assert [(one.interface, one.dropped) for one in trace.statistics] == [(n, 0) for n in range(5)]


def test_nothing_is_left_out_but_canaries() -> None:
    """Each vantage point keeps its frames, in their order; ARP stays, canaries go."""
    story = hola()
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    story.frames[WIRE] += [Frame(START_NS - 1, CANARY, len(CANARY)), Frame(START_NS - 2, arp, len(arp))]
    trace = merge(story.evidence())
    assert len(trace.frames) == sum(map(len, story.frames.values())) - 1
    assert trace.frames[0].data == arp
    assert [frame.time_ns for frame in trace.frames] == sorted(frame.time_ns for frame in trace.frames)


def test_equal_times_follow_the_way() -> None:
    """At one time a packet is told in the order of its way: sender, wire, receiver, behind the link."""
    story = losing()
    data = story.frames[WIRE][0].data
    story.frames = {name: [] for name in story.frames}
    for vantage, direction in (
        ("server:link0", Direction.IN),
        ("server", Direction.IN),
        (WIRE, Direction.IN),
        ("client", Direction.OUT),
    ):
        story.see(vantage, 0, data, direction)
    trace = merge(story.evidence())
    names = [trace.interfaces[frame.interface].name for frame in trace.frames]
    assert names == ["client", "wire", "server", "server:link0"]


def test_capture_with_several_interfaces() -> None:
    """A vantage point whose file describes several interfaces keeps them apart, all under its name."""
    evidence = hola().evidence()
    data = evidence.captures[WIRE].frames[0].data
    frames = (Frame(START_NS, data, len(data), 1), Frame(START_NS + 1, data, len(data), 0))
    wire = Capture((Interface("a"), Interface("b")), frames, (InterfaceStatistics(1, 5, 2),))
    trace = merge(replace(evidence, captures={WIRE: wire}))
    assert [interface.name for interface in trace.interfaces] == ["wire", "wire"]
    assert [frame.interface for frame in trace.frames] == [1, 0]
    assert trace.statistics == (InterfaceStatistics(1, 5, 2),)


def test_order_of_captures_is_of_no_matter() -> None:
    """The same captures in another order give the same trace and the same result, byte for byte."""
    evidence = losing().evidence()
    other = replace(evidence, captures=dict(reversed(list(evidence.captures.items()))))
    assert result_json(judge(other)) == result_json(judge(evidence))
    assert judge(other).trace == judge(evidence).trace


def test_stored_evidence_gives_the_same_result() -> None:
    """Evidence written and read again is judged the same, byte for byte; so is a second look at it."""
    evidence = losing().evidence()
    records = load_records(dump_records(evidence.records))
    captures = {name: read_capture(write_capture(capture)) for name, capture in sorted(evidence.captures.items())}
    stored = Evidence(evidence.scenario, records, captures)
    first = judge(evidence)
    assert result_json(judge(stored)) == result_json(first) == result_json(judge(evidence))
    assert write_capture(judge(stored).trace) == write_capture(first.trace)


def test_trace_says_what_it_is() -> None:
    """The section's comment names scenario and verdict; a failed check is noted on its packets."""
    judgement = hola({"handshake": {"outcome": "refused"}}).judge()
    assert judgement.trace.comments == ("scenario story: failed",)
    noted = [number for number, frame in enumerate(judgement.trace.frames, 1) if frame.comments]
    assert noted == [2, 5, 8]
    said = "check handshake.outcome failed: expected refused, seen complete"
    assert read_capture(write_capture(judgement.trace)).frames[1].comments == (said,)
    unseen = judge(deaf(hola({"handshake": {"outcome": "refused"}}).evidence()))
    assert not any(frame.comments for frame in unseen.trace.frames)


def test_connections_are_numbered_as_the_trace() -> None:
    """Connections come from the wire alone, and speak in packet numbers of the trace."""
    judgement = hola().judge()
    (connection,) = judgement.connections
    names = {
        judgement.trace.interfaces[judgement.trace.frames[number - 1].interface].name for number in connection.packets
    }
    assert names == {"wire"}
    assert len(connection.packets) == 8


def test_sum_up() -> None:
    """Failed outweighs unknown, and unknown outweighs passed."""

    def verdict(*outcomes: Outcome) -> Outcome:
        return sum_up(Check("x", outcome, "", "") for outcome in outcomes)

    assert verdict(Outcome.PASSED, Outcome.UNKNOWN, Outcome.FAILED) is Outcome.FAILED
    assert verdict(Outcome.PASSED, Outcome.UNKNOWN) is Outcome.UNKNOWN
    assert verdict(Outcome.PASSED) is Outcome.PASSED
    assert verdict() is Outcome.PASSED


def test_problems_come_first() -> None:
    """A problem makes the verdict unknown although a check would have failed; several are all told."""
    evidence = with_records(troubled(hola({"connections": 5}).evidence()), Problem("wire", "deaf"))
    judgement = judge(evidence)
    assert judgement.verdict is Outcome.UNKNOWN
    assert {check.why for check in judgement.checks} == {"server: the agent is gone; wire: deaf"}
    idle = Story({"hosts": {"client": {}, "server": {}}})
    assert idle.judge().verdict is Outcome.PASSED
    assert judge(troubled(idle.evidence())).verdict is Outcome.UNKNOWN


def test_lab_that_never_came_up() -> None:
    """Without any host the verdict is unknown, and nothing breaks."""
    evidence = hola({"connections": 1, "states": {"client": ["ESTABLISHED"]}}).evidence()
    left = tuple(record for record in evidence.records if not isinstance(record, HostFacts | CaptureCount))
    judgement = judge(Evidence(evidence.scenario, left[:1], {}))
    assert judgement.verdict is Outcome.UNKNOWN
    assert all("no host came up" in check.why for check in judgement.checks)
