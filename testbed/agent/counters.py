"""The kernel's counters of this network namespace, as nstat(8) prints them: what has changed from one look to the next.

A name is its group and its word in /proc/net/snmp and /proc/net/netstat, put together: TcpRetransSegs,
TcpExtSyncookiesSent; /proc/net/snmp6 has whole names. What is no count of events is left out: settings (TcpRtoMin) and
how many connections there are now. See Documentation/networking/snmp_counter.rst.
"""

from __future__ import annotations

import contextlib

TABLES = ("/proc/net/snmp", "/proc/net/netstat")
TABLE_IPV6 = "/proc/net/snmp6"
GROUPS = frozenset({"Ip", "IpExt", "Icmp", "Tcp", "TcpExt", "Udp"})
GROUPS_IPV6 = ("Ip6", "Icmp6", "Udp6")
NO_COUNTS = frozenset(
    {"IpForwarding", "IpDefaultTTL", "TcpRtoAlgorithm", "TcpRtoMin", "TcpRtoMax", "TcpMaxConn", "TcpCurrEstab"}
)


def read_counters() -> dict[str, int]:
    """Every counter by name. Raises OSError."""
    found: dict[str, int] = {}
    for path in TABLES:
        found.update(parse_table(_read(path)))
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
        found.update(parse_list(_read(TABLE_IPV6)))
    return found


def parse_table(text: str) -> dict[str, int]:
    """Two lines for each group: `Tcp: RetransSegs ...`, and `Tcp: 3 ...` with the numbers in the same order."""
    found = {}
    lines = text.splitlines()
    for words, numbers in zip(lines[::2], lines[1::2]):
        group, _, names = words.partition(":")
        if group in GROUPS:
            for name, number in zip(names.split(), numbers.partition(":")[2].split()):
                if group + name not in NO_COUNTS:
                    found[group + name] = int(number)
    return found


def parse_list(text: str) -> dict[str, int]:
    """One line for each counter: its whole name, and its number."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0].startswith(GROUPS_IPV6)}


def differences(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """What has changed, and by how much; a counter that came into being has counted from 0."""
    return {name: now - before.get(name, 0) for name, now in after.items() if now != before.get(name, 0)}


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123 (pathlib is slow to load)
        return file.read()
