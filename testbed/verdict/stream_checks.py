"""Checks of the bytes that the wire carried: the whole stream of a connection each way, and UDP's payloads in order.

What a file held is not known here; a step that sent it told how many bytes they were, and their SHA-256.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from random import Random

from testbed.evidence import StepOutcome
from testbed.packet import Packet, Protocol
from testbed.scenario.steps import Payload, Send, SendTo
from testbed.tcp.connection import Connection, Role
from testbed.verdict.connection_checks import MOST, nothing_seen, who
from testbed.verdict.kind import Answer, Kind, Question, expected
from testbed.verdict.ledger import endpoint
from testbed.verdict.program_checks import find_step, outcomes, program
from testbed.verdict.value import Outcome
from testbed.verdict.view import View

SHOWN = 80  # characters of a payload in a message
AROUND = 12  # bytes on either side of a difference


def content(payload: Payload) -> bytes | None:
    """The bytes of a payload; None for a file, which is not at hand here."""
    if payload.text is not None:
        return payload.text.encode()
    if payload.hex is not None:
        return bytes.fromhex(payload.hex)
    return None if payload.random is None else Random(payload.seed).randbytes(payload.random)


def show_payload(payload: Payload) -> str:
    """A payload as a scenario writes it."""
    if payload.text is not None:
        return show_bytes(payload.text.encode())
    if payload.hex is not None:
        return f"{{hex: {payload.hex if len(payload.hex) <= SHOWN else payload.hex[:SHOWN] + '...'}}}"
    if payload.file is not None:
        return f"{{file: {payload.file}}}"
    return f"{{random: {payload.random}, seed: {payload.seed}}}"


def show_bytes(data: bytes) -> str:
    """Bytes as a scenario writes them; of many, how many and their SHA-256."""
    if len(data) > SHOWN:
        return f"{len(data)} bytes, SHA-256 {sha256(data).hexdigest()[:16]}..."
    text = data.decode("utf-8", errors="replace")
    if "\ufffd" not in text and all(character.isprintable() or character in "\r\n\t" for character in text):
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
    return f"{{hex: {data.hex()}}}"


def differ(seen: bytes, wanted: bytes) -> tuple[int, str]:
    """Where bytes first differ from those wanted, and how, in words."""
    at = next((n for n, (a, b) in enumerate(zip(seen, wanted, strict=False)) if a != b), min(len(seen), len(wanted)))
    if at == len(seen):
        return at, f"it ends after {len(seen)} of {len(wanted)} bytes"
    if at == len(wanted):
        return at, f"it goes on after the {len(wanted)} bytes wanted, with {show_bytes(seen[at : at + 2 * AROUND])}"
    there = slice(max(0, at - AROUND), at + AROUND)
    return at, f"byte {at} is the first that differs: {show_bytes(seen[there])} instead of {show_bytes(wanted[there])}"


def _payload(view: View, question: Question) -> Answer:
    role = Role(question.key.partition("->")[0])
    if not view.connections:
        return nothing_seen(view, show_payload(question.wanted))
    answers = [_stream(view, connection, role, question.wanted) for connection in view.connections]
    for verdict in (Outcome.FAILED, Outcome.UNKNOWN):
        if (first := next((answer for answer in answers if answer.verdict is verdict), None)) is not None:
            return first
    packets = tuple(sorted({number for answer in answers for number in answer.packets}))[:MOST]
    seen = answers[0].seen + (f" ({len(answers)} connections)" if len(answers) > 1 else "")
    return Answer(Outcome.PASSED, answers[0].expected, seen, "", packets)


def _stream(view: View, connection: Connection, role: Role, wanted: Payload) -> Answer:
    flow = connection.flow(role)
    expected_text, seen = show_payload(wanted), show_bytes(flow.stream)
    evidence = (flow.data_packets or connection.packets[:1])[:MOST]
    if flow.gaps:
        why = f"{who(view, connection)}: {flow.gaps} pieces of the {role.value}'s stream were never captured"
        return Answer(Outcome.UNKNOWN, expected_text, seen, why, evidence)
    data = content(wanted)
    if data is None:
        return _file(view, connection, role, wanted, evidence)
    if flow.stream == data:
        return Answer(Outcome.PASSED, expected_text, seen, "", evidence)
    at, how = differ(flow.stream, data)
    holder = _holder(view, connection, role, at)
    told = f"; {view.say(holder)}" if holder is not None else f"; the last of its packets: {view.say(evidence[-1])}"
    why = f"the {role.value}'s stream on {who(view, connection)} is not what was expected: {how}{told}"
    return Answer(Outcome.FAILED, expected_text, seen, why, evidence if holder is None else (holder,))


def _holder(view: View, connection: Connection, role: Role, offset: int) -> int | None:
    """The first packet that carried this byte of the stream."""
    isn = connection.client_isn if role is Role.CLIENT else connection.server_isn
    if isn is None:
        return None
    for number in connection.flow(role).data_packets:
        packet = view.by_number[number]
        start = (packet.sequence - isn - 1) % 2**32
        if start <= offset < start + packet.payload_length:
            return number
    return None


def _file(view: View, connection: Connection, role: Role, wanted: Payload, evidence: tuple[int, ...]) -> Answer:
    end = connection.client if role is Role.CLIENT else connection.server
    stream = connection.flow(role).stream
    host = view.host(end.address)
    steps = list(_sent(view, host, wanted.file))
    ours = [step for step in steps if step.local == endpoint(end.address, end.port)] or steps
    return _compare_digest(
        view, stream, ours, wanted, f"the {role.value}'s stream on {who(view, connection)}", evidence
    )


def _compare_digest(
    view: View, data: bytes, steps: list[StepOutcome], wanted: Payload, what: str, evidence: tuple[int, ...]
) -> Answer:
    expected_text, seen = show_payload(wanted), show_bytes(data)
    whole = [step for step in steps if step.outcome == "ok" and step.sha256]
    if any(step.sha256 == sha256(data).hexdigest() for step in whole):
        return Answer(Outcome.PASSED, expected_text, seen, "", evidence)
    if whole:
        sent = f"{whole[0].bytes} bytes, SHA-256 {str(whole[0].sha256)[:16]}..., were sent from it"
        seen_text = f"{len(data)} bytes, SHA-256 {sha256(data).hexdigest()[:16]}..., were on the wire"
        why = f"{what} is not file {wanted.file}: {sent}, {seen_text}; {view.say(evidence[-1])}"
        return Answer(Outcome.FAILED, expected_text, seen, why, evidence)
    if (failed := next((step for step in steps if step.outcome != "ok"), None)) is not None:
        how = failed.errno or failed.outcome
        why = f"{what} cannot be file {wanted.file}: the step that sends it ended with {how}"
        return Answer(Outcome.FAILED, expected_text, seen, why, evidence)
    why = f"what file {wanted.file} holds is not known: no step is known to have sent it"
    return Answer(Outcome.UNKNOWN, expected_text, seen, why, evidence)


def _sent(view: View, host: str, name: str | None) -> Iterator[StepOutcome]:
    """The steps of a host that sent this file."""
    if not any(plan.name == host for plan in view.plan.hosts):
        return
    _, its = program(view, host)
    for outcome in outcomes(view, host):
        step = find_step(its, outcome.path)
        payload = step.send if isinstance(step, Send) else step.data if isinstance(step, SendTo) else None
        if payload is not None and payload.file == name:
            yield outcome


def _datagrams(view: View, question: Question) -> Answer:
    source, _, destination = question.key.partition("->")
    wanted: tuple[Payload, ...] = question.wanted
    packets = [p for p in view.wire if p.protocol == Protocol.UDP and _between(view, p, source, destination)]
    expected_text = f"[{', '.join(map(show_payload, wanted))}]"
    seen = f"[{', '.join(show_bytes(packet.payload) for packet in packets)}]"
    evidence = tuple(packet.number for packet in packets)[:MOST]
    for index, payload in enumerate(wanted):
        if index >= len(packets):
            told = f": {view.say_all(evidence)}" if evidence else ""
            why = f"the wire saw {len(packets)} of {len(wanted)} datagrams from {source} to {destination}{told}"
            return Answer(Outcome.FAILED, expected_text, seen, why, evidence)
        verdict, why = _datagram(view, packets[index], payload, index)
        if verdict is not Outcome.PASSED:
            return Answer(verdict, expected_text, seen, why, (packets[index].number,))
    if len(packets) > len(wanted):
        extra = packets[len(wanted)].number
        why = f"the wire saw {len(packets) - len(wanted)} datagrams more than expected: {view.say(extra)}"
        return Answer(Outcome.FAILED, expected_text, seen, why, (extra,))
    return Answer(Outcome.PASSED, expected_text, seen, "", evidence)


def _datagram(view: View, packet: Packet, wanted: Payload, index: int) -> tuple[Outcome, str]:
    what = f"datagram {index + 1}"
    data = content(wanted)
    if data is None:
        steps = list(_sent(view, view.host(packet.source), wanted.file))
        answer = _compare_digest(view, packet.payload, steps, wanted, what, (packet.number,))
        return answer.verdict, answer.why
    if packet.payload == data:
        return Outcome.PASSED, ""
    why = f"{what} is not what was expected: {differ(packet.payload, data)[1]}; {view.say(packet.number)}"
    return Outcome.FAILED, why


def _between(view: View, packet: Packet, source: str, destination: str) -> bool:
    def is_one(address: str, name: str) -> bool:
        host = view.hosts.get(address)
        return any(plan.name == host and name in (plan.name, plan.role) for plan in view.plan.hosts)

    return is_one(packet.source, source) and is_one(packet.destination, destination)


CHECKS = (
    Kind(expected("payload.*"), _payload, rests_on_packets=True, rests_on_payload=True),
    Kind(expected("datagrams.*"), _datagrams, rests_on_packets=True, rests_on_payload=True),
)
