"""What a host's kernel and program showed, against what was expected of them: states, tables, lines and counters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from verdict_story import START_NS, STEPS, Story, find, with_records

from testbed.evidence import Counters, LogLine, StateSample, TableRow, TableSnapshot
from testbed.scenario.model import ExpectSnapshot
from testbed.verdict.host_checks import MOVES, find_in_order, matches, may_hide, show
from testbed.verdict.judge import judge
from testbed.verdict.value import Check, Outcome

MS = 1_000_000
SOCKET = "198.18.0.2:40000 198.18.0.3:7456"
TWO = {"hosts": {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}}
SNAPS = [{"snapshot": "table"}, {"repeat": 2, "steps": [{"parallel": 2, "steps": [{"snapshot": "inner"}]}]}]


def told(expect: dict[str, Any], *records: Any, **more: Any) -> Story:
    """A run whose programs went well, of which this was seen."""
    story = Story({"expect": expect, **more})
    story.play()
    story.records += records
    return story


def state(at_ms: float, before: str, after: str, host: str = "client") -> StateSample:
    """A socket changes its state."""
    return StateSample(host, START_NS + round(at_ms * MS), SOCKET, before, after)


# ---------------------------------------------------------------- states

BY_ALL_MEANS = {  # between two samples, which states a socket may have been in unseen
    ("CLOSE", "ESTABLISHED"): {"SYN_SENT", "SYN_RECV"},
    ("SYN_SENT", "FIN_WAIT1"): {"SYN_RECV", "ESTABLISHED"},
    ("SYN_SENT", "CLOSE_WAIT"): {"SYN_RECV", "ESTABLISHED"},
    ("SYN_RECV", "FIN_WAIT1"): {"ESTABLISHED"},
    ("SYN_RECV", "CLOSE_WAIT"): {"ESTABLISHED"},
    ("ESTABLISHED", "TIME_WAIT"): {"FIN_WAIT1", "FIN_WAIT2", "CLOSING"},
    ("ESTABLISHED", "FIN_WAIT2"): {"FIN_WAIT1"},
    ("ESTABLISHED", "LAST_ACK"): {"CLOSE_WAIT"},
    ("FIN_WAIT1", "TIME_WAIT"): {"FIN_WAIT2", "CLOSING"},
    ("CLOSE_WAIT", "CLOSE"): set(),
    ("LAST_ACK", "CLOSE"): set(),
    ("TIME_WAIT", "ESTABLISHED"): set(),  # never in the same life
    ("FIN_WAIT1", "CLOSE"): set(),  # a direct move: nothing tells that it was longer
}


@pytest.mark.parametrize("jump", BY_ALL_MEANS)
def test_what_a_jump_hides(jump: tuple[str, str]) -> None:
    """The states on a longer way between the two, and no others."""
    assert {state for state in MOVES if may_hide(*jump, state)} == BY_ALL_MEANS[jump]


def test_states_that_the_table_does_not_have() -> None:
    """A kernel may show a state that RFC 9293 has not: from there, and to there, no way is known."""
    assert not may_hide("BOUND", "CLOSE_WAIT", "ESTABLISHED")
    assert not may_hide("SYN_RECV", "BOUND", "ESTABLISHED")


@pytest.mark.parametrize(
    ("wanted", "seen", "found"),
    [
        ("", "", (0, 0)),
        ("", "abc", (0, 0)),
        ("a", "", (0, 0)),
        ("b", "abc", (1, 2)),
        ("ac", "abcabc", (2, 3)),
        ("ca", "abcabc", (2, 4)),
        ("cba", "abcabc", (2, 5)),
        ("aa", "aba", (2, 3)),
        ("x", "abc", (0, 0)),
    ],
)
def test_in_order(wanted: str, seen: str, found: tuple[int, int]) -> None:
    """How many were found in that order, and how many of those seen it took."""
    assert find_in_order(wanted, seen) == found


LIFE = (state(2, "CLOSE", "ESTABLISHED"), state(12, "ESTABLISHED", "FIN_WAIT1"), state(14, "FIN_WAIT1", "TIME_WAIT"))


@pytest.mark.parametrize(
    ("wanted", "verdict", "why"),
    [
        (["ESTABLISHED", "FIN_WAIT1", "TIME_WAIT"], Outcome.PASSED, ""),
        (["ESTABLISHED", "ESTABLISHED", "TIME_WAIT"], Outcome.PASSED, ""),  # seen once, said twice
        (
            ["SYN_SENT"],
            Outcome.UNKNOWN,
            "no socket of client was seen to enter SYN_SENT; the last change was FIN_WAIT1 to TIME_WAIT at 0.014 s "
            f"({SOCKET}); but between two samples, at 0.002 s, {SOCKET} went from CLOSE to ESTABLISHED, and may have "
            "been in SYN_SENT unseen: give the wire a delay of some milliseconds",
        ),
        (
            ["ESTABLISHED", "FIN_WAIT1", "CLOSE_WAIT"],
            Outcome.FAILED,
            "no socket of client was seen to enter CLOSE_WAIT after ESTABLISHED, FIN_WAIT1; the last change was "
            f"FIN_WAIT1 to TIME_WAIT at 0.014 s ({SOCKET})",
        ),
        # A jump before what was found hides nothing that was to come behind it.
        (["FIN_WAIT1", "SYN_SENT"], Outcome.FAILED, None),
        (["ESTABLISHED", "SYN_SENT"], Outcome.FAILED, None),
        (["FIN_WAIT1", "CLOSING"], Outcome.UNKNOWN, None),
        (["TIME_WAIT", "FIN_WAIT2"], Outcome.FAILED, None),
        (["CLOSE"], Outcome.FAILED, None),
    ],
)
def test_states(wanted: list[str], verdict: Outcome, why: str | None) -> None:
    """States in order; one that may have passed unseen is unknown, one that cannot have is failed."""
    check = find(told({"states": {"client": wanted}}, *reversed(LIFE)).judge(), "states.client")
    assert check.verdict is verdict
    assert check.seen == "[ESTABLISHED, FIN_WAIT1, TIME_WAIT]"
    assert check.expected == f"[{', '.join(dict.fromkeys(wanted))}]"
    assert why is None or check.why == why


def test_states_never_sampled() -> None:
    """Where a host was never sampled nothing is known; another host's samples are not its."""
    story = told({"states": {"client": ["ESTABLISHED"]}}, state(2, "CLOSE", "ESTABLISHED", "server"))
    check = find(story.judge(), "states.client")
    assert (check.verdict, check.seen, check.why) == (Outcome.UNKNOWN, "[]", "no socket of client was ever sampled")


def test_states_of_a_program_in_trouble() -> None:
    """Where the program failed before, its reason and the packets of that are those of the state that never came."""
    story = Story({"expect": {"states": {"client": ["ESTABLISHED"]}}})
    story.tcp(0, "client", "S")
    story.do_steps("client", only=1, outcome="error", errno="ETIMEDOUT", local="198.18.0.2:40000")
    check = find(story.judge(), "states.client")
    assert (check.verdict, check.seen, check.packets) == (Outcome.FAILED, "[]", (2,))
    assert check.why.startswith("no socket of client was ever sampled: step 1 of client (connect) ended with ETIMEDOUT")


@pytest.mark.parametrize(
    ("name", "seen", "verdict"),
    [
        ("client", ("client", "client-2"), Outcome.PASSED),
        ("client", ("client-2",), Outcome.UNKNOWN),
        ("client", ("client",), Outcome.UNKNOWN),
        ("client-2", ("client-2",), Outcome.PASSED),
        ("client-2", ("client",), Outcome.UNKNOWN),
    ],
)
def test_states_of_one_or_all(name: str, seen: tuple[str, ...], verdict: Outcome) -> None:
    """A role stands for all of its hosts, the name of one for itself."""
    records = [state(2, "SYN_SENT", "ESTABLISHED", host) for host in seen]
    story = told({"states": {name: ["ESTABLISHED"]}}, *records, **TWO)
    assert find(story.judge(), f"states.{name}").verdict is verdict


def test_failed_outweighs_unknown() -> None:
    """Of two hosts, the one that certainly was not as expected counts before the one that may have been."""
    records = [state(2, "CLOSE", "ESTABLISHED"), state(2, "ESTABLISHED", "CLOSE", "client-2")]
    check = find(told({"states": {"client": ["SYN_SENT"]}}, *records, **TWO).judge(), "states.client")
    assert check.verdict is Outcome.FAILED
    assert "no socket of client-2" in check.why
    other = find(told({"states": {"client": ["SYN_SENT"]}}, records[0], **TWO).judge(), "states.client")
    assert (other.verdict, "no socket of client was" in other.why) == (Outcome.UNKNOWN, True)


# ---------------------------------------------------------------- snapshots


def table(*rows: tuple[str, str], name: str = "table", host: str = "server") -> TableSnapshot:
    """A table with these states and local ends."""
    return TableSnapshot(host, name, START_NS + 7 * MS, tuple(TableRow(one, local, "*:*") for one, local in rows))


LISTENS, OPEN = ("LISTEN", "0.0.0.0:7456"), ("ESTABLISHED", "198.18.0.3:7456")


def snapshot(wanted: dict[str, Any], *tables: TableSnapshot, name: str = "table", **more: Any) -> Check:
    """The check of a snapshot that the server took."""
    hosts = more.pop("hosts", {**STEPS, "server": {"steps": SNAPS}})
    return find(told({"snapshots": {name: wanted}}, *tables, hosts=hosts, **more).judge(), f"snapshots.{name}")


@pytest.mark.parametrize(
    ("wanted", "rows", "expected", "seen", "why"),
    [
        ({"states": {"LISTEN": 1}}, (LISTENS, OPEN), "{states: {LISTEN: 1}}", "{states: {LISTEN: 1}}", ""),
        ({"states": {"CLOSE_WAIT": 0}}, (OPEN,), "{states: {CLOSE_WAIT: 0}}", "{states: {CLOSE_WAIT: 0}}", ""),
        (
            {"listening": ["0.0.0.0:7456"]},
            (OPEN, LISTENS, ("LISTEN", "0.0.0.0:22")),
            "{listening: [0.0.0.0:7456]}",
            "{states: {ESTABLISHED: 1, LISTEN: 2}, listening: [0.0.0.0:22, 0.0.0.0:7456]}",
            "",
        ),
        (
            {"states": {"ESTABLISHED": "2..", "LISTEN": 0}, "listening": ["0.0.0.0:9", "0.0.0.0:7456"]},
            (LISTENS, OPEN),
            "{states: {ESTABLISHED: 2.., LISTEN: 0}, listening: [0.0.0.0:9, 0.0.0.0:7456]}",
            "{states: {ESTABLISHED: 1, LISTEN: 1}, listening: [0.0.0.0:7456]}",
            "the table of server at 0.007 s has 1 sockets in ESTABLISHED, 1 sockets in LISTEN, nobody listening on "
            "0.0.0.0:9; its rows: LISTEN 0.0.0.0:7456 *:*; ESTABLISHED 198.18.0.3:7456 *:*",
        ),
        (
            {"listening": ["198.18.0.3:7456"]},
            (OPEN,),
            "{listening: [198.18.0.3:7456]}",
            "{states: {ESTABLISHED: 1}, listening: []}",
            "the table of server at 0.007 s has nobody listening on 198.18.0.3:7456; its rows: ESTABLISHED "
            "198.18.0.3:7456 *:*",
        ),
        (
            {"states": {"LISTEN": 1}},
            (),
            "{states: {LISTEN: 1}}",
            "{states: {LISTEN: 0}}",
            "the table of server at 0.007 s has 0 sockets in LISTEN; its rows: it is empty",
        ),
    ],
)
def test_tables(wanted: dict[str, Any], rows: tuple[tuple[str, str], ...], expected: str, seen: str, why: str) -> None:
    """How many sockets in each state, and who listens; the reason tells what the table held instead."""
    check = snapshot(wanted, table(*rows))
    assert (check.verdict, check.expected) == (Outcome.FAILED if why else Outcome.PASSED, expected)
    assert (check.seen, check.why) == (seen, why)


def test_rows_of_a_large_table() -> None:
    """Of a large table the first eight rows are told."""
    check = snapshot({"states": {"LISTEN": 0}}, table(*[LISTENS] * 12))
    assert check.why.count("LISTEN 0.0.0.0:7456") == 8


def test_every_snapshot_counts() -> None:
    """Where a snapshot of that name was taken several times, each must be as expected; others do not matter."""
    wanted = {"states": {"LISTEN": 1}}
    good, bad = table(LISTENS), table(OPEN)
    assert snapshot(wanted, good, good).verdict is Outcome.PASSED
    assert snapshot(wanted, good, bad).verdict is Outcome.FAILED
    assert snapshot(wanted, good, table(OPEN, name="inner"), table(OPEN, host="client")).verdict is Outcome.PASSED


def test_snapshot_inside_a_loop() -> None:
    """A snapshot may be taken inside `repeat` and `parallel`."""
    assert snapshot({"states": {"LISTEN": 1}}, table(LISTENS, name="inner"), name="inner").verdict is Outcome.PASSED


def test_snapshot_that_was_not_taken() -> None:
    """A step that ended well, and no table: we cannot tell. Each host that was to take one must have."""
    check = snapshot({"states": {"LISTEN": 1}}, table(LISTENS, name="inner"))
    assert (check.verdict, check.expected, check.seen) == (Outcome.UNKNOWN, "{states: {LISTEN: 1}}", "no snapshot")
    assert check.why == "server took no snapshot named table"
    hosts = {"server": {"steps": SNAPS}, "client": {"steps": SNAPS}}
    both = snapshot({"states": {"LISTEN": 1}}, table(LISTENS), hosts=hosts)
    assert (both.verdict, both.why) == (Outcome.UNKNOWN, "client took no snapshot named table")


def test_snapshot_that_no_step_takes() -> None:
    """A name that no program knows: what it would have held is not known."""
    check = snapshot({"states": {"LISTEN": 1}}, table(LISTENS), name="nobodys")
    assert (check.verdict, check.expected, check.seen) == (Outcome.UNKNOWN, "{states: {LISTEN: 1}}", "no snapshot")
    assert check.why == "no step takes a snapshot named nobodys"


def test_listening_over_ipv6() -> None:
    """The address that means all of them is spelled as the family of the run does; no other address changes."""
    story = told({"snapshots": {"table": {"listening": ["0.0.0.0:7456"]}}}, hosts={**STEPS, "server": {"steps": SNAPS}})
    for family, local, passes in (
        ("ipv6", "[::]:7456", True),
        ("ipv4", "[::]:7456", False),
        ("ipv6", "[::1]:7", False),
    ):
        evidence = with_records(story.evidence(), table(("LISTEN", local)))
        records = tuple(replace(one, family=family) if one is evidence.run else one for one in evidence.records)
        check = find(judge(replace(evidence, records=records)), "snapshots.table")
        assert (check.verdict is Outcome.PASSED) is passes


def test_snapshots_as_scenarios_write_them() -> None:
    """States and listeners, each only where there are some."""
    assert show(ExpectSnapshot()) == "{}"


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("pattern", "line", "fits"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("abc", "xabc", False),
        ("a*c", "ac", True),
        ("a*c", "a\nb c", True),
        ("a*c", "acd", False),
        ("*", "", True),
        ("a.c", "abc", False),
        ("[*]", "[1]", True),
    ],
)
def test_patterns(pattern: str, line: str, fits: bool) -> None:
    """A star is anything, all else is itself."""
    assert matches(pattern, line) is fits


def log(line: str, host: str = "server", at_ms: int = 5) -> LogLine:
    """A program prints a line."""
    return LogLine(host, START_NS + at_ms * MS, line)


@pytest.mark.parametrize(
    ("wanted", "lines", "why"),
    [
        ([], [], ""),
        (["a"], ["a"], ""),
        (["a", "b"], ["x", "a", "y", "b"], ""),
        (["a", "a"], ["a"], "server did not print 'a' after 'a'; its last line, at 0.005 s, is 'a'"),
        (["a", "b"], ["b", "a"], "server did not print 'b' after 'a'; its last line, at 0.005 s, is 'a'"),
        (["a", "b", "c"], ["b"], "server did not print 'a'; its last line, at 0.005 s, is 'b'"),
        (["a", "b", "c"], ["a", "b"], "server did not print 'c' after 'b'; its last line, at 0.005 s, is 'b'"),
        (["a"], [], "server did not print 'a'; it printed nothing"),
    ],
)
def test_lines(wanted: list[str], lines: list[str], why: str) -> None:
    """Lines in order, others between them; the first that is missing is told, and the last that was printed."""
    story = told({"logs": {"server": wanted}}, *map(log, lines), log("a", "client"), log("b", "client"))
    check = find(story.judge(), "logs.server")
    assert (check.verdict, check.why) == (Outcome.FAILED if why else Outcome.PASSED, why)
    assert check.expected == str(wanted)
    assert check.seen == str(lines)


def test_lines_of_a_program_in_trouble() -> None:
    """A program that failed tells why a line is missing; one whose end was not heard leaves it unknown."""
    story = Story({"expect": {"logs": {"client": ["a"]}}})
    story.do_steps("client", only=1, outcome="error", errno="ECONNREFUSED")
    failed = find(story.judge(), "logs.client")
    assert failed.verdict is Outcome.FAILED
    assert failed.why.startswith("client did not print 'a'; it printed nothing; step 1 of client (connect) ended with")
    silent = Story({"expect": {"logs": {"client": ["a"]}}})
    silent.do_steps("client")
    unknown = find(silent.judge(), "logs.client")
    assert unknown.verdict is Outcome.UNKNOWN
    assert unknown.why.endswith("it printed nothing; nothing was heard of the end of the program on client")
    unheard = Story({"expect": {"logs": {"client": ["a"]}}})
    unheard.do_steps("server")
    check = find(unheard.judge(), "logs.client")
    assert (check.verdict, check.expected, check.seen) == (Outcome.UNKNOWN, "['a']", "[]")
    assert check.why == "client did not print 'a', and nothing was heard of its program"


# ---------------------------------------------------------------- counters


@pytest.mark.parametrize(
    ("wanted", "changed", "seen", "why"),
    [
        (2, {"TcpExtTCPTimeouts": 2}, "2", ""),
        (0, {}, "0", ""),
        (
            "1..",
            {"TcpOutSegs": 9, "TcpExtListenDrops": 3, "Udp6NoPorts": 4},
            "0",
            "server counted TcpExtTCPTimeouts 0 times instead of 1..; of TCP it counted TcpOutSegs 9, "
            "TcpExtListenDrops 3",
        ),
        (1, {"UdpNoPorts": 4}, "0", "server counted TcpExtTCPTimeouts 0 times instead of 1; of TCP it counted nothing"),
    ],
)
def test_counters(wanted: Any, changed: dict[str, int], seen: str, why: str) -> None:
    """What the host's kernel counted; the reason tells its other counters of TCP."""
    records = (Counters("client", {"TcpExtTCPTimeouts": 7}), Counters("server", changed))
    check = find(
        told({"counters": {"server": {"TCPTimeouts": wanted}}}, *records).judge(), "counters.server.TCPTimeouts"
    )
    assert (check.verdict, check.why) == (Outcome.FAILED if why else Outcome.PASSED, why)
    assert (check.expected, check.seen) == (str(wanted), seen)


def test_counters_that_are_not_known() -> None:
    """Counters that were not read, or that the kernel lacks, show nothing; what a role expects holds for each host."""
    expect = {"counters": {"client": {"TCPTimeouts": 0}}}
    name = "counters.client.TCPTimeouts"
    unread = find(told(expect, Counters("server", {})).judge(), name)
    assert (unread.verdict, unread.expected, unread.seen) == (Outcome.UNKNOWN, "0", "nothing")
    lacking = find(told(expect, Counters("client", {}, ("TcpExtTCPTimeouts",))).judge(), name)
    assert (lacking.verdict, lacking.expected, lacking.seen) == (Outcome.UNKNOWN, "0", "nothing")
    both = [Counters("client", {}), Counters("client-2", {"TcpExtTCPTimeouts": 1})]
    failed = find(told(expect, *both, **TWO).judge(), name)
    assert (failed.verdict, failed.why.partition(" counted")[0]) == (Outcome.FAILED, "client-2")
