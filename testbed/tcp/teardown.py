"""The closing of a connection: by FIN, by RST, or not at all (RFC 9293 section 3.6).

* A FIN is known by its place (sequence + payload); copies at the same place are retransmissions.
* Simultaneous: the first copy of the second FIN does not acknowledge the first FIN.
* A RST after both FINs, or from a side whose own FIN was acknowledged, does not undo an orderly close (`reset` has the
  rules of RST).
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.tcp.connection import Role, Teardown, TeardownKind
from testbed.tcp.end import End
from testbed.tcp.states import STATES


@dataclass(slots=True)
class Reset:
    """A RST that seems to have ended the connection, and what would show that it did not."""

    packet: int
    sender: End
    state: int  # its sender's, before
    limit: int  # offset in the sender's space: an ACK beyond it shows a living connection
    exact: bool
    after_both_fins: bool
    after_own_fin: bool
    refusal: bool
    undo: tuple[int, int, int]  # how many changes of state there were, and the two states
    peer_next: int | None = None  # how far the peer had sent when the "resetting" side spoke again
    went_on: bool = False  # new data came from its sender: somebody else sent the RST, or somebody in between
    doubted: bool = False  # both sides went on: void, unless another RST follows


def judge_teardown(
    fins: list[End], late_data: bool, reset: Reset | None, client: End, *, opened: bool, own: bool
) -> Teardown:
    """The value of a teardown; `fins` are the ends in the order of their first FINs, `own` marks a self-connect."""
    both = len(fins) > 1 or (own and bool(fins))
    by_reset = reset is not None and not both and not reset.after_own_fin
    kind = _kind(fins, both, late_data, reset, by_reset and opened)
    telling = reset if reset is not None and not both else None
    return Teardown(
        kind=kind,
        closed_first=_role(fins[0], client) if fins and kind is not TeardownKind.SIMULTANEOUS else None,
        fin_retransmits=sum(end.fin_retransmits for end in fins),
        reset_by=_role(telling.sender, client) if telling else None,
        reset_state=STATES[telling.state].value if telling else None,
        packets=_packets(fins, telling),
    )


def _kind(fins: list[End], both: bool, late_data: bool, reset: Reset | None, by_reset: bool) -> TeardownKind:
    if by_reset:
        return TeardownKind.RST
    if both:
        if not fins[-1].fin_answers:
            return TeardownKind.SIMULTANEOUS
        return TeardownKind.HALF_CLOSE if late_data else TeardownKind.FIN
    if not fins:
        return TeardownKind.NONE
    return TeardownKind.FIN if reset is not None and reset.after_own_fin else TeardownKind.HALF_CLOSE


def _role(end: End, client: End) -> Role:
    return Role.CLIENT if end is client else Role.SERVER


def _packets(fins: list[End], reset: Reset | None) -> tuple[int, ...]:
    if not fins:
        return () if reset is None else (reset.packet,)
    shown = {number for end in fins for number in end.fin_packets or ()}
    shown |= {end.fin_ack for end in fins if end.fin_ack is not None}
    return tuple(sorted(shown | ({reset.packet} if reset is not None else set())))
