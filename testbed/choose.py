"""Which connections are wanted: the small language of `testbed analyze --filter`. Pure.

`host=10.0.0.1,port=443,state=SF`: conditions, all of which must hold; `state=S0|REJ` is true of either. A host is an
address, or a network such as 10.0.0.0/8; host and port mean either end.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from ipaddress import ip_address, ip_network

from testbed.errors import UsageError
from testbed.summary import Summary
from testbed.tcp.connection import HandshakeOutcome, TeardownKind

Wanted = Callable[[Summary], bool]

# Zeek's conn_state (scripts/base/protocols/conn/main.zeek)
STATES = ("S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH", "SHR", "OTH")
EXAMPLE = "host=10.0.0.1,port=443,state=SF"


def parse_filter(text: str) -> Wanted:
    """What a filter asks for. Raises UsageError that says which part cannot be."""
    conditions = [_condition(part.strip(), text) for part in text.split(",")]
    return lambda summary: all(condition(summary) for condition in conditions)


def _condition(part: str, whole: str) -> Wanted:
    key, equals, value = (piece.strip() for piece in part.partition("="))
    if not equals or not key or not value:
        raise _mistake(whole, f"{part!r} is not KEY=VALUE", f"write such as {EXAMPLE}; a comma means and")
    if key not in _KEYS:
        near = get_close_matches(key, _KEYS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}? " if near else ""
        raise _mistake(whole, f"there is no key {key!r}", f"{hint}keys are: {', '.join(_KEYS)}")
    choices = [_KEYS[key](choice.strip(), whole) for choice in value.split("|")]
    return lambda summary: any(choice(summary) for choice in choices)


def _mistake(whole: str, says: str, remedy: str) -> UsageError:
    return UsageError(f"--filter {whole}: {says}", remedy=remedy)


def _host(value: str, whole: str) -> Wanted:
    try:
        network = ip_network(value, strict=False)
    except ValueError as error:
        raise _mistake(
            whole, f"host {value!r} is no address", "write an address, or a network as 10.0.0.0/8"
        ) from error
    if network.num_addresses == 1:
        address = str(network.network_address)
        return lambda summary: address in (summary.client[0], summary.server[0])
    return lambda summary: any(ip_address(end[0]) in network for end in (summary.client, summary.server))


def _port(value: str, whole: str) -> Wanted:
    if not (value.isascii() and value.isdigit() and int(value) <= 0xFFFF):
        raise _mistake(whole, f"port {value!r} is no port", "write a number from 0 to 65535")
    port = int(value)
    return lambda summary: port in (summary.client[1], summary.server[1])


def _word(key: str, words: tuple[str, ...], fact: Callable[[Summary], str]) -> Callable[[str, str], Wanted]:
    known = {word.lower(): word for word in words}

    def condition(value: str, whole: str) -> Wanted:
        if value.lower() not in known:
            near = get_close_matches(value.lower(), known, n=1, cutoff=0.6)
            hint = f"did you mean {known[near[0]]}? " if near else ""
            raise _mistake(whole, f"there is no {key} {value!r}", f"{hint}it is one of: {', '.join(words)}")
        wanted = known[value.lower()]
        return lambda summary: fact(summary) == wanted

    return condition


_KEYS: dict[str, Callable[[str, str], Wanted]] = {
    "host": _host,
    "port": _port,
    "state": _word("state", STATES, lambda summary: summary.state),
    "outcome": _word("outcome", tuple(HandshakeOutcome), lambda summary: summary.outcome),
    "closed": _word("way to close", tuple(TeardownKind), lambda summary: summary.closing),
}
