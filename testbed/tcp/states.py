"""The TCP state machine as one table: RFC 9293 section 3.3.2, figure 5, with its notes.

A row is `(state, event) -> state`; a case the RFC does not have is a missing row, and `step` gives None for it.
The names of states are those that Linux prints (`ss`, `tcp_states.h`), since they are compared with what kernels
report: SYN_RECV is the RFC's SYN-RECEIVED, FIN_WAIT1 its FIN-WAIT-1, CLOSE its CLOSED.

A reader of captures sees what one end sends, and learns what it has received from what it acknowledges; the
events are named from the point of view of the end whose state changes.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """A state of one end of a connection."""

    CLOSE = "CLOSE"
    LISTEN = "LISTEN"
    SYN_SENT = "SYN_SENT"
    SYN_RECV = "SYN_RECV"
    ESTABLISHED = "ESTABLISHED"
    FIN_WAIT1 = "FIN_WAIT1"
    FIN_WAIT2 = "FIN_WAIT2"
    CLOSE_WAIT = "CLOSE_WAIT"
    CLOSING = "CLOSING"
    LAST_ACK = "LAST_ACK"
    TIME_WAIT = "TIME_WAIT"


class Event(StrEnum):
    """What happens to one end, as far as the wire shows it."""

    PASSIVE_OPEN = "passive open"
    SEND_SYN = "send SYN"
    RECEIVE_SYN = "receive SYN, send SYN-ACK"
    RECEIVE_SYN_ACK = "receive SYN-ACK, send ACK"
    RECEIVE_ACK_OF_SYN = "receive ACK of SYN"
    SEND_FIN = "send FIN"
    RECEIVE_FIN = "receive FIN, send ACK"
    RECEIVE_ACK_OF_FIN = "receive ACK of FIN"
    SEND_RST = "send RST"
    RECEIVE_RST = "receive RST"


S = State
E = Event
TRANSITIONS: dict[tuple[State, Event], State] = {
    (S.CLOSE, E.PASSIVE_OPEN): S.LISTEN,
    (S.CLOSE, E.SEND_SYN): S.SYN_SENT,
    (S.LISTEN, E.SEND_SYN): S.SYN_SENT,
    (S.LISTEN, E.RECEIVE_SYN): S.SYN_RECV,
    (S.SYN_SENT, E.RECEIVE_SYN): S.SYN_RECV,  # simultaneous open, figure 7
    (S.SYN_SENT, E.RECEIVE_SYN_ACK): S.ESTABLISHED,
    (S.SYN_SENT, E.SEND_RST): S.CLOSE,  # closed while connecting
    (S.SYN_SENT, E.RECEIVE_RST): S.CLOSE,  # refused
    (S.SYN_RECV, E.RECEIVE_ACK_OF_SYN): S.ESTABLISHED,
    (S.SYN_RECV, E.SEND_FIN): S.FIN_WAIT1,
    (S.SYN_RECV, E.RECEIVE_FIN): S.CLOSE_WAIT,  # section 3.10.7.4, eighth step
    (S.SYN_RECV, E.SEND_RST): S.CLOSE,
    (S.SYN_RECV, E.RECEIVE_RST): S.CLOSE,  # note 1 goes back to LISTEN: the listener does, this connection is gone
    (S.ESTABLISHED, E.SEND_FIN): S.FIN_WAIT1,
    (S.ESTABLISHED, E.RECEIVE_FIN): S.CLOSE_WAIT,
    (S.ESTABLISHED, E.SEND_RST): S.CLOSE,
    (S.ESTABLISHED, E.RECEIVE_RST): S.CLOSE,
    (S.FIN_WAIT1, E.RECEIVE_ACK_OF_FIN): S.FIN_WAIT2,
    (S.FIN_WAIT1, E.RECEIVE_FIN): S.CLOSING,
    (S.FIN_WAIT1, E.SEND_RST): S.CLOSE,
    (S.FIN_WAIT1, E.RECEIVE_RST): S.CLOSE,
    (S.FIN_WAIT2, E.RECEIVE_FIN): S.TIME_WAIT,
    (S.FIN_WAIT2, E.SEND_RST): S.CLOSE,
    (S.FIN_WAIT2, E.RECEIVE_RST): S.CLOSE,
    (S.CLOSE_WAIT, E.SEND_FIN): S.LAST_ACK,
    (S.CLOSE_WAIT, E.SEND_RST): S.CLOSE,
    (S.CLOSE_WAIT, E.RECEIVE_RST): S.CLOSE,
    (S.CLOSING, E.RECEIVE_ACK_OF_FIN): S.TIME_WAIT,
    (S.CLOSING, E.SEND_RST): S.CLOSE,
    (S.CLOSING, E.RECEIVE_RST): S.CLOSE,
    (S.LAST_ACK, E.RECEIVE_ACK_OF_FIN): S.CLOSE,
    (S.LAST_ACK, E.SEND_RST): S.CLOSE,
    (S.LAST_ACK, E.RECEIVE_RST): S.CLOSE,
    (S.TIME_WAIT, E.SEND_RST): S.CLOSE,
    (S.TIME_WAIT, E.RECEIVE_RST): S.CLOSE,  # RFC 1337 would rather not
}
del S, E


def step(state: State, event: Event) -> State | None:
    """The state after `event`, or None when the RFC has no such transition."""
    return TRANSITIONS.get((state, event))


# The same table by number, for following many connections: NEXT[event][state] is a state, or -1 for a missing row.
STATES: tuple[State, ...] = tuple(State)
EVENTS: tuple[Event, ...] = tuple(Event)
NEXT: tuple[tuple[int, ...], ...] = tuple(
    tuple(STATES.index(after) if (after := step(state, event)) is not None else -1 for state in STATES)
    for event in EVENTS
)
CLOSE = STATES.index(State.CLOSE)
SYN_RECV = STATES.index(State.SYN_RECV)
ESTABLISHED = STATES.index(State.ESTABLISHED)
PASSIVE_OPEN = EVENTS.index(Event.PASSIVE_OPEN)
SEND_SYN = EVENTS.index(Event.SEND_SYN)
RECEIVE_SYN = EVENTS.index(Event.RECEIVE_SYN)
RECEIVE_SYN_ACK = EVENTS.index(Event.RECEIVE_SYN_ACK)
RECEIVE_ACK_OF_SYN = EVENTS.index(Event.RECEIVE_ACK_OF_SYN)
SEND_FIN = EVENTS.index(Event.SEND_FIN)
RECEIVE_FIN = EVENTS.index(Event.RECEIVE_FIN)
RECEIVE_ACK_OF_FIN = EVENTS.index(Event.RECEIVE_ACK_OF_FIN)
SEND_RST = EVENTS.index(Event.SEND_RST)
RECEIVE_RST = EVENTS.index(Event.RECEIVE_RST)
