"""Crafted packets: scapy builds each frame from a scenario's description, as far as it is known before the play.

One of the two rooms outside the tests where scapy is at home (the other takes frames apart for the report); it is
imported when a scenario injects, being slow to load.
A frame is whole: Ethernet, IP and TCP header with options, lengths and checksums. What only the wire tells, ports and
numbers of a live connection, goes along by name (`fill`), and the agent puts it in (`testbed.agent.inject`). The MAC is
always that of the host that sends, whatever address it speaks in the name of: so a capture shows who it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from testbed.scenario.headers import FREE, end_of

LETTERS = {
    "FIN": "F",
    "SYN": "S",
    "RST": "R",
    "PSH": "P",
    "ACK": "A",
    "URG": "U",
    "ECE": "E",
    "CWR": "C",
    "AE": "N",
}
WINDOW = 64240  # as a SYN of Linux has it
Step = Mapping[str, Any]


class Place(NamedTuple):
    """A host on the wire."""

    address: str
    mac: str


def craft_steps(steps: Iterable[Step], host: str, places: Mapping[str, Place]) -> list[Step]:
    """The steps of a host's program, with a frame in each `inject`."""
    return [_craft_step(step, host, places) for step in steps]


def _craft_step(step: Step, host: str, places: Mapping[str, Place]) -> Step:
    if "steps" in step:
        return {**step, "steps": craft_steps(step["steps"], host, places)}
    if step["step"] != "inject":
        return step
    kept = {key: step[key] for key in ("step", "error", "timeout_ns", "payload", "count", "await") if key in step}
    return {**kept, **craft(step, host, places)}


def craft(described: Step, host: str, places: Mapping[str, Place]) -> dict[str, Any]:
    """A frame, and what the agent shall fill in.

    `frame` (hex), `from_port` (number, `free`, or null for the live connection's), `to_port` (number or null), `fill`
    (by `seq`, `ack`, `tsval` and `tsecr`: the text to evaluate).
    """
    source, from_port = end_of(described["from"] or f"{host}:{FREE}")
    target, to_port = end_of(described["to"])
    numbers = {**_numbers(described, from_port == FREE), **_timestamps(described["options"])}
    fill = {name: value for name, value in numbers.items() if isinstance(value, str)}
    known = {name: value for name, value in numbers.items() if isinstance(value, int)}
    segment = TCP(
        sport=int(from_port) if from_port.isdigit() else 0,
        dport=int(to_port) if to_port else 0,
        flags="".join(LETTERS[flag] for flag in described["flags"].split("+") if flag),
        seq=known.get("seq", 0),
        ack=known.get("ack", 0),
        window=_window(described),
        options=_options(described["options"], known),
    )
    frame = Ether(src=places[host].mac, dst=places[target].mac) / _network(described, places, source, target) / segment
    return {
        "frame": bytes(frame).hex(),
        "from_port": FREE if from_port == FREE else int(from_port) if from_port else None,
        "to_port": int(to_port) if to_port else None,
        "fill": fill,
    }


def _network(described: Step, places: Mapping[str, Place], source: str, target: str) -> Any:
    here, there = places[source].address, places[target].address
    if ":" in here:
        return IPv6(src=here, dst=there, hlim=described["ttl"])
    return IP(src=here, dst=there, ttl=described["ttl"], id=0, flags="DF")  # as Linux sends what has no socket


def _numbers(described: Step, fresh: bool) -> dict[str, int | str]:
    """`seq` and `ack` as told; else those that the receiver expects, and of a connection that is not there yet 0."""
    acknowledges = "ACK" in described["flags"].split("+")
    unless_told: dict[str, int | str] = {
        "seq": 0 if fresh else "rcv_nxt",
        "ack": "snd_nxt" if acknowledges and not fresh else 0,
    }
    return {name: value if described[name] is None else described[name] for name, value in unless_told.items()}


def _window(described: Step) -> int:
    if described["window"] is not None:
        return int(described["window"])
    return 0 if "RST" in described["flags"] else WINDOW


def _timestamps(options: Mapping[str, Any]) -> dict[str, int | str]:
    if "tsval" not in options and "tsecr" not in options:
        return {}
    return {"tsval": options.get("tsval", "ts_recent"), "tsecr": options.get("tsecr", "ts_val")}


def _options(options: Mapping[str, Any], known: Mapping[str, int]) -> list[tuple[str, Any]]:
    """In scapy's words and Linux's order; what stands alone is filled up to 32 bits in front."""
    laid: list[tuple[str, Any]] = []
    if "mss" in options:
        laid.append(("MSS", options["mss"]))
    stamped = bool(_timestamps(options))
    if "sack_permitted" in options or stamped:
        filler: list[tuple[str, Any]] = [("NOP", None), ("NOP", None)]
        laid += [("SAckOK", b"")] if stamped and "sack_permitted" in options else filler
        laid.append(("Timestamp", (known.get("tsval", 0), known.get("tsecr", 0))) if stamped else ("SAckOK", b""))
    if "window_scale" in options:
        laid += [("NOP", None), ("WScale", options["window_scale"])]
    return laid
