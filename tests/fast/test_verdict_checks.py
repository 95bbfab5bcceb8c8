"""Every kind of check: evidence that passes it, evidence that must fail it, and evidence that must leave it unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from random import Random
from typing import Any

import pytest
from verdict_story import (
    HOLA,
    START_NS,
    STEPS,
    Story,
    deaf,
    find,
    hola,
    short,
    shortened,
    torn,
    troubled,
    uncaptured,
    with_records,
    without,
)

from testbed.evidence import Counters, Evidence, ProgramEnd, StateSample, StepOutcome
from testbed.scenario.model import Expect, ExpectHandshake, ExpectTeardown
from testbed.verdict.host_checks import ALSO_BY, MOVES, may_hide
from testbed.verdict.judge import judge
from testbed.verdict.value import Outcome

LOSSES = [{"drop": kind, "from": host, "nth": 1} for kind, host in
          (("SYN", "client"), ("SYN-ACK", "server"), ("DATA", "client"), ("FIN", "client"))]  # fmt: skip


def losses(expect: dict[str, Any]) -> Story:
    """A connection whose every first copy of SYN, SYN-ACK, data and FIN is lost; retransmissions bring it through."""
    story = Story({"expect": expect, "wire": {"delay": "10ms"}, "faults": LOSSES})
    story.tcp(0, "client", "S", fault=0)
    story.tcp(1000, "client", "S")
    story.tcp(1011, "server", "S.", 0, 1, fault=1)
    story.tcp(2000, "server", "S.", 0, 1)
    story.tcp(2020, "client", ".", 1, 1)
    story.tcp(2030, "client", "P.", 1, 1, HOLA, fault=2)
    story.tcp(2230, "client", "P.", 1, 1, HOLA)
    story.tcp(2250, "server", ".", 1, 28)
    story.tcp(2260, "client", "F.", 28, 1, fault=3)
    story.tcp(2460, "client", "F.", 28, 1)
    story.tcp(2480, "server", "F.", 1, 29)
    story.tcp(2500, "client", ".", 29, 2)
    story.play()
    return story


def reset(expect: dict[str, Any]) -> Story:
    """A connection that the client resets."""
    story = Story({"expect": expect})
    story.open()
    story.tcp(10, "client", "R.", 1, 1)
    story.play()
    return story


def two(expect: dict[str, Any]) -> Story:
    """Two clients in turn; the second leaves its connection half-open."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    story = Story({"expect": expect, "hosts": hosts})
    story.open()
    story.tcp(20, "client-2", "S", port=40001, client="client-2")
    story.tcp(21, "server", "S.", 0, 1, port=40001, client="client-2")
    story.play()
    return story


def datagrams(expect: dict[str, Any]) -> Story:
    """A datagram each way."""
    story = Story({"expect": expect})
    story.udp(0, "client", b"ping")
    story.udp(1, "server", b"pong", (7456, 40000))
    story.play()
    return story


def states(expect: dict[str, Any]) -> Story:
    """The client's socket walks its life; the handshake was too quick to see SYN_SENT."""
    story = hola(expect)
    for at, before, after in (
        (2, "CLOSE", "ESTABLISHED"),
        (12, "ESTABLISHED", "FIN_WAIT1"),
        (13, "FIN_WAIT1", "FIN_WAIT2"),
        (14, "FIN_WAIT2", "TIME_WAIT"),
    ):
        story.state("client", at, before, after)
    return story


def printed(expect: dict[str, Any]) -> Story:
    """The server prints two lines."""
    story = hola(expect)
    story.log("server", "Got connection from ('198.18.0.2', 40000)")
    story.log("server", "Goodbye")
    return story


def counted(expect: dict[str, Any]) -> Story:
    """The server's kernel counts two timeouts, and does not know what a PLB rehash is."""
    story = hola(expect)
    story.records.append(Counters("server", {"TcpExtTCPTimeouts": 2}, ("TcpExtTCPPLBRehash",)))
    return story


def tabled(expect: dict[str, Any]) -> Story:
    """The server takes a snapshot of its table."""
    steps = [{"listen": 7456}, "accept", {"snapshot": "table"}]
    story = Story({"expect": expect, "hosts": {**STEPS, "server": {"steps": steps}}})
    story.open()
    story.snapshot(
        "server",
        "table",
        ("LISTEN", "0.0.0.0:7456", "0.0.0.0:0"),
        ("ESTABLISHED", "198.18.0.3:7456", "198.18.0.2:40000"),
    )
    story.play()
    return story


@dataclass(frozen=True)
class Case:
    """A check, an expectation that the story fulfils, one that it does not, and what the reason must name."""

    name: str
    story: Callable[[dict[str, Any]], Story]
    passes: Any
    fails: Any
    says: str


def expect(name: str, wanted: Any) -> dict[str, Any]:
    """`handshake.outcome` and a value as `expect:` holds them."""
    if name.startswith("counters."):
        wanted, name = {name.rpartition(".")[2]: wanted}, name.rpartition(".")[0]
    first, dot, rest = name.partition(".")
    return {first: {rest: wanted} if dot else wanted}


ON_PACKETS = (
    Case("connections", hola, 1, 2, "packet 2 at 0.000 s on wire is SYN from client"),
    Case("handshake.outcome", hola, "complete", "refused", "packet 5 at 0.001 s on wire is SYN-ACK from server"),
    Case("handshake.duration", hola, "1.9ms..2.1ms", "..1ms", "2ms instead of ..1ms: packet 2 at 0.000 s"),
    Case("handshake.syns", losses, 2, 1, "is SYN again from client"),
    Case("handshake.syn_acks", losses, "2..3", 1, "at 2.000 s on wire is SYN-ACK again from server"),
    Case("handshake.syn_retransmits", losses, 1, 0, "at 1.000 s on wire is SYN again from client"),
    Case("handshake.synack_retransmits", losses, 1, "2..", "SYN-ACK from server (lost: fault 1: drop SYN-ACK)"),
    Case("teardown.kind", hola, "fin", "rst", "packet 17 at 0.012 s on wire is FIN from client"),
    Case("teardown.closed_first", hola, "client", "server", "packet 17 at 0.012 s on wire is FIN from client"),
    Case("teardown.fin_retransmits", losses, 1, 0, "at 2.460 s on wire is FIN again from client"),
    Case("teardown.reset_by", reset, "client", "server", "packet 11 at 0.010 s on wire is RST from client"),
    Case("payload.client->server", hola, HOLA.decode(), "Hola servar", "byte 9 is the first that differs"),
    Case("payload.server->client", hola, "", "Nothing", "it ends after 0 of 7 bytes"),
    Case("bytes.client->server", hola, 27, "28..", "packet 11 at 0.010 s on wire is DATA of 27 bytes from client"),
    Case("bytes.server->client", hola, 0, 1, "the last is: packet 23"),
    Case("retransmits.client", losses, 1, 0, "DATA of 27 bytes again from client"),
    Case("retransmits.server", losses, 0, 1, "the last is: packet"),
    Case("conn_state", hola, "SF", "S0", "packet 2 at 0.000 s on wire is SYN"),
    Case("history", hola, "ShADaFf", "ShR", "packet 2 at 0.000 s on wire is SYN"),
    Case("completeness", hola, 31, 37, "packet 2 at 0.000 s on wire is SYN"),
    Case("datagrams.client->server", datagrams, ["ping"], ["pong"], "packet 2 at 0.000 s on wire is a UDP datagram"),
    Case("datagrams.server->client", datagrams, ["pong"], [], "1 datagrams more than expected: packet 5"),
)
ON_WIRE = (
    Case("lost.client->server", losses, "2..", 0, "lost: fault"),
    Case("duplicated.client->server", hola, 0, 1, "none was duplicated"),
    Case("corrupted.client->server", hola, 0, "1..", "none was corrupted"),
    Case("faults.0", losses, "1..", 5, "fired 1 times"),
    Case("delay.client->server", hola, "..1ms", "5ms..", "5 of 5 packets took another time; packet 2 at 0.000 s"),
)
ON_HOSTS = (
    Case("states.client", states, ["ESTABLISHED", "FIN_WAIT1", "TIME_WAIT"], ["TIME_WAIT", "CLOSE"],
         "no socket of client was seen to enter CLOSE after TIME_WAIT"),
    Case("snapshots.table", tabled, {"states": {"ESTABLISHED": 1, "LISTEN": "1.."}, "listening": ["0.0.0.0:7456"]},
         {"states": {"ESTABLISHED": 5}}, "has 1 sockets in ESTABLISHED; its rows: LISTEN 0.0.0.0:7456"),
    Case("counters.server.TCPTimeouts", counted, 2, "..1",
         "server counted TcpExtTCPTimeouts 2 times instead of ..1; of TCP it counted TcpExtTCPTimeouts 2"),
    Case("logs.server", printed, ["Got connection from (*, 40000)", "Goodbye"], ["Goodbye", "Got connection*"],
         "server did not print 'Got connection*' after 'Goodbye'"),
)  # fmt: skip
ALL = (*ON_PACKETS, *ON_WIRE, *ON_HOSTS)
BLIND: dict[str, tuple[Callable[[Evidence], Evidence], str]] = {
    "dropped": (deaf, "missed 3 packets"),
    "absent": (uncaptured, "nothing was captured on the wire"),
    "torn": (torn, "the file ends inside a block"),
    "short": (short, "packets that it counted"),
}


def name_of(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_fulfilled(case: Case) -> None:
    """What the evidence fulfils is passed, without a reason, with the scenario's line."""
    story = case.story(expect(case.name, case.passes))
    check = find(story.judge(), case.name)
    assert (check.verdict, check.why) == (Outcome.PASSED, "")
    assert check.line == story.lines[f"expect.{case.name}"]


@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_not_fulfilled(case: Case) -> None:
    """What the evidence speaks against is failed; the reason names packet or host, the check the scenario's line."""
    story = case.story(expect(case.name, case.fails))
    judgement = story.judge()
    check = find(judgement, case.name)
    assert check.verdict is Outcome.FAILED
    assert case.says in check.why
    assert check.line == story.lines[f"expect.{case.name}"]
    assert judgement.verdict is Outcome.FAILED


COUNTED = tuple(case for case in ON_WIRE if case.name != "faults.0")


@pytest.mark.parametrize("blindness", BLIND)
@pytest.mark.parametrize("case", [*ON_PACKETS, *COUNTED], ids=name_of)
def test_not_seen(case: Case, blindness: str) -> None:
    """What rests on packets is unknown, with the reason, when the wire was not wholly seen, whatever was seen of it."""
    spoil, says = BLIND[blindness]
    for wanted in (case.passes, case.fails):
        check = find(judge(spoil(case.story(expect(case.name, wanted)).evidence())), case.name)
        assert check.verdict is Outcome.UNKNOWN
        assert says in check.why


@pytest.mark.parametrize("blindness", BLIND)
@pytest.mark.parametrize("case", ON_HOSTS, ids=name_of)
def test_seen_elsewhere(case: Case, blindness: str) -> None:
    """What hosts showed is judged though the wire was not wholly seen."""
    for wanted, verdict in ((case.passes, Outcome.PASSED), (case.fails, Outcome.FAILED)):
        evidence = BLIND[blindness][0](case.story(expect(case.name, wanted)).evidence())
        assert find(judge(evidence), case.name).verdict is verdict


def test_every_doubt_is_told() -> None:
    """Of several reasons to doubt each is told, once, the lab's first."""
    story = hola({"payload": {"client->server": "x"}})
    told = torn(deaf(troubled(troubled(shortened(story.evidence(), 54)))))
    assert find(judge(told), "payload.client->server").why == (
        "server: the agent is gone; the capture on the wire missed 3 packets, which the kernel dropped; the capture of "
        "the wire is not whole: the file ends inside a block; the capture of the wire holds 8 of the 9 packets that it "
        "counted; 1 packets on the wire were cut, the first is packet 11"
    )


@pytest.mark.parametrize("case", ALL, ids=name_of)
def test_broken_lab(case: Case) -> None:
    """A lab that had a problem makes every check unknown, with the problem's words; what was seen is still told."""
    seen = find(case.story(expect(case.name, case.fails)).judge(), case.name)
    judgement = judge(troubled(case.story(expect(case.name, case.fails)).evidence()))
    check = find(judgement, case.name)
    assert (check.verdict, judgement.verdict) == (Outcome.UNKNOWN, Outcome.UNKNOWN)
    assert check.why == "server: the agent is gone"
    assert (check.expected, check.seen) == (seen.expected, seen.seen)


def test_every_expectation_is_in_the_table() -> None:
    """No key of `expect:` is without a check, and a case for it here."""
    nested = {
        *(f"handshake.{key}" for key in ExpectHandshake.model_fields),
        *(f"teardown.{key}" for key in ExpectTeardown.model_fields),
    }
    wanted = {*Expect.model_fields, *nested} - {"handshake", "teardown", "by_kernel"}
    named = {case.name for case in ALL}
    assert wanted == {name if name in wanted else name.partition(".")[0] for name in named}


def test_what_a_kernel_does_not_count() -> None:
    """A counter that the host's kernel lacks is unknown; one that did not change has counted 0."""
    check = find(counted(expect("counters.server.TCPPLBRehash", 0)).judge(), "counters.server.TCPPLBRehash")
    assert (check.verdict, check.why) == (Outcome.UNKNOWN, "the kernel of server does not count TcpExtTCPPLBRehash")
    assert find(counted(expect("counters.server.ListenDrops", 0)).judge(), "counters.server.ListenDrops").seen == "0"
    unread = find(hola(expect("counters.server.ListenDrops", 0)).judge(), "counters.server.ListenDrops")
    assert (unread.verdict, unread.why) == (Outcome.UNKNOWN, "the counters of server were not read")


def test_what_some_kernels_do() -> None:
    """What the range of the hosts' kernel says is laid over the rest, and its checks name its own lines."""
    ranges = [
        {"kernel": "6.5..", "handshake": {"syns": 1}, "conn_state": "SF"},
        {"kernel": "..6.4", "handshake": {"syns": 5}},
    ]
    story = hola({"handshake": {"outcome": "complete", "syns": 7}, "by_kernel": ranges})
    judgement = story.judge()
    assert judgement.verdict is Outcome.PASSED
    assert find(judgement, "handshake.syns").line == story.lines["expect.by_kernel.0.handshake.syns"]
    assert find(judgement, "conn_state").line == story.lines["expect.by_kernel.0.conn_state"]
    assert find(judgement, "handshake.outcome").line == story.lines["expect.handshake.outcome"]


@pytest.mark.parametrize("name", ["payload.client->server", "datagrams.client->server"])
def test_cut_payload(name: str) -> None:
    """A capture that kept only the headers leaves payload unknown, and nothing else."""
    story = hola({"payload": {"client->server": HOLA.decode()}, "bytes": {"client->server": 27}})
    story.udp(50, "client", b"a datagram of some length")
    told = Story({**story.told, "expect": {**story.told["expect"], "datagrams": {"client->server": ["x"]}}})
    told.frames, told.records = story.frames, story.records
    judgement = judge(shortened(told.evidence(), 14 + 20 + 20))
    assert find(judgement, name).verdict is Outcome.UNKNOWN
    assert "were cut, the first is packet" in find(judgement, name).why
    assert find(judgement, "bytes.client->server").verdict is Outcome.PASSED


def test_hole_in_the_stream() -> None:
    """A stream with a piece that was never captured is unknown, not different."""
    story = Story({"expect": {"payload": {"client->server": "abcdef"}}})
    story.open()
    story.tcp(10, "client", "P.", 4, 1, b"def")
    story.tcp(11, "server", ".", 1, 7)
    story.play()
    check = find(story.judge(), "payload.client->server")
    assert check.verdict is Outcome.UNKNOWN
    assert "never captured" in check.why


def test_no_connection_at_all() -> None:
    """Expectations about connections are not fulfilled by there being none."""
    story = Story({"expect": {"handshake": {"syn_retransmits": "0.."}, "payload": {"client->server": "x"}}})
    story.play()
    judgement = story.judge()
    for name in ("handshake.syn_retransmits", "payload.client->server"):
        assert (find(judgement, name).verdict, find(judgement, name).seen) == (Outcome.FAILED, "no connection")


def test_several_connections() -> None:
    """Every connection must satisfy; the first that does not is named by its client's port."""
    check = find(two({"handshake": {"outcome": "complete"}}).judge(), "handshake.outcome")
    assert check.verdict is Outcome.FAILED
    assert check.seen == "half-open (client port 40001; 1 of 2 connections)"
    assert "from client-2 port 40001" in check.why
    assert find(two({"handshake": {"syns": 1}}).judge(), "handshake.syns").seen == "1 (2 connections)"


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        ({"random": 27, "seed": 5}, Outcome.PASSED),
        ({"random": 27, "seed": 6}, Outcome.FAILED),
        ({"hex": Random(5).randbytes(27).hex()}, Outcome.PASSED),
        ({"hex": "00"}, Outcome.FAILED),
    ],
)
def test_payload_notations(wanted: dict[str, Any], verdict: Outcome) -> None:
    """Random bytes are those of the seed; hex is read as bytes."""
    story = Story({"expect": {"payload": {"client->server": wanted}}})
    story.open()
    story.talk(data=Random(5).randbytes(27))
    story.play()
    assert find(story.judge(), "payload.client->server").verdict is verdict


@pytest.mark.parametrize(
    ("outcome", "digest", "verdict", "says"),
    [
        ("ok", sha256(HOLA).hexdigest(), Outcome.PASSED, ""),
        ("ok", sha256(b"x").hexdigest(), Outcome.FAILED, "is not file hola.txt: 27 bytes"),
        ("error", sha256(HOLA).hexdigest(), Outcome.FAILED, "the step that sends it ended with EPIPE"),
        (None, "", Outcome.UNKNOWN, "what file hola.txt holds is not known"),
    ],
)
def test_payload_of_a_file(outcome: str | None, digest: str, verdict: Outcome, says: str) -> None:
    """A file's content is known by what the step that sent it told: bytes and SHA-256."""
    steps = [{"send": {"file": "hola.txt"}}]
    hosts = {**STEPS, "client": {"steps": steps}}
    story = Story({"hosts": hosts, "expect": {"payload": {"client->server": {"file": "hola.txt"}}}})
    story.open()
    story.talk()
    evidence = story.evidence()
    if outcome:
        errno = "EPIPE" if outcome == "error" else None
        sent = StepOutcome("client", "0", "send", outcome, START_NS, START_NS, (), errno, bytes=27, sha256=digest)
        evidence = with_records(evidence, sent)
    check = find(judge(evidence), "payload.client->server")
    assert check.verdict is verdict
    assert says in check.why


def test_state_between_two_samples() -> None:
    """A state that the sampler may have jumped over is unknown; one that it cannot have is failed."""
    hidden = find(states({"states": {"client": ["SYN_SENT", "ESTABLISHED"]}}).judge(), "states.client")
    assert hidden.verdict is Outcome.UNKNOWN
    assert "went from CLOSE to ESTABLISHED, and may have been in SYN_SENT unseen" in hidden.why
    for wanted in (["ESTABLISHED", "CLOSE_WAIT"], ["ESTABLISHED", "SYN_SENT"]):
        assert find(states({"states": {"client": wanted}}).judge(), "states.client").verdict is Outcome.FAILED


def test_moves_lead_somewhere() -> None:
    """The table names only states that it knows; a direct move hides nothing, but where a longer way is as quick."""
    assert {after for moves in MOVES.values() for after in moves} <= set(MOVES)
    direct = [(before, after) for before in MOVES for after in MOVES[before] if (before, after) not in ALSO_BY]
    assert not any(may_hide(before, after, state) for before, after in direct for state in MOVES)
    assert may_hide("SYN_RECV", "FIN_WAIT1", "ESTABLISHED")
    assert not may_hide("SYN_RECV", "FIN_WAIT1", "CLOSE_WAIT")
    assert may_hide("FIN_WAIT1", "TIME_WAIT", "FIN_WAIT2")


@pytest.mark.parametrize("name", ["states.client", "snapshots.table"])
@pytest.mark.parametrize(("failed", "verdict"), [(True, Outcome.FAILED), (False, Outcome.UNKNOWN)])
def test_missing_evidence_of_a_host(name: str, failed: bool, verdict: Outcome) -> None:
    """No samples, no snapshot: failed when the program failed before, unknown when we cannot tell why."""
    steps = [{"connect": "server:7456"}, {"snapshot": "table"}]
    wanted = {"states": {"client": ["ESTABLISHED"]}, "snapshots": {"table": {"states": {"ESTABLISHED": 1}}}}
    story = Story({"hosts": {**STEPS, "client": {"steps": steps}}, "expect": wanted})
    if failed:
        story.do_steps("client", only=1, outcome="error", errno="ECONNREFUSED", says="Connection refused")
        story.end("client", 1)
    else:
        story.play()
    check = find(story.judge(), name)
    assert check.verdict is verdict
    assert ("ended with ECONNREFUSED" in check.why) is failed


def test_lines_of_a_program_never_heard() -> None:
    """Lines are unknown when nothing at all was heard of the program."""
    evidence = without(without(hola({"logs": {"server": ["Got*"]}}).evidence(), StepOutcome), ProgramEnd)
    check = find(judge(evidence), "logs.server")
    assert check.verdict is Outcome.UNKNOWN
    assert "nothing was heard of its program" in check.why


def test_states_of_replicas() -> None:
    """A role's expectation is about every replica; the one that does not fulfil it is named."""
    story = two({"states": {"client": ["ESTABLISHED"]}})
    story.state("client", 2, "SYN_SENT", "ESTABLISHED")
    story.records.append(StateSample("client-2", START_NS, "a b", "CLOSE", "SYN_SENT"))
    check = find(story.judge(), "states.client")
    assert check.verdict is Outcome.FAILED
    assert "no socket of client-2 was seen to enter ESTABLISHED" in check.why


def test_difference_is_found_in_its_packet() -> None:
    """The packet that carried the first wrong byte is named, also when it is the packet's first."""
    story = Story({"expect": {"payload": {"client->server": "abcXef"}}})
    story.open()
    story.tcp(10, "client", "P.", 1, 1, b"abc")
    story.tcp(11, "client", "P.", 4, 1, b"def")
    story.play()
    check = find(story.judge(), "payload.client->server")
    assert check.packets == (14,)
    assert "packet 14 at 0.011 s on wire is DATA of 3 bytes from client" in check.why
