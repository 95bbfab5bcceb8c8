"""Undoing what an agent did to its host, as far as the host still is there; what stayed is told in words."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from testbed.agent.hush import Hush
    from testbed.agent.updown import Kept
    from testbed.agent.wire import Wire


def close_wire(wire: Wire | Hush) -> str:
    """Closes it; what stayed, in words."""
    try:
        wire.close()
    except OSError as trouble:
        # An interface that is gone took its filters along (a veth goes with its peer's namespace).
        return str(trouble) if _is_there(wire.interface) else ""
    return ""


def bring_up(interface: str, kept: Kept) -> str:
    """Brings an interface up that was taken down; what went wrong, in words."""
    from testbed.agent import updown

    try:
        updown.bring_up(interface, kept)
    except OSError as trouble:
        return f"{interface} was taken down and could not be brought up: {trouble}" if _is_there(interface) else ""
    return ""


def _is_there(interface: str) -> bool:
    from socket import if_nameindex

    return any(name == interface for _, name in if_nameindex())
