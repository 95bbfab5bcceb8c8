"""The programs that play on this host, the marks they wait for, and the ear of the next one that injects frames."""

from __future__ import annotations

import time
from functools import partial

from testbed.agent.loop import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from testbed.agent.inject import Ear
    from testbed.agent.loop import Answer, Message
    from testbed.agent.player import Player


class Programs:
    """What is asked of programs; what they have to tell goes to `tell`, what they want of an interface to `switch`."""

    def __init__(self, tell: Callable[[Message], None], switch: Callable[[Message], str]) -> None:
        self._tell = tell
        self._switch = switch
        self._players: list[Player] = []
        self._marks: dict[str, Any] = {}
        self._ear: Ear | None = None

    def readers(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """The descriptors to watch, and what reads each."""
        for player in self._players:
            yield player.fileno(), partial(self._follow, player)

    def open_ear(self, request: Message) -> Answer:
        """Hears the wire from now on, for a program that injects frames."""
        from testbed.agent.inject import Ear

        self._close_ear()
        self._ear = Ear(request["interface"], request["hosts"])
        return {}

    def play(self, request: Message) -> Answer:
        """Plays a program in a process of its own."""
        from testbed.agent.player import FAMILIES, Player
        from testbed.agent.steps import fault, injects

        wrong = fault(request["steps"])
        if wrong:
            raise UsageError(f"play: {wrong}")
        if request["family"] not in FAMILIES:
            raise UsageError(f"play: family is {request['family']!r}; it is {' or '.join(FAMILIES)}")
        if injects(request["steps"]) and not self._ear:
            raise UsageError("play: the program injects frames, and inject.open was not asked before")
        self._players.append(Player(request, self._marks, self._ear))
        self._close_ear()  # it is the program's now
        return {}

    def put_mark(self, name: str, value: Any, made_by: Player | None = None) -> None:
        """A mark was made, here or on another host: all others may go on that wait for it."""
        self._marks[name] = value
        for player in self._players:
            if player is not made_by:
                player.relay({"do": "mark", "name": name, "value": value})

    def release(self) -> None:
        """Ends the programs that hold; their sockets are closed then."""
        for player in [one for one in self._players if one.held]:
            player.relay({"do": "release"})
            player.reap()
            self._players.remove(player)

    def kill(self) -> None:
        """Ends all at once, and forgets the marks."""
        for player in self._players:
            player.kill()
        self._players.clear()
        self._marks.clear()
        self._close_ear()

    def _close_ear(self) -> None:
        if self._ear:
            self._ear.close()
        self._ear = None

    def _follow(self, player: Player) -> None:
        for event in player.read():
            if event.get("player") == "held":
                player.held = True
                self._tell_played(None, None, held=True)
                continue
            if event.get("player") == "link":
                player.relay({"do": "mark", "name": event["name"], "value": self._switch(event)})
                continue
            if event["event"] == "mark":
                self.put_mark(event["name"], event["value"], made_by=player)
            self._tell(event)
        if player.silent:
            self._see_out(player)

    def _see_out(self, player: Player) -> None:
        self._players.remove(player)
        code, ended_by = player.reap()
        if ended_by == "SIGKILL" and (why := player.short_of_memory()):
            self._tell({"event": "problem", "says": f"its program was killed by SIGKILL{why}"})
        if player.held:
            self._tell({"event": "problem", "says": f"a program that held its sockets has ended by {ended_by}"})
        else:
            self._tell_played(code, ended_by)

    def _tell_played(self, code: int | None, ended_by: str | None, held: bool = False) -> None:
        self._tell({"event": "played", "exit": code, "signal": ended_by, "held": held, "time_ns": time.time_ns()})
