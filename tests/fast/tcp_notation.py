"""Conversations in a few lines of packetdrill-like text, for the tests of `testbed.tcp`.

One packet a line: `[time] side> FLAGS first:last(length) [ack n] [win n] [id n] [ttl n] [bad] [<options>]`, for example

    0.0 c> S 0:0(0) win 65535 <mss 1460,sackOK,TS,wscale 7>
    0.1 s> S. 0:0(0) ack 1 <mss 1460>
    0.2 c> P. 1:28(27) ack 1

Sides are c and s; flags are S F R P . (ACK) E W A (AE), or `-` for none. Sequence numbers are relative to each ISN,
`ack` and `sack` edges to the other's. Without a time, packets come 10 ms apart. `#` starts a comment.
"""

from __future__ import annotations

import re
from itertools import pairwise

from testbed.packet import NO_OPTIONS, Flags, Options, Packet
from testbed.tcp.connection import Connection
from testbed.tcp.trace import trace_connections

CLIENT = ("198.18.0.1", 40000)
SERVER = ("198.18.0.2", 7456)
ISN = {"c": 1000, "s": 5000}
STEP_NS = 10_000_000

_FLAGS = {
    "S": Flags.SYN,
    "F": Flags.FIN,
    "R": Flags.RST,
    "P": Flags.PSH,
    ".": Flags.ACK,
    "E": Flags.ECE,
    "W": Flags.CWR,
    "A": Flags.AE,
    "-": Flags.NONE,
}
_LINE = re.compile(
    r"(?:(?P<time>[\d.]+)\s+)?(?P<side>[cs])>\s+(?P<flags>[SFRP.EWA-]+)\s+(?P<first>-?\d+):(?P<last>-?\d+)"
    r"\((?P<length>\d+)\)(?P<rest>[^<]*)(?:<(?P<options>[^>]*)>)?$"
)


def conversation(
    text: str,
    *,
    isn: dict[str, int] | None = None,
    client: tuple[str, int] = CLIENT,
    server: tuple[str, int] = SERVER,
    first_number: int = 1,
    start_ns: int = 0,
) -> list[Packet]:
    """The packets that `text` describes."""
    packets: list[Packet] = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if line:
            at = start_ns + len(packets) * STEP_NS
            packets.append(_packet(line, first_number + len(packets), at, isn or ISN, client, server))
    return packets


def trace(text: str, **kept: dict[str, int] | None) -> Connection:
    """The one connection of a conversation."""
    (connection,) = trace_connections(conversation(text, isn=kept.get("isn")))
    return connection


def rules(connection: Connection) -> dict[str, bool]:
    """The audit's findings: rule -> sure."""
    return {finding.rule: finding.sure for finding in connection.audit}


def _packet(
    line: str, number: int, at: int, isn: dict[str, int], client: tuple[str, int], server: tuple[str, int]
) -> Packet:
    found = _LINE.match(line)
    assert found, f"not in the notation: {line}"
    side = found["side"]
    words = found["rest"].split()
    said = {key: int(value) for key, value in pairwise(words) if key in ("ack", "win", "id", "ttl")}
    flags = Flags.NONE
    for letter in found["flags"]:
        flags |= _FLAGS[letter]
    first, length = int(found["first"]), int(found["length"])
    assert int(found["last"]) - first == length, f"last - first is not the length: {line}"
    source, destination = (client, server) if side == "c" else (server, client)
    other = isn["s" if side == "c" else "c"]
    return Packet(
        number=number,
        time_ns=int(float(found["time"]) * 1e9) if found["time"] else at,
        source=source[0],
        source_port=source[1],
        destination=destination[0],
        destination_port=destination[1],
        sequence=(isn[side] + first) % 2**32,
        acknowledgement=(other + said["ack"]) % 2**32 if "ack" in said else 0,
        flags=flags,
        window=said.get("win", 65535),
        options=_options(found["options"], other) if found["options"] else NO_OPTIONS,
        payload=bytes((first + i) % 251 for i in range(length)),
        payload_length=length,
        checksum_ok=False if "bad" in words else None,
        ip_id=said.get("id"),
        ttl=said.get("ttl", 0),
    )


def _options(text: str, other: int) -> Options:
    words = [part.split() for part in text.split(",")]
    named = {word[0]: word[1:] for word in words}
    return Options(
        mss=int(named["mss"][0]) if "mss" in named else None,
        window_scale=int(named["wscale"][0]) if "wscale" in named else None,
        sack_permitted="sackOK" in named,
        sack=(_block(named["sack"], other),) if "sack" in named else (),
        timestamps=(int((named["TS"] or ["1"])[0]), 1) if "TS" in named else None,
        fast_open=bytes.fromhex("".join(named["FO"])) if "FO" in named else None,
        mptcp="mptcp" in named,
        md5="md5" in named,
        malformed="malformed" in named,
    )


def _block(edges: list[str], other: int) -> tuple[int, int]:
    left, right = edges
    return (other + int(left)) % 2**32, (other + int(right)) % 2**32
