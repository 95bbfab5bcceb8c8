"""What the agent does for the orchestrator: a request is a row of REQUESTS, what it takes and the function for it.

docs/agent-protocol.md says what each means; `loop` reads them and writes the answers.

When standard input ends, or on SIGTERM, the children are killed by their process ids and the temporary files removed.
What is needed for some requests only is imported when such a request comes: the start is on every run's way.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from itertools import starmap

from testbed.agent import spares
from testbed.agent.capturing import Captures
from testbed.agent.loop import Bye, Loop, Output, UsageError
from testbed.agent.playing import Programs
from testbed.agent.sysctls import Sysctls
from testbed.agent.undoing import bring_up, close_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from testbed.agent.hush import Hush
    from testbed.agent.loop import Answer, Message, Slow
    from testbed.agent.states import Sampler
    from testbed.agent.updown import Kept
    from testbed.agent.wire import Wire

SETTLING_S = 0.005
INTERFACE = "eth0"  # of every host
NUMBER, TEXT, FLAG, LIST, OBJECT = int, str, bool, list, dict


class Agent:
    """What runs on this host for the orchestrator; a method for each request."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._directory: str | None = None
        self._captures = Captures(self._tell)
        self._programs = Programs(self._tell, self._switch)
        self._wires: dict[str, Wire] = {}
        self._down: dict[str, Kept] = {}  # interfaces that we took down
        self._hush: Hush | None = None
        self._sampler: Sampler | None = None
        self._counted: dict[str, int] | None = None
        self._sysctls = Sysctls()

    def readers(self) -> Iterator[tuple[int, Callable[[], None]]]:
        """The descriptors to watch, and what reads each."""
        yield from self._captures.readers()
        for wire in self._wires.values():
            yield wire.fileno(), partial(self._tell_of, wire)
        if self._sampler:
            yield self._sampler.fileno(), partial(self._tell_of, self._sampler)
        yield from self._programs.readers()

    def serve(self, request: Any) -> Answer | Slow:
        """Does what a request asks. Raises UsageError for one that makes no sense."""
        return _function(request)(self, request)

    def hello(self, request: Message) -> Answer:
        """Who answers, and where."""
        from testbed.agent import host

        return host.hello(request.get("sysctls") or [])

    def read_clock(self, request: Message) -> Answer:
        """What our clock shows; as little as possible is done between question and answer."""
        return {"time_ns": time.time_ns()}

    def read_offset(self, _: Message) -> Answer:
        """How far our clock of the day is ahead of the steady one."""
        from testbed.agent import offset

        return offset.look()

    def prepare(self, request: Message) -> Answer:
        """Offloads off, neighbours fixed."""
        from testbed.agent import host

        neighbours = request.get("neighbours") or []
        if not all(isinstance(one, dict) and one.get("address") and one.get("mac") for one in neighbours):
            raise UsageError(f"prepare: neighbours is {neighbours!r}; each has an address and a mac")
        return host.prepare(request["interface"], neighbours)

    def start_capture(self, request: Message) -> Answer:
        """A capture that hears from now on."""
        return self._captures.start(request, self._own_directory())

    def send_canary(self, request: Message) -> Answer:
        """A frame that a capture will know; none from an interface that was taken down."""
        from testbed.agent.canary import send_canary

        if request["interface"] in self._down:
            return {"sent": False}
        send_canary(request["interface"], request["to"], request["token"])
        return {"sent": True}

    def wait_canary(self, request: Message) -> Slow:
        """Whether a capture has seen a canary, as soon as it has."""
        return self._captures.wait_canary(request)

    def follow_capture(self, request: Message) -> Slow:
        """What a capture catches, while it does."""
        return self._captures.follow(request)

    def stop_capture(self, request: Message) -> Answer:
        """Ends a capture once its tail is drained."""
        return self._captures.stop(request)

    def fetch(self, request: Message) -> Slow:
        """A file, in chunks, no faster than they are read."""
        from testbed.agent.bringing import fetch

        return fetch(request, self._tell)

    def apply_wire(self, request: Message) -> Answer:
        """Impairs what arrives at an interface; again: in place of what was."""
        from testbed.agent import wire

        interface = request["interface"]
        if interface in self._wires:
            self._wires.pop(interface).close()
        self._wires[interface] = wire.apply(interface, request["address_families"], request["link"])
        return self._wires[interface].answer

    def begin_wire(self, request: Message) -> Answer:
        """The timeline of what is impaired counts from here."""
        if not self._wires:
            raise UsageError("wire.begin: no wire is applied to any interface")
        for wire in self._wires.values():
            wire.begin(request["start_ns"])
        return {}

    def probe_wire(self, _: Message) -> Answer:
        """What this host has for a wire."""
        from testbed.agent.probe import probe

        return probe()

    def set_link(self, request: Message) -> Answer:
        """Takes an interface down, or up with all that hung on it."""
        from testbed.agent import updown

        interface, up = request["interface"], request["up"]
        if up:
            updown.bring_up(interface, self._down.pop(interface, None))
        elif interface not in self._down:
            self._captures.excuse(interface)
            self._down[interface] = updown.take_down(interface)
        return {"up": up}

    def read_wire(self, request: Message) -> Answer:
        """How the impairment stands."""
        interface = request.get("interface") or next(iter(self._wires), None)
        if interface not in self._wires:
            raise UsageError(f"wire.read: no wire is applied to {interface or 'any interface'}")
        answer = self._wires[interface].read()
        self._tell_of(self._wires[interface])  # no fault that fired is told behind the count of them
        return answer

    def keep_silent(self, request: Message) -> Answer:
        """Nothing that the kernel would say by itself leaves the interface from now on."""
        from testbed.agent import hush

        if self._hush:
            raise UsageError("hush.apply: the kernel is silent already")
        self._hush = hush.apply(request["interface"])
        return {}

    def start_counters(self, _: Message) -> Answer:
        """Counters count from now on."""
        from testbed.agent.counters import read_counters

        self._counted = read_counters()
        return {}

    def stop_counters(self, request: Message) -> Answer:
        """What has been counted since, and which of the names asked for this kernel does not have."""
        from testbed.agent.counters import differences, read_counters

        if self._counted is None:
            raise UsageError("counters.stop: counters.start was not asked before")
        before, after, self._counted = self._counted, read_counters(), None
        lacks = [name for name in request.get("names") or [] if name not in after]
        return {"changed": differences(before, after), "lacks": lacks}

    def try_abilities(self, request: Message) -> Answer:
        """What this host's kernel can be tried for."""
        from testbed.agent.abilities import try_each

        return {"lacks": try_each(request["abilities"])}

    def read_silence(self, _: Message) -> Answer:
        """Whether the kernel is still kept silent."""
        if not self._hush:
            raise UsageError("hush.read: nothing keeps the kernel silent")
        return self._hush.read()

    def open_ear(self, request: Message) -> Answer:
        """Hears the wire from now on, for a program that injects frames."""
        return self._programs.open_ear(request)

    def start_states(self, request: Message) -> Answer:
        """Samples the kernel's socket table from now on."""
        from testbed.agent.states import Sampler

        if self._sampler:
            raise UsageError("states.start: the sampler runs already")
        if request["interval_ns"] < 1:
            raise UsageError(f"states.start: interval_ns is {request['interval_ns']}; it is at least 1")
        sampler = Sampler(request["interval_ns"])
        sampler.start()
        self._sampler = sampler
        return {}

    def stop_states(self, _: Message) -> Answer:
        """A last sample, and the end of it."""
        if not self._sampler:
            raise UsageError("states.stop: the sampler does not run")
        sampler, self._sampler = self._sampler, None
        events, answer = sampler.stop()
        self._tell_all(events)
        return answer

    def play(self, request: Message) -> Answer:
        """Plays a program in a process of its own."""
        return self._programs.play(request)

    def mark(self, request: Message) -> Answer:
        """A mark that another host made."""
        self._programs.put_mark(request["name"], request.get("value"))
        return {}

    def settled(self, request: Message) -> Slow:
        """Waits until no connection is about to change by itself."""
        from testbed.agent.diag import UNSETTLED, SocketTable, count

        deadline_ns = time.monotonic_ns() + request["timeout_ns"]
        with SocketTable() as table:
            while True:
                sockets = count(table.rows())
                settled = not UNSETTLED & sockets.keys()
                if settled or time.monotonic_ns() > deadline_ns:
                    return {"settled": settled, "sockets": sockets}
                yield SETTLING_S

    def release(self, _: Message) -> Answer:
        """Ends the programs that hold; their sockets are closed when this is answered."""
        self._programs.release()
        return {}

    def set_sysctls(self, request: Message) -> Answer:
        """Sysctls until the next reset."""
        self._sysctls.set(request["values"])
        return {}

    def reset(self, _: Message) -> Answer:
        """Ends everything, and whether the host is then as it was before."""
        from testbed.agent.reset import make_clean

        left = [*self.close(), *make_clean(), *self._sysctls.put_back()]
        return {"clean": not left, "left": left}

    def bye(self, _: Message) -> Answer:
        """Ends the agent."""
        raise Bye

    def close(self) -> list[str]:
        """Ends everything that was begun, in reverse, and forgets it; what could not be ended, in words."""
        self._programs.kill()
        if self._sampler:
            self._sampler.kill()
        self._captures.kill()
        hushed, self._hush = [self._hush] if self._hush else [], None
        left = [*map(close_wire, hushed)]  # first: it hangs on the wire's qdisc
        left += [*map(close_wire, self._wires.values()), *starmap(bring_up, self._down.items())]
        self._wires.clear()
        self._down.clear()
        self._sampler = self._counted = None
        if self._directory:
            for entry in list(os.scandir(self._directory)):
                os.unlink(entry.path)  # noqa: PTH108 (pathlib is slow to load)
            os.rmdir(self._directory)  # noqa: PTH106
        self._directory = None
        return [says for says in left if says]

    def _own_directory(self) -> str:
        if self._directory is None:
            path = f"/tmp/testbed-agent-{os.getpid()}-{os.urandom(4).hex()}"
            os.mkdir(path, 0o700)  # noqa: PTH102
            self._directory = path
        return self._directory

    def _switch(self, wanted: Message) -> str:
        """Sets the interface up or down for a program, and destroys sockets; why it could not, if it could not."""
        from testbed.agent.reset import destroy_all

        try:
            self.set_link({"interface": INTERFACE, "up": wanted["up"]})
            return destroy_all() if wanted["destroy"] else ""
        except OSError as trouble:
            return str(trouble)

    def _tell(self, event: Message) -> None:
        self._output.put(event)

    def _tell_of(self, source: Wire | Sampler) -> None:
        self._tell_all(source.read_events())

    def _tell_all(self, events: list[Message]) -> None:
        for event in events:
            self._output.put(event)


REQUESTS: dict[str, tuple[Callable[[Agent, Message], Answer | Slow], dict[str, type]]] = {
    "hello": (Agent.hello, {}),
    "clock": (Agent.read_clock, {}),
    "clock.offset": (Agent.read_offset, {}),
    "prepare": (Agent.prepare, {"interface": TEXT}),
    "capture.start": (
        Agent.start_capture,
        {"name": TEXT, "interface": TEXT, "promiscuous": FLAG, "snap_length": NUMBER},
    ),
    "canary.send": (Agent.send_canary, {"interface": TEXT, "to": TEXT, "token": TEXT}),
    "canary.wait": (Agent.wait_canary, {"name": TEXT, "token": TEXT, "timeout_ns": NUMBER}),
    "capture.follow": (Agent.follow_capture, {"name": TEXT, "chunk": NUMBER}),
    "capture.stop": (Agent.stop_capture, {"name": TEXT}),
    "fetch": (Agent.fetch, {"path": TEXT, "chunk": NUMBER}),
    "wire.apply": (Agent.apply_wire, {"interface": TEXT, "address_families": LIST, "link": OBJECT}),
    "wire.begin": (Agent.begin_wire, {"start_ns": NUMBER}),
    "wire.read": (Agent.read_wire, {}),
    "wire.probe": (Agent.probe_wire, {}),
    "link.set": (Agent.set_link, {"interface": TEXT, "up": FLAG}),
    "hush.apply": (Agent.keep_silent, {"interface": TEXT}),
    "hush.read": (Agent.read_silence, {}),
    "inject.open": (Agent.open_ear, {"interface": TEXT, "hosts": OBJECT}),
    "counters.start": (Agent.start_counters, {}),
    "counters.stop": (Agent.stop_counters, {}),
    "abilities": (Agent.try_abilities, {"abilities": LIST}),
    "states.start": (Agent.start_states, {"interval_ns": NUMBER}),
    "states.stop": (Agent.stop_states, {}),
    "play": (Agent.play, {"steps": LIST, "addresses": OBJECT, "host": TEXT, "family": TEXT}),
    "mark": (Agent.mark, {"name": TEXT}),
    "settled": (Agent.settled, {"timeout_ns": NUMBER}),
    "release": (Agent.release, {}),
    "reset": (Agent.reset, {}),
    "sysctls.set": (Agent.set_sysctls, {"values": OBJECT}),
    "bye": (Agent.bye, {}),
}


def main() -> int:
    """Serves standard input until it ends; the exit code is 0."""
    output = Output(1)
    agent = Agent(output)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C goes to the whole group; the orchestrator ends us in its order
    try:
        Loop(0, output, agent).run()
    except Bye:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        sys.stderr.writelines(f"{says}\n" for says in agent.close())  # all that is left to tell it
        spares.end()
    with suppress(Bye):
        output.finish()
    os.set_blocking(1, True)
    return 0


def _function(request: Any) -> Callable[[Agent, Message], Answer | Slow]:
    if not isinstance(request, dict):
        raise UsageError("a request is an object with `id` and `do`")
    verb = request.get("do")
    if verb not in REQUESTS:
        raise UsageError(f"there is no request {verb!r}; there are {', '.join(REQUESTS)}")
    function, takes = REQUESTS[verb]
    for key, kind in takes.items():
        value = request.get(key)
        if not isinstance(value, kind) or (kind is NUMBER and isinstance(value, bool)):
            raise UsageError(f"{verb}: {key} is {value!r}; it must be of type {kind.__name__}")
    return function


def _leave(*_: object) -> None:
    raise Bye
