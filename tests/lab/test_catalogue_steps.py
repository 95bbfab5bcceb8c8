"""The steps and options that the catalogue is made of, each in a small scenario of its own, over both families."""

from __future__ import annotations

from pathlib import Path

import pytest
from scenario_driver import play, tell

from testbed.errors import NotApplicable
from testbed.evidence import ProgramEnd
from testbed.verdict.value import Outcome

pytestmark = pytest.mark.lab

TOLD = {
    "kill": """
        summary: A killed program's connection is closed by its kernel with a FIN.
        hosts:
          server: {steps: [{listen: 7456}, accept, {recv: eof}, close]}
          client: {steps: [{connect: server:7456}, {send: hello}, {sleep: 30ms}, kill]}
        wire: {delay: 5ms}
        expect: {teardown: {kind: fin, closed_first: client}, counters: {client: {ActiveOpens: 1, EstabResets: 0}}}
        """,
    "kill-with-unread-data": """
        summary: A killed program had not read all, and its kernel resets.
        hosts:
          server: {steps: [{listen: 7456}, accept, {send: unread}, {mark: sent}, {recv: eof, error: ECONNRESET}, close]}
          client: {steps: [{connect: server:7456}, {wait: sent}, {sleep: 30ms}, {kill: SIGTERM}]}
        wire: {delay: 5ms}
        expect: {teardown: {kind: rst, reset_by: client}}
        """,
    "vanish": """
        summary: A host is gone without a packet; only keepalive finds out.
        requires: {abilities: [sock-destroy]}
        hosts:
          server:
            steps:
              - listen: 7456
              - accept
              - {recv: 5}
              - {sockopt: {SO_KEEPALIVE: true, TCP_KEEPIDLE: 1, TCP_KEEPINTVL: 1, TCP_KEEPCNT: 1}}
              - {mark: got}
              - {recv: eof, error: ETIMEDOUT}
              - close
          client: {steps: [{connect: server:7456}, {send: hello}, {wait: got}, {sleep: 20ms}, vanish]}
        wire: {delay: 5ms}
        expect: {teardown: {kind: rst, reset_by: server}, states: {client: [ESTABLISHED, CLOSE]},
                 counters: {server: {TCPAbortOnTimeout: 1, TCPKeepAlive: 1}}}
        """,
    "reboot": """
        summary: After a reboot the same ports meet a server that still has the old connection.
        requires: {abilities: [sock-destroy]}
        hosts:
          server:
            steps:
              - {listen: 7456, as: l}
              - {accept: , on: l, as: old}
              - {recv: 5}
              - {mark: got}
              - {recv: eof, on: old, error: ECONNRESET}
              - {close: old}
              - {accept: , on: l}
              - {recv: eof}
              - close
          client:
            steps:
              - {connect: server:7456, from: 40000}
              - {send: hello}
              - {wait: got}
              - {sleep: 20ms}
              - {reboot: 50ms}
              - {connect: server:7456, from: 40000}
              - {sleep: 20ms}
              - close
        wire: {delay: 5ms}
        expect: {connections: 2, counters: {server: {TCPChallengeACK: 1}},
                 states: {client: [ESTABLISHED, CLOSE, SYN_SENT, ESTABLISHED]}}
        """,
    "md5": """
        summary: Both ends sign their segments.
        requires: {abilities: [md5]}
        hosts:
          server: {steps: [{bind: 7456}, {md5: client, key: secret}, listen, accept, {recv: eof}, close]}
          client: {steps: [socket, {md5: server, key: secret}, {connect: server:7456}, {send: hi}, close]}
        expect: {payload: {client->server: hi}, teardown: {kind: fin}}
        """,
    "md5-mismatch": """
        summary: A SYN that is signed with another key is dropped.
        requires: {abilities: [md5]}
        sysctls: {net.ipv4.tcp_syn_retries: 1}
        hosts:
          server: {steps: [{bind: 7456}, {md5: client, key: secret}, listen, hold]}
          client: {steps: [socket, {md5: server, key: other}, {connect: server:7456, error: ETIMEDOUT}]}
        expect: {handshake: {outcome: unanswered, syns: 2}, counters: {server: {TCPMD5Failure: 2}}}
        """,
    "fast-open": """
        summary: The first connection brings a cookie, the second carries its data in the SYN.
        requires: {abilities: [fast-open]}
        sysctls: {net.ipv4.tcp_fastopen: 3}
        hosts:
          server:
            steps:
              - {listen: 7456, fastopen: 16}
              - {repeat: 2, steps: [accept, {recv: 5}, {send: reply}, {recv: eof}, close]}
          client:
            steps:
              - repeat: 2
                steps: [{connect: server:7456, fastopen: true}, {send: hello}, {recv: 5}, close, {sleep: 50ms}]
        wire: {delay: 5ms}
        expect: {connections: 2, counters: {server: {TCPFastOpenCookieReqd: 1, TCPFastOpenPassive: 1},
                                            client: {TCPFastOpenActive: 1}}}
        """,
    "linger": """
        summary: With a linger time of 0 a close resets; switched off it does not.
        hosts:
          server:
            steps:
              - listen: 7456
              - accept
              - {recv: eof, error: ECONNRESET}
              - close
              - accept
              - {recv: eof}
              - close
          client:
            steps:
              - {connect: server:7456}
              - {sockopt: {SO_LINGER: 0}}
              - close
              - {sleep: 20ms}
              - {connect: server:7456}
              - {sockopt: {SO_LINGER: 0}}
              - {sockopt: {SO_LINGER: false}}
              - close
        expect: {connections: 2, counters: {client: {OutRsts: 1}}}
        """,
    "options": """
        summary: Every option that the catalogue speaks of is taken.
        hosts:
          server:
            steps: [{bind: 7456}, {sockopt: {TCP_DEFER_ACCEPT: 1, SO_RCVBUF: 8192}}, listen, accept, {recv: eof}, close]
          client:
            steps:
              - socket
              - {sockopt: {TCP_SYNCNT: 2, TCP_MAXSEG: 1000, TCP_WINDOW_CLAMP: 8000, IP_TTL: 9}}
              - {connect: server:7456}
              - {sockopt: {SO_LINGER: 5, TCP_USER_TIMEOUT: 2000, TCP_CORK: true, TCP_NODELAY: true, TCP_QUICKACK: false,
                           TCP_LINGER2: 3, TCP_NOTSENT_LOWAT: 1000, TCP_CONGESTION: reno, SO_KEEPALIVE: true}}
              - {send: hi}
              - close
        expect: {payload: {client->server: hi}, teardown: {kind: fin}}
        """,
    "user-timeout": """
        summary: Data that nobody acknowledges for two seconds ends the connection.
        hosts:
          server: {steps: [{listen: 7456}, accept, {mark: in}, {wait: over}, abort]}
          client:
            steps:
              - {connect: server:7456}
              - {sockopt: {TCP_USER_TIMEOUT: 500}}
              - {wait: in}
              - {sleep: 300ms}
              - {send: hi}
              - {recv: eof, error: ETIMEDOUT}
              - {mark: over}
              - close
        wire: {delay: 5ms, timeline: [{at: 200ms, client->server: {blackhole: true}}]}
        expect: {counters: {client: {TCPAbortOnTimeout: 1}}}
        """,
    "simultaneous": """
        summary: Two SYNs from fixed ports cross.
        hosts:
          server:
            steps:
              - {bind: 7457, as: s}
              - {mark: s}
              - {wait: c}
              - {connect: client:7456, on: s, when: now}
              - {recv: eof}
              - close
          client:
            steps:
              - {bind: 7456, as: c}
              - {mark: c}
              - {wait: s}
              - {connect: server:7457, on: c, when: now}
              - {sleep: 20ms}
              - close
        wire: {delay: 40ms}
        expect: {handshake: {outcome: simultaneous}, states: {client: [SYN_SENT, SYN_RECV, ESTABLISHED]}}
        """,
    "self-connect": """
        summary: A socket that connects to itself has both ends, and nothing is on the wire.
        hosts:
          client:
            steps:
              - {connect: client:7456, from: 7456, when: now}
              - {send: hello}
              - {recv: 5, equals: hello}
              - {snapshot: itself}
              - close
        expect: {connections: 0, snapshots: {itself: {states: {ESTABLISHED: 1, LISTEN: 0}}}}
        """,
    "close-in-syn-sent": """
        summary: A connect that is not waited for, closed before its answer comes, resets when that does.
        hosts:
          server: {steps: [{listen: 7456}, {accept: , timeout: 200ms, error: EAGAIN}, close]}
          client: {steps: [{connect: server:7456, error: EINPROGRESS}, {sleep: 5ms}, close]}
        wire: {delay: 30ms}
        expect: {handshake: {outcome: reset}, states: {client: [SYN_SENT, CLOSE], server: [LISTEN, SYN_RECV]}}
        """,
    "zero-window": """
        summary: A reader stops, the window closes; it resumes, and all arrives.
        hosts:
          server:
            steps: [{bind: 7456}, {sockopt: {SO_RCVBUF: 4096}}, listen, accept, {sleep: 600ms}, {recv: eof}, close]
          client: {steps: [{connect: server:7456}, {send: {random: 64KiB}}, close]}
        wire: {delay: 5ms}
        expect: {counters: {server: {TCPToZeroWindowAdv: 1.., TCPFromZeroWindowAdv: 1..}, client: {TCPWinProbe: 1..}},
                 bytes: {client->server: 65536}}
        """,
    "backlog": """
        summary: A third connection finds the accept queue full.
        sysctls: {net.ipv4.tcp_syn_retries: 1}
        hosts:
          server: {steps: [{listen: 7456, backlog: 1}, {mark: full}, hold]}
          client:
            steps:
              - {connect: server:7456}
              - {connect: server:7456}
              - {connect: server:7456, error: ETIMEDOUT}
              - hold
        wire: {delay: 5ms}
        expect: {connections: 3, counters: {server: {ListenOverflows: 1.., ListenDrops: 1..}}}
        """,
    "storm": """
        summary: A thousand connections of four hosts at once.
        hosts:
          server:
            steps: [{listen: 7456, backlog: 2000}, {repeat: 1000, steps: [accept, {recv: eof, equals: hi}, close]}]
          client: {replicas: 4, steps: [{parallel: 250, steps: [{connect: server:7456}, {send: hi}, close]}]}
        expect: {connections: 1000, handshake: {outcome: complete}, counters: {server: {PassiveOpens: 1000}}}
        """,
}


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize("name", TOLD)
def test_step(name: str, family: str, tmp_path: Path) -> None:
    """The scenario does what it says, and what it expects is seen, over both families."""
    judgement = play(TOLD[name], tmp_path, family=family).judgement
    assert judgement.verdict is Outcome.PASSED, tell(judgement)


def test_a_killed_program_ends_by_its_signal(tmp_path: Path) -> None:
    """The end is told as the signal's, and the program has passed all the same."""
    evidence = play(TOLD["kill"], tmp_path).judgement.evidence
    assert [(end.exit, end.signal) for end in evidence.all(ProgramEnd) if end.host == "client"] == [(None, "SIGKILL")]


def test_what_is_not_applicable_is_not_played(tmp_path: Path) -> None:
    """A kernel that is out of range, or lacks a sysctl that the lab would be made with, is told with the reason."""
    text = """
        summary: Of another kernel.
        requires: {kernel: ..2.6, sysctls: [net.ipv4.tcp_frobnicate]}
        sysctls: {net.ipv4.tcp_frobnicate: 1}
        hosts: {server: {steps: [{listen: 7456}]}}
        """
    with pytest.raises(NotApplicable, match=r"it is about Linux up to 2\.6, .* has no net\.ipv4\.tcp_frobnicate"):
        play(text, tmp_path)
    assert not list((tmp_path / "results").glob("*"))
