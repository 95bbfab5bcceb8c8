"""Puts a host's arrival side under impairment: the redirection of what arrives to link0, and one of two engines there.

    eth0 --clsact ingress, u32, mirred--> link0 --its engine holds it back--> the host's TCP

The engine is portable (`link`: a TAP and a process) or netem (`ifb`: an IFB and its qdiscs); what is here is the same
for both. tc-u32(8) and tc-mirred(8). What keeps the network itself going passes untouched: ARP (no filter takes it),
IPv6 neighbour and router discovery (ICMPv6 types 133-137), and link-local multicast. A u32 filter without an action
ends the classification and lets the packet pass, so no `gact` is needed, which small kernels lack.

All or nothing: what was made before a failure is removed. What is there is what tc says is there.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping, Sequence
from typing import Any

from testbed.agent import standing
from testbed.agent.command import CommandRefused as CommandRefused
from testbed.agent.command import batch, run, show
from testbed.agent.device import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Protocol

    class Engine(Protocol):
        """What holds the packets back: made, set up by us, then armed."""

        def arm(self, mac: str) -> None:
            """Be ready for packets; the device is up and has this address."""

        def begin(self, start_ns: int) -> None:
            """The timeline counts from here."""

        def fileno(self) -> int:
            """Readable when there are events."""

        def read_events(self) -> list[dict[str, Any]]:
            """Events, without waiting."""

        def read(self) -> dict[str, Any]:
            """How it stands."""

        def close(self) -> None:
            """Remove it."""


DEVICE = "link0"
PORTABLE, NETEM = "portable", "netem"
QUEUE_LENGTH = 10_000  # frames that wait for the engine; a burst of a whole window must fit

_IPV4, _IPV6 = "protocol ip pref 10 u32", "protocol ipv6 pref 20 u32"
# What is for this host, or for many: the wire is a hub, and what others say to each other is not to pass through here.
OURS, FOR_MANY = "match ether dst {mac}", "match u8 0x01 0x01 at -14"
REDIRECT = f"action mirred egress redirect dev {DEVICE}"
FILTERS = {
    "ipv4": (
        f"{_IPV4} match ip dst 224.0.0.0/24 flowid 1:1",
        f"{_IPV4} {OURS} {REDIRECT}",
        f"{_IPV4} {FOR_MANY} {REDIRECT}",
    ),
    "ipv6": (
        f"{_IPV6} match u8 58 0xff at 6 match u8 0x84 0xfc at 40 flowid 1:1",  # types 132-135
        f"{_IPV6} match u8 58 0xff at 6 match u8 0x88 0xfe at 40 flowid 1:1",  # types 136, 137
        f"{_IPV6} match ip6 dst ff02::/16 flowid 1:1",
        f"{_IPV6} {OURS} {REDIRECT}",
        f"{_IPV6} {FOR_MANY} {REDIRECT}",
    ),
}
NOTHING = {"phase": 0, "settings": [], "in": 0, "out": 0, "dropped": 0, "dropped_by": {}, "duplicated": 0, "ledger": []}


class Wire:
    """The arrival side of one interface, up and read back; `answer` says how. Use `apply` to make one."""

    def __init__(self, interface: str, families: Sequence[str], name: str, engine: Engine) -> None:
        self.interface = interface
        self.families = tuple(families)
        self.name = name
        self.answer: dict[str, Any] = {}
        self._link = engine
        self._redirecting = False
        self._left = standing.Sight([], [], [], {})
        self._last: dict[str, Any] = dict(NOTHING)

    def raise_up(self) -> None:
        """Set link0 up, redirect to it, read back. Raises OSError."""
        like = _lift(self.interface, TRAITS[self.name])
        self._link.arm(like["address"])
        if self.name == PORTABLE:  # netem gives packets back to the interface where they arrived
            clear_path(self.families)
        rules = [rule.format(mac=like["address"]) for one in self.families for rule in FILTERS[one]]
        filters_in = [f"filter add dev {self.interface} ingress {rule}" for rule in rules]
        try:
            batch("tc", [f"qdisc add dev {self.interface} clsact", *filters_in])
        except CommandRefused as refused:
            self._redirecting = refused.line != 1  # else the clsact that stands there is somebody else's
            raise
        self._redirecting = True
        self._left = standing.look(self.interface, DEVICE)
        filters = _redirections(self._left)
        missing = sorted(set(self.families) - {found["family"] for found in filters})
        if missing:
            raise OSError(
                errno.EIO, f"tc took the filters on {self.interface}, but shows none for {', '.join(missing)}"
            )
        self._last = {**NOTHING, **self._link.read()}
        self.answer = {
            "engine": self.name,
            "filters": filters,
            "link": _read_back(self._left.device, like, TRAITS[self.name]),
            "settings": self._last["settings"],
        }
        if self.name == NETEM:
            self.answer["seeded"] = getattr(self._link, "seeded", False)

    def begin(self, start_ns: int) -> None:
        """The timeline counts from this moment of CLOCK_REALTIME."""
        self._link.begin(start_ns)

    def fileno(self) -> int:
        """Readable when there are events."""
        return self._link.fileno()

    def read_events(self) -> list[dict[str, Any]]:
        """`fault`, `wire` and `problem` events, without waiting."""
        return self._link.read_events()

    def read(self) -> dict[str, Any]:
        """How it stands (docs/agent-protocol.md).

        `up` is false, and `why` says what to look at, when anything is not as it was left. Where the engine is gone,
        its counters are the last ones known.
        """
        why: list[str] = []
        sight = standing.Sight([], [], [], {})
        try:
            sight = standing.look(self.interface, DEVICE)  # first: the engine knows all that was redirected up to here
            judged = self.name != PORTABLE  # netem compares its own qdiscs with what was asked
            why += standing.differences(self.interface, DEVICE, self._left, sight, judged=judged)
        except OSError as trouble:
            why.append(f"{self.interface} cannot be looked at: {trouble.strerror}")
        try:
            self._last = {**NOTHING, **self._link.read()}
            why += filter(None, [self._last.pop("why", "")])
            COUNT[self.name](self._last, sum(found["packets"] for found in _redirections(sight)))
        except OSError as trouble:
            why.insert(0, f"the {self.name} engine does not answer: {trouble.strerror or trouble}")
        return {**self._last, "engine": self.name, "up": not why, "why": "; ".join(why), "qdiscs": sight.qdiscs}

    def close(self) -> None:
        """Remove the filters, the qdisc, link0 and its engine. May be called again. Raises OSError from tc."""
        redirecting, self._redirecting = self._redirecting, False
        try:
            if redirecting:
                self._remove_clsact()
        finally:
            self._link.close()

    def _remove_clsact(self) -> None:
        try:
            run(["tc", "qdisc", "del", "dev", self.interface, "clsact"])
        except CommandRefused:
            left = show("tc", "-j", "qdisc", "show", "dev", self.interface)
            if any(found["kind"] == standing.CLSACT for found in left):  # else somebody else removed it
                raise


def apply(interface: str, families: Sequence[str], link: Mapping[str, Any]) -> Wire:
    """Impair what arrives at `interface`, for `ipv4` and/or `ipv6`, as `link` of docs/agent-protocol.md says.

    Raises ValueError for a request that makes no sense, and OSError (`CommandRefused` with command, exit code and
    output) when it could not be put up; nothing is left then.
    """
    unknown = sorted(set(families) - set(FILTERS))
    if unknown or not families:
        raise ValueError(f"address_families is {list(families)}; it holds ipv4, ipv6, or both")
    name = link.get("engine", PORTABLE)
    if name not in ENGINES:
        raise ValueError(f"link.engine is {name!r}; it is {' or '.join(ENGINES)}")
    if not link.get("phases"):
        raise ValueError("link.phases: there is none; the first holds from now on")
    wire = Wire(interface, families, name, ENGINES[name](link, interface))
    try:
        wire.raise_up()
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what is told
            wire.close()
        raise
    return wire


def _portable(link: Mapping[str, Any], interface: str) -> Engine:
    from testbed.agent import link as links

    return links.Link(DEVICE, link, interface)


def _netem(link: Mapping[str, Any], interface: str) -> Engine:
    from testbed.agent import ifb

    return ifb.Link(DEVICE, link, interface)


ENGINES: dict[str, Callable[[Mapping[str, Any], str], Engine]] = {PORTABLE: _portable, NETEM: _netem}


def _count_overrun(counted: dict[str, Any], redirected: int) -> None:
    """What tc redirected and the process never got is dropped too."""
    overrun = max(0, redirected - counted["in"])
    counted["dropped_by"] = {**counted["dropped_by"], "overrun": overrun}
    counted["dropped"] += overrun


def _count_copies(counted: dict[str, Any], redirected: int) -> None:
    """netem does not count the copies that it makes: they are what there is more than came."""
    counted["in"] = redirected
    counted["duplicated"] = max(0, counted["out"] + counted["dropped"] + counted["waiting"] - redirected)


TRAITS = {PORTABLE: ("address", "mtu"), NETEM: ("mtu",)}  # of the interface; an IFB's address cannot be set
COUNT = {PORTABLE: _count_overrun, NETEM: _count_copies}


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


def _lift(interface: str, traits: Sequence[str]) -> dict[str, Any]:
    """Give link0 these traits of the interface, and nothing that makes it speak; returns the interface."""
    found = describe(interface)
    if not found:
        raise OSError(errno.ENODEV, f"there is no interface {interface}")
    like = " ".join(f"{trait} {found[trait]}" for trait in traits)
    # Up comes last: a device that is up without `addrgenmode none` takes an address and looks for routers.
    batch(
        "ip",
        [
            f"link set dev {DEVICE} {like} txqueuelen {QUEUE_LENGTH} arp off multicast off addrgenmode none",
            f"link set dev {DEVICE} up",
        ],
    )
    return found


def _read_back(device: Mapping[str, Any], like: Mapping[str, Any], traits: Sequence[str]) -> dict[str, Any]:
    wrong = [name for name in traits if device.get(name) != like[name]]
    if wrong or not device["up"]:
        raise OSError(errno.EIO, f"{DEVICE} was set up like {like['ifname']}, but reads back as {dict(device)}")
    return {"name": DEVICE, "address": device["address"], "mtu": device["mtu"]}


def _redirections(sight: standing.Sight) -> list[dict[str, Any]]:
    """One for each family, whichever of its filters took a packet."""
    families: dict[str, dict[str, Any]] = {}
    for found in (found for entry in sight.filters for found in _redirection(entry)):
        one = families.setdefault(found["family"], {**found, "packets": 0, "failed": 0})
        one["packets"] += found["packets"]
        one["failed"] += found["failed"]
    return list(families.values())


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
