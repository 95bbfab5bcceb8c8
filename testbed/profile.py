"""The default profile: the sysctls that decide what Linux's TCP does and when, pinned on every host.

A run must mean the same on another kernel, so nothing here is left to the distribution's defaults. Names and meanings:
Documentation/networking/ip-sysctl.rst. `since` is the first kernel that has the name in a network namespace; setting an
unknown sysctl would keep a container from starting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Version = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pin:
    """One pinned sysctl."""

    name: str
    value: str
    since: Version = (4, 15)


PROFILE = (
    Pin("net.ipv4.tcp_syn_retries", "6"),
    # Since 6.5 the first four SYN timeouts are 1 s each unless told; 0 gives the back-off that all kernels share.
    Pin("net.ipv4.tcp_syn_linear_timeouts", "0", since=(6, 5)),
    Pin("net.ipv4.tcp_synack_retries", "5"),
    Pin("net.ipv4.tcp_retries2", "15"),
    Pin("net.ipv4.tcp_fin_timeout", "60"),
    Pin("net.ipv4.tcp_timestamps", "1"),
    Pin("net.ipv4.tcp_sack", "1"),
    Pin("net.ipv4.tcp_window_scaling", "1"),
    Pin("net.ipv4.tcp_ecn", "2"),
    Pin("net.ipv4.tcp_fastopen", "1"),
    Pin("net.ipv4.tcp_syncookies", "1"),
    # The kernel's own follow from the machine's memory.
    Pin("net.ipv4.tcp_max_syn_backlog", "2048"),
    Pin("net.ipv4.tcp_max_tw_buckets", "131072"),
    Pin("net.ipv4.tcp_no_metrics_save", "1", since=(4, 20)),
    Pin("net.ipv4.tcp_rmem", "4096 131072 6291456"),
    Pin("net.ipv4.tcp_wmem", "4096 16384 4194304"),
    Pin("net.ipv4.ip_local_port_range", "32768 60999"),
    # A frame comes back from the impaired link on another interface than the one its address is reached by.
    Pin("net.ipv4.conf.all.rp_filter", "0"),
    Pin("net.ipv4.conf.default.rp_filter", "0"),
)

FAMILY_PINS = {
    "ipv4": (),
    "ipv6": (
        Pin("net.ipv6.conf.all.disable_ipv6", "0"),
        Pin("net.ipv6.conf.default.disable_ipv6", "0"),
        # Duplicate address detection would hold an address back for a second.
        Pin("net.ipv6.conf.all.accept_dad", "0"),
        Pin("net.ipv6.conf.default.accept_dad", "0"),
        Pin("net.ipv6.conf.default.dad_transmits", "0"),
        Pin("net.ipv6.conf.default.router_solicitations", "0"),
    ),
}


def kernel_version(release: str) -> Version:
    """`6.18.44-cloud` as (6, 18); a release that says nothing counts as old."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def profile_sysctls(family: str, kernel: Version) -> dict[str, str]:
    """The profile's sysctls for an address family, those that a kernel has."""
    return {pin.name: pin.value for pin in (*PROFILE, *FAMILY_PINS[family]) if kernel >= pin.since}
