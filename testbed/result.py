"""`result.json`: what a run found, for other programs. Schema 1; keys are added, never changed.

Times are milliseconds since the run started, to the microsecond. The same judgement gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from testbed.agent.impairments import Impairment, to_message
from testbed.evidence import (
    CaptureCount,
    ClockFacts,
    Counters,
    Evidence,
    HostFacts,
    LinkCount,
    LogLine,
    Problem,
    ProgramEnd,
    StateSample,
    StepOutcome,
    TableSnapshot,
    Timing,
)
from testbed.joining import join
from testbed.tcp.connection import Connection, Endpoint, Finding, Flow
from testbed.verdict.asked import addresses
from testbed.verdict.merge import dropped, vantages
from testbed.verdict.odds import interval
from testbed.verdict.value import Check, Judgement
from testbed.verdict.wire import Share, Traffic

SCHEMA = 1
PHASES = ("lab_up", "play", "collect", "judge", "lab_down", "total")
VERSIONS = ("kernel", "testbed", "docker", "compose")
QUANTILES = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}

Json = dict[str, Any]


def result_json(judgement: Judgement) -> str:
    """The judgement as the text of `result.json`."""
    return join(json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(_result(judgement))) + "\n"


def _result(judgement: Judgement) -> Json:
    evidence = judgement.evidence
    run = evidence.run
    hosts = addresses(evidence)
    return {
        "schema": SCHEMA,
        "scenario": run.scenario,
        "verdict": judgement.verdict.value,
        "summary": evidence.scenario.summary,
        "run_id": run.run_id,
        "file": run.scenario_file,
        "backend": run.backend,
        "backend_why": run.backend_why,
        "engine": run.engine,
        "engine_why": run.engine_why,
        "seed": run.seed,
        "family": run.family,
        "environment": _environment(evidence),
        "checks": [_check(check) for check in judgement.checks],
        "problems": [{"where": problem.where, "says": problem.says} for problem in evidence.all(Problem)],
        "connections": [describe_connection(connection, hosts) for connection in judgement.connections],
        "hosts": {facts.host: _host(evidence, facts) for facts in evidence.all(HostFacts)},
        "wire": _wire(judgement),
        "faults": [
            {
                "at_ms": _since(hit.time_ns, run.started_ns),
                "rule": hit.says,
                "index": hit.rule,
                "host": hit.host,
                "packet": hit.packet,
                "made": list(hit.made),
            }
            for hit in judgement.faults
        ],
        "captures": _captures(evidence),
        **_clocks(evidence),
        "timing_ms": _timing(evidence),
    }


def _environment(evidence: Evidence) -> Json:
    versions = evidence.run.versions
    named = {name: versions.get(name, "") for name in (*VERSIONS, *sorted(set(versions) - set(VERSIONS)))}
    lab = {"lab": evidence.run.lab, "lab_id": evidence.run.lab_id or evidence.run.run_id}
    return {**named, **lab, "sysctls": dict(sorted(evidence.run.sysctls.items()))}


def _check(check: Check) -> Json:
    return {
        "name": check.name,
        "verdict": check.verdict.value,
        "expected": check.expected,
        "seen": check.seen,
        "why": check.why,
        "packets": list(check.packets),
        "line": check.line,
    }


def describe_connection(connection: Connection, hosts: Mapping[str, str]) -> Json:
    """A connection as `result.json` and `testbed analyze --json` show it; `hosts` gives host names by address."""
    handshake, teardown = connection.handshake, connection.teardown
    return {
        "client": _endpoint(connection.client, hosts),
        "server": _endpoint(connection.server, hosts),
        "handshake": {
            "outcome": handshake.outcome.value,
            "duration_ms": _ms(handshake.duration_ns),
            "syns": handshake.syns,
            "syn_acks": handshake.syn_acks,
            "syn_retransmits": handshake.syn_retransmits,
            "synack_retransmits": handshake.synack_retransmits,
            "options": {"client": asdict(handshake.client_options), "server": asdict(handshake.server_options)},
            "packets": list(handshake.packets),
        },
        "teardown": {
            "kind": teardown.kind.value,
            "closed_first": teardown.closed_first.value if teardown.closed_first else None,
            "fin_retransmits": teardown.fin_retransmits,
            "reset_by": teardown.reset_by.value if teardown.reset_by else None,
            "reset_state": teardown.reset_state,
            "packets": list(teardown.packets),
        },
        "bytes": {
            "client_to_server": connection.client_flow.bytes,
            "server_to_client": connection.server_flow.bytes,
        },
        "retransmits": {"client": connection.client_flow.retransmits, "server": connection.server_flow.retransmits},
        "flows": {"client": _flow(connection.client_flow), "server": _flow(connection.server_flow)},
        "conn_state": connection.conn_state,
        "history": connection.history,
        "completeness": connection.completeness,
        "packets": len(connection.packets),
        "audit": [_finding(finding) for finding in connection.audit],
    }


def _endpoint(end: Endpoint, hosts: Mapping[str, str]) -> Json:
    return {"host": hosts.get(end.address), "address": end.address, "port": end.port}


def _flow(flow: Flow) -> Json:
    return {
        "segments": flow.segments,
        "out_of_order": flow.out_of_order,
        "duplicate_acks": flow.duplicate_acks,
        "zero_windows": flow.zero_windows,
        "gaps": flow.gaps,
    }


def _finding(finding: Finding) -> Json:
    return {
        "rule": finding.rule,
        "section": finding.section,
        "kind": finding.kind.value,
        "says": finding.says,
        "packets": list(finding.packets),
        "sure": finding.sure,
    }


def _host(evidence: Evidence, facts: HostFacts) -> Json:
    started = evidence.run.started_ns

    def mine(records: Iterable[Any]) -> list[Any]:
        return [record for record in records if record.host == facts.host]

    return {
        "role": facts.role,
        "address": facts.address,
        "mac": facts.mac,
        "steps": [_step(step, started) for step in mine(evidence.all(StepOutcome))],
        "states": [
            {
                "at_ms": _since(sample.time_ns, started),
                "socket": sample.socket,
                "from": sample.before,
                "to": sample.after,
            }
            for sample in mine(evidence.all(StateSample))
        ],
        "counters": {name: n for counted in mine(evidence.all(Counters)) for name, n in counted.changed.items()},
        "snapshots": [_snapshot(table, started) for table in mine(evidence.all(TableSnapshot))],
        "logs": [{"at_ms": _since(line.time_ns, started), "line": line.line} for line in mine(evidence.all(LogLine))],
        "ends": [
            {"at_ms": _since(end.time_ns, started), "exit": end.exit, "signal": end.signal, "held": end.held}
            for end in mine(evidence.all(ProgramEnd))
        ],
    }


def _step(step: StepOutcome, started_ns: int) -> Json:
    return {
        "step": step.step,
        "outcome": step.outcome,
        "errno": step.errno,
        "start_ms": _since(step.start_ns, started_ns),
        "end_ms": _since(step.end_ns, started_ns),
        "path": step.path,
        "round": list(step.round),
        "says": step.says,
        "local": step.local,
        "peer": step.peer,
        "bytes": step.bytes,
        "sha256": step.sha256,
    }


def _snapshot(table: TableSnapshot, started_ns: int) -> Json:
    return {
        "name": table.name,
        "at_ms": _since(table.time_ns, started_ns),
        "rows": [asdict(row) for row in table.rows],
    }


def _wire(judgement: Judgement) -> Json:
    return {traffic.name: _traffic(traffic, judgement.evidence) for traffic in judgement.traffic}


def _traffic(traffic: Traffic, evidence: Evidence) -> Json:
    told = _share(traffic.whole)
    if len(traffic.shares) > 1:  # of one direction several things were asked: by time, or by port
        told["shares"] = [{"phase": share.phase, **_share(share)} for share in traffic.shares]
    count = next((one for one in evidence.all(LinkCount) if one.host == traffic.whole.destination), None)
    if count is not None:
        told["link"] = {
            "taken": count.taken,
            "delivered": count.delivered,
            "dropped_by": {reason: number for reason, number in count.dropped_by.items() if number},
            "qdiscs": list(count.qdiscs),
        }
    return told


def _share(share: Share) -> Json:
    return {
        "asked": _asked(share.asked),
        "had": _had(share),
        "packets": share.packets,
        "delivered": share.delivered,
        "lost": share.lost,
        "lost_by_fault": share.by_fault,
        "lost_by_queue": share.by_queue,
        "never_captured": share.unexplained,
        "duplicates": share.duplicates,
        "corrupted": share.corrupted,
    }


def _had(share: Share) -> Json:
    had: Json = {}
    if share.delays_ns:
        had["delay_ms"] = {name: _ms(share.quantile_ns(part)) for name, part in QUANTILES.items()}
        if share.unsure_ns:
            had["delay_unsure_ms"] = _ms(share.unsure_ns)
    if share.loss_percent is not None:
        had["loss_percent"] = round(share.loss_percent, 3)
    if (bounds := interval(share.lost_by_chance, share.chances)) is not None:
        had["loss_interval_percent"] = [round(100 * bound, 3) for bound in bounds]
    if share.rate_bit is not None:
        had["rate_bit"] = round(share.rate_bit)
    return had


def _asked(impairment: Impairment) -> Json:
    """In milliseconds, percent and bit per second; what was not asked for is left out."""
    return dict(
        (f"{name.removesuffix('_ns')}_ms", _ms(value)) if name.endswith("_ns") else (name, value)
        for name, value in to_message(impairment).items()
    )


def _captures(evidence: Evidence) -> list[Json]:
    missed = dropped(evidence)
    counted = {count.vantage: count.packets for count in evidence.all(CaptureCount)}
    names = (*vantages(evidence), *sorted(set(counted) - set(evidence.captures)))
    return [
        {
            "vantage": name,
            "packets": len(evidence.captures[name].frames) if name in evidence.captures else counted[name],
            "dropped": missed.get(name, 0),
            "stored": name in evidence.captures,
        }
        for name in names
    ]


def _clocks(evidence: Evidence) -> Json:
    """Where hosts are on engines of their own: which, how far its clock was ahead of ours, and how sure that is."""
    clocks = evidence.all(ClockFacts)
    told = [
        {
            "host": clock.host,
            "engine": clock.engine,
            "ahead_ms": [_ms(clock.before_ns), _ms(clock.after_ns)],
            "unsure_ms": _ms(clock.sure_ns),
            "unsure_to_ms": {peer: _ms(unsure) for peer, unsure in clock.between.items()},
        }
        for clock in clocks
    ]
    return {"clocks": told} if told else {}


def _timing(evidence: Evidence) -> Json:
    """The phases that were measured; one that was not (nothing came to it) took no time."""
    phases: dict[str, float] = {}
    for timing in evidence.all(Timing):
        phases.update(timing.phases)
    return {name: phases.get(name, 0.0) for name in (*PHASES, *sorted(set(phases) - set(PHASES)))}


def _ms(time_ns: int | None) -> float | None:
    return None if time_ns is None else round(time_ns / 1e6, 3)


def _since(time_ns: int, started_ns: int) -> float:
    return round((time_ns - started_ns) / 1e6, 3)
