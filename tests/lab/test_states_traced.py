"""States as sock_diag's samples show them, against those that the kernel's tracepoint tells: they agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from scenario_driver import play_file, tell
from state_trace import Traced, Tracer, tracefs

from testbed.evidence import Evidence, Sampling, StateSample
from testbed.files import find_scenario
from testbed.verdict.host_checks import find_in_order
from testbed.verdict.value import Outcome

pytestmark = pytest.mark.lab

SCENARIOS = (
    *("hola", "lifecycle", "got-connection", "hs-normal", "hs-syn-lost-1", "hs-synack-lost-1"),
    *("hs-simultaneous-open", "hs-ack-lost-data", "hs-refused", "rb-rst-exact"),
)
UNTRACED = frozenset({"SYN_RECV", "TIME_WAIT"})  # of sockets that are none yet, or none any more
PLAYS = 5
EARLY_NS = 5_000_000  # a child begins when its handshake completes; its request was seen before


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    """A tracer of our own; the test is skipped where the kernel shows none."""
    with tracefs(tmp_path_factory.mktemp("tracing") / "fs") as tracing:
        if tracing is None:
            pytest.skip("the kernel does not show sock:inet_sock_set_state: no tracefs, or no right to mount it")
        one = Tracer(tracing)
        try:
            yield one
        finally:
            one.close()


def lives(evidence: Evidence) -> dict[str, list[StateSample]]:
    """The samples of each connection's socket that had one life."""
    found: dict[str, list[StateSample]] = {}
    for sample in sorted(evidence.all(StateSample), key=lambda one: one.time_ns):
        found.setdefault(sample.socket, []).append(sample)
    listening = {label for label, life in found.items() if any(one.after == "LISTEN" for one in life)}
    return {
        label: life
        for label, life in found.items()
        if label not in listening and [one.before for one in life].count("CLOSE") == 1
    }


def of(label: str, traced: Sequence[Traced]) -> list[Traced]:
    """What was traced of a socket; it goes into SYN_SENT before it has a port, unless it was bound to one."""
    mine = [one for one in traced if one.socket == label]
    local, _, peer = label.partition(" ")
    portless = f"{local.rpartition(':')[0]}:0 {peer}"
    first_ns = mine[0].time_ns if mine else 0
    opened = [one for one in traced if (one.socket, one.after) == (portless, "SYN_SENT") and one.time_ns <= first_ns]
    return [*opened[-1:], *mine] if mine and mine[0].before == "SYN_SENT" else mine


def long_states(traced: Sequence[Traced], longest_ns: int) -> list[str]:
    """The states that lasted so long that a sample must have shown them."""
    lasted = pairwise(traced)
    return [one.after for one, then in lasted if then.time_ns - one.time_ns > longest_ns and one.after != "CLOSE"]


def compare(name: str, tracer: Tracer, out: Path) -> int:
    """Play a scenario and hold its samples against the traced changes; how many states were compared."""
    tracer.take()
    judgement = play_file(find_scenario(name), out, tries=1).judgement
    traced = tracer.take()
    assert judgement.verdict is not Outcome.FAILED, tell(judgement)
    gap_ns = max(one.longest_gap_ns for one in judgement.evidence.all(Sampling))
    compared = 0
    for label, life in lives(judgement.evidence).items():
        mine = of(label, traced)
        sampled = [one.after for one in life]
        told = [one for one in sampled if one not in UNTRACED]
        assert find_in_order(told, [one.after for one in mine])[0] == len(told), (label, sampled, mine)
        must = long_states(mine, gap_ns + EARLY_NS)
        assert find_in_order(must, sampled)[0] == len(must), (label, sampled, mine)
        compared += len(told)
    return compared


@pytest.mark.parametrize("name", SCENARIOS)
def test_samples_agree_with_the_tracepoint(name: str, tracer: Tracer, tmp_path: Path) -> None:
    """Every state that was sampled was traced, in that order; every traced one that lasted long enough was sampled.

    On a busy machine a connection of a few milliseconds may end between two samples: then it is played again.
    """
    assert any(compare(name, tracer, tmp_path / str(number)) for number in range(PLAYS))
