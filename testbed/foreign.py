"""A capture of somebody else's, looked at as if it were a run: its ladder, and a scenario's expectations of it. Pure.

There is one vantage point, which is taken for the wire, and nothing is known of hosts and programs. So expectations
that rest on packets alone are judged; those that need hosts, sockets or what the wire did are told not to apply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from testbed.evidence import WIRE, Evidence, HostFacts, RunFacts
from testbed.packet import Packet
from testbed.pcap.frame import Capture, Interface
from testbed.plan import make_plan
from testbed.report import text
from testbed.report.facts import list_packets
from testbed.report.style import ASCII, UNICODE, Glyphs, Line, fit, labelled
from testbed.scenario.model import Expect, Host, Scenario
from testbed.scenario.read import Located
from testbed.tcp.connection import Connection
from testbed.verdict import checks, connection_checks, stream_checks
from testbed.verdict.asked import Asking
from testbed.verdict.judge import sum_up
from testbed.verdict.value import Check, Judgement, Outcome, Trip
from testbed.verdict.view import View

# what of `expect:` can be told from packets alone
APPLICABLE = frozenset(
    {
        "bytes", "completeness", "conn_state", "connections", "handshake", "history", "payload", "retransmits",
        "teardown",
    }
)  # fmt: skip
_KINDS = (*connection_checks.CHECKS, *stream_checks.CHECKS)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a foreign capture shows: some connections, every TCP packet with its payload, and what was not seen."""

    file: str
    connections: tuple[Connection, ...]
    packets: tuple[Packet, ...]
    interfaces: tuple[Interface, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opinion:
    """A scenario's expectations held against a foreign capture."""

    verdict: Outcome
    checks: tuple[Check, ...]
    not_applicable: tuple[str, ...]  # "states.client"


def judge_foreign(seen: Seen, located: Located, name: str) -> Opinion:
    """Judge by what the scenario expects; unknown where nothing of it can be told from packets."""
    evidence = _evidence(seen, located, name)
    by_number = {packet.number: packet for packet in seen.packets}
    plan = make_plan(name, located.scenario)
    view = View(
        evidence=evidence,
        plan=plan,
        expect=located.scenario.expect,  # whose kernels these were, nobody knows
        places={},
        trace=evidence.captures[WIRE],
        packets=seen.packets,
        wire=seen.packets,
        connections=seen.connections,
        trips=(),
        faults=(),
        traffic=(),
        asking=Asking.of(plan, ()),
        hosts={},
        again=frozenset(),
        shortcomings={},
        broken=(),
        blind=seen.warnings,
        cut=tuple(_cut(seen)),
        by_number=by_number,
        trip_of={},
    )
    asked = [(kind, question) for kind in _KINDS for question in kind.ask(view) if _applies(question.name)]
    found = tuple(checks.conclude(view, kind, question, kind.answer(view, question), "") for kind, question in asked)
    verdict = sum_up(found) if found else Outcome.UNKNOWN
    return Opinion(verdict, found, tuple(_not_applicable(located.scenario.expect)))


def _applies(name: str) -> bool:
    return name.partition(".")[0] in APPLICABLE


def _not_applicable(expect: Expect) -> Iterator[str]:
    for name in type(expect).model_fields:
        value = getattr(expect, name)
        if value and name not in APPLICABLE:
            keys = value if isinstance(value, dict) else [of.kernel.show() for of in value]
            yield from (f"{name}.{getattr(key, 'value', key)}" for key in keys)


def _cut(seen: Seen) -> Iterator[str]:
    ours = {number for connection in seen.connections for number in connection.packets}
    short = [p for p in seen.packets if len(p.payload) < p.payload_length and p.number in ours]
    if short:
        yield f"{len(short)} packets were not captured whole, the first is packet {short[0].number}"


def render_ladder(seen: Seen, number: int, *, width: int, unicode: bool) -> list[Line]:
    """The ladder of one of the connections, counting from 1."""
    connection = seen.connections[number - 1]
    mine = frozenset(connection.packets)
    packets = tuple(packet for packet in seen.packets if packet.number in mine)
    hosts = _hosts(connection)
    names = {(facts.address, facts.role): facts.host for facts in hosts}
    scenario = Scenario(summary="a foreign capture", hosts={"client": Host(), "server": Host()})
    evidence = _evidence(seen, Located(scenario, seen.file, "", {}), seen.file)
    judgement = Judgement(
        verdict=Outcome.UNKNOWN,
        checks=(),
        connections=(connection,),
        trips=tuple(_trip(packet, connection, names) for packet in packets),
        packets=packets,
        trace=evidence.captures[WIRE],
        evidence=replace(evidence, records=(*evidence.records, *hosts)),
    )
    lines = text.draw_ladder(judgement, width, UNICODE if unicode else ASCII)
    return [fit(line, width) for line in lines]


def _hosts(connection: Connection) -> tuple[HostFacts, ...]:
    """Both ends as hosts, each with its port in the name: they may share an address."""
    ends = (("client", connection.client), ("server", connection.server))
    return tuple(HostFacts(text.show_endpoint(end), role, end.address, "", "", "") for role, end in ends)


def _trip(packet: Packet, connection: Connection, names: dict[tuple[str, str], str]) -> Trip:
    client, server = connection.client, connection.server
    ends = names[client.address, "client"], names[server.address, "server"]
    from_client = (packet.source, packet.source_port) == (client.address, client.port)
    source, destination = ends if from_client else ends[::-1]
    return Trip(
        source=source,
        destination=destination,
        sent=None,
        wire=packet.number,
        arrived=None,
        delivered=None,
        sent_ns=None,
        ended_ns=packet.time_ns,
        fate="delivered",
    )


def _evidence(seen: Seen, located: Located, name: str) -> Evidence:
    """The capture as what a sniffer left of a run."""
    interfaces = tuple(
        replace(interface, name=interface.name or f"interface {at}") for at, interface in enumerate(seen.interfaces)
    )
    run = RunFacts(
        run_id="",
        scenario=name,
        scenario_file=located.file,
        backend="",
        backend_why="",
        engine="none",
        engine_why="",
        family=located.scenario.family,
        seed=located.scenario.seed,
        started_ns=min((packet.time_ns for packet in seen.packets), default=0),
        versions={},
        sysctls={},
        lines={".".join(map(str, path)): line for path, line in located.lines.items()},
    )
    return Evidence(located.scenario, (run,), {WIRE: Capture(interfaces, (), warnings=seen.warnings)})


def render_opinion(opinion: Opinion, name: str, file: str, *, width: int, unicode: bool) -> list[Line]:
    """What did not pass, in full; what did; what could not be asked; the verdict last."""
    glyphs = UNICODE if unicode else ASCII
    bad = [check for check in opinion.checks if check.verdict is not Outcome.PASSED]
    lines = [line for check in bad for line in _tell(check, file, width, glyphs)]
    lines += text.short_checks([check for check in opinion.checks if check.verdict is Outcome.PASSED], width, glyphs)
    if opinion.not_applicable:
        skipped = f"{', '.join(opinion.not_applicable)}: not applicable, a capture does not tell"
        lines += labelled(("no matter", "dim"), skipped, width=width, glyphs=glyphs)
    counted = {outcome: sum(check.verdict is outcome for check in opinion.checks) for outcome in Outcome}
    told = ", ".join(f"{count} {outcome}" for outcome, count in counted.items() if count) or "nothing could be checked"
    lines.append(((f"{opinion.verdict:<10}  ", opinion.verdict), (f"by what {name} expects: {told}", "")))
    return [fit(line, width) for line in lines]


def _tell(check: Check, file: str, width: int, glyphs: Glyphs) -> list[Line]:
    where = f"{file}:{check.line}" if check.line is not None else file
    lines: list[Line] = [((f"{check.verdict:<8}", check.verdict), (check.name, "bold"), (f"  {where}", "dim"))]
    told = {
        "expected": check.expected,
        "seen": check.seen,
        "why": check.why,
        "packets": list_packets(check.packets),
    }
    for label, said in told.items():
        lines += labelled((label, "dim"), said, width=width, glyphs=glyphs, indent=8)
    return lines
