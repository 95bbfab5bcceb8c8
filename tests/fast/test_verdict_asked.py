"""What was asked of a packet: by source, port, and the phase of the timeline that held when it came in."""

from __future__ import annotations

from typing import Any

import pytest
from verdict_story import CLIENT, MS, SECOND, SERVER, START_NS, STEPS, Story, with_records

from testbed.agent.impairments import NONE, Impairment
from testbed.evidence import ClockFacts, WireChanged
from testbed.verdict.asked import BETWEEN_NS, Asking, addresses, unsure_delays

SLOW, SLOWER = Impairment(delay_ns=10 * MS), Impairment(delay_ns=50 * MS)
TIMELINE = [{"at": "100ms", "client->server": {"delay": "50ms"}}, {"at": "200ms", "client->server": {"delay": 0}}]


def asking(*changed: WireChanged, **wire: Any) -> Asking:
    """The plan of a story with this wire, and what its hosts told."""
    return Asking.of(Story({"wire": wire}).plan, changed)


def change(at_ms: int, phase: int, began_ms: int | None = None, host: str = "server") -> WireChanged:
    """A phase held from then on, and was put up since."""
    return WireChanged(host, START_NS + at_ms * MS, phase, 0 if began_ms is None else START_NS + began_ms * MS)


def test_phases() -> None:
    """A phase holds from the moment at which its host read it back, in whatever order the records came."""
    of = asking(change(200, 2), change(100, 1), delay="10ms", timeline=TIMELINE)
    for at_ns, phase, asked in (
        (START_NS + 100 * MS - 1, 0, SLOW),
        (START_NS + 100 * MS, 1, SLOWER),
        (START_NS + 200 * MS - 1, 1, SLOWER),
        (START_NS + 200 * MS, 2, NONE),
    ):
        assert of.phase("server", at_ns) == phase
        assert of.of_packet("client", "server", at_ns, (1, 2)) == asked
        assert of.phase("client", at_ns) == 0
        assert of.of_packet("server", "client", at_ns, (1, 2)) == SLOW


def test_ports() -> None:
    """A port's own impairment is asked of packets from it and to it, and of no others."""
    of = asking(delay="10ms", ports={"9": {"delay": "50ms"}})
    for ports, asked in (((9, 80), SLOWER), ((80, 9), SLOWER), ((80, 81), SLOW)):
        assert of.of_packet("client", "server", START_NS, ports) == asked


def test_no_link() -> None:
    """Where nothing is impaired nothing is asked, ever."""
    of = asking(**{"client->server": {"delay": "10ms"}})
    assert of.of_packet("server", "client", START_NS, (1, 2)) == NONE
    assert of.ever("server", "client") == ()
    assert of.ever("client", "server") == (SLOW,)
    assert of.ever("sniffer", "server") == ()


def test_all_that_is_ever_asked() -> None:
    """Every impairment of a direction, in any phase and for any port; what is none is not among them."""
    of = asking(delay="10ms", ports={"9": {"delay": "50ms"}, "10": {"delay": 0}}, timeline=TIMELINE)
    assert set(of.ever("client", "server")) == {SLOW, SLOWER}
    assert of.ever("server", "client") == (SLOW, SLOWER)


@pytest.mark.parametrize(
    ("changes", "spans"),
    [
        ((change(100, 1),), ((100, 100),)),
        ((change(100, 1, began_ms=60),), ((60, 100),)),
        ((change(100, 1, began_ms=60), change(200, 2, began_ms=190)), ((60, 100), (190, 200))),
        ((change(100, 1, host="client"),), ()),
    ],
)
def test_between_two_phases(changes: tuple[WireChanged, ...], spans: tuple[tuple[int, int], ...]) -> None:
    """From five milliseconds before a change was begun until five after it was read back, either phase may hold."""
    of = asking(*changes, delay="10ms", timeline=TIMELINE)
    for first, last in spans:
        for at_ns, either in (
            (first * MS - BETWEEN_NS - 1, False),
            (first * MS - BETWEEN_NS, True),
            (last * MS + BETWEEN_NS, True),
            (last * MS + BETWEEN_NS + 1, False),
        ):
            assert of.between("server", START_NS + at_ns) is either
    assert of.between("server", START_NS + 100 * MS) is bool(spans)


def test_addresses() -> None:
    """Hosts by their addresses, replicas too."""
    hosts = {**STEPS, "client": {"replicas": 2, **STEPS["client"]}}
    assert addresses(Story({"hosts": hosts}).evidence()) == {CLIENT: "client", SERVER: "server", SECOND: "client-2"}


def clock(host: str, sure_ns: int, **between: int) -> ClockFacts:
    """A host on a machine of its own."""
    return ClockFacts(host, "engine", 0, 0, 0, 0, 0, sure_ns, between)


def test_clocks_that_differ() -> None:
    """Two hosts' packets tell how far a time under way may be off; without packets, both their clocks' doubts do."""
    evidence = Story({}).evidence()
    assert unsure_delays(evidence) == {}
    told = with_records(evidence, clock("client", 3, server=2), clock("server", 4))
    assert unsure_delays(told) == {("client", "server"): 2, ("server", "client"): 7}


def test_more_phases_than_the_timeline_has() -> None:
    """A host that tells of phases that were never planned is held to the last one that was; nothing breaks."""
    of = asking(change(100, 1), change(200, 2), change(300, 3), delay="10ms", timeline=TIMELINE[:1])
    assert of.of_packet("client", "server", START_NS + 400 * MS, (1, 2)) == SLOWER
