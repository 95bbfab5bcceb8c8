"""Puts a host's arrival side under impairment: a TAP, the redirection of what arrives to it, and the link's process.

    eth0 --clsact ingress, u32, mirred--> link0 --the link's process--> link0 --> the host's TCP

tc-u32(8) and tc-mirred(8). What keeps the network itself going passes untouched: ARP (no filter takes it), IPv6
neighbour and router discovery (ICMPv6 types 133-137), and link-local multicast. A u32 filter without an action ends the
classification and lets the packet pass, so no `gact` is needed, which small kernels lack.

All or nothing: what was made before a failure is removed. What is there is what tc says is there.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from typing import Any

from testbed.agent import link as links

DEVICE = "link0"
QUEUE_LENGTH = 10_000  # frames that wait for the process; a burst of a whole window must fit

_IPV4, _IPV6 = "protocol ip pref 10 u32", "protocol ipv6 pref 20 u32"
REDIRECT = f"match u32 0 0 action mirred egress redirect dev {DEVICE}"
FILTERS = {
    "ipv4": (
        f"{_IPV4} match ip dst 224.0.0.0/24 flowid 1:1",
        f"{_IPV4} {REDIRECT}",
    ),
    "ipv6": (
        f"{_IPV6} match u8 58 0xff at 6 match u8 0x84 0xfc at 40 flowid 1:1",  # types 132-135
        f"{_IPV6} match u8 58 0xff at 6 match u8 0x88 0xfe at 40 flowid 1:1",  # types 136, 137
        f"{_IPV6} match ip6 dst ff02::/16 flowid 1:1",
        f"{_IPV6} {REDIRECT}",
    ),
}


class CommandRefused(OSError):
    """A command ended with a code other than 0: `command`, `exit_code`, `output`."""

    def __init__(self, command: Sequence[str], exit_code: int, output: str, given: str = "") -> None:
        self.command = tuple(command)
        self.exit_code = exit_code
        self.output = output.strip()
        number = errno.EPERM if "Operation not permitted" in output else errno.EIO
        asked = f" given `{given.strip()}`" if given else ""
        super().__init__(
            number,
            f"`{' '.join(command)}`{asked} ended with exit code {exit_code} and said: {self.output or 'nothing'}",
        )


class Wire:
    """The arrival side of one interface, up and read back; `answer` says how. Use `apply` to make one."""

    def __init__(self, interface: str, families: Sequence[str], carrier: links.Link) -> None:
        self.interface = interface
        self.families = tuple(families)
        self.answer: dict[str, Any] = {}
        self._link = carrier
        self._redirecting = False
        self._last: dict[str, Any] = {"in": 0, "out": 0, "dropped": 0, "duplicated": 0, "ledger": []}

    def raise_up(self) -> None:
        """Set the TAP up, redirect to it, read back. Raises OSError."""
        device = _lift(self.interface)
        self._link.arm(device["address"])
        clear_path(self.families)
        run(["tc", "qdisc", "add", "dev", self.interface, "clsact"])
        self._redirecting = True
        rules = [f"filter add dev {self.interface} ingress {rule}" for one in self.families for rule in FILTERS[one]]
        run(["tc", "-batch", "-"], "\n".join(rules) + "\n")
        self.answer = {"filters": self.filters(), "link": device}
        missing = sorted(set(self.families) - {found["family"] for found in self.answer["filters"]})
        if missing:
            raise OSError(
                errno.EIO, f"tc took the filters on {self.interface}, but shows none for {', '.join(missing)}"
            )

    def filters(self) -> list[dict[str, Any]]:
        """The redirecting filters as tc shows them: `family`, `to`, `packets`, `failed` (to be put on the device)."""
        shown = json.loads(run(["tc", "-j", "-s", "filter", "show", "dev", self.interface, "ingress"]) or "[]")
        return [found for entry in shown for found in _redirection(entry)]

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._link.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """`fault` and `problem` events, without waiting."""
        return self._link.read_events()

    def read(self) -> dict[str, Any]:
        """How it stands: `up`, `in`, `out`, `dropped`, `duplicated`, `dropped_by`, `waiting`, `ledger`.

        `up` is false when the filters or the process are gone; the counters are then the last ones known. What tc
        redirected and the process never got is dropped too, by `overrun`.
        """
        try:
            filters = self.filters()  # first: the process counts all that was redirected up to here
            self._last = self._link.read()
        except OSError:
            return {"up": False, **self._last}
        overrun = max(0, sum(found["packets"] for found in filters) - self._last["in"])
        self._last["dropped_by"]["overrun"] = overrun
        self._last["dropped"] += overrun
        return {"up": {found["family"] for found in filters} == set(self.families), **self._last}

    def close(self) -> None:
        """Remove the filters, the qdisc, the TAP and its process. May be called again. Raises OSError from tc."""
        redirecting, self._redirecting = self._redirecting, False
        try:
            if redirecting:
                run(["tc", "qdisc", "del", "dev", self.interface, "clsact"])
        finally:
            self._link.close()


def apply(interface: str, families: Sequence[str], link: Mapping[str, Any]) -> Wire:
    """Impair what arrives at `interface`, for `ipv4` and/or `ipv6`, as `link` of docs/agent-protocol.md says.

    Raises ValueError for a request that makes no sense, and OSError (`CommandRefused` with command, exit code and
    output) when it could not be put up; nothing is left then.
    """
    unknown = sorted(set(families) - set(FILTERS))
    if unknown or not families:
        raise ValueError(f"address_families is {list(families)}; it holds ipv4, ipv6, or both")
    wire = Wire(interface, families, links.Link(DEVICE, link))
    try:
        wire.raise_up()
    except BaseException:
        wire.close()
        raise
    return wire


def run(command: Sequence[str], given: str = "") -> str:
    """Run a command and return what it printed. Raises CommandRefused, and OSError where it is not installed."""
    import subprocess  # slow to load, and needed by few hosts

    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise CommandRefused(command, done.returncode, f"{done.stderr}{done.stdout}", given)
    return done.stdout


def clear_path(families: Sequence[str]) -> None:
    """Make sure that the kernel accepts what comes from the TAP. Raises OSError that names the sysctl to set."""
    if "ipv4" in families:
        # The stricter of the two holds; even loose mode (2) refuses a device without an address.
        for place in ("all", DEVICE):
            _want_zero(f"net/ipv4/conf/{place}/rp_filter", f"net.ipv4.conf.{_parent(place)}.rp_filter")
    if "ipv6" in families:
        _want_zero(f"net/ipv6/conf/{DEVICE}/disable_ipv6", "net.ipv6.conf.default.disable_ipv6")


def _parent(place: str) -> str:
    return "default" if place == DEVICE else place  # a new device takes its settings from `default`


def _want_zero(name: str, sysctl: str) -> None:
    path = f"/proc/sys/{name}"
    try:
        if _read(path) == "0":
            return
        with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib is slow to load
            file.write("0")
    except OSError as trouble:
        number, why = trouble.errno or errno.EIO, trouble.strerror
        raise OSError(number, f"{path} must be 0 and cannot be set ({why}): start the host with {sysctl}=0") from None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()


def _lift(interface: str) -> dict[str, Any]:
    """Give the TAP the interface's address and MTU, and nothing that makes it speak; returns it as ip shows it."""
    found = _show(interface)
    traits = f"address {found['address']} mtu {found['mtu']} txqueuelen {QUEUE_LENGTH}"
    # Up comes last: a device that is up without `addrgenmode none` takes an address and looks for routers.
    run(
        ["ip", "-batch", "-"],
        f"link set dev {DEVICE} {traits} arp off multicast off addrgenmode none\nlink set dev {DEVICE} up\n",
    )
    device = _show(DEVICE)
    wrong = [name for name in ("address", "mtu") if device[name] != found[name]]
    if wrong or "UP" not in device["flags"]:
        raise OSError(errno.EIO, f"{DEVICE} was set up like {interface}, but reads back as {device}")
    return {"name": DEVICE, "address": device["address"], "mtu": device["mtu"]}


def _show(interface: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(["ip", "-j", "link", "show", "dev", interface]))[0]
    return found


def _redirection(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    family = {"ip": "ipv4", "ipv6": "ipv6"}.get(entry.get("protocol", ""), "")
    return [
        {
            "family": family,
            "to": action["to_dev"],
            "packets": action.get("stats", {}).get("packets", 0),
            "failed": action.get("stats", {}).get("overlimits", 0),
        }
        for action in entry.get("options", {}).get("actions", ())
        if action.get("kind") == "mirred" and action.get("to_dev") == DEVICE
    ]
