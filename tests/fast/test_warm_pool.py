"""Labs that wait for another run, with fake agents: which are kept, which are not, and who takes them down."""

from __future__ import annotations

import pytest
from test_run_fake_lab import PLAYED, STEP, FakeLab, Message, problems, walk_with

from testbed.canaries import early_packets
from testbed.errors import LabError
from testbed.evidence import CaptureCount, Problem, StepOutcome
from testbed.lab.agents import Agents
from testbed.lab.contract import LabHost, LabShape
from testbed.lab.warm import Likeness, StandingLab, WarmLabs
from testbed.pcap.frame import Frame
from testbed.stop import Stop

HOST = LabHost("server", {"net.ipv4.tcp_sack": "0", "net.ipv4.tcp_ecn": "1"})
SHAPE = LabShape("run-1", "story", "ipv4", (HOST, LabHost("sniffer", {})))
LIKENESS = Likeness.of("fake", SHAPE)
CANARY = bytes(12) + b"\x88\xb5testbed canary start 0 client"
TCP4 = bytes(12) + b"\x08\x00" + bytes(9) + b"\x06" + bytes(30)
TCP6 = bytes(12) + b"\x86\xdd" + bytes(6) + b"\x06" + bytes(50)
UDP4 = bytes(12) + b"\x08\x00" + bytes(9) + b"\x11" + bytes(30)


def standing(lab: FakeLab, stop: Stop, number: int = 1, likeness: Likeness = LIKENESS) -> StandingLab:
    """A lab that is up."""
    agents = Agents(lab, stop)
    agents.open(lab.hosts)
    return StandingLab(f"lab-{number}", likeness, lab, agents, b"override")


def frames(*contents: bytes) -> list[Frame]:
    """Captured frames."""
    return [Frame(1, content, len(content), 0) for content in contents]


def test_a_clean_lab_is_used_again() -> None:
    """A lab whose hosts all answer that they are clean waits; who takes it has it alone."""
    stop, said, lab = Stop(), list[str](), FakeLab()
    warm, one = WarmLabs(stop), standing(lab, stop)
    warm.give_back(one, said.append)
    assert [do for host, do, _ in lab.asked] == ["reset"] * len(lab.hosts)
    assert (warm.take(LIKENESS, said.append), warm.take(LIKENESS, said.append)) == (one, None)
    assert (said, lab.is_down) == ([], False)


def test_a_dirty_lab_is_refused() -> None:
    """Where anything is left on a host, the lab is taken down, and one line says on which host and what."""
    stop, said, lab = Stop(), list[str](), FakeLab(left=["a TCP socket in LISTEN", "a UDP socket", "a qdisc", "more"])
    warm = WarmLabs(stop)
    warm.give_back(standing(lab, stop), said.append)
    assert warm.take(LIKENESS, said.append) is None
    assert lab.is_down
    assert len(said) == 1
    assert said[0].startswith(
        "the lab is not reused: server still has a TCP socket in LISTEN, a UDP socket, a qdisc, and 1 more; client"
    )


def test_a_lab_that_cannot_be_reset_is_refused() -> None:
    """An agent that refuses to reset, or has ended, costs the lab."""
    stop, said = Stop(), list[str]()
    refusing = FakeLab(refuses={"reset": "no such thing"})
    WarmLabs(stop).give_back(standing(refusing, stop), said.append)
    dead = FakeLab(programs={"client": ["die"]})
    one = standing(dead, stop)
    one.agents.ask("client", "play")
    one.agents.run_until(lambda: bool(one.agents.lost), 20.0)
    WarmLabs(stop).give_back(one, said.append)
    assert (refusing.is_down, dead.is_down) == (True, True)
    assert "the agent on server says: no such thing" in said[0]
    assert said[1].endswith("the container of client ended with exit status 137 (SIGKILL)")


def test_a_lab_that_dies_while_it_waits_is_not_given() -> None:
    """Nobody gets a lab one of whose agents has ended meanwhile."""
    stop, said, lab = Stop(), list[str](), FakeLab()
    warm, one = WarmLabs(stop), standing(lab, stop)
    warm.give_back(one, said.append)
    one.agents._inbox.put(("client", None, 0))
    assert warm.take(LIKENESS, said.append) is None
    assert lab.is_down
    assert "SIGKILL" in said[0]


@pytest.mark.parametrize(
    "other",
    [
        Likeness.of("compose", SHAPE),
        Likeness.of("fake", LabShape("run-1", "story", "ipv6", SHAPE.hosts)),
        Likeness.of("fake", LabShape("run-1", "story", "ipv4", (LabHost("server", {}), *SHAPE.hosts[1:]))),
        Likeness.of("fake", LabShape("run-1", "story", "ipv4", SHAPE.hosts[::-1])),
    ],
    ids=["backend", "family", "sysctls", "order"],
)
def test_another_shape_is_another_lab(other: Likeness) -> None:
    """Backend, family, hosts in their order and their sysctls must be the same."""
    stop = Stop()
    warm = WarmLabs(stop)
    warm.give_back(standing(FakeLab(), stop), print)
    assert warm.take(other, print) is None
    assert warm.take(LIKENESS, print) is not None


def test_the_same_shape_for_another_scenario() -> None:
    """Which run and which scenario it is, and the order in which sysctls stand, is no matter."""
    host = LabHost("server", dict(reversed([*HOST.sysctls.items()])))
    assert Likeness.of("fake", LabShape("run-2", "other", "ipv4", (host, LabHost("sniffer", {})))) == LIKENESS


def test_few_wait() -> None:
    """Beyond the limit the one that has waited longest is taken down."""
    stop, labs = Stop(), [FakeLab() for _ in range(3)]
    warm = WarmLabs(stop, most_idle=2)
    for number, lab in enumerate(labs):
        warm.give_back(standing(lab, stop, number), print)
    assert [lab.is_down for lab in labs] == [True, False, False]


def test_closing() -> None:
    """All that wait are taken down at the end, each though another cannot be, and what comes later at once."""

    class StubbornLab(FakeLab):
        def close(self) -> None:
            raise LabError("it will not go")

    stop, labs, late = Stop(), [StubbornLab(), FakeLab()], FakeLab()
    warm = WarmLabs(stop)
    for lab in labs:
        warm.give_back(standing(lab, stop), print)
    assert [error.message for error in warm.close(print)] == ["it will not go"]
    assert labs[1].is_down
    assert warm.close(print) == ()
    warm.give_back(standing(late, stop), print)
    assert late.is_down
    assert warm.take(LIKENESS, print) is None


def test_interrupted_while_resetting() -> None:
    """When the user wants us to end, a lab that comes back is taken down without a word: its run has its verdict."""
    stop, said, lab = Stop(), list[str](), FakeLab()
    warm, one = WarmLabs(stop), standing(lab, stop)
    stop.request("SIGINT")
    warm.give_back(one, said.append)
    assert (lab.is_down, said) == (True, [])


def test_the_next_run_hears_nothing_of_the_last() -> None:
    """What an agent says late belongs to no run: neither an event nor an answer reaches the next one."""
    late: Message = {"event": "problem", "says": "of the last run"}
    stop, lab = Stop(), FakeLab(programs={"client": [STEP, PLAYED, late]})
    one = standing(lab, stop)
    first = walk_with(one.agents, stop)
    assert len(first.all(StepOutcome)) == 1
    lab.programs = {}
    one.agents.ask("server", "hello")
    second = walk_with(one.agents, stop)
    assert problems(second) == []
    assert second.all(StepOutcome) == ()
    assert len(second.all(CaptureCount)) == 3


def test_a_problem_told_during_the_reset_makes_it_dirty() -> None:
    """An agent that tells of a problem while it cleans up is not trusted."""
    stop, said, lab = Stop(), list[str](), FakeLab()
    one = standing(lab, stop)
    asked = one.agents.ask

    def ask(host: str, do: str, /, **arguments: object) -> object:
        one.agents._inbox.put((host, {"event": "problem", "says": "it burns"}, 0))
        return asked(host, do, **arguments)

    one.agents.ask = ask  # type: ignore[method-assign, assignment]
    WarmLabs(stop).give_back(one, said.append)
    assert "server says: it burns" in said[0]
    assert lab.is_down


@pytest.mark.parametrize(
    ("captured", "early"),
    [
        ((), 0),
        ((CANARY, TCP4, TCP6), 0),
        ((UDP4, b"short", bytes(60), CANARY, TCP4), 0),
        ((TCP4, UDP4, TCP6, CANARY, TCP4), 2),
        ((TCP4,), 1),
    ],
)
def test_early_packets(captured: tuple[bytes, ...], early: int) -> None:
    """TCP before the first canary, over IPv4 or IPv6, is of an earlier run; what comes after it is the run's own."""
    assert early_packets(frames(*captured)) == early


def test_early_packets_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose capture begins with another run's packets is unknown, whatever else it saw."""
    import struct

    import test_run_fake_lab

    record = struct.pack("<QIIB", 1000, len(TCP4), len(TCP4), 2) + TCP4
    monkeypatch.setattr(test_run_fake_lab, "RECORD", record)
    stop = Stop()
    evidence = walk_with(standing(FakeLab(), stop).agents, stop)
    assert {problem.says for problem in evidence.all(Problem)} == {
        "TCP packets were on the wire before the first step, of an earlier run: 1"
    }
