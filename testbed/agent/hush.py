"""A silent kernel: what it would say by itself to what it does not know never leaves the host.

A kernel answers a packet that belongs to no socket of its own with an RST (RFC 9293 section 3.10.7.1), or with an ICMP
port unreachable: whoever speaks TCP by hand must keep it from that. At clsact's egress hook a classic BPF program
(tc-bpf(8), direct action) drops every RST and every ICMP or ICMPv6 destination unreachable, but for frames with our
mark (SO_MARK, socket(7)): those are crafted. No other packet is touched. It needs no device, no `act_gact` and no
bpf(2). What it drops is seen by no capture, since captures are behind the hook.

Where a wire is up its clsact is used, so this comes after the wire and goes before it. All or nothing, read back.
"""

from __future__ import annotations

import contextlib
import errno
from typing import Any, NamedTuple

from testbed.agent.command import CommandRefused, run, show

MARK = 0x7E57BED
SO_MARK = 36  # Python has no name for it
CLSACT = "clsact"
PREFERENCE = 1
WHERE = f"egress protocol all pref {PREFERENCE}"


class Instruction(NamedTuple):
    """One of classic BPF (Documentation/networking/filter.rst of the kernel); jumps count instructions to skip."""

    code: int
    jump_true: int
    jump_false: int
    value: int


# Loads from the frame, the last two with the length of the IPv4 header; tests; the end.
_WORD, _HALF, _BYTE, _HEADER, _BEHIND = 0x20, 0x28, 0x30, 0xB1, 0x50
_IS, _HAS_BIT, _RETURN = 0x15, 0x45, 0x06
_MARK_OF_FRAME = 0xFFFFF000 + 20  # SKF_AD_OFF + SKF_AD_MARK
_RST, _ICMP, _TCP, _ICMPV6 = 0x04, 1, 6, 58
_UNREACHABLE, _UNREACHABLE6 = 3, 1
_GOES_ON, _DROPPED = 0xFFFFFFFF, 2  # TC_ACT_UNSPEC, TC_ACT_SHOT
# label, code, where to when true, where to when not (nowhere: the next), value
_SOURCE = (
    ("", _WORD, "", "", _MARK_OF_FRAME),
    ("", _IS, "go on", "", MARK),
    ("", _HALF, "", "", 12),
    ("", _IS, "", "not ipv4", 0x0800),
    ("", _HALF, "", "", 20),
    ("", _HAS_BIT, "go on", "", 0x1FFF),  # the rest of a fragment
    ("", _HEADER, "", "", 14),
    ("", _BYTE, "", "", 23),
    ("", _IS, "", "not tcp", _TCP),
    ("", _BEHIND, "", "", 14 + 13),
    ("", _HAS_BIT, "drop", "go on", _RST),
    ("not tcp", _IS, "", "go on", _ICMP),
    ("", _BEHIND, "", "", 14),
    ("", _IS, "drop", "go on", _UNREACHABLE),
    ("not ipv4", _IS, "", "go on", 0x86DD),
    ("", _BYTE, "", "", 20),
    ("", _IS, "", "not tcp6", _TCP),
    ("", _BYTE, "", "", 54 + 13),
    ("", _HAS_BIT, "drop", "go on", _RST),
    ("not tcp6", _IS, "", "go on", _ICMPV6),
    ("", _BYTE, "", "", 54),
    ("", _IS, "drop", "go on", _UNREACHABLE6),
    ("drop", _RETURN, "", "", _DROPPED),
    ("go on", _RETURN, "", "", _GOES_ON),
)


def assemble() -> tuple[Instruction, ...]:
    """The program, its labels resolved."""
    places = {label: number for number, (label, *_) in enumerate(_SOURCE)}

    def skip(number: int, label: str) -> int:
        return places[label] - number - 1 if label else 0

    return tuple(
        Instruction(code, skip(number, true), skip(number, false), value)
        for number, (_, code, true, false, value) in enumerate(_SOURCE)
    )


class Hush:
    """The silence on one interface, up and read back. Use `apply` to make one."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._own_clsact = False
        self._up = False

    def raise_up(self) -> None:
        """Put the filter there and read it back. Raises OSError."""
        if not self._has_clsact():
            run(["tc", "qdisc", "add", "dev", self.interface, CLSACT])
            self._own_clsact = True
        code = [f"{len(assemble())}", *(" ".join(map(str, one)) for one in assemble())]
        command = f"tc filter add dev {self.interface} {WHERE} bpf da bytecode".split()
        run([*command, ",".join(code) + ","])
        self._up = True
        if why := self._why():
            raise OSError(errno.EIO, f"tc took the filter that keeps the kernel silent, and then: {why}")

    def read(self) -> dict[str, Any]:
        """Whether it stands as it was left, and why not; `silenced`: packets dropped at the interface since."""
        try:
            why, found = self._why(), self._qdiscs()
        except OSError as trouble:
            return {"up": False, "why": str(trouble.strerror or trouble), "silenced": 0}
        silenced = sum(qdisc.get("drops", 0) for qdisc in found if qdisc["kind"] == CLSACT)
        return {"up": not why, "why": why, "silenced": silenced}

    def close(self) -> None:
        """Let the kernel speak again. May be called again. Raises OSError from tc."""
        own, up, self._own_clsact, self._up = self._own_clsact, self._up, False, False
        try:
            if own:
                run(["tc", "qdisc", "del", "dev", self.interface, CLSACT])
            elif up:
                run(["tc", "filter", "del", "dev", self.interface, *WHERE.split()])
        except CommandRefused:
            if self._filters():  # else somebody else removed it
                raise

    def _why(self) -> str:
        wanted = [{"code": code, "jt": one, "jf": other, "k": value} for code, one, other, value in assemble()]
        programs = [found["options"]["bytecode"]["insns"] for found in self._filters()]
        if programs == [wanted]:
            return ""
        return (
            f"the filter that keeps the kernel silent on {self.interface} is "
            f"{'not as it was left' if programs else 'gone'}; see `tc filter show dev {self.interface} egress`"
        )

    def _filters(self) -> list[dict[str, Any]]:
        found = show("tc", "-j", "filter", "show", "dev", self.interface, "egress") if self._has_clsact() else []
        return [one for one in found if "bytecode" in one.get("options", {}) and one.get("pref") == PREFERENCE]

    def _has_clsact(self) -> bool:
        return any(qdisc["kind"] == CLSACT for qdisc in self._qdiscs())

    def _qdiscs(self) -> list[dict[str, Any]]:
        return show("tc", "-s", "-j", "qdisc", "show", "dev", self.interface)


def apply(interface: str) -> Hush:
    """Keep the kernel silent on this interface. Raises OSError when it cannot be; nothing is left then."""
    made = Hush(interface)
    try:
        made.raise_up()
    except OSError:
        with contextlib.suppress(OSError):  # what went wrong first is what is told
            made.close()
        raise
    return made
